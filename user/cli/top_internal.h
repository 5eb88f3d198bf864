/* SPDX-License-Identifier: MIT */
/* What the files of `sluice top` share: top.c looks and waits, top_keys.c obeys. */
#ifndef SLUICE_PROC_TOP_INTERNAL_H
#define SLUICE_PROC_TOP_INTERNAL_H

#include "cli/cli_internal.h"
#include "cli/top_screen.h"
#include "net/steer.h"
#include "proc/ctl_client.h"

struct top {
	struct cli *cli;
	char path[PATH_MAX];
	char message[CTL_CLIENT_ERROR_TEXT];
	struct top_sample samples[2];
	unsigned current; /* of `samples` */
	struct top_view view;
	struct top_history history;
	struct top_ui ui;
	const char *choices[STEER_POLICY_COUNT];
	uint64_t next_ns, failing_since_ns, message_until_ns;
	unsigned deaf_count;
	bool has_view, is_over;
	int status;
};

/* Takes `question` over.  0 or -errno with the fault in t->message. */
int top_ask(struct top *t, json_t *question, json_t **ret_answer);

/* Shows t->message for some seconds. */
void top_say(struct top *t, bool is_error);
void top_end(struct top *t, int status);
void top_on_key(struct top *t, int key);

#endif
