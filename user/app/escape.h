/* SPDX-License-Identifier: MIT */
/* Text made safe for a place: URLs (RFC 3986) and HTML.  The bounded buffer says whether everything
 * fitted. */
#ifndef SLUICE_APP_ESCAPE_H
#define SLUICE_APP_ESCAPE_H

#include "base/buf.h"

/* The longest that one byte becomes. */
#define ESCAPE_URL_MAX	3
#define ESCAPE_HTML_MAX 6

/* A decoded path: everything but unreserved characters and '/' becomes %XX ('\', ':', '?' and '%'
 * too). */
void escape_path(struct buf *b, struct span path);
/* One segment of a path: as escape_path, and '/' becomes %2F. */
void escape_segment(struct buf *b, struct span name);
/* Part of a URL as received: keeps what is legal in one, '%' included; controls, blanks, quotes,
 * '\' become %XX. */
void escape_url(struct buf *b, struct span part);
/* Text and attribute values; control characters become U+FFFD. */
void escape_html(struct buf *b, struct span text);

#endif
