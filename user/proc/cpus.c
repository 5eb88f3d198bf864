/* SPDX-License-Identifier: MIT */
/* Usable CPUs; see cpus.h. */
#include "proc/cpus.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

unsigned cpus_of_quota(const char *text)
{
	long long quota, period;

	if (sscanf(text, "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0)
		return 0;
	return (unsigned)MIN(quota / period + (quota % period != 0), (long long)CPUS_MAX);
}

static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool is_read = f && fgets(line, (int)size, f);

	if (f)
		fclose(f);
	if (is_read)
		line[strcspn(line, "\n")] = '\0';
	return is_read;
}

static unsigned quota_v2(const char *mount, const char *group)
{
	char path[1200], line[64];

	snprintf(path, sizeof(path), "%s%s/cpu.max", mount, group);
	return read_line(path, line, sizeof(line)) ? cpus_of_quota(line) : 0;
}

static unsigned quota_v1(const char *mount, const char *group)
{
	char path[1200], quota[32], period[32];

	snprintf(path, sizeof(path), "%s%s/cpu.cfs_quota_us", mount, group);
	if (!read_line(path, quota, sizeof(quota)))
		return 0;
	snprintf(path, sizeof(path), "%s%s/cpu.cfs_period_us", mount, group);
	if (!read_line(path, period, sizeof(period)))
		return 0;
	snprintf(path, sizeof(path), "%s %s", quota, period);
	return cpus_of_quota(path);
}

/* The smallest limit on the way from a group up to the root: a parent's quota binds its children too. */
static unsigned quota_of_path(unsigned (*read_quota)(const char *, const char *), const char *mount,
			      const char *group)
{
	char path[512];
	unsigned least = 0;

	snprintf(path, sizeof(path), "%s", strcmp(group, "/") == 0 ? "" : group);
	for (;;) {
		unsigned quota = read_quota(mount, path);
		char *slash = strrchr(path, '/');

		if (quota && (!least || quota < least))
			least = quota;
		if (!slash)
			return least;
		*slash = '\0';
	}
}

/* "cpuacct,cpu" names cpu, "cpuset" does not. */
static bool has_name(const char *list, const char *name)
{
	size_t len = strlen(name);

	while (*list) {
		size_t part = strcspn(list, ",");

		if (part == len && memcmp(list, name, len) == 0)
			return true;
		list += part + (list[part] == ',');
	}
	return false;
}

/* Mount point of a cgroup file system; `controller` NULL: v2. */
static bool find_mount(const char *controller, char *ret_path, size_t size)
{
	char line[1024], dir[512], type[32], options[256];
	FILE *f = fopen("/proc/mounts", "re");
	bool is_found = false;

	while (f && !is_found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %511s %31s %255s", dir, type, options) != 3)
			continue;
		if (controller)
			is_found = strcmp(type, "cgroup") == 0 && has_name(options, controller);
		else
			is_found = strcmp(type, "cgroup2") == 0;
	}
	if (f)
		fclose(f);
	if (is_found)
		snprintf(ret_path, size, "%s", dir);
	return is_found;
}

/* Lines of /proc/self/cgroup: "0::/path" (v2) and "4:cpu,cpuacct:/path" (v1). */
static unsigned quota_of_self(void)
{
	char line[1024], mount[512];
	FILE *f = fopen("/proc/self/cgroup", "re");
	unsigned least = 0;

	while (f && fgets(line, sizeof(line), f)) {
		char *names = strchr(line, ':');
		char *group = names ? strchr(names + 1, ':') : NULL;
		unsigned quota = 0;

		if (!group)
			continue;
		*group++ = '\0';
		names++;
		group[strcspn(group, "\n")] = '\0';
		if (*names == '\0' && find_mount(NULL, mount, sizeof(mount)))
			quota = quota_of_path(quota_v2, mount, group);
		else if (has_name(names, "cpu") && find_mount("cpu", mount, sizeof(mount)))
			quota = quota_of_path(quota_v1, mount, group);
		if (quota && (!least || quota < least))
			least = quota;
	}
	if (f)
		fclose(f);
	return least;
}

void cpus_detect(struct cpus *ret_cpus)
{
	unsigned quota = quota_of_self();
	cpu_set_t set;

	memset(ret_cpus, 0, sizeof(*ret_cpus));
	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		for (unsigned i = 0; i < CPUS_MAX && i < CPU_SETSIZE; i++)
			if (CPU_ISSET(i, &set))
				ret_cpus->ids[ret_cpus->count++] = (unsigned short)i;
	if (ret_cpus->count == 0)
		ret_cpus->count = 1;
	ret_cpus->usable = quota ? MIN(quota, ret_cpus->count) : ret_cpus->count;
}

int cpus_pin(unsigned id)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(id, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}
