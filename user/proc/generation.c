/* SPDX-License-Identifier: MIT */
/* What a generation is made of; see generation.h. */
#include "proc/generation.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/master_internal.h"

unsigned generation_cpu_of(const struct generation *g, unsigned slot)
{
	return g->cpus.ids[slot % g->cpus.count];
}

/* Steering ---------------------------------------------------------------------------------------------------- */

struct steer_options generation_steer_options(const struct generation *g)
{
	const struct config_steering *conf = &g->config->steering;

	return (struct steer_options){
		.slot_count = g->worker_count,
		.policy = conf->policy,
		.bucket_ns = conf->reservation_ns ? conf->reservation_ns : STEER_NO_RESERVATIONS,
		.stall_ns = conf->stall_ns,
		.choices = conf->choices,
		.band = conf->band,
		.pending_weight = conf->pending_weight,
		.pin_dir = g->config->pin,
		.is_disabled = conf->is_disabled,
	};
}

static int open_first_steer(struct generation *g)
{
	const struct config_steering *conf = &g->config->steering;
	struct steer_options opt = generation_steer_options(g);
	int err = steer_open(&opt, &g->steer);

	if (err) {
		log_error("cannot set up steering: %s", strerror(-err));
		return err;
	}
	if (steer_is_active(g->steer)) {
		if (g->config->pin && steer_pin_error(g->steer))
			log_warn("maps are not pinned: %s", steer_pin_error(g->steer));
	} else if (!conf->is_disabled && !conf->is_required) {
		log_warn("STEERING IS OFF: %s; the kernel's hash spreads connections, all else works",
			 steer_why(g->steer));
	}
	return 0;
}

/* The same maps, unless their size changes or another program made them: this one may know other layouts. */
static int open_steer(struct generation *g, const struct generation *before)
{
	int err = 0;

	if (!before)
		err = open_first_steer(g);
	else if (before->worker_count == g->worker_count && !before->elder)
		g->steer = before->steer;
	else
		err = steer_resize(before->steer, g->worker_count, &g->steer);
	if (err && before)
		log_error("cannot set up steering for %u workers: %s", g->worker_count, strerror(-err));
	if (err)
		return err;
	if (g->config->steering.is_required && !steer_is_active(g->steer)) {
		log_error("steering is required and not to be had: %s", steer_why(g->steer));
		return -EOPNOTSUPP;
	}
	return 0;
}

static void release_steer(struct generation *g, const struct generation *heir)
{
	if (!heir || heir->steer != g->steer)
		steer_close(g->steer);
	g->steer = NULL;
}

/* Memory, inboxes, log ---------------------------------------------------------------------------------------- */

static int open_stats(struct generation *g)
{
	int err = shm_new(&g->stats_memory, "sluice-stats", g->worker_count * sizeof(*g->stats));

	if (err)
		log_error("cannot map the statistics: %s", strerror(-err));
	g->stats = g->stats_memory.at;
	return err;
}

static int open_inboxes(struct generation *g, const struct generation *before)
{
	/* None: those of an earlier master, with parcels of another layout. */
	int err = before && before->inboxes.count
			  ? inboxes_take_over(&g->inboxes, &before->inboxes, g->worker_count)
			  : inboxes_open(&g->inboxes, g->worker_count);

	if (err)
		log_error("cannot open the workers' inboxes: %s", strerror(-err));
	return err;
}

static void release_inboxes(struct generation *g, const struct generation *heir)
{
	if (!heir) {
		inboxes_close(&g->inboxes);
		return;
	}
	inboxes_close_apart(&g->inboxes, &heir->inboxes);
	inboxes_release(&g->inboxes);
}

static int open_log(const struct generation *g, int *ret_fd)
{
	const char *path = g->config->log.access;
	int err;

	*ret_fd = -1;
	if (!path)
		return 0;
	if (strcmp(path, "-") == 0)
		*ret_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		*ret_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
	if (*ret_fd >= 0)
		return 0;
	/* Kept: writing the message changes errno. */
	err = -errno;
	log_error("cannot open access log '%s': %s", path, strerror(-err));
	return err;
}

bool generation_reopen_log(struct generation *g)
{
	char byte = CHANNEL_LOG;
	int fd;

	if (g->log_fd < 0 || open_log(g, &fd) < 0)
		return false;
	close(g->log_fd);
	g->log_fd = fd;
	for (unsigned i = 0; i < g->workers.count; i++) {
		struct supervised *w = &g->workers.workers[i];

		if (w->channel.fd >= 0 && fd_pass_send(w->channel.fd, &byte, 1, fd) < 0)
			log_warn("worker %u keeps the old access log", i);
	}
	return true;
}

/* Life -------------------------------------------------------------------------------------------------------- */

