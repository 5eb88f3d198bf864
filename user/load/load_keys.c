/* SPDX-License-Identifier: MIT */
/* Settings of `sluice load`: the URL, KEY=VALUE, the file of a mix; and the requests made of them. */
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/suggest.h"
#include "config/config_units.h"
#include "load/load.h"
#include "proc/cpus.h"

#define BODY_MAX (64u << 20)
#define MIX_LINE 4096

static const char *const mode_names[] = {
	[LOAD_KEEPALIVE] = "keepalive",
	[LOAD_CLOSE] = "close",
	[LOAD_HOLD] = "hold",
	[LOAD_BURST] = "burst",
};

const char *load_mode_name(enum load_mode mode)
{
	return mode_names[mode];
}

static int fail(char error[LOAD_ERROR_TEXT], int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(char error[LOAD_ERROR_TEXT], int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error, LOAD_ERROR_TEXT, fmt, args);
	va_end(args);
	return err;
}

void load_options_init(struct load_options *o)
{
	memset(o, 0, sizeof(*o));
	o->method = "GET";
	o->connections = 64;
	o->pipeline = 1;
	o->sources = 1;
	o->duration_ns = 10 * CONFIG_SEC;
	o->timeout_ns = 10 * CONFIG_SEC;
}

void load_options_fini(struct load_options *o)
{
	for (unsigned i = 0; i < o->kind_count; i++) {
		free(o->kinds[i].name);
		free(o->kinds[i].bytes);
	}
	free(o->url);
	free(o->host);
	free(o->target);
	memset(o, 0, sizeof(*o));
}

/* The URL -------------------------------------------------------------------------------------------------------- */

/* Names are looked up here, once: a load generator that asks a name server meanwhile measures that too. */
static int resolve(struct load_options *o, const char *name, const char *port, char *error)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *found;
	int err = getaddrinfo(name, port, &hints, &found);

	if (err)
		return fail(error, -EINVAL, "no address of '%s': %s", name, gai_strerror(err));
	memcpy(&o->server, found->ai_addr, MIN(found->ai_addrlen, sizeof(o->server)));
	freeaddrinfo(found);
	return 0;
}

/* "host", "host:port", "[v6]:port" */
static int split_host(struct load_options *o, char *error)
{
	char *name = strdup(o->host), *at = name, *port;
	int err;

	if (!name)
		return fail(error, -ENOMEM, "out of memory");
	if (*at == '[') {
		port = strchr(at, ']');
		at++;
		if (port)
			*port++ = '\0';
	} else {
		port = strchr(at, ':');
	}
	if (port && *port == ':')
		*port++ = '\0';
	err = *at ? resolve(o, at, port && *port ? port : "80", error) :
		    fail(error, -EINVAL, "'%.100s' has no host", o->url);
	free(name);
	return err;
}

int load_options_url(struct load_options *o, const char *url, char error[LOAD_ERROR_TEXT])
{
	static const char scheme[] = "http://";
	const char *rest = url, *path;

	if (strncmp(url, scheme, sizeof(scheme) - 1) == 0)
		rest += sizeof(scheme) - 1;
	else if (strstr(url, "://"))
		return fail(error, -EINVAL, "'%.100s' is no http:// URL", url);
	path = rest + strcspn(rest, "/?#");
	o->url = strdup(url);
	o->host = strndup(rest, (size_t)(path - rest));
	o->target = *path == '/' ? strndup(path, strcspn(path, "#")) : strdup("/");
	if (!o->url || !o->host || !o->target)
		return fail(error, -ENOMEM, "out of memory");
	if (strpbrk(o->target, " \t\r\n"))
		return fail(error, -EINVAL, "a blank in '%.100s'", url);
	return split_host(o, error);
}

/* Values --------------------------------------------------------------------------------------------------------- */

static int parse_count(const char *text, uint64_t min, uint64_t max, unsigned *ret_value)
{
	uint64_t value;

	if (span_to_u64(span_str(text), &value) < 0 || value < min || value > max)
		return -EINVAL;
	*ret_value = (unsigned)value;
	return 0;
}

static int take_connections(struct load_options *o, const char *text)
{
	return parse_count(text, 1, 10000000, &o->connections);
}

static int take_processes(struct load_options *o, const char *text)
{
	if (strcmp(text, "auto") == 0) {
		o->processes = 0;
		return 0;
	}
	return parse_count(text, 1, LOAD_PROCESSES_MAX, &o->processes);
}

static int take_pipeline(struct load_options *o, const char *text)
{
	return parse_count(text, 1, LOAD_PIPELINE_MAX, &o->pipeline);
}

