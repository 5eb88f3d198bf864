/* SPDX-License-Identifier: MIT */
/*
 * The documentation is true: every key has its row with default and range and stands in an example
 * of its section, and every configuration shown in docs/configuration.md, README.md and
 * docs/sluice.conf is one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "config/config.h"
#include "config/config_schema.h"
#include "config/config_units.h"

#define MANUAL "docs/configuration.md"

static char root[] = "/tmp/sluice-docs-XXXXXX";

/* NULL: not there. */
static char *read_text(const char *path)
{
	char *text = calloc(1, 1 << 20);
	FILE *in = fopen(path, "r");

	assert_non_null(text);
	if (!in) {
		free(text);
		return NULL;
	}
	assert_true(fread(text, 1, (1 << 20) - 1, in) > 0);
	fclose(in);
	return text;
}

/* --- the tables --- */

/* From the section's heading to the next. */
static struct span find_chapter(const char *text, enum config_section_id id)
{
	char heading[64];
	const char *start, *end;

	snprintf(heading, sizeof(heading), id == CONFIG_ROOT ? "\n## Top level\n" : "\n## `%s`\n",
		 config_sections[id].name);
	start = strstr(text, heading);
	if (!start) {
		fail_msg("no heading%s", heading);
		return SPAN("");
	}
	end = strstr(start + 4, "\n## ");
	return span_of(start, end ? (size_t)(end - start) : strlen(start));
}

static void print_range(const struct config_key *key, char *out, size_t size)
{
	char low[CONFIG_UNIT_TEXT], high[CONFIG_UNIT_TEXT];
	size_t len = 0;

	*out = '\0';
	switch (key->kind) {
	case KIND_BOOL:
		snprintf(out, size, " `true`, `false` |");
		return;
	case KIND_CHOICE:
		for (unsigned i = 0; key->choices[i]; i++)
			len += (size_t)snprintf(out + len, size - len, "%s `%s`", i ? "," : "",
						key->choices[i]);
		snprintf(out + len, size - len, " |");
		return;
	case KIND_DURATION:
		config_duration_print(key->min * key->unit_ns, low);
		config_duration_print(key->max * key->unit_ns, high);
		break;
	case KIND_SIZE:
		config_size_print(key->min, low);
		config_size_print(key->max, high);
		break;
	case KIND_RATE:
		config_rate_print(key->min, low);
		config_rate_print(key->max, high);
		break;
	case KIND_COUNT:
		snprintf(low, sizeof(low), "%llu", (unsigned long long)key->min);
		snprintf(high, sizeof(high), "%llu", (unsigned long long)key->max);
		break;
	default:
		return; /* in words */
	}
	snprintf(out, size, " `%s` to `%s`%s%s%s |", low, high, key->zero ? ", or `" : "",
		 key->zero ? key->zero : "", key->zero ? "`" : "");
}

static void check_row(struct span chapter, const struct config_key *key)
{
	char range[256], row[512];
	int len;

	print_range(key, range, sizeof(range));
	len = snprintf(row, sizeof(row), "\n| `%s` | %s%s%s |%s", key->name,
		       key->initial ? "`" : "—", key->initial ? key->initial : "",
		       key->initial ? "`" : "", range);
	if (!memmem(chapter.ptr, chapter.len, row, (size_t)len))
		fail_msg("%s has no row that begins: %s", MANUAL, row + 1);
}

/* Takes the next fenced block off *text.  Its tag goes to *ret_tag. */
static bool next_block(const char **text, struct span *ret_tag, struct span *ret_block)
{
	const char *fence = strstr(*text, "\n```"), *line, *end;

	if (!fence)
		return false;
	line = strchr(fence + 4, '\n');
	end = line ? strstr(line, "\n```") : NULL;
	if (!end) {
		fail_msg("a fenced block is not closed: %.60s", fence);
		return false;
	}
	*ret_tag = span_of(fence + 4, (size_t)(line - fence - 4));
	*ret_block = span_of(line + 1, (size_t)(end - line));
	*text = end + 4;
	return true;
}

static bool is_shown(struct span chapter, const char *name)
{
	char *text = strndup(chapter.ptr, chapter.len);
	const char *at = text;
	struct span tag, block;
	bool is_found = false;
	size_t len = strlen(name);

	while (!is_found && next_block(&at, &tag, &block)) {
		for (size_t i = 1; i + len < block.len && !is_found; i++)
			is_found = memcmp(block.ptr + i, name, len) == 0 &&
				   block.ptr[i + len] == ' ' &&
				   (block.ptr[i - 1] == ' ' || block.ptr[i - 1] == '\n');
		is_found = is_found || (block.len > len && memcmp(block.ptr, name, len) == 0);
	}
	free(text);
	return is_found;
}

static void config_docs__list_every_key(void **state)
{
	char *text = read_text(MANUAL);

	assert_non_null(text);
	for (unsigned id = 0; id < CONFIG_SECTION_COUNT; id++) {
		struct span chapter = find_chapter(text, (enum config_section_id)id);

		for (unsigned i = 0; i < config_sections[id].key_count; i++) {
			const struct config_key *key = &config_sections[id].keys[i];

			check_row(chapter, key);
			if (!is_shown(chapter, key->name))
				fail_msg("no example shows '%s'", key->name);
		}
	}
	free(text);
}

