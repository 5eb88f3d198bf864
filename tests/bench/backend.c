/* SPDX-License-Identifier: MIT */
/*
 * The back end of the proxy's benches: cheap enough not to be what is measured.  One process, one
 * thread, level-triggered epoll; a connection costs some hundred bytes while nothing is under way.
 *
 *   backend PORT [DELAY_MS]        PORT 0: any; prints "port N" when it listens
 *
 *   /N                 N bytes                      /s/SEED/SIZE   sized body of that seed (HEAD
 * too) /upload            takes a body, says how much  /c/SEED/SIZE   the same, chunked /slow
 * small, after DELAY_MS        /e/SEED        takes a body, compares, says its hash /stats
 * counters, as JSON            /n/SEED        204 anything else      a small reply Upgrade: x 101,
 * then an echo
 *
 * SEED and SIZE are hexadecimal.  Replies of the right column carry the seed in X-Seed.
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

#define READ_SIZE (256u << 10)
#define TURN	  (1u << 20) /* bytes written to a connection before others have their turn */
#define SMALL	  "hello from the back end\n"
#define OK	  "HTTP/1.1 200 OK\r\n" DATE
#define DATE	  "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" /* a server has to say one */

enum state { HEAD, BODY, DELAY, WRITE, TUNNEL };

struct peer {
	int fd;
	enum state state;
	bool is_waiting; /* for EPOLLOUT */
	char *rest;	 /* the beginning of a head, or what came too early */
	size_t rest_len;
	struct wire_head head;
	struct wire_in in;
	struct wire_out out;
	uint64_t seed, size;
	char kind;
	double due;
	struct peer *next; /* in the queue of delayed ones, or of the dead */
	bool is_dead;
};

static struct {
	int epoll, listener;
	double delay_s;
	struct peer *delayed, **delayed_end, *dead;
	unsigned long accepted, open, requests, wrong, malformed, cut, tunnels;
	char data[READ_SIZE + WIRE_HEAD_MAX * 2];
} be;

/* Freed when the batch of events has been walked; one that is delayed, when its time comes. */
static void drop(struct peer *p, unsigned long *reason)
{
	if (p->is_dead)
		return;
	if (reason)
		++*reason;
	close(p->fd);
	be.open--;
	p->is_dead = true;
	if (p->state != DELAY) {
		p->next = be.dead;
		be.dead = p;
	}
}

static void bury(void)
{
	while (be.dead) {
		struct peer *p = be.dead;

		be.dead = p->next;
		wire_out_fini(&p->out);
		free(p->rest);
		free(p);
	}
}

static void watch(struct peer *p, bool is_waiting)
{
	struct epoll_event ev = {.events = is_waiting ? EPOLLOUT : EPOLLIN, .data.ptr = p};

	if (p->is_waiting == is_waiting)
		return;
	p->is_waiting = is_waiting;
	epoll_ctl(be.epoll, EPOLL_CTL_MOD, p->fd, &ev);
}

static void keep_rest(struct peer *p, const char *data, size_t len)
{
	char *rest = len ? malloc(len) : NULL;

	if (len && !rest) {
		drop(p, &be.malformed);
		return;
	}
	if (len)
		memcpy(rest, data, len);
	free(p->rest); /* `data` is a copy of it */
	p->rest = rest;
	p->rest_len = len;
}

/* --- replies --- */

static void small_reply(struct peer *p, const char *text, size_t len, bool has_seed)
{
	struct wire_out *o = &p->out;

	wire_out_start(o, WIRE_NONE, 0, 0);
	wire_out_head(o, OK "Content-Type: text/plain\r\nContent-Length: %zu\r\n", len);
	if (has_seed)
		wire_out_head(o, "X-Seed: %lx\r\n", p->seed);
	wire_out_head(o, "\r\n%.*s", p->head.method == 'H' ? 0 : (int)len, text);
}

static void stats_reply(struct peer *p)
{
	char text[256];
	int len = snprintf(text, sizeof(text),
			   "{\"accepted\": %lu, \"open\": %lu, \"requests\": %lu, \"wrong\": %lu, "
			   "\"malformed\": %lu, \"cut\": %lu, \"tunnels\": %lu}\n",
			   be.accepted, be.open, be.requests, be.wrong, be.malformed, be.cut,
			   be.tunnels);

	small_reply(p, text, (size_t)len, false);
}

static void echo_reply(struct peer *p)
{
	char text[64];
	int len = snprintf(text, sizeof(text), "%016lx %lx %d\n", XXH64_digest(&p->in.hash),
			   p->in.count, p->in.is_wrong);

	be.wrong += p->in.is_wrong;
	if (p->in.is_wrong)
		fprintf(stderr, "backend: upload %lx is wrong at byte %lu\n", p->seed,
			p->in.wrong_at);
	small_reply(p, text, (size_t)len, true);
}

