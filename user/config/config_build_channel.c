/* SPDX-License-Identifier: MIT */
/* channel "NAME" { redis = ... }: channels that reach other hosts, and what must fit together: servers, routes, names. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "config/config_build.h"
#include "config/config_build_part.h"
#include "config/config_value.h"

/* Memory of one answer that a message is: its line in front, and what hiredis makes of it. */
#define REPLY_MIN (CHANNEL_MESSAGE_MAX + 4096u)

static int build_channel(struct config_faults *f, cfg_t *section, struct config *c)
{
	struct config_channel *ch = &c->channels[c->channel_count];
	char why[CONFIG_WHY_TEXT] = "";
	int r;

	*ch = (struct config_channel){ 0 };
	r = config_value_defaults(CONFIG_CHANNEL, ch);
	c->channel_count++;
	if (!r)
		r = build_title(c, section, &ch->name, &ch->place);
	if (r)
		return r;
	if (build_has_title(section))
		config_check_channel(ch->name, why, sizeof(why));
	if (*why)
		config_fault_value(f, ch->place.line, "channel", ch->name, "channel: '%.100s' %s", ch->name, why);
	r = build_keys(f, section, CONFIG_CHANNEL, ch);
	if (!r && !ch->topic && asprintf(&ch->topic, "sluice:%s", ch->name) < 0)
		return -ENOMEM;
	if (!r && !config_setting(section, "redis", 0) && !config_has_gap(section))
		config_fault_value(f, ch->place.line, "channel", NULL,
				   "channel '%.100s' has no redis: expected the name of one, by which it reaches other hosts",
				   ch->name);
	return r;
}

int build_channels(struct config_faults *f, cfg_t *cfg, struct config *c)
{
	unsigned count = cfg_size(cfg, "channel");
	int r = 0;

	c->channels = calloc(count + 1, sizeof(*c->channels));
	if (!c->channels)
		return -ENOMEM;
	for (unsigned i = 0; !r && i < count; i++)
		r = build_channel(f, cfg_getnsec(cfg, "channel", i), c);
	return r;
}

/* Together ------------------------------------------------------------------------------------------------------ */

static void check_server(struct config_faults *f, cfg_t *section, const struct config *c)
{
	const struct config_setting *setting = config_setting(section, "redis", 0);
	const struct config_redis *redis = setting ? build_find_redis(f, c, setting) : NULL;

	if (redis && redis->reply < REPLY_MIN)
		config_fault_value(f, setting->line, "redis", setting->text,
				   "redis: a message of a channel does not fit the `reply` of '%.100s' (%llu bytes): "
				   "expected %u at least",
				   setting->text, (unsigned long long)redis->reply, REPLY_MIN);
}

/* Two of them would hear each other: the same server, by the same name over there. */
static bool is_same_topic(const struct config_channel *a, const struct config_channel *b)
{
	return a->redis && b->redis && strcmp(a->redis, b->redis) == 0 && strcmp(a->topic, b->topic) == 0;
}

static void check_pair(struct config_faults *f, const struct config_channel *ch, const struct config_channel *before)
{
	if (*ch->name && strcmp(ch->name, before->name) == 0)
		config_fault_value(f, ch->place.line, "channel", ch->name, "the name '%.100s' is taken by the channel on line %u",
				   ch->name, before->place.line);
	else if (is_same_topic(ch, before))
		config_fault_value(f, ch->place.line, "channel", NULL,
				   "channel '%.100s' has the topic of '%.100s' on line %u: expected one for each", ch->name,
				   before->name, before->place.line);
}

/* One that no route leads to is a slip of the pen: the channel that was meant would silently stay on this host. */
static void check_routes(struct config_faults *f, const struct config *c, const struct config_channel *ch)
{
	struct suggest near;

	suggest_init(&near, ch->name);
	for (unsigned i = 0; i < c->site_count; i++) {
		for (unsigned k = 0; k < c->sites[i].route_count; k++) {
			const struct config_route *route = &c->sites[i].routes[k];

			if (route->kind != ROUTE_WEBSOCKET || !route->value || strncmp(route->value, "channel:", 8) != 0)
				continue;
			if (strcmp(route->value + 8, ch->name) == 0)
				return;
			suggest_offer(&near, route->value + 8);
		}
	}
	config_fault_value(f, ch->place.line, "channel", ch->name, "channel: no route leads to '%.100s'%s%.100s%s", ch->name,
			   near.best ? "; did you mean '" : ": expected one such as websocket = \"channel:",
			   near.best ? near.best : ch->name, near.best ? "'?" : "\"");
}

void build_check_channels(struct config_faults *f, cfg_t *cfg, const struct config *c)
{
	bool is_whole = !config_has_gap(cfg);

	for (unsigned i = 0; i < c->channel_count; i++) {
		if (is_whole)
			check_server(f, cfg_getnsec(cfg, "channel", i), c);
		for (unsigned k = 0; k < i; k++)
			check_pair(f, &c->channels[i], &c->channels[k]);
		if (is_whole && *c->channels[i].name)
			check_routes(f, c, &c->channels[i]);
	}
}
