/* SPDX-License-Identifier: MIT */
/* How often the kernel ran the steering programs, by its own count: what the verdicts must add up
 * to. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "net/steer_impl.h"

static int read_runs(int prog_fd, uint64_t *ret_runs)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(prog_fd, &info, &len))
		return -errno;
	*ret_runs = info.run_cnt;
	return 0;
}

uint64_t steer_runs_of(int prog_fd)
{
	uint64_t runs;

	return read_runs(prog_fd, &runs) == 0 ? runs : 0;
}

int steer_read_runs(const struct steer *s, uint64_t *ret_runs)
{
	*ret_runs = s->past_runs;
	for (unsigned id = 0; id < s->address_count; id++) {
		uint64_t runs = 0;
		int err = s->addresses[id].socks_fd >= 0 ? read_runs(s->addresses[id].prog_fd, &runs) : 0;

		if (err)
			return err;
		*ret_runs += runs;
	}
	return 0;
}
