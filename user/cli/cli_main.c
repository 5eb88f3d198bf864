/* SPDX-License-Identifier: MIT */
/* The command line of the real program: apart from the rest, so that its tests need no server. */
#include <unistd.h>

#include "cli/cli.h"
#include "proc/master.h"

int cli_main(int argc, char **argv)
{
	const struct cli_env env = {
		.out = stdout,
		.err = stderr,
		.is_root = geteuid() == 0,
		.serve = master_run,
	};

	return cli_run(&env, argc, argv);
}
