/* SPDX-License-Identifier: MIT */
/* `sluice reload`: asks, waits, and says what came of it. */
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "cli/cli_internal.h"

/* Workers get ten seconds to start, others may be waiting for a reload of their own. */
#define RELOAD_WAIT_MS 60000

static uint64_t number_at(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void print_pair(FILE *out, const json_t *report, const char *name)
{
	const json_t *pair = json_object_get(report, name);
	uint64_t before = number_at(pair, "before"), after = number_at(pair, "after");

	fprintf(out, "  %-10s %" PRIu64, name, after);
	if (before != after)
		fprintf(out, ", before %" PRIu64, before);
	fputc('\n', out);
}

static void print_addresses(FILE *out, const json_t *listen, const char *name)
{
	const json_t *address;
	size_t i;

	json_array_foreach(json_object_get(listen, name), i, address)
		fprintf(out, "  %-10s %s %s\n", "listen", json_string_value(address), name);
}

void cli_print_changes(FILE *out, const json_t *report)
{
	const json_t *listen = json_object_get(report, "listen");
	const json_t *draining = json_object_get(report, "draining"), *warning;
	uint64_t moved = number_at(report, "moved"), workers = number_at(draining, "workers");
	size_t i;

	print_addresses(out, listen, "added");
	print_addresses(out, listen, "removed");
	print_pair(out, report, "workers");
	print_pair(out, report, "sites");
	print_pair(out, report, "routes");
	print_pair(out, report, "upstreams");
	fprintf(out, "  %-10s %" PRIu64 " connections; ", "moved", moved);
	if (workers)
		fprintf(out, "%" PRIu64 " of old workers (%" PRIu64 ") end by themselves\n",
			number_at(draining, "connections"), workers);
	else
		fputs("none is left with old workers\n", out);
	if (number_at(json_object_get(report, "udp"), "draining"))
		fprintf(out, "  %-10s %" PRIu64 " sessions stay with old workers\n", "udp",
			number_at(json_object_get(report, "udp"), "draining"));
	json_array_foreach(json_object_get(report, "warnings"), i, warning)
		fprintf(out, "  warning: %s\n", json_string_value(warning));
}

static void print_report(FILE *out, const json_t *report)
{
	const char *config = json_string_value(json_object_get(report, "config"));

	fprintf(out, "%s: generation %" PRIu64 " serves after %.0f ms\n", config ? config : "?",
		number_at(report, "generation"), json_number_value(json_object_get(report, "took_ms")));
	cli_print_changes(out, report);
}

void cli_show_report(const struct cli *cli, const json_t *report, void (*print)(FILE *out, const json_t *report))
{
	if (!(cli->given & OPTION_JSON)) {
		print(cli->env->out, report);
		return;
	}
	json_dumpf(report, cli->env->out, JSON_INDENT(2));
	fputc('\n', cli->env->out);
}

int cli_do_reload(struct cli *cli)
{
	json_t *question = json_pack("{s:s}", "command", "reload"), *answer = NULL;
	int status = cli_exchange(cli, question, cli->timeout_ms ? cli->timeout_ms : RELOAD_WAIT_MS, &answer);

	if (status == CLI_OK)
		cli_show_report(cli, json_object_get(answer, "reload"), print_report);
	json_decref(question);
	json_decref(answer);
	return status;
}
