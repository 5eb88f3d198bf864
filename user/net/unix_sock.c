/* SPDX-License-Identifier: MIT */
/*
 * Unix stream sockets by path.  The delicate part is to replace the file of a dead server without
 * ever removing that of a live one: whoever looks and then removes holds a lock on the folder
 * meanwhile.
 */
#include "net/unix_sock.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES   50
#define LOCK_WAIT_NS 10000000 /* 10 ms */

static int fill_addr(struct sockaddr_un *addr, const char *path)
{
	size_t len = strlen(path);

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (len == 0)
		return -ENOENT;
	if (len >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	memcpy(addr->sun_path, path, len + 1);
	return 0;
}

static int connect_addr(int fd, const struct sockaddr_un *addr)
{
	int result;

	do {
		result = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	} while (result < 0 && errno == EINTR);
	return result < 0 ? -errno : 0;
}

/* Opens the folder of the path, makes it first where it is missing.  Descriptor or -errno. */
static int open_folder(const char *path, const char **ret_step)
{
	char copy[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *folder;
	int fd;

	memcpy(copy, path, strlen(path) + 1);
	folder = dirname(copy);
	*ret_step = "mkdir";
	if (mkdir(folder, 0755) < 0 && errno != EEXIST && access(folder, F_OK) != 0)
		return -errno;
	*ret_step = "open folder";
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * Two servers that start at once must not both find a dead socket and remove each other's new one.
 * The wait is bounded, and then goes on without the lock: anybody who may read the folder could
 * hold it for ever.
 */
static void lock_folder(int fd)
{
	const struct timespec pause = {.tv_nsec = LOCK_WAIT_NS};

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
			return;
		nanosleep(&pause, NULL);
	}
}

/* Removes a socket file that nobody listens on.  0 also when there is none. */
static int remove_stale(const struct sockaddr_un *addr, const char **ret_step)
{
	struct stat st;
	int fd, err;

	*ret_step = "look at what lies there";
	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	/* connect() answers ECONNREFUSED for any other file too, and then a user's file would be
	 * removed. */
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = connect_addr(fd, addr);
	close(fd);
	/* EAGAIN: its queue is full, so it is alive. */
	if (err == 0 || err == -EAGAIN)
		return -EADDRINUSE;
	if (err != -ECONNREFUSED)
		return err;
	*ret_step = "unlink";
	return unlink(addr->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_and_listen(struct unix_listener *l, const struct sockaddr_un *addr, int backlog,
			   const char **ret_step)
{
	struct stat st;

	*ret_step = "socket";
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return -errno;
	/* The file inherits the mode of the unbound socket: there is no moment in which it is open
	 * to others. */
	*ret_step = "fchmod";
	if (fchmod(l->fd, 0600) < 0)
		return -errno;
	*ret_step = "bind";
	if (bind(l->fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return -errno;
	*ret_step = "stat";
	if (lstat(addr->sun_path, &st) < 0)
		return -errno;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	memcpy(l->path, addr->sun_path, sizeof(l->path));
	*ret_step = "listen";
	return listen(l->fd, backlog) < 0 ? -errno : 0;
}

int unix_listen(struct unix_listener *l, const char *path, int backlog, const char **ret_step)
{
	struct sockaddr_un addr;
	int folder, err;

	memset(l, 0, sizeof(*l));
	l->fd = -1;
	*ret_step = "path";
	err = fill_addr(&addr, path);
	if (err)
		return err;
	folder = open_folder(path, ret_step);
	if (folder < 0)
		return folder;
	lock_folder(folder);
	err = remove_stale(&addr, ret_step);
	if (!err)
		err = bind_and_listen(l, &addr, backlog, ret_step);
	if (err)
		unix_unlisten(l);
	close(folder);
	return err;
}

int unix_adopt(struct unix_listener *l, int fd, const char *path, int backlog)
{
	struct sockaddr_un addr;
	struct stat st;
	int err;

	memset(l, 0, sizeof(*l));
	l->fd = -1;
	err = fill_addr(&addr, path);
	if (err)
		return err;
	if (listen(fd, backlog) < 0)
		return -errno;
	/* A file that somebody has replaced or removed is nothing of ours to remove; who has the socket is served. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		l->dev = st.st_dev;
		l->ino = st.st_ino;
		memcpy(l->path, addr.sun_path, sizeof(l->path));
	}
	l->fd = fd;
	return 0;
}

void unix_leave(struct unix_listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

void unix_unlisten(struct unix_listener *l)
{
	struct stat st;

	if (l->fd < 0)
		return;
	if (l->path[0] && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	close(l->fd);
	l->fd = -1;
}

int unix_connect(const char *path, uint64_t timeout_ms)
{
	struct timeval limit = {.tv_sec = (time_t)(timeout_ms / 1000),
				.tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000)};
	struct sockaddr_un addr;
	int fd, err;

	err = fill_addr(&addr, path);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A full queue makes connect() wait, and only this option bounds the wait: poll() knows
	 * nothing of it. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		err = -errno;
	if (!err)
		err = connect_addr(fd, &addr);
	if (!err && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

int unix_accept(int fd)
{
	int peer;

	do {
		peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (peer < 0 && (errno == EINTR || errno == ECONNABORTED));
	return peer < 0 ? -errno : peer;
}

int unix_peer(int fd, struct ucred *ret_peer)
{
	socklen_t len = sizeof(*ret_peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &len) < 0 ? -errno : 0;
}

ssize_t unix_read(int fd, void *to, size_t len)
{
	ssize_t got;

	do {
		got = recv(fd, to, len, 0);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

ssize_t unix_write(int fd, const void *from, size_t len)
{
	ssize_t sent;

	do {
		sent = send(fd, from, len, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}
