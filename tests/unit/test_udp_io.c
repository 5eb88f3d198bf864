/* SPDX-License-Identifier: MIT */
/* Batches of datagrams: what comes in is what was sent, what goes out leaves in order, and what is lost is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "net/udp_io.h"
#include "net/udp_sock.h"

/* Of sendmmsg(): 0 goes on to the kernel; else the error that it gives for the first message it is called with. */
static struct {
	int errors[8];
	unsigned calls;
	int refuses_segments;
} wrapped;

int __real_sendmmsg(int fd, struct mmsghdr *headers, unsigned count, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *headers, unsigned count, int flags);

static bool has_segment(const struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR((struct msghdr *)h, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT)
			return true;
	return false;
}

int __wrap_sendmmsg(int fd, struct mmsghdr *headers, unsigned count, int flags)
{
	int err = wrapped.calls < ARRAY_LEN(wrapped.errors) ? wrapped.errors[wrapped.calls] : 0;

	wrapped.calls++;
	if (!err && wrapped.refuses_segments && has_segment(&headers[0].msg_hdr))
		err = EINVAL;
	/* As the kernel does: it stops before the one that fails. */
	for (unsigned i = 1; i < count && wrapped.refuses_segments; i++)
		if (has_segment(&headers[i].msg_hdr))
			count = i;
	if (!err)
		return __real_sendmmsg(fd, headers, count, flags);
	errno = err;
	return -1;
}

struct fix {
	int server, client;		/* client is connected to server */
	union sock_addr server_addr, client_addr;
	struct udp_receiver receiver;
	struct udp_sender sender;
};

static void open_pair(struct fix *f, const char *address, const char *dial)
{
	const struct udp_sock_options opt = { .has_gro = true, .rcvbuf = 1 << 20 };
	char text[SOCK_ADDR_TEXT];
	const char *step;

	memset(f, 0, sizeof(*f));
	memset(&wrapped, 0, sizeof(wrapped));
	assert_int_equal(sock_addr_parse(span_str(address), &f->server_addr), 0);
	f->server = udp_sock_bind(&f->server_addr, &opt, &step);
	assert_true(f->server >= 0);
	assert_int_equal(sock_local_addr(f->server, &f->server_addr), 0);
	snprintf(text, sizeof(text), "%s:%u", dial, sock_addr_port(&f->server_addr));
	assert_int_equal(sock_addr_parse(span_str(text), &f->server_addr), 0);
	f->client = udp_sock_connect(&f->server_addr.any, sock_addr_len(&f->server_addr));
	assert_true(f->client >= 0);
	assert_int_equal(sock_local_addr(f->client, &f->client_addr), 0);
	assert_int_equal(udp_receiver_init(&f->receiver), 0);
	assert_int_equal(udp_sender_init(&f->sender), 0);
}

static void close_pair(struct fix *f)
{
	close(f->server);
	close(f->client);
	udp_receiver_fini(&f->receiver);
	udp_sender_fini(&f->sender);
}

static void say(struct fix *f, const char *text)
{
	assert_int_equal(send(f->client, text, strlen(text), 0), strlen(text));
}

static void assert_hears(struct fix *f, const char *text)
{
	char data[2048];
	ssize_t n = recv(f->client, data, sizeof(data), MSG_DONTWAIT);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(data, text, strlen(text));
}

static void assert_hears_no_more(struct fix *f)
{
	char byte;

	assert_int_equal(recv(f->client, &byte, 1, MSG_DONTWAIT), -1);
}

static struct udp_message message(const char *text, unsigned segment)
{
	return (struct udp_message){ .data = (char *)text, .len = strlen(text), .segment = segment };
}

static void udp_io__receives_what_is_there(void **state)
{
	struct fix f;
	char text[16];

	open_pair(&f, "127.0.0.1:0", "127.0.0.1");
	assert_int_equal(udp_receive(&f.receiver, f.server, UDP_BATCH), 0);
	for (unsigned i = 0; i < UDP_BATCH + 3; i++) {
		snprintf(text, sizeof(text), "%u", i);
		say(&f, text);
	}
	assert_int_equal(udp_receive(&f.receiver, f.server, UDP_BATCH), UDP_BATCH);
	for (unsigned i = 0; i < UDP_BATCH; i++) {
		const struct udp_message *m = &f.receiver.messages[i];

		snprintf(text, sizeof(text), "%u", i);
		assert_int_equal(m->len, strlen(text));
		assert_memory_equal(m->data, text, m->len);
		assert_memory_equal(&m->path.peer, &f.client_addr, sizeof(struct sockaddr_in));
		assert_int_equal(m->path.local.any.sa_family, AF_UNSPEC);
		assert_int_equal(udp_message_count(m), 1);
	}
	assert_int_equal(udp_receive(&f.receiver, f.server, UDP_BATCH), 3);
	say(&f, "");
	assert_int_equal(udp_receive(&f.receiver, f.server, UDP_BATCH), 1);
	assert_int_equal(f.receiver.messages[0].len, 0);
	close_pair(&f);
}

