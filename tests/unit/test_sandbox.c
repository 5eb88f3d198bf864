/* SPDX-License-Identifier: MIT */
/*
 * The sandbox from within: each attempt is made in a child that has entered it.  What the server itself does under it is
 * the business of the end-to-end tests, which run with it on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compat.h"
#include "base/err.h"
#include "proc/sandbox.h"
#include "stats_shm.h"

static char base[64];
static uint64_t *refused_count; /* shared with the children */
static struct config config;
static uint16_t port_of_upstream;

static const char *path_of(const char *name)
{
	static char paths[8][160];
	static unsigned next;
	char *at = paths[next++ % 8];

	snprintf(at, sizeof(paths[0]), "%s/%s", base, name);
	return at;
}

static void put(const char *name)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, name, strlen(name)), strlen(name));
	close(fd);
}

/* A route for www, one for releases/current -> 1 (with 2 beside it), an upstream on TCP and one on a Unix socket. */
static int set_up(void **state)
{
	static char www[128], current[128];
	static struct config_route routes[2];
	static char *names[] = {"*"};
	static struct config_site site = { .routes = routes, .route_count = 2, .names = names, .name_count = 1 };
	static struct config_server servers[2];
	static struct config_upstream upstream = { .servers = servers, .server_count = 2 };

	snprintf(base, sizeof(base), "/tmp/sluice-sandbox-XXXXXX");
	assert_non_null(mkdtemp(base));
	assert_int_equal(mkdir(path_of("www"), 0755), 0);
	assert_int_equal(mkdir(path_of("releases"), 0755), 0);
	assert_int_equal(mkdir(path_of("releases/1"), 0755), 0);
	assert_int_equal(mkdir(path_of("releases/2"), 0755), 0);
	assert_int_equal(symlink("releases/1", path_of("current")), 0);
	put("www/a");
	put("releases/1/a");
	put("releases/2/a");
	put("secret");
	snprintf(www, sizeof(www), "%s", path_of("www"));
	snprintf(current, sizeof(current), "%s", path_of("current"));
	routes[0] = (struct config_route){ .kind = ROUTE_FILES, .value = www };
	routes[1] = (struct config_route){ .kind = ROUTE_FILES, .value = current };
	port_of_upstream = 1;
	servers[0] = (struct config_server){ .kind = SERVER_NAME, .port = port_of_upstream };
	servers[1] = (struct config_server){ .kind = SERVER_UNIX };
	config = (struct config){ .sandbox = SANDBOX_AUTO, .sites = &site, .site_count = 1,
				  .upstreams = &upstream, .upstream_count = 1 };
	refused_count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(refused_count != MAP_FAILED);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"www/a", "releases/1/a", "releases/2/a", "secret", "current", "sock"};
	static const char *const folders[] = {"www", "releases/1", "releases/2", "releases", ""};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unlink(path_of(names[i]));
	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		rmdir(path_of(folders[i]));
	return munmap(refused_count, 4096);
}

/* 0 or -errno, of what the child tried. */
typedef int (*attempt)(void);

#define ENTERED 100 /* the least exit status of a child that got in: 100 + errno */

static int result(long value)
{
	return value < 0 ? -errno : 0;
}

/* The wait status of a child that enters and tries. */
static int run(enum sandbox_mode mode, enum sandbox_role role, attempt try)
{
	struct sandbox s;
	int status;
	pid_t pid;

	config.sandbox = mode;
	assert_int_equal(sandbox_open(&s, &config), 0);
	*refused_count = 0;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		/* The test library has a handler of its own. */
		signal(SIGSYS, SIG_DFL);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || sandbox_enter(&s, role, refused_count) < 0)
			_exit(1);
		_exit(ENTERED - try());
	}
	sandbox_close(&s);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_result(int status, int err, const char *what)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != ENTERED - err)
		fail_msg("%s: wait status 0x%x, expected error %d", what, status, err);
}

static void skip_if_sanitized(void)
{
	if (!COMPAT_IS_SANITIZED)
		return;
	print_message("skipped: under sanitizers most is allowed\n");
	skip();
}

static void need_landlock(int abi)
{
	struct sandbox s;

	config.sandbox = SANDBOX_AUTO;
	assert_int_equal(sandbox_open(&s, &config), 0);
	sandbox_close(&s);
	if (s.landlock_abi >= abi)
		return;
	print_message("skipped: this kernel has Landlock %d, %d is needed\n", s.landlock_abi, abi);
	skip();
}