/* --- the examples --- */

/* Makes the folder ROOT/..., and those above it. */
static void make_folders(const char *path)
{
	char part[512];

	for (const char *slash = strchr(path + strlen(root), '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		mkdir(part, 0755);
	}
	mkdir(path, 0755);
}

/* A module of that name is one of the tests': build/VARIANT/tests/modules, beside which this program is. */
static void link_module(const char *path)
{
	char self[512], target[1024];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(len > 0);
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	*strrchr(self, '/') = '\0';
	snprintf(target, sizeof(target), "%s/modules%s", self, strrchr(path, '/'));
	if (symlink(target, path))
		assert_int_equal(errno, EEXIST);
}

/* The text with /srv and /var/log below our own root, where its folders are made. */
static char *relocate(const char *text)
{
	static const char *const tops[] = {"\"/srv/", "\"/var/log/"};
	char *out = NULL, path[512], folder[512];
	size_t len = 0;
	FILE *to = open_memstream(&out, &len);

	assert_non_null(to);
	for (const char *at = text; *at; at++) {
		fputc(*at, to);
		for (unsigned i = 0; i < ARRAY_LEN(tops); i++) {
			if (strncmp(at, tops[i], strlen(tops[i])) != 0)
				continue;
			fputs(root, to);
			snprintf(path, sizeof(path), "%s%.*s", root, (int)strcspn(at + 1, "\""),
				 at + 1);
			snprintf(folder, sizeof(folder), "%s", path);
			if (strstr(path, ".log") || strstr(path, ".so"))
				*strrchr(folder, '/') = '\0';
			make_folders(folder);
			if (strstr(path, ".so"))
				link_module(path);
		}
	}
	fclose(to);
	return out;
}

/* An example may show a part: what every configuration needs is added. */
static char *complete(struct span block)
{
	char *out = NULL, *moved;
	size_t len = 0;
	FILE *to = open_memstream(&out, &len);

	assert_non_null(to);
	fprintf(to, "%.*s\n", SPAN_ARG(block));
	if (!memmem(block.ptr, block.len, "listen \"", 8))
		fputs("listen \":0\" { }\n", to);
	if (!memmem(block.ptr, block.len, "site \"", 6))
		fputs("site \"*\" { route \"/\" { respond = \"x\" } }\n", to);
	fclose(to);
	moved = relocate(out);
	free(out);
	return moved;
}

static void check_block(const char *path, struct span block)
{
	static struct config_errors errors;
	struct config *c = NULL;
	char *text = complete(block);

	if (config_parse(path, text, &c, &errors) != 0) {
		config_errors_print(&errors, stderr);
		fail_msg("%s shows what is no configuration:\n%s", path, text);
	}
	config_errors_free(&errors);
	config_free(c);
	free(text);
}

/* Without a tag of its own a block counts when it looks like a configuration. */
static bool is_configuration(struct span tag, struct span block)
{
	if (tag.len)
		return span_eq(tag, SPAN("sluice")) || span_eq(tag, SPAN("conf"));
	return memmem(block.ptr, block.len, "listen \"", 8) ||
	       memmem(block.ptr, block.len, "site \"", 6);
}

static unsigned check_blocks(const char *path, const char *text)
{
	struct span tag, block;
	unsigned count = 0;

	while (next_block(&text, &tag, &block)) {
		if (!is_configuration(tag, block))
			continue;
		check_block(path, block);
		count++;
	}
	return count;
}

/* Blocks that are told by four blanks in front, with blank lines between.  How many were
 * configurations. */
static unsigned check_indented(const char *path, const char *text)
{
	const char *block = NULL;
	unsigned count = 0;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		bool is_in = strncmp(line, "    ", 4) == 0 || (block && *line == '\n');
		struct span whole;

		if (is_in && !block)
			block = line;
		if (!block || (is_in && line[strcspn(line, "\n") + 1] != '\0'))
			continue;
		whole = span_of(block, (size_t)(line - block) + (is_in ? strlen(line) : 0));
		block = NULL;
		if (!is_configuration(SPAN(""), whole))
			continue;
		check_block(path, whole);
		count++;
	}
	return count;
}

static void config_docs__show_what_parses(void **state)
{
	char *text = read_text(MANUAL);

	assert_non_null(text);
	assert_true(check_blocks(MANUAL, text) >= CONFIG_SECTION_COUNT);
	free(text);
	text = read_text("README.md");
	if (text)
		assert_true(check_blocks("README.md", text) + check_indented("README.md", text) >
			    0);
	else
		print_message("README.md: not there, nothing checked\n");
	free(text);
}

static void config_docs__example_file_parses(void **state)
{
	char *text = read_text("docs/sluice.conf"), *all;

	assert_non_null(text);
	check_block("docs/sluice.conf", span_str(text));
	/* and with every line that is commented out; "# " begins a sentence */
	all = strdup(text);
	assert_non_null(all);
	for (char *at = all; (at = strchr(at, '#')); at++) {
		if (at[1] != ' ')
			*at = ' ';
	}
	check_block("docs/sluice.conf", span_str(all));
	free(all);
	free(text);
}

static int make_root(void **state)
{
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_docs__list_every_key),
		cmocka_unit_test(config_docs__show_what_parses),
		cmocka_unit_test(config_docs__example_file_parses),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
