/* SPDX-License-Identifier: MIT */
/*
 * Redirects.  The target is cut into literals and variables once; what a client supplies is
 * escaped, so that it can neither split the head nor, at the start of a target, name another host.
 */
#include "app/respond.h"

#include <stdlib.h>

#include "app/escape.h"
#include "base/err.h"

#define PARTS_MAX 32
#define LOCATION_MAX                                                                               \
	4096 /* bytes: what fits a head beside the other fields, and any client's own limit */

enum variable { LITERAL, PATH, QUERY, HOST, URI };

struct part {
	enum variable variable;
	struct span literal;
};

struct redirect {
	unsigned status;
	unsigned part_count;
	struct part parts[PARTS_MAX];
	size_t literal_len;
	bool needs_host;
	char to[];
};

static const struct {
	struct span name;
	enum variable variable;
} variables[] = {
	{{"path", 4}, PATH},
	{{"query", 5}, QUERY},
	{{"host", 4}, HOST},
	{{"uri", 3}, URI},
};

/* A Host field is the client's text: nothing but a name or an address goes into a URL. */
static bool is_plain_host(struct span host)
{
	for (size_t i = 0; i < host.len; i++) {
		char c = host.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (c && strchr("-._:[]", c))))
			return false;
	}
	return host.len > 0;
}

/* At the very start "//evil" would be a host (RFC 3986 4.2). */
static void add_path(struct buf *b, struct span path)
{
	if (!path.len || path.ptr[0] != '/') /* "*" */
		path = SPAN("/");
	while (b->len == 0 && path.len > 1 && path.ptr[1] == '/') {
		path.ptr++;
		path.len--;
	}
	escape_url(b, path);
}

static void add_query(struct buf *b, const struct request *req)
{
	if (!req->has_query)
		return;
	buf_add_char(b, '?');
	escape_url(b, req->query);
}

static void print_target(struct buf *b, const struct redirect *r, const struct request *req)
{
	for (unsigned i = 0; i < r->part_count; i++) {
		const struct part *p = &r->parts[i];

		switch (p->variable) {
		case LITERAL:
			buf_add_span(b, p->literal);
			break;
		case HOST:
			buf_add_span(b, req->host);
			break;
		case PATH:
			add_path(b, req->raw_path);
			break;
		case QUERY:
			add_query(b, req);
			break;
		case URI:
			add_path(b, req->raw_path);
			add_query(b, req);
			break;
		}
	}
}

static size_t target_room(const struct redirect *r, const struct request *req)
{
	size_t uri = (req->raw_path.len + req->query.len + 2) * ESCAPE_URL_MAX;

	return r->literal_len + r->part_count * (uri + req->host.len) + 1;
}

static void on_request(struct request *req, struct reply *reply, void *conf)
{
	const struct redirect *r = conf;
	size_t room = target_room(r, req);
	char *memory;
	struct buf b;

	if (r->needs_host && !is_plain_host(req->host)) {
		reply_status_page(reply, 400);
		return;
	}
	memory = malloc(room);
	if (!memory) {
		reply_status_page(reply, 503);
		return;
	}
	buf_init(&b, memory, room);
	print_target(&b, r, req);
	if (b.len <= LOCATION_MAX)
		reply_add(reply, SPAN("Location"), buf_span(&b));
	reply_status_page(reply, b.len <= LOCATION_MAX ? r->status : 414);
	free(memory);
}

const struct handler_ops redirect_ops = {
	.name = "redirect",
	.on_request = on_request,
};

static int add_part(struct redirect *r, enum variable variable, struct span literal)
{
	if (r->part_count == PARTS_MAX)
		return -EINVAL;
	r->parts[r->part_count++] = (struct part){variable, literal};
	r->literal_len += literal.len;
	r->needs_host |= variable == HOST;
	return 0;
}

static int add_variable(struct redirect *r, const char **at)
{
	size_t len = strspn(*at, "abcdefghijklmnopqrstuvwxyz_");
	struct span name = span_of(*at, len);

	*at += len;
	for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
		if (span_eq(name, variables[i].name))
			return add_part(r, variables[i].variable, SPAN(""));
	}
	return -EINVAL;
}

static int parse_target(struct redirect *r)
{
	const char *at = r->to;
	int err = 0;

	while (*at && !err) {
		size_t len = strcspn(at, "$");

		if (len) {
			err = add_part(r, LITERAL, span_of(at, len));
			at += len;
		} else {
			at++;
			err = add_variable(r, &at);
		}
	}
	return err;
}

static bool is_target(const char *to)
{
	for (const char *c = to; *c; c++) {
		if ((unsigned char)*c <= 0x20 || *c == 0x7f)
			return false;
	}
	return *to != '\0';
}

int redirect_new(const struct redirect_options *opt, void **ret_conf)
{
	unsigned status = opt->status ? opt->status : 302;
	bool is_redirect = (status >= 301 && status <= 303) || status == 307 || status == 308;
	struct redirect *r;
	size_t len;
	int err;

	if (!is_redirect || !opt->to || !is_target(opt->to))
		return -EINVAL;
	len = strlen(opt->to);
	r = calloc(1, sizeof(*r) + len + 1);
	if (!r)
		return -ENOMEM;
	r->status = status;
	memcpy(r->to, opt->to, len + 1);
	err = parse_target(r);
	if (err) {
		redirect_free(r);
		return err;
	}
	*ret_conf = r;
	return 0;
}

void redirect_free(void *conf)
{
	free(conf);
}
