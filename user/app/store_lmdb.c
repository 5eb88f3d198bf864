/* SPDX-License-Identifier: MIT */
/*
 * The LMDB engine as a worker sees it: reads come out of the map, changes go to the writer (store_link.h).
 *
 * A read takes no lock and makes no system call; what it finds is copied before the view of the file is given back, so
 * that a client that reads slowly keeps no page from being used anew.  A page that is not in memory stops the worker until
 * the disk has brought it: docs/store.md says what that costs.
 */
#include <stdlib.h>

#include "app/store_db.h"
#include "app/store_link.h"
#include "base/err.h"
#include "base/log.h"

struct lmdb {
	struct store_engine engine;
	struct store_db db;
	struct store_link link;
	char *name, *path;
	uint64_t timeout_ms;
	struct log_seldom seldom;
};

static struct lmdb *of(struct store_engine *e)
{
	return container_of(e, struct lmdb, engine);
}

/* Life --------------------------------------------------------------------------------------------------------- */

static int start(struct store_engine *e, struct loop *loop)
{
	struct lmdb *m = of(e);
	char why[STORE_WHY_SIZE];
	int err = store_db_open(&m->db, m->path, 0, why);

	if (err)
		log_error("store %s: %s", m->name, why);
	else
		store_link_init(&m->link, loop, m->timeout_ms, m->name);
	return err;
}

static void stop(struct store_engine *e)
{
	store_link_fini(&of(e)->link);
	of(e)->link.loop = NULL;
	store_db_close(&of(e)->db);
}

static void free_engine(struct store_engine *e)
{
	struct lmdb *m = of(e);

	free(m->name);
	free(m->path);
	free(m);
}

/* Reading ------------------------------------------------------------------------------------------------------ */

static void tell(struct lmdb *m, const char *what, int rc)
{
	const char *more = log_seldom(&m->seldom);

	if (more)
		log_error("store %s: cannot %s: %s%s", m->name, what, store_db_error(rc), more);
}

static int find(struct lmdb *m, struct span key, struct store_value *ret_value)
{
	MDB_val k = { key.len, (void *)key.ptr }, data;
	int rc = mdb_get(m->db.reader, m->db.dbi, &k, &data);

	if (!rc && !store_db_decode(&data, ret_value))
		rc = MDB_CORRUPTED;
	if (rc && rc != MDB_NOTFOUND)
		tell(m, "read", rc);
	return rc ? store_db_errno(rc) : 0;
}

static void get(struct store_engine *e, struct store_ask *a, struct span key)
{
	struct lmdb *m = of(e);
	struct store_value value;
	int err = store_db_begin_read(&m->db);

	if (err) {
		a->on_value(a, err, NULL);
		return;
	}
	err = find(m, key, &value);
	a->on_value(a, err, err ? NULL : &value);
	store_db_end_read(&m->db);
}

/* Listings ----------------------------------------------------------------------------------------------------- */

struct walk {
	MDB_cursor *cursor;
	MDB_val key, data;
	struct span prefix;
	char seek[STORE_KEY_MAX + 1];
	size_t seek_len;
};

/* The first key that is not below this name; of a collection none of what is in it ('0' follows '/'). */
static int seek_behind(struct walk *w, struct span name)
{
	bool is_collection = name.len && name.ptr[name.len - 1] == '/';
	int rc;

	if (w->prefix.len + name.len > STORE_KEY_MAX)
		return MDB_NOTFOUND;
	memcpy(w->seek, w->prefix.ptr, w->prefix.len);
	memcpy(w->seek + w->prefix.len, name.ptr, name.len);
	w->seek_len = w->prefix.len + name.len;
	if (is_collection)
		w->seek[w->seek_len - 1] = '0';
	w->key = (MDB_val){ w->seek_len, w->seek };
	rc = w->seek_len ? mdb_cursor_get(w->cursor, &w->key, &w->data, MDB_SET_RANGE)
			 : mdb_cursor_get(w->cursor, &w->key, &w->data, MDB_FIRST);
	if (!rc && name.len && !is_collection && w->key.mv_size == w->seek_len &&
	    memcmp(w->key.mv_data, w->seek, w->seek_len) == 0)
		rc = mdb_cursor_get(w->cursor, &w->key, &w->data, MDB_NEXT);
	return rc;
}

/* MDB_NOTFOUND: the end of the collection. */
static int visit(struct walk *w, struct store_ask *a, bool *ret_goes_on)
{
	struct span key = span_of(w->key.mv_data, w->key.mv_size), name;
	struct store_value value;
	const char *slash;

	if (!span_starts_with(key, w->prefix))
		return MDB_NOTFOUND;
	name = span_of(key.ptr + w->prefix.len, key.len - w->prefix.len);
	slash = memchr(name.ptr, '/', name.len);
	if (slash) {
		name.len = (size_t)(slash + 1 - name.ptr);
		*ret_goes_on = a->on_item(a, name, NULL);
		return *ret_goes_on ? seek_behind(w, name) : 0;
	}
	if (!store_db_decode(&w->data, &value))
		return MDB_CORRUPTED;
	*ret_goes_on = a->on_item(a, name, &value);
	return *ret_goes_on ? mdb_cursor_get(w->cursor, &w->key, &w->data, MDB_NEXT) : 0;
}

static void list(struct store_engine *e, struct store_ask *a, struct span key, struct span after, unsigned limit)
{
	struct lmdb *m = of(e);
	struct walk w = { .prefix = key };
	bool goes_on = true;
	int rc, err = store_db_begin_read(&m->db);

	if (err) {
		a->on_listed(a, err, false);
		return;
	}
	rc = mdb_cursor_open(m->db.reader, m->db.dbi, &w.cursor);
	if (!rc) {
		rc = seek_behind(&w, after);
		while (!rc && goes_on)
			rc = visit(&w, a, &goes_on);
		mdb_cursor_close(w.cursor);
	}
	store_db_end_read(&m->db);
	if (rc && rc != MDB_NOTFOUND)
		tell(m, "list", rc);
	a->on_listed(a, rc && rc != MDB_NOTFOUND ? store_db_errno(rc) : 0, !goes_on);
}

/* Changes ------------------------------------------------------------------------------------------------------ */

static void change(struct store_engine *e, struct store_ask *a, const struct store_change *c, char *content)
{
	store_link_change(&of(e)->link, a, c, content);
}

static void forget(struct store_engine *e, struct store_ask *a)
{
	store_link_forget(&of(e)->link, a);
}

static void take_link(struct store_engine *e, int fd)
{
	store_link_connect(&of(e)->link, fd);
}

static const struct store_engine_ops lmdb_ops = {
	.name = "lmdb",
	.start = start,
	.stop = stop,
	.free = free_engine,
	.get = get,
	.list = list,
	.change = change,
	.forget = forget,
	.link = take_link,
};

int store_lmdb_new(const struct store_lmdb_options *opt, struct store_engine **ret_engine)
{
	struct lmdb *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->engine.ops = &lmdb_ops;
	m->name = strdup(opt->name);
	m->path = strdup(opt->path);
	m->timeout_ms = opt->timeout_ms;
	if (!m->name || !m->path) {
		free_engine(&m->engine);
		return -ENOMEM;
	}
	*ret_engine = &m->engine;
	return 0;
}
