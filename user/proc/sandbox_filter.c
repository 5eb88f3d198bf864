/* SPDX-License-Identifier: MIT */
/*
 * seccomp by libseccomp.  Every system call ends in one of three ways:
 *
 *   allowed   what the code makes between "ready" and exit, arguments looked at where they decide (tables below)
 *   refused   everything else: EPERM, counted, and logged once for each call.  A library of another version may try
 *             something new on a rare path and has to bear with an error; a server that dies of it helps nobody
 *   killed    what no sane path comes near: another program, another process, other rights, writing to files, raw
 *             sockets, executable memory, the kernel's larger attack surfaces.  Who gets here is not us any more
 *
 * With `sandbox = "strict"` what would be refused kills too.  Calls that are allowed whatever their arguments cost next to
 * nothing: kernels from 5.11 on know without running the filter.  For older ones the frequent ones come first.
 *
 * Names, not numbers, since this list is longer than what each processor and each version of libseccomp has.
 *
 * openat2(2) hands its flags over in memory, where no filter can look; that it writes nothing is left to Landlock and to
 * the permissions of the user.
 */
#include <fcntl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compat.h"
#include "base/err.h"
#include "proc/sandbox_impl.h"

#define FOR_WORKER  (1u << SANDBOX_WORKER)
#define FOR_MONITOR (1u << SANDBOX_MONITOR)
#define FOR_STORER  (1u << SANDBOX_STORER)
#define FOR_SHARER  (1u << SANDBOX_SHARER)
#define FOR_NET	    (FOR_WORKER | FOR_MONITOR | FOR_SHARER)
#define FOR_ALL	    (FOR_NET | FOR_STORER)
#define FOR_UDP	    (1u << SANDBOX_ROLE_COUNT) /* workers, where there is a listen_udp */

struct call {
	const char *name;
	unsigned roles;
};

/* In the order of their frequency. */
static const struct call allowed[] = {
	{ "read", FOR_ALL },
	{ "sendto", FOR_ALL },
	{ "epoll_wait", FOR_ALL },
	{ "epoll_pwait", FOR_ALL },
	{ "sendmsg", FOR_ALL },
	{ "recvfrom", FOR_ALL },
	{ "write", FOR_ALL },
	{ "epoll_ctl", FOR_ALL },
	{ "close", FOR_ALL },
	{ "accept4", FOR_WORKER },
	{ "sendfile", FOR_WORKER },
	{ "splice", FOR_WORKER },
	{ "recvmsg", FOR_ALL },
	{ "connect", FOR_NET },
	{ "shutdown", FOR_NET },
	{ "getsockopt", FOR_NET },
	{ "openat2", FOR_WORKER },
	{ "fstat", FOR_ALL },
	{ "newfstatat", FOR_ALL },
	{ "pread64", FOR_ALL },
	{ "pipe2", FOR_WORKER },
	{ "getdents64", FOR_WORKER },
	/* The clock, where the vDSO has none to offer (some virtual machines). */
	{ "clock_gettime", FOR_ALL },
	{ "gettimeofday", FOR_ALL },
	{ "time", FOR_ALL },
	{ "clock_getres", FOR_ALL },
	{ "getpid", FOR_ALL },
	{ "gettid", FOR_ALL },
	{ "getrandom", FOR_ALL },
	{ "getsockname", FOR_NET },
	{ "getpeername", FOR_NET },
	{ "recvmmsg", FOR_MONITOR | FOR_UDP },
	{ "sendmmsg", FOR_UDP },
	{ "poll", FOR_ALL },
	{ "ppoll", FOR_ALL },
	{ "lseek", FOR_ALL },
	{ "writev", FOR_ALL },
	/* What stat() and lstat() are elsewhere; whether a folder may be read. */
	{ "stat", FOR_NET },
	{ "lstat", FOR_NET },
	{ "statx", FOR_ALL },
	{ "access", FOR_NET },
	{ "faccessat", FOR_NET },
	{ "faccessat2", FOR_NET },
	/* realpath() */
	{ "readlink", FOR_NET },
	{ "readlinkat", FOR_NET },
	/* malloc, and locks within libraries */
	{ "brk", FOR_ALL },
	{ "munmap", FOR_ALL },
	{ "madvise", FOR_ALL },
	{ "mremap", FOR_ALL },
	{ "futex", FOR_ALL },
	{ "sched_yield", FOR_ALL },
	/* qsort() of something large asks how much memory there is. */
	{ "sysinfo", FOR_ALL },
	{ "uname", FOR_MONITOR },
	/* LMDB: pages, the page that makes them valid, and the disk's word for both */
	{ "pwrite64", FOR_STORER },
	{ "pwritev", FOR_STORER },
	{ "fdatasync", FOR_STORER },
	{ "fsync", FOR_STORER },
	{ "rt_sigaction", FOR_ALL },
	{ "rt_sigprocmask", FOR_ALL },
	{ "rt_sigreturn", FOR_ALL },
	{ "restart_syscall", FOR_ALL },
	{ "exit", FOR_ALL },
	{ "exit_group", FOR_ALL },
};

