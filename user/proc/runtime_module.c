/* SPDX-License-Identifier: MIT */
/* Modules and routes to them, of a configuration; see runtime.h. */
#include <stdlib.h>

#include "app/module.h"
#include "base/err.h"
#include "proc/runtime_internal.h"

int runtime_open_modules(struct runtime *rt)
{
	const struct config *c = rt->config;
	char why[MODULE_WHY_SIZE];
	int err = 0;

	if (c->module_count == 0)
		return 0;
	rt->modules = calloc(c->module_count, sizeof(*rt->modules));
	if (!rt->modules)
		return -ENOMEM;
	for (unsigned i = 0; i < c->module_count && !err; i++) {
		err = module_open(c->modules[i], &rt->modules[i], why);
		if (err)
			log_error("module '%s' %s", c->modules[i], why);
	}
	return err;
}

void runtime_close_modules(struct runtime *rt)
{
	for (unsigned i = 0; rt->modules && i < rt->config->module_count; i++)
		module_free(rt->modules[i]);
	free(rt->modules);
}

int runtime_build_module(const struct runtime *rt, const struct config_route *route, void **ret_conf)
{
	struct module_route_options opt = {
		.module = rt->modules[route->module.index],
		.prefix = span_str(route->prefix),
		.args = route->module.args,
		.timeout_ms = route->module.timeout,
		.body_max = route->proxy.body == UINT64_MAX ? rt->config->limits.body : route->proxy.body,
	};

	return module_route_new(&opt, ret_conf);
}

int runtime_start_modules(struct runtime *rt, const struct runtime_options *opt)
{
	int err = 0;

	for (unsigned i = 0; rt->modules && i < rt->config->module_count && !err; i++)
		err = module_start(rt->modules[i], opt->loop, opt->worker, &opt->module_stats[i]);
	return err;
}

void runtime_drain_modules(struct runtime *rt)
{
	for (unsigned i = 0; rt->modules && i < rt->config->module_count; i++)
		module_drain(rt->modules[i]);
}

void runtime_stop_modules(struct runtime *rt)
{
	for (unsigned i = 0; rt->modules && i < rt->config->module_count; i++)
		module_stop(rt->modules[i]);
}
