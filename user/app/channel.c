/* SPDX-License-Identifier: MIT */
/* Channels of one worker; see channel.h. */
#include "app/channel.h"

#include <stdlib.h>

#include "base/err.h"

/* Subscribers that are served, or dropped, in one turn: each costs a system call of 5 to 10 us, and so do as many bytes. */
#define SLICE	    256u
#define SLICE_BYTES (16u * 1024)
/* What a message takes besides its bytes: without it, a queue of empty ones would have no end. */
#define MESSAGE_COST 128u
/* Bytes that may come while a channel is still passing on earlier ones. */
#define BUSY_BYTES (256u * 1024)

struct channel_hub {
	struct loop *loop;
	struct channel_link link;
	struct list channels;
	struct list waiters;
	unsigned busy_count;		/* channels */
	unsigned hold_count;
	unsigned interest;		/* subscribers that there are, or will be */
	unsigned subscriber_count;
};

struct channel {
	struct list node;
	struct channel_hub *hub;
	struct channel_message *first, *last;	/* never empty: begins with one that nobody gets */
	struct channel_message *ready_from;	/* nobody is ready in front of it */
	struct list dropping;		/* subscribers that are to be told */
	struct job job;
	uint64_t fresh;			/* bytes that came since everybody who is ready had everything */
	uint32_t limit_min;		/* no subscriber has a smaller one */
	bool is_walking;		/* the chain must stay as it is */
	bool is_busy;
	size_t name_len;
	char name[];
};

/* The chain ---------------------------------------------------------------------------------------------------- */

static bool is_deserted(const struct channel_message *m)
{
	return list_is_empty(&m->ready) && list_is_empty(&m->blocked);
}

/* Lets go of what everybody has got. */
static void trim(struct channel *ch)
{
	if (ch->is_walking)
		return;
	while (ch->first != ch->last && is_deserted(ch->first)) {
		struct channel_message *m = ch->first;

		ch->first = m->next;
		if (ch->ready_from == m)
			ch->ready_from = m->next;
		m->next = NULL;
		hold_put(&m->hold);
	}
}

/* Serving ----------------------------------------------------------------------------------------------------- */

static void place(struct channel_subscriber *s, bool is_blocked)
{
	struct channel *ch = s->channel;

	list_push_back(is_blocked ? &s->at->blocked : &s->at->ready, &s->node);
	if (!is_blocked && s->at->end < ch->ready_from->end)
		ch->ready_from = s->at;
}

static void add_interest(struct channel_hub *hub)
{
	if (hub->interest++ == 0 && hub->link.on_interest)
		hub->link.on_interest(hub->link.ctx, true);
}

static void drop_interest(struct channel_hub *hub)
{
	BUG_ON(hub->interest == 0);
	if (--hub->interest == 0 && hub->link.on_interest)
		hub->link.on_interest(hub->link.ctx, false);
}

static void forget(struct channel_subscriber *s)
{
	struct channel_hub *hub = s->channel->hub;

	list_remove(&s->node);
	s->channel = NULL;
	s->at = NULL;
	hub->subscriber_count--;
	drop_interest(hub);
}

/* What it was of a slice. */
static unsigned serve(struct channel_subscriber *s)
{
	uint64_t before = s->at->end;
	enum channel_progress progress;

	list_remove(&s->node);
	progress = s->ops->on_message(s);
	if (progress == CHANNEL_GONE)
		return 1;
	place(s, progress == CHANNEL_BLOCKED);
	return 1 + (unsigned)((s->at->end - before) / SLICE_BYTES);
}

/* One slice; what is left of it.  Who is blocked may hold thousands of messages: those are not walked over each time. */
static unsigned serve_ready(struct channel *ch)
{
	struct channel_message *m = ch->ready_from;
	unsigned left = SLICE;

	ch->is_walking = true;
	ch->ready_from = ch->last;
	while (m != ch->last) {
		while (left && !list_is_empty(&m->ready)) {
			unsigned cost = serve(container_of(m->ready.next, struct channel_subscriber, node));

			left -= MIN(left, cost);
		}
		if (!left)
			break;
		m = m->next;
	}
	if (m->end < ch->ready_from->end)
		ch->ready_from = m;
	ch->is_walking = false;
	return left;
}