static const char *const killing[] = {
	/* another program or process */
	"execve", "execveat", "fork", "vfork", "clone", "clone3", "kill", "tkill", "rt_sigqueueinfo",
	"rt_tgsigqueueinfo", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "ptrace",
	"process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "memfd_create",
	/* other rights */
	"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
	"setgroups", "capset", "personality", "unshare", "setns", "chroot", "pivot_root",
	/* file systems */
	"mount", "umount2", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick",
	"mount_setattr", "quotactl", "quotactl_fd", "swapon", "swapoff", "open_by_handle_at",
	"name_to_handle_at", "creat", "truncate", "rename", "renameat", "renameat2", "unlink", "unlinkat",
	"link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat",
	"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "setxattr",
	"lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
	/* the kernel itself, and where its faults have been found */
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
	"io_uring_register", "io_setup", "init_module", "finit_module", "delete_module", "kexec_load",
	"kexec_file_load", "reboot", "iopl", "ioperm", "modify_ldt", "add_key", "request_key", "keyctl",
	"fanotify_init", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime",
	"sethostname", "setdomainname", "syslog", "lookup_dcookie", "vmsplice", "seccomp",
	/* a server of its own */
	"bind", "listen", "accept",
};

/* An allowed value of one argument. */
struct allowed_value {
	const char *name;
	unsigned roles, arg;
	uint64_t mask, value;
};

#define EXACTLY UINT64_MAX
#define WRITES	(O_ACCMODE | O_CREAT | O_TRUNC)

static const struct allowed_value allowed_values[] = {
	{ "open", FOR_NET, 1, WRITES, O_RDONLY },
	{ "openat", FOR_NET, 2, WRITES, O_RDONLY },
	{ "mmap", FOR_ALL, 2, PROT_EXEC, 0 },
	{ "mprotect", FOR_ALL, 2, PROT_EXEC, 0 },
	{ "ioctl", FOR_ALL, 1, EXACTLY, TIOCOUTQ },
	{ "ioctl", FOR_ALL, 1, EXACTLY, FIONREAD },
	{ "fcntl", FOR_ALL, 1, EXACTLY, F_GETFL },
	{ "fcntl", FOR_ALL, 1, EXACTLY, F_SETFL },
	{ "fcntl", FOR_ALL, 1, EXACTLY, F_GETFD },
	{ "fcntl", FOR_ALL, 1, EXACTLY, F_SETFD },
	{ "fcntl", FOR_WORKER, 1, EXACTLY, F_SETPIPE_SZ },
	{ "fcntl", FOR_WORKER, 1, EXACTLY, F_GETPIPE_SZ },
	/* LMDB: is who holds a place in the table of readers still alive? */
	{ "fcntl", FOR_STORER, 1, EXACTLY, F_GETLK },
	{ "fcntl", FOR_STORER, 1, EXACTLY, F_SETLK },
};

