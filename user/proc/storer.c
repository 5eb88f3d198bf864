/* SPDX-License-Identifier: MIT */
/*
 * The process, and its work: gather what all workers have, commit, answer, again.  While it waits for the disk more comes,
 * and that is the next batch: alone a client has the latency of one commit, many share it.
 */
#include "proc/storer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "net/fd_pass.h"
#include "proc/child.h"
#include "proc/storer_impl.h"
#include "proc/supervisor.h"
#include "proc/worker.h"

#define LOOK_MS 1000u

/* Work --------------------------------------------------------------------------------------------------------- */

static void commit(struct storer *s)
{
	int err = store_writer_commit(&s->writer, s->changes, s->results, s->count,
				      (int64_t)(clock_wall_ns() / NS_PER_SEC));

	for (unsigned i = 0; i < s->count; i++)
		storer_peer_answer(s->from[i], s->ids[i], &s->results[i]);
	if (!err)
		return;
	/* The next one opens the files anew, and LMDB recovers what was durable. */
	log_error("the store cannot be written any more; another writer takes over");
	s->has_failed = true;
	loop_stop(&s->loop);
}

static void leave_if_alone(struct storer *s)
{
	if (s->is_orphan && list_is_empty(&s->peers))
		loop_stop(&s->loop);
}

static void on_work(struct job *j)
{
	struct storer *s = container_of(j, struct storer, work);
	bool has_more = false, has_lost = false;

	s->count = 0;
	list_for_each(node, &s->peers) {
		struct storer_peer *p = container_of(node, struct storer_peer, node);

		storer_peer_fill(p);
		storer_peer_gather(p);
	}
	if (s->count)
		commit(s);
	list_for_each_safe(node, next, &s->peers) {
		struct storer_peer *p = container_of(node, struct storer_peer, node);

		if (storer_peer_settle(p))
			has_more = has_more || storer_peer_has_work(p);
		else
			has_lost = true;
	}
	/* Whoever was first is last in the next batch, should it not hold them all. */
	if (!list_is_empty(&s->peers)) {
		struct list *first = list_pop_front(&s->peers);

		list_push_back(&s->peers, first);
	}
	/* A worker that was killed has left its place in the table of readers. */
	if (has_lost)
		store_writer_look(&s->writer);
	if (has_more)
		loop_again(&s->loop, &s->work);
	leave_if_alone(s);
}

static void on_look(struct timer *t)
{
	struct storer *s = container_of(t, struct storer, look);

	store_writer_look(&s->writer);
	loop_timer_start(&s->loop, &s->look, LOOK_MS);
}

/* Process ------------------------------------------------------------------------------------------------------ */

static void on_signal(struct io *io, uint32_t events)
{
	loop_stop(&container_of(io, struct storer, signal_io)->loop);
}

static void take_peer(struct storer *s, int fd)
{
	int err = storer_peer_add(s, fd);

	if (err)
		log_error("cannot take a worker's connection: %s", strerror(-err));
}

static void on_channel(struct io *io, uint32_t events)
{
	struct storer *s = container_of(io, struct storer, channel_io);
	char message[2];
	ssize_t n;
	int fd;

	while ((n = fd_pass_receive(io->fd, message, sizeof(message), &fd)) > 0)
		if (fd >= 0)
			take_peer(s, fd);
	if (n == -EAGAIN)
		return;
	/* The master is gone: its workers drain, and what they have begun is to be finished. */
	loop_remove(&s->loop, io);
	s->is_orphan = true;
	leave_if_alone(s);
}

static void on_turn(struct loop *l, int event_count)
{
	sandbox_tell();
}

static int watch(struct storer *s)
{
	int err = loop_init(&s->loop);
	int fd;

	if (err)
		return err;
	s->loop.on_turn = on_turn;
	fd = child_open_signals();
	if (fd < 0)
		return fd;
	io_init(&s->signal_io, fd, on_signal);
	err = loop_add(&s->loop, &s->signal_io, EPOLLIN, false);
	if (err)
		return err;
	io_init(&s->channel_io, s->opt->channel_fd, on_channel);
	return loop_add(&s->loop, &s->channel_io, EPOLLIN, false);
}

/* 0, or -errno and why it cannot start. */
static int start(struct storer *s, char why[STORE_WHY_SIZE])
{
	static uint64_t refused;	/* told, not shown */
	const struct storer_options *opt = s->opt;
	int err = privilege_drop(&opt->identity);

	snprintf(why, STORE_WHY_SIZE, "cannot give up rights");
	if (!err) {
		snprintf(why, STORE_WHY_SIZE, "cannot start");
		err = watch(s);
	}
	if (!err)
		err = store_writer_open(&s->writer, opt->config->path, opt->config->size, opt->stats, why);
	if (!err) {
		snprintf(why, STORE_WHY_SIZE, "cannot enter its sandbox");
		err = sandbox_enter(opt->sandbox, SANDBOX_STORER, &refused);
	}
	if (err < 0)
		return err;
	opt->stats->confined = (uint32_t)err;
	return 0;
}

static void finish(struct storer *s)
{
	while (!list_is_empty(&s->peers))
		storer_peer_close(container_of(s->peers.next, struct storer_peer, node));
	loop_timer_stop(&s->loop, &s->look);
	job_cancel(&s->work);
	loop_remove(&s->loop, &s->signal_io);
	loop_remove(&s->loop, &s->channel_io);
	loop_fini(&s->loop);
	store_writer_close(&s->writer);
}

static int fail(const struct storer_options *opt, const char *why, int err)
{
	char text[STORE_WHY_SIZE + 64];

	log_error("%s: %s", why, strerror(-err));
	snprintf(text, sizeof(text), "%c%s: %s", CHANNEL_FAILED, why, strerror(-err));
	fd_pass_send(opt->channel_fd, text, MIN(strlen(text), (size_t)SUPERVISED_REASON_SIZE), -1);
	return 1;
}

int storer_run(const struct storer_options *opt)
{
	static struct storer storer;	/* large, and reachable for leak checkers */
	struct storer *s = &storer;
	char why[STORE_WHY_SIZE], ready = CHANNEL_READY, name[80];
	int err;

	snprintf(name, sizeof(name), "store %s", opt->config->name);
	log_set_name(name);
	s->opt = opt;
	list_init(&s->peers);
	job_init(&s->work, on_work);
	timer_init(&s->look, on_look);
	err = start(s, why);
	if (err)
		return fail(opt, why, err);
	on_look(&s->look);
	fd_pass_send(opt->channel_fd, &ready, sizeof(ready), -1);
	err = loop_run(&s->loop);
	if (err)
		log_error("event loop: %s", strerror(-err));
	finish(s);
	return err || s->has_failed ? 1 : 0;
}
