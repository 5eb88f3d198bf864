/* SPDX-License-Identifier: MIT */
/* Changes on their way to the writer; see store_link.h. */
#include "app/store_link.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

#define IOV_COUNT    64
#define RESULT_COUNT 64	/* read at once */

struct pending {
	struct list node;
	struct store_ask *ask;	/* NULL: nobody waits for it any more */
	uint32_t id;
	size_t head_len, content_len, sent;
	char *content;		/* NULL once it is sent */
	char head[];
};

static size_t left_of(const struct pending *p)
{
	return p->head_len + p->content_len - p->sent;
}

static void drop(struct pending *p)
{
	list_remove(&p->node);
	free(p->content);
	free(p);
}

/* The result is the asker's; whatever it does, `p` is gone. */
static void answer(struct store_link *l, struct pending *p, const struct store_result *r)
{
	struct store_ask *a = p->ask;

	drop(p);
	if (!a)
		return;
	loop_timer_stop(l->loop, &a->timer);
	a->pending = NULL;
	a->on_changed(a, r);
}

static void answer_with(struct store_link *l, struct pending *p, enum store_outcome outcome)
{
	answer(l, p, &(struct store_result){ .outcome = outcome });
}

/* What was sent in part waits for the next connection as if nothing had been; what was sent is lost. */
static void disconnect(struct store_link *l)
{
	struct list lost, *node;

	if (l->io.fd < 0)
		return;
	loop_remove(l->loop, &l->io);
	close(l->io.fd);
	l->io.fd = -1;
	l->have = 0;
	l->is_blocked = false;
	list_for_each_safe(at, next, &l->waiting) {
		struct pending *p = container_of(at, struct pending, node);

		p->sent = 0;
		if (!p->ask)
			drop(p);
	}
	/* An asker may ask again at once. */
	list_init(&lost);
	list_splice_back(&lost, &l->sent);
	while ((node = lost.next) != &lost)
		answer_with(l, container_of(node, struct pending, node), STORE_LOST);
}

/* Results ------------------------------------------------------------------------------------------------------ */

/* False: this is not what was agreed. */
static bool take_result(struct store_link *l, const struct store_wire_result *w)
{
	struct store_result r = { (enum store_outcome)w->outcome, { w->serial, w->random }, w->modified_s };
	struct pending *p;

	if (list_is_empty(&l->sent) || w->outcome >= STORE_OUTCOME_COUNT)
		return false;
	p = container_of(l->sent.next, struct pending, node);
	if (p->id != w->id)
		return false;
	answer(l, p, &r);
	return true;
}

static void give_up(struct store_link *l, const char *why)
{
	log_error("store %s: the connection to its writer is given up: %s", l->name, why);
	disconnect(l);
}

/* Bytes of results, the first of which may be a part's rest. */
static bool take_bytes(struct store_link *l, const char *data, size_t len)
{
	while (len > 0) {
		size_t n = MIN(len, sizeof(l->part) - l->have);
		struct store_wire_result w;

		memcpy(l->part + l->have, data, n);
		l->have += n;
		data += n;
		len -= n;
		if (l->have < sizeof(l->part))
			break;
		memcpy(&w, l->part, sizeof(w));
		l->have = 0;
		if (!take_result(l, &w))
			return false;
	}
	return true;
}

static void read_results(struct store_link *l)
{
	char data[RESULT_COUNT * sizeof(struct store_wire_result)];
	int fd = l->io.fd;
	ssize_t n;

	/* An answer may lead to another connection. */
	while (l->io.fd == fd) {
		n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			disconnect(l);
			return;
		}
		if (!take_bytes(l, data, (size_t)n)) {
			give_up(l, "a result that belongs to nothing");
			return;
		}
	}
}

/* Changes ------------------------------------------------------------------------------------------------------ */

static unsigned add_iov(const struct pending *p, struct iovec *iov)
{
	size_t content_sent = p->sent > p->head_len ? p->sent - p->head_len : 0;
	unsigned count = 0;

	if (p->sent < p->head_len)
		iov[count++] = (struct iovec){ (void *)(p->head + p->sent), p->head_len - p->sent };
	if (content_sent < p->content_len)
		iov[count++] = (struct iovec){ p->content + content_sent, p->content_len - content_sent };
	return count;
}

static unsigned gather(const struct store_link *l, struct iovec *iov)
{
	unsigned count = 0;

	list_for_each(node, &l->waiting) {
		if (count > IOV_COUNT - 2)
			break;
		count += add_iov(container_of(node, struct pending, node), iov + count);
	}
	return count;
}

