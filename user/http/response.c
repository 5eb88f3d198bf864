/* SPDX-License-Identifier: MIT */
/*
 * The head of a response: guard, rules, then llhttp, which has to agree where the message ends.
 *
 * As for requests, llhttp sees the first line, the fields that frame, and the empty line (see parse.c).  Where the rules
 * say that no content follows whatever the fields say (RFC 9112 6.3 (1)), it is not shown them either: it knows those
 * statuses by itself, but reads the length of a 1xx it has no name for.
 */
#include "http/response.h"

#include "base/list.h"
#include "http/rules.h"

static struct response_parser *parser_of(llhttp_t *llhttp)
{
	struct body *b = llhttp->data;

	return container_of(b, struct response_parser, body);
}

/* 1: whatever llhttp thinks, there is no content.  It cannot know that the request was HEAD. */
static int on_headers_complete(llhttp_t *llhttp)
{
	body_on_llhttp_done(llhttp);
	return parser_of(llhttp)->is_to_head;
}

static int on_message_complete(llhttp_t *llhttp)
{
	parser_of(llhttp)->is_llhttp_over = true;
	return 0;
}

static const llhttp_settings_t settings = {
	.on_headers_complete = on_headers_complete,
	.on_message_complete = on_message_complete,
	.on_chunk_header = body_on_llhttp_done,
};

static enum parse_state fail(struct response_parser *p, const char *why)
{
	p->why = why;
	return PARSE_FAIL;
}

static bool show_head(struct response_parser *p, const char *line)
{
	const struct response *res = p->res;
	bool is_framed = res->framing != BODY_NONE || res->content_length == 0;

	if (!body_show(&p->body, line, guard_status_line_len(&p->guard)))
		return false;
	if (is_framed && !body_show_framing(&p->body, res->fields, res->field_count))
		return false;
	return body_show(&p->body, "\r\n", 2);
}

static bool does_llhttp_agree(struct response_parser *p, const char *line)
{
	const struct response *res = p->res;
	const llhttp_t *llhttp = &p->body.llhttp;

	body_init_llhttp(&p->body, HTTP_RESPONSE, &settings);
	p->is_llhttp_over = false;
	if (!show_head(p, line))
		return false;
	if (!p->body.is_llhttp_done || llhttp->http_minor != res->version_minor || llhttp->status_code != res->status)
		return false;
	if (p->is_llhttp_over != (res->framing == BODY_NONE))
		return false;
	switch (res->framing) {
	case BODY_NONE:
		return true;
	case BODY_SIZED:
		return !(llhttp->flags & F_CHUNKED) && llhttp->content_length == res->content_length;
	case BODY_CHUNKED:
		return llhttp->flags & F_CHUNKED;
	case BODY_UNTIL_CLOSE:
		return llhttp_message_needs_eof(llhttp);
	}
	return false;
}

void response_init(struct response_parser *p, const struct parse_limits *limits)
{
	*p = (struct response_parser){ .limits = limits };
}

void response_reset(struct response_parser *p, struct response *res, enum http_method method)
{
	guard_reset_response(&p->guard);
	body_reset(&p->body);
	p->res = res;
	p->why = NULL;
	p->is_to_head = method == METHOD_HEAD;
	memset(res, 0, offsetof(struct response, fields));
	res->content_length = UINT64_MAX;
}

enum parse_state response_head(struct response_parser *p, const char *data, size_t len, size_t *ret_head_len)
{
	struct guard *g = &p->guard;
	const char *why;

	if (p->why)
		return PARSE_FAIL;
	switch (guard_response_head(g, p->limits, p->res, data, len)) {
	case GUARD_MORE:
		return PARSE_MORE;
	case GUARD_FAIL:
		return fail(p, g->why);
	case GUARD_DONE:
		break;
	}
	why = rules_apply_response(p->res, g->duplicates, p->is_to_head, p->limits);
	if (why)
		return fail(p, why);
	if (!does_llhttp_agree(p, data))
		return fail(p, "refused by llhttp");
	*ret_head_len = g->pos;
	body_begin(&p->body, p->res->framing, p->res->content_length, p->limits->body_max);
	return PARSE_DONE;
}

enum parse_state response_body(struct response_parser *p, struct span *in, struct span *ret_data)
{
	enum parse_state state;

	if (p->why)
		return PARSE_FAIL;
	state = body_take(&p->body, p->limits, p->trailers, in, ret_data);
	return state == PARSE_FAIL ? fail(p, p->body.why) : state;
}

uint64_t response_opaque(const struct response_parser *p)
{
	return p->why ? 0 : body_opaque(&p->body);
}

void response_skip(struct response_parser *p, uint64_t len)
{
	body_skip(&p->body, len);
}
