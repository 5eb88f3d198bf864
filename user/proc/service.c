/* SPDX-License-Identifier: MIT */
/* What a service manager is told; see service.h. */
#include "proc/service.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/span.h"

#define MESSAGE_SIZE 512
#define US_PER_MS    1000u

static void tell(struct service *s, const char *message)
{
	int err = notify_send(&s->notify, message);

	if (err)
		log_warn("cannot tell the service manager: %s", strerror(-err));
}

static void on_feed(struct timer *t)
{
	struct service *s = container_of(t, struct service, feed);
	bool is_moving = s->is_moving(s->owner, s->feed_ms * NS_PER_MS);

	if (is_moving)
		tell(s, "WATCHDOG=1");
	else if (!s->is_hungry)
		log_error("no worker moves: the service manager's watchdog is not fed");
	s->is_hungry = !is_moving;
	loop_timer_start(s->loop, &s->feed, s->feed_ms);
}

/* Twice in the time that is allowed.  0: nobody watches, or another process. */
static uint64_t find_feed_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t value = 0;

	if (!usec || span_to_u64(span_str(usec), &value) != 0)
		return 0;
	if (pid && strtol(pid, NULL, 10) != (long)getpid())
		return 0;
	return value ? MAX(value / 2 / US_PER_MS, UINT64_C(1)) : 0;
}

void service_start(struct service *s, struct loop *loop, bool (*is_moving)(void *owner, uint64_t within_ns),
		   void *owner)
{
	const char *address = getenv("NOTIFY_SOCKET");
	int err;

	*s = (struct service){ .loop = loop, .is_moving = is_moving, .owner = owner };
	timer_init(&s->feed, on_feed);
	err = notify_open(&s->notify, address);
	if (err)
		log_warn("the service manager at '%s' cannot be reached: %s", address, strerror(-err));
	if (s->notify.fd < 0)
		return;
	s->feed_ms = find_feed_ms();
	if (s->feed_ms)
		loop_timer_start(loop, &s->feed, s->feed_ms);
}

void service_ready(struct service *s, const char *status)
{
	char message[MESSAGE_SIZE];

	snprintf(message, sizeof(message), "READY=1\nSTATUS=%s", status);
	tell(s, message);
}

void service_reloading(struct service *s)
{
	char message[MESSAGE_SIZE];

	/* The manager wants to know whether this is about the reload it asked for or an earlier one. */
	snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Reloading",
		 clock_ns() / 1000);
	tell(s, message);
}

void service_stopping(struct service *s)
{
	tell(s, "STOPPING=1\nSTATUS=Waiting for connections to end");
}

void service_pass_on(struct service *s, pid_t pid)
{
	char message[MESSAGE_SIZE];

	snprintf(message, sizeof(message), "MAINPID=%d", (int)pid);
	tell(s, message);
	service_stop(s);
}

void service_abandon(struct service *s)
{
	notify_close(&s->notify);
}

void service_stop(struct service *s)
{
	if (s->feed_ms)
		loop_timer_stop(s->loop, &s->feed);
	s->feed_ms = 0;
	notify_close(&s->notify);
}
