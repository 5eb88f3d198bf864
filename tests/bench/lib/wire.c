/* SPDX-License-Identifier: MIT */
/*
 * Content, heads and bodies of both ends of the proxy's benches: see wire.h.  One message at a time
 * in each direction of a connection; nobody pipelines.
 */
#include "wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

/*
 * Small enough to stay in the second cache: the ends shall be cheap beside the proxy.  No power of
 * two, so that bytes moved by one are seen.
 */
#define TABLE_SIZE ((256u << 10) - 8)

enum chunk_state { SIZE_FIRST, SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, LINE, REST, END };

static char table[TABLE_SIZE];

uint64_t wire_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

void wire_init(void)
{
	for (size_t i = 0; i < TABLE_SIZE; i += 8) {
		uint64_t word = wire_mix(i);

		memcpy(table + i, &word, 8);
	}
}

const char *wire_content(uint64_t seed, uint64_t at, size_t *len)
{
	size_t place = (size_t)((wire_mix(seed) + at) % TABLE_SIZE);

	if (*len > TABLE_SIZE - place)
		*len = TABLE_SIZE - place;
	return table + place;
}

uint64_t wire_hash(uint64_t seed, uint64_t size)
{
	XXH64_state_t state;

	XXH64_reset(&state, 0);
	for (uint64_t at = 0; at < size;) {
		size_t len = size - at;
		const char *data = wire_content(seed, at, &len);

		XXH64_update(&state, data, len);
		at += len;
	}
	return XXH64_digest(&state);
}

/* --- heads --- */

static bool is_field(const char *line, size_t len, const char *name, const char **ret_value)
{
	size_t name_len = strlen(name);

	if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len))
		return false;
	*ret_value = line + name_len + 1;
	while (**ret_value == ' ')
		(*ret_value)++;
	return true;
}

/* The head ends in an empty line, so numbers and words end before it does. */
static int take_field(const char *line, size_t len, struct wire_head *head)
{
	const char *value;
	char *end;

	switch (line[0] | 0x20) {
	case 'c':
		if (is_field(line, len, "content-length", &value)) {
			head->length = strtoull(value, &end, 10);
			if (end == value || *end != '\r' || head->has_framing)
				return -1;
			head->framing = WIRE_SIZED;
			head->has_framing = true;
		} else if (is_field(line, len, "connection", &value)) {
			head->is_close |= !strncasecmp(value, "close\r", 6);
		}
		break;
	case 't':
		if (is_field(line, len, "transfer-encoding", &value)) {
			if (strncasecmp(value, "chunked\r", 8) || head->has_framing)
				return -1;
			head->framing = WIRE_CHUNKED;
			head->has_framing = true;
		}
		break;
	case 'u':
		head->is_upgrade |= is_field(line, len, "upgrade", &value);
		break;
	case 'e':
		head->has_expect |= is_field(line, len, "expect", &value);
		break;
	case 'x':
		if (is_field(line, len, "x-seed", &value)) {
			head->seed = strtoull(value, NULL, 16);
			head->has_seed = true;
		}
		break;
	}
	return 0;
}

static int take_first_line(const char *line, size_t len, bool is_request, struct wire_head *head)
{
	const char *space = memchr(line, ' ', len), *last;

	if (!space)
		return -1;
	if (!is_request) {
		if (len < 12 || memcmp(line, "HTTP/1.1 ", 9))
			return -1;
		head->status = (unsigned)strtoul(line + 9, NULL, 10);
		return head->status >= 100 && head->status <= 599 ? 0 : -1;
	}
	head->method = line[0];
	head->target = space + 1;
	last = memchr(space + 1, ' ', len - (size_t)(space + 1 - line));
	if (!last || memcmp(last, " HTTP/1.1", 9))
		return -1;
	head->target_len = (size_t)(last - head->target);
	return 0;
}

ssize_t wire_parse(const char *data, size_t len, bool is_request, struct wire_head *ret)
{
	const char *end = memmem(data, len, "\r\n\r\n", 4), *line = data, *stop;

	if (!end)
		return len > WIRE_HEAD_MAX ? -1 : 0;
	*ret = (struct wire_head){0};
	for (; line < end; line = stop + 2) {
		stop = memchr(line, '\r', (size_t)(end - line));
		if (!stop)
			stop = end;
		if (line == data ? take_first_line(line, (size_t)(stop - line), is_request, ret)
				 : take_field(line, (size_t)(stop - line), ret))
			return -1;
	}
	return end + 4 - data;
}

