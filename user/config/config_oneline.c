/* SPDX-License-Identifier: MIT */
/* Configurations of the one-line commands: an address, and one site with one route. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "config/config_build.h"
#include "config/config_value.h"

#define SERVER_TEXT 512 /* longer than any name with its port */

static const char place[] = "command line";

static int find_folder(const char *folder, char **ret_path)
{
	char *path = realpath(folder, NULL);
	struct stat st;
	int r = 0;

	if (!path)
		return -errno;
	if (stat(path, &st) != 0)
		r = -errno;
	else if (!S_ISDIR(st.st_mode))
		r = -ENOTDIR;
	else if (faccessat(AT_FDCWD, path, R_OK | X_OK, AT_EACCESS) != 0)
		r = -errno;
	if (r)
		free(path);
	else
		*ret_path = path;
	return r;
}

static int copy(const char *text, char **ret_copy)
{
	*ret_copy = strdup(text);
	return *ret_copy ? 0 : -ENOMEM;
}

static int add_listen(struct config *c, const char *text)
{
	int r;

	c->listens = calloc(1, sizeof(*c->listens));
	if (!c->listens)
		return -ENOMEM;
	c->listen_count = 1;
	r = config_listen_init(&c->listens[0]);
	if (r)
		return r;
	c->listens[0].place.file = place;
	r = copy(text, &c->listens[0].text);
	return r ? r : sock_addr_parse(span_str(text), &c->listens[0].addr);
}

/* One site for every host with one route for every path, which still lacks its value. */
static int add_site(struct config *c, enum route_kind kind)
{
	struct config_site *site = calloc(1, sizeof(*site));
	int r;

	if (!site)
		return -ENOMEM;
	c->sites = site;
	c->site_count = 1;
	site->place.file = place;
	site->names = calloc(1, sizeof(*site->names));
	site->routes = calloc(1, sizeof(*site->routes));
	if (!site->names || !site->routes)
		return -ENOMEM;
	site->route_count = 1;
	r = config_route_init(&site->routes[0]);
	if (r)
		return r;
	site->routes[0].place.file = place;
	site->routes[0].kind = kind;
	r = copy("/", &site->routes[0].prefix);
	if (!r)
		r = copy("*", &site->names[0]);
	site->name_count = r ? 0 : 1;
	return r;
}

/* A port alone is one of this machine; "http://" and a final slash come with what is copied from a
 * browser. */
static int complete_server(const char *to, char text[SERVER_TEXT])
{
	bool is_url = strncmp(to, "http://", 7) == 0;
	size_t len;

	to += is_url ? 7 : 0;
	len = strlen(to);
	if (is_url && len && to[len - 1] == '/' && strncmp(to, "unix:", 5) != 0)
		len--;
	if (len >= SERVER_TEXT - sizeof("127.0.0.1:"))
		return -EDOM;
	if (len && strspn(to, "0123456789") >= len)
		snprintf(text, SERVER_TEXT, "127.0.0.1:%.*s", (int)len, to);
	else if (is_url && strcspn(to, ":") >= len)
		snprintf(text, SERVER_TEXT, "%.*s:80", (int)len, to);
	else
		snprintf(text, SERVER_TEXT, "%.*s", (int)len, to);
	return 0;
}

static int add_upstream(struct config *c, const char *to)
{
	char text[SERVER_TEXT], why[CONFIG_WHY_TEXT];
	struct config_upstream *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	c->upstreams = u;
	c->upstream_count = 1;
	r = config_upstream_init(u);
	u->place.file = place;
	if (!r)
		r = copy("app", &u->name);
	if (!r)
		r = complete_server(to, text);
	if (r)
		return r;
	u->servers = calloc(1, sizeof(*u->servers));
	if (!u->servers)
		return -ENOMEM;
	u->server_count = 1;
	r = config_server_init(&u->servers[0]);
	u->servers[0].place.file = place;
	if (!r)
		r = copy(text, &u->servers[0].text);
	if (!r)
		r = config_server_parse(&u->servers[0], text, why, sizeof(why));
	config_number_endpoints(c);
	return r == -EINVAL ? -EDOM : r;
}

/* Both ends of a making: the configuration is the caller's, or away. */
static int begin(const char *listen, struct config **ret_config)
{
	*ret_config = config_new();
	return *ret_config ? add_listen(*ret_config, listen ? listen : CONFIG_FILES_LISTEN) : -ENOMEM;
}

static int end(int r, struct config **ret_config)
{
	if (r) {
		config_free(*ret_config);
		*ret_config = NULL;
	}
	return r;
}

int config_for_files(const char *folder, const char *listen, struct config **ret_config)
{
	int r = begin(listen, ret_config);
	struct config *c = *ret_config;

	if (!r)
		r = add_site(c, ROUTE_FILES);
	if (!r)
		r = find_folder(folder, &c->sites[0].routes[0].value);
	if (!r)
		c->sites[0].routes[0].has_listing = true;
	return end(r, ret_config);
}

int config_for_proxy(const char *to, const char *listen, struct config **ret_config)
{
	int r = begin(listen, ret_config);
	struct config *c = *ret_config;

	if (!r)
		r = add_upstream(c, to);
	if (!r)
		r = add_site(c, ROUTE_PROXY);
	if (!r)
		r = copy(c->upstreams[0].name, &c->sites[0].routes[0].value);
	return end(r, ret_config);
}
