/* SPDX-License-Identifier: MIT */
/* The version of the program, in one place. */
#ifndef SLUICE_PROC_VERSION_H
#define SLUICE_PROC_VERSION_H

#define SLUICE_VERSION "0.1.0"

#endif
