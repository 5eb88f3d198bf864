/* SPDX-License-Identifier: MIT */
/*
 * The stores of a generation: their folders made and looked at before anybody serves from them, and what is counted of
 * them, which stays with the place from one generation to the next.  One at a redis is taken as it is: whether there is a
 * server shows while it runs, and it may come later.
 *
 * The master opens no store: LMDB forbids to carry one through fork().  A child of a moment does, as the user who is
 * going to, and says what is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/store_writer.h"
#include "base/err.h"
#include "base/trial.h"
#include "proc/master_internal.h"

#define VERIFY_MS     250u	/* for what it reads of the file: a reload is not to take minutes */
#define TRY_LIMIT_MS  10000

/* Counters ----------------------------------------------------------------------------------------------------- */

struct store_share {
	struct list node;	/* of master.store_shares */
	unsigned users;
	struct store_stats *stats;
	char place[];
};

static struct store_share *share_new(struct master *m, const char *place)
{
	size_t len = strlen(place) + 1;
	struct store_share *s = malloc(sizeof(*s) + len);
	void *memory = mmap(NULL, sizeof(*s->stats), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (!s || memory == MAP_FAILED) {
		free(s);
		if (memory != MAP_FAILED)
			munmap(memory, sizeof(*s->stats));
		return NULL;
	}
	s->users = 0;
	s->stats = memory;
	memcpy(s->place, place, len);
	list_push_back(&m->store_shares, &s->node);
	return s;
}

static struct store_share *share_find(struct master *m, const char *place)
{
	list_for_each(node, &m->store_shares) {
		struct store_share *s = container_of(node, struct store_share, node);

		if (strcmp(s->place, place) == 0)
			return s;
	}
	return share_new(m, place);
}

/* An absolute path cannot be taken for a place at a redis.  NULL without memory. */
static struct store_share *share_get(struct master *m, const struct config_store *c)
{
	struct store_share *s;
	char *place;

