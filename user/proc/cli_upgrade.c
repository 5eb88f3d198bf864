/* SPDX-License-Identifier: MIT */
/* `sluice upgrade`: another program in the place of the one that runs; waits, and says what came of it. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/cli_internal.h"
#include "proc/ctl_client.h"

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

static int exchange(struct cli *cli, const json_t *question, const char *path, uint64_t limit_ms)
{
	struct ctl_client client;
	json_t *answer = NULL;
	int status = CLI_OK, err = ctl_client_open(&client, path, CTL_TIMEOUT_MS);

	if (!err)
		err = ctl_client_send(&client, question, CTL_TIMEOUT_MS);
	if (!err)
		err = ctl_client_receive(&client, &answer, limit_ms);
	if (err) {
		if (client.details)
			fputs(client.details, cli->env->err);
		status = cli_fail(cli, "%s", client.error);
	} else if (cli->given & OPTION_JSON) {
		json_dumpf(json_object_get(answer, "upgrade"), cli->env->out, JSON_INDENT(2));
		fputc('\n', cli->env->out);
	} else {
		print_report(cli->env->out, json_object_get(answer, "upgrade"));
	}
	json_decref(answer);
	ctl_client_close(&client);
	return status;
}

int cli_do_upgrade(struct cli *cli)
{
	uint64_t ready_ms = cli->timeout_ms ? cli->timeout_ms : READY_WAIT_MS;
	char path[PATH_MAX];
	json_t *question;
	int status = cli_control_find(cli, path);

	if (status != CLI_OK)
		return status;
	question = make_question(cli, ready_ms);
	if (!question)
		return CLI_FAILURE;
	status = exchange(cli, question, path, ready_ms + EXTRA_WAIT_MS);
	json_decref(question);
	return status;
}
