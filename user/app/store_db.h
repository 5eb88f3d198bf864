/* SPDX-License-Identifier: MIT */
/*
 * A store's files, an LMDB environment in a folder: opened to read by every worker, to write by one process.  Between the
 * parts of the LMDB engine only.
 *
 * LMDB's rules that shape all of this: an environment is opened once in a process and never carried through fork(); the
 * writer's transaction holds a lock between processes until the disk has answered; a reader takes no lock, but pages that
 * it may see are not used anew, so it must be short; a reader that is killed leaves its place in the table, a writer that
 * is killed leaves the lock, which its successor takes over (a robust mutex).
 *
 * The data lies in a named database, whose name is the version of the format: an environment of something else is
 * noticed.  A value is struct store_record, the media type, the content.
 */
#ifndef SLUICE_APP_STORE_DB_H
#define SLUICE_APP_STORE_DB_H

#include <lmdb.h>

#include "app/store_engine.h"

#define STORE_DB_NAME "sluice-store-1"
#define STORE_READERS_MAX 1022	/* places in the table: one for each worker of each generation, and the writer's two */

struct store_record {
	uint64_t serial;
	int64_t modified_s;
	uint32_t random;
	uint8_t type_len;
	uint8_t reserved[3];
};

_Static_assert(sizeof(struct store_record) == 24, "as on disk");

struct store_db {
	MDB_env *env;		/* NULL: closed */
	MDB_dbi dbi;
	MDB_txn *reader;	/* this process's; between reads it is reset */
};

#define STORE_WHY_SIZE 256

/*
 * `map_size` 0: to read, and as large as it is.  0, or -errno and in `why` what is wrong, to be put behind the name of
 * the store ("cannot open '/x/lock.mdb': Permission denied").
 */
int store_db_open(struct store_db *db, const char *path, uint64_t map_size, char why[STORE_WHY_SIZE]);
/* Harmless when it is not open. */
void store_db_close(struct store_db *db);
/* A view of now, until store_db_end_read(); no system call, unless the file has grown beyond the map.  0 or -errno. */
int store_db_begin_read(struct store_db *db);
void store_db_end_read(struct store_db *db);
/* False: damaged. */
bool store_db_decode(const MDB_val *from, struct store_value *ret_value);
/* -errno for a result of LMDB. */
int store_db_errno(int rc);
/* For logs; LMDB's own words for its own errors. */
const char *store_db_error(int rc);

#endif
