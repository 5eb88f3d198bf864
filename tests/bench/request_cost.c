/* SPDX-License-Identifier: MIT */
/*
 * Requests on one kept connection of one server, for counting instructions (make bench-limits, make bench-module):
 *
 *   request_cost none|rate|shared|bytes|respond|FILE.so COUNT
 *
 * none: no limit.  rate: requests of the client are counted.  shared: other hosts are to hear of them.  bytes: least rates
 * of bytes are watched.  respond: a constant answer of 13 bytes.  FILE.so: the answer of that module.  The server runs in
 * this process; loop_turn() is what is to be counted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/module.h"
#include "app/respond.h"
#include "http/server.h"

static const char request[] = "GET /hello HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

static void on_request(struct request *req, struct reply *r, void *conf)
{
	reply_add(r, SPAN("Content-Type"), SPAN("text/plain"));
	reply_begin(r, 5);
	reply_write(r, "hello", 5);
	reply_end(r);
}

/* In use until the end of the process: nothing of it is freed. */
static void *load(const char *path, struct loop *l)
{
	static struct module_stats stats;
	struct module_route_options opt = { .prefix = SPAN("/"), .timeout_ms = 60000, .body_max = 1 << 20 };
	char why[MODULE_WHY_SIZE];
	void *conf;

	if (module_open(path, &opt.module, why) || module_route_new(&opt, &conf) ||
	    module_start(opt.module, l, 0, &stats))
		exit(1);
	return conf;
}

static struct site_table *make_sites(const char *mode, struct loop *l, const struct limit_rate *rate)
{
	static const struct handler_ops own = { .name = "hello", .on_request = on_request };
	static const char *const names[] = { "*" };
	const struct respond_options constant = { .body = "hello, world\n", .type = "text/plain" };
	struct site_table *sites = site_table_new();
	const struct handler_ops *ops = &own;
	void *conf = NULL;
	struct site *site;

	if (strcmp(mode, "respond") == 0) {
		ops = &respond_ops;
		if (respond_new(&constant, &conf))
			exit(1);
	} else if (strchr(mode, '/')) {
		ops = &module_ops;
		conf = load(mode, l);
	}
	if (!sites || site_add(sites, names, 1, &site) || site_add_route(site, SPAN("/"), ops, conf, NULL))
		exit(1);
	site_limit_route(site, rate);
	site_table_seal(sites);
	return sites;
}

/* `ring`: NULL, or what the sharer is to read. */
static void run(struct loop *l, int client, unsigned count, struct limit_ring *ring)
{
	struct limit_use use;
	char answer[4096];

	for (unsigned i = 0; i < count; i++) {
		if (send(client, request, sizeof(request) - 1, 0) < 0)
			exit(1);
		while (recv(client, answer, sizeof(answer), MSG_DONTWAIT) <= 0)
			loop_turn(l, 100);
		if (memcmp(answer, "HTTP/1.1 200", 12) != 0 || (ring && !limit_ring_take(ring, &use)))
			exit(1);
	}
}

int main(int argc, char **argv)
{
	/* Never reached: what is counted is the way of a request that is admitted. */
	static const struct limit_rate rate = { .zone = 1, .interval = 1, .window = LIMIT_WINDOW_MAX };
	union sock_addr peer = { .v4 = { .sin_family = AF_INET, .sin_addr.s_addr = 0x0100007f } };
	struct stats_block stats = { 0 };
	struct limit_table table = { 0 };
	struct limit_share share = { 0 };
	bool is_shared = argc == 3 && strcmp(argv[1], "shared") == 0;
	struct loop loop;
	int fds[2];

	if (argc != 3 || loop_init(&loop) || limit_table_open(&table, 65536) ||
	    limit_share_open(&share, &rate, 1, 1, UINT64_MAX) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds)) {
		fprintf(stderr, "request_cost none|rate|shared|bytes|respond|FILE.so COUNT\n");
		return 2;
	}
	struct server server = {
		.loop = &loop,
		.stats = &stats,
		.sites = make_sites(argv[1], &loop, strcmp(argv[1], "rate") == 0 || is_shared ? &rate : NULL),
		.parse = { .request_line_max = 8192, .head_max = 16384, .field_max = 100, .body_max = 1 << 20 },
		.timeouts = { .header = 60000, .body = 60000, .keepalive = 60000, .write = 60000, .linger = 1000 },
	};
	server.limits.table = &table;
	if (is_shared)
		server.limits.post = limit_share_post(&share, &table, 0, false);
	if (strcmp(argv[1], "bytes") == 0) {
		server.limits.header_rate = server.limits.body_rate = server.limits.write_rate = 500;
		server.limits.has_pace = true;
		server.limits.rate_grace_ms = 5000;
	}
	server_init(&server, "bench");
	server_add(&server, fds[0], &peer, false);
	run(&loop, fds[1], (unsigned)atoi(argv[2]), server.limits.post.ring);
	close(fds[1]);
	server_close_all(&server, CLOSE_DRAIN);
	loop_fini(&loop);
	server_fini(&server);
	return 0;
}
