/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the first line is a target, each other line a field of a conditional or a range request, for the
 * handler of files over a real folder with links and a secret beside it:
 *
 * - content comes from one file, the one that a naive reader of the path and realpath(3) find in the folder, and is that
 *   file's whole, or its parts as Content-Range tells them;
 * - ranges never add up to more than the file;
 * - 304, 412, 206 and 416 come only when they were asked for;
 * - a redirect leads to the same path on the same host.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <limits.h>
#include <stdio.h>

#include "../unit/static_fixture.h"
#include "base/err.h"
#include "http/scan.h"

#define TEXT_MAX 1024
#define SECRET	 "secret"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	char key;
	const char *name;
} names[] = {
	{'r', "Range"},
	{'i', "If-Range"},
	{'m', "If-Match"},
	{'n', "If-None-Match"},
	{'s', "If-Modified-Since"},
	{'u', "If-Unmodified-Since"},
	{'a', "Accept-Encoding"},
};

static void remove_tree(void)
{
	tear_down(NULL);
}

static void make_tree(void)
{
	BUG_ON(set_up(NULL));
	atexit(remove_tree);
	put_text("www/a.txt", "content of a\n");
	put_text("www/e", "");
	put_text("www/sp ace%41", "content of space\n");
	put_size("www/big", 100000);
	put_folder("www/sub");
	put_text("www/sub/index.html", "<p>index\n");
	put_text("www/sub/b.txt", "content of b\n");
	put_text("www/.hidden", SECRET);
	put_link("../" SECRET ".txt", "www/out");
	put_link("..", "www/up");
	put_link("/", "www/root");
	put_link("a.txt", "www/in");
	put_link("loop", "www/loop");
	open_route();
}

static void decode_naively(struct buf *b, struct span path)
{
	for (size_t i = 0; i < path.len; i++) {
		unsigned byte;

		if (path.ptr[i] == '%' && i + 2 < path.len && sscanf(path.ptr + i + 1, "%2x", &byte) == 1) {
			buf_add_char(b, (char)byte);
			i += 2;
		} else {
			buf_add_char(b, path.ptr[i]);
		}
	}
	buf_add_char(b, '\0');
}

/* Dot segments go by the text, whatever the names in front of them are (RFC 3986 5.2.4). */
static void remove_dots(char *path, struct buf *to)
{
	size_t starts[TEXT_MAX + 2];
	unsigned depth = 0;
	char *rest = path + 1, *segment;

	while ((segment = strsep(&rest, "/"))) {
		if (strcmp(segment, "..") == 0) {
			BUG_ON(depth == 0);
			to->len = starts[--depth];
		} else if (strcmp(segment, ".") != 0) {
			starts[depth++] = to->len;
			buf_printf(to, "/%s", segment);
		}
	}
}

/* What the path names, followed by the C library; NULL: nothing in the folder. */
static const char *resolve_naively(struct span path)
{
	static char real[PATH_MAX], root[PATH_MAX];
	char decoded[TEXT_MAX + 2], text[PATH_MAX];
	struct buf d, b;

	buf_init(&d, decoded, sizeof(decoded));
	decode_naively(&d, path);
	buf_init(&b, text, sizeof(text) - 1);
	buf_add_span(&b, span_str(path_of("www")));
	remove_dots(decoded, &b);
	text[b.len] = '\0';
	BUG_ON(d.is_truncated || b.is_truncated);
	if (!realpath(text, real) || !realpath(path_of("www"), root))
		return NULL;
	return strncmp(real, root, strlen(root)) == 0 && real[strlen(root)] == '/' ? real : NULL;
}

static size_t read_file(const char *path, char **ret_data)
{
	int fd = open(path, O_RDONLY);
	struct stat st;

	BUG_ON(fd < 0 || fstat(fd, &st));
	*ret_data = malloc((size_t)st.st_size + 1);
	BUG_ON(!*ret_data || read(fd, *ret_data, (size_t)st.st_size) != st.st_size);
	close(fd);
	return (size_t)st.st_size;
}

/* "bytes FIRST-LAST/SIZE" tells what `body` is; returns how many bytes of it. */
static size_t check_part(const char *range, const char *body, size_t left, const char *file, size_t size)
{
	unsigned long long first, last, of;

	BUG_ON(sscanf(range, "bytes %llu-%llu/%llu", &first, &last, &of) != 3);
	BUG_ON(of != size || first > last || last >= size || last - first + 1 > left);
	BUG_ON(memcmp(body, file + first, last - first + 1) != 0);
	return last - first + 1;
}

static void check_multipart(const char *file, size_t size)
{
	const char *type = recorder_field(&x, "Content-Type"), *at = x.body, *end = x.body + x.body_len;
	char mark[128];
	size_t total = 0;
	int len;

	BUG_ON(!type || strncmp(type, "multipart/byteranges; boundary=", 31) != 0);
	len = snprintf(mark, sizeof(mark), "\r\n--%s", type + 31);
	for (unsigned parts = 0;; parts++) {
		const char *range, *data;

		BUG_ON(end - at < len || memcmp(at, mark, (size_t)len) != 0);
		at += len;
		if (end - at == 4 && memcmp(at, "--\r\n", 4) == 0) {
			BUG_ON(parts < 2 || total > size);
			return;
		}
		range = memmem(at, (size_t)(end - at), "Content-Range: ", 15);
		data = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
		BUG_ON(!range || !data || range > data);
		len = (int)check_part(range + 15, data + 4, (size_t)(end - data - 4), file, size);
		total += (size_t)len;
		at = data + 4 + len;
		len = (int)strlen(mark);
	}
}

