/* SPDX-License-Identifier: MIT */
/*
 * Commands over a WebSocket, as webdis has them: GET of the route's prefix with an Upgrade.  A message is a command, a JSON
 * array of its words; each is answered by one message, the same JSON as of a request, in the order of the commands.
 *
 *   WAITING --there is room--> ASKED --answered, failed, refused--> DONE --those in front are done--> (said, and freed)
 *
 * A few are on their way at a time, and none while the client has not taken what it was said: so what a connection holds
 * is bounded by answers, not by how many commands were sent.  What is read at once bounds those that wait.
 */
#include <jansson.h>
#include <nettle/base64.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/redis_route_internal.h"
#include "base/err.h"

#define ASKED_MAX 16u

enum command_state { COMMAND_WAITING, COMMAND_ASKED, COMMAND_DONE };

struct talk_command {
	struct list node;
	struct redis_talk *talk;
	struct redis_call call;
	enum command_state state;
	struct redis_text text;		/* as it came; once done, the answer */
	unsigned name_len;
	char name[REDIS_NAME_MAX];	/* as the client wrote it */
};

struct redis_talk {
	const struct redis_route *route;
	struct websocket *ws;		/* NULL: nothing came so far */
	struct list commands;		/* in their order */
	unsigned waiting_count;
	unsigned unsaid_count;		/* asked or done */
};

/* One command is put together at a time. */
static struct redis_words words;

static void free_command(struct talk_command *c)
{
	redis_call_cancel(&c->call);
	list_remove(&c->node);
	free(c->text.ptr);
	free(c);
}

/* Answers ------------------------------------------------------------------------------------------------------- */

/* False without memory. */
static bool say_done(struct redis_talk *t)
{
	bool is_fine = true;

	while (is_fine && !list_is_empty(&t->commands)) {
		struct talk_command *c = container_of(t->commands.next, struct talk_command, node);

		if (c->state != COMMAND_DONE)
			break;
		is_fine = !c->text.has_failed && websocket_say(t->ws, true, span_of(c->text.ptr, c->text.len));
		t->unsaid_count--;
		free_command(c);
	}
	return is_fine;
}

static void set_error(struct talk_command *c, const char *why)
{
	c->state = COMMAND_DONE;
	c->text.len = 0;
	redis_text_add(&c->text, "{", 1);
	redis_text_add_json(&c->text, span_of(c->name, c->name_len));
	redis_text_add(&c->text, ":[false,\"ERR ", 13);
	redis_text_add(&c->text, why, strlen(why));
	redis_text_add(&c->text, "\"]}", 3);
}

static bool ask_more(struct redis_talk *t);

/* From an event of its own: what can be said and asked now. */
static void go_on(struct redis_talk *t)
{
	struct websocket *ws = t->ws;

	if (!say_done(t) || !ask_more(t) || !say_done(t))
		websocket_close(ws, 1011, "no memory", CLOSE_MEMORY);
	else
		websocket_read_on(ws);
}

static void on_reply(struct redis_call *call, const redisReply *reply)
{
	struct talk_command *c = container_of(call, struct talk_command, call);

	if (reply->type == REDIS_REPLY_ERROR)
		c->talk->route->service->stats->errors++;
	c->state = COMMAND_DONE;
	redis_render(&c->text, REDIS_JSON, span_of(c->name, c->name_len), reply);
	go_on(c->talk);
}

static void on_failed(struct redis_call *call, enum redis_failure why)
{
	struct talk_command *c = container_of(call, struct talk_command, call);

	set_error(c, redis_failure_name(why));
	go_on(c->talk);
}

/* Commands ------------------------------------------------------------------------------------------------------ */

/* Bytes that are no text: {"base64": "..."}, as answers have them. */
static bool add_base64(json_t *item)
{
	json_t *text = json_object_get(item, "base64");
	struct base64_decode_ctx ctx;
	char *at = words.memory + words.used;
	size_t len = sizeof(words.memory) - words.used;

	if (!json_is_string(text) || BASE64_DECODE_LENGTH(json_string_length(text)) > len)
		return false;
	base64_decode_init(&ctx);
	if (!base64_decode_update(&ctx, &len, (uint8_t *)at, json_string_length(text), json_string_value(text)) ||
	    !base64_decode_final(&ctx))
		return false;
	words.used += len;
	return redis_words_add(&words, span_of(at, len));
}

static bool add_number(json_int_t value)
{
	char *at = words.memory + words.used;
	int len = snprintf(at, sizeof(words.memory) - words.used, "%" JSON_INTEGER_FORMAT, value);

	if (len < 0 || (size_t)len >= sizeof(words.memory) - words.used)
		return false;
	words.used += (size_t)len;
	return redis_words_add(&words, span_of(at, (size_t)len));
}

