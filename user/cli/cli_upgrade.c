/* SPDX-License-Identifier: MIT */
/* `sluice upgrade`: another program in the place of the one that runs; waits, and says what came of it. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli_internal.h"

/* For the new program to be ready, unless --timeout says otherwise. */
#define READY_WAIT_MS 30000u
/* Beyond that: a reload that runs comes first, and connections take their time to move. */
#define EXTRA_WAIT_MS 30000u

/* A path means the same to the server only when it is absolute.  CLI_OK, or CLI_FAILURE with the fault printed. */
static int make_absolute(struct cli *cli, char path[PATH_MAX])
{
	char folder[PATH_MAX] = "";

	if (cli->binary[0] != '/' && !getcwd(folder, sizeof(folder)))
		return cli_fail(cli, "cannot tell the current folder: %s", strerror(errno));
	if (snprintf(path, PATH_MAX, "%s%s%s", folder, folder[0] ? "/" : "", cli->binary) >= PATH_MAX)
		return cli_fail(cli, "'%s': %s", cli->binary, strerror(ENAMETOOLONG));
	return CLI_OK;
}

static json_t *make_question(struct cli *cli, uint64_t ready_ms)
{
	json_t *question = json_pack("{s:s, s:I}", "command", "upgrade", "timeout_ms", (json_int_t)ready_ms);
	char path[PATH_MAX];

	if (!cli->binary)
		return question;
	if (make_absolute(cli, path) != CLI_OK || json_object_set_new(question, "binary", json_string(path)) < 0) {
		json_decref(question);
		return NULL;
	}
	return question;
}

static void print_report(FILE *out, const json_t *report)
{
	const char *binary = json_string_value(json_object_get(report, "binary"));
	const char *version = json_string_value(json_object_get(report, "version"));

	fprintf(out, "%s (version %s, pid %" PRId64 ") serves after %.0f ms\n", binary ? binary : "?",
		version ? version : "?", (int64_t)json_integer_value(json_object_get(report, "pid")),
		json_number_value(json_object_get(report, "took_ms")));
	cli_print_changes(out, report);
}

int cli_do_upgrade(struct cli *cli)
{
	uint64_t ready_ms = cli->timeout_ms ? cli->timeout_ms : READY_WAIT_MS;
	json_t *question = make_question(cli, ready_ms), *answer = NULL;
	int status;

	if (!question)
		return CLI_FAILURE;
	status = cli_exchange(cli, question, ready_ms + EXTRA_WAIT_MS, &answer);
	if (status == CLI_OK)
		cli_show_report(cli, json_object_get(answer, "upgrade"), print_report);
	json_decref(question);
	json_decref(answer);
	return status;
}
