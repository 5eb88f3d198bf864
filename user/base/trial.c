/* SPDX-License-Identifier: MIT */
/* A process of a moment; see trial.h.  What it has to say comes through a pipe. */
#include "base/trial.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

/* In the child: the process ends. */
static _Noreturn void be_child(const struct trial *t, char *why, size_t size, int fd)
{
	int err = privilege_drop(t->identity);

	/* What kills it is to do so at once, whatever a library made of these before. */
	signal(SIGBUS, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	if (err)
		snprintf(why, size, "cannot give up rights: %s", strerror(-err));
	else
		t->run(t->ctx, why, size);
	why[size - 1] = '\0';
	if (*why && write(fd, why, strlen(why)) < 0)
		_exit(2);
	_exit(*why ? 1 : 0);
}

/* What the child has to say, up to its end; false: that does not come in time. */
static bool read_words(int fd, char *why, size_t size, unsigned limit_ms)
{
	uint64_t end_ns = clock_ns() + limit_ms * NS_PER_MS, now_ns;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	do {
		now_ns = clock_ns();
		if (now_ns >= end_ns || poll(&p, 1, (int)((end_ns - now_ns) / NS_PER_MS) + 1) == 0)
			return false;
		n = read(fd, why + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	} while ((n > 0 && len < size - 1) || (n < 0 && errno == EINTR));
	why[len] = '\0';
	return true;
}

int trial_run(const struct trial *t, char *why, size_t size, int *ret_signal)
{
	int pipe_fds[2], status = 0;
	bool has_ended;
	pid_t pid;

	why[0] = '\0';
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		be_child(t, why, size, pipe_fds[1]);
	close(pipe_fds[1]);
	has_ended = pid > 0 && read_words(pipe_fds[0], why, size, t->limit_ms);
	close(pipe_fds[0]);
	if (pid < 0)
		return -EAGAIN;
	if (!has_ended) {
		kill(pid, SIGKILL);
		why[0] = '\0';
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!has_ended)
		return TRIAL_LATE;
	if (*why)
		return -EIO;
	if (WIFSIGNALED(status)) {
		*ret_signal = WTERMSIG(status);
		return TRIAL_KILLED;
	}
	return status ? -EIO : 0;
}
