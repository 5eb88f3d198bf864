/* SPDX-License-Identifier: MIT */
/* Section by section.  A value that is faulty leaves its default and goes on with the next. */
#include "config/config_build.h"

#include <stdlib.h>

#include "base/err.h"
#include "config/config_build_part.h"
#include "config/config_scan.h"
#include "config/config_value.h"

static int apply_setting(struct config_faults *f, const struct config_key *key, void *base,
			 const struct config_setting *setting)
{
	char why[CONFIG_WHY_TEXT];
	int r;

	r = key->kind == KIND_LIST ? config_value_add(key, base, setting->text, why)
				   : config_value_set(key, base, setting->text, why);
	if (r != -EINVAL)
		return r;
	config_fault_value(f, setting->line, key->name, setting->text, "%s: '%.100s' %s", key->name,
			   setting->text, why);
	return 0;
}

int build_keys(struct config_faults *f, cfg_t *section, enum config_section_id id, void *base)
{
	const struct config_section *s = &config_sections[id];
	const struct config_setting *setting;
	int r = 0;

	for (unsigned i = 0; !r && i < s->key_count; i++) {
		const struct config_key *key = &s->keys[i];

		if (key->kind == KIND_HANDLER || !config_is_given(section, key->name))
			continue;
		if (key->kind == KIND_LIST)
			r = config_value_clear(key, base);
		for (unsigned n = 0; !r && (setting = config_setting(section, key->name, n)); n++)
			r = apply_setting(f, key, base, setting);
	}
	return r;
}

int build_title(const struct config *c, cfg_t *section, char **ret_title,
		struct config_place *ret_place)
{
	const struct config_setting *title = config_setting(section, CONFIG_TITLE, 0);

	*ret_place = (struct config_place){c->path, title ? title->line : (unsigned)section->line};
	*ret_title = strdup(title ? title->text : "");
	return *ret_title ? 0 : -ENOMEM;
}

bool build_has_title(cfg_t *section)
{
	return config_is_given(section, CONFIG_TITLE);
}

/* --- listen --- */

int config_listen_init(struct config_listen *l)
{
	*l = (struct config_listen){0};
	l->sock.has_reuseport = true;
	return config_value_defaults(CONFIG_LISTEN, l);
}

static void report_address(struct config_faults *f, const struct config_place *place, const char *name,
			   const char *address)
{
	const struct span text = span_str(address);
	size_t colons = 0;

	for (size_t i = 0; i < text.len; i++)
		colons += text.ptr[i] == ':';
	if (colons > 1 && text.ptr[0] != '[')
		config_fault_value(f, place->line, name, address,
				   "'%.100s' is no address: an IPv6 address stands in brackets, as "
				   "in [::1]:8080",
				   address);
	else
		config_fault_value(f, place->line, name, address,
				   "'%.100s' is no address: expected ADDR:PORT with a numeric "
				   "address and a port from 0 to 65535, such as 127.0.0.1:8080, "
				   "[::]:8080 or :8080",
				   address);
}

void build_address(struct config_faults *f, const struct config_place *place, const char *name,
		   const char *text, bool has_title, union sock_addr *ret_addr)
{
	if (sock_addr_parse(span_str(text), ret_addr) == 0)
		return;
	if (has_title)
		report_address(f, place, name, text);
	ret_addr->any.sa_family = AF_UNSPEC;
}

static int build_listen(struct config_faults *f, cfg_t *section, struct config *c)
{
	struct config_listen *l = &c->listens[c->listen_count];
	int r = config_listen_init(l);

	c->listen_count++;
	if (!r)
		r = build_title(c, section, &l->text, &l->place);
	if (r)
		return r;
	build_address(f, &l->place, "listen", l->text, build_has_title(section), &l->addr);
	r = build_keys(f, section, CONFIG_LISTEN, l);
	if (l->sock.is_v6only && l->addr.any.sa_family == AF_INET)
		config_fault_value(f, l->place.line, "v6only", NULL,
				   "v6only goes with an IPv6 address, not with '%.100s'", l->text);
	return r;
}

/* --- route --- */

