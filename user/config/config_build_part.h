/* SPDX-License-Identifier: MIT */
/* What the parts of the builder share.  Included by them alone. */
#ifndef SLUICE_PROC_CONFIG_BUILD_PART_H
#define SLUICE_PROC_CONFIG_BUILD_PART_H

#include "base/suggest.h"
#include "config/config_confuse.h"
#include "config/config_schema.h"

/* Every key but the handlers, which want more than one look.  0 or -ENOMEM. */
int build_keys(struct config_faults *f, cfg_t *section, enum config_section_id id, void *base);
/*
 * Title and place of a section.  *ret_title is the caller's to free; "" where the title was faulty,
 * which the scanner has reported: build_has_title() tells that from one that is empty.  0 or
 * -ENOMEM.
 */
int build_title(const struct config *c, cfg_t *section, char **ret_title,
		struct config_place *ret_place);
/* Of a section that takes no title: was it written? */
bool build_has_title(cfg_t *section);
/* A title that is no address is reported, and the family is AF_UNSPEC then. */
void build_address(struct config_faults *f, const struct config_place *place, const char *name, const char *text,
		   bool has_title, union sock_addr *ret_addr);
/* config_udp.c: every listen_udp; and what must fit together there.  0 or -ENOMEM. */
int build_udp_listens(struct config_faults *f, cfg_t *cfg, struct config *c);
void build_check_udp(struct config_faults *f, cfg_t *cfg, const struct config *c);
/* config_check.c: `key` names a section that is not there; `example`: what is expected where nothing is near. */
void build_report_unknown(struct config_faults *f, unsigned line, const char *key, const char *kind, const char *name,
			  const struct suggest *near, const char *example);
/* config_check_proxy.c: `name` is no upstream, in the value of `key`; NULL, or told. */
void build_check_upstream(struct config_faults *f, const struct config *c, const struct config_setting *setting,
			  const char *key, const char *name);
bool build_is_complete(cfg_t *cfg, const struct config *c);
bool build_is_same_address(const union sock_addr *a, const union sock_addr *b);
/* config_check_proxy.c: of config_check() what is about upstreams and routes to them. */
void build_check_proxies(struct config_faults *f, cfg_t *cfg, const struct config *c);
/* config_build_redis.c: every redis, and what must fit together for routes to them.  0 or -ENOMEM. */
int build_redis(struct config_faults *f, cfg_t *cfg, struct config *c);
void build_check_redis(struct config_faults *f, cfg_t *cfg, const struct config *c);
/* The redis of that name; NULL: none, which is told unless one of them has lost its name. */
const struct config_redis *build_find_redis(struct config_faults *f, const struct config *c,
					    const struct config_setting *setting);
/* config_build_channel.c: every channel; 0 or -ENOMEM.  Then what is about channels, servers and routes. */
int build_channels(struct config_faults *f, cfg_t *cfg, struct config *c);
void build_check_channels(struct config_faults *f, cfg_t *cfg, const struct config *c);
/* Every upstream and redis, and the numbers of their endpoints.  0 or -ENOMEM. */
int build_upstreams(struct config_faults *f, cfg_t *cfg, struct config *c);
/* config_build_store.c: every store; 0 or -ENOMEM.  Then what is about stores and routes to them. */
int build_stores(struct config_faults *f, cfg_t *cfg, struct config *c);
void build_check_stores(struct config_faults *f, cfg_t *cfg, const struct config *c);
/* config_build_module.c: the paths of all modules; 0 or -ENOMEM.  Then whether they can be loaded. */
int build_modules(struct config *c);
void build_check_modules(struct config_faults *f, cfg_t *cfg, const struct config *c);

#endif
