/* SPDX-License-Identifier: MIT */
/* One generation after the other; see reload.h. */
#include "proc/reload.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "proc/json_text.h"
#include "proc/master_internal.h"

/* New workers have nothing to wait for: one that is not ready by then hangs. */
#define READY_LIMIT_MS 10000u
/* Workers keep the drain limit themselves; one that does not is killed this much later. */
#define KILL_AFTER_MS 1000u

/* Answers ----------------------------------------------------------------------------------------------------- */

static void answer_all(struct reload_askers *a, json_t *answer)
{
	for (unsigned i = 0; i < a->count; i++)
		ctl_reply(a->requests[i], json_incref(answer));
	json_decref(answer);
	a->count = 0;
}

/* `details`: what goes before the error, as it is to be shown; NULL or "": nothing. */
static void answer_error(struct reload_askers *a, const char *error, const char *details)
{
	json_t *answer = json_pack("{s:b, s:o}", "ok", 0, "error", json_text(error));

	if (answer && details && details[0])
		json_object_set_new(answer, "details", json_text(details));
	answer_all(a, answer);
}

/* The end of an attempt -------------------------------------------------------------------------------------- */

static void end(struct reload *r)
{
	loop_timer_stop(&r->master->loop, &r->timer);
	json_decref(r->report);
	json_decref(r->warnings);
	r->report = r->warnings = NULL;
	r->next = r->before = NULL;
	r->state = RELOAD_NONE;
	upgrade_begin_waiting(&r->master->upgrade);
	/* How it went is for who asked; the manager wants to know that it is over. */
	if (r->master->state == MASTER_SERVING)
		master_tell_ready(r->master);
	if (r->is_wanted && r->master->state == MASTER_SERVING)
		loop_again(&r->master->loop, &r->begin);
}

static void fail(struct reload *r, const char *error, const char *details)
{
	if (r->master->state == MASTER_FOLLOWING) {
		log_error("cannot take over: %s", error);
		elder_refuse(r->master, error, details);
		/* The word to go on may be under way already, and what was to go on is given up. */
		r->next = NULL;
		r->state = RELOAD_NONE;
		return;
	}
	log_error("not reloaded, nothing has changed: %s", error);
	answer_error(&r->asking, error, details);
	end(r);
}

/* The workers of the next generation have nothing to lose yet.  Its number is not given again: they may still look. */
static void give_up(struct reload *r, const char *error)
{
	struct generation *g = r->next;
	const struct generation *current = r->before ? r->before : r->master->current;

	g->state = GENERATION_FAILED;
	generation_release(g, current, g->steer == current->steer ? g->steer : NULL);
	loop_timer_start(&r->master->loop, &g->kill_timer, KILL_AFTER_MS);
	supervisor_stop(&g->workers, SIGQUIT);
	supervisor_stop(&g->monitor, SIGTERM);
	supervisor_stop(&g->storers, SIGTERM);
	supervisor_stop(&g->sharer, SIGTERM);
	fail(r, error, NULL);
}

void reload_finish(struct reload *r)
{
	struct master *m = r->master;
	double took_ms = (double)(clock_ns() - r->started_ns) / NS_PER_MS;
	unsigned workers = 0, connections = 0, udp_sessions = 0;
	uint64_t moved;

	elder_refresh_stats(m);
	moved = generation_moved(r->before) - r->before->moved_before;
	list_for_each(node, &m->generations) {
		const struct generation *g = container_of(node, struct generation, node);

		for (unsigned i = 0; g->state == GENERATION_LEAVING && i < g->worker_count; i++) {
			connections += g->stats[i].connections;
			workers += g->stats[i].connections > 0;
			udp_sessions += g->stats[i].udp_sessions;
		}
	}
	if (r->report) {
		json_object_set_new(r->report, "took_ms", json_real((double)(uint64_t)(took_ms * 10) / 10));
		json_object_set_new(r->report, "moved", json_integer((json_int_t)moved));
		json_object_set_new(r->report, "draining",
				    json_pack("{s:I, s:I}", "workers", (json_int_t)workers, "connections",
					      (json_int_t)connections));
		json_object_set_new(r->report, "udp", json_pack("{s:I}", "draining", (json_int_t)udp_sessions));
		json_object_set(r->report, "warnings", r->warnings);
	}
	log_info("generation %u serves after %.0f ms: %llu connections moved, %u stay with %u old workers",
		 m->current->number, took_ms, (unsigned long long)moved, connections, workers);
	elder_tell_done(m, r->report);
	answer_all(&r->asking, json_pack("{s:b, s:O}", "ok", 1, "reload", r->report));
	end(r);
	loop_again(&m->loop, &m->sweep);
}

void reload_on_all_ready(struct reload *r, struct generation *g)
{
	if (r->state != RELOAD_STARTING || g != r->next)
		return;
	if (r->master->state == MASTER_FOLLOWING)
		elder_tell_ready(r->master);
	else
		reload_hand_over(r);
}

void reload_on_failed(struct reload *r, struct generation *g, unsigned slot, const char *how)
{
	char text[CTL_ERROR_TEXT];

	if (r->state != RELOAD_STARTING || g != r->next)
		return;
	snprintf(text, sizeof(text), "a new worker (%u) %s", slot, how);
	give_up(r, text);
}

/* Beginning --------------------------------------------------------------------------------------------------- */

