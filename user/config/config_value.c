/* SPDX-License-Identifier: MIT */
/* Text to field: numbers with their units and ranges, choices, texts, lists. */
#include "config/config_value.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/suggest.h"
#include "config/config.h"
#include "config/config_units.h"

static void *field_of(const struct config_key *key, void *base)
{
	return (char *)base + key->offset;
}

static void store_number(const struct config_key *key, void *base, uint64_t value)
{
	uint32_t narrow = (uint32_t)value;

	if (key->width == sizeof(uint64_t))
		memcpy(field_of(key, base), &value, sizeof(value));
	else
		memcpy(field_of(key, base), &narrow, sizeof(narrow));
}

/* Bytes or the field's unit, as one writes it. */
static char *print_number(const struct config_key *key, uint64_t value, char out[CONFIG_UNIT_TEXT])
{
	if (key->kind == KIND_DURATION)
		return config_duration_print(value * key->unit_ns, out);
	if (key->kind == KIND_SIZE)
		return config_size_print(value, out);
	if (key->kind == KIND_RATE)
		return config_rate_print(value, out);
	snprintf(out, CONFIG_UNIT_TEXT, "%" PRIu64, value);
	return out;
}

static int parse_count(struct span text, uint64_t *ret_value, char *why)
{
	uint64_t value = 0;

	if (text.len == 0 || strspn(text.ptr, "0123456789") != text.len) {
		snprintf(why, CONFIG_WHY_TEXT, "is no whole number");
		return -EINVAL;
	}
	for (size_t i = 0; i < text.len; i++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(text.ptr[i] - '0'), &value)) {
			value = UINT64_MAX; /* above every maximum: out of range */
			break;
		}
	}
	*ret_value = value;
	return 0;
}

static int parse_duration(const struct config_key *key, struct span text, uint64_t *ret_value,
			  char *why)
{
	char unit[CONFIG_UNIT_TEXT];
	uint64_t ns = 0;
	enum config_unit_fault fault = config_duration_parse(text, &ns);

	if (!fault && ns % key->unit_ns) {
		snprintf(why, CONFIG_WHY_TEXT, "is too fine: expected a multiple of %s",
			 config_duration_print(key->unit_ns, unit));
		return -EINVAL;
	}
	*ret_value = ns / key->unit_ns;
	if (fault)
		snprintf(why, CONFIG_WHY_TEXT, "%s", config_duration_fault(fault));
	return fault ? -EINVAL : 0;
}

static int parse_number(const struct config_key *key, const char *text, uint64_t *ret_value,
			char *why)
{
	enum config_unit_fault fault;

	if (key->zero && strcmp(text, key->zero) == 0) {
		*ret_value = 0;
		return 0;
	}
	if (key->kind == KIND_COUNT)
		return parse_count(span_str(text), ret_value, why);
	if (key->kind == KIND_DURATION)
		return parse_duration(key, span_str(text), ret_value, why);
	if (key->kind == KIND_RATE)
		fault = config_rate_parse(span_str(text), ret_value);
	else
		fault = config_size_parse(span_str(text), ret_value);
	if (fault)
		snprintf(why, CONFIG_WHY_TEXT, "%s",
			 key->kind == KIND_RATE ? config_rate_fault(fault) : config_size_fault(fault));
	return fault ? -EINVAL : 0;
}

/* Behind "is no whole number" or "is out of range". */
static void add_range(const struct config_key *key, char *why)
{
	char low[CONFIG_UNIT_TEXT], high[CONFIG_UNIT_TEXT];
	size_t len = strlen(why);

	snprintf(why + len, CONFIG_WHY_TEXT - len, "%s expected %s to %s%s%s",
		 strchr(why, ':') ? ";" : ":", print_number(key, key->min, low),
		 print_number(key, key->max, high), key->zero ? ", or " : "",
		 key->zero ? key->zero : "");
}

static int set_number(const struct config_key *key, void *base, const char *text, char *why)
{
	bool has_zero =
		key->zero && (strcmp(key->zero, "off") == 0 || strcmp(text, key->zero) == 0);
	uint64_t value = 0;
	int r = parse_number(key, text, &value, why);

	if (!r && !(value == 0 && has_zero) && (value < key->min || value > key->max)) {
		snprintf(why, CONFIG_WHY_TEXT, "is out of range");
		r = -EINVAL;
	}
	if (r)
		add_range(key, why);
	else
		store_number(key, base, value);
	return r;
}

