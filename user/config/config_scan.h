/* SPDX-License-Identifier: MIT */
/*
 * The shape of a file: braces, keys in the sections that know them, one value each.  libconfuse
 * stops at its first error; the scanner reports every one, leaves the faulty statement out and
 * writes what remains as a text that libconfuse takes, token for token, on the lines of the
 * original and without comments.
 *
 * Two keys of our own are written into it, which no user can write:
 * - CONFIG_TITLE, first in every section that has a title, holds it.  The title libconfuse gets to
 * see is a serial number: it would merge two sections of the same title, and we want to report
 * both.  It also gives the line, which libconfuse forgets.  In a section without title it only says
 * that the section was written: libconfuse makes up those that were not.
 * - CONFIG_GAP stands where a statement was left out whose absence could be mistaken for a second
 * fault ("route has no handler").
 */
#ifndef SLUICE_PROC_CONFIG_SCAN_H
#define SLUICE_PROC_CONFIG_SCAN_H

#include "config/config_errors.h"

#define CONFIG_TITLE "@"
#define CONFIG_GAP   "?"

/* *ret_text is the caller's to free.  0, -EINVAL (not a text file), -ENOMEM; faults go to f in
 * every case. */
int config_scan(struct config_faults *f, char **ret_text);

#endif
