/* SPDX-License-Identifier: MIT */
/*
 * Arrivals, the choice and the figures of a simulated host.  All memory is taken before the first
 * event: a connection has one event in the queue at a time, each slot one more.
 */
#include "sim/sim_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "steer_policy.h"

#define START_NS                                                                                   \
	1000000000000ull /* no clock starts at 0: stamps and epochs look as on a real host */
#define NS_PER_S   1e9
#define SD_SAMPLES 100 /* over the last tenth of the arrivals */

const char *sim_config_fault(const struct sim_config *c)
{
	if (c->slot_count < 1 || c->slot_count > STEER_MAX_SLOTS)
		return "slots must be 1 to 256";
	if (c->connection_count < 1 || c->connection_count > SIM_CONNECTIONS_MAX)
		return "connections must be 1 to 20 million";
	if (c->service.kind == SIM_DIST_NONE)
		return "service must not be none";
	if (c->rate != 0 && !(c->rate >= 0.001 && c->rate <= 1e9))
		return "rate must be 0.001 to 1e9 connections a second, or 0 for bursts only";
	if (c->rate == 0 && !c->herd_size)
		return "without a rate there must be a burst";
	if (c->rate == 0 && !c->herd_every_ns && c->herd_size < c->connection_count)
		return "one burst must hold all connections, or come again: every=TIME";
	if (c->lighter > c->held)
		return "lighter must not be more than held";
	if (c->stalls_for_ns && c->stalled_slot >= c->slot_count)
		return "stall-slot is not one of the slots";
	if (!(c->warmup >= 0 && c->warmup < 1))
		return "warmup must leave something to count";
	return NULL;
}

static void seed_streams(struct sim *sim, uint64_t seed)
{
	struct sim_rng *streams[] = {&sim->arrivals, &sim->services, &sim->lives, &sim->hashes,
				     &sim->cpus};

	for (unsigned i = 0; i < ARRAY_LEN(streams); i++)
		sim_rng_init(streams[i], seed, i);
}

/* The uneven start of trap 1: one worker a few connections lighter than the others. */
static void hold(struct sim *sim)
{
	const struct sim_config *c = sim->config;

	for (uint32_t i = 0; i < c->slot_count; i++) {
		sim->open[i] = c->held - (i == 3 % c->slot_count ? c->lighter : 0);
		sim->slots[i].live = sim->open[i];
	}
}

static int set_up(struct sim *sim, const struct sim_config *config, struct sim_policy policy,
		  uint64_t seed)
{
	sim->config = config;
	sim->now_ns = START_NS;
	sim->reserves = config->bucket_ns && !policy.counts_at_accept && policy.id != STEER_HASH;
	sim->steer = (struct steer_config){
		.policy = policy.id,
		.slot_count = config->slot_count,
		.bucket_ns = policy.counts_at_accept ? 0 : config->bucket_ns,
		.stall_ns = config->stall_ns,
		.choices = config->choices,
		.band = config->band,
		.pending_weight = config->pending_weight,
	};
	for (uint32_t i = 0; i < config->slot_count; i++) {
		sim_worker_init(sim, i);
		sim->weights[i] = STEER_DEFAULT_WEIGHT;
	}
	hold(sim);
	seed_streams(sim, seed);
	sim->conns = calloc(config->connection_count, sizeof(*sim->conns));
	sim->sojourns = calloc(config->connection_count, sizeof(*sim->sojourns));
	if (!sim->conns || !sim->sojourns)
		return -ENOMEM;
	return sim_queue_init(&sim->queue,
			      (size_t)config->connection_count + config->slot_count + 8);
}

static void tear_down(struct sim *sim)
{
	sim_queue_fini(&sim->queue);
	free(sim->sojourns);
	free(sim->conns);
	free(sim);
}

static uint32_t choose(struct sim *sim)
{
	uint32_t hash = (uint32_t)(sim_rng_next(&sim->hashes) >> 32);
	uint32_t cpu = sim_rng_below(&sim->cpus, sim->config->slot_count);
	uint32_t turn = steer_takes_turns(sim->steer.policy) ? sim->turn++ : 0;
	int pick = steer_pick(sim->slots, sim->weights, &sim->steer, hash, cpu, turn, sim->now_ns);

	if (pick >= 0) {
		if (sim->reserves)
			sim->slots[pick].resv =
				steer_resv_add(sim->slots[pick].resv,
					       steer_epoch(sim->now_ns, sim->steer.bucket_ns));
		return (uint32_t)pick;
	}
	sim->fallbacks++;
	return (uint32_t)((uint64_t)hash * sim->config->slot_count >> 32);
}