/* What is logged while the generation is made is what went wrong, and who asked is to see it. */
static void on_log(void *ctx, enum log_level level, const char *message)
{
	if (level == LOG_ERROR)
		fprintf(ctx, "%s\n", message);
}

static struct generation *make(struct reload *r, const struct config *config, struct config *own, char **ret_details)
{
	struct generation *g = NULL;
	size_t len;
	FILE *out = open_memstream(ret_details, &len);

	if (!out)
		return NULL;
	log_set_tap(on_log, out);
	if (generation_new(r->master, config, own, r->before ? r->before : r->master->current, &g) < 0)
		config_free(own);
	log_set_tap(NULL, NULL);
	fclose(out);
	return g;
}

static void fork_all(struct reload *r, struct generation *g)
{
	char text[CTL_ERROR_TEXT];
	int err;

	r->next = g;
	r->state = RELOAD_STARTING;
	loop_timer_start(&r->master->loop, &r->timer, READY_LIMIT_MS);
	master_start_monitor(g);
	master_start_storers(g);
	master_start_sharer(g);
	err = master_start_workers(g);
	if (!err)
		return;
	snprintf(text, sizeof(text), "cannot start workers: %s", strerror(-err));
	give_up(r, text);
}

/* `own`: the same configuration, if it is to be freed. */
static void put_to_work(struct reload *r, const struct config *config, struct config *own)
{
	char *details = NULL;
	struct generation *g = make(r, config, own, &details);

	if (g)
		fork_all(r, g);
	else
		fail(r, "the configuration is correct, but cannot be put to work", details);
	free(details);
}

void reload_follow(struct reload *r, const struct config *config)
{
	r->started_ns = clock_ns();
	put_to_work(r, config, NULL);
}

static void build(struct reload *r, struct config *config)
{
	r->warnings = json_array();
	if (!reload_keep_fixed(r->master->current->config, config, r->warnings)) {
		config_free(config);
		fail(r, "out of memory", NULL);
		return;
	}
	put_to_work(r, config, config);
}

static void refuse_faults(struct reload *r, const struct config_errors *errors, const char *path)
{
	unsigned count = errors->count + errors->omitted;
	char text[CTL_ERROR_TEXT], *details = NULL;
	size_t len;
	FILE *out = open_memstream(&details, &len);

	if (out) {
		config_errors_print(errors, out);
		fclose(out);
	}
	snprintf(text, sizeof(text), "%u error%s in '%s'", count, count == 1 ? "" : "s", path);
	fail(r, text, details);
	free(details);
}

static void begin(struct reload *r)
{
	const char *path = r->master->current->config->path;
	struct config_errors errors;
	struct config *config = NULL;

	r->asking = r->waiting;
	r->waiting.count = 0;
	r->is_wanted = false;
	r->started_ns = clock_ns();
	service_reloading(&r->master->service);
	if (!path) {
		fail(r, "the server was started without a file, so there is none to read", NULL);
		return;
	}
	if (config_load(path, &config, &errors) < 0)
		refuse_faults(r, &errors, path);
	config_errors_free(&errors);
	if (config)
		build(r, config);
}

static void on_begin(struct job *j)
{
	struct reload *r = container_of(j, struct reload, begin);

	if (r->state == RELOAD_NONE && r->is_wanted && r->master->state == MASTER_SERVING &&
	    upgrade_is_idle(&r->master->upgrade))
		begin(r);
}

static void on_timer(struct timer *t)
{
	struct reload *r = container_of(t, struct reload, timer);

	if (r->state == RELOAD_HANDING)
		reload_on_hand_timer(r);
	else if (r->state == RELOAD_STARTING)
		give_up(r, "the new workers are not ready in time");
}

void reload_init(struct reload *r, struct master *m)
{
	*r = (struct reload){ .master = m };
	timer_init(&r->timer, on_timer);
	job_init(&r->begin, on_begin);
}

void reload_ask(struct reload *r, struct ctl_request *rq)
{
	const struct master *m = r->master;

	if (m->state != MASTER_SERVING || r->waiting.count == CTL_CLIENT_MAX) {
		const char *why = m->state == MASTER_STOPPING  ? "the server is stopping"
				  : m->state == MASTER_LEAVING ? "another master serves now: ask it"
				  : m->state == MASTER_SERVING ? "too many clients wait for a reload"
							       : "the server is still starting";

		if (rq)
			ctl_reply_error(rq, "%s", why);
		else
			log_warn("not reloaded: %s", why);
		return;
	}
	if (rq)
		r->waiting.requests[r->waiting.count++] = rq;
	r->is_wanted = true;
	/* One after the other: all who ask before the file is read are answered by the same. */
	if (r->state == RELOAD_NONE)
		loop_again(&r->master->loop, &r->begin);
}

void reload_begin_waiting(struct reload *r)
{
	if (r->is_wanted)
		loop_again(&r->master->loop, &r->begin);
}

void reload_refuse_waiting(struct reload *r, const char *why)
{
	r->is_wanted = false;
	answer_error(&r->waiting, why, NULL);
}

void reload_cancel(struct reload *r)
{
	static const char why[] = "the server is stopping";

	if (r->state == RELOAD_STARTING)
		give_up(r, why);
	else if (r->state == RELOAD_HANDING)
		reload_finish(r);
	reload_refuse_waiting(r, why);
}

void reload_fini(struct reload *r)
{
	loop_timer_stop(&r->master->loop, &r->timer);
	job_cancel(&r->begin);
	json_decref(r->report);
	json_decref(r->warnings);
}
