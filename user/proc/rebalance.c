/* SPDX-License-Identifier: MIT */
/* Moving established connections; see rebalance.h. */
#include "proc/rebalance.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"

/* A quarter of the excess a round: two hot workers that pick the same cool one must not make it hot. */
#define ROUND_PART    4u
#define ROUND_MIN     8u
/* A worker that has not moved for this long while it was awake gets nothing. */
#define FRESH_NS      (50 * NS_PER_MS)
/* At most one reply in this many asks its client to come back. */
#define CLOSE_ONE_IN  20u
#define WAITING_SIZE  (STEER_MAX_SLOTS * sizeof(uint32_t))
/* Messages taken from the inbox in one go. */
#define INBOX_BATCH   64u

/* Inboxes ----------------------------------------------------------------------------------------------------- */

int inboxes_open(struct inboxes *in, unsigned count)
{
	int err = shm_new(&in->memory, "sluice-inboxes", WAITING_SIZE);

	in->waiting = in->memory.at;
	in->fds = calloc(count, sizeof(*in->fds));
	if (err || !in->fds) {
		inboxes_close(in);
		return -ENOMEM;
	}
	for (in->count = 0; in->count < count; in->count++) {
		err = fd_pass_pair(in->fds[in->count]);
		if (err) {
			inboxes_close(in);
			return err;
		}
	}
	return 0;
}

void inboxes_close(struct inboxes *in)
{
	for (unsigned i = 0; i < in->count; i++) {
		close(in->fds[i][0]);
		close(in->fds[i][1]);
	}
	if (in->waiting)
		shm_free(&in->memory);
	in->waiting = NULL;
	free(in->fds);
	in->fds = NULL;
	in->count = 0;
}

int inboxes_take_over(struct inboxes *in, const struct inboxes *from, unsigned count)
{
	count = MAX(count, from->count);
	*in = (struct inboxes){
		.waiting = from->waiting, .memory = from->memory, .fds = calloc(count, sizeof(*in->fds))
	};
	if (!in->fds)
		return -ENOMEM;
	for (; in->count < count; in->count++) {
		int *pair = in->fds[in->count];
		int err = 0;

		if (in->count < from->count)
			memcpy(pair, from->fds[in->count], sizeof(*in->fds));
		else
			err = fd_pass_pair(pair);
		if (err) {
			inboxes_close_apart(in, from);
			inboxes_release(in);
			return err;
		}
	}
	return 0;
}

int inboxes_map_waiting(struct inboxes *in, int fd)
{
	int err = shm_map(&in->memory, fd, WAITING_SIZE);

	in->waiting = in->memory.at;
	return err;
}

void inboxes_close_apart(const struct inboxes *in, const struct inboxes *keep)
{
	for (unsigned i = keep->count; i < in->count; i++) {
		close(in->fds[i][0]);
		close(in->fds[i][1]);
	}
}

void inboxes_release(struct inboxes *in)
{
	free(in->fds);
	*in = (struct inboxes){ 0 };
}

int inboxes_send(const struct inboxes *in, unsigned slot, int fd, const struct server_guest *guest)
{
	ssize_t n;

	/* Counted first: the other side may take it, and count it off, before this process runs on. */
	__atomic_fetch_add(&in->waiting[slot], 1, __ATOMIC_RELAXED);
	n = fd_pass_send(in->fds[slot][1], guest, sizeof(*guest), fd);
	if (n >= 0)
		return 0;
	__atomic_fetch_sub(&in->waiting[slot], 1, __ATOMIC_RELAXED);
	return (int)n;
}

unsigned inboxes_forward(const struct inboxes *in, unsigned from, unsigned to)
{
	unsigned count = 0;

	while (__atomic_load_n(&in->waiting[from], __ATOMIC_RELAXED) > 0) {
		struct server_guest guest;
		int fd;
		ssize_t n = fd_pass_receive(in->fds[from][0], &guest, sizeof(guest), &fd);

		if (n < 0)
			break;
		if (fd < 0 && n != sizeof(guest))
			continue;
		__atomic_fetch_sub(&in->waiting[from], 1, __ATOMIC_RELAXED);
		count += fd >= 0 && n == sizeof(guest) && inboxes_send(in, to, fd, &guest) == 0;
		if (fd >= 0)
			close(fd);
	}
	return count;
}