static void body_reply(struct peer *p)
{
	struct wire_out *o = &p->out;
	bool is_chunked = p->kind == 'c', is_head = p->head.method == 'H';

	wire_out_start(o,
		       is_head	    ? WIRE_NONE
		       : is_chunked ? WIRE_CHUNKED
				    : WIRE_SIZED,
		       p->seed, p->size);
	wire_out_head(o, OK "Content-Type: application/octet-stream\r\n");
	if (p->kind != '0')
		wire_out_head(o, "X-Seed: %lx\r\n", p->seed);
	if (is_chunked)
		wire_out_head(o, "Transfer-Encoding: chunked\r\n\r\n");
	else
		wire_out_head(o, "Content-Length: %lu\r\n\r\n", p->size);
}

static void choose_reply(struct peer *p)
{
	char text[32];

	switch (p->kind) {
	case 'e':
		echo_reply(p);
		break;
	case 'u':
		small_reply(p, text, (size_t)snprintf(text, sizeof(text), "%lu\n", p->in.count),
			    false);
		break;
	case 'n':
		wire_out_start(&p->out, WIRE_NONE, 0, 0);
		wire_out_head(&p->out, "HTTP/1.1 204 No Content\r\n" DATE "X-Seed: %lx\r\n\r\n",
			      p->seed);
		break;
	case 'S':
		stats_reply(p);
		break;
	case 'c':
	case 's':
	case '0':
		body_reply(p);
		break;
	default:
		small_reply(p, SMALL, strlen(SMALL), false);
	}
}

/* --- requests --- */

static void read_target(struct peer *p)
{
	const char *t = p->head.target;
	const char *query = memchr(t, '?', p->head.target_len);
	size_t len = query ? (size_t)(query - t) : p->head.target_len;
	char *end;

	p->kind = 0;
	p->seed = p->size = 0;
	if (len >= 4 && t[2] == '/' && strchr("scen", t[1])) {
		p->kind = t[1];
		p->seed = strtoull(t + 3, &end, 16);
		if (*end == '/')
			p->size = strtoull(end + 1, NULL, 16);
	} else if (len >= 2 && t[1] >= '0' && t[1] <= '9') {
		p->kind = '0';
		p->size = strtoull(t + 1, NULL, 10);
	} else if (len == 7 && !memcmp(t, "/upload", 7)) {
		p->kind = 'u';
	} else if (len == 6 && !memcmp(t, "/stats", 6)) {
		p->kind = 'S';
	} else if (len == 5 && !memcmp(t, "/slow", 5)) {
		p->kind = 'd';
	}
}

/* What is left of the batch is served when the reply is written. */
static void write_reply(struct peer *p)
{
	int result = wire_out_send(&p->out, p->fd, TURN);

	if (result < 0) {
		drop(p, &be.cut);
	} else if (result == 0) {
		watch(p, true);
	} else if (p->head.is_close) {
		shutdown(p->fd, SHUT_WR); /* the proxy closes next: no port of ours in TIME_WAIT */
		p->state = TUNNEL;
		watch(p, false);
	} else {
		p->state = p->head.is_upgrade ? TUNNEL : HEAD;
		watch(p, false);
	}
}

static void answer(struct peer *p)
{
	be.requests++;
	if (p->kind == 'd' && be.delay_s > 0) {
		p->state = DELAY;
		p->due = wire_now_s() + be.delay_s;
		p->next = NULL;
		*be.delayed_end = p;
		be.delayed_end = &p->next;
		return;
	}
	choose_reply(p);
	p->state = WRITE;
	write_reply(p);
}

