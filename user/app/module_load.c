/* SPDX-License-Identifier: MIT */
/*
 * A module's file, its code, and its instances at routes; see module.h.
 *
 * The copy is a sealed memfd, which the loader opens by its place in /proc: it knows files by device and inode, so two
 * routes with one module share its code, and the next generation, with a copy of its own, never gets that of this one.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/module_internal.h"
#include "base/err.h"

/* From Linux 6.3 on; what is executable had no word of its own before. */
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#define FILE_MAX   (1u << 30)	/* bytes */
#define CALLS_KEPT 64u		/* free ones, for the next requests */

/* The first version of the interface had these. */
#define END_OF(type, member) (offsetof(struct type, member) + sizeof(((struct type *)0)->member))
#define MODULE_SIZE_MIN END_OF(sluice_module, on_drain)
#define ROUTE_SIZE_MIN  END_OF(sluice_route, on_abort)

/* The file -------------------------------------------------------------------------------------------------------- */

static int new_memfd(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("sluice-module", flags | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("sluice-module", flags);
	return fd < 0 ? -errno : fd;
}

static int copy(int from, off_t size, int to)
{
	off_t at = 0;

	while (at < size) {
		ssize_t n = sendfile(to, from, &at, (size_t)(size - at));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	return fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0 ? -errno : 0;
}

/* Takes the descriptor.  That of the copy, or -errno and why. */
static int copy_file(int from, char why[MODULE_WHY_SIZE])
{
	struct stat st;
	int fd, err = fstat(from, &st) < 0 ? -errno : 0;

	if (!err)
		err = !S_ISREG(st.st_mode) ? -EINVAL : st.st_size > FILE_MAX ? -EFBIG : 0;
	if (err) {
		snprintf(why, MODULE_WHY_SIZE, "cannot be read: %s", err == -EINVAL ? "it is no file" : strerror(-err));
		close(from);
		return err;
	}
	fd = new_memfd();
	err = fd < 0 ? fd : copy(from, st.st_size, fd);
	if (err)
		snprintf(why, MODULE_WHY_SIZE, "cannot be copied into memory: %s%s", strerror(-err),
			 err == -EACCES ? " (is vm.memfd_noexec 2?)" : "");
	if (err && fd >= 0)
		close(fd);
	close(from);
	return err ? err : fd;
}

int module_open(const char *path, struct module **ret_module, char why[MODULE_WHY_SIZE])
{
	struct module *m = calloc(1, sizeof(*m));
	int fd;

	if (!m || !(m->path = strdup(path))) {
		free(m);
		snprintf(why, MODULE_WHY_SIZE, "no memory");
		return -ENOMEM;
	}
	list_init(&m->routes);
	do {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0) {
		fd = -errno;
		snprintf(why, MODULE_WHY_SIZE, "cannot be read: %s", strerror(-fd));
	} else {
		fd = copy_file(fd, why);
	}
	m->fd = fd;
	if (fd < 0)
		module_free(m);
	else
		*ret_module = m;
	return MIN(fd, 0);
}

void module_free(struct module *m)
{
	if (!m)
		return;
	module_table_free(m->table);
	if (m->fd >= 0)
		close(m->fd);
	free(m->path);
	free(m);
}

/* The code -------------------------------------------------------------------------------------------------------- */

/* What the loader says, without our name for the file. */
static const char *loader_error(void)
{
	const char *text = dlerror(), *colon;

	if (!text)
		return "unknown error";
	colon = strncmp(text, "/proc/", 6) == 0 ? strstr(text, ": ") : NULL;
	return colon ? colon + 2 : text;
}

static int check_version(const struct sluice_module *given, char why[MODULE_WHY_SIZE])
{
	if (given->abi != SLUICE_ABI)
		snprintf(why, MODULE_WHY_SIZE,
			 "was built for version %u of the interface, and this server has version %u: build it with the "
			 "header of this server, include/sluice/handler.h",
			 given->abi, SLUICE_ABI);
	else if (given->size < MODULE_SIZE_MIN || given->route_size < ROUTE_SIZE_MIN)
		snprintf(why, MODULE_WHY_SIZE,
			 "says that its structs are smaller (%u and %u bytes) than they ever were (%zu and %zu): expected "
			 "SLUICE_HEAD and SLUICE_ROUTES in sluice_module",
			 given->size, given->route_size, MODULE_SIZE_MIN, ROUTE_SIZE_MIN);
	else if (!given->name || !*given->name)
		snprintf(why, MODULE_WHY_SIZE, "has no name in sluice_module");
	else
		return 0;
	return -EINVAL;
}

static int load(struct module *m, char why[MODULE_WHY_SIZE])
{
	const struct sluice_module *given;
	char name[32];
	void *handle;
	int err;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", m->fd);
	handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		snprintf(why, MODULE_WHY_SIZE, "cannot be loaded: %s", loader_error());
		return -ENOEXEC;
	}
	given = dlsym(handle, "sluice_module");
	if (!given) {
		snprintf(why, MODULE_WHY_SIZE, "exports no variable sluice_module");
		return -EINVAL;
	}
	err = check_version(given, why);
	if (err)
		return err;
	memcpy(&m->code, given, MIN(sizeof(m->code), given->size));
	err = module_table_new(&m->code, &m->table, why, MODULE_WHY_SIZE);
	if (err == -ENOMEM)
		snprintf(why, MODULE_WHY_SIZE, "no memory");
	return err;
}

int module_try(struct module *m, const char *args, char why[MODULE_WHY_SIZE])
{
	int err = load(m, why);

	if (err || !m->code.check || m->code.check(args ? args : "", why, MODULE_WHY_SIZE) == 0)
		return err;
	why[MODULE_WHY_SIZE - 1] = '\0';
	if (!*why)
		snprintf(why, MODULE_WHY_SIZE, "does not take these module_args");
	return -EINVAL;
}

/* Instances ------------------------------------------------------------------------------------------------------- */

static int init_route(struct module *m, struct module_route *r, unsigned worker)
{
	int err;

	r->instance.api = &module_api;
	r->instance.worker = worker;
	err = m->code.init ? m->code.init(&r->instance) : 0;
	r->is_ready = !err;
	if (err)
		log_error("module %s, route %s: its init returned %d (%s)", m->path, r->instance.prefix, err,
			  err < 0 ? strerror(-err) : "expected 0 or -errno");
	return err < 0 ? err : err ? -EINVAL : 0;
}

int module_start(struct module *m, struct loop *loop, unsigned worker, struct module_stats *stats)
{
	char why[MODULE_WHY_SIZE] = "";
	int err = m->table ? 0 : load(m, why);

	if (err) {
		log_error("module '%s' %s", m->path, why);
		return err;
	}
	m->loop = loop;
	m->stats = stats;
	pool_init(&m->calls, sizeof(struct module_call), CALLS_KEPT, 0);
	list_for_each(node, &m->routes) {
		err = init_route(m, container_of(node, struct module_route, node), worker);
		if (err)
			return err;
	}
	return 0;
}

void module_drain(struct module *m)
{
	if (!m->loop || m->is_draining)
		return;
	m->is_draining = true;
	list_for_each(node, &m->routes) {
		struct module_route *r = container_of(node, struct module_route, node);

		if (r->is_ready && m->code.on_drain)
			m->code.on_drain(&r->instance);
	}
}

void module_stop(struct module *m)
{
	if (!m->loop)
		return;
	list_for_each(node, &m->routes) {
		struct module_route *r = container_of(node, struct module_route, node);

		if (r->is_ready && m->code.exit)
			m->code.exit(&r->instance);
		r->is_ready = false;
	}
	pool_fini(&m->calls);
	m->loop = NULL;
}

int module_route_new(const struct module_route_options *opt, void **ret_conf)
{
	size_t prefix_len = opt->prefix.len, args_len = opt->args ? strlen(opt->args) : 0;
	struct module_route *r = calloc(1, sizeof(*r) + prefix_len + args_len + 2);

	if (!r)
		return -ENOMEM;
	memcpy(r->memory, opt->prefix.ptr, prefix_len);
	if (args_len)
		memcpy(r->memory + prefix_len + 1, opt->args, args_len);
	r->module = opt->module;
	r->instance.prefix = r->memory;
	r->instance.args = r->memory + prefix_len + 1;
	r->strip = prefix_len - (prefix_len > 0 && r->memory[prefix_len - 1] == '/');
	r->timeout_ms = opt->timeout_ms;
	r->body_max = opt->body_max;
	list_push_back(&opt->module->routes, &r->node);
	*ret_conf = r;
	return 0;
}

void module_route_free(void *conf)
{
	struct module_route *r = conf;

	if (!r)
		return;
	list_remove(&r->node);
	free(r);
}
