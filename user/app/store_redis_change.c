/* SPDX-License-Identifier: MIT */
/* PUT, POST and DELETE at a Redis server: one script, asked once; see store_redis.c. */
#include <stdio.h>
#include <stdlib.h>

#include "app/redis_error.h"
#include "app/store_redis_internal.h"
#include "base/err.h"
#include "base/random.h"

#define ABSENT SPAN("-")

/* Answers ------------------------------------------------------------------------------------------------------ */

/* The scripts see to it that an error that may pass, or for want of memory, comes before anything is changed. */
static enum store_outcome outcome_of_error(struct store_redis *m, const redisReply *r)
{
	enum redis_error error = r->type == REDIS_REPLY_ERROR ? redis_error_of(store_redis_text(r)) : REDIS_ERROR_REFUSED;

	if (error == REDIS_ERROR_FULL)
		return STORE_FULL;
	if (error == REDIS_ERROR_LATER)
		return STORE_DOWN;
	store_redis_tell(m, "write", r);
	return STORE_FAILED;
}

static void on_change(struct redis_call *call, const redisReply *r)
{
	struct store_question *q = store_question_of(call);
	struct store_result result = { .outcome = STORE_FAILED };
	struct store_redis *m = q->redis;
	struct store_ask *a;

	if (store_question_ask_again(q, r))
		return;
	a = store_question_end(q);
	if (!store_redis_parse_result(r, &result))
		result.outcome = outcome_of_error(m, r);
	a->on_changed(a, &result);
}

static enum store_outcome outcome_of_failure(enum redis_failure why)
{
	switch (why) {
	case REDIS_CALL_TIMEOUT:
		return STORE_TIMEOUT;
	case REDIS_CALL_LOST:
	case REDIS_CALL_TOO_LARGE: /* whatever that was, it was no answer to this */
		return STORE_LOST;
	default:
		return STORE_DOWN;
	}
}

static void on_change_failed(struct redis_call *call, enum redis_failure why)
{
	struct store_ask *a = store_question_end(store_question_of(call));

	a->on_changed(a, &(struct store_result){ .outcome = outcome_of_failure(why) });
}

/* Words -------------------------------------------------------------------------------------------------------- */

/* "*", or the tags that can match one of ours, one behind the other (store_redis_script.h). */
static void add_tags(struct store_question *q, bool is_given, struct span tags, bool takes_weak)
{
	size_t begin = q->text.len;
	struct span tag;

	if (!is_given) {
		store_question_add(q, ABSENT);
		return;
	}
	if (span_eq(tags, SPAN("*")))
		buf_add_char(&q->text, '*');
	while (conditional_next_etag(&tags, &tag))
		if (takes_weak || !conditional_is_weak(tag))
			buf_add_span(&q->text, conditional_opaque(tag));
	store_question_add_rest(q, begin);
}

static struct span kind_of(enum store_change_kind kind)
{
	return kind == STORE_PUT ? SPAN("put") : kind == STORE_CREATE ? SPAN("create") : SPAN("delete");
}

static void add_change(struct store_question *q, const struct store_change *c)
{
	const struct change_conditions *cond = &c->conditions;
	const struct store_redis *m = q->redis;
	struct span nothing = span_of("", 0);
	char random[9];

	store_question_add_script(q, &store_script_change, "3");
	store_question_add(q, span_str(m->names_key));
	store_question_add_text(q, span_str(m->value_prefix), c->key);
	store_question_add(q, span_str(m->serial_key));
	store_question_add(q, kind_of(c->kind));
	store_question_add_text(q, c->key, nothing);
	add_tags(q, cond->has_if_match, cond->if_match, false);
	add_tags(q, cond->has_if_none_match, cond->if_none_match, true);
	if (cond->has_unmodified_since)
		store_question_add_number(q, cond->unmodified_since_s);
	else
		store_question_add(q, ABSENT);
	snprintf(random, sizeof(random), "%08x", (uint32_t)random_u64());
	store_question_add_text(q, span_str(random), nothing);
	store_question_add_text(q, c->type, nothing);
	store_question_add(q, c->content.len ? c->content : nothing);
}

void store_redis_change(struct store_engine *e, struct store_ask *a, const struct store_change *c, char *content)
{
	struct store_redis *m = container_of(e, struct store_redis, engine);
	size_t room = strlen(m->value_prefix) + 2 * c->key.len + c->type.len + c->conditions.if_match.len +
		      c->conditions.if_none_match.len + 64;
	struct store_question *q = store_question_new(m, a, room);

	if (!q) {
		free(content);
		a->on_changed(a, &(struct store_result){ .outcome = STORE_DOWN });
		return;
	}
	q->content = content;
	q->call.on_reply = on_change;
	q->call.on_failed = on_change_failed;
	add_change(q, c);
	store_question_ask(q);
}
