/* SPDX-License-Identifier: MIT */
/*
 * A folder as a page.  Bounded (LISTING_MAX entries, said on the page when there are more), folders
 * first, by name. Only what would be served is listed, and a link is judged by what it leads to
 * below the root.
 */
#include "app/static_route.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "app/escape.h"

#define LISTING_MAX 10000

struct item {
	char *name;
	bool is_dir;
	uint64_t size;
	time_t mtime_s;
};

struct listing {
	struct item *items;
	size_t count, room;
	size_t name_bytes;
	bool is_cut;
};

struct page {
	struct hold hold;
	struct buf text;
	char memory[];
};

static int compare(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->is_dir != y->is_dir)
		return x->is_dir ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int add_item(struct listing *l, const char *name, const struct stat *st)
{
	struct item *items = l->items;

	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 64;

		items = realloc(l->items, room * sizeof(*items));
		if (!items)
			return -ENOMEM;
		l->items = items;
		l->room = room;
	}
	items[l->count] = (struct item){.name = strdup(name),
					.is_dir = S_ISDIR(st->st_mode),
					.size = (uint64_t)st->st_size,
					.mtime_s = st->st_mtim.tv_sec};
	if (!items[l->count].name)
		return -ENOMEM;
	l->name_bytes += strlen(name);
	l->count++;
	return 0;
}

static int look_at(struct static_route *r, int dir_fd, const char *relative, const char *name,
		   struct stat *st)
{
	char path[RELATIVE_SIZE + NAME_MAX + 1];
	struct buf b;

	if (fstatat(dir_fd, name, st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!S_ISLNK(st->st_mode))
		return 0;
	buf_init(&b, path, sizeof(path));
	buf_add_span(&b, span_str(relative));
	buf_add_span(&b, span_str(name));
	buf_add_char(&b, '\0');
	return b.is_truncated ? -ENAMETOOLONG : beneath_stat(&r->root, path, st);
}

static int read_folder(struct static_route *r, DIR *dir, const char *relative, struct listing *l)
{
	struct dirent *d;
	struct stat st;
	int err = 0;

	while (!err && (d = readdir(dir))) {
		if (d->d_name[0] == '.' &&
		    (!r->shows_hidden || !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..")))
			continue;
		if (l->count == LISTING_MAX) {
			l->is_cut = true;
			break;
		}
		if (look_at(r, dirfd(dir), relative, d->d_name, &st))
			continue; /* went away meanwhile, or leads outside */
		if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
			err = add_item(l, d->d_name, &st);
	}
	if (l->count)
		qsort(l->items, l->count, sizeof(*l->items), compare);
	return err;
}

static int list_folder(struct static_route *r, const char *relative, struct listing *l)
{
	int fd = beneath_open(&r->root, relative, O_RDONLY | O_DIRECTORY);
	DIR *dir;
	int err;

	if ((fd == -EMFILE || fd == -ENFILE) && file_cache_shed(r->cache))
		fd = beneath_open(&r->root, relative, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		err = -errno;
		close(fd);
		return err;
	}
	err = read_folder(r, dir, relative, l);
	closedir(dir);
	return err;
}

static void listing_fini(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i].name);
	free(l->items);
}

static void print_row(struct buf *b, const struct item *i)
{
	struct span slash = i->is_dir ? SPAN("/") : SPAN("");
	struct tm tm;

	buf_add_lit(b, "<tr><td><a href=\"");
	escape_segment(b, span_str(i->name));
	buf_add_span(b, slash);
	buf_add_lit(b, "\">");
	escape_html(b, span_str(i->name));
	buf_add_span(b, slash);
	buf_add_lit(b, "</a></td><td>");
	if (!i->is_dir)
		buf_add_u64(b, i->size);
	buf_add_lit(b, "</td><td>");
	if (gmtime_r(&i->mtime_s, &tm))
		buf_printf(b, "%04d-%02d-%02d %02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
			   tm.tm_mday, tm.tm_hour, tm.tm_min);
	buf_add_lit(b, "</td></tr>\n");
}

static void print_page(struct buf *b, struct span path, const struct listing *l)
{
	buf_add_lit(b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
	escape_html(b, path);
	buf_add_lit(b, "</title><style>body{font-family:sans-serif}td{padding:0 1em 0 0}"
		       "td+td{text-align:right}</style></head>\n<body><h1>");
	escape_html(b, path);
	buf_add_lit(b, "</h1><table>\n");
	if (path.len > 1)
		buf_add_lit(b, "<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
	for (size_t i = 0; i < l->count; i++)
		print_row(b, &l->items[i]);
	buf_add_lit(b, "</table>\n");
	if (l->is_cut)
		buf_printf(b, "<p>Only %d of the entries are shown.</p>\n", LISTING_MAX);
	buf_add_lit(b, "</body></html>\n");
}

static void on_release(struct hold *h)
{
	free(container_of(h, struct page, hold));
}

/* Room for the worst case of every name, the rest given back. */
static struct page *page_new(struct span path, const struct listing *l)
{
	size_t room = 1024 + path.len * ESCAPE_HTML_MAX * 2 + l->count * 128 +
		      l->name_bytes * (ESCAPE_HTML_MAX + ESCAPE_URL_MAX);
	struct page *p = malloc(sizeof(*p) + room), *smaller;

	if (!p)
		return NULL;
	buf_init(&p->text, p->memory, room);
	print_page(&p->text, path, l);
	BUG_ON(p->text.is_truncated);
	smaller = realloc(p, sizeof(*p) + p->text.len);
	p = smaller ? smaller : p;
	p->text.ptr = p->memory;
	hold_init(&p->hold, on_release);
	return p;
}

static void send_page(struct reply *reply, struct page *p)
{
	reply_add(reply, SPAN("Content-Type"), SPAN("text/html; charset=utf-8"));
	/* The names are somebody else's text. */
	reply_add(reply, SPAN("X-Content-Type-Options"), SPAN("nosniff"));
	reply_add(reply, SPAN("Content-Security-Policy"),
		  SPAN("default-src 'none'; style-src 'unsafe-inline'"));
	reply_begin(reply, p->text.len);
	if (reply->req->method != METHOD_HEAD)
		reply_write_held(reply, buf_span(&p->text), &p->hold);
	reply_end(reply);
	hold_put(&p->hold);
}

void static_send_listing(struct static_route *r, const struct request *req, struct reply *reply,
			 const char *relative)
{
	struct listing l = {0};
	struct page *p = NULL;
	int err = list_folder(r, relative, &l);

	if (!err)
		p = page_new(req->path, &l);
	listing_fini(&l);
	if (p)
		send_page(reply, p);
	else
		reply_status_page(reply, err ? static_status_of(err) : 503);
}
