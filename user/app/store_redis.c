/* SPDX-License-Identifier: MIT */
/*
 * The Redis engine: each question is one command or one script (store_redis_script.h) on the connections that the worker
 * has to the server anyway (redis_server.h).  It is one step there, and nothing has to be put together here.
 *
 *   (asked) --its answer--> (told)
 *      |  `--NOSCRIPT: it was not begun--> asked again, with the text of the script
 *      |--no connection, or an error of the server that may pass--> DOWN
 *      |--no answer in time--> TIMEOUT
 *      `--the connection was lost meanwhile--> of a change: LOST, since nobody knows; of a read: DOWN
 *
 * A change is never sent twice but after NOSCRIPT, for which its content is kept until the answer has come.  The timers
 * are those of the server's calls.
 */
#include <stdio.h>
#include <stdlib.h>

#include "app/redis_error.h"
#include "app/store_redis_internal.h"
#include "base/err.h"

#define PAGE_SIZE (256u * 1024)	/* bytes of names, types and the rest in one answer */

static struct store_redis *of(struct store_engine *e)
{
	return container_of(e, struct store_redis, engine);
}

void store_redis_tell(struct store_redis *m, const char *what, const redisReply *r)
{
	struct span why = r->type == REDIS_REPLY_ERROR ? store_redis_text(r) : SPAN("what is there is not a store's");
	const char *more = log_seldom(&m->seldom);

	if (more)
		log_error("store %s: cannot %s: %.*s%s", m->name, what, SPAN_ARG(why), more);
}

/* Questions ---------------------------------------------------------------------------------------------------- */

struct store_question *store_question_new(struct store_redis *m, struct store_ask *a, size_t room)
{
	struct store_question *q = malloc(sizeof(*q) + room);

	a->pending = q;
	if (!q)
		return NULL;
	*q = (struct store_question){ .redis = m, .ask = a };
	buf_init(&q->text, q->memory, room);
	return q;
}

struct store_ask *store_question_end(struct store_question *q)
{
	struct store_ask *a = q->ask;

	a->pending = NULL;
	free(q->content);
	free(q);
	return a;
}

void store_question_add(struct store_question *q, struct span word)
{
	BUG_ON(q->count == STORE_QUESTION_WORDS);
	q->words[q->count++] = word;
}

void store_question_add_rest(struct store_question *q, size_t begin)
{
	BUG_ON(q->text.is_truncated);
	store_question_add(q, span_of(q->memory + begin, q->text.len - begin));
}

void store_question_add_text(struct store_question *q, struct span first, struct span second)
{
	size_t begin = q->text.len;

	buf_add_span(&q->text, first);
	buf_add_span(&q->text, second);
	store_question_add_rest(q, begin);
}

void store_question_add_number(struct store_question *q, int64_t value)
{
	size_t begin = q->text.len;

	buf_printf(&q->text, "%lld", (long long)value);
	store_question_add_rest(q, begin);
}

void store_question_add_script(struct store_question *q, const struct store_script *script, const char *key_count)
{
	q->script = script;
	store_question_add(q, SPAN("EVALSHA"));
	store_question_add(q, span_of(script->sha, STORE_SCRIPT_SHA_LEN));
	store_question_add(q, span_str(key_count));
}

void store_question_ask(struct store_question *q)
{
	enum redis_failure why = redis_server_call(q->redis->server, &q->call, q->count, q->words);

	if (why != REDIS_CALL_FINE)
		q->call.on_failed(&q->call, why);
}

bool store_question_ask_again(struct store_question *q, const redisReply *r)
{
	if (r->type != REDIS_REPLY_ERROR || !q->script || !span_starts_with(store_redis_text(r), SPAN("NOSCRIPT ")))
		return false;
	q->words[0] = SPAN("EVAL");
	q->words[1] = span_str(q->script->text);
	q->script = NULL;
	store_question_ask(q);
	return true;
}

/* Reading ------------------------------------------------------------------------------------------------------ */

/* An answer that is none. */
static int errno_of_reply(struct store_redis *m, const char *what, const redisReply *r)
{
	if (r->type == REDIS_REPLY_ERROR && redis_error_of(store_redis_text(r)) == REDIS_ERROR_LATER)
		return -EHOSTDOWN;
	store_redis_tell(m, what, r);
	return -EIO;
}

/* Nothing was changed, so whatever has been lost may be asked again. */
static int errno_of_failure(enum redis_failure why)
{
	return why == REDIS_CALL_TIMEOUT ? -ETIMEDOUT : why == REDIS_CALL_TOO_LARGE ? -EMSGSIZE : -EHOSTDOWN;
}

static void on_value(struct redis_call *call, const redisReply *r)
{
	struct store_question *q = store_question_of(call);
	struct store_redis *m = q->redis;
	struct store_ask *a = store_question_end(q);
	struct store_value value;
	int err = store_redis_parse_value(r, &value);

	if (err == -EBADMSG)
		err = errno_of_reply(m, "read", r);
	a->on_value(a, err, err ? NULL : &value);
}

