/* SPDX-License-Identifier: MIT */
/* `respond = "text"` and `redirect = "https://..."`: constant replies. */
#ifndef SLUICE_APP_RESPOND_H
#define SLUICE_APP_RESPOND_H

#include "http/handler.h"

struct respond_options {
	const char *body;	/* copied */
	unsigned status;	/* 0: 200 */
	const char *type;	/* copied; NULL: text/plain; charset=utf-8 */
};

extern const struct handler_ops respond_ops;
int respond_new(const struct respond_options *opt, void **ret_conf);
void respond_free(void *conf);

struct redirect_options {
	/*
	 * Target; "$path" (as received), "$query" (with its '?', if any), "$host" and "$uri" ($path$query) are replaced.
	 */
	const char *to;
	unsigned status;	/* 301, 302, 303, 307 or 308; 0: 302 */
};

extern const struct handler_ops redirect_ops;
/* -EINVAL: another status, an unknown variable, or a control character in the target. */
int redirect_new(const struct redirect_options *opt, void **ret_conf);
void redirect_free(void *conf);

#endif
