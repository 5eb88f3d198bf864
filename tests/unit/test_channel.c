/* SPDX-License-Identifier: MIT */
/* Channels: who gets what, in which order, who is dropped, and when a channel is busy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app/channel.h"
#include "base/err.h"

#define NAME SPAN("news")

struct fixture {
	struct loop loop;
	struct channel_hub *hub;
	struct channel *channel;
	char published[256];	/* what went to the link */
	int publish_result;
	int interest;
};

/* Takes `room` messages and is blocked then. */
struct reader {
	struct channel_subscriber sub;
	char got[4096];
	unsigned count, room;
	int dropped;		/* enum channel_drop, -1: not */
	bool leaves;		/* unsubscribes at the first message */
};

static enum channel_progress on_message(struct channel_subscriber *s)
{
	struct reader *r = container_of(s, struct reader, sub);

	if (r->leaves) {
		channel_unsubscribe(s);
		return CHANNEL_GONE;
	}
	while (channel_next(s)) {
		struct channel_message *m = channel_next(s);
		size_t len = strlen(r->got);

		if (r->room == 0)
			return CHANNEL_BLOCKED;
		r->room--;
		r->count++;
		snprintf(r->got + len, sizeof(r->got) - len, "%.*s ", (int)MIN(m->len, 10u), m->data);
		channel_advance(s);
	}
	return CHANNEL_DONE;
}

static void on_drop(struct channel_subscriber *s, enum channel_drop why)
{
	assert_false(channel_is_subscribed(s));
	container_of(s, struct reader, sub)->dropped = (int)why;
}

static const struct channel_subscriber_ops ops = { .on_message = on_message, .on_drop = on_drop };

static void subscribe_within(struct fixture *f, struct reader *r, unsigned room, uint32_t limit)
{
	memset(r, 0, sizeof(*r));
	r->room = room;
	r->dropped = -1;
	channel_subscribe(f->channel, &r->sub, limit, &ops);
}

static void subscribe(struct fixture *f, struct reader *r, unsigned room)
{
	subscribe_within(f, r, room, 300);
}

static int publish_elsewhere(void *ctx, struct span name, bool is_text, struct span data)
{
	struct fixture *f = ctx;
	size_t len = strlen(f->published);

	if (f->publish_result)
		return f->publish_result;
	snprintf(f->published + len, sizeof(f->published) - len, "%.*s:%.*s%s ", SPAN_ARG(name), SPAN_ARG(data),
		 is_text ? "" : "(binary)");
	return 0;
}

static void on_interest(void *ctx, bool has_subscribers)
{
	((struct fixture *)ctx)->interest += has_subscribers ? 1 : -1;
}

static int setup(void **state)
{
	static struct fixture f;
	struct channel_link link = { publish_elsewhere, on_interest, &f };

	memset(&f, 0, sizeof(f));
	assert_int_equal(loop_init(&f.loop), 0);
	f.hub = channel_hub_new();
	channel_hub_start(f.hub, &f.loop, &link);
	f.channel = channel_open(f.hub, NAME);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	channel_hub_free(f->hub);
	loop_fini(&f->loop);
	return 0;
}

static int publish(struct fixture *f, const char *text)
{
	return channel_publish(f->channel, channel_message_new(true, text, strlen(text)));
}

static void turn(struct fixture *f)
{
	loop_turn(&f->loop, 0);
}

static void channel__passes_on_in_order(void **state)
{
	struct fixture *f = *state;
	struct reader early, late;

	assert_ptr_equal(channel_open(f->hub, NAME), f->channel);
	assert_int_equal(publish(f, "nobody"), 0);
	subscribe(f, &early, 100);
	assert_int_equal(f->interest, 1);
	publish(f, "a");
	publish(f, "b");
	subscribe(f, &late, 100);
	assert_int_equal(channel_receive(f->hub, NAME, false, SPAN("c")), 0);
	assert_int_equal(channel_receive(f->hub, SPAN("unknown"), true, SPAN("x")), 0);
	turn(f);
	assert_string_equal(early.got, "a b c ");
	assert_string_equal(late.got, "c ");
	/* What came from elsewhere does not go back there. */
	assert_string_equal(f->published, "news:nobody news:a news:b ");
	channel_unsubscribe(&early.sub);
	channel_unsubscribe(&early.sub);
	assert_int_equal(f->interest, 1);
	channel_unsubscribe(&late.sub);
	assert_int_equal(f->interest, 0);
}

