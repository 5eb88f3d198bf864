/* SPDX-License-Identifier: MIT */
/* One worker in each slot; see supervisor.h. */
#include "proc/supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/fd_pass.h"
#include "proc/worker.h"

#define MESSAGE_BATCH    16u
#define BACKOFF_FIRST_MS 100u
#define BACKOFF_LAST_MS	 10000u
#define HEALTHY_MS	 1000u

static void close_channel(struct supervised *w)
{
	if (w->channel.fd < 0)
		return;
	loop_remove(w->supervisor->loop, &w->channel);
	close(w->channel.fd);
	w->channel.fd = -1;
}

static bool are_all_ready(const struct supervisor *s)
{
	for (unsigned i = 0; i < s->count; i++)
		if (!s->workers[i].is_ready)
			return false;
	return true;
}

/* What is told of a worker: to the owner, or in the log -------------------------------------------------------- */

static void note_started(const struct supervised *w)
{
	const struct supervisor *s = w->supervisor;

	if (s->ops->on_started)
		s->ops->on_started(s->owner, w->slot, w->pid);
	else
		log_debug("%s has pid %d", s->name, (int)w->pid);
}

static void note_ready(const struct supervised *w)
{
	const struct supervisor *s = w->supervisor;

	if (s->ops->on_ready)
		s->ops->on_ready(s->owner, w->slot, are_all_ready(s));
	else if (w->restarts)
		log_info("the %s works again", s->name);
}

static void note_gone(const struct supervised *w, pid_t pid, const char *how, long will_restart_ms)
{
	const struct supervisor *s = w->supervisor;

	if (s->ops->on_gone)
		s->ops->on_gone(s->owner, w->slot, pid, how, will_restart_ms);
	else if (will_restart_ms >= 0)
		log_error("%s (pid %d) %s; another starts in %ld ms", s->name, (int)pid, how, will_restart_ms);
}

/* Messages ----------------------------------------------------------------------------------------------------- */

static void take_message(struct supervised *w, const char *message, size_t len)
{
	struct supervisor *s = w->supervisor;

	if (message[0] == CHANNEL_FAILED) {
		snprintf(w->reason, sizeof(w->reason), "%.*s", (int)len - 1, message + 1);
	} else if (message[0] != CHANNEL_READY) {
		if (s->ops->on_message)
			s->ops->on_message(s->owner, w->slot, message[0]);
	} else if (!w->is_ready) {
		w->is_ready = true;
		s->was_ready = s->was_ready || are_all_ready(s);
		note_ready(w);
	}
}

static void on_channel(struct io *io, uint32_t events)
{
	struct supervised *w = container_of(io, struct supervised, channel);

	/* A worker that has gone mad may send as fast as this reads: others have their turn in between. */
	for (unsigned i = 0; i < MESSAGE_BATCH; i++) {
		char message[SUPERVISED_REASON_SIZE];
		ssize_t n = fd_pass_receive(io->fd, message, sizeof(message), NULL);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			/* SIGCHLD tells the rest. */
			close_channel(w);
			return;
		}
		take_message(w, message, (size_t)n);
	}
}

bool supervisor_tell(struct supervisor *s, unsigned slot, char message)
{
	return slot < s->count && s->workers[slot].channel.fd >= 0 &&
	       fd_pass_send(s->workers[slot].channel.fd, &message, 1, -1) == 1;
}

/* Life --------------------------------------------------------------------------------------------------------- */

void supervisor_abandon(struct supervisor *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (s->workers[i].channel.fd >= 0)
			close(s->workers[i].channel.fd);
		s->workers[i].channel.fd = -1;
	}
}

static void run_child(struct supervised *w, const int pair[2])
{
	struct supervisor *s = w->supervisor;

	close(pair[0]);
	supervisor_abandon(s);
	exit(s->ops->run_child(s->owner, w->slot, pair[1]));
}

