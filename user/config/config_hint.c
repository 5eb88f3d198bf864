/* SPDX-License-Identifier: MIT */
/*
 * What to say after an unknown name.  In this order: the name is right but stands in the wrong
 * section; it is near to a name of this section; it is near to a name of another; neither, then the
 * names that are known here.
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/suggest.h"
#include "config/config_schema.h"

static void __attribute__((format(printf, 2, 3))) append(char *out, const char *fmt, ...)
{
	size_t len = strlen(out);
	va_list args;

	va_start(args, fmt);
	vsnprintf(out + len, CONFIG_HINT_TEXT - len, fmt, args);
	va_end(args);
}

/* Offers every key and every section within `section`. */
static void offer_names(struct suggest *s, enum config_section_id section)
{
	const struct config_section *here = &config_sections[section];

	for (unsigned i = 0; i < here->key_count; i++)
		suggest_offer(s, here->keys[i].name);
	for (unsigned id = CONFIG_ROOT + 1; id < CONFIG_SECTION_COUNT; id++) {
		if (config_sections[id].parent == section)
			suggest_offer(s, config_sections[id].name);
	}
}

static bool hint_misplaced(enum config_section_id section, struct span name, char *out)
{
	unsigned count = 0;

	for (unsigned id = 0; id < CONFIG_SECTION_COUNT; id++) {
		if (id == section || !config_is_known((enum config_section_id)id, name))
			continue;
		append(out, "%s %s", count++ ? " or" : "; it belongs",
		       config_section_where((enum config_section_id)id));
	}
	return count > 0;
}

static bool hint_nearest(enum config_section_id section, const char *name, char *out)
{
	struct suggest s;
	unsigned nearest = section;

	suggest_init(&s, name);
	offer_names(&s, section);
	for (unsigned id = 0; !s.best && id < CONFIG_SECTION_COUNT; id++) {
		offer_names(&s, (enum config_section_id)id);
		nearest = id;
	}
	if (!s.best)
		return false;
	append(out, "; did you mean '%s'", s.best);
	if (nearest != section)
		append(out, " %s", config_section_where((enum config_section_id)nearest));
	append(out, "?");
	return true;
}

static void hint_known(enum config_section_id section, char *out)
{
	const struct config_section *here = &config_sections[section];
	const char *separator = "; known here: ";

	for (unsigned i = 0; i < here->key_count; i++) {
		append(out, "%s%s", separator, here->keys[i].name);
		separator = ", ";
	}
	for (unsigned id = CONFIG_ROOT + 1; id < CONFIG_SECTION_COUNT; id++) {
		if (config_sections[id].parent != section)
			continue;
		append(out, "%s%s", separator, config_sections[id].name);
		separator = ", ";
	}
}

char *config_unknown_hint(enum config_section_id section, struct span name,
			  char out[CONFIG_HINT_TEXT])
{
	char word[SUGGEST_WORD_MAX + 1];

	out[0] = '\0';
	snprintf(word, sizeof(word), "%.*s", SPAN_ARG(name));
	if (!hint_misplaced(section, name, out) &&
	    (name.len > SUGGEST_WORD_MAX || !hint_nearest(section, word, out)))
		hint_known(section, out);
	return out;
}
