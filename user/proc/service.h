/* SPDX-License-Identifier: MIT */
/*
 * The life of the server as a service manager is told it (systemd: Type=notify, WatchdogSec=), by net/notify.h.  Where no
 * manager listens nothing happens.
 *
 *   READY=1      all workers serve; again after each reload
 *   RELOADING=1  with MONOTONIC_USEC, before a reload
 *   STOPPING=1   no longer accepts
 *   MAINPID=     by the old master, before its upgrade says READY=1: what others say is not heard (NotifyAccess=main)
 *   WATCHDOG=1   twice in each WATCHDOG_USEC, as long as workers make progress: the owner says whether
 */
#ifndef SLUICE_PROC_SERVICE_H
#define SLUICE_PROC_SERVICE_H

#include <sys/types.h>

#include "net/loop.h"
#include "net/notify.h"

struct service {
	struct loop *loop;
	struct notify notify;
	struct timer feed;
	uint64_t feed_ms;		/* 0: nobody watches */
	bool (*is_moving)(void *owner, uint64_t within_ns);
	void *owner;
	bool is_hungry;			/* the last feed was left out, and logged */
};

/*
 * By the environment: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.  `is_moving`: has a worker made progress within so
 * long, or had nothing to do?
 */
void service_start(struct service *s, struct loop *loop, bool (*is_moving)(void *owner, uint64_t within_ns),
		   void *owner);
/* `status`: a line for people. */
void service_ready(struct service *s, const char *status);
void service_reloading(struct service *s);
void service_stopping(struct service *s);
/* Another process is the server from now on, and it speaks. */
void service_pass_on(struct service *s, pid_t pid);
/* In a forked child: only the master speaks. */
void service_abandon(struct service *s);
void service_stop(struct service *s);

#endif
