/* SPDX-License-Identifier: MIT */
/* Commands that ask a running server: status, stop, reopen. */
#include <errno.h>
#include <jansson.h>

#include "base/clock.h"
#include "cli/cli_internal.h"
#include "proc/ctl_client.h"
#include "proc/status.h"

#define STOP_WAIT_MS 60000 /* twice the default time that connections get to drain */

/* CLI_OK with the answer, or the fault printed. */
static int ask(struct cli *cli, const char *command, json_t **ret_answer)
{
	struct ctl_client client;
	char path[PATH_MAX];
	int status = cli_control_find(cli, path);

	if (status != CLI_OK)
		return status;
	if (ctl_client_ask(&client, path, command, ret_answer, CTL_TIMEOUT_MS) < 0)
		status = cli_fail(cli, "%s", client.error);
	ctl_client_close(&client);
	return status;
}

int cli_exchange(struct cli *cli, const json_t *question, uint64_t limit_ms, json_t **ret_answer)
{
	uint64_t reach_ms = limit_ms < CTL_TIMEOUT_MS ? limit_ms : CTL_TIMEOUT_MS;
	struct ctl_client client;
	char path[PATH_MAX];
	int status = cli_control_find(cli, path), err;

	if (status != CLI_OK)
		return status;
	err = ctl_client_open(&client, path, reach_ms);
	if (!err)
		err = ctl_client_send(&client, question, reach_ms);
	if (!err)
		err = ctl_client_receive(&client, ret_answer, limit_ms);
	if (err && client.details)
		fputs(client.details, cli->env->err);
	if (err)
		status = cli_fail(cli, "%s", client.error);
	ctl_client_close(&client);
	return status;
}

int cli_do_status(struct cli *cli)
{
	json_t *answer = NULL, *report;
	int status = ask(cli, "status", &answer);

	if (status != CLI_OK)
		return status;
	report = json_object_get(answer, "status");
	if (!json_is_object(report)) {
		status = cli_fail(cli, "the server's answer holds no status");
	} else if (cli->given & OPTION_JSON) {
		json_dumpf(report, cli->env->out, JSON_INDENT(2));
		fputc('\n', cli->env->out);
	} else {
		status_print(report, cli->env->out);
	}
	json_decref(answer);
	return status;
}

int cli_do_reopen(struct cli *cli)
{
	json_t *answer = NULL;
	int status = ask(cli, "reopen", &answer);

	json_decref(answer);
	return status;
}

static uint64_t rest_of(uint64_t timeout_ms, uint64_t since_ns)
{
	uint64_t passed_ms = (clock_ns() - since_ns) / NS_PER_MS;

	return passed_ms < timeout_ms ? timeout_ms - passed_ms : 1;
}

/* 0 or -errno; the fault is in client->error. */
static int stop_and_wait(struct cli *cli, struct ctl_client *client, const char *path,
			 uint64_t timeout_ms)
{
	json_t *question =
		json_pack("{s:s, s:b}", "command", "stop", "hard", (cli->given & OPTION_NOW) != 0);
	json_t *answer = NULL;
	uint64_t start_ns = clock_ns();
	int err = ctl_client_open(client, path, timeout_ms);

	if (!err)
		err = ctl_client_send(client, question, rest_of(timeout_ms, start_ns));
	if (!err)
		err = ctl_client_receive(client, &answer, rest_of(timeout_ms, start_ns));
	/*
	 * The answer says that the workers have left, the end of the connection that the master has.  No answer but the
	 * end: another stop was further on than ours, and all that counts is that the process goes.
	 */
	if (!err || (err == -EPIPE && client->pid))
		err = ctl_client_wait_end(client, rest_of(timeout_ms, start_ns));
	json_decref(answer);
	json_decref(question);
	return err;
}

int cli_do_stop(struct cli *cli)
{
	uint64_t timeout_ms = cli->timeout_ms ? cli->timeout_ms : STOP_WAIT_MS;
	struct ctl_client client;
	char path[PATH_MAX];
	int status = cli_control_find(cli, path);
	int err;

	if (status != CLI_OK)
		return status;
	err = stop_and_wait(cli, &client, path, timeout_ms);
	if (!err)
		fprintf(cli->env->out, "sluice (pid %d) has stopped\n", (int)client.pid);
	else if (err == -ETIMEDOUT && client.pid)
		status = cli_fail(cli, "pid %d is still stopping after %g s, and goes on",
				  (int)client.pid, (double)timeout_ms / 1000);
	else
		status = cli_fail(cli, "%s", client.error);
	ctl_client_close(&client);
	return status;
}
