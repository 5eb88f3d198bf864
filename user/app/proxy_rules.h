/* SPDX-License-Identifier: MIT */
/* What a route changes in the fields of requests or of responses: set, add and remove, in this order of power. */
#ifndef SLUICE_APP_PROXY_RULES_H
#define SLUICE_APP_PROXY_RULES_H

#include "base/buf.h"
#include "base/span.h"

struct proxy_rule {
	struct span name, value;
};

struct proxy_rules {
	struct proxy_rule *added;	/* lines written behind all others: those of `set`, then those of `add` */
	unsigned added_count;
	struct span *dropped;		/* names that are not passed on: of `remove` and of `set` */
	unsigned dropped_count;
	char *memory;			/* what the spans point into */
};

struct proxy_rule_list;

/* Texts are copied: "Name: value", of `remove` "Name".  0, -ENOMEM, -EINVAL (no colon). */
int proxy_rules_init(struct proxy_rules *r, const struct proxy_rule_list *set, const struct proxy_rule_list *add,
		     const struct proxy_rule_list *remove);
void proxy_rules_fini(struct proxy_rules *r);
/* Is a field of this name left out?  Letters without case, '_' and '-' are one. */
bool proxy_rules_drop(const struct proxy_rules *r, struct span name);
/* "Name: value\r\n" of what is set and added. */
void proxy_rules_write(const struct proxy_rules *r, struct buf *b);

#endif
