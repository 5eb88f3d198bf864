/* SPDX-License-Identifier: MIT */
/* What the files of the command line share. */
#ifndef SLUICE_PROC_CLI_INTERNAL_H
#define SLUICE_PROC_CLI_INTERNAL_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/cli.h"
#include "config/config.h"

/* One bit for each option, so that a command says which it takes. */
enum cli_option_id {
	OPTION_CONFIG = 1 << 0,
	OPTION_CONTROL = 1 << 1,
	OPTION_LISTEN = 1 << 2,
	OPTION_WORKERS = 1 << 3,
	OPTION_DUMP = 1 << 4,
	OPTION_JSON = 1 << 5,
	OPTION_TIMEOUT = 1 << 6,
	OPTION_NOW = 1 << 7,
	OPTION_HELP = 1 << 8,
	OPTION_VERSION = 1 << 9,
	OPTION_BINARY = 1 << 10,
	OPTION_SCENARIO = 1 << 20,
	OPTION_PLOT = 1 << 21,
	OPTION_ONCE = 1 << 22,
	OPTION_INTERVAL = 1 << 23,
};

#define OPTIONS_GLOBAL (OPTION_CONFIG | OPTION_CONTROL | OPTION_HELP | OPTION_VERSION)
#define OPTIONS_FIND   (OPTION_CONFIG | OPTION_CONTROL | OPTION_HELP)

/* One call of the program, as its command sees it. */
struct cli {
	const struct cli_env *env;
	const char *name;		/* of the command, for messages; NULL before it is known */
	const char *config;		/* -c; NULL: not given */
	const char *control, *listen;
	const char *binary;		/* NULL: not given */
	const char *scenario, *plot;	/* of sim; NULL: not given */
	unsigned workers;		/* 0: not given */
	uint64_t timeout_ms;		/* 0: not given */
	uint64_t interval_ms;		/* of top */
	unsigned given;			/* option bits */
	int operand_count;
	char **operands;
};

struct cli_command {
	const char *name;
	const char *operands;		/* for the usage line */
	const char *summary;
	unsigned options;
	int min_operands, max_operands;
	int (*run)(struct cli *cli);
};

/* cli.c */
extern const struct cli_command cli_commands[];
const struct cli_command *cli_command_find(const char *name);
/* "sluice status: MESSAGE" and how to learn more; returns CLI_USAGE. */
int cli_usage(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "sluice: MESSAGE"; returns CLI_FAILURE. */
int cli_fail(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* cli_options.c */
/*
 * Reads the options in `mask` from argv (argv[0] is skipped) into `cli`, the operands too.  `stops_early`: at the first
 * operand.  CLI_OK or CLI_USAGE, the fault printed.
 */
int cli_options_parse(struct cli *cli, unsigned mask, bool stops_early, int argc, char **argv);
void cli_options_print(unsigned mask, FILE *out);
/* "[-c FILE] [--json]" */
void cli_options_print_usage(unsigned mask, FILE *out);

/* cli_control.c */
/*
 * Who is not root can use neither /run/sluice nor bpffs: where the configuration says nothing else, the control socket
 * goes to a folder of the user's own and nothing is pinned.  CLI_OK, or CLI_FAILURE with the fault printed.
 */
int cli_control_settle(struct cli *cli, struct config *config);
/* Path of the control socket of the server that is meant.  CLI_OK, or CLI_FAILURE with the fault printed. */
int cli_control_find(struct cli *cli, char path[PATH_MAX]);

/* cli_serve.c, cli_ask.c */
int cli_do_run(struct cli *cli);
int cli_do_check(struct cli *cli);
int cli_do_files(struct cli *cli);
int cli_do_proxy(struct cli *cli);
int cli_do_status(struct cli *cli);
int cli_do_stop(struct cli *cli);
int cli_do_reopen(struct cli *cli);
/* The file named by -c, or the default one.  NULL with all its faults printed. */
struct config *cli_config_load(struct cli *cli);
/*
 * Asks the server that is meant, which has `limit_ms` to answer; the question stays the caller's, *ret_answer becomes it.
 * CLI_OK, or CLI_FAILURE with the fault printed.
 */
int cli_exchange(struct cli *cli, const json_t *question, uint64_t limit_ms, json_t **ret_answer);

/* cli_action.c */
struct cli_action {
	const char *name, *operands, *summary;	/* operands: "SLOT N" or "" */
	int operand_count;
	json_t *(*ask)(struct cli *cli);	/* the question; NULL: the fault is printed */
	int (*print)(struct cli *cli, const json_t *answer);	/* CLI_OK, or CLI_FAILURE with the fault printed */
};
void cli_actions_print(const struct cli_action *actions, size_t count, FILE *out);
/* The action that the first operand names; without one the first of the table. */
int cli_actions_run(struct cli *cli, const struct cli_action *actions, size_t count);

/* top.c */
int cli_do_top(struct cli *cli);

/* cli_reload.c */
int cli_do_reload(struct cli *cli);
/* What a reload or an upgrade reports, but for its first line. */
void cli_print_changes(FILE *out, const json_t *report);
/* In words, or as JSON where that is asked for. */
void cli_show_report(const struct cli *cli, const json_t *report, void (*print)(FILE *out, const json_t *report));

/* cli_upgrade.c */
int cli_do_upgrade(struct cli *cli);

/* cli_load.c */
int cli_do_load(struct cli *cli);

/* cli_sim.c */
int cli_do_sim(struct cli *cli);
/* The scenarios and the keys, for `sluice help sim`. */
void cli_sim_explain(FILE *out);

/* cli_steer.c */
int cli_do_steer(struct cli *cli);
void cli_steer_print_actions(FILE *out);

/* cli_upstream.c */
int cli_do_upstream(struct cli *cli);
void cli_upstream_print_actions(FILE *out);

#endif
