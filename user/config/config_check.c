/* SPDX-License-Identifier: MIT */
/* What must fit together, once every value is known. */
#include "base/err.h"
#include "config/config_build.h"
#include "config/config_build_part.h"

bool build_is_same_address(const union sock_addr *a, const union sock_addr *b)
{
	if (a->any.sa_family != b->any.sa_family || sock_addr_port(a) != sock_addr_port(b))
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return a->any.sa_family == AF_INET6 && a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
	       memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
}

static void check_listens(struct config_faults *f, const struct config *c)
{
	for (unsigned i = 0; i < c->listen_count; i++) {
		const struct config_listen *l = &c->listens[i];

		for (unsigned k = 0; k < i; k++) {
			if (!build_is_same_address(&l->addr, &c->listens[k].addr) ||
			    sock_addr_port(&l->addr) == 0)
				continue; /* port 0 is another port each time */
			config_fault_value(f, l->place.line, "listen", l->text,
					   "'%.100s' is the same address as '%.100s' on line %u",
					   l->text, c->listens[k].text, c->listens[k].place.line);
			break;
		}
	}
}

/* The first site up to `site` (included) that has the name; of `site` itself only names before
 * `end` count. */
static const struct config_site *find_name(const struct config *c, const struct config_site *site,
					   unsigned end, const char *name)
{
	for (const struct config_site *s = c->sites; s <= site; s++) {
		for (unsigned i = 0; i < (s == site ? end : s->name_count); i++) {
			if (strcmp(s->names[i], name) == 0)
				return s;
		}
	}
	return NULL;
}

static void check_names(struct config_faults *f, const struct config *c)
{
	for (unsigned i = 0; i < c->site_count; i++) {
		const struct config_site *site = &c->sites[i], *other;

		for (unsigned n = 0; n < site->name_count; n++) {
			other = find_name(c, site, n, site->names[n]);
			if (other)
				config_fault_value(f, site->place.line, "site", site->names[n],
						   "the name '%.100s' is taken by the site on line "
						   "%u",
						   site->names[n], other->place.line);
		}
	}
}

static void check_prefixes(struct config_faults *f, const struct config_site *site)
{
	for (unsigned i = 0; i < site->route_count; i++) {
		const struct config_route *route = &site->routes[i];

		for (unsigned k = 0; k < i; k++) {
			if (*route->prefix != '/' ||
			    strcmp(route->prefix, site->routes[k].prefix) != 0)
				continue;
			config_fault_value(f, route->place.line, "route", route->prefix,
					   "the prefix '%.100s' is taken by the route on line %u",
					   route->prefix, site->routes[k].place.line);
			break;
		}
	}
}

/* A message that is published lies in memory that workers share, several times over. */
static void check_websockets(struct config_faults *f, const struct config_site *site)
{
	for (unsigned i = 0; i < site->route_count; i++) {
		const struct config_route *route = &site->routes[i];

		if (route->kind != ROUTE_WEBSOCKET || !route->value || strcmp(route->value, "echo") == 0 ||
		    route->websocket.message <= CHANNEL_MESSAGE_MAX)
			continue;
		config_fault_value(f, route->place.line, "message", NULL,
				   "message: a channel takes messages of at most %u bytes, not %u",
				   CHANNEL_MESSAGE_MAX, route->websocket.message);
	}
}

static void check_limits(struct config_faults *f, cfg_t *cfg, const struct config *c)
{
	const struct config_setting *s;

	s = config_setting(cfg_getsec(cfg, "limits"), "request_line", 0);
	if (!s)
		s = config_setting(cfg_getsec(cfg, "limits"), "header", 0);
	if (s && c->limits.request_line > c->limits.header)
		config_fault_value(f, s->line, NULL, s->text,
				   "limits: the request line (%llu bytes) is a part of the header, "
				   "which is limited to %llu",
				   (unsigned long long)c->limits.request_line,
				   (unsigned long long)c->limits.header);
	s = config_setting(cfg_getsec(cfg, "files_cache"), "content", 0);
	if (!s)
		s = config_setting(cfg_getsec(cfg, "files_cache"), "memory", 0);
	if (s && c->cache.content > c->cache.memory)
		config_fault_value(f, s->line, NULL, s->text,
				   "files_cache: one file (content, %llu bytes) may not be larger "
				   "than all (memory, %llu)",
				   (unsigned long long)c->cache.content,
				   (unsigned long long)c->cache.memory);
}

