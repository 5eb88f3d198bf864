/* SPDX-License-Identifier: MIT */
/*
 * Diagnostics of the processes themselves (not the access log): one line per call to stderr,
 * written by one write(2). "2026-11-21T10:00:00.123Z master[812] error: cannot bind '127.0.0.1:80':
 * Permission denied". base/ and net/ return errors and do not log; app/ and proc/ log once.
 */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Name of this process in every line, copied, at most 31 characters ("master", "worker 3"). */
void log_set_name(const char *name);
void log_set_level(enum log_level level);
/* -1 restores stderr.  The descriptor stays the caller's. */
void log_set_fd(int fd);
/* 0, or -EINVAL for an unknown name.  Names: error warn info debug. */
int log_level_parse(const char *name, enum log_level *ret_level);

/* Whoever has to pass on what is logged hears it too, whatever the level in force; NULL: nobody.  Not to be inherited. */
void log_set_tap(void (*tap)(void *ctx, enum log_level level, const char *message), void *ctx);

void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

/* For what may go wrong with every request, such as a disk that fails: the log must not fill another one with that. */
struct log_seldom {		/* zeroed before its first use */
	uint64_t next_ns, left_out;
	char more[64];
};
/* NULL: not within a second of the last line; else what is to stand at the end of the line, perhaps nothing. */
const char *log_seldom(struct log_seldom *s);

#endif
