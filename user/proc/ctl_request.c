/* SPDX-License-Identifier: MIT */
/*
 * A request of the control socket is one client and its one question:
 *
 *   READING --line whole--> RUNNING --ctl_reply--> WRITING --all sent--> (closed)
 *      |                       |                      |      `---------> HELD --ctl_close-->
 * (closed) |                       | client leaves         `- timeout, client leaves --> (closed)
 *      |                       v
 *      |                    ORPHAN --ctl_reply--> (freed)
 *      `- timeout, client leaves --> (closed)
 *
 * The command that runs keeps a pointer to its request, so a request is never freed in RUNNING:
 * when its client leaves, only the descriptor goes (ORPHAN), and the answer is dropped when it
 * comes.  Only READING and WRITING have a timer: how long a command takes is the master's business.
 */
#include "proc/ctl_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/suggest.h"

#define CTL_FIRST_ROOM 1024 /* bytes; doubled up to CTL_QUESTION_MAX */

static void on_free_request(struct job *j)
{
	struct ctl_request *rq = container_of(j, struct ctl_request, free_job);

	free(rq->line);
	free(rq);
}

static void drop_descriptor(struct ctl_request *rq)
{
	if (rq->io.fd < 0)
		return;
	loop_timer_stop(rq->ctl->loop, &rq->timer);
	loop_remove(rq->ctl->loop, &rq->io);
	close(rq->io.fd);
	rq->io.fd = -1;
}

void ctl_request_finish(struct ctl_request *rq)
{
	if (rq->state == REQUEST_DEAD)
		return;
	drop_descriptor(rq);
	rq->state = REQUEST_DEAD;
	list_remove(&rq->node);
	rq->ctl->stats.client_count--;
	loop_free_later(rq->ctl->loop, &rq->free_job);
}

/* The client has left. */
static void lose_client(struct ctl_request *rq)
{
	if (rq->state == REQUEST_HELD) {
		ctl_request_finish(rq);
		return;
	}
	rq->ctl->stats.abandoned++;
	if (rq->state != REQUEST_RUNNING) {
		ctl_request_finish(rq);
		return;
	}
	drop_descriptor(rq);
	rq->state = REQUEST_ORPHAN;
}

static void write_answer(struct ctl_request *rq)
{
	while (rq->sent_len < rq->line_len) {
		ssize_t sent =
			unix_write(rq->io.fd, rq->line + rq->sent_len, rq->line_len - rq->sent_len);

		if (sent == -EAGAIN)
			return;
		if (sent < 0) {
			lose_client(rq);
			return;
		}
		rq->sent_len += (size_t)sent;
	}
	rq->ctl->stats.answered++;
	loop_timer_stop(rq->ctl->loop, &rq->timer);
	if (rq->is_last)
		rq->state = REQUEST_HELD;
	else
		ctl_request_finish(rq);
}

/* The line that is sent, allocated; NULL without memory. */
static char *serialise(json_t *answer, size_t *ret_len)
{
	static const char too_long[] = "{\"ok\":false,\"error\":\"the answer is too long\"}\n";
	size_t len = json_dumpb(answer, NULL, 0, JSON_COMPACT);
	char *line;

	if (len >= CTL_LINE_MAX) {
		*ret_len = sizeof(too_long) - 1;
		return strdup(too_long);
	}
	line = len ? malloc(len + 1) : NULL;
	if (!line)
		return NULL;
	json_dumpb(answer, line, len, JSON_COMPACT);
	line[len] = '\n';
	*ret_len = len + 1;
	return line;
}

static void start_answer(struct ctl_request *rq, json_t *answer, bool is_last)
{
	char *line = NULL;
	size_t len = 0;

	BUG_ON(rq->state != REQUEST_RUNNING && rq->state != REQUEST_ORPHAN);
	if (answer && rq->state == REQUEST_RUNNING)
		line = serialise(answer, &len);
	json_decref(answer);
	if (!line) {
		ctl_request_finish(rq);
		return;
	}
	free(rq->line);
	rq->line = line;
	rq->line_len = len;
	rq->sent_len = 0;
	rq->is_last = is_last;
	rq->state = REQUEST_WRITING;
	loop_timer_start(rq->ctl->loop, &rq->timer, rq->ctl->opt.timeout_ms);
	write_answer(rq);
}

void ctl_reply(struct ctl_request *rq, json_t *answer)
{
	start_answer(rq, answer, false);
}

void ctl_reply_last(struct ctl_request *rq, json_t *answer)
{
	start_answer(rq, answer, true);
}

void ctl_reply_error(struct ctl_request *rq, const char *fmt, ...)
{
	va_list args;
	json_t *text;

	va_start(args, fmt);
	text = json_vsprintf(fmt, args);
	va_end(args);
	/* json_vsprintf refuses what is not UTF-8, such as a file name that fmt was given. */
	if (!text)
		text = json_string("failed (the message is not valid UTF-8)");
	ctl_reply(rq, json_pack("{s:b, s:o}", "ok", 0, "error", text));
}

