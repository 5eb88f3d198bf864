/* SPDX-License-Identifier: MIT */
/* The parent of a load: processes, progress, the sum. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "load/load.h"

/* From the fork to the beginning, which is the same instant for all. */
#define START_AFTER_NS (50 * NS_PER_MS)
/* Descriptors beside the connections. */
#define SPARE_FILES 32

static volatile sig_atomic_t is_interrupted;

static void on_signal(int sig)
{
	is_interrupted = 1;
}

static int raise_file_limit(const struct load_options *o, char *error)
{
	rlim_t wanted = (o->connections + o->processes - 1) / o->processes + SPARE_FILES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur >= wanted)
		return 0;
	limit.rlim_cur = MIN(wanted, limit.rlim_max);
	if (wanted <= limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return 0;
	snprintf(error, LOAD_ERROR_TEXT, "%llu descriptors for each process are more than the %llu allowed; "
		 "give more processes, or fewer connections", (unsigned long long)wanted,
		 (unsigned long long)limit.rlim_max);
	return -EMFILE;
}

static void sum_up(const struct load_options *o, const struct load_share *shares, struct load_share *ret_sum)
{
	memset(ret_sum, 0, sizeof(*ret_sum));
	for (unsigned p = 0; p < o->processes; p++) {
		const struct load_share *s = &shares[p];

		ret_sum->answered += s->answered;
		ret_sum->all_answered += s->all_answered;
		ret_sum->bytes_in += s->bytes_in;
		ret_sum->measured_ns = MAX(ret_sum->measured_ns, s->measured_ns);
		ret_sum->connects += s->connects;
		ret_sum->open += s->open;
		for (unsigned i = 0; i < ARRAY_LEN(s->statuses); i++)
			ret_sum->statuses[i] += s->statuses[i];
		for (unsigned i = 0; i < LOAD_FAULT_COUNT; i++)
			ret_sum->faults[i] += s->faults[i];
		hist_merge(&ret_sum->latency_ns, &s->latency_ns);
		hist_merge(&ret_sum->connect_ns, &s->connect_ns);
		hist_merge(&ret_sum->late_ns, &s->late_ns);
		for (unsigned i = 0; i < o->kind_count; i++) {
			ret_sum->kind_answered[i] += s->kind_answered[i];
			hist_merge(&ret_sum->kind_ns[i], &s->kind_ns[i]);
		}
	}
}

static uint64_t fault_count(const struct load_share *s)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < LOAD_FAULT_COUNT; i++)
		count += s->faults[i];
	return count;
}

static void print_progress(const struct load_share *sum, uint64_t *answered, double seconds, FILE *out)
{
	fprintf(out, "%6.1f s  %9llu req/s  p50 %.3f ms  p99 %.3f ms  max %.3f ms  %llu open  %llu errors\n", seconds,
		(unsigned long long)(sum->all_answered - *answered),
		(double)hist_quantile(&sum->latency_ns, 5000) / NS_PER_MS,
		(double)hist_quantile(&sum->latency_ns, 9900) / NS_PER_MS, (double)sum->latency_ns.max / NS_PER_MS,
		(unsigned long long)sum->open, (unsigned long long)fault_count(sum));
	fflush(out);
	*answered = sum->all_answered;
}

/* Waits for the children; how many have failed. */
static unsigned await(const struct load_options *o, pid_t *pids, const struct load_share *shares, uint64_t start_ns,
		      FILE *progress, struct load_share *sum)
{
	unsigned left = o->processes, failed = 0;
	uint64_t answered = 0, next_ns = start_ns + NS_PER_SEC;

	while (left > 0) {
		struct timespec nap = { .tv_nsec = 20 * (long)NS_PER_MS };
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0) {
			left--;
			failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
			for (unsigned i = 0; i < o->processes; i++)
				if (pids[i] == pid)
					pids[i] = 0;
			continue;
		}
		nanosleep(&nap, NULL);
		if (is_interrupted) {
			for (unsigned i = 0; i < o->processes; i++)
				if (pids[i] > 0)
					kill(pids[i], SIGTERM);
			is_interrupted = 0;
		}
		if (progress && clock_ns() >= next_ns) {
			sum_up(o, shares, sum);
			print_progress(sum, &answered, (double)(next_ns - start_ns) / NS_PER_SEC, progress);
			next_ns += NS_PER_SEC;
		}
	}
	return failed;
}

/* A child serves no output of the parent's twice: _exit flushes nothing. */
static int start(const struct load_options *o, pid_t *pids, struct load_share *shares, uint64_t start_ns)
{
	for (unsigned i = 0; i < o->processes; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(load_worker_run(o, i, start_ns, &shares[i]) < 0);
		if (pids[i] < 0) {
			int err = -errno;

			while (i-- > 0) {
				kill(pids[i], SIGKILL);
				waitpid(pids[i], NULL, 0);
			}
			return err;
		}
	}
	return 0;
}

int load_run(const struct load_options *o, FILE *progress, struct load_share *ret_sum, char error[LOAD_ERROR_TEXT])
{
	struct sigaction stop = { .sa_handler = on_signal }, before_int, before_term;
	size_t size = o->processes * sizeof(struct load_share);
	uint64_t start_ns = clock_ns() + START_AFTER_NS;
	pid_t pids[LOAD_PROCESSES_MAX];
	struct load_share *shares;
	unsigned failed = 0;
	int err;

	*error = '\0';
	err = raise_file_limit(o, error);
	if (err)
		return err;
	shares = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shares == MAP_FAILED)
		return -errno;
	is_interrupted = 0;
	sigaction(SIGINT, &stop, &before_int);
	sigaction(SIGTERM, &stop, &before_term);
	err = start(o, pids, shares, start_ns);
	if (err == 0)
		failed = await(o, pids, shares, start_ns, progress, ret_sum);
	sigaction(SIGINT, &before_int, NULL);
	sigaction(SIGTERM, &before_term, NULL);
	sum_up(o, shares, ret_sum);
	munmap(shares, size);
	if (err)
		snprintf(error, LOAD_ERROR_TEXT, "cannot fork: %s", strerror(-err));
	else if (failed)
		snprintf(error, LOAD_ERROR_TEXT, "%u of %u processes have failed", failed, o->processes);
	return err ? err : failed ? -EIO : 0;
}
