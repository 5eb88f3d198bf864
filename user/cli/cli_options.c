/* SPDX-License-Identifier: MIT */
/* The options of all commands, read by getopt_long. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/suggest.h"
#include "cli/cli_internal.h"
#include "config/config_units.h"
#include "steer_shared.h"

#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS (60 * 60 * 1000)
#define LONG_ONLY 256 /* values of options without a letter start here */

static const struct option_spec {
	enum cli_option_id id;
	char letter; /* 0: none */
	const char *name, *value, *help;
} specs[] = {
	{OPTION_CONFIG, 'c', "config", "FILE", "configuration (default: " CLI_CONFIG_PATH ")"},
	{OPTION_CONTROL, 0, "control", "PATH", "control socket of the server"},
	{OPTION_LISTEN, 'l', "listen", "ADDR", "address (default: " CONFIG_FILES_LISTEN ")"},
	{OPTION_WORKERS, 'w', "workers", "N", "worker processes (default: one for each CPU)"},
	{OPTION_DUMP, 0, "dump", NULL, "print every key with its effective value"},
	{OPTION_JSON, 0, "json", NULL, "print JSON"},
	{OPTION_TIMEOUT, 0, "timeout", "TIME", "how long to wait, such as 2m (default: 60s, of an upgrade 30s)"},
	{OPTION_NOW, 0, "now", NULL, "do not wait for open connections"},
	{OPTION_SCENARIO, 0, "scenario", "NAME", "start from the keys of a scenario"},
	{OPTION_PLOT, 0, "plot", "FILE", "write a chart (SVG) too"},
	{OPTION_ONCE, 0, "once", NULL, "print it once as plain lines"},
	{OPTION_INTERVAL, 0, "interval", "TIME", "between two looks (default: 1s)"},
	{OPTION_BINARY, 0, "binary", "PATH", "another program than the one that runs"},
	{OPTION_HELP, 'h', "help", NULL, "print this help"},
	{OPTION_VERSION, 'V', "version", NULL, "print the version"},
};

#define SPEC_COUNT ARRAY_LEN(specs)

/* What getopt_long wants, for the options in `mask`. */
struct getopt_tables {
	struct option longs[SPEC_COUNT + 1];
	char shorts[2 + 2 * SPEC_COUNT + 1];
};

static void fill_tables(struct getopt_tables *t, unsigned mask, bool stops_early)
{
	struct option *o = t->longs;
	char *s = t->shorts;

	memset(t, 0, sizeof(*t));
	if (stops_early)
		*s++ = '+';
	*s++ = ':';
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		if (!(specs[i].id & mask))
			continue;
		*o++ = (struct option){
			.name = specs[i].name,
			.has_arg = specs[i].value ? required_argument : no_argument,
			.val = LONG_ONLY + (int)i,
		};
		if (!specs[i].letter)
			continue;
		*s++ = specs[i].letter;
		if (specs[i].value)
			*s++ = ':';
	}
}

static const struct option_spec *spec_of(int value)
{
	if (value >= LONG_ONLY)
		return &specs[value - LONG_ONLY];
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		if (specs[i].letter && specs[i].letter == value)
			return &specs[i];
	}
	return NULL;
}

/* On a command line a bare number of seconds is what everybody types. */
static int take_duration(struct cli *cli, const char *option, const char *text, uint64_t *ret_ms)
{
	struct span s = span_str(text);
	enum config_unit_fault fault;
	uint64_t ns = 0, seconds;

	if (span_to_u64(s, &seconds) == 0 && seconds <= UINT64_MAX / CONFIG_SEC)
		ns = seconds * CONFIG_SEC;
	else if ((fault = config_duration_parse(s, &ns)) != UNIT_OK)
		return cli_usage(cli, "--%s '%s' %s", option, text, config_duration_fault(fault));
	*ret_ms = ns / CONFIG_MS;
	return CLI_OK;
}

static int take_timeout(struct cli *cli, const char *text)
{
	int status = take_duration(cli, "timeout", text, &cli->timeout_ms);

	if (status == CLI_OK && cli->timeout_ms == 0)
		return cli_usage(cli, "--timeout '%s' is less than 1ms", text);
	return status;
}

