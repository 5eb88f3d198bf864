/* SPDX-License-Identifier: MIT */
/* The queue of bytes of one connection; see output.h. */
#include "http/output.h"

#include <stdlib.h>
#include <sys/uio.h>

#include "base/err.h"

/*
 * Several segments may lie in one buffer, when bytes somebody holds came between them: the buffer goes back to its
 * pool with the last of its users (segments, and the output itself while it is the tail).
 */
struct output_buffer {
	unsigned users;
	unsigned used;		/* bytes of data[] */
	char data[];
};

/* Copying this much costs less than another iovec, a hold and its release. */
#define COPY_MAX	2048
#define IOV_COUNT	64
/* One sendfile call: bounds how long one connection keeps the worker. */
#define SENDFILE_MAX	(1024u * 1024)

void output_init(struct output *o, struct pool *buffers)
{
	o->buffers = buffers;
	o->segments = o->inline_segments;
	o->first = 0;
	o->end = 0;
	o->cap = OUTPUT_INLINE_SEGMENTS;
	o->has_failed = false;
	o->error = 0;
	o->queued = 0;
	o->total = 0;
	o->tail = NULL;
}

static void buffer_put(struct output *o, struct output_buffer *b)
{
	if (b && --b->users == 0)
		pool_put(o->buffers, b);
}

static void segment_release(struct output *o, struct output_segment *s)
{
	hold_put(s->hold);
	buffer_put(o, s->buffer);
	s->hold = NULL;
	s->buffer = NULL;
}

static void drop_tail(struct output *o)
{
	buffer_put(o, o->tail);
	o->tail = NULL;
}

void output_clear(struct output *o)
{
	while (o->first < o->end)
		segment_release(o, &o->segments[o->first++]);
	drop_tail(o);
	if (o->segments != o->inline_segments)
		free(o->segments);
	output_init(o, o->buffers);
}

static void make_room(struct output *o)
{
	unsigned count = o->end - o->first;
	struct output_segment *grown;

	if (o->first > 0 && o->first >= count) {
		memcpy(o->segments, o->segments + o->first, count * sizeof(*o->segments));
		o->first = 0;
		o->end = count;
		return;
	}
	grown = malloc((size_t)o->cap * 2 * sizeof(*grown));
	if (!grown) {
		o->has_failed = true;
		return;
	}
	memcpy(grown, o->segments + o->first, count * sizeof(*grown));
	if (o->segments != o->inline_segments)
		free(o->segments);
	o->segments = grown;
	o->first = 0;
	o->end = count;
	o->cap *= 2;
}

static inline struct output_segment *segment_add(struct output *o)
{
	if (o->end == o->cap)
		make_room(o);
	return o->has_failed ? NULL : &o->segments[o->end++];
}

static void count_added(struct output *o, uint64_t len)
{
	o->queued += len;
	o->total += len;
}

static size_t tail_room(const struct output *o)
{
	return o->tail ? o->buffers->item_size - sizeof(*o->tail) - o->tail->used : 0;
}

static bool tail_renew(struct output *o)
{
	struct output_buffer *b = pool_get(o->buffers);

	if (!b) {
		o->has_failed = true;
		return false;
	}
	drop_tail(o);
	b->users = 1;
	b->used = 0;
	o->tail = b;
	return true;
}

char *output_reserve(struct output *o, size_t len)
{
	BUG_ON(len > OUTPUT_RESERVE_MAX);
	if (o->has_failed || (tail_room(o) < len && !tail_renew(o)))
		return NULL;
	return o->tail->data + o->tail->used;
}

void output_commit(struct output *o, size_t used)
{
	struct output_buffer *b = o->tail;
	char *at = b->data + b->used;
	struct output_segment *last = o->end > o->first ? &o->segments[o->end - 1] : NULL;

	if (used == 0)
		return;
	if (last && last->buffer == b && last->ptr + last->len == at) {
		last->len += used;
	} else {
		last = segment_add(o);
		if (!last)
			return;
		*last = (struct output_segment){ .ptr = at, .len = used, .fd = -1, .buffer = b };
		b->users++;
	}
	b->used += (unsigned)used;
	count_added(o, used);
}

void output_add(struct output *o, const void *data, size_t len)
{
	const char *from = data;

	while (len > 0) {
		size_t room = tail_room(o), part;

		if (o->has_failed || (room == 0 && !tail_renew(o)))
			return;
		part = MIN(len, room ? room : tail_room(o));
		memcpy(o->tail->data + o->tail->used, from, part);
		output_commit(o, part);
		from += part;
		len -= part;
	}
}

void output_add_held(struct output *o, struct span data, struct hold *hold)
{
	struct output_segment *s;

	if (data.len == 0)
		return;
	if (data.len <= COPY_MAX) {
		output_add(o, data.ptr, data.len);
		return;
	}
	s = segment_add(o);
	if (!s)
		return;
	*s = (struct output_segment){
		.ptr = data.ptr, .len = data.len, .fd = -1, .hold = hold_get(hold)
	};
	count_added(o, data.len);
}