/* "200-299", or "200" for just that one. */
static int set_range(const struct config_key *key, void *base, const char *text, char *why)
{
	const char *dash = strchr(text, '-');
	size_t len = dash ? (size_t)(dash - text) : strlen(text);
	struct span last = dash ? span_str(dash + 1) : span_of(text, len);
	uint64_t from = 0, to = 0;

	if (span_to_u64(span_of(text, len), &from) || span_to_u64(last, &to))
		snprintf(why, CONFIG_WHY_TEXT, "is neither a number nor two, such as %s",
			 key->initial);
	else if (from < key->min || to > key->max)
		snprintf(why, CONFIG_WHY_TEXT, "is out of range");
	else if (from > to)
		snprintf(why, CONFIG_WHY_TEXT, "ends before it begins");
	if (*why) {
		add_range(key, why);
		return -EINVAL;
	}
	*(unsigned *)field_of(key, base) = (unsigned)from;
	*(unsigned *)((char *)base + key->count_offset) = (unsigned)to;
	return 0;
}

static int set_bool(const struct config_key *key, void *base, const char *text, char *why)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};

	for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(text, words[i]) != 0)
			continue;
		*(bool *)field_of(key, base) = (i % 2 == 1) != key->is_inverted;
		return 0;
	}
	snprintf(why, CONFIG_WHY_TEXT,
		 "is neither true nor false (yes, no, on, off are taken too)");
	return -EINVAL;
}

static int find_choice(const char *const *names, const char *text)
{
	for (int i = 0; names && names[i]; i++) {
		if (strcmp(names[i], text) == 0)
			return i;
	}
	return -1;
}

static void explain_choice(const struct config_key *key, const char *text, char *why)
{
	unsigned count = 0;
	const char *near;
	size_t len;

	while (key->choices[count])
		count++;
	near = suggest_nearest(text, key->choices, count);
	if (near)
		snprintf(why, CONFIG_WHY_TEXT, "is unknown; did you mean '%s'? known:", near);
	else
		snprintf(why, CONFIG_WHY_TEXT, "is unknown; known:");
	for (unsigned i = 0; i < count; i++) {
		len = strlen(why);
		snprintf(why + len, CONFIG_WHY_TEXT - len, " %s", key->choices[i]);
	}
}

static int set_choice(const struct config_key *key, void *base, const char *text, char *why)
{
	int choice = find_choice(key->choices, text);

	if (choice < 0) {
		explain_choice(key, text, why);
		return -EINVAL;
	}
	store_number(key, base, (uint64_t)choice);
	return 0;
}

static int set_text(const struct config_key *key, void *base, const char *text, char *why)
{
	char **field = field_of(key, base), *copy = NULL;

	if (!key->zero || strcmp(text, key->zero) != 0) {
		if (key->check)
			key->check(text, why, CONFIG_WHY_TEXT);
		if (*why)
			return -EINVAL;
		copy = strdup(text);
		if (!copy)
			return -ENOMEM;
	}
	free(*field);
	*field = copy;
	return 0;
}

int config_value_clear(const struct config_key *key, void *base)
{
	unsigned *count = (unsigned *)((char *)base + key->count_offset);
	char ***field = field_of(key, base);

	while (*count)
		free((*field)[--*count]);
	if (!*field)
		*field = calloc(1, sizeof(**field));
	return *field ? 0 : -ENOMEM;
}

int config_value_add(const struct config_key *key, void *base, const char *text,
		     char why[CONFIG_WHY_TEXT])
{
	unsigned *count = (unsigned *)((char *)base + key->count_offset);
	char ***field = field_of(key, base), **items, *copy;

	why[0] = '\0';
	if (key->check)
		key->check(text, why, CONFIG_WHY_TEXT);
	if (*why)
		return -EINVAL;
	copy = strdup(text);
	items = copy ? realloc(*field, (*count + 1) * sizeof(*items)) : NULL;
	if (!items) {
		free(copy);
		return -ENOMEM;
	}
	items[(*count)++] = copy;
	*field = items;
	return 0;
}

int config_value_set(const struct config_key *key, void *base, const char *text,
		     char why[CONFIG_WHY_TEXT])
{
	why[0] = '\0';
	switch (key->kind) {
	case KIND_BOOL:
		return set_bool(key, base, text, why);
	case KIND_COUNT:
	case KIND_SIZE:
	case KIND_DURATION:
	case KIND_RATE:
		return set_number(key, base, text, why);
	case KIND_CHOICE:
		return set_choice(key, base, text, why);
	case KIND_TEXT:
	case KIND_HANDLER:
		return set_text(key, base, text, why);
	case KIND_RANGE:
		return set_range(key, base, text, why);
	case KIND_LIST:
		return config_value_add(key, base, text, why);
	}
	return -EINVAL;
}

int config_value_defaults(enum config_section_id section, void *base)
{
	const struct config_section *s = &config_sections[section];
	char why[CONFIG_WHY_TEXT];

	for (unsigned i = 0; i < s->key_count; i++) {
		struct config_key key = s->keys[i];
		int r;

		if (!key.initial)
			continue;
		key.check = NULL;
		r = config_value_set(&key, base, key.initial, why);
		BUG_ON(r == -EINVAL); /* a default our own table does not take */
		if (r)
			return r;
	}
	return 0;
}
