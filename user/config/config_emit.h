/* SPDX-License-Identifier: MIT */
/* The text that the scanner writes for libconfuse: token after token, each on the line it had. */
#ifndef SLUICE_PROC_CONFIG_EMIT_H
#define SLUICE_PROC_CONFIG_EMIT_H

#include "config/config_lex.h"

struct config_emit {
	char *ptr; /* terminated */
	size_t len, room;
	unsigned line;
	bool has_no_memory; /* sticky: what came later is missing */
};

struct config_mark {
	size_t len;
	unsigned line;
};

void config_emit_init(struct config_emit *e);
/* A token as it was written. */
void config_emit(struct config_emit *e, const struct token *t);
/* Text of our own, on the line at hand. */
void config_emit_text(struct config_emit *e, const char *text);
/* Before the statement that begins with `t`. */
struct config_mark config_emit_mark(struct config_emit *e, const struct token *t);
/* Takes back what was written since the mark. */
void config_emit_rollback(struct config_emit *e, struct config_mark m);

#endif
