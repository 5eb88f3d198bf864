/* SPDX-License-Identifier: MIT */
/* Changes as bytes; see store_wire.h. */
#include "app/store_wire.h"

#include "base/err.h"

size_t store_wire_head_len(const struct store_change *c)
{
	return sizeof(struct store_wire_change) + c->key.len + c->type.len + c->conditions.if_match.len +
	       c->conditions.if_none_match.len;
}

void store_wire_print(const struct store_change *c, uint32_t id, char *to)
{
	const struct change_conditions *cond = &c->conditions;
	size_t head_len = store_wire_head_len(c);
	struct store_wire_change h = {
		.size = (uint32_t)(head_len + c->content.len),
		.id = id,
		.kind = (uint8_t)c->kind,
		.flags = (uint8_t)((cond->has_if_match ? STORE_WIRE_HAS_IF_MATCH : 0) |
				   (cond->has_if_none_match ? STORE_WIRE_HAS_IF_NONE_MATCH : 0) |
				   (cond->has_unmodified_since ? STORE_WIRE_HAS_UNMODIFIED : 0)),
		.key_len = (uint16_t)c->key.len,
		.type_len = (uint16_t)c->type.len,
		.if_match_len = (uint16_t)cond->if_match.len,
		.if_none_match_len = (uint16_t)cond->if_none_match.len,
		.unmodified_since_s = cond->unmodified_since_s,
	};
	struct buf b;

	buf_init(&b, to, head_len);
	buf_add(&b, &h, sizeof(h));
	buf_add_span(&b, c->key);
	buf_add_span(&b, c->type);
	buf_add_span(&b, cond->if_match);
	buf_add_span(&b, cond->if_none_match);
	BUG_ON(b.len != head_len);
}

static struct span take(struct span *from, size_t len)
{
	struct span part = span_of(from->ptr, len);

	*from = span_of(from->ptr + len, from->len - len);
	return part;
}

static bool is_sane(const struct store_wire_change *h, uint64_t content_max)
{
	size_t head_len = sizeof(*h) + h->key_len + h->type_len + h->if_match_len + h->if_none_match_len;

	return h->kind >= STORE_PUT && h->kind <= STORE_DELETE && h->key_len > 0 && h->key_len <= STORE_KEY_MAX &&
	       h->type_len <= STORE_TYPE_MAX && h->if_match_len <= STORE_CONDITION_MAX &&
	       h->if_none_match_len <= STORE_CONDITION_MAX && h->size >= head_len && h->size - head_len <= content_max;
}

enum store_wire_state store_wire_parse(struct span in, uint64_t content_max, struct store_change *ret_change,
				       uint32_t *ret_id, size_t *ret_size)
{
	struct store_wire_change h;

	*ret_size = 0;
	if (in.len < sizeof(h))
		return STORE_WIRE_MORE;
	memcpy(&h, in.ptr, sizeof(h));
	if (!is_sane(&h, content_max))
		return STORE_WIRE_BAD;
	*ret_size = h.size;
	if (in.len < h.size)
		return STORE_WIRE_MORE;
	in.len = h.size;
	take(&in, sizeof(h));
	*ret_id = h.id;
	*ret_change = (struct store_change){
		.kind = (enum store_change_kind)h.kind,
		.conditions = {
			.has_if_match = h.flags & STORE_WIRE_HAS_IF_MATCH,
			.has_if_none_match = h.flags & STORE_WIRE_HAS_IF_NONE_MATCH,
			.has_unmodified_since = h.flags & STORE_WIRE_HAS_UNMODIFIED,
			.unmodified_since_s = h.unmodified_since_s,
		},
	};
	ret_change->key = take(&in, h.key_len);
	ret_change->type = take(&in, h.type_len);
	ret_change->conditions.if_match = take(&in, h.if_match_len);
	ret_change->conditions.if_none_match = take(&in, h.if_none_match_len);
	ret_change->content = in;
	/* A name that a listing could not show, or that is a collection. */
	return store_is_name(ret_change->key) && !store_is_collection(ret_change->key) ? STORE_WIRE_DONE : STORE_WIRE_BAD;
}
