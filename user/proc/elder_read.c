/* SPDX-License-Identifier: MIT */
/*
 * What the master before this one passes on: received, checked, and made into memory, sockets and generations.  The text is
 * by another version, perhaps: whatever is missing in it reads as 0, and nothing in it is believed that would lead out of
 * an array.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/master_internal.h"
#include "proc/upgrade_text.h"

#define TEXT_MAX (16u << 20)
#define FILES_MAX 65536u

/* Receiving --------------------------------------------------------------------------------------------------- */

static int append(struct elder_parcel *p, const int *fds, unsigned count)
{
	int *grown = realloc(p->fds, (p->count + count + 1) * sizeof(*grown));

	if (!grown || p->count + count > FILES_MAX) {
		for (unsigned i = 0; i < count; i++)
			close(fds[i]);
		p->fds = grown ? grown : p->fds;
		return -ENOMEM;
	}
	memcpy(grown + p->count, fds, count * sizeof(*fds));
	p->fds = grown;
	p->count += count;
	return 0;
}

/* Descriptors received, 0 at the end of the list, or -errno.  Nothing is served yet, so waiting is no harm. */
static int receive_part(int fd, uint64_t limit_ms, struct elder_parcel *p)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char next = UPGRADE_NEXT, type;
	int fds[FD_PASS_MAX], err;
	unsigned count = 0;
	ssize_t n;

	n = fd_pass_send(fd, &next, 1, -1);
	if (n < 0)
		return (int)n;
	err = poll(&poll_fd, 1, (int)limit_ms);
	if (err <= 0)
		return err < 0 ? -errno : -ETIMEDOUT;
	n = fd_pass_receive_all(fd, &type, 1, fds, &count);
	if (n <= 0)
		return n < 0 ? (int)n : -ECONNRESET;
	err = append(p, fds, count);
	return err ? err : (int)count;
}

static int read_text(struct elder_parcel *p)
{
	struct stat st;
	char *text;
	ssize_t n;

	if (p->count == 0 || fstat(p->fds[0], &st) < 0 || st.st_size <= 0 || st.st_size > TEXT_MAX)
		return -EBADMSG;
	text = malloc((size_t)st.st_size);
	if (!text)
		return -ENOMEM;
	n = pread(p->fds[0], text, (size_t)st.st_size, 0);
	if (n == st.st_size)
		p->text = json_loadb(text, (size_t)n, 0, NULL);
	free(text);
	return json_is_object(p->text) ? 0 : -EBADMSG;
}

int elder_receive(int fd, uint64_t limit_ms, struct elder_parcel *p)
{
	int n;

	do {
		n = receive_part(fd, limit_ms, p);
	} while (n > 0);
	if (n == 0)
		n = read_text(p);
	if (n < 0)
		log_error("cannot take over from the running server: %s", strerror(-n));
	return n;
}

void elder_parcel_free(struct elder_parcel *p)
{
	for (unsigned i = 0; i < p->count; i++)
		sock_close(p->fds[i]);
	free(p->fds);
	json_decref(p->text);
	*p = (struct elder_parcel){ 0 };
}

/* Reading ----------------------------------------------------------------------------------------------------- */

