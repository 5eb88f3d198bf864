/* SPDX-License-Identifier: MIT */
/*
 * Access log lines.  What a client sent is escaped, so that it can neither end a line nor forge
 * another, and cut, so that a line always fits LOGFILE_LINE and a JSON object is never left open.
 * The caller ends the line.
 */
#include "http/access_log.h"

#include <time.h>

#include "base/err.h"
#include "base/logfile.h"
#include "base/put.h"
#include "base/utf8.h"
#include "http/reply.h"
#include "http/scan.h"

/* Bytes written for each text of a client, escapes included. */
#define TARGET_MAX 1400
#define TEXT_MAX   500
#define SHORT_MAX  64
#define CUT_MAX	   3 /* "..." */
/* What the longest line takes; the rest is what each line has (punctuation, keys, the time). */
#define COMBINED_MAX (TARGET_MAX + 3 * TEXT_MAX + 2 * SHORT_MAX + 6 * CUT_MAX + 4 * PUT_U64_MAX + 100)
#define JSON_MAX     (TARGET_MAX + 3 * TEXT_MAX + 7 * SHORT_MAX + 10 * CUT_MAX + 11 * PUT_U64_MAX + 450)
/* One byte of a line is its end. */
#define ROOM (LOGFILE_LINE - 1)

#define NS_PER_S 1000000000u

_Static_assert(COMBINED_MAX <= ROOM && JSON_MAX <= ROOM, "lines are written without a look at the room");

static char *put_byte_escape(char *at, uint8_t byte)
{
	static const char hex[] = "0123456789ABCDEF";
	char text[4] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};

	return put(at, text, sizeof(text));
}

static bool is_safe(uint8_t byte)
{
	return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* At most `max` bytes are written, then "..." says that there were more. */
__attribute__((cold)) static char *put_escapes(char *at, struct span s, size_t max)
{
	const char *p = s.ptr, *end = s.ptr + s.len;
	char *limit = at + max;

	while (p < end && at + 4 <= limit) {
		const char *stop = scan_plain(p, p + MIN(end - p, limit - at));

		at = put(at, p, (size_t)(stop - p));
		p = stop;
		if (p < end && at + 4 <= limit)
			at = put_byte_escape(at, (uint8_t)*p++);
	}
	return p < end ? put_lit(at, "...") : at;
}

/* Nearly always there is nothing to escape.  "-" where there is no text. */
static inline char *put_text(char *at, struct span s, size_t max)
{
	if (!s.len)
		return put_char(at, '-');
	if (s.len <= max && scan_copy_plain(at, s.ptr, s.len))
		return at + s.len;
	return put_escapes(at, s, max);
}

#define LOCAL_TIME "[01/Jan/1970:00:00:00 +0000]"

/*
 * "[10/Oct/2000:13:55:36 -0700]".  localtime_r is dear and the second seldom changes between two
 * lines; a worker is a process with one thread, so the last text may be kept.
 */
__attribute__((cold)) static void print_local_time(char text[sizeof(LOCAL_TIME)], const struct tm *tm)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	unsigned zone = (unsigned)(tm->tm_gmtoff < 0 ? -tm->tm_gmtoff : tm->tm_gmtoff) / 60;
	unsigned year = (unsigned)tm->tm_year + 1900;

	put_pair(text + 1, (unsigned)tm->tm_mday);
	put(text + 4, months + 3 * tm->tm_mon, 3);
	put_pair(text + 8, year / 100 % 100);
	put_pair(text + 10, year % 100);
	put_pair(text + 13, (unsigned)tm->tm_hour);
	put_pair(text + 16, (unsigned)tm->tm_min);
	put_pair(text + 19, (unsigned)tm->tm_sec);
	text[22] = tm->tm_gmtoff < 0 ? '-' : '+';
	put_pair(text + 23, zone / 60);
	put_pair(text + 25, zone % 60);
}