static double open_sd(const struct sim *sim)
{
	uint32_t n = sim->config->slot_count;
	double sum = 0, squares = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += sim->open[i];
	for (uint32_t i = 0; i < n; i++)
		squares += (sim->open[i] - sum / n) * (sim->open[i] - sum / n);
	return sqrt(squares / n);
}

static void sample_sd(struct sim *sim)
{
	sim->sd_sum += open_sd(sim);
	sim->sd_count++;
}

/* Share of the SYNs that a worker gets which the others cannot see stall. */
static void count_stall(struct sim *sim, uint32_t slot)
{
	uint32_t stalled = sim->config->stalled_slot;

	if (!sim->workers[stalled].is_stalled ||
	    sim->now_ns < sim->stall_began_ns + SIM_STALL_GRACE_NS)
		return;
	sim->in_stall++;
	sim->in_stall_to_it += slot == stalled;
}

static void syn(struct sim *sim)
{
	const struct sim_config *config = sim->config;
	uint32_t index = sim->conn_count++;
	struct sim_conn *c = &sim->conns[index];

	c->slot = (uint16_t)choose(sim);
	c->ready_ns = sim->now_ns + config->lag_ns;
	c->service_ns = sim_dist_draw(&config->service, &sim->services);
	c->life_ns = sim_dist_draw(&config->life, &sim->lives);
	c->is_counted = index >= config->warmup * config->connection_count;
	sim->open[c->slot]++;
	sim->herd[c->slot]++;
	sim->assigned[c->slot] += c->is_counted;
	count_stall(sim, c->slot);
	if (config->lag_ns)
		sim_queue_push(&sim->queue, c->ready_ns, SIM_READY, index);
	else
		sim_worker_ready(sim, index);
}

static bool is_complete(const struct sim *sim)
{
	return sim->conn_count == sim->config->connection_count;
}

static void on_arrival(struct sim *sim)
{
	uint32_t total = sim->config->connection_count;
	uint32_t step = MAX(total / 10 / SD_SAMPLES, 1);
	double gap_ns;

	if (is_complete(sim))
		return;
	syn(sim);
	if (sim->conn_count > total - total / 10 && sim->conn_count % step == 0)
		sample_sd(sim);
	gap_ns = -NS_PER_S / sim->config->rate * log(sim_rng_unit(&sim->arrivals));
	sim_queue_push(&sim->queue, sim->now_ns + (uint64_t)(gap_ns + 0.5), SIM_ARRIVAL, 0);
}

static double max_of_mean(const uint32_t *counts, uint32_t n)
{
	uint64_t sum = 0;
	uint32_t max = 0;

	for (uint32_t i = 0; i < n; i++) {
		sum += counts[i];
		max = MAX(max, counts[i]);
	}
	return sum ? (double)max * n / (double)sum : NAN;
}

static void on_herd(struct sim *sim)
{
	const struct sim_config *config = sim->config;

	if (is_complete(sim))
		return;
	memset(sim->herd, 0, sizeof(sim->herd));
	for (uint32_t i = 0; i < config->herd_size && !is_complete(sim); i++)
		syn(sim);
	sim->herd_ratio_sum += max_of_mean(sim->herd, config->slot_count);
	sim->herd_count++;
	sample_sd(sim);
	if (config->herd_every_ns)
		sim_queue_push(&sim->queue, sim->now_ns + config->herd_every_ns, SIM_HERD, 0);
}

