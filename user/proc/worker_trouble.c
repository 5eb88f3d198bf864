/* SPDX-License-Identifier: MIT */
/*
 * What a worker had to give up for want of descriptors, memory or room on a disk.  All of it is counted where it happens;
 * this is what makes an operator look, and it must not fill the disk in turn: one line for each kind in ten seconds, with
 * how much it was since the line before.
 */
#include "base/err.h"
#include "base/log.h"
#include "proc/worker_internal.h"

#define TELL_EVERY_MS 10000u

static uint64_t count_of(const struct worker *w, enum trouble_kind kind)
{
	const struct stats_block *s = w->opt->stats;

	switch (kind) {
	case TROUBLE_ACCEPT:
		return s->accept_errors;
	case TROUBLE_MEMORY:
		return s->closed[CLOSE_MEMORY];
	default:
		return s->log_lost;
	}
}

static void tell(const struct worker *w, enum trouble_kind kind, unsigned long long count)
{
	switch (kind) {
	case TROUBLE_ACCEPT:
		log_warn("%llu connections could not be accepted at once: %s", count, strerror(-w->acceptor.error));
		break;
	case TROUBLE_MEMORY:
		log_warn("%llu connections were closed for want of memory or descriptors", count);
		break;
	default:
		log_warn("%llu lines of the access log are lost: %s", count, strerror(-w->log.error));
		break;
	}
}

/* The block has what workers of this slot before this one had trouble with. */
void worker_start_troubles(struct worker *w)
{
	for (unsigned kind = 0; kind < TROUBLE_COUNT; kind++)
		w->troubles[kind] = (struct trouble){.told = count_of(w, kind)};
}

void worker_tell_troubles(struct worker *w)
{
	for (unsigned kind = 0; kind < TROUBLE_COUNT; kind++) {
		struct trouble *t = &w->troubles[kind];
		uint64_t count = count_of(w, kind);

		if (count == t->told || w->loop.now_ms < t->next_ms)
			continue;
		tell(w, kind, count - t->told);
		t->told = count;
		t->next_ms = w->loop.now_ms + TELL_EVERY_MS;
	}
}