/* The answer comes from the address that was written to, whatever the routes say. */
static void udp_io__answers_from_the_same_address(void **state)
{
	static const struct {
		const char *address, *dial;
		int family;	/* of what is told about our side */
	} cases[] = {
		{ "0.0.0.0:0", "127.0.0.1", AF_INET },	{ "0.0.0.0:0", "127.8.9.10", AF_INET },
		{ "[::]:0", "127.8.9.10", AF_INET6 },	{ "[::]:0", "[::1]", AF_INET6 },
		{ "127.8.9.10:0", "127.8.9.10", AF_UNSPEC },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct udp_message m = message("answer", 0);
		struct fix f;

		open_pair(&f, cases[i].address, cases[i].dial);
		say(&f, "question");
		assert_int_equal(udp_receive(&f.receiver, f.server, UDP_BATCH), 1);
		assert_int_equal(f.receiver.messages[0].path.local.any.sa_family, cases[i].family);
		udp_sender_add(&f.sender, f.server, &f.receiver.messages[0].path, &m);
		udp_sender_flush(&f.sender);
		/* The client is connected: anybody else's would not be seen. */
		assert_hears(&f, "answer");
		close_pair(&f);
	}
}

static void udp_io__sends_in_order_and_copies(void **state)
{
	struct fix f;
	struct udp_path path;
	char text[16];

	open_pair(&f, "127.0.0.1:0", "127.0.0.1");
	path = (struct udp_path){ .peer = f.client_addr };
	for (unsigned i = 0; i < 150; i++) {
		struct udp_message m;

		snprintf(text, sizeof(text), "%u", i);
		m = message(text, 0);
		udp_sender_add(&f.sender, f.server, &path, &m);
	}
	udp_sender_flush(&f.sender);
	for (unsigned i = 0; i < 150; i++) {
		snprintf(text, sizeof(text), "%u", i);
		assert_hears(&f, text);
	}
	/* 64 at a time, each batch by one call. */
	assert_int_equal(wrapped.calls, 3);
	assert_int_equal(f.sender.counts.datagrams, 150);
	close_pair(&f);
}

static void udp_io__changes_sockets_between_batches(void **state)
{
	struct udp_message one = message("one", 0), two = message("two", 0);
	struct fix a, b;
	struct udp_path to_a, to_b;

	open_pair(&a, "127.0.0.1:0", "127.0.0.1");
	open_pair(&b, "127.0.0.1:0", "127.0.0.1");
	to_a = (struct udp_path){ .peer = a.client_addr };
	to_b = (struct udp_path){ .peer = b.client_addr };
	udp_sender_add(&a.sender, a.server, &to_a, &one);
	udp_sender_add(&a.sender, b.server, &to_b, &two);
	assert_hears(&a, "one");
	udp_sender_flush(&a.sender);
	assert_hears(&b, "two");
	close_pair(&a);
	close_pair(&b);
}

static void udp_io__large_ones_leave_at_once(void **state)
{
	static char data[5000];
	struct udp_message small = message("small", 0), large = { .data = data, .len = sizeof(data) };
	struct fix f;
	struct udp_path path;

	open_pair(&f, "127.0.0.1:0", "127.0.0.1");
	path = (struct udp_path){ .peer = f.client_addr };
	udp_sender_add(&f.sender, f.server, &path, &small);
	udp_sender_add(&f.sender, f.server, &path, &large);
	assert_hears(&f, "small");
	assert_int_equal(recv(f.client, data, sizeof(data), MSG_DONTWAIT), sizeof(data));
	assert_int_equal(f.sender.count, 0);
	close_pair(&f);
}