/* Who answers a subscriber before it subscribes would miss what a faster worker publishes in between. */
static void channel__listens_for_who_is_expected(void **state)
{
	struct fixture *f = *state;
	struct reader a, b;

	channel_expect(f->channel);
	assert_int_equal(f->interest, 1);
	subscribe(f, &a, 100);
	channel_expect_end(f->channel);
	assert_int_equal(f->interest, 1);
	channel_expect(f->channel);
	channel_unsubscribe(&a.sub);
	assert_int_equal(f->interest, 1);
	subscribe(f, &b, 100);
	channel_expect_end(f->channel);
	channel_unsubscribe(&b.sub);
	assert_int_equal(f->interest, 0);
	channel_expect(f->channel);
	channel_expect_end(f->channel);
	assert_int_equal(f->interest, 0);
}

static void channel__keeps_what_a_blocked_one_has_not(void **state)
{
	struct fixture *f = *state;
	struct reader slow, quick;

	subscribe(f, &slow, 1);
	subscribe(f, &quick, 100);
	publish(f, "a");
	publish(f, "b");
	turn(f);
	publish(f, "c");
	turn(f);
	assert_string_equal(slow.got, "a ");
	assert_string_equal(quick.got, "a b c ");
	slow.room = 1;
	channel_resume(&slow.sub);
	turn(f);
	assert_string_equal(slow.got, "a b ");
	slow.room = 100;
	channel_resume(&slow.sub);
	turn(f);
	assert_string_equal(slow.got, "a b c ");
	channel_resume(&slow.sub);
	publish(f, "d");
	turn(f);
	assert_string_equal(slow.got, "a b c d ");
	assert_int_equal(slow.dropped, -1);
	channel_unsubscribe(&slow.sub);
	channel_unsubscribe(&quick.sub);
}

static void channel__drops_who_is_too_far_behind(void **state)
{
	struct fixture *f = *state;
	struct reader slow, quick, other;
	char text[61] = "";

	memset(text, 'x', 60);
	subscribe(f, &slow, 0);
	subscribe(f, &other, 1);
	subscribe(f, &quick, 100);
	for (int i = 0; i < 2; i++) {
		publish(f, text);
		turn(f);
	}
	/* 120 bytes wait for one, 60 for the other, and 128 for each message: the limit is 300. */
	turn(f);
	assert_int_equal(slow.dropped, CHANNEL_DROP_SLOW);
	assert_int_equal(other.dropped, -1);
	channel_resume(&slow.sub);
	publish(f, text);
	turn(f);
	turn(f);
	assert_int_equal(other.dropped, CHANNEL_DROP_SLOW);
	assert_int_equal(quick.count, 3);
	assert_int_equal(quick.dropped, -1);
	channel_unsubscribe(&quick.sub);
}

/* Serving begins where somebody is ready: that may have been trimmed away, or be resumed far behind. */
static void channel__serves_whoever_is_ready(void **state)
{
	struct fixture *f = *state;
	struct reader gone, slow, quick;

	subscribe(f, &gone, 100);
	publish(f, "a");
	channel_unsubscribe(&gone.sub);
	subscribe_within(f, &slow, 0, 1000);
	subscribe(f, &quick, 100);
	for (const char *text = "bcd"; *text; text++) {
		channel_publish(f->channel, channel_message_new(true, text, 1));
		turn(f);
	}
	assert_int_equal(gone.count, 0);
	assert_string_equal(quick.got, "b c d ");
	assert_int_equal(slow.count, 0);
	slow.room = 100;
	channel_resume(&slow.sub);
	turn(f);
	assert_string_equal(slow.got, "b c d ");
	channel_unsubscribe(&slow.sub);
	publish(f, "e");
	turn(f);
	assert_string_equal(quick.got, "b c d e ");
	channel_unsubscribe(&quick.sub);
}

/* Routes with the same channel may have different limits, and the patient one may stand in front of the other. */
static void channel__drops_each_by_its_own_limit(void **state)
{
	struct fixture *f = *state;
	struct reader patient, middle, hasty;

	subscribe_within(f, &patient, 0, 1000);
	publish(f, "a");
	turn(f);
	subscribe_within(f, &middle, 0, 500);
	publish(f, "b");
	turn(f);
	subscribe_within(f, &hasty, 0, 200);
	/* Each takes 129: one waits for the last, two for the one in the middle, three for the first. */
	publish(f, "c");
	turn(f);
	assert_int_equal(hasty.dropped, -1);
	publish(f, "d");
	turn(f);
	turn(f);
	assert_int_equal(hasty.dropped, CHANNEL_DROP_SLOW);
	assert_int_equal(middle.dropped, -1);
	publish(f, "e");
	turn(f);
	turn(f);
	assert_int_equal(middle.dropped, CHANNEL_DROP_SLOW);
	assert_int_equal(patient.dropped, -1);
	channel_unsubscribe(&patient.sub);
}

