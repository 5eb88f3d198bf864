/* SPDX-License-Identifier: MIT */
/* Messages between workers; see bus.h. */
#include "proc/bus.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/random.h"

/* Read in one turn of the loop. */
#define TURN_BYTES (256u * 1024)
#define TURN_COUNT 256u

struct bus_seat {
	uint32_t pid;		/* 0: free */
	uint32_t is_listening;
	uint64_t claimed, head;	/* bytes since the bus was made */
	uint64_t serial;	/* messages, likewise */
} __attribute__((aligned(64)));

struct bus_area {
	uint32_t seats_used;	/* seats from here on nobody has ever had */
	struct bus_seat seats[BUS_SEATS_MAX];
	char rings[] __attribute__((aligned(4096)));
};

/* In front of each message; both are padded to 8 bytes. */
struct bus_record {
	uint64_t serial;
	uint32_t data_len;
	uint16_t name_len;
	uint16_t is_text;
};

#define MESSAGE_MAX (BUS_NAME_MAX + BUS_DATA_MAX)

static size_t area_size(unsigned seat_count)
{
	return sizeof(struct bus_area) + (size_t)seat_count * BUS_RING_SIZE;
}

static void *map_area(unsigned seat_min, unsigned seat_max, unsigned *ret_count)
{
	void *area = MAP_FAILED;

	for (unsigned count = seat_max; area == MAP_FAILED && count >= seat_min; count /= 2) {
		*ret_count = count;
		area = mmap(NULL, area_size(count), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	return area;
}

int bus_open(struct bus *bus, unsigned seat_min, unsigned seat_max)
{
	unsigned count = 0;
	void *area = map_area(seat_min, MIN(seat_max, BUS_SEATS_MAX), &count);
	int err;

	if (area == MAP_FAILED)
		return -errno;
	bus->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (bus->event_fd < 0) {
		err = -errno;
		munmap(area, area_size(count));
		return err;
	}
	bus->area = area;
	bus->seat_count = count;
	bus->id = random_u64();
	return 0;
}

void bus_close(struct bus *bus)
{
	if (!bus_is_open(bus))
		return;
	munmap(bus->area, area_size(bus->seat_count));
	close(bus->event_fd);
	*bus = (struct bus){ .event_fd = -1 };
}

static unsigned seats_used(const struct bus *bus)
{
	return __atomic_load_n(&bus->area->seats_used, __ATOMIC_ACQUIRE);
}

void bus_forget(struct bus *bus, uint32_t pid)
{
	if (!bus_is_open(bus) || pid == 0)
		return;
	for (unsigned i = 0; i < seats_used(bus); i++) {
		struct bus_seat *seat = &bus->area->seats[i];

		if (__atomic_load_n(&seat->pid, __ATOMIC_RELAXED) != pid)
			continue;
		__atomic_store_n(&seat->is_listening, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&seat->pid, 0, __ATOMIC_RELEASE);
	}
}

/* Rings ------------------------------------------------------------------------------------------------------- */

static char *ring_of(const struct bus *bus, unsigned seat)
{
	return bus->area->rings + (size_t)seat * BUS_RING_SIZE;
}

static size_t record_size(size_t name_len, size_t data_len)
{
	return (sizeof(struct bus_record) + name_len + data_len + 7) & ~(size_t)7;
}

/* Copies that may go around the end of the ring; `at` counts on and on. */
static void copy_in(char *ring, uint64_t at, const void *from, size_t len)
{
	size_t start = at % BUS_RING_SIZE, first = MIN(len, BUS_RING_SIZE - start);

	memcpy(ring + start, from, first);
	memcpy(ring, (const char *)from + first, len - first);
}

static void copy_out(void *to, const char *ring, uint64_t at, size_t len)
{
	size_t start = at % BUS_RING_SIZE, first = MIN(len, BUS_RING_SIZE - start);

	memcpy(to, ring + start, first);
	memcpy((char *)to + first, ring, len - first);
}

/* Writing ----------------------------------------------------------------------------------------------------- */

static void on_wake(struct job *j)
{
	struct bus_port *port = container_of(j, struct bus_port, wake_job);
	const struct bus_area *area = port->bus->area;
	uint64_t one = 1;
	ssize_t n;

	/* Before the look: who begins to listen now either sees what was published, or is seen. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < seats_used(port->bus); i++) {
		if ((int)i == port->seat || !__atomic_load_n(&area->seats[i].is_listening, __ATOMIC_RELAXED))
			continue;
		do {
			n = write(port->bus->event_fd, &one, sizeof(one));
		} while (n < 0 && errno == EINTR);
		return;
	}
}

int bus_publish(struct bus_port *port, struct span name, bool is_text, struct span data)
{
	size_t size = record_size(name.len, data.len);
	struct bus_record record = {
		.data_len = (uint32_t)data.len,
		.name_len = (uint16_t)name.len,
		.is_text = is_text,
	};
	struct bus_seat *seat;
	char *ring;

	if (name.len > BUS_NAME_MAX || data.len > BUS_DATA_MAX)
		return -EMSGSIZE;
	seat = &port->bus->area->seats[port->seat];
	ring = ring_of(port->bus, (unsigned)port->seat);
	record.serial = seat->serial;
	/*
	 * Readers that copy while this overwrites look at `claimed` afterwards: it has to be there first.  It never
	 * goes back, though who had the seat before may have died after claiming more.
	 */
	__atomic_store_n(&seat->claimed, MAX(seat->claimed, seat->head + size), __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	copy_in(ring, seat->head, &record, sizeof(record));
	copy_in(ring, seat->head + sizeof(record), name.ptr, name.len);
	copy_in(ring, seat->head + sizeof(record) + name.len, data.ptr, data.len);
	__atomic_store_n(&seat->serial, seat->serial + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&seat->head, seat->head + size, __ATOMIC_RELEASE);
	loop_free_later(port->loop, &port->wake_job);
	return 0;
}

/* Reading ----------------------------------------------------------------------------------------------------- */

/* What was copied from `at` may have been overwritten meanwhile. */
static bool is_overwritten(const struct bus_seat *seat, uint64_t at)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&seat->claimed, __ATOMIC_RELAXED) - at > BUS_RING_SIZE;
}

static void go_to_head(const struct bus_seat *seat, struct bus_place *place)
{
	/* In this order: counting a message as lost that was not is better than missing one. */
	place->at = __atomic_load_n(&seat->head, __ATOMIC_ACQUIRE);
	place->serial = __atomic_load_n(&seat->serial, __ATOMIC_RELAXED);
}

static void note_lost(struct bus_port *port, const struct bus_seat *seat, struct bus_place *place)
{
	uint64_t before = place->serial;

	go_to_head(seat, place);
	port->ops->on_lost(port->owner, place->serial > before ? place->serial - before : 1);
}

/* One message of that seat; bytes, 0: there is none. */
static size_t read_message(struct bus_port *port, unsigned index)
{
	const struct bus_seat *seat = &port->bus->area->seats[index];
	struct bus_place *place = &port->places[index];
	const char *ring = ring_of(port->bus, index);
	struct bus_record record;
	size_t len;

	if (place->at == __atomic_load_n(&seat->head, __ATOMIC_ACQUIRE))
		return 0;
	copy_out(&record, ring, place->at, sizeof(record));
	len = (size_t)record.name_len + record.data_len;
	if (!is_overwritten(seat, place->at) && len <= MESSAGE_MAX)
		copy_out(port->copy, ring, place->at + sizeof(record), len);
	if (is_overwritten(seat, place->at) || len > MESSAGE_MAX) {
		note_lost(port, seat, place);
		return sizeof(record);
	}
	place->at += record_size(record.name_len, record.data_len);
	place->serial = record.serial + 1;
	port->ops->on_message(port->owner, span_of(port->copy, record.name_len), record.is_text,
			      span_of(port->copy + record.name_len, record.data_len));
	return len + sizeof(record);
}

static void read_all(struct bus_port *port)
{
	size_t bytes = 0;
	unsigned count = 0;

	unsigned used = seats_used(port->bus);

	/* From another seat each time: one that never ends shall not keep the others waiting until they are lost. */
	port->next++;
	for (unsigned k = 0; k < used; k++) {
		unsigned i = (port->next + k) % used;
		size_t n;

		if ((int)i == port->seat)
			continue;
		while (port->is_listening && (n = read_message(port, i)) > 0) {
			bytes += n;
			if (port->ops->is_busy(port->owner))
				return;
			if (bytes < TURN_BYTES && ++count < TURN_COUNT)
				continue;
			loop_again(port->loop, &port->read_job);
			return;
		}
	}
}

static void on_read_job(struct job *j)
{
	read_all(container_of(j, struct bus_port, read_job));
}

static void on_event(struct io *io, uint32_t events)
{
	struct bus_port *port = container_of(io, struct bus_port, io);

	if (!port->ops->is_busy(port->owner))
		read_all(port);
}

void bus_port_resume(struct bus_port *port)
{
	if (port->is_listening)
		loop_again(port->loop, &port->read_job);
}

int bus_listen(struct bus_port *port, bool is_listening)
{
	struct bus_seat *seat;
	int err;

	if (port->is_listening == is_listening)
		return 0;
	port->is_listening = is_listening;
	seat = &port->bus->area->seats[port->seat];
	__atomic_store_n(&seat->is_listening, is_listening, __ATOMIC_RELAXED);
	if (!is_listening) {
		loop_remove(port->loop, &port->io);
		job_cancel(&port->read_job);
		return 0;
	}
	err = loop_add(port->loop, &port->io, EPOLLIN, false);
	if (err) {
		port->is_listening = false;
		__atomic_store_n(&seat->is_listening, 0, __ATOMIC_RELAXED);
		return err;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < port->bus->seat_count; i++)
		go_to_head(&port->bus->area->seats[i], &port->places[i]);
	return 0;
}

/* Port -------------------------------------------------------------------------------------------------------- */

static int take_seat(const struct bus *bus)
{
	uint32_t pid = (uint32_t)getpid();

	for (unsigned i = 0; i < bus->seat_count; i++) {
		struct bus_seat *seat = &bus->area->seats[i];
		uint32_t free_pid = 0, used;

		if (!__atomic_compare_exchange_n(&seat->pid, &free_pid, pid, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		used = seats_used(bus);
		while (used <= i && !__atomic_compare_exchange_n(&bus->area->seats_used, &used, i + 1, false,
								 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			;
		return (int)i;
	}
	return -1;
}

int bus_port_open(struct bus_port *port, struct bus *bus, struct loop *loop, const struct bus_ops *ops, void *owner)
{
	*port = (struct bus_port){ .bus = bus, .loop = loop, .ops = ops, .owner = owner, .seat = -1 };
	io_init(&port->io, bus->event_fd, on_event);
	job_init(&port->read_job, on_read_job);
	job_init(&port->wake_job, on_wake);
	port->places = calloc(bus->seat_count, sizeof(*port->places));
	port->copy = malloc(MESSAGE_MAX);
	if (!port->places || !port->copy) {
		bus_port_close(port);
		return -ENOMEM;
	}
	port->seat = take_seat(bus);
	if (port->seat >= 0)
		return 0;
	bus_port_close(port);
	return -EBUSY;
}

void bus_port_close(struct bus_port *port)
{
	if (!port->bus)
		return;
	bus_listen(port, false);
	job_cancel(&port->wake_job);
	if (port->seat >= 0)
		__atomic_store_n(&port->bus->area->seats[port->seat].pid, 0, __ATOMIC_RELEASE);
	free(port->places);
	free(port->copy);
	*port = (struct bus_port){ .seat = -1 };
}
