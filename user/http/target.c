/* SPDX-License-Identifier: MIT */
/*
 * Request targets and paths.  "%2F" decodes to '/' like every other escape, and before dot segments
 * are removed: a slash that stayed encoded here and was decoded by a file system or an upstream
 * later would hide a "..".  A path thus cannot hold a slash within a segment; nothing sluice serves
 * needs one.
 */
#include "http/target.h"

#include <arpa/inet.h>

#include "base/err.h"
#include "http/scan.h"

/* Returns the length, or -EINVAL. */
static ssize_t decode(struct span raw, char *to)
{
	const char *p = raw.ptr, *end = raw.ptr + raw.len;
	char *out = to;

	while (p < end) {
		int high, low;

		if (*p != '%') {
			*out++ = *p++;
			continue;
		}
		if (end - p < 3)
			return -EINVAL;
		high = hex_value(p[1]);
		low = hex_value(p[2]);
		if (high < 0 || low < 0 || (high | low) == 0)
			return -EINVAL;
		*out++ = (char)(high << 4 | low);
		p += 3;
	}
	return out - to;
}

/*
 * RFC 3986 5.2.4, in place: the path is read segment by segment, each with the slash before it.
 * ".." takes the last segment written back; a dot segment at the very end leaves its slash.
 */
static ssize_t remove_dot_segments(char *path, size_t len)
{
	size_t in = 0, out = 0;

	while (in < len) {
		const char *slash = memchr(path + in + 1, '/', len - in - 1);
		size_t next = slash ? (size_t)(slash - path) : len;
		struct span segment = span_of(path + in + 1, next - in - 1);
		bool is_up = span_eq(segment, SPAN(".."));

		if (is_up && out == 0)
			return -EINVAL;
		if (is_up)
			while (path[--out] != '/')
				;
		if (is_up || span_eq(segment, SPAN("."))) {
			if (next == len)
				path[out++] = '/';
		} else {
			memmove(path + out, path + in, next - in);
			out += next - in;
		}
		in = next;
	}
	return (ssize_t)out;
}

static size_t merge_slashes(char *path, size_t len)
{
	size_t out = 0;

	for (size_t in = 0; in < len; in++)
		if (path[in] != '/' || out == 0 || path[out - 1] != '/')
			path[out++] = path[in];
	return out;
}

ssize_t path_normalize(struct span raw, char *to)
{
	ssize_t len;

	if (raw.len == 0 || raw.ptr[0] != '/')
		return -EINVAL;
	len = decode(raw, to);
	if (len < 0)
		return len;
	len = remove_dot_segments(to, (size_t)len);
	return len < 0 ? len : (ssize_t)merge_slashes(to, (size_t)len);
}

/*
 * The length of the path in front of "?query".  *ret_is_plain: normalising would not change it;
 * false too often ("/.x"), true never wrongly.
 */
static size_t path_len(struct span text, bool *ret_is_plain)
{
	const char *p = text.ptr, *end = text.ptr + text.len;

	*ret_is_plain = true;
	for (; p < end && *p != '?'; p++) {
		if (*p == '%' || (*p == '/' && end - p > 1 && (p[1] == '/' || p[1] == '.')))
			*ret_is_plain = false;
		p = scan_class(p + 1, end, CLASS_PLAIN) - 1;
	}
	return (size_t)(p - text.ptr);
}

/* `text` is "/path[?query]". */
static unsigned set_path(struct request *req, struct span text)
{
	bool is_plain;
	size_t len = path_len(text, &is_plain);
	ssize_t decoded;

	req->raw_path = req->path = span_of(text.ptr, len);
	req->has_query = len < text.len;
	if (req->has_query)
		req->query = span_of(text.ptr + len + 1, text.len - len - 1);
	if (is_plain)
		return 0;
	if (len > REQUEST_SCRATCH_SIZE)
		return 414;
	decoded = path_normalize(req->raw_path, req->scratch);
	if (decoded < 0)
		return 400;
	req->path = span_of(req->scratch, (size_t)decoded);
	return 0;
}

/* RFC 9110 9.3.6: host and port, neither empty. */
static unsigned authority_form(struct request *req)
{
	struct span port;
	uint64_t number;

	req->authority = req->target;
	if (authority_split(req->authority, &req->host, &port) || span_to_u64(port, &number) ||
	    number == 0)
		return 400;
	return 0;
}