/* Killed ------------------------------------------------------------------------------------------------------- */

static int try_execve(void)
{
	static char *const words[] = {"/bin/true", NULL};

	return result(execve(words[0], words, NULL));
}

static int try_execveat(void)
{
	return result(syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0));
}

static int try_fork(void)
{
	return result(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int try_ptrace(void)
{
	return result(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int try_bpf(void)
{
	return result(syscall(SYS_bpf, 0, NULL, 0));
}

static int try_mount(void)
{
	return result(mount("none", "/mnt", "tmpfs", 0, NULL));
}

static int try_unshare(void)
{
	return result(syscall(SYS_unshare, 0x10000000));
}

static int try_kill(void)
{
	return result(kill(getppid(), 0));
}

static int try_tgkill(void)
{
	return result(syscall(SYS_tgkill, getppid(), getppid(), 0));
}

static int try_setuid(void)
{
	return result(syscall(SYS_setuid, 0));
}

static int try_open_to_write(void)
{
	return result(open(path_of("www/a"), O_WRONLY));
}

static int try_open_to_update(void)
{
	return result(open(path_of("www/a"), O_RDWR));
}

static int try_create(void)
{
	return result(open(path_of("www/new"), O_WRONLY | O_CREAT, 0644));
}

static int try_unlink(void)
{
	return result(unlink(path_of("www/a")));
}

static int try_mkdir(void)
{
	return result(mkdir(path_of("www/d"), 0755));
}

static int try_chmod(void)
{
	return result(chmod(path_of("www/a"), 0777));
}

static int try_packet_socket(void)
{
	return result(socket(AF_PACKET, SOCK_RAW, 0));
}

static int try_crypto_socket(void)
{
	return result(socket(38 /* AF_ALG */, SOCK_SEQPACKET, 0));
}

static int try_executable_memory(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? -errno : 0;
}

static int try_making_memory_executable(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? 0 : result(mprotect(at, 4096, PROT_READ | PROT_EXEC));
}

static int try_bind(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return result(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof(a)));
}

static int try_memfd(void)
{
	return result(syscall(SYS_memfd_create, "x", 0));
}

static int try_io_uring(void)
{
	return result(syscall(SYS_io_uring_setup, 1, NULL));
}

static int try_perf(void)
{
	return result(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
}

static void sandbox__kills_for_what_no_sane_path_does(void **state)
{
	static const struct {
		const char *what;
		attempt try;
	} cases[] = {
		{"execve", try_execve},
		{"execveat", try_execveat},
		{"fork", try_fork},
		{"ptrace", try_ptrace},
		{"bpf", try_bpf},
		{"mount", try_mount},
		{"unshare", try_unshare},
		{"kill", try_kill},
		{"tgkill of another", try_tgkill},
		{"setuid", try_setuid},
		{"open for writing", try_open_to_write},
		{"open for both", try_open_to_update},
		{"create", try_create},
		{"unlink", try_unlink},
		{"mkdir", try_mkdir},
		{"chmod", try_chmod},
		{"AF_PACKET", try_packet_socket},
		{"AF_ALG", try_crypto_socket},
		{"mmap PROT_EXEC", try_executable_memory},
		{"mprotect PROT_EXEC", try_making_memory_executable},
		{"bind", try_bind},
		{"memfd_create", try_memfd},
		{"io_uring", try_io_uring},
		{"perf_event_open", try_perf},
	};

	skip_if_sanitized();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (unsigned role = 0; role < SANDBOX_ROLE_COUNT; role++) {
			int status = run(SANDBOX_AUTO, (enum sandbox_role)role, cases[i].try);

			if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
				fail_msg("%s, role %u: wait status 0x%x instead of SIGSYS", cases[i].what, role,
					 status);
		}
	}
	assert_int_equal(access(path_of("www/a"), F_OK), 0);
}

/* Refused ------------------------------------------------------------------------------------------------------ */

static int try_netlink(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW, 0));
}

static int try_datagrams(void)
{
	return result(socket(AF_INET, SOCK_DGRAM, 0));
}

static int try_raw_socket(void)
{
	return result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static int try_mptcp(void)
{
	return result(socket(AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */));
}

static int try_socket_filter(void)
{
	int one = 1;

	return result(setsockopt(socket(AF_INET, SOCK_STREAM, 0), SOL_SOCKET, SO_ATTACH_BPF, &one, sizeof(one)));
}

static int try_upper_layer(void)
{
	return result(setsockopt(socket(AF_INET, SOCK_STREAM, 0), IPPROTO_TCP, TCP_ULP, "tls", 3));
}

static int try_prctl(void)
{
	return result(prctl(PR_SET_NAME, "other"));
}

static int try_owner_of_signals(void)
{
	return result(fcntl(0, F_SETOWN, 1));
}

static int try_terminal(void)
{
	char settings[64];

	return result(ioctl(0, TCGETS, settings));
}

static int try_limits(void)
{
	struct rlimit limit;

	return result(getrlimit(RLIMIT_NOFILE, &limit));
}

static int try_unknown(void)
{
	return result(syscall(999));
}

static void sandbox__refuses_and_counts_the_rest(void **state)
{
	static const struct {
		const char *what;
		attempt try;
		bool is_for_monitor;	/* which may do it */
	} cases[] = {
		{"AF_NETLINK", try_netlink, false},
		{"UDP", try_datagrams, true},
		{"raw IP", try_raw_socket, false},
		{"MPTCP", try_mptcp, false},
		{"SO_ATTACH_BPF", try_socket_filter, false},
		{"TCP_ULP", try_upper_layer, false},
		{"prctl", try_prctl, false},
		{"F_SETOWN", try_owner_of_signals, false},
		{"TCGETS", try_terminal, false},
		{"getrlimit", try_limits, false},
		{"a call of the future", try_unknown, false},
	};

	skip_if_sanitized();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, cases[i].try), -EPERM, cases[i].what);
		assert_int_equal(*refused_count, 1);
		assert_result(run(SANDBOX_AUTO, SANDBOX_MONITOR, cases[i].try),
			      cases[i].is_for_monitor ? 0 : -EPERM, cases[i].what);
	}
}