/* What a client has had is remembered for as long as its burst takes to come back.  It takes too long: reported. */
static void check_rate(struct config_faults *f, const struct config *c, unsigned line, uint64_t per_hour, unsigned burst)
{
	unsigned hours = c->limits.redis ? CONFIG_SHARED_BURST_HOURS_MAX : CONFIG_BURST_HOURS_MAX;

	if (per_hour && burst > hours * per_hour)
		config_fault_value(f, line, NULL, NULL,
				   "burst: %u requests at this rate take more than %u hour%s to come back%s", burst, hours,
				   hours == 1 ? "" : "s", c->limits.redis ? ", too long for hosts to share it" : "");
}

static void check_rates(struct config_faults *f, cfg_t *cfg, const struct config *c)
{
	const struct config_setting *s = config_setting(cfg_getsec(cfg, "limits"), "rate", 0);

	if (s)
		check_rate(f, c, s->line, c->limits.rate, c->limits.burst);
	for (unsigned i = 0; i < c->site_count; i++) {
		for (unsigned n = 0; n < c->sites[i].route_count; n++) {
			const struct config_route *route = &c->sites[i].routes[n];
			uint64_t rate = route->rate == UINT64_MAX ? c->limits.rate : route->rate;
			unsigned burst = route->burst ? route->burst : c->limits.burst;

			if (route->rate != UINT64_MAX || route->burst)
				check_rate(f, c, route->place.line, rate, burst);
		}
	}
}

/* `required` without steering can only fail: one of the two was not meant. */
static void check_steering(struct config_faults *f, cfg_t *cfg, const struct config *c)
{
	const struct config_setting *s;

	s = config_setting(cfg_getsec(cfg, "steering"), "required", 0);
	if (s && c->steering.is_required && c->steering.is_disabled)
		config_fault_value(f, s->line, "required", s->text,
				   "steering cannot be required and not enabled");
}

void build_report_unknown(struct config_faults *f, unsigned line, const char *key, const char *kind, const char *name,
			  const struct suggest *near, const char *example)
{
	char hint[CONFIG_HINT_TEXT];

	if (near->best)
		snprintf(hint, sizeof(hint), "; did you mean '%.100s'?", near->best);
	else
		snprintf(hint, sizeof(hint), "; expected %s", example);
	config_fault_value(f, line, key, name, "%s: there is no %s '%.100s'%s", key, kind, name, hint);
}

void config_check(struct config_faults *f, cfg_t *cfg, const struct config *c)
{
	check_listens(f, c);
	check_names(f, c);
	for (unsigned i = 0; i < c->site_count; i++)
		check_prefixes(f, &c->sites[i]);
	for (unsigned i = 0; i < c->site_count; i++)
		check_websockets(f, &c->sites[i]);
	build_check_proxies(f, cfg, c);
	build_check_udp(f, cfg, c);
	build_check_redis(f, cfg, c);
	build_check_channels(f, cfg, c);
	build_check_stores(f, cfg, c);
	build_check_modules(f, cfg, c);
	check_limits(f, cfg, c);
	check_rates(f, cfg, c);
	check_steering(f, cfg, c);
	if (config_has_gap(cfg))
		return; /* what is missing may be what was left out */
	if (c->listen_count == 0 && c->udp_listen_count == 0)
		config_fault(f, 0, 0,
			     "no address to listen on: expected at least one section "
			     "such as listen \"127.0.0.1:8080\" { }");
	if (c->site_count == 0 && (c->listen_count > 0 || c->udp_listen_count == 0))
		config_fault(f, 0, 0,
			     "no site: expected at least one section such as "
			     "site \"*\" { route \"/\" { files = \"/srv/www\" } }");
}
