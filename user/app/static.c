/* SPDX-License-Identifier: MIT */
/*
 * The static handler: from a request to a cache entry to a reply.  A hit makes no system call.
 *
 * The root is watched as well as the files: where its path leads to another folder than before (a
 * release switched by a symbolic link) it is opened anew.
 */
#include "app/static.h"

#include <fcntl.h>
#include <stdlib.h>

#include "app/escape.h"
#include "app/mime.h"
#include "app/static_route.h"
#include "base/log.h"

#define ALLOW SPAN("GET, HEAD, OPTIONS")

/* Bytes of a Location: what fits a head beside the other fields, and any client's own limit. */
#define LOCATION_MAX 4096

static uint64_t next_route_id = 1;

static void tell_fenced(struct static_route *r)
{
	if (!r->has_told_fenced)
		log_warn("'%s' is another folder now, out of reach for this sandbox: the old one is "
			 "served until a reload",
			 r->root_path);
	r->has_told_fenced = true;
}

/* Once per validity of a cached file. What cannot be looked at (a sandbox) stays as it is. */
static void check_root(struct static_route *r, uint64_t now_ms)
{
	struct beneath root;
	struct stat st;

	if (now_ms - r->root_checked_ms < file_cache_valid_ms(r->cache))
		return;
	r->root_checked_ms = now_ms;
	if (stat(r->root_path, &st) || (st.st_dev == r->root_dev && st.st_ino == r->root_ino))
		return;
	if (beneath_init(&root, r->root_path, r->root.leaves_root))
		return;
	/* Landlock's rules are about folders, not about names: better the old files than none. */
	if (beneath_is_fenced(&root)) {
		tell_fenced(r);
		beneath_fini(&root);
		return;
	}
	beneath_fini(&r->root);
	r->root = root;
	r->root_dev = st.st_dev;
	r->root_ino = st.st_ino;
	file_cache_forget(r->cache, r->id);
	r->id = next_route_id++;
}

/* RFC 9110 9.3.7, 15.5.6 */
static void refuse_method(const struct request *req, struct reply *reply)
{
	reply_add(reply, SPAN("Allow"), ALLOW);
	reply_status_page(reply, req->method == METHOD_OPTIONS ? 204 : 405);
}

/*
 * To the same path with a slash.  Built from the normalised path, encoded anew: it begins with
 * exactly one slash and has no backslash, so that it cannot lead to another host.
 */
static void redirect_to_folder(const struct request *req, struct reply *reply)
{
	size_t room = (req->path.len + req->query.len) * ESCAPE_URL_MAX + 3;
	struct span path = req->path;
	char *memory = malloc(room);
	struct buf b;

	if (!memory) {
		reply_status_page(reply, 503);
		return;
	}
	while (path.len && path.ptr[0] == '/') {
		path.ptr++;
		path.len--;
	}
	buf_init(&b, memory, room);
	buf_add_char(&b, '/');
	escape_path(&b, path);
	buf_add_char(&b, '/');
	if (req->has_query) {
		buf_add_char(&b, '?');
		escape_url(&b, req->query);
	}
	if (b.len <= LOCATION_MAX)
		reply_add(reply, SPAN("Location"), buf_span(&b));
	reply_status_page(reply, b.len <= LOCATION_MAX ? 301 : 414);
	free(memory);
}

static void send_status(struct reply *reply, unsigned status)
{
	if (status == 503)
		reply_add(reply, SPAN("Retry-After"), SPAN("1"));
	reply_status_page(reply, status);
}

static void send_file(struct static_route *r, const struct request *req, struct reply *reply, const struct file_entry *e)
{
	enum encoding encoding = ENCODING_IDENTITY;

	if (e->encodings)
		encoding = encoding_choose_for(&r->accepted, request_header(req, HEADER_ACCEPT_ENCODING), e->encodings);
	static_send_file(req, reply, e->files[encoding], e->encodings != 0);
}

static void send_listing(struct static_route *r, const struct request *req, struct reply *reply)
{
	char relative[RELATIVE_SIZE];

	if (static_relative(r, req->path, relative))
		send_status(reply, 404);
	else
		static_send_listing(r, req, reply, relative);
}

static void send_entry(struct static_route *r, const struct request *req, struct reply *reply,
		       const struct file_entry *e)
{
	switch (e->kind) {
	case ENTRY_FILE:
		send_file(r, req, reply, e);
		return;
	case ENTRY_REDIRECT:
		redirect_to_folder(req, reply);
		return;
	case ENTRY_LISTING:
		send_listing(r, req, reply);
		return;
	case ENTRY_STATUS:
		send_status(reply, e->status);
		return;
	}
}