static unsigned drop_some(struct channel *ch, unsigned left)
{
	while (left && !list_is_empty(&ch->dropping)) {
		struct channel_subscriber *s = container_of(ch->dropping.next, struct channel_subscriber, node);
		enum channel_drop why = s->drop;

		forget(s);
		s->ops->on_drop(s, why);
		left--;
	}
	return left;
}

static void relieve(struct channel_hub *hub)
{
	struct list due = LIST_INIT(due), *node;

	list_splice_back(&due, &hub->waiters);
	while ((node = list_pop_front(&due))) {
		struct channel_waiter *w = container_of(node, struct channel_waiter, node);

		w->on_relief(w);
	}
}

static void catch_up(struct channel *ch)
{
	ch->fresh = 0;
	if (!ch->is_busy)
		return;
	ch->is_busy = false;
	if (--ch->hub->busy_count == 0)
		relieve(ch->hub);
}

static void on_job(struct job *j)
{
	struct channel *ch = container_of(j, struct channel, job);
	unsigned left = serve_ready(ch);

	left = drop_some(ch, left);
	trim(ch);
	if (left)
		catch_up(ch);
	else
		loop_again(ch->hub->loop, &ch->job);
}

/* Too far behind.  Only who is blocked is slow; who is ready waits for this worker. */
static void drop_slow(struct channel *ch)
{
	for (struct channel_message *m = ch->first; m != ch->last; m = m->next) {
		uint64_t behind = ch->last->end - m->end;

		/* Nobody from here on can be: a slow one holds thousands of messages, and each publisher comes by. */
		if (behind <= ch->limit_min)
			return;
		list_for_each_safe(node, next, &m->blocked)
		{
			struct channel_subscriber *s = container_of(node, struct channel_subscriber, node);

			if (behind <= s->limit)
				continue;
			list_remove(node);
			s->drop = CHANNEL_DROP_SLOW;
			s->at = NULL;
			list_push_back(&ch->dropping, node);
		}
	}
}

static bool has_subscribers(const struct channel *ch)
{
	return ch->first != ch->last || !is_deserted(ch->last);
}

/* Takes the reference. */
static void append(struct channel *ch, struct channel_message *m)
{
	if (!has_subscribers(ch)) {
		hold_put(&m->hold);
		return;
	}
	m->end = ch->last->end + m->len + MESSAGE_COST;
	ch->last->next = m;
	ch->last = m;
	ch->fresh += m->len + MESSAGE_COST;
	if (ch->fresh > BUSY_BYTES && !ch->is_busy) {
		ch->is_busy = true;
		ch->hub->busy_count++;
	}
	drop_slow(ch);
	trim(ch);
	loop_again(ch->hub->loop, &ch->job);
}

/* Publishing -------------------------------------------------------------------------------------------------- */

int channel_publish(struct channel *ch, struct channel_message *m)
{
	struct channel_hub *hub = ch->hub;

	if (hub->link.publish && hub->link.publish(hub->link.ctx, channel_name(ch), m->is_text,
						   span_of(m->data, m->len)) < 0) {
		hold_put(&m->hold);
		return -EAGAIN;
	}
	append(ch, m);
	return 0;
}

static struct channel *find(const struct channel_hub *hub, struct span name)
{
	list_for_each(node, &hub->channels)
	{
		struct channel *ch = container_of(node, struct channel, node);

		if (span_eq(channel_name(ch), name))
			return ch;
	}
	return NULL;
}

int channel_deliver(struct channel *ch, bool is_text, struct span data)
{
	struct channel_message *m;

	if (!has_subscribers(ch))
		return 0;
	m = channel_message_new(is_text, data.ptr, data.len);
	if (!m)
		return -ENOMEM;
	append(ch, m);
	return 0;
}

int channel_receive(struct channel_hub *hub, struct span name, bool is_text, struct span data)
{
	struct channel *ch = find(hub, name);

	return ch ? channel_deliver(ch, is_text, data) : 0;
}

/* Subscribers ------------------------------------------------------------------------------------------------- */

void channel_subscribe(struct channel *ch, struct channel_subscriber *s, uint32_t limit,
		       const struct channel_subscriber_ops *ops)
{
	struct channel_hub *hub = ch->hub;

	*s = (struct channel_subscriber){ .channel = ch, .at = ch->last, .ops = ops, .limit = limit };
	list_init(&s->node);
	ch->limit_min = MIN(ch->limit_min, limit);
	place(s, false);
	hub->subscriber_count++;
	add_interest(hub);
}

