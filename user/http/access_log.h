/* SPDX-License-Identifier: MIT */
/* One line of the access log, as text; pure formatting, no files. */
#ifndef SLUICE_HTTP_ACCESS_LOG_H
#define SLUICE_HTTP_ACCESS_LOG_H

#include "base/buf.h"
#include "http/message.h"

struct reply_origin;

struct access_entry {
	const struct request *req; /* NULL when no request could be parsed */
	/* Where it is NULL for want of one: what stands in the place of its method and target (UDP); NULL: nothing. */
	const char *method, *target;
	struct span peer_host;
	uint16_t peer_port;
	unsigned status;      /* 0: closed without a reply */
	uint64_t bytes_sent;  /* head and content */
	uint64_t body_sent;   /* content */
	uint64_t wall_ns;     /* when the reply ended */
	uint64_t duration_us; /* from the first byte of the request to the last of the reply */
	const char *reason; /* termination: "done", "client_abort", ...; of the parser: "bare LF" */
	unsigned slot;
	uint64_t connection;	 /* serial number of the connection in its worker */
	uint64_t request_number; /* within the connection, from 1 */
	const struct reply_origin *origin; /* the server that was asked; NULL: none, as when its name is "" */
};

/*
 * NCSA combined (as Apache and nginx write it: peer, -, -, [local time], "request", status, body
 * bytes, "referer", "user agent") followed by reason, duration in seconds with 6 decimals and slot.
 * Every byte of a request that is not printable ASCII, and '"' and '\', is written as \xHH, so that
 * a line is always one line.  The reason stands in quotes.  Long texts are cut ("..."), so that a
 * line fits LOGFILE_LINE; its end is the caller's to write.  Into less room (LOGFILE_LINE - 1) nothing is written, and the
 * buffer is marked as truncated.
 */
void access_format_combined(struct buf *b, const struct access_entry *e);
/* One JSON object (RFC 8259) per line, into as much room; bytes that are not UTF-8 become U+FFFD. */
void access_format_json(struct buf *b, const struct access_entry *e);

#endif
