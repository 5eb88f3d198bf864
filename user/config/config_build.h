/* SPDX-License-Identifier: MIT */
/* From what libconfuse parsed to struct config: values, addresses, names; then what must fit
 * together. */
#ifndef SLUICE_PROC_CONFIG_BUILD_H
#define SLUICE_PROC_CONFIG_BUILD_H

#include "config/config_confuse.h"

/* Fills the defaults of `c` with what was written.  0 or -ENOMEM; faults go to f. */
int config_build(struct config_faults *f, cfg_t *cfg, struct config *c);
/* What only shows on the whole: duplicates, sections that are missing, values that contradict each
 * other. */
void config_check(struct config_faults *f, cfg_t *cfg, const struct config *c);

/* Each at its defaults, without anything of its own.  0 or -ENOMEM. */
int config_listen_init(struct config_listen *l);
int config_route_init(struct config_route *r);
int config_upstream_init(struct config_upstream *u);
int config_server_init(struct config_server *s);
int config_store_init(struct config_store *s);
/*
 * Kind, address, name and port from the text.  0, -ENOMEM, or -EINVAL: why says what is wrong, to
 * be put behind the text in quotes.
 */
int config_server_parse(struct config_server *s, const char *text, char *why, size_t size);
/*
 * Numbers the endpoints of all servers.  The first server whose endpoints go beyond
 * CONFIG_ENDPOINTS_MAX, or NULL.
 */
const struct config_server *config_number_endpoints(struct config *c);

#endif
