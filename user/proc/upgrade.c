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
#include "proc/json_text.h"
#include "proc/master_internal.h"

/* The end of an attempt -------------------------------------------------------------------------------------- */

static void forget_attempt(struct upgrade *u)
{
	loop_timer_stop(&u->master->loop, &u->limit);
	upgrade_close_io(u, &u->io);
	upgrade_close_io(u, &u->said);
	upgrade_bundle_free(&u->bundle);
	free(u->said_text);
	free(u->reason);
	free(u->details);
	u->said_text = u->reason = u->details = NULL;
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
	upgrade_answer(u, what);
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
	fail(u, error, u->details && u->details[0] ? u->details : u->said_text);
}

void upgrade_reap(struct upgrade *u)
{
	int status;

	if (!u->pid || waitpid(u->pid, &status, WNOHANG) != u->pid)
		return;
	u->pid = 0;
	/* It has served and been followed itself: another one holds its end of the socket now. */
	if (u->state == UPGRADE_OVER || u->state == UPGRADE_NONE) {
		loop_again(&u->master->loop, &u->master->sweep);
		return;
	}
	/* Its last words may be unread. */
	if (u->io.fd >= 0)
		upgrade_on_message(&u->io, EPOLLIN);
	if (u->said.fd >= 0)
		upgrade_on_said(&u->said, EPOLLIN);
	if (u->io.fd >= 0)
		upgrade_lose(u);
	if (u->state == UPGRADE_STARTING || u->state == UPGRADE_GOING)
		fail_with_end(u, status);
}

/* Beginning --------------------------------------------------------------------------------------------------- */

static int watch(struct upgrade *u, int sock, int said)
{
	struct loop *l = &u->master->loop;
	int err;

	io_init(&u->io, sock, upgrade_on_message);
	io_init(&u->said, said, upgrade_on_said);
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

void upgrade_kill(struct upgrade *u)
{
	if (u->pid && u->state == UPGRADE_NONE)
		kill(u->pid, SIGKILL);
}

void upgrade_cancel(struct upgrade *u)
{
	u->is_wanted = false;
	if (u->asking && u->state == UPGRADE_NONE)
		upgrade_answer(u, json_pack("{s:b, s:s}", "ok", 0, "error", "the server is stopping"));
	if (u->state != UPGRADE_STARTING && u->state != UPGRADE_GOING)
		return;
	/* It ends its workers first, unless it is about to serve. */
	if (u->pid)
		kill(u->pid, u->state == UPGRADE_GOING ? SIGKILL : SIGTERM);
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
