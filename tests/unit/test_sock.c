/* SPDX-License-Identifier: MIT */
/* Addresses in text, listening sockets and their options, and system calls that a signal interrupts (by --wrap). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "net/listener.h"
#include "net/sock.h"

/* How often the next calls fail with EINTR before they reach the kernel. */
static int interruptions;

static bool is_interrupted(void)
{
	if (interruptions == 0)
		return false;
	interruptions--;
	errno = EINTR;
	return true;
}

ssize_t __real_recv(int fd, void *to, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t len, int flags)
{
	return is_interrupted() ? -1 : __real_recv(fd, to, len, flags);
}

ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return is_interrupted() ? -1 : __real_sendmsg(fd, msg, flags);
}

ssize_t __real_sendfile(int fd, int from, off_t *offset, size_t len);
ssize_t __wrap_sendfile(int fd, int from, off_t *offset, size_t len);
ssize_t __wrap_sendfile(int fd, int from, off_t *offset, size_t len)
{
	return is_interrupted() ? -1 : __real_sendfile(fd, from, offset, len);
}

int __real_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return is_interrupted() ? -1 : __real_accept4(fd, addr, len, flags);
}

static void sock_addr__parses_and_prints(void **state)
{
	static const struct {
		const char *text, *printed, *host;
	} good[] = {
		{ "127.0.0.1:80", "127.0.0.1:80", "127.0.0.1" },
		{ "255.255.255.255:65535", "255.255.255.255:65535", "255.255.255.255" },
		{ ":80", "0.0.0.0:80", "0.0.0.0" },
		{ "*:8080", "0.0.0.0:8080", "0.0.0.0" },
		{ "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1" },
		{ "[::1]:80", "[::1]:80", "::1" },
		{ "[::]:0", "[::]:0", "::" },
		{ "[2001:DB8::0:1]:443", "[2001:db8::1]:443", "2001:db8::1" },
		{ "[::ffff:10.0.0.1]:80", "10.0.0.1:80", "10.0.0.1" },
		{ "[fe80::1%4294967295]:1", "[fe80::1%4294967295]:1", "fe80::1%4294967295" },
		{ "[fe80::1%lo]:1", "[fe80::1%1]:1", "fe80::1%1" },
		{ "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535",
		  "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535",
		  "1111:2222:3333:4444:5555:6666:7777:8888%4294967295" },
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char out[SOCK_ADDR_TEXT];
		union sock_addr a;

		assert_int_equal(sock_addr_parse(span_str(good[i].text), &a), 0);
		assert_string_equal(sock_addr_print(&a, out), good[i].printed);
		assert_string_equal(sock_addr_print_host(&a, out), good[i].host);
		assert_int_equal(sock_addr_port(&a), atoi(strrchr(good[i].text, ':') + 1));
	}
}