/* Plan -------------------------------------------------------------------------------------------------------- */

/* Rounded up: shares sum to at least the total, so that nobody is above its share when all are even. */
static uint64_t share_of(const struct rebalance_view *v, unsigned slot)
{
	uint64_t total = 0, weights = 0;

	for (unsigned i = 0; i < v->count; i++) {
		total += v->slots[i].live;
		weights += v->slots[i].can_take ? v->slots[i].weight : 0;
	}
	if (!v->slots[slot].can_take || weights == 0)
		return 0;
	return (total * v->slots[slot].weight + weights - 1) / weights;
}

unsigned rebalance_excess(const struct rebalance_view *v, unsigned self, bool is_exact)
{
	uint64_t live = v->slots[self].live;
	uint64_t share = share_of(v, self);
	uint64_t tolerated = is_exact ? share : share + share / 10 + 2;

	/* A drained slot has no share: its connections go, as long as anybody takes them. */
	if (live <= (v->slots[self].weight ? tolerated : 0) || rebalance_target(v, self) < 0)
		return 0;
	return (unsigned)(live - share);
}

int rebalance_target(const struct rebalance_view *v, unsigned self)
{
	int64_t most = 0;
	int target = -1;

	for (unsigned i = 0; i < v->count; i++) {
		int64_t lacking = (int64_t)share_of(v, i) - v->slots[i].live;

		if (i != self && v->slots[i].can_take && lacking > most) {
			most = lacking;
			target = (int)i;
		}
	}
	return target;
}

/* Moving ------------------------------------------------------------------------------------------------------ */

static void look(const struct rebalancer *r, struct rebalance_view *v)
{
	uint64_t now_ns = clock_ns();

	v->count = steer_slot_count(r->steer);
	for (unsigned i = 0; i < v->count; i++) {
		const struct steer_slot *slot = steer_slot(r->steer, i);
		uint64_t stamp_ns = __atomic_load_n(&slot->stamp_ns, __ATOMIC_RELAXED);
		bool is_moving = slot->is_waiting || now_ns < stamp_ns + FRESH_NS;

		v->slots[i].live = __atomic_load_n(&slot->live, __ATOMIC_RELAXED) +
				   __atomic_load_n(&r->inboxes->waiting[i], __ATOMIC_RELAXED);
		v->slots[i].weight = steer_weight(r->steer, i);
		v->slots[i].can_take = slot->is_up && slot->pid && v->slots[i].weight &&
				       (is_moving || i == r->slot);
	}
}

struct parcel_target {
	struct rebalancer *rebalancer;
	int slot;
};

static int send_parcel(void *ctx, int fd, const struct server_guest *guest)
{
	struct parcel_target *t = ctx;

	return inboxes_send(t->rebalancer->inboxes, (unsigned)t->slot, fd, guest);
}

/* Moves up to `count`; how many went. */
static unsigned move(struct rebalancer *r, struct rebalance_view *v, unsigned count)
{
	unsigned moved = 0;

	while (moved < count) {
		struct parcel_target t = { r, rebalance_target(v, r->slot) };

		if (t.slot < 0 || server_hand_over(r->server, send_parcel, &t) <= 0)
			break;
		v->slots[t.slot].live++;
		v->slots[r->slot].live--;
		moved++;
	}
	r->stats->moved_out += moved;
	return moved;
}

