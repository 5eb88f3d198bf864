/* SPDX-License-Identifier: MIT */
/* `sluice upstream`: how the servers behind the proxy stand, and taking one out of use. */
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "cli/cli_internal.h"

static json_t *ask_show(struct cli *cli);
static json_t *ask_server(struct cli *cli);
static int print_answer(struct cli *cli, const json_t *answer);

static const struct cli_action actions[] = {
	{"show", "", "every server and how it stands (the default)", 0, ask_show, print_answer},
	{"drain", "NAME SERVER", "no new requests for a server; those under way end", 2, ask_server,
	 print_answer},
	{"undrain", "NAME SERVER", "back into use", 2, ask_server, print_answer},
};

void cli_upstream_print_actions(FILE *out)
{
	cli_actions_print(actions, ARRAY_LEN(actions), out);
}

static json_t *ask_show(struct cli *cli)
{
	return json_pack("{s:s, s:s}", "command", "upstream", "action", "show");
}

static json_t *ask_server(struct cli *cli)
{
	json_t *question = json_pack("{s:s, s:s, s:s, s:s}", "command", "upstream", "action", cli->operands[0],
				     "upstream", cli->operands[1], "server", cli->operands[2]);

	if (!question)
		cli_usage(cli, "the name of the upstream or the server is not UTF-8");
	return question;
}

/* --- the table --- */

/* Missing fields count as 0 or "": the server may be of another version. */
static uint64_t number_of(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static const char *string_of(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

/* The widest text of the column, its heading included. */
static int width_of(const json_t *upstreams, const char *name)
{
	const json_t *upstream, *server;
	size_t i, k, width = strlen(name);

	json_array_foreach(upstreams, i, upstream) {
		json_array_foreach(json_object_get(upstream, "servers"), k, server)
			width = MAX(width, strlen(string_of(server, name)));
	}
	return (int)width;
}

static void print_server(const json_t *server, int server_width, int address_width, FILE *out)
{
	const char *fault = string_of(server, "check_error");
	bool is_backup = json_is_true(json_object_get(server, "backup"));

	fprintf(out,
		"  %-*s  %-*s  %-10s %6" PRIu64 " %6" PRIu64 " %11" PRIu64 " %10" PRIu64
		" %8" PRIu64 " %8" PRIu64 " %7" PRIu64 " %9" PRIu64,
		server_width, string_of(server, "server"), address_width,
		string_of(server, "address"), string_of(server, "state"),
		number_of(server, "weight"), number_of(server, "active"),
		number_of(server, "connections"), number_of(server, "requests"),
		number_of(server, "failures"), number_of(server, "timeouts"),
		number_of(server, "retries"), number_of(server, "ejections"));
	fprintf(out, "%s%s%s\n", is_backup ? "  backup" : "", *fault ? "  check: " : "", fault);
}

static void print_upstreams(const json_t *upstreams, FILE *out)
{
	int server_width = width_of(upstreams, "server");
	int address_width = width_of(upstreams, "address");
	const json_t *upstream, *server;
	size_t i, k;

	json_array_foreach(upstreams, i, upstream) {
		fprintf(out, "%supstream %s, balance %s\n", i ? "\n" : "",
			string_of(upstream, "name"), string_of(upstream, "balance"));
		fprintf(out,
			"  %-*s  %-*s  %-10s weight active connections   requests failures "
			"timeouts retries ejections\n",
			server_width, "server", address_width, "address", "state");
		json_array_foreach(json_object_get(upstream, "servers"), k, server)
			print_server(server, server_width, address_width, out);
	}
	if (json_array_size(upstreams) == 0)
		fprintf(out, "there are no upstreams\n");
}

static int print_answer(struct cli *cli, const json_t *answer)
{
	json_t *upstreams = json_object_get(answer, "upstreams"), *report;

	if (!json_is_array(upstreams))
		return cli_fail(cli, "the server's answer holds no upstreams");
	if (!(cli->given & OPTION_JSON)) {
		print_upstreams(upstreams, cli->env->out);
		return CLI_OK;
	}
	report = json_pack("{s:O}", "upstreams", upstreams);
	json_dumpf(report, cli->env->out, JSON_INDENT(2));
	fputc('\n', cli->env->out);
	json_decref(report);
	return CLI_OK;
}

int cli_do_upstream(struct cli *cli)
{
	return cli_actions_run(cli, actions, ARRAY_LEN(actions));
}
