/* SPDX-License-Identifier: MIT */
/* The table of sessions: a hash with chains, grown as it fills.  See udp_internal.h. */
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "app/udp_internal.h"
#include "base/err.h"
#include "base/random.h"

#define BUCKETS_MIN   256u
#define SESSIONS_KEPT 256 /* free ones */

/* A worker has few descriptors to spare for each; echoes need none. */
int sessions_init(struct udp_server *s)
{
	pool_init(&s->sessions, sizeof(struct udp_session), SESSIONS_KEPT, 0);
	links_init(s);
	s->bucket_count = BUCKETS_MIN;
	s->buckets = calloc(s->bucket_count, sizeof(struct udp_session *));
	s->seed = random_u64();
	return s->buckets ? 0 : -ENOMEM;
}

static void put_session(struct job *j)
{
	struct udp_session *ss = container_of(j, struct udp_session, job);

	pool_put(&ss->service->server->sessions, ss);
}

/* Whoever can choose addresses and ports must not know which buckets they meet in: seeded. */
static uint64_t hash_path(const struct udp_service *svc, const struct udp_path *p)
{
	const struct udp_server *s = svc->server;
	uint64_t seed = s->seed ^ (uintptr_t)svc;

	if (p->local.any.sa_family == AF_INET)
		seed += p->local.v4.sin_addr.s_addr;
	else if (p->local.any.sa_family == AF_INET6)
		seed = XXH3_64bits_withSeed(&p->local.v6.sin6_addr, sizeof(p->local.v6.sin6_addr), seed);
	if (p->peer.any.sa_family == AF_INET)
		return XXH3_64bits_withSeed(&p->peer.v4.sin_addr, sizeof(p->peer.v4.sin_addr),
					    seed + p->peer.v4.sin_port * 0x9e3779b97f4a7c15u);
	return XXH3_64bits_withSeed(&p->peer.v6.sin6_addr, sizeof(p->peer.v6.sin6_addr),
				    seed + p->peer.v6.sin6_port * 0x9e3779b97f4a7c15u);
}

uint64_t udp_client_key(const union sock_addr *client)
{
	if (client->any.sa_family == AF_INET)
		return XXH3_64bits(&client->v4.sin_addr, sizeof(client->v4.sin_addr));
	return XXH3_64bits(&client->v6.sin6_addr, sizeof(client->v6.sin6_addr));
}

static bool is_same_path(const struct udp_path *a, const struct udp_path *b)
{
	return sock_addr_port(&a->peer) == sock_addr_port(&b->peer) && sock_addr_is_same_host(&a->peer, &b->peer) &&
	       sock_addr_is_same_host(&a->local, &b->local) && a->ifindex == b->ifindex;
}

/* Without memory it goes on with longer chains. */
static void grow(struct udp_server *s)
{
	unsigned count = s->bucket_count * 2;
	struct udp_session **grown = calloc(count, sizeof(struct udp_session *));

	if (!grown)
		return;
	for (unsigned i = 0; i < s->bucket_count; i++) {
		for (struct udp_session *ss = s->buckets[i], *next; ss; ss = next) {
			next = ss->next;
			ss->next = grown[ss->hash & (count - 1)];
			grown[ss->hash & (count - 1)] = ss;
		}
	}
	free(s->buckets);
	s->buckets = grown;
	s->bucket_count = count;
}

static void note_count(struct udp_server *s)
{
	__atomic_store_n(&s->opt.stats->udp_sessions, s->session_count, __ATOMIC_RELAXED);
}

static bool is_total_reached(const struct udp_server *s, unsigned max)
{
	uint64_t count = 0;

	for (unsigned i = 0; max && i < s->opt.worker_count; i++)
		count += __atomic_load_n(&s->opt.all[i].udp_sessions, __ATOMIC_RELAXED);
	return max && count >= max;
}

/* Time ---------------------------------------------------------------------------------------------------------------- */

static enum udp_end end_of_silence(const struct udp_session *ss)
{
	if (!ss->is_unanswered)
		return UDP_IDLE;
	return ss->was_refused ? UDP_REFUSED : UDP_NO_REPLY;
}

/* Armed once for many datagrams: when it fires it looks when the last one came. */
static void on_timer(struct timer *t)
{
	struct udp_session *ss = container_of(t, struct udp_session, timer);
	struct loop *l = ss->service->server->opt.loop;
	uint64_t due_ms = ss->last_ms + ss->service->opt.timeout_ms;

	if (due_ms > l->now_ms)
		loop_timer_start(l, &ss->timer, due_ms - l->now_ms);
	else
		session_end(ss, end_of_silence(ss));
}

/* Begin and end ------------------------------------------------------------------------------------------------------- */

static struct udp_session *begin(struct udp_service *svc, const struct udp_path *path, uint64_t hash)
{
	struct udp_server *s = svc->server;
	struct udp_session *ss = pool_get(&s->sessions);

	if (!ss)
		return NULL;
	if (s->session_count >= s->bucket_count)
		grow(s);
	*ss = (struct udp_session){
		.next = s->buckets[hash & (s->bucket_count - 1)],
		.service = svc,
		.path = *path,
		.hash = hash,
		.serial = ++s->serial,
		.begun_ms = s->opt.loop->now_ms,
		.is_verified = svc->opt.verified && cidr_set_has(svc->opt.verified, &path->peer),
	};
	s->buckets[hash & (s->bucket_count - 1)] = ss;
	upstream_lease_init(&ss->lease);
	ss->lease.key = udp_client_key(&path->peer);
	job_init(&ss->job, put_session);
	timer_init(&ss->timer, on_timer);
	loop_timer_start(s->opt.loop, &ss->timer, svc->opt.timeout_ms);
	s->session_count++;
	svc->session_count++;
	s->stats->sessions++;
	note_count(s);
	if (s->opt.on_begun)
		s->opt.on_begun(s->opt.owner);
	return ss;
}