/* --- bodies that come in --- */

void wire_in_start(struct wire_in *in, const struct wire_head *head, uint64_t seed, bool is_checked)
{
	in->framing = head->framing;
	in->left = head->framing == WIRE_SIZED ? head->length : 0;
	in->seed = seed;
	in->is_checked = is_checked;
	in->is_wrong = false;
	in->chunk_state = SIZE_FIRST;
	in->count = 0;
	if (is_checked)
		XXH64_reset(&in->hash, 0);
}

static void take_bytes(struct wire_in *in, const char *data, size_t len)
{
	if (in->is_checked)
		XXH64_update(&in->hash, data, len);
	while (in->is_checked && len) {
		size_t run = len;
		const char *want = wire_content(in->seed, in->count, &run);

		if (!in->is_wrong && memcmp(data, want, run)) {
			size_t i = 0;

			while (data[i] == want[i])
				i++;
			in->is_wrong = true;
			in->wrong_at = in->count + i;
		}
		in->count += run;
		data += run;
		len -= run;
	}
	in->count += len;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'			? c - '0'
	       : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
							: -1;
}

/* One byte that is not data.  LINE begins a line of the trailer, REST is within one. */
static int take_framing(struct wire_in *in, char c)
{
	int digit = hex_digit(c);

	switch ((enum chunk_state)in->chunk_state) {
	case SIZE_FIRST:
	case SIZE:
		if (digit >= 0) {
			if (in->left >> 56)
				return -1;
			in->left = in->left << 4 | (unsigned)digit;
			in->chunk_state = SIZE;
			return 0;
		}
		if (in->chunk_state == SIZE_FIRST || (c != '\r' && c != ';'))
			return -1;
		in->chunk_state = c == ';' ? EXTENSION : SIZE_LF;
		return 0;
	case EXTENSION:
		if (c == '\r')
			in->chunk_state = SIZE_LF;
		return 0;
	case SIZE_LF:
		in->chunk_state = in->left ? DATA : LINE;
		return c == '\n' ? 0 : -1;
	case DATA_CR:
		in->chunk_state = DATA_LF;
		return c == '\r' ? 0 : -1;
	case DATA_LF:
		in->chunk_state = SIZE_FIRST;
		return c == '\n' ? 0 : -1;
	case LINE:
		in->chunk_state = c == '\r' ? END : REST;
		return 0;
	case REST:
		if (c == '\n')
			in->chunk_state = LINE;
		return 0;
	case END:
		return c == '\n' ? 1 : -1;
	default:
		return -1;
	}
}

static int take_chunks(struct wire_in *in, const char **data, size_t *len)
{
	while (*len) {
		size_t run = 1;
		int result = 0;

		if (in->chunk_state == DATA) {
			run = *len < in->left ? *len : (size_t)in->left;
			take_bytes(in, *data, run);
			in->left -= run;
			if (!in->left)
				in->chunk_state = DATA_CR;
		} else {
			result = take_framing(in, **data);
		}
		*data += run;
		*len -= run;
		if (result)
			return result;
	}
	return 0;
}

int wire_in_take(struct wire_in *in, const char **data, size_t *len)
{
	size_t run;

	if (in->framing == WIRE_CHUNKED)
		return take_chunks(in, data, len);
	run = *len < in->left ? *len : (size_t)in->left;
	if (run)
		take_bytes(in, *data, run);
	in->left -= run;
	*data += run;
	*len -= run;
	return !in->left;
}

/* --- messages that go out --- */

void wire_out_start(struct wire_out *out, enum wire_framing framing, uint64_t seed, uint64_t size)
{
	out->head_len = out->head_at = 0;
	out->framing = framing;
	out->seed = seed;
	out->size = size;
	out->at = 0;
	out->is_ended = framing != WIRE_CHUNKED;
	out->has_trailer = framing == WIRE_CHUNKED && seed % 8 == 0;
	out->chunks_len = out->chunks_at = 0;
	out->random = (uint32_t)wire_mix(seed) | 1;
}

