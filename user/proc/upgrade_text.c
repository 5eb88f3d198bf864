/* SPDX-License-Identifier: MIT */
/* What an upgrade passes on, as text and descriptors; see upgrade_text.h. */
#include "proc/upgrade_text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/json_text.h"
#include "proc/master_internal.h"
#include "proc/version.h"

/* A copy, whatever becomes of it until it goes.  0 or -errno. */
static int add(struct upgrade_bundle *b, int fd)
{
	int *grown = realloc(b->fds, (b->count + 1) * sizeof(*grown));
	int copy;

	if (!grown)
		return -ENOMEM;
	b->fds = grown;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return -errno;
	b->fds[b->count++] = copy;
	return 0;
}

/* The place of a descriptor in the bundle; -1 for none.  NULL, which makes the whole text fail, when there is no room. */
static json_t *place(struct upgrade_bundle *b, int fd)
{
	if (fd < 0)
		return json_integer(-1);
	return add(b, fd) < 0 ? NULL : json_integer((json_int_t)b->count - 1);
}

static json_t *text_or_null(const char *s)
{
	return json_text(s && s[0] ? s : NULL);
}

/* Steering ---------------------------------------------------------------------------------------------------- */

static json_t *describe_steering(struct upgrade_bundle *b, const struct steer_estate *e)
{
	json_t *weights = json_array(), *drained = json_array(), *addresses = json_array();

	for (unsigned i = 0; i < e->slot_count; i++) {
		json_array_append_new(weights, json_integer(e->weights[i]));
		json_array_append_new(drained, json_integer(e->drained_weights[i]));
	}
	for (unsigned i = 0; i < e->address_count; i++)
		json_array_append_new(addresses, json_pack("[o, o]", place(b, e->addresses[i].socks_fd),
							   place(b, e->addresses[i].prog_fd)));
	return json_pack("{s:i, s:b, s:b, s:o, s:i, s:I, s:I, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o}",
			 "slots", (int)e->slot_count, "is_active", e->is_active, "can_migrate", e->can_migrate,
			 "why", text_or_null(e->why), "policy", (int)e->config.policy, "bucket_ns",
			 (json_int_t)e->config.bucket_ns, "stall_ns", (json_int_t)e->config.stall_ns, "choices",
			 (int)e->config.choices, "band", (int)e->config.band, "pending_weight",
			 (int)e->config.pending_weight, "weights", weights, "drained", drained, "verdicts",
			 place(b, e->verdicts_fd), "pin_dir", text_or_null(e->pin_dir), "pin_error",
			 text_or_null(e->pin_error), "pin_lock", place(b, e->pin_lock_fd), "runs",
			 (json_int_t)e->past_runs, "addresses", addresses);
}

/* Configuration ----------------------------------------------------------------------------------------------- */

static json_t *describe_listen(struct upgrade_bundle *b, const struct config_listen *c, const struct listener *l)
{
	char as_written[SOCK_ADDR_TEXT], as_bound[SOCK_ADDR_TEXT];
	const struct sock_options *o = &c->sock;
	json_t *fds = json_array();

	for (unsigned i = 0; i < l->count; i++)
		json_array_append_new(fds, place(b, l->fds[i]));
	return json_pack("{s:s, s:s, s:i, s:b, s:i, s:i, s:i, s:i, s:b, s:i, s:i, s:i, s:b, s:b, s:b, s:b, s:i, s:o}",
			 "address", sock_addr_print(&c->addr, as_written), "bound",
			 sock_addr_print(&l->addr, as_bound), "backlog", o->backlog, "nodelay", o->has_nodelay,
			 "defer_accept", o->defer_accept_s, "keepalive", o->keepalive_s, "fastopen", o->fastopen,
			 "busy_poll", o->busy_poll_us, "v6only", o->is_v6only, "rcvbuf", o->rcvbuf, "sndbuf",
			 o->sndbuf, "unsent", o->unsent, "reuseport", l->opt.has_reuseport, "is_shared", l->is_shared, "is_steered",
			 l->is_steered, "proxy_protocol", l->has_proxy_header, "id", (int)l->steer_id, "fds", fds);
}