static void start_tunnel(struct peer *p)
{
	be.tunnels++;
	wire_out_start(&p->out, WIRE_NONE, 0, 0);
	wire_out_head(
		&p->out,
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
	p->state = WRITE;
	write_reply(p);
}

/* Takes a head off the front; false when there is none yet, or the connection is gone. */
static bool take_head(struct peer *p, const char **data, size_t *len)
{
	ssize_t n = wire_parse(*data, *len, true, &p->head);

	if (n < 0)
		drop(p, &be.malformed);
	if (n <= 0)
		return false;
	read_target(p);
	*data += n;
	*len -= (size_t)n;
	if (p->head.is_upgrade) {
		start_tunnel(p);
		return true;
	}
	wire_in_start(&p->in, &p->head, p->seed, p->kind == 'e');
	p->state = BODY;
	if (p->head.has_expect &&
	    send(p->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL) != 25)
		drop(p, &be.cut);
	return !p->is_dead;
}

static void serve(struct peer *p, const char *data, size_t len)
{
	while (!p->is_dead) {
		int result;

		if (p->state == HEAD && (!len || !take_head(p, &data, &len)))
			break;
		if (p->state == TUNNEL) {
			if (len && !p->head.is_close &&
			    send(p->fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
				drop(p, &be.cut);
			len = 0;
			break;
		}
		if (p->state != BODY)
			break;
		result = wire_in_take(&p->in, &data, &len);
		if (result < 0)
			drop(p, &be.malformed);
		else if (result > 0)
			answer(p);
		else
			break;
	}
	if (!p->is_dead)
		keep_rest(p, data, len);
}

/* --- events --- */

/* Bytes of an upload that nobody looks at are thrown away by the kernel, uncopied. */
static bool is_discarding(const struct peer *p)
{
	return p->state == BODY && p->in.framing == WIRE_SIZED && !p->in.is_checked &&
	       p->in.left > READ_SIZE;
}

static void on_readable(struct peer *p)
{
	size_t had = p->rest_len;
	ssize_t n;

	if (had > WIRE_HEAD_MAX) {
		drop(p, &be.malformed); /* a head too long, or a pipelined body */
		return;
	}
	if (is_discarding(p)) {
		n = recv(p->fd, NULL, (size_t)(p->in.left > TURN ? TURN : p->in.left) - 1,
			 MSG_TRUNC);
		if (n > 0) {
			p->in.left -= (uint64_t)n;
			p->in.count += (uint64_t)n;
			return;
		}
	} else {
		if (had)
			memcpy(be.data, p->rest, had);
		n = recv(p->fd, be.data + had, READ_SIZE, 0);
	}
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		drop(p, (p->state == HEAD && !had) || p->state == TUNNEL ? NULL : &be.cut);
		return;
	}
	serve(p, be.data, had + (size_t)n);
}

static void on_writable(struct peer *p)
{
	write_reply(p);
	if (!p->is_dead && p->state != WRITE && p->rest_len) {
		size_t len = p->rest_len;

		memcpy(be.data, p->rest, len);
		serve(p, be.data, len);
	}
}

static void accept_all(void)
{
	int on = 1, fd;

	while ((fd = accept4(be.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct peer *p = calloc(1, sizeof(*p));
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = p};

		if (!p || epoll_ctl(be.epoll, EPOLL_CTL_ADD, fd, &ev)) {
			free(p);
			close(fd);
			return;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		p->fd = fd;
		be.accepted++;
		be.open++;
	}
}

/* All are delayed by the same time, so the queue is in order. */
static int answer_delayed(void)
{
	double now = wire_now_s();

	while (be.delayed && be.delayed->due <= now) {
		struct peer *p = be.delayed;

		be.delayed = p->next;
		if (!be.delayed)
			be.delayed_end = &be.delayed;
		if (p->is_dead) {
			p->next = be.dead;
			be.dead = p;
			continue;
		}
		choose_reply(p);
		p->state = WRITE;
		write_reply(p);
	}
	return be.delayed ? (int)((be.delayed->due - now) * 1e3) + 1 : -1;
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct epoll_event ev = {.events = EPOLLIN};
	socklen_t len = sizeof(to);
	int on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	be.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(be.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(be.listener, (struct sockaddr *)&to, len) || listen(be.listener, 4096) ||
	    getsockname(be.listener, (struct sockaddr *)&to, &len) ||
	    epoll_ctl(be.epoll, EPOLL_CTL_ADD, be.listener, &ev))
		return -errno;
	printf("port %u\n", ntohs(to.sin_port));
	fflush(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	struct epoll_event events[256];

	if (argc < 2) {
		fprintf(stderr, "backend PORT [DELAY_MS]\n");
		return 2;
	}
	wire_init();
	wire_raise_files(100000);
	be.delay_s = argc > 2 ? atof(argv[2]) / 1e3 : 0;
	be.delayed_end = &be.delayed;
	be.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (listen_on((uint16_t)atoi(argv[1]))) {
		perror("backend: cannot listen");
		return 1;
	}
	for (;;) {
		int n = epoll_wait(be.epoll, events, 256, answer_delayed());

		for (int i = 0; i < n; i++) {
			struct peer *p = events[i].data.ptr;

			if (!p)
				accept_all();
			else if (!p->is_dead && p->is_waiting)
				on_writable(p);
			else if (!p->is_dead)
				on_readable(p);
		}
		bury();
	}
}
