/* SPDX-License-Identifier: MIT */
/* Sub-commands with actions of their own (`sluice steer drain 0`): finding one, its operands, asking, printing. */
#include <string.h>

#include "base/suggest.h"
#include "cli/cli_internal.h"
#include "ctl_proto.h"

void cli_actions_print(const struct cli_action *actions, size_t count, FILE *out)
{
	size_t width = 0;

	for (size_t i = 0; i < count; i++)
		width = strlen(actions[i].operands) > width ? strlen(actions[i].operands) : width;
	for (size_t i = 0; i < count; i++)
		fprintf(out, "  %-9s %-*s %s\n", actions[i].name, (int)width + 1, actions[i].operands,
			actions[i].summary);
	fputc('\n', out);
}

static const struct cli_action *find(struct cli *cli, const struct cli_action *actions,
				     size_t count, const char *name)
{
	struct suggest near;

	suggest_init(&near, name);
	for (size_t i = 0; i < count; i++) {
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

static int check_operands(struct cli *cli, const struct cli_action *action)
{
	int count = cli->operand_count ? cli->operand_count - 1 : 0;

	if (count < action->operand_count)
		return cli_usage(cli, "%s wants %s", action->name, action->operands);
	if (count > action->operand_count)
		return cli_usage(cli, "unexpected argument '%s'",
				 cli->operands[action->operand_count + 1]);
	return CLI_OK;
}

int cli_actions_run(struct cli *cli, const struct cli_action *actions, size_t count)
{
	const char *name = cli->operand_count ? cli->operands[0] : actions[0].name;
	const struct cli_action *action = find(cli, actions, count, name);
	json_t *question, *answer = NULL;
	int status;

	if (!action || check_operands(cli, action) != CLI_OK)
		return CLI_USAGE;
	question = action->ask(cli);
	if (!question)
		return CLI_USAGE;
	status = cli_exchange(cli, question, CTL_TIMEOUT_MS, &answer);
	if (status == CLI_OK)
		status = action->print(cli, answer);
	json_decref(question);
	json_decref(answer);
	return status;
}