static struct span after_scheme(struct span target)
{
	static const struct span schemes[] = {SPAN("http://"), SPAN("https://")};

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		size_t len = schemes[i].len;

		if (target.len >= len && span_ieq(span_of(target.ptr, len), schemes[i]))
			return span_of(target.ptr + len, target.len - len);
	}
	return span_of(NULL, 0);
}

/* RFC 9112 3.2.2: the authority replaces Host.  An empty path is "/", for OPTIONS without query "*"
 * (3.2.4). */
static unsigned absolute_form(struct request *req)
{
	struct span rest = after_scheme(req->target), port;
	size_t len = 0;

	if (!rest.ptr)
		return 400;
	while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '?')
		len++;
	req->authority = span_of(rest.ptr, len);
	if (authority_split(req->authority, &req->host, &port))
		return 400;
	rest = span_of(rest.ptr + len, rest.len - len);
	if (rest.len > 0 && rest.ptr[0] == '/')
		return set_path(req, rest);
	req->raw_path = req->path = SPAN("/");
	if (rest.len > 0) {
		req->has_query = true;
		req->query = span_of(rest.ptr + 1, rest.len - 1);
	} else if (req->method == METHOD_OPTIONS) {
		req->raw_path = req->path = SPAN("*");
	}
	return 0;
}

/* Apart from the usual form, so that it does not pay for the check of the stack that the others need. */
static __attribute__((noinline)) unsigned unusual_form(struct request *req)
{
	if (req->method == METHOD_CONNECT)
		return authority_form(req);
	if (span_eq(req->target, SPAN("*"))) {
		req->raw_path = req->path = req->target;
		return req->method == METHOD_OPTIONS ? 0 : 400;
	}
	return absolute_form(req);
}

unsigned target_parse(struct request *req)
{
	if (req->method != METHOD_CONNECT && req->target.len > 0 && req->target.ptr[0] == '/')
		return set_path(req, req->target);
	return unusual_form(req);
}

static bool is_ipv6(struct span s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (s.len >= sizeof(text) || memchr(s.ptr, '\0', s.len))
		return false;
	memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	return inet_pton(AF_INET6, text, &addr) == 1;
}

/* RFC 3986 3.2.2 reg-name (an IPv4 address is one too), percent-encoding included.  Returns where
 * it ends. */
static const char *skip_name(const char *p, const char *end)
{
	for (;;) {
		p = scan_class(p, end, CLASS_HOST);
		if (end - p < 3 || *p != '%' || hex_value(p[1]) < 0 || hex_value(p[2]) < 0)
			return p;
		p += 3;
	}
}

static const char *skip_host(const char *p, const char *end)
{
	const char *bracket;

	if (p == end || *p != '[')
		return skip_name(p, end);
	bracket = memchr(p, ']', (size_t)(end - p));
	if (!bracket || !is_ipv6(span_of(p + 1, (size_t)(bracket - p - 1))))
		return p;
	return bracket + 1;
}

/* Empty, or a number of 16 bits; leading zeros are allowed, but not without end. */
static bool is_port(struct span s)
{
	unsigned value = 0;

	if (s.len > 8)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
		value = value * 10 + (unsigned)(s.ptr[i] - '0');
	}
	return value <= UINT16_MAX;
}

/* Apart for the same reason. */
static __attribute__((noinline)) int split_unusual(struct span authority, struct span *ret_host, struct span *ret_port)
{
	const char *end = authority.ptr + authority.len;
	const char *p = skip_host(authority.ptr, end);

	if (p == authority.ptr)
		return -EINVAL;
	*ret_host = span_of(authority.ptr, (size_t)(p - authority.ptr));
	*ret_port = span_of(p, 0);
	if (p == end)
		return 0;
	if (*p++ != ':')
		return -EINVAL;
	*ret_port = span_of(p, (size_t)(end - p));
	return is_port(*ret_port) ? 0 : -EINVAL;
}

int authority_split(struct span authority, struct span *ret_host, struct span *ret_port)
{
	if (authority.len == 0)
		return -EINVAL;
	if (!scan_is_plain_host(authority.ptr, authority.len))
		return split_unusual(authority, ret_host, ret_port);
	*ret_host = authority;
	*ret_port = span_of(authority.ptr + authority.len, 0);
	return 0;
}
