/* SPDX-License-Identifier: MIT */
/* Real children that do what the test says; fork() fails on demand (--wrap). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/fd_pass.h"
#include "proc/supervisor.h"
#include "proc/worker.h"

#define COUNT	  3u
#define TURNS_MAX 2000

pid_t __real_fork(void);
pid_t __wrap_fork(void);

static unsigned failing_forks;

pid_t __wrap_fork(void)
{
	if (failing_forks == 0)
		return __real_fork();
	failing_forks--;
	errno = EAGAIN;
	return -1;
}

static struct loop loop;
static struct supervisor sup;
static struct {
	unsigned starts, started, readies, gone, empty;
	bool all_ready, is_silent;
	pid_t pids[COUNT];
	unsigned last_slot;
	pid_t last_pid;
	char how[160];
	char message;
	unsigned messages;
	long restart_ms;
} seen;

static void on_start(void *owner, unsigned slot)
{
	seen.starts++;
}

static void on_started(void *owner, unsigned slot, pid_t pid)
{
	seen.started++;
	seen.pids[slot] = pid;
}

/* Serves, so to speak, until the channel or a signal ends it. Status 3: it holds a sibling's
 * channel. */
static int run_child(void *owner, unsigned slot, int channel_fd)
{
	char byte = CHANNEL_READY;
	int fd;

	for (unsigned i = 0; i < COUNT; i++)
		if (sup.workers[i].channel.fd >= 0 && sup.workers[i].channel.fd != channel_fd &&
		    fcntl(sup.workers[i].channel.fd, F_GETFD) >= 0)
			_exit(3);
	if (!seen.is_silent)
		fd_pass_send(channel_fd, &byte, 1, -1);
	fcntl(channel_fd, F_SETFL, 0);
	fd_pass_receive(channel_fd, &byte, 1, &fd);
	/* Says why it cannot go on, or one word more. */
	if (byte == 'Y')
		fd_pass_send(channel_fd, "Fno such luck", 13, -1);
	if (byte == 'Z')
		fd_pass_send(channel_fd, "S", 1, -1);
	/* Words without end. */
	while (byte == 'W' && fd_pass_send(channel_fd, "S", 1, -1) == 1)
		;
	_exit(byte == 'X' || byte == 'Y' ? 7 : 0);
}

static void on_message(void *owner, unsigned slot, char message)
{
	seen.messages++;
	seen.message = message;
}

static void on_ready(void *owner, unsigned slot, bool all_ready)
{
	seen.readies++;
	seen.all_ready = all_ready;
}

static void on_gone(void *owner, unsigned slot, pid_t pid, const char *how, long will_restart_ms)
{
	seen.gone++;
	seen.last_slot = slot;
	seen.last_pid = pid;
	seen.restart_ms = will_restart_ms;
	snprintf(seen.how, sizeof(seen.how), "%s", how);
}

static void on_empty(void *owner)
{
	seen.empty++;
}

static const struct supervisor_ops ops = {
	.on_start = on_start,
	.on_started = on_started,
	.run_child = run_child,
	.on_ready = on_ready,
	.on_message = on_message,
	.on_gone = on_gone,
	.on_empty = on_empty,
};

static int open_all(void **state)
{
	memset(&seen, 0, sizeof(seen));
	failing_forks = 0;
	assert_int_equal(loop_init(&loop), 0);
	sup = (struct supervisor){.loop = &loop, .ops = &ops};
	return 0;
}

/* Turns and reaps until *value has reached `wanted`. */
static void run_until(const unsigned *value, unsigned wanted)
{
	for (unsigned i = 0; i < TURNS_MAX && *value < wanted; i++) {
		loop_turn(&loop, 5);
		supervisor_reap(&sup);
	}
	assert_int_equal(*value, wanted);
}

static int close_all(void **state)
{
	unsigned was_empty = seen.empty;

	if (!was_empty)
		supervisor_stop(&sup, SIGKILL);
	run_until(&seen.empty, 1);
	supervisor_fini(&sup);
	loop_fini(&loop);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	return 0;
}

