/* SPDX-License-Identifier: MIT */
/*
 * make bpf-stats: what the steering program costs.  To verify: instructions that the verifier
 * walked, stack, size.  To run: nanoseconds for each policy at 8, 64 and 256 slots, as
 * kernel.bpf_stats_enabled counts them, with the lines of the slots at rest and while another
 * process writes them without pause, which is more than workers ever do.
 *
 * The kernel's clock reads are in each figure; the first row, a program of two instructions, says
 * how much that is. A time is the median of batches, because interrupts and other guests of the
 * machine fall into some of them.
 */
#include "rig.h"

#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "steer.skel.h"

#define BATCHES	   21
#define BATCH_SIZE 200

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

/* The verifier's own words at log level 4 (BPF_LOG_STATS); its last lines are the sums. */
static int print_verifier(unsigned slots)
{
	static char log[64 * 1024];
	struct steer_bpf *skel;
	int r;

	libbpf_set_print(quiet);
	skel = steer_bpf__open();
	if (!skel)
		return -errno;
	skel->rodata->slot_count = slots;
	bpf_program__set_log_level(skel->progs.steer, 4);
	bpf_program__set_log_buf(skel->progs.steer, log, sizeof(log));
	r = steer_bpf__load(skel);
	if (r == 0) {
		struct bpf_prog_info info = {0};
		__u32 len = sizeof(info);

		r = bpf_obj_get_info_by_fd(bpf_program__fd(skel->progs.steer), &info, &len);
		printf("%u slots: %zu instructions, %u bytes as machine code\n", slots,
		       bpf_program__insn_cnt(skel->progs.steer), info.jited_prog_len);
		printf("%s", log);
	}
	steer_bpf__destroy(skel);
	return r;
}

/* Writes every line of the slots again and again, on another CPU where there is one, until it is
 * killed. */
static pid_t start_writer(struct steer *s)
{
	pid_t pid = fork();
	cpu_set_t cpus;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CPU_ZERO(&cpus);
	CPU_SET(1, &cpus);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus);
	for (uint64_t now = clock_ns();; now++)
		for (unsigned i = 0; i < steer_slot_count(s); i++)
			steer_stamp(steer_slot(s, i), now);
}

static void stop_writer(pid_t pid)
{
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Median over the batches. */
static double run_ns(struct rig *r, struct listener *l)
{
	union sock_addr to = rig_dial(l, "127.0.0.1");
	unsigned counts[STEER_MAX_SLOTS];
	double each[BATCHES];

	for (unsigned b = 0; b < BATCHES; b++) {
		__u64 runs, ns, runs_before, ns_before;

		runs_before = rig_runs(r, &ns_before);
		for (unsigned n = 0; n < BATCH_SIZE; n++)
			rig_connect(r, &to);
		runs = rig_runs(r, &ns) - runs_before;
		each[b] = (double)(ns - ns_before) / (double)runs;
		rig_accept(r, l, BATCH_SIZE, true, counts);
		rig_hang_up(r);
	}
	qsort(each, BATCHES, sizeof(each[0]), compare);
	return each[BATCHES / 2];
}

static double cost(enum steer_policy_id policy, unsigned slots, bool has_writer)
{
	const struct steer_options opt = {
		.slot_count = slots, .policy = policy, .pin_dir = rig_next_pin_dir()};
	struct rig *r = rig_open_opt(&opt);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	pid_t writer = has_writer ? start_writer(r->steer) : 0;
	double ns = run_ns(r, l);

	stop_writer(writer);
	rig_close(r);
	return ns;
}

/* r0 = SK_PASS; exit. */
static double cost_of_nothing(void)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = SK_PASS},
		{.code = BPF_JMP | BPF_EXIT}};
	const struct steer_options opt = {.slot_count = 1, .pin_dir = rig_next_pin_dir()};
	struct rig *r = rig_open_opt(&opt);
	struct listener *l = rig_listen(r, "127.0.0.1:0", false);
	int fd = bpf_prog_load(BPF_PROG_TYPE_SK_REUSEPORT, "nothing", "GPL", insns,
			       ARRAY_LEN(insns), NULL);
	double ns = -1;

	if (fd >= 0 &&
	    setsockopt(l->fds[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &fd, sizeof(fd)) == 0) {
		close(r->prog_fds[0]);
		r->prog_fds[0] = fd;
		ns = run_ns(r, l);
	}
	rig_close(r);
	return ns;
}

int main(void)
{
	static const unsigned sizes[] = {8, 64, 256};
	int r = rig_enter(), runs;
	cpu_set_t cpus;

	if (r)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(sizes) && r == 0; i++)
		r = print_verifier(sizes[i]);
	if (r) {
		fprintf(stderr, "cannot load the program: %s\n", strerror(-r));
		return 1;
	}
	runs = rig_count_runs();
	if (runs < 0)
		return rig_skip("the kernel does not count runs of BPF programs");
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus);
	printf("\nns a run, median of %d batches of %d; a program that does nothing: %.0f\n",
	       BATCHES, BATCH_SIZE, cost_of_nothing());
	printf("          slots at rest         slots being written\n");
	printf("policy       8    64   256       8    64   256\n");
	for (unsigned p = 0; p < STEER_POLICY_COUNT; p++) {
		printf("%-9s", steer_policy_name(p));
		for (int has_writer = 0; has_writer < 2; has_writer++, printf("  "))
			for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
				printf(" %5.0f", cost(p, sizes[i], has_writer));
		printf("\n");
		fflush(stdout);
	}
	close(runs);
	return 0;
}
