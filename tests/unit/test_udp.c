/* SPDX-License-Identifier: MIT */
/* Sessions: begun, ended, limited and counted; servers that answer, keep silent, refuse. */
#include "upstream_fixture.h"

#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <poll.h>

#include "app/udp_internal.h"

#define SERVERS	   3u
#define CLIENTS	   64u
#define TIMEOUT_MS 1000u

struct udp_fix {
	struct fix up;
	struct stats_block stats[2];	/* of this worker and another */
	struct udp_server *server;
	int fd;				/* the listening socket */
	union sock_addr at;
	int servers[SERVERS];		/* sockets of the upstream's servers */
	int clients[CLIENTS];
	unsigned begun, ended;
	char last_reason[16], last_server[64];
};

static void on_begun(void *owner)
{
	((struct udp_fix *)owner)->begun++;
}

static void on_ended(void *owner, const struct udp_ended *e)
{
	struct udp_fix *f = owner;

	f->ended++;
	snprintf(f->last_reason, sizeof(f->last_reason), "%s", e->reason);
	snprintf(f->last_server, sizeof(f->last_server), "%s", e->server);
}

static int open_udp(union sock_addr *at)
{
	const struct udp_sock_options opt = { 0 };
	const char *step;
	int fd;

	assert_int_equal(sock_addr_parse(SPAN("127.0.0.1:0"), at), 0);
	fd = udp_sock_bind(at, &opt, &step);
	assert_true(fd >= 0);
	assert_int_equal(sock_local_addr(fd, at), 0);
	return fd;
}

/* `opt`: all but name and upstream; `server_count` 0: echo. */
static void open_fix(struct udp_fix *f, struct udp_options opt, unsigned server_count)
{
	struct udp_server_options server;

	memset(f, 0, sizeof(*f));
	fix_init(&f->up, SERVERS);
	f->up.opt.fail_max = 2;
	for (unsigned i = 0; i < SERVERS; i++) {
		union sock_addr at;

		f->servers[i] = open_udp(&at);
		if (i < server_count)
			fix_set_address(&f->up, i, &at);
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		f->clients[i] = -1;
	fix_start(&f->up, 0);
	server = (struct udp_server_options){
		.loop = &f->up.loop, .stats = &f->stats[0], .all = f->stats, .worker_count = 2,
		.on_begun = on_begun, .on_ended = on_ended, .owner = f,
	};
	assert_int_equal(udp_server_new(&server, &f->server), 0);
	f->fd = open_udp(&f->at);
	opt.name = "here";
	opt.upstream = server_count ? f->up.u : NULL;
	opt.timeout_ms = opt.timeout_ms ? opt.timeout_ms : TIMEOUT_MS;
	opt.session_max = opt.session_max ? opt.session_max : CLIENTS;
	assert_int_equal(udp_server_add(f->server, &opt, f->fd), 0);
}

/* What the counters promise, whatever happened. */
static void assert_adds_up(const struct udp_fix *f)
{
	const struct udp_stats *s = &f->stats[0].udp;
	uint64_t dropped = 0, ended = 0;

	for (unsigned i = 0; i < UDP_DROP_COUNT; i++)
		dropped += s->dropped[i];
	for (unsigned i = 0; i < UDP_END_COUNT; i++)
		ended += s->ended[i];
	assert_int_equal(s->in, s->echoed + s->forwarded + dropped);
	assert_int_equal(s->echoed + s->replies, s->out + s->held_back + s->send_busy + s->send_failed);
	assert_int_equal(s->sessions, ended + f->stats[0].udp_sessions);
	assert_int_equal(s->sessions, f->begun);
	assert_int_equal(ended, f->ended);
}

static void close_fix(struct udp_fix *f)
{
	udp_server_free(f->server);
	assert_int_equal(f->stats[0].udp_sessions, 0);
	assert_adds_up(f);
	for (unsigned i = 0; i < CLIENTS; i++)
		sock_close(f->clients[i]);
	for (unsigned i = 0; i < SERVERS; i++)
		sock_close(f->servers[i]);
	sock_close(f->fd);
	fix_fini(&f->up);
}

static void turn(struct udp_fix *f)
{
	/* What is on its way on the loopback is there when send() returns; two turns for what a turn sends. */
	for (unsigned i = 0; i < 3; i++)
		loop_turn(&f->up.loop, 0);
}

/* Time passes, and nothing else happens. */
static void wait_ms(struct udp_fix *f, uint64_t ms)
{
	f->up.loop.now_ms += ms;
	wheel_advance(&f->up.loop.wheel, f->up.loop.now_ms);
	for (struct list *node; (node = list_pop_front(&f->up.loop.finals));)
		container_of(node, struct job, node)->run(container_of(node, struct job, node));
}

static void say(struct udp_fix *f, unsigned client, const char *text)
{
	if (f->clients[client] < 0)
		f->clients[client] = udp_sock_connect(&f->at.any, sock_addr_len(&f->at));
	assert_int_equal(send(f->clients[client], text, strlen(text), 0), strlen(text));
}

static void assert_hears(int fd, const char *text)
{
	char data[256];
	ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(data, text, strlen(text));
}

static bool hears_nothing(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
}

/* Reads at server `i` what must be `text`; its sender. */
static union sock_addr take(struct udp_fix *f, unsigned i, const char *text)
{
	union sock_addr from;
	socklen_t len = sizeof(from);
	char data[256];
	ssize_t n = recvfrom(f->servers[i], data, sizeof(data), MSG_DONTWAIT, &from.any, &len);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(data, text, strlen(text));
	return from;
}

static void answer(struct udp_fix *f, unsigned i, const union sock_addr *to, const char *text)
{
	assert_int_equal(sendto(f->servers[i], text, strlen(text), 0, &to->any, sock_addr_len(to)), strlen(text));
}

/* Sessions ------------------------------------------------------------------------------------------------------------ */

static void udp__echoes(void **state)
{
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ 0 }, 0);
	for (unsigned n = 0; n < 3; n++) {
		for (unsigned i = 0; i < CLIENTS; i++)
			say(&f, i, "hello");
		turn(&f);
		for (unsigned i = 0; i < CLIENTS; i++)
			assert_hears(f.clients[i], "hello");
	}
	assert_int_equal(f.begun, CLIENTS);
	assert_int_equal(udp_server_session_count(f.server), CLIENTS);
	assert_int_equal(f.stats[0].udp.echoed, 3 * CLIENTS);
	close_fix(&f);
	assert_string_equal(f.last_reason, "drain");
}

