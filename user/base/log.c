/* SPDX-License-Identifier: MIT */
/* Diagnostics; see log.h.  A line is put together on the stack and leaves in one write(2). */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

/* Below PIPE_BUF, so that lines of several processes do not mix in a pipe either. */
#define LINE_SIZE 2048
#define CUT_MARK  "..."

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static enum log_level log_threshold = LOG_INFO;
static char process_name[32] = "sluice";
static int log_fd = STDERR_FILENO;
static void (*log_tap)(void *ctx, enum log_level level, const char *message);
static void *log_tap_ctx;

void log_set_name(const char *name)
{
	snprintf(process_name, sizeof(process_name), "%s", name);
}

void log_set_level(enum log_level level)
{
	log_threshold = level;
}

void log_set_fd(int fd)
{
	log_fd = fd < 0 ? STDERR_FILENO : fd;
}

void log_set_tap(void (*tap)(void *ctx, enum log_level level, const char *message), void *ctx)
{
	log_tap = tap;
	log_tap_ctx = ctx;
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
	for (unsigned i = 0; i < ARRAY_LEN(level_names); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static void add_head(struct buf *b, enum log_level level)
{
	uint64_t now_ns = clock_wall_ns();
	time_t second = (time_t)(now_ns / NS_PER_SEC);
	struct tm tm;

	gmtime_r(&second, &tm);
	buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ %s[%d] %s: ", tm.tm_year + 1900,
		   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		   (unsigned)(now_ns % NS_PER_SEC / NS_PER_MS), process_name, (int)getpid(),
		   level_names[level]);
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* A line stays a line, and a terminal stays as it is, whatever a peer put into the message. */
static void add_escaped(struct buf *b, const char *text)
{
	for (; *text && !b->is_truncated; text++) {
		if (*text == '\n')
			buf_add_lit(b, "\\n");
		else if (is_control(*text))
			buf_printf(b, "\\x%02x", (unsigned char)*text);
		else
			buf_add_char(b, *text);
	}
}

void log_at(enum log_level level, const char *fmt, ...)
{
	char message[LINE_SIZE];
	char line[LINE_SIZE];
	int saved = errno;
	struct buf b;
	va_list ap;

	if (level > log_threshold && !log_tap)
		return;
	va_start(ap, fmt);
	if (vsnprintf(message, sizeof(message), fmt, ap) < 0)
		snprintf(message, sizeof(message), "(a message that cannot be printed: %s)", fmt);
	va_end(ap);
	if (log_tap)
		log_tap(log_tap_ctx, level, message);
	if (level > log_threshold)
		goto out;
	buf_init(&b, line, sizeof(line) - sizeof(CUT_MARK "\n"));
	add_head(&b, level);
	add_escaped(&b, message);
	b.cap = sizeof(line);
	if (b.is_truncated) {
		b.is_truncated = false;
		buf_add_lit(&b, CUT_MARK);
	}
	buf_add_char(&b, '\n');
	while (write(log_fd, line, b.len) < 0 && errno == EINTR)
		;
out:
	errno = saved;
}

const char *log_seldom(struct log_seldom *s)
{
	uint64_t now_ns = clock_ns();

	if (now_ns < s->next_ns) {
		s->left_out++;
		return NULL;
	}
	s->next_ns = now_ns + NS_PER_SEC;
	s->more[0] = '\0';
	if (s->left_out)
		snprintf(s->more, sizeof(s->more), ", and %llu times since the last line",
			 (unsigned long long)s->left_out);
	s->left_out = 0;
	return s->more;
}
