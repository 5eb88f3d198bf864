/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any bytes from a client of the control socket, in any pieces, followed by the end of its half.  The
 * first byte says where the pieces end and whether the client waits for its answer.
 *
 * - exactly one line comes back, a JSON object that says whether it is "ok", and then the end;
 * - which answer it is does not depend on the pieces;
 * - a command runs only when the bytes are a JSON object that names it, and runs once;
 * - nothing of a client is left: no request, no descriptor.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/ctl_internal.h"

#define ANSWER_MAX (1u << 16)
#define TURNS_MAX  64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop loop;
static struct ctl *ctl;
static unsigned runs;
static struct ctl_request *pending;

static void on_echo(struct ctl_request *rq, const json_t *args, void *owner)
{
	runs++;
	ctl_reply(rq, json_pack("{s:b, s:O}", "ok", 1, "echo", args));
}

/* Answered in a later turn, when the client may have left. */
static void on_later(struct ctl_request *rq, const json_t *args, void *owner)
{
	runs++;
	pending = rq;
}

static const struct ctl_command commands[] = {{"echo", on_echo}, {"later", on_later}, {NULL, NULL}};

static void close_ctl(void)
{
	ctl_close(ctl);
	loop_turn(&loop, 0);
}

static void open_ctl(void)
{
	static char path[64];
	char error[CTL_ERROR_TEXT];
	struct ctl_options opt = {.path = path, .commands = commands};

	snprintf(path, sizeof(path), "/tmp/sluice-fuzz-ctl-%d.sock", (int)getpid());
	BUG_ON(loop_init(&loop) || ctl_open(&loop, &opt, &ctl, error));
	atexit(close_ctl);
}

static void turn(void)
{
	loop_turn(&loop, 0);
	if (pending) {
		struct ctl_request *rq = pending;

		pending = NULL;
		ctl_reply(rq, json_pack("{s:b}", "ok", 1));
		loop_turn(&loop, 0);
	}
}

/* The answer in `out`; returns its length. */
static size_t ask(const uint8_t *data, size_t size, size_t piece, bool is_leaving, char *out)
{
	size_t got = 0;
	int fds[2];

	BUG_ON(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
	BUG_ON(ctl_request_start(ctl, fds[1], NULL, 0));
	for (size_t at = 0; at < size; at += piece) {
		/* It closes behind its answer, and what follows the line is not read. */
		if (send(fds[0], data + at, MIN(piece, size - at), MSG_NOSIGNAL) < 0)
			break;
		turn();
	}
	shutdown(fds[0], SHUT_WR);
	for (unsigned i = 0; i < TURNS_MAX && !is_leaving; i++) {
		ssize_t n = recv(fds[0], out + got, ANSWER_MAX - got, 0);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			break;
		if (n > 0)
			got += (size_t)n;
		turn();
	}
	close(fds[0]);
	for (unsigned i = 0; i < TURNS_MAX && ctl_stats(ctl)->client_count; i++)
		turn();
	BUG_ON(ctl_stats(ctl)->client_count || !list_is_empty(&ctl->requests));
	return got;
}

static void check_answer(const char *answer, size_t len)
{
	json_t *json;

	BUG_ON(len < 2 || answer[len - 1] != '\n' || memchr(answer, '\n', len - 1));
	json = json_loadb(answer, len - 1, 0, NULL);
	BUG_ON(!json_is_object(json) || !json_is_boolean(json_object_get(json, "ok")));
	BUG_ON(runs != (unsigned)json_is_true(json_object_get(json, "ok")));
	if (!runs)
		BUG_ON(!json_is_string(json_object_get(json, "error")));
	json_decref(json);
}

static void check_run(const uint8_t *data, size_t size)
{
	const uint8_t *lf = memchr(data, '\n', size);
	json_t *json = json_loadb((const char *)data, lf ? (size_t)(lf - data) : size, 0, NULL);
	const char *name = json_string_value(json_object_get(json, "command"));

	BUG_ON(!name || (strcmp(name, "echo") != 0 && strcmp(name, "later") != 0));
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char whole[ANSWER_MAX], pieces[ANSWER_MAX];
	size_t whole_len, len;

	if (size < 2 || size > 4096)
		return 0;
	if (!ctl)
		open_ctl();
	runs = 0;
	whole_len = ask(data + 1, size - 1, size, false, whole);
	check_answer(whole, whole_len);
	if (runs)
		check_run(data + 1, size - 1);
	runs = 0;
	len = ask(data + 1, size - 1, 1 + (data[0] >> 1), data[0] & 1, pieces);
	if (!(data[0] & 1))
		BUG_ON(len != whole_len || memcmp(whole, pieces, len) != 0);
	return 0;
}
