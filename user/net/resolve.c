/* SPDX-License-Identifier: MIT */
/*
 * The resolver and the questions under way.
 *
 *   inquiry: SERVICE --answer--> TARGETS --all answered--> DONE --> on_done       (a plain name begins with TARGETS)
 *                \--error----------------------------------/
 *
 * c-ares calls back whenever it likes, also from within its own functions.  So its callbacks only take down what they
 * are told; a job of the loop goes on from there, and calls the asker.  c-ares cannot forget a single question: one that
 * was cancelled, or is over its limit, loses its asker and its memory stays until the last callback has come (`pending`).
 */
#include "net/resolve.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net/resolve_impl.h"

#define LIMIT_MS 15000u

enum inquiry_state { INQUIRY_SERVICE, INQUIRY_TARGETS, INQUIRY_DONE };

struct inquiry {
	struct resolver *resolver;
	struct resolve *asker;	/* NULL: nobody waits any more */
	struct list node;	/* of resolver.inquiries, while there is an asker */
	enum inquiry_state state;
	unsigned pending;	/* callbacks of c-ares to come */
	struct timer limit;
	struct job job;
	unsigned target_count;
	struct target targets[RESOLVE_TARGETS_MAX];
	/* By priority, as the targets are: only those that share one may be mixed. */
	uint16_t best_priority;	/* of the addresses in `answer` */
	struct resolve_answer answer;
};

int resolver_new(struct loop *loop, const struct resolver_options *opt, struct resolver **ret_resolver)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int err;

	*ret_resolver = NULL;
	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->limit_ms = opt->limit_ms ? opt->limit_ms : LIMIT_MS;
	list_init(&r->sockets);
	list_init(&r->inquiries);
	err = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS ? 0 : -EIO;
	if (!err) {
		err = resolver_open_channel(r, opt);
		if (err)
			ares_library_cleanup();
	}
	if (err) {
		free(r);
		return err;
	}
	*ret_resolver = r;
	return 0;
}

/* Questions ---------------------------------------------------------------------------------------------------- */

static void free_if_over(struct inquiry *in)
{
	if (in->pending == 0 && !in->asker)
		free(in);
}

static void forget_asker(struct inquiry *in)
{
	in->asker->inquiry = NULL;
	in->asker = NULL;
	list_remove(&in->node);
	loop_timer_stop(in->resolver->loop, &in->limit);
	job_cancel(&in->job);
}

void resolve_cancel(struct resolve *q)
{
	struct inquiry *in = q->inquiry;

	if (!in)
		return;
	forget_asker(in);
	free_if_over(in);
}

static void tell(struct inquiry *in)
{
	struct resolve *asker = in->asker;

	in->state = INQUIRY_DONE;
	forget_asker(in);
	/* Kept alive during the call, whatever the asker does there. */
	in->pending++;
	asker->on_done(asker, &in->answer);
	in->pending--;
	free_if_over(in);
}

static void fail(struct inquiry *in, int err)
{
	in->answer.err = err;
	in->answer.count = 0;
}

static void on_limit(struct timer *t)
{
	struct inquiry *in = container_of(t, struct inquiry, limit);

	fail(in, -ETIMEDOUT);
	tell(in);
}

/* One callback less to come; after the last the job goes on. */
static void note_answer(struct inquiry *in)
{
	in->pending--;
	if (!in->asker)
		free_if_over(in);
	else if (in->pending == 0)
		loop_again(in->resolver->loop, &in->job);
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct target *t = arg;
	struct inquiry *in = t->inquiry;
	struct resolve_answer *a = &in->answer;

	/* The first of the targets' errors stands for all when there is no address in the end. */
	if (status != ARES_SUCCESS && a->err == 0)
		a->err = resolve_error_of(status);
	t->is_gone = status == ARES_ENOTFOUND || status == ARES_ENODATA;
	t->has_failed = status != ARES_SUCCESS && !t->is_gone;
	if (info && info->nodes && in->state == INQUIRY_TARGETS) {
		if (a->count && t->priority < in->best_priority)
			a->count = a->omitted_count = 0;
		if (a->count == 0 || t->priority == in->best_priority) {
			in->best_priority = t->priority;
			resolve_add(a, info, t->port, t->weight);
		}
	}
	if (info)
		ares_freeaddrinfo(info);
	note_answer(in);
}

