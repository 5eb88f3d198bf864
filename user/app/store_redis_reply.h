/* SPDX-License-Identifier: MIT */
/*
 * What a Redis server answers for a store, read with suspicion: whoever else writes below the prefix may have left anything
 * there, and names and types go out as parts of heads and of JSON.  Pure functions; spans point into the reply.
 */
#ifndef SLUICE_APP_STORE_REDIS_REPLY_H
#define SLUICE_APP_STORE_REDIS_REPLY_H

#include <hiredis/hiredis.h>

#include "app/store_engine.h"

static inline struct span store_redis_text(const redisReply *r)
{
	return span_of(r->str, r->len);
}

/* To HMGET of etag, modified, type and content: 0; -ENOENT; -EBADMSG: no such answer. */
int store_redis_parse_value(const redisReply *r, struct store_value *ret_value);
/*
 * Of the answer to the script that lists: how many items, and whether there is more behind them; then each of them.  False:
 * no such answer, or none such item.
 */
bool store_redis_parse_page(const redisReply *r, size_t *ret_count, bool *ret_has_more);
bool store_redis_parse_item(const redisReply *r, size_t index, struct span *ret_name, bool *ret_is_collection,
			    struct store_value *ret_value);
/* Of the answer to the script that changes. */
bool store_redis_parse_result(const redisReply *r, struct store_result *ret_result);

#endif
