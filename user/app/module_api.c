/* SPDX-License-Identifier: MIT */
/*
 * What modules call.  Whatever they get wrong is refused here: the server behind takes a wrong call for a mistake of its
 * own, and would end the worker.
 */
#include <stdio.h>
#include <stdlib.h>

#include "app/module_internal.h"
#include "base/err.h"
#include "base/hold.h"
#include "http/scan.h"

#define AFTER_MAX (UINT64_C(1) << 50) /* ms: a sum with the time does not overflow */

static struct module_call *call_of(struct sluice_request *r)
{
	return container_of(r, struct module_call, pub);
}

static const struct module_call *const_call_of(const struct sluice_request *r)
{
	return container_of(r, const struct module_call, pub);
}

/* Returns `err`. */
static int refuse(const struct module_call *c, const char *what, int err)
{
	struct module *m = c->owner->module;
	const char *more = log_seldom(&m->mistakes);

	m->stats->mistakes++;
	if (more)
		log_warn("module %s, %.*s: %s%s", m->code.name, SPAN_ARG(c->req->path), what, more);
	return err;
}

static void note_activity(struct module_call *c)
{
	c->active_ms = c->owner->module->loop->now_ms;
}

/* Head ------------------------------------------------------------------------------------------------------------ */

static int set_status(struct sluice_request *r, unsigned status)
{
	struct module_call *c = call_of(r);

	if (c->reply->is_begun)
		return refuse(c, "status after begin", -EALREADY);
	if (status < 200 || status > 599) {
		reply_set_status(c->reply, 500);
		return refuse(c, "a status that is none (200 to 599)", -EINVAL);
	}
	reply_set_status(c->reply, status);
	return 0;
}

static bool is_ours(struct span name)
{
	switch (header_id_of(name)) {
	case HEADER_CONTENT_LENGTH:
	case HEADER_TRANSFER_ENCODING:
	case HEADER_CONNECTION:
	case HEADER_KEEP_ALIVE:
	case HEADER_UPGRADE:
	case HEADER_TRAILER:
	case HEADER_DATE:
	case HEADER_SERVER:
		return true;
	default:
		return false;
	}
}

/* RFC 9110 5.1, 5.5: whatever could end a line, or begin another, is none. */
static bool is_name(struct span name)
{
	return name.len > 0 && scan_class(name.ptr, name.ptr + name.len, CLASS_TOKEN) == name.ptr + name.len;
}

static bool is_value(struct span value)
{
	return scan_class(value.ptr, value.ptr + value.len, CLASS_VALUE) == value.ptr + value.len;
}

static bool make_room(struct module_call *c, size_t len)
{
	size_t need = c->fields.len + len, cap = MAX(2 * c->fields.cap, need);
	char *grown;

	if (need <= c->fields.cap)
		return true;
	if (need > MODULE_FIELDS_MAX)
		return false;
	grown = realloc(c->grown, cap);
	if (!grown)
		return false;
	if (!c->grown)
		memcpy(grown, c->memory, c->fields.len);
	c->grown = grown;
	c->fields.ptr = grown;
	c->fields.cap = cap;
	return true;
}

/* A head without what was meant to be in it is none: 500. */
static int refuse_field(struct module_call *c, const char *what, int err)
{
	c->reply->has_overflown = true;
	return refuse(c, what, err);
}

/* A name that is one and not the server's. */
static int append_field(struct module_call *c, struct span name, struct span value)
{
	if (!is_value(value))
		return refuse_field(c, "a field whose value is none", -EINVAL);
	if (!make_room(c, name.len + value.len + 4))
		return refuse_field(c, "too many fields", -ENOSPC);
	buf_add_span(&c->fields, name);
	buf_add_lit(&c->fields, ": ");
	buf_add_span(&c->fields, value);
	buf_add_lit(&c->fields, "\r\n");
	return 0;
}

static int add_field(struct sluice_request *r, const char *name, const char *value, size_t value_len)
{
	struct module_call *c = call_of(r);
	struct span n = span_str(name);

	if (c->reply->is_begun)
		return refuse(c, "a field after begin", -EALREADY);
	if (!is_name(n) || is_ours(n))
		return refuse_field(c, "a field whose name is none, or the server's", -EINVAL);
	return append_field(c, n, span_of(value, value_len));
}

static int begin(struct sluice_request *r, uint64_t length)
{
	struct module_call *c = call_of(r);

	if (c->reply->is_begun)
		return refuse(c, "begin after begin", -EALREADY);
	note_activity(c);
	c->reply->block = buf_span(&c->fields);
	reply_begin(c->reply, length);
	return 0;
}

/* Content --------------------------------------------------------------------------------------------------------- */

