/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any text as a configuration.  Beyond not crashing: a refused text has an error,
 * in order, that can be printed, and is refused by us, never by libconfuse (whose lexer would keep
 * its state); an accepted one survives config_dump() and reading that again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *dump(const struct config *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	BUG_ON(!out);
	config_dump(c, out);
	fclose(out);
	return text;
}

static void check_errors(const struct config_errors *errors)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	BUG_ON(!out || errors->count == 0);
	config_errors_print(errors, out);
	fclose(out);
	BUG_ON(len == 0 || strlen(text) != len);
	for (unsigned i = 1; i < errors->count; i++)
		BUG_ON(errors->items[i].line < errors->items[i - 1].line);
	for (unsigned i = 0; i < errors->count; i++)
		BUG_ON(!errors->items[i].message || !*errors->items[i].message ||
		       strncmp(errors->items[i].message, "not understood", 14) == 0);
	free(text);
}

static void check_round_trip(const struct config *c)
{
	static struct config_errors errors;
	struct config *again = NULL;
	char *first = dump(c), *second;

	if (config_parse("dump", first, &again, &errors) != 0) {
		config_errors_print(&errors, stderr);
		fputs(first, stderr);
		abort();
	}
	second = dump(again);
	BUG_ON(strcmp(first, second) != 0);
	config_errors_free(&errors);
	config_free(again);
	free(first);
	free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config_errors errors;
	struct config *c = NULL;
	char *text = malloc(size + 1);

	BUG_ON(!text);
	memcpy(text, data, size);
	text[size] = '\0';
	if (config_parse("fuzz", text, &c, &errors) == 0)
		check_round_trip(c);
	else
		check_errors(&errors);
	config_errors_free(&errors);
	config_free(c);
	free(text);
	return 0;
}
