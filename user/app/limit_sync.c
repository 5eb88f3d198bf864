/* SPDX-License-Identifier: MIT */
/* Telling a Redis server, and hearing from it; see limit_sync.h. */
#include "app/limit_sync.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <nettle/sha1.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/limit_tally.h"
#include "base/err.h"
#include "base/log.h"

/* Clients in one command: while its script runs Redis does nothing else, for 6 us each. */
#define BATCH_MAX 64u
/* Commands under way, of a round that has more clients than one takes; the others wait for the next round. */
#define FLYING_MAX 64u
#define CLIENT_WORDS 4u		/* a key, and three numbers */
#define KEY_SIZE (LIMIT_SYNC_PREFIX_MAX + 9 + INET6_ADDRSTRLEN)
/* For the last reports; the master gives a helper a second to end. */
#define LEAVE_MS 500u
/* After an error of the server the next try waits for so long. */
#define ERROR_PAUSE_MS 250u
/* An answer holds a number for each client. */
#define REPLY_MIN (64u << 10)

/*
 * KEYS: clients.  ARGV: of each, what it has used, since how long, and the most it may owe, all in microseconds; last,
 * how long after it has paid a key is kept: reports reach so far back.  What somebody else has put there is no reason to
 * hear nothing of all the others: it is replaced.
 */
static const char script[] =
	"local t = redis.call('TIME')\n"
	"local now, keep, debts = t[1] * 1000000 + t[2], ARGV[#ARGV], {}\n"
	"for i, key in ipairs(KEYS) do\n"
	"  local used, span, most = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]\n"
	"  local paid = redis.pcall('GET', key)\n"
	"  if type(paid) == 'table' and not string.find(paid.err, 'WRONGTYPE', 1, true) then return paid end\n"
	"  paid = math.min(math.max(tonumber(paid) or 0, now - span) + used, now + most)\n"
	"  redis.call('SET', key, string.format('%.0f', paid), 'PX', math.ceil((math.max(paid - now, 0) + keep) / 1000))\n"
	"  debts[i] = paid - now\n"
	"end\n"
	"return debts\n";

enum state { STATE_NEW, STATE_KNOWN, STATE_UNKNOWN };

struct batch {
	struct redis_call call;
	struct limit_sync *sync;
	struct list node;		/* of flying */
	bool has_script;		/* it was sent with it */
	unsigned count;			/* 0: only to hear whether it answers */
	uint64_t sent_ns;
	struct limit_report reports[BATCH_MAX];
};

struct limit_sync {
	struct loop *loop;
	struct redis_server *redis;
	struct stats_redis stats, shown;	/* the server's; what of it is in the shared counters */
	struct limit_tally tally;
	struct limit_share_header *header;
	struct limit_share_counts *counts;
	char *name, *prefix;
	char sha[2 * SHA1_DIGEST_SIZE + 1];
	uint64_t every_ms, timeout_ms;
	bool is_open;
	enum state state;
	bool was_told;			/* what the log says last: not UNKNOWN */
	uint64_t next_tell_ms;		/* not before that */
	uint64_t next_try_ms;		/* while it is unknown */
	uint64_t asked_ms;		/* the last time */
	char why[128];			/* it is unknown */
	struct list flying;
	unsigned flying_count;
	struct timer tick;
	void (*on_left)(void *ctx);	/* it is to end when all is told; NULL: it is not */
	void *left_ctx;
	uint64_t leave_by_ms;
};

/* Known or not ------------------------------------------------------------------------------------------------- */

static void set_known_until(struct limit_sync *s, uint64_t until_ns)
{
	__atomic_store_n(&s->header->known_until_ns, until_ns, __ATOMIC_RELAXED);
}

/* Once a second at most, and the last word is what is true. */
static void tell(struct limit_sync *s)
{
	bool is_well = s->state != STATE_UNKNOWN;

	if (is_well == s->was_told || s->loop->now_ms < s->next_tell_ms)
		return;
	s->was_told = is_well;
	s->next_tell_ms = s->loop->now_ms + 1000;
	if (is_well)
		log_info("limits: hosts share their rates by redis %s again", s->name);
	else
		log_warn("limits: redis %s is of no use (%s): %s", s->name, s->why,
			 s->is_open ? "each host counts for itself" : "limited requests are refused");
}

static void be_known(struct limit_sync *s)
{
	if (s->state == STATE_NEW)
		s->next_tell_ms = 0;
	s->state = STATE_KNOWN;
	set_known_until(s, s->loop->now_ns + limit_sync_lease_ns(s->timeout_ms, s->every_ms));
	tell(s);
}

static void be_unknown(struct limit_sync *s, const char *why)
{
	s->state = STATE_UNKNOWN;
	snprintf(s->why, sizeof(s->why), "%s", why);
	set_known_until(s, 0);
	limit_tally_forget(&s->tally);
	tell(s);
}

