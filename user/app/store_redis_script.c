/* SPDX-License-Identifier: MIT */
/* The scripts, in Lua; see store_redis_script.h. */
#include "app/store_redis_script.h"

#include <nettle/sha1.h>
#include <stdio.h>

/*
 * A tag of ours has no quote within, and one stands at each of its ends, so it is in a row of tags only where it is one of
 * them.  The order of refusals is that of RFC 9110 13.2.
 */
struct store_script store_script_change = { .text =
"local kind, name, if_match, if_none_match, since = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]\n"
"local old = redis.call('HMGET', KEYS[2], 'etag', 'modified')\n"
"local function is_in(list)\n"
"  return old[1] and (list == '*' or string.find(list, '\"' .. old[1] .. '\"', 1, true))\n"
"end\n"
"if kind == 'create' and old[1] then return {'taken'} end\n"
"if kind == 'delete' and not old[1] then return {'missing'} end\n"
"if if_match ~= '-' then\n"
"  if not is_in(if_match) then return {'mismatch'} end\n"
"elseif since ~= '-' and old[1] and tonumber(old[2]) > tonumber(since) then\n"
"  return {'mismatch'}\n"
"end\n"
"if if_none_match ~= '-' and is_in(if_none_match) then return {'mismatch'} end\n"
"if kind == 'delete' then\n"
"  local gone = redis.pcall('ZREM', KEYS[1], name)\n"
"  if type(gone) == 'table' then return gone end\n"
"  redis.call('DEL', KEYS[2])\n"
"  return {'deleted'}\n"
"end\n"
"local serial = redis.pcall('INCR', KEYS[3])\n"
"if type(serial) == 'table' then return serial end\n"
"local etag, now = string.format('%x-%s', serial, ARGV[6]), redis.call('TIME')[1]\n"
"redis.call('ZADD', KEYS[1], 0, name)\n"
"redis.call('HSET', KEYS[2], 'etag', etag, 'modified', now, 'type', ARGV[7], 'content', ARGV[8])\n"
"return {old[1] and 'replaced' or 'created', etag, now}\n"
};

/*
 * Names are asked for in runs that grow, since most of them are wanted; behind a collection the first run is short: all of
 * it may lie in the next one.  A name without its value (the server was told to evict) is none.
 */
struct store_script store_script_list = { .text =
"local values, within, limit, room = ARGV[1], ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])\n"
"local top = within == '' and '+' or '(' .. string.sub(within, 1, -2) .. '0'\n"
"local function behind(name)\n"
"  if name == '' then return '[' .. within end\n"
"  if string.sub(name, -1) == '/' then return '[' .. within .. string.sub(name, 1, -2) .. '0' end\n"
"  return '(' .. within .. name\n"
"end\n"
"local function about(name)\n"
"  local v = redis.call('HMGET', values .. name, 'etag', 'modified', 'type')\n"
"  if not (v[1] and v[2] and v[3]) then return nil end\n"
"  return v[1] .. ' ' .. v[2] .. ' ' .. redis.call('HSTRLEN', values .. name, 'content') .. ' ' .. v[3]\n"
"end\n"
"local items, last, run, count = {}, ARGV[3], 16\n"
"repeat\n"
"  local names = redis.call('ZRANGEBYLEX', KEYS[1], behind(last), top, 'LIMIT', 0, run)\n"
"  count = #names\n"
"  for _, whole in ipairs(names) do\n"
"    local name = string.sub(whole, #within + 1)\n"
"    local slash = string.find(name, '/', 1, true)\n"
"    if slash then name = string.sub(name, 1, slash) end\n"
"    local text = ''\n"
"    if not slash then text = about(whole) elseif name == last then text = nil end\n"
"    if text then\n"
"      if #items == 2 * limit or room < 0 then return {1, items} end\n"
"      room = room - #name - #text - 128\n"
"      items[#items + 1] = name\n"
"      items[#items + 1] = text\n"
"    end\n"
"    last = name\n"
"  end\n"
"  local is_last = count < run\n"
"  run = string.sub(last, -1) == '/' and 2 or math.min(2 * run, 128)\n"
"until is_last\n"
"return {0, items}\n"
};

static void name(struct store_script *s)
{
	uint8_t digest[SHA1_DIGEST_SIZE];
	struct sha1_ctx sha1;

	_Static_assert(2 * SHA1_DIGEST_SIZE == STORE_SCRIPT_SHA_LEN, "in hexadecimal");
	sha1_init(&sha1);
	sha1_update(&sha1, strlen(s->text), (const uint8_t *)s->text);
	sha1_digest(&sha1, sizeof(digest), digest);
	for (unsigned i = 0; i < sizeof(digest); i++)
		snprintf(s->sha + 2 * i, 3, "%02x", digest[i]);
}

void store_script_init(void)
{
	name(&store_script_change);
	name(&store_script_list);
}
