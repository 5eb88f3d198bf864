/* SPDX-License-Identifier: MIT */
/* Connections of workers; see storer_impl.h. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/storer_impl.h"

#define IN_MIN	(64u * 1024)	/* kept while a worker is connected */
#define IN_KEEP (1024u * 1024)	/* more than this is given back when it is empty */

static void on_ready(struct io *io, uint32_t events)
{
	struct storer_peer *p = container_of(io, struct storer_peer, io);

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		p->is_readable = true;
	/* In the next turn: who else has something by then is in the same transaction. */
	loop_again(&p->storer->loop, &p->storer->work);
}

int storer_peer_add(struct storer *s, int fd)
{
	struct storer_peer *p = calloc(1, sizeof(*p));
	int err = -ENOMEM;

	if (p) {
		p->in = malloc(IN_MIN);
		p->cap = IN_MIN;
		p->storer = s;
		io_init(&p->io, fd, on_ready);
		if (p->in)
			err = loop_add(&s->loop, &p->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP, false);
	}
	if (err) {
		close(fd);
		if (p)
			free(p->in);
		free(p);
		return err;
	}
	list_push_back(&s->peers, &p->node);
	return 0;
}

void storer_peer_close(struct storer_peer *p)
{
	loop_remove(&p->storer->loop, &p->io);
	close(p->io.fd);
	list_remove(&p->node);
	free(p->in);
	free(p->out);
	free(p);
}

/* For the change that begins at the front, of which this much is known to come.  False: as it was. */
static bool grow(struct storer_peer *p, size_t need)
{
	char *grown;

	if (need <= p->cap)
		return true;
	grown = realloc(p->in, need);
	if (!grown)
		return false;
	p->in = grown;
	p->cap = need;
	return true;
}

void storer_peer_fill(struct storer_peer *p)
{
	while (p->is_readable && !p->has_ended && p->out_len == 0 && p->len < p->cap) {
		ssize_t n = recv(p->io.fd, p->in + p->len, p->cap - p->len, MSG_DONTWAIT);

		if (n > 0)
			p->len += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			p->is_readable = false;
		else if (n == 0 || errno != EINTR)
			p->has_ended = true;
	}
}

void storer_peer_gather(struct storer_peer *p)
{
	struct storer *s = p->storer;

	while (s->count < STORER_BATCH_MAX && p->out_len == 0 && !p->is_broken) {
		struct span in = span_of(p->in + p->taken, p->len - p->taken);
		size_t size;

		switch (store_wire_parse(in, s->opt->config->value, &s->changes[s->count], &s->ids[s->count], &size)) {
		case STORE_WIRE_DONE:
			s->from[s->count++] = p;
			p->taken += size;
			continue;
		case STORE_WIRE_BAD:
			store_count(&s->opt->stats->bad_frames);
			p->is_broken = true;
			return;
		case STORE_WIRE_MORE:
			/* What is in the batch must stay where it is. */
			if (p->taken == 0 && !grow(p, size))
				p->is_broken = true;
			return;
		}
	}
}

/* Sent by storer_peer_settle(): all of a batch in one go. */
void storer_peer_answer(struct storer_peer *p, uint32_t id, const struct store_result *r)
{
	struct store_wire_result w = { id, (uint32_t)r->outcome, r->version.serial, r->modified_s, r->version.random, 0 };

	if (p->out_len + sizeof(w) > p->out_cap) {
		size_t cap = MAX(2 * p->out_cap, 64 * sizeof(w));
		char *grown = realloc(p->out, cap);

		if (!grown) {
			p->is_broken = true;
			return;
		}
		p->out = grown;
		p->out_cap = cap;
	}
	memcpy(p->out + p->out_len, &w, sizeof(w));
	p->out_len += sizeof(w);
}

static void send_results(struct storer_peer *p)
{
	size_t sent = 0;

	while (sent < p->out_len) {
		ssize_t n = send(p->io.fd, p->out + sent, p->out_len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			break; /* EPOLLOUT comes; until then nothing is read of who does not read */
		else if (errno != EINTR) {
			p->is_broken = true;
			return;
		}
	}
	memmove(p->out, p->out + sent, p->out_len - sent);
	p->out_len -= sent;
}

static void move_to_front(struct storer_peer *p)
{
	memmove(p->in, p->in + p->taken, p->len - p->taken);
	p->len -= p->taken;
	p->taken = 0;
	if (p->len == 0 && p->cap > IN_KEEP) {
		char *smaller = realloc(p->in, IN_MIN);

		p->in = smaller ? smaller : p->in;
		p->cap = smaller ? IN_MIN : p->cap;
	}
}

static bool has_change(const struct storer_peer *p)
{
	struct store_change c;
	uint32_t id;
	size_t size;

	return store_wire_parse(span_of(p->in, p->len), p->storer->opt->config->value, &c, &id, &size) != STORE_WIRE_MORE;
}

bool storer_peer_settle(struct storer_peer *p)
{
	move_to_front(p);
	if (p->out_len)
		send_results(p);
	/* A change of which the end will never come was not made. */
	if (p->is_broken || (p->has_ended && !has_change(p))) {
		storer_peer_close(p);
		return false;
	}
	return true;
}

bool storer_peer_has_work(const struct storer_peer *p)
{
	return p->out_len == 0 && ((p->is_readable && !p->has_ended) || has_change(p));
}
