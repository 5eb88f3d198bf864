/* SPDX-License-Identifier: MIT */
/*
 * Landlock by its system calls: who has entered can do with files what the rules allow and nothing else, whatever their
 * permissions say.  Descriptors that are open already (access log, listening sockets) stay as they are, and neither the
 * path of a Unix socket nor O_PATH and stat() are restricted.
 *
 *   version   what it adds                        here
 *   1 (5.13)  files and folders                   read below the served folders
 *   2, 3      links and renames across, truncate  none
 *   4 (6.7)   TCP bind and connect                connect to the ports of upstreams
 *   5 (6.10)  ioctl of devices                    none
 *   6 (6.12)  abstract Unix sockets, signals      none outwards
 *
 * Newer rights are not asked for: what they mean has to be read first.
 *
 * A rule is about a folder, not about its name.  One that is replaced by another of that name is out of reach, which
 * app/static notices.  Where a path leads through symbolic links, though, those are there to be switched (to the next
 * release, beside this one): the folder in which a link's target lies is allowed as a whole.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compat.h"
#include "base/err.h"
#include "proc/sandbox_impl.h"
#include "proc/sharer.h"

/* As in linux/landlock.h, which on Debian 12 ends with version 2. */
#define FS_EXECUTE   (UINT64_C(1) << 0)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR  (UINT64_C(1) << 3)
#define NET_BIND     (UINT64_C(1) << 0)
#define NET_CONNECT  (UINT64_C(1) << 1)
#define SCOPE_ALL    (UINT64_C(3)) /* abstract Unix sockets, signals */
#define RULE_PATH    1
#define RULE_PORT    2
#define ASK_VERSION  1u

struct ruleset_attr {
	uint64_t fs, net, scope;
};

struct path_attr {
	uint64_t rights;
	int32_t fd;
} __attribute__((packed));

struct port_attr {
	uint64_t rights, port;
};

int fence_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, ASK_VERSION);

	return abi > 0 ? (int)abi : 0;
}

/* All that this kernel can forbid, as far as we know of it. */
static uint64_t fs_rights(int abi)
{
	unsigned count = abi >= 5 ? 16 : abi >= 3 ? 15 : abi == 2 ? 14 : 13;

	return (UINT64_C(1) << count) - 1;
}

static int allow_fd(int ruleset, int fd, uint64_t rights)
{
	struct path_attr attr = { .rights = rights, .fd = fd };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		attr.rights &= ~FS_READ_DIR;
	return syscall(SYS_landlock_add_rule, ruleset, RULE_PATH, &attr, 0) < 0 ? -errno : 0;
}

/* What is not there needs no rule. */
static int allow_path(int ruleset, const char *path, uint64_t rights)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	int err;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	err = allow_fd(ruleset, fd, rights);
	close(fd);
	return err;
}

/* The folder in which the target of this link lies. */
static int allow_beside(int ruleset, const char *link, uint64_t rights)
{
	char *target = realpath(link, NULL);
	char *slash = target ? strrchr(target, '/') : NULL;
	int err = 0;

	if (slash && slash != target) {
		*slash = '\0';
		err = allow_path(ruleset, target, rights);
	}
	free(target);
	return err;
}

/* Likewise for each link on the way. */
static int allow_links(int ruleset, const char *path, uint64_t rights)
{
	char part[PATH_MAX];
	struct stat st;
	int err = 0;

	for (const char *at = path; *at && !err; at += strspn(at, "/")) {
		at += strspn(at, "/");
		at += strcspn(at, "/");
		if ((size_t)(at - path) >= sizeof(part))
			return -ENAMETOOLONG;
		memcpy(part, path, (size_t)(at - path));
		part[at - path] = '\0';
		if (*part && lstat(part, &st) == 0 && S_ISLNK(st.st_mode))
			err = allow_beside(ruleset, part, rights);
	}
	return err;
}

/* Links out of the folder may lead anywhere. */
static int allow_route(int ruleset, const struct config_route *route)
{
	const uint64_t rights = FS_READ_FILE | FS_READ_DIR;
	int err;

	if (route->allows_symlinks)
		return allow_path(ruleset, "/", rights);
	err = allow_path(ruleset, route->value, rights);
	return err ? err : allow_links(ruleset, route->value, rights);
}

