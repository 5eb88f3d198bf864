/* SPDX-License-Identifier: MIT */
/*
 * How a server of an upstream is written: "127.0.0.1:9001" and "[::1]:9001", "app.internal:80",
 * "srv:_http._tcp.app.internal", "unix:/run/app.sock".  Nothing is looked up here.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/config_build.h"
#include "config/config_schema.h"

#define NAME_BYTES_MAX	253 /* of a host name, RFC 1035 2.3.4 */
#define LABEL_BYTES_MAX 63

static const char expected[] = "expected ADDR:PORT, NAME:PORT, unix:/PATH or "
			       "srv:_SERVICE._PROTO.NAME";

static bool is_label_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

/* The final dot of an absolute name may stand. */
static bool is_name(struct span s)
{
	size_t label_len = 0;

	if (s.len && s.ptr[s.len - 1] == '.')
		s.len--;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '.' && label_len == 0)
			return false;
		if (s.ptr[i] != '.' && !is_label_byte(s.ptr[i]))
			return false;
		label_len = s.ptr[i] == '.' ? 0 : label_len + 1;
		if (label_len > LABEL_BYTES_MAX)
			return false;
	}
	return label_len > 0 && s.len <= NAME_BYTES_MAX;
}

static int keep_name(struct config_server *s, enum server_kind kind, struct span name)
{
	s->kind = kind;
	s->name = strndup(name.ptr, name.len);
	return s->name ? 0 : -ENOMEM;
}

static int parse_unix(struct config_server *s, const char *path, char *why, size_t size)
{
	config_check_control(path, why, size);
	return *why ? -EINVAL : keep_name(s, SERVER_UNIX, span_str(path));
}

static int parse_srv(struct config_server *s, struct span name, char *why, size_t size)
{
	const char *dot = memchr(name.ptr, '.', name.len);

	if (is_name(name) && name.ptr[0] == '_' && dot && dot[1] == '_' && strchr(dot + 1, '.'))
		return keep_name(s, SERVER_SRV, name);
	snprintf(why, size, "is no SRV name: expected one such as srv:_http._tcp.app.internal");
	return -EINVAL;
}

static int parse_address(struct config_server *s, const char *text, char *why, size_t size)
{
	s->kind = SERVER_ADDRESS;
	if (sock_addr_parse(span_str(text), &s->addr) == 0)
		return 0;
	snprintf(why, size, "is no address: expected one such as 127.0.0.1:9001 or [::1]:9001");
	return -EINVAL;
}

static int parse_name(struct config_server *s, struct span host, uint16_t port, char *why,
		      size_t size)
{
	if (is_name(host)) {
		s->port = port;
		return keep_name(s, SERVER_NAME, host);
	}
	snprintf(why, size, "is no server: %s", expected);
	return -EINVAL;
}

/* False: reported. */
static bool find_port(const char *text, const char *colon, uint16_t *ret_port, char *why,
		      size_t size)
{
	uint64_t port;

	if (!colon)
		snprintf(why, size, "has no port: %s", expected);
	else if (*text != '[' && strchr(text, ':') != colon)
		snprintf(why, size,
			 "is no server: an IPv6 address stands in brackets, as in [::1]:9001");
	else if (strlen(colon + 1) > 5 || span_to_u64(span_str(colon + 1), &port) || port < 1 ||
		 port > 65535)
		snprintf(why, size, "has no port from 1 to 65535");
	else
		*ret_port = (uint16_t)port;
	return !*why;
}

int config_server_parse(struct config_server *s, const char *text, char *why, size_t size)
{
	const char *colon = strrchr(text, ':');
	uint16_t port = 0;
	struct span host;

	*why = '\0';
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(s, text + 5, why, size);
	if (strncmp(text, "srv:", 4) == 0)
		return parse_srv(s, span_str(text + 4), why, size);
	if (strstr(text, "://")) {
		snprintf(why, size, "is a URL: %s", expected);
		return -EINVAL;
	}
	if (!find_port(text, colon, &port, why, size))
		return -EINVAL;
	host = span_of(text, (size_t)(colon - text));
	/* What has digits and dots only was meant as an address, and is none if it is wrong. */
	if (host.len && strspn(text, "0123456789.") >= host.len)
		return parse_address(s, text, why, size);
	if (*text == '[')
		return parse_address(s, text, why, size);
	return parse_name(s, host, port, why, size);
}

void config_server_host(const struct config_server *s, char *out, size_t size)
{
	const char *name = s->name ? s->name : "";

	switch (s->kind) {
	case SERVER_ADDRESS:
		snprintf(out, size, "%s", s->text);
		if (sock_addr_port(&s->addr) == 80 && strlen(out) > 3)
			out[strlen(out) - 3] = '\0';
		break;
	case SERVER_UNIX:
		snprintf(out, size, "localhost");
		break;
	case SERVER_NAME:
		snprintf(out, size, s->port == 80 ? "%s" : "%s:%u", name, s->port);
		break;
	case SERVER_SRV:
		/* "_http._tcp.example.net": the host is what follows the two labels. */
		for (unsigned i = 0; i < 2 && *name == '_' && strchr(name, '.'); i++)
			name = strchr(name, '.') + 1;
		snprintf(out, size, "%s", name);
		break;
	}
}
