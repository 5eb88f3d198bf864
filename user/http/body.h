/* SPDX-License-Identifier: MIT */
/*
 * The content of a message, request or response, and llhttp, which both share.  Between parse.c, response.c and body.c
 * only; the interfaces are parse.h and response.h.
 */
#ifndef SLUICE_HTTP_BODY_H
#define SLUICE_HTTP_BODY_H

#include <llhttp.h>

#include "base/buf.h"
#include "http/guard.h"

enum parse_state {
	PARSE_MORE,	/* everything given was used, more is needed */
	PARSE_DONE,	/* head, or body, is complete */
	PARSE_FAIL,	/* `status` and `why` say what; the connection must be closed after the reply */
	PARSE_DATA,	/* body only: *ret_data holds content; call again */
};

struct body {
	llhttp_t llhttp;
	struct guard guard;		/* of the trailer section */
	const char *why;		/* after PARSE_FAIL */
	unsigned status;
	uint32_t extension_total;	/* bytes of chunk extensions */
	uint64_t left;			/* bytes of the sized body or of the chunk at hand */
	uint64_t total;			/* bytes of chunked content announced so far */
	uint64_t max;			/* bytes of content; more: 413.  The owner may change it before the content is read */
	uint8_t state;
	uint8_t digit_count;		/* of the chunk size at hand */
	bool is_llhttp_done;		/* llhttp saw the end of the head, or of a chunk's size line */
};

/* llhttp from its beginning.  The settings have body_on_llhttp_done for the end of the head and of a chunk's header. */
void body_init_llhttp(struct body *b, llhttp_type_t type, const llhttp_settings_t *settings);
/* From where another one with the same settings stands. */
void body_continue_llhttp(struct body *b, const llhttp_t *from);
int body_on_llhttp_done(llhttp_t *llhttp);
/* Shows llhttp these bytes; false: it refuses. */
static inline bool body_show(struct body *b, const char *data, size_t len)
{
	llhttp_errno_t error = llhttp_execute(&b->llhttp, data, len);

	return error == HPE_OK || error == HPE_PAUSED_UPGRADE;
}

/* The same with the fields that say where the message ends. */
bool body_show_framing(struct body *b, const struct field *fields, unsigned count);

/* No content yet: body_take() has nothing to do. */
static inline void body_reset(struct body *b)
{
	b->state = 0;
}

/* The head is accepted, and this is how its content is framed. */
void body_begin(struct body *b, enum body_framing framing, uint64_t content_length, uint64_t max);
/* As parser_body.  `trailers`: NULL, or where the trailer section goes. */
enum parse_state body_take(struct body *b, const struct parse_limits *limits, struct buf *trailers,
			   struct span *in, struct span *ret_data);
/* After body_begin: all of it was taken, or there is none. */
bool body_is_over(const struct body *b);
/* As parser_opaque and parser_skip. */
uint64_t body_opaque(const struct body *b);
void body_skip(struct body *b, uint64_t len);

#endif
