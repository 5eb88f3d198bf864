/* SPDX-License-Identifier: MIT */
/* Everything that a module can get wrong, for the tests: no other may be like this. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include "sluice/handler.h"

static unsigned long ends;	/* requests that on_abort ended */

static void on_injection(struct sluice_request *r)
{
	sluice_add(r, "X-Good", "1", 1);
	sluice_add(r, "X-Bad", "1\r\nSet-Cookie: a=b", 19);
	sluice_reply(r, 200, "text/plain", "body\n", 5);
}

static void on_own_length(struct sluice_request *r)
{
	sluice_add(r, "Content-Length", "1000", 4);
	sluice_reply(r, 200, "text/plain", "body\n", 5);
}

static void on_fields(struct sluice_request *r)
{
	char value[1000];

	memset(value, 'x', sizeof(value));
	for (int i = 0; i < 40 && sluice_add(r, "X-Long", value, sizeof(value)) == 0; i++)
		;
	sluice_reply(r, 200, NULL, NULL, 0);
}

static void on_status(struct sluice_request *r)
{
	sluice_status(r, 99);
	sluice_reply(r, 1000, NULL, "body\n", 5);
}

static void on_too_long(struct sluice_request *r)
{
	sluice_begin(r, 5);
	sluice_begin(r, 5);
	if (sluice_write(r, "much more", 9) == -EMSGSIZE)
		sluice_write(r, "five\n", 5);
	sluice_end(r);
}

static void on_too_short(struct sluice_request *r)
{
	sluice_begin(r, 100);
	sluice_write(r, "five\n", 5);
	sluice_end(r);
}

static void on_no_begin(struct sluice_request *r)
{
	sluice_write(r, "five\n", 5);
	sluice_end(r);
}

static void on_twice(struct sluice_request *r)
{
	sluice_begin(r, 100);
	sluice_write(r, "five\n", 5);
	sluice_reply(r, 200, NULL, "x", 1);
}

static void on_cut(struct sluice_request *r)
{
	sluice_begin(r, 100);
	sluice_write(r, "five\n", 5);
	sluice_abort(r);
}

/* Pours without looking whether anybody drinks. */
static void on_flood(struct sluice_request *r)
{
	static char data[65536];
	int err = 0;

	sluice_begin(r, SLUICE_UNKNOWN);
	for (int i = 0; i < 1024 && !err; i++)
		err = sluice_write(r, data, sizeof(data));
	if (err == -ENOBUFS)
		sluice_write(r, "full", 4);
	sluice_end(r);
}

static void on_never(struct sluice_request *r)
{
	(void)r;
}

static void on_half(struct sluice_request *r)
{
	sluice_begin(r, 100);
	sluice_write(r, "five\n", 5);
}

static void on_abort(struct sluice_request *r)
{
	(void)r;
	ends++;
}

static void on_ends(struct sluice_request *r)
{
	char text[32];

	sluice_reply(r, 200, NULL, text, (size_t)snprintf(text, sizeof(text), "%lu\n", ends));
}

static void on_crash(struct sluice_request *r)
{
	(void)r;
	abort();
}

static void on_block(struct sluice_request *r)
{
	poll(NULL, 0, 10000);
	sluice_reply(r, 200, NULL, NULL, 0);
}

/* Reads the file named by the query; the sandbox decides. */
static void on_read(struct sluice_request *r)
{
	char path[1024], text[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%.*s", (int)r->query.len, r->query.ptr);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? snprintf(text, sizeof(text), "%s", strerror(errno)) : read(fd, text, sizeof(text));
	if (fd >= 0)
		close(fd);
	sluice_reply(r, fd < 0 ? 403 : 200, NULL, text, n > 0 ? (size_t)n : 0);
}

static void close_it(void *ctx)
{
	close((int)(intptr_t)ctx);
}

/* The same, sent by the kernel. */
static void on_send(struct sluice_request *r)
{
	char path[1024];
	off_t len;
	int fd;

	snprintf(path, sizeof(path), "%.*s", (int)r->query.len, r->query.ptr);
	fd = open(path, O_RDONLY);
	if (fd < 0) {
		sluice_error(r, 403);
		return;
	}
	len = lseek(fd, 0, SEEK_END);
	sluice_begin(r, (uint64_t)len);
	sluice_write_file(r, fd, 0, (uint64_t)len, close_it, (void *)(intptr_t)fd);
	sluice_end(r);
}

static int init(struct sluice_instance *in)
{
	return strcmp(in->args, "fail") == 0 ? -EPERM : 0;
}

#define ROUTE(path, function) { "GET", path, function, NULL, NULL, NULL, on_abort }

static const struct sluice_route routes[] = {
	ROUTE("/injection", on_injection), ROUTE("/own-length", on_own_length), ROUTE("/fields", on_fields),
	ROUTE("/status", on_status), ROUTE("/too-long", on_too_long), ROUTE("/too-short", on_too_short),
	ROUTE("/no-begin", on_no_begin), ROUTE("/twice", on_twice), ROUTE("/cut", on_cut), ROUTE("/flood", on_flood),
	ROUTE("/half", on_half), ROUTE("/ends", on_ends), ROUTE("/crash", on_crash), ROUTE("/block", on_block),
	ROUTE("/read", on_read), ROUTE("/send", on_send),
	{ NULL, "/never", on_never, NULL, NULL, NULL, on_abort },
};

const struct sluice_module sluice_module = {
	SLUICE_HEAD, .name = "wrong", SLUICE_ROUTES(routes), .init = init,
};
