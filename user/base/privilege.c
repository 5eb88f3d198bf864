/* SPDX-License-Identifier: MIT */
/* Giving up rights; see privilege.h. */
#include "base/privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"

int identity_of(const char *user, struct identity *ret_identity)
{
	const struct passwd *pw;

	*ret_identity = (struct identity){ .uid = geteuid(), .gid = getegid() };
	if (geteuid() != 0)
		return 0;
	errno = 0;
	pw = getpwnam(user);
	if (!pw)
		return errno ? -errno : -ENOENT;
	*ret_identity = (struct identity){ pw->pw_uid, pw->pw_gid, true };
	return 0;
}

static int become(const struct identity *id)
{
	capng_clear(CAPNG_SELECT_BOTH);
	/* The bounding set needs CAP_SETPCAP, which a container may have taken away: then without. */
	if (capng_change_id((int)id->uid, (int)id->gid,
			    CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(id->gid, id->gid, id->gid) < 0 ||
	    setresuid(id->uid, id->uid, id->uid) < 0)
		return -errno;
	return 0;
}

int privilege_drop(const struct identity *id)
{
	if (id->is_set) {
		int err = become(id);

		if (err)
			return err;
		capng_clear(CAPNG_SELECT_CAPS);
		if (id->uid != 0 && capng_apply(CAPNG_SELECT_CAPS) < 0)
			return -EPERM;
	}
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

unsigned privilege_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit raised = { limit.rlim_max, limit.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	return (unsigned)MIN(limit.rlim_cur, (rlim_t)(1u << 30));
}
