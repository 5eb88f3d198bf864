/* SPDX-License-Identifier: MIT */
/* The table of commands, see redis_commands.h.  Small and sorted: a look-up is eight comparisons. */
#include "app/redis_commands.h"

#include <stdlib.h>
#include <strings.h>

#include "base/err.h"

#define COMMANDS_MAX 4096u	/* with subcommands; a server has some 400 */

enum { FLAG_BLOCKING = 1, FLAG_ADMIN = 2, FLAG_MOVABLE = 4, FLAG_CONTAINER = 8 };

struct command {
	char name[REDIS_NAME_MAX];	/* lower case */
	unsigned flags;
	int first, last, step;
};

struct redis_commands {
	unsigned serial;
	unsigned count;
	struct command items[];
};

static unsigned last_serial;

static bool is_one_of(struct span name, const char *const *names)
{
	for (; *names; names++)
		if (span_ieq(name, span_str(*names)))
			return true;
	return false;
}

bool redis_is_forbidden(struct span name)
{
	static const char *const names[] = {
		/* state of the connection */
		"AUTH", "HELLO", "SELECT", "QUIT", "RESET", "CLIENT", "ASKING", "READONLY", "READWRITE", "MULTI", "EXEC",
		"DISCARD", "WATCH", "UNWATCH",
		/* answers that come without being asked for */
		"MONITOR", "SYNC", "PSYNC", "REPLCONF", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE",
		"PUNSUBSCRIBE", "SUNSUBSCRIBE",
		/* answers that do not come for long */
		"BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF",
		"DEBUG", "SHUTDOWN",
		/* what hiredis 0.14 takes for MONITOR, since it looks behind a first P */
		"PMONITOR", NULL,
	};

	return is_one_of(name, names);
}

static bool waits_by_argument(struct span name)
{
	return span_ieq(name, SPAN("XREAD")) || span_ieq(name, SPAN("XREADGROUP"));
}

bool redis_waits_by_argument(unsigned count, const struct span *args)
{
	if (count > 1 && span_ieq(args[0], SPAN("SCRIPT")))
		return span_ieq(args[1], SPAN("DEBUG"));
	if (count == 0 || !waits_by_argument(args[0]))
		return false;
	for (unsigned i = 1; i < count && !span_ieq(args[i], SPAN("STREAMS")); i++)
		if (span_ieq(args[i], SPAN("BLOCK")))
			return true;
	return false;
}

/* From the server's answer -------------------------------------------------------------------------------------- */

static bool is_text(const redisReply *r)
{
	return r && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS);
}

static unsigned flags_of(const redisReply *list)
{
	unsigned flags = 0;

	for (size_t i = 0; list->type == REDIS_REPLY_ARRAY && i < list->elements; i++) {
		if (!is_text(list->element[i]))
			continue;
		if (strcmp(list->element[i]->str, "blocking") == 0)
			flags |= FLAG_BLOCKING;
		else if (strcmp(list->element[i]->str, "admin") == 0)
			flags |= FLAG_ADMIN;
		else if (strcmp(list->element[i]->str, "movablekeys") == 0)
			flags |= FLAG_MOVABLE;
	}
	return flags;
}

/* Name, arity, flags, first key, last key, step, categories, hints, key specifications, subcommands. */
static bool read_command(const redisReply *r, struct command *c)
{
	if (r->type != REDIS_REPLY_ARRAY || r->elements < 6 || !is_text(r->element[0]) ||
	    r->element[0]->len >= sizeof(c->name))
		return false;
	for (unsigned i = 3; i < 6; i++)
		if (r->element[i]->type != REDIS_REPLY_INTEGER || llabs(r->element[i]->integer) > INT16_MAX)
			return false;
	*c = (struct command){
		.flags = flags_of(r->element[2]),
		.first = (int)r->element[3]->integer,
		.last = (int)r->element[4]->integer,
		.step = (int)r->element[5]->integer,
	};
	for (size_t i = 0; i < r->element[0]->len; i++) {
		char byte = r->element[0]->str[i];

		c->name[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
	}
	return true;
}

static const redisReply *subcommands(const redisReply *r)
{
	if (r->type != REDIS_REPLY_ARRAY || r->elements < 10 || r->element[9]->type != REDIS_REPLY_ARRAY ||
	    r->element[9]->elements == 0)
		return NULL;
	return r->element[9];
}

/* With its subcommands, whose names are "container|name". */
static void add(struct redis_commands *c, const redisReply *r)
{
	const redisReply *sub = subcommands(r);

	if (c->count >= COMMANDS_MAX || !read_command(r, &c->items[c->count]))
		return;
	if (sub)
		c->items[c->count].flags |= FLAG_CONTAINER;
	c->count++;
	for (size_t i = 0; sub && i < sub->elements; i++)
		if (c->count < COMMANDS_MAX && read_command(sub->element[i], &c->items[c->count]))
			c->count++;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct command *)a)->name, ((const struct command *)b)->name);
}

