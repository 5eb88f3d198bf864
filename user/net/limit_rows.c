/* SPDX-License-Identifier: MIT */
/* Memory for what each worker has of the connections in the shared table; see limit_table.h. */
#include <sys/mman.h>

#include "base/err.h"
#include "net/limit_table.h"

int limit_rows_open(struct limit_rows *r, const struct limit_table *t, unsigned worker_count)
{
	size_t row_len = (size_t)(t->set_mask + 1) * LIMIT_WAYS + 1;
	void *memory;

	*r = (struct limit_rows){ 0 };
	if (!t->header)
		return 0;
	memory = mmap(NULL, worker_count * row_len * sizeof(*r->memory), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	*r = (struct limit_rows){ .memory = memory, .worker_count = worker_count, .row_len = row_len };
	return 0;
}

void limit_rows_close(struct limit_rows *r)
{
	if (r->memory)
		munmap(r->memory, r->worker_count * r->row_len * sizeof(*r->memory));
	*r = (struct limit_rows){ 0 };
}

struct limit_row limit_rows_of(const struct limit_rows *r, unsigned worker)
{
	BUG_ON(r->memory && worker >= r->worker_count);
	return (struct limit_row){ r->memory ? r->memory + worker * r->row_len : NULL };
}