static void on_kill_timer(struct timer *t)
{
	struct generation *g = container_of(t, struct generation, kill_timer);
	unsigned count = supervisor_living(&g->workers);

	if (count)
		log_warn("%u workers of generation %u did not end in time and are killed", count, g->number);
	supervisor_stop(&g->workers, SIGKILL);
	supervisor_stop(&g->monitor, SIGKILL);
	supervisor_stop(&g->storers, SIGKILL);
	supervisor_stop(&g->sharer, SIGKILL);
}

/* Made once, before the first worker that may need it: all that follow have the same. */
static int open_bus(const struct generation *g)
{
	struct master *m = g->master;
	int err;

	if (bus_is_open(&m->bus) || !runtime_has_channels(g->config))
		return 0;
	err = bus_open(&m->bus, 2 * g->worker_count, BUS_SEATS_MAX);
	if (err)
		log_error("cannot open the channels between workers: %s", strerror(-err));
	return err;
}

static int open_all(struct generation *g, const struct generation *before)
{
	struct master *m = g->master;
	int err = runtime_new(g->config, m->file_limit, &g->runtime);

	/* After the folders of the routes, which it names. */
	if (!err)
		err = sandbox_open(&g->sandbox, g->config);
	if (!err)
		err = open_log(g, &g->log_fd);
	if (!err)
		err = open_stats(g);
	if (!err)
		err = generation_open_upstreams(g, before);
	if (!err)
		err = generation_open_limits(g, before);
	if (!err)
		err = generation_open_stores(g, before);
	if (!err)
		err = generation_open_modules(g);
	if (!err)
		err = open_steer(g, before);
	if (!err)
		err = open_inboxes(g, before);
	if (!err)
		err = open_bus(g);
	if (!err)
		err = generation_open_listeners(g, before);
	if (!err)
		err = generation_open_udp(g, before);
	return err;
}

static struct generation *new_generation(struct master *m)
{
	struct generation *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->master = m;
	g->log_fd = -1;
	g->stats_memory = g->foreign_stats = (struct shm)SHM_NONE;
	list_init(&g->node);
	timer_init(&g->kill_timer, on_kill_timer);
	return g;
}

struct generation *generation_new_foreign(struct master *m, struct elder *elder)
{
	struct generation *g = new_generation(m);

	if (!g)
		return NULL;
	g->own_config = config_new();
	if (!g->own_config) {
		free(g);
		return NULL;
	}
	g->config = g->own_config;
	g->elder = elder;
	g->state = GENERATION_LEAVING;
	list_push_back(&m->generations, &g->node);
	return g;
}

int generation_new(struct master *m, const struct config *config, struct config *own, const struct generation *before,
		   struct generation **ret_generation)
{
	struct generation *g = new_generation(m);
	int err;

	*ret_generation = NULL;
	if (!g) {
		log_error("no memory for another generation");
		return -ENOMEM;
	}
	g->config = config;
	g->number = m->last_number + 1;
	cpus_detect(&g->cpus);
	g->worker_count = MIN(config->workers ? config->workers : g->cpus.usable, (unsigned)STEER_MAX_SLOTS);
	for (unsigned i = 0; i < g->worker_count; i++)
		g->is_released[i] = !before;
	err = open_all(g, before);
	if (err) {
		generation_release(g, before, before && g->steer == before->steer ? g->steer : NULL);
		generation_free(g);
		return err;
	}
	g->own_config = own;
	m->last_number = g->number;
	list_push_back(&m->generations, &g->node);
	*ret_generation = g;
	return 0;
}

void generation_release(struct generation *g, const struct generation *heir, struct steer *steer)
{
	generation_release_listeners(g, heir, steer);
	generation_close_udp_socks(g);
	release_inboxes(g, heir);
	release_steer(g, heir);
	runtime_free(g->runtime);
	g->runtime = NULL;
}

void generation_free(struct generation *g)
{
	loop_timer_stop(&g->master->loop, &g->kill_timer);
	list_remove(&g->node);
	supervisor_fini(&g->workers);
	supervisor_fini(&g->monitor);
	generation_free_udp(g);
	supervisor_fini(&g->storers);
	supervisor_fini(&g->sharer);
	generation_close_stores(g);
	generation_close_modules(g);
	upstream_table_close(&g->upstreams);
	generation_close_limits(g);
	sandbox_close(&g->sandbox);
	shm_free(&g->stats_memory);
	shm_free(&g->foreign_stats);
	json_decref(g->foreign_layout);
	if (g->log_fd >= 0)
		close(g->log_fd);
	free(g->endpoint_from);
	free(g->endpoint_now);
	config_free(g->own_config);
	free(g);
}

uint64_t generation_moved(const struct generation *g)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < g->worker_count; i++)
		count += __atomic_load_n(&g->stats[i].moved_out, __ATOMIC_RELAXED);
	return count;
}