static void note_sent(struct store_link *l, size_t n)
{
	while (n > 0) {
		struct pending *p = container_of(l->waiting.next, struct pending, node);
		size_t part = MIN(n, left_of(p));

		p->sent += part;
		n -= part;
		if (left_of(p) > 0)
			return;
		free(p->content);
		p->content = NULL;
		list_remove(&p->node);
		list_push_back(&l->sent, &p->node);
	}
}

static void send_waiting(struct store_link *l)
{
	struct iovec iov[IOV_COUNT];

	while (l->io.fd >= 0 && !l->is_blocked && !list_is_empty(&l->waiting)) {
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = gather(l, iov) };
		ssize_t n = sendmsg(l->io.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			note_sent(l, (size_t)n);
		else if (errno == EAGAIN)
			l->is_blocked = true;
		else if (errno != EINTR)
			disconnect(l);
	}
}

static void on_flush(struct job *j)
{
	send_waiting(container_of(j, struct store_link, flush));
}

static void on_ready(struct io *io, uint32_t events)
{
	struct store_link *l = container_of(io, struct store_link, io);

	if (events & EPOLLOUT)
		l->is_blocked = false;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		read_results(l);
	send_waiting(l);
}

/* Its bytes that are in the socket already count; what is not may be taken back. */
static void abandon(struct store_link *l, struct store_ask *a)
{
	struct pending *p = a->pending;

	loop_timer_stop(l->loop, &a->timer);
	a->pending = NULL;
	p->ask = NULL;
	if (p->sent == 0)
		drop(p);
}

static void on_timeout(struct timer *t)
{
	struct store_ask *a = container_of(t, struct store_ask, timer);
	struct store_link *l = a->engine;
	const struct pending *p = a->pending;
	struct store_result r = { .outcome = p->sent == 0 ? STORE_NO_WRITER : STORE_TIMEOUT };

	abandon(l, a);
	a->on_changed(a, &r);
}

void store_link_change(struct store_link *l, struct store_ask *a, const struct store_change *c, char *content)
{
	size_t head_len = store_wire_head_len(c);
	struct pending *p = malloc(sizeof(*p) + head_len);

	if (!p) {
		free(content);
		a->pending = NULL;
		a->on_changed(a, &(struct store_result){ .outcome = STORE_NO_WRITER });
		return;
	}
	*p = (struct pending){ .ask = a, .id = ++l->last_id, .head_len = head_len, .content_len = c->content.len,
			       .content = content };
	store_wire_print(c, p->id, p->head);
	list_push_back(&l->waiting, &p->node);
	a->pending = p;
	a->engine = l;
	timer_init(&a->timer, on_timeout);
	loop_timer_start(l->loop, &a->timer, l->timeout_ms);
	loop_again(l->loop, &l->flush);
}

void store_link_forget(struct store_link *l, struct store_ask *a)
{
	if (a->pending)
		abandon(l, a);
}

/* Life --------------------------------------------------------------------------------------------------------- */

void store_link_init(struct store_link *l, struct loop *loop, uint64_t timeout_ms, const char *name)
{
	*l = (struct store_link){ .loop = loop, .timeout_ms = timeout_ms, .name = name };
	list_init(&l->waiting);
	list_init(&l->sent);
	job_init(&l->flush, on_flush);
	io_init(&l->io, -1, on_ready);
}

static void drop_all(struct store_link *l, struct list *from)
{
	while (!list_is_empty(from)) {
		struct pending *p = container_of(from->next, struct pending, node);

		if (p->ask) {
			loop_timer_stop(l->loop, &p->ask->timer);
			p->ask->pending = NULL;
		}
		drop(p);
	}
}

void store_link_fini(struct store_link *l)
{
	if (!l->loop)
		return;
	drop_all(l, &l->waiting);
	drop_all(l, &l->sent);
	disconnect(l);
	job_cancel(&l->flush);
}

void store_link_connect(struct store_link *l, int fd)
{
	int err;

	disconnect(l);
	io_init(&l->io, fd, on_ready);
	err = loop_add(l->loop, &l->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP, false);
	if (err) {
		l->io.fd = -1;
		close(fd);
		log_error("store %s: cannot watch the connection to its writer: %s", l->name, strerror(-err));
		return;
	}
	loop_again(l->loop, &l->flush);
}