/* Commands ----------------------------------------------------------------------------------------------------- */

static struct span print_key(const struct limit_sync *s, const struct limit_report *r, char out[KEY_SIZE])
{
	struct in6_addr v6 = { 0 };
	char address[INET6_ADDRSTRLEN];

	memcpy(&v6, &r->address.network, sizeof(r->address.network));
	inet_ntop((int)r->address.family, &v6, address, sizeof(address));
	snprintf(out, KEY_SIZE, "%s%" PRIx32 ":%s", s->prefix, r->zone, address);
	return span_str(out);
}

static struct span print_number(uint64_t n, char out[24])
{
	snprintf(out, 24, "%" PRIu64, n);
	return span_str(out);
}

static enum redis_failure command(struct limit_sync *s, struct batch *b)
{
	static struct span words[4 + CLIENT_WORDS * BATCH_MAX];
	static char keys[BATCH_MAX][KEY_SIZE], numbers[BATCH_MAX][CLIENT_WORDS - 1][24], count[24], keep[24];
	unsigned n = 0;

	_Static_assert(ARRAY_LEN(words) <= REDIS_WORDS_MAX, "one command");
	words[n++] = b->has_script ? SPAN("EVAL") : SPAN("EVALSHA");
	words[n++] = span_str(b->has_script ? script : s->sha);
	words[n++] = print_number(b->count, count);
	for (unsigned i = 0; i < b->count; i++)
		words[n++] = print_key(s, &b->reports[i], keys[i]);
	for (unsigned i = 0; i < b->count; i++) {
		words[n++] = print_number(b->reports[i].used_us, numbers[i][0]);
		words[n++] = print_number(b->reports[i].span_us, numbers[i][1]);
		words[n++] = print_number(b->reports[i].most_us, numbers[i][2]);
	}
	words[n++] = print_number(LIMIT_TALLY_SPAN_MAX / 1000, keep);
	return redis_server_call(s->redis, &b->call, n, words);
}

static void leave_if_done(struct limit_sync *s)
{
	bool has_more = s->flying_count || !list_is_empty(&s->tally.due);

	if (s->on_left && (!has_more || s->state == STATE_UNKNOWN || s->loop->now_ms >= s->leave_by_ms))
		s->on_left(s->left_ctx);
}

static void end_batch(struct batch *b)
{
	list_remove(&b->node);
	b->sync->flying_count--;
	free(b);
}

static void fail_batch(struct batch *b, const char *why)
{
	struct limit_sync *s = b->sync;

	for (unsigned i = 0; i < b->count; i++)
		limit_tally_lose(&s->tally, &b->reports[i]);
	end_batch(b);
	be_unknown(s, why);
	leave_if_done(s);
}

static void on_failed(struct redis_call *c, enum redis_failure why)
{
	struct batch *b = container_of(c, struct batch, call);

	/* Nothing was sent: there is no connection, which is counted elsewhere. */
	if (why != REDIS_CALL_DOWN)
		limit_share_count(&b->sync->counts->failures, 1);
	fail_batch(b, redis_failure_name(why));
}

static bool is_answer(const struct batch *b, const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != b->count)
		return false;
	for (size_t i = 0; i < reply->elements; i++)
		if (reply->element[i]->type != REDIS_REPLY_INTEGER)
			return false;
	return true;
}

static void on_answer(struct batch *b, const redisReply *reply)
{
	struct limit_sync *s = b->sync;
	uint64_t now_ns = s->loop->now_ns;

	__atomic_store_n(&s->header->round_trip_ns, now_ns - b->sent_ns, __ATOMIC_RELAXED);
	if (b->count)
		limit_tally_drain(&s->tally, now_ns);
	for (unsigned i = 0; i < b->count; i++)
		limit_tally_answer(&s->tally, &b->reports[i], reply->element[i]->integer, now_ns);
	end_batch(b);
	be_known(s);
	leave_if_done(s);
}

static void on_reply(struct redis_call *c, const redisReply *reply)
{
	struct batch *b = container_of(c, struct batch, call);
	struct limit_sync *s = b->sync;
	bool is_error = reply->type == REDIS_REPLY_ERROR;

	if (is_answer(b, reply)) {
		on_answer(b, reply);
		return;
	}
	/* Nothing was done.  It was started anew, or somebody has emptied its cache. */
	if (is_error && !b->has_script && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
		enum redis_failure why;

		b->has_script = true;
		why = command(s, b);
		if (why != REDIS_CALL_FINE)
			on_failed(c, why);
		return;
	}
	limit_share_count(&s->counts->failures, 1);
	s->next_try_ms = s->loop->now_ms + ERROR_PAUSE_MS;
	fail_batch(b, is_error ? reply->str : "it answers what no script of ours does");
}

/* Rounds ------------------------------------------------------------------------------------------------------- */