/* What a worker with a listen_udp does all day; an answer is not waited for. */
static int try_udp(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct mmsghdr one = { 0 };

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	if (sendmmsg(fd, &one, 1, 0) < 0 && errno == EPERM)
		return -errno;
	return recvmmsg(fd, &one, 1, 0, NULL) < 0 && errno == EPERM ? -errno : 0;
}

static void sandbox__lets_datagrams_through_where_there_are_any(void **state)
{
	skip_if_sanitized();
	assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, try_udp), -EPERM, "none");
	config.udp_listen_count = 1;
	assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, try_udp), 0, "listen_udp");
	assert_int_equal(*refused_count, 0);
	config.udp_listen_count = 0;
}

static void sandbox__kills_for_all_when_strict(void **state)
{
	static const attempt tries[] = {try_netlink, try_mptcp, try_prctl, try_unknown, try_execve, try_create};

	skip_if_sanitized();
	need_landlock(1); /* without it strict is an error */
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		int status = run(SANDBOX_STRICT, SANDBOX_WORKER, tries[i]);

		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	}
}

static int try_telling(void)
{
	char text[512] = "";
	int pipe_fds[2];
	ssize_t len;

	if (pipe2(pipe_fds, O_NONBLOCK) < 0)
		return -1;
	log_set_fd(pipe_fds[1]);
	for (unsigned i = 0; i < 3; i++) {
		prctl(PR_SET_NAME, "other");
		sandbox_tell();
	}
	len = read(pipe_fds[0], text, sizeof(text) - 1);
	return len > 0 && strstr(text, "refused the system call prctl") && strchr(text, '\n') == text + len - 1
		       ? 0
		       : -1;
}

static void sandbox__tells_of_a_refused_call_once(void **state)
{
	skip_if_sanitized();
	assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, try_telling), 0, "told");
	assert_int_equal(*refused_count, 3);
}

/* Files -------------------------------------------------------------------------------------------------------- */

static int open_and_read(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		return -errno;
	return read(fd, &byte, 1) == 1 ? 0 : -EIO;
}

static int open_beneath(const char *folder, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags, .resolve = RESOLVE_BENEATH };
	int dir = open(folder, O_PATH | O_DIRECTORY);

	return dir < 0 ? -errno : result(syscall(SYS_openat2, dir, path, &how, sizeof(how)));
}

static int try_served_file(void)
{
	return open_and_read(path_of("www/a"));
}

static int try_served_file_beneath(void)
{
	return open_beneath(path_of("www"), "a", O_RDONLY);
}

