/* SPDX-License-Identifier: MIT */
/* Talking to the master before this one; see elder.h. */
#include "proc/elder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/elder_parcel.h"
#include "proc/master_internal.h"

#define RECEIVE_LIMIT_MS 10000u

int elder_find(void)
{
	const char *text = getenv(UPGRADE_VARIABLE);
	uint64_t fd = 0;
	bool is_number = text && span_to_u64(span_str(text), &fd) == 0 && fd > STDERR_FILENO && fd < INT32_MAX;

	unsetenv(UPGRADE_VARIABLE);
	/* Close-on-exec from now on, and a check that there is one. */
	return is_number && fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0 ? (int)fd : -1;
}

/* The one whose place this takes; NULL when it is gone, or is no longer of interest. */
static struct elder *last(const struct master *m)
{
	list_for_each(node, &m->elders) {
		struct elder *e = container_of(node, struct elder, node);

		if (e->is_handing)
			return e;
	}
	return NULL;
}

static void send_text(const struct elder *e, char type, const char *text)
{
	size_t len = MIN(strlen(text), (size_t)UPGRADE_MESSAGE_MAX - 1);
	char *message = malloc(len + 1);

	if (!message)
		return;
	message[0] = type;
	memcpy(message + 1, text, len);
	fd_pass_send(e->io.fd, message, len + 1, -1);
	free(message);
}

static void send_type(const struct elder *e, char type)
{
	fd_pass_send(e->io.fd, &type, 1, -1);
}

/* What comes from there --------------------------------------------------------------------------------------- */

static void refresh(struct generation *g)
{
	size_t size = stats_layout_size(g->foreign_layout);

	memset(g->stats, 0, g->worker_count * sizeof(*g->stats));
	for (unsigned i = 0; i < g->worker_count; i++)
		stats_import(&g->stats[i], (const char *)g->foreign_stats.at + i * size, g->foreign_layout);
}

void elder_refresh_stats(struct master *m)
{
	list_for_each(node, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		if (g->foreign_stats.at)
			refresh(g);
	}
}

static void close_elder(struct elder *e)
{
	loop_remove(&e->master->loop, &e->io);
	sock_close(e->io.fd);
	e->io.fd = -1;
	list_remove(&e->node);
}

/* No process of it is left: nobody stands in the way of our slots, and its counters are final. */
static void lose(struct elder *e)
{
	struct master *m = e->master;
	struct generation *before = m->reload.before;
	unsigned count = before && before->elder == e ? before->worker_count : 0;

	if (m->state == MASTER_FOLLOWING && e->is_handing) {
		e->is_handing = false;
		reload_cancel(&m->reload);
		return;
	}
	elder_refresh_stats(m);
	for (unsigned i = 0; i < count; i++) {
		reload_on_moved(&m->reload, before, i);
		reload_on_stopped(&m->reload, before, i);
	}
	list_for_each(node, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		if (g->elder == e)
			g->elder = NULL;
	}
	close_elder(e);
	free(e);
	loop_again(&m->loop, &m->sweep);
}

static void take_word(struct elder *e, const struct upgrade_word *word, size_t len)
{
	struct master *m = e->master;
	struct generation *before = m->reload.before;
	bool is_known = len == sizeof(*word) && before && before->elder == e && word->slot < before->worker_count;

	if (word->type == UPGRADE_GO && m->state == MASTER_FOLLOWING && m->reload.next)
		master_follow(m);
	else if (word->type == UPGRADE_STOPPED && is_known)
		reload_on_stopped(&m->reload, before, word->slot);
	else if (word->type == UPGRADE_MOVED && is_known)
		reload_on_moved(&m->reload, before, word->slot);
}

static void on_message(struct io *io, uint32_t events)
{
	struct elder *e = container_of(io, struct elder, io);

	static char message[UPGRADE_MESSAGE_MAX];

	for (;;) {
		int fd;
		ssize_t n = fd_pass_receive(io->fd, message, sizeof(message), &fd);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			lose(e);
			return;
		}
		if (message[0] == UPGRADE_CLIENT && fd >= 0 && e->master->ctl) {
			ctl_take(e->master->ctl, fd, message + 1, (size_t)n - 1);
			continue;
		}
		sock_close(fd);
		take_word(e, (const struct upgrade_word *)message, (size_t)n);
	}
}

