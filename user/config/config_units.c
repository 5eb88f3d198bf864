/* SPDX-License-Identifier: MIT */
/* Durations and sizes as text; see the header for the grammar. */
#include "config/config_units.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first: the printers take the first that divides. */
static const struct unit durations[] = {
	{"d", 86400 * CONFIG_SEC}, {"h", 3600 * CONFIG_SEC}, {"m", 60 * CONFIG_SEC},
	{"s", CONFIG_SEC},	   {"ms", CONFIG_MS},	     {"us", CONFIG_US},
	{"ns", CONFIG_NS},
};

static const struct unit sizes[] = {
	{"g", UINT64_C(1) << 30},
	{"m", UINT64_C(1) << 20},
	{"k", UINT64_C(1) << 10},
	{"b", 1},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Takes the digits off the front of *text. */
static enum config_unit_fault take_number(struct span *text, uint64_t *ret_value)
{
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < text->len && is_digit(text->ptr[i]); i++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(text->ptr[i] - '0'), &value))
			return UNIT_TOO_LARGE;
	}
	if (i == 0)
		return UNIT_NO_NUMBER;
	*text = span_of(text->ptr + i, text->len - i);
	*ret_value = value;
	return UNIT_OK;
}

/* Takes the letters off the front of *text. */
static struct span take_letters(struct span *text)
{
	struct span letters = {text->ptr, 0};

	while (letters.len < text->len && is_letter(text->ptr[letters.len]))
		letters.len++;
	*text = span_of(text->ptr + letters.len, text->len - letters.len);
	return letters;
}

static enum config_unit_fault no_unit_fault(struct span rest)
{
	if (rest.len == 0)
		return UNIT_MISSING;
	return rest.ptr[0] == '.' || rest.ptr[0] == ',' ? UNIT_FRACTION : UNIT_UNKNOWN;
}

static enum config_unit_fault add_part(uint64_t number, uint64_t factor, uint64_t *total)
{
	uint64_t part;

	if (__builtin_mul_overflow(number, factor, &part) ||
	    __builtin_add_overflow(*total, part, total))
		return UNIT_TOO_LARGE;
	return UNIT_OK;
}

/* One number and unit; *next_unit is the first unit still allowed, larger ones having been used. */
static enum config_unit_fault take_part(struct span *text, unsigned *next_unit, uint64_t *total)
{
	enum config_unit_fault fault;
	struct span letters;
	uint64_t number = 0;

	fault = take_number(text, &number);
	if (fault)
		return fault;
	letters = take_letters(text);
	if (letters.len == 0)
		return no_unit_fault(*text);
	for (unsigned i = 0; i < ARRAY_LEN(durations); i++) {
		if (!span_eq(letters, span_str(durations[i].name)))
			continue;
		if (i < *next_unit)
			return UNIT_ORDER;
		*next_unit = i + 1;
		return add_part(number, durations[i].factor, total);
	}
	return UNIT_UNKNOWN;
}

enum config_unit_fault config_duration_parse(struct span text, uint64_t *ret_ns)
{
	enum config_unit_fault fault = UNIT_OK;
	unsigned next_unit = 0;
	uint64_t total = 0;

	if (!span_eq(text, SPAN("0"))) {
		do {
			fault = take_part(&text, &next_unit, &total);
		} while (!fault && text.len);
	}
	if (!fault)
		*ret_ns = total;
	return fault;
}

/* Per hour. */
static const struct unit rates[] = {
	{"r/s", 3600},
	{"r/m", 60},
	{"r/h", 1},
};

enum config_unit_fault config_rate_parse(struct span text, uint64_t *ret_per_hour)
{
	uint64_t number = 0, total = 0;
	enum config_unit_fault fault = take_number(&text, &number);