/* The words lie in the array, which has to stay.  False: it is none. */
static bool take_words(const json_t *array)
{
	json_t *item;
	size_t i;

	redis_words_clear(&words);
	json_array_foreach(array, i, item) {
		bool is_taken = json_is_string(item) ? redis_words_add(&words, span_of(json_string_value(item),
											 json_string_length(item))) :
				json_is_integer(item) ? add_number(json_integer_value(item)) : add_base64(item);

		if (!is_taken)
			return false;
	}
	return words.count > 0;
}

/* It is on its way, or done. */
static void ask(struct talk_command *c)
{
	const struct redis_route *route = c->talk->route;
	json_t *array = json_loadb(c->text.ptr, c->text.len, JSON_ALLOW_NUL, NULL);
	const char *why = "not_a_command";

	c->text.len = 0;
	if (take_words(array) && redis_is_name(words.items[0])) {
		c->name_len = (unsigned)words.items[0].len;
		memcpy(c->name, words.items[0].ptr, c->name_len);
		why = redis_route_refusal(route, &words);
		if (!why)
			why = redis_route_confine(route, &words);
	}
	if (why) {
		route->service->stats->refused++;
	} else {
		enum redis_failure failure = redis_server_call(route->service->server, &c->call, words.count, words.items);

		why = failure == REDIS_CALL_FINE ? NULL : redis_failure_name(failure);
	}
	c->state = COMMAND_ASKED;
	if (why)
		set_error(c, why);
	json_decref(array);
}

/* False without memory. */
static bool ask_more(struct redis_talk *t)
{
	list_for_each(node, &t->commands) {
		struct talk_command *c = container_of(node, struct talk_command, node);

		if (c->state != COMMAND_WAITING)
			continue;
		if (t->unsaid_count >= ASKED_MAX || websocket_unsent(t->ws) > 0)
			return true;
		t->waiting_count--;
		t->unsaid_count++;
		ask(c);
		if (c->text.has_failed)
			return false;
	}
	return true;
}

/* WebSockets ---------------------------------------------------------------------------------------------------- */

static void on_message(struct websocket *ws, bool is_text, struct span data)
{
	struct redis_talk *t = websocket_ctx(ws);
	struct talk_command *c = is_text ? calloc(1, sizeof(*c)) : NULL;

	t->ws = ws;
	if (!is_text) {
		websocket_refuse(ws, 1003, "expected text");
		return;
	}
	if (!c) {
		websocket_refuse(ws, 1011, "no memory");
		return;
	}
	c->talk = t;
	c->call = (struct redis_call){ .on_reply = on_reply, .on_failed = on_failed };
	list_push_back(&t->commands, &c->node);
	t->waiting_count++;
	redis_text_add(&c->text, data.ptr, data.len);
	if (c->text.has_failed || !ask_more(t) || !say_done(t))
		websocket_refuse(ws, 1011, "no memory");
}

static bool may_read(struct websocket *ws)
{
	const struct redis_talk *t = websocket_ctx(ws);

	return t->unsaid_count < ASKED_MAX;
}

static void on_sent(struct websocket *ws)
{
	struct redis_talk *t = websocket_ctx(ws);

	if (t->waiting_count && t->unsaid_count < ASKED_MAX)
		go_on(t);
}

static void on_end(struct websocket *ws)
{
	struct redis_talk *t = websocket_ctx(ws);

	while (!list_is_empty(&t->commands))
		free_command(container_of(t->commands.next, struct talk_command, node));
	free(t);
}

const struct websocket_ops redis_talk_ops = {
	.on_message = on_message,
	.may_read = may_read,
	.on_sent = on_sent,
	.on_end = on_end,
};

static void *open_talk(const struct redis_route *route, enum websocket_kind kind, const struct detached *d)
{
	struct redis_talk *t = calloc(1, sizeof(*t));
	void *ws;

	if (!t) {
		d->close(d->handle, CLOSE_MEMORY, 0);
		return NULL;
	}
	t->route = route;
	list_init(&t->commands);
	ws = websocket_open(&route->talk, kind, NULL, t, d);
	if (!ws)
		free(t);
	return ws;
}

static void *on_plain(void *ctx, const struct detached *d)
{
	return open_talk(ctx, WEBSOCKET_PLAIN, d);
}

static void *on_deflated(void *ctx, const struct detached *d)
{
	return open_talk(ctx, WEBSOCKET_DEFLATED, d);
}

bool redis_is_talk(const struct request *req, const struct redis_words *w)
{
	bool has_path = w->count > 1 || (w->count == 1 && w->items[0].len > 0);

	return !has_path && w->format == REDIS_JSON && websocket_wants(req);
}

void redis_talk_begin(const struct redis_route *route, const struct request *req, struct reply *reply)
{
	bool is_deflated;

	if (!redis_socket_admit(route, req, reply))
		return;
	is_deflated = websocket_accept(&route->talk, req, reply);
	reply_detach(reply, &websocket_detached_ops, (void *)route, is_deflated ? on_deflated : on_plain);
}
