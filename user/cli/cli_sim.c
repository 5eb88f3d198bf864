/* SPDX-License-Identifier: MIT */
/* sluice sim: the steering policies on a simulated host. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/suggest.h"
#include "cli/cli_internal.h"
#include "sim/sim_study.h"

static int find_scenario(struct cli *cli, const struct sim_scenario **ret_scenario)
{
	struct suggest near;

	*ret_scenario = NULL;
	if (!cli->scenario)
		return CLI_OK;
	*ret_scenario = sim_scenario_find(cli->scenario);
	if (*ret_scenario)
		return CLI_OK;
	suggest_init(&near, cli->scenario);
	for (const struct sim_scenario *s = sim_scenarios; s->name; s++)
		suggest_offer(&near, s->name);
	if (near.best)
		return cli_usage(cli, "unknown scenario '%s', did you mean '%s'?", cli->scenario,
				 near.best);
	return cli_usage(cli, "unknown scenario '%s'", cli->scenario);
}

static int plot(struct cli *cli, const struct sim_study *study)
{
	FILE *file = fopen(cli->plot, "w");
	bool is_good;

	if (!file)
		return cli_fail(cli, "cannot write '%s': %s", cli->plot, strerror(errno));
	sim_study_plot(study, file);
	is_good = fflush(file) == 0 && !ferror(file) && ftell(file) > 0;
	if (fclose(file) != 0 || !is_good)
		return cli_fail(cli, "cannot write '%s': %s", cli->plot,
				errno ? strerror(errno) : "out of memory");
	return CLI_OK;
}

static int report(struct cli *cli, const struct sim_study *study)
{
	if (!(cli->given & OPTION_JSON))
		sim_study_print(study, cli->env->out);
	else if (sim_study_print_json(study, cli->env->out) < 0)
		return cli_fail(cli, "out of memory");
	return cli->plot ? plot(cli, study) : CLI_OK;
}

static int run(struct cli *cli, struct sim_study *study)
{
	char error[SIM_ERROR_TEXT];
	int err;

	for (int i = 0; i < cli->operand_count; i++) {
		if (sim_settings_set(&study->settings, cli->operands[i], error) < 0)
			return cli_usage(cli, "%s", error);
	}
	err = sim_study_run(study, error);
	if (err == -EINVAL)
		return cli_usage(cli, "%s", error);
	return err ? cli_fail(cli, "%s", error) : report(cli, study);
}

int cli_do_sim(struct cli *cli)
{
	const struct sim_scenario *scenario;
	struct sim_study *study;
	int status = find_scenario(cli, &scenario);

	if (status != CLI_OK)
		return status;
	study = malloc(sizeof(*study));
	if (!study)
		return cli_fail(cli, "out of memory");
	sim_study_init(study, scenario);
	status = run(cli, study);
	sim_study_fini(study);
	free(study);
	return status;
}

void cli_sim_explain(FILE *out)
{
	fprintf(out, "\nScenarios (--scenario), sets of keys that more KEY=VALUE change:\n\n");
	for (const struct sim_scenario *s = sim_scenarios; s->name; s++)
		fprintf(out, "  %-12s %s\n", s->name, s->summary);
	fprintf(out, "\nKeys; one of them may have several values, separated by commas:\n\n");
	sim_keys_print(out);
}
