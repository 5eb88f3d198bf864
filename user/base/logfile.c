/* SPDX-License-Identifier: MIT */
/*
 * Lines appended in batches; see logfile.h.
 *
 *   memory:  [ pending: whole lines ][ line at hand ][ free ]
 *
 * Only `pending` is ever written.  A write that the kernel cuts short within a line leaves the rest
 * of that line in front of `pending` (is_mid_line): it is the one thing that survives a refusal,
 * for the file must not keep half a line and the next line glued to it.  Other processes may have
 * appended in between; that much cannot be avoided.
 */
#include "base/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

_Static_assert(LOGFILE_LINE <= PIPE_BUF, "a line must reach a pipe in one piece");

static int open_path(const char *path)
{
	int fd;

	/* O_NONBLOCK: opening a FIFO that nobody reads, or writing to one that is full, must not
	 * hang. */
	if (strcmp(path, "-") == 0)
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
			  0640);
	return fd < 0 ? -errno : fd;
}

/* An append to a regular file is atomic whatever its length; one to a pipe up to PIPE_BUF. */
static void set_fd(struct logfile *f, int fd)
{
	struct stat st;

	f->fd = fd;
	f->write_max = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? LOGFILE_BUFFER : PIPE_BUF;
}

int logfile_open_fd(struct logfile *f, int fd)
{
	*f = (struct logfile){.fd = -1};
	f->memory = malloc(LOGFILE_BUFFER);
	if (!f->memory)
		return -ENOMEM;
	set_fd(f, fd);
	return 0;
}

int logfile_open(struct logfile *f, const char *path)
{
	int fd = open_path(path);
	char *copy;

	*f = (struct logfile){.fd = -1};
	if (fd < 0)
		return fd;
	copy = strdup(path);
	if (!copy || logfile_open_fd(f, fd) < 0) {
		free(copy);
		close(fd);
		return -ENOMEM;
	}
	f->path = copy;
	return 0;
}

/* Bytes up to and with the last line end within `len`; 0 when there is none. */
static size_t whole_lines(const char *text, size_t len)
{
	const char *end = memrchr(text, '\n', len);

	return end ? (size_t)(end - text) + 1 : 0;
}

static uint64_t count_lines(const char *text, size_t len)
{
	uint64_t count = 0;
	const char *end;

	for (; (end = memchr(text, '\n', len)); text = end + 1) {
		len -= (size_t)(end - text) + 1;
		count++;
	}
	return count;
}

static void consume(struct logfile *f, size_t len)
{
	if (!len)
		return;
	f->is_mid_line = f->memory[len - 1] != '\n';
	f->pending_len -= len;
	memmove(f->memory, f->memory + len, f->pending_len);
}

/* Gives up whole lines; the end of one that was begun stays, to be tried again. */
static void drop_lines(struct logfile *f)
{
	size_t kept = 0;

	if (f->is_mid_line)
		kept = (size_t)((char *)memchr(f->memory, '\n', f->pending_len) - f->memory) + 1;
	f->lost_count += count_lines(f->memory + kept, f->pending_len - kept);
	f->pending_len = kept;
}

static void drop_all(struct logfile *f)
{
	f->lost_count += count_lines(f->memory, f->pending_len);
	f->pending_len = 0;
	f->is_mid_line = false;
}

/* A pipe or a terminal that nobody reads would put the worker to sleep: asked first, it says so. */
static bool would_block(const struct logfile *f)
{
	struct pollfd p = {.fd = f->fd, .events = POLLOUT};

	return f->write_max < LOGFILE_BUFFER && poll(&p, 1, 0) == 0;
}

/* One write of at most write_max bytes of whole lines.  Bytes taken, or -errno. */
static ssize_t write_some(struct logfile *f, const char *text, size_t len)
{
	ssize_t n;

	if (len > f->write_max)
		len = whole_lines(text, f->write_max);
	do {
		if (would_block(f))
			return -EAGAIN;
		f->write_count++;
		n = write(f->fd, text, len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? n : -EIO;
}

void logfile_flush(struct logfile *f)
{
	size_t done = 0;
	ssize_t n = 0;

	while (done < f->pending_len) {
		n = write_some(f, f->memory + done, f->pending_len - done);
		if (n < 0)
			break;
		done += (size_t)n;
	}
	consume(f, done);
	if (n < 0)
		f->error = (int)n;
	if (n < 0 && n != -EAGAIN)
		drop_lines(f);
}

struct buf *logfile_line(struct logfile *f)
{
	if (f->pending_len + LOGFILE_LINE > LOGFILE_BUFFER) {
		logfile_flush(f);
		if (f->pending_len + LOGFILE_LINE > LOGFILE_BUFFER)
			drop_lines(f);
	}
	/* One byte less, for the line end.  Switched off: no room at all. */
	buf_init(&f->line, f->memory ? f->memory + f->pending_len : NULL,
		 f->memory ? LOGFILE_LINE - 1 : 0);
	return &f->line;
}

void logfile_commit(struct logfile *f)
{
	char *end;

	if (f->line.len == 0)
		return;
	end = f->memory + f->pending_len;
	/* A flush since logfile_line() has moved the place where the line belongs. */
	if (f->line.ptr != end)
		memmove(end, f->line.ptr, f->line.len);
	end[f->line.len] = '\n';
	f->pending_len += f->line.len + 1;
	f->line.len = 0;
	f->line_count++;
}

static void switch_fd(struct logfile *f, int fd)
{
	logfile_flush(f);
	/* What the old file did not take is lost: half a line would mean nothing in the new one. */
	drop_all(f);
	if (f->fd >= 0)
		close(f->fd);
	set_fd(f, fd);
}

int logfile_reopen(struct logfile *f)
{
	int fd;

	if (!f->path) {
		logfile_flush(f);
		return 0;
	}
	fd = open_path(f->path);
	if (fd < 0) {
		logfile_flush(f);
		return fd;
	}
	switch_fd(f, fd);
	return 0;
}

void logfile_replace_fd(struct logfile *f, int fd)
{
	if (f->memory)
		switch_fd(f, fd);
	else if (logfile_open_fd(f, fd) < 0)
		close(fd);
}

void logfile_close(struct logfile *f)
{
	if (!f->memory)
		return;
	switch_fd(f, -1);
	free(f->memory);
	free(f->path);
	*f = (struct logfile){.fd = -1,
			      .line_count = f->line_count,
			      .lost_count = f->lost_count,
			      .write_count = f->write_count};
}
