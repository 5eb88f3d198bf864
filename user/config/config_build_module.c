/* SPDX-License-Identifier: MIT */
/* Routes with a module: which files there are, and whether they are modules. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "app/module.h"
#include "base/err.h"
#include "base/trial.h"
#include "config/config_build.h"
#include "config/config_build_part.h"

#define LIMIT_MS 10000u /* to be loaded and to look at its arguments */

/* Texts ---------------------------------------------------------------------------------------------------------- */

void config_check_module(const char *text, char *why, size_t size)
{
	struct stat st;

	config_check_pin(text, why, size);
	if (*why)
		return;
	if (stat(text, &st) != 0)
		snprintf(why, size, "cannot be loaded: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		snprintf(why, size, "cannot be loaded: it is no file");
}

void config_check_module_read(const char *text, char *why, size_t size)
{
	struct stat st;

	config_check_pin(text, why, size);
	if (!*why && stat(text, &st) != 0)
		snprintf(why, size, "cannot be read: %s", strerror(errno));
}

/* Files ---------------------------------------------------------------------------------------------------------- */

static unsigned index_of(const struct config *c, const char *path)
{
	unsigned i = 0;

	while (i < c->module_count && strcmp(c->modules[i], path) != 0)
		i++;
	return i;
}

int build_modules(struct config *c)
{
	unsigned count = 0;

	for (unsigned i = 0; i < c->site_count; i++)
		count += c->sites[i].route_count;
	c->module_count = 0;
	c->modules = calloc(count + 1, sizeof(*c->modules));
	if (!c->modules)
		return -ENOMEM;
	for (unsigned i = 0; i < c->site_count; i++) {
		for (unsigned k = 0; k < c->sites[i].route_count; k++) {
			struct config_route *route = &c->sites[i].routes[k];

			if (route->kind != ROUTE_MODULE || !route->value)
				continue;
			route->module.index = index_of(c, route->value);
			if (route->module.index == c->module_count)
				c->modules[c->module_count++] = route->value;
		}
	}
	return 0;
}

/* Are they modules? ---------------------------------------------------------------------------------------------- */

struct attempt {
	struct module *module;
	const char *args;
};

static void try_it(const void *ctx, char *why, size_t size)
{
	const struct attempt *a = ctx;
	char text[MODULE_WHY_SIZE] = "";

	if (module_try(a->module, a->args, text))
		snprintf(why, size, "%s", *text ? text : "cannot be loaded");
}

/* Nothing of it runs in this process, which may be root. */
static void try_module(const char *path, const char *args, const struct identity *identity, char why[MODULE_WHY_SIZE])
{
	struct attempt a = { .args = args };
	const struct trial t = { .identity = identity, .run = try_it, .ctx = &a, .limit_ms = LIMIT_MS };
	int result, by_signal = 0;

	if (module_open(path, &a.module, why) < 0)
		return;
	result = trial_run(&t, why, MODULE_WHY_SIZE, &by_signal);
	if (result == TRIAL_LATE)
		snprintf(why, MODULE_WHY_SIZE, "is not loaded and checked within %u s", LIMIT_MS / 1000);
	else if (result == TRIAL_KILLED)
		snprintf(why, MODULE_WHY_SIZE, "is killed by signal %d when it is loaded and checked", by_signal);
	else if (result < 0 && !*why)
		snprintf(why, MODULE_WHY_SIZE, "cannot be checked: %s", strerror(-result));
	module_free(a.module);
}

static void check_route(struct config_faults *f, cfg_t *section, const struct config_route *route,
			const struct identity *identity)
{
	const struct config_setting *setting = config_setting(section, "module", 0);
	char why[MODULE_WHY_SIZE] = "";

	if (!setting || route->kind != ROUTE_MODULE || !route->value)
		return;
	try_module(route->value, route->module.args, identity, why);
	if (*why)
		config_fault_value(f, setting->line, "module", setting->text, "module: '%.100s' %s", route->value, why);
}

void build_check_modules(struct config_faults *f, cfg_t *cfg, const struct config *c)
{
	struct identity identity;

	/* A user that is none has been reported. */
	if (c->module_count == 0 || identity_of(c->user, &identity))
		return;
	for (unsigned i = 0; i < c->site_count; i++) {
		cfg_t *site = cfg_getnsec(cfg, "site", i);

		for (unsigned k = 0; k < c->sites[i].route_count; k++)
			check_route(f, cfg_getnsec(site, "route", k), &c->sites[i].routes[k], &identity);
	}
}