static void on_event(struct sim *sim, const struct sim_event *event)
{
	switch ((enum sim_event_kind)event->kind) {
	case SIM_ARRIVAL:
		on_arrival(sim);
		break;
	case SIM_HERD:
		on_herd(sim);
		break;
	case SIM_READY:
		sim_worker_ready(sim, event->index);
		break;
	case SIM_SERVED:
		sim_worker_served(sim, event->index);
		break;
	case SIM_CLOSE:
		sim_worker_close(sim, event->index);
		break;
	case SIM_STALL:
		sim_worker_stall(sim, event->index);
		break;
	case SIM_RESUME:
		sim_worker_resume(sim, event->index);
		break;
	case SIM_LOOK:
		sim_watch_look(sim, event->index);
		break;
	}
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* After the last SYN, before time goes on. */
static void take_spread(const struct sim *sim, struct sim_result *result)
{
	for (uint32_t i = 0; i < sim->config->slot_count; i++)
		result->open[i] = sim->open[i];
	qsort(result->open, sim->config->slot_count, sizeof(result->open[0]), compare_double);
}

/* Until every request has its response; connections that live on then are of no interest any more.
 */
static void run_events(struct sim *sim, struct sim_result *result)
{
	const struct sim_config *config = sim->config;
	bool has_spread = false;
	struct sim_event event;

	if (config->rate > 0)
		sim_queue_push(&sim->queue, START_NS, SIM_ARRIVAL, 0);
	if (config->herd_size)
		sim_queue_push(&sim->queue, START_NS + config->herd_every_ns, SIM_HERD, 0);
	if (config->stalls_for_ns)
		sim_queue_push(&sim->queue, START_NS + config->stalls_at_ns, SIM_STALL,
			       config->stalled_slot);
	while (sim->served_count < config->connection_count && sim_queue_pop(&sim->queue, &event)) {
		sim->now_ns = event.at_ns;
		on_event(sim, &event);
		if (!has_spread && is_complete(sim)) {
			take_spread(sim, result);
			has_spread = true;
		}
	}
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Nearest rank of the sorted sojourn times. */
static double quantile(const struct sim *sim, double share)
{
	double rank = ceil(share * sim->sojourn_count - 1e-6);
	uint32_t i = rank < 1 ? 0 : (uint32_t)rank - 1;

	return (double)sim->sojourns[MIN(i, sim->sojourn_count - 1)];
}

double sim_curve_tail(unsigned point)
{
	return 0.5 * pow(5000, -(double)point / (SIM_CURVE_POINTS - 1));
}

static void sum_up_sojourns(struct sim *sim, struct sim_result *result)
{
	double sum = 0;

	qsort(sim->sojourns, sim->sojourn_count, sizeof(sim->sojourns[0]), compare_u64);
	for (uint32_t i = 0; i < sim->sojourn_count; i++)
		sum += (double)sim->sojourns[i];
	result->metrics[SIM_MEAN_NS] = sum / sim->sojourn_count;
	result->metrics[SIM_P50_NS] = quantile(sim, 0.5);
	result->metrics[SIM_P99_NS] = quantile(sim, 0.99);
	result->metrics[SIM_P999_NS] = quantile(sim, 0.999);
	for (unsigned i = 0; i < SIM_CURVE_POINTS; i++)
		result->curve_ns[i] = quantile(sim, 1 - sim_curve_tail(i));
}

static void sum_up(struct sim *sim, struct sim_result *result)
{
	double *metrics = result->metrics;

	sum_up_sojourns(sim, result);
	memcpy(result->assigned, sim->assigned, sizeof(result->assigned));
	metrics[SIM_MAX_OF_MEAN] = sim->herd_count
					   ? sim->herd_ratio_sum / sim->herd_count
					   : max_of_mean(sim->assigned, sim->config->slot_count);
	metrics[SIM_OPEN_SD] = sim->sd_count ? sim->sd_sum / sim->sd_count : NAN;
	metrics[SIM_STALLED_SHARE] =
		sim->in_stall ? (double)sim->in_stall_to_it / sim->in_stall : NAN;
	result->counted = sim->sojourn_count;
	result->fallbacks = sim->fallbacks;
	result->fingerprint = sim->fingerprint;
}

int sim_run(const struct sim_config *config, struct sim_policy policy, uint64_t seed,
	    struct sim_result *ret_result)
{
	struct sim *sim;
	int err;

	if (sim_config_fault(config))
		return -EINVAL;
	sim = calloc(1, sizeof(*sim));
	if (!sim)
		return -ENOMEM;
	err = set_up(sim, config, policy, seed);
	if (!err) {
		memset(ret_result, 0, sizeof(*ret_result));
		run_events(sim, ret_result);
		sum_up(sim, ret_result);
	}
	tear_down(sim);
	return err;
}
