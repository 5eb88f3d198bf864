/* SPDX-License-Identifier: MIT */
/*
 * The content of a request.  A sized body is counted.  Of a chunked one (RFC 9112 7.1) llhttp reads
 * the size lines and keeps the order of chunk, CRLF, chunk; in front of it each byte of a size line
 * passes the checks it does not make: number of digits, bytes of extensions, bare LF named at once.
 * The content itself is handed out where it lies.
 *
 *   SIZE -> (EXTENSION) -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ... last: SIZE_LF ->
 * TRAILERS -> END
 *
 * The trailer section is the guard's alone: its fields are dropped, so nothing of it may reach
 * llhttp's flags.
 */
#include "http/body.h"

#include "base/err.h"
#include "http/scan.h"

#define SIZE_DIGITS_MAX                                                                            \
	16 /* of 64 bits; leading zeros count, or a chunk size could go on for ever */
#define EXTENSIONS_MAX                                                                             \
	1024 /* bytes in one body; nobody uses them, attackers do (CVE-2024-22019)                 \
	      */

enum body_state {
	SIZED,
	SIZE,
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILERS,
	END,
};

static enum parse_state fail(struct parser *p, unsigned status, const char *why)
{
	p->status = status;
	p->why = why;
	return PARSE_FAIL;
}

static const char *wrong_byte(char byte, const char *otherwise)
{
	return byte == '\n' ? "bare LF" : otherwise;
}

static void skip(struct span *in, size_t len)
{
	*in = span_of(in->ptr + len, in->len - len);
}

void parser_begin_body(struct parser *p)
{
	p->body_left = p->req->content_length;
	p->body_total = 0;
	p->body_max = p->limits->body_max;
	p->extension_total = 0;
	p->digit_count = 0;
	p->body_state = p->req->framing == BODY_NONE	? END
			: p->req->framing == BODY_SIZED ? SIZED
							: SIZE;
}

static enum parse_state give_content(struct parser *p, struct span *in, struct span *ret_data,
				     enum body_state next)
{
	size_t len = MIN(in->len, p->body_left);

	*ret_data = span_of(in->ptr, len);
	skip(in, len);
	p->body_left -= len;
	if (p->body_left == 0)
		p->body_state = (uint8_t)next;
	return PARSE_DATA;
}

/* Bytes of a size line up to its LF, checked.  NULL: fine; otherwise what is wrong. */
static const char *check_size_byte(struct parser *p, char byte)
{
	switch (p->body_state) {
	case SIZE:
		if (byte_class[(uint8_t)byte] & CLASS_HEX)
			return ++p->digit_count > SIZE_DIGITS_MAX ? "chunk size too long" : NULL;
		if (p->digit_count == 0 || (byte != '\r' && byte != ';'))
			return wrong_byte(byte, "bad chunk size");
		p->body_state = byte == ';' ? EXTENSION : SIZE_LF;
		return NULL;
	case EXTENSION:
		if (byte == '\r')
			p->body_state = SIZE_LF;
		else if (!(byte_class[(uint8_t)byte] & CLASS_VALUE))
			return wrong_byte(byte, "bad byte in chunk extension");
		return ++p->extension_total > EXTENSIONS_MAX ? "chunk extensions too long" : NULL;
	default:
		return byte == '\n' ? NULL : "CR without LF";
	}
}

/* The size is known: llhttp has it. */
static enum parse_state begin_chunk(struct parser *p)
{
	p->body_left = p->llhttp.content_length;
	p->digit_count = 0;
	if (p->body_left > p->body_max - p->body_total)
		return fail(p, 413, "content too long");
	p->body_total += p->body_left;
	p->body_state = DATA;
	if (p->body_left == 0) {
		p->body_state = TRAILERS;
		guard_reset_trailers(&p->guard);
	}
	return PARSE_MORE;
}

/*
 * llhttp has the first word about the bytes in front of one that is wrong to us, or the verdict
 * would depend on where the pieces end.
 */
static enum parse_state take_size_line(struct parser *p, struct span *in)
{
	const char *begin = in->ptr, *wrong = NULL;
	bool is_whole = false;

	while (in->len > 0 && !is_whole) {
		wrong = check_size_byte(p, *in->ptr);
		if (wrong)
			break;
		is_whole = *in->ptr == '\n';
		skip(in, 1);
	}
	p->is_llhttp_done = false;
	if (llhttp_execute(&p->llhttp, begin, (size_t)(in->ptr - begin)) != HPE_OK ||
	    p->is_llhttp_done != is_whole)
		return fail(p, 400, "chunk size line refused by llhttp");
	if (wrong)
		return fail(p, 400, wrong);
	return is_whole ? begin_chunk(p) : PARSE_MORE;
}

static enum parse_state take_data(struct parser *p, struct span *in, struct span *ret_data)
{
	give_content(p, in, ret_data, DATA_CR);
	if (llhttp_execute(&p->llhttp, ret_data->ptr, ret_data->len) != HPE_OK)
		return fail(p, 400, "chunk refused by llhttp");
	return PARSE_DATA;
}

static enum parse_state take_data_end(struct parser *p, struct span *in)
{
	bool is_cr = p->body_state == DATA_CR;

	if (*in->ptr != (is_cr ? '\r' : '\n'))
		return fail(p, 400, is_cr ? "no CRLF after chunk" : "CR without LF");
	if (llhttp_execute(&p->llhttp, in->ptr, 1) != HPE_OK)
		return fail(p, 400, "chunk refused by llhttp");
	skip(in, 1);
	p->body_state = is_cr ? DATA_LF : SIZE;
	return PARSE_MORE;
}

static enum parse_state take_trailers(struct parser *p, struct span *in)
{
	enum guard_verdict verdict = guard_trailers(&p->guard, p->limits, in);

	if (verdict == GUARD_FAIL)
		return fail(p, p->guard.status, p->guard.why);
	if (verdict == GUARD_DONE)
		p->body_state = END;
	return PARSE_MORE;
}

uint64_t parser_opaque(const struct parser *p)
{
	return p->body_state == SIZED ? p->body_left : 0;
}

void parser_skip(struct parser *p, uint64_t len)
{
	BUG_ON(len > parser_opaque(p));
	p->body_left -= len;
	if (p->body_left == 0)
		p->body_state = END;
}

enum parse_state parser_body(struct parser *p, struct span *in, struct span *ret_data)
{
	enum parse_state state = PARSE_MORE;

	if (p->status)
		return PARSE_FAIL;
	while (state == PARSE_MORE && in->len > 0 && p->body_state != END) {
		if (p->body_state == SIZED)
			state = give_content(p, in, ret_data, END);
		else if (p->body_state <= SIZE_LF)
			state = take_size_line(p, in);
		else if (p->body_state == DATA)
			state = take_data(p, in, ret_data);
		else if (p->body_state <= DATA_LF)
			state = take_data_end(p, in);
		else
			state = take_trailers(p, in);
	}
	return state == PARSE_MORE && p->body_state == END ? PARSE_DONE : state;
}