int config_route_init(struct config_route *route)
{
	*route = (struct config_route){.proxy.body = UINT64_MAX, .rate = UINT64_MAX};
	return config_value_defaults(CONFIG_ROUTE, route);
}

/* The first handler is taken; any other is a fault.  *ret_has_one: its kind is known, whatever its
 * value. */
static int build_handler(struct config_faults *f, cfg_t *section, struct config_route *route,
			 bool *ret_has_one)
{
	const struct config_section *s = &config_sections[CONFIG_ROUTE];
	const struct config_key *first = NULL;
	int r = 0;

	for (unsigned i = 0; !r && i < s->key_count; i++) {
		const struct config_key *key = &s->keys[i];
		const struct config_setting *setting = config_setting(section, key->name, 0);

		if (key->kind != KIND_HANDLER || !setting)
			continue;
		if (first) {
			config_fault_value(
				f, setting->line, key->name, NULL,
				"route '%.100s' has two handlers, '%s' and '%s': keep one",
				route->prefix, first->name, key->name);
			continue;
		}
		first = key;
		route->kind = key->handler;
		r = apply_setting(f, key, route, setting);
	}
	if (!first && !config_has_gap(section))
		config_fault_value(f, route->place.line, "route", NULL,
				   "route '%.100s' has no handler: expected files = \"/FOLDER\", "
				   "respond = \"TEXT\", redirect = \"https://...\", "
				   "proxy = \"UPSTREAM\", websocket = \"channel:NAME\", redis = \"NAME\", "
				   "store = \"STORE\" or module = \"/PATH.so\"",
				   route->prefix);
	*ret_has_one = first != NULL;
	return r;
}

static const char *handler_name(enum route_kind kind)
{
	const struct config_section *s = &config_sections[CONFIG_ROUTE];

	for (unsigned i = 0; i < s->key_count; i++) {
		if (s->keys[i].kind == KIND_HANDLER && s->keys[i].handler == kind)
			return s->keys[i].name;
	}
	return "";
}

static bool is_redirect_status(unsigned status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Keys that the route's handler has no use for: they were written for some effect, which will not
 * come. */
static void check_route_keys(struct config_faults *f, cfg_t *section,
			     const struct config_route *route)
{
	const struct config_section *s = &config_sections[CONFIG_ROUTE];
	const struct config_setting *status = config_setting(section, "status", 0);

	for (unsigned i = 0; i < s->key_count; i++) {
		const struct config_key *key = &s->keys[i];
		const struct config_setting *setting = config_setting(section, key->name, 0);

		if (!setting || !key->route_kinds || (key->route_kinds >> route->kind & 1))
			continue;
		config_fault_value(f, setting->line, key->name, NULL,
				   "'%s' has no effect on a route with '%s'", key->name,
				   handler_name(route->kind));
	}
	if (status && route->kind == ROUTE_REDIRECT && route->status &&
	    !is_redirect_status(route->status))
		config_fault_value(f, status->line, "status", status->text,
				   "status: %u is no redirect: expected 301, 302, 303, 307 or 308",
				   route->status);
}

static int build_route(struct config_faults *f, cfg_t *section, const struct config *c,
		       struct config_site *site)
{
	struct config_route *route = &site->routes[site->route_count];
	char why[CONFIG_WHY_TEXT] = "";
	bool has_handler = false;
	int r = config_route_init(route);

	site->route_count++;
	if (!r)
		r = build_title(c, section, &route->prefix, &route->place);
	if (r)
		return r;
	if (build_has_title(section))
		config_check_prefix(route->prefix, why, sizeof(why));
	if (*why)
		config_fault_value(f, route->place.line, "route", route->prefix,
				   "route: '%.100s' %s", route->prefix, why);
	r = build_handler(f, section, route, &has_handler);
	if (!r)
		r = build_keys(f, section, CONFIG_ROUTE, route);
	if (!r && has_handler)
		check_route_keys(f, section, route);
	return r;
}

/* --- site --- */

#define NAMES_MAX 1000 /* of one site: each is compared with each */

/* Lower case and without the final dot, as hosts are compared. */
static char *normal_name(const char *name, size_t len)
{
	char *copy = strndup(name, len);

	for (char *at = copy; at && *at; at++) {
		if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at - 'A' + 'a');
	}
	if (copy && len > 1 && copy[len - 1] == '.')
		copy[len - 1] = '\0';
	return copy;
}