void output_add_file(struct output *o, int fd, off_t offset, uint64_t len, struct hold *hold)
{
	struct output_segment *s;

	if (len == 0)
		return;
	s = segment_add(o);
	if (!s)
		return;
	*s = (struct output_segment){ .offset = offset, .len = len, .fd = fd, .hold = hold_get(hold) };
	count_added(o, len);
}

void output_add_pipe(struct output *o, struct pipe *pipe, unsigned len, struct hold *hold)
{
	struct output_segment *s;

	if (len == 0)
		return;
	s = segment_add(o);
	if (!s)
		return;
	*s = (struct output_segment){ .len = len, .fd = -1, .pipe = pipe, .hold = hold_get(hold) };
	count_added(o, len);
}

bool output_is_memory_only(const struct output *o)
{
	for (unsigned i = o->first; i < o->end; i++)
		if (!o->segments[i].ptr)
			return false;
	return true;
}

static void consume(struct output *o, uint64_t count)
{
	o->queued -= count;
	while (count > 0) {
		struct output_segment *s = &o->segments[o->first];
		uint64_t part = MIN(count, s->len);

		s->len -= part;
		if (s->ptr)
			s->ptr += part;
		else if (s->pipe)
			s->pipe->filled -= (unsigned)part;
		count -= part;
		if (s->len == 0) {
			segment_release(o, s);
			o->first++;
		}
	}
	if (o->first == o->end) {
		o->first = 0;
		o->end = 0;
		/* Nothing waits: only the tail still refers to its buffer, and it may be filled from its start. */
		if (o->tail)
			o->tail->used = 0;
	}
}

/* What nearly every reply is: all in one piece. */
static ssize_t write_last(const struct output_segment *s, struct conn *c, bool has_end)
{
	const struct iovec iov = { (void *)s->ptr, s->len };

	return conn_writev(c, &iov, 1, has_end);
}

static ssize_t write_memory(struct output *o, struct conn *c, bool has_end)
{
	struct iovec iov[IOV_COUNT];
	unsigned i = o->first;
	int count = 0;

	for (; i < o->end && o->segments[i].ptr && count < IOV_COUNT; i++)
		iov[count++] = (struct iovec){ (void *)o->segments[i].ptr, o->segments[i].len };
	return conn_writev(c, iov, count, i < o->end || has_end);
}

/* sendfile() fails for one of two reasons: the file cannot be read, or the socket is done with. */
static bool is_of_socket(ssize_t err)
{
	switch (-err) {
	case EPIPE:
	case ECONNRESET:
	case ECONNABORTED:
	case ENOTCONN:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case ENOBUFS:
	case ENOMEM:
		return true;
	default:
		return false;
	}
}

static enum flush_result why_stopped(ssize_t n, bool is_file)
{
	if (n == -EAGAIN)
		return FLUSH_BLOCKED;
	return is_file && !is_of_socket(n) ? FLUSH_FILE : FLUSH_FAILED;
}

static ssize_t write_segment(struct output *o, struct conn *c, struct output_segment *s, bool has_end)
{
	if (s->ptr && o->first + 1 == o->end)
		return write_last(s, c, has_end);
	if (s->ptr)
		return write_memory(o, c, has_end);
	if (s->pipe)
		return conn_splice_out(c, s->pipe->read_fd, s->len, o->first + 1 < o->end || has_end);
	return conn_sendfile(c, s->fd, &s->offset, MIN(s->len, SENDFILE_MAX));
}

enum flush_result output_flush(struct output *o, struct conn *c, uint64_t budget, bool has_end,
			       uint64_t *ret_written)
{
	uint64_t written = 0;
	enum flush_result result = FLUSH_DONE;

	while (o->first < o->end) {
		struct output_segment *s = &o->segments[o->first];
		bool is_file = !s->ptr && !s->pipe;
		ssize_t n;

		if (written >= budget) {
			result = FLUSH_BUDGET;
			break;
		}
		n = write_segment(o, c, s, has_end);
		if (n <= 0) {
			o->error = n == -EAGAIN ? o->error : (int)n;
			result = why_stopped(n, is_file);
			break;
		}
		written += (uint64_t)n;
		consume(o, (uint64_t)n);
	}
	*ret_written = written;
	return o->has_failed && result == FLUSH_DONE ? FLUSH_FAILED : result;
}

enum flush_result output_send(struct output *o, struct conn *c, const void *data, size_t len, uint64_t *ret_written)
{
	const struct iovec iov = { (void *)data, len };
	enum flush_result result;
	ssize_t n = 0;

	*ret_written = 0;
	if (output_is_empty(o) && !o->has_failed && len > 0)
		n = conn_writev(c, &iov, 1, false);
	if (n < 0 && n != -EAGAIN) {
		o->error = (int)n;
		return FLUSH_FAILED;
	}
	n = MAX(n, 0);
	o->total += (uint64_t)n;
	output_add(o, (const char *)data + n, len - (size_t)n);
	result = output_flush(o, c, UINT64_MAX, false, ret_written);
	*ret_written += (uint64_t)n;
	return result;
}
