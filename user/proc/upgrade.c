/* SPDX-License-Identifier: MIT */
/* Another program in the place of this one, the old master's part; see upgrade.h. */
#include "proc/upgrade.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/json_text.h"
#include "proc/master_internal.h"

/* From the word to the end of what it changes: some system calls. */
#define GOING_LIMIT_MS 10000u

/* The end of an attempt -------------------------------------------------------------------------------------- */

static void answer(struct upgrade *u, json_t *what)
{
	if (u->asking)
		ctl_reply(u->asking, what);
	else
		json_decref(what);
	u->asking = NULL;
}

static void close_io(struct upgrade *u, struct io *io)
{
	if (io->fd < 0)
		return;
	loop_remove(&u->master->loop, io);
	close(io->fd);
	io->fd = -1;
}

static void forget_attempt(struct upgrade *u)
{
	loop_timer_stop(&u->master->loop, &u->limit);
	close_io(u, &u->io);
	close_io(u, &u->said);
	upgrade_bundle_free(&u->bundle);
	free(u->said_text);
	free(u->reason);
	u->said_text = u->reason = NULL;
	u->said_len = 0;
	u->was_killed = false;
}

/* `details`: what goes before the error, as it is to be shown; NULL: nothing. */
static void fail(struct upgrade *u, const char *error, const char *details)
{
	struct master *m = u->master;
	json_t *what = json_pack("{s:b, s:o}", "ok", 0, "error", json_text(error));

	if (what && details && details[0])
		json_object_set_new(what, "details", json_text(details));
	log_error("not upgraded, nothing has changed: %s", error);
	answer(u, what);
	forget_attempt(u);
	/* Its workers may still look at whose a slot is. */
	m->last_number++;
	u->state = UPGRADE_NONE;
	if (m->state == MASTER_SERVING)
		master_tell_ready(m);
	reload_begin_waiting(&m->reload);
	loop_again(&m->loop, &m->sweep);
}

/* What it said decides what is told; how it ended is for one that said nothing. */
static void fail_with_end(struct upgrade *u, int status)
{
	char error[CTL_ERROR_TEXT];

	if (u->reason && strlen(u->reason) < sizeof(error))
		snprintf(error, sizeof(error), "%s", u->reason);
	else if (u->was_killed)
		snprintf(error, sizeof(error), "the new program is not ready in time (%.3g s) and was killed",
			 (double)u->limit_ms / 1000);
	else if (WIFSIGNALED(status))
		snprintf(error, sizeof(error), "the new program was killed by signal %d before it was ready",
			 WTERMSIG(status));
	else
		snprintf(error, sizeof(error), "the new program ended with status %d before it was ready",
			 WEXITSTATUS(status));
	fail(u, error, u->said_text);
}

/* The words ---------------------------------------------------------------------------------------------------- */

static void send_part(struct upgrade *u)
{
	struct upgrade_bundle *b = &u->bundle;
	unsigned count = MIN(b->count - b->sent_count, FD_PASS_MAX);
	char type = UPGRADE_PART;

	if (fd_pass_send_all(u->io.fd, &type, 1, b->fds + b->sent_count, count) > 0)
		b->sent_count += count;
	else
		log_warn("cannot pass descriptors on");
}

static void note_reason(struct upgrade *u, const char *text, size_t len)
{
	const char *line = memchr(text, '\n', len);

	/* The last line is the error, what is before it the details. */
	while (line && memchr(line + 1, '\n', len - (size_t)(line + 1 - text)))
		line = memchr(line + 1, '\n', len - (size_t)(line + 1 - text));
	if (line) {
		free(u->said_text);
		u->said_text = strndup(text, (size_t)(line + 1 - text));
		len -= (size_t)(line + 1 - text);
		text = line + 1;
	}
	free(u->reason);
	u->reason = strndup(text, len);
}

static void let_go(struct upgrade *u)
{
	char type = UPGRADE_GO;

	if (u->state != UPGRADE_STARTING || fd_pass_send(u->io.fd, &type, 1, -1) < 0)
		return;
	u->state = UPGRADE_GOING;
	loop_timer_start(&u->master->loop, &u->limit, GOING_LIMIT_MS);
}

static void leave(struct upgrade *u, const struct upgrade_leave *order)
{
	if (u->state != UPGRADE_GOING)
		return;
	/* Before the other one says that it serves. */
	service_pass_on(&u->master->service, u->pid);
	u->state = UPGRADE_LEAVING;
	loop_timer_stop(&u->master->loop, &u->limit);
	upgrade_bundle_free(&u->bundle);
	master_leave(u->master, order);
}

/* This master goes with its last worker, which may be gone already. */
static void end(struct upgrade *u)
{
	u->state = UPGRADE_OVER;
	loop_again(&u->master->loop, &u->master->sweep);
}

