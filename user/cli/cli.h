/* SPDX-License-Identifier: MIT */
/*
 * The command line: `sluice COMMAND [OPTIONS]`.  Commands and options are tables, so that help, checking and the nearest
 * name of a mistyped one come from one place.
 */
#ifndef SLUICE_PROC_CLI_H
#define SLUICE_PROC_CLI_H

#include <stdbool.h>
#include <stdio.h>

struct config;

/* Exit statuses. */
#define CLI_OK	    0
#define CLI_FAILURE 1
#define CLI_USAGE   2	/* the command line itself is wrong */

#define CLI_CONFIG_PATH "/etc/sluice/sluice.conf"

/* What a test replaces. */
struct cli_env {
	FILE *out, *err;
	bool is_root;
	/* Serves until stopped; returns an exit status. */
	int (*serve)(struct config *config);
};

/* argv[0] is the program's name; the array is reordered.  Returns an exit status. */
int cli_run(const struct cli_env *env, int argc, char **argv);
/* With the standard streams and the real server. */
int cli_main(int argc, char **argv);

#endif
