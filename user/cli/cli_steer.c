/* SPDX-License-Identifier: MIT */
/* `sluice steer`: shows the steering of a running server and changes it. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/err.h"
#include "base/span.h"
#include "cli/cli_internal.h"
#include "proc/steer_report.h"

static json_t *ask_show(struct cli *cli);
static json_t *ask_policy(struct cli *cli);
static json_t *ask_weight(struct cli *cli);
static json_t *ask_slot(struct cli *cli);
static json_t *ask_rebalance(struct cli *cli);

static int print_steer(struct cli *cli, const json_t *answer);
static int print_explanation(struct cli *cli, const json_t *answer);

static const struct cli_action actions[] = {
	{"show", "", "the policy and how each slot stands (the default)", 0, ask_show, print_steer},
	{"policy", "NAME", "hash least rr p2c weighted cpu busy", 1, ask_policy, print_steer},
	{"weight", "SLOT N", "how much a slot gets: 0 to 1000, 100 by default", 2, ask_weight,
	 print_steer},
	{"drain", "SLOT", "no new connections for a slot; open ones stay", 1, ask_slot, print_steer},
	{"undrain", "SLOT", "back to the weight before the drain", 1, ask_slot, print_steer},
	{"explain", "", "where the next connection would go, and why", 0, ask_show,
	 print_explanation},
	{"rebalance", "", "move idle connections from hot slots to cool ones", 0, ask_rebalance,
	 print_steer},
};

void cli_steer_print_actions(FILE *out)
{
	cli_actions_print(actions, ARRAY_LEN(actions), out);
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

static int print_steer(struct cli *cli, const json_t *answer)
{
	return print_answer(cli, answer, false);
}

static int print_explanation(struct cli *cli, const json_t *answer)
{
	return print_answer(cli, answer, true);
}

int cli_do_steer(struct cli *cli)
{
	return cli_actions_run(cli, actions, ARRAY_LEN(actions));
}
