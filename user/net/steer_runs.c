/* SPDX-License-Identifier: MIT */
/* How often the kernel ran the steering programs, by its own count: what the verdicts must add up
 * to. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "net/steer_impl.h"

int steer_read_runs(const struct steer *s, uint64_t *ret_runs)
{
	*ret_runs = 0;
	for (unsigned id = 0; id < s->address_count; id++) {
		struct bpf_prog_info info = {0};
		__u32 len = sizeof(info);

		if (!s->addresses[id])
			continue;
		if (bpf_obj_get_info_by_fd(steer_prog_fd(s, s->addresses[id]), &info, &len))
			return -errno;
		*ret_runs += info.run_cnt;
	}
	return 0;
}