/* The descriptor of that place, the caller's from now on; -1: none. */
static int take(struct elder_parcel *p, const json_t *place)
{
	json_int_t at = json_is_integer(place) ? json_integer_value(place) : -1;
	int fd;

	if (at < 0 || at >= (json_int_t)p->count)
		return -1;
	fd = p->fds[at];
	p->fds[at] = -1;
	return fd;
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static unsigned count_of(const json_t *o, const char *key, unsigned max)
{
	json_int_t n = number(o, key);

	return n < 0 ? 0 : n > (json_int_t)max ? max : (unsigned)n;
}

static bool flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static int copy_text(const json_t *o, const char *key, char **ret)
{
	const char *from = text(o, key);

	free(*ret);
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? -ENOMEM : 0;
}

static bool is_same_layout(const json_t *all, enum upgrade_layout l)
{
	const char *theirs = text(json_object_get(all, "layouts"), upgrade_layout_key(l));
	char ours[UPGRADE_LAYOUT_SIZE];

	return theirs && strcmp(theirs, upgrade_layout(l, ours)) == 0;
}

/* Configuration ----------------------------------------------------------------------------------------------- */

static int read_listen(struct config_listen *c, const json_t *o)
{
	const char *address = text(o, "address");

	c->sock = (struct sock_options){
		.backlog = (int)number(o, "backlog"),
		.has_nodelay = flag(o, "nodelay"),
		.defer_accept_s = (int)number(o, "defer_accept"),
		.keepalive_s = (int)number(o, "keepalive"),
		.fastopen = (int)number(o, "fastopen"),
		.busy_poll_us = (int)number(o, "busy_poll"),
		.is_v6only = flag(o, "v6only"),
		.rcvbuf = (int)number(o, "rcvbuf"),
		.sndbuf = (int)number(o, "sndbuf"),
	};
	return address ? sock_addr_parse(span_str(address), &c->addr) : -EBADMSG;
}

static int read_listener(struct listener *l, const struct config_listen *c, const json_t *o, struct elder_parcel *p)
{
	const json_t *fds = json_object_get(o, "fds");
	const char *bound = text(o, "bound");
	unsigned count = (unsigned)json_array_size(fds);
	int err = bound ? sock_addr_parse(span_str(bound), &l->addr) : -EBADMSG;

	l->opt = c->sock;
	l->opt.has_reuseport = flag(o, "reuseport");
	l->is_shared = flag(o, "is_shared");
	l->is_steered = flag(o, "is_steered");
	l->steer_id = count_of(o, "id", STEER_ESTATE_MAX);
	l->has_proxy_header = flag(o, "proxy_protocol");
	l->fds = calloc(count + 1, sizeof(*l->fds));
	if (!l->fds)
		return -ENOMEM;
	for (; l->count < count && !err; l->count++) {
		l->fds[l->count] = take(p, json_array_get(fds, l->count));
		if (l->fds[l->count] < 0)
			return -EBADMSG;
	}
	return err ? err : count ? 0 : -EBADMSG;
}

static int read_listens(struct generation *g, const json_t *list, struct elder_parcel *p)
{
	struct config *c = g->own_config;
	size_t count = json_array_size(list);
	int err = 0;

	c->listens = calloc(count + 1, sizeof(*c->listens));
	g->listeners = calloc(count + 1, sizeof(*g->listeners));
	if (!c->listens || !g->listeners)
		return -ENOMEM;
	for (size_t i = 0; i < count && !err; i++) {
		const json_t *o = json_array_get(list, i);

		err = read_listen(&c->listens[c->listen_count++], o);
		if (!err)
			err = read_listener(&g->listeners[g->listener_count++], &c->listens[i], o, p);
	}
	return err;
}

static int read_server(struct config_server *s, const json_t *o, unsigned endpoints)
{
	s->is_drained = flag(o, "is_drained");
	s->first_endpoint = count_of(o, "first", endpoints);
	s->endpoint_count = count_of(o, "count", endpoints - s->first_endpoint);
	return copy_text(o, "text", &s->text) || !s->text ? -ENOMEM : 0;
}

static int read_upstream(struct config_upstream *u, const json_t *o, unsigned endpoints)
{
	const json_t *servers = json_object_get(o, "servers");
	size_t count = json_array_size(servers);
	int err = copy_text(o, "name", &u->name);

	u->check.kind = (enum check_kind)count_of(o, "check", CHECK_HTTP);
	u->check.status_min = count_of(o, "status_min", 999);
	u->check.status_max = count_of(o, "status_max", 999);
	if (!err)
		err = copy_text(o, "check_path", &u->check.path);
	if (!err)
		err = copy_text(o, "check_host", &u->check.host);
	u->servers = calloc(count + 1, sizeof(*u->servers));
	if (!u->servers || !u->name)
		return -ENOMEM;
	for (size_t i = 0; i < count && !err; i++)
		err = read_server(&u->servers[u->server_count++], json_array_get(servers, i), endpoints);
	return err;
}

static int read_upstreams(struct config *c, const json_t *list)
{
	size_t count = json_array_size(list);
	int err = 0;

	c->upstreams = calloc(count + 1, sizeof(*c->upstreams));
	if (!c->upstreams)
		return -ENOMEM;
	for (size_t i = 0; i < count && !err; i++)
		err = read_upstream(&c->upstreams[c->upstream_count++], json_array_get(list, i), c->endpoint_count);
	return err;
}

/* Only how many there are counts, in the report. */
static int read_sites(struct config *c, unsigned sites, unsigned routes)
{
	c->sites = calloc(sites + 1, sizeof(*c->sites));
	if (!c->sites)
		return -ENOMEM;
	c->site_count = sites;
	if (sites == 0)
		return 0;
	c->sites[0].routes = calloc(routes + 1, sizeof(*c->sites[0].routes));
	if (!c->sites[0].routes)
		return -ENOMEM;
	c->sites[0].route_count = routes;
	return 0;
}

static void read_settings(struct config_steering *c, const json_t *o)
{
	c->policy = (enum steer_policy_id)count_of(o, "policy", STEER_POLICY_COUNT - 1);
	c->stall_ns = (uint64_t)number(o, "stall_ns");
	c->reservation_ns = (uint64_t)number(o, "reservation_ns");
	c->choices = (uint32_t)number(o, "choices");
	c->band = (uint32_t)number(o, "band");
	c->pending_weight = (uint32_t)number(o, "pending_weight");
	c->is_disabled = flag(o, "is_disabled");
}

static int read_config(struct generation *g, const json_t *all, struct elder_parcel *p)
{
	const json_t *o = json_object_get(all, "config");
	struct config *c = g->own_config;
	int err = copy_text(all, "user", &c->user);

	if (!err)
		err = copy_text(all, "control", &c->control);
	if (!err)
		err = copy_text(all, "pin", &c->pin);
	c->is_control_given = flag(all, "is_control_given");
	c->is_pin_given = flag(all, "is_pin_given");
	c->timeouts.drain = (uint64_t)number(o, "drain");
	read_settings(&c->steering, json_object_get(o, "steering"));
	if (!err)
		err = read_sites(c, count_of(o, "sites", 1u << 20), count_of(o, "routes", 1u << 20));
	/* Names of servers lead to rows of a table: without it there are none. */
	if (!err && g->upstreams.endpoints)
		err = read_upstreams(c, json_object_get(o, "upstreams"));
	return err ? err : read_listens(g, json_object_get(o, "listens"), p);
}

/* Steering ---------------------------------------------------------------------------------------------------- */

static void read_addresses(struct steer_estate *e, const json_t *list, struct elder_parcel *p)
{
	e->address_count = (unsigned)MIN(json_array_size(list), (size_t)STEER_ESTATE_MAX);
	for (unsigned i = 0; i < e->address_count; i++) {
		const json_t *pair = json_array_get(list, i);

		e->addresses[i].socks_fd = take(p, json_array_get(pair, 0));
		e->addresses[i].prog_fd = take(p, json_array_get(pair, 1));
	}
}

static int read_steering(struct generation *g, const json_t *all, struct elder_parcel *p)
{
	const json_t *o = json_object_get(all, "steering");
	struct steer_estate *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	e->slot_count = count_of(o, "slots", STEER_MAX_SLOTS);
	e->is_active = flag(o, "is_active");
	e->can_migrate = flag(o, "can_migrate");
	e->why = text(o, "why");
	e->pin_dir = text(o, "pin_dir");
	e->pin_error = text(o, "pin_error");
	e->past_runs = (uint64_t)number(o, "runs");
	e->config = (struct steer_config){
		.policy = (uint32_t)number(o, "policy"),
		.slot_count = e->slot_count,
		.bucket_ns = (uint64_t)number(o, "bucket_ns"),
		.stall_ns = (uint64_t)number(o, "stall_ns"),
		.choices = (uint32_t)number(o, "choices"),
		.band = (uint32_t)number(o, "band"),
		.pending_weight = (uint32_t)number(o, "pending_weight"),
		.owner_pid = (uint32_t)getpid(),
	};
	for (unsigned i = 0; i < e->slot_count; i++) {
		e->weights[i] =
			(uint32_t)json_integer_value(json_array_get(json_object_get(o, "weights"), i));
		e->drained_weights[i] =
			(uint16_t)json_integer_value(json_array_get(json_object_get(o, "drained"), i));
	}
	e->verdicts_fd = is_same_layout(all, LAYOUT_VERDICTS) ? take(p, json_object_get(o, "verdicts")) : -1;
	e->pin_lock_fd = take(p, json_object_get(o, "pin_lock"));
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
	int fd = take(p, json_object_get(o, "stats")), err;
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
	unsigned count = count_of(o, "endpoints", CONFIG_ENDPOINTS_MAX), rows = count_of(o, "rows", STEER_MAX_SLOTS + 1);
	int fd = take(p, json_object_get(o, "upstreams")), err;
	const json_t *now = json_object_get(o, "now");

	if (fd < 0 || !count || !rows || !is_same_layout(all, LAYOUT_UPSTREAMS)) {
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
	g->number = (uint32_t)number(o, "number");
	g->worker_count = count_of(o, "workers", STEER_MAX_SLOTS);
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
		int fd = take(p, json_array_get(elders, i));

		err = fd < 0 ? -EBADMSG : elder_add(m, fd, false, &older[i]);
	}
	for (size_t i = 0; i < json_array_size(list) && !err; i++) {
		const json_t *o = json_array_get(list, i);
		json_int_t whose = number(o, "elder");

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

	if (!is_same_layout(all, LAYOUT_INBOX) || count == 0 || count > STEER_MAX_SLOTS)
		return 0;
	err = inboxes_map_waiting(&g->inboxes, take(p, json_object_get(o, "waiting")));
	if (err)
		return err;
	g->inboxes.fds = calloc(count, sizeof(*g->inboxes.fds));
	if (!g->inboxes.fds)
		return -ENOMEM;
	for (; g->inboxes.count < count; g->inboxes.count++)
		for (unsigned k = 0; k < 2; k++) {
			int fd = take(p, json_array_get(fds, 2 * g->inboxes.count + k));

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
	int err = shm_map(&past, take(p, json_object_get(all, "past")), STEER_MAX_SLOTS * size);

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
		err = shm_map(&m->owners_memory, take(p, json_object_get(all, "owners")),
			      STEER_MAX_SLOTS * sizeof(*m->owners));
	m->owners = m->owners_memory.at;
	return err;
}

static int read_inherited(struct master *m, const json_t *list, struct elder_parcel *p)
{
	int err = inherit_restore(&m->inherited, (unsigned)MIN(json_array_size(list), (size_t)FILES_MAX));

	for (unsigned i = 0; i < m->inherited.count && !err; i++)
		inherit_set(&m->inherited, i, take(p, json_array_get(list, i)));
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
	int fd = take(p, json_object_get(all, "stderr"));

	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
	sock_close(fd);
}

int elder_unpack(struct master *m, struct elder *elder, struct elder_parcel *p, struct config *config)
{
	const json_t *all = p->text;
	struct generation *before;
	int err;

	if (number(all, "protocol") != UPGRADE_PROTOCOL) {
		log_error("the running server (version %s) speaks protocol %d of upgrades, this program (%s) %d: stop the"
			  " one and start the other", text(all, "version") ? text(all, "version") : "?",
			  (int)number(all, "protocol"), SLUICE_VERSION, UPGRADE_PROTOCOL);
		return -EPROTONOSUPPORT;
	}
	m->last_number = (uint32_t)number(all, "number");
	m->started_ns = (uint64_t)number(all, "started_ns");
	m->ctl_fd = take(p, json_object_get(all, "control_fd"));
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
		err = read_config(before, all, p);
	if (!err)
		err = keep_fixed(m, before->config, config);
	if (err)
		log_error("cannot make use of what the running server passes on: %s", strerror(-err));
	return err;
}
