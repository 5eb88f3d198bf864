/* SPDX-License-Identifier: MIT */
/* Making, loading and freeing a configuration. */
#include "proc/config.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/config_build.h"
#include "proc/config_scan.h"
#include "proc/config_value.h"

#define FILE_MAX (1u << 20) /* bytes: a configuration beyond that is some other file */

struct config *config_new(void)
{
	struct config *c = calloc(1, sizeof(*c));
	int r = c ? 0 : -ENOMEM;

	for (unsigned id = 0; !r && id < CONFIG_SECTION_COUNT; id++) {
		if (!config_sections[id].title)
			r = config_value_defaults((enum config_section_id)id, c);
	}
	if (!r)
		return c;
	config_free(c);
	return NULL;
}

static void free_route(struct config_route *route)
{
	for (unsigned i = 0; i < route->index_count; i++)
		free(route->index[i]);
	free(route->index);
	free(route->prefix);
	free(route->value);
	free(route->type);
}

static void free_site(struct config_site *site)
{
	for (unsigned i = 0; i < site->name_count; i++)
		free(site->names[i]);
	for (unsigned i = 0; i < site->route_count; i++)
		free_route(&site->routes[i]);
	free(site->names);
	free(site->routes);
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->listen_count; i++)
		free(c->listens[i].text);
	for (unsigned i = 0; i < c->site_count; i++)
		free_site(&c->sites[i]);
	free(c->listens);
	free(c->sites);
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

/* --- from a command line --- */

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

static int add_listen(struct config *c, const char *text)
{
	static const char place[] = "command line";
	int r;

	c->listens = calloc(1, sizeof(*c->listens));
	if (!c->listens)
		return -ENOMEM;
	c->listen_count = 1;
	r = config_listen_init(&c->listens[0]);
	if (r)
		return r;
	c->listens[0].place.file = place;
	c->listens[0].text = strdup(text);
	if (!c->listens[0].text)
		return -ENOMEM;
	return sock_addr_parse(span_str(text), &c->listens[0].addr);
}

static int add_site(struct config *c, const char *folder)
{
	struct config_site *site = calloc(1, sizeof(*site));
	int r;

	if (!site)
		return -ENOMEM;
	c->sites = site;
	c->site_count = 1;
	site->place.file = "command line";
	site->names = calloc(1, sizeof(*site->names));
	site->routes = calloc(1, sizeof(*site->routes));
	if (!site->names || !site->routes)
		return -ENOMEM;
	site->route_count = 1;
	r = config_route_init(&site->routes[0]);
	if (r)
		return r;
	site->routes[0].place.file = "command line";
	site->routes[0].kind = ROUTE_FILES;
	site->routes[0].has_listing = true;
	site->routes[0].prefix = strdup("/");
	site->names[0] = strdup("*");
	site->name_count = site->names[0] ? 1 : 0;
	r = find_folder(folder, &site->routes[0].value);
	return !r && (!site->names[0] || !site->routes[0].prefix) ? -ENOMEM : r;
}

int config_for_files(const char *folder, const char *listen, struct config **ret_config)
{
	struct config *c = config_new();
	int r;

	*ret_config = NULL;
	if (!c)
		return -ENOMEM;
	r = add_listen(c, listen ? listen : CONFIG_FILES_LISTEN);
	if (!r)
		r = add_site(c, folder);
	if (r) {
		config_free(c);
		return r;
	}
	*ret_config = c;
	return 0;
}
