/* SPDX-License-Identifier: MIT */
/*
 * A request as the handlers see it, whatever the version of HTTP that carried it.  All spans point
 * into memory that the session owns and keeps until the reply has ended; nothing here is terminated
 * by NUL.
 */
#ifndef SLUICE_HTTP_MESSAGE_H
#define SLUICE_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "net/sock.h"

/* RFC 9110 9.3 and RFC 5789; every other token is METHOD_OTHER. */
enum http_method {
	METHOD_OTHER,
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_DELETE,
	METHOD_CONNECT,
	METHOD_OPTIONS,
	METHOD_TRACE,
	METHOD_PATCH,
};

/* Fields that somebody in sluice looks for; found once, while parsing. */
#define HEADERS(X)                                                                                 \
	X(HEADER_HOST, "Host")                                                                     \
	X(HEADER_CONNECTION, "Connection")                                                         \
	X(HEADER_CONTENT_LENGTH, "Content-Length")                                                 \
	X(HEADER_TRANSFER_ENCODING, "Transfer-Encoding")                                           \
	X(HEADER_EXPECT, "Expect")                                                                 \
	X(HEADER_UPGRADE, "Upgrade")                                                               \
	X(HEADER_TE, "TE")                                                                         \
	X(HEADER_TRAILER, "Trailer")                                                               \
	X(HEADER_RANGE, "Range")                                                                   \
	X(HEADER_IF_RANGE, "If-Range")                                                             \
	X(HEADER_IF_MATCH, "If-Match")                                                             \
	X(HEADER_IF_NONE_MATCH, "If-None-Match")                                                   \
	X(HEADER_IF_MODIFIED_SINCE, "If-Modified-Since")                                           \
	X(HEADER_IF_UNMODIFIED_SINCE, "If-Unmodified-Since")                                       \
	X(HEADER_ACCEPT_ENCODING, "Accept-Encoding")                                               \
	X(HEADER_CONTENT_TYPE, "Content-Type")                                                     \
	X(HEADER_USER_AGENT, "User-Agent")                                                         \
	X(HEADER_REFERER, "Referer")                                                               \
	X(HEADER_X_FORWARDED_FOR, "X-Forwarded-For")                                               \
	X(HEADER_X_FORWARDED_HOST, "X-Forwarded-Host")                                             \
	X(HEADER_X_FORWARDED_PROTO, "X-Forwarded-Proto")                                           \
	X(HEADER_X_REQUEST_ID, "X-Request-Id")                                                     \
	X(HEADER_TRACEPARENT, "traceparent")                                                       \
	X(HEADER_FORWARDED, "Forwarded")                                                           \
	X(HEADER_VIA, "Via")                                                                       \
	X(HEADER_KEEP_ALIVE, "Keep-Alive")                                                         \
	X(HEADER_PROXY_CONNECTION, "Proxy-Connection")                                             \
	X(HEADER_DATE, "Date")                                                                     \
	X(HEADER_SERVER, "Server")

#define X(id, name) id,
enum header_id { HEADER_OTHER, HEADERS(X) HEADER_COUNT };
#undef X

struct field {
	struct span name;
	struct span value;	/* without white space around it (RFC 9112 5.1) */
	enum header_id id;
};

enum body_framing {
	BODY_NONE,		/* no Content-Length, no Transfer-Encoding, or a length of 0 */
	BODY_SIZED,		/* content_length bytes */
	BODY_CHUNKED,		/* RFC 9112 7.1 */
	BODY_UNTIL_CLOSE,	/* responses only: RFC 9112 6.3 (8) */
};

#define REQUEST_FIELDS_MAX   128	/* hard limit; `limits { header_count }` lowers it */
#define REQUEST_SCRATCH_SIZE 8192

struct request {
	enum http_method method;
	uint8_t version_minor;		/* 0 or 1: HTTP/1.x */
	bool is_keep_alive;		/* the connection may serve another request (RFC 9112 9.3) */
	bool expects_continue;		/* RFC 9110 10.1.1 */
	bool has_upgrade;		/* Connection: upgrade and an Upgrade field */
	bool names_fields;		/* Connection has more than close, keep-alive and upgrade (RFC 9110 7.6.1) */
	bool is_secure;			/* came over TLS */
	const union sock_addr *peer;	/* the client, or what a PROXY protocol header says of it */
	enum body_framing framing;
	uint64_t content_length;	/* bytes, BODY_SIZED only */
	struct span method_text;
	struct span target;		/* as received */
	struct span host;		/* host without port, as received; a literal IPv6 keeps its brackets; may be empty in 1.0 */
	struct span authority;		/* host and port as received; of an absolute-form target where there is one */
	struct span raw_path;		/* path of the target, as received, starts with '/' ("*" for OPTIONS *) */
	struct span path;		/* decoded, dot segments removed, empty segments merged; may hold any byte but NUL */
	struct span query;		/* without '?'; empty if there is none */
	bool has_query;			/* there was a '?' */
	unsigned field_count;
	uint8_t known[HEADER_COUNT];	/* 1 + index of the first field with that id, 0 = absent */
	struct field fields[REQUEST_FIELDS_MAX];
	char scratch[REQUEST_SCRATCH_SIZE];	/* holds `path` where decoding changed it */
};

/* Value of the first field with this id; ptr is NULL when there is none. */
static inline struct span request_header(const struct request *req, enum header_id id)
{
	return req->known[id] ? req->fields[req->known[id] - 1].value : span_of(NULL, 0);
}

/* Value of the only field with this id; ptr is NULL when there is none, or more than one. */
struct span request_only_header(const struct request *req, enum header_id id);

/*
 * A copy, of malloc, of what logs show: method, target, version and the fields that are looked for there.  The memory ends
 * behind those fields: nothing else of it may be touched.  NULL without memory.
 */
struct request *request_digest(const struct request *req);

/* HEADER_OTHER for a name that is not in the table; ASCII case-insensitive. */
enum header_id header_id_of(struct span name);
/*
 * Sets `id` of fields [from, to) and notes the first of each id in `known`.  Returns bit 1 << id for those that were
 * noted already.  Names of a whole head in one go, so that the loop over its bytes keeps its registers.
 */
uint32_t header_identify(struct field *fields, unsigned from, unsigned to, uint8_t *known);
/* May a field of a trailer section be passed on (RFC 9110 6.5.1)?  Not what frames, routes, or belongs to a hop. */
bool header_may_trail(enum header_id id);
enum http_method method_of(struct span text);
/* "200" -> "OK"; "Unknown" for a code without a registered phrase. */
const char *status_phrase(unsigned status);

#endif