static json_t *describe_upstream(const struct config_upstream *u)
{
	json_t *servers = json_array();

	for (unsigned i = 0; i < u->server_count; i++)
		json_array_append_new(servers, json_pack("{s:o, s:b, s:i, s:i}", "text", json_text(u->servers[i].text),
							 "is_drained", u->servers[i].is_drained, "first",
							 (int)u->servers[i].first_endpoint, "count",
							 (int)u->servers[i].endpoint_count));
	return json_pack("{s:o, s:i, s:o, s:o, s:i, s:i, s:o}", "name", json_text(u->name), "check", (int)u->check.kind,
			 "check_path", text_or_null(u->check.path), "check_host", text_or_null(u->check.host),
			 "status_min", (int)u->check.status_min, "status_max", (int)u->check.status_max, "servers",
			 servers);
}

static json_t *describe_settings(const struct config_steering *c)
{
	return json_pack("{s:i, s:I, s:I, s:i, s:i, s:i, s:b}", "policy", (int)c->policy, "stall_ns",
			 (json_int_t)c->stall_ns, "reservation_ns", (json_int_t)c->reservation_ns, "choices",
			 (int)c->choices, "band", (int)c->band, "pending_weight", (int)c->pending_weight,
			 "is_disabled", c->is_disabled);
}

static json_t *describe_config(struct upgrade_bundle *b, const struct generation *g)
{
	json_t *listens = json_array(), *upstreams = json_array(), *redis = json_array();
	const struct config *c = g->config;
	unsigned routes = 0;

	for (unsigned i = 0; i < g->listener_count; i++)
		json_array_append_new(listens, describe_listen(b, &c->listens[i], &g->listeners[i]));
	for (unsigned i = 0; i < c->upstream_count; i++)
		json_array_append_new(upstreams, describe_upstream(&c->upstreams[i]));
	for (unsigned i = 0; i < c->redis_count; i++)
		json_array_append_new(redis, describe_upstream(&c->redis[i].upstream));
	for (unsigned i = 0; i < c->site_count; i++)
		routes += c->sites[i].route_count;
	return json_pack("{s:I, s:i, s:i, s:o, s:o, s:o, s:o}", "drain", (json_int_t)c->timeouts.drain, "sites",
			 (int)c->site_count, "routes", (int)routes, "listens", listens, "upstreams", upstreams,
			 "redis", redis, "steering", describe_settings(&c->steering));
}

/* Generations ------------------------------------------------------------------------------------------------- */

/* Its place among the elders, which are passed on too. */
static int elder_of(const struct master *m, const struct generation *g)
{
	int at = 0;

	list_for_each(node, &m->elders) {
		if (container_of(node, struct elder, node) == g->elder)
			return at;
		at++;
	}
	return -1;
}

static json_t *describe_generation(struct upgrade_bundle *b, const struct generation *g)
{
	json_t *now = json_array();

	for (unsigned i = 0; i < g->config->endpoint_count; i++)
		json_array_append_new(now, json_integer((json_int_t)g->endpoint_now[i]));
	return json_pack("{s:I, s:i, s:i, s:o, s:i, s:i, s:o, s:o}", "number", (json_int_t)g->number, "workers",
			 (int)g->worker_count, "elder", elder_of(g->master, g), "stats",
			 place(b, g->stats_memory.fd), "endpoints", (int)g->config->endpoint_count, "rows",
			 (int)g->upstreams.worker_count, "upstreams",
			 place(b, g->upstreams.endpoints ? g->upstreams.memory.fd : -1), "now", now);
}

static json_t *describe_generations(struct upgrade_bundle *b, struct master *m)
{
	json_t *list = json_array();

	list_for_each(node, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		if (g->state == GENERATION_LEAVING)
			json_array_append_new(list, describe_generation(b, g));
	}
	json_array_append_new(list, describe_generation(b, m->current));
	return list;
}

