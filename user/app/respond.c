/* SPDX-License-Identifier: MIT */
/* The constant reply. Its text is held, because a reload may free the route while a slow client
 * still reads. */
#include "app/respond.h"

#include <stdlib.h>

#include "base/hold.h"
#include "base/list.h"

struct respond {
	struct hold hold;
	unsigned status;
	struct span type;
	struct span body;
	char memory[]; /* type, body */
};

static void on_release(struct hold *h)
{
	free(container_of(h, struct respond, hold));
}

static void on_request(struct request *req, struct reply *reply, void *conf)
{
	struct respond *r = conf;

	reply_set_status(reply, r->status);
	if (r->body.len)
		reply_add(reply, SPAN("Content-Type"), r->type);
	reply_begin(reply, r->body.len);
	if (r->body.len && req->method != METHOD_HEAD)
		reply_write_held(reply, r->body, &r->hold);
	reply_end(reply);
}

const struct handler_ops respond_ops = {
	.name = "respond",
	.on_request = on_request,
};

/* RFC 9110 15.3.5, 15.3.6, 15.4.5: no content. */
static bool has_body(unsigned status)
{
	return status != 204 && status != 205 && status != 304;
}

static bool is_field_value(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return s.len > 0;
}

int respond_new(const struct respond_options *opt, void **ret_conf)
{
	unsigned status = opt->status ? opt->status : 200;
	struct span body = has_body(status) ? span_str(opt->body) : SPAN("");
	struct span type = opt->type ? span_str(opt->type) : SPAN("text/plain; charset=utf-8");
	struct respond *r;

	if (status < 200 || status > 599 || !is_field_value(type))
		return -EINVAL;
	r = malloc(sizeof(*r) + type.len + body.len);
	if (!r)
		return -ENOMEM;
	hold_init(&r->hold, on_release);
	r->status = status;
	r->type = span_of(r->memory, type.len);
	r->body = span_of(r->memory + type.len, body.len);
	memcpy(r->memory, type.ptr, type.len);
	if (body.len)
		memcpy(r->memory + type.len, body.ptr, body.len);
	*ret_conf = r;
	return 0;
}

void respond_free(void *conf)
{
	struct respond *r = conf;

	if (r)
		hold_put(&r->hold);
}
