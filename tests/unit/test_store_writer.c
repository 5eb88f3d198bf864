/* SPDX-License-Identifier: MIT */
/* The writer of a store on files of its own: outcomes, conditions, batches, room, what a reader sees and when. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/err.h"
#include "store_fixture.h"

static struct store_db reader;

static int find(const char *key, struct store_value *ret_value)
{
	MDB_val k = { strlen(key), (void *)key }, data;
	int rc;

	assert_int_equal(store_db_begin_read(&reader), 0);
	rc = mdb_get(reader.reader, reader.dbi, &k, &data);
	if (!rc)
		assert_true(store_db_decode(&data, ret_value));
	store_db_end_read(&reader);
	return rc ? store_db_errno(rc) : 0;
}

static void writer__makes_replaces_and_deletes(void **state)
{
	struct store_change put = change_of(STORE_PUT, "a", "one"), del = change_of(STORE_DELETE, "a", "");
	struct store_result first = commit_one(&put), second;

	assert_int_equal(first.outcome, STORE_CREATED);
	assert_int_equal(first.modified_s, 1000);
	second = commit_one(&put);
	assert_int_equal(second.outcome, STORE_REPLACED);
	assert_true(second.version.serial > first.version.serial);
	assert_int_equal(commit_one(&del).outcome, STORE_DELETED);
	assert_int_equal(commit_one(&del).outcome, STORE_MISSING);
	put.kind = STORE_CREATE;
	assert_int_equal(commit_one(&put).outcome, STORE_CREATED);
	assert_int_equal(commit_one(&put).outcome, STORE_TAKEN);
	assert_int_equal(stats.changes, 4);
	assert_int_equal(stats.commits, 4);
}

static void writer__looks_at_conditions(void **state)
{
	struct store_change put = change_of(STORE_PUT, "a", "one");
	char text[STORE_ETAG_SIZE], weak[STORE_ETAG_SIZE + 2];
	struct store_result r = commit_one(&put);
	struct span etag = store_etag_print(&r.version, text);
	const struct {
		struct change_conditions conditions;
		bool is_there;
		enum store_outcome outcome;
	} cases[] = {
		{ { .has_if_match = true, .if_match = SPAN("\"x\"") }, true, STORE_MISMATCH },
		{ { .has_if_match = true, .if_match = SPAN("*") }, true, STORE_REPLACED },
		{ { .has_if_match = true, .if_match = SPAN("*") }, false, STORE_MISMATCH },
		{ { .has_if_match = true, .if_match = SPAN("") }, true, STORE_MISMATCH },
		{ { .has_if_none_match = true, .if_none_match = SPAN("*") }, true, STORE_MISMATCH },
		{ { .has_if_none_match = true, .if_none_match = SPAN("*") }, false, STORE_CREATED },
		{ { .has_if_none_match = true, .if_none_match = SPAN("\"x\"") }, true, STORE_REPLACED },
		{ { .has_unmodified_since = true, .unmodified_since_s = 999 }, true, STORE_MISMATCH },
		{ { .has_unmodified_since = true, .unmodified_since_s = 1000 }, true, STORE_REPLACED },
		{ { .has_unmodified_since = true, .unmodified_since_s = 999 }, false, STORE_CREATED },
		/* RFC 9110 13.2.2: beside If-Match the date does not count. */
		{ { .has_if_match = true, .if_match = SPAN("*"), .has_unmodified_since = true, .unmodified_since_s = 1 }, true,
		  STORE_REPLACED },
	};

	/* Strong comparison for If-Match, weak for If-None-Match (RFC 9110 13.1). */
	snprintf(weak, sizeof(weak), "W/%.*s", SPAN_ARG(etag));
	put.conditions = (struct change_conditions){ .has_if_match = true, .if_match = span_str(weak) };
	assert_int_equal(commit_one(&put).outcome, STORE_MISMATCH);
	put.conditions = (struct change_conditions){ .has_if_none_match = true, .if_none_match = span_str(weak) };
	assert_int_equal(commit_one(&put).outcome, STORE_MISMATCH);
	put.conditions = (struct change_conditions){ .has_if_match = true, .if_match = etag };
	assert_int_equal(commit_one(&put).outcome, STORE_REPLACED);
	assert_int_equal(commit_one(&put).outcome, STORE_MISMATCH);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct store_change c = change_of(STORE_PUT, cases[i].is_there ? "a" : "none", "x");
		struct store_change del = change_of(STORE_DELETE, "none", "");

		commit_one(&del);
		c.conditions = cases[i].conditions;
		if (commit_one(&c).outcome != cases[i].outcome)
			fail_msg("case %zu", i);
	}
}

