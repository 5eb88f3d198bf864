/* SPDX-License-Identifier: MIT */
/*
 * From a path to what answers it.  Everything is looked at with O_PATH first and only regular files
 * are opened, so that no FIFO is woken and no device touched; a file that is already open and
 * unchanged is kept.
 */
#include "app/static_route.h"

#include <fcntl.h>
#include <stdlib.h>

#include "app/escape.h"
#include "app/mime.h"
#include "base/log.h"

#define SHED_TRIES 4

/* Names a hidden file?  "/.well-known/" (RFC 8615) is served in the root of a site alone. */
static bool is_hidden(struct span path, size_t from)
{
	for (size_t i = from; i < path.len; i++) {
		struct span rest = span_of(path.ptr + i, path.len - i);

		if (path.ptr[i] != '.' || (i > from && path.ptr[i - 1] != '/'))
			continue;
		if (i == 1 && (span_starts_with(rest, SPAN(".well-known/")) ||
			       span_eq(rest, SPAN(".well-known"))))
			continue;
		return true;
	}
	return false;
}

/* The parser has removed dot segments already; this is the second lock, and the kernel's
 * RESOLVE_BENEATH the third. */
static bool has_dot_segment(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		size_t len = 0;

		if (s.ptr[i] != '.' || (i && s.ptr[i - 1] != '/'))
			continue;
		while (i + len < s.len && s.ptr[i + len] != '/')
			len++;
		if (len == 1 || (len == 2 && s.ptr[i + 1] == '.'))
			return true;
	}
	return false;
}

int static_relative(const struct static_route *r, struct span path, char to[RELATIVE_SIZE])
{
	size_t from = MIN(r->prefix_len, path.len);

	if (from && path.ptr[from - 1] == '/')
		from--;
	while (from < path.len && path.ptr[from] == '/')
		from++;
	if (path.len - from >= RELATIVE_SIZE || (path.len && memchr(path.ptr, '\0', path.len)))
		return -ENOENT;
	if (!r->shows_hidden && is_hidden(path, from))
		return -ENOENT;
	if (path.len > from)
		memcpy(to, path.ptr + from, path.len - from);
	to[path.len - from] = '\0';
	return has_dot_segment(span_str(to)) ? -ENOENT : 0;
}

unsigned static_status_of(int err)
{
	switch (-err) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case EXDEV:
	case ENAMETOOLONG:
	case ENXIO:
		return 404;
	case EACCES:
	case EPERM:
		return 403;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case EAGAIN:
		return 503;
	default:
		return 500;
	}
}

static bool is_out_of_fds(int err)
{
	return err == -EMFILE || err == -ENFILE;
}

static int look(struct static_route *r, const char *relative, struct stat *st)
{
	int err = beneath_stat(&r->root, relative, st);

	for (int i = 0; i < SHED_TRIES && is_out_of_fds(err) && file_cache_shed(r->cache); i++)
		err = beneath_stat(&r->root, relative, st);
	return err;
}

static int load(struct static_route *r, struct file_source *s, uint64_t size,
		struct file **ret_file)
{
	int err;

	s->in_memory = file_cache_reserve(r->cache, size);
	s->size_max = size;
	err = file_load(s, file_cache_usage(r->cache), ret_file);
	for (int i = 0; i < SHED_TRIES && is_out_of_fds(err) && file_cache_shed(r->cache); i++)
		err = file_load(s, file_cache_usage(r->cache), ret_file);
	return err;
}

/* Is the file that was open before good for another while?  One that was fresh must be read again.
 */
static bool is_current(const struct file *f, const struct stat *st)
{
	return f && !f->is_fresh && !f->is_changing && file_is_same(f, st);
}

static void set_status(struct file_entry *e, unsigned status)
{
	e->kind = ENTRY_STATUS;
	e->status = (uint16_t)status;
}

static void set_error(struct file_entry *e, int err)
{
	static struct log_seldom seldom;
	const char *more;
	char text[256];
	struct buf b;

	set_status(e, static_status_of(err));
	if (e->status < 500 || !(more = log_seldom(&seldom)))
		return;
	buf_init(&b, text, sizeof(text));
	escape_path(&b, span_of(e->path, e->path_len));
	log_error("cannot serve '%.*s': %s%s", (int)b.len, text, strerror(-err), more);
}

static void set_file(struct file_entry *e, enum encoding encoding, struct file *f)
{
	if (e->files[encoding] != f)
		file_put(e->files[encoding]);
	e->files[encoding] = f;
}

