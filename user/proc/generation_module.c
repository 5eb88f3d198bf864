/* SPDX-License-Identifier: MIT */
/*
 * What is counted of modules: see include/module_shm.h.  It stays with the path of the file from one generation to the
 * next, whatever else changes.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/err.h"
#include "proc/master_internal.h"

/* Of generations that are gone. */
struct module_past {
	struct list node;	/* of master.module_past */
	struct module_stats sum;
	char path[];
};

static size_t size_of(const struct generation *g)
{
	return (size_t)g->config->module_count * g->worker_count * sizeof(*g->module_stats);
}

struct module_stats *generation_module_stats(const struct generation *g, unsigned slot)
{
	return g->module_stats ? &g->module_stats[(size_t)slot * g->config->module_count] : NULL;
}

int generation_open_modules(struct generation *g)
{
	void *memory;

	if (g->config->module_count == 0)
		return 0;
	memory = mmap(NULL, size_of(g), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		log_error("cannot map the counters of modules: %s", strerror(errno));
		return -ENOMEM;
	}
	g->module_stats = memory;
	return 0;
}

void generation_forget_modules(struct generation *g, unsigned slot)
{
	struct module_stats *row = generation_module_stats(g, slot);

	for (unsigned i = 0; row && i < g->config->module_count; i++)
		row[i].in_flight = 0;
}

static void add(struct module_stats *to, const struct module_stats *from)
{
#define X(name) to->name += __atomic_load_n(&from->name, __ATOMIC_RELAXED);
	MODULE_COUNTERS(X)
	X(in_flight)
#undef X
}

static struct module_past *find_past(const struct master *m, const char *path)
{
	list_for_each(node, &m->module_past) {
		struct module_past *p = container_of(node, struct module_past, node);

		if (strcmp(p->path, path) == 0)
			return p;
	}
	return NULL;
}

/* Without memory its counts are lost, and nothing else. */
static void keep(struct master *m, const char *path, const struct module_stats *row)
{
	struct module_past *p = find_past(m, path);
	size_t len = strlen(path) + 1;

	if (!p) {
		p = calloc(1, sizeof(*p) + len);
		if (!p)
			return;
		memcpy(p->path, path, len);
		list_push_back(&m->module_past, &p->node);
	}
	add(&p->sum, row);
	p->sum.in_flight = 0;
}

void generation_close_modules(struct generation *g)
{
	if (!g->module_stats)
		return;
	for (unsigned slot = 0; slot < g->worker_count; slot++)
		for (unsigned i = 0; i < g->config->module_count; i++)
			keep(g->master, g->config->modules[i], &generation_module_stats(g, slot)[i]);
	munmap(g->module_stats, size_of(g));
	g->module_stats = NULL;
}

void generation_sum_modules(const struct master *m, const char *path, struct module_stats *ret_sum)
{
	const struct module_past *p = find_past(m, path);

	*ret_sum = p ? p->sum : (struct module_stats){ 0 };
	list_for_each(node, &m->generations) {
		const struct generation *g = container_of(node, struct generation, node);

		for (unsigned i = 0; g->module_stats && i < g->config->module_count; i++)
			for (unsigned slot = 0; strcmp(g->config->modules[i], path) == 0 && slot < g->worker_count; slot++)
				add(ret_sum, &generation_module_stats(g, slot)[i]);
	}
}

void generation_drop_module_past(struct master *m)
{
	list_for_each_safe(node, next, &m->module_past) {
		list_remove(node);
		free(container_of(node, struct module_past, node));
	}
}
