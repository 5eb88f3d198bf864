/* SPDX-License-Identifier: MIT */
/* upstream "NAME" { server "ADDR" { ... } check { ... } } */
#include <stdlib.h>

#include "base/err.h"
#include "config/config_build.h"
#include "config/config_build_part.h"
#include "config/config_value.h"

int config_server_init(struct config_server *s)
{
	*s = (struct config_server){0};
	return config_value_defaults(CONFIG_SERVER, s);
}

/* Without a section `check` nothing is checked, but with one at its defaults HTTP is. */
int config_upstream_init(struct config_upstream *u)
{
	int r;

	*u = (struct config_upstream){0};
	r = config_value_defaults(CONFIG_UPSTREAM, u);
	if (!r)
		r = config_value_defaults(CONFIG_CHECK, &u->check);
	u->check.kind = CHECK_OFF;
	return r;
}

const struct config_server *config_number_endpoints(struct config *c)
{
	const struct config_server *too_many = NULL;

	c->endpoint_count = 0;
	for (unsigned i = 0; i < config_group_count(c); i++) {
		const struct config_upstream *u = config_group(c, i);

		for (unsigned k = 0; k < u->server_count; k++) {
			struct config_server *s = &u->servers[k];
			bool is_name = s->kind == SERVER_NAME || s->kind == SERVER_SRV;

			s->first_endpoint = c->endpoint_count;
			s->endpoint_count = is_name ? UPSTREAM_NAME_ENDPOINTS : 1;
			c->endpoint_count += s->endpoint_count;
			if (c->endpoint_count > CONFIG_ENDPOINTS_MAX && !too_many)
				too_many = s;
		}
	}
	return too_many;
}

static int build_server(struct config_faults *f, cfg_t *section, const struct config *c,
			struct config_upstream *u)
{
	struct config_server *s = &u->servers[u->server_count];
	char why[CONFIG_WHY_TEXT];
	int r = config_server_init(s);

	u->server_count++;
	if (!r)
		r = build_title(c, section, &s->text, &s->place);
	if (!r && build_has_title(section))
		r = config_server_parse(s, s->text, why, sizeof(why));
	if (r == -EINVAL)
		config_fault_value(f, s->place.line, "server", s->text, "server: '%.100s' %s",
				   s->text, why);
	return r == -ENOMEM ? r : build_keys(f, section, CONFIG_SERVER, s);
}

static int build_servers(struct config_faults *f, cfg_t *section, const struct config *c,
			 struct config_upstream *u)
{
	unsigned count = cfg_size(section, "server");
	int r = 0;

	u->servers = calloc(count + 1, sizeof(*u->servers));
	if (!u->servers)
		return -ENOMEM;
	for (unsigned i = 0; !r && i < count; i++)
		r = build_server(f, cfg_getnsec(section, "server", i), c, u);
	if (!r && count == 0 && !config_has_gap(section))
		config_fault_value(f, u->place.line, "upstream", NULL,
				   "upstream '%.100s' has no server: expected at least one such as "
				   "server \"127.0.0.1:9001\" { }",
				   u->name);
	return r;
}

static int build_check(struct config_faults *f, cfg_t *section, struct config_upstream *u)
{
	if (!build_has_title(section))
		return 0;
	u->check.kind = CHECK_HTTP;
	return build_keys(f, section, CONFIG_CHECK, &u->check);
}

static void check_hash(struct config_faults *f, cfg_t *section, const struct config_upstream *u)
{
	const struct config_key *key = config_key_find(CONFIG_UPSTREAM, SPAN("balance"));
	const struct config_setting *balance = config_setting(section, "balance", 0);
	const struct config_setting *hash = config_setting(section, "hash", 0);
	const char *effective = key->choices[u->balance];

	if (balance && strcmp(balance->text, effective) != 0)
		return; /* faulty, and reported: what was meant is not known */
	if (balance && u->balance == BALANCE_HASH && !hash)
		config_fault_value(f, balance->line, "balance", "hash",
				   "balance: 'hash' needs what to hash: expected hash = \"ip\", "
				   "\"uri\", \"header:NAME\" or \"cookie:NAME\" beside it");
	else if (hash && u->balance != BALANCE_HASH)
		config_fault_value(f, hash->line, "hash", NULL,
				   "'hash' has no effect with balance = \"%s\": it goes with "
				   "balance = \"hash\"",
				   effective);
}

static int build_upstream(struct config_faults *f, cfg_t *section, struct config *c)
{
	struct config_upstream *u = &c->upstreams[c->upstream_count];
	char why[CONFIG_WHY_TEXT] = "";
	int r = config_upstream_init(u);

	c->upstream_count++;
	if (!r)
		r = build_title(c, section, &u->name, &u->place);
	if (r)
		return r;
	if (build_has_title(section))
		config_check_upstream_name(u->name, why, sizeof(why));
	if (*why)
		config_fault_value(f, u->place.line, "upstream", u->name, "upstream: '%.100s' %s",
				   u->name, why);
	r = build_keys(f, section, CONFIG_UPSTREAM, u);
	if (!r)
		r = build_check(f, cfg_getsec(section, "check"), u);
	if (!r)
		r = build_servers(f, section, c, u);
	if (!r)
		check_hash(f, section, u);
	return r;
}

int build_upstreams(struct config_faults *f, cfg_t *cfg, struct config *c)
{
	unsigned count = cfg_size(cfg, "upstream");
	const struct config_server *too_many;
	int r = 0;

	c->upstreams = calloc(count + 1, sizeof(*c->upstreams));
	if (!c->upstreams)
		return -ENOMEM;
	for (unsigned i = 0; !r && i < count; i++)
		r = build_upstream(f, cfg_getnsec(cfg, "upstream", i), c);
	if (!r)
		r = build_redis(f, cfg, c);
	too_many = config_number_endpoints(c);
	if (!r && too_many)
		config_fault_value(f, too_many->place.line, "server", too_many->text,
				   "server: '%.100s' is one too many: all servers together may "
				   "have %d addresses, and a name counts for %d",
				   too_many->text, CONFIG_ENDPOINTS_MAX, UPSTREAM_NAME_ENDPOINTS);
	return r;
}
