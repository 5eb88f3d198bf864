/* SPDX-License-Identifier: MIT */
/*
 * Access log lines.  What a client sent is escaped, so that it can neither end a line nor forge
 * another, and cut, so that a line always fits LOGFILE_LINE and a JSON object is never left open.
 * The caller ends the line.
 */
#include "http/access_log.h"

#include <time.h>

#include "base/err.h"
#include "base/utf8.h"
#include "http/reply.h"
#include "http/scan.h"

/* Bytes written for each text of a client, escapes included. */
#define TARGET_MAX 1400
#define TEXT_MAX   500
#define SHORT_MAX  64

#define NS_PER_S 1000000000u

static void add_digits(struct buf *b, unsigned value, unsigned count)
{
	char digits[10];

	for (unsigned i = count; i-- > 0; value /= 10)
		digits[i] = (char)('0' + value % 10);
	buf_add(b, digits, count);
}

static void add_byte_escape(struct buf *b, uint8_t byte)
{
	static const char hex[] = "0123456789ABCDEF";
	char text[4] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};

	buf_add(b, text, sizeof(text));
}

static bool is_safe(uint8_t byte)
{
	return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* At most `max` bytes are written, then "..." says that there were more. */
static void add_escaped(struct buf *b, struct span s, size_t max)
{
	size_t limit = b->len + max, i = 0;

	/* Nearly always there is nothing to escape. */
	if (s.len <= max && scan_is_plain(s.ptr, s.len)) {
		buf_add_span(b, s);
		return;
	}
	while (i < s.len && b->len + 4 <= limit && !b->is_truncated) {
		const char *end = s.ptr + i + MIN(s.len - i, limit - b->len);
		size_t run = (size_t)(scan_plain(s.ptr + i, end) - (s.ptr + i));

		buf_add(b, s.ptr + i, run);
		i += run;
		if (i < s.len && b->len + 4 <= limit)
			add_byte_escape(b, (uint8_t)s.ptr[i++]);
	}
	if (i < s.len)
		buf_add_lit(b, "...");
}

/* "-" where there is none. */
static void add_quoted(struct buf *b, struct span s, size_t max)
{
	buf_add_char(b, '"');
	if (s.len)
		add_escaped(b, s, max);
	else
		buf_add_char(b, '-');
	buf_add_char(b, '"');
}

/*
 * "10/Oct/2000:13:55:36 -0700".  localtime_r is dear and the second seldom changes between two
 * lines; a worker is a process with one thread, so the last text may be kept.
 */
static struct span local_time(int64_t unix_s)
{
	static char text[40];
	static size_t len;
	static int64_t at = INT64_MIN;
	struct tm tm;
	time_t t = (time_t)unix_s;

	if (unix_s != at && localtime_r(&t, &tm)) {
		static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
		unsigned zone = (unsigned)(tm.tm_gmtoff < 0 ? -tm.tm_gmtoff : tm.tm_gmtoff) / 60;
		struct buf b;

		buf_init(&b, text, sizeof(text));
		add_digits(&b, (unsigned)tm.tm_mday, 2);
		buf_add_char(&b, '/');
		buf_add(&b, months + 3 * tm.tm_mon, 3);
		buf_add_char(&b, '/');
		add_digits(&b, (unsigned)tm.tm_year + 1900, 4);
		buf_add_char(&b, ':');
		add_digits(&b, (unsigned)tm.tm_hour, 2);
		buf_add_char(&b, ':');
		add_digits(&b, (unsigned)tm.tm_min, 2);
		buf_add_char(&b, ':');
		add_digits(&b, (unsigned)tm.tm_sec, 2);
		buf_add(&b, tm.tm_gmtoff < 0 ? " -" : " +", 2);
		add_digits(&b, zone / 60, 2);
		add_digits(&b, zone % 60, 2);
		len = b.len;
		at = unix_s;
	}
	return span_of(text, len);
}

static struct span header(const struct access_entry *e, enum header_id id)
{
	return e->req ? request_header(e->req, id) : span_of(NULL, 0);
}

/* A request line was understood; of a refused head the fields may be missing. */
static bool has_request_line(const struct access_entry *e)
{
	return e->req && e->req->method_text.len > 0;
}

static void add_request_line(struct buf *b, const struct access_entry *e)
{
	if (!has_request_line(e) && !e->method) {
		buf_add_lit(b, "\"-\"");
		return;
	}
	buf_add_char(b, '"');
	if (!has_request_line(e)) {
		add_escaped(b, span_str(e->method), SHORT_MAX);
		buf_add_char(b, ' ');
		add_escaped(b, span_str(e->target), TARGET_MAX);
		buf_add_char(b, '"');
		return;
	}
	add_escaped(b, e->req->method_text, SHORT_MAX);
	buf_add_char(b, ' ');
	add_escaped(b, e->req->target, TARGET_MAX);
	buf_add_lit(b, " HTTP/1.");
	buf_add_char(b, (char)('0' + e->req->version_minor % 10));
	buf_add_char(b, '"');
}

static void add_seconds(struct buf *b, uint64_t us)
{
	buf_add_u64(b, us / 1000000);
	buf_add_char(b, '.');
	add_digits(b, (unsigned)(us % 1000000), 6);
}

void access_format_combined(struct buf *b, const struct access_entry *e)
{
	if (e->peer_host.len)
		add_escaped(b, e->peer_host, TEXT_MAX);
	else
		buf_add_char(b, '-');
	buf_add_lit(b, " - - [");
	buf_add_span(b, local_time((int64_t)(e->wall_ns / NS_PER_S)));
	buf_add_lit(b, "] ");
	add_request_line(b, e);
	buf_add_char(b, ' ');
	add_digits(b, e->status, 3);
	buf_add_char(b, ' ');
	buf_add_u64(b, e->body_sent);
	buf_add_char(b, ' ');
	add_quoted(b, header(e, HEADER_REFERER), TEXT_MAX);
	buf_add_char(b, ' ');
	add_quoted(b, header(e, HEADER_USER_AGENT), TEXT_MAX);
	buf_add_char(b, ' ');
	add_quoted(b, span_str(e->reason), SHORT_MAX);
	buf_add_char(b, ' ');
	add_seconds(b, e->duration_us);
	buf_add_char(b, ' ');
	buf_add_u64(b, e->slot);
}

static void add_json_escape(struct buf *b, uint8_t byte)
{
	if (byte == '"' || byte == '\\') {
		buf_add_char(b, '\\');
		buf_add_char(b, (char)byte);
	} else {
		buf_add_lit(b, "\\u00");
		buf_add(b, &"0123456789abcdef"[byte >> 4], 1);
		buf_add(b, &"0123456789abcdef"[byte & 15], 1);
	}
}

static void add_json_text(struct buf *b, struct span s, size_t max)
{
	size_t limit = b->len + max, i = 0;

	while (i < s.len && b->len + 6 <= limit && !b->is_truncated) {
		size_t len = utf8_len(s.ptr + i, s.len - i);

		if (len == 0)
			buf_add_lit(b, "\xef\xbf\xbd");
		else if (len > 1 || is_safe((uint8_t)s.ptr[i]))
			buf_add(b, s.ptr + i, len);
		else
			add_json_escape(b, (uint8_t)s.ptr[i]);
		i += MAX(len, 1);
	}
	if (i < s.len)
		buf_add_lit(b, "...");
}

/* `key` comes with what stands before it: `,"host":`.  null where there is none. */
static void add_member(struct buf *b, const char *key, struct span value, size_t max)
{
	buf_add_span(b, span_str(key));
	if (!value.ptr) {
		buf_add_lit(b, "null");
		return;
	}
	buf_add_char(b, '"');
	add_json_text(b, value, max);
	buf_add_char(b, '"');
}

static void add_number(struct buf *b, const char *key, uint64_t value)
{
	buf_add_span(b, span_str(key));
	buf_add_u64(b, value);
}

/* RFC 3339, UTC, milliseconds. */
static void add_utc(struct buf *b, uint64_t wall_ns)
{
	time_t t = (time_t)(wall_ns / NS_PER_S);
	struct tm tm = {0};

	gmtime_r(&t, &tm);
	add_digits(b, (unsigned)tm.tm_year + 1900, 4);
	buf_add_char(b, '-');
	add_digits(b, (unsigned)tm.tm_mon + 1, 2);
	buf_add_char(b, '-');
	add_digits(b, (unsigned)tm.tm_mday, 2);
	buf_add_char(b, 'T');
	add_digits(b, (unsigned)tm.tm_hour, 2);
	buf_add_char(b, ':');
	add_digits(b, (unsigned)tm.tm_min, 2);
	buf_add_char(b, ':');
	add_digits(b, (unsigned)tm.tm_sec, 2);
	buf_add_char(b, '.');
	add_digits(b, (unsigned)(wall_ns % NS_PER_S / 1000000), 3);
	buf_add_char(b, 'Z');
}

/* The one the request came with, or was given on its way to an upstream. */
static struct span request_id(const struct access_entry *e)
{
	if (e->origin && e->origin->request_id[0])
		return span_str(e->origin->request_id);
	return header(e, HEADER_X_REQUEST_ID);
}

static void add_json_request(struct buf *b, const struct access_entry *e)
{
	static const struct span versions[] = {SPAN("1.0"), SPAN("1.1")};
	const struct request *req = has_request_line(e) ? e->req : NULL;
	struct span none = span_of(NULL, 0);

	struct span method = e->method ? span_str(e->method) : none;
	struct span target = e->target ? span_str(e->target) : none;

	add_member(b, ",\"method\":", req ? req->method_text : method, SHORT_MAX);
	add_member(b, ",\"target\":", req ? req->target : target, TARGET_MAX);
	add_member(b, ",\"version\":", req ? versions[req->version_minor & 1] : none, SHORT_MAX);
	add_member(b, ",\"host\":", header(e, HEADER_HOST), TEXT_MAX);
	add_member(b, ",\"referer\":", header(e, HEADER_REFERER), TEXT_MAX);
	add_member(b, ",\"user_agent\":", header(e, HEADER_USER_AGENT), TEXT_MAX);
	add_member(b, ",\"request_id\":", request_id(e), 2 * SHORT_MAX);
}

static void add_origin(struct buf *b, const struct reply_origin *o)
{
	add_member(b, ",\"server\":", span_str(o->server), SHORT_MAX);
	add_number(b, ",\"tries\":", o->tries);
	add_number(b, ",\"connect_us\":", o->connect_us);
	add_number(b, ",\"first_byte_us\":", o->first_byte_us);
}

void access_format_json(struct buf *b, const struct access_entry *e)
{
	buf_add_lit(b, "{\"time\":\"");
	add_utc(b, e->wall_ns);
	buf_add_char(b, '"');
	add_member(b, ",\"peer\":", e->peer_host, SHORT_MAX);
	add_number(b, ",\"port\":", e->peer_port);
	add_json_request(b, e);
	add_number(b, ",\"status\":", e->status);
	add_number(b, ",\"bytes_sent\":", e->bytes_sent);
	add_number(b, ",\"body_sent\":", e->body_sent);
	add_number(b, ",\"duration_us\":", e->duration_us);
	add_member(b, ",\"reason\":", span_str(e->reason), SHORT_MAX);
	add_number(b, ",\"slot\":", e->slot);
	add_number(b, ",\"connection\":", e->connection);
	add_number(b, ",\"request\":", e->request_number);
	if (e->origin && e->origin->server[0])
		add_origin(b, e->origin);
	buf_add_char(b, '}');
}
