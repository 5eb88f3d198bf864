/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a server under test: system calls and allocations that fail, come up short or lie about the time, as a
 * table says that the test writes while the server runs ($FAULTS_FILE, mapped and shared by all its processes).
 *
 * A row: every `every`-th call fails with `err` (or moves fewer bytes: SHORT), as long as `left` lasts.  Calls of the
 * process `skip_pid`, the master, are let through unless the row says that it means that one.  Makes no system call that
 * the server's sandbox does not allow.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* In the order of test_faults.py. */
enum kind {
	F_MALLOC,
	F_MMAP,
	F_ACCEPT,
	F_RECV,
	F_SEND,
	F_SENDFILE,
	F_SPLICE,
	F_EPOLL_CTL,
	F_EPOLL_WAIT,
	F_SOCKET,
	F_CONNECT,
	F_PIPE,
	F_OPEN,
	F_PREAD,
	F_FSTAT,
	F_WRITE,
	F_RECVMSG,
	F_FORK,
	F_BPF,
	F_COUNT,
};

#define SHORT 100000 /* for `err` */

struct row {
	uint32_t every; /* 0: never */
	int32_t err;
	uint64_t left, calls, failed;
	uint32_t is_masters, unused;
};

struct table {
	uint32_t skip_pid, unused;
	int64_t clock_offset_ns; /* of CLOCK_REALTIME */
	struct row rows[F_COUNT];
};

static struct table *table;

static int check(enum kind kind)
{
	struct row *r;
	uint32_t every;

	if (!table)
		return 0;
	r = &table->rows[kind];
	/* Once: the test may end the fault at any time, and nobody divides by zero then. */
	every = __atomic_load_n(&r->every, __ATOMIC_RELAXED);
	if (!every || ((uint32_t)getpid() == table->skip_pid) != (r->is_masters != 0))
		return 0;
	if (__atomic_add_fetch(&r->calls, 1, __ATOMIC_RELAXED) % every || !__atomic_load_n(&r->left, __ATOMIC_RELAXED))
		return 0;
	__atomic_fetch_sub(&r->left, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&r->failed, 1, __ATOMIC_RELAXED);
	return r->err;
}

