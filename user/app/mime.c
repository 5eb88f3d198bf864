/* SPDX-License-Identifier: MIT */
/*
 * Media types.  The system's table is read once into one block: its text, cut up by NULs, and an
 * array of extensions sorted for bsearch.  Looked at when a file enters the cache, never per
 * request.
 */
#include "app/mime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"

#define TABLE_SIZE_MAX (4u << 20) /* bytes; the system's is 80 KB */
#define EXTENSION_MAX  15
#define UTF8	       "; charset=utf-8"

struct mime {
	const char *extension; /* lower case */
	struct span type;
	unsigned line; /* of two lines with one extension the first counts */
};

static struct mime *table;
static size_t table_count;
static char *table_text;
static char *type_text;

/* What a website is made of, for hosts without a table and for what old tables lack. Sorted. */
#define TYPE(extension, type)                                                                      \
	{                                                                                          \
		extension, {type, sizeof(type) - 1}, 0                                             \
	}
static const struct mime fallback[] = {
	TYPE("avif", "image/avif"),
	TYPE("bmp", "image/bmp"),
	TYPE("css", "text/css" UTF8),
	TYPE("csv", "text/csv" UTF8),
	TYPE("eot", "application/vnd.ms-fontobject"),
	TYPE("gif", "image/gif"),
	TYPE("gz", "application/gzip"),
	TYPE("htm", "text/html" UTF8),
	TYPE("html", "text/html" UTF8),
	TYPE("ico", "image/vnd.microsoft.icon"),
	TYPE("jpeg", "image/jpeg"),
	TYPE("jpg", "image/jpeg"),
	TYPE("js", "text/javascript" UTF8),
	TYPE("json", "application/json"),
	TYPE("m4a", "audio/mp4"),
	TYPE("map", "application/json"),
	TYPE("md", "text/markdown" UTF8),
	TYPE("mjs", "text/javascript" UTF8),
	TYPE("mp3", "audio/mpeg"),
	TYPE("mp4", "video/mp4"),
	TYPE("ogg", "audio/ogg"),
	TYPE("otf", "font/otf"),
	TYPE("pdf", "application/pdf"),
	TYPE("png", "image/png"),
	TYPE("rss", "application/rss+xml" UTF8),
	TYPE("svg", "image/svg+xml" UTF8),
	TYPE("tar", "application/x-tar"),
	TYPE("ttf", "font/ttf"),
	TYPE("txt", "text/plain" UTF8),
	TYPE("wasm", "application/wasm"),
	TYPE("wav", "audio/x-wav"),
	TYPE("webm", "video/webm"),
	TYPE("webmanifest", "application/manifest+json"),
	TYPE("webp", "image/webp"),
	TYPE("woff", "font/woff"),
	TYPE("woff2", "font/woff2"),
	TYPE("xhtml", "application/xhtml+xml" UTF8),
	TYPE("xml", "application/xml" UTF8),
	TYPE("yaml", "application/yaml"),
	TYPE("zip", "application/zip"),
	TYPE("zst", "application/zstd"),
};

/* Types that a client would read in a legacy encoding if nobody said otherwise. JSON is UTF-8 by
 * definition. */
static bool is_text(struct span type)
{
	return span_starts_with(type, SPAN("text/")) || span_ends_with(type, SPAN("+xml")) ||
	       span_eq(type, SPAN("application/xml")) ||
	       span_eq(type, SPAN("application/javascript"));
}

static int compare(const void *a, const void *b)
{
	const struct mime *x = a, *y = b;
	int order = strcmp(x->extension, y->extension);

	return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int compare_extension(const void *key, const void *item)
{
	return strcmp(key, ((const struct mime *)item)->extension);
}

/* The whole file, ended by NUL; memory the caller frees. */
static int read_whole(const char *path, char **ret_text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t len = 0;
	struct stat st;
	char *text;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > TABLE_SIZE_MAX) {
		close(fd);
		return -EINVAL;
	}
	text = malloc((size_t)st.st_size + 1);
	while (text && len < (size_t)st.st_size) {
		n = read(fd, text + len, (size_t)st.st_size - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(fd);
	if (!text)
		return -ENOMEM;
	text[len] = '\0';
	*ret_text = text;
	return 0;
}

static char *lower(char *word)
{
	for (char *c = word; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
	return word;
}

/* One line of "type ext ext"; adds to the table, which has room for all words of the file. */
static void parse_line(char *line, unsigned number, struct buf *types)
{
	char *rest, *word = strtok_r(line, " \t\r", &rest);
	struct span type;
	size_t start = types->len;

	if (!word || *word == '#' || !strchr(word, '/'))
		return;
	buf_add(types, word, strlen(word));
	if (is_text(span_str(word)))
		buf_add_lit(types, UTF8);
	type = span_of(types->ptr + start, types->len - start);
	while ((word = strtok_r(NULL, " \t\r", &rest))) {
		if (*word == '#')
			break;
		if (strlen(word) <= EXTENSION_MAX)
			table[table_count++] = (struct mime){lower(word), type, number};
	}
}

static size_t count_lines(const char *text, size_t *ret_words)
{
	size_t lines = 1;

	*ret_words = 1;
	for (; *text; text++) {
		lines += *text == '\n';
		*ret_words += *text == '\n' || *text == ' ' || *text == '\t';
	}
	return lines;
}

static int parse_table(char *text)
{
	size_t words, lines = count_lines(text, &words);
	size_t room = strlen(text) + lines * sizeof(UTF8);
	struct buf types;
	char *rest, *line;
	unsigned number = 0;

	table = calloc(words, sizeof(*table));
	type_text = malloc(room);
	if (!table || !type_text)
		return -ENOMEM;
	buf_init(&types, type_text, room);
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		parse_line(line, ++number, &types);
	BUG_ON(types.is_truncated);
	qsort(table, table_count, sizeof(*table), compare);
	return 0;
}

int mime_load(const char *path)
{
	int err;

	if (table)
		return 0;
	err = read_whole(path ? path : "/etc/mime.types", &table_text);
	if (err)
		return err == -ENOENT ? 0 : err;
	err = parse_table(table_text);
	if (err)
		mime_unload();
	return err;
}

void mime_unload(void)
{
	free(table);
	free(table_text);
	free(type_text);
	table = NULL;
	table_text = NULL;
	type_text = NULL;
	table_count = 0;
}

static const struct mime *find(const struct mime *in, size_t count, const char *extension)
{
	const struct mime *m = NULL;

	if (count)
		m = bsearch(extension, in, count, sizeof(*in), compare_extension);
	while (m && m > in && strcmp(m[-1].extension, extension) == 0)
		m--;
	return m;
}

struct span mime_of(struct span file_name)
{
	char extension[EXTENSION_MAX + 1] = "";
	const char *dot = file_name.len ? memrchr(file_name.ptr, '.', file_name.len) : NULL;
	const struct mime *m;
	size_t len;

	if (!dot || memchr(dot, '/', file_name.len - (size_t)(dot - file_name.ptr)))
		return span_of(NULL, 0);
	len = file_name.len - (size_t)(dot + 1 - file_name.ptr);
	if (!len || len > EXTENSION_MAX)
		return span_of(NULL, 0);
	memcpy(extension, dot + 1, len);
	lower(extension);
	m = find(table, table_count, extension);
	if (!m)
		m = find(fallback, ARRAY_LEN(fallback), extension);
	return m ? m->type : span_of(NULL, 0);
}