void channel_expect(struct channel *ch)
{
	add_interest(ch->hub);
}

void channel_expect_end(struct channel *ch)
{
	drop_interest(ch->hub);
}

void channel_unsubscribe(struct channel_subscriber *s)
{
	struct channel *ch = s->channel;

	if (!ch)
		return;
	forget(s);
	trim(ch);
}

void channel_resume(struct channel_subscriber *s)
{
	if (!s->channel || !s->at)
		return;
	list_remove(&s->node);
	place(s, false);
	if (s->at != s->channel->last)
		loop_again(s->channel->hub->loop, &s->channel->job);
}

static void drop_all(struct list *subscribers, struct list *dropping)
{
	list_for_each(node, subscribers)
	{
		struct channel_subscriber *s = container_of(node, struct channel_subscriber, node);

		s->drop = CHANNEL_DROP_LOST;
		s->at = NULL;
	}
	list_splice_back(dropping, subscribers);
}

void channel_lost(struct channel *ch)
{
	for (struct channel_message *m = ch->first; m; m = m->next) {
		drop_all(&m->ready, &ch->dropping);
		drop_all(&m->blocked, &ch->dropping);
	}
	trim(ch);
	if (!list_is_empty(&ch->dropping))
		loop_again(ch->hub->loop, &ch->job);
}

void channel_hub_lost(struct channel_hub *hub)
{
	list_for_each(node, &hub->channels)
		channel_lost(container_of(node, struct channel, node));
}

/* Hub --------------------------------------------------------------------------------------------------------- */

struct channel_hub *channel_hub_new(void)
{
	struct channel_hub *hub = calloc(1, sizeof(*hub));

	if (!hub)
		return NULL;
	list_init(&hub->channels);
	list_init(&hub->waiters);
	return hub;
}

void channel_hub_free(struct channel_hub *hub)
{
	struct list *node;

	if (!hub)
		return;
	BUG_ON(hub->subscriber_count > 0);
	while ((node = list_pop_front(&hub->channels)))
		channel_free(container_of(node, struct channel, node));
	free(hub);
}

void channel_hub_start(struct channel_hub *hub, struct loop *loop, const struct channel_link *link)
{
	hub->loop = loop;
	if (link)
		hub->link = *link;
}

bool channel_hub_is_busy(const struct channel_hub *hub)
{
	return hub->busy_count > 0;
}

void channel_hub_hold(struct channel_hub *hub)
{
	hub->hold_count++;
}

void channel_hub_release(struct channel_hub *hub)
{
	BUG_ON(hub->hold_count == 0);
	if (--hub->hold_count == 0)
		relieve(hub);
}

bool channel_hub_takes(const struct channel_hub *hub)
{
	return hub->busy_count == 0 && hub->hold_count == 0;
}

void channel_hub_wait(struct channel_hub *hub, struct channel_waiter *w)
{
	list_remove(&w->node);
	list_push_back(&hub->waiters, &w->node);
}

static struct channel *make(struct channel_hub *hub, struct span name)
{
	struct channel *ch = calloc(1, sizeof(*ch) + name.len);

	if (!ch)
		return NULL;
	ch->first = ch->last = channel_message_new(false, NULL, 0);
	if (!ch->last) {
		free(ch);
		return NULL;
	}
	ch->ready_from = ch->last;
	ch->hub = hub;
	ch->limit_min = UINT32_MAX;
	list_init(&ch->dropping);
	job_init(&ch->job, on_job);
	ch->name_len = name.len;
	memcpy(ch->name, name.ptr, name.len);
	list_push_back(&hub->channels, &ch->node);
	return ch;
}

struct channel *channel_open(struct channel_hub *hub, struct span name)
{
	struct channel *ch = find(hub, name);

	return ch ? ch : make(hub, name);
}

struct channel *channel_new(struct channel_hub *hub)
{
	return make(hub, SPAN(""));
}

void channel_free(struct channel *ch)
{
	job_cancel(&ch->job);
	catch_up(ch);
	trim(ch);
	BUG_ON(has_subscribers(ch));
	list_remove(&ch->node);
	hold_put(&ch->last->hold);
	free(ch);
}

struct channel_hub *channel_hub_of(const struct channel *ch)
{
	return ch->hub;
}

struct span channel_name(const struct channel *ch)
{
	return span_of(ch->name, ch->name_len);
}