/* A batch is one transaction; what is refused in it is refused because of what came before it in it. */
static void writer__makes_a_batch_in_its_order(void **state)
{
	struct store_change batch[] = {
		change_of(STORE_PUT, "a", "1"), change_of(STORE_CREATE, "a", "2"), change_of(STORE_DELETE, "a", ""),
		change_of(STORE_DELETE, "a", ""), change_of(STORE_CREATE, "a", "3"), change_of(STORE_PUT, "b", "4"),
	};
	static const enum store_outcome wanted[] = {
		STORE_CREATED, STORE_TAKEN, STORE_DELETED, STORE_MISSING, STORE_CREATED, STORE_CREATED,
	};
	struct store_result results[ARRAY_LEN(batch)];
	struct store_value value;


	assert_int_equal(store_writer_commit(&writer, batch, results, ARRAY_LEN(batch), 7), 0);
	for (size_t i = 0; i < ARRAY_LEN(batch); i++)
		assert_int_equal(results[i].outcome, wanted[i]);
	assert_int_equal(stats.commits, 1);
	assert_int_equal(stats.changes, 4);
	assert_int_equal(stats.batch_max, 4);
	assert_int_not_equal(results[4].version.serial, results[5].version.serial);
	reader = writer.db;
	assert_int_equal(find("a", &value), 0);
	assert_true(span_eq(value.content, SPAN("3")) && span_eq(value.type, SPAN("text/plain")));
	assert_int_equal(find("c", &value), -ENOENT);
}

static void writer__writes_nothing_when_nothing_changes(void **state)
{
	struct store_change batch[] = { change_of(STORE_DELETE, "a", ""), change_of(STORE_DELETE, "b", "") };
	struct store_result results[2];

	assert_int_equal(store_writer_commit(&writer, batch, results, 2, 7), 0);
	assert_int_equal(results[1].outcome, STORE_MISSING);
	assert_int_equal(stats.commits, 0);
}

/* A batch of which one does not fit: that one is refused, the others are made. */
static void writer__refuses_alone_what_does_not_fit(void **state)
{
	static char large[3 << 20];
	struct store_change batch[] = {
		change_of(STORE_PUT, "a", "1"), change_of(STORE_PUT, "big", ""), change_of(STORE_PUT, "big2", ""),
		change_of(STORE_PUT, "b", "2"),
	};
	struct store_result results[ARRAY_LEN(batch)];

	batch[1].content = batch[2].content = span_of(large, sizeof(large));
	assert_int_equal(store_writer_commit(&writer, batch, results, ARRAY_LEN(batch), 7), 0);
	assert_int_equal(results[0].outcome, STORE_CREATED);
	assert_int_equal(results[1].outcome, STORE_CREATED);
	assert_int_equal(results[2].outcome, STORE_FULL);
	assert_int_equal(results[3].outcome, STORE_CREATED);
}

/* Filled and emptied again and again: deletions always go, and the room comes back. */
static void writer__can_be_emptied_when_it_is_full(void **state)
{
	static char content[50000];

	for (unsigned turn = 0; turn < 4; turn++) {
		struct store_result r = { STORE_CREATED, { 0 }, 0 };
		unsigned count = 0;
		char key[16];

		for (; r.outcome == STORE_CREATED; count++) {
			struct store_change c;

			snprintf(key, sizeof(key), "k%u", count);
			c = change_of(STORE_PUT, key, "");
			c.content = span_of(content, sizeof(content));
			r = commit_one(&c);
		}
		assert_int_equal(r.outcome, STORE_FULL);
		assert_in_range(count, 50, 85);
		for (unsigned i = 0; i + 1 < count; i++) {
			struct store_change c;

			snprintf(key, sizeof(key), "k%u", i);
			c = change_of(STORE_DELETE, key, "");
			assert_int_equal(commit_one(&c).outcome, STORE_DELETED);
		}
	}
	assert_int_equal(stats.commit_errors, 0);
	store_writer_look(&writer);
	assert_int_equal(stats.entries, 0);
	assert_in_range(stats.used_bytes, 1, 1 << 20);
}