struct udp_session *session_get(struct udp_service *svc, const struct udp_path *path, enum udp_drop *ret_why)
{
	struct udp_server *s = svc->server;
	uint64_t hash = hash_path(svc, path);
	struct udp_session *ss = s->buckets[hash & (s->bucket_count - 1)];

	while (ss && (ss->hash != hash || ss->service != svc || !is_same_path(&ss->path, path)))
		ss = ss->next;
	if (ss)
		return ss;
	if (s->is_draining || svc->is_refusing)
		*ret_why = UDP_DROP_DRAIN;
	else if (svc->session_count >= svc->opt.session_max)
		*ret_why = UDP_DROP_SESSIONS;
	else if (is_total_reached(s, svc->opt.session_total_max))
		*ret_why = UDP_DROP_TOTAL;
	else if (!(ss = begin(svc, path, hash)))
		*ret_why = UDP_DROP_MEMORY;
	return ss;
}

static void unlink_session(struct udp_server *s, struct udp_session *ss)
{
	struct udp_session **at = &s->buckets[ss->hash & (s->bucket_count - 1)];

	while (*at != ss)
		at = &(*at)->next;
	*at = ss->next;
}

static void tell_end(const struct udp_session *ss, const char *reason)
{
	const struct udp_server *s = ss->service->server;
	struct udp_ended e = {
		.name = ss->service->opt.name,
		.client = &ss->path.peer,
		.server = ss->text,
		.reason = reason,
		.in = ss->in,
		.out = ss->out,
		.bytes_in = ss->bytes_in,
		.bytes_out = ss->bytes_out,
		.duration_ms = s->opt.loop->now_ms - ss->begun_ms,
		.serial = ss->serial,
	};

	if (s->opt.on_ended)
		s->opt.on_ended(s->opt.owner, &e);
}

static enum upstream_outcome outcome_of(const struct udp_session *ss, enum udp_end why)
{
	/* One that owes nothing by number may well keep silent. */
	if (why == UDP_NO_REPLY)
		return ss->service->opt.replies ? OUTCOME_TIMEOUT : OUTCOME_NEUTRAL;
	return ss->replies ? OUTCOME_OK : OUTCOME_NEUTRAL;
}

void session_end(struct udp_session *ss, enum udp_end why)
{
#define X(id, text) [id] = text,
	static const char *const names[] = { UDP_ENDS(X) };
#undef X
	struct udp_server *s = ss->service->server;

	proxy_leave(ss, outcome_of(ss, why), why == UDP_DONE);
	loop_timer_stop(s->opt.loop, &ss->timer);
	unlink_session(s, ss);
	s->session_count--;
	ss->service->session_count--;
	s->stats->ended[why]++;
	note_count(s);
	tell_end(ss, names[why]);
	loop_free_later(s->opt.loop, &ss->job);
}

static void end_all(struct udp_server *s, bool spares_unanswered)
{
	for (unsigned i = 0; i < s->bucket_count; i++) {
		for (struct udp_session *ss = s->buckets[i], *next; ss; ss = next) {
			next = ss->next;
			if (!spares_unanswered || !ss->is_unanswered)
				session_end(ss, UDP_DRAIN);
		}
	}
}

void udp_server_drain(struct udp_server *s)
{
	s->is_draining = true;
	end_all(s, true);
}

void udp_server_end_all(struct udp_server *s)
{
	end_all(s, false);
}

static void free_put_off(struct udp_server *s)
{
	/* Those that end here would be freed by a loop that turns no more. */
	struct loop *l = s->opt.loop;

	list_for_each_safe(node, next, &l->finals) {
		struct job *j = container_of(node, struct job, node);

		if (j->run != put_session && j->run != link_put)
			continue;
		list_remove(node);
		j->run(j);
	}
}

void sessions_fini(struct udp_server *s)
{
	if (!s->buckets)
		return;
	end_all(s, false);
	links_fini(s);
	free_put_off(s);
	free(s->buckets);
	s->buckets = NULL;
	pool_fini(&s->sessions);
	pool_fini(&s->links);
}

/* Replies ------------------------------------------------------------------------------------------------------------- */

/* Whose address may be forged gets no more than a multiple of what came from there. */
static bool is_granted(const struct udp_session *ss, size_t len)
{
	unsigned factor = ss->service->opt.amplification;

	return !factor || ss->is_verified || ss->bytes_out + len <= factor * ss->bytes_in;
}

void session_reply(struct udp_session *ss, const struct udp_message *m, bool is_copied)
{
	struct udp_service *svc = ss->service;
	struct udp_server *s = svc->server;

	if (!is_granted(ss, m->len)) {
		s->stats->held_back += udp_message_count(m);
		return;
	}
	ss->bytes_out += m->len;
	ss->out += udp_message_count(m);
	if (is_copied) {
		udp_sender_add(&s->sender, svc->io.fd, &ss->path, m);
		server_flush_later(s);
	} else {
		udp_sender_add_uncopied(&s->sender, svc->io.fd, &ss->path, m);
	}
}