/* 0: so many bytes may follow now. */
static int check_write(struct module_call *c, uint64_t len)
{
	const struct reply *r = c->reply;

	if (!r->is_begun)
		return refuse(c, "content before begin", -EINVAL);
	if (!r->is_unsized && len > r->length - r->written)
		return refuse(c, "more content than announced", -EMSGSIZE);
	note_activity(c);
	return 0;
}

static int write_copy(struct sluice_request *r, const void *data, size_t len)
{
	struct module_call *c = call_of(r);
	uint64_t queued = reply_queued(c->reply);
	int err = check_write(c, len);

	if (err)
		return err;
	/* What goes beyond is no mistake of a module that looks; one that does not is stopped here. */
	if (len > SLUICE_WRITE_MAX || queued > SLUICE_WRITE_MAX - len)
		return -ENOBUFS;
	reply_write(c->reply, data, len);
	return 0;
}

struct borrowed {
	struct hold hold;
	void (*release)(void *ctx);
	void *ctx;
};

static void on_release(struct hold *h)
{
	struct borrowed *b = container_of(h, struct borrowed, hold);

	b->release(b->ctx);
	free(b);
}

/* False: no memory.  *ret_hold is NULL where nothing is to be released. */
static bool borrow(void (*release)(void *ctx), void *ctx, struct hold **ret_hold)
{
	struct borrowed *b;

	*ret_hold = NULL;
	if (!release)
		return true;
	b = malloc(sizeof(*b));
	if (!b)
		return false;
	hold_init(&b->hold, on_release);
	b->release = release;
	b->ctx = ctx;
	*ret_hold = &b->hold;
	return true;
}

static int write_held(struct sluice_request *r, const void *data, size_t len, void (*release)(void *ctx), void *ctx)
{
	struct module_call *c = call_of(r);
	struct hold *hold;
	int err = check_write(c, len);

	if (err)
		return err;
	if (!borrow(release, ctx, &hold))
		return -ENOMEM;
	reply_write_held(c->reply, span_of(data, len), hold);
	hold_put(hold);
	return 0;
}

static int write_file(struct sluice_request *r, int fd, uint64_t offset, uint64_t len, void (*release)(void *ctx),
		      void *ctx)
{
	struct module_call *c = call_of(r);
	struct hold *hold;
	int err = check_write(c, len);

	if (!err && (fd < 0 || offset > INT64_MAX || len > INT64_MAX - offset))
		err = refuse(c, "a part of a file that is none", -EINVAL);
	if (err)
		return err;
	if (!borrow(release, ctx, &hold))
		return -ENOMEM;
	reply_write_file(c->reply, fd, (off_t)offset, len, hold);
	hold_put(hold);
	return 0;
}

/* The end --------------------------------------------------------------------------------------------------------- */

static void count_end(const struct module_call *c)
{
	const struct reply *r = c->reply;
	bool is_short = !r->is_unsized && !r->has_no_content && r->written < r->length;

	if (r->status >= 500 || is_short)
		c->owner->module->stats->errors++;
}

static int error_page(struct sluice_request *r, unsigned status)
{
	struct module_call *c = call_of(r);
	struct reply *reply = c->reply;
	int err = 0;

	if (reply->is_begun) {
		err = refuse(c, "a page after begin", -EALREADY);
		c->owner->module->stats->errors++;
		module_call_end(c);
		reply_abort(reply);
		return err;
	}
	err = set_status(r, status);
	reply->block = buf_span(&c->fields);
	/* Copied into the head before the call, whose memory it is, ends. */
	reply_status_page(reply, err ? 500 : status);
	count_end(c);
	module_call_end(c);
	return err;
}

static int end(struct sluice_request *r)
{
	struct module_call *c = call_of(r);
	struct reply *reply = c->reply;

	if (!reply->is_begun) {
		int err = refuse(c, "end before begin", -EINVAL);

		error_page(r, 500);
		return err;
	}
	count_end(c);
	module_call_end(c);
	reply_end(reply);
	return 0;
}

static int whole_reply(struct sluice_request *r, unsigned status, const char *type, const void *data, size_t len)
{
	struct module_call *c = call_of(r);
	int err;

	if (c->reply->is_begun) {
		err = error_page(r, 500);
		return err;
	}
	err = set_status(r, status);
	if (type && !err)
		err = append_field(c, SPAN("Content-Type"), span_str(type));
	begin(r, len);
	if (len)
		reply_write(c->reply, data, len);
	end(r);
	return err;
}

static void cut(struct sluice_request *r)
{
	struct module_call *c = call_of(r);
	struct reply *reply = c->reply;

	c->owner->module->stats->errors++;
	module_call_end(c);
	reply->why = "module_abort";
	reply_abort(reply);
}

