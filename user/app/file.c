/* SPDX-License-Identifier: MIT */
/*
 * Contents are copied into memory, never mapped: a file truncated by somebody else must not become
 * a SIGBUS.
 *
 * The entity tag is made of inode, size and modification time in ns.  The device number is left out
 * because it may change with every mount; the inode is in, because files made reproducibly (time
 * stamp 0 or 1, equal size) are common and a replaced one would keep its tag.  Within a second of
 * its last change the tag is weak: another write may fall into the same tick of the file system's
 * clock (RFC 9110 8.8.1).
 */
#include "app/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"

#define FRESH_NS   NS_PER_SEC
#define SKEW_MAX_S 10 /* a stamp further in the future was set on purpose, not by a write */

static uint64_t stamp_ns(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * NS_PER_SEC + (uint64_t)ts->tv_nsec;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool file_is_same(const struct file *f, const struct stat *st)
{
	return f->ino == st->st_ino && f->dev == st->st_dev && f->size == (uint64_t)st->st_size &&
	       is_same_time(&f->mtime, &st->st_mtim) && is_same_time(&f->ctime, &st->st_ctim);
}

static bool is_fresh(const struct timespec *mtime, uint64_t now_ns)
{
	int64_t age_ns = (int64_t)(now_ns - stamp_ns(mtime));

	return age_ns < (int64_t)FRESH_NS && age_ns > -(int64_t)(SKEW_MAX_S * NS_PER_SEC);
}

static void note_stat(struct file *f, const struct stat *st)
{
	uint64_t now_ns = clock_wall_ns();
	int64_t now_s = (int64_t)(now_ns / NS_PER_SEC);
	struct buf b;

	f->size = (uint64_t)st->st_size;
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->mtime = st->st_mtim;
	f->ctime = st->st_ctim;
	f->is_fresh = is_fresh(&f->mtime, now_ns);
	/* RFC 9110 8.8.2.1: never a date in the future; nor one that has no year of four digits. */
	f->modified_s = MAX(MIN((int64_t)f->mtime.tv_sec, now_s), 0);
	http_date_print(f->modified_s, f->modified);
	buf_init(&b, f->etag, sizeof(f->etag));
	if (f->is_fresh)
		buf_add_lit(&b, "W/");
	buf_add_char(&b, '"');
	buf_add_hex(&b, f->ino);
	buf_add_char(&b, '-');
	buf_add_hex(&b, f->size);
	buf_add_char(&b, '-');
	buf_add_hex(&b, stamp_ns(&f->mtime));
	buf_add_char(&b, '"');
	f->etag_len = (uint8_t)b.len;
}

static void drop_content(struct file *f)
{
	if (!f->content)
		return;
	free(f->content);
	f->content = NULL;
	f->usage->content_bytes -= f->size;
}

static void close_fd(struct file *f)
{
	if (f->fd < 0)
		return;
	close(f->fd);
	f->fd = -1;
	f->usage->fd_count--;
}

static void on_release(struct hold *h)
{
	struct file *f = container_of(h, struct file, hold);
	struct file_usage *usage = f->usage;

	drop_content(f);
	close_fd(f);
	free(f->head);
	free(f);
	if (--usage->file_count == 0 && usage->is_orphan)
		free(usage);
}

/* Exactly f->size bytes; false when the file has become shorter or cannot be read. */
static bool read_exactly(struct file *f)
{
	uint64_t done = 0;

	while (done < f->size) {
		ssize_t n = pread(f->fd, f->content + done, f->size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (uint64_t)n;
	}
	return true;
}

/* Fails silently: then the descriptor serves, and shows a real fault of the disk to the one who
 * sends. */
static void read_content(struct file *f)
{
	struct stat st;

	f->content = malloc(f->size ? f->size : 1);
	if (!f->content)
		return;
	f->usage->content_bytes += f->size;
	if (read_exactly(f) && fstat(f->fd, &st) == 0 && file_is_same(f, &st)) {
		close_fd(f);
		return;
	}
	drop_content(f);
	f->is_changing = true;
	if (fstat(f->fd, &st) == 0)
		note_stat(f, &st);
}

static struct file *file_new(int fd, struct file_usage *usage)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	hold_init(&f->hold, on_release);
	f->fd = fd;
	f->usage = usage;
	usage->fd_count++;
	usage->file_count++;
	return f;
}

/* Everything beside type and encoding: names, entity tag, date, line ends. */
#define HEAD_BASE 256

static int make_head(struct file *f)
{
	size_t room = HEAD_BASE + f->type.len + encoding_name(f->encoding).len;
	struct buf b;

	f->head = malloc(room);
	if (!f->head)
		return -ENOMEM;
	buf_init(&b, f->head, room);
	buf_add_lit(&b, "Content-Type: ");
	buf_add_span(&b, f->type);
	buf_add_lit(&b, "\r\n");
	f->type_len = (unsigned)b.len;
	buf_add_lit(&b, "ETag: ");
	buf_add_span(&b, file_etag(f));
	buf_add_lit(&b, "\r\nLast-Modified: ");
	buf_add(&b, f->modified, HTTP_DATE_LEN);
	buf_add_lit(&b, "\r\nAccept-Ranges: bytes\r\n");
	if (f->encoding != ENCODING_IDENTITY) {
		buf_add_lit(&b, "Content-Encoding: ");
		buf_add_span(&b, encoding_name(f->encoding));
		buf_add_lit(&b, "\r\n");
	}
	f->head_len = (unsigned)b.len - f->type_len;
	buf_add_lit(&b, "Vary: Accept-Encoding\r\n");
	f->vary_len = (unsigned)b.len - f->type_len - f->head_len;
	BUG_ON(b.is_truncated);
	return 0;
}

struct span file_head(const struct file *f, unsigned parts)
{
	unsigned skipped = parts & FILE_HEAD_TYPE ? 0 : f->type_len;
	unsigned end = f->type_len + f->head_len + (parts & FILE_HEAD_VARY ? f->vary_len : 0);

	return span_of(f->head + skipped, end - skipped);
}

int file_load(const struct file_source *s, struct file_usage *usage, struct file **ret_file)
{
	int fd = beneath_open(s->root, s->path, O_RDONLY);
	struct file *f;
	struct stat st;

	if (fd < 0)
		return fd;
	/* Looked at before, but it may have been replaced since. */
	if (fstat(fd, &st)) {
		int err = -errno;

		close(fd);
		return err;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return -ENOENT;
	}
	f = file_new(fd, usage);
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	f->type = s->type;
	f->encoding = s->encoding;
	note_stat(f, &st);
	if (s->in_memory && f->size <= s->size_max)
		read_content(f);
	if (make_head(f)) {
		file_put(f);
		return -ENOMEM;
	}
	*ret_file = f;
	return 0;
}

void file_write(struct file *f, struct reply *reply, uint64_t offset, uint64_t len)
{
	if (f->content)
		reply_write_held(reply, span_of(f->content + offset, len), &f->hold);
	else
		reply_write_file(reply, f->fd, (off_t)offset, len, &f->hold);
}