/* More sessions than buckets at first: none is lost when the table grows. */
static void udp__table_grows(void **state)
{
	struct udp_fix f;
	struct udp_service *svc;
	enum udp_drop why;

	open_fix(&f, (struct udp_options){ .session_max = 5000 }, 0);
	svc = container_of(f.server->services.next, struct udp_service, node);
	for (unsigned n = 0; n < 2; n++) {
		for (unsigned i = 0; i < 5000; i++) {
			struct udp_path path = { .peer.v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)(i % 7)) } };
			struct udp_session *ss;

			path.peer.v4.sin_addr.s_addr = i / 7;
			ss = session_get(svc, &path, &why);
			assert_non_null(ss);
			assert_int_equal(ss->serial, i + 1);
		}
	}
	assert_true(f.server->bucket_count >= 4096);
	close_fix(&f);
}

static struct udp_session *first_session(const struct udp_fix *f)
{
	for (unsigned i = 0; i < f->server->bucket_count; i++)
		if (f->server->buckets[i])
			return f->server->buckets[i];
	fail_msg("no session");
	return NULL;
}

static void udp__silence_ends_sessions(void **state)
{
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ 0 }, 0);
	say(&f, 0, "x");
	turn(&f);
	wait_ms(&f, TIMEOUT_MS - 200);
	/* The client is heard again: the timer finds that out when it fires. */
	session_touch(first_session(&f));
	wait_ms(&f, TIMEOUT_MS - 200);
	assert_int_equal(f.ended, 0);
	wait_ms(&f, 300);
	assert_int_equal(f.ended, 1);
	assert_string_equal(f.last_reason, "idle");
	assert_int_equal(f.up.loop.wheel.timer_count, 0);
	close_fix(&f);
}