/* What happens meanwhile ------------------------------------------------------------------------------------------ */

static uint64_t queued(const struct sluice_request *r)
{
	return reply_queued(const_call_of(r)->reply);
}

static void pause_body(struct sluice_request *r, int is_paused)
{
	struct module_call *c = call_of(r);

	note_activity(c);
	c->is_paused = is_paused != 0;
	reply_pause_body(c->reply, c->is_paused);
}

static void wake(struct sluice_request *r, uint64_t after_ms)
{
	struct module_call *c = call_of(r);

	note_activity(c);
	if (after_ms == SLUICE_UNKNOWN)
		loop_timer_stop(c->owner->module->loop, &c->wake);
	else
		loop_timer_start(c->owner->module->loop, &c->wake, MIN(after_ms, AFTER_MAX));
}

/* What was asked -------------------------------------------------------------------------------------------------- */

static struct sluice_span header(const struct sluice_request *r, const char *name)
{
	const struct request *req = const_call_of(r)->req;
	struct span wanted = span_str(name);

	for (unsigned i = 0; i < req->field_count; i++)
		if (span_ieq(req->fields[i].name, wanted))
			return (struct sluice_span){ req->fields[i].value.ptr, req->fields[i].value.len };
	return (struct sluice_span){ NULL, 0 };
}

static int field(const struct sluice_request *r, uint32_t index, struct sluice_span *ret_name,
		 struct sluice_span *ret_value)
{
	const struct request *req = const_call_of(r)->req;

	if (index >= req->field_count)
		return -ENOENT;
	*ret_name = (struct sluice_span){ req->fields[index].name.ptr, req->fields[index].name.len };
	*ret_value = (struct sluice_span){ req->fields[index].value.ptr, req->fields[index].value.len };
	return 0;
}

static size_t client(const struct sluice_request *r, char *out, size_t size)
{
	char text[SOCK_ADDR_TEXT];
	size_t len;

	if (size == 0)
		return 0;
	len = MIN(strlen(sock_addr_print_host(const_call_of(r)->req->peer, text)), size - 1);
	memcpy(out, text, len);
	out[len] = '\0';
	return len;
}

/* Instances ------------------------------------------------------------------------------------------------------- */

static struct module *module_of(const struct sluice_instance *in)
{
	return container_of(in, const struct module_route, instance)->module;
}

_Static_assert(sizeof(struct timer) <= sizeof(((struct sluice_timer *)0)->reserved), "it lies in there");

static struct timer *inner_timer(struct sluice_timer *t)
{
	return (struct timer *)(void *)t->reserved;
}

static void on_expire(struct timer *t)
{
	struct sluice_timer *outer = container_of((void *)t, struct sluice_timer, reserved);

	outer->on_expire(outer);
}

static void timer_start(struct sluice_instance *in, struct sluice_timer *t, uint64_t after_ms)
{
	struct timer *inner = inner_timer(t);

	/* All zero: never started. */
	if (!inner->on_expire)
		timer_init(inner, on_expire);
	loop_timer_start(module_of(in)->loop, inner, MIN(after_ms, AFTER_MAX));
}

static void timer_stop(struct sluice_instance *in, struct sluice_timer *t)
{
	struct timer *inner = inner_timer(t);

	if (inner->on_expire)
		loop_timer_stop(module_of(in)->loop, inner);
}

static uint64_t now_ms(const struct sluice_instance *in)
{
	return module_of(in)->loop->now_ms;
}

static void log_line(struct sluice_instance *in, enum sluice_level level, const char *text)
{
	static const enum log_level levels[] = {
		[SLUICE_LOG_ERROR] = LOG_ERROR, [SLUICE_LOG_WARN] = LOG_WARN, [SLUICE_LOG_INFO] = LOG_INFO,
		[SLUICE_LOG_DEBUG] = LOG_DEBUG,
	};

	log_at((unsigned)level < ARRAY_LEN(levels) ? levels[level] : LOG_INFO, "module %s: %s", module_of(in)->code.name,
	       text);
}

const struct sluice_api module_api = {
	.abi = SLUICE_ABI,
	.size = sizeof(struct sluice_api),
	.status = set_status,
	.add = add_field,
	.begin = begin,
	.write = write_copy,
	.write_held = write_held,
	.write_file = write_file,
	.end = end,
	.reply = whole_reply,
	.error = error_page,
	.abort = cut,
	.queued = queued,
	.pause = pause_body,
	.wake = wake,
	.header = header,
	.field = field,
	.client = client,
	.timer_start = timer_start,
	.timer_stop = timer_stop,
	.now_ms = now_ms,
	.log = log_line,
};