/* What goes there --------------------------------------------------------------------------------------------- */

void elder_tell_ready(struct master *m)
{
	struct elder *e = last(m);

	if (e)
		send_type(e, UPGRADE_READY);
}

void elder_refuse(struct master *m, const char *error, const char *details)
{
	struct elder *e = last(m);
	char *text = NULL;

	m->exit_status = 1;
	if (e && asprintf(&text, "%s%s", details ? details : "", error) > 0)
		send_text(e, UPGRADE_FAILED, text);
	free(text);
	/* The loop ends with the last of our workers. */
	loop_again(&m->loop, &m->sweep);
}

void elder_send_away(struct master *m, const struct upgrade_leave *order)
{
	struct elder *e = last(m);

	if (e)
		fd_pass_send(e->io.fd, order, sizeof(*order), -1);
}

void elder_tell_done(struct master *m, json_t *report)
{
	struct elder *e = last(m);
	char *line;

	if (!e)
		return;
	json_object_set_new(report, "pid", json_integer(getpid()));
	json_object_set_new(report, "version", json_string(SLUICE_VERSION));
	line = json_dumps(report, JSON_COMPACT);
	send_text(e, UPGRADE_DONE, line ? line : "{}");
	free(line);
	e->is_handing = false;
}

void elder_stop_all(struct master *m, bool is_hard)
{
	list_for_each(node, &m->elders)
		send_type(container_of(node, struct elder, node), is_hard ? UPGRADE_QUIT : UPGRADE_DRAIN);
}

void elder_reopen_logs(struct master *m)
{
	list_for_each(node, &m->elders)
		send_type(container_of(node, struct elder, node), UPGRADE_REOPEN);
}

/* Life -------------------------------------------------------------------------------------------------------- */

int elder_add(struct master *m, int fd, bool is_handing, struct elder **ret_elder)
{
	struct elder *e = calloc(1, sizeof(*e));
	int err;

	*ret_elder = NULL;
	if (!e) {
		sock_close(fd);
		return -ENOMEM;
	}
	e->master = m;
	e->is_handing = is_handing;
	list_push_back(&m->elders, &e->node);
	io_init(&e->io, fd, on_message);
	err = loop_add(&m->loop, &e->io, EPOLLIN, false);
	*ret_elder = e;
	return err;
}

/* Nothing is logged by the caller: what goes wrong here is told where the upgrade was asked for, too. */
static void refuse_by_log(void *ctx, enum log_level level, const char *message)
{
	struct master *m = ctx;
	struct elder *e = last(m);

	if (level == LOG_ERROR && e)
		send_text(e, UPGRADE_FAILED, message);
}

int elder_open(struct master *m, int fd, struct config *config)
{
	struct elder_parcel parcel = { 0 };
	struct elder *e;
	int err = elder_add(m, fd, true, &e);

	log_set_tap(refuse_by_log, m);
	if (!err)
		err = elder_receive(fd, RECEIVE_LIMIT_MS, &parcel);
	if (!err)
		err = elder_unpack(m, e, &parcel, config);
	if (!err)
		err = master_open_identity(m, config);
	log_set_tap(NULL, NULL);
	elder_parcel_free(&parcel);
	m->file_limit = privilege_raise_files();
	return err;
}

void elder_abandon(struct master *m)
{
	list_for_each(node, &m->elders)
		sock_close(container_of(node, struct elder, node)->io.fd);
}

void elder_fini(struct master *m)
{
	list_for_each(node, &m->generations)
		container_of(node, struct generation, node)->elder = NULL;
	list_for_each_safe(node, next, &m->elders) {
		struct elder *e = container_of(node, struct elder, node);

		close_elder(e);
		free(e);
	}
}
