/* SPDX-License-Identifier: MIT */
/* sluice load: requests at a server, and how long they took. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "load/load.h"

static int plot(struct cli *cli, const struct load_options *o, const struct load_share *sum)
{
	FILE *file = fopen(cli->plot, "w");
	bool is_good;

	if (!file)
		return cli_fail(cli, "cannot write '%s': %s", cli->plot, strerror(errno));
	load_plot(o, sum, file);
	is_good = fflush(file) == 0 && !ferror(file);
	if (fclose(file) != 0 || !is_good)
		return cli_fail(cli, "cannot write '%s': %s", cli->plot, strerror(errno));
	return CLI_OK;
}

static int report(struct cli *cli, const struct load_options *o, const struct load_share *sum)
{
	json_t *answer;

	if (cli->given & OPTION_JSON) {
		answer = load_json(o, sum);
		if (!answer)
			return cli_fail(cli, "out of memory");
		json_dumpf(answer, cli->env->out, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
		fputc('\n', cli->env->out);
		json_decref(answer);
	} else {
		load_print(o, sum, cli->env->out);
	}
	if (cli->plot && plot(cli, o, sum) != CLI_OK)
		return CLI_FAILURE;
	return sum->answered > 0 ? CLI_OK : cli_fail(cli, "nothing was answered");
}

static int run(struct cli *cli, struct load_options *o, struct load_share *sum)
{
	FILE *progress = isatty(fileno(cli->env->err)) ? cli->env->err : NULL;
	char error[LOAD_ERROR_TEXT];

	if (load_options_url(o, cli->operands[0], error) < 0)
		return cli_usage(cli, "%s", error);
	for (int i = 1; i < cli->operand_count; i++)
		if (load_options_set(o, cli->operands[i], error) < 0)
			return cli_usage(cli, "%s", error);
	if (load_options_finish(o, error) < 0)
		return cli_usage(cli, "%s", error);
	if (load_run(o, progress, sum, error) < 0)
		return cli_fail(cli, "%s", *error ? error : strerror(errno));
	return report(cli, o, sum);
}

int cli_do_load(struct cli *cli)
{
	struct load_options o;
	struct load_share *sum = malloc(sizeof(*sum));
	int status;

	if (!sum)
		return cli_fail(cli, "out of memory");
	load_options_init(&o);
	status = run(cli, &o, sum);
	load_options_fini(&o);
	free(sum);
	return status;
}
