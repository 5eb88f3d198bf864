/* SPDX-License-Identifier: MIT */
/*
 * From a request to the words of a command, as webdis does it: GET /SET/key/value is SET key value.  Pure: knows neither
 * routes nor servers.
 */
#ifndef SLUICE_APP_REDIS_ROUTE_REQUEST_H
#define SLUICE_APP_REDIS_ROUTE_REQUEST_H

#include "app/redis_server.h"
#include "http/message.h"

#define REDIS_PREFIX_MAX 64u	/* bytes in front of each key */

enum redis_format { REDIS_JSON, REDIS_RAW, REDIS_TEXT, REDIS_BINARY };

struct redis_words {
	unsigned count;
	enum redis_format format;
	bool has_format;		/* by an extension */
	struct span items[REDIS_WORDS_MAX];	/* into memory, or into what was given */
	size_t used;			/* bytes of memory */
	char memory[REQUEST_SCRATCH_SIZE + REDIS_WORDS_MAX * REDIS_PREFIX_MAX];
};

/*
 * The words behind the route's prefix, percent-decoded, each once; the extension of the last one (.json .raw .txt .bin)
 * becomes the format.  No words at all is fine.  0, or the status of an answer: 400 (not decodable, or a segment "." or
 * "..", which clients and proxies take for something else), 414 (too many).
 */
unsigned redis_words_of_path(struct redis_words *w, struct span raw_path, struct span prefix);
/* Likewise of content that is a command, without a prefix: "SET/key/value".  413: too many, or too much. */
unsigned redis_words_of_body(struct redis_words *w, struct span body);
/* None. */
void redis_words_clear(struct redis_words *w);
/* One word more.  False: too many. */
bool redis_words_add(struct redis_words *w, struct span word);
/* Puts the prefix in front of these words.  False: too much. */
bool redis_words_prefix(struct redis_words *w, const struct redis_keys *keys, struct span prefix);
/* May this be the name of a command?  Letters, digits and a few more, at most REDIS_NAME_MAX - 1. */
bool redis_is_name(struct span name);
/* By the Accept field where there is no extension. */
enum redis_format redis_format_of(const struct redis_words *w, struct span accept);

#endif
