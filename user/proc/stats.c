/* SPDX-License-Identifier: MIT */
/* Blocks of statistics by a table of their fields; see stats.h. */
#include "proc/stats.h"

#include <stddef.h>
#include <string.h>

#include "base/err.h"

struct field {
	const char *name;
	size_t offset;
	unsigned count;		/* of 64-bit words, or, of a state, 1 */
};

#define COUNTER(member)                                                                                                \
	{ #member, offsetof(struct stats_block, member), sizeof(((struct stats_block *)0)->member) / sizeof(uint64_t) }
#define UDP(member) { "udp." #member, offsetof(struct stats_block, udp.member), 1 }
#define STATE(member) { #member, offsetof(struct stats_block, member), 1 }

static const struct field counters[] = {
	COUNTER(accepted),
	COUNTER(requests),
	COUNTER(status),
	COUNTER(bytes_in),
	COUNTER(bytes_out),
#define X(id, text) { "closed." text, offsetof(struct stats_block, closed) + id * sizeof(uint64_t), 1 },
	CLOSE_REASONS(X)
#undef X
	COUNTER(accept_errors),
	COUNTER(accept_pauses),
	COUNTER(stalls),
	COUNTER(stall_kills),
	COUNTER(rescued),
	COUNTER(restarts),
	COUNTER(stale_events),
	COUNTER(log_lost),
	COUNTER(keepalive_reuses),
	COUNTER(moved_in),
	COUNTER(moved_out),
	COUNTER(timeouts),
	COUNTER(rate_limited),
	COUNTER(rate_unknown),
	COUNTER(memory_refused),
	COUNTER(sandbox_refused),
	UDP(in), UDP(bytes_in), UDP(echoed), UDP(forwarded), UDP(replies), UDP(out), UDP(bytes_out), UDP(held_back),
	UDP(send_busy), UDP(send_failed), UDP(joined), UDP(segmented), UDP(sessions), UDP(server_errors), UDP(strays),
#define X(id, text) { "udp.ended." text, offsetof(struct stats_block, udp.ended) + id * sizeof(uint64_t), 1 },
	UDP_ENDS(X)
#undef X
#define X(id, text) { "udp.dropped." text, offsetof(struct stats_block, udp.dropped) + id * sizeof(uint64_t), 1 },
	UDP_DROPS(X)
#undef X
#define X(name) { "websocket." #name, offsetof(struct stats_block, websocket.name), 1 },
	STATS_WEBSOCKET(X)
#undef X
#define X(name) { "redis." #name, offsetof(struct stats_block, redis.name), 1 },
	STATS_REDIS(X)
#undef X
};

/* 32 bits each. */
static const struct field states[] = { STATE(pid), STATE(generation), STATE(state), STATE(connections), STATE(udp_sessions) };

static void add(struct stats_block *to, const struct field *f, const char *block, size_t offset, unsigned count)
{
	uint64_t *sum = (uint64_t *)(void *)((char *)to + f->offset);
	const uint64_t *from = (const uint64_t *)(const void *)(block + offset);

	for (unsigned i = 0; i < MIN(f->count, count); i++)
		sum[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void stats_add(struct stats_block *to, const struct stats_block *from)
{
	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		add(to, &counters[i], (const char *)from, counters[i].offset, counters[i].count);
	hist_merge(&to->latency_us, &from->latency_us);
}

void stats_forget_gauges(struct stats_block *b)
{
	b->connections = 0;
	b->udp_sessions = 0;
	b->websocket.connections = b->websocket.remote_channels = 0;
	b->redis.connections = b->redis.channels = b->redis.subscribers = 0;
}

/* Another version --------------------------------------------------------------------------------------------- */

json_t *stats_layout(void)
{
	json_t *words = json_object(), *small = json_object();

	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		json_object_set_new(words, counters[i].name,
				    json_pack("[I, i]", (json_int_t)counters[i].offset, (int)counters[i].count));
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		json_object_set_new(small, states[i].name, json_integer((json_int_t)states[i].offset));
	return json_pack("{s:I, s:o, s:o, s:[I, I]}", "size", (json_int_t)sizeof(struct stats_block), "counters", words,
			 "states", small, "latency_us", (json_int_t)offsetof(struct stats_block, latency_us),
			 (json_int_t)sizeof(struct hist));
}

size_t stats_layout_size(const json_t *layout)
{
	json_int_t size = json_integer_value(json_object_get(layout, "size"));

	return size > 0 && size < 1 << 20 && size % (json_int_t)sizeof(uint64_t) == 0 ? (size_t)size : 0;
}

/* False: it lies, or would lie, outside or across words. */
static bool is_inside(json_int_t offset, json_int_t len, json_int_t align, size_t size)
{
	return offset >= 0 && len > 0 && offset % align == 0 && len <= (json_int_t)size &&
	       offset <= (json_int_t)size - len;
}

void stats_import(struct stats_block *to, const void *block, const json_t *layout)
{
	const json_t *words = json_object_get(layout, "counters"), *small = json_object_get(layout, "states");
	const json_t *latency = json_object_get(layout, "latency_us");
	json_int_t at = json_integer_value(json_array_get(latency, 0));
	json_int_t len = json_integer_value(json_array_get(latency, 1));
	size_t size = stats_layout_size(layout);

	for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
		const json_t *pair = json_object_get(words, counters[i].name);
		json_int_t offset = json_integer_value(json_array_get(pair, 0));
		json_int_t count = json_integer_value(json_array_get(pair, 1));

		if (pair && count < (1 << 16) && is_inside(offset, count * 8, 8, size))
			add(to, &counters[i], block, (size_t)offset, (unsigned)count);
	}
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		const json_t *place = json_object_get(small, states[i].name);
		json_int_t offset = json_integer_value(place);

		if (place && is_inside(offset, 4, 4, size))
			memcpy((char *)to + states[i].offset, (const char *)block + offset, sizeof(uint32_t));
	}
	if (latency && len == (json_int_t)sizeof(struct hist) && is_inside(at, len, 8, size))
		hist_merge(&to->latency_us, (const struct hist *)(const void *)((const char *)block + at));
}