static void on_value_failed(struct redis_call *call, enum redis_failure why)
{
	struct store_ask *a = store_question_end(store_question_of(call));

	a->on_value(a, errno_of_failure(why), NULL);
}

static void get(struct store_engine *e, struct store_ask *a, struct span key)
{
	struct store_redis *m = of(e);
	struct span prefix = span_str(m->value_prefix);
	struct store_question *q = store_question_new(m, a, prefix.len + key.len);

	if (!q) {
		a->on_value(a, -EHOSTDOWN, NULL);
		return;
	}
	q->call.on_reply = on_value;
	q->call.on_failed = on_value_failed;
	store_question_add(q, SPAN("HMGET"));
	store_question_add_text(q, prefix, key);
	store_question_add(q, SPAN("etag"));
	store_question_add(q, SPAN("modified"));
	store_question_add(q, SPAN("type"));
	store_question_add(q, SPAN("content"));
	store_question_ask(q);
}

/* Listings ----------------------------------------------------------------------------------------------------- */

/* 0; -EBADMSG.  *ret_has_more: there is, or nobody takes it. */
static int tell_items(struct store_ask *a, const redisReply *r, bool *ret_has_more)
{
	struct store_value value;
	bool is_collection;
	struct span name;
	size_t count;

	if (!store_redis_parse_page(r, &count, ret_has_more))
		return -EBADMSG;
	for (size_t i = 0; i < count; i++) {
		if (!store_redis_parse_item(r, i, &name, &is_collection, &value))
			return -EBADMSG;
		if (!a->on_item(a, name, is_collection ? NULL : &value)) {
			*ret_has_more = true;
			break;
		}
	}
	return 0;
}

static void on_page(struct redis_call *call, const redisReply *r)
{
	struct store_question *q = store_question_of(call);
	struct store_redis *m = q->redis;
	bool has_more = false;
	struct store_ask *a;
	int err;

	if (store_question_ask_again(q, r))
		return;
	a = store_question_end(q);
	err = tell_items(a, r, &has_more) ? errno_of_reply(m, "list", r) : 0;
	a->on_listed(a, err, has_more);
}

static void on_page_failed(struct redis_call *call, enum redis_failure why)
{
	struct store_ask *a = store_question_end(store_question_of(call));

	a->on_listed(a, errno_of_failure(why), false);
}

static void list(struct store_engine *e, struct store_ask *a, struct span key, struct span after, unsigned limit)
{
	struct store_redis *m = of(e);
	uint64_t room = redis_server_access(m->server)->reply_max - STORE_REDIS_REPLY_EXTRA;
	struct store_question *q = store_question_new(m, a, key.len + after.len + 64);

	if (!q) {
		a->on_listed(a, -EHOSTDOWN, false);
		return;
	}
	q->call.on_reply = on_page;
	q->call.on_failed = on_page_failed;
	store_question_add_script(q, &store_script_list, "1");
	store_question_add(q, span_str(m->names_key));
	store_question_add(q, span_str(m->value_prefix));
	store_question_add_text(q, key, span_of("", 0));
	store_question_add_text(q, after, span_of("", 0));
	store_question_add_number(q, limit);
	store_question_add_number(q, (int64_t)MIN(room, (uint64_t)PAGE_SIZE));
	store_question_ask(q);
}

/* Life --------------------------------------------------------------------------------------------------------- */

/* A change may be made all the same. */
static void forget(struct store_engine *e, struct store_ask *a)
{
	struct store_question *q = a->pending;

	if (!q)
		return;
	redis_call_cancel(&q->call);
	store_question_end(q);
}

/* The server is started and stopped by whoever owns it. */
static int start(struct store_engine *e, struct loop *loop)
{
	return 0;
}

static void stop(struct store_engine *e)
{
}

static void free_engine(struct store_engine *e)
{
	struct store_redis *m = of(e);

	free(m->name);
	free(m->names_key);
	free(m->serial_key);
	free(m->value_prefix);
	free(m);
}

static const struct store_engine_ops redis_ops = {
	.name = "redis",
	.start = start,
	.stop = stop,
	.free = free_engine,
	.get = get,
	.list = list,
	.change = store_redis_change,
	.forget = forget,
};

/* NULL without memory. */
static char *join(const char *first, const char *second)
{
	char *text;

	return asprintf(&text, "%s%s", first, second) < 0 ? NULL : text;
}

int store_redis_new(const struct store_redis_options *opt, struct store_engine **ret_engine)
{
	struct store_redis *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	store_script_init();
	m->engine.ops = &redis_ops;
	m->server = opt->server;
	m->name = strdup(opt->name);
	m->names_key = join(opt->prefix, STORE_REDIS_NAMES);
	m->serial_key = join(opt->prefix, STORE_REDIS_SERIAL);
	m->value_prefix = join(opt->prefix, STORE_REDIS_VALUE);
	if (!m->name || !m->names_key || !m->serial_key || !m->value_prefix) {
		free_engine(&m->engine);
		return -ENOMEM;
	}
	*ret_engine = &m->engine;
	return 0;
}
