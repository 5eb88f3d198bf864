/* SPDX-License-Identifier: MIT */
/* Commands that need no running server: run, check, files, proxy. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"

#define LISTEN_TEXT 64

struct config *cli_config_load(struct cli *cli)
{
	const char *path = cli->config ? cli->config : CLI_CONFIG_PATH;
	struct config_errors errors;
	struct config *config = NULL;
	unsigned count;

	if (!cli->config && access(path, F_OK) < 0) {
		cli_fail(cli,
			 "there is no '%s': name a configuration with -c FILE,\n"
			 "or serve without one: sluice files DIR, sluice proxy TO",
			 path);
		return NULL;
	}
	if (config_load(path, &config, &errors) < 0) {
		count = errors.count + errors.omitted;
		config_errors_print(&errors, cli->env->err);
		cli_fail(cli, "%u error%s in '%s'", count, count == 1 ? "" : "s", path);
	}
	config_errors_free(&errors);
	return config;
}

static int serve_and_free(struct cli *cli, struct config *config)
{
	int status = cli_control_settle(cli, config);

	if (status == CLI_OK)
		status = cli->env->serve(config);
	config_free(config);
	return status;
}

int cli_do_run(struct cli *cli)
{
	struct config *config = cli_config_load(cli);

	return config ? serve_and_free(cli, config) : CLI_FAILURE;
}

int cli_do_check(struct cli *cli)
{
	struct config *config = cli_config_load(cli);
	unsigned route_count = 0;

	if (!config)
		return CLI_FAILURE;
	for (unsigned i = 0; i < config->site_count; i++)
		route_count += config->sites[i].route_count;
	if (cli->given & OPTION_DUMP)
		config_dump(config, cli->env->out);
	else
		fprintf(cli->env->out,
			"%s: correct; addresses: %u, upstreams: %u, sites: %u, routes: %u\n",
			config->path ? config->path : "configuration", config->listen_count + config->udp_listen_count,
			config->upstream_count, config->site_count, route_count);
	config_free(config);
	return CLI_OK;
}

/* "8080" alone is a port of this machine only: who types so little should not serve the world. */
static const char *complete_listen(const char *listen, char text[LISTEN_TEXT])
{
	if (!listen || !listen[0] || strlen(listen) > 5 || listen[strspn(listen, "0123456789")])
		return listen;
	snprintf(text, LISTEN_TEXT, "127.0.0.1:%s", listen);
	return text;
}

static int refuse_listen(struct cli *cli)
{
	return cli_usage(cli,
			 "'%s' is no address: expected HOST:PORT such as 127.0.0.1:8080, "
			 "[::1]:8080, :8080, or a port",
			 cli->listen ? cli->listen : CONFIG_FILES_LISTEN);
}

static int serve_one_line(struct cli *cli, struct config *config)
{
	if (cli->workers)
		config->workers = cli->workers;
	return serve_and_free(cli, config);
}

int cli_do_files(struct cli *cli)
{
	char text[LISTEN_TEXT];
	const char *listen = complete_listen(cli->listen, text);
	struct config *config = NULL;
	int err = config_for_files(cli->operands[0], listen, &config);

	if (err == -EINVAL)
		return refuse_listen(cli);
	if (err < 0)
		return cli_fail(cli, "cannot serve '%s': %s", cli->operands[0], strerror(-err));
	return serve_one_line(cli, config);
}

int cli_do_proxy(struct cli *cli)
{
	char text[LISTEN_TEXT];
	const char *listen = complete_listen(cli->listen, text);
	struct config *config = NULL;
	int err = config_for_proxy(cli->operands[0], listen, &config);

	if (err == -EINVAL)
		return refuse_listen(cli);
	if (err == -EDOM)
		return cli_usage(cli,
				 "'%s' is no server: expected a port, HOST:PORT or unix:/PATH, "
				 "such as 3000, 127.0.0.1:3000, app.internal:80 or "
				 "http://127.0.0.1:3000/",
				 cli->operands[0]);
	if (err < 0)
		return cli_fail(cli, "%s", strerror(-err));
	return serve_one_line(cli, config);
}
