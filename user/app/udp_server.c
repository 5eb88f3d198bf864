/* SPDX-License-Identifier: MIT */
/* Life, and what clients send; see udp.h. */
#include <stdlib.h>

#include "app/udp_internal.h"
#include "base/err.h"

/* Batches read in one go, before other sockets have their turn. */
#define BATCHES 4
/* Of a socket that is about to be closed: it must end. */
#define LAST_BATCHES 256

static void take_counts(struct udp_server *s)
{
	struct udp_send_counts *c = &s->sender.counts;

	s->stats->out += c->datagrams;
	s->stats->bytes_out += c->bytes;
	s->stats->segmented += c->segmented;
	s->stats->send_busy += c->busy;
	s->stats->send_failed += c->failed;
	*c = (struct udp_send_counts){ 0 };
}

static void flush(struct udp_server *s)
{
	udp_sender_flush(&s->sender);
	take_counts(s);
}

static void on_flush(struct job *j)
{
	flush(container_of(j, struct udp_server, flush));
}

void server_flush_later(struct udp_server *s)
{
	loop_free_later(s->opt.loop, &s->flush);
}

/* Datagrams of clients --------------------------------------------------------------------------------------------- */

static void echo(struct udp_session *ss, const struct udp_message *m, unsigned count)
{
	struct udp_server *s = ss->service->server;

	for (unsigned i = 0; i < count; i++) {
		s->stats->echoed += udp_message_count(&m[i]);
		session_reply(ss, &m[i], false);
	}
}

static void note_in(struct udp_session *ss, const struct udp_message *m)
{
	ss->in += udp_message_count(m);
	ss->bytes_in += m->len;
	session_touch(ss);
}

/* False: it is not for a session. */
static bool is_for_session(struct udp_service *svc, const struct udp_message *m)
{
	struct udp_stats *stats = svc->server->stats;
	unsigned datagrams = udp_message_count(m);

	stats->in += datagrams;
	stats->bytes_in += m->len;
	if (m->segment)
		stats->joined += datagrams;
	if (m->is_truncated) {
		count_drop(svc->server, UDP_DROP_TRUNCATED, datagrams);
		return false;
	}
	if (!svc->opt.is_one_way)
		return true;
	one_way_forward(svc, m);
	return false;
}

/* Messages of one session that follow each other go on together. */
static void dispatch(struct udp_service *svc, const struct udp_message *m, unsigned count)
{
	struct udp_session *ss = NULL;
	unsigned first = 0;

	for (unsigned i = 0; i <= count; i++) {
		enum udp_drop why = UDP_DROP_COUNT;
		struct udp_session *next = NULL;

		if (i < count && is_for_session(svc, &m[i])) {
			next = session_get(svc, &m[i].path, &why);
			if (!next)
				count_drop(svc->server, why, udp_message_count(&m[i]));
		}
		if (ss && ss != next) {
			if (svc->opt.upstream)
				proxy_forward(ss, m + first, i - first);
			else
				echo(ss, m + first, i - first);
		}
		if (next != ss)
			first = i;
		ss = next;
		if (ss)
			note_in(ss, &m[i]);
	}
}

/* True when there may be more. */
static bool read_batches(struct udp_service *svc, unsigned batches)
{
	struct udp_server *s = svc->server;
	int n = 0;

	for (unsigned i = 0; i < batches; i++) {
		n = udp_receive(&s->receiver, svc->io.fd, UDP_BATCH);
		if (n > 0)
			dispatch(svc, s->receiver.messages, (unsigned)n);
		/* Echoes lie in the receiver's memory. */
		if (n > 0 && !svc->opt.upstream)
			flush(s);
		if (n < UDP_BATCH)
			return false;
	}
	return true;
}

static void on_job(struct job *j)
{
	struct udp_service *svc = container_of(j, struct udp_service, job);

	if (read_batches(svc, BATCHES))
		loop_again(svc->server->opt.loop, &svc->job);
}

static void on_ready(struct io *io, uint32_t events)
{
	on_job(&container_of(io, struct udp_service, io)->job);
}

/* Life -------------------------------------------------------------------------------------------------------------- */

int udp_server_new(const struct udp_server_options *opt, struct udp_server **ret_server)
{
	struct udp_server *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->opt = *opt;
	s->stats = &opt->stats->udp;
	list_init(&s->services);
	job_init(&s->flush, on_flush);
	err = sessions_init(s);
	if (!err)
		err = udp_receiver_init(&s->receiver);
	if (!err)
		err = udp_sender_init(&s->sender);
	if (err) {
		udp_server_free(s);
		return err;
	}
	opt->stats->udp_sessions = 0;
	*ret_server = s;
	return 0;
}

static void close_service(struct udp_service *svc)
{
	loop_remove(svc->server->opt.loop, &svc->io);
	job_cancel(&svc->job);
	one_way_close(svc);
	list_remove(&svc->node);
	free(svc);
}

void udp_server_free(struct udp_server *s)
{
	if (!s)
		return;
	sessions_fini(s);
	if (s->sender.queue)
		flush(s);
	list_for_each_safe(node, next, &s->services)
		close_service(container_of(node, struct udp_service, node));
	job_cancel(&s->flush);
	udp_receiver_fini(&s->receiver);
	udp_sender_fini(&s->sender);
	free(s);
}

int udp_server_add(struct udp_server *s, const struct udp_options *opt, int fd)
{
	struct udp_service *svc = calloc(1, sizeof(*svc));
	int err;

	if (!svc)
		return -ENOMEM;
	svc->server = s;
	svc->opt = *opt;
	job_init(&svc->job, on_job);
	io_init(&svc->io, fd, on_ready);
	err = loop_add(s->opt.loop, &svc->io, EPOLLIN, false);
	if (err) {
		free(svc);
		return err;
	}
	list_push_back(&s->services, &svc->node);
	return 0;
}

void udp_server_refuse(struct udp_server *s, unsigned index)
{
	list_for_each(node, &s->services)
		if (index-- == 0)
			container_of(node, struct udp_service, node)->is_refusing = true;
}

void udp_server_stop_reading(struct udp_server *s)
{
	list_for_each(node, &s->services) {
		struct udp_service *svc = container_of(node, struct udp_service, node);

		loop_remove(s->opt.loop, &svc->io);
		job_cancel(&svc->job);
	}
}

void udp_server_read_out(struct udp_server *s)
{
	list_for_each(node, &s->services)
		read_batches(container_of(node, struct udp_service, node), LAST_BATCHES);
	flush(s);
}

unsigned udp_server_session_count(const struct udp_server *s)
{
	return s ? s->session_count : 0;
}
