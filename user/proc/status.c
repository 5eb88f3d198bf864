/* SPDX-License-Identifier: MIT */
/*
 * From numbers to the JSON of `status --json`.  Its names are a contract: fields are added, never
 * renamed.
 */
#include "proc/status.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "proc/json_text.h"
#include "proc/module_report.h"
#include "proc/stats.h"
#include "proc/store_report.h"
#include "proc/upstream_report.h"

/* An object being filled; once something failed it stays failed. */
struct filler {
	json_t *object;
	bool has_failed;
};

static struct filler fill_new(void)
{
	json_t *object = json_object();

	return (struct filler){object, !object};
}

/* Takes the value over; NULL fails. */
static void fill(struct filler *f, const char *name, json_t *value)
{
	if (json_object_set_new(f->object, name, value) < 0)
		f->has_failed = true;
}

static void fill_u64(struct filler *f, const char *name, uint64_t value)
{
	fill(f, name, json_integer((json_int_t)value));
}

static json_t *fill_end(struct filler *f)
{
	if (!f->has_failed)
		return f->object;
	json_decref(f->object);
	return NULL;
}

const char *status_worker_state(uint32_t state)
{
	static const char *const names[] = {
		[WORKER_DOWN] = "down",
		[WORKER_STARTING] = "starting",
		[WORKER_RUNNING] = "running",
		[WORKER_DRAINING] = "draining",
	};

	return state < ARRAY_LEN(names) ? names[state] : "unknown";
}

/* Counters that the JSON shows under their own names, for each worker and in the totals. */
static const struct {
	const char *name;
	size_t offset;
} counters[] = {
#define COUNTER(field)                                                                             \
	{                                                                                          \
#field, offsetof(struct stats_block, field)                                        \
	}
	COUNTER(accepted),	COUNTER(requests),	COUNTER(stalls),
	COUNTER(restarts),	COUNTER(bytes_in),	COUNTER(bytes_out),
	COUNTER(accept_errors), COUNTER(accept_pauses), COUNTER(keepalive_reuses),
	COUNTER(timeouts),	COUNTER(stale_events),	COUNTER(log_lost),
	COUNTER(moved_in),	COUNTER(moved_out),
	COUNTER(stall_kills),	COUNTER(rescued),
	COUNTER(sandbox_refused),
#undef COUNTER
};

static uint64_t *counter_of(struct stats_block *b, size_t i)
{
	return (uint64_t *)((char *)b + counters[i].offset);
}

static json_t *status_classes(const struct stats_block *b)
{
	static const char *const names[] = {"aborted", "1xx", "2xx", "3xx", "4xx", "5xx"};
	struct filler f = fill_new();

	_Static_assert(ARRAY_LEN(names) == ARRAY_LEN(b->status), "one name for each class");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		fill_u64(&f, names[i], b->status[i]);
	return fill_end(&f);
}

#define X(id, name) [id] = name,
static const char *const close_names[] = {CLOSE_REASONS(X)};
#undef X

static json_t *close_reasons(const struct stats_block *b)
{
	struct filler f = fill_new();

	for (size_t i = 0; i < ARRAY_LEN(close_names); i++)
		fill_u64(&f, close_names[i], b->closed[i]);
	return fill_end(&f);
}

/* What limits have refused or ended, under the words that the log has for them. */
static json_t *limited(const struct stats_block *b)
{
	static const enum close_reason reasons[] = {
		CLOSE_CLIENT_CONNECTIONS, CLOSE_TOTAL_CONNECTIONS, CLOSE_HEADER_RATE, CLOSE_BODY_RATE,
		CLOSE_WRITE_RATE,	  CLOSE_MAX_REQUESTS,	   CLOSE_MAX_AGE,
	};
	struct filler f = fill_new();

	fill_u64(&f, "rate_limited", b->rate_limited);
	fill_u64(&f, "rate_unknown", b->rate_unknown);
	fill_u64(&f, "memory", b->memory_refused);
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		fill_u64(&f, close_names[reasons[i]], b->closed[reasons[i]]);
	return fill_end(&f);
}

/* What hosts share; null where they do not. */
static json_t *shared_limits(const struct status_source *src)
{
	const struct limit_share_counts *c = &src->limits->header->share;
	struct filler f;

	if (!src->share || !src->share->header)
		return json_null();
	f = fill_new();
	fill(&f, "redis", json_text(src->share_config->redis));
	fill_u64(&f, "pid", src->sharer_pid);
	fill(&f, "known", json_boolean(src->now_ns < __atomic_load_n(&src->share->header->known_until_ns,
								     __ATOMIC_RELAXED)));
	fill(&f, "fail_open", json_boolean(!src->share_config->is_closed));
	fill_u64(&f, "round_trip_us", __atomic_load_n(&src->share->header->round_trip_ns, __ATOMIC_RELAXED) / 1000);
#define X(name) fill_u64(&f, #name, __atomic_load_n(&c->name, __ATOMIC_RELAXED));
	LIMIT_SHARE_COUNTS(X)
#undef X
	return fill_end(&f);
}

