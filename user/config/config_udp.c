/* SPDX-License-Identifier: MIT */
/* listen_udp "ADDR:PORT" { ... } */
#include <stdlib.h>

#include "base/err.h"
#include "config/config_build.h"
#include "config/config_build_part.h"
#include "config/config_value.h"

static const char proxy_word[] = "proxy ";

/* "proxy NAME": NAME, else NULL. */
static const char *upstream_name_of(const char *mode)
{
	if (!mode || strncmp(mode, proxy_word, sizeof(proxy_word) - 1) != 0)
		return NULL;
	mode += sizeof(proxy_word) - 1;
	return mode + strspn(mode, " ");
}

void config_check_udp(const char *text, char *why, size_t size)
{
	const char *name = upstream_name_of(text);

	if (strcmp(text, "echo") != 0 && (!name || !*name))
		snprintf(why, size, "is no mode: expected \"echo\", or \"proxy NAME\" with the name of an upstream");
}

const struct config_upstream *config_udp_upstream(const struct config *c, const struct config_listen_udp *l)
{
	const char *name = upstream_name_of(l->mode);

	for (unsigned i = 0; name && i < c->upstream_count; i++)
		if (strcmp(c->upstreams[i].name, name) == 0)
			return &c->upstreams[i];
	return NULL;
}

static int build_one(struct config_faults *f, cfg_t *section, struct config *c)
{
	struct config_listen_udp *l = &c->udp_listens[c->udp_listen_count];
	int r;

	*l = (struct config_listen_udp){ 0 };
	c->udp_listen_count++;
	r = config_value_defaults(CONFIG_LISTEN_UDP, l);
	if (!r)
		r = build_title(c, section, &l->text, &l->place);
	if (r)
		return r;
	build_address(f, &l->place, "listen_udp", l->text, build_has_title(section), &l->addr);
	r = build_keys(f, section, CONFIG_LISTEN_UDP, l);
	if (!r && !config_is_given(section, "udp") && !config_has_gap(section))
		config_fault_value(f, l->place.line, "listen_udp", NULL,
				   "listen_udp '%.100s' has no mode: expected udp = \"echo\" or udp = \"proxy NAME\"",
				   l->text);
	return r;
}

int build_udp_listens(struct config_faults *f, cfg_t *cfg, struct config *c)
{
	unsigned count = cfg_size(cfg, "listen_udp");
	int r = 0;

	c->udp_listens = calloc(count + 1, sizeof(*c->udp_listens));
	if (!c->udp_listens)
		return -ENOMEM;
	for (unsigned i = 0; !r && i < count; i++)
		r = build_one(f, cfg_getnsec(cfg, "listen_udp", i), c);
	return r;
}

/* Keys that were written for some effect, which will not come. */
static void check_effects(struct config_faults *f, cfg_t *section, const struct config_listen_udp *l)
{
	bool is_proxy = upstream_name_of(l->mode) != NULL;
	const struct {
		const char *key;
		bool is_idle;
		const char *why;
	} cases[] = {
		{ "one_way", l->is_one_way && !is_proxy, "goes with udp = \"proxy NAME\"" },
		{ "replies", l->replies && (!is_proxy || l->is_one_way), "goes with replies of a server" },
		{ "amplification", l->amplification && l->is_one_way, "has no effect with one_way: nothing goes back" },
		{ "verified", l->verified_count && !l->amplification, "has no effect without amplification" },
		{ "v6only", l->is_v6only && l->addr.any.sa_family == AF_INET, "goes with an IPv6 address" },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const struct config_setting *setting = config_setting(section, cases[i].key, 0);

		if (setting && cases[i].is_idle)
			config_fault_value(f, setting->line, cases[i].key, NULL, "'%s' %s", cases[i].key, cases[i].why);
	}
}

static void check_servers(struct config_faults *f, const struct config_upstream *u, const struct config_setting *mode)
{
	for (unsigned i = 0; u && i < u->server_count; i++)
		if (u->servers[i].kind == SERVER_UNIX)
			config_fault_value(f, mode->line, "udp", mode->text,
					   "udp: upstream '%.100s' has a server that takes no datagrams: '%.100s'", u->name,
					   u->servers[i].text);
}

static void check_address(struct config_faults *f, const struct config *c, unsigned i)
{
	const struct config_listen_udp *l = &c->udp_listens[i];

	for (unsigned k = 0; k < i; k++) {
		if (!build_is_same_address(&l->addr, &c->udp_listens[k].addr) || sock_addr_port(&l->addr) == 0)
			continue;
		config_fault_value(f, l->place.line, "listen_udp", l->text,
				   "'%.100s' is the same address as '%.100s' on line %u", l->text, c->udp_listens[k].text,
				   c->udp_listens[k].place.line);
		return;
	}
}

void build_check_udp(struct config_faults *f, cfg_t *cfg, const struct config *c)
{
	bool is_whole = build_is_complete(cfg, c);

	for (unsigned i = 0; i < c->udp_listen_count; i++) {
		const struct config_listen_udp *l = &c->udp_listens[i];
		cfg_t *section = cfg_getnsec(cfg, "listen_udp", i);
		const struct config_setting *mode = config_setting(section, "udp", 0);
		const char *name = upstream_name_of(l->mode);

		check_address(f, c, i);
		check_effects(f, section, l);
		if (!mode || !name)
			continue;
		if (is_whole)
			build_check_upstream(f, c, mode, "udp", name);
		check_servers(f, config_udp_upstream(c, l), mode);
	}
}