static int allow_route_files(int ruleset, const struct config_route *route)
{
	int err = route->kind == ROUTE_FILES ? allow_route(ruleset, route) : 0;

	for (unsigned i = 0; route->kind == ROUTE_MODULE && i < route->module.read_count && !err; i++) {
		err = allow_path(ruleset, route->module.read[i], FS_READ_FILE | FS_READ_DIR);
		if (!err)
			err = allow_links(ruleset, route->module.read[i], FS_READ_FILE | FS_READ_DIR);
	}
	return err;
}

static int allow_worker_files(int ruleset, const struct config *c)
{
	/* What an acceptor without descriptors keeps in reserve. */
	int err = allow_path(ruleset, "/dev/null", FS_READ_FILE);

	for (unsigned i = 0; i < c->site_count; i++)
		for (unsigned k = 0; k < c->sites[i].route_count && !err; k++)
			err = allow_route_files(ruleset, &c->sites[i].routes[k]);
	return err;
}

/* /etc/hosts is read for each name; editors replace it, so the folder it is. */
static int allow_monitor_files(int ruleset)
{
	int err = allow_path(ruleset, "/etc", FS_READ_FILE);

	return err ? err : allow_links(ruleset, "/etc/hosts", FS_READ_FILE);
}

static bool has_service_names(const struct config *c)
{
	for (unsigned i = 0; i < config_group_count(c); i++)
		for (unsigned k = 0; k < config_group(c, i)->server_count; k++)
			if (config_group(c, i)->servers[k].kind == SERVER_SRV)
				return true;
	return false;
}

static int allow_port(int ruleset, const struct config_server *s)
{
	struct port_attr attr = { .rights = NET_CONNECT, .port = s->port };

	if (s->kind == SERVER_UNIX)
		return 0;
	if (s->kind == SERVER_ADDRESS)
		attr.port = sock_addr_port(&s->addr);
	return syscall(SYS_landlock_add_rule, ruleset, RULE_PORT, &attr, 0) < 0 ? -errno : 0;
}

static int allow_ports(int ruleset, enum sandbox_role role, const struct config *c)
{
	int err = 0;

	if (role == SANDBOX_STORER)
		return 0;
	if (role == SANDBOX_SHARER)
		return sharer_redis(c) ? allow_port(ruleset, &sharer_redis(c)->upstream.servers[0]) : 0;
	for (unsigned i = 0; i < config_group_count(c); i++)
		for (unsigned k = 0; k < config_group(c, i)->server_count && !err; k++)
			err = allow_port(ruleset, &config_group(c, i)->servers[k]);
	return err;
}

static int fill(int ruleset, const struct ruleset_attr *attr, enum sandbox_role role,
		const struct config *c)
{
	int err = 0;

	/* What writes a store has its files open; it needs no others, and the sharer none. */
	if (role == SANDBOX_WORKER)
		err = allow_worker_files(ruleset, c);
	else if (role == SANDBOX_MONITOR)
		err = allow_monitor_files(ruleset);
	if (!err && (attr->net & NET_CONNECT))
		err = allow_ports(ruleset, role, c);
	/* They read /proc and their own image to report, and start a program that names the functions. */
	if (!err && COMPAT_IS_SANITIZED)
		err = allow_path(ruleset, "/", FS_READ_FILE | FS_READ_DIR | FS_EXECUTE);
	return err;
}

int fence_new(int abi, enum sandbox_role role, const struct config *c)
{
	struct ruleset_attr attr = { .fs = fs_rights(abi), .scope = abi >= 6 ? SCOPE_ALL : 0 };
	int fd, err;

	if (abi >= 4) {
		attr.net = NET_BIND;
		/* An SRV record names the port when it is asked; name servers may be asked by TCP too. */
		if (role == SANDBOX_STORER || role == SANDBOX_SHARER ||
		    (role == SANDBOX_WORKER && !has_service_names(c)))
			attr.net |= NET_CONNECT;
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	err = fd < 0 ? -errno : fill(fd, &attr, role, c);
	if (!err)
		return fd;
	log_error("cannot make the rules of the sandbox: %s", strerror(-err));
	if (fd >= 0)
		close(fd);
	return err;
}

int fence_enter(int ruleset)
{
	return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}