/* The tables that all workers share; null where nothing is counted for clients. */
static json_t *limits(const struct status_source *src)
{
	const struct limit_table *t = src->limits;
	struct filler f;

	if (!t || !t->header)
		return json_null();
	f = fill_new();
	fill_u64(&f, "clients", (uint64_t)(t->set_mask + 1) * LIMIT_WAYS);
	fill_u64(&f, "connections", __atomic_load_n(&t->header->connections, __ATOMIC_RELAXED));
	fill_u64(&f, "evicted", __atomic_load_n(&t->header->evicted, __ATOMIC_RELAXED));
	fill_u64(&f, "untracked", __atomic_load_n(&t->header->untracked, __ATOMIC_RELAXED));
	fill(&f, "shared", shared_limits(src));
	return fill_end(&f);
}

static json_t *websocket(const struct stats_websocket *ws)
{
	struct filler f = fill_new();

#define X(name) fill_u64(&f, #name, ws->name);
	STATS_WEBSOCKET(X)
#undef X
	return fill_end(&f);
}

static json_t *redis(const struct stats_block *b)
{
	struct filler f = fill_new();

#define X(name) fill_u64(&f, #name, b->redis.name);
	STATS_REDIS(X)
#undef X
	return fill_end(&f);
}

static void fill_counters(struct filler *f, struct stats_block *b, bool has_buckets)
{
	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		fill_u64(f, counters[i].name, *counter_of(b, i));
	fill(f, "status", status_classes(b));
	fill(f, "closed", close_reasons(b));
	fill(f, "websocket", websocket(&b->websocket));
	fill(f, "redis", redis(b));
	fill(f, "limited", limited(b));
	fill(f, "latency_us", status_quantiles(&b->latency_us, has_buckets));
	fill(f, "udp", status_udp_counters(&b->udp, b->udp_sessions));
}

/* Of one slot, or of all (-1). */
static uint64_t draining_of(const struct status_source *src, int slot)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < src->draining_count; i++)
		if (slot < 0 || src->draining[i].slot == (uint32_t)slot)
			count += src->draining[i].connections;
	return count;
}

