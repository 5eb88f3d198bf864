/* SPDX-License-Identifier: MIT */
/*
 * Large bodies through a proxy: `bulkload PORT down|up BYTES REQUESTS [CONNECTIONS]`.
 *
 * Keep-alive connections, each with one request at a time: GET /BYTES, or POST of as many to
 * /upload.  What comes is thrown away by the kernel without being copied (MSG_TRUNC), what goes
 * comes from a small table, so that the client costs little beside the proxy.  One line of JSON;
 * exit status 1 when a body had not the right length.  The bytes themselves are mixload's business.
 */
#include "lib/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN	   (1u << 20)
#define PATIENCE_S 120 /* nothing at all for so long: given up */

struct client {
	int fd;
	bool is_sending, has_head;
	struct wire_out out;
	char data[WIRE_HEAD_MAX];
	size_t len;
	uint64_t left; /* of the body that comes */
};

static struct {
	struct sockaddr_in to;
	int epoll;
	bool is_upload;
	uint64_t size, bytes;
	unsigned long wanted, started, done, failed;
	unsigned open;
} bulk;

static void finish(struct client *c)
{
	close(c->fd);
	wire_out_fini(&c->out);
	c->fd = -1;
	bulk.open--;
}

static void fail(struct client *c, const char *why)
{
	fprintf(stderr, "bulkload: %s\n", why);
	bulk.failed++;
	bulk.done++;
	finish(c);
}

static void send_more(struct client *c)
{
	int result = wire_out_send(&c->out, c->fd, TURN);
	struct epoll_event ev = {.events = EPOLLIN | (result ? 0 : EPOLLOUT), .data.ptr = c};

	if (result < 0) {
		fail(c, strerror(-result));
		return;
	}
	if (c->is_sending != !result)
		epoll_ctl(bulk.epoll, EPOLL_CTL_MOD, c->fd, &ev);
	c->is_sending = !result;
}

static void start_request(struct client *c)
{
	if (bulk.started == bulk.wanted) {
		finish(c);
		return;
	}
	bulk.started++;
	c->has_head = false;
	c->len = 0;
	wire_out_start(&c->out, bulk.is_upload ? WIRE_SIZED : WIRE_NONE, 0, bulk.size);
	if (bulk.is_upload)
		wire_out_head(&c->out,
			      "POST /upload HTTP/1.1\r\nHost: bulk\r\nContent-Length: %lu\r\n\r\n",
			      bulk.size);
	else
		wire_out_head(&c->out, "GET /%lu HTTP/1.1\r\nHost: bulk\r\n\r\n", bulk.size);
	send_more(c);
}

static void complete(struct client *c)
{
	if (bulk.is_upload && strtoull(c->data, NULL, 10) != bulk.size) {
		fail(c, "an upload did not arrive as a whole");
		return;
	}
	bulk.bytes += bulk.size;
	bulk.done++;
	start_request(c);
}

/* The whole answer to an upload is small: it is in `data`. */
static void take_body(struct client *c, size_t n)
{
	c->left -= n < c->left ? n : c->left;
	if (!c->left)
		complete(c);
}

static void take_head(struct client *c)
{
	struct wire_head head;
	ssize_t n = wire_parse(c->data, c->len, false, &head);

	if (n == 0 && c->len < sizeof(c->data) - 1)
		return;
	if (n <= 0 || head.status != 200 || head.framing != WIRE_SIZED ||
	    (!bulk.is_upload && head.length != bulk.size)) {
		fail(c, n <= 0 ? "malformed head" : "not what was asked for");
		return;
	}
	c->has_head = true;
	c->left = head.length;
	c->len -= (size_t)n;
	memmove(c->data, c->data + n, c->len + 1);
	take_body(c, c->len);
}

static void receive(struct client *c)
{
	ssize_t n;

	if (!c->has_head || bulk.is_upload)
		n = recv(c->fd, c->data + c->len, sizeof(c->data) - 1 - c->len, 0);
	else
		n = recv(c->fd, NULL, c->left < TURN ? (size_t)c->left : TURN, MSG_TRUNC);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		fail(c, n < 0 ? strerror(errno) : "closed early");
		return;
	}
	if (!c->has_head || bulk.is_upload) {
		c->len += (size_t)n;
		c->data[c->len] = '\0';
	}
	if (c->has_head)
		take_body(c, (size_t)n);
	else
		take_head(c);
}

static int start_client(struct client *c)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if ((connect(c->fd, (struct sockaddr *)&bulk.to, sizeof(bulk.to)) &&
	     errno != EINPROGRESS) ||
	    epoll_ctl(bulk.epoll, EPOLL_CTL_ADD, c->fd, &ev))
		return -errno;
	bulk.open++;
	start_request(c);
	return 0;
}

static void run(void)
{
	struct epoll_event events[64];
	int n;

	while (bulk.open) {
		n = epoll_wait(bulk.epoll, events, 64, PATIENCE_S * 1000);
		if (n == 0) {
			bulk.failed += bulk.open;
			break;
		}
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (c->is_sending && events[i].events & EPOLLOUT)
				send_more(c);
			if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				receive(c);
		}
	}
}

int main(int argc, char **argv)
{
	unsigned count = argc > 5 ? (unsigned)atoi(argv[5]) : 1;
	struct client *clients = calloc(count, sizeof(*clients));
	double began = wire_now_s(), seconds;

	if (argc < 5 || !clients) {
		fprintf(stderr, "bulkload PORT down|up BYTES REQUESTS [CONNECTIONS]\n");
		return 2;
	}
	wire_init();
	bulk.to.sin_family = AF_INET;
	bulk.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bulk.to.sin_port = htons((uint16_t)atoi(argv[1]));
	bulk.is_upload = !strcmp(argv[2], "up");
	bulk.size = strtoull(argv[3], NULL, 10);
	bulk.wanted = strtoul(argv[4], NULL, 10);
	bulk.epoll = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < count; i++)
		if (start_client(&clients[i]))
			return 3;
	run();
	seconds = wire_now_s() - began;
	printf("{\"requests\": %lu, \"bytes\": %lu, \"seconds\": %.3f, \"failed\": %lu}\n",
	       bulk.done, bulk.bytes, seconds, bulk.failed);
	free(clients);
	return bulk.failed || bulk.done != bulk.wanted;
}
