/* SPDX-License-Identifier: MIT */
/*
 * A file that one worker appends lines to in batches: lines gather in a buffer, one write(2) with
 * O_APPEND takes many. Several processes append to the same file without locks: each write is whole
 * lines.  A disk that refuses loses lines (counted), never blocks the rest of the worker; a pipe
 * that is full keeps its lines until the buffer is full too. The process ignores SIGPIPE and
 * SIGXFSZ.  Switched off: { .fd = -1 } or all zero; everything then does nothing.
 */
#ifndef SLUICE_BASE_LOGFILE_H
#define SLUICE_BASE_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Bytes.  The cost of a write is that of the pages it touches and of entering the file system: measured on ext4, a line of
 * 300 bytes takes 108 ns of the kernel's time at 32 KiB, 83 at 64, 72 at 128.
 */
#define LOGFILE_BUFFER 65536
#define LOGFILE_LINE   4096 /* bytes; longer lines are cut, still ended by \n */

struct logfile {
	int fd;	    /* -1: off */
	char *path; /* NULL: the descriptor was given and is not reopened */
	char *memory;
	struct buf line;      /* the line at hand */
	size_t pending_len;   /* committed, not written yet */
	size_t write_max;     /* bytes of one write that stay in one piece */
	bool is_mid_line;     /* the first pending bytes end a line that was written in part */
	uint64_t line_count;  /* committed */
	uint64_t lost_count;  /* lines of them that did not arrive whole */
	uint64_t write_count; /* system calls */
	int error;	      /* -errno of the write that failed last; 0: none has */
};

/* Opens for append, creates with 0640.  "-" is standard output.  0, or -errno and switched off. */
int logfile_open(struct logfile *f, const char *path);
/* Takes over a descriptor (the worker has no right to open the path itself); on failure it stays
 * the caller's. */
int logfile_open_fd(struct logfile *f, int fd);
/*
 * Room for one line of LOGFILE_LINE bytes: write into it with buf_*, then logfile_commit; without a
 * commit the line is dropped.  Flushes first when full.
 */
struct buf *logfile_line(struct logfile *f);
/* Ends the line with \n (cutting it where it was truncated).  An empty line is none. */
void logfile_commit(struct logfile *f);
void logfile_flush(struct logfile *f);
/* After a rotation: flush to the old file, open the path anew.  On failure the old one stays;
 * -errno. */
int logfile_reopen(struct logfile *f);
/* Flushes and replaces the descriptor (handed in by the master), the old one is closed; switches on
 * one that is off. */
void logfile_replace_fd(struct logfile *f, int fd);
void logfile_close(struct logfile *f);

#endif
