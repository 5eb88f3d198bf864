/* SPDX-License-Identifier: MIT */
/* What ctl.c (listening, clients come and go) and ctl_request.c (question and answer) share. */
#ifndef SLUICE_PROC_CTL_INTERNAL_H
#define SLUICE_PROC_CTL_INTERNAL_H

#include "net/unix_sock.h"
#include "proc/ctl.h"

enum request_state {
	REQUEST_READING,
	REQUEST_RUNNING,
	REQUEST_ORPHAN,
	REQUEST_WRITING,
	REQUEST_HELD,
	REQUEST_DEAD,
};

struct ctl_request {
	struct list node;	/* of ctl.requests */
	struct io io;
	struct timer timer;
	struct job free_job;
	struct ctl *ctl;
	enum request_state state;
	bool is_last;		/* HELD follows, not the close */
	char *line;		/* the question, then the answer */
	size_t line_len, line_room, sent_len;
};

struct ctl {
	struct loop *loop;
	struct unix_listener listener;
	struct io io;
	struct timer retry;	/* accepting failed for want of descriptors or memory */
	struct job free_job;
	struct list requests;
	struct ctl_options opt;
	struct ctl_stats stats;
};

/* Takes the descriptor over, closes it also on failure.  `text`: what was read of it already.  0 or -errno. */
int ctl_request_start(struct ctl *c, int fd, const char *text, size_t len);
/* The one place where a request ends; the memory goes at the end of the turn. */
void ctl_request_finish(struct ctl_request *rq);

#endif
