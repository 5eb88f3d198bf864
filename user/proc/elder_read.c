/* SPDX-License-Identifier: MIT */
/*
 * What the master before this one passes on, made into memory, steering and generations.  Nothing in the text is believed
 * that would lead out of an array.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/elder_parcel.h"
#include "proc/master_internal.h"

#define INHERITED_MAX 1024u

/* Steering ---------------------------------------------------------------------------------------------------- */

static void read_addresses(struct steer_estate *e, const json_t *list, struct elder_parcel *p)
{
	e->address_count = (unsigned)MIN(json_array_size(list), (size_t)STEER_ESTATE_MAX);
	for (unsigned i = 0; i < e->address_count; i++) {
		const json_t *pair = json_array_get(list, i);

		e->addresses[i].socks_fd = parcel_take(p, json_array_get(pair, 0));
		e->addresses[i].prog_fd = parcel_take(p, json_array_get(pair, 1));
	}
}

static int read_steering(struct generation *g, const json_t *all, struct elder_parcel *p)
{
	const json_t *o = json_object_get(all, "steering");
	struct steer_estate *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	e->slot_count = text_count(o, "slots", STEER_MAX_SLOTS);
	e->is_active = text_flag(o, "is_active");
	e->can_migrate = text_flag(o, "can_migrate");
	e->why = text_string(o, "why");
	e->pin_dir = text_string(o, "pin_dir");
	e->pin_error = text_string(o, "pin_error");
	e->past_runs = (uint64_t)text_number(o, "runs");
	e->config = (struct steer_config){
		.policy = (uint32_t)text_number(o, "policy"),
		.slot_count = e->slot_count,
		.bucket_ns = (uint64_t)text_number(o, "bucket_ns"),
		.stall_ns = (uint64_t)text_number(o, "stall_ns"),
		.choices = (uint32_t)text_number(o, "choices"),
		.band = (uint32_t)text_number(o, "band"),
		.pending_weight = (uint32_t)text_number(o, "pending_weight"),
		.owner_pid = (uint32_t)getpid(),
	};
	for (unsigned i = 0; i < e->slot_count; i++) {
		e->weights[i] =
			(uint32_t)json_integer_value(json_array_get(json_object_get(o, "weights"), i));
		e->drained_weights[i] =
			(uint16_t)json_integer_value(json_array_get(json_object_get(o, "drained"), i));
	}
	e->verdicts_fd = parcel_has_layout(all, LAYOUT_VERDICTS) ? parcel_take(p, json_object_get(o, "verdicts")) : -1;
	e->pin_lock_fd = parcel_take(p, json_object_get(o, "pin_lock"));
	read_addresses(e, json_object_get(o, "addresses"), p);
	err = e->slot_count ? steer_restore(e, &g->steer) : -EBADMSG;
	free(e);
	return err;
}

/* Generations ------------------------------------------------------------------------------------------------- */

/* Theirs as ours, or, where they are laid out otherwise, beside ours. */
static int read_stats(struct generation *g, const json_t *all, const json_t *o, struct elder_parcel *p)
{
	json_t *theirs = json_object_get(all, "stats"), *ours = stats_layout();
	int fd = parcel_take(p, json_object_get(o, "stats")), err;
	size_t size = stats_layout_size(theirs);

	if (json_equal(theirs, ours)) {
		err = shm_map(&g->stats_memory, fd, g->worker_count * sizeof(*g->stats));
	} else {
		err = shm_map(&g->foreign_stats, fd, g->worker_count * size);
		if (!err)
			err = shm_new(&g->stats_memory, "sluice-stats", g->worker_count * sizeof(*g->stats));
		g->foreign_layout = json_incref(theirs);
	}
	json_decref(ours);
	g->stats = g->stats_memory.at;
	return err;
}

static int read_table(struct generation *g, const json_t *all, const json_t *o, struct elder_parcel *p)
{
	unsigned count = text_count(o, "endpoints", CONFIG_ENDPOINTS_MAX), rows = text_count(o, "rows", STEER_MAX_SLOTS + 1);
	int fd = parcel_take(p, json_object_get(o, "upstreams")), err;
	const json_t *now = json_object_get(o, "now");

	if (fd < 0 || !count || !rows || !parcel_has_layout(all, LAYOUT_UPSTREAMS)) {
		sock_close(fd);
		count = 0;
	} else {
		err = upstream_table_map(&g->upstreams, fd, count, rows);
		if (err)
			return err;
	}
	g->own_config->endpoint_count = count;
	g->endpoint_from = calloc(count + 1, sizeof(*g->endpoint_from));
	g->endpoint_now = calloc(count + 1, sizeof(*g->endpoint_now));
	if (!g->endpoint_from || !g->endpoint_now)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		json_int_t at = json_integer_value(json_array_get(now, i));

		g->endpoint_from[i] = GENERATION_NO_ENDPOINT;
		g->endpoint_now[i] = at >= 0 && at < CONFIG_ENDPOINTS_MAX ? (unsigned)at : GENERATION_NO_ENDPOINT;
	}
	return 0;
}

static int read_generation(struct master *m, struct elder *elder, const json_t *all, const json_t *o,
			   struct elder_parcel *p)
{
	struct generation *g = elder ? generation_new_foreign(m, elder) : NULL;
	int err;

	if (!g)
		return -ENOMEM;
	g->number = (uint32_t)text_number(o, "number");
	g->worker_count = text_count(o, "workers", STEER_MAX_SLOTS);
	if (g->worker_count == 0)
		return -EBADMSG;
	err = read_stats(g, all, o, p);
	if (!err)
		err = read_table(g, all, o, p);
	m->reload.before = g;
	return err;
}