/* A sibling older than its original was made from another one. */
static bool is_older(const struct stat *a, const struct stat *b)
{
	if (a->st_mtim.tv_sec != b->st_mtim.tv_sec)
		return a->st_mtim.tv_sec < b->st_mtim.tv_sec;
	return a->st_mtim.tv_nsec < b->st_mtim.tv_nsec;
}

/* FILE.br and so on; whatever is wrong with one, the original serves. */
static void resolve_sibling(struct static_route *r, struct file_entry *e, const char *relative,
			    enum encoding encoding, const struct stat *original, struct span type)
{
	struct span suffix = encoding_suffix(encoding);
	struct file_source s = {.root = &r->root, .type = type, .encoding = encoding};
	char name[RELATIVE_SIZE + 8];
	struct file *f = NULL;
	struct stat st;
	struct buf b;

	buf_init(&b, name, sizeof(name));
	buf_add_span(&b, span_str(relative));
	buf_add_span(&b, suffix);
	buf_add_char(&b, '\0');
	if (look(r, name, &st) == 0 && S_ISREG(st.st_mode) && !is_older(&st, original)) {
		s.path = name;
		if (is_current(e->files[encoding], &st))
			f = e->files[encoding];
		else if (load(r, &s, (uint64_t)st.st_size, &f))
			f = NULL;
	}
	set_file(e, encoding, f);
	if (f)
		e->encodings |= (uint8_t)(1u << encoding);
}

static struct span type_of(const struct static_route *r, const char *relative)
{
	struct span type = mime_of(span_str(relative));

	return type.ptr ? type : span_str(r->default_type);
}

static void resolve_file(struct static_route *r, struct file_entry *e, const char *relative,
			 const struct stat *st)
{
	struct file_source s = {.root = &r->root,
				.path = relative,
				.type = type_of(r, relative),
				.encoding = ENCODING_IDENTITY};
	struct file *f = e->files[ENCODING_IDENTITY];
	int err;

	if (!is_current(f, st)) {
		err = load(r, &s, (uint64_t)st->st_size, &f);
		if (err) {
			set_error(e, err);
			return;
		}
		set_file(e, ENCODING_IDENTITY, f);
	}
	e->kind = ENTRY_FILE;
	for (unsigned i = 0; r->has_precompressed && i < ENCODING_FILE_COUNT; i++)
		resolve_sibling(r, e, relative, i, st, s.type);
}

/* "" or "a/b/": the first index that is a regular file, else the folder itself. */
static void resolve_folder(struct static_route *r, struct file_entry *e, const char *relative)
{
	char name[RELATIVE_SIZE];
	struct stat st;
	int err;

	for (unsigned i = 0; i < r->index_count; i++) {
		struct buf b;

		buf_init(&b, name, sizeof(name));
		buf_add_span(&b, span_str(relative));
		buf_add_span(&b, span_str(r->index[i]));
		buf_add_char(&b, '\0');
		err = b.is_truncated ? -ENAMETOOLONG : look(r, name, &st);
		if (err == 0 && S_ISREG(st.st_mode)) {
			resolve_file(r, e, name, &st);
			return;
		}
		if (err && static_status_of(err) != 404) {
			set_error(e, err);
			return;
		}
	}
	err = look(r, relative, &st);
	if (err)
		set_error(e, err);
	else if (!S_ISDIR(st.st_mode))
		set_status(e, 404);
	else if (r->has_listing)
		e->kind = ENTRY_LISTING;
	else
		set_status(e, 403);
}

static void resolve_path(struct static_route *r, struct file_entry *e, const char *relative)
{
	struct stat st;
	int err;

	if (e->path_len && e->path[e->path_len - 1] == '/') {
		resolve_folder(r, e, relative);
		return;
	}
	err = look(r, relative, &st);
	if (err)
		set_error(e, err);
	else if (S_ISDIR(st.st_mode))
		e->kind = ENTRY_REDIRECT;
	else if (S_ISREG(st.st_mode))
		resolve_file(r, e, relative, &st);
	else
		set_status(e, 404);
}

void static_resolve(struct static_route *r, struct file_entry *e)
{
	char relative[RELATIVE_SIZE];

	e->encodings = 0;
	if (static_relative(r, span_of(e->path, e->path_len), relative))
		set_status(e, 404);
	else
		resolve_path(r, e, relative);
	if (e->kind == ENTRY_FILE)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(e->files); i++)
		set_file(e, i, NULL);
}
