/* SPDX-License-Identifier: MIT */
/* Who may load, whose the pins are, and what a dead process leaves behind. */
#include "rig.h"

#include <dirent.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct steer *open_pinned(const char *dir)
{
	const struct steer_options opt = {.slot_count = 4, .policy = STEER_LEAST, .pin_dir = dir};
	struct steer *s;

	assert_int_equal(steer_open(&opt, &s), 0);
	return s;
}

static unsigned count_entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned count = 0;

	if (!d)
		return 0;
	for (struct dirent *e; (e = readdir(d));)
		count += e->d_name[0] != '.';
	closedir(d);
	return count;
}

/* Runs `body` in a child; fails the test when it does not return true. */
static void in_child(bool (*body)(struct steer *s), struct steer *s)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(body(s) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void steer_pin__names_are_there_and_go_at_close(void **state)
{
	static const char *const names[] = {"steer_slots", "steer_config", "steer_weights",
					    "steer_verdicts"};
	const char *dir = rig_next_pin_dir();
	struct steer *s = open_pinned(dir);
	struct stat st;

	assert_null(steer_pin_error(s));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		close(rig_pinned(names[i]));
	assert_int_equal(count_entries(dir), ARRAY_LEN(names));
	steer_close(s);
	assert_int_equal(stat(dir, &st), -1);
	assert_int_equal(errno, ENOENT);
}

static void steer_pin__a_folder_of_a_live_process_is_refused(void **state)
{
	const char *dir = rig_next_pin_dir();
	struct steer *first = open_pinned(dir), *second = open_pinned(dir);
	char pid[32];

	snprintf(pid, sizeof(pid), "process %d:", (int)getpid());
	assert_true(steer_is_active(second));
	assert_non_null(strstr(steer_pin_error(second), pid));
	steer_close(second); /* and takes nothing away */
	assert_int_equal(count_entries(dir), 4);
	steer_close(first);
	second = open_pinned(dir);
	assert_null(steer_pin_error(second));
	steer_close(second);
}

static bool die_with_pins(struct steer *s)
{
	const struct steer_options opt = {.slot_count = 3, .pin_dir = rig_pin_dir};

	return steer_open(&opt, &s) == 0 && !steer_pin_error(s); /* no steer_close() */
}

static void steer_pin__what_a_dead_process_left_is_replaced(void **state)
{
	const char *dir = rig_next_pin_dir();
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	struct steer *s;
	int fd;

	in_child(die_with_pins, NULL);
	assert_int_equal(count_entries(dir), 4);
	s = open_pinned(dir);
	assert_null(steer_pin_error(s));
	fd = rig_pinned("steer_slots");
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	assert_int_equal(info.max_entries, 4); /* ours, not the dead one's */
	close(fd);
	steer_close(s);
}

static bool close_as_worker(struct steer *s)
{
	steer_disown(s);
	steer_close(s);
	return true;
}

static bool close_as_fork(struct steer *s)
{
	steer_close(s);
	return true;
}

static void steer_pin__a_child_takes_nothing_away(void **state)
{
	const char *dir = rig_next_pin_dir();
	struct steer *s = open_pinned(dir), *other;

	in_child(close_as_worker, s);
	in_child(close_as_fork, s);
	assert_int_equal(count_entries(dir), 4);
	other = open_pinned(dir); /* still ours */
	assert_non_null(steer_pin_error(other));
	steer_close(other);
	steer_close(s);
	assert_int_equal(count_entries(dir), 0);
}

static void steer_pin__a_folder_elsewhere_is_refused(void **state)
{
	static const char *const dirs[] = {"/tmp/sluice-no-bpffs/a", "/proc/sluice", "relative", "",
					   "/"};
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		struct steer *s = open_pinned(dirs[i]);

		assert_true(steer_is_active(s));
		assert_non_null(strstr(steer_pin_error(s), "not on a BPF file system"));
		steer_close(s);
	}
	assert_int_equal(stat("/tmp/sluice-no-bpffs", &st), -1);
}

static void steer_pin__other_contents_stay(void **state)
{
	const char *dir = rig_next_pin_dir();
	char deep[128], own[160];
	struct steer *s;

	snprintf(deep, sizeof(deep), "%s/below/it", dir);
	snprintf(own, sizeof(own), "%s/own", deep);
	s = open_pinned(deep);
	assert_null(steer_pin_error(s));
	assert_int_equal(mkdir(own, 0700), 0);
	steer_close(s);
	assert_int_equal(count_entries(deep), 1);
	assert_int_equal(rmdir(own), 0);
}

/* An ordinary user, as in a container without privileges: everything works but the steering. */
static bool open_unprivileged(struct steer *s)
{
	const struct steer_options opt = {
		.slot_count = 4, .policy = STEER_LEAST, .pin_dir = "/sys/fs/bpf/sluice"};
	const struct sock_options plain = {0};
	union sock_addr addr;
	const char *step;
	struct listener l;

	if (setgroups(0, NULL) || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		return false;
	if (steer_open(&opt, &s) || steer_is_active(s) || steer_pin_error(s))
		return false;
	printf("why: %s\n", steer_why(s));
	if (!strstr(steer_why(s), "not permitted") || strchr(steer_why(s), '\n'))
		return false;
	if (sock_addr_parse(SPAN("127.0.0.1:0"), &addr) ||
	    listener_open(&l, &addr, &plain, 4, s, &step) || l.is_steered)
		return false;
	steer_slot_up(s, 2, 1, 1);
	steer_accepted(s, steer_slot(s, 2), clock_ns());
	if (steer_slot(s, 2)->live != 1 || steer_set_policy(s, STEER_HASH))
		return false;
	listener_close(&l, s);
	steer_close(s);
	return true;
}

static void steer_open__without_privileges_only_the_steering_is_missing(void **state)
{
	in_child(open_unprivileged, NULL);
}

static void steer_maps__show_field_names_in_bpftool(void **state)
{
	static const char *const words[] = {"\"live\"", "\"current\"", "\"is_waiting\"",
					    "\"stamp_ns\""};
	char command[160], text[8192];
	struct steer *s = open_pinned(rig_next_pin_dir());
	size_t len;
	FILE *f;

	snprintf(command, sizeof(command),
		 "PATH=$PATH:/usr/sbin bpftool map dump pinned %s/steer_slots 2>/dev/null",
		 rig_pin_dir);
	f = popen(command, "r");
	assert_non_null(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	text[len] = '\0';
	if (pclose(f) != 0) {
		steer_close(s);
		print_message("skipped: no bpftool here\n");
		skip();
	}
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		assert_non_null(strstr(text, words[i]));
	steer_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steer_pin__names_are_there_and_go_at_close),
		cmocka_unit_test(steer_pin__a_folder_of_a_live_process_is_refused),
		cmocka_unit_test(steer_pin__what_a_dead_process_left_is_replaced),
		cmocka_unit_test(steer_pin__a_child_takes_nothing_away),
		cmocka_unit_test(steer_pin__a_folder_elsewhere_is_refused),
		cmocka_unit_test(steer_pin__other_contents_stay),
		cmocka_unit_test(steer_open__without_privileges_only_the_steering_is_missing),
		cmocka_unit_test(steer_maps__show_field_names_in_bpftool),
	};
	int r = rig_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
