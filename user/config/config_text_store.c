/* SPDX-License-Identifier: MIT */
/* Checks of texts in `store`: its name and its folder. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config_schema.h"

#define NAME_MAX_BYTES 63 /* it stands in the log and in the status */

void config_check_store_name(const char *text, char *why, size_t size)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	if (*text == '\0' || text[len] || len > NAME_MAX_BYTES)
		snprintf(why, size, "is no name: expected letters, digits, '-', '_' and '.', at most %d", NAME_MAX_BYTES);
}

/* The folder itself is made when the server starts; the one it lies in must be there. */
void config_check_store_path(const char *text, char *why, size_t size)
{
	char folder[PATH_MAX];
	size_t len = strlen(text);
	struct stat st;

	config_check_pin(text, why, size);
	if (*why)
		return;
	while (len > 1 && text[len - 1] == '/')
		len--;
	snprintf(folder, sizeof(folder), "%.*s", (int)len, text);
	if (stat(folder, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			snprintf(why, size, "is not a folder");
		return;
	}
	if (errno != ENOENT) {
		snprintf(why, size, "cannot be: %s", strerror(errno));
		return;
	}
	while (len > 1 && folder[len - 1] != '/')
		len--;
	folder[len] = '\0';
	if (stat(folder, &st) != 0)
		snprintf(why, size, "cannot be made: the folder '%.200s': %s", folder, strerror(errno));
}
