/* SPDX-License-Identifier: MIT */
/*
 * The head of a request: guard, rules, then llhttp, which has to agree.
 *
 * llhttp reads what decides where a message ends: the request line, Content-Length,
 * Transfer-Encoding, the empty line, and later the sizes of chunks.  It is not shown the other
 * fields: the guard has checked each of their bytes against the same grammar, and llhttp alone takes
 * 6,700 instructions for a browser's head of 544 bytes, all of this together 4,500.  The fuzzer does
 * show it every field, and fails where it refuses, or reads otherwise, what the guard let through.
 * All lenient flags stay off.
 */
#include "http/parse.h"

#include "http/body.h"
#include "http/rules.h"

static int on_llhttp_done(llhttp_t *llhttp)
{
	struct parser *p = llhttp->data;

	p->is_llhttp_done = true;
	return 0;
}

static const llhttp_settings_t settings = {
	.on_headers_complete = on_llhttp_done,
	.on_chunk_header = on_llhttp_done,
};

static enum parse_state fail(struct parser *p, unsigned status, const char *why)
{
	p->status = status;
	p->why = why;
	return PARSE_FAIL;
}

static bool feed(struct parser *p, const char *data, size_t len)
{
	llhttp_errno_t error = llhttp_execute(&p->llhttp, data, len);

	return error == HPE_OK || error == HPE_PAUSED_UPGRADE;
}

/*
 * llhttp refuses methods it has not heard of; whether to serve one is the handlers' business (405,
 * 501), so it reads POST in their place, which allows the same content.
 */
static bool feed_request_line(struct parser *p, const char *line)
{
	size_t len = guard_request_line_len(&p->guard);
	size_t skip = 0;

	if (p->req->method == METHOD_OTHER) {
		if (!feed(p, "POST", 4))
			return false;
		skip = p->req->method_text.len;
	}
	return feed(p, line + skip, len - skip);
}

static bool feed_framing_fields(struct parser *p)
{
	const struct request *req = p->req;

	if (!req->known[HEADER_CONTENT_LENGTH] && !req->known[HEADER_TRANSFER_ENCODING])
		return true;
	for (unsigned i = 0; i < req->field_count; i++) {
		const struct field *f = &req->fields[i];
		const char *end = f->value.ptr + f->value.len;

		if (f->id != HEADER_CONTENT_LENGTH && f->id != HEADER_TRANSFER_ENCODING)
			continue;
		if (!feed(p, f->name.ptr, (size_t)(end - f->name.ptr)) || !feed(p, "\r\n", 2))
			return false;
	}
	return true;
}

static bool does_llhttp_agree(struct parser *p, const char *line)
{
	const struct request *req = p->req;

	llhttp_init(&p->llhttp, HTTP_REQUEST, &settings);
	p->llhttp.data = p;
	p->is_llhttp_done = false;
	if (!feed_request_line(p, line) || !feed_framing_fields(p) || !feed(p, "\r\n", 2))
		return false;
	if (!p->is_llhttp_done || p->llhttp.http_minor != req->version_minor)
		return false;
	if (!!(p->llhttp.flags & F_CHUNKED) != (req->framing == BODY_CHUNKED))
		return false;
	return req->framing != BODY_SIZED || p->llhttp.content_length == req->content_length;
}

void parser_init(struct parser *p, const struct parse_limits *limits)
{
	*p = (struct parser){.limits = limits};
}

void parser_reset(struct parser *p, struct request *req)
{
	guard_reset(&p->guard);
	p->req = req;
	p->status = 0;
	p->why = NULL;
	req->method = METHOD_OTHER;
	req->version_minor = 1;
	req->is_keep_alive = req->expects_continue = req->has_upgrade = false;
	req->framing = BODY_NONE;
	req->field_count = 0;
	/* What a reply to a head that breaks off early may look at. */
	req->method = METHOD_OTHER;
	req->version_minor = 1;
	req->is_keep_alive = false;
	req->expects_continue = false;
	req->method_text = req->target = span_of(NULL, 0);
	memset(req->known, 0, sizeof(req->known));
}

enum parse_state parser_head(struct parser *p, const char *data, size_t len, size_t *ret_head_len)
{
	struct guard *g = &p->guard;
	const char *why;
	unsigned status;

	if (p->status)
		return PARSE_FAIL;
	switch (guard_head(g, p->limits, p->req, data, len)) {
	case GUARD_MORE:
		return PARSE_MORE;
	case GUARD_FAIL:
		p->req->method = method_of(p->req->method_text);
		return fail(p, g->status, g->why);
	case GUARD_DONE:
		break;
	}
	status = rules_apply(p->req, g->duplicates, p->limits, &why);
	if (status)
		return fail(p, status, why);
	if (!does_llhttp_agree(p, data + g->head_start))
		return fail(p, 400, "refused by llhttp");
	*ret_head_len = g->pos;
	parser_begin_body(p);
	return PARSE_DONE;
}

bool parser_is_idle(const struct parser *p)
{
	return guard_is_idle(&p->guard);
}
