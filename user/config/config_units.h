/* SPDX-License-Identifier: MIT */
/*
 * Durations ("20ms", "1m30s"), sizes ("8k") and rates ("10r/s") of the configuration, both ways.  Pure functions.
 * A duration is one or more whole numbers, each with a unit (ns us ms s m h d), larger units first;
 * only 0 needs none. A size is one whole number with b, k, m or g (any case, powers of 1024);
 * without a unit it counts bytes.
 */
#ifndef SLUICE_PROC_CONFIG_UNITS_H
#define SLUICE_PROC_CONFIG_UNITS_H

#include <stdint.h>

#include "base/span.h"

#define CONFIG_NS  UINT64_C(1)
#define CONFIG_US  UINT64_C(1000)
#define CONFIG_MS  UINT64_C(1000000)
#define CONFIG_SEC UINT64_C(1000000000)

enum config_unit_fault {
	UNIT_OK,
	UNIT_NO_NUMBER, /* "", "ms", "-1s" */
	UNIT_FRACTION,	/* "1.5s" */
	UNIT_MISSING,	/* "20" as a duration */
	UNIT_UNKNOWN,	/* "20sec" */
	UNIT_ORDER,	/* "5s1m" */
	UNIT_TOO_LARGE, /* does not fit 64 bits */
};

/* *ret_ns and *ret_bytes are set only with UNIT_OK. */
enum config_unit_fault config_duration_parse(struct span text, uint64_t *ret_ns);
enum config_unit_fault config_size_parse(struct span text, uint64_t *ret_bytes);

/* "10r/s", "30r/m", "100r/h": requests per hour. */
enum config_unit_fault config_rate_parse(struct span text, uint64_t *ret_per_hour);

/* What is wrong, for a message: "needs a unit (ns us ms s m h d), such as 20ms".  Static. */
const char *config_duration_fault(enum config_unit_fault fault);
const char *config_size_fault(enum config_unit_fault fault);
const char *config_rate_fault(enum config_unit_fault fault);

/* Room for any value, its unit and NUL. */
#define CONFIG_UNIT_TEXT 32
/* In the largest unit that leaves no rest: "1500ms", "8k", "0".  Return out. */
char *config_duration_print(uint64_t ns, char out[CONFIG_UNIT_TEXT]);
char *config_size_print(uint64_t bytes, char out[CONFIG_UNIT_TEXT]);
char *config_rate_print(uint64_t per_hour, char out[CONFIG_UNIT_TEXT]);

#endif