static void check_content(unsigned status)
{
	const char *path = resolve_naively(x.req.raw_path), *range = recorder_field(&x, "Content-Range");
	char name[PATH_MAX + sizeof("/index.html")], *file;
	struct stat st;
	size_t size;

	BUG_ON(!path || stat(path, &st));
	snprintf(name, sizeof(name), "%s%s", path, S_ISDIR(st.st_mode) ? "/index.html" : "");
	size = read_file(name, &file);
	BUG_ON(x.is_short || memmem(x.body, x.body_len, SECRET, strlen(SECRET)));
	if (status == 200)
		BUG_ON(x.reply.length != size || (x.body_len && memcmp(x.body, file, size) != 0));
	else if (range && x.body_len)
		BUG_ON(check_part(range, x.body, x.body_len, file, size) != x.body_len);
	else if (x.body_len)
		check_multipart(file, size);
	free(file);
}

static void check_redirect(void)
{
	const char *to = recorder_field(&x, "Location");
	char path[TEXT_MAX * 3 + 8];
	ssize_t len;
	struct span query = span_str(to);

	BUG_ON(!to || to[0] != '/' || to[1] == '/' || to[1] == '\\');
	for (const char *c = to; *c; c++)
		BUG_ON((unsigned char)*c <= ' ' || *c == 0x7f);
	query.len = strcspn(to, "?");
	BUG_ON(query.len > sizeof(path));
	len = path_normalize(query, path);
	BUG_ON(len != (ssize_t)x.req.path.len + 1 || memcmp(path, x.req.path.ptr, x.req.path.len) != 0);
}

static void check(unsigned status)
{
	const uint8_t *known = x.req.known;
	bool has_match = known[HEADER_IF_MATCH] || known[HEADER_IF_UNMODIFIED_SINCE];
	bool has_none = known[HEADER_IF_NONE_MATCH] || known[HEADER_IF_MODIFIED_SINCE];

	BUG_ON((status == 206 || status == 416) && !known[HEADER_RANGE]);
	BUG_ON(status == 304 && (!has_none || x.body_len));
	BUG_ON(status == 412 && !has_match);
	if (status == 200 || status == 206)
		check_content(status);
	else if (status == 301 || status == 308)
		check_redirect();
	else
		BUG_ON(status != 304 && (status < 400 || status >= 500));
}

/* As the guard lets it through: no controls, no space in a target. */
static void copy_line(struct buf *b, struct span line, bool is_target)
{
	for (size_t i = 0; i < line.len; i++) {
		bool is_good = byte_class[(uint8_t)line.ptr[i]] & (is_target ? CLASS_TARGET : CLASS_VALUE);

		buf_add_char(b, is_good ? line.ptr[i] : 'x');
	}
}

static void copy_field(struct buf *b, struct span line)
{
	const char *name = NULL;

	for (size_t i = 0; i < ARRAY_LEN(names) && line.len; i++)
		if (names[i].key == line.ptr[0])
			name = names[i].name;
	if (!name)
		return;
	buf_printf(b, "%s: ", name);
	copy_line(b, span_of(line.ptr + 1, line.len - 1), false);
	buf_add_char(b, '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_made;
	char target[TEXT_MAX + 2] = "/", fields[TEXT_MAX * 12];
	struct span rest = span_of((const char *)data + 1, size - 1);
	struct buf t, f;
	unsigned status;

	if (size < 2 || size > TEXT_MAX)
		return 0;
	if (!is_made)
		make_tree();
	is_made = true;
	buf_init(&t, target + 1, sizeof(target) - 2);
	buf_init(&f, fields, sizeof(fields) - 1);
	for (unsigned line = 0; rest.len || line == 0; line++) {
		const char *lf = memchr(rest.ptr, '\n', rest.len);
		size_t len = lf ? (size_t)(lf - rest.ptr) : rest.len;

		if (line == 0)
			copy_line(&t, span_of(rest.ptr, len), true);
		else if (line < 100)
			copy_field(&f, span_of(rest.ptr, len));
		rest = span_of(rest.ptr + len + (lf != NULL), rest.len - len - (lf != NULL));
	}
	target[1 + t.len] = fields[f.len] = '\0';
	recorder_fini(&x);
	status = recorder_prepare(&x, data[0] & 1 ? "HEAD" : "GET", target, fields);
	if (status)
		return 0;
	static_ops.on_request(&x.req, &x.reply, route);
	BUG_ON(x.begin_count != 1 || x.end_count != 1);
	recorder_deliver(&x);
	check(x.reply.status);
	return 0;
}
