/* SPDX-License-Identifier: MIT */
/*
 * Messages from each worker to all others of the host, those of older generations included, through shared memory.
 *
 * The master makes the bus once, before it forks, and every generation has the same.  A worker takes a **seat**,
 * which is a ring that only it writes; the others read there at their own pace, each with a place of its own:
 *
 *   ring of a seat   | ...... | m7 | m8 | m9 |......|     `head`: all before it is published
 *                              ^reader A      ^head       `claimed`: all before it may be overwritten, less a ring
 *
 * So a writer never waits, whatever the readers do, and one that is stopped or dies in the middle of a write spoils
 * nothing: what lies behind `head` does not exist yet.  A reader that is more than a ring behind finds that out,
 * counts what it has missed and tells (bus_ops.on_lost).  What one worker writes is read in its order.
 *
 * An eventfd wakes readers: all that have it in epoll, edge-triggered, are woken by each write, and nobody ever reads
 * it.  Only workers that somebody listens at have it there, and a writer wakes them at most once in a turn of its
 * loop.
 */
#ifndef SLUICE_PROC_BUS_H
#define SLUICE_PROC_BUS_H

#include "base/span.h"
#include "net/loop.h"

/* Enough for all slots there can be, twice. */
#define BUS_SEATS_MAX 512u
/* Only what is written takes memory. */
#define BUS_RING_SIZE (2u << 20)
#define BUS_NAME_MAX  64u
#define BUS_DATA_MAX  (512u * 1024)

struct bus_area;

struct bus {
	struct bus_area *area;	/* shared; NULL: not open */
	unsigned seat_count;
	int event_fd;
	uint64_t id;		/* tells it from those of other hosts, and of other programs of this one */
};

/*
 * With `seat_max` seats, or fewer where the system does not let so much be mapped, but not less than `seat_min`:
 * later generations may have more workers, and the bus stays as it is.  0 or -errno.
 */
int bus_open(struct bus *bus, unsigned seat_min, unsigned seat_max);
/* Harmless when not open. */
void bus_close(struct bus *bus);
static inline bool bus_is_open(const struct bus *bus)
{
	return bus->area != NULL;
}
/* A worker is gone: another may have its seat. */
void bus_forget(struct bus *bus, uint32_t pid);

struct bus_ops {
	/* `name` and `data` are valid during the call. */
	void (*on_message)(void *owner, struct span name, bool is_text, struct span data);
	/* That many messages were overwritten before they could be read here. */
	void (*on_lost)(void *owner, uint64_t count);
	/* Does the owner want no more now?  Then bus_port_resume() is called. */
	bool (*is_busy)(void *owner);
};

struct bus_place {
	uint64_t at;		/* bytes of that seat that were read */
	uint64_t serial;	/* messages */
};

/* A worker's end. */
struct bus_port {
	struct bus *bus;
	struct loop *loop;
	const struct bus_ops *ops;
	void *owner;
	int seat;
	bool is_listening;
	struct io io;
	struct job read_job;
	struct job wake_job;
	unsigned next;		/* seat that reading begins with */
	struct bus_place *places;
	char *copy;		/* a message while it is checked */
};

/* Takes a seat.  0; -ENOMEM; -EBUSY: none is left, too many workers of older generations are still there. */
int bus_port_open(struct bus_port *port, struct bus *bus, struct loop *loop, const struct bus_ops *ops, void *owner);
/* Harmless when not open. */
void bus_port_close(struct bus_port *port);
/* 0 or -EMSGSIZE. */
int bus_publish(struct bus_port *port, struct span name, bool is_text, struct span data);
/* From now on what others publish comes by on_message, or does not any more.  0 or -errno. */
int bus_listen(struct bus_port *port, bool is_listening);
void bus_port_resume(struct bus_port *port);

#endif
