/* SPDX-License-Identifier: MIT */
/* Requests as commands; see redis_route.h.  What may be asked for is decided here, in one place: refusal(). */
#include "app/redis_route_internal.h"

#include <stdlib.h>

#include "app/conditional.h"
#include "base/err.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* An answer up to here is copied to the session; a larger one is given away with its memory. */
#define COPY_MAX 16384u
#define TAG_SIZE 18	/* 16 digits in quotes */

struct redis_request {
	struct redis_ask ask;
	struct redis_call call;
	enum redis_format format;
	uint64_t began_ns;
	struct redis_text body;
	unsigned name_len;
	char name[REDIS_NAME_MAX];	/* of the command, as the client wrote it */
};

/* An answer, or a message, that outlives what it was made of. */
struct held_text {
	struct hold hold;
	char *ptr;
};

/* One command is put together, and one answer, at a time. */
static struct redis_words words;

/* Answers ------------------------------------------------------------------------------------------------------- */

static void ask_for_another_try(struct reply *reply, unsigned status)
{
	if (status == 503)
		reply_add(reply, SPAN("Retry-After"), SPAN("1"));
}

void redis_refuse(struct reply *reply, unsigned status, const char *why)
{
	reply->why = why;
	ask_for_another_try(reply, status);
	reply_status_page(reply, status);
}

unsigned redis_failure_status(enum redis_failure why)
{
	return why == REDIS_CALL_TIMEOUT ? 504 : why == REDIS_CALL_TOO_LARGE ? 502 : 503;
}

static void free_request(struct redis_request *r)
{
	r->ask.reply->ctx = NULL;
	redis_call_cancel(&r->call);
	free(r->body.ptr);
	free(r);
}

static void on_release(struct hold *h)
{
	struct held_text *held = container_of(h, struct held_text, hold);

	free(held->ptr);
	free(held);
}

/* Takes the text over where it is large. */
static void write_text(struct reply *reply, struct redis_text *t)
{
	struct held_text *held = t->len > COPY_MAX ? malloc(sizeof(*held)) : NULL;

	if (!held) {
		reply_write(reply, t->ptr, t->len);
		return;
	}
	hold_init(&held->hold, on_release);
	held->ptr = t->ptr;
	reply_write_held(reply, span_of(t->ptr, t->len), &held->hold);
	hold_put(&held->hold);
	*t = (struct redis_text){ 0 };
}

/* True: the client has it already, and that was answered. */
static bool answer_not_modified(const struct request *req, struct reply *reply, const struct redis_text *t,
				char tag[TAG_SIZE])
{
	struct validators v = { .is_strong = true };
	struct buf b;

	buf_init(&b, tag, TAG_SIZE);
	buf_add_char(&b, '"');
	buf_add_hex16(&b, XXH3_64bits(t->ptr, t->len));
	buf_add_char(&b, '"');
	v.etag = buf_span(&b);
	reply_add(reply, SPAN("ETag"), v.etag);
	if (!req->known[HEADER_IF_NONE_MATCH] || conditional_check(req, &v) != CONDITIONAL_NOT_MODIFIED)
		return false;
	reply_set_status(reply, 304);
	reply_begin(reply, t->len);
	reply_end(reply);
	return true;
}

static void answer(struct redis_request *r, const redisReply *what)
{
	static struct redis_text text;
	struct request *req = r->ask.req;
	struct reply *reply = r->ask.reply;
	unsigned status = redis_status_of(what, r->format);
	char tag[TAG_SIZE];

	text.len = 0;
	text.has_failed = false;
	redis_render(&text, r->format, span_of(r->name, r->name_len), what);
	if (text.has_failed || status == 406) {
		redis_refuse(reply, status == 406 ? 406 : 503, status == 406 ? "not_a_string" : "no_memory");
		return;
	}
	if (what->type == REDIS_REPLY_ERROR) {
		r->ask.route->service->stats->errors++;
		reply->why = "redis_error";
	}
	reply_set_status(reply, status);
	reply_add(reply, SPAN("Content-Type"), redis_type_of(r->format));
	/* Content comes from whoever writes into the server: it is data, whatever it looks like. */
	reply_add(reply, SPAN("X-Content-Type-Options"), SPAN("nosniff"));
	ask_for_another_try(reply, status);
	if (status == 200 && (req->method == METHOD_GET || req->method == METHOD_HEAD) &&
	    answer_not_modified(req, reply, &text, tag))
		return;
	reply_begin(reply, text.len);
	write_text(reply, &text);
	reply_end(reply);
}

