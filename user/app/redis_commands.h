/* SPDX-License-Identifier: MIT */
/*
 * What is known of a server's commands: which arguments are keys, which commands must not come in from outside.  Some is
 * known beforehand, the rest the server tells itself by COMMAND when it is connected.
 */
#ifndef SLUICE_APP_REDIS_COMMANDS_H
#define SLUICE_APP_REDIS_COMMANDS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "base/span.h"

#define REDIS_NAME_MAX 64	/* bytes of a command's name, "container|subcommand" */

/*
 * Commands of a connection that others share: it must stay what it is (MULTI, SELECT, CLIENT ...), and an answer must come
 * at once and once (BLPOP, MONITOR, SUBSCRIBE ...).  Compares without case.
 */
bool redis_is_forbidden(struct span name);
/*
 * XREAD and XREADGROUP wait for what comes only where an argument says so; SCRIPT DEBUG makes the connection another one.
 */
bool redis_waits_by_argument(unsigned count, const struct span *args);

struct redis_commands;

/* Of the answer to COMMAND; NULL without memory, or if it is no such answer. */
struct redis_commands *redis_commands_new(const redisReply *reply);
/* NULL is allowed. */
void redis_commands_free(struct redis_commands *c);
unsigned redis_commands_count(const struct redis_commands *c);
/* Tells one table from another, whatever memory they lie in; 0: none (NULL). */
unsigned redis_commands_serial(const struct redis_commands *c);
/* Of commands with this name no argument makes a difference to the two questions below. */
bool redis_commands_is_plain(const struct redis_commands *c, struct span name);

/* Says the server that this command waits, or is for administrators?  False where nothing is known (NULL). */
bool redis_commands_waits(const struct redis_commands *c, unsigned count, const struct span *args);
bool redis_commands_is_admin(const struct redis_commands *c, unsigned count, const struct span *args);

/* Which of the arguments are keys: first, first + step ... up to and including last. */
struct redis_keys {
	unsigned first, last, step;	/* first 0: there is none */
};

/*
 * Positions of all keys in a command of `count` words; false: they cannot be known (nothing is known of the command, they
 * depend on other arguments, or it is about more than the keys it names, such as KEYS).
 */
bool redis_commands_keys(const struct redis_commands *c, unsigned count, const struct span *args,
			 struct redis_keys *ret_keys);

#endif
