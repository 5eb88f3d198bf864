/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: what another worker may put into an inbox.  Each record of the input is a message: a byte for the
 * descriptors that come with it (none, one, two, three; sockets, a pipe, a file), a length, and bytes in place
 * of struct server_guest.
 *
 * - every descriptor that came is a session's or closed: none is left at the end;
 * - only a whole message with a descriptor makes a session, and each is counted in and out again;
 * - counts of clients are written nowhere but in their table;
 * - whatever stands in the message, the session answers a request, or ends, and prints an address.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "net/limit_table.h"
#include "proc/rebalance.h"

#define MESSAGE_MAX 512u
#define TURNS	    4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop loop;
static struct server server;
static struct stats_block stats;
static struct steer *steer;
static struct inboxes inboxes;
static struct rebalancer rebalancer;
static struct site_table *sites;
static struct limit_table limits;
static struct limit_rows rows;
static int file_fd, pipe_fds[2];

static void on_hello(struct request *req, struct reply *r, void *conf)
{
	reply_begin(r, 5);
	reply_write(r, "hello", 5);
	reply_end(r);
}

static void on_closed(struct server *srv)
{
	steer_closed(rebalancer.line);
}

static void on_done(struct server *srv, const struct access_entry *e)
{
	BUG_ON(!e->reason);
}

static void open_all(void)
{
	static const struct handler_ops ops = {.name = "hello", .on_request = on_hello};
	static const char *const names[] = {"*"};
	struct steer_options opt = {.slot_count = 2, .is_disabled = true};
	struct site *site;

	sites = site_table_new();
	BUG_ON(site_add(sites, names, 1, &site) || site_add_route(site, SPAN("/"), &ops, NULL, NULL));
	site_table_seal(sites);
	BUG_ON(loop_init(&loop) || steer_open(&opt, &steer) || inboxes_open(&inboxes, 2));
	server = (struct server){
		.loop = &loop,
		.stats = &stats,
		.sites = sites,
		.parse = {.request_line_max = 2000, .head_max = 8192, .field_max = 50, .body_max = 1 << 20},
		.timeouts = {.header = 5000, .body = 5000, .keepalive = 5000, .write = 5000, .linger = 20},
		.on_request_done = on_done,
		.on_session_closed = on_closed,
	};
	BUG_ON(limit_table_open(&limits, 64) || limit_rows_open(&rows, &limits, 1));
	server.limits.table = &limits;
	server.limits.row = limit_rows_of(&rows, 0);
	server.limits.client_connections = 1000;
	server.limits.total_connections = 1000;
	server_init(&server, "fuzz");
	rebalancer = (struct rebalancer){
		.server = &server,
		.steer = steer,
		.inboxes = &inboxes,
		.stats = &stats,
		.line = steer_slot(steer, 0),
	};
	steer_slot_up(steer, 0, 0, (uint32_t)getpid());
	rebalancer_init(&rebalancer);
	BUG_ON(rebalancer_start(&rebalancer, &loop));
	file_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	BUG_ON(file_fd < 0 || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK));
}

static int lowest_free(void)
{
	int fd = dup(file_fd);

	BUG_ON(fd < 0);
	close(fd);
	return fd;
}

/* One that answers, or behaves as no connection does.  *ret_client: the other end, or -1. */
static int make_fd(unsigned kind, int *ret_client)
{
	int fds[2];

	*ret_client = -1;
	if (kind == 3)
		return dup(file_fd);
	if (kind == 2)
		return dup(pipe_fds[0]);
	BUG_ON(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
	*ret_client = fds[0];
	return fds[1];
}

static void send_message(const void *data, size_t len, const int *fds, unsigned count)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(3 * sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)data, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.head = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.head), fds, count * sizeof(int));
	}
	BUG_ON(sendmsg(inboxes.fds[0][1], &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN);
}

/* A request on the connection that went along: whoever took it goes on as with any other. */
static void run_client(int client, bool has_session)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	char got[4096];
	ssize_t n;

	if (client >= 0)
		(void)send(client, request, sizeof(request) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	for (unsigned i = 0; i < TURNS; i++)
		loop_turn(&loop, 0);
	if (client < 0)
		return;
	n = recv(client, got, sizeof(got), MSG_DONTWAIT);
	BUG_ON(!has_session && n > 0);
	BUG_ON(has_session && n < 9 && n != 0);
	close(client);
}

static void take_record(const uint8_t *record, size_t len)
{
	unsigned kind = record[0] & 3, count = record[0] >> 2 & 3;
	uint64_t before = stats.moved_in;
	int fds[3], clients[3] = {-1, -1, -1};
	struct server_guest guest;
	bool is_whole;

	/* A message that is right but for its first bytes, or any bytes. */
	memset(&guest, 0, sizeof(guest));
	guest.peer.v4.sin_family = AF_INET;
	guest.transport_peer = guest.peer;
	if (len > 2)
		memcpy(&guest, record + 2, MIN(len - 2, sizeof(guest)));
	if (record[0] & 0x40)
		guest.limit_id = limits.header->id;
	for (unsigned i = 0; i < count; i++)
		fds[i] = make_fd(kind, &clients[i]);
	is_whole = record[0] & 0x80 || len >= sizeof(guest);
	send_message(record[0] & 0x80 ? (const void *)&guest : record, record[0] & 0x80 ? sizeof(guest) : len, fds, count);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
	loop_turn(&loop, 0);
	BUG_ON(stats.moved_in - before > 1 || (stats.moved_in > before && !is_whole));
	BUG_ON(count == 0 && server.session_count);
	for (unsigned i = 0; i < 3; i++)
		run_client(clients[i], i == 0 && server.session_count > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_open;
	int before;

	if (!is_open)
		open_all();
	is_open = true;
	before = lowest_free();
	while (size >= 2) {
		size_t len = MIN((size_t)data[1] + 2, size);

		take_record(data, len);
		data += len;
		size -= len;
	}
	server_close_all(&server, CLOSE_DRAIN);
	for (unsigned i = 0; i < TURNS; i++)
		loop_turn(&loop, 0);
	BUG_ON(server.session_count || server.sessions.used_count || server.exchanges.used_count ||
	       server.buffers.used_count);
	BUG_ON(rebalancer.line->live != 0);
	BUG_ON(lowest_free() != before);
	return 0;
}
