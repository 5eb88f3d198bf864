/* SPDX-License-Identifier: MIT */
/* Inside of the byte scanner, for guard*.c only: the states of all of them and where a call stands. */
#ifndef SLUICE_HTTP_GUARD_IMPL_H
#define SLUICE_HTTP_GUARD_IMPL_H

#include "base/buf.h"
#include "base/err.h"
#include "http/guard.h"

/*
 * In the order of the bytes; a wrong byte ends in FAILED at once:
 *
 *   START <-> START_LF        empty lines                                       guard.c
 *   METHOD SP TARGET SP VERSION VERSION_END CR -> LINE_LF                       guard.c
 *   STATUS (STATUS_END SP REASON | STATUS_END) CR -> LINE_LF                    guard_status.c
 *   LINE_LF LF -> LINE                                                          guard_fields.c
 *   LINE  NAME ':' VALUE CR VALUE_LF LF  -> LINE
 *   LINE  CR END_LF LF  -> DONE
 */
enum guard_state {
	START,
	START_LF,
	METHOD,
	TARGET,
	VERSION,
	VERSION_END,
	STATUS,
	STATUS_END,
	REASON,
	LINE_LF,
	LINE,
	NAME,
	VALUE,
	VALUE_LF,
	END_LF,
	DONE,
	FAILED,
};

struct cursor {
	const char *p;
	const char *end;
	const char *start;	/* where this call began ... */
	size_t start_pos;	/* ... and the offset of that byte */
	const struct parse_limits *limits;
	struct field *fields;	/* where they are written down; NULL for trailers */
	uint8_t *known;
	struct buf *trailers;	/* where those go; NULL: nowhere */
};

static inline size_t guard_offset(const struct cursor *c, const char *p)
{
	return c->start_pos + (size_t)(p - c->start);
}

static inline void guard_fail(struct guard *g, unsigned status, const char *why)
{
	g->state = FAILED;
	g->status = (uint16_t)status;
	g->why = why;
}

static inline enum guard_verdict guard_verdict(const struct guard *g)
{
	return g->state == DONE ? GUARD_DONE : g->state == FAILED ? GUARD_FAIL : GUARD_MORE;
}

/* Is a limit of `most` bytes from the start of the head within reach?  *ret_end: no byte from there on is looked at. */
static inline bool guard_clip(const struct guard *g, const struct cursor *c, size_t most, const char **ret_end)
{
	size_t seen = guard_offset(c, c->p) - g->head_start;
	size_t room = most > seen ? most - seen : 0;
	bool is_limit = room <= (size_t)(c->end - c->p);

	*ret_end = is_limit ? c->p + room : c->end;
	return is_limit;
}

static inline unsigned guard_field_max(const struct parse_limits *limits)
{
	return MIN(limits->field_max, GUARD_FIELDS_MAX);
}

/*
 * guard_usual.c.  From the start of a request on: its line, where all of it is in front of `end` and good; then the state
 * is LINE.  Returns where the next byte is.
 */
const char *guard_usual_line(struct guard *g, const char *line, const char *end);
/*
 * In the state LINE: the fields whose lines are in front of `end` and look as nearly all do, up to `most` in all, into
 * `fields` and `known`; DONE if the empty line follows.  Returns where the next byte is.
 */
const char *guard_usual_fields(struct guard *g, struct field *fields, uint8_t *known, unsigned most, const char *p,
			       const char *end);

/* guard_fields.c */
/* Cold: the name of what stands where something else should. */
const char *guard_wrong_byte(char byte, const char *otherwise);
/* From LINE_LF on: to the end of the head, or of the bytes. */
void guard_run_fields(struct guard *g, struct cursor *c);
/* The bytes moved since the last call: so must the spans into them. */
void guard_rebase(struct guard *g, struct field *fields, const char *data);

#endif