static int try_listing(void)
{
	DIR *dir = opendir(path_of("www"));

	return dir && readdir(dir) ? 0 : -errno;
}

static int try_current_release(void)
{
	return open_and_read(path_of("current/a"));
}

static int try_next_release(void)
{
	return open_and_read(path_of("releases/2/a"));
}

static int try_dev_null(void)
{
	return result(open("/dev/null", O_RDONLY));
}

static int try_secret(void)
{
	return open_and_read(path_of("secret"));
}

static int try_secret_beneath(void)
{
	return open_beneath(base, "secret", O_RDONLY);
}

static int try_passwd(void)
{
	return open_and_read("/etc/passwd");
}

/* The filter cannot see the flags of openat2. */
static int try_writing_beneath(void)
{
	return open_beneath(path_of("www"), "a", O_WRONLY);
}

static int try_truncating_beneath(void)
{
	return open_beneath(path_of("www"), "a", O_WRONLY | O_TRUNC);
}

static void sandbox__fences_files(void **state)
{
	static const struct {
		const char *what;
		attempt try;
		int worker, monitor;
	} cases[] = {
		{"a served file", try_served_file, 0, -EACCES},
		{"the same by its folder", try_served_file_beneath, 0, -EPERM},
		{"the served folder", try_listing, 0, -EACCES},
		{"through a link", try_current_release, 0, -EACCES},
		{"where the link may lead next", try_next_release, 0, -EACCES},
		{"/dev/null", try_dev_null, 0, -EACCES},
		{"a file beside them", try_secret, -EACCES, -EACCES},
		{"the same by its folder", try_secret_beneath, -EACCES, -EPERM},
		{"/etc/passwd", try_passwd, -EACCES, 0},
		{"writing by openat2", try_writing_beneath, -EACCES, -EPERM},
		{"truncating by openat2", try_truncating_beneath, -EACCES, -EPERM},
	};

	skip_if_sanitized();
	need_landlock(1);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, cases[i].try), cases[i].worker, cases[i].what);
		assert_result(run(SANDBOX_AUTO, SANDBOX_MONITOR, cases[i].try), cases[i].monitor, cases[i].what);
	}
}

static void sandbox__reads_everything_where_links_may_lead_anywhere(void **state)
{
	struct config_route *route = &config.sites[0].routes[0];

	skip_if_sanitized();
	need_landlock(1);
	route->allows_symlinks = true;
	assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, try_secret), 0, "a file beside");
	assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, try_writing_beneath), -EACCES, "writing");
	route->allows_symlinks = false;
}

/* Network ------------------------------------------------------------------------------------------------------ */

static int connect_to(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return result(connect(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&a, sizeof(a)));
}

/* Nobody listens on port 1: what says so is the other side. */
static int try_upstream(void)
{
	return connect_to(port_of_upstream);
}

static int try_elsewhere(void)
{
	return connect_to((uint16_t)(port_of_upstream + 1));
}

static int try_unix_upstream(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path_of("sock"));
	return result(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof(a)));
}

static void sandbox__lets_the_sharer_reach_its_redis_only(void **state)
{
	struct config_server server = { .kind = SERVER_NAME, .port = (uint16_t)(port_of_upstream + 1) };
	struct config_redis redis = { .name = "main", .upstream = { .servers = &server, .server_count = 1 } };

	need_landlock(4);
	config.redis = &redis;
	config.redis_count = 1;
	config.limits.redis = redis.name;
	assert_result(run(SANDBOX_AUTO, SANDBOX_SHARER, try_elsewhere), -ECONNREFUSED, "its redis");
	assert_result(run(SANDBOX_AUTO, SANDBOX_SHARER, try_upstream), -EACCES, "an upstream");
	assert_result(run(SANDBOX_AUTO, SANDBOX_SHARER, try_passwd), COMPAT_IS_SANITIZED ? 0 : -EACCES, "/etc/passwd");
	config.redis = NULL;
	config.redis_count = 0;
	config.limits.redis = NULL;
	assert_result(run(SANDBOX_AUTO, SANDBOX_SHARER, try_elsewhere), -EACCES, "there is none");
}

static void sandbox__connects_to_upstreams_only(void **state)
{
	need_landlock(4);
	assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, try_upstream), -ECONNREFUSED, "the upstream");
	assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, try_elsewhere), -EACCES, "another port");
	assert_result(run(SANDBOX_AUTO, SANDBOX_MONITOR, try_elsewhere), -ECONNREFUSED, "monitor");
	config.upstreams[0].servers[1].kind = SERVER_SRV;
	assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, try_elsewhere), -ECONNREFUSED, "any port of an SRV record");
	config.upstreams[0].servers[1].kind = SERVER_UNIX;
}

