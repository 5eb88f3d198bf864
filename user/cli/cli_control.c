/* SPDX-License-Identifier: MIT */
/*
 * Where the control socket is, for who serves and for who asks.
 *
 * Root uses what the configuration says ("/run/sluice/control.sock" by default).  Another user can
 * write neither there nor to bpffs, so with the defaults its servers use "sluice-PORT.sock" in
 * $XDG_RUNTIME_DIR, or else in
 * "/tmp/sluice-UID/" (0700), and pin nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "net/unix_sock.h"

#define PROBE_MS 500 /* for a live but busy server to take one more connection */

/* Is it a folder that only this user can write to? */
static bool is_own_folder(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       (st.st_mode & 022) == 0;
}

/* In /tmp anybody may have made the folder first: then it is refused. */
static int user_folder(struct cli *cli, char folder[PATH_MAX])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (runtime && runtime[0] == '/' && is_own_folder(runtime)) {
		snprintf(folder, PATH_MAX, "%s", runtime);
		return CLI_OK;
	}
	snprintf(folder, PATH_MAX, "/tmp/sluice-%u", (unsigned)geteuid());
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return cli_fail(cli, "cannot make '%s': %s", folder, strerror(errno));
	if (!is_own_folder(folder))
		return cli_fail(cli, "'%s' is not this user's own folder; use --control PATH",
				folder);
	return CLI_OK;
}

static int user_socket(struct cli *cli, const struct config *config, char path[PATH_MAX])
{
	unsigned port = config->listen_count ? sock_addr_port(&config->listens[0].addr) : 0;
	char folder[PATH_MAX];
	int status = user_folder(cli, folder);
	int len;

	if (status != CLI_OK)
		return status;
	/* With port 0 the kernel chooses one, too late for the name. */
	if (port)
		len = snprintf(path, PATH_MAX, "%s/sluice-%u.sock", folder, port);
	else
		len = snprintf(path, PATH_MAX, "%s/sluice-p%u.sock", folder, (unsigned)getpid());
	if (len >= PATH_MAX)
		return cli_fail(cli, "the name of '%s' is too long", folder);
	return CLI_OK;
}

static bool is_same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static int replace(struct cli *cli, char **where, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return cli_fail(cli, "%s", strerror(ENOMEM));
	free(*where);
	*where = copy;
	return CLI_OK;
}

static void drop_pin(struct config *config)
{
	free(config->pin);
	config->pin = NULL;
	config->is_pin_given = true;
}

int cli_control_settle(struct cli *cli, struct config *config)
{
	struct config *defaults;
	char path[PATH_MAX];
	int status = CLI_OK;

	if (cli->control) {
		/* A second server of a one-line command must not take the pins of the first. */
		if (!config->path)
			drop_pin(config);
		config->is_control_given = true;
		return replace(cli, &config->control, cli->control);
	}
	if (cli->env->is_root)
		return CLI_OK;
	defaults = config_new();
	if (!defaults)
		return cli_fail(cli, "%s", strerror(ENOMEM));
	if (is_same(config->pin, defaults->pin))
		drop_pin(config);
	if (is_same(config->control, defaults->control)) {
		status = user_socket(cli, config, path);
		if (status == CLI_OK)
			status = replace(cli, &config->control, path);
		config->is_control_given = true;
	}
	config_free(defaults);
	return status;
}

static int give(struct cli *cli, const char *found, char path[PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s", found) >= PATH_MAX)
		return cli_fail(cli, "'%s': %s", found, strerror(ENAMETOOLONG));
	return CLI_OK;
}

/* The default file, where it can be read and is right; else what holds without a file. */
static int system_socket(struct cli *cli, char path[PATH_MAX])
{
	struct config_errors errors;
	struct config *config = NULL;
	int status;

	/* A file that became wrong after the start of the server must not hide the server. */
	config_load(CLI_CONFIG_PATH, &config, &errors);
	config_errors_free(&errors);
	if (!config)
		config = config_new();
	if (!config)
		return cli_fail(cli, "%s", strerror(ENOMEM));
	status = give(cli, config->control, path);
	config_free(config);
	return status;
}

static bool is_answering(const char *path)
{
	int fd = unix_connect(path, PROBE_MS);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Looks for servers of this user; `path` is only changed when there is exactly one. */
static int search(struct cli *cli, const char *folder, char path[PATH_MAX])
{
	char found[PATH_MAX] = "", candidate[PATH_MAX];
	unsigned count = 0;
	struct dirent *entry;
	DIR *dir = opendir(folder);

	if (!dir)
		return CLI_OK;
	while ((entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (strncmp(entry->d_name, "sluice-", 7) != 0 || len < 5 ||
		    strcmp(entry->d_name + len - 5, ".sock") != 0)
			continue;
		if (snprintf(candidate, sizeof(candidate), "%s/%s", folder, entry->d_name) >=
			    (int)sizeof(candidate) ||
		    !is_answering(candidate))
			continue;
		if (count++ == 0)
			memcpy(found, candidate, sizeof(found));
		else if (count == 2)
			cli_fail(cli,
				 "several servers run, name one:\n  --control %s\n  --control %s",
				 found, candidate);
		else
			fprintf(cli->env->err, "  --control %s\n", candidate);
	}
	closedir(dir);
	if (count > 1)
		return CLI_FAILURE;
	return count ? give(cli, found, path) : CLI_OK;
}

static int find_without_options(struct cli *cli, char path[PATH_MAX])
{
	char folder[PATH_MAX];
	int status = system_socket(cli, path);

	if (status != CLI_OK || cli->env->is_root || access(path, R_OK | W_OK) == 0)
		return status;
	status = user_folder(cli, folder);
	return status == CLI_OK ? search(cli, folder, path) : status;
}

int cli_control_find(struct cli *cli, char path[PATH_MAX])
{
	struct config *config;
	int status;

	if (cli->control)
		return give(cli, cli->control, path);
	if (!cli->config)
		return find_without_options(cli, path);
	config = cli_config_load(cli);
	if (!config)
		return CLI_FAILURE;
	status = cli_control_settle(cli, config);
	if (status == CLI_OK)
		status = give(cli, config->control, path);
	config_free(config);
	return status;
}
