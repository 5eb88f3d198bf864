/* SPDX-License-Identifier: MIT */
/* What the files of the handler of stores share: store.c, store_read.c, store_list.c, store_change.c. */
#ifndef SLUICE_APP_STORE_INTERNAL_H
#define SLUICE_APP_STORE_INTERNAL_H

#include "app/store.h"

struct store {
	struct store_engine *engine;
	struct store_stats *stats;
	uint64_t value_max, memory_max, memory_used;
	bool is_started;
};

struct store_route {
	struct store *store;
	bool requires_match, has_timed_names;
	size_t prefix_len;
	char prefix[STORE_PREFIX_MAX];
};

/* A request; from on_request until its reply has ended or the client is gone. */
struct store_call {
	struct store_ask ask;
	struct store_route *route;
	struct request *req;
	struct reply *reply;
	enum store_change_kind kind;
	struct span key;	/* part of the request's path, or of `name` */
	struct span type;
	char *content;		/* of a change, as it comes; cap bytes, charged */
	size_t len, cap;
	struct store_body *listing;
	unsigned limit, count;	/* of a listing */
	size_t last_len;
	char last[STORE_KEY_MAX + 1];	/* of a listing: the name printed last */
	char name[STORE_KEY_MAX + 1];	/* POST: the new key */
	char *conditions;	/* memory of joined fields; NULL: none was joined */
};

/* Bytes on their way to the client; charged to the store. */
struct store_body {
	struct hold hold;
	struct store *store;
	size_t len, cap;
	char data[];
};

/* NULL: no memory, or no more of it for this store.  The caller is the first holder. */
struct store_body *store_body_new(struct store *s, size_t cap);
/* As realloc. NULL: as it was. */
struct store_body *store_body_grow(struct store_body *b, size_t cap);

/* False: the store has enough in flight. */
bool store_charge(struct store *s, size_t bytes);
void store_discharge(struct store *s, size_t bytes);

/* Frees it. */
void store_call_end(struct store_call *c);
/* Answers with a page and a word for the log, counts, and ends the call. */
void store_refuse(struct store_call *c, unsigned status, const char *why, uint64_t *counter);
/* 503 with Retry-After. */
void store_refuse_busy(struct store_call *c, const char *why, uint64_t *counter);
/* What an engine has for a read or a listing instead of an answer; see struct store_ask. */
void store_refuse_error(struct store_call *c, int err);
void store_allow(const struct store_call *c);

/* store_read.c */
void store_read(struct store_call *c);
/* store_list.c */
void store_list(struct store_call *c);
/* store_change.c: the call goes on with store_take() when it has content. */
void store_begin_change(struct store_call *c);
void store_take(struct store_call *c, struct span data, bool is_last);

#endif
