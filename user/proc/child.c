/* SPDX-License-Identifier: MIT */
/* Signals of a forked process; see child.h. */
#include "proc/child.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>

int child_open_signals(void)
{
	sigset_t mine;
	int fd;

	sigemptyset(&mine);
	sigaddset(&mine, SIGTERM);
	sigaddset(&mine, SIGQUIT);
	/* A terminal sends Ctrl-C to the whole group and a rotation may signal all: both are the master's business. */
	sigaddset(&mine, SIGINT);
	sigaddset(&mine, SIGHUP);
	sigaddset(&mine, SIGUSR1);
	/* In one step: a signal that waits already must not end this process on the way. */
	sigprocmask(SIG_SETMASK, &mine, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* A log at its size limit (RLIMIT_FSIZE) must fail a write, not kill the process. */
	signal(SIGXFSZ, SIG_IGN);
	sigdelset(&mine, SIGINT);
	sigdelset(&mine, SIGHUP);
	sigdelset(&mine, SIGUSR1);
	fd = signalfd(-1, &mine, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
