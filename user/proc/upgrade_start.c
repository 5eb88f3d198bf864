/* SPDX-License-Identifier: MIT */
/*
 * Starting the next program.  It gets what this process was started with: arguments, environment, working directory; and
 * two things more, its end of the socket and a pipe for stderr, so that whoever asked reads what it says (a configuration
 * with faults, a library that is missing) before it can speak for itself.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/master_internal.h"

#define ARGUMENTS_SIZE (256 * 1024)

/* How we were started ----------------------------------------------------------------------------------------- */

static char **split(const char *text, size_t len)
{
	unsigned count = 0, at = 0;
	char **argv;

	for (size_t i = 0; i < len; i++)
		count += text[i] == '\0';
	argv = calloc(count + 1, sizeof(*argv));
	for (size_t i = 0; argv && at < count; i += strlen(text + i) + 1) {
		argv[at] = strdup(text + i);
		if (!argv[at++])
			return NULL;
	}
	return argv;
}

/* The kernel keeps them as they came, whatever the program did with its array. */
static char **read_arguments(void)
{
	FILE *in = fopen("/proc/self/cmdline", "re");
	char *text = in ? malloc(ARGUMENTS_SIZE) : NULL;
	size_t len = text ? fread(text, 1, ARGUMENTS_SIZE, in) : 0;
	char **argv = len > 0 && len < ARGUMENTS_SIZE && text[len - 1] == '\0' ? split(text, len) : NULL;

	free(text);
	if (in)
		fclose(in);
	return argv;
}

static bool is_this_program(const char *path)
{
	struct stat mine, other;

	return stat("/proc/self/exe", &mine) == 0 && stat(path, &other) == 0 && mine.st_dev == other.st_dev &&
	       mine.st_ino == other.st_ino;
}

/* Links stay links: one that points at a new version later on is the usual way to install it. */
static bool find_by_name(const char *name, char path[PATH_MAX])
{
	char folder[PATH_MAX];

	if (!strchr(name, '/'))
		return false;
	if (name[0] == '/')
		return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX && is_this_program(path);
	return getcwd(folder, sizeof(folder)) && snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX &&
	       is_this_program(path);
}

void upgrade_look_at_self(struct upgrade *u)
{
	char path[PATH_MAX];
	ssize_t len;

	u->argv = read_arguments();
	if (!u->argv)
		return;
	/* Now: once the file has been replaced the kernel knows only the one that is gone. */
	if (!find_by_name(u->argv[0], path)) {
		len = readlink("/proc/self/exe", path, sizeof(path) - 1);
		if (len <= 0)
			return;
		path[len] = '\0';
	}
	u->binary = strdup(path);
}

/* The next one ------------------------------------------------------------------------------------------------ */

static void set_number(const char *name, long number)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", number);
	setenv(name, text, 1);
}

static _Noreturn void become(const struct upgrade *u, const char *binary, int sock, int said)
{
	char reason[256];
	sigset_t none;

	set_number(UPGRADE_VARIABLE, sock);
	/* Who feeds the watchdog is told by pid. */
	if (getenv("WATCHDOG_PID"))
		set_number("WATCHDOG_PID", getpid());
	fcntl(sock, F_SETFD, 0);
	dup2(said, STDERR_FILENO);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	u->argv[0] = (char *)binary;
	execv(binary, u->argv);
	reason[0] = UPGRADE_FAILED;
	snprintf(reason + 1, sizeof(reason) - 1, "cannot execute '%.150s': %s", binary, strerror(errno));
	fd_pass_send(sock, reason, strlen(reason), -1);
	_exit(127);
}

static void close_both(const int pair[2])
{
	close(pair[0]);
	close(pair[1]);
}

pid_t upgrade_spawn(const struct upgrade *u, const char *binary, int *ret_sock, int *ret_said)
{
	int sock[2], said[2], err;
	pid_t pid;

	err = fd_pass_pair(sock);
	if (err)
		return err;
	if (pipe2(said, O_CLOEXEC) < 0) {
		err = -errno;
		close_both(sock);
		return err;
	}
	/* Only our end: the program at the other one expects a stderr that takes everything. */
	fcntl(said[0], F_SETFL, O_NONBLOCK);
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		err = -errno;
		close_both(sock);
		close_both(said);
		return err;
	}
	if (pid == 0)
		become(u, binary, sock[1], said[1]);
	close(sock[1]);
	close(said[1]);
	*ret_sock = sock[0];
	*ret_said = said[0];
	return pid;
}
