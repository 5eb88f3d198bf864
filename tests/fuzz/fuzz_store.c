/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: what strangers write in a path and a query of a store, and what a worker that is no longer ours might
 * send to the writer.  Beyond not crashing: a page that was taken prints and reads back as the same; a change that was
 * taken prints as the bytes it was.
 */
#include <stdlib.h>

#include "app/store_wire.h"
#include "base/err.h"

#define CONTENT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_page(struct span query)
{
	char memory[3 * STORE_KEY_MAX + 64];
	struct store_page page, again;
	struct buf b;

	if (store_page_parse(query, &page))
		return;
	BUG_ON(page.limit < 1 || page.limit > STORE_LIMIT_MAX || page.after.len > STORE_KEY_MAX);
	buf_init(&b, memory, sizeof(memory));
	store_page_print(&b, page.after, page.limit);
	BUG_ON(b.is_truncated);
	BUG_ON(store_page_parse(buf_span(&b), &again));
	BUG_ON(!span_eq(page.after, again.after) || page.limit != again.limit);
}

static void check_key(struct span path)
{
	struct span key;

	if (store_key(path, 0, &key))
		return;
	BUG_ON(key.len > STORE_KEY_MAX);
	for (size_t i = 0; i < key.len; i++)
		BUG_ON((unsigned char)key.ptr[i] < 0x20 || key.ptr[i] == 0x7f);
}

static void check_change(struct span bytes)
{
	static char head[STORE_WIRE_HEAD_MAX];
	struct store_change c, again;
	struct store_wire_change h;
	uint32_t id;
	size_t size;

	if (store_wire_parse(bytes, CONTENT_MAX, &c, &id, &size) != STORE_WIRE_DONE)
		return;
	BUG_ON(size > bytes.len || c.content.len > CONTENT_MAX || store_is_collection(c.key));
	BUG_ON(store_wire_head_len(&c) + c.content.len != size);
	store_wire_print(&c, id, head);
	memcpy(&h, head, sizeof(h));
	BUG_ON(h.size != size || h.id != id);
	/* The head alone, and then the content is missing. */
	BUG_ON(c.content.len && store_wire_parse(span_of(head, store_wire_head_len(&c)), CONTENT_MAX, &again, &id, &size) !=
					STORE_WIRE_MORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Of exactly its size, so that one byte too far is seen. */
	char *copy = malloc(MAX(size, 1u));

	BUG_ON(!copy);
	memcpy(copy, data, size);
	check_page(span_of(copy, size));
	check_key(span_of(copy, size));
	check_change(span_of(copy, size));
	free(copy);
	return 0;
}
