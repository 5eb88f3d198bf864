/* SPDX-License-Identifier: MIT */
/* A file as the answer: 200, 206 (one range, or several as multipart/byteranges), 304, 412, 416
 * (RFC 9110). */
#include "app/static_route.h"

#include "app/conditional.h"
#include "app/range.h"
#include "base/random.h"

#define BOUNDARY_LEN  24
#define PART_HEAD_MAX 512 /* bytes; a media type of the table is far shorter */

/* What identifies the representation and belongs to a 304 too (RFC 9110 15.4.5). */
static void add_identity(struct reply *reply, const struct file *f, bool varies)
{
	reply_add(reply, SPAN("ETag"), file_etag(f));
	if (varies)
		reply_add(reply, SPAN("Vary"), SPAN("Accept-Encoding"));
}

static void add_head(struct reply *reply, const struct file *f, bool varies)
{
	reply->block = file_head(f, FILE_HEAD_TYPE | (varies ? FILE_HEAD_VARY : 0));
}

static void send_whole(const struct request *req, struct reply *reply, struct file *f, bool varies)
{
	add_head(reply, f, varies);
	reply_begin(reply, f->size);
	if (f->size && req->method == METHOD_GET)
		file_write(f, reply, 0, f->size);
	reply_end(reply);
}

static void send_one_range(struct reply *reply, struct file *f, bool varies,
			   const struct byte_range *range)
{
	reply_set_status(reply, 206);
	add_head(reply, f, varies);
	reply_addf(reply, SPAN("Content-Range"), "bytes %llu-%llu/%llu",
		   (unsigned long long)range->first,
		   (unsigned long long)(range->first + range->len - 1),
		   (unsigned long long)f->size);
	reply_begin(reply, range->len);
	file_write(f, reply, range->first, range->len);
	reply_end(reply);
}

/* Of a text that must not occur in the file by accident. */
static void make_boundary(char out[BOUNDARY_LEN])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
	uint64_t bits = 0;

	for (int i = 0; i < BOUNDARY_LEN; i++) {
		if (i % 12 == 0)
			bits = random_u64();
		out[i] = digits[bits & 31];
		bits >>= 5;
	}
}

static void print_part_head(struct buf *b, const struct file *f, struct span boundary,
			    const struct byte_range *range)
{
	buf_add_lit(b, "\r\n--");
	buf_add_span(b, boundary);
	buf_add_lit(b, "\r\nContent-Type: ");
	buf_add_span(b, f->type);
	buf_add_lit(b, "\r\nContent-Range: bytes ");
	buf_add_u64(b, range->first);
	buf_add_char(b, '-');
	buf_add_u64(b, range->first + range->len - 1);
	buf_add_char(b, '/');
	buf_add_u64(b, f->size);
	buf_add_lit(b, "\r\n\r\n");
}

/* "\r\n--boundary--\r\n" */
#define CLOSE_LEN (BOUNDARY_LEN + 8)

static uint64_t multipart_length(const struct file *f, struct span boundary,
				 const struct range_set *set)
{
	uint64_t length = CLOSE_LEN;
	char memory[PART_HEAD_MAX];

	for (unsigned i = 0; i < set->count; i++) {
		struct buf b;

		buf_init(&b, memory, sizeof(memory));
		print_part_head(&b, f, boundary, &set->ranges[i]);
		length += b.len + set->ranges[i].len;
	}
	return length;
}

/* RFC 9110 14.6 */
static void send_ranges(struct reply *reply, struct file *f, bool varies,
			const struct range_set *set)
{
	char text[BOUNDARY_LEN], memory[PART_HEAD_MAX];
	struct span boundary = span_of(text, sizeof(text));
	struct buf b;

	make_boundary(text);
	reply_set_status(reply, 206);
	reply_addf(reply, SPAN("Content-Type"), "multipart/byteranges; boundary=%.*s",
		   SPAN_ARG(boundary));
	reply->block = file_head(f, varies ? FILE_HEAD_VARY : 0);
	reply_begin(reply, multipart_length(f, boundary, set));
	for (unsigned i = 0; i < set->count; i++) {
		buf_init(&b, memory, sizeof(memory));
		print_part_head(&b, f, boundary, &set->ranges[i]);
		reply_write(reply, b.ptr, b.len);
		file_write(f, reply, set->ranges[i].first, set->ranges[i].len);
	}
	buf_init(&b, memory, sizeof(memory));
	buf_add_lit(&b, "\r\n--");
	buf_add_span(&b, boundary);
	buf_add_lit(&b, "--\r\n");
	reply_write(reply, b.ptr, b.len);
	reply_end(reply);
}

static void refuse_range(struct reply *reply, const struct file *f)
{
	reply_addf(reply, SPAN("Content-Range"), "bytes */%llu", (unsigned long long)f->size);
	reply_status_page(reply, 416);
}

static struct validators validators_of(const struct file *f)
{
	return (struct validators){
		.etag = file_etag(f),
		.modified = span_of(f->modified, HTTP_DATE_LEN),
		.modified_s = f->modified_s,
		.is_strong = !f->is_fresh,
	};
}

/* True when the preconditions have answered. */
static bool is_settled(const struct request *req, struct reply *reply, const struct file *f,
		       bool varies)
{
	struct validators v = validators_of(f);

	switch (conditional_check(req, &v)) {
	case CONDITIONAL_NOT_MODIFIED:
		reply_set_status(reply, 304);
		add_identity(reply, f, varies);
		reply_begin(reply, f->size);
		reply_end(reply);
		return true;
	case CONDITIONAL_FAILED:
		reply_status_page(reply, 412);
		return true;
	case CONDITIONAL_PROCEED:
		break;
	}
	return false;
}

static void send_partial(const struct request *req, struct reply *reply, struct file *f,
			 bool varies)
{
	struct validators v = validators_of(f);
	enum range_result result = RANGE_IGNORE;
	struct range_set set;

	if (conditional_allows_range(req, &v))
		result = range_parse(request_header(req, HEADER_RANGE), f->size, &set);
	if (result == RANGE_UNSATISFIABLE)
		refuse_range(reply, f);
	else if (result == RANGE_PARTIAL && set.count == 1)
		send_one_range(reply, f, varies, &set.ranges[0]);
	/* Content-Encoding over a multipart body would claim that the multipart is what was
	 * compressed. */
	else if (result == RANGE_PARTIAL && f->encoding == ENCODING_IDENTITY)
		send_ranges(reply, f, varies, &set);
	else
		send_whole(req, reply, f, varies);
}

void static_send_file(const struct request *req, struct reply *reply, struct file *f, bool varies)
{
	if (conditional_is_asked(req) && is_settled(req, reply, f, varies))
		return;
	/* RFC 9110 14.2: Range is defined for GET alone. */
	if (req->known[HEADER_RANGE] && req->method == METHOD_GET)
		send_partial(req, reply, f, varies);
	else
		send_whole(req, reply, f, varies);
}
