/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the first line is what the client asked for, the others are X-Forwarded-For
 * ("x...") and Forwarded fields, written by anybody.  Beyond not crashing: whatever stands in the
 * lists, the peer that is appended to them is the one the next proxy reads from the right; nobody
 * who is not trusted is walked past; what is printed holds no control character.
 */
#include <stdlib.h>

#include "base/err.h"
#include "http/forwarded.h"
#include "http/scan.h"
#include "http/trace.h"

#define TEXT_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct request req, next;

static bool is_first_byte_10(void *ctx, const union sock_addr *a)
{
	return a->any.sa_family == AF_INET && ntohl(a->v4.sin_addr.s_addr) >> 24 == 10;
}

static union sock_addr address(const char *text)
{
	union sock_addr a;

	BUG_ON(sock_addr_parse_host(span_str(text), &a) != 0);
	return a;
}

static struct span take_line(struct span *text)
{
	const char *lf = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
	size_t len = lf ? (size_t)(lf - text->ptr) : text->len;
	struct span line = span_of(text->ptr, len);

	*text = span_of(text->ptr + len + (lf != NULL), text->len - len - (lf != NULL));
	return line;
}

static void add_field(struct request *to, enum header_id id, struct span value)
{
	struct field *f = &to->fields[to->field_count++];

	f->id = id;
	f->value = value;
	if (!to->known[id])
		to->known[id] = (uint8_t)to->field_count;
}

/* As the guard leaves it: no control characters, no white space around a value. */
static void fill(struct span text)
{
	memset(&req, 0, offsetof(struct request, fields));
	req.authority = take_line(&text);
	while (text.len && req.field_count < REQUEST_FIELDS_MAX) {
		struct span line = take_line(&text);
		bool is_for = line.len && line.ptr[0] == 'x';

		if (is_for)
			line = span_of(line.ptr + 1, line.len - 1);
		add_field(&req, is_for ? HEADER_X_FORWARDED_FOR : HEADER_FORWARDED, span_trim(line));
	}
}

static void check_appended(enum header_id id, struct span list, const union sock_addr *peer)
{
	struct forwarded_trust trust = {is_first_byte_10, NULL};
	union sock_addr proxy = address("10.9.9.9"), client;

	BUG_ON(scan_value(list.ptr, list.ptr + list.len) != list.ptr + list.len);
	memset(&next, 0, offsetof(struct request, fields));
	add_field(&next, id, list);
	forwarded_client(&next, &proxy, &trust, &client);
	BUG_ON(memcmp(&client, peer, sizeof(client)) != 0);
}

static void check_walk(void)
{
	struct forwarded_trust trust = {is_first_byte_10, NULL};
	union sock_addr stranger = address("192.0.2.1"), proxy = address("10.0.0.1"), client;

	forwarded_client(&req, &stranger, &trust, &client);
	BUG_ON(memcmp(&client, &stranger, sizeof(client)) != 0);
	forwarded_client(&req, &proxy, &trust, &client);
	BUG_ON(client.any.sa_family != AF_INET && client.any.sa_family != AF_INET6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const peers[] = {"203.0.113.9", "2001:db8::1"};
	static char memory[TEXT_MAX];
	/* Of exactly its size, so that one byte too far is seen. */
	char *copy = malloc(MAX(size, 1u));
	struct buf b;

	BUG_ON(!copy);
	for (size_t i = 0; i < size; i++)
		copy[i] = (byte_class[data[i]] & CLASS_VALUE) || data[i] == '\n' ? (char)data[i] : '"';
	fill(span_of(copy, size));
	check_walk();
	for (unsigned i = 0; i < 2 * ARRAY_LEN(peers); i++) {
		union sock_addr peer = address(peers[i / 2]);
		struct forwarded_hop h;

		forwarded_hop_init(&h, &req, &peer, i % 2);
		buf_init(&b, memory, sizeof(memory));
		forwarded_print_for(&b, &h);
		BUG_ON(b.is_truncated);
		check_appended(HEADER_X_FORWARDED_FOR, buf_span(&b), &peer);
		buf_init(&b, memory, sizeof(memory));
		forwarded_print_forwarded(&b, &h);
		BUG_ON(b.is_truncated);
		check_appended(HEADER_FORWARDED, buf_span(&b), &peer);
	}
	trace_is_parent(span_of(copy, size));
	free(copy);
	return 0;
}