static int start_worker(struct supervised *w)
{
	struct supervisor *s = w->supervisor;
	int pair[2];
	int err = fd_pass_pair(pair);

	if (err)
		return err;
	if (s->ops->on_start)
		s->ops->on_start(s->owner, w->slot);
	fflush(NULL);
	w->pid = fork();
	if (w->pid < 0) {
		err = -errno;
		w->pid = 0;
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (w->pid == 0)
		run_child(w, pair);
	close(pair[1]);
	w->is_ready = false;
	w->reason[0] = '\0';
	w->started_ms = s->loop->now_ms;
	io_init(&w->channel, pair[0], on_channel);
	/* Level-triggered: a batch may leave messages behind. */
	err = loop_add(s->loop, &w->channel, EPOLLIN, true);
	note_started(w);
	return err;
}

static unsigned backoff_ms(const struct supervised *w)
{
	unsigned shift = MIN(w->failures - 1, 10u);

	return w->failures == 0 ? 0 : MIN(BACKOFF_FIRST_MS << shift, BACKOFF_LAST_MS);
}

static void on_restart(struct timer *t)
{
	struct supervised *w = container_of(t, struct supervised, restart);

	struct supervisor *s = w->supervisor;
	unsigned delay_ms;
	char how[96];
	int err;

	w->restarts++;
	err = start_worker(w);
	if (!err || w->pid)
		return;
	/* No process to be had now: like a worker that died at once, so that its slot is not chosen meanwhile. */
	w->failures++;
	delay_ms = backoff_ms(w);
	loop_timer_start(s->loop, &w->restart, delay_ms);
	snprintf(how, sizeof(how), "did not start: %s", strerror(-err));
	note_gone(w, 0, how, (long)delay_ms);
}

int supervisor_start(struct supervisor *s, unsigned count)
{
	int err = 0;

	s->workers = calloc(count, sizeof(*s->workers));
	if (!s->workers)
		return -ENOMEM;
	s->count = count;
	for (unsigned i = 0; i < count; i++) {
		s->workers[i].supervisor = s;
		s->workers[i].slot = i;
		s->workers[i].channel.fd = -1;
		timer_init(&s->workers[i].restart, on_restart);
	}
	for (unsigned i = 0; i < count && !err; i++)
		err = start_worker(&s->workers[i]);
	return err;
}

static void describe(const struct supervised *w, int status, char *out, size_t size)
{
	const char *colon = w->reason[0] ? ": " : "";

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		snprintf(out, size, "killed by its sandbox for a forbidden system call (signal %d)", SIGSYS);
	else if (WIFSIGNALED(status))
		snprintf(out, size, "killed by signal %d%s%s", WTERMSIG(status), colon, w->reason);
	else
		snprintf(out, size, "exited with status %d%s%s", WEXITSTATUS(status), colon, w->reason);
}

unsigned supervisor_living(const struct supervisor *s)
{
	unsigned count = 0;

	for (unsigned i = 0; i < s->count; i++)
		count += s->workers[i].pid != 0;
	return count;
}

static bool is_empty(const struct supervisor *s)
{
	return supervisor_living(s) == 0;
}

static void on_death(struct supervised *w, int status)
{
	struct supervisor *s = w->supervisor;
	pid_t pid = w->pid;
	long delay_ms = -1;
	char how[SUPERVISED_REASON_SIZE + 96];

	/* Its last words may be unread. */
	if (w->channel.fd >= 0)
		on_channel(&w->channel, EPOLLIN);
	describe(w, status, how, sizeof(how));
	w->pid = 0;
	w->is_ready = false;
	w->has_ended_well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	close_channel(w);
	if (s->loop->now_ms - w->started_ms >= HEALTHY_MS)
		w->failures = 0;
	if (!s->is_stopping) {
		delay_ms = (long)backoff_ms(w);
		w->failures++;
		loop_timer_start(s->loop, &w->restart, (uint64_t)delay_ms);
	}
	note_gone(w, pid, how, delay_ms);
	if (s->is_stopping && is_empty(s))
		s->ops->on_empty(s->owner);
}

void supervisor_reap(struct supervisor *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		struct supervised *w = &s->workers[i];
		int status;

		if (w->pid && waitpid(w->pid, &status, WNOHANG) == w->pid)
			on_death(w, status);
	}
}

void supervisor_retire(struct supervisor *s)
{
	bool was_stopping = s->is_stopping;

	s->is_stopping = true;
	for (unsigned i = 0; i < s->count; i++)
		loop_timer_stop(s->loop, &s->workers[i].restart);
	/* No ops: one that was never started. */
	if (!was_stopping && s->ops && is_empty(s))
		s->ops->on_empty(s->owner);
}

void supervisor_stop(struct supervisor *s, int signal)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->workers[i].pid)
			kill(s->workers[i].pid, signal);
	supervisor_retire(s);
}

void supervisor_fini(struct supervisor *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		loop_timer_stop(s->loop, &s->workers[i].restart);
		close_channel(&s->workers[i]);
	}
	free(s->workers);
	s->workers = NULL;
	s->count = 0;
}
