/* SPDX-License-Identifier: MIT */
/* The environment, opened and read; see store_db.h. */
#include "app/store_db.h"

#include <stdio.h>

#include "base/err.h"

struct span store_etag_print(const struct store_version *v, char out[STORE_ETAG_SIZE])
{
	int len = snprintf(out, STORE_ETAG_SIZE, "\"%llx-%08x\"", (unsigned long long)v->serial, v->random);

	return span_of(out, (size_t)len);
}

int store_db_errno(int rc)
{
	switch (rc) {
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
		return -ENOSPC;
	case MDB_READERS_FULL:
		return -EAGAIN;
	default:
		return rc > 0 ? -rc : -EIO;
	}
}

const char *store_db_error(int rc)
{
	return rc > 0 ? strerror(rc) : mdb_strerror(rc);
}

bool store_db_decode(const MDB_val *from, struct store_value *ret_value)
{
	struct store_record r;
	const char *at = from->mv_data;

	if (from->mv_size < sizeof(r))
		return false;
	memcpy(&r, at, sizeof(r));
	if (from->mv_size - sizeof(r) < r.type_len)
		return false;
	at += sizeof(r);
	ret_value->version = (struct store_version){ r.serial, r.random };
	ret_value->modified_s = r.modified_s;
	ret_value->type = span_of(at, r.type_len);
	ret_value->content = span_of(at + r.type_len, from->mv_size - sizeof(r) - r.type_len);
	return true;
}

/* Opening ------------------------------------------------------------------------------------------------------ */

static int create_database(struct store_db *db)
{
	MDB_stat stat;
	MDB_dbi root;
	MDB_txn *txn;
	int rc = mdb_txn_begin(db->env, NULL, 0, &txn);

	if (rc)
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &root);
	if (!rc)
		rc = mdb_stat(txn, root, &stat);
	/* Whose data is it then? */
	if (!rc && stat.ms_entries > 0)
		rc = MDB_INCOMPATIBLE;
	if (!rc)
		rc = mdb_dbi_open(txn, STORE_DB_NAME, MDB_CREATE, &db->dbi);
	if (!rc)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

/* Looks before it writes: who writes waits for the lock, and a reload is not to wait for the disk. */
static int open_database(struct store_db *db, bool may_create)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return rc;
	rc = mdb_dbi_open(txn, STORE_DB_NAME, 0, &db->dbi);
	if (!rc)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND && may_create ? create_database(db) : rc;
}

/* The reader takes its place in the table now: later a sandbox forbids the lock that shows it is alive. */
static int open_reader(struct store_db *db)
{
	int rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &db->reader);

	if (rc)
		db->reader = NULL;
	else
		mdb_txn_reset(db->reader);
	return rc;
}

static int open_all(struct store_db *db, const char *path, uint64_t map_size, const char **ret_step)
{
	unsigned flags = MDB_NOTLS | (map_size ? 0 : MDB_RDONLY);
	int rc;

	*ret_step = "set up";
	rc = mdb_env_create(&db->env);
	if (!rc)
		rc = mdb_env_set_maxdbs(db->env, 1);
	if (!rc)
		rc = mdb_env_set_maxreaders(db->env, STORE_READERS_MAX);
	if (!rc && map_size)
		rc = mdb_env_set_mapsize(db->env, map_size);
	if (rc)
		return rc;
	*ret_step = "open";
	rc = mdb_env_open(db->env, path, flags, 0640);
	if (rc)
		return rc;
	*ret_step = "read";
	rc = open_database(db, map_size != 0);
	return rc ? rc : open_reader(db);
}

int store_db_open(struct store_db *db, const char *path, uint64_t map_size, char why[STORE_WHY_SIZE])
{
	const char *step;
	int rc;

	*db = (struct store_db){ 0 };
	rc = open_all(db, path, map_size, &step);
	if (!rc)
		return 0;
	if (rc == MDB_INCOMPATIBLE || rc == MDB_VERSION_MISMATCH)
		snprintf(why, STORE_WHY_SIZE, "'%.150s' holds data of something else", path);
	else if (rc == MDB_INVALID || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND)
		snprintf(why, STORE_WHY_SIZE, "'%.150s' is damaged, or no store: %.60s", path, store_db_error(rc));
	else
		snprintf(why, STORE_WHY_SIZE, "cannot %s '%.150s': %.60s", step, path, store_db_error(rc));
	store_db_close(db);
	return store_db_errno(rc);
}

void store_db_close(struct store_db *db)
{
	if (db->reader)
		mdb_txn_abort(db->reader);
	if (db->env)
		mdb_env_close(db->env);
	*db = (struct store_db){ 0 };
}

/* Reading ------------------------------------------------------------------------------------------------------ */

int store_db_begin_read(struct store_db *db)
{
	int rc = mdb_txn_renew(db->reader);

	/* A reload has given it a larger `size`, and the writer has made use of that. */
	if (rc == MDB_MAP_RESIZED) {
		rc = mdb_env_set_mapsize(db->env, 0);
		if (!rc)
			rc = mdb_txn_renew(db->reader);
	}
	return rc ? store_db_errno(rc) : 0;
}

void store_db_end_read(struct store_db *db)
{
	mdb_txn_reset(db->reader);
}
