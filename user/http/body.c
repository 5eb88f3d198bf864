/* SPDX-License-Identifier: MIT */
/*
 * The content of a message.  A sized body is counted.  Of a chunked one (RFC 9112 7.1) llhttp reads the size lines and
 * keeps the order of chunk, CRLF, chunk; in front of it each byte of a size line passes the checks it does not make:
 * number of digits, bytes of extensions, bare LF named at once.  The content itself is handed out where it lies, or
 * skipped unseen.
 *
 *   SIZE -> (EXTENSION) -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ... last: SIZE_LF -> TRAILERS -> END
 *
 * The trailer section is the guard's alone: nothing of it may reach llhttp's flags.
 */
#include "http/body.h"

#include "base/err.h"
#include "http/scan.h"

/* Of 64 bits; leading zeros count, or a chunk size could go on for ever. */
#define SIZE_DIGITS_MAX 16
/* Bytes in one body; nobody uses them, attackers do (CVE-2024-22019). */
#define EXTENSIONS_MAX 1024

enum body_state {
	END, /* 0, as body_reset() has it */
	UNTIL_CLOSE,
	SIZED,
	SIZE,
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILERS,
};

static enum parse_state fail(struct body *b, unsigned status, const char *why)
{
	b->status = status;
	b->why = why;
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

int body_on_llhttp_done(llhttp_t *llhttp)
{
	struct body *b = llhttp->data;

	b->is_llhttp_done = true;
	return 0;
}

void body_init_llhttp(struct body *b, llhttp_type_t type, const llhttp_settings_t *settings)
{
	llhttp_init(&b->llhttp, type, settings);
	b->llhttp.data = b;
	b->is_llhttp_done = false;
}

/* It is a plain struct between two calls: no pointer into itself, none into the bytes it was shown. */
void body_continue_llhttp(struct body *b, const llhttp_t *from)
{
	b->llhttp = *from;
	b->llhttp.data = b;
	b->is_llhttp_done = false;
}

bool body_show_framing(struct body *b, const struct field *fields, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct field *f = &fields[i];
		const char *end = f->value.ptr + f->value.len;
		/* White space behind a value is not shown; nearly always there is none. */
		bool is_trimmed = *end != '\r';

		if (f->id != HEADER_CONTENT_LENGTH && f->id != HEADER_TRANSFER_ENCODING)
			continue;
		if (!body_show(b, f->name.ptr, (size_t)(end - f->name.ptr) + (is_trimmed ? 0 : 2)))
			return false;
		if (is_trimmed && !body_show(b, "\r\n", 2))
			return false;
	}
	return true;
}

static uint8_t first_state(enum body_framing framing)
{
	switch (framing) {
	case BODY_SIZED:
		return SIZED;
	case BODY_CHUNKED:
		return SIZE;
	case BODY_UNTIL_CLOSE:
		return UNTIL_CLOSE;
	default:
		return END;
	}
}

void body_begin(struct body *b, enum body_framing framing, uint64_t content_length, uint64_t max)
{
	b->left = framing == BODY_UNTIL_CLOSE ? UINT64_MAX : content_length;
	b->total = 0;
	b->max = max;
	b->extension_total = 0;
	b->digit_count = 0;
	b->state = first_state(framing);
}

/* `left` of a body that the end of the connection ends stays what it is: more than there will ever be. */
static void pass_content(struct body *b, uint64_t len)
{
	if (b->state == UNTIL_CLOSE)
		return;
	b->left -= len;
	if (b->left == 0)
		b->state = b->state == SIZED ? END : DATA_CR;
}

static enum parse_state give_content(struct body *b, struct span *in, struct span *ret_data)
{
	size_t len = MIN(in->len, b->left);

	*ret_data = span_of(in->ptr, len);
	skip(in, len);
	pass_content(b, len);
	return PARSE_DATA;
}

/* Bytes of a size line up to its LF, checked.  NULL: fine; otherwise what is wrong. */
static const char *check_size_byte(struct body *b, char byte)
{
	switch (b->state) {
	case SIZE:
		if (byte_class[(uint8_t)byte] & CLASS_HEX)
			return ++b->digit_count > SIZE_DIGITS_MAX ? "chunk size too long" : NULL;
		if (b->digit_count == 0 || (byte != '\r' && byte != ';'))
			return wrong_byte(byte, "bad chunk size");
		b->state = byte == ';' ? EXTENSION : SIZE_LF;
		return NULL;
	case EXTENSION:
		if (byte == '\r')
			b->state = SIZE_LF;
		else if (!(byte_class[(uint8_t)byte] & CLASS_VALUE))
			return wrong_byte(byte, "bad byte in chunk extension");
		return ++b->extension_total > EXTENSIONS_MAX ? "chunk extensions too long" : NULL;
	default:
		return byte == '\n' ? NULL : "CR without LF";
	}
}