static void udp__limits_hold(void **state)
{
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ .session_max = 3, .session_total_max = 12 }, 0);
	f.stats[1].udp_sessions = 10;
	for (unsigned i = 0; i < 4; i++)
		say(&f, i, "x");
	turn(&f);
	/* Two make twelve with those of the other worker. */
	assert_int_equal(f.begun, 2);
	assert_int_equal(f.stats[0].udp.dropped[UDP_DROP_TOTAL], 2);
	f.stats[1].udp_sessions = 0;
	for (unsigned i = 0; i < 5; i++)
		say(&f, i, "x");
	turn(&f);
	assert_int_equal(f.begun, 3);
	assert_int_equal(f.stats[0].udp.dropped[UDP_DROP_SESSIONS], 2);
	close_fix(&f);
}

static void udp__drain_waits_for_owed_replies(void **state)
{
	struct udp_fix f;
	union sock_addr a, b;

	open_fix(&f, (struct udp_options){ 0 }, 1);
	say(&f, 0, "a");
	turn(&f);
	a = take(&f, 0, "a");
	say(&f, 1, "b");
	turn(&f);
	b = take(&f, 0, "b");
	answer(&f, 0, &a, "A");
	turn(&f);
	udp_server_drain(f.server);
	assert_int_equal(udp_server_session_count(f.server), 1);
	say(&f, 2, "new");
	turn(&f);
	assert_int_equal(f.stats[0].udp.dropped[UDP_DROP_DRAIN], 1);
	answer(&f, 0, &b, "B");
	turn(&f);
	assert_hears(f.clients[1], "B");
	assert_int_equal(udp_server_session_count(f.server), 0);
	close_fix(&f);
}

/* Servers ------------------------------------------------------------------------------------------------------------- */

static void udp__replies_go_to_whom_they_are_for(void **state)
{
	union sock_addr from[8];
	char text[8];
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ 0 }, 1);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(text, sizeof(text), "q%u", i);
		say(&f, i, text);
		turn(&f);
		from[i] = take(&f, 0, text);
	}
	for (unsigned i = 8; i-- > 0;) {
		snprintf(text, sizeof(text), "r%u", i);
		answer(&f, 0, &from[i], text);
	}
	turn(&f);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(text, sizeof(text), "r%u", i);
		assert_hears(f.clients[i], text);
		assert_true(hears_nothing(f.clients[i]));
	}
	/* Another socket than the session's server is not heard. */
	answer(&f, 1, &from[0], "forged");
	turn(&f);
	assert_true(hears_nothing(f.clients[0]));
	assert_int_equal(f.stats[0].udp.strays, 1);
	close_fix(&f);
}

/* What a stranger has sent before a socket is connected lies among the server's datagrams, and is not heard either. */
static void udp__strangers_are_not_heard_before_a_connect(void **state)
{
	struct udp_link *l;
	union sock_addr from;
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ 0 }, 1);
	say(&f, 0, "a");
	turn(&f);
	from = take(&f, 0, "a");
	l = first_session(&f)->link;
	assert_int_equal(l->state, LINK_ASKED);
	answer(&f, 1, &from, "forged");
	answer(&f, 0, &from, "r");
	answer(&f, 1, &from, "forged");
	answer(&f, 0, &from, "s");
	first_session(&f)->singles = 16;
	say(&f, 0, "b");
	udp_server_read_out(f.server);
	assert_int_equal(l->state, LINK_CONNECTED);
	turn(&f);
	assert_hears(f.clients[0], "r");
	assert_hears(f.clients[0], "s");
	assert_true(hears_nothing(f.clients[0]));
	assert_int_equal(f.stats[0].udp.strays, 2);
	/* From now on the kernel does not let them in. */
	answer(&f, 1, &from, "forged");
	turn(&f);
	assert_int_equal(f.stats[0].udp.strays, 2);
	close_fix(&f);
}

