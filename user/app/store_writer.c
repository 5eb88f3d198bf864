/* SPDX-License-Identifier: MIT */
/* Changes, transactions, room; see store_writer.h. */
#include "app/store_writer.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/random.h"

/* Pages that a change may take beside those of its content: a copy of each level of two trees, and splits. */
#define TREE_PAGES 16u
#define SLACK_MIN  (UINT64_C(1) << 20)

/* With what only deletions may use.  LMDB wants a multiple of the page. */
static uint64_t map_size_for(uint64_t size)
{
	return (size + MAX(size / 8, SLACK_MIN) + 65535) & ~UINT64_C(65535);
}

/* A file that is larger than a new `size` is to be emptied, so it too needs that part. */
static int make_slack(struct store_writer *w, uint64_t size)
{
	uint64_t used;
	MDB_envinfo info;

	mdb_env_info(w->db.env, &info);
	used = (info.me_last_pgno + 1) * w->page_size;
	return used <= size ? 0 : mdb_env_set_mapsize(w->db.env, map_size_for(used));
}

int store_writer_open(struct store_writer *w, const char *path, uint64_t size, struct store_stats *stats,
		      char why[STORE_WHY_SIZE])
{
	MDB_stat stat;
	int rc, err;

	*w = (struct store_writer){ .stats = stats };
	err = store_db_open(&w->db, path, map_size_for(size), why);
	if (err)
		return err;
	mdb_env_stat(w->db.env, &stat);
	w->page_size = stat.ms_psize;
	w->page_max = size / w->page_size;
	stats->size_bytes = size;
	rc = make_slack(w, size);
	if (rc) {
		snprintf(why, STORE_WHY_SIZE, "cannot map '%.150s': %.60s", path, store_db_error(rc));
		store_writer_close(w);
	}
	return rc ? store_db_errno(rc) : 0;
}

void store_writer_close(struct store_writer *w)
{
	store_db_close(&w->db);
}

int store_writer_verify(struct store_writer *w, uint64_t limit_ms)
{
	uint64_t end_ns = clock_ns() + limit_ms * NS_PER_MS;
	MDB_cursor *cursor;
	MDB_val key, data;
	int rc, err = store_db_begin_read(&w->db);

	if (err)
		return err;
	rc = mdb_cursor_open(w->db.reader, w->db.dbi, &cursor);
	if (rc) {
		store_db_end_read(&w->db);
		return store_db_errno(rc);
	}
	for (rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST); !rc && clock_ns() < end_ns;
	     rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
		struct store_value value;

		if (!store_db_decode(&data, &value))
			rc = MDB_CORRUPTED;
		else
			(void)((const volatile char *)data.mv_data)[data.mv_size - 1];
		if (rc)
			break;
	}
	mdb_cursor_close(cursor);
	store_db_end_read(&w->db);
	return rc && rc != MDB_NOTFOUND ? store_db_errno(rc) : 0;
}

/* Room --------------------------------------------------------------------------------------------------------- */

static uint64_t last_page(const struct store_writer *w)
{
	MDB_envinfo info;

	mdb_env_info(w->db.env, &info);
	return info.me_last_pgno + 1;
}

/* LMDB keeps them in a database of its own, number 0: a list for each transaction that gave some up, its length first. */
static uint64_t count_free(struct store_writer *w)
{
	uint64_t count = 0;
	MDB_cursor *cursor;
	MDB_val key, data;
	size_t len;

	if (store_db_begin_read(&w->db))
		return 0;
	if (mdb_cursor_open(w->db.reader, 0, &cursor) == 0) {
		while (mdb_cursor_get(cursor, &key, &data, MDB_NEXT) == 0) {
			memcpy(&len, data.mv_data, sizeof(len));
			count += len;
		}
		mdb_cursor_close(cursor);
	}
	store_db_end_read(&w->db);
	return count;
}

/* The free ones are counted only when it matters: far from the end it would be a walk for nothing. */
static bool has_room(struct store_writer *w, size_t value_len)
{
	uint64_t pages = value_len / w->page_size + 1 + TREE_PAGES;
	uint64_t used = last_page(w) + w->batch_pages + pages;

	if (used > w->page_max) {
		if (!w->has_free)
			w->free_pages = count_free(w);
		w->has_free = true;
		if (used > w->page_max + w->free_pages)
			return false;
	}
	w->batch_pages += pages;
	return true;
}

/* Changes ------------------------------------------------------------------------------------------------------ */

static int put(struct store_writer *w, MDB_txn *txn, const struct store_change *c, struct store_result *r)
{
	struct store_record record = {
		.serial = r->version.serial,
		.random = r->version.random,
		.modified_s = r->modified_s,
		.type_len = (uint8_t)c->type.len,
	};
	MDB_val key = { c->key.len, (void *)c->key.ptr };
	MDB_val data = { sizeof(record) + c->type.len + c->content.len, NULL };
	char *at;
	int rc;

	if (!has_room(w, data.mv_size)) {
		r->outcome = STORE_FULL;
		return 0;
	}
	rc = mdb_put(txn, w->db.dbi, &key, &data, MDB_RESERVE);
	if (rc)
		return rc;
	at = data.mv_data;
	memcpy(at, &record, sizeof(record));
	memcpy(at + sizeof(record), c->type.ptr, c->type.len);
	if (c->content.len)
		memcpy(at + sizeof(record) + c->type.len, c->content.ptr, c->content.len);
	return 0;
}