/* The size is known: llhttp has it. */
static enum parse_state begin_chunk(struct body *b, const struct parse_limits *limits)
{
	b->left = b->llhttp.content_length;
	b->digit_count = 0;
	if (b->left > b->max - b->total)
		return fail(b, 413, "content too long");
	b->total += b->left;
	b->state = DATA;
	if (b->left == 0) {
		b->state = TRAILERS;
		guard_reset_trailers(&b->guard);
	}
	return PARSE_MORE;
}

/*
 * llhttp has the first word about the bytes in front of one that is wrong to us, or the verdict
 * would depend on where the pieces end.
 */
static enum parse_state take_size_line(struct body *b, const struct parse_limits *limits,
				       struct span *in)
{
	const char *begin = in->ptr, *wrong = NULL;
	bool is_whole = false;

	while (in->len > 0 && !is_whole) {
		wrong = check_size_byte(b, *in->ptr);
		if (wrong)
			break;
		is_whole = *in->ptr == '\n';
		skip(in, 1);
	}
	b->is_llhttp_done = false;
	if (llhttp_execute(&b->llhttp, begin, (size_t)(in->ptr - begin)) != HPE_OK ||
	    b->is_llhttp_done != is_whole)
		return fail(b, 400, "chunk size line refused by llhttp");
	if (wrong)
		return fail(b, 400, wrong);
	return is_whole ? begin_chunk(b, limits) : PARSE_MORE;
}

static enum parse_state take_data(struct body *b, struct span *in, struct span *ret_data)
{
	give_content(b, in, ret_data);
	if (llhttp_execute(&b->llhttp, ret_data->ptr, ret_data->len) != HPE_OK)
		return fail(b, 400, "chunk refused by llhttp");
	return PARSE_DATA;
}

static enum parse_state take_data_end(struct body *b, struct span *in)
{
	bool is_cr = b->state == DATA_CR;

	if (*in->ptr != (is_cr ? '\r' : '\n'))
		return fail(b, 400, is_cr ? "no CRLF after chunk" : "CR without LF");
	if (llhttp_execute(&b->llhttp, in->ptr, 1) != HPE_OK)
		return fail(b, 400, "chunk refused by llhttp");
	skip(in, 1);
	b->state = is_cr ? DATA_LF : SIZE;
	return PARSE_MORE;
}

static enum parse_state take_trailers(struct body *b, const struct parse_limits *limits,
				      struct buf *trailers, struct span *in)
{
	enum guard_verdict verdict = guard_trailers(&b->guard, limits, trailers, in);

	if (verdict == GUARD_FAIL)
		return fail(b, b->guard.status, b->guard.why);
	if (verdict == GUARD_DONE)
		b->state = END;
	return PARSE_MORE;
}

enum parse_state body_take(struct body *b, const struct parse_limits *limits, struct buf *trailers,
			   struct span *in, struct span *ret_data)
{
	enum parse_state state = PARSE_MORE;

	while (state == PARSE_MORE && in->len > 0 && b->state != END) {
		if (b->state <= SIZED)
			state = give_content(b, in, ret_data);
		else if (b->state <= SIZE_LF)
			state = take_size_line(b, limits, in);
		else if (b->state == DATA)
			state = take_data(b, in, ret_data);
		else if (b->state <= DATA_LF)
			state = take_data_end(b, in);
		else
			state = take_trailers(b, limits, trailers, in);
	}
	return state == PARSE_MORE && b->state == END ? PARSE_DONE : state;
}

bool body_is_over(const struct body *b)
{
	return b->state == END;
}

uint64_t body_opaque(const struct body *b)
{
	return b->state == UNTIL_CLOSE || b->state == SIZED || b->state == DATA ? b->left : 0;
}

/*
 * llhttp counts a chunk down in content_length, a member of its interface as the flags read elsewhere are, and looks at
 * nothing in between.  Should another version count elsewhere, it takes the next size line for data, and
 * take_size_line() refuses the message.
 */
void body_skip(struct body *b, uint64_t len)
{
	BUG_ON(len > body_opaque(b));
	if (b->state == DATA)
		b->llhttp.content_length -= len;
	pass_content(b, len);
}