static void udp__several_at_once_go_over_a_connection(void **state)
{
	struct udp_link *l;
	union sock_addr from;
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ 0 }, 1);
	say(&f, 0, "a");
	say(&f, 0, "b");
	turn(&f);
	from = take(&f, 0, "a");
	take(&f, 0, "b");
	l = first_session(&f)->link;
	assert_int_equal(l->state, LINK_CONNECTED);
	assert_false(l->is_checked);
	answer(&f, 0, &from, "r");
	turn(&f);
	assert_hears(f.clients[0], "r");
	close_fix(&f);
}

/* Of an error on its queue epoll tells again and again: a worker that left it there would never sleep. */
static void udp__errors_of_sending_do_not_stay(void **state)
{
	const int stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
	struct pollfd p = { .events = POLLIN };
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ 0 }, 1);
	say(&f, 0, "a");
	turn(&f);
	p.fd = first_session(&f)->link->io.fd;
	assert_int_equal(setsockopt(p.fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof(stamps)), 0);
	say(&f, 0, "b");
	udp_server_read_out(f.server);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_true(p.revents & POLLERR);
	turn(&f);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(f.ended, 0);
	close_fix(&f);
}

static void udp__many_replies_come_in_batches(void **state)
{
	struct udp_fix f;
	union sock_addr from;

	open_fix(&f, (struct udp_options){ 0 }, 1);
	say(&f, 0, "q");
	turn(&f);
	from = take(&f, 0, "q");
	for (unsigned n = 0; n < 3; n++) {
		for (unsigned i = 0; i < 60; i++)
			answer(&f, 0, &from, "r");
		for (unsigned i = 0; i < 30; i++)
			loop_turn(&f.up.loop, 0);
		for (unsigned i = 0; i < 60; i++)
			assert_hears(f.clients[0], "r");
	}
	assert_int_equal(f.stats[0].udp.replies, 180);
	close_fix(&f);
}

static void udp__ends_with_its_replies(void **state)
{
	struct udp_fix f;
	union sock_addr from;

	open_fix(&f, (struct udp_options){ .replies = 2 }, 1);
	say(&f, 0, "a");
	say(&f, 0, "b");
	turn(&f);
	from = take(&f, 0, "a");
	take(&f, 0, "b");
	for (unsigned i = 0; i < 3; i++)
		answer(&f, 0, &from, "r");
	turn(&f);
	assert_int_equal(f.ended, 0);
	answer(&f, 0, &from, "r");
	turn(&f);
	assert_int_equal(f.ended, 1);
	assert_string_equal(f.last_reason, "done");
	for (unsigned i = 0; i < 4; i++)
		assert_hears(f.clients[0], "r");
	/* One more is for nobody. */
	answer(&f, 0, &from, "late");
	turn(&f);
	assert_true(hears_nothing(f.clients[0]));
	close_fix(&f);
}

/* A socket that is used again has another port, and nothing of its last session. */
static void udp__sockets_rest_and_come_back_clean(void **state)
{
	uint16_t ports[4];
	int fd = -1;
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ .replies = 1 }, 1);
	for (unsigned i = 0; i < 4; i++) {
		union sock_addr from;

		say(&f, i, "q");
		turn(&f);
		from = take(&f, 0, "q");
		ports[i] = sock_addr_port(&from);
		for (unsigned n = 0; n < i; n++)
			assert_int_not_equal(ports[i], ports[n]);
		if (i == 1)
			assert_int_equal(first_session(&f)->link->io.fd, fd);
		fd = first_session(&f)->link->io.fd;
		/* One reply too many, there before the first one was read. */
		answer(&f, 0, &from, "r");
		answer(&f, 0, &from, "too many");
		turn(&f);
		assert_int_equal(f.ended, i + 1);
		assert_hears(f.clients[i], "r");
		assert_true(hears_nothing(f.clients[i]));
		assert_int_equal(f.server->resting_count, 1);
		/* And one to the port that it had: nobody has that now. */
		answer(&f, 0, &from, "late");
		container_of(f.server->resting[0].next, struct udp_link, node)->rests_since_ms = 0;
		/* That long it has not rested. */
		loop_timer_stop(&f.up.loop, &f.server->unused);
	}
	container_of(f.server->resting[0].next, struct udp_link, node)->rests_since_ms = f.up.loop.now_ms + 60000;
	say(&f, 4, "q");
	turn(&f);
	take(&f, 0, "q");
	/* It has not rested yet: the session got another one. */
	assert_int_equal(f.server->resting_count, 1);
	assert_int_not_equal(first_session(&f)->link->io.fd, fd);
	close_fix(&f);
}

