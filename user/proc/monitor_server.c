/* SPDX-License-Identifier: MIT */
/*
 * One upstream server as the monitor sees it: where its name leads, and how it is.
 *
 *   asking --answer--> addresses into the table, asking again when the answer's life ends
 *          \-failure-> the addresses known before stay; asking again after 1 s, 2 s ... 30 s
 *
 * Places in the table are stable: an address that an answer names again keeps its endpoint, so that counts, health and
 * connections go on.  One that is gone leaves its place free for another.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/random.h"
#include "proc/monitor_impl.h"

/* Of an address that has just been found: it is in use already, so its check is not to wait for long. */
#define FOUND_SPREAD_MS 100u
/* At the start: many servers are not to be checked in the same instant. */
#define START_SPREAD_MS 1000u

static const char *address_text(const struct upstream_endpoint *e, char text[UPSTREAM_ADDRESS_TEXT])
{
	struct upstream_address a;

	upstream_endpoint_get(e, &a);
	return sock_addr_print_any((const struct sockaddr *)&a.addr, a.len, text, UPSTREAM_ADDRESS_TEXT);
}

/* Health ------------------------------------------------------------------------------------------------------- */

/* "app: server 127.0.0.1:9001", "app: server app.internal:80 at 192.0.2.7:80" */
static const char *describe(const struct monitor_endpoint *p, char *out, size_t size)
{
	const struct monitor_server *s = p->server;
	char text[UPSTREAM_ADDRESS_TEXT];

	if (monitor_server_has_name(s->conf))
		snprintf(out, size, "%s: server %s at %s", s->upstream->name, s->conf->text,
			 address_text(p->health.endpoint, text));
	else
		snprintf(out, size, "%s: server %s", s->upstream->name, s->conf->text);
	return out;
}

static void on_change(struct health *h, enum endpoint_health before)
{
	struct monitor_endpoint *p = container_of(h, struct monitor_endpoint, health);
	char text[600];

	describe(p, text, sizeof(text));
	if (h->endpoint->health == HEALTH_DOWN)
		log_warn("upstream %s is down: %s", text, h->endpoint->check_error);
	else if (before == HEALTH_DOWN)
		log_info("upstream %s is up again", text);
	else
		log_debug("upstream %s is up", text);
}

static void start_check(struct monitor_endpoint *p, uint64_t spread_ms)
{
	struct monitor_server *s = p->server;

	if (s->upstream->check.kind == CHECK_OFF || p->is_checked)
		return;
	p->is_checked = true;
	health_start(&p->health, s->monitor->loop, spread_ms);
}

static void stop_check(struct monitor_endpoint *p)
{
	health_stop(&p->health);
	p->is_checked = false;
}

/* Nobody stands behind a check. */
static struct span write_preamble(struct monitor_server *s)
{
	struct buf b;

	buf_init(&b, s->preamble, sizeof(s->preamble));
	if (s->upstream->send_proxy == PROXY_PROTOCOL_V1)
		proxy_header_write_v1(&b, NULL, NULL);
	else if (s->upstream->send_proxy == PROXY_PROTOCOL_V2)
		proxy_header_write_v2(&b, NULL, NULL);
	return buf_span(&b);
}

static void fill_check(struct monitor_server *s)
{
	const struct config_check *c = &s->upstream->check;

	config_server_host(s->conf, s->host, sizeof(s->host));
	s->check = (struct health_options){
		.is_http = c->kind == CHECK_HTTP,
		.path = c->path ? c->path : "/",
		.host = c->host ? c->host : s->host,
		.status_min = c->status_min,
		.status_max = c->status_max,
		.interval_ms = c->interval,
		.timeout_ms = c->timeout,
		.rise = MAX(c->rise, 1u),
		.fall = MAX(c->fall, 1u),
		.preamble = write_preamble(s),
	};
}

/* Addresses ---------------------------------------------------------------------------------------------------- */

static void drop_address(struct monitor_server *s, unsigned i)
{
	char text[UPSTREAM_ADDRESS_TEXT];

	log_info("upstream %s: server %s is no longer at %s", s->upstream->name, s->conf->text,
		 address_text(&s->table[i], text));
	stop_check(&s->endpoints[i]);
	upstream_endpoint_set(&s->table[i], NULL, 0, s->conf->weight, 0);
}

static uint32_t weight_of(const struct monitor_server *s, const struct resolve_address *a)
{
	return a->weight ? a->weight : s->conf->weight;
}

static void add_address(struct monitor_server *s, unsigned i, const struct resolve_address *a)
{
	/* The first addresses of all are as old as the server itself: nothing has to be spared from a sudden load. */
	bool is_first = !s->was_resolved && s->failures == 0;
	char text[SOCK_ADDR_TEXT];

	log_info("upstream %s: server %s is at %s", s->upstream->name, s->conf->text, sock_addr_print(&a->addr, text));
	upstream_endpoint_set(&s->table[i], &a->addr.any, sock_addr_len(&a->addr), weight_of(s, a),
			      is_first ? 0 : s->monitor->loop->now_ns);
	start_check(&s->endpoints[i], FOUND_SPREAD_MS);
}

/* -1: the answer does not name it. */
static int find(const struct resolve_answer *answer, const struct upstream_endpoint *e)
{
	struct upstream_address a;

	upstream_endpoint_get(e, &a);
	for (unsigned k = 0; a.len && k < answer->count; k++) {
		const union sock_addr *addr = &answer->addresses[k].addr;

		if (sock_addr_len(addr) == a.len && memcmp(addr, &a.addr, a.len) == 0)
			return (int)k;
	}
	return -1;
}

