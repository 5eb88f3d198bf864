/* SPDX-License-Identifier: MIT */
/* The table of commands, dispatch and help. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/err.h"
#include "base/suggest.h"
#include "cli/cli_internal.h"
#include "load/load.h"
#include "proc/version.h"

static int do_help(struct cli *cli);
static int do_version(struct cli *cli);

const struct cli_command cli_commands[] = {
	{"run", "", "serve in the foreground", OPTIONS_FIND, 0, 0, cli_do_run},
	{"check", "", "check a configuration, show all its errors",
	 OPTION_CONFIG | OPTION_DUMP | OPTION_HELP, 0, 0, cli_do_check},
	{"files", "DIR", "serve a folder, no configuration needed",
	 OPTION_LISTEN | OPTION_WORKERS | OPTION_CONTROL | OPTION_HELP, 1, 1, cli_do_files},
	{"proxy", "TO", "proxy to one server, no configuration needed",
	 OPTION_LISTEN | OPTION_WORKERS | OPTION_CONTROL | OPTION_HELP, 1, 1, cli_do_proxy},
	{"status", "", "show the workers and the steering", OPTIONS_FIND | OPTION_JSON, 0, 0,
	 cli_do_status},
	{"top", "", "the same live, in the terminal", OPTIONS_FIND | OPTION_ONCE | OPTION_INTERVAL,
	 0, 0, cli_do_top},
	{"steer", "[ACTION]", "show or change how connections are spread",
	 OPTIONS_FIND | OPTION_JSON, 0, 3, cli_do_steer},
	{"upstream", "[ACTION]", "show the servers behind the proxy, drain one",
	 OPTIONS_FIND | OPTION_JSON, 0, 3, cli_do_upstream},
	{"reload", "", "read the configuration anew, wait until it serves",
	 OPTIONS_FIND | OPTION_JSON | OPTION_TIMEOUT, 0, 0, cli_do_reload},
	{"upgrade", "", "start another program in its place, wait until it serves",
	 OPTIONS_FIND | OPTION_BINARY | OPTION_JSON | OPTION_TIMEOUT, 0, 0, cli_do_upgrade},
	{"stop", "", "stop a server, wait until it has gone",
	 OPTIONS_FIND | OPTION_TIMEOUT | OPTION_NOW, 0, 0, cli_do_stop},
	{"reopen", "", "open the access log anew", OPTIONS_FIND, 0, 0, cli_do_reopen},
	{"sim", "[KEY=VALUE]...", "try the steering policies on a simulated host",
	 OPTION_SCENARIO | OPTION_PLOT | OPTION_JSON | OPTION_HELP, 0, 64, cli_do_sim},
	{"load", "URL [KEY=VALUE]...", "make requests at a server and say how long they took",
	 OPTION_PLOT | OPTION_JSON | OPTION_HELP, 1, 64, cli_do_load},
	{"version", "", "print the version", OPTION_HELP, 0, 0, do_version},
	{"help", "[COMMAND]", "explain a command", OPTION_HELP, 0, 1, do_help},
	{NULL, NULL, NULL, 0, 0, 0, NULL},
};

static void print_message(struct cli *cli, const char *fmt, va_list args)
{
	fprintf(cli->env->err, cli->name ? "sluice %s: " : "sluice: ", cli->name);
	vfprintf(cli->env->err, fmt, args);
	fputc('\n', cli->env->err);
}

int cli_usage(struct cli *cli, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print_message(cli, fmt, args);
	va_end(args);
	fprintf(cli->env->err, "Try 'sluice help%s%s'.\n", cli->name ? " " : "",
		cli->name ? cli->name : "");
	return CLI_USAGE;
}

int cli_fail(struct cli *cli, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print_message(cli, fmt, args);
	va_end(args);
	return CLI_FAILURE;
}

const struct cli_command *cli_command_find(const char *name)
{
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

static int refuse_command(struct cli *cli, const char *name)
{
	struct suggest near;

	suggest_init(&near, name);
	for (const struct cli_command *c = cli_commands; c->name; c++)
		suggest_offer(&near, c->name);
	if (near.best)
		return cli_usage(cli, "unknown command '%s', did you mean '%s'?", name, near.best);
	return cli_usage(cli, "unknown command '%s'", name);
}

static void print_command_help(const struct cli_command *c, FILE *out)
{
	fprintf(out, "usage: sluice %s%s%s", c->name, c->operands[0] ? " " : "", c->operands);
	cli_options_print_usage(c->options, out);
	fprintf(out, "\n\nsluice %s: %s\n\n", c->name, c->summary);
	if (c->run == cli_do_steer)
		cli_steer_print_actions(out);
	if (c->run == cli_do_upstream)
		cli_upstream_print_actions(out);
	cli_options_print(c->options, out);
	if (c->run == cli_do_sim)
		cli_sim_explain(out);
	if (c->run == cli_do_load)
		load_keys_print(out);
}

static void print_help(FILE *out)
{
	fprintf(out, "usage: sluice COMMAND [OPTIONS]\n\n"
		     "An HTTP server and reverse proxy whose new connections the kernel steers to "
		     "the\nleast-loaded worker.\n\n");
	for (const struct cli_command *c = cli_commands; c->name; c++)
		fprintf(out, "  %-9s%-14s %s\n", c->name, c->operands, c->summary);
	fprintf(out, "\nA first page:  sluice files DIR\n"
		     "A first proxy: sluice proxy 127.0.0.1:3000\n"
		     "More:          sluice help COMMAND\n");
}

static int do_help(struct cli *cli)
{
	const struct cli_command *c;

	if (cli->operand_count == 0) {
		print_help(cli->env->out);
		return CLI_OK;
	}
	c = cli_command_find(cli->operands[0]);
	if (!c)
		return refuse_command(cli, cli->operands[0]);
	print_command_help(c, cli->env->out);
	return CLI_OK;
}

static int do_version(struct cli *cli)
{
	fprintf(cli->env->out, "sluice %s\n", SLUICE_VERSION);
	return CLI_OK;
}

/* argv[0] is the name of the command. */
static int run_command(struct cli *cli, const struct cli_command *c, int argc, char **argv)
{
	unsigned stray;
	int status;

	cli->name = c->name;
	/* What stands before the command counts for it too: `sluice -c FILE status`. */
	stray = cli->given & ~c->options & (OPTION_CONFIG | OPTION_CONTROL);
	if (stray)
		return cli_usage(cli, "takes no option '--%s'",
				 stray & OPTION_CONFIG ? "config" : "control");
	status = cli_options_parse(cli, c->options, false, argc, argv);
	if (status != CLI_OK)
		return status;
	if (cli->given & OPTION_HELP) {
		print_command_help(c, cli->env->out);
		return CLI_OK;
	}
	if (cli->operand_count < c->min_operands)
		return cli_usage(cli, "%s is missing", c->operands);
	if (cli->operand_count > c->max_operands)
		return cli_usage(cli, "unexpected argument '%s'", cli->operands[c->max_operands]);
	return c->run(cli);
}

static int dispatch(struct cli *cli, int argc, char **argv)
{
	const struct cli_command *c;
	int status = cli_options_parse(cli, OPTIONS_GLOBAL, true, argc, argv);

	if (status != CLI_OK)
		return status;
	if (cli->given & OPTION_VERSION)
		return do_version(cli);
	if (cli->given & OPTION_HELP)
		return do_help(cli);
	if (cli->operand_count == 0) {
		if (cli->given)
			return cli_usage(cli, "which command?");
		print_help(cli->env->out);
		return CLI_OK;
	}
	c = cli_command_find(cli->operands[0]);
	if (!c)
		return refuse_command(cli, cli->operands[0]);
	return run_command(cli, c, cli->operand_count, cli->operands);
}

int cli_run(const struct cli_env *env, int argc, char **argv)
{
	struct cli cli = {.env = env};
	int status = argc > 0 ? dispatch(&cli, argc, argv) : CLI_USAGE;

	/* `sluice status --json > file` on a full disk must not look like a success. */
	if ((fflush(env->out) != 0 || ferror(env->out)) && status == CLI_OK)
		status = cli_fail(&cli, "cannot write the output: %s", strerror(errno));
	return status;
}
