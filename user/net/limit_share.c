/* SPDX-License-Identifier: MIT */
/* Memory for what is told to other hosts; see limit_share.h. */
#include "net/limit_share.h"

#include <string.h>
#include <sys/mman.h>

#include "base/err.h"

int limit_share_open(struct limit_share *s, const struct limit_rate *rates, unsigned rate_count, unsigned worker_count,
		     uint64_t known_until_ns)
{
	size_t rings_size = worker_count * sizeof(struct limit_ring);
	size_t size = rings_size + sizeof(*s->header) + rate_count * sizeof(*rates);
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	*s = (struct limit_share){ 0 };
	if (memory == MAP_FAILED)
		return -ENOMEM;
	*s = (struct limit_share){
		.rings = (void *)memory,
		.worker_count = worker_count,
		.header = (void *)(memory + rings_size),
		.rates = (void *)(memory + rings_size + sizeof(*s->header)),
		.rate_count = rate_count,
		.size = size,
	};
	memcpy(s->rates, rates, rate_count * sizeof(*rates));
	s->header->known_until_ns = known_until_ns;
	return 0;
}

void limit_share_close(struct limit_share *s)
{
	if (s->header)
		munmap(s->rings, s->size);
	*s = (struct limit_share){ 0 };
}

struct limit_post limit_share_post(const struct limit_share *s, struct limit_table *t, unsigned worker, bool is_open)
{
	if (!s->header)
		return (struct limit_post){ NULL, NULL, NULL };
	BUG_ON(worker >= s->worker_count);
	return (struct limit_post){
		.ring = &s->rings[worker],
		.known_until_ns = is_open ? NULL : &s->header->known_until_ns,
		.untold = &t->header->share.untold,
	};
}

bool limit_ring_take(struct limit_ring *r, struct limit_use *ret_use)
{
	uint32_t tail = r->tail, head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);

	/* More than there is room for: no worker of ours has written that. */
	if (head - tail > LIMIT_RING_SIZE)
		tail = head;
	if (head == tail) {
		__atomic_store_n(&r->tail, tail, __ATOMIC_RELEASE);
		return false;
	}
	*ret_use = r->uses[tail % LIMIT_RING_SIZE];
	__atomic_store_n(&r->tail, tail + 1, __ATOMIC_RELEASE);
	return true;
}