static void sock_addr__parses_hosts(void **state)
{
	static const struct {
		const char *text, *host; /* NULL: refused */
		int family;
	} cases[] = {
		{ "127.0.0.1", "127.0.0.1", AF_INET },
		{ "::1", "::1", AF_INET6 },
		{ "2001:DB8:0:0::1", "2001:db8::1", AF_INET6 },
		{ "::ffff:10.0.0.1", "10.0.0.1", AF_INET6 },
		{ "0000:0000:0000:0000:0000:ffff:192.168.100.228", "192.168.100.228", AF_INET6 },
		{ "", NULL, 0 },
		{ "*", NULL, 0 },
		{ "[::1]", NULL, 0 },
		{ "127.0.0.1:80", NULL, 0 },
		{ "127.0.0.01", NULL, 0 },
		{ "127.1", NULL, 0 },
		{ " 127.0.0.1", NULL, 0 },
		{ "fe80::1%lo", NULL, 0 },
		{ "fe80::1%1", NULL, 0 },
		{ "::1::", NULL, 0 },
		{ "0000:0000:0000:0000:0000:ffff:192.168.100.2280", NULL, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[SOCK_ADDR_TEXT];
		union sock_addr a;
		int r = sock_addr_parse_host(span_str(cases[i].text), &a);

		assert_int_equal(r, cases[i].host ? 0 : -EINVAL);
		if (r)
			continue;
		assert_int_equal(a.any.sa_family, cases[i].family);
		assert_int_equal(sock_addr_port(&a), 0);
		assert_string_equal(sock_addr_print_host(&a, out), cases[i].host);
	}
}

static void sock_addr__unmaps(void **state)
{
	static const struct {
		const char *from, *to;
		int family;
	} cases[] = {
		{ "[::ffff:10.0.0.1]:80", "10.0.0.1:80", AF_INET },
		{ "10.0.0.1:80", "10.0.0.1:80", AF_INET },
		{ "[::1]:80", "[::1]:80", AF_INET6 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char out[SOCK_ADDR_TEXT];
		union sock_addr a;

		assert_int_equal(sock_addr_parse(span_str(cases[i].from), &a), 0);
		sock_addr_unmap(&a);
		assert_int_equal(a.any.sa_family, cases[i].family);
		assert_string_equal(sock_addr_print(&a, out), cases[i].to);
	}
}

static void sock_addr__refuses_nonsense(void **state)
{
	static const char *const bad[] = {
		"",		  ":",		      "80",		   "127.0.0.1",
		"127.0.0.1:",	  "127.0.0.1:65536",  "127.0.0.1:99999",   "127.0.0.1:000080",
		"127.0.0.1:-1",	  "127.0.0.1:+1",     "127.0.0.1: 80",	   "127.0.0.1:80 ",
		"127.0.0.1:8a",	  "256.0.0.1:80",     "127.1:80",	   "0x7f.0.0.1:80",
		"localhost:80",	  "::1:80",	      "[::1]",		   "[::1]80",
		"[::1:80",	  "::1]:80",	      "[]:80",		   "[127.0.0.1]:80",
		"[::1]]:80",	  "[[::1]]:80",	      "[fe80::1%]:80",	   "[fe80::1%0]:80",
		"[fe80::1%nodev0]:80", "[fe80::1%4294967296]:80", "[fe80::1%99999999999]:80",
		"127.0.0.1.127.0.0.1.127.0.0.1:80",
		"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff:0000]:1",
	};
	union sock_addr a, before;

	memset(&a, 0x5a, sizeof(a));
	before = a;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(sock_addr_parse(span_str(bad[i]), &a), -EINVAL);
		assert_memory_equal(&a, &before, sizeof(a));
	}
	/* A NUL must not hide what follows it. */
	assert_int_equal(sock_addr_parse(SPAN("127.0.0.1\0x:80"), &a), -EINVAL);
	assert_int_equal(sock_addr_parse(SPAN("[::1\0]:80"), &a), -EINVAL);
	assert_int_equal(sock_addr_parse(SPAN("127.0.0.1:8\0"), &a), -EINVAL);
}

static void sock_addr__prints_an_unknown_family(void **state)
{
	union sock_addr a;
	char out[SOCK_ADDR_TEXT];

	memset(&a, 0, sizeof(a));
	assert_string_equal(sock_addr_print(&a, out), "?:0");
}

static int listen_on(const char *text, const struct sock_options *opt, union sock_addr *ret_addr)
{
	const char *step;
	union sock_addr a;
	int fd;

	assert_int_equal(sock_addr_parse(span_str(text), &a), 0);
	fd = sock_listen(&a, opt, &step);
	assert_true(fd >= 0);
	assert_int_equal(sock_local_addr(fd, ret_addr), 0);
	return fd;
}

/* A connected pair through `fd`; the client end is blocking. */
static void connect_pair(int fd, const union sock_addr *to, int *ret_client, int *ret_server)
{
	union sock_addr peer, client;

	*ret_client = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(*ret_client, &to->any, sock_addr_len(to)), 0);
	*ret_server = sock_accept(fd, &peer);
	assert_true(*ret_server >= 0);
	assert_int_equal(sock_local_addr(*ret_client, &client), 0);
	assert_int_equal(sock_addr_port(&peer), sock_addr_port(&client));
}