/* One session from beginning to end; its socket rests then. */
static void ask(struct udp_fix *f, unsigned client)
{
	union sock_addr from;

	say(f, client, "q");
	turn(f);
	from = take(f, 0, "q");
	answer(f, 0, &from, "r");
	turn(f);
	assert_hears(f->clients[client], "r");
}

/* Rest is not enough: what came meanwhile must have been thrown away, in a turn that saw all there was. */
static void udp__sockets_rest_until_a_turn_has_seen_to_them(void **state)
{
	struct udp_link *l;
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ .replies = 1 }, 1);
	ask(&f, 0);
	/* Nor is it this that is asked, should the machine be slow. */
	loop_timer_stop(&f.up.loop, &f.server->unused);
	l = container_of(f.server->resting[0].next, struct udp_link, node);
	l->rests_since_ms = f.server->turn.began_ms - 9;
	ask(&f, 1);
	assert_int_equal(f.server->resting_count, 2);
	/* Rested for long enough in the last turn, but that one did not see everything. */
	l->rests_since_ms = f.server->turn.began_ms - 10;
	f.server->turn.is_partial = true;
	f.server->swept_ms = 0;
	ask(&f, 2);
	assert_int_equal(f.server->resting_count, 3);
	f.server->turn.is_partial = false;
	ask(&f, 3);
	assert_int_equal(f.server->resting_count, 3);
	close_fix(&f);
}

static void udp__sockets_that_nobody_needs_are_closed(void **state)
{
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ .replies = 1 }, 1);
	for (unsigned i = 0; i < 3; i++)
		ask(&f, i);
	assert_int_equal(f.server->resting_count, 3);
	wait_ms(&f, 500);
	assert_int_equal(f.server->resting_count, 3);
	wait_ms(&f, 3000);
	assert_int_equal(f.server->resting_count, 0);
	assert_int_equal(f.up.loop.wheel.timer_count, 0);
	ask(&f, 4);
	close_fix(&f);
}

/* An error that comes while it rests is of nobody's server, and stays on the queue: it is not used again. */
static void udp__sockets_with_errors_do_not_come_back(void **state)
{
	const int stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
	struct udp_fix f;
	int fd;

	open_fix(&f, (struct udp_options){ .replies = 1 }, 1);
	ask(&f, 0);
	assert_int_equal(f.server->resting_count, 1);
	fd = container_of(f.server->resting[0].next, struct udp_link, node)->io.fd;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof(stamps)), 0);
	assert_int_equal(sendto(fd, "x", 1, 0, &f.at.any, sock_addr_len(&f.at)), 1);
	turn(&f);
	assert_true(fcntl(fd, F_GETFD) < 0 || f.server->resting_count == 0);
	close_fix(&f);
}

static void udp__silence_of_a_server_is_its_failure(void **state)
{
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ .replies = 1 }, 1);
	say(&f, 0, "a");
	turn(&f);
	wait_ms(&f, TIMEOUT_MS + 1);
	assert_string_equal(f.last_reason, "no_reply");
	assert_int_equal(upstream_table_counters(&f.up.table, 0, 0)->timeouts, 1);
	close_fix(&f);
}

/* The ICMP error comes with the next datagram, which then goes elsewhere: nothing of it is lost. */
static void udp__leaves_a_server_that_refuses(void **state)
{
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ 0 }, 2);
	f.up.u->opt.balance = BALANCE_HASH;
	for (unsigned i = 0; i < 2; i++) {
		say(&f, 0, "first");
		turn(&f);
		if (i == 0) {
			unsigned gone = hears_nothing(f.servers[0]) ? 1 : 0;

			take(&f, gone, "first");
			sock_close(f.servers[gone]);
			f.servers[gone] = -1;
		}
	}
	assert_int_equal(f.stats[0].udp.server_errors, 1);
	say(&f, 0, "second");
	turn(&f);
	for (unsigned i = 0; i < 2; i++)
		if (f.servers[i] >= 0)
			take(&f, i, "second");
	assert_int_equal(f.begun, 1);
	close_fix(&f);
}