static void refuse_unknown(struct ctl_request *rq, const char *name)
{
	struct suggest near;

	suggest_init(&near, name);
	for (const struct ctl_command *c = rq->ctl->opt.commands; c->name; c++)
		suggest_offer(&near, c->name);
	if (strlen(name) > SUGGEST_WORD_MAX)
		ctl_reply_error(rq, "unknown command");
	else if (near.best)
		ctl_reply_error(rq, "unknown command '%s', did you mean '%s'?", name, near.best);
	else
		ctl_reply_error(rq, "unknown command '%s'", name);
}

static void run_command(struct ctl_request *rq, const json_t *args)
{
	const char *name = json_string_value(json_object_get(args, "command"));

	if (!name) {
		ctl_reply_error(rq, "expected an object with a \"command\" that is a string");
		return;
	}
	for (const struct ctl_command *c = rq->ctl->opt.commands; c->name; c++) {
		if (strcmp(c->name, name) == 0) {
			c->run(rq, args, rq->ctl->opt.owner);
			return;
		}
	}
	refuse_unknown(rq, name);
}

/* The line is whole (its first `len` bytes). */
static void take_line(struct ctl_request *rq, size_t len)
{
	json_error_t fault;
	json_t *args;

	loop_timer_stop(rq->ctl->loop, &rq->timer);
	rq->state = REQUEST_RUNNING;
	args = json_loadb(rq->line, len, JSON_REJECT_DUPLICATES, &fault);
	if (!args) {
		ctl_reply_error(rq, "malformed JSON at byte %d: %s", fault.position, fault.text);
		return;
	}
	run_command(rq, args);
	json_decref(args);
}

static int make_room(struct ctl_request *rq)
{
	size_t room = rq->line_room ? 2 * rq->line_room : CTL_FIRST_ROOM;
	char *line;

	if (rq->line_len < rq->line_room)
		return 0;
	if (rq->line_len >= CTL_QUESTION_MAX)
		return -EMSGSIZE;
	line = realloc(rq->line, room);
	if (!line)
		return -ENOMEM;
	rq->line = line;
	rq->line_room = room;
	return 0;
}

/* -EAGAIN: the line is not whole yet. */
static int read_some(struct ctl_request *rq)
{
	char *from, *end;
	ssize_t got;
	int err = make_room(rq);

	if (err)
		return err;
	from = rq->line + rq->line_len;
	got = unix_read(rq->io.fd, from, rq->line_room - rq->line_len);
	if (got < 0)
		return (int)got;
	if (got == 0 && rq->line_len == 0)
		return -EPIPE;
	rq->line_len += (size_t)got;
	end = got ? memchr(from, '\n', (size_t)got) : from;
	if (end)
		take_line(rq, (size_t)(end - rq->line));
	return 0;
}

static void read_question(struct ctl_request *rq)
{
	int err = 0;

	/* Bounded by CTL_QUESTION_MAX, so no budget is needed. */
	while (!err && rq->state == REQUEST_READING)
		err = read_some(rq);
	if (!err || err == -EAGAIN)
		return;
	if (err != -EMSGSIZE) {
		lose_client(rq);
		return;
	}
	rq->state = REQUEST_RUNNING;
	ctl_reply_error(rq, "line too long: at most %d bytes", CTL_QUESTION_MAX);
}

static void on_client_ready(struct io *io, uint32_t events)
{
	struct ctl_request *rq = container_of(io, struct ctl_request, io);

	if (rq->state == REQUEST_READING)
		read_question(rq);
	else if (rq->state == REQUEST_WRITING)
		write_answer(rq);
	/* Not EPOLLRDHUP: a client that has shut down its own half still waits for the answer. */
	if (events & (EPOLLHUP | EPOLLERR) && rq->state != REQUEST_DEAD && rq->io.fd >= 0)
		lose_client(rq);
}

static void on_timeout(struct timer *t)
{
	struct ctl_request *rq = container_of(t, struct ctl_request, timer);

	rq->ctl->stats.timeouts++;
	if (rq->state != REQUEST_READING) {
		ctl_request_finish(rq);
		return;
	}
	rq->state = REQUEST_RUNNING;
	ctl_reply_error(rq, "no whole line within %llu ms",
			(unsigned long long)rq->ctl->opt.timeout_ms);
}

int ctl_request_start(struct ctl *c, int fd, const char *text, size_t len)
{
	struct ctl_request *rq = calloc(1, sizeof(*rq));
	int err;

	if (rq && len)
		rq->line = malloc(len);
	if (!rq || (len && !rq->line)) {
		free(rq);
		close(fd);
		return -ENOMEM;
	}
	if (len)
		memcpy(rq->line, text, len);
	rq->line_len = rq->line_room = len;
	rq->ctl = c;
	io_init(&rq->io, fd, on_client_ready);
	timer_init(&rq->timer, on_timeout);
	job_init(&rq->free_job, on_free_request);
	list_push_back(&c->requests, &rq->node);
	c->stats.client_count++;
	loop_timer_start(c->loop, &rq->timer, c->opt.timeout_ms);
	err = loop_add(c->loop, &rq->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP, false);
	if (err)
		ctl_request_finish(rq);
	return err;
}
