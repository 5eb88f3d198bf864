/* SPDX-License-Identifier: MIT */
/* `sluice steer`: shows the steering of a running server and changes it. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/err.h"
#include "base/span.h"
#include "base/suggest.h"
#include "proc/cli_internal.h"
#include "proc/steer_report.h"

static json_t *ask_show(struct cli *cli);
static json_t *ask_policy(struct cli *cli);
static json_t *ask_weight(struct cli *cli);
static json_t *ask_slot(struct cli *cli);
static json_t *ask_rebalance(struct cli *cli);

static const struct action {
	const char *name, *operands, *summary;
	int operand_count;
	json_t *(*ask)(struct cli *cli); /* the question; NULL: the fault is printed */
} actions[] = {
	{"show", "", "the policy and how each slot stands (the default)", 0, ask_show},
	{"policy", "NAME", "hash least rr p2c weighted cpu busy", 1, ask_policy},
	{"weight", "SLOT N", "how much a slot gets: 0 to 1000, 100 by default", 2, ask_weight},
	{"drain", "SLOT", "no new connections for a slot; open ones stay", 1, ask_slot},
	{"undrain", "SLOT", "back to the weight before the drain", 1, ask_slot},
	{"explain", "", "where the next connection would go, and why", 0, ask_show},
	{"rebalance", "", "move idle connections from hot slots to cool ones", 0, ask_rebalance},
};

void cli_steer_print_actions(FILE *out)
{
	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		fprintf(out, "  %-9s %-7s %s\n", actions[i].name, actions[i].operands,
			actions[i].summary);
	fputc('\n', out);
}

/* What is no number goes to the server as -1, which says what it expects. */
static json_int_t number(const char *text)
{
	uint64_t value;

	return span_to_u64(span_str(text), &value) == 0 && value <= INT32_MAX ? (json_int_t)value
									      : -1;
}

static json_t *ask_show(struct cli *cli)
{
	return json_pack("{s:s}", "command", "steer");
}

static json_t *ask_policy(struct cli *cli)
{
	json_t *name = json_string(cli->operands[1]);

	if (!name) {
		cli_usage(cli, "the name of the policy is not UTF-8");
		return NULL;
	}
	return json_pack("{s:s, s:s, s:o}", "command", "steer", "change", "policy", "policy", name);
}

static json_t *ask_weight(struct cli *cli)
{
	return json_pack("{s:s, s:s, s:I, s:I}", "command", "steer", "change", "weight", "slot",
			 number(cli->operands[1]), "weight", number(cli->operands[2]));
}

static json_t *ask_slot(struct cli *cli)
{
	return json_pack("{s:s, s:s, s:I}", "command", "steer", "change", cli->operands[0], "slot",
			 number(cli->operands[1]));
}

static json_t *ask_rebalance(struct cli *cli)
{
	return json_pack("{s:s}", "command", "rebalance");
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

/* What came back: nothing for rebalance, else the state after the change. */
static int print_answer(struct cli *cli, const json_t *answer, bool explains)
{
	const json_t *report = json_object_get(answer, "steer");

	if (!report)
		return CLI_OK;
	if (!json_is_object(report))
		return cli_fail(cli, "the server's answer holds no steering");
	if (cli->given & OPTION_JSON) {
		json_dumpf(report, cli->env->out, JSON_INDENT(2));
		fputc('\n', cli->env->out);
	} else {
		steer_report_print(report, explains, cli->env->out);
	}
	return CLI_OK;
}

int cli_do_steer(struct cli *cli)
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
	question = action->ask(cli);
	if (!question)
		return CLI_USAGE;
	status = cli_exchange(cli, question, &answer);
	if (status == CLI_OK)
		status = print_answer(cli, answer, strcmp(name, "explain") == 0);
	json_decref(question);
	json_decref(answer);
	return status;
}