/* The call behind ours, looked up before any sandbox. */
#define NEXT(result, name, ...)                                                                      \
	static result (*next_##name)(__VA_ARGS__);                                                     \
	static void __attribute__((constructor(101))) find_##name(void)                                \
	{                                                                                              \
		next_##name = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);                         \
	}                                                                                              \
	result name(__VA_ARGS__)

#define FAIL_IF(err_)                                                                                \
	do {                                                                                           \
		int fail_with_ = (err_);                                                               \
		if (fail_with_ && fail_with_ != SHORT) {                                               \
			errno = fail_with_;                                                            \
			return -1;                                                                     \
		}                                                                                      \
	} while (0)

static void __attribute__((constructor(102))) map_table(void)
{
	const char *path = getenv("FAULTS_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at;

	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (at != MAP_FAILED)
		table = at;
}

/* Sanitizers bring an allocator of their own, which stands before this one. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

/* Libraries that do not bear it are given none of it: see user/config/config_confuse.c; hiredis 0.14 aborts by itself. */
static const char *const spared_names[] = { "libconfuse", "libhiredis" };
#define SPARED (sizeof(spared_names) / sizeof(*spared_names))
static struct { uintptr_t from, to; } spared[SPARED];
static int is_sparing;

static int find_spared(struct dl_phdr_info *info, size_t size, void *ctx)
{
	(void)size;
	(void)ctx;
	for (unsigned i = 0; i < SPARED * info->dlpi_phnum; i++) {
		unsigned name = i / info->dlpi_phnum, part = i % info->dlpi_phnum;
		uintptr_t from = info->dlpi_addr + info->dlpi_phdr[part].p_vaddr;

		if (!strstr(info->dlpi_name, spared_names[name]) || info->dlpi_phdr[part].p_type != PT_LOAD ||
		    !(info->dlpi_phdr[part].p_flags & PF_X))
			continue;
		spared[name].from = from;
		spared[name].to = from + info->dlpi_phdr[part].p_memsz;
	}
	return 0;
}

static void __attribute__((constructor(103))) find_libraries(void)
{
	dl_iterate_phdr(find_spared, NULL);
}

static int is_spared(void *caller)
{
	int is_found = is_sparing;

	for (unsigned i = 0; i < SPARED; i++)
		is_found |= (uintptr_t)caller >= spared[i].from && (uintptr_t)caller < spared[i].to;
	return is_found;
}

static int check_memory(void *caller)
{
	int err = is_spared(caller) ? 0 : check(F_MALLOC);

	if (err)
		errno = ENOMEM;
	return err;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t size)
{
	return check_memory(CALLER) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return check_memory(CALLER) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return check_memory(CALLER) ? NULL : __libc_realloc(old, size);
}

/* Within the C library the caller would be that. */
#define SPARE(result, name, args, ...)                                                               \
	NEXT(result, name, __VA_ARGS__)                                                                \
	{                                                                                              \
		int was_sparing = is_sparing;                                                          \
		result r;                                                                              \
                                                                                                       \
		if (!next_##name)                                                                      \
			find_##name();                                                                 \
		is_sparing |= is_spared(CALLER);                                                       \
		r = next_##name args;                                                                  \
		is_sparing = was_sparing;                                                              \
		return r;                                                                              \
	}

SPARE(char *, strdup, (s), const char *s)
SPARE(FILE *, fmemopen, (at, len, mode), void *at, size_t len, const char *mode)

NEXT(void *, mmap, void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	if (flags & MAP_ANONYMOUS && check(F_MMAP)) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	/* A constructor of another library may be earlier than ours. */
	if (!next_mmap)
		find_mmap();
	return next_mmap(at, len, prot, flags, fd, offset);
}

NEXT(int, accept4, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	int err = check(F_ACCEPT), taken;

	/* That one has taken the connection off the queue. */
	if (err == ECONNABORTED && (taken = next_accept4(fd, addr, len, flags)) >= 0)
		close(taken);
	FAIL_IF(err);
	return next_accept4(fd, addr, len, flags);
}

NEXT(ssize_t, recv, int fd, void *to, size_t len, int flags)
{
	FAIL_IF(check(F_RECV));
	return next_recv(fd, to, len, flags);
}

static size_t cut(size_t len, int err)
{
	return err == SHORT && len > 1 ? len / 3 + 1 : len;
}

NEXT(ssize_t, send, int fd, const void *from, size_t len, int flags)
{
	int err = check(F_SEND);

	FAIL_IF(err);
	return next_send(fd, from, cut(len, err), flags);
}

NEXT(ssize_t, sendmsg, int fd, const struct msghdr *msg, int flags)
{
	int err = check(F_SEND);

	FAIL_IF(err);
	if (err == SHORT && msg->msg_iovlen)
		return next_send(fd, msg->msg_iov[0].iov_base, cut(msg->msg_iov[0].iov_len, err), flags);
	return next_sendmsg(fd, msg, flags);
}

NEXT(ssize_t, sendfile, int to, int from, off_t *offset, size_t len)
{
	int err = check(F_SENDFILE);

	FAIL_IF(err);
	return next_sendfile(to, from, offset, cut(len, err));
}

NEXT(ssize_t, splice, int from, off_t *from_at, int to, off_t *to_at, size_t len, unsigned flags)
{
	int err = check(F_SPLICE);

	FAIL_IF(err);
	return next_splice(from, from_at, to, to_at, cut(len, err), flags);
}

NEXT(int, epoll_ctl, int epoll, int op, int fd, struct epoll_event *event)
{
	if (op != EPOLL_CTL_DEL)
		FAIL_IF(check(F_EPOLL_CTL));
	return next_epoll_ctl(epoll, op, fd, event);
}

NEXT(int, epoll_wait, int epoll, struct epoll_event *events, int count, int timeout)
{
	FAIL_IF(check(F_EPOLL_WAIT));
	return next_epoll_wait(epoll, events, count, timeout);
}

NEXT(int, socket, int family, int type, int protocol)
{
	FAIL_IF(check(F_SOCKET));
	return next_socket(family, type, protocol);
}

NEXT(int, connect, int fd, const struct sockaddr *addr, socklen_t len)
{
	int err = check(F_CONNECT);

	/* A signal does not undo it: the connection comes to be all the same (connect(2)). */
	if (err == EINTR)
		(void)next_connect(fd, addr, len);
	FAIL_IF(err);
	return next_connect(fd, addr, len);
}

NEXT(int, pipe2, int fds[2], int flags)
{
	FAIL_IF(check(F_PIPE));
	return next_pipe2(fds, flags);
}

/* openat2(2) and bpf(2) have no functions in the C library. */
NEXT(long, syscall, long number, ...)
{
	long a[6];
	va_list args;

	va_start(args, number);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_openat2)
		FAIL_IF(check(F_OPEN));
	if (number == SYS_bpf)
		FAIL_IF(check(F_BPF));
	return next_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

NEXT(ssize_t, pread, int fd, void *to, size_t len, off_t offset)
{
	int err = check(F_PREAD);

	FAIL_IF(err);
	return next_pread(fd, to, cut(len, err), offset);
}

NEXT(int, fstat, int fd, struct stat *st)
{
	FAIL_IF(check(F_FSTAT));
	return next_fstat(fd, st);
}

/* The server writes to its logs alone; what goes to standard error is for the test to read. */
NEXT(ssize_t, write, int fd, const void *from, size_t len)
{
	if (fd != STDERR_FILENO) {
		int err = check(F_WRITE);

		FAIL_IF(err);
		len = cut(len, err);
	}
	return next_write(fd, from, len);
}

NEXT(ssize_t, recvmsg, int fd, struct msghdr *msg, int flags)
{
	FAIL_IF(check(F_RECVMSG));
	return next_recvmsg(fd, msg, flags);
}

NEXT(pid_t, fork, void)
{
	FAIL_IF(check(F_FORK));
	return next_fork();
}

NEXT(int, clock_gettime, clockid_t clock, struct timespec *ts)
{
	int64_t ns;
	int err;

	if (!next_clock_gettime)
		find_clock_gettime();
	err = next_clock_gettime(clock, ts);
	if (!table || !table->clock_offset_ns || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
		return err;
	ns = (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec + table->clock_offset_ns;
	ts->tv_sec = ns / 1000000000;
	ts->tv_nsec = ns % 1000000000;
	return err;
}