/* True for those of the answer that are in the table already. */
static void keep_or_drop(struct monitor_server *s, const struct resolve_answer *answer, bool *is_placed)
{
	for (unsigned i = 0; i < s->conf->endpoint_count; i++) {
		int k = find(answer, &s->table[i]);

		if (k >= 0 && !is_placed[k]) {
			const struct resolve_address *a = &answer->addresses[k];

			is_placed[k] = true;
			upstream_endpoint_set(&s->table[i], &a->addr.any, sock_addr_len(&a->addr), weight_of(s, a), 0);
		} else if (s->table[i].is_used && !answer->is_partial) {
			drop_address(s, i);
		}
	}
}

static void warn_omitted(struct monitor_server *s, unsigned count)
{
	if (count == 0) {
		s->has_warned_omitted = false;
		return;
	}
	if (!s->has_warned_omitted)
		log_warn("upstream %s: server %s has more than %u addresses, %u are left out", s->upstream->name,
			 s->conf->text, s->conf->endpoint_count, count);
	s->has_warned_omitted = true;
}

static void apply(struct monitor_server *s, const struct resolve_answer *answer)
{
	bool is_placed[RESOLVE_ADDRESSES_MAX] = { false };
	unsigned omitted = answer->omitted_count, i = 0;

	keep_or_drop(s, answer, is_placed);
	for (unsigned k = 0; k < answer->count; k++) {
		if (is_placed[k])
			continue;
		while (i < s->conf->endpoint_count && s->table[i].is_used)
			i++;
		if (i < s->conf->endpoint_count)
			add_address(s, i, &answer->addresses[k]);
		else
			omitted++;
	}
	s->was_resolved = true;
	warn_omitted(s, omitted);
}

/* Questions ---------------------------------------------------------------------------------------------------- */

static uint64_t retry_ms(const struct monitor_server *s)
{
	uint64_t delay = MIN((uint64_t)MONITOR_RETRY_FIRST_MS << MIN(s->failures - 1, 10u), MONITOR_RETRY_LAST_MS);

	/* Names that fail together are not to be asked for together for ever. */
	return delay - random_below((uint32_t)delay / 10);
}

static unsigned used_count(const struct monitor_server *s)
{
	unsigned count = 0;

	for (unsigned i = 0; i < s->conf->endpoint_count; i++)
		count += s->table[i].is_used != 0;
	return count;
}

static void note_failure(struct monitor_server *s, int err)
{
	s->failures++;
	/* The first time, and when something else is wrong than before. */
	if (err != s->logged_err)
		log_warn("upstream %s: server %s does not resolve: %s; %s", s->upstream->name, s->conf->text,
			 resolve_error_text(err),
			 used_count(s) ? "the addresses known before stay" : "it is tried again and again");
	s->logged_err = err;
	loop_timer_start(s->monitor->loop, &s->again, retry_ms(s));
}

static void on_answer(struct resolve *q, const struct resolve_answer *answer)
{
	struct monitor_server *s = container_of(q, struct monitor_server, question);
	uint64_t life_ms = MIN((uint64_t)answer->ttl_s * 1000, s->upstream->resolve);

	if (answer->err) {
		note_failure(s, answer->err);
		return;
	}
	apply(s, answer);
	if (s->logged_err)
		log_info("upstream %s: server %s resolves again", s->upstream->name, s->conf->text);
	s->failures = 0;
	s->logged_err = 0;
	loop_timer_start(s->monitor->loop, &s->again, MAX(life_ms, (uint64_t)MONITOR_TTL_MIN_MS));
}

static void ask(struct timer *t)
{
	struct monitor_server *s = container_of(t, struct monitor_server, again);
	struct resolver *r = s->monitor->resolver;
	int err;

	if (s->conf->kind == SERVER_SRV)
		err = resolve_srv(r, &s->question, s->conf->name);
	else
		err = resolve_name(r, &s->question, s->conf->name, s->conf->port);
	if (err)
		note_failure(s, err);
}

/* Life --------------------------------------------------------------------------------------------------------- */

int monitor_server_start(struct monitor_server *s)
{
	s->endpoints = calloc(s->conf->endpoint_count, sizeof(*s->endpoints));
	if (!s->endpoints)
		return -ENOMEM;
	timer_init(&s->again, ask);
	s->question.on_done = on_answer;
	fill_check(s);
	for (unsigned i = 0; i < s->conf->endpoint_count; i++) {
		struct monitor_endpoint *p = &s->endpoints[i];

		p->server = s;
		p->health.opt = &s->check;
		p->health.endpoint = &s->table[i];
		p->health.on_change = on_change;
		/* Those of a name may be there already: found by the monitor that died before this one. */
		if (s->table[i].is_used)
			start_check(p, MIN(s->check.interval_ms, START_SPREAD_MS));
	}
	if (monitor_server_has_name(s->conf))
		loop_timer_start(s->monitor->loop, &s->again, 0);
	return 0;
}

void monitor_server_stop(struct monitor_server *s)
{
	if (!s->endpoints)
		return;
	resolve_cancel(&s->question);
	loop_timer_stop(s->monitor->loop, &s->again);
	for (unsigned i = 0; i < s->conf->endpoint_count; i++)
		stop_check(&s->endpoints[i]);
	free(s->endpoints);
	s->endpoints = NULL;
}