static void udp__without_a_server_datagrams_are_counted(void **state)
{
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ 0 }, 1);
	f.up.table.endpoints[0].is_drained = 1;
	say(&f, 0, "x");
	turn(&f);
	assert_int_equal(f.stats[0].udp.dropped[UDP_DROP_NO_SERVER], 1);
	f.up.table.endpoints[0].is_drained = 0;
	say(&f, 0, "y");
	turn(&f);
	take(&f, 0, "y");
	close_fix(&f);
}

static void udp__holds_back_what_amplifies(void **state)
{
	struct cidr_set verified;
	struct udp_fix f;
	union sock_addr from;

	cidr_set_init(&verified);
	for (unsigned n = 0; n < 2; n++) {
		open_fix(&f, (struct udp_options){ .amplification = 2, .verified = &verified }, 1);
		say(&f, 0, "1234");
		turn(&f);
		from = take(&f, 0, "1234");
		for (unsigned i = 0; i < 3; i++)
			answer(&f, 0, &from, "1234");
		turn(&f);
		assert_int_equal(f.stats[0].udp.held_back, n ? 0 : 1);
		/* More of the client's gives room for more. */
		say(&f, 0, "12");
		turn(&f);
		answer(&f, 0, &from, "1234");
		turn(&f);
		assert_int_equal(f.stats[0].udp.out, n ? 4 : 3);
		close_fix(&f);
		assert_int_equal(cidr_set_add(&verified, SPAN("127.0.0.0/8")), 0);
	}
	cidr_set_fini(&verified);
}

static void udp__one_way_is_spread(void **state)
{
	struct udp_fix f;

	open_fix(&f, (struct udp_options){ .is_one_way = true }, SERVERS);
	for (unsigned i = 0; i < 30; i++)
		say(&f, 0, "x");
	turn(&f);
	for (unsigned i = 0; i < SERVERS; i++)
		for (unsigned n = 0; n < 10; n++)
			take(&f, i, "x");
	assert_int_equal(f.stats[0].udp.forwarded, 30);
	assert_int_equal(f.begun, 0);
	/* Two of three are gone: an error or two, then all goes to the third. */
	sock_close(f.servers[0]);
	sock_close(f.servers[1]);
	f.servers[0] = f.servers[1] = -1;
	for (unsigned i = 0; i < 20; i++) {
		say(&f, 0, "y");
		turn(&f);
	}
	assert_true(f.stats[0].udp.server_errors >= 2);
	assert_int_equal(f.up.table.endpoints[0].ejections, 1);
	assert_int_equal(f.up.table.endpoints[1].ejections, 1);
	close_fix(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(udp__echoes),
		cmocka_unit_test(udp__table_grows),
		cmocka_unit_test(udp__silence_ends_sessions),
		cmocka_unit_test(udp__limits_hold),
		cmocka_unit_test(udp__drain_waits_for_owed_replies),
		cmocka_unit_test(udp__replies_go_to_whom_they_are_for),
		cmocka_unit_test(udp__strangers_are_not_heard_before_a_connect),
		cmocka_unit_test(udp__several_at_once_go_over_a_connection),
		cmocka_unit_test(udp__errors_of_sending_do_not_stay),
		cmocka_unit_test(udp__many_replies_come_in_batches),
		cmocka_unit_test(udp__ends_with_its_replies),
		cmocka_unit_test(udp__sockets_rest_and_come_back_clean),
		cmocka_unit_test(udp__sockets_rest_until_a_turn_has_seen_to_them),
		cmocka_unit_test(udp__sockets_that_nobody_needs_are_closed),
		cmocka_unit_test(udp__sockets_with_errors_do_not_come_back),
		cmocka_unit_test(udp__silence_of_a_server_is_its_failure),
		cmocka_unit_test(udp__leaves_a_server_that_refuses),
		cmocka_unit_test(udp__without_a_server_datagrams_are_counted),
		cmocka_unit_test(udp__holds_back_what_amplifies),
		cmocka_unit_test(udp__one_way_is_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