/* Of those that are due, perhaps of nobody.  False: there is no memory, or the server takes none. */
static bool ask(struct limit_sync *s)
{
	struct batch *b = malloc(sizeof(*b));
	enum redis_failure why;

	if (!b) {
		be_unknown(s, "no memory");
		return false;
	}
	b->call = (struct redis_call){ .on_reply = on_reply, .on_failed = on_failed };
	b->sync = s;
	b->has_script = false;
	b->count = 0;
	b->sent_ns = s->loop->now_ns;
	while (b->count < BATCH_MAX && limit_tally_cut(&s->tally, s->loop->now_ns, &b->reports[b->count]))
		b->count++;
	list_push_back(&s->flying, &b->node);
	s->flying_count++;
	s->asked_ms = s->loop->now_ms;
	why = command(s, b);
	if (why != REDIS_CALL_FINE)
		on_failed(&b->call, why);
	return why == REDIS_CALL_FINE;
}

static void show_connections(struct limit_sync *s)
{
	limit_share_count(&s->counts->connects, s->stats.connects - s->shown.connects);
	limit_share_count(&s->counts->connect_failures, s->stats.connect_failures - s->shown.connect_failures);
	s->shown = s->stats;
}

static void run_round(struct limit_sync *s)
{
	bool is_time;

	limit_tally_drain(&s->tally, s->loop->now_ns);
	if (s->state == STATE_KNOWN) {
		while (!list_is_empty(&s->tally.due) && s->flying_count < FLYING_MAX && ask(s))
			;
		/* Nobody to tell of, and yet it should be known whether it answers. */
		is_time = s->loop->now_ms - s->asked_ms >= s->timeout_ms / 2;
	} else {
		if (s->state == STATE_UNKNOWN)
			limit_tally_forget(&s->tally);
		is_time = s->loop->now_ms >= s->next_try_ms;
	}
	if (s->flying_count == 0 && is_time)
		ask(s);
	tell(s);
	show_connections(s);
}

static void on_tick(struct timer *t)
{
	struct limit_sync *s = container_of(t, struct limit_sync, tick);

	run_round(s);
	loop_timer_start(s->loop, &s->tick, s->every_ms);
	leave_if_done(s);
}

void limit_sync_leave(struct limit_sync *s, void (*on_left)(void *ctx), void *ctx)
{
	run_round(s);
	s->on_left = on_left;
	s->left_ctx = ctx;
	s->leave_by_ms = s->loop->now_ms + LEAVE_MS;
	leave_if_done(s);
}

/* Life --------------------------------------------------------------------------------------------------------- */

static void name_script(char out[2 * SHA1_DIGEST_SIZE + 1])
{
	uint8_t digest[SHA1_DIGEST_SIZE];
	struct sha1_ctx ctx;

	sha1_init(&ctx);
	sha1_update(&ctx, sizeof(script) - 1, (const uint8_t *)script);
	sha1_digest(&ctx, sizeof(digest), digest);
	for (unsigned i = 0; i < SHA1_DIGEST_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static int make_server(struct limit_sync *s, const struct redis_server_options *from)
{
	struct redis_server_options opt = *from;

	opt.connections = 1;
	opt.queue_max = 2 * FLYING_MAX;
	opt.reply_max = MAX(opt.reply_max, REPLY_MIN);
	return redis_server_new(&opt, &s->redis);
}

int limit_sync_new(struct loop *loop, const struct limit_sync_options *opt, struct limit_sync **ret_sync)
{
	struct limit_sync *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->header = opt->share->header;
	s->counts = &opt->table->header->share;
	s->every_ms = opt->every_ms;
	s->timeout_ms = opt->redis->timeout_ms;
	s->is_open = opt->is_open;
	/* That it has no connection yet is nothing to tell, unless it stays so. */
	s->was_told = true;
	s->next_tell_ms = loop->now_ms + 1000;
	list_init(&s->flying);
	timer_init(&s->tick, on_tick);
	limit_tally_init(&s->tally, opt->share, opt->table, loop->now_ns);
	name_script(s->sha);
	s->name = strdup(opt->redis->name);
	s->prefix = strdup(opt->prefix);
	if (!s->name || !s->prefix || make_server(s, opt->redis)) {
		limit_sync_free(s);
		return -ENOMEM;
	}
	redis_server_start(s->redis, loop, opt->upstreams, &s->stats);
	loop_timer_start(loop, &s->tick, s->every_ms);
	*ret_sync = s;
	return 0;
}

void limit_sync_free(struct limit_sync *s)
{
	if (!s)
		return;
	while (!list_is_empty(&s->flying)) {
		struct batch *b = container_of(s->flying.next, struct batch, node);

		redis_call_cancel(&b->call);
		end_batch(b);
	}
	loop_timer_stop(s->loop, &s->tick);
	if (s->redis)
		redis_server_stop(s->redis);
	redis_server_free(s->redis);
	limit_tally_fini(&s->tally);
	free(s->name);
	free(s->prefix);
	free(s);
}
