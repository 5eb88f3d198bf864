/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any bytes as the beginning of a connection.  Beyond not crashing: a verdict does
 * not change with the bytes that follow, what comes in pieces ends as it does at once, and addresses
 * that were read are the same after they were written and read again.
 */
#include <stdlib.h>

#include "base/err.h"
#include "net/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum proxy_verdict parse(const uint8_t *data, size_t len, struct proxy_header *ret)
{
	/* Of exactly its size, so that one byte too far is seen. */
	char *copy = malloc(MAX(len, 1u));
	enum proxy_verdict verdict;

	BUG_ON(!copy);
	memcpy(copy, data, len);
	verdict = proxy_header_parse(copy, len, ret);
	free(copy);
	return verdict;
}

static void check_again(const struct proxy_header *h)
{
	union sock_addr source = h->source, destination = h->destination;

	sock_addr_unmap(&source);
	sock_addr_unmap(&destination);
	for (unsigned version = 1; version <= 2; version++) {
		char memory[PROXY_HEADER_WRITE_MAX];
		struct proxy_header again;
		struct buf b;

		buf_init(&b, memory, sizeof(memory));
		(version == 1 ? proxy_header_write_v1 : proxy_header_write_v2)(&b, &source,
									       &destination);
		BUG_ON(b.is_truncated);
		BUG_ON(parse((uint8_t *)b.ptr, b.len, &again) != PROXY_HEADER_DONE);
		BUG_ON(again.len != b.len || again.is_local != h->is_local);
		sock_addr_unmap(&again.source);
		sock_addr_unmap(&again.destination);
		BUG_ON(memcmp(&again.source, &source, sizeof(source)) != 0);
		BUG_ON(memcmp(&again.destination, &destination, sizeof(destination)) != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum proxy_verdict whole, piece = PROXY_HEADER_MORE;
	struct proxy_header h, early;
	size_t len = 0;

	whole = parse(data, size, &h);
	while (len < size && piece == PROXY_HEADER_MORE)
		piece = parse(data, ++len, &early);
	BUG_ON(piece != whole);
	BUG_ON(whole == PROXY_HEADER_MORE && size >= PROXY_HEADER_MAX);
	if (whole != PROXY_HEADER_DONE)
		return 0;
	BUG_ON(h.len != len || early.len != len || len > PROXY_HEADER_MAX);
	BUG_ON(memcmp(&h.source, &early.source, sizeof(h.source)) != 0);
	BUG_ON(h.is_local && (h.source.any.sa_family || h.destination.any.sa_family));
	check_again(&h);
	return 0;
}