static int read_generations(struct master *m, struct elder *elder, const json_t *all, struct elder_parcel *p)
{
	const json_t *list = json_object_get(all, "generations"), *elders = json_object_get(all, "elders");
	struct elder **older = calloc(json_array_size(elders) + 1, sizeof(struct elder *));
	size_t count = json_array_size(elders);
	int err = older ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !err; i++) {
		int fd = parcel_take(p, json_array_get(elders, i));

		err = fd < 0 ? -EBADMSG : elder_add(m, fd, false, &older[i]);
	}
	for (size_t i = 0; i < json_array_size(list) && !err; i++) {
		const json_t *o = json_array_get(list, i);
		json_int_t whose = text_number(o, "elder");

		err = read_generation(m, whose >= 0 && whose < (json_int_t)count ? older[whose] : elder, all, o, p);
	}
	free(older);
	return err ? err : m->reload.before ? 0 : -EBADMSG;
}

static int read_inboxes(struct generation *g, const json_t *all, struct elder_parcel *p)
{
	const json_t *o = json_object_get(all, "inboxes"), *fds = json_object_get(o, "fds");
	unsigned count = (unsigned)json_array_size(fds) / 2;
	int err;

	if (!parcel_has_layout(all, LAYOUT_INBOX) || count == 0 || count > STEER_MAX_SLOTS)
		return 0;
	err = inboxes_map_waiting(&g->inboxes, parcel_take(p, json_object_get(o, "waiting")));
	if (err)
		return err;
	g->inboxes.fds = calloc(count, sizeof(*g->inboxes.fds));
	if (!g->inboxes.fds)
		return -ENOMEM;
	for (; g->inboxes.count < count; g->inboxes.count++)
		for (unsigned k = 0; k < 2; k++) {
			int fd = parcel_take(p, json_array_get(fds, 2 * g->inboxes.count + k));

			if (fd < 0)
				return -EBADMSG;
			g->inboxes.fds[g->inboxes.count][k] = fd;
		}
	return 0;
}

/* The whole --------------------------------------------------------------------------------------------------- */

/* Of generations that are gone; nobody changes it any more. */
static int read_past(struct master *m, const json_t *all, struct elder_parcel *p)
{
	const json_t *layout = json_object_get(all, "stats");
	size_t size = stats_layout_size(layout);
	struct shm past;
	int err = shm_map(&past, parcel_take(p, json_object_get(all, "past")), STEER_MAX_SLOTS * size);

	for (unsigned i = 0; i < STEER_MAX_SLOTS && !err; i++)
		stats_import(&m->past[i], (const char *)past.at + i * size, layout);
	shm_free(&past);
	return err;
}

static int read_memory(struct master *m, const json_t *all, struct elder_parcel *p)
{
	int err = master_open_memory(m);

	if (!err)
		err = read_past(m, all, p);
	/* Theirs, in which their workers look. */
	shm_free(&m->owners_memory);
	if (!err)
		err = shm_map(&m->owners_memory, parcel_take(p, json_object_get(all, "owners")),
			      STEER_MAX_SLOTS * sizeof(*m->owners));
	m->owners = m->owners_memory.at;
	return err;
}

static int read_inherited(struct master *m, const json_t *list, struct elder_parcel *p)
{
	int err = inherit_restore(&m->inherited, (unsigned)MIN(json_array_size(list), (size_t)INHERITED_MAX));

	for (unsigned i = 0; i < m->inherited.count && !err; i++)
		inherit_set(&m->inherited, i, parcel_take(p, json_array_get(list, i)));
	return err;
}

/* What cannot change while the server runs, a new program or not. */
static int keep_fixed(struct master *m, const struct config *was, struct config *config)
{
	m->reload.warnings = json_array();
	return reload_keep_fixed(was, config, m->reload.warnings) ? 0 : -ENOMEM;
}

/* Until now what we said there went to whoever asked for the upgrade; children that live longer are to have the real one. */
static void take_stderr(struct elder_parcel *p, const json_t *all)
{
	int fd = parcel_take(p, json_object_get(all, "stderr"));

	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
	sock_close(fd);
}

int elder_unpack(struct master *m, struct elder *elder, struct elder_parcel *p, struct config *config)
{
	const json_t *all = p->text;
	struct generation *before;
	int err;

	if (text_number(all, "protocol") != UPGRADE_PROTOCOL) {
		log_error("the running server (version %s) speaks protocol %d of upgrades, this program (%s) %d: stop the"
			  " one and start the other", text_string(all, "version") ? text_string(all, "version") : "?",
			  (int)text_number(all, "protocol"), SLUICE_VERSION, UPGRADE_PROTOCOL);
		return -EPROTONOSUPPORT;
	}
	m->last_number = (uint32_t)text_number(all, "number");
	m->started_ns = (uint64_t)text_number(all, "started_ns");
	m->ctl_fd = parcel_take(p, json_object_get(all, "control_fd"));
	take_stderr(p, all);
	err = read_memory(m, all, p);
	if (!err)
		err = read_inherited(m, json_object_get(all, "inherited"), p);
	if (!err)
		err = read_generations(m, elder, all, p);
	before = m->reload.before;
	if (!err)
		err = read_steering(before, all, p);
	if (!err)
		err = read_inboxes(before, all, p);
	if (!err)
		err = elder_read_config(before, all, p);
	if (!err)
		err = keep_fixed(m, before->config, config);
	if (err)
		log_error("cannot make use of what the running server passes on: %s", strerror(-err));
	return err;
}
