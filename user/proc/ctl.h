/* SPDX-License-Identifier: MIT */
/*
 * The control socket of the master: accepts clients, reads one line of JSON from each, gives it to a command of the
 * master's table and sends the answer, now or later.  Runs in the master's loop; nothing that a client does, or fails
 * to do, blocks or ends the master.  include/ctl_proto.h is the protocol.
 */
#ifndef SLUICE_PROC_CTL_H
#define SLUICE_PROC_CTL_H

#include <jansson.h>
#include <stdint.h>

#include "ctl_proto.h"
#include "net/loop.h"

struct ctl;
struct ctl_request;

struct ctl_command {
	const char *name;
	/*
	 * Must lead to exactly one ctl_reply...(rq), at once or any time later; until then `rq` stays valid, whether
	 * its client waits or has left.  `args` is the whole object that the client sent, borrowed until the return.
	 */
	void (*run)(struct ctl_request *rq, const json_t *args, void *owner);
};

struct ctl_options {
	const char *path;
	const struct ctl_command *commands;	/* borrowed; ended by a NULL name */
	void *owner;				/* for the commands */
	unsigned client_max;			/* 0: CTL_CLIENT_MAX */
	uint64_t timeout_ms;			/* 0: CTL_TIMEOUT_MS */
};

struct ctl_stats {
	unsigned client_count;			/* at the moment, with unanswered requests of clients that left */
	uint64_t accepted, answered, refused;	/* connections, answers sent whole, connections turned away */
	uint64_t abandoned, timeouts;		/* clients that left or were too slow before their answer was out */
};

/*
 * 0, or -errno with a message for people in `error`: "another sluice answers at '/run/sluice/control.sock'"
 * (-EADDRINUSE).  The loop must outlive the ctl.
 */
int ctl_open(struct loop *loop, const struct ctl_options *opt, struct ctl **ret_ctl,
	     char error[CTL_ERROR_TEXT]);
/*
 * The same on the listening socket of the master before this one, which becomes the ctl's unless this fails.  Clients that
 * have connected meanwhile wait in its queue.
 */
int ctl_adopt(struct loop *loop, const struct ctl_options *opt, int fd, struct ctl **ret_ctl,
	      char error[CTL_ERROR_TEXT]);
/*
 * Accepts no more: another process does.  Who has asked is answered as ever; whoever is still asking goes there too, by
 * `send` (0 or -errno), with what was read of the question.  ctl_close() leaves the file.
 */
void ctl_leave(struct ctl *c, int (*send)(void *ctx, int fd, const char *text, size_t len), void *ctx);
/* The other side of it.  The descriptor becomes the ctl's. */
void ctl_take(struct ctl *c, int fd, const char *text, size_t len);
/* To be passed on; stays the ctl's. */
int ctl_fd(const struct ctl *c);
/*
 * Ends every connection and removes the socket file.  Requests not answered yet become invalid.  Call it as the last
 * thing before the exit: whoever waits for the end of `stop` sees it here.  NULL is allowed.
 */
void ctl_close(struct ctl *c);
/*
 * In a forked child: closes its copies of the descriptors, touches neither the file nor the parent's epoll instance.
 * The memory stays. NULL is allowed.
 */
void ctl_abandon(struct ctl *c);
const struct ctl_stats *ctl_stats(const struct ctl *c);

/* Takes `answer` over, sends it in one line and closes.  NULL (memory ran out while it was built) just closes. */
void ctl_reply(struct ctl_request *rq, json_t *answer);
/* The same, but leaves the connection open until ctl_close(), so that its end tells the client that all is over. */
void ctl_reply_last(struct ctl_request *rq, json_t *answer);
/* {"ok":false,"error":"..."} */
void ctl_reply_error(struct ctl_request *rq, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
