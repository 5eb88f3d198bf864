/* SPDX-License-Identifier: MIT */
/* What the old master and the new one say to each other, and what the new program says to people; see upgrade.h. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/json_text.h"
#include "proc/master_internal.h"

/* From the word to the end of what it changes: some system calls. */
#define GOING_LIMIT_MS 10000u

void upgrade_answer(struct upgrade *u, json_t *what)
{
	if (u->asking)
		ctl_reply(u->asking, what);
	else
		json_decref(what);
	u->asking = NULL;
}

void upgrade_close_io(struct upgrade *u, struct io *io)
{
	if (io->fd < 0)
		return;
	loop_remove(&u->master->loop, io);
	close(io->fd);
	io->fd = -1;
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

/* The last line is the error, what is before it goes before it. */
static void note_reason(struct upgrade *u, const char *text, size_t len)
{
	const char *line = memrchr(text, '\n', len);
	size_t before = line ? (size_t)(line + 1 - text) : 0;

	free(u->details);
	free(u->reason);
	u->details = strndup(text, before);
	u->reason = strndup(text + before, len - before);
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
	json_t *report;

	if (u->state != UPGRADE_LEAVING)
		return;
	report = json_loadb(text, len, 0, NULL);
	json_object_set_new(report, "binary", json_text(u->wanted_binary ? u->wanted_binary : u->binary));
	upgrade_answer(u, json_pack("{s:b, s:o}", "ok", 1, "upgrade", report));
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
void upgrade_lose(struct upgrade *u)
{
	upgrade_close_io(u, &u->io);
	if (u->state == UPGRADE_LEAVING) {
		log_error("the new master is gone before it served");
		upgrade_answer(u, json_pack("{s:b, s:s}", "ok", 0, "error", "the new master is gone before it served"));
		end(u);
	} else if (u->state == UPGRADE_GOING) {
		master_take_back(u->master);
	}
}

void upgrade_on_message(struct io *io, uint32_t events)
{
	struct upgrade *u = container_of(io, struct upgrade, io);
	static char message[UPGRADE_MESSAGE_MAX];

	while (io->fd >= 0) {
		ssize_t n = fd_pass_receive(io->fd, message, sizeof(message), NULL);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			upgrade_lose(u);
			return;
		}
		take_message(u, message, (size_t)n);
	}
}

/* What it writes to stderr goes on to ours, and to whoever asked. */
void upgrade_on_said(struct io *io, uint32_t events)
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
		upgrade_close_io(u, io);
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