static void ask_targets(struct inquiry *in)
{
	const struct ares_addrinfo_hints hints = {
		/* Sorting opens sockets to the addresses found, only to see which way they would go. */
		.ai_flags = ARES_AI_NOSORT,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};

	in->state = INQUIRY_TARGETS;
	/* One more for us: callbacks may come before the last question is out. */
	in->pending += in->target_count + 1;
	for (unsigned i = 0; i < in->target_count; i++) {
		in->targets[i].inquiry = in;
		ares_getaddrinfo(in->resolver->channel, in->targets[i].name, NULL, &hints, on_addresses,
				 &in->targets[i]);
	}
	resolver_arm(in->resolver);
	note_answer(in);
}

/* Something is known: errors of some targets do not matter, but what they might have said is missing. */
static void settle(struct inquiry *in)
{
	struct resolve_answer *a = &in->answer;

	if (a->count == 0) {
		a->err = a->err ? a->err : -ENODATA;
		return;
	}
	a->err = 0;
	for (unsigned i = 0; i < in->target_count; i++)
		if (in->targets[i].has_failed && in->targets[i].priority <= in->best_priority)
			a->is_partial = true;
}

static void on_job(struct job *j)
{
	struct inquiry *in = container_of(j, struct inquiry, job);

	if (in->state == INQUIRY_SERVICE && in->target_count) {
		ask_targets(in);
		return;
	}
	settle(in);
	tell(in);
}

static void on_service(void *arg, int status, int timeouts, unsigned char *packet, int len)
{
	struct inquiry *in = arg;
	int err = resolve_error_of(status);
	uint32_t ttl_s;

	if (!err)
		err = resolve_parse_srv(packet, len, in->targets, &in->target_count, &ttl_s);
	if (err) {
		in->target_count = 0;
		fail(in, err);
	} else {
		in->answer.ttl_s = ttl_s;
	}
	note_answer(in);
}

static struct inquiry *start(struct resolver *r, struct resolve *q)
{
	struct inquiry *in = calloc(1, sizeof(*in));

	BUG_ON(q->inquiry);
	if (!in)
		return NULL;
	in->resolver = r;
	in->asker = q;
	in->answer.ttl_s = UINT32_MAX;
	timer_init(&in->limit, on_limit);
	job_init(&in->job, on_job);
	list_push_back(&r->inquiries, &in->node);
	loop_timer_start(r->loop, &in->limit, r->limit_ms);
	q->inquiry = in;
	return in;
}

int resolve_name(struct resolver *r, struct resolve *q, const char *name, uint16_t port)
{
	struct inquiry *in = start(r, q);

	if (!in)
		return -ENOMEM;
	if (strlen(name) > RESOLVE_NAME_MAX) {
		fail(in, -EINVAL);
		in->state = INQUIRY_TARGETS;
		loop_again(r->loop, &in->job);
		return 0;
	}
	in->target_count = 1;
	in->targets[0].port = port;
	memcpy(in->targets[0].name, name, strlen(name) + 1);
	ask_targets(in);
	return 0;
}

int resolve_srv(struct resolver *r, struct resolve *q, const char *service)
{
	struct inquiry *in = start(r, q);

	if (!in)
		return -ENOMEM;
	in->pending++;
	ares_search(r->channel, service, DNS_CLASS_IN, DNS_TYPE_SRV, on_service, in);
	resolver_arm(r);
	return 0;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	list_for_each_safe(node, next, &r->inquiries)
		resolve_cancel(container_of(node, struct inquiry, node)->asker);
	loop_timer_stop(r->loop, &r->timer);
	/* Calls back for all that is under way; the last such call frees an inquiry. */
	ares_destroy(r->channel);
	ares_library_cleanup();
	free(r);
}