static void sandbox__reaches_unix_sockets(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path_of("sock"));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_result(run(SANDBOX_AUTO, SANDBOX_WORKER, try_unix_upstream), 0, "connect");
	close(fd);
}

/* Whole -------------------------------------------------------------------------------------------------------- */

static int try_abort(void)
{
	abort();
}

static void sandbox__lets_a_process_abort(void **state)
{
	int status = run(SANDBOX_AUTO, SANDBOX_WORKER, try_abort);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* Pipes, splice, sendfile, memory, time: what needs no peer. */
static int try_everyday_calls(void)
{
	char *memory = malloc(1 << 20), *more;
	struct timespec now;
	int fds[2], file;

	if (!memory || pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0 || fcntl(fds[1], F_SETPIPE_SZ, 1 << 16) < 0)
		return -1;
	more = realloc(memory, 1 << 24);
	free(more ? more : memory);
	file = open(path_of("www/a"), O_RDONLY | O_CLOEXEC);
	if (file < 0 || splice(file, NULL, fds[1], NULL, 5, 0) != 5)
		return -2;
	/* The time as a machine without a usable counter asks for it. */
	return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) < 0 ? -3 : 0;
}

static void sandbox__lets_the_everyday_calls_through(void **state)
{
	need_landlock(1);
	assert_result(run(SANDBOX_STRICT, SANDBOX_WORKER, try_everyday_calls), 0, "strict");
	assert_int_equal(*refused_count, 0);
}

static int try_sigsys(void)
{
	return raise(SIGSYS) + 1;
}

/* From whomever it comes: only the kernel's own means a refusal. */
static void sandbox__dies_of_a_signal_that_only_looks_like_a_refusal(void **state)
{
	int status = run(SANDBOX_AUTO, SANDBOX_WORKER, try_sigsys);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	assert_int_equal(*refused_count, 0);
}

static int try_nothing(void)
{
	return 0;
}

static void sandbox__off_leaves_all_as_it_is(void **state)
{
	assert_result(run(SANDBOX_OFF, SANDBOX_WORKER, try_prctl), 0, "prctl");
	assert_result(run(SANDBOX_OFF, SANDBOX_WORKER, try_secret), 0, "files");
	assert_result(run(SANDBOX_OFF, SANDBOX_WORKER, try_nothing), 0, "nothing");
}

static void sandbox__says_what_is_missing(void **state)
{
	struct sandbox s = { .mode = SANDBOX_AUTO, .has_seccomp = true, .landlock_abi = 1 };

	assert_null(sandbox_why(&s));
	s.landlock_abi = 0;
	assert_non_null(strstr(sandbox_why(&s), "no Landlock"));
	s.has_seccomp = false;
	assert_non_null(strstr(sandbox_why(&s), "neither"));
	s.landlock_abi = 1;
	assert_non_null(strstr(sandbox_why(&s), "no seccomp"));
	s.mode = SANDBOX_OFF;
	assert_string_equal(sandbox_why(&s), "turned off");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sandbox__kills_for_what_no_sane_path_does),
		cmocka_unit_test(sandbox__refuses_and_counts_the_rest),
		cmocka_unit_test(sandbox__lets_datagrams_through_where_there_are_any),
		cmocka_unit_test(sandbox__kills_for_all_when_strict),
		cmocka_unit_test(sandbox__tells_of_a_refused_call_once),
		cmocka_unit_test(sandbox__fences_files),
		cmocka_unit_test(sandbox__reads_everything_where_links_may_lead_anywhere),
		cmocka_unit_test(sandbox__lets_the_sharer_reach_its_redis_only),
		cmocka_unit_test(sandbox__connects_to_upstreams_only),
		cmocka_unit_test(sandbox__reaches_unix_sockets),
		cmocka_unit_test(sandbox__lets_a_process_abort),
		cmocka_unit_test(sandbox__lets_the_everyday_calls_through),
		cmocka_unit_test(sandbox__dies_of_a_signal_that_only_looks_like_a_refusal),
		cmocka_unit_test(sandbox__off_leaves_all_as_it_is),
		cmocka_unit_test(sandbox__says_what_is_missing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
