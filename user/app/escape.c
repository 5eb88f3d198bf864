/* SPDX-License-Identifier: MIT */
/*
 * See escape.h.  A colon is always encoded in names, so that a file called "javascript:x" is no
 * scheme; a backslash always, because browsers take "/\host" for "//host".
 */
#include "app/escape.h"

static bool is_alnum(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* RFC 3986 2.3 */
static bool is_unreserved(unsigned char c)
{
	return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static void add_percent(struct buf *b, unsigned char c)
{
	static const char digits[] = "0123456789ABCDEF";
	char text[3] = {'%', digits[c >> 4], digits[c & 15]};

	buf_add(b, text, sizeof(text));
}

static void escape_name(struct buf *b, struct span s, bool keeps_slash)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (is_unreserved(c) || (keeps_slash && c == '/'))
			buf_add_char(b, (char)c);
		else
			add_percent(b, c);
	}
}

void escape_path(struct buf *b, struct span path)
{
	escape_name(b, path, true);
}

void escape_segment(struct buf *b, struct span name)
{
	escape_name(b, name, false);
}

void escape_url(struct buf *b, struct span part)
{
	for (size_t i = 0; i < part.len; i++) {
		unsigned char c = (unsigned char)part.ptr[i];

		if (is_alnum(c) || (c && strchr("-._~:/?#[]@!$&'()*+,;=%", c)))
			buf_add_char(b, (char)c);
		else
			add_percent(b, c);
	}
}

static struct span html_of(const char *c)
{
	switch (*c) {
	case '&':
		return SPAN("&amp;");
	case '<':
		return SPAN("&lt;");
	case '>':
		return SPAN("&gt;");
	case '"':
		return SPAN("&quot;");
	case '\'':
		return SPAN("&#39;");
	}
	if ((unsigned char)*c < 0x20 || *c == 0x7f)
		return SPAN("\xef\xbf\xbd");
	return span_of(c, 1);
}

void escape_html(struct buf *b, struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		buf_add_span(b, html_of(text.ptr + i));
}
