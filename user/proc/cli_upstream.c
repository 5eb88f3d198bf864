/* SPDX-License-Identifier: MIT */
/* `sluice upstream`: how the servers behind the proxy stand, and taking one out of use. */
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/suggest.h"
#include "proc/cli_internal.h"

static const struct action {
	const char *name, *operands, *summary;
	int operand_count;
} actions[] = {
	{"show", "", "every server and how it stands (the default)", 0},
	{"drain", "NAME SERVER", "no new requests for a server; those under way end", 2},
	{"undrain", "NAME SERVER", "back into use", 2},
};

void cli_upstream_print_actions(FILE *out)
{
	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		fprintf(out, "  %-9s %-12s %s\n", actions[i].name, actions[i].operands,
			actions[i].summary);
	fputc('\n', out);
}

static const struct action *find_action(struct cli *cli, const char *name)
{
	struct suggest near;

	suggest_init(&near, name);
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
		suggest_offer(&near, actions[i].name);
	}
	if (near.best)
		cli_usage(cli, "unknown action '%s', did you mean '%s'?", name, near.best);
	else
		cli_usage(cli, "unknown action '%s'", name);
	return NULL;
}

/* NULL: the fault is printed. */
static json_t *make_question(struct cli *cli, const struct action *action)
{
	json_t *question;

	if (action->operand_count == 0)
		return json_pack("{s:s, s:s}", "command", "upstream", "action", action->name);
	question = json_pack("{s:s, s:s, s:s, s:s}", "command", "upstream", "action", action->name,
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
	const char *name = cli->operand_count ? cli->operands[0] : "show";
	const struct action *action = find_action(cli, name);
	json_t *question, *answer = NULL;
	int status;

	if (!action)
		return CLI_USAGE;
	if (cli->operand_count - 1 < action->operand_count && action->operand_count)
		return cli_usage(cli, "%s wants %s", action->name, action->operands);
	if (cli->operand_count - 1 > action->operand_count)
		return cli_usage(cli, "unexpected argument '%s'",
				 cli->operands[action->operand_count + 1]);
	question = make_question(cli, action);
	if (!question)
		return CLI_USAGE;
	status = cli_exchange(cli, question, &answer);
	if (status == CLI_OK)
		status = print_answer(cli, answer);
	json_decref(question);
	json_decref(answer);
	return status;
}
