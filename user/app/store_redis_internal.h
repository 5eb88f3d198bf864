/* SPDX-License-Identifier: MIT */
/* Between store_redis.c (the engine, questions, reads) and store_redis_change.c (changes). */
#ifndef SLUICE_APP_STORE_REDIS_INTERNAL_H
#define SLUICE_APP_STORE_REDIS_INTERNAL_H

#include "app/redis_server.h"
#include "app/store_redis_reply.h"
#include "app/store_redis_script.h"
#include "base/log.h"

#define STORE_QUESTION_WORDS 16u

struct store_redis {
	struct store_engine engine;
	struct redis_server *server;
	char *name, *names_key, *serial_key, *value_prefix;
	struct log_seldom seldom;
};

/* From the asking to the answer. */
struct store_question {
	struct redis_call call;		/* its callbacks are set by whoever asks */
	struct store_redis *redis;
	struct store_ask *ask;
	const struct store_script *script;	/* NULL: a plain command, or the text was sent */
	unsigned count;
	struct span words[STORE_QUESTION_WORDS];	/* constants, the engine's, `content`, or in `text` */
	char *content;			/* of malloc; NULL: none */
	struct buf text;
	char memory[];
};

static inline struct store_question *store_question_of(struct redis_call *call)
{
	return container_of(call, struct store_question, call);
}

/* `room`: bytes of what is added by all but _add().  NULL without memory. */
struct store_question *store_question_new(struct store_redis *m, struct store_ask *a, size_t room);
/* Frees it.  Returns the asker, who may ask again when told. */
struct store_ask *store_question_end(struct store_question *q);
/* Another word, which stays. */
void store_question_add(struct store_question *q, struct span word);
/* One that is copied, of two parts. */
void store_question_add_text(struct store_question *q, struct span first, struct span second);
/* One that was added to q->text from `begin` on. */
void store_question_add_rest(struct store_question *q, size_t begin);
void store_question_add_number(struct store_question *q, int64_t value);
/* The first words. */
void store_question_add_script(struct store_question *q, const struct store_script *script, const char *key_count);
/* One of the callbacks follows, perhaps at once. */
void store_question_ask(struct store_question *q);
/* True: the server does not have the script any more, or yet, and is asked again with all of it. */
bool store_question_ask_again(struct store_question *q, const redisReply *r);
/* For the log, where the server's own word is not for clients: "write". */
void store_redis_tell(struct store_redis *m, const char *what, const redisReply *r);

/* store_redis_change.c */
void store_redis_change(struct store_engine *e, struct store_ask *a, const struct store_change *c, char *content);

#endif
