/* SPDX-License-Identifier: MIT */
/*
 * Collecting the faults of one file.  Texts are made safe to print (no control characters, valid
 * UTF-8) and bounded, so that binary rubbish in a file cannot reach a terminal or break the JSON of
 * a reload's answer.
 */
#ifndef SLUICE_PROC_CONFIG_ERRORS_H
#define SLUICE_PROC_CONFIG_ERRORS_H

#include "base/span.h"
#include "config/config.h"

struct config_faults {
	struct config_errors *errors;
	const char *file; /* borrowed */
	struct span text; /* of the whole file, for source lines; borrowed */
};

/* column from 1 in bytes, 0 = no caret; line 0 = the file as a whole. */
void config_fault(struct config_faults *f, unsigned line, unsigned column, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/*
 * For faults found after parsing, when only the line is known: the caret goes to the value `needle`
 * after "key =", or after the word `key`; nowhere when it is not found in that line.  Both may be
 * NULL.
 */
void config_fault_value(struct config_faults *f, unsigned line, const char *key, const char *needle,
			const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Sorts by line and column and drops what was said twice. */
void config_faults_finish(struct config_faults *f);

#endif
