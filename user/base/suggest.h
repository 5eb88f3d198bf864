/* SPDX-License-Identifier: MIT */
/*
 * The nearest known name to one that somebody mistyped, for "did you mean": edit distance with
 * insertion, deletion, substitution and swap of neighbours each counting one (Damerau-Levenshtein,
 * each substring edited once), without regard to ASCII case.  A name counts as near when a third of
 * the longer word at most (at least one edit) differs.
 */
#ifndef SLUICE_BASE_SUGGEST_H
#define SLUICE_BASE_SUGGEST_H

#define SUGGEST_WORD_MAX 63 /* characters; a longer word is near to nothing */

struct suggest {
	const char *word; /* borrowed */
	const char *best; /* one of the names offered; NULL: none was near */
	unsigned best_distance;
};

/* Edits between the two; UINT_MAX when either is longer than SUGGEST_WORD_MAX. */
unsigned suggest_distance(const char *a, const char *b);

/* For names that come from several tables: init, offer each, read `best`.  Of equally near names
 * the first stays. */
void suggest_init(struct suggest *s, const char *word);
/* NULL is allowed and ignored; the name must outlive `s`. */
void suggest_offer(struct suggest *s, const char *name);

/* For an array of names (NULL elements are skipped): the nearest one, or NULL when none is near. */
const char *suggest_nearest(const char *word, const char *const *names, unsigned count);

#endif