static void supervisor__tells_when_all_are_ready(void **state)
{
	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	assert_int_equal(seen.starts, COUNT);
	assert_int_equal(seen.started, COUNT);
	run_until(&seen.readies, COUNT);
	assert_true(seen.all_ready);
	assert_true(sup.was_ready);
	assert_int_equal(seen.gone, 0);
}

/* At once the first time, later and later after that. */
static void supervisor__restarts_with_back_off(void **state)
{
	static const long waits[] = {0, 100, 200};

	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	run_until(&seen.readies, COUNT);
	for (unsigned i = 0; i < ARRAY_LEN(waits); i++) {
		pid_t old = seen.pids[1];

		assert_int_equal(kill(old, SIGKILL), 0);
		run_until(&seen.gone, i + 1);
		assert_int_equal(seen.last_slot, 1);
		assert_int_equal(seen.last_pid, old);
		assert_int_equal(seen.restart_ms, waits[i]);
		assert_string_equal(seen.how, "killed by signal 9");
		run_until(&seen.readies, COUNT + i + 1);
		assert_true(seen.all_ready);
		assert_int_not_equal(seen.pids[1], old);
	}
	assert_int_equal(sup.workers[1].restarts, 3);
	/* Whoever has served for long enough begins anew. */
	sup.workers[1].started_ms -= 10000;
	kill(seen.pids[1], SIGKILL);
	run_until(&seen.gone, 4);
	assert_int_equal(seen.restart_ms, 0);
}

static void supervisor__names_an_exit_status(void **state)
{
	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	run_until(&seen.readies, COUNT);
	assert_int_equal(fd_pass_send(sup.workers[2].channel.fd, "X", 1, -1), 1);
	run_until(&seen.gone, 1);
	assert_string_equal(seen.how, "exited with status 7");
	assert_int_equal(seen.last_slot, 2);
}

/* The slot of a worker that cannot be had must not go on being chosen, so its owner is told. */
static void supervisor__tries_again_when_fork_fails(void **state)
{
	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	run_until(&seen.readies, COUNT);
	failing_forks = 2;
	kill(seen.pids[0], SIGKILL);
	run_until(&seen.gone, 2);
	assert_int_equal(seen.last_slot, 0);
	assert_int_equal(seen.last_pid, 0);
	assert_true(seen.restart_ms > 0);
	assert_non_null(strstr(seen.how, "did not start"));
	run_until(&seen.gone, 3);
	run_until(&seen.readies, COUNT + 1);
	assert_int_equal(failing_forks, 0);
	assert_true(seen.all_ready);
}

static void supervisor__fails_to_start_without_processes(void **state)
{
	failing_forks = 1;
	assert_int_equal(supervisor_start(&sup, COUNT), -EAGAIN);
	assert_int_equal(seen.started, 0);
	supervisor_stop(&sup, SIGQUIT);
	assert_int_equal(seen.empty, 1);
}

static void supervisor__stops_all_and_restarts_none(void **state)
{
	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	run_until(&seen.readies, COUNT);
	supervisor_stop(&sup, SIGTERM);
	/* Harder, while some may be gone already. */
	supervisor_stop(&sup, SIGKILL);
	run_until(&seen.empty, 1);
	assert_int_equal(seen.gone, COUNT);
	assert_int_equal(seen.restart_ms, -1);
	assert_int_equal(seen.starts, COUNT);
}

/* A restart that was about to happen does not. */
static void supervisor__stops_while_one_waits_to_start(void **state)
{
	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	run_until(&seen.readies, COUNT);
	sup.workers[0].failures = 5;
	kill(seen.pids[0], SIGKILL);
	run_until(&seen.gone, 1);
	assert_true(seen.restart_ms > 1000);
	assert_true(timer_is_active(&sup.workers[0].restart));
	supervisor_stop(&sup, SIGTERM);
	assert_false(timer_is_active(&sup.workers[0].restart));
	run_until(&seen.empty, 1);
	assert_int_equal(seen.starts, COUNT);
}

