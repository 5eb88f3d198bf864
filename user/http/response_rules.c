/* SPDX-License-Identifier: MIT */
/*
 * The rules for responses.  Framing first, in the order of RFC 9112 6.3: after a wrong verdict there the next bytes of
 * the connection would be read as the answer to somebody else's request.
 */
#include "http/fields.h"
#include "http/response.h"
#include "http/rules.h"

static struct fields fields_of(const struct response *res, uint32_t duplicates)
{
	return (struct fields){res->fields, res->known, res->field_count, duplicates};
}

/* A list of equal lengths might be repaired; refused, as in requests.  UINT64_MAX stands for none. */
static const char *read_length(struct response *res, uint32_t duplicates)
{
	struct span value = res->fields[res->known[HEADER_CONTENT_LENGTH] - 1].value;

	if (is_repeated(duplicates, HEADER_CONTENT_LENGTH))
		return "repeated Content-Length";
	if (span_to_u64(value, &res->content_length) || res->content_length == UINT64_MAX) {
		res->content_length = UINT64_MAX;
		return "bad Content-Length";
	}
	return NULL;
}

static const char *check_codings(struct response *res, uint32_t duplicates)
{
	struct fields fields = fields_of(res, duplicates);
	struct transfer_codings codings = fields_codings(&fields);

	if (res->version_minor == 0)
		return "Transfer-Encoding in HTTP/1.0";
	if (codings.is_chunked_twice)
		return "chunked twice";
	if (!codings.is_last_chunked)
		return "last transfer coding is not chunked";
	if (codings.has_other)
		return "unknown transfer coding";
	res->framing = BODY_CHUNKED;
	return NULL;
}

static bool is_without_content(const struct response *res)
{
	return res->status < 200 || res->status == 204;
}

/*
 * RFC 9112 6.3 (1).  The fields of an answer to HEAD, and of a 304, tell of another response.  Where they contradict each
 * other its length is not to be told to anybody, and the server does not know what it is doing.
 */
static const char *frame_nothing(struct response *res)
{
	if (!res->known[HEADER_TRANSFER_ENCODING])
		return NULL;
	if (is_without_content(res))
		return "Transfer-Encoding without content";
	if (res->known[HEADER_CONTENT_LENGTH]) {
		res->content_length = UINT64_MAX;
		res->is_keep_alive = false;
	}
	return NULL;
}

static const char *check_framing(struct response *res, uint32_t duplicates, bool is_to_head)
{
	bool has_length = res->known[HEADER_CONTENT_LENGTH];
	bool has_codings = res->known[HEADER_TRANSFER_ENCODING];
	const char *why = has_length ? read_length(res, duplicates) : NULL;

	if (why)
		return why;
	if (is_to_head || is_without_content(res) || res->status == 304)
		return frame_nothing(res);
	if (has_length && has_codings)
		return "Content-Length with Transfer-Encoding";
	if (has_codings)
		return check_codings(res, duplicates);
	res->framing = BODY_UNTIL_CLOSE;
	if (has_length)
		res->framing = res->content_length ? BODY_SIZED : BODY_NONE;
	return NULL;
}

/* RFC 9112 9.3, RFC 9110 7.8. */
static void read_connection(struct response *res, uint32_t duplicates)
{
	struct fields fields = fields_of(res, duplicates);
	struct connection_options options = fields_connection(&fields);

	res->is_keep_alive = !options.has_close && (res->version_minor == 1 || options.has_keep_alive);
	res->names_fields = options.has_other;
	if (res->status == 101)
		res->has_upgrade = options.has_upgrade && res->version_minor == 1 && res->known[HEADER_UPGRADE];
}

const char *rules_apply_response(struct response *res, uint32_t duplicates, bool is_to_head,
				 const struct parse_limits *limits)
{
	const char *why;

	res->duplicates = duplicates;
	read_connection(res, duplicates);
	why = check_framing(res, duplicates, is_to_head);
	if (why)
		return why;
	if (res->status == 101 && !res->has_upgrade)
		return "101 without Upgrade";
	if (res->framing == BODY_SIZED && res->content_length > limits->body_max)
		return "content too long";
	if (res->framing == BODY_UNTIL_CLOSE || res->status == 101)
		res->is_keep_alive = false;
	return NULL;
}
