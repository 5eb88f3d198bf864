/* SPDX-License-Identifier: MIT */
/*
 * Client of the control socket: a non-blocking descriptor and poll() against a deadline.
 */
#include "proc/ctl_client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/unix_sock.h"

static uint64_t now_ms(void)
{
	return clock_ns() / NS_PER_MS;
}

static uint64_t deadline_in(uint64_t timeout_ms)
{
	return timeout_ms ? now_ms() + timeout_ms : UINT64_MAX;
}

/* 0 or -ETIMEDOUT; anything else that can happen shows in the read or write that follows. */
static int wait_for(int fd, short events, uint64_t deadline_ms)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		uint64_t now = now_ms();
		int wait = -1, count;

		if (deadline_ms != UINT64_MAX)
			wait = now < deadline_ms ? (int)MIN(deadline_ms - now, (uint64_t)INT_MAX)
						 : 0;
		count = poll(&p, 1, wait);
		if (count > 0)
			return 0;
		if (count == 0 && now >= deadline_ms)
			return -ETIMEDOUT;
	}
}

static int fail(struct ctl_client *c, int err, const char *what)
{
	if (err == -ETIMEDOUT)
		snprintf(c->error, sizeof(c->error), "the server at '%s' does not answer in time",
			 c->path);
	else
		snprintf(c->error, sizeof(c->error), "%s '%s': %s", what, c->path, strerror(-err));
	return err;
}

/* While the connection stands the process does too, so its number cannot be another's yet. */
static void know_server(struct ctl_client *c)
{
	struct ucred peer;

	if (unix_peer(c->fd, &peer) < 0 || peer.pid <= 0)
		return;
	c->pid = peer.pid;
	/* A server in this very process (tests) does not exit while it is waited for. */
	if (c->pid != getpid())
		c->pid_fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
}

int ctl_client_open(struct ctl_client *c, const char *path, uint64_t timeout_ms)
{
	memset(c, 0, sizeof(*c));
	c->path = path;
	c->pid_fd = -1;
	c->fd = unix_connect(path, timeout_ms);
	if (c->fd >= 0) {
		know_server(c);
		return 0;
	}
	if (c->fd == -EAGAIN)
		return fail(c, -ETIMEDOUT, "");
	if (c->fd == -ENOENT || c->fd == -ECONNREFUSED)
		snprintf(c->error, sizeof(c->error),
			 "no sluice answers at '%s': %s; is it running?", path, strerror(-c->fd));
	else
		fail(c, c->fd, "cannot reach the server at");
	return c->fd;
}

void ctl_client_close(struct ctl_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->pid_fd >= 0)
		close(c->pid_fd);
	c->fd = -1;
	c->pid_fd = -1;
	free(c->details);
	c->details = NULL;
}

static int send_all(int fd, const char *data, size_t len, uint64_t deadline_ms)
{
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = unix_write(fd, data + sent, len - sent);
		int err = 0;

		if (n >= 0)
			sent += (size_t)n;
		else if (n == -EAGAIN)
			err = wait_for(fd, POLLOUT, deadline_ms);
		else
			err = (int)n;
		if (err)
			return err;
	}
	return 0;
}

int ctl_client_send(struct ctl_client *c, const json_t *question, uint64_t timeout_ms)
{
	char *line = json_dumps(question, JSON_COMPACT);
	uint64_t deadline_ms = deadline_in(timeout_ms);
	int err;

	if (!line)
		return fail(c, -ENOMEM, "cannot ask the server at");
	err = send_all(c->fd, line, strlen(line), deadline_ms);
	if (!err)
		err = send_all(c->fd, "\n", 1, deadline_ms);
	free(line);
	/* A server that refuses early (too many clients) has closed already: its answer can still
	 * be read. */
	if (err == -EPIPE || err == -ECONNRESET)
		return 0;
	return err ? fail(c, err, "cannot ask the server at") : 0;
}

/* One line into `line` (CTL_LINE_MAX bytes).  Its length without the newline, -EPIPE at an early
 * end, or -errno. */
static ssize_t read_line(int fd, char *line, uint64_t deadline_ms)
{
	size_t len = 0;

	while (len < CTL_LINE_MAX) {
		ssize_t got = unix_read(fd, line + len, CTL_LINE_MAX - len);
		char *end;
		int err;

		if (got == 0)
			return -EPIPE;
		if (got == -EAGAIN) {
			err = wait_for(fd, POLLIN, deadline_ms);
			if (err)
				return err;
			continue;
		}
		if (got < 0)
			return got;
		end = memchr(line + len, '\n', (size_t)got);
		if (end)
			return end - line;
		len += (size_t)got;
	}
	return -EMSGSIZE;
}

/* Takes `answer` over unless the result is 0. */
static int judge(struct ctl_client *c, json_t *answer)
{
	const char *text;

	if (!json_is_object(answer)) {
		json_decref(answer);
		snprintf(c->error, sizeof(c->error), "the server at '%s' answers no JSON object",
			 c->path);
		return -EBADMSG;
	}
	if (json_is_true(json_object_get(answer, "ok")))
		return 0;
	text = json_string_value(json_object_get(answer, "error"));
	snprintf(c->error, sizeof(c->error), "%s", text ? text : "the server gives no reason");
	text = json_string_value(json_object_get(answer, "details"));
	free(c->details);
	c->details = text ? strdup(text) : NULL;
	json_decref(answer);
	return -EREMOTEIO;
}

int ctl_client_receive(struct ctl_client *c, json_t **ret_answer, uint64_t timeout_ms)
{
	char *line = malloc(CTL_LINE_MAX);
	json_t *answer;
	ssize_t len;
	int err;

	if (!line)
		return fail(c, -ENOMEM, "cannot hear the server at");
	len = read_line(c->fd, line, deadline_in(timeout_ms));
	if (len == -EPIPE || len == -ECONNRESET) {
		snprintf(c->error, sizeof(c->error), "the server at '%s' left without an answer",
			 c->path);
		len = -EPIPE;
	} else if (len < 0) {
		fail(c, (int)len, "cannot hear the server at");
	}
	if (len < 0) {
		free(line);
		return (int)len;
	}
	answer = json_loadb(line, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
	free(line);
	err = judge(c, answer);
	if (!err)
		*ret_answer = answer;
	return err;
}

static int wait_close(int fd, uint64_t deadline_ms)
{
	char rest[256];

	for (;;) {
		ssize_t got = unix_read(fd, rest, sizeof(rest));
		int err = got == -EAGAIN ? wait_for(fd, POLLIN, deadline_ms) : 0;

		if (err)
			return err;
		if (got <= 0 && got != -EAGAIN)
			return 0;
	}
}

int ctl_client_wait_end(struct ctl_client *c, uint64_t timeout_ms)
{
	uint64_t deadline_ms = deadline_in(timeout_ms);
	int err = wait_close(c->fd, deadline_ms);

	if (!err && c->pid_fd >= 0)
		err = wait_for(c->pid_fd, POLLIN, deadline_ms);
	return err ? fail(c, err, "cannot hear the server at") : 0;
}

int ctl_client_ask(struct ctl_client *c, const char *path, const char *command, json_t **ret_answer,
		   uint64_t timeout_ms)
{
	int err = ctl_client_open(c, path, timeout_ms);
	json_t *question;

	if (err)
		return err;
	question = json_pack("{s:s}", "command", command);
	err = ctl_client_send(c, question, timeout_ms);
	json_decref(question);
	return err ? err : ctl_client_receive(c, ret_answer, timeout_ms);
}