/* These values kill. */
static const struct allowed_value killing_values[] = {
	{ "open", FOR_ALL, 1, O_ACCMODE, O_WRONLY },
	{ "open", FOR_ALL, 1, O_ACCMODE, O_RDWR },
	{ "openat", FOR_ALL, 2, O_ACCMODE, O_WRONLY },
	{ "openat", FOR_ALL, 2, O_ACCMODE, O_RDWR },
	{ "mmap", FOR_ALL, 2, PROT_EXEC, PROT_EXEC },
	{ "mprotect", FOR_ALL, 2, PROT_EXEC, PROT_EXEC },
	{ "ioctl", FOR_ALL, 1, EXACTLY, TIOCSTI },
};

/* Protocols that Landlock does not know as TCP (MPTCP, SCTP) would go around it. */
static const struct allowed_socket {
	unsigned roles;
	int family, type, protocol;
} allowed_sockets[] = {
	{ FOR_NET, AF_INET, SOCK_STREAM, 0 },
	{ FOR_NET, AF_INET6, SOCK_STREAM, 0 },
	{ FOR_NET, AF_UNIX, SOCK_STREAM, 0 },
	{ FOR_NET, AF_INET, SOCK_STREAM, IPPROTO_TCP },
	{ FOR_NET, AF_INET6, SOCK_STREAM, IPPROTO_TCP },
	{ FOR_MONITOR | FOR_UDP, AF_INET, SOCK_DGRAM, 0 },
	{ FOR_MONITOR | FOR_UDP, AF_INET6, SOCK_DGRAM, 0 },
	{ FOR_MONITOR, AF_INET, SOCK_DGRAM, IPPROTO_UDP },
	{ FOR_MONITOR, AF_INET6, SOCK_DGRAM, IPPROTO_UDP },
};

static const struct allowed_option {
	unsigned roles;
	int level, name;
} allowed_options[] = {
	{ FOR_NET, IPPROTO_TCP, TCP_NODELAY },
	{ FOR_NET, SOL_SOCKET, SO_LINGER },
	{ FOR_WORKER, IPPROTO_TCP, TCP_NOTSENT_LOWAT },
	/* hiredis, for connections that only listen */
	{ FOR_WORKER, SOL_SOCKET, SO_KEEPALIVE },
	{ FOR_WORKER, IPPROTO_TCP, TCP_KEEPIDLE },
	{ FOR_WORKER, IPPROTO_TCP, TCP_KEEPINTVL },
	{ FOR_WORKER, IPPROTO_TCP, TCP_KEEPCNT },
	/* c-ares */
	{ FOR_MONITOR, SOL_SOCKET, SO_SNDBUF },
	{ FOR_MONITOR, SOL_SOCKET, SO_RCVBUF },
	{ FOR_MONITOR, IPPROTO_TCP, TCP_FASTOPEN_CONNECT },
};

/* Refused calls ------------------------------------------------------------------------------------------------ */

#define CALLS_MAX 1024 /* numbers beyond are counted, not named */

#define BY_SECCOMP 1 /* SYS_SECCOMP of asm-generic/siginfo.h, which glibc 2.36 does not pass on */

static struct {
	uint64_t *count;
	volatile sig_atomic_t has_news;
	volatile unsigned char seen[CALLS_MAX], told[CALLS_MAX];
} refused;

static void on_refused(int signal, siginfo_t *info, void *context)
{
	unsigned call = (unsigned)info->si_syscall;

	if (info->si_code != BY_SECCOMP) {
		const struct sigaction dies = { .sa_handler = SIG_DFL };

		/* Somebody sent it: it is to do what it does by itself, as soon as this returns. */
		sigaction(SIGSYS, &dies, NULL);
		raise(SIGSYS);
		return;
	}
	++*refused.count;
	if (call < CALLS_MAX && !refused.seen[call]) {
		refused.seen[call] = 1;
		refused.has_news = 1;
	}
	compat_set_syscall_result(context, -EPERM);
}