static int add_name(struct config_faults *f, struct config_site *site, const char *name, size_t len)
{
	char **names = realloc(site->names, (site->name_count + 1) * sizeof(*names));
	char why[CONFIG_WHY_TEXT] = "", *copy;

	if (!names)
		return -ENOMEM;
	site->names = names;
	copy = normal_name(name, len);
	if (!copy)
		return -ENOMEM;
	names[site->name_count++] = copy;
	if (site->name_count > NAMES_MAX) {
		config_fault_value(f, site->place.line, "site", NULL, "site has more than %d names",
				   NAMES_MAX);
		return -EINVAL;
	}
	config_check_site_name(copy, why, sizeof(why));
	if (*why)
		config_fault_value(f, site->place.line, "site", copy, "site: '%.100s' %s", copy,
				   why);
	return 0;
}

static int build_names(struct config_faults *f, struct config_site *site, const char *title)
{
	static const char blanks[] = " \t\r\n";
	int r = 0;

	title += strspn(title, blanks);
	if (!*title)
		config_fault_value(f, site->place.line, "site", NULL,
				   "site has no name: expected host names, or * for every host");
	while (!r && *title) {
		size_t len = strcspn(title, blanks);

		r = add_name(f, site, title, len);
		title += len;
		title += strspn(title, blanks);
	}
	return r == -EINVAL ? 0 : r;
}

static int build_routes(struct config_faults *f, cfg_t *section, const struct config *c,
			struct config_site *site)
{
	unsigned count = cfg_size(section, "route");
	int r = 0;

	site->routes = calloc(count + 1, sizeof(*site->routes));
	if (!site->routes)
		return -ENOMEM;
	for (unsigned i = 0; !r && i < count; i++)
		r = build_route(f, cfg_getnsec(section, "route", i), c, site);
	return r;
}

static int build_site(struct config_faults *f, cfg_t *section, struct config *c)
{
	struct config_site *site = &c->sites[c->site_count++];
	char *title = NULL;
	int r;

	r = build_title(c, section, &title, &site->place);
	if (!r && build_has_title(section))
		r = build_names(f, site, title);
	if (!r)
		r = build_routes(f, section, c, site);
	if (!r && site->route_count == 0 && !config_has_gap(section))
		config_fault_value(f, site->place.line, "site", NULL,
				   "site has no route: expected route \"/\" { ... }");
	free(title);
	return r;
}

/* --- the whole --- */

static int build_untitled(struct config_faults *f, cfg_t *cfg, struct config *c)
{
	int r = build_keys(f, cfg, CONFIG_ROOT, c);

	for (unsigned id = CONFIG_ROOT + 1; !r && id < CONFIG_SECTION_COUNT; id++) {
		if (config_section_is_plain((enum config_section_id)id))
			r = build_keys(f, cfg_getsec(cfg, config_sections[id].name),
				       (enum config_section_id)id, c);
	}
	return r;
}

int config_build(struct config_faults *f, cfg_t *cfg, struct config *c)
{
	unsigned listen_count = cfg_size(cfg, "listen"), site_count = cfg_size(cfg, "site");
	int r = build_untitled(f, cfg, c);

	if (r)
		return r;
	c->listens = calloc(listen_count + 1, sizeof(*c->listens));
	c->sites = calloc(site_count + 1, sizeof(*c->sites));
	if (!c->listens || !c->sites)
		return -ENOMEM;
	for (unsigned i = 0; !r && i < listen_count; i++)
		r = build_listen(f, cfg_getnsec(cfg, "listen", i), c);
	if (!r)
		r = build_udp_listens(f, cfg, c);
	if (!r)
		r = build_upstreams(f, cfg, c);
	if (!r)
		r = build_channels(f, cfg, c);
	if (!r)
		r = build_stores(f, cfg, c);
	for (unsigned i = 0; !r && i < site_count; i++)
		r = build_site(f, cfg_getnsec(cfg, "site", i), c);
	return r ? r : build_modules(c);
}