static json_t *draining(const struct status_source *src)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < src->draining_count; i++) {
		const struct status_draining *d = &src->draining[i];
		struct filler f = fill_new();

		fill_u64(&f, "slot", d->slot);
		fill_u64(&f, "pid", d->pid);
		fill_u64(&f, "generation", d->generation);
		fill_u64(&f, "connections", d->connections);
		fill_u64(&f, "udp_sessions", d->udp_sessions);
		if (json_array_append_new(list, fill_end(&f)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *worker(const struct status_source *src, unsigned index, const struct status_slot *slot,
		      struct stats_block *b)
{
	struct filler f = fill_new();

	fill_u64(&f, "slot", index);
	fill_u64(&f, "cpu", slot->cpu);
	fill_u64(&f, "pid", slot->pid);
	fill(&f, "state",
	     json_string(slot->is_stalled && b->state == WORKER_RUNNING
				 ? "stalled"
				 : status_worker_state(b->state)));
	fill_u64(&f, "live", slot->live);
	fill_u64(&f, "draining", draining_of(src, (int)index));
	fill_u64(&f, "reserved", slot->reserved);
	fill_u64(&f, "pending", slot->pending);
	fill_u64(&f, "weight", slot->weight);
	fill_u64(&f, "generation", b->generation);
	fill(&f, "up", json_boolean(slot->is_up));
	fill(&f, "waiting", json_boolean(slot->is_waiting));
	fill_u64(&f, "stamp_age_ms", slot->stamp_age_ns / NS_PER_MS);
	fill_counters(&f, b, src->has_buckets);
	return fill_end(&f);
}

/* `workers` and, from the same copy of the counters, `totals`: their sums agree. */
static void fill_workers(struct filler *f, const struct status_source *src,
			 const struct status_steering *st)
{
	struct stats_block sum = {0};
	struct filler totals = fill_new();
	uint64_t live = 0, reserved = 0;
	json_t *list = json_array();

	for (unsigned i = 0; i < st->slot_count; i++) {
		struct stats_block copy = src->stats[i];

		if (json_array_append_new(list, worker(src, i, &st->slots[i], &copy)) < 0)
			f->has_failed = true;
		stats_add(&sum, &copy);
		sum.udp_sessions += copy.udp_sessions;
		live += st->slots[i].live;
		reserved += st->slots[i].reserved;
	}
	if (src->gone)
		stats_add(&sum, src->gone);
	fill_u64(&totals, "live", live);
	fill_u64(&totals, "draining", draining_of(src, -1));
	fill_u64(&totals, "reserved", reserved);
	fill_counters(&totals, &sum, false);
	fill(f, "workers", list);
	fill(f, "draining", draining(src));
	fill(f, "totals", fill_end(&totals));
	fill(f, "udp", status_udp(src, &sum));
}

static json_t *verdicts(const struct steer_verdicts *v, uint64_t *ret_runs)
{
	const struct {
		const char *name;
		uint64_t count;
	} all[] = {
		{"steered", v->steered},	 {"hashed", v->hashed},
		{"cookie_ack", v->cookie_ack},	 {"migrated", v->migrated},
		{"all_stalled", v->all_stalled}, {"no_socket", v->no_socket},
		{"bad_config", v->bad_config},	 {"short_header", v->short_header},
	};
	struct filler f = fill_new();

	_Static_assert(sizeof(all) / sizeof(all[0]) * 8 == sizeof(*v), "every verdict has a name");
	*ret_runs = 0;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		fill_u64(&f, all[i].name, all[i].count);
		*ret_runs += all[i].count;
	}
	return fill_end(&f);
}

static json_t *steering(const struct status_steering *st, const char *pin)
{
	struct filler f = fill_new();
	uint64_t runs;

	fill(&f, "policy", json_text(st->policy));
	fill(&f, "active", json_boolean(st->is_active));
	fill(&f, "why", json_text(st->is_active ? NULL : st->why));
	fill(&f, "can_migrate", json_boolean(st->can_migrate));
	fill(&f, "pin", json_text(st->is_active && !st->pin_error ? pin : NULL));
	fill(&f, "pin_error", json_text(st->pin_error));
	fill(&f, "verdicts", verdicts(&st->verdicts, &runs));
	fill_u64(&f, "runs", runs);
	fill_u64(&f, "program_runs", st->program_runs);
	return fill_end(&f);
}

/* What all workers have that serve: they set it themselves. */
static uint32_t confinement(const struct status_source *src, unsigned slot_count)
{
	uint32_t bits = UINT32_MAX;
	bool has_any = false;

	for (unsigned i = 0; i < slot_count; i++) {
		if (src->stats[i].state != WORKER_RUNNING && src->stats[i].state != WORKER_DRAINING)
			continue;
		bits &= src->stats[i].confined;
		has_any = true;
	}
	return has_any ? bits : 0;
}

static json_t *sandbox(const struct status_source *src, unsigned slot_count)
{
	static const char *const modes[] = {
		[SANDBOX_OFF] = "off", [SANDBOX_AUTO] = "auto", [SANDBOX_STRICT] = "strict"};
	const struct sandbox *s = src->sandbox;
	uint32_t bits = confinement(src, slot_count);
	struct filler f = fill_new();
	uint64_t refused = 0;

	for (unsigned i = 0; i < slot_count; i++)
		refused += src->stats[i].sandbox_refused;
	fill(&f, "mode", s ? json_string(modes[s->mode]) : json_null());
	fill(&f, "seccomp", json_boolean(bits & CONFINED_SECCOMP));
	fill_u64(&f, "landlock", s && (bits & CONFINED_LANDLOCK) ? (uint64_t)s->landlock_abi : 0);
	fill(&f, "no_new_privs", json_boolean(bits & CONFINED_NO_NEW_PRIVS));
	fill_u64(&f, "refused", refused);
	fill(&f, "why", json_text(s ? sandbox_why(s) : NULL));
	return fill_end(&f);
}

static json_t *listens(const struct listener *l, unsigned count)
{
	json_t *list = json_array();
	char address[SOCK_ADDR_TEXT];

	for (unsigned i = 0; i < count; i++) {
		struct filler f = fill_new();

		fill(&f, "address", json_text(sock_addr_print(&l[i].addr, address)));
		fill(&f, "steered", json_boolean(l[i].is_steered));
		fill(&f, "shared", json_boolean(l[i].is_shared));
		if (json_array_append_new(list, fill_end(&f)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

json_t *status_json(const struct status_source *src, const struct status_steering *st)
{
	struct filler f = fill_new();
	uint64_t up_ns = src->now_ns > src->started_ns ? src->now_ns - src->started_ns : 0;

	fill(&f, "version", json_text(src->version));
	fill_u64(&f, "pid", src->pid);
	fill_u64(&f, "uptime_s", up_ns / NS_PER_SEC);
	fill_u64(&f, "generation", src->generation);
	fill(&f, "state", json_text(src->state));
	fill(&f, "config", json_text(src->config));
	fill(&f, "control", json_text(src->control));
	fill_workers(&f, src, st);
	fill(&f, "steering", steering(st, src->pin));
	fill(&f, "limits", limits(src));
	fill(&f, "sandbox", sandbox(src, st->slot_count));
	fill(&f, "listen", listens(src->listens, src->listen_count));
	fill(&f, "upstreams", upstream_report_json(src->upstreams, src->upstream_table, src->now_ns));
	fill(&f, "stores", store_report_json(src->stores, src->store_stats));
	fill(&f, "modules", module_report_json(src->modules, src->module_sums));
	return fill_end(&f);
}