	if (fault)
		return fault;
	fault = no_unit_fault(text);
	for (unsigned i = 0; i < ARRAY_LEN(rates); i++) {
		if (span_eq(text, span_str(rates[i].name)))
			fault = add_part(number, rates[i].factor, &total);
	}
	if (!fault)
		*ret_per_hour = total;
	return fault;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

enum config_unit_fault config_size_parse(struct span text, uint64_t *ret_bytes)
{
	enum config_unit_fault fault;
	uint64_t number = 0, total = 0;

	fault = take_number(&text, &number);
	if (fault)
		return fault;
	if (text.len == 0) {
		*ret_bytes = number;
		return UNIT_OK;
	}
	fault = no_unit_fault(text);
	for (unsigned i = 0; text.len == 1 && i < ARRAY_LEN(sizes); i++) {
		if (lower(text.ptr[0]) == sizes[i].name[0])
			fault = add_part(number, sizes[i].factor, &total);
	}
	if (!fault)
		*ret_bytes = total;
	return fault;
}

const char *config_duration_fault(enum config_unit_fault fault)
{
	static const char *const texts[] = {
		[UNIT_OK] = "is a duration",
		[UNIT_NO_NUMBER] = "is no duration: a whole number and a unit, such as 20ms",
		[UNIT_FRACTION] = "is a fraction: take a smaller unit, such as 1500ms",
		[UNIT_MISSING] = "needs a unit (ns us ms s m h d), such as 20ms",
		[UNIT_UNKNOWN] = "has an unknown unit: known are ns us ms s m h d",
		[UNIT_ORDER] = "has its units out of order: larger ones first, such as 1m30s",
		[UNIT_TOO_LARGE] = "is too large",
	};

	return texts[fault];
}

const char *config_size_fault(enum config_unit_fault fault)
{
	static const char *const texts[] = {
		[UNIT_OK] = "is a size",
		[UNIT_NO_NUMBER] = "is no size: a whole number and a unit, such as 8k",
		[UNIT_FRACTION] = "is a fraction: take a smaller unit, such as 1536k",
		[UNIT_MISSING] = "needs a unit",
		[UNIT_UNKNOWN] = "has an unknown unit: known are b k m g (powers of 1024)",
		[UNIT_ORDER] = "has its units out of order",
		[UNIT_TOO_LARGE] = "is too large",
	};

	return texts[fault];
}

const char *config_rate_fault(enum config_unit_fault fault)
{
	static const char *const texts[] = {
		[UNIT_OK] = "is a rate",
		[UNIT_NO_NUMBER] = "is no rate: a whole number and a unit, such as 10r/s",
		[UNIT_FRACTION] = "is a fraction: take a longer time, such as 90r/m",
		[UNIT_MISSING] = "needs a unit (r/s r/m r/h), such as 10r/s",
		[UNIT_UNKNOWN] = "has an unknown unit: known are r/s r/m r/h",
		[UNIT_ORDER] = "has its units out of order",
		[UNIT_TOO_LARGE] = "is too large",
	};

	return texts[fault];
}

static char *print_in(const struct unit *units, unsigned count, uint64_t value, char *out)
{
	unsigned i = 0;

	while (i < count - 1 && value % units[i].factor)
		i++;
	if (value == 0)
		snprintf(out, CONFIG_UNIT_TEXT, "0");
	else
		snprintf(out, CONFIG_UNIT_TEXT, "%" PRIu64 "%s", value / units[i].factor,
			 units[i].name);
	return out;
}

char *config_duration_print(uint64_t ns, char out[CONFIG_UNIT_TEXT])
{
	return print_in(durations, ARRAY_LEN(durations), ns, out);
}

char *config_size_print(uint64_t bytes, char out[CONFIG_UNIT_TEXT])
{
	return print_in(sizes, ARRAY_LEN(sizes), bytes, out);
}

char *config_rate_print(uint64_t per_hour, char out[CONFIG_UNIT_TEXT])
{
	return print_in(rates, ARRAY_LEN(rates), per_hour, out);
}