void wire_out_head(struct wire_out *out, const char *form, ...)
{
	size_t room = sizeof(out->head) - out->head_len;
	va_list args;
	int n;

	va_start(args, form);
	n = vsnprintf(out->head + out->head_len, room, form, args);
	va_end(args);
	if (n < 0 || (size_t)n >= room)
		abort(); /* one of our own heads is too long */
	out->head_len += (size_t)n;
}

void wire_out_fini(struct wire_out *out)
{
	free(out->chunks);
	out->chunks = NULL;
	out->chunks_len = out->chunks_at = 0;
}

static size_t next_chunk_size(struct wire_out *out)
{
	static const uint32_t most[] = {16, 512, 4096, 8192};

	out->random ^= out->random << 13;
	out->random ^= out->random >> 17;
	out->random ^= out->random << 5;
	return 1 + (out->random >> 2) % most[out->random & 3];
}

/* Chunks of all sizes, one byte to 8 KiB, as many as there is room for. */
static int make_chunks(struct wire_out *out)
{
	size_t used = 0;

	if (!out->chunks && !(out->chunks = malloc(WIRE_CHUNKS)))
		return -ENOMEM;
	while (out->at < out->size) {
		size_t size = next_chunk_size(out), run;
		const char *data;

		if (size > out->size - out->at)
			size = (size_t)(out->size - out->at);
		if (used && used + size + 16 > WIRE_CHUNKS)
			break;
		used += (size_t)snprintf(out->chunks + used, 12, "%zx\r\n", size);
		for (; size; size -= run) {
			run = size;
			data = wire_content(out->seed, out->at, &run);
			memcpy(out->chunks + used, data, run);
			used += run;
			out->at += run;
		}
		memcpy(out->chunks + used, "\r\n", 2);
		used += 2;
	}
	if (out->at == out->size && used + 40 <= WIRE_CHUNKS) {
		used += (size_t)snprintf(out->chunks + used, 40, "0\r\n%s\r\n",
					 out->has_trailer ? "X-Trailer: seen\r\n" : "");
		out->is_ended = true;
	}
	out->chunks_at = 0;
	out->chunks_len = used;
	return 0;
}

static size_t add_part(struct iovec *parts, size_t *count, const char *data, size_t len)
{
	if (len)
		parts[(*count)++] = (struct iovec){.iov_base = (void *)data, .iov_len = len};
	return len;
}

static size_t gather(struct wire_out *out, struct iovec *parts, size_t *count, size_t budget)
{
	size_t total =
		add_part(parts, count, out->head + out->head_at, out->head_len - out->head_at);

	if (out->framing == WIRE_CHUNKED)
		return total + add_part(parts, count, out->chunks + out->chunks_at,
					out->chunks_len - out->chunks_at);
	for (uint64_t at = out->at;
	     out->framing == WIRE_SIZED && at < out->size && *count < 6 && total < budget;) {
		size_t run =
			out->size - at < budget - total ? (size_t)(out->size - at) : budget - total;
		const char *data = wire_content(out->seed, at, &run);

		total += add_part(parts, count, data, run);
		at += run;
	}
	return total;
}

static void sent(struct wire_out *out, size_t n)
{
	size_t head = out->head_len - out->head_at;

	if (head > n)
		head = n;
	out->head_at += head;
	n -= head;
	if (out->framing == WIRE_CHUNKED)
		out->chunks_at += n;
	else
		out->at += n;
}

int wire_out_send(struct wire_out *out, int fd, size_t budget)
{
	for (;;) {
		struct iovec parts[6];
		struct msghdr message = {.msg_iov = parts};
		size_t total;
		ssize_t n;

		if (out->framing == WIRE_CHUNKED && out->chunks_at == out->chunks_len &&
		    !out->is_ended && make_chunks(out))
			return -ENOMEM;
		total = gather(out, parts, &message.msg_iovlen, budget);
		if (!total)
			break;
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		sent(out, (size_t)n);
		budget -= (size_t)n < budget ? (size_t)n : budget;
		if ((size_t)n < total)
			return 0;
		if (!budget)
			break;
	}
	if (out->head_at < out->head_len || out->chunks_at < out->chunks_len || !out->is_ended ||
	    (out->framing == WIRE_SIZED && out->at < out->size))
		return 0;
	wire_out_fini(out);
	return 1;
}

/* --- odds and ends --- */

double wire_now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

size_t wire_raise_files(size_t wanted)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
	setrlimit(RLIMIT_NOFILE, &files);
	return files.rlim_cur;
}
