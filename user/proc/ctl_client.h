/* SPDX-License-Identifier: MIT */
/*
 * The command line's side of the control socket: blocking, each wait bounded.  Errors come as text for people, since
 * whoever reads them typed the command.
 */
#ifndef SLUICE_PROC_CTL_CLIENT_H
#define SLUICE_PROC_CTL_CLIENT_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl_proto.h"

#define CTL_CLIENT_ERROR_TEXT 1024	/* a server's message goes in whole */

struct ctl_client {
	int fd;
	int pid_fd;				/* of the server's process; negative: not to be had */
	pid_t pid;				/* of the server; 0 when it cannot be known */
	const char *path;			/* borrowed */
	char error[CTL_CLIENT_ERROR_TEXT];	/* set whenever a call fails */
	char *details;			/* lines that belong before it; NULL: none.  Freed by ctl_client_close */
};

/* `timeout_ms` everywhere: for the whole call; 0 waits without end.  All return 0 or -errno. */

/* "no sluice answers at '/run/sluice/control.sock': No such file or directory; is it running?"; -ETIMEDOUT: its queue is full. */
int ctl_client_open(struct ctl_client *c, const char *path, uint64_t timeout_ms);
/* Harmless when open failed. */
void ctl_client_close(struct ctl_client *c);
/* The question stays the caller's. */
int ctl_client_send(struct ctl_client *c, const json_t *question, uint64_t timeout_ms);
/*
 * *ret_answer becomes the caller's.  -ETIMEDOUT; -EPIPE: the server left without an answer; -EBADMSG: no JSON object;
 * -EREMOTEIO: the server said {"ok":false}, and `error` is its message.
 */
int ctl_client_receive(struct ctl_client *c, json_t **ret_answer, uint64_t timeout_ms);
/* Until the server has ended the connection and, where the kernel can tell (5.3+), its process has exited. */
int ctl_client_wait_end(struct ctl_client *c, uint64_t timeout_ms);

/* Opens, asks {"command":COMMAND} and receives; the caller closes in any case. */
int ctl_client_ask(struct ctl_client *c, const char *path, const char *command, json_t **ret_answer,
		   uint64_t timeout_ms);

#endif