static int erase(struct store_writer *w, MDB_txn *txn, const struct store_change *c)
{
	MDB_val key = { c->key.len, (void *)c->key.ptr };

	return mdb_del(txn, w->db.dbi, &key, NULL);
}

/* 0: the result is there.  Else LMDB's: the transaction is spoilt. */
static int apply(struct store_writer *w, MDB_txn *txn, const struct store_change *c, struct store_result *r)
{
	MDB_val key = { c->key.len, (void *)c->key.ptr }, data;
	struct store_value old = { 0 };
	char text[STORE_ETAG_SIZE];
	struct span etag = span_of(NULL, 0);
	int rc = mdb_get(txn, w->db.dbi, &key, &data);
	bool is_there = rc == 0;

	if (rc && rc != MDB_NOTFOUND)
		return rc;
	if (is_there && !store_db_decode(&data, &old))
		return MDB_CORRUPTED;
	if (is_there)
		etag = store_etag_print(&old.version, text);
	/* RFC 9110 13.2.1: what would fail without conditions fails with that. */
	if (c->kind == STORE_CREATE && is_there)
		r->outcome = STORE_TAKEN;
	else if (c->kind == STORE_DELETE && !is_there)
		r->outcome = STORE_MISSING;
	else if (!conditional_allows_change(&c->conditions, etag, old.modified_s))
		r->outcome = STORE_MISMATCH;
	else if (c->kind == STORE_DELETE)
		r->outcome = STORE_DELETED;
	else
		r->outcome = is_there ? STORE_REPLACED : STORE_CREATED;
	if (r->outcome == STORE_DELETED)
		return erase(w, txn, c);
	return r->outcome == STORE_CREATED || r->outcome == STORE_REPLACED ? put(w, txn, c, r) : 0;
}

static bool is_change(const struct store_result *r)
{
	return r->outcome == STORE_CREATED || r->outcome == STORE_REPLACED || r->outcome == STORE_DELETED;
}

static void count_commit(struct store_writer *w, unsigned changes, uint64_t took_ns)
{
	struct store_stats *s = w->stats;

	store_count(&s->commits);
	store_add(&s->changes, changes);
	store_add(&s->commit_us, took_ns / 1000);
	s->batch_max = MAX(s->batch_max, changes);
}

/* All in one transaction.  0, or LMDB's: nothing was changed. */
static int commit_once(struct store_writer *w, const struct store_change *changes, struct store_result *results,
		       unsigned count, int64_t now_s)
{
	uint64_t start_ns = clock_ns();
	unsigned changed = 0;
	MDB_txn *txn;
	int rc = mdb_txn_begin(w->db.env, NULL, 0, &txn);

	/* Another sluice has the same store, with a larger size. */
	if (rc == MDB_MAP_RESIZED) {
		rc = mdb_env_set_mapsize(w->db.env, 0);
		if (!rc)
			rc = mdb_txn_begin(w->db.env, NULL, 0, &txn);
	}
	if (rc)
		return rc;
	w->batch_pages = 0;
	w->has_free = false;
	for (unsigned i = 0; i < count && !rc; i++) {
		results[i].version.serial = (uint64_t)mdb_txn_id(txn) << 16 | (i & 0xffff);
		results[i].version.random = (uint32_t)random_u64();
		results[i].modified_s = now_s;
		rc = apply(w, txn, &changes[i], &results[i]);
		changed += !rc && is_change(&results[i]);
	}
	if (rc || changed == 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	rc = mdb_txn_commit(txn);
	if (!rc)
		count_commit(w, changed, clock_ns() - start_ns);
	return rc;
}

static enum store_outcome outcome_of(int rc)
{
	if (rc == MDB_MAP_FULL || rc == MDB_TXN_FULL || rc == ENOSPC || rc == EDQUOT || rc == EFBIG)
		return STORE_FULL;
	return STORE_FAILED;
}

int store_writer_commit(struct store_writer *w, const struct store_change *changes, struct store_result *results,
			unsigned count, int64_t now_s)
{
	static struct log_seldom seldom;
	int rc = commit_once(w, changes, results, count, now_s), last = 0;
	const char *more;

	if (!rc)
		return 0;
	store_count(&w->stats->commit_errors);
	if (count > 1 && rc != MDB_PANIC) {
		/* One of them does not fit, or the disk is full: which, and what still goes, shows one by one. */
		for (unsigned i = 0; i < count; i++) {
			int err = store_writer_commit(w, &changes[i], &results[i], 1, now_s);

			last = err ? err : last;
		}
		return last;
	}
	for (unsigned i = 0; i < count; i++)
		results[i].outcome = outcome_of(rc);
	if (outcome_of(rc) == STORE_FAILED && (more = log_seldom(&seldom)))
		log_error("cannot write: %s%s", store_db_error(rc), more);
	return rc == MDB_PANIC ? -EIO : 0;
}

void store_writer_look(struct store_writer *w)
{
	int dead = 0;
	MDB_stat stat;

	mdb_reader_check(w->db.env, &dead);
	store_add(&w->stats->readers_cleared, (uint64_t)dead);
	if (store_db_begin_read(&w->db) == 0) {
		if (mdb_stat(w->db.reader, w->db.dbi, &stat) == 0)
			w->stats->entries = stat.ms_entries;
		store_db_end_read(&w->db);
	}
	w->stats->used_bytes = (last_page(w) - MIN(count_free(w), last_page(w))) * w->page_size;
}
