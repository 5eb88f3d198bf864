/* SPDX-License-Identifier: MIT */
/*
 * The servers' side of a session: a socket of its own (udp_link.c), so that what comes in is of that server and for that
 * client, and an ICMP error is known.
 */
#include "app/udp_internal.h"
#include "base/err.h"

/* Servers that a datagram is offered to. */
#define TRIES 3
/* Messages taken from one server before others have their turn. */
#define REPLY_BATCH 16
/* After so many single ones a batch is tried: a server that sends many is read in batches, one that answers is not. */
#define SINGLES_MAX 16

void proxy_leave(struct udp_session *ss, enum upstream_outcome outcome, bool is_quiet)
{
	link_close(ss, is_quiet);
	if (ss->is_claimed)
		upstream_unclaim(&ss->lease, outcome);
	ss->is_claimed = false;
}

/* Unreachable, say: the lease remembers who it was, and the next datagram goes to another one, if there is one. */
static void give_up_server(struct udp_session *ss)
{
	ss->service->server->stats->server_errors++;
	ss->was_refused = true;
	proxy_leave(ss, OUTCOME_FAILED, false);
}

/* Replies ------------------------------------------------------------------------------------------------------------- */

/* True: the session has ended. */
static bool note_replies(struct udp_session *ss, unsigned datagrams)
{
	struct udp_service *svc = ss->service;

	ss->replies += datagrams;
	ss->is_unanswered = false;
	ss->was_refused = false;
	if (svc->opt.replies) {
		ss->owed -= MIN(ss->owed, (uint64_t)datagrams);
		ss->is_unanswered = ss->owed > 0;
		if (ss->owed == 0) {
			session_end(ss, UDP_DONE);
			return true;
		}
	}
	if (svc->server->is_draining && !ss->is_unanswered) {
		session_end(ss, UDP_DRAIN);
		return true;
	}
	return false;
}

static void take_replies(struct udp_session *ss, const struct udp_message *m, unsigned count)
{
	struct udp_server *s = ss->service->server;
	struct upstream_counters *counters = upstream_lease_counters(&ss->lease);
	unsigned datagrams = 0;

	for (unsigned i = 0; i < count; i++) {
		datagrams += udp_message_count(&m[i]);
		counters->bytes_in += m[i].len;
		session_reply(ss, &m[i], true);
	}
	s->stats->replies += datagrams;
	session_touch(ss);
	note_replies(ss, datagrams);
}

void proxy_on_ready(struct udp_session *ss)
{
	struct udp_receiver *r = &ss->service->server->receiver;
	bool is_batch = ss->singles >= SINGLES_MAX;
	int n = link_receive(ss->link, is_batch ? REPLY_BATCH : 1);

	if (!is_batch)
		ss->singles++;
	else if (n <= 1)
		ss->singles = 0;
	if (n > 0)
		take_replies(ss, r->messages, (unsigned)n);
	else if (n < 0)
		give_up_server(ss);
}

/* Datagrams of the client --------------------------------------------------------------------------------------------- */

static bool is_own_fault(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM || err == -ENOBUFS || err == -ENOSPC || err == -EPERM;
}

/* For the log, when the session has ended: by then the endpoint may have another address. */
static void note_server(struct udp_session *ss)
{
	char text[UPSTREAM_ADDRESS_TEXT];
	const char *address = upstream_lease_address(&ss->lease, text);
	size_t len = MIN(strlen(address), sizeof(ss->text) - 1);

	memcpy(ss->text, address, len);
	ss->text[len] = '\0';
}

/* 0: there is one; else why the datagram is dropped, as 1 + enum udp_drop. */
static int find_server(struct udp_session *ss)
{
	struct upstream_address address;
	int err;

	if (ss->link)
		return 0;
	if (upstream_claim(ss->service->opt.upstream, &ss->lease, &address) < 0)
		return 1 + UDP_DROP_NO_SERVER;
	ss->is_claimed = true;
	note_server(ss);
	err = link_open(ss, &address);
	if (!err)
		return 0;
	proxy_leave(ss, is_own_fault(err) ? OUTCOME_NEUTRAL : OUTCOME_FAILED, false);
	return 1 + (is_own_fault(err) ? UDP_DROP_MEMORY : UDP_DROP_UNREACHABLE);
}

static void note_sent(struct udp_session *ss, const struct udp_message *m, unsigned count)
{
	struct udp_server *s = ss->service->server;
	struct upstream_counters *counters = upstream_lease_counters(&ss->lease);

	for (unsigned i = 0; i < count; i++) {
		unsigned datagrams = udp_message_count(&m[i]);

		s->stats->forwarded += datagrams;
		counters->bytes_out += m[i].len;
		ss->owed += (uint64_t)datagrams * ss->service->opt.replies;
	}
	ss->is_unanswered |= count > 0;
}

/* How many of them are done with: sent, or dropped. */
static unsigned forward_some(struct udp_session *ss, const struct udp_message *m, unsigned count)
{
	struct udp_server *s = ss->service->server;
	int why = 1 + UDP_DROP_UNREACHABLE;
	unsigned sent;
	int err;

	for (unsigned tries = 0; tries < TRIES; tries++) {
		why = find_server(ss);
		if (why == 1 + UDP_DROP_UNREACHABLE)
			continue;
		if (why)
			break;
		sent = link_send(ss->link, m, count, &err);
		note_sent(ss, m, sent);
		if (sent)
			return sent;
		if (err == -EAGAIN || err == -ENOBUFS || err == -EMSGSIZE || err == -EPERM) {
			why = 1 + UDP_DROP_BUSY;
			break;
		}
		give_up_server(ss);
		why = 1 + UDP_DROP_UNREACHABLE;
	}
	count_drop(s, (enum udp_drop)(why - 1), udp_message_count(m));
	return 1;
}

void proxy_forward(struct udp_session *ss, const struct udp_message *m, unsigned count)
{
	while (count) {
		unsigned done = forward_some(ss, m, count);

		m += done;
		count -= done;
	}
}