static json_t *describe_inboxes(struct upgrade_bundle *b, const struct inboxes *in)
{
	json_t *fds = json_array();

	for (unsigned i = 0; i < in->count; i++)
		for (unsigned k = 0; k < 2; k++)
			json_array_append_new(fds, place(b, in->fds[i][k]));
	return json_pack("{s:o, s:o}", "waiting", place(b, in->memory.fd), "fds", fds);
}

/* The whole --------------------------------------------------------------------------------------------------- */

static json_t *describe_layouts(void)
{
	json_t *layouts = json_object();
	char text[UPGRADE_LAYOUT_SIZE];

	for (unsigned i = 0; i < LAYOUT_COUNT; i++)
		json_object_set_new(layouts, upgrade_layout_key(i), json_string(upgrade_layout(i, text)));
	return layouts;
}

static json_t *describe_inherited(struct upgrade_bundle *b, const struct inherited *in)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < in->count; i++)
		if (in->socks[i].is_listening)
			json_array_append_new(list, place(b, in->socks[i].fd));
	return list;
}

static json_t *describe_elders(struct upgrade_bundle *b, const struct master *m)
{
	json_t *list = json_array();

	list_for_each(node, &m->elders)
		json_array_append_new(list, place(b, container_of(node, struct elder, node)->io.fd));
	return list;
}

static json_t *describe_all(struct upgrade_bundle *b, struct master *m, const struct steer_estate *estate)
{
	const struct config *c = m->current->config;

	return json_pack("{s:i, s:s, s:i, s:I, s:I, s:o, s:o, s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o,"
			 " s:o, s:o, s:o}",
			 "protocol", UPGRADE_PROTOCOL, "version", SLUICE_VERSION, "pid", (int)getpid(), "number",
			 (json_int_t)m->last_number, "started_ns", (json_int_t)m->started_ns, "user",
			 text_or_null(c->user), "control", json_text(c->control), "pin", text_or_null(c->pin),
			 "is_control_given", c->is_control_given, "is_pin_given", c->is_pin_given, "control_fd",
			 place(b, ctl_fd(m->ctl)), "stderr", place(b, STDERR_FILENO), "inherited",
			 describe_inherited(b, &m->inherited), "owners",
			 place(b, m->owners_memory.fd), "past", place(b, m->past_memory.fd), "elders",
			 describe_elders(b, m), "layouts", describe_layouts(), "stats", stats_layout(), "steering",
			 describe_steering(b, estate), "inboxes", describe_inboxes(b, &m->current->inboxes),
			 "generations", describe_generations(b, m), "config", describe_config(b, m->current));
}

static int write_text(int fd, const char *text)
{
	size_t len = strlen(text), done = 0;

	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Into the file that is the first of the bundle. */
static int describe(struct master *m, struct upgrade_bundle *b, struct steer_estate *estate)
{
	int err = steer_describe(m->current->steer, estate);
	json_t *text = err ? NULL : describe_all(b, m, estate);
	char *line = text ? json_dumps(text, JSON_COMPACT) : NULL;

	if (!err)
		err = line ? write_text(b->fds[0], line) : -ENOMEM;
	free(line);
	json_decref(text);
	return err;
}

int upgrade_describe(struct master *m, struct upgrade_bundle *b)
{
	struct steer_estate *estate = calloc(1, sizeof(*estate));
	int fd = memfd_create("sluice-upgrade", MFD_CLOEXEC);
	int err = fd < 0 ? -errno : 0;

	*b = (struct upgrade_bundle){ 0 };
	if (!err && !estate)
		err = -ENOMEM;
	if (!err)
		err = add(b, fd);
	if (!err)
		err = describe(m, b, estate);
	if (fd >= 0)
		close(fd);
	free(estate);
	if (err)
		upgrade_bundle_free(b);
	return err;
}

void upgrade_bundle_close(const struct upgrade_bundle *b)
{
	for (unsigned i = 0; i < b->count; i++)
		close(b->fds[i]);
}

void upgrade_bundle_free(struct upgrade_bundle *b)
{
	upgrade_bundle_close(b);
	free(b->fds);
	*b = (struct upgrade_bundle){ 0 };
}
