/* SPDX-License-Identifier: MIT */
/*
 * The head of a request: guard, rules, then llhttp, which has to agree.
 *
 * llhttp decides where a message ends.  It reads what that depends on: method and version, Content-Length,
 * Transfer-Encoding, the empty line, and later the sizes of chunks.  It is not shown the target and the other fields:
 * the guard has checked each of their bytes against the same grammar, and llhttp alone takes 8,900 instructions for a
 * browser's head of 789 bytes, all of this together 2,200.  The fuzzer does show it whole heads, and fails where it
 * refuses, or reads otherwise, what the guard let through; a unit test does so with every byte in every form of target.
 * All lenient flags stay off.
 */
#include "http/parse.h"

#include "http/rules.h"

static const llhttp_settings_t settings = {
	.on_headers_complete = body_on_llhttp_done,
	.on_chunk_header = body_on_llhttp_done,
};

static enum parse_state fail(struct parser *p, unsigned status, const char *why)
{
	p->status = status;
	p->why = why;
	return PARSE_FAIL;
}

/*
 * llhttp refuses methods it has not heard of; whether to serve one is the handlers' business (405, 501), so it reads
 * POST in their place, which allows the same content.  What a line leaves in it does not depend on the target, which
 * guard and rules have checked: it gets the shortest of its form.
 */
static bool show_request_line(llhttp_t *llhttp, const struct request *req)
{
	struct span method = req->method == METHOD_OTHER ? SPAN("POST") : req->method_text;
	struct span target = req->method == METHOD_CONNECT ? SPAN(" a:1 ") : SPAN(" / ");
	const char *version = req->version_minor ? "HTTP/1.1\r\n" : "HTTP/1.0\r\n";

	return llhttp_execute(llhttp, method.ptr, method.len) == HPE_OK &&
	       llhttp_execute(llhttp, target.ptr, target.len) == HPE_OK &&
	       llhttp_execute(llhttp, version, strlen(version)) == HPE_OK;
}

/* llhttp as it is behind such a request's line; NULL: it refuses it.  Made when the first comes, copied ever after. */
static const llhttp_t *behind_line(const struct request *req)
{
	static llhttp_t made[METHOD_PATCH + 1][2];
	llhttp_t *llhttp = &made[req->method][req->version_minor];

	if (llhttp->settings)
		return llhttp;
	llhttp_init(llhttp, HTTP_REQUEST, &settings);
	if (show_request_line(llhttp, req))
		return llhttp;
	llhttp->settings = NULL;
	return NULL;
}

static bool show_head(struct parser *p)
{
	const struct request *req = p->req;
	const llhttp_t *start = behind_line(req);

	if (!start)
		return false;
	body_continue_llhttp(&p->body, start);
	if ((req->known[HEADER_CONTENT_LENGTH] || req->known[HEADER_TRANSFER_ENCODING]) &&
	    !body_show_framing(&p->body, req->fields, req->field_count))
		return false;
	return body_show(&p->body, "\r\n", 2);
}

static bool does_llhttp_agree(struct parser *p)
{
	const struct request *req = p->req;
	const llhttp_t *llhttp = &p->body.llhttp;

	if (!show_head(p))
		return false;
	if (!p->body.is_llhttp_done || llhttp->http_minor != req->version_minor)
		return false;
	if (!!(llhttp->flags & F_CHUNKED) != (req->framing == BODY_CHUNKED))
		return false;
	return req->framing != BODY_SIZED || llhttp->content_length == req->content_length;
}

/* The rest is parser_reset's, and the body's once there is one. */
void parser_init(struct parser *p, const struct parse_limits *limits)
{
	p->limits = limits;
	p->trailers = NULL;
}

void parser_reset(struct parser *p, struct request *req)
{
	guard_reset(&p->guard);
	body_reset(&p->body);
	p->req = req;
	p->status = 0;
	p->why = NULL;
	/* What a reply to a head that breaks off early may look at. */
	req->method = METHOD_OTHER;
	req->version_minor = 1;
	req->is_keep_alive = req->expects_continue = req->has_upgrade = req->names_fields = false;
	req->framing = BODY_NONE;
	req->field_count = 0;
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
	if (!does_llhttp_agree(p))
		return fail(p, 400, "refused by llhttp");
	*ret_head_len = g->pos;
	body_begin(&p->body, p->req->framing, p->req->content_length, p->limits->body_max);
	return PARSE_DONE;
}

enum parse_state parser_body(struct parser *p, struct span *in, struct span *ret_data)
{
	enum parse_state state;

	if (p->status)
		return PARSE_FAIL;
	state = body_take(&p->body, p->limits, p->trailers, in, ret_data);
	return state == PARSE_FAIL ? fail(p, p->body.status, p->body.why) : state;
}

bool parser_is_over(const struct parser *p)
{
	return !p->status && body_is_over(&p->body);
}

uint64_t parser_opaque(const struct parser *p)
{
	return p->status ? 0 : body_opaque(&p->body);
}

void parser_skip(struct parser *p, uint64_t len)
{
	body_skip(&p->body, len);
}

bool parser_is_idle(const struct parser *p)
{
	return guard_is_idle(&p->guard);
}
