/* SPDX-License-Identifier: MIT */
/*
 * The command "steer" of the control socket: what it asks for is done first, the answer is the
 * state after it.
 */
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/suggest.h"
#include "proc/master_internal.h"
#include "proc/steer_report.h"

/* Each answers a faulty request itself and returns false then. */

static bool get_slot(struct ctl_request *rq, const json_t *args, struct master *m, unsigned *ret)
{
	const json_t *slot = json_object_get(args, "slot");
	json_int_t value = json_integer_value(slot);

	if (json_is_integer(slot) && value >= 0 && value < m->current->worker_count) {
		*ret = (unsigned)value;
		return true;
	}
	ctl_reply_error(rq, "no such slot: the slots are 0 to %u", m->current->worker_count - 1);
	return false;
}

static bool do_policy(struct ctl_request *rq, const json_t *args, struct master *m)
{
	const char *name = json_string_value(json_object_get(args, "policy"));
	const char *names[STEER_POLICY_COUNT], *near;
	enum steer_policy_id policy;

	if (name && steer_policy_parse(name, &policy) == 0) {
		steer_set_policy(m->current->steer, policy);
		log_info("steering policy is now %s", name);
		return true;
	}
	for (unsigned i = 0; i < STEER_POLICY_COUNT; i++)
		names[i] = steer_policy_name(i);
	near = name ? suggest_nearest(name, names, STEER_POLICY_COUNT) : NULL;
	ctl_reply_error(rq,
			"unknown policy '%.40s'%s%s; known: hash least rr p2c weighted cpu busy",
			name ? name : "", near ? ", did you mean " : "", near ? near : "");
	return false;
}

static bool do_weight(struct ctl_request *rq, const json_t *args, struct master *m)
{
	const json_t *weight = json_object_get(args, "weight");
	json_int_t value = json_integer_value(weight);
	unsigned slot;

	if (!get_slot(rq, args, m, &slot))
		return false;
	if (!json_is_integer(weight) || value < 0 || value > STEER_MAX_WEIGHT) {
		ctl_reply_error(rq, "a weight is a number from 0 (drained) to %d, %d by default",
				STEER_MAX_WEIGHT, STEER_DEFAULT_WEIGHT);
		return false;
	}
	steer_set_weight(m->current->steer, slot, (uint32_t)value);
	log_info("weight of slot %u is now %u", slot, (unsigned)value);
	return true;
}

static bool do_drain(struct ctl_request *rq, const json_t *args, struct master *m)
{
	unsigned slot;

	if (!get_slot(rq, args, m, &slot))
		return false;
	steer_drain(m->current->steer, slot);
	log_info("slot %u is drained", slot);
	return true;
}

static bool do_undrain(struct ctl_request *rq, const json_t *args, struct master *m)
{
	unsigned slot;

	if (!get_slot(rq, args, m, &slot))
		return false;
	steer_undrain(m->current->steer, slot);
	log_info("slot %u is no longer drained, weight %u", slot, steer_weight(m->current->steer, slot));
	return true;
}

static const struct {
	const char *name;
	bool (*run)(struct ctl_request *rq, const json_t *args, struct master *m);
} changes[] = {
	{"policy", do_policy},
	{"weight", do_weight},
	{"drain", do_drain},
	{"undrain", do_undrain},
};

/* Without BPF a change would be kept and do nothing: that is an error to whoever asks for one. */
static bool change(struct ctl_request *rq, const char *name, const json_t *args, struct master *m)
{
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		if (strcmp(name, changes[i].name) != 0)
			continue;
		if (steer_is_active(m->current->steer))
			return changes[i].run(rq, args, m);
		ctl_reply_error(rq, "steering is off: %s", steer_why(m->current->steer));
		return false;
	}
	ctl_reply_error(rq, "unknown change '%.40s' of the steering", name);
	return false;
}

void master_on_steer(struct ctl_request *rq, const json_t *args, void *owner)
{
	const char *name = json_string_value(json_object_get(args, "change"));
	struct steer_explanation explanation;
	struct master *m = owner;

	if (name && !change(rq, name, args, m))
		return;
	if (steer_explain(m->current->steer, clock_ns(), &explanation) < 0)
		ctl_reply_error(rq, "out of memory");
	else
		ctl_reply(rq, json_pack("{s:b, s:o}", "ok", 1, "steer",
					steer_report_json(&explanation, steer_why(m->current->steer))));
}