void sandbox_tell(void)
{
	if (__builtin_expect(!refused.has_news, 1))
		return;
	refused.has_news = 0;
	for (unsigned call = 0; call < CALLS_MAX; call++) {
		char *name;

		if (!refused.seen[call] || refused.told[call])
			continue;
		refused.told[call] = 1;
		name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)call);
		log_warn("the sandbox refused the system call %s (%u); told once", name ? name : "?", call);
		free(name);
	}
}

static uint32_t catch_refused(uint64_t *count)
{
	const struct sigaction action = { .sa_sigaction = on_refused, .sa_flags = SA_SIGINFO | SA_RESTART };
	ucontext_t probe = { 0 };

	refused.count = count;
	/* Without the handler it is a plain EPERM that nobody counts. */
	if (!compat_set_syscall_result(&probe, 0) || sigaction(SIGSYS, &action, NULL) < 0)
		return SCMP_ACT_ERRNO(EPERM);
	return SCMP_ACT_TRAP;
}

/* Rules -------------------------------------------------------------------------------------------------------- */

static int number_of(const char *name)
{
	int number = seccomp_syscall_resolve_name(name);

	/* Unknown here, or (the other negative ones) not of this processor. */
	return number < 0 ? __NR_SCMP_ERROR : number;
}

static int add(scmp_filter_ctx f, uint32_t action, const char *name, unsigned count,
	       const struct scmp_arg_cmp *args)
{
	int number = number_of(name);

	return number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(f, action, number, count, args);
}

static struct scmp_arg_cmp compare(const struct allowed_value *v)
{
	return v->mask == EXACTLY ? SCMP_CMP64(v->arg, SCMP_CMP_EQ, v->value, 0)
				  : SCMP_CMP64(v->arg, SCMP_CMP_MASKED_EQ, v->mask, v->value);
}

static int add_values(scmp_filter_ctx f, uint32_t action, const struct allowed_value *table,
		      unsigned count, unsigned role)
{
	int err = 0;

	for (unsigned i = 0; i < count && !err; i++) {
		struct scmp_arg_cmp arg = compare(&table[i]);

		if (table[i].roles & role)
			err = add(f, action, table[i].name, 1, &arg);
	}
	return err;
}

static int allow_calls(scmp_filter_ctx f, unsigned role)
{
	int err = 0;

	for (unsigned i = 0; i < ARRAY_LEN(allowed) && !err; i++) {
		int number = number_of(allowed[i].name);

		if (!(allowed[i].roles & role) || number == __NR_SCMP_ERROR)
			continue;
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, number, 0);
		/* Only an order of evaluation: a refusal changes nothing. */
		seccomp_syscall_priority(f, number, (uint8_t)(i < 200 ? 255 - i : 55));
	}
	return err;
}

static int allow_sockets(scmp_filter_ctx f, unsigned role)
{
	int err = 0;

	for (unsigned i = 0; i < ARRAY_LEN(allowed_sockets) && !err; i++) {
		const struct allowed_socket *s = &allowed_sockets[i];
		const struct scmp_arg_cmp args[] = {
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)s->family, 0),
			SCMP_A1(SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)(SOCK_NONBLOCK | SOCK_CLOEXEC),
				(scmp_datum_t)s->type),
			SCMP_A2(SCMP_CMP_EQ, (scmp_datum_t)s->protocol, 0),
		};

		if (s->roles & role)
			err = add(f, SCMP_ACT_ALLOW, "socket", ARRAY_LEN(args), args);
	}
	for (unsigned i = 0; i < ARRAY_LEN(allowed_options) && !err; i++) {
		const struct allowed_option *o = &allowed_options[i];
		const struct scmp_arg_cmp args[] = {
			SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)o->level, 0),
			SCMP_A2(SCMP_CMP_EQ, (scmp_datum_t)o->name, 0),
		};

		if (o->roles & role)
			err = add(f, SCMP_ACT_ALLOW, "setsockopt", ARRAY_LEN(args), args);
	}
	return err;
}