	if (config_store_has_writer(c))
		return share_find(m, c->path);
	if (asprintf(&place, "redis:%s:%s", c->redis, c->key_prefix) < 0)
		return NULL;
	s = share_find(m, place);
	free(place);
	return s;
}

static void share_put(struct store_share *s)
{
	if (!s || --s->users > 0)
		return;
	list_remove(&s->node);
	munmap(s->stats, sizeof(*s->stats));
	free(s);
}

/* Looking at it ------------------------------------------------------------------------------------------------ */

/* In a process of a moment. */
static void try_to_open(const void *ctx, char *why, size_t size)
{
	static struct store_stats stats;
	const struct config_store *c = ctx;
	struct store_writer w;
	int err = store_writer_open(&w, c->path, c->size, &stats, why);

	if (!err && store_writer_verify(&w, VERIFY_MS))
		snprintf(why, size, "'%.150s' is damaged: it cannot be read", c->path);
	if (!err)
		store_writer_close(&w);
}

static int try_in_child(const struct config_store *c, const struct identity *identity, char why[STORE_WHY_SIZE])
{
	const struct trial t = { .identity = identity, .run = try_to_open, .ctx = c, .limit_ms = TRY_LIMIT_MS };
	int by_signal = 0, result = trial_run(&t, why, STORE_WHY_SIZE, &by_signal);

	if (result == TRIAL_LATE)
		snprintf(why, STORE_WHY_SIZE, "'%.150s' does not open within %d s", c->path, TRY_LIMIT_MS / 1000);
	if (result == TRIAL_KILLED)
		snprintf(why, STORE_WHY_SIZE, "'%.150s' is damaged or cut short: whoever reads it is killed by signal %d",
			 c->path, by_signal);
	return result > 0 ? -EIO : result;
}

/* One that is not there is made; whose user may not write it then is the operator's choice. */
static int make_folder(const struct config_store *c, const struct identity *identity, char why[STORE_WHY_SIZE])
{
	struct stat st;
	int err;

	if (mkdir(c->path, 0750) == 0 && identity->is_set && chown(c->path, identity->uid, identity->gid) < 0) {
		/* A service manager may have left the master without that right. */
		err = -errno;
		rmdir(c->path);
		snprintf(why, STORE_WHY_SIZE, "cannot give '%.150s' to its user: %s; make that folder before", c->path,
			 strerror(-err));
		return err;
	}
	err = stat(c->path, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	if (err)
		snprintf(why, STORE_WHY_SIZE, "cannot make the folder '%.150s': %s", c->path, strerror(-err));
	return err;
}

/* Two ways to one folder would have a process open it twice, which LMDB does not survive. */
static bool is_other_folder(const struct config *c, unsigned index)
{
	struct stat mine, other;

	if (stat(c->stores[index].path, &mine) < 0)
		return true;
	for (unsigned i = 0; i < c->store_count; i++)
		if (i != index && config_store_has_writer(&c->stores[i]) && stat(c->stores[i].path, &other) == 0 &&
		    mine.st_dev == other.st_dev && mine.st_ino == other.st_ino)
			return false;
	return true;
}

static int prepare(const struct generation *g, unsigned index)
{
	const struct config_store *c = &g->config->stores[index];
	const struct identity *identity = &g->master->identity;
	char why[STORE_WHY_SIZE] = "";
	int err = make_folder(c, identity, why);

	if (!err && !is_other_folder(g->config, index)) {
		snprintf(why, sizeof(why), "'%.150s' is the folder of another store", c->path);
		err = -EEXIST;
	}
	if (!err)
		err = try_in_child(c, identity, why);
	if (err)
		log_error("store %s: %s%s%s", c->name, *why ? why : strerror(-err), identity->is_set ? ", as user " : "",
			  identity->is_set ? g->config->user : "");
	return err;
}

/* Life --------------------------------------------------------------------------------------------------------- */

static bool has_path(const struct generation *g, const char *path)
{
	for (unsigned i = 0; g && i < g->config->store_count; i++)
		if (config_store_has_writer(&g->config->stores[i]) && strcmp(g->config->stores[i].path, path) == 0)
			return true;
	return false;
}

/* Counters of each, and a slot for each writer.  0 or -ENOMEM. */
static int share_all(struct generation *g)
{
	unsigned count = g->config->store_count;

	g->store_shares = calloc(count, sizeof(*g->store_shares));
	g->store_stats = calloc(count, sizeof(*g->store_stats));
	g->storer_stores = calloc(count, sizeof(*g->storer_stores));
	g->is_store_linked = calloc((size_t)count * g->worker_count, sizeof(*g->is_store_linked));
	if (!g->store_shares || !g->store_stats || !g->storer_stores || !g->is_store_linked)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		struct store_share *s = share_get(g->master, &g->config->stores[i]);

		if (!s)
			return -ENOMEM;
		s->users++;
		g->store_shares[i] = s;
		g->store_stats[i] = s->stats;
		if (config_store_has_writer(&g->config->stores[i]))
			g->storer_stores[g->storer_count++] = i;
	}
	return 0;
}

int generation_open_stores(struct generation *g, const struct generation *before)
{
	int err;

	if (g->config->store_count == 0)
		return 0;
	err = share_all(g);
	if (err) {
		log_error("no memory for the stores");
		return err;
	}
	/* One that is served already is as good as its writer finds it. */
	for (unsigned i = 0; i < g->storer_count && !err; i++)
		if (!has_path(before, g->config->stores[g->storer_stores[i]].path))
			err = prepare(g, g->storer_stores[i]);
	return err;
}

void generation_close_stores(struct generation *g)
{
	for (unsigned i = 0; g->store_shares && i < g->config->store_count; i++)
		share_put(g->store_shares[i]);
	free(g->store_shares);
	free(g->store_stats);
	free(g->storer_stores);
	free(g->is_store_linked);
	g->store_shares = NULL;
	g->store_stats = NULL;
	g->storer_stores = NULL;
	g->storer_count = 0;
	g->is_store_linked = NULL;
}