struct redis_commands *redis_commands_new(const redisReply *reply)
{
	struct redis_commands *c;
	size_t count = 0;

	if (reply->type != REDIS_REPLY_ARRAY)
		return NULL;
	for (size_t i = 0; i < reply->elements; i++) {
		const redisReply *sub = subcommands(reply->element[i]);

		count += 1 + (sub ? sub->elements : 0);
	}
	c = calloc(1, sizeof(*c) + MIN(count, COMMANDS_MAX) * sizeof(c->items[0]));
	if (!c)
		return NULL;
	c->serial = ++last_serial;
	for (size_t i = 0; i < reply->elements; i++)
		add(c, reply->element[i]);
	qsort(c->items, c->count, sizeof(c->items[0]), compare);
	return c;
}

void redis_commands_free(struct redis_commands *c)
{
	free(c);
}

unsigned redis_commands_count(const struct redis_commands *c)
{
	return c ? c->count : 0;
}

unsigned redis_commands_serial(const struct redis_commands *c)
{
	return c ? c->serial : 0;
}

/* Use ----------------------------------------------------------------------------------------------------------- */

static const struct command *find(const struct redis_commands *c, struct span name, struct span sub)
{
	struct command key = { .flags = 0 };
	size_t len = name.len;

	if (!c || name.len + 1 + sub.len >= sizeof(key.name))
		return NULL;
	memcpy(key.name, name.ptr, name.len);
	if (sub.ptr) {
		key.name[len++] = '|';
		memcpy(key.name + len, sub.ptr, sub.len);
		len += sub.len;
	}
	for (size_t i = 0; i < len; i++)
		if (key.name[i] >= 'A' && key.name[i] <= 'Z')
			key.name[i] = (char)(key.name[i] - 'A' + 'a');
	return bsearch(&key, c->items, c->count, sizeof(c->items[0]), compare);
}

/* The subcommand where there are some; NULL where nothing is known. */
static const struct command *find_command(const struct redis_commands *c, unsigned count, const struct span *args)
{
	const struct command *command = count ? find(c, args[0], span_of(NULL, 0)) : NULL;

	if (!command || !(command->flags & FLAG_CONTAINER))
		return command;
	return count > 1 && args[1].ptr ? find(c, args[0], args[1]) : NULL;
}

bool redis_commands_is_plain(const struct redis_commands *c, struct span name)
{
	const struct command *command = find(c, name, span_of(NULL, 0));

	return command && !(command->flags & FLAG_CONTAINER) && !waits_by_argument(name);
}

bool redis_commands_waits(const struct redis_commands *c, unsigned count, const struct span *args)
{
	const struct command *command = find_command(c, count, args);

	/* Of these two the arguments have been looked at. */
	if (waits_by_argument(args[0]))
		return false;
	return command && command->flags & FLAG_BLOCKING;
}

bool redis_commands_is_admin(const struct redis_commands *c, unsigned count, const struct span *args)
{
	const struct command *command = find_command(c, count, args);

	return command && command->flags & FLAG_ADMIN;
}

/* Without any key, and without a look at those of others. */
static bool is_keyless(struct span name)
{
	static const char *const names[] = { "PING", "ECHO", "TIME", NULL };

	return is_one_of(name, names);
}

bool redis_commands_keys(const struct redis_commands *c, unsigned count, const struct span *args,
			 struct redis_keys *ret_keys)
{
	const struct command *command = find_command(c, count, args);
	int last;

	*ret_keys = (struct redis_keys){ 0 };
	if (count && is_keyless(args[0]))
		return true;
	/* A channel is no key, but belongs to the same name space. */
	if (count && span_ieq(args[0], SPAN("PUBLISH"))) {
		*ret_keys = (struct redis_keys){ 1, 1, 1 };
		return true;
	}
	if (!command || command->flags & FLAG_MOVABLE || command->first <= 0 || command->step <= 0)
		return false;
	last = command->last < 0 ? (int)count + command->last : command->last;
	/* Too short: the server says so. */
	if ((unsigned)command->first >= count)
		return true;
	ret_keys->first = (unsigned)command->first;
	ret_keys->last = (unsigned)MAX(MIN(last, (int)count - 1), command->first);
	ret_keys->step = (unsigned)command->step;
	return true;
}