static char *put_local_time(char *at, uint64_t wall_ns)
{
	static char text[] = LOCAL_TIME;
	static time_t shown;
	time_t t = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;

	if (t != shown && localtime_r(&t, &tm)) {
		print_local_time(text, &tm);
		shown = t;
	}
	return put(at, text, sizeof(LOCAL_TIME) - 1);
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

static char *put_request_line(char *at, const struct access_entry *e)
{
	if (has_request_line(e)) {
		if (e->req->method == METHOD_GET)
			at = put_lit(at, "GET ");
		else
			at = put_char(put_text(at, e->req->method_text, SHORT_MAX), ' ');
		at = put_text(at, e->req->target, TARGET_MAX);
		at = put_lit(at, " HTTP/1.");
		return put_char(at, (char)('0' + e->req->version_minor % 10));
	}
	if (!e->method)
		return put_char(at, '-');
	at = put_text(at, span_str(e->method), SHORT_MAX);
	at = put_char(at, ' ');
	return put_text(at, span_str(e->target), TARGET_MAX);
}

static char *put_status(char *at, unsigned status)
{
	return put_pair(put_char(at, (char)('0' + status / 100 % 10)), status % 100);
}

static char *put_seconds(char *at, uint64_t us)
{
	unsigned fraction = (unsigned)(us % 1000000);

	at = put_char(put_u64(at, us / 1000000), '.');
	at = put_pair(at, fraction / 10000);
	at = put_pair(at, fraction / 100 % 100);
	return put_pair(at, fraction % 100);
}

/* Where the line goes; NULL, and the buffer is marked as cut: there is no room for the longest. */
static char *begin_line(struct buf *b)
{
	if (buf_room(b) < ROOM)
		b->is_truncated = true;
	return b->is_truncated ? NULL : b->ptr + b->len;
}

static void end_line(struct buf *b, const char *at)
{
	b->len = (size_t)(at - b->ptr);
}

void access_format_combined(struct buf *b, const struct access_entry *e)
{
	char *at = begin_line(b);

	if (!at)
		return;
	at = put_text(at, e->peer_host, TEXT_MAX);
	at = put_lit(at, " - - ");
	at = put_local_time(at, e->wall_ns);
	at = put_lit(at, " \"");
	at = put_request_line(at, e);
	at = put_lit(at, "\" ");
	at = put_status(at, e->status);
	at = put_char(at, ' ');
	at = put_u64(at, e->body_sent);
	at = put_lit(at, " \"");
	at = put_text(at, header(e, HEADER_REFERER), TEXT_MAX);
	at = put_lit(at, "\" \"");
	at = put_text(at, header(e, HEADER_USER_AGENT), TEXT_MAX);
	at = put_lit(at, "\" \"");
	at = put_text(at, span_str(e->reason), SHORT_MAX);
	at = put_lit(at, "\" ");
	at = put_seconds(at, e->duration_us);
	at = put_char(at, ' ');
	at = put_u64(at, e->slot);
	end_line(b, at);
}

static char *put_json_escape(char *at, uint8_t byte)
{
	static const char hex[] = "0123456789abcdef";

	if (byte == '"' || byte == '\\')
		return put_char(put_char(at, '\\'), (char)byte);
	at = put_lit(at, "\\u00");
	return put_char(put_char(at, hex[byte >> 4]), hex[byte & 15]);
}

static char *put_json_escapes(char *at, struct span s, size_t max)
{
	char *limit = at + max;
	size_t i = 0;

	while (i < s.len && at + 6 <= limit) {
		size_t len = utf8_len(s.ptr + i, s.len - i);

		if (len == 0)
			at = put_lit(at, "\xef\xbf\xbd");
		else if (len > 1 || is_safe((uint8_t)s.ptr[i]))
			at = put(at, s.ptr + i, len);
		else
			at = put_json_escape(at, (uint8_t)s.ptr[i]);
		i += MAX(len, 1);
	}
	return i < s.len ? put_lit(at, "...") : at;
}

/* null where there is none. */
static char *put_json_text(char *at, struct span s, size_t max)
{
	if (!s.ptr)
		return put_lit(at, "null");
	at = put_char(at, '"');
	if (s.len <= max && scan_copy_plain(at, s.ptr, s.len))
		at += s.len;
	else
		at = put_json_escapes(at, s, max);
	return put_char(at, '"');
}

#define UTC_TIME "1970-01-01T00:00:00.000Z"

/* RFC 3339, UTC, milliseconds.  Kept for a second, as local time is. */
static char *put_utc(char *at, uint64_t wall_ns)
{
	static char text[] = UTC_TIME;
	static time_t shown;
	time_t t = (time_t)(wall_ns / NS_PER_S);
	unsigned ms = (unsigned)(wall_ns % NS_PER_S / 1000000);
	struct tm tm;

	if (t != shown && gmtime_r(&t, &tm)) {
		unsigned year = (unsigned)tm.tm_year + 1900;

		put_pair(text, year / 100 % 100);
		put_pair(text + 2, year % 100);
		put_pair(text + 5, (unsigned)tm.tm_mon + 1);
		put_pair(text + 8, (unsigned)tm.tm_mday);
		put_pair(text + 11, (unsigned)tm.tm_hour);
		put_pair(text + 14, (unsigned)tm.tm_min);
		put_pair(text + 17, (unsigned)tm.tm_sec);
		shown = t;
	}
	put_status(text + 20, ms);
	return put(at, text, sizeof(UTC_TIME) - 1);
}

/* The one the request came with, or was given on its way to an upstream. */
static struct span request_id(const struct access_entry *e)
{
	if (e->origin && e->origin->request_id[0])
		return span_str(e->origin->request_id);
	return header(e, HEADER_X_REQUEST_ID);
}

static char *put_json_request(char *at, const struct access_entry *e)
{
	static const struct span versions[] = {SPAN("1.0"), SPAN("1.1")};
	const struct request *req = has_request_line(e) ? e->req : NULL;
	struct span version = req ? versions[req->version_minor & 1] : span_of(NULL, 0);
	struct span method = req ? req->method_text : span_str(e->method);
	struct span target = req ? req->target : span_str(e->target);

	at = put_json_text(put_lit(at, ",\"method\":"), method, SHORT_MAX);
	at = put_json_text(put_lit(at, ",\"target\":"), target, TARGET_MAX);
	at = put_json_text(put_lit(at, ",\"version\":"), version, SHORT_MAX);
	at = put_json_text(put_lit(at, ",\"host\":"), header(e, HEADER_HOST), TEXT_MAX);
	at = put_json_text(put_lit(at, ",\"referer\":"), header(e, HEADER_REFERER), TEXT_MAX);
	at = put_json_text(put_lit(at, ",\"user_agent\":"), header(e, HEADER_USER_AGENT), TEXT_MAX);
	return put_json_text(put_lit(at, ",\"request_id\":"), request_id(e), 2 * SHORT_MAX);
}

static char *put_origin(char *at, const struct reply_origin *o)
{
	at = put_json_text(put_lit(at, ",\"server\":"), span_str(o->server), SHORT_MAX);
	at = put_u64(put_lit(at, ",\"tries\":"), o->tries);
	at = put_u64(put_lit(at, ",\"connect_us\":"), o->connect_us);
	return put_u64(put_lit(at, ",\"first_byte_us\":"), o->first_byte_us);
}

void access_format_json(struct buf *b, const struct access_entry *e)
{
	char *at = begin_line(b);

	if (!at)
		return;
	at = put_utc(put_lit(at, "{\"time\":\""), e->wall_ns);
	at = put_json_text(put_lit(at, "\",\"peer\":"), e->peer_host, SHORT_MAX);
	at = put_u64(put_lit(at, ",\"port\":"), e->peer_port);
	at = put_json_request(at, e);
	at = put_u64(put_lit(at, ",\"status\":"), e->status);
	at = put_u64(put_lit(at, ",\"bytes_sent\":"), e->bytes_sent);
	at = put_u64(put_lit(at, ",\"body_sent\":"), e->body_sent);
	at = put_u64(put_lit(at, ",\"duration_us\":"), e->duration_us);
	at = put_json_text(put_lit(at, ",\"reason\":"), span_str(e->reason), SHORT_MAX);
	at = put_u64(put_lit(at, ",\"slot\":"), e->slot);
	at = put_u64(put_lit(at, ",\"connection\":"), e->connection);
	at = put_u64(put_lit(at, ",\"request\":"), e->request_number);
	if (e->origin && e->origin->server[0])
		at = put_origin(at, e->origin);
	end_line(b, put_char(at, '}'));
}
