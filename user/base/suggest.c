/* SPDX-License-Identifier: MIT */
/*
 * Three rows of the distance matrix are enough: the swap of neighbours looks two rows back.
 */
#include "base/suggest.h"

#include <limits.h>
#include <string.h>

#include "base/err.h"

/* Not tolower(): its answer depends on the locale, and a negative char is undefined there. */
static char fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned edit_cost(const char *a, const char *b, size_t i, size_t j, unsigned *const rows[3])
{
	unsigned *before = rows[0], *above = rows[1], *row = rows[2];
	unsigned is_other = fold(a[i - 1]) != fold(b[j - 1]);
	unsigned best = MIN(above[j] + 1, row[j - 1] + 1);

	best = MIN(best, above[j - 1] + is_other);
	if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]))
		best = MIN(best, before[j - 2] + 1);
	return best;
}

unsigned suggest_distance(const char *a, const char *b)
{
	unsigned memory[3][SUGGEST_WORD_MAX + 1];
	unsigned *rows[3] = {memory[0], memory[1], memory[2]};
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > SUGGEST_WORD_MAX || b_len > SUGGEST_WORD_MAX)
		return UINT_MAX;
	memset(memory, 0, sizeof(memory));
	for (size_t j = 0; j <= b_len; j++)
		rows[2][j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *oldest = rows[0];

		rows[0] = rows[1];
		rows[1] = rows[2];
		rows[2] = oldest;
		rows[2][0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++)
			rows[2][j] = edit_cost(a, b, i, j, rows);
	}
	return rows[2][b_len];
}

void suggest_init(struct suggest *s, const char *word)
{
	*s = (struct suggest){.word = word, .best_distance = UINT_MAX};
}

void suggest_offer(struct suggest *s, const char *name)
{
	unsigned distance, limit, longer;

	if (!name)
		return;
	distance = suggest_distance(s->word, name);
	if (distance >= s->best_distance)
		return;
	longer = (unsigned)MAX(strlen(s->word), strlen(name));
	limit = MAX(longer / 3, 1u);
	/* A word of one letter is one edit from every other such word: that is no resemblance. */
	if (distance > limit || distance >= longer)
		return;
	s->best = name;
	s->best_distance = distance;
}

const char *suggest_nearest(const char *word, const char *const *names, unsigned count)
{
	struct suggest s;

	suggest_init(&s, word);
	for (unsigned i = 0; i < count; i++)
		suggest_offer(&s, names[i]);
	return s.best;
}