static void channel__counts_only_who_is_blocked_as_slow(void **state)
{
	struct fixture *f = *state;
	struct reader r;
	char text[61] = "";

	memset(text, 'x', 60);
	subscribe(f, &r, 100);
	for (int i = 0; i < 10; i++)
		publish(f, text);
	turn(f);
	assert_int_equal(r.count, 10);
	assert_int_equal(r.dropped, -1);
	channel_unsubscribe(&r.sub);
}

/* Messages without a byte take memory too. */
static void channel__bounds_empty_messages(void **state)
{
	struct fixture *f = *state;
	struct reader slow;

	subscribe(f, &slow, 0);
	for (int i = 0; i < 4; i++) {
		publish(f, "");
		turn(f);
		turn(f);
	}
	assert_int_equal(slow.dropped, CHANNEL_DROP_SLOW);
}

static void channel__tells_everybody_of_a_loss(void **state)
{
	struct fixture *f = *state;
	struct reader ready, blocked, gone, later;

	subscribe(f, &ready, 100);
	subscribe(f, &blocked, 0);
	subscribe(f, &gone, 100);
	publish(f, "a");
	turn(f);
	channel_hub_lost(f->hub);
	channel_unsubscribe(&gone.sub);
	subscribe(f, &later, 100);
	publish(f, "b");
	turn(f);
	assert_int_equal(ready.dropped, CHANNEL_DROP_LOST);
	assert_int_equal(blocked.dropped, CHANNEL_DROP_LOST);
	assert_int_equal(gone.dropped, -1);
	assert_int_equal(later.dropped, -1);
	assert_string_equal(later.got, "b ");
	channel_unsubscribe(&later.sub);
	assert_int_equal(f->interest, 0);
}

static void channel__bears_with_who_leaves_within_a_message(void **state)
{
	struct fixture *f = *state;
	struct reader readers[5];

	for (unsigned i = 0; i < ARRAY_LEN(readers); i++) {
		subscribe(f, &readers[i], 100);
		readers[i].leaves = i % 2;
	}
	publish(f, "a");
	turn(f);
	publish(f, "b");
	turn(f);
	for (unsigned i = 0; i < ARRAY_LEN(readers); i++) {
		assert_string_equal(readers[i].got, i % 2 ? "" : "a b ");
		channel_unsubscribe(&readers[i].sub);
	}
	assert_int_equal(f->interest, 0);
}

static void channel__gives_nobody_what_did_not_go_out(void **state)
{
	struct fixture *f = *state;
	struct reader r;

	subscribe(f, &r, 100);
	f->publish_result = -ENOBUFS;
	assert_int_equal(publish(f, "a"), -EAGAIN);
	turn(f);
	assert_string_equal(r.got, "");
	channel_unsubscribe(&r.sub);
}

struct waiter {
	struct channel_waiter waiter;
	unsigned relieved;
};

static void on_relief(struct channel_waiter *w)
{
	container_of(w, struct waiter, waiter)->relieved++;
}

/* From another host: for who is here, and nobody else. */
static void channel__delivers_what_others_published(void **state)
{
	struct fixture *f = *state;
	struct reader r;

	assert_int_equal(channel_deliver(f->channel, true, SPAN("nobody")), 0);
	subscribe(f, &r, 100);
	assert_int_equal(channel_deliver(f->channel, true, SPAN("a")), 0);
	assert_int_equal(channel_receive(f->hub, NAME, true, SPAN("b")), 0);
	assert_int_equal(channel_receive(f->hub, SPAN("other"), true, SPAN("c")), 0);
	turn(f);
	assert_string_equal(r.got, "a b ");
	assert_string_equal(f->published, "");
	channel_unsubscribe(&r.sub);
}

static void channel__tells_of_a_loss_in_one_channel(void **state)
{
	struct fixture *f = *state;
	struct channel *other = channel_open(f->hub, SPAN("other"));
	struct reader here, there;

	subscribe(f, &here, 100);
	subscribe(f, &there, 100);
	channel_unsubscribe(&there.sub);
	channel_subscribe(other, &there.sub, 300, &ops);
	channel_lost(f->channel);
	channel_publish(other, channel_message_new(true, "x", 1));
	turn(f);
	assert_int_equal(here.dropped, CHANNEL_DROP_LOST);
	assert_int_equal(there.dropped, -1);
	assert_string_equal(there.got, "x ");
	channel_unsubscribe(&there.sub);
}