static int get_int(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void sock_listen__options_reach_accepted_sockets(void **state)
{
	const struct sock_options opt = { .has_nodelay = true, .keepalive_s = 77, .rcvbuf = 65536,
					  .sndbuf = 32768, .has_reuseport = true,
					  .fastopen = 16, .defer_accept_s = 0, .unsent = 50000 };
	union sock_addr addr;
	int fd = listen_on("127.0.0.1:0", &opt, &addr), client, server;

	assert_int_equal(get_int(fd, SOL_SOCKET, SO_REUSEPORT), 1);
	assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_FASTOPEN), 16);
	connect_pair(fd, &addr, &client, &server);
	assert_int_equal(get_int(server, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(get_int(server, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(get_int(server, IPPROTO_TCP, TCP_KEEPIDLE), 77);
	assert_int_equal(get_int(server, SOL_SOCKET, SO_RCVBUF), 2 * 65536);
	assert_int_equal(get_int(server, SOL_SOCKET, SO_SNDBUF), 2 * 32768);
	assert_int_equal(get_int(server, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 50000);
	assert_true(fcntl(server, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(server, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(client);
	sock_close(server);
	sock_close(fd);
}

/* What a reload switches off is off for whoever comes then. */
static void sock_change_options__takes_back_what_is_off(void **state)
{
	const struct sock_options all = { .has_nodelay = true, .keepalive_s = 77, .fastopen = 16, .defer_accept_s = 9,
					  .unsent = 50000 };
	const struct sock_options none = { 0 };
	union sock_addr addr;
	int fd = listen_on("127.0.0.1:0", &none, &addr), client, server;

	assert_int_equal(sock_change_options(fd, &all), 0);
	assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_FASTOPEN), 16);
	assert_true(get_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
	assert_int_equal(sock_change_options(fd, &none), 0);
	assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_FASTOPEN), 0);
	assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
	connect_pair(fd, &addr, &client, &server);
	assert_int_equal(get_int(server, IPPROTO_TCP, TCP_NODELAY), 0);
	assert_int_equal(get_int(server, SOL_SOCKET, SO_KEEPALIVE), 0);
	assert_int_equal(get_int(server, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 0);
	close(client);
	sock_close(server);
	sock_close(fd);
}

/* A host booted without IPv6 is no failure of ours; the skip is said aloud. */
static void need_v6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	if (fd < 0) {
		print_message("skipped: no IPv6 on this host\n");
		skip();
	}
	close(fd);
}

static void sock_listen__v6only_is_set_both_ways(void **state)
{
	need_v6();
	for (int is_v6only = 0; is_v6only <= 1; is_v6only++) {
		const struct sock_options opt = { .is_v6only = is_v6only };
		union sock_addr addr;
		int fd = listen_on("[::]:0", &opt, &addr);

		assert_int_equal(get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY), is_v6only);
		sock_close(fd);
	}
}

static void sock_listen__names_the_step_that_failed(void **state)
{
	const struct sock_options plain = { 0 }, bad_idle = { .keepalive_s = 1000000 };
	const char *step = NULL;
	union sock_addr addr, unknown;
	int fd = listen_on("127.0.0.1:0", &plain, &addr);

	assert_int_equal(sock_listen(&addr, &plain, &step), -EADDRINUSE);
	assert_string_equal(step, "bind");
	assert_int_equal(sock_listen(&addr, &bad_idle, &step), -EINVAL);
	assert_string_equal(step, "TCP_KEEPIDLE");
	memset(&unknown, 0, sizeof(unknown));
	unknown.any.sa_family = AF_MAX;
	assert_int_equal(sock_listen(&unknown, &plain, &step), -EAFNOSUPPORT);
	assert_string_equal(step, "socket");
	sock_close(fd);
}

static void sock__repeats_interrupted_calls(void **state)
{
	const struct sock_options opt = { 0 };
	struct iovec iov[2] = { { "ab", 2 }, { "cd", 2 } };
	union sock_addr addr, peer;
	int fd = listen_on("127.0.0.1:0", &opt, &addr), client, server, file;
	char name[] = "/tmp/test_sock.XXXXXX", got[8] = "";
	off_t offset = 1;

	interruptions = 3;
	assert_int_equal(sock_accept(fd, &peer), -EAGAIN);
	assert_int_equal(interruptions, 0);
	connect_pair(fd, &addr, &client, &server);

	interruptions = 3;
	assert_int_equal(sock_read(server, got, sizeof(got)), -EAGAIN);
	assert_int_equal(interruptions, 0);

	interruptions = 2;
	assert_int_equal(sock_writev(server, iov, 2, false), 4);
	assert_int_equal(interruptions, 0);
	assert_int_equal(recv(client, got, 4, MSG_WAITALL), 4);
	assert_memory_equal(got, "abcd", 4);

	file = mkstemp(name);
	assert_true(file >= 0);
	unlink(name);
	assert_int_equal(write(file, "xyz", 3), 3);
	interruptions = 2;
	assert_int_equal(sock_sendfile(server, file, &offset, 2), 2);
	assert_int_equal(interruptions, 0);
	assert_int_equal(offset, 3);
	assert_int_equal(recv(client, got, 2, MSG_WAITALL), 2);
	assert_memory_equal(got, "yz", 2);
	close(file);
	close(client);
	sock_close(server);
	sock_close(fd);
}

static void sock_writev__more_is_held_back(void **state)
{
	const struct sock_options opt = { .has_nodelay = true };
	struct iovec iov = { "head", 4 };
	union sock_addr addr;
	int fd = listen_on("127.0.0.1:0", &opt, &addr), client, server;
	char got[8];

	connect_pair(fd, &addr, &client, &server);
	assert_int_equal(sock_writev(server, &iov, 1, true), 4);
	assert_int_equal(recv(client, got, sizeof(got), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(sock_writev(server, &iov, 1, false), 4);
	assert_int_equal(recv(client, got, 8, MSG_WAITALL), 8);
	close(client);
	sock_close(server);
	sock_close(fd);
}

/* A peer that is gone gives -EPIPE, never SIGPIPE, which would end this program. */
static void sock_writev__a_lost_peer_is_an_error_only(void **state)
{
	const struct sock_options opt = { 0 };
	struct iovec iov = { "x", 1 };
	union sock_addr addr;
	int fd = listen_on("127.0.0.1:0", &opt, &addr), client, server;

	connect_pair(fd, &addr, &client, &server);
	assert_int_equal(sock_shutdown_write(server), 0);
	assert_int_equal(sock_writev(server, &iov, 1, false), -EPIPE);
	close(client);
	sock_close(server);
	sock_close(fd);
}

static void sock_reset__the_peer_sees_a_reset(void **state)
{
	const struct sock_options opt = { 0 };
	union sock_addr addr;
	int fd = listen_on("127.0.0.1:0", &opt, &addr), client, server;
	char byte;

	connect_pair(fd, &addr, &client, &server);
	sock_reset(server);
	assert_int_equal(sock_read(client, &byte, 1), -ECONNRESET);
	close(client);
	sock_close(fd);
	sock_close(-1);
}

static void listener__one_port_for_all_slots(void **state)
{
	const struct sock_options opt = { 0 };
	struct listener l;
	union sock_addr any;
	const char *step;

	need_v6();
	assert_int_equal(sock_addr_parse(SPAN("[::1]:0"), &any), 0);
	assert_int_equal(listener_open(&l, &any, &opt, 5, NULL, &step), 0);
	assert_null(step);
	assert_false(l.is_steered);
	assert_int_not_equal(sock_addr_port(&l.addr), 0);
	for (unsigned i = 0; i < 5; i++) {
		union sock_addr a;

		assert_int_equal(sock_local_addr(l.fds[i], &a), 0);
		assert_memory_equal(&a.v6, &l.addr.v6, sizeof(a.v6));
		assert_int_equal(get_int(l.fds[i], SOL_SOCKET, SO_ACCEPTCONN), 1);
	}
	listener_close(&l, NULL);
	listener_close(&l, NULL);
}

static void listener__a_taken_port_leaves_nothing_open(void **state)
{
	const struct sock_options opt = { 0 };
	union sock_addr addr;
	const char *step;
	struct listener l;
	int fd = listen_on("127.0.0.1:0", &opt, &addr), next;

	assert_int_equal(listener_open(&l, &addr, &opt, 4, NULL, &step), -EADDRINUSE);
	assert_string_equal(step, "bind");
	next = dup(fd);
	assert_int_equal(next, fd + 1);
	assert_null(l.fds);
	listener_close(&l, NULL);
	close(next);
	assert_int_equal(listener_open(&l, &addr, &opt, 0, NULL, &step), -EINVAL);
	sock_close(fd);
}

static void sock_addr__prints_any_family(void **state)
{
	static const struct {
		const char *path;
		size_t len;
		const char *text;
	} rows[] = {
		{ "/run/app.sock", 13, "unix:/run/app.sock" },
		{ "/run/app.sock\0junk", 18, "unix:/run/app.sock" },
		{ "\0name", 5, "unix:@name" },
		{ "", 0, "unix:" },
	};
	union sock_addr a;
	char text[32];

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct sockaddr_un at = { .sun_family = AF_UNIX };

		memcpy(at.sun_path, rows[i].path, rows[i].len);
		sock_addr_print_any((struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + rows[i].len),
				    text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
	assert_int_equal(sock_addr_parse(SPAN("[::1]:80"), &a), 0);
	assert_string_equal(sock_addr_print_any(&a.any, sock_addr_len(&a), text, sizeof(text)), "[::1]:80");
	assert_string_equal(sock_addr_print_any(&a.any, sock_addr_len(&a), text, 5), "[::1");
	assert_string_equal(sock_addr_print_any(&a.any, 0, text, sizeof(text)), "?:0");
}

static void sock_connect__tells_how_it_ended(void **state)
{
	struct sock_options opt = { 0 };
	bool is_connected = true;
	union sock_addr at;
	const char *step;
	int listener, fd;

	assert_int_equal(sock_addr_parse(SPAN("127.0.0.1:0"), &at), 0);
	listener = sock_listen(&at, &opt, &step);
	assert_true(listener >= 0);
	assert_int_equal(sock_local_addr(listener, &at), 0);
	for (unsigned is_refused = 0; is_refused < 2; is_refused++) {
		fd = sock_connect(&at.any, sock_addr_len(&at), &is_connected);
		assert_true(fd >= 0);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		if (!is_connected)
			assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 5000), 1);
		assert_int_equal(sock_error(fd), is_refused ? -ECONNREFUSED : 0);
		assert_int_equal(sock_error(fd), 0);
		sock_close(fd);
		if (!is_refused)
			sock_close(listener);
	}
	/* Refused at once: nothing is left open. */
	fd = dup(0);
	sock_close(fd);
	assert_int_equal(sock_connect((struct sockaddr *)&(struct sockaddr_un){ AF_UNIX, "/nobody/there" },
				      sizeof(struct sockaddr_un), &is_connected), -ENOENT);
	assert_int_equal(dup(0), fd);
	sock_close(fd);
	at.any.sa_family = AF_MAX;
	assert_int_equal(sock_connect(&at.any, sizeof(at.any), &is_connected), -EAFNOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sock_addr__parses_and_prints),
		cmocka_unit_test(sock_addr__parses_hosts),
		cmocka_unit_test(sock_addr__unmaps),
		cmocka_unit_test(sock_addr__refuses_nonsense),
		cmocka_unit_test(sock_addr__prints_an_unknown_family),
		cmocka_unit_test(sock_addr__prints_any_family),
		cmocka_unit_test(sock_connect__tells_how_it_ended),
		cmocka_unit_test(sock_listen__options_reach_accepted_sockets),
		cmocka_unit_test(sock_change_options__takes_back_what_is_off),
		cmocka_unit_test(sock_listen__v6only_is_set_both_ways),
		cmocka_unit_test(sock_listen__names_the_step_that_failed),
		cmocka_unit_test(sock__repeats_interrupted_calls),
		cmocka_unit_test(sock_writev__more_is_held_back),
		cmocka_unit_test(sock_writev__a_lost_peer_is_an_error_only),
		cmocka_unit_test(sock_reset__the_peer_sees_a_reset),
		cmocka_unit_test(listener__one_port_for_all_slots),
		cmocka_unit_test(listener__a_taken_port_leaves_nothing_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