/* "aabbc" in pieces of two: by the kernel, and by us where it will not. */
static void udp_io__takes_joined_ones_apart(void **state)
{
	for (unsigned refuses = 0; refuses < 2; refuses++) {
		struct udp_message m[] = { message("x", 0), message("aabbc", 2), message("y", 0) };
		struct fix f;
		struct udp_path path;

		open_pair(&f, "127.0.0.1:0", "127.0.0.1");
		path = (struct udp_path){ .peer = f.client_addr };
		wrapped.refuses_segments = (int)refuses;
		for (unsigned i = 0; i < 3; i++)
			udp_sender_add(&f.sender, f.server, &path, &m[i]);
		udp_sender_flush(&f.sender);
		assert_hears(&f, "x");
		assert_hears(&f, "aa");
		assert_hears(&f, "bb");
		assert_hears(&f, "c");
		assert_hears(&f, "y");
		assert_int_equal(f.sender.counts.datagrams, 5);
		assert_int_equal(f.sender.counts.bytes, 7);
		assert_int_equal(f.sender.counts.segmented, refuses ? 0 : 3);
		close_pair(&f);
	}
}

static void udp_io__counts_what_is_lost(void **state)
{
	struct udp_message m[] = { message("busy", 0), message("failed", 0), message("there", 0) };
	struct fix f;
	struct udp_path path;

	open_pair(&f, "127.0.0.1:0", "127.0.0.1");
	path = (struct udp_path){ .peer = f.client_addr };
	for (unsigned i = 0; i < 3; i++)
		udp_sender_add_uncopied(&f.sender, f.server, &path, &m[i]);
	wrapped.errors[0] = EAGAIN;
	wrapped.errors[1] = EINTR;
	wrapped.errors[2] = EPERM;
	udp_sender_flush(&f.sender);
	assert_hears(&f, "there");
	assert_hears_no_more(&f);
	assert_int_equal(f.sender.counts.busy, 1);
	assert_int_equal(f.sender.counts.failed, 1);
	assert_int_equal(f.sender.counts.datagrams, 1);
	close_pair(&f);
}

static void udp_io__sends_over_connected_sockets(void **state)
{
	struct udp_message m[] = { message("a", 0), message("b", 0), message("ccddd", 2), message("e", 0) };
	static const char *const expected[] = { "a", "b", "cc", "dd", "d", "e" };
	struct fix f;
	int err;
	size_t seen = 0;

	open_pair(&f, "127.0.0.1:0", "127.0.0.1");
	assert_int_equal(udp_send_connected(f.client, m, 4, &err), 4);
	assert_int_equal(err, 0);
	while (udp_receive(&f.receiver, f.server, 1) == 1) {
		const struct udp_message *got = &f.receiver.messages[0];

		/* The kernel may have left the pieces joined: this socket takes them so. */
		for (size_t at = 0; at < got->len; seen++) {
			assert_true(seen < ARRAY_LEN(expected));
			assert_memory_equal((char *)got->data + at, expected[seen], strlen(expected[seen]));
			at += strlen(expected[seen]);
		}
	}
	assert_int_equal(seen, ARRAY_LEN(expected));
	close_pair(&f);
}

static void udp_io__hears_of_a_server_that_is_gone(void **state)
{
	struct udp_message m = message("x", 0);
	struct fix f;
	int err;

	open_pair(&f, "127.0.0.1:0", "127.0.0.1");
	close(f.server);
	assert_int_equal(udp_send_connected(f.client, &m, 1, &err), 1);
	assert_int_equal(udp_receive_one(&f.receiver, f.client, false), -ECONNREFUSED);
	assert_int_equal(udp_receive_one(&f.receiver, f.client, false), 0);
	assert_int_equal(udp_send_connected(f.client, &m, 1, &err), 1);
	/* Whatever comes next tells it, and is not sent. */
	assert_int_equal(udp_send_connected(f.client, &m, 1, &err), 0);
	assert_int_equal(err, -ECONNREFUSED);
	f.server = -1;
	close(f.client);
	f.client = -1;
	udp_receiver_fini(&f.receiver);
	udp_sender_fini(&f.sender);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(udp_io__receives_what_is_there),
		cmocka_unit_test(udp_io__answers_from_the_same_address),
		cmocka_unit_test(udp_io__sends_in_order_and_copies),
		cmocka_unit_test(udp_io__changes_sockets_between_batches),
		cmocka_unit_test(udp_io__large_ones_leave_at_once),
		cmocka_unit_test(udp_io__takes_joined_ones_apart),
		cmocka_unit_test(udp_io__counts_what_is_lost),
		cmocka_unit_test(udp_io__sends_over_connected_sockets),
		cmocka_unit_test(udp_io__hears_of_a_server_that_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
