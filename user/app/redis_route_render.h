/* SPDX-License-Identifier: MIT */
/*
 * Replies of a Redis server as content of an answer.  Pure, apart from memory.
 *
 *   JSON     {"GET": "value"}; a status is [true, "OK"], an error [false, "ERR ..."], nil null, an array an array, what
 *            HGETALL answers an object.  A string that is not UTF-8 is {"base64": "..."}
 *   RAW      as the server wrote it, in Redis's own protocol
 *   TEXT     strings and numbers as they are; of arrays one line for each
 *   BINARY   one string as it is
 */
#ifndef SLUICE_APP_REDIS_ROUTE_RENDER_H
#define SLUICE_APP_REDIS_ROUTE_RENDER_H

#include <hiredis/hiredis.h>

#include "app/redis_channel.h"
#include "app/redis_route_request.h"

/* Text that grows; without memory it has failed, and stays so. */
struct redis_text {
	char *ptr;
	size_t len, cap;
	bool has_failed;
};

void redis_text_add(struct redis_text *t, const void *data, size_t len);
/* A string of JSON with its quotes, or an object where it is not UTF-8. */
void redis_text_add_json(struct redis_text *t, struct span s);

/* `command`: its name, as the client wrote it. */
void redis_render(struct redis_text *t, enum redis_format format, struct span command, const redisReply *r);
/*
 * A message of a channel as JSON: {"SUBSCRIBE": ["message", "channel", "text"]}, or PSUBSCRIBE, "pmessage" and the pattern in
 * front.  `prefix_len`: bytes of both that are not to be seen.
 */
void redis_render_message(struct redis_text *t, const struct redis_message *m, size_t prefix_len);
/* The status that says the same, and the media type of the content. */
unsigned redis_status_of(const redisReply *r, enum redis_format format);
struct span redis_type_of(enum redis_format format);

#endif
