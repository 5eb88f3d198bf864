/* SPDX-License-Identifier: MIT */
/* Accept-Encoding; see encoding.h. */
#include "app/encoding.h"

#include "base/err.h"

#define CODING_COUNT (ENCODING_IDENTITY + 1)

struct span encoding_name(enum encoding e)
{
	static const struct span names[] = {
		[ENCODING_BR] = {"br", 2},
		[ENCODING_ZSTD] = {"zstd", 4},
		[ENCODING_GZIP] = {"gzip", 4},
		[ENCODING_IDENTITY] = {"identity", 8},
	};

	return names[e];
}

struct span encoding_suffix(enum encoding e)
{
	static const struct span suffixes[] = {
		[ENCODING_BR] = {".br", 3},
		[ENCODING_ZSTD] = {".zst", 4},
		[ENCODING_GZIP] = {".gz", 3},
		[ENCODING_IDENTITY] = {"", 0},
	};

	return suffixes[e];
}

/* RFC 9110 12.4.2: 0, 0.xxx, 1, 1.000.  A malformed weight counts as 0: nothing is sent that was
 * not asked for. */
static int parse_weight(struct span s)
{
	int weight, scale = 100;

	if (!s.len || s.len > 5 || (s.ptr[0] != '0' && s.ptr[0] != '1') ||
	    (s.len > 1 && s.ptr[1] != '.'))
		return 0;
	weight = (s.ptr[0] - '0') * 1000;
	for (size_t i = 2; i < s.len; i++, scale /= 10) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return 0;
		weight += (s.ptr[i] - '0') * scale;
	}
	return weight > 1000 ? 0 : weight;
}

/* Splits "gzip;q=0.5" in name and weight. */
static struct span split_weight(struct span item, int *ret_weight)
{
	const char *semicolon = memchr(item.ptr, ';', item.len);
	struct span parameter;

	*ret_weight = 1000;
	if (!semicolon)
		return item;
	parameter =
		span_trim(span_of(semicolon + 1, (size_t)(item.ptr + item.len - semicolon - 1)));
	if (parameter.len >= 2 && (parameter.ptr[0] | 0x20) == 'q' && parameter.ptr[1] == '=')
		*ret_weight = parse_weight(span_of(parameter.ptr + 2, parameter.len - 2));
	return span_trim(span_of(item.ptr, (size_t)(semicolon - item.ptr)));
}

static void note_weight(struct encoding_weights *w, struct span name, int weight)
{
	if (span_eq(name, SPAN("*"))) {
		w->star = (int16_t)weight;
		return;
	}
	for (unsigned i = 0; i < CODING_COUNT; i++) {
		if (span_ieq(name, encoding_name(i)))
			w->of[i] = (int16_t)weight;
	}
	if (span_ieq(name, SPAN("x-gzip"))) /* RFC 9110 8.4.1.3 */
		w->of[ENCODING_GZIP] = (int16_t)weight;
}

void encoding_parse(struct span accept, struct encoding_weights *ret_weights)
{
	struct span item;

	*ret_weights = (struct encoding_weights){{-1, -1, -1, -1}, -1};
	while (span_next_item(&accept, &item)) {
		int weight;
		struct span name = split_weight(item, &weight);

		note_weight(ret_weights, name, weight);
	}
}

static int weight_of(const struct encoding_weights *w, enum encoding e)
{
	if (w->of[e] >= 0)
		return w->of[e];
	return MAX(w->star, 0);
}

enum encoding encoding_choose(const struct encoding_weights *w, unsigned available)
{
	enum encoding best = ENCODING_IDENTITY;
	int best_weight = 0;

	for (unsigned i = 0; i < CODING_COUNT; i++) {
		int weight = weight_of(w, i);

		if (weight > best_weight && (available | 1u << ENCODING_IDENTITY) & (1u << i)) {
			best = i;
			best_weight = weight;
		}
	}
	return best;
}

enum encoding encoding_choose_for(struct encoding_memo *m, struct span accept, unsigned available)
{
	unsigned at = accept.len % ENCODING_MEMO_SLOTS;
	struct encoding_weights weights;

	if (!accept.len)
		return ENCODING_IDENTITY;
	if (m->slots[at].len == accept.len && !memcmp(m->slots[at].text, accept.ptr, accept.len))
		return encoding_choose(&m->slots[at].weights, available);
	encoding_parse(accept, &weights);
	if (accept.len <= ENCODING_MEMO_TEXT) {
		m->slots[at].len = (uint8_t)accept.len;
		memcpy(m->slots[at].text, accept.ptr, accept.len);
		m->slots[at].weights = weights;
	}
	return encoding_choose(&weights, available);
}
