/* SPDX-License-Identifier: MIT */
/*
 * Streams of responses.  The first byte says whether they answer HEAD and whether content goes past the parser; the rest
 * is what the upstream sends:
 *
 * - the verdict and every byte handed out are the same whether the stream comes whole, in two pieces at any place, or
 *   byte by byte, read or skipped, each piece in a heap block of exactly its size;
 * - llhttp, shown the whole head with every field, accepts what the guard accepted, finds the same fields, and ends the
 *   message where the rules do;
 * - trailers are whole lines of "Name: value".
 *
 * Built with libFuzzer and run by `make fuzz FUZZ_S=60`.
 */
#include <stdio.h>

#include "../unit/response_driver.h"

static const struct parse_limits limits = {200, 600, 8, 64};
static struct response_driver whole, split;

static void die(const char *what, const struct response_driver *d)
{
	fprintf(stderr, "%s\nwhole: %.*s\nsplit: %.*s\nfields: %.*s\nsplit:  %.*s\n", what,
		SPAN_ARG(buf_span(&whole.out)), SPAN_ARG(buf_span(&d->out)),
		SPAN_ARG(buf_span(&whole.fields)), SPAN_ARG(buf_span(&d->fields)));
	abort();
}

static void compare(struct response_driver *d, const char *how)
{
	response_driver_end(d);
	if (!span_eq(buf_span(&d->out), buf_span(&whole.out)))
		die(how, d);
	if (!span_eq(buf_span(&d->fields), buf_span(&whole.fields)))
		die("fields differ", d);
	response_driver_fini(d);
}

struct seen {
	struct span names[RESPONSE_FIELDS_MAX], values[RESPONSE_FIELDS_MAX];
	unsigned name_count, value_count;
	bool is_to_head, is_complete, is_over;
};

static int on_name(llhttp_t *l, const char *at, size_t len)
{
	struct seen *s = l->data;

	if (s->name_count < RESPONSE_FIELDS_MAX)
		s->names[s->name_count++] = span_of(at, len);
	return 0;
}

static int on_value(llhttp_t *l, const char *at, size_t len)
{
	struct seen *s = l->data;

	if (s->value_count < RESPONSE_FIELDS_MAX)
		s->values[s->value_count++] = span_trim(span_of(at, len));
	return 0;
}

static int on_complete(llhttp_t *l)
{
	struct seen *s = l->data;

	s->is_complete = true;
	return s->is_to_head;
}

static int on_over(llhttp_t *l)
{
	((struct seen *)l->data)->is_over = true;
	return 0;
}

static const llhttp_settings_t settings = {
	.on_header_field = on_name,
	.on_header_value = on_value,
	.on_headers_complete = on_complete,
	.on_message_complete = on_over,
};

/* Heads that it may read otherwise: an interim one with a length, which frames nothing, and codings (fuzz_parse.c). */
static bool is_beyond_llhttp(const struct response *res)
{
	return res->known[HEADER_TRANSFER_ENCODING] || (res->status < 200 && res->known[HEADER_CONTENT_LENGTH]);
}

/* llhttp's own view of a head that the parser accepted. */
static void ask_llhttp(const struct response *res, struct span head, bool is_to_head)
{
	struct seen seen = {.is_to_head = is_to_head};
	llhttp_errno_t error;
	llhttp_t l;

	if (is_beyond_llhttp(res))
		return;
	llhttp_init(&l, HTTP_RESPONSE, &settings);
	l.data = &seen;
	error = llhttp_execute(&l, head.ptr, head.len);
	if ((error != HPE_OK && error != HPE_PAUSED_UPGRADE) || !seen.is_complete) {
		fprintf(stderr, "llhttp: %s\n", llhttp_get_error_reason(&l));
		abort();
	}
	BUG_ON(seen.is_over != (res->framing == BODY_NONE));
	BUG_ON(l.status_code != res->status);
	BUG_ON(seen.name_count != res->field_count || seen.value_count != res->field_count);
	for (unsigned i = 0; i < res->field_count; i++) {
		BUG_ON(!span_eq(seen.names[i], res->fields[i].name));
		BUG_ON(!span_eq(seen.values[i], res->fields[i].value));
	}
}

static void check_first_head(struct span in, enum http_method method)
{
	char *exact = malloc(in.len);
	struct response *res = malloc(sizeof(*res));
	struct response_parser p;
	size_t len;

	memcpy(exact, in.ptr, in.len);
	response_init(&p, &limits);
	response_reset(&p, res, method);
	if (response_head(&p, exact, in.len, &len) == PARSE_DONE) {
		BUG_ON(len > in.len);
		BUG_ON(method == METHOD_HEAD && res->framing != BODY_NONE);
		BUG_ON(res->framing == BODY_UNTIL_CLOSE && res->is_keep_alive);
		ask_llhttp(res, span_of(exact, len), method == METHOD_HEAD);
	}
	free(res);
	free(exact);
}

/* The driver leaves the trailers of an unfinished body in place: those are no whole lines. */
static void check_trailers(struct span in, enum http_method method)
{
	struct response_parser p;
	struct span data;
	char memory[40];
	struct buf b;
	size_t len;

	buf_init(&b, memory, sizeof(memory));
	response_init(&p, &limits);
	p.trailers = &b;
	response_reset(&p, whole.res, method);
	if (response_head(&p, in.ptr, in.len, &len) != PARSE_DONE)
		return;
	in = span_of(in.ptr + len, in.len - len);
	while (response_body(&p, &in, &data) == PARSE_DATA)
		;
	if (p.why || response_body(&p, &in, &data) != PARSE_DONE)
		return;
	for (struct span rest = buf_span(&b); rest.len;) {
		const char *lf = memchr(rest.ptr, '\n', rest.len), *colon = memchr(rest.ptr, ':', rest.len);

		BUG_ON(!lf || !colon || colon > lf - 3 || lf[-1] != '\r' || colon[1] != ' ');
		BUG_ON(!header_may_trail(header_id_of(span_of(rest.ptr, (size_t)(colon - rest.ptr)))));
		rest = span_of(lf + 1, rest.len - (size_t)(lf + 1 - rest.ptr));
	}
}

static void start(struct response_driver *d, enum http_method method, bool is_skipping)
{
	response_driver_init(d, &limits, method);
	d->is_skipping = is_skipping;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum http_method method = size && data[0] & 1 ? METHOD_HEAD : METHOD_GET;
	bool is_skipping = size && data[0] & 2;
	struct span in = span_of((const char *)data + 1, size - 1);

	if (size < 2 || size > 2048)
		return 0;
	check_first_head(in, method);
	start(&whole, method, false);
	check_trailers(in, method);
	response_reset(&whole.parser, whole.res, method);
	response_driver_feed(&whole, in);
	response_driver_end(&whole);
	for (size_t at = 1; at < in.len; at++) {
		start(&split, method, is_skipping);
		response_driver_feed(&split, span_of(in.ptr, at));
		response_driver_feed(&split, span_of(in.ptr + at, in.len - at));
		compare(&split, "in two pieces");
	}
	start(&split, method, !is_skipping);
	for (size_t at = 0; at < in.len; at++)
		response_driver_feed(&split, span_of(in.ptr + at, 1));
	compare(&split, "byte by byte");
	response_driver_fini(&whole);
	return 0;
}