static int take_interval(struct cli *cli, const char *text)
{
	int status = take_duration(cli, "interval", text, &cli->interval_ms);
	bool is_none = strcmp(text, "0") == 0;

	if (status == CLI_OK && !is_none &&
	    (cli->interval_ms < INTERVAL_MIN_MS || cli->interval_ms > INTERVAL_MAX_MS))
		return cli_usage(cli, "--interval '%s' is not within 100ms and 1h", text);
	return status;
}

static int take_workers(struct cli *cli, const char *text)
{
	uint64_t count;

	if (span_to_u64(span_str(text), &count) < 0 || count < 1 || count > STEER_MAX_SLOTS)
		return cli_usage(cli, "--workers '%s' is no number from 1 to %d", text,
				 STEER_MAX_SLOTS);
	cli->workers = (unsigned)count;
	return CLI_OK;
}

static int take(struct cli *cli, const struct option_spec *spec, const char *value)
{
	cli->given |= spec->id;
	switch (spec->id) {
	case OPTION_CONFIG:
		cli->config = value;
		return CLI_OK;
	case OPTION_CONTROL:
		cli->control = value;
		return CLI_OK;
	case OPTION_LISTEN:
		cli->listen = value;
		return CLI_OK;
	case OPTION_SCENARIO:
		cli->scenario = value;
		return CLI_OK;
	case OPTION_PLOT:
		cli->plot = value;
		return CLI_OK;
	case OPTION_BINARY:
		cli->binary = value;
		return CLI_OK;
	case OPTION_WORKERS:
		return take_workers(cli, value);
	case OPTION_TIMEOUT:
		return take_timeout(cli, value);
	case OPTION_INTERVAL:
		return take_interval(cli, value);
	default:
		return CLI_OK;
	}
}

static int refuse_long(struct cli *cli, unsigned mask, const char *word)
{
	size_t len = strcspn(word, "=");
	char name[SUGGEST_WORD_MAX + 1];
	struct suggest near;

	if (len >= sizeof(name))
		return cli_usage(cli, "unknown option '%s'", word);
	memcpy(name, word, len);
	name[len] = '\0';
	suggest_init(&near, name + 2);
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		if (specs[i].id & mask)
			suggest_offer(&near, specs[i].name);
	}
	if (near.best)
		return cli_usage(cli, "unknown option '%s', did you mean '--%s'?", name, near.best);
	return cli_usage(cli, "unknown option '%s'", name);
}

/* getopt_long said '?': `word` is the argument it stands at. */
static int refuse(struct cli *cli, unsigned mask, const char *word)
{
	if (optopt >= LONG_ONLY)
		return cli_usage(cli, "option '--%s' takes no value", spec_of(optopt)->name);
	if (optopt)
		return cli_usage(cli, "unknown option '-%c'", optopt);
	return refuse_long(cli, mask, word);
}

static int refuse_missing(struct cli *cli)
{
	const struct option_spec *spec = spec_of(optopt);

	return cli_usage(cli, "option '--%s' needs a value: %s", spec->name, spec->value);
}

int cli_options_parse(struct cli *cli, unsigned mask, bool stops_early, int argc, char **argv)
{
	struct getopt_tables tables;
	int value, status = CLI_OK;

	fill_tables(&tables, mask, stops_early);
	/* 0 makes glibc start anew, also with what it remembers of the last array. */
	optind = 0;
	opterr = 0;
	while (status == CLI_OK &&
	       (value = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1) {
		if (value == '?')
			status = refuse(cli, mask, argv[optind - 1]);
		else if (value == ':')
			status = refuse_missing(cli);
		else
			status = take(cli, spec_of(value), optarg);
	}
	cli->operands = argv + optind;
	cli->operand_count = argc - optind;
	return status;
}

void cli_options_print(unsigned mask, FILE *out)
{
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		const struct option_spec *s = &specs[i];
		char letter[8] = "   ";

		if (!(s->id & mask))
			continue;
		if (s->letter)
			snprintf(letter, sizeof(letter), "-%c,", s->letter);
		fprintf(out, "  %s --%-8s %-5s %s\n", letter, s->name, s->value ? s->value : "",
			s->help);
	}
}

void cli_options_print_usage(unsigned mask, FILE *out)
{
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		const struct option_spec *s = &specs[i];

		if (!(s->id & mask) || s->id & (OPTION_HELP | OPTION_VERSION))
			continue;
		if (s->letter)
			fprintf(out, " [-%c", s->letter);
		else
			fprintf(out, " [--%s", s->name);
		fprintf(out, s->value ? " %s]" : "]", s->value);
	}
}
