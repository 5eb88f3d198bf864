/* SPDX-License-Identifier: MIT */
/* A store's folder for a test, and changes as a worker would ask for them. */
#ifndef SLUICE_TESTS_STORE_FIXTURE_H
#define SLUICE_TESTS_STORE_FIXTURE_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/store_writer.h"

static char folder[64];
static struct store_stats stats;
static struct store_writer writer;
static char why[STORE_WHY_SIZE];

static void remove_files(void)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/data.mdb", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/lock.mdb", folder);
	unlink(path);
}

static int open_folder(void **state)
{
	/* Where fsync() costs nothing, if there is such a place: a test makes hundreds of commits. */
	snprintf(folder, sizeof(folder), "%s/sluice-store-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	memset(&stats, 0, sizeof(stats));
	return mkdtemp(folder) ? 0 : -1;
}

static int close_folder(void **state)
{
	store_writer_close(&writer);
	remove_files();
	rmdir(folder);
	return 0;
}

static int open_writer(void **state)
{
	return open_folder(state) || store_writer_open(&writer, folder, 4 << 20, &stats, why);
}

static inline struct store_change change_of(enum store_change_kind kind, const char *key, const char *content)
{
	return (struct store_change){
		.kind = kind,
		.key = span_str(key),
		.type = SPAN("text/plain"),
		.content = span_str(content),
	};
}

/* Alone in its transaction. */
static inline struct store_result commit_one(const struct store_change *c)
{
	struct store_result r = { .outcome = STORE_OUTCOME_COUNT };

	store_writer_commit(&writer, c, &r, 1, 1000);
	return r;
}

#endif
