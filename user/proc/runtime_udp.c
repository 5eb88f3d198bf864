/* SPDX-License-Identifier: MIT */
/* Networks of each listen_udp, of a configuration; see runtime.h. */
#include <stdlib.h>

#include "base/err.h"
#include "proc/runtime_internal.h"

int runtime_open_udp(struct runtime *rt)
{
	const struct config *c = rt->config;
	int err = 0;

	rt->verified = calloc(c->udp_listen_count + 1, sizeof(*rt->verified));
	if (!rt->verified)
		return -ENOMEM;
	for (unsigned i = 0; i < c->udp_listen_count && !err; i++) {
		const struct config_listen_udp *l = &c->udp_listens[i];

		cidr_set_init(&rt->verified[i]);
		for (unsigned n = 0; n < l->verified_count && !err; n++)
			err = cidr_set_add(&rt->verified[i], span_str(l->verified[n]));
	}
	return err;
}

void runtime_close_udp(struct runtime *rt)
{
	for (unsigned i = 0; rt->verified && i < rt->config->udp_listen_count; i++)
		cidr_set_fini(&rt->verified[i]);
	free(rt->verified);
}