/* A smaller `size` than what is there refuses more of it, and loses nothing. */
static void writer__keeps_what_is_more_than_its_size(void **state)
{
	static char content[1 << 20];
	struct store_change c = change_of(STORE_PUT, "a", "");

	c.content = span_of(content, sizeof(content));
	assert_int_equal(commit_one(&c).outcome, STORE_CREATED);
	c.key = SPAN("b");
	assert_int_equal(commit_one(&c).outcome, STORE_CREATED);
	store_writer_close(&writer);
	assert_int_equal(store_writer_open(&writer, folder, 1 << 20, &stats, why), 0);
	c.key = SPAN("c");
	assert_int_equal(commit_one(&c).outcome, STORE_FULL);
	c = change_of(STORE_DELETE, "a", "");
	assert_int_equal(commit_one(&c).outcome, STORE_DELETED);
	c = change_of(STORE_DELETE, "b", "");
	assert_int_equal(commit_one(&c).outcome, STORE_DELETED);
	c = change_of(STORE_PUT, "c", "x");
	assert_int_equal(commit_one(&c).outcome, STORE_CREATED);
}

static void writer__verifies(void **state)
{
	struct store_change c = change_of(STORE_PUT, "a", "1");
	MDB_val key = { 1, "b" }, data = { 3, "bad" };
	MDB_txn *txn;

	commit_one(&c);
	assert_int_equal(store_writer_verify(&writer, 1000), 0);
	assert_int_equal(mdb_txn_begin(writer.db.env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_put(txn, writer.db.dbi, &key, &data, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	assert_int_equal(store_writer_verify(&writer, 1000), -EIO);
	/* A change of it fails, and says so. */
	c.key = SPAN("b");
	assert_int_equal(commit_one(&c).outcome, STORE_FAILED);
}

/* An environment of somebody else is left alone. */
static void writer__opens_no_other_data(void **state)
{
	MDB_val key = { 1, "k" }, data = { 1, "v" };
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, folder, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &key, &data, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	assert_true(store_writer_open(&writer, folder, 1 << 20, &stats, why) < 0);
	assert_non_null(strstr(why, "holds data of something else"));
}

/* Killed between two commits with the lock of the writer held: the next one has it. */
static void writer__survives_one_that_was_killed(void **state)
{
	struct store_change c = change_of(STORE_PUT, "a", "1");
	MDB_txn *txn;
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		MDB_val key = { 4, "half" }, data = { 1, "x" };

		if (store_writer_open(&writer, folder, 4 << 20, &stats, why) || commit_one(&c).outcome != STORE_CREATED)
			_exit(1);
		mdb_txn_begin(writer.db.env, NULL, 0, &txn);
		mdb_put(txn, writer.db.dbi, &key, &data, 0);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(store_writer_open(&writer, folder, 4 << 20, &stats, why), 0);
	assert_int_equal(commit_one(&c).outcome, STORE_REPLACED);
	c = change_of(STORE_DELETE, "half", "");
	assert_int_equal(commit_one(&c).outcome, STORE_MISSING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_writer, close_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(writer__makes_replaces_and_deletes),
		TEST(writer__looks_at_conditions),
		TEST(writer__makes_a_batch_in_its_order),
		TEST(writer__writes_nothing_when_nothing_changes),
		TEST(writer__refuses_alone_what_does_not_fit),
		TEST(writer__can_be_emptied_when_it_is_full),
		TEST(writer__keeps_what_is_more_than_its_size),
		TEST(writer__verifies),
		cmocka_unit_test_setup_teardown(writer__opens_no_other_data, open_folder, close_folder),
		cmocka_unit_test_setup_teardown(writer__survives_one_that_was_killed, open_folder, close_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
