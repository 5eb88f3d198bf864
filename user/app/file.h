/* SPDX-License-Identifier: MIT */
/*
 * One open file as the replies need it: contents in memory or a descriptor, and the texts that its
 * heads repeat. Shared between the cache and the replies in flight by its hold; never written after
 * file_load.
 */
#ifndef SLUICE_APP_FILE_H
#define SLUICE_APP_FILE_H

#include <stdint.h>
#include <sys/stat.h>

#include "app/beneath.h"
#include "app/encoding.h"
#include "base/hold.h"
#include "base/span.h"
#include "http/reply.h"

/* What the files of one cache use together; outlives the cache until the last file has gone. */
struct file_usage {
	uint64_t content_bytes; /* contents in memory, files in flight included */
	unsigned fd_count;	/* descriptors kept open, likewise */
	unsigned file_count;
	bool is_orphan; /* the cache is gone: the last file frees this */
};

#define FILE_ETAG_SIZE 56 /* W/ "ino-size-mtime" in hexadecimal */

struct file {
	struct hold hold;
	int fd;	       /* -1: the contents are in memory */
	char *content; /* NULL: they are behind fd */
	uint64_t size;
	struct span type; /* Content-Type; lives as long as the process or the route */
	enum encoding encoding;
	bool is_fresh; /* changed within the second before it was read: may change again under the
			  same stamp */
	bool is_changing; /* was written to while it was read: contents not kept, must not be used
			     again */
	uint8_t etag_len;
	char etag[FILE_ETAG_SIZE];
	char modified[HTTP_DATE_LEN];
	unsigned type_len;	    /* of `head`: the line of Content-Type */
	unsigned head_len, vary_len; /* the lines after it up to Vary; that one */
	char *head;		    /* fields as they are sent, see file_head */
	int64_t modified_s;
	dev_t dev;
	ino_t ino;
	struct timespec mtime, ctime;
	struct file_usage *usage;
};

struct file_source {
	struct beneath *root;
	const char *path; /* below root */
	struct span type;
	enum encoding encoding;
	bool in_memory;	   /* read the contents and close the descriptor ... */
	uint64_t size_max; /* ... unless the file has grown beyond what there is room for */
};

/*
 * Opens and reads.  The caller is the first holder.  0 or -errno; -ENOENT also for what turned out
 * to be no regular file.  Without memory for the contents the descriptor serves.
 */
int file_load(const struct file_source *s, struct file_usage *usage, struct file **ret_file);

/* Is this still the same file, unchanged? */
bool file_is_same(const struct file *f, const struct stat *st);

static inline struct span file_etag(const struct file *f)
{
	return span_of(f->etag, f->etag_len);
}

static inline void file_put(struct file *f)
{
	if (f)
		hold_put(&f->hold);
}

/* Which fields of a head are wanted. */
enum file_head_part {
	FILE_HEAD_TYPE = 1 << 0, /* Content-Type; without it: of something made of the file, which has a type of its own */
	FILE_HEAD_VARY = 1 << 1, /* the path has several encodings */
};

/*
 * The field lines that depend on nothing but the file, made once and copied as a whole (reply.block): ETag, Last-Modified,
 * Accept-Ranges, Content-Encoding where there is one, and those asked for.  Lives as long as the file.
 */
struct span file_head(const struct file *f, unsigned parts);

/* The content [offset, offset + len) to a reply that has begun. */
void file_write(struct file *f, struct reply *reply, uint64_t offset, uint64_t len);

#endif