/* Unknown or stale: resolves, keeps the outcome, answers. */
static void answer_anew(struct static_route *r, const struct request *req, struct reply *reply,
			struct file_entry *stale)
{
	struct file_entry *e = file_cache_take(r->cache, stale, r->id, req->path);

	if (!e) {
		send_status(reply, 503);
		return;
	}
	static_resolve(r, e);
	if (e->kind == ENTRY_STATUS && e->status == 503) {
		/* Passing trouble of ours is no property of the path. */
		file_entry_free(e);
		send_status(reply, 503);
		return;
	}
	file_cache_insert(r->cache, e);
	send_entry(r, req, reply, e);
}

static void on_request(struct request *req, struct reply *reply, void *conf)
{
	struct static_route *r = conf;
	uint64_t now_ms = file_cache_now_ms(r->cache);
	struct file_entry *e;

	if (req->method != METHOD_GET && req->method != METHOD_HEAD) {
		refuse_method(req, reply);
		return;
	}
	check_root(r, now_ms);
	e = file_cache_find(r->cache, r->id, req->path, now_ms);
	if (!e || !file_cache_is_valid(e, now_ms))
		answer_anew(r, req, reply, e);
	else if (e->kind == ENTRY_FILE)
		send_file(r, req, reply, e);
	else
		send_entry(r, req, reply, e);
}

const struct handler_ops static_ops = {
	.name = "files",
	.on_request = on_request,
};

static int copy_index(struct static_route *r, const struct static_options *opt)
{
	static const char *const standard[] = {"index.html"};
	const char *const *names = opt->index ? opt->index : standard;
	unsigned count = opt->index ? opt->index_count : 1;

	r->index = calloc(count + 1u, sizeof(*r->index));
	if (!r->index)
		return -ENOMEM;
	for (; r->index_count < count; r->index_count++) {
		const char *name = names[r->index_count];

		if (!name[0] || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
			return -EINVAL;
		r->index[r->index_count] = strdup(name);
		if (!r->index[r->index_count])
			return -ENOMEM;
	}
	return 0;
}

static int copy_options(struct static_route *r, const struct static_options *opt)
{
	const char *type = opt->default_type ? opt->default_type : "application/octet-stream";

	r->has_listing = opt->has_listing;
	r->has_precompressed = opt->has_precompressed;
	r->shows_hidden = opt->shows_hidden;
	r->root_path = strdup(opt->root);
	r->default_type = strdup(type);
	r->prefix = strndup(opt->prefix.len ? opt->prefix.ptr : "", opt->prefix.len);
	r->prefix_len = opt->prefix.len;
	if (!r->root_path || !r->default_type || !r->prefix)
		return -ENOMEM;
	for (const char *c = type; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return -EINVAL;
	}
	return copy_index(r, opt);
}

static int open_root(struct static_route *r, bool leaves_root)
{
	int err = beneath_init(&r->root, r->root_path, leaves_root);
	struct stat st;

	if (err)
		return err;
	if (fstat(r->root.fd, &st))
		return -errno;
	r->root_dev = st.st_dev;
	r->root_ino = st.st_ino;
	r->root_checked_ms = file_cache_now_ms(r->cache);
	if (r->root.has_no_openat2)
		log_warn("no openat2 here: files below '%s' are served without following symbolic "
			 "links",
			 r->root_path);
	return 0;
}

int static_new(const struct static_options *opt, void **ret_conf)
{
	struct static_route *r;
	int err;

	if (!opt->cache || !opt->root)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->root.fd = -1;
	r->id = next_route_id++;
	r->cache = file_cache_get(opt->cache);
	err = copy_options(r, opt);
	if (!err)
		err = open_root(r, opt->allows_symlinks);
	if (!err)
		err = mime_load(NULL);
	if (err) {
		static_free(r);
		return err;
	}
	*ret_conf = r;
	return 0;
}

void static_free(void *conf)
{
	struct static_route *r = conf;

	if (!r)
		return;
	file_cache_forget(r->cache, r->id);
	file_cache_put(r->cache);
	beneath_fini(&r->root);
	for (unsigned i = 0; i < r->index_count; i++)
		free(r->index[i]);
	free(r->index);
	free(r->root_path);
	free(r->default_type);
	free(r->prefix);
	free(r);
}
