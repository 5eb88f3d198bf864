/* SPDX-License-Identifier: MIT */
/* What differs between processors, compilers and kinds of build: the only place for an #if about them. */
#ifndef SLUICE_BASE_COMPAT_H
#define SLUICE_BASE_COMPAT_H

#include <stdbool.h>
#include <ucontext.h>

/* The Makefile says so under SAN=: gcc itself names only some of the sanitizers. */
#ifdef SLUICE_SANITIZED
#define COMPAT_IS_SANITIZED true
#else
#define COMPAT_IS_SANITIZED false
#endif

/*
 * In a handler of SIGSYS that seccomp raised: what the system call that was not made returns.  False: nobody has written
 * this for the processor yet.
 */
static inline bool compat_set_syscall_result(ucontext_t *context, long value)
{
#if defined(__x86_64__)
	context->uc_mcontext.gregs[REG_RAX] = value;
	return true;
#elif defined(__aarch64__)
	context->uc_mcontext.regs[0] = (unsigned long long)value;
	return true;
#elif defined(__riscv)
	context->uc_mcontext.__gregs[REG_A0] = (unsigned long)value;
	return true;
#else
	return false;
#endif
}

#endif
