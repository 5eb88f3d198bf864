/* SPDX-License-Identifier: MIT */
/* Shared memory that can be passed on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/shm.h"

static void shm__is_zero_and_shared(void **state)
{
	struct shm a, b;
	int status;
	pid_t pid;

	assert_int_equal(shm_new(&a, "test", 5000), 0);
	assert_int_equal(a.size, 5000);
	assert_true(fcntl(a.fd, F_GETFD) & FD_CLOEXEC);
	for (unsigned i = 0; i < a.size; i++)
		assert_int_equal(((char *)a.at)[i], 0);
	/* By the descriptor, as another program gets it, and by a fork. */
	assert_int_equal(shm_map(&b, dup(a.fd), 5000), 0);
	assert_ptr_not_equal(a.at, b.at);
	pid = fork();
	if (pid == 0) {
		((char *)a.at)[4999] = 7;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(((char *)b.at)[4999], 7);
	shm_free(&a);
	((char *)b.at)[0] = 1;
	shm_free(&b);
}

static void shm__goes_on_without_its_descriptor(void **state)
{
	struct shm s;

	assert_int_equal(shm_new(&s, "test", 100), 0);
	shm_drop_fd(&s);
	shm_drop_fd(&s);
	assert_int_equal(s.fd, -1);
	memset(s.at, 1, 100);
	shm_free(&s);
	shm_free(&s);
	assert_null(s.at);
}

static void shm__refuses_what_would_be_a_signal(void **state)
{
	struct shm a, b;
	int fd;

	assert_int_equal(shm_new(&a, "test", 4096), 0);
	fd = dup(a.fd);
	assert_int_equal(shm_map(&b, fd, 4097), -EINVAL);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(b.fd, -1);
	assert_int_equal(shm_map(&b, dup(a.fd), 0), -EINVAL);
	assert_int_equal(shm_map(&b, -1, 10), -EBADF);
	assert_null(b.at);
	shm_free(&b);
	shm_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shm__is_zero_and_shared),
		cmocka_unit_test(shm__goes_on_without_its_descriptor),
		cmocka_unit_test(shm__refuses_what_would_be_a_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
