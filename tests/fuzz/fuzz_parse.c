/* SPDX-License-Identifier: MIT */
/*
 * Streams of requests, three ways at once:
 *
 * - the verdict and every byte handed out are the same whether the stream comes whole, in two
 * pieces at any place, or byte by byte, each piece in a heap block of exactly its size; and whether
 * the content is read or skipped;
 * - llhttp, shown the whole head with every field, accepts what the guard accepted and finds the
 * same fields;
 * - a normal path has no dot segment left.
 *
 * Built with libFuzzer and run by `make fuzz FUZZ_S=60`.
 */
#include <stdio.h>

#include "../unit/parse_driver.h"

static const struct parse_limits limits = {200, 600, 8, 64};
static struct driver whole, split;

static void die(const char *what, const struct driver *d)
{
	fprintf(stderr, "%s\nwhole: %.*s\nsplit: %.*s\nfields: %.*s\nsplit:  %.*s\n", what,
		SPAN_ARG(buf_span(&whole.out)), SPAN_ARG(buf_span(&d->out)),
		SPAN_ARG(buf_span(&whole.fields)), SPAN_ARG(buf_span(&d->fields)));
	abort();
}

static void compare(struct driver *d, const char *how)
{
	driver_end(d);
	if (!span_eq(buf_span(&d->out), buf_span(&whole.out)))
		die(how, d);
	if (!span_eq(buf_span(&d->fields), buf_span(&whole.fields)))
		die("fields differ", d);
	driver_fini(d);
}

struct seen {
	struct span names[REQUEST_FIELDS_MAX], values[REQUEST_FIELDS_MAX];
	unsigned name_count, value_count;
	bool is_complete;
};

static int on_name(llhttp_t *l, const char *at, size_t len)
{
	struct seen *s = l->data;

	if (s->name_count < REQUEST_FIELDS_MAX)
		s->names[s->name_count++] = span_of(at, len);
	return 0;
}

static int on_value(llhttp_t *l, const char *at, size_t len)
{
	struct seen *s = l->data;

	if (s->value_count < REQUEST_FIELDS_MAX)
		s->values[s->value_count++] = span_trim(span_of(at, len));
	return 0;
}

static int on_complete(llhttp_t *l)
{
	((struct seen *)l->data)->is_complete = true;
	return 0;
}

static const llhttp_settings_t settings = {
	.on_header_field = on_name,
	.on_header_value = on_value,
	.on_headers_complete = on_complete,
};

/* llhttp's own view of a head that the parser accepted: nothing may differ but methods it does not
 * know. */
static void ask_llhttp(const struct request *req, struct span head)
{
	struct seen seen = {0};
	llhttp_errno_t error;
	llhttp_t l;

	/*
	 * It takes no tab behind a coding, which is white space to be ignored (RFC 9110 5.5); the parser
	 * shows it trimmed values, and the streams below see to those.
	 */
	if (req->method == METHOD_OTHER || req->known[HEADER_TRANSFER_ENCODING])
		return;
	llhttp_init(&l, HTTP_REQUEST, &settings);
	l.data = &seen;
	error = llhttp_execute(&l, head.ptr, head.len);
	if ((error != HPE_OK && error != HPE_PAUSED_UPGRADE) || !seen.is_complete) {
		fprintf(stderr, "llhttp: %s\n", llhttp_get_error_reason(&l));
		abort();
	}
	if (seen.name_count != req->field_count || seen.value_count != req->field_count)
		abort();
	for (unsigned i = 0; i < req->field_count; i++)
		if (!span_eq(seen.names[i], req->fields[i].name) ||
		    !span_eq(seen.values[i], req->fields[i].value))
			abort();
}

static void check_path(struct span path)
{
	for (size_t i = 0; i < path.len; i++) {
		struct span rest = span_of(path.ptr + i, path.len - i);

		if (span_starts_with(rest, SPAN("//")) || span_starts_with(rest, SPAN("/../")) ||
		    span_starts_with(rest, SPAN("/./")) || span_eq(rest, SPAN("/..")) ||
		    span_eq(rest, SPAN("/.")) || *rest.ptr == '\0')
			abort();
	}
}

static void check_first_head(const uint8_t *data, size_t size)
{
	char *exact = malloc(size);
	struct request *req = malloc(sizeof(*req));
	struct parser p;
	size_t len;

	memcpy(exact, data, size);
	parser_init(&p, &limits);
	parser_reset(&p, req);
	if (parser_head(&p, exact, size, &len) == PARSE_DONE) {
		if (len > size || p.guard.pos != len)
			abort();
		ask_llhttp(req, span_of(exact + p.guard.head_start, len - p.guard.head_start));
		check_path(req->path);
	}
	free(req);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of((const char *)data, size);

	if (size == 0 || size > 2048)
		return 0;
	check_first_head(data, size);
	driver_init(&whole, &limits);
	driver_feed(&whole, in);
	driver_end(&whole);
	for (size_t at = 1; at < size; at++) {
		driver_init(&split, &limits);
		split.is_skipping = at & 1;
		driver_feed(&split, span_of(in.ptr, at));
		driver_feed(&split, span_of(in.ptr + at, size - at));
		compare(&split, "in two pieces");
	}
	driver_init(&split, &limits);
	for (size_t at = 0; at < size; at++)
		driver_feed(&split, span_of(in.ptr + at, 1));
	compare(&split, "byte by byte");
	driver_fini(&whole);
	return 0;
}
