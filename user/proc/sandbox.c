/* SPDX-License-Identifier: MIT */
/* How much of the fence there is; see sandbox.h. */
#include "proc/sandbox.h"

#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/sandbox_impl.h"
#include "stats_shm.h"

const char *sandbox_why(const struct sandbox *s)
{
	if (s->mode == SANDBOX_OFF)
		return "turned off";
	if (!s->has_seccomp && s->landlock_abi == 0)
		return "this kernel has neither seccomp nor Landlock for us";
	if (!s->has_seccomp)
		return "this kernel has no seccomp for us";
	return s->landlock_abi == 0 ? "this kernel has no Landlock for us" : NULL;
}

static int make_fences(struct sandbox *s, const struct config *c)
{
	for (unsigned role = 0; role < SANDBOX_ROLE_COUNT; role++) {
		s->fences[role] = fence_new(s->landlock_abi, (enum sandbox_role)role, c);
		if (s->fences[role] < 0)
			return s->fences[role];
	}
	return 0;
}

int sandbox_open(struct sandbox *s, const struct config *c)
{
	*s = (struct sandbox){ .mode = c->sandbox, .has_udp = c->udp_listen_count > 0, .fences = { -1, -1, -1, -1 } };
	if (s->mode == SANDBOX_OFF)
		return 0;
	s->has_seccomp = filter_is_possible();
	s->landlock_abi = fence_abi();
	if (sandbox_why(s)) {
		if (s->mode == SANDBOX_STRICT) {
			log_error("the sandbox is to be strict and cannot be: %s", sandbox_why(s));
			return -EOPNOTSUPP;
		}
		log_warn("the sandbox is not whole: %s", sandbox_why(s));
	}
	return s->landlock_abi ? make_fences(s, c) : 0;
}

void sandbox_close(struct sandbox *s)
{
	for (unsigned role = 0; role < SANDBOX_ROLE_COUNT; role++) {
		if (s->fences[role] > 0) /* 0: never opened */
			close(s->fences[role]);
		s->fences[role] = -1;
	}
}

int sandbox_enter(const struct sandbox *s, enum sandbox_role role, uint64_t *refused)
{
	int bits = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? CONFINED_NO_NEW_PRIVS : 0;
	int err = 0;

	/* The time zone of the access log is read at its first use, from a file that is out of reach from here on. */
	tzset();
	if (s->fences[role] > 0) {
		err = fence_enter(s->fences[role]);
		bits |= err ? 0 : CONFINED_LANDLOCK;
	}
	if (!err && s->has_seccomp) {
		err = filter_enter(role, s->has_udp, s->mode == SANDBOX_STRICT, refused);
		bits |= err ? 0 : CONFINED_SECCOMP;
	}
	return err ? err : bits;
}