static void finish(struct upgrade *u, const char *text, size_t len)
{
	json_t *report = json_loadb(text, len, 0, NULL);

	if (u->state != UPGRADE_LEAVING)
		return;
	json_object_set_new(report, "binary", json_text(u->wanted_binary ? u->wanted_binary : u->binary));
	answer(u, json_pack("{s:b, s:o}", "ok", 1, "upgrade", report));
	log_info("pid %d serves; this one ends with its last worker", (int)u->pid);
	end(u);
}

static void take_message(struct upgrade *u, const char *message, size_t len)
{
	switch (message[0]) {
	case UPGRADE_NEXT:
		send_part(u);
		break;
	case UPGRADE_FAILED:
		note_reason(u, message + 1, len - 1);
		break;
	case UPGRADE_READY:
		let_go(u);
		break;
	case UPGRADE_LEAVE:
		if (len == sizeof(struct upgrade_leave))
			leave(u, (const struct upgrade_leave *)message);
		break;
	case UPGRADE_DONE:
		finish(u, message + 1, len - 1);
		break;
	case UPGRADE_DRAIN:
	case UPGRADE_QUIT:
		if (u->master->state == MASTER_LEAVING)
			master_stop(u->master, message[0] == UPGRADE_QUIT);
		break;
	case UPGRADE_REOPEN:
		master_reopen_log(u->master);
		break;
	}
}

/* The other side is gone; while it has changed nothing its end is told with its exit status. */
static void lose_new_master(struct upgrade *u)
{
	close_io(u, &u->io);
	if (u->state == UPGRADE_LEAVING) {
		log_error("the new master is gone before it served");
		answer(u, json_pack("{s:b, s:s}", "ok", 0, "error", "the new master is gone before it served"));
		end(u);
	} else if (u->state == UPGRADE_GOING) {
		master_take_back(u->master);
	}
}

static void on_message(struct io *io, uint32_t events)
{
	struct upgrade *u = container_of(io, struct upgrade, io);
	static char message[UPGRADE_MESSAGE_MAX];

	while (io->fd >= 0) {
		int fd;
		ssize_t n = fd_pass_receive(io->fd, message, sizeof(message), &fd);

		if (fd >= 0)
			close(fd);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			lose_new_master(u);
			return;
		}
		take_message(u, message, (size_t)n);
	}
}

/* What it writes to stderr goes on to ours, and to whoever asked. */
static void on_said(struct io *io, uint32_t events)
{
	struct upgrade *u = container_of(io, struct upgrade, said);
	char piece[1024];
	ssize_t n;

	while ((n = read(io->fd, piece, sizeof(piece))) > 0) {
		size_t kept = MIN((size_t)n, UPGRADE_SAID_MAX - u->said_len);

		if (write(STDERR_FILENO, piece, (size_t)n) < 0)
			log_debug("nobody reads stderr");
		if (!u->said_text)
			u->said_text = calloc(1, UPGRADE_SAID_MAX + 1);
		if (!u->said_text)
			continue;
		memcpy(u->said_text + u->said_len, piece, kept);
		u->said_len += kept;
	}
	if (n == 0)
		close_io(u, io);
}

void upgrade_reap(struct upgrade *u)
{
	int status;

	if (!u->pid || waitpid(u->pid, &status, WNOHANG) != u->pid)
		return;
	u->pid = 0;
	/* It has served and been followed itself: another one holds its end of the socket now. */
	if (u->state == UPGRADE_OVER || u->state == UPGRADE_NONE)
		return;
	/* Its last words may be unread. */
	if (u->io.fd >= 0)
		on_message(&u->io, EPOLLIN);
	if (u->said.fd >= 0)
		on_said(&u->said, EPOLLIN);
	if (u->io.fd >= 0)
		lose_new_master(u);
	if (u->state == UPGRADE_STARTING || u->state == UPGRADE_GOING)
		fail_with_end(u, status);
}

/* Beginning --------------------------------------------------------------------------------------------------- */

static int watch(struct upgrade *u, int sock, int said)
{
	struct loop *l = &u->master->loop;
	int err;

	io_init(&u->io, sock, on_message);
	io_init(&u->said, said, on_said);
	err = loop_add(l, &u->io, EPOLLIN, false);
	return err ? err : loop_add(l, &u->said, EPOLLIN, false);
}

static void begin(struct upgrade *u)
{
	const char *binary = u->wanted_binary ? u->wanted_binary : u->binary;
	char text[CTL_ERROR_TEXT];
	int err, sock, said;

	u->is_wanted = false;
	u->state = UPGRADE_STARTING;
	u->started_ns = clock_ns();
	if (!u->argv || !u->binary) {
		fail(u, "it is not known how this server was started: /proc could not be read then", NULL);
		return;
	}
	service_reloading(&u->master->service);
	err = upgrade_describe(u->master, &u->bundle);
	if (!err) {
		err = upgrade_spawn(u, binary, &sock, &said);
		u->pid = err > 0 ? err : 0;
		err = err > 0 ? watch(u, sock, said) : err;
	}
	if (err) {
		if (u->pid)
			kill(u->pid, SIGKILL);
		snprintf(text, sizeof(text), "cannot start another program: %s", strerror(-err));
		fail(u, text, NULL);
		return;
	}
	log_info("upgrade: '%s' starts as pid %d", binary, (int)u->pid);
	loop_timer_start(&u->master->loop, &u->limit, u->limit_ms);
}

