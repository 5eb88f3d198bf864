/* SPDX-License-Identifier: MIT */
/*
 * libconfuse, told about our tables.  Every value is taken as text with the line it stands on; what
 * it means is decided later, so that one wrong value does not hide the next.
 */
#ifndef SLUICE_PROC_CONFIG_CONFUSE_H
#define SLUICE_PROC_CONFIG_CONFUSE_H

#include <confuse.h>

#include "config/config_errors.h"

struct config_setting {
	unsigned line;
	char text[];
};

/* `text` is what config_scan() wrote.  0 and *ret_cfg, for cfg_free(); -EINVAL (reported), -ENOMEM.
 */
int config_confuse_parse(struct config_faults *f, const char *text, cfg_t **ret_cfg);
/* Was the key written in this section?  A list may have been written and be empty. */
bool config_is_given(cfg_t *section, const char *key);
/* The i-th value of a key (0 where it is no list); NULL: there is none. */
const struct config_setting *config_setting(cfg_t *section, const char *key, unsigned i);
/* A statement of this section was faulty and left out. */
bool config_has_gap(cfg_t *section);

#endif