static void note_origin(const struct redis_request *r)
{
	struct reply_origin *o = &r->ask.reply->origin;
	const struct redis_service *s = r->ask.route->service;

	memcpy(o->server, s->name, MIN(sizeof(s->name), sizeof(o->server)));
	o->server[sizeof(o->server) - 1] = '\0';
	o->tries = 1;
	o->first_byte_us = (uint32_t)((redis_server_loop(s->server)->now_ns - r->began_ns) / 1000);
}

static void on_reply(struct redis_call *call, const redisReply *what)
{
	struct redis_request *r = container_of(call, struct redis_request, call);
	struct reply *reply = r->ask.reply;

	note_origin(r);
	answer(r, what);
	free_request(r);
	reply_run(reply);
}

static void on_failed(struct redis_call *call, enum redis_failure why)
{
	struct redis_request *r = container_of(call, struct redis_request, call);
	struct reply *reply = r->ask.reply;

	free_request(r);
	redis_refuse(reply, redis_failure_status(why), redis_failure_name(why));
	reply_run(reply);
}

/* What may be asked for ----------------------------------------------------------------------------------------- */

struct redis_allowed *redis_route_find(const struct redis_route *r, struct span name)
{
	for (unsigned i = 0; i < r->allow_count; i++)
		if (span_ieq(name, r->allow[i].name))
			return &r->allow[i];
	return NULL;
}

/* Looked at for each request, so what is known of a command by its name is kept. */
const char *redis_route_refusal(const struct redis_route *r, const struct redis_words *w)
{
	const struct redis_commands *c = redis_server_commands(r->service->server);
	struct redis_allowed *allowed = redis_route_find(r, w->items[0]);
	unsigned serial = redis_commands_serial(c);

	if (!redis_is_name(w->items[0]))
		return "not_a_command";
	if (allowed && serial && allowed->plain_for == serial)
		return NULL;
	if (redis_is_forbidden(w->items[0]))
		return "command_forbidden";
	if (!allowed && (!r->allows_most || redis_commands_is_admin(c, w->count, w->items)))
		return "command_not_allowed";
	/* By name or by argument; either would hold up whoever shares the connection. */
	if (redis_waits_by_argument(w->count, w->items) || redis_commands_waits(c, w->count, w->items))
		return "command_waits";
	if (allowed && redis_commands_is_plain(c, w->items[0]))
		allowed->plain_for = serial;
	return NULL;
}

static const char keys_unknown[] = "keys_unknown", key_too_long[] = "key_too_long";

const char *redis_route_confine(const struct redis_route *r, struct redis_words *w)
{
	const struct redis_commands *c = redis_server_commands(r->service->server);
	struct redis_keys keys;

	if (!r->key_prefix.len)
		return NULL;
	/* So far the server has not said which ones are keys; or it will not, or there are none to be named. */
	if (!redis_commands_keys(c, w->count, w->items, &keys))
		return redis_commands_count(c) == 0 ? redis_failure_name(REDIS_CALL_DOWN) : keys_unknown;
	return redis_words_prefix(w, &keys, r->key_prefix) ? NULL : key_too_long;
}

/* False: answered. */
static bool confine_keys(const struct redis_route *r, struct reply *reply, struct redis_words *w)
{
	const char *why = redis_route_confine(r, w);

	if (!why)
		return true;
	r->service->stats->refused++;
	redis_refuse(reply, why == keys_unknown ? 403 : why == key_too_long ? 413 : 503, why);
	return false;
}

/* False: answered. */
static bool is_allowed(const struct redis_route *r, struct reply *reply, const struct redis_words *w)
{
	const char *why = redis_route_refusal(r, w);

	if (!why)
		return true;
	r->service->stats->refused++;
	redis_refuse(reply, redis_is_name(w->items[0]) ? 403 : 404, why);
	return false;
}

/* Requests ------------------------------------------------------------------------------------------------------ */

static struct span accept_of(const struct request *req)
{
	for (unsigned i = 0; i < req->field_count; i++)
		if (req->fields[i].id == HEADER_OTHER && span_ieq(req->fields[i].name, SPAN("Accept")))
			return req->fields[i].value;
	return span_of(NULL, 0);
}

