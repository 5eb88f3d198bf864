/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any bytes after a handshake, in pieces of any size, at an echo or as a subscriber that publishes
 * to its own channel, with permessage-deflate or without.  Beyond not crashing: what comes back is frames that a
 * client would take (no mask, no reserved bit, the shortest form of each length, whole control frames), a close frame
 * is the last of them, and nothing is left over.
 *
 * Input: a byte of options, then the bytes of the client.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/websocket_internal.h"
#include "app/websocket_route_internal.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GOT_MAX (1u << 20)

static struct loop loop;
static struct stats_block stats;
static struct websockets *websockets;
static void *echo, *channel;
static unsigned char got[GOT_MAX];
static size_t got_len;

struct client {
	struct conn conn;
	int fd;
	bool is_closed;
	void *ctx;
};

static void on_close(void *handle, int reason, uint64_t bytes_sent)
{
	struct client *c = handle;

	BUG_ON(c->is_closed);
	c->is_closed = true;
}

static void on_ready(struct io *io, uint32_t events)
{
	struct client *c = container_of(io, struct client, conn.io);

	conn_note_events(&c->conn, events);
	if (!c->is_closed)
		websocket_detached_ops.on_ready(c->ctx);
}

static void init(void)
{
	struct websocket_route_options opt = {
		.endpoint = {
			.has_deflate = true,
			.message_max = 300,
			.frame_max = 200,
			.queue_max = 1 << 20,
			.close_ms = 1000,
		},
		.publish = WEBSOCKET_PUBLISH_ANY,
	};

	BUG_ON(loop_init(&loop) || websockets_new(&websockets));
	websockets_start(websockets, &loop, &stats, NULL);
	opt.endpoint.owner = websockets;
	BUG_ON(websocket_route_new(&opt, &echo));
	opt.channel = "c";
	BUG_ON(websocket_route_new(&opt, &channel));
}

static void receive(const struct client *c)
{
	ssize_t n;

	while (got_len < GOT_MAX && (n = recv(c->fd, got + got_len, GOT_MAX - got_len, MSG_DONTWAIT)) > 0)
		got_len += (size_t)n;
}

static void check_frames(bool has_deflate)
{
	bool has_closed = false;
	size_t at = 0, head, len;

	while (at < got_len) {
		BUG_ON(has_closed || got_len - at < 2);
		BUG_ON((got[at] & 0xf0 & (has_deflate && !(got[at] & 8) ? 0xb0 : 0xf0)) != 0x80 || (got[at + 1] & 0x80));
		head = got[at + 1] == 127 ? 10 : got[at + 1] == 126 ? 4 : 2;
		BUG_ON(got_len - at < head);
		len = got[at + 1] & 0x7f;
		for (size_t i = 2, whole = 0; i < head; i++)
			len = whole = whole << 8 | got[at + i];
		BUG_ON(head == 10 || (head == 4 && len < 126) || len > 300);
		switch (got[at] & 15) {
		case WSLAY_CONNECTION_CLOSE:
			has_closed = true;
			BUG_ON(len == 1 || len > 125);
			break;
		case WSLAY_PONG:
			BUG_ON(len > 125);
			break;
		default:
			BUG_ON((got[at] & 15) != WSLAY_TEXT_FRAME && (got[at] & 15) != WSLAY_BINARY_FRAME);
		}
		at += head + len;
		BUG_ON(at > got_len);
	}
}

static void turn(struct client *c)
{
	loop_turn(&loop, 0);
	receive(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const union sock_addr peer = { .v4 = { .sin_family = AF_INET } };
	struct client c = { 0 };
	struct detached d = { .conn = &c.conn, .handle = &c, .close = on_close };
	struct websocket_route *route;
	int fds[2];
	size_t piece;

	if (size < 1)
		return 0;
	if (!websockets)
		init();
	BUG_ON(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0);
	c.fd = fds[1];
	got_len = 0;
	piece = data[0] >> 2 ? data[0] >> 2 : size;
	conn_open(&c.conn, &loop, fds[0], &peer, on_ready);
	BUG_ON(conn_watch(&c.conn) < 0);
	route = data[0] & 1 ? channel : echo;
	c.ctx = websocket_on_detached(&route->entries[data[0] & 2 ? WEBSOCKET_DEFLATED : WEBSOCKET_PLAIN], &d);
	for (size_t at = 1; at < size && !c.is_closed; at += piece) {
		if (send(c.fd, data + at, MIN(piece, size - at), MSG_NOSIGNAL) < 0)
			break;
		turn(&c);
	}
	turn(&c);
	check_frames(data[0] & 2);
	shutdown(c.fd, SHUT_WR);
	for (int i = 0; i < 10 && !c.is_closed; i++)
		turn(&c);
	BUG_ON(!c.is_closed || stats.websocket.connections);
	conn_close(&c.conn, false);
	close(c.fd);
	loop_turn(&loop, 0);
	return 0;
}
