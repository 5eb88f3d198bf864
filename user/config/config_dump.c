/* SPDX-License-Identifier: MIT */
/* The effective configuration as text, driven by the same tables as the reading of it. */
#include <inttypes.h>

#include "base/err.h"
#include "config/config.h"
#include "config/config_units.h"
#include "config/config_value.h"

void config_quote(const char *text, FILE *out)
{
	fputc('"', out);
	for (const char *at = text; *at; at++) {
		unsigned char c = (unsigned char)*at;

		if (c == '\n')
			fputs("\\n", out);
		else if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else if (c == '"' || c == '\\' || (c == '$' && at[1] == '{'))
			fprintf(out, "\\%c", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static uint64_t load_number(const struct config_key *key, const void *field)
{
	uint64_t wide;
	uint32_t narrow;

	if (key->width == sizeof(wide)) {
		memcpy(&wide, field, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, field, sizeof(narrow));
	return narrow;
}

static void print_number(const struct config_key *key, uint64_t value, FILE *out)
{
	char text[CONFIG_UNIT_TEXT];

	if (value == 0 && key->zero)
		fputs(key->zero, out);
	else if (key->kind == KIND_DURATION)
		fputs(config_duration_print(value * key->unit_ns, text), out);
	else if (key->kind == KIND_SIZE)
		fputs(config_size_print(value, text), out);
	else if (key->kind == KIND_RATE)
		fputs(config_rate_print(value, text), out);
	else
		fprintf(out, "%" PRIu64, value);
}

static void print_list(const struct config_key *key, const void *base, FILE *out)
{
	char *const *items = *(char **const *)((const char *)base + key->offset);
	unsigned count = *(const unsigned *)((const char *)base + key->count_offset);

	fputs("{", out);
	for (unsigned i = 0; i < count; i++) {
		fputs(i ? ", " : " ", out);
		config_quote(items[i], out);
	}
	fputs(count ? " }" : "}", out);
}

static void print_range(const struct config_key *key, const void *base, FILE *out)
{
	unsigned from = *(const unsigned *)((const char *)base + key->offset);
	unsigned to = *(const unsigned *)((const char *)base + key->count_offset);

	fprintf(out, from == to ? "\"%u\"" : "\"%u-%u\"", from, to);
}

/* A key without default and without value is not there; so is what the route or the store has no use for. */
static bool is_absent(const struct config_key *key, const void *base)
{
	const void *field = (const char *)base + key->offset;
	const struct config_route *route = base;
	const struct config_store *store = base;

	if (key->kind == KIND_HANDLER && key->handler != route->kind)
		return true;
	if (key->route_kinds && !(key->route_kinds >> route->kind & 1))
		return true;
	if (key->store_engines && !(key->store_engines >> store->engine & 1))
		return true;
	if (key->kind == KIND_TEXT)
		return !*(char *const *)field && !key->zero;
	if ((key->kind == KIND_SIZE || key->kind == KIND_RATE) && !key->initial)
		return load_number(key, field) == UINT64_MAX; /* 0 is a size like any other */
	return key->kind == KIND_COUNT && !key->initial && load_number(key, field) == 0;
}

void config_value_print(const struct config_key *key, const void *base, const char *indent,
			FILE *out)
{
	const void *field = (const char *)base + key->offset;

	if (is_absent(key, base))
		return;
	fprintf(out, "%s%s = ", indent, key->name);
	switch (key->kind) {
	case KIND_BOOL:
		fputs(*(const bool *)field != key->is_inverted ? "true" : "false", out);
		break;
	case KIND_COUNT:
	case KIND_SIZE:
	case KIND_DURATION:
	case KIND_RATE:
		print_number(key, load_number(key, field), out);
		break;
	case KIND_CHOICE:
		config_quote(key->choices[load_number(key, field)], out);
		break;
	case KIND_TEXT:
	case KIND_HANDLER:
		config_quote(*(char *const *)field ? *(char *const *)field : key->zero, out);
		break;
	case KIND_LIST:
		print_list(key, base, out);
		break;
	case KIND_RANGE:
		print_range(key, base, out);
		break;
	}
	fputc('\n', out);
}

static void print_keys(enum config_section_id id, const void *base, const char *indent, FILE *out)
{
	for (unsigned i = 0; i < config_sections[id].key_count; i++)
		config_value_print(&config_sections[id].keys[i], base, indent, out);
}

static void open_titled(enum config_section_id id, const char *title, const char *indent, FILE *out)
{
	fprintf(out, "%s%s ", indent, config_sections[id].name);
	config_quote(title, out);
	fputs(" {\n", out);
}

/* A section at top level that has keys only. */
static void print_titled(enum config_section_id id, const char *title, const void *base, FILE *out)
{
	open_titled(id, title, "\n", out);
	print_keys(id, base, "\t", out);
	fputs("}\n", out);
}

static void print_inner(enum config_section_id id, const char *title, const void *base, FILE *out)
{
	open_titled(id, title, "\t", out);
	print_keys(id, base, "\t\t", out);
	fputs("\t}\n", out);
}

static void print_upstream(const struct config_upstream *u, FILE *out)
{
	open_titled(CONFIG_UPSTREAM, u->name, "\n", out);
	print_keys(CONFIG_UPSTREAM, u, "\t", out);
	fputs("\tcheck {\n", out);
	print_keys(CONFIG_CHECK, &u->check, "\t\t", out);
	fputs("\t}\n", out);
	for (unsigned i = 0; i < u->server_count; i++)
		print_inner(CONFIG_SERVER, u->servers[i].text, &u->servers[i], out);
	fputs("}\n", out);
}

static void print_site(const struct config_site *site, FILE *out)
{
	fputs("\nsite \"", out);
	for (unsigned i = 0; i < site->name_count; i++)
		fprintf(out, "%s%s", i ? " " : "", site->names[i]);
	fputs("\" {\n", out);
	for (unsigned i = 0; i < site->route_count; i++)
		print_inner(CONFIG_ROUTE, site->routes[i].prefix, &site->routes[i], out);
	fputs("}\n", out);
}

void config_dump(const struct config *c, FILE *out)
{
	print_keys(CONFIG_ROOT, c, "", out);
	for (unsigned id = CONFIG_ROOT + 1; id < CONFIG_SECTION_COUNT; id++) {
		if (!config_section_is_plain((enum config_section_id)id))
			continue;
		fprintf(out, "\n%s {\n", config_sections[id].name);
		print_keys((enum config_section_id)id, c, "\t", out);
		fputs("}\n", out);
	}
	for (unsigned i = 0; i < c->listen_count; i++)
		print_titled(CONFIG_LISTEN, c->listens[i].text, &c->listens[i], out);
	for (unsigned i = 0; i < c->udp_listen_count; i++)
		print_titled(CONFIG_LISTEN_UDP, c->udp_listens[i].text, &c->udp_listens[i], out);
	for (unsigned i = 0; i < c->upstream_count; i++)
		print_upstream(&c->upstreams[i], out);
	for (unsigned i = 0; i < c->redis_count; i++)
		print_titled(CONFIG_REDIS, c->redis[i].name, &c->redis[i], out);
	for (unsigned i = 0; i < c->channel_count; i++)
		print_titled(CONFIG_CHANNEL, c->channels[i].name, &c->channels[i], out);
	for (unsigned i = 0; i < c->store_count; i++)
		print_titled(CONFIG_STORE, c->stores[i].name, &c->stores[i], out);
	for (unsigned i = 0; i < c->site_count; i++)
		print_site(&c->sites[i], out);
}