/* One without a name has its own subscribers, and goes in the middle of its work: who waited for it goes on. */
static void channel__may_be_nameless_and_freed(void **state)
{
	static char large[300 * 1024];
	struct waiter w = { .waiter.on_relief = on_relief };
	struct fixture *f = *state;
	struct channel *own = channel_new(f->hub), *other = channel_new(f->hub);
	struct reader r;

	memset(&r, 0, sizeof(r));
	r.room = 1;
	list_init(&w.waiter.node);
	channel_subscribe(own, &r.sub, UINT32_MAX, &ops);
	assert_ptr_equal(channel_hub_of(own), f->hub);
	channel_deliver(other, true, SPAN("x"));
	channel_deliver(own, true, SPAN("y"));
	turn(f);
	assert_string_equal(r.got, "y ");
	channel_deliver(own, true, span_of(large, sizeof(large)));
	assert_true(channel_hub_is_busy(f->hub));
	channel_hub_wait(f->hub, &w.waiter);
	channel_unsubscribe(&r.sub);
	channel_free(own);
	assert_int_equal(w.relieved, 1);
	assert_false(channel_hub_is_busy(f->hub));
	channel_free(other);
	turn(f);
}

/* A hold is for publishers: what comes from elsewhere is not kept waiting by it. */
static void channel__holds_publishers(void **state)
{
	struct waiter w = { .waiter.on_relief = on_relief };
	struct fixture *f = *state;

	list_init(&w.waiter.node);
	assert_true(channel_hub_takes(f->hub));
	channel_hub_hold(f->hub);
	channel_hub_hold(f->hub);
	assert_false(channel_hub_takes(f->hub));
	assert_false(channel_hub_is_busy(f->hub));
	channel_hub_wait(f->hub, &w.waiter);
	channel_hub_release(f->hub);
	assert_false(channel_hub_takes(f->hub));
	assert_int_equal(w.relieved, 0);
	channel_hub_release(f->hub);
	assert_true(channel_hub_takes(f->hub));
	assert_int_equal(w.relieved, 1);
}

/* More subscribers than are served in one turn. */
static void channel__is_busy_until_all_are_served(void **state)
{
	enum { COUNT = 1000, SIZE = 100 * 1024 };
	static struct reader readers[COUNT];
	static char large[SIZE];
	struct waiter w = { .waiter.on_relief = on_relief }, cancelled = w;
	struct fixture *f = *state;
	unsigned turns = 0, served;

	list_init(&w.waiter.node);
	list_init(&cancelled.waiter.node);
	for (unsigned i = 0; i < COUNT; i++)
		subscribe(f, &readers[i], 100);
	for (int i = 0; i < 2; i++) {
		channel_publish(f->channel, channel_message_new(true, large, SIZE));
		assert_false(channel_hub_is_busy(f->hub));
	}
	channel_publish(f->channel, channel_message_new(true, large, SIZE));
	assert_true(channel_hub_is_busy(f->hub));
	channel_hub_wait(f->hub, &w.waiter);
	channel_hub_wait(f->hub, &w.waiter);
	channel_hub_wait(f->hub, &cancelled.waiter);
	list_remove(&cancelled.waiter.node);
	turn(f);
	served = 0;
	for (unsigned i = 0; i < COUNT; i++)
		served += readers[i].count > 0;
	assert_in_range(served, 1, COUNT / 2);
	while (channel_hub_is_busy(f->hub) && turns++ < 100) {
		assert_int_equal(w.relieved, 0);
		turn(f);
	}
	assert_int_equal(w.relieved, 1);
	assert_int_equal(cancelled.relieved, 0);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(readers[i].count, 3);
		channel_unsubscribe(&readers[i].sub);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(channel__passes_on_in_order),
		TEST(channel__listens_for_who_is_expected),
		TEST(channel__keeps_what_a_blocked_one_has_not),
		TEST(channel__drops_who_is_too_far_behind),
		TEST(channel__serves_whoever_is_ready),
		TEST(channel__drops_each_by_its_own_limit),
		TEST(channel__counts_only_who_is_blocked_as_slow),
		TEST(channel__bounds_empty_messages),
		TEST(channel__tells_everybody_of_a_loss),
		TEST(channel__bears_with_who_leaves_within_a_message),
		TEST(channel__gives_nobody_what_did_not_go_out),
		TEST(channel__delivers_what_others_published),
		TEST(channel__tells_of_a_loss_in_one_channel),
		TEST(channel__may_be_nameless_and_freed),
		TEST(channel__holds_publishers),
		TEST(channel__is_busy_until_all_are_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
