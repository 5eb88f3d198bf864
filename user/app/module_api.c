/* SPDX-License-Identifier: MIT */
/*
 * What modules call.  Whatever they get wrong is refused here: the server behind takes a wrong call for a mistake of its
 * own, and would end the worker.
 */
#include <stdlib.h>

#include "app/module_internal.h"
#include "base/err.h"
#include "http/scan.h"

#define PATH_SHOWN 200 /* bytes of it, in the log */

int module_refuse(const struct module_call *c, const char *what, int err)
{
	struct module *m = c->owner->module;
	const char *more = log_seldom(&m->mistakes);

	m->stats->mistakes++;
	if (more)
		log_warn("module %s, %.*s: %s%s", m->code.name, (int)MIN(c->req->path.len, (size_t)PATH_SHOWN),
			 c->req->path.ptr, what, more);
	return err;
}

/* Head ------------------------------------------------------------------------------------------------------------ */

static int set_status(struct sluice_request *r, unsigned status)
{
	struct module_call *c = module_call_of(r);

	if (c->reply->is_begun)
		return module_refuse(c, "status after begin", -EALREADY);
	if (status < 200 || status > 599) {
		reply_set_status(c->reply, 500);
		return module_refuse(c, "a status that is none (200 to 599)", -EINVAL);
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
	return module_refuse(c, what, err);
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
	struct module_call *c = module_call_of(r);
	struct span n = span_str(name);

	if (c->reply->is_begun)
		return module_refuse(c, "a field after begin", -EALREADY);
	if (!is_name(n) || is_ours(n))
		return refuse_field(c, "a field whose name is none, or the server's", -EINVAL);
	return append_field(c, n, span_of(value, value_len));
}

static int begin(struct sluice_request *r, uint64_t length)
{
	struct module_call *c = module_call_of(r);

	if (c->reply->is_begun)
		return module_refuse(c, "begin after begin", -EALREADY);
	module_note_activity(c);
	c->reply->block = buf_span(&c->fields);
	reply_begin(c->reply, length);
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
	struct module_call *c = module_call_of(r);
	struct reply *reply = c->reply;
	int err = 0;

	if (reply->is_begun) {
		err = module_refuse(c, "a page after begin", -EALREADY);
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
	struct module_call *c = module_call_of(r);
	struct reply *reply = c->reply;

	if (!reply->is_begun) {
		int err = module_refuse(c, "end before begin", -EINVAL);

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
	struct module_call *c = module_call_of(r);
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
	struct module_call *c = module_call_of(r);
	struct reply *reply = c->reply;

	c->owner->module->stats->errors++;
	module_call_end(c);
	reply->why = "module_abort";
	reply_abort(reply);
}

/* What happens meanwhile ------------------------------------------------------------------------------------------ */

static uint64_t queued(const struct sluice_request *r)
{
	return reply_queued(module_const_call_of(r)->reply);
}

static void pause_body(struct sluice_request *r, int is_paused)
{
	struct module_call *c = module_call_of(r);

	module_note_activity(c);
	c->is_paused = is_paused != 0;
	reply_pause_body(c->reply, c->is_paused);
}

static void wake(struct sluice_request *r, uint64_t after_ms)
{
	struct module_call *c = module_call_of(r);

	module_note_activity(c);
	if (after_ms == SLUICE_UNKNOWN)
		loop_timer_stop(c->owner->module->loop, &c->wake);
	else
		loop_timer_start(c->owner->module->loop, &c->wake, MIN(after_ms, MODULE_AFTER_MAX));
}

const struct sluice_api module_api = {
	.abi = SLUICE_ABI,
	.size = sizeof(struct sluice_api),
	.status = set_status,
	.add = add_field,
	.begin = begin,
	.write = module_write,
	.write_held = module_write_held,
	.write_file = module_write_file,
	.end = end,
	.reply = whole_reply,
	.error = error_page,
	.abort = cut,
	.queued = queued,
	.pause = pause_body,
	.wake = wake,
	.header = module_header,
	.field = module_field,
	.client = module_client,
	.timer_start = module_timer_start,
	.timer_stop = module_timer_stop,
	.now_ms = module_now_ms,
	.log = module_log,
};