/* The words are complete, and allowed. */
static void send_command(struct redis_request *r, struct redis_words *w)
{
	struct reply *reply = r->ask.reply;
	enum redis_failure why;

	r->name_len = (unsigned)w->items[0].len;
	memcpy(r->name, w->items[0].ptr, w->items[0].len);
	r->format = redis_format_of(w, accept_of(r->ask.req));
	if (!confine_keys(r->ask.route, reply, w)) {
		free_request(r);
		return;
	}
	why = redis_server_call(r->ask.route->service->server, &r->call, w->count, w->items);
	if (why == REDIS_CALL_FINE)
		return;
	free_request(r);
	redis_refuse(reply, redis_failure_status(why), redis_failure_name(why));
}

/*
 * All of the content is there: it is the last word, or, where the path has none, the command.  Nothing at all is a word
 * too if it was PUT.
 */
static void take_body(struct redis_request *r)
{
	const struct request *req = r->ask.req;
	struct reply *reply = r->ask.reply;
	struct span body = span_of(r->body.ptr ? r->body.ptr : "", r->body.len);
	unsigned status = redis_words_of_path(&words, req->raw_path, r->ask.route->prefix);
	bool has_word = req->framing != BODY_NONE || req->method == METHOD_PUT;

	if (!status && words.count == 0)
		status = redis_words_of_body(&words, body);
	else if (!status && has_word && !redis_words_add(&words, body))
		status = 413;
	if (!status && words.count == 0)
		status = 400;
	if (status) {
		free_request(r);
		redis_refuse(reply, status, "bad_command");
	} else if (!is_allowed(r->ask.route, reply, &words)) {
		free_request(r);
	} else {
		send_command(r, &words);
	}
}

static void on_body(struct request *req, struct reply *reply, struct span data, bool is_last)
{
	struct redis_ask *ask = reply->ctx;
	struct redis_request *r;

	if (!ask || ask->is_stream || (req->method != METHOD_POST && req->method != METHOD_PUT))
		return;
	r = container_of(ask, struct redis_request, ask);
	redis_text_add(&r->body, data.ptr, data.len);
	if (r->body.has_failed) {
		free_request(r);
		redis_refuse(reply, 503, "no_memory");
	} else if (is_last) {
		take_body(r);
	}
}

static void begin(struct request *req, struct reply *reply, const struct redis_route *route)
{
	struct redis_request *r = malloc(sizeof(*r));

	if (!r) {
		redis_refuse(reply, 503, "no_memory");
		return;
	}
	r->ask = (struct redis_ask){ .route = route, .req = req, .reply = reply };
	r->call = (struct redis_call){ .on_reply = on_reply, .on_failed = on_failed };
	r->body = (struct redis_text){ 0 };
	r->began_ns = redis_server_loop(route->service->server)->now_ns;
	reply->ctx = r;
	if (req->method == METHOD_GET || req->method == METHOD_HEAD)
		send_command(r, &words);
	else if (req->framing == BODY_NONE)
		take_body(r);
}

/* False: answered. */
static bool is_method_fine(const struct request *req, struct reply *reply)
{
	if (req->method == METHOD_GET || req->method == METHOD_HEAD || req->method == METHOD_PUT ||
	    req->method == METHOD_POST)
		return true;
	reply_add(reply, SPAN("Allow"), SPAN("GET, HEAD, POST, PUT"));
	redis_refuse(reply, 405, "method_not_allowed");
	return false;
}

static void on_request(struct request *req, struct reply *reply, void *conf)
{
	const struct redis_route *route = conf;
	unsigned status;

	if (!is_method_fine(req, reply))
		return;
	status = redis_words_of_path(&words, req->raw_path, route->prefix);
	if (!status && redis_is_talk(req, &words)) {
		redis_talk_begin(route, req, reply);
		return;
	}
	if (!status && words.count == 0 && req->method != METHOD_POST)
		status = 404;
	if (status)
		redis_refuse(reply, status, status == 404 ? "not_a_command" : "bad_command");
	else if (req->method == METHOD_GET && redis_is_stream(words.items[0]))
		redis_stream_begin(req, reply, route, &words);
	/* Content that would be refused is not waited for.  What may wait, by an argument to come, is looked at again. */
	else if (words.count == 0 || is_allowed(route, reply, &words))
		begin(req, reply, route);
}

static void on_abort(struct request *req, struct reply *reply)
{
	struct redis_ask *ask = reply->ctx;

	if (ask && ask->is_stream)
		redis_stream_abort(ask);
	else if (ask)
		free_request(container_of(ask, struct redis_request, ask));
}

static uint64_t body_max(const void *conf)
{
	return ((const struct redis_route *)conf)->body_max;
}

const struct handler_ops redis_route_ops = {
	.name = "redis",
	.on_request = on_request,
	.on_body = on_body,
	.on_abort = on_abort,
	.body_max = body_max,
};
