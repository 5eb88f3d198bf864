/* SPDX-License-Identifier: MIT */
/*
 * Media types by file extension, from the system's table (/etc/mime.types, package media-types) over a small table of
 * our own for hosts that have none.
 */
#ifndef SLUICE_APP_MIME_H
#define SLUICE_APP_MIME_H

#include "base/span.h"

/*
 * Loads the table once for the process; a missing file is no error, a table already loaded stays.
 * `path` NULL: /etc/mime.types.  0 or -errno.
 */
int mime_load(const char *path);
void mime_unload(void);
/*
 * Of the last extension of a file name, case-insensitive; text types carry "; charset=utf-8".
 * Stays valid until mime_unload; ptr NULL when unknown.
 */
struct span mime_of(struct span file_name);

#endif
