/* SPDX-License-Identifier: MIT */
/* Making, loading and freeing a configuration. */
#include "config/config.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "config/config_build.h"
#include "config/config_scan.h"
#include "config/config_value.h"

#define FILE_MAX (1u << 20) /* bytes: a configuration beyond that is some other file */

struct config *config_new(void)
{
	struct config *c = calloc(1, sizeof(*c));
	int r = c ? 0 : -ENOMEM;

	for (unsigned id = 0; !r && id < CONFIG_SECTION_COUNT; id++) {
		if (config_section_is_plain((enum config_section_id)id))
			r = config_value_defaults((enum config_section_id)id, c);
	}
	if (!r)
		return c;
	config_free(c);
	return NULL;
}

static void free_list(char **items, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(items[i]);
	free(items);
}

static void free_proxy(struct config_proxy *p)
{
	free(p->host);
	free(p->rewrite);
	free_list(p->request_set, p->request_set_count);
	free_list(p->request_add, p->request_add_count);
	free_list(p->request_remove, p->request_remove_count);
	free_list(p->response_set, p->response_set_count);
	free_list(p->response_add, p->response_add_count);
	free_list(p->response_remove, p->response_remove_count);
}

static void free_route(struct config_route *route)
{
	free_list(route->index, route->index_count);
	free_proxy(&route->proxy);
	free_list(route->websocket.origins, route->websocket.origins_count);
	free_list(route->redis.allow, route->redis.allow_count);
	free(route->redis.key_prefix);
	free(route->module.args);
	free_list(route->module.read, route->module.read_count);
	free(route->prefix);
	free(route->value);
	free(route->type);
}

static void free_site(struct config_site *site)
{
	for (unsigned i = 0; i < site->route_count; i++)
		free_route(&site->routes[i]);
	free_list(site->names, site->name_count);
	free(site->routes);
}

static void free_upstream(struct config_upstream *u)
{
	for (unsigned i = 0; i < u->server_count; i++) {
		free(u->servers[i].text);
		free(u->servers[i].name);
	}
	free(u->servers);
	free(u->name);
	free(u->hash);
	free(u->check.path);
	free(u->check.host);
}

static void free_redis(struct config_redis *r)
{
	free(r->name);
	free(r->server);
	free(r->user);
	free(r->password);
	free_upstream(&r->upstream);
}

unsigned config_group_count(const struct config *c)
{
	return c->upstream_count + c->redis_count;
}

const struct config_upstream *config_group(const struct config *c, unsigned i)
{
	return i < c->upstream_count ? &c->upstreams[i] : &c->redis[i - c->upstream_count].upstream;
}

static void free_channel(struct config_channel *ch)
{
	free(ch->name);
	free(ch->redis);
	free(ch->topic);
}

static void free_store(struct config_store *s)
{
	free(s->name);
	free(s->path);
	free(s->redis);
	free(s->key_prefix);
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->listen_count; i++)
		free(c->listens[i].text);
	for (unsigned i = 0; i < c->udp_listen_count; i++) {
		free(c->udp_listens[i].text);
		free(c->udp_listens[i].mode);
		free_list(c->udp_listens[i].verified, c->udp_listens[i].verified_count);
	}
	for (unsigned i = 0; i < c->site_count; i++)
		free_site(&c->sites[i]);
	for (unsigned i = 0; i < c->upstream_count; i++)
		free_upstream(&c->upstreams[i]);
	for (unsigned i = 0; i < c->redis_count; i++)
		free_redis(&c->redis[i]);
	for (unsigned i = 0; i < c->channel_count; i++)
		free_channel(&c->channels[i]);
	for (unsigned i = 0; i < c->store_count; i++)
		free_store(&c->stores[i]);
	free_list(c->trusted_proxies, c->trusted_proxy_count);
	free_list(c->resolvers, c->resolver_count);
	free_list(c->limits.exempt, c->limits.exempt_count);
	free(c->limits.redis);
	free(c->limits.key_prefix);
	free(c->listens);
	free(c->udp_listens);
	free(c->sites);
	free(c->upstreams);
	free(c->redis);
	free(c->channels);
	free(c->stores);
	free(c->modules);
	free(c->log.access);
	free(c->path);
	free(c->user);
	free(c->control);
	free(c->pin);
	free(c->server_name);
	free(c);
}

/* --- from a file --- */

/* 0 or -errno; *ret_text is the caller's. At most FILE_MAX + 1 bytes. */
static int read_all(int fd, char **ret_text, size_t *ret_len)
{
	char *text = malloc(FILE_MAX + 1);
	size_t len = 0;
	ssize_t n;

	if (!text)
		return -ENOMEM;
	do {
		n = read(fd, text + len, FILE_MAX + 1 - len);
		if (n > 0)
			len += (size_t)n;
	} while ((n > 0 && len <= FILE_MAX) || (n < 0 && errno == EINTR));
	if (n < 0) {
		int r = -errno;

		free(text);
		return r;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}

static int read_file(const char *path, char **ret_text, size_t *ret_len)
{
	int fd, r;

	do {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return -errno;
	r = read_all(fd, ret_text, ret_len);
	close(fd);
	return r;
}

/* 0 or -errno; a fault is not an error here. */
static int parse_into(struct config_faults *f, struct config *c)
{
	char *text = NULL;
	cfg_t *cfg = NULL;
	int r;

	r = config_scan(f, &text);
	if (!r)
		r = config_confuse_parse(f, text, &cfg);
	if (!r)
		r = config_build(f, cfg, c);
	if (!r)
		config_check(f, cfg, c);
	cfg_free(cfg);
	free(text);
	return r == -EINVAL ? 0 : r;
}

static int parse(const char *name, struct span text, struct config **ret_config,
		 struct config_errors *errors)
{
	struct config_faults faults = {.errors = errors, .file = name, .text = text};
	struct config *c = config_new();
	int r = c ? 0 : -ENOMEM;

	*ret_config = NULL;
	if (!r)
		c->path = strdup(name);
	if (!r && !c->path)
		r = -ENOMEM;
	if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
		faults.text = span_of(text.ptr + 3, text.len - 3); /* byte order mark */
	if (!r)
		r = parse_into(&faults, c);
	if (r)
		config_fault(&faults, 0, 0, "cannot be read: %s", strerror(-r));
	config_faults_finish(&faults);
	if (errors->count) {
		config_free(c);
		return -EINVAL;
	}
	*ret_config = c;
	return 0;
}

int config_parse(const char *name, const char *text, struct config **ret_config,
		 struct config_errors *errors)
{
	*errors = (struct config_errors){0};
	return parse(name, span_str(text), ret_config, errors);
}

int config_load(const char *path, struct config **ret_config, struct config_errors *errors)
{
	struct config_faults faults = {.errors = errors, .file = path};
	char *text = NULL;
	size_t len = 0;
	int r;

	*errors = (struct config_errors){0};
	*ret_config = NULL;
	r = read_file(path, &text, &len);
	if (r) {
		config_fault(&faults, 0, 0, "cannot be read: %s", strerror(-r));
		return -EINVAL;
	}
	if (len > FILE_MAX) {
		config_fault(&faults, 0, 0, "is larger than %u bytes: this is no configuration",
			     FILE_MAX);
		r = -EINVAL;
	} else {
		r = parse(path, span_of(text, len), ret_config, errors);
	}
	free(text);
	return r;
}
