/* SPDX-License-Identifier: MIT */
/* Checks of values that are texts: paths, names, media types.  Some look at the file system or the
 * user database. */
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "config/config_schema.h"

static bool has_control(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	}
	return false;
}

/* False: reported. */
static bool check_absolute(const char *text, char *why, size_t size)
{
	if (*text == '/' && !has_control(text) && strlen(text) < PATH_MAX)
		return true;
	if (*text == '/')
		snprintf(why, size, "is no usable path: control characters, or too long");
	else
		snprintf(why, size, "must be an absolute path, one that begins with '/'");
	return false;
}

void config_check_user(const char *text, char *why, size_t size)
{
	struct passwd entry, *found = NULL;
	char *memory = malloc(65536);
	int r = -1;

	if (memory && *text)
		r = getpwnam_r(text, &entry, memory, 65536, &found);
	if (*text == '\0')
		snprintf(why, size, "is empty: expected a user of this system, such as nobody");
	else if (r == 0 && !found)
		snprintf(why, size, "is no user of this system");
	free(memory);
}

void config_check_control(const char *text, char *why, size_t size)
{
	struct sockaddr_un addr;

	if (!check_absolute(text, why, size))
		return;
	if (strlen(text) >= sizeof(addr.sun_path))
		snprintf(why, size, "is too long for a socket: %zu bytes, at most %zu",
			 strlen(text), sizeof(addr.sun_path) - 1);
	else if (text[strlen(text) - 1] == '/')
		snprintf(why, size, "is a folder: expected the path of a socket");
}

void config_check_pin(const char *text, char *why, size_t size)
{
	check_absolute(text, why, size);
}

/* The file itself may come to be when the server starts; its folder must be there. */
void config_check_access(const char *text, char *why, size_t size)
{
	const char *slash = strrchr(text, '/');
	char folder[PATH_MAX];
	struct stat st;

	if (strcmp(text, "-") == 0 || !check_absolute(text, why, size))
		return;
	snprintf(folder, sizeof(folder), "%.*s", slash == text ? 1 : (int)(slash - text), text);
	if (stat(text, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			snprintf(why, size, "is a folder: expected the path of a file");
		return;
	}
	if (stat(folder, &st) != 0)
		snprintf(why, size, "cannot be: the folder '%.200s': %s", folder, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		snprintf(why, size, "cannot be: '%.200s' is not a folder", folder);
}

void config_check_folder(const char *text, char *why, size_t size)
{
	struct stat st;

	if (!check_absolute(text, why, size))
		return;
	if (stat(text, &st) != 0)
		snprintf(why, size, "cannot be served: %s", strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		snprintf(why, size, "cannot be served: it is not a folder");
	else if (faccessat(AT_FDCWD, text, R_OK | X_OK, AT_EACCESS) != 0)
		snprintf(why, size, "cannot be served: its contents: %s", strerror(errno));
}

/* Length of the variable name behind '$', 0: unknown. */
static size_t variable_len(const char *name)
{
	static const char *const known[] = {"path", "query", "host", "uri"};
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz_");

	for (unsigned i = 0; i < ARRAY_LEN(known); i++) {
		if (strlen(known[i]) == len && memcmp(known[i], name, len) == 0)
			return len;
	}
	return 0;
}

void config_check_redirect(const char *text, char *why, size_t size)
{
	if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0 && *text != '/' &&
	    *text != '$') {
		snprintf(why, size, "is no target: expected https://..., http://... or /...");
		return;
	}
	if (has_control(text) || strchr(text, ' ')) {
		snprintf(why, size, "is no target: it holds a blank or a control character");
		return;
	}
	for (const char *at = strchr(text, '$'); at; at = strchr(at + 1, '$')) {
		if (variable_len(at + 1))
			continue;
		snprintf(why, size, "has an unknown variable: known are $host $path $query $uri");
		return;
	}
}

#define SERVER_MAX 63 /* struct server keeps it in itself */

static void check_field(const char *text, char *why, size_t size)
{
	for (const char *at = text; *at; at++) {
		if (*at < 0x20 || *at > 0x7e) {
			snprintf(why, size,
				 "holds more than printable ASCII: it goes into a "
				 "header field");
			return;
		}
	}
}

void config_check_server(const char *text, char *why, size_t size)
{
	if (strlen(text) > SERVER_MAX)
		snprintf(why, size, "is too long: at most %d bytes", SERVER_MAX);
	else
		check_field(text, why, size);
}

void config_check_type(const char *text, char *why, size_t size)
{
	const char *slash = strchr(text, '/');

	if (!slash || slash == text || !slash[1] || strchr(text, ' ') == text)
		snprintf(why, size, "is no media type: expected one such as text/plain");
	else
		check_field(text, why, size);
}

void config_check_file_name(const char *text, char *why, size_t size)
{
	if (*text == '\0' || strchr(text, '/') || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		snprintf(why, size,
			 "is no file name: expected one without '/', such as "
			 "index.html");
	else if (has_control(text) || strlen(text) > NAME_MAX)
		snprintf(why, size, "is no usable file name: control characters, or too long");
}

/* Requests are matched after normalisation, so these could never match. */
void config_check_prefix(const char *text, char *why, size_t size)
{
	size_t len = strlen(text);

	if (*text != '/')
		snprintf(why, size, "must begin with '/'");
	else if (has_control(text) || strpbrk(text, "?#"))
		snprintf(why, size, "is no path: without query, fragment and control characters");
	else if (strstr(text, "//") || strstr(text, "/./") || strstr(text, "/../") ||
		 (len >= 2 && strcmp(text + len - 2, "/.") == 0) ||
		 (len >= 3 && strcmp(text + len - 3, "/..") == 0))
		snprintf(why, size, "can never match: expected no '//', '/.' or '/..'");
}

void config_check_site_name(const char *text, char *why, size_t size)
{
	const char *name = strncmp(text, "*.", 2) == 0 ? text + 2 : text;
	size_t len =
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	if (strcmp(text, "*") == 0)
		return;
	if (*name == '[' && strspn(name + 1, "0123456789abcdefABCDEF:.") + 2 == strlen(name) &&
	    name[strlen(name) - 1] == ']')
		return;
	if (name[len] == ':')
		snprintf(why, size,
			 "has a port: a site has a host name only, addresses belong "
			 "into listen");
	else if (*name == '\0' || name[len] || *name == '.' || strstr(name, "..") || len > 253)
		snprintf(why, size,
			 "is no host name: expected one such as www.example.org, "
			 "*.example.org or *");
}