static int take_sources(struct load_options *o, const char *text)
{
	return parse_count(text, 1, 65536, &o->sources);
}

static int take_rate(struct load_options *o, const char *text)
{
	char *end;

	o->rate = strtod(text, &end);
	return *text >= '0' && *text <= '9' && !*end && isfinite(o->rate) && o->rate <= 1e9 ? 0 : -EINVAL;
}

static int take_time(const char *text, uint64_t *ret_ns)
{
	struct span s = span_str(text);
	uint64_t seconds;

	if (span_to_u64(s, &seconds) == 0 && seconds <= 1000000) {
		*ret_ns = seconds * CONFIG_SEC;
		return 0;
	}
	return config_duration_parse(s, ret_ns) == UNIT_OK ? 0 : -EINVAL;
}

static int take_duration(struct load_options *o, const char *text)
{
	return take_time(text, &o->duration_ns) || !o->duration_ns ? -EINVAL : 0;
}

static int take_warmup(struct load_options *o, const char *text)
{
	return take_time(text, &o->warmup_ns);
}

static int take_timeout(struct load_options *o, const char *text)
{
	return take_time(text, &o->timeout_ns) || o->timeout_ns < CONFIG_MS ? -EINVAL : 0;
}

static int take_mode(struct load_options *o, const char *text)
{
	for (unsigned i = 0; i < ARRAY_LEN(mode_names); i++) {
		if (strcmp(text, mode_names[i]) == 0) {
			o->mode = (enum load_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int take_arrivals(struct load_options *o, const char *text)
{
	o->is_even = strcmp(text, "even") == 0;
	return o->is_even || strcmp(text, "random") == 0 ? 0 : -EINVAL;
}

static int take_method(struct load_options *o, const char *text)
{
	o->method = text;
	return *text && !strpbrk(text, " \t\r\n") ? 0 : -EINVAL;
}

static int take_body(struct load_options *o, const char *text)
{
	return config_size_parse(span_str(text), &o->body) == UNIT_OK && o->body <= BODY_MAX ? 0 : -EINVAL;
}

static int take_header(struct load_options *o, const char *text)
{
	if (!strchr(text, ':') || strpbrk(text, "\r\n") || o->header_count == LOAD_HEADERS_MAX)
		return -EINVAL;
	o->headers[o->header_count++] = text;
	return 0;
}

static int take_mix(struct load_options *o, const char *text)
{
	o->mix = text;
	return *text ? 0 : -EINVAL;
}

static const struct key {
	const char *name, *value;
	int (*take)(struct load_options *o, const char *text);
	const char *help;
} keys[] = {
	{"connections", "64", take_connections, "open at a time"},
	{"duration", "10s", take_duration, "of the load, without the warm-up"},
	{"rate", "0", take_rate, "requests a second, whatever the server does; 0: as fast as it answers"},
	{"arrivals", "random", take_arrivals, "with a rate: random (Poisson) or even distances"},
	{"mode", "keepalive", take_mode, "keepalive, close (a connection for each request), hold, burst"},
	{"warmup", "0", take_warmup, "time before it, which does not count"},
	{"timeout", "10s", take_timeout, "for a connection, and for an answer"},
	{"pipeline", "1", take_pipeline, "requests sent together on a connection"},
	{"processes", "auto", take_processes, "that make the load; auto: one for each usable CPU"},
	{"sources", "1", take_sources, "client addresses, 127.0.0.1 and following"},
	{"method", "GET", take_method, "of the request"},
	{"body", "0", take_body, "bytes of content that it has"},
	{"header", "", take_header, "'Name: value', may be given again"},
	{"mix", "", take_mix, "file with lines WEIGHT METHOD PATH [BODY], in place of method, path and body"},
};

void load_keys_print(FILE *out)
{
	fprintf(out, "\nKeys:\n\n  %-12s %s\n", "key", "default");
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		fprintf(out, "  %-12s %-10s %s\n", keys[i].name, keys[i].value, keys[i].help);
}

int load_options_set(struct load_options *o, const char *assignment, char error[LOAD_ERROR_TEXT])
{
	size_t len = strcspn(assignment, "=");
	char word[SUGGEST_WORD_MAX + 1];
	struct suggest near;

	if (!assignment[len])
		return fail(error, -EINVAL, "'%.60s' is not KEY=VALUE", assignment);
	snprintf(word, sizeof(word), "%.*s", (int)MIN(len, SUGGEST_WORD_MAX), assignment);
	suggest_init(&near, word);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		suggest_offer(&near, keys[i].name);
		if (strlen(keys[i].name) != len || memcmp(keys[i].name, assignment, len) != 0)
			continue;
		if (keys[i].take(o, assignment + len + 1) < 0)
			return fail(error, -EINVAL, "%s=%.60s: %s", word, assignment + len + 1, keys[i].help);
		return 0;
	}
	if (near.best)
		return fail(error, -EINVAL, "unknown key '%s', did you mean '%s'?", word, near.best);
	return fail(error, -EINVAL, "unknown key '%s'", word);
}

/* Requests ------------------------------------------------------------------------------------------------------- */

static int add_kind(struct load_options *o, const char *method, const char *target, uint64_t body, unsigned weight)
{
	struct load_kind *k = &o->kinds[o->kind_count];
	bool is_last = o->mode == LOAD_CLOSE || o->mode == LOAD_BURST;
	size_t len = 0;
	FILE *f;

	if (asprintf(&k->name, "%s %s", method, target) < 0) {
		k->name = NULL;
		return -ENOMEM;
	}
	o->kind_count++;
	k->weight = weight;
	k->method = method_of(span_str(method));
	f = open_memstream(&k->bytes, &len);
	if (!f)
		return -ENOMEM;
	fprintf(f, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, o->host);
	for (unsigned i = 0; i < o->header_count; i++)
		fprintf(f, "%s\r\n", o->headers[i]);
	if (body)
		fprintf(f, "Content-Length: %llu\r\n", (unsigned long long)body);
	if (is_last)
		fputs("Connection: close\r\n", f);
	fputs("\r\n", f);
	for (uint64_t i = 0; i < body; i++)
		fputc('x', f);
	if (fclose(f) != 0)
		return -ENOMEM;
	k->len = len;
	o->weight_sum += weight;
	return 0;
}

/* "3 POST /form 1k", "#" begins a comment. */
static int add_line(struct load_options *o, char *line, unsigned number, char *error)
{
	char *words[5], *at = line;
	unsigned count = 0, weight;
	uint64_t body = 0;

	line[strcspn(line, "#\r\n")] = '\0';
	while (count < ARRAY_LEN(words) && (words[count] = strsep(&at, " \t")))
		count += *words[count] != '\0';
	if (count == 0)
		return 0;
	if (o->kind_count == LOAD_KINDS_MAX)
		return fail(error, -EINVAL, "%s: more than %d kinds of request", o->mix, LOAD_KINDS_MAX);
	if (count < 3 || count > 4 || parse_count(words[0], 1, 1000000, &weight) < 0 || words[2][0] != '/' ||
	    (count == 4 && (config_size_parse(span_str(words[3]), &body) != UNIT_OK || body > BODY_MAX)))
		return fail(error, -EINVAL, "%s:%u: expected WEIGHT METHOD PATH [BODY]", o->mix, number);
	return add_kind(o, words[1], words[2], body, weight) < 0 ? fail(error, -ENOMEM, "out of memory") : 0;
}

static int read_mix(struct load_options *o, char *error)
{
	FILE *f = fopen(o->mix, "re");
	char line[MIX_LINE];
	int err = 0;

	if (!f)
		return fail(error, -errno, "cannot read '%s': %s", o->mix, strerror(errno));
	for (unsigned number = 1; err == 0 && fgets(line, sizeof(line), f); number++)
		err = add_line(o, line, number, error);
	fclose(f);
	if (err == 0 && o->kind_count == 0)
		return fail(error, -EINVAL, "'%s' names no request", o->mix);
	return err;
}

/* The kernel numbers loopback addresses for us; elsewhere a source has to be one of the machine's. */
static bool is_loopback(const union sock_addr *a)
{
	return a->any.sa_family == AF_INET && (ntohl(a->v4.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
}

int load_options_finish(struct load_options *o, char error[LOAD_ERROR_TEXT])
{
	struct cpus cpus;

	if (o->processes == 0) {
		cpus_detect(&cpus);
		o->processes = MIN(cpus.usable, (unsigned)LOAD_PROCESSES_MAX);
	}
	o->processes = MIN(o->processes, o->connections);
	if (o->pipeline > 1 && (o->rate > 0 || o->mode != LOAD_KEEPALIVE))
		return fail(error, -EINVAL, "pipeline is for kept connections without a rate");
	if (o->mode == LOAD_BURST && o->rate > 0)
		return fail(error, -EINVAL, "a burst has no rate");
	if (o->sources > 1 && !is_loopback(&o->server))
		return fail(error, -EINVAL, "sources are for servers on 127.0.0.0/8");
	if (o->mix)
		return read_mix(o, error);
	return add_kind(o, o->method, o->target, o->body, 1) < 0 ? fail(error, -ENOMEM, "out of memory") : 0;
}
