/* SPDX-License-Identifier: MIT */
/*
 * The rules, in the order of what is most dangerous: framing first, since after a wrong verdict
 * there the next bytes would be read as somebody else's request; limits and expectations last.
 * Where the RFC leaves a choice between repairing and refusing, this refuses.
 */
#include "http/rules.h"

#include "http/fields.h"
#include "http/target.h"

struct verdict {
	unsigned status;
	const char *why;
};

#define PASS		  ((struct verdict){0, NULL})
#define REFUSE(code, why) ((struct verdict){(code), (why)})

static inline struct fields fields_of(const struct request *req, uint32_t duplicates)
{
	return (struct fields){req->fields, req->known, req->field_count, duplicates};
}

/* RFC 9112 6.3 (5): a list of equal lengths might be repaired; refused, since others on the path
 * might not. */
static struct verdict check_length(struct request *req, uint32_t duplicates)
{
	uint64_t len;

	if (is_repeated(duplicates, HEADER_CONTENT_LENGTH))
		return REFUSE(400, "repeated Content-Length");
	if (span_to_u64(request_header(req, HEADER_CONTENT_LENGTH), &len))
		return REFUSE(400, "bad Content-Length");
	req->content_length = len;
	req->framing = len ? BODY_SIZED : BODY_NONE;
	return PASS;
}

/* RFC 9112 6.1 and 6.3. */
static struct verdict check_codings(struct request *req, uint32_t duplicates)
{
	struct fields fields = fields_of(req, duplicates);
	struct transfer_codings codings = fields_codings(&fields);

	if (codings.is_chunked_twice)
		return REFUSE(400, "chunked twice");
	if (!codings.is_last_chunked)
		return REFUSE(400, "last transfer coding is not chunked");
	if (codings.has_other)
		return REFUSE(501, "unknown transfer coding");
	req->framing = BODY_CHUNKED;
	return PASS;
}

static struct verdict check_framing(struct request *req, uint32_t duplicates)
{
	bool has_length = req->known[HEADER_CONTENT_LENGTH];
	bool has_codings = req->known[HEADER_TRANSFER_ENCODING];

	if (has_length && has_codings)
		return REFUSE(400, "Content-Length with Transfer-Encoding");
	if (has_codings && req->version_minor == 0)
		return REFUSE(400, "Transfer-Encoding in HTTP/1.0");
	if (req->method == METHOD_CONNECT && (has_length || has_codings))
		return REFUSE(400, "content in CONNECT");
	if (has_length)
		return check_length(req, duplicates);
	if (has_codings)
		return check_codings(req, duplicates);
	return PASS;
}

/* RFC 9112 3.2.  An empty Host is legal only for targets without an authority, which a web server
 * has no use for. */
static struct verdict check_host(struct request *req, uint32_t duplicates)
{
	struct span port;

	if (is_repeated(duplicates, HEADER_HOST))
		return REFUSE(400, "several Host");
	if (!req->known[HEADER_HOST])
		return req->version_minor == 0 ? PASS : REFUSE(400, "no Host");
	req->authority = request_header(req, HEADER_HOST);
	if (authority_split(req->authority, &req->host, &port))
		return REFUSE(400, req->authority.len ? "bad Host" : "empty Host");
	return PASS;
}

/* RFC 9112 9.3, RFC 9110 7.6.1 and 7.8; Upgrade in 1.0 is ignored. */
static void read_connection(struct request *req, uint32_t duplicates)
{
	struct connection_options options = {false};

	/* What every browser sends. */
	if (!is_repeated(duplicates, HEADER_CONNECTION) &&
	    span_eq(request_header(req, HEADER_CONNECTION), SPAN("keep-alive"))) {
		req->is_keep_alive = true;
		req->has_upgrade = req->names_fields = false;
		return;
	}
	if (req->known[HEADER_CONNECTION]) {
		struct fields fields = fields_of(req, duplicates);

		options = fields_connection(&fields);
	}
	req->is_keep_alive =
		!options.has_close && (req->version_minor == 1 || options.has_keep_alive);
	req->has_upgrade = options.has_upgrade && req->version_minor == 1 &&
			   req->known[HEADER_UPGRADE];
	req->names_fields = options.has_other;
}

/* RFC 9110 10.1.1: must be ignored in 1.0, and without content there is nothing to wait for. */
static struct verdict check_expect(struct request *req, uint32_t duplicates)
{
	struct fields fields = fields_of(req, duplicates);
	const struct field *f = NULL;
	struct span item;

	if (!req->known[HEADER_EXPECT] || req->version_minor == 0)
		return PASS;
	while ((f = fields_next(&fields, HEADER_EXPECT, f))) {
		struct span list = f->value;

		while (span_next_item(&list, &item))
			if (!span_ieq(item, SPAN("100-continue")))
				return REFUSE(417, "unknown expectation");
	}
	req->expects_continue = req->framing != BODY_NONE;
	return PASS;
}

static struct verdict check_target(struct request *req)
{
	unsigned status = target_parse(req);

	return status ? REFUSE(status, status == 414 ? "path too long" : "bad target") : PASS;
}

static void clear(struct request *req)
{
	req->framing = BODY_NONE;
	req->content_length = 0;
	req->expects_continue = false;
	req->host = req->authority = span_of(NULL, 0);
	req->raw_path = req->path = req->query = span_of(NULL, 0);
	req->has_query = false;
}

unsigned rules_apply(struct request *req, uint32_t duplicates, const struct parse_limits *limits,
		     const char **ret_why)
{
	struct verdict v;

	clear(req);
	req->method = method_of(req->method_text);
	read_connection(req, duplicates);
	v = check_framing(req, duplicates);
	if (!v.status)
		v = check_host(req, duplicates);
	if (!v.status)
		v = check_target(req);
	if (!v.status && req->framing == BODY_SIZED && req->content_length > limits->body_max)
		v = REFUSE(413, "content too long");
	if (!v.status)
		v = check_expect(req, duplicates);
	*ret_why = v.why;
	return v.status;
}
