/* SPDX-License-Identifier: MIT */
/*
 * Datagrams there and back, as fast as they come.
 *
 *   udpload echo PORT                                       the server behind the proxies: until it is killed
 *   udpload flows HOST PORT SECONDS FLOWS SIZE [fresh]      flows that each have one datagram on its way
 *
 * With `fresh` each datagram comes from a socket of its own: a new flow, as of a resolver's queries.  A datagram that is
 * not answered in PATIENCE_MS is sent again, and counted.  One line of JSON on standard output.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define BATCH	    64
#define SIZE_MAX_   2048
#define PATIENCE_MS 1000u

struct flow {
	int fd;
	uint64_t sent_ns, number;
};

static struct sockaddr_in target = { .sin_family = AF_INET };
static int epfd;
static size_t size;
static uint64_t answered, repeated, wrong;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), large = 4 << 20;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof(large));
	return fd;
}

/* Batches, so that it costs as little of the CPUs as can be. */
static void serve(unsigned port)
{
	static char data[BATCH][SIZE_MAX_];
	static struct sockaddr_in peers[BATCH];
	static struct iovec iov[BATCH];
	static struct mmsghdr headers[BATCH];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	target.sin_port = htons((uint16_t)port);
	target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&target, sizeof(target)))
		die("bind");
	for (;;) {
		int n;

		for (int i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){ data[i], SIZE_MAX_ };
			headers[i].msg_hdr = (struct msghdr){ .msg_name = &peers[i], .msg_namelen = sizeof(peers[i]),
							      .msg_iov = &iov[i], .msg_iovlen = 1 };
		}
		n = recvmmsg(fd, headers, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			iov[i].iov_len = headers[i].msg_len;
		if (n > 0)
			sendmmsg(fd, headers, (unsigned)n, 0);
	}
}

static void open_flow(struct flow *f)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = f };

	f->fd = open_socket();
	if (connect(f->fd, (struct sockaddr *)&target, sizeof(target)) || epoll_ctl(epfd, EPOLL_CTL_ADD, f->fd, &ev))
		die("connect");
}

static void ask(struct flow *f, uint64_t now_ns)
{
	char data[SIZE_MAX_] = { 0 };

	memcpy(data, &f->number, sizeof(f->number));
	f->sent_ns = now_ns;
	(void)!send(f->fd, data, size, 0);
}

static void take(struct flow *f, uint64_t now_ns, int is_fresh)
{
	char data[SIZE_MAX_];
	ssize_t n = recv(f->fd, data, sizeof(data), 0);

	if (n < 0)
		return;
	/* One that came twice answers the number before. */
	if ((size_t)n != size || memcmp(data, &f->number, sizeof(f->number)) != 0) {
		wrong++;
		return;
	}
	answered++;
	f->number++;
	if (is_fresh) {
		close(f->fd);
		open_flow(f);
	}
	ask(f, now_ns);
}

static void repeat_lost(struct flow *flows, unsigned count, uint64_t now_ns)
{
	for (unsigned i = 0; i < count; i++) {
		if (now_ns - flows[i].sent_ns < PATIENCE_MS * NS_PER_MS)
			continue;
		repeated++;
		ask(&flows[i], now_ns);
	}
}

static void load(double seconds, unsigned count, int is_fresh)
{
	struct flow *flows = calloc(count, sizeof(*flows));
	uint64_t now_ns = clock_ns(), start_ns = now_ns, looked_ns = now_ns;

	epfd = epoll_create1(0);
	for (unsigned i = 0; flows && i < count; i++) {
		flows[i].number = (uint64_t)i << 40;
		open_flow(&flows[i]);
		ask(&flows[i], now_ns);
	}
	while (flows && (double)(now_ns - start_ns) < seconds * 1e9) {
		struct epoll_event events[BATCH];
		int n = epoll_wait(epfd, events, BATCH, 10);

		now_ns = clock_ns();
		for (int i = 0; i < n; i++)
			take(events[i].data.ptr, now_ns, is_fresh);
		if (now_ns - looked_ns > 50 * NS_PER_MS) {
			repeat_lost(flows, count, now_ns);
			looked_ns = now_ns;
		}
	}
	printf("{\"answered\": %llu, \"repeated\": %llu, \"wrong\": %llu, \"seconds\": %.3f}\n",
	       (unsigned long long)answered, (unsigned long long)repeated, (unsigned long long)wrong,
	       (double)(clock_ns() - start_ns) / 1e9);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "echo") == 0)
		serve((unsigned)atoi(argv[2]));
	if (argc < 7 || strcmp(argv[1], "flows") != 0 || inet_pton(AF_INET, argv[2], &target.sin_addr) != 1) {
		fprintf(stderr, "usage: udpload echo PORT | udpload flows HOST PORT SECONDS FLOWS SIZE [fresh]\n");
		return 2;
	}
	target.sin_port = htons((uint16_t)atoi(argv[3]));
	size = (size_t)atoi(argv[6]);
	if (size < sizeof(uint64_t) || size > SIZE_MAX_)
		return 2;
	load(atof(argv[4]), (unsigned)atoi(argv[5]), argc > 7);
	return 0;
}