static void run_round(struct rebalancer *r)
{
	uint64_t requests = r->stats->requests;
	uint64_t close_max = (requests - r->requests_before) / CLOSE_ONE_IN;
	struct rebalance_view v;
	unsigned excess, wanted, moved;

	look(r, &v);
	excess = rebalance_excess(&v, r->slot, r->is_asked);
	wanted = MIN(excess, MAX(excess / ROUND_PART, ROUND_MIN));
	moved = move(r, &v, wanted);
	r->requests_before = requests;
	r->server->close_quota = (unsigned)MIN(wanted - moved, close_max);
	if (excess > moved)
		loop_timer_start(r->server->loop, &r->timer, REBALANCE_EVERY_MS);
	else
		r->is_asked = false;
}

static void on_timer(struct timer *t)
{
	run_round(container_of(t, struct rebalancer, timer));
}

void rebalancer_on_turn(struct rebalancer *r)
{
	uint64_t now_ms = r->server->loop->now_ms;
	struct rebalance_view v;

	if (!r->is_auto || now_ms < r->checked_ms + REBALANCE_EVERY_MS ||
	    timer_is_active(&r->timer))
		return;
	r->checked_ms = now_ms;
	look(r, &v);
	/* Not from here: a batch of events is about to be walked. */
	if (rebalance_excess(&v, r->slot, false))
		loop_timer_start(r->server->loop, &r->timer, 1);
}

void rebalancer_ask(struct rebalancer *r)
{
	r->is_asked = true;
	if (!timer_is_active(&r->timer))
		loop_timer_start(r->server->loop, &r->timer, 1);
}

/* Taking ------------------------------------------------------------------------------------------------------ */

static void adopt(struct rebalancer *r, int fd, const struct server_guest *guest)
{
	r->stats->moved_in++;
	steer_adopted(r->line);
	if (server_adopt(r->server, fd, guest) < 0) {
		r->stats->closed[CLOSE_MEMORY]++;
		steer_closed(r->line);
	}
}

/* It came when this process had no descriptor left: the kernel has closed it, and all that is left to do is to count it. */
static void note_lost(struct rebalancer *r, const struct server_guest *guest)
{
	server_lose(r->server, guest);
	r->stats->moved_in++;
	r->stats->closed[CLOSE_MEMORY]++;
}

/* False when there is none. */
static bool take_parcel(struct rebalancer *r)
{
	struct server_guest guest;
	int fd;
	ssize_t n = fd_pass_receive(r->inbox.fd, &guest, sizeof(guest), &fd);

	if (n < 0)
		return false;
	if (fd < 0 && n != sizeof(guest))
		return n > 0;
	__atomic_fetch_sub(&r->inboxes->waiting[r->slot], 1, __ATOMIC_RELAXED);
	if (fd < 0)
		note_lost(r, &guest);
	else if (n == sizeof(guest))
		adopt(r, fd, &guest);
	else
		close(fd);
	return true;
}

static void on_inbox(struct io *io, uint32_t events)
{
	struct rebalancer *r = container_of(io, struct rebalancer, inbox);

	for (unsigned i = 0; i < INBOX_BATCH && take_parcel(r); i++)
		;
}

void rebalancer_init(struct rebalancer *r)
{
	timer_init(&r->timer, on_timer);
	io_init(&r->inbox, r->inboxes->fds[r->slot][0], on_inbox);
}

int rebalancer_start(struct rebalancer *r, struct loop *loop)
{
	r->checked_ms = loop->now_ms;
	r->requests_before = r->stats->requests;
	if (r->inbox.generation)
		return 0;
	/* Level-triggered: a batch may leave messages behind. */
	return loop_add(loop, &r->inbox, EPOLLIN, true);
}

void rebalancer_rest(struct rebalancer *r, struct steer_slot *line)
{
	r->is_auto = false;
	r->line = line;
	r->server->close_quota = 0;
	loop_timer_stop(r->server->loop, &r->timer);
}

void rebalancer_empty(struct rebalancer *r)
{
	while (r->inbox.generation && take_parcel(r))
		;
}

void rebalancer_stop(struct rebalancer *r, struct loop *loop)
{
	r->is_auto = false;
	loop_timer_stop(loop, &r->timer);
	loop_remove(loop, &r->inbox);
}