/* The end of the master is the end of the channel, whatever siblings were forked meanwhile. */
static void supervisor__keeps_channels_from_siblings(void **state)
{
	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	run_until(&seen.readies, COUNT);
	sup.is_stopping = true;
	for (unsigned i = 0; i < COUNT; i++) {
		loop_remove(&loop, &sup.workers[i].channel);
		close(sup.workers[i].channel.fd);
		sup.workers[i].channel.fd = -1;
		run_until(&seen.gone, i + 1);
		assert_int_equal(seen.last_slot, i);
		assert_string_equal(seen.how, "exited with status 0");
	}
	assert_int_equal(seen.empty, 1);
}

/* Last words count, although nobody may have read them before the end was noticed. */
static void supervisor__passes_on_the_reason_and_other_messages(void **state)
{
	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	run_until(&seen.readies, COUNT);
	assert_true(supervisor_tell(&sup, 2, 'Y'));
	run_until(&seen.gone, 1);
	assert_string_equal(seen.how, "exited with status 7: no such luck");
	assert_false(sup.workers[2].has_ended_well);
	assert_true(supervisor_tell(&sup, 1, 'Z'));
	run_until(&seen.gone, 2);
	assert_string_equal(seen.how, "exited with status 0");
	assert_true(sup.workers[1].has_ended_well);
	assert_int_equal(seen.messages, 1);
	assert_int_equal(seen.message, 'S');
	assert_false(supervisor_tell(&sup, COUNT, 'Z'));
}

static void supervisor__retires_without_a_signal(void **state)
{
	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	run_until(&seen.readies, COUNT);
	supervisor_retire(&sup);
	assert_int_equal(supervisor_living(&sup), COUNT);
	assert_int_equal(seen.gone, 0);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_true(supervisor_tell(&sup, i, 'Z'));
		run_until(&seen.gone, i + 1);
		assert_int_equal(seen.restart_ms, -1);
	}
	assert_int_equal(seen.empty, 1);
	assert_int_equal(supervisor_living(&sup), 0);
}

/* An owner that keeps a process and needs to know nothing of it. */
static void supervisor__tells_the_log_where_there_are_no_ops(void **state)
{
	static const struct supervisor_ops few = {.run_child = run_child, .on_empty = on_empty};
	char text[400] = "";
	int fds[2];

	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	log_set_fd(fds[1]);
	sup.ops = &few;
	sup.name = "keeper";
	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	for (unsigned i = 0; i < TURNS_MAX && !sup.was_ready; i++)
		loop_turn(&loop, 5);
	sup.workers[0].failures = 1;
	assert_int_equal(kill(sup.workers[0].pid, SIGKILL), 0);
	run_until(&sup.workers[0].restarts, 1);
	for (unsigned i = 0; i < TURNS_MAX && !sup.workers[0].is_ready; i++)
		loop_turn(&loop, 5);
	log_set_fd(-1);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, ") killed by signal 9; another starts in 100 ms"));
	assert_non_null(strstr(text, "the keeper works again"));
	close(fds[0]);
	close(fds[1]);
}

/* One that does not stop talking leaves the others their turn. */
static void supervisor__takes_a_few_messages_at_a_time(void **state)
{
	unsigned most = 0;

	assert_int_equal(supervisor_start(&sup, COUNT), 0);
	run_until(&seen.readies, COUNT);
	assert_true(supervisor_tell(&sup, 0, 'W'));
	for (unsigned i = 0; i < TURNS_MAX && seen.messages < 200; i++) {
		unsigned before = seen.messages;

		loop_turn(&loop, 5);
		most = MAX(most, seen.messages - before);
	}
	assert_in_range(most, 1, 16);
	assert_true(seen.messages >= 200);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(supervisor__tells_when_all_are_ready),
		TEST(supervisor__restarts_with_back_off),
		TEST(supervisor__names_an_exit_status),
		TEST(supervisor__tries_again_when_fork_fails),
		TEST(supervisor__fails_to_start_without_processes),
		TEST(supervisor__stops_all_and_restarts_none),
		TEST(supervisor__stops_while_one_waits_to_start),
		TEST(supervisor__keeps_channels_from_siblings),
		TEST(supervisor__passes_on_the_reason_and_other_messages),
		TEST(supervisor__retires_without_a_signal),
		TEST(supervisor__tells_the_log_where_there_are_no_ops),
		TEST(supervisor__takes_a_few_messages_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