/* abort() */
static int allow_own_signals(scmp_filter_ctx f)
{
	const struct scmp_arg_cmp own = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0);

	return add(f, SCMP_ACT_ALLOW, "tgkill", 1, &own);
}

/* Packet, netfilter, crypto and virtual sockets come behind netlink, which a library may well try. */
static int kill_calls(scmp_filter_ctx f, unsigned role)
{
	const struct scmp_arg_cmp family = SCMP_A0(SCMP_CMP_GT, AF_NETLINK, 0);
	const struct scmp_arg_cmp other = SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid(), 0);
	int err = 0;

	for (unsigned i = 0; i < ARRAY_LEN(killing) && !err; i++)
		err = add(f, SCMP_ACT_KILL_PROCESS, killing[i], 0, NULL);
	if (!err)
		err = add_values(f, SCMP_ACT_KILL_PROCESS, killing_values, ARRAY_LEN(killing_values), role);
	if (!err)
		err = add(f, SCMP_ACT_KILL_PROCESS, "tgkill", 1, &other);
	return err ? err : add(f, SCMP_ACT_KILL_PROCESS, "socket", 1, &family);
}

/*
 * What sanitizers do, and when, is their own business: they look for leaks in a clone that traces us and have a program
 * name the functions.  Under them only what they would never do kills, the rest is allowed.
 */
static int fill_for_sanitizers(scmp_filter_ctx f)
{
	static const char *const never[] = { "mount", "bpf", "setuid", "init_module", "unshare", "bind" };
	const struct scmp_arg_cmp family = SCMP_A0(SCMP_CMP_GT, AF_NETLINK, 0);
	int err = 0;

	for (unsigned i = 0; i < ARRAY_LEN(never) && !err; i++)
		err = add(f, SCMP_ACT_KILL_PROCESS, never[i], 0, NULL);
	return err ? err : add(f, SCMP_ACT_KILL_PROCESS, "socket", 1, &family);
}

static int fill(scmp_filter_ctx f, unsigned role, bool is_strict)
{
	int err = allow_calls(f, role);

	if (!err)
		err = allow_sockets(f, role);
	if (!err)
		err = add_values(f, SCMP_ACT_ALLOW, allowed_values, ARRAY_LEN(allowed_values), role);
	if (!err)
		err = allow_own_signals(f);
	/* A rule that says what happens anyway is an error to libseccomp. */
	return err || is_strict ? err : kill_calls(f, role);
}

bool filter_is_possible(void)
{
	const uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int filter_enter(enum sandbox_role role, bool has_udp, bool is_strict, uint64_t *count)
{
	unsigned roles = 1u << role | (role == SANDBOX_WORKER && has_udp ? FOR_UDP : 0);
	uint32_t otherwise = COMPAT_IS_SANITIZED ? SCMP_ACT_ALLOW :
			     is_strict		 ? SCMP_ACT_KILL_PROCESS :
						   catch_refused(count);
	scmp_filter_ctx f = seccomp_init(otherwise);
	int err = f ? 0 : -ENOMEM;

	if (!err)
		err = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* no_new_privs is there; without it this shall fail. */
	if (!err)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0);
	/*
	 * Kernels before 5.16 would turn off speculative stores for us.  That protects from code that a process runs for
	 * others, such as scripts, of which there is none here, and costs a tenth of the speed.
	 */
	if (!err)
		seccomp_attr_set(f, SCMP_FLTATR_CTL_SSB, 1);
	if (!err)
		err = COMPAT_IS_SANITIZED ? fill_for_sanitizers(f) : fill(f, roles, is_strict);
	if (!err)
		err = seccomp_load(f);
	seccomp_release(f);
	return err;
}