static void on_begin(struct job *j)
{
	struct upgrade *u = container_of(j, struct upgrade, begin);
	const struct master *m = u->master;

	if (u->is_wanted && m->state == MASTER_SERVING && m->reload.state == RELOAD_NONE)
		begin(u);
}

static void on_limit(struct timer *t)
{
	struct upgrade *u = container_of(t, struct upgrade, limit);

	u->was_killed = true;
	/* The rest when it is reaped. */
	if (u->pid)
		kill(u->pid, SIGKILL);
}

void upgrade_init(struct upgrade *u, struct master *m)
{
	*u = (struct upgrade){ .master = m, .io.fd = -1, .said.fd = -1 };
	job_init(&u->begin, on_begin);
	timer_init(&u->limit, on_limit);
	upgrade_look_at_self(u);
}

static const char *refusal(const struct upgrade *u)
{
	switch (u->master->state) {
	case MASTER_STARTING:
	case MASTER_FOLLOWING:
		return "the server is still starting";
	case MASTER_STOPPING:
		return "the server is stopping";
	case MASTER_LEAVING:
		return "another master serves already";
	case MASTER_SERVING:
		break;
	}
	return u->is_wanted || u->pid || u->state != UPGRADE_NONE ? "another upgrade is under way" : NULL;
}

void upgrade_ask(struct upgrade *u, struct ctl_request *rq, const char *binary, uint64_t limit_ms)
{
	const char *why = refusal(u);
	char *copy = binary ? strdup(binary) : NULL;

	if (!why && binary && !copy)
		why = "out of memory";
	if (why) {
		free(copy);
		if (rq)
			ctl_reply_error(rq, "%s", why);
		else
			log_warn("not upgraded: %s", why);
		return;
	}
	free(u->wanted_binary);
	u->wanted_binary = copy;
	u->limit_ms = limit_ms ? limit_ms : UPGRADE_LIMIT_MS;
	u->asking = rq;
	u->is_wanted = true;
	upgrade_begin_waiting(u);
}

void upgrade_begin_waiting(struct upgrade *u)
{
	if (u->is_wanted)
		loop_again(&u->master->loop, &u->begin);
}

bool upgrade_is_idle(const struct upgrade *u)
{
	return u->state == UPGRADE_NONE;
}

void upgrade_tell(struct upgrade *u, const struct generation *g, unsigned slot, char type)
{
	struct upgrade_word word = { .type = type, .slot = (uint16_t)slot };

	if (u->state == UPGRADE_LEAVING && g == u->master->current && u->io.fd >= 0)
		fd_pass_send(u->io.fd, &word, sizeof(word), -1);
}

int upgrade_send_client(void *ctx, int fd, const char *text, size_t len)
{
	const struct upgrade *u = ctx;
	char *message = malloc(len + 1);
	ssize_t n;

	if (!message)
		return -ENOMEM;
	message[0] = UPGRADE_CLIENT;
	if (len)
		memcpy(message + 1, text, len);
	n = fd_pass_send(u->io.fd, message, len + 1, fd);
	free(message);
	return n < 0 ? (int)n : 0;
}

void upgrade_cancel(struct upgrade *u)
{
	u->is_wanted = false;
	if (u->asking && u->state == UPGRADE_NONE)
		answer(u, json_pack("{s:b, s:s}", "ok", 0, "error", "the server is stopping"));
	if (u->state != UPGRADE_STARTING && u->state != UPGRADE_GOING)
		return;
	if (u->pid)
		kill(u->pid, SIGKILL);
	/* Slots that it has taken already come back before our workers are told to drain them. */
	if (u->state == UPGRADE_GOING)
		master_take_back(u->master);
	fail(u, "the server is stopping", NULL);
}

void upgrade_abandon(struct upgrade *u)
{
	if (u->io.fd >= 0)
		close(u->io.fd);
	if (u->said.fd >= 0)
		close(u->said.fd);
	upgrade_bundle_close(&u->bundle);
}

void upgrade_fini(struct upgrade *u)
{
	job_cancel(&u->begin);
	forget_attempt(u);
	for (unsigned i = 0; u->argv && u->argv[i]; i++)
		free(u->argv[i]);
	free(u->argv);
	free(u->binary);
	free(u->wanted_binary);
	u->argv = NULL;
	u->binary = u->wanted_binary = NULL;
}
