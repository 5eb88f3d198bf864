/* SPDX-License-Identifier: MIT */
/* From an explanation to JSON, from that JSON to a table.  Names are a contract: none is renamed.
 */
#include "proc/steer_report.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"

/* ---- JSON ---- */

static const char *state_of(const struct steer_standing *s)
{
	if (!s->is_up)
		return "down";
	if (s->weight == 0)
		return "drained";
	return s->is_stalled ? "stalled" : "open";
}

static json_t *slot_json(unsigned index, const struct steer_standing *s)
{
	return json_pack("{s:i, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:o, s:f}",
			 "slot", (int)index, "cpu", (json_int_t)s->cpu, "pid", (json_int_t)s->pid,
			 "state", state_of(s), "weight", (json_int_t)s->weight, "live",
			 (json_int_t)s->live, "reserved", (json_int_t)s->reserved, "pending",
			 (json_int_t)s->pending, "up", s->is_up, "drained", s->weight == 0,
			 "stalled", s->is_stalled, "score",
			 s->score < 0 ? json_null() : json_real(s->score), "chance",
			 (double)s->wins / STEER_EXPLAIN_DRAWS);
}

static json_t *names_json(void)
{
	json_t *names = json_array();

	for (unsigned i = 0; i < STEER_POLICY_COUNT; i++)
		json_array_append_new(names, json_string(steer_policy_name(i)));
	return names;
}

json_t *steer_report_json(const struct steer_explanation *e, const char *why)
{
	const struct steer_config *c = &e->config;
	json_t *slots = json_array();

	for (unsigned i = 0; i < e->slot_count; i++)
		json_array_append_new(slots, slot_json(i, &e->slots[i]));
	return json_pack("{s:s, s:s, s:b, s:s?, s:o, s:I, s:I, s:I, s:f, s:f, s:f, s:o}", "policy",
			 steer_policy_name(c->policy), "about", steer_policy_about(c->policy),
			 "active", why == NULL, "why", why, "policies", names_json(), "choices",
			 (json_int_t)c->choices, "band", (json_int_t)c->band, "pending_weight",
			 (json_int_t)c->pending_weight, "stall_ms", (double)c->stall_ns / NS_PER_MS,
			 "reservation_ms", (double)c->bucket_ns / NS_PER_MS, "hashed",
			 (double)e->hashed / STEER_EXPLAIN_DRAWS, "slots", slots);
}

/* ---- table ---- */

/* Missing fields count as 0 or "?": the server may be of another version. */
static uint64_t number_of(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static const char *string_of(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "?";
}

static void print_slot(const json_t *slot, bool explains, int digits, FILE *out)
{
	const json_t *score = json_object_get(slot, "score");
	char text[32] = "-";

	fprintf(out,
		"%4" PRIu64 " %4" PRIu64 " %-8s %6" PRIu64 " %8" PRIu64 " %8" PRIu64 " %7" PRIu64,
		number_of(slot, "slot"), number_of(slot, "cpu"), string_of(slot, "state"),
		number_of(slot, "weight"), number_of(slot, "live"), number_of(slot, "reserved"),
		number_of(slot, "pending"));
	if (explains) {
		if (json_is_number(score))
			snprintf(text, sizeof(text), "%.*f", digits, json_number_value(score));
		fprintf(out, " %11s %6.1f%%", text,
			100 * json_number_value(json_object_get(slot, "chance")));
	}
	fputc('\n', out);
}

static const char *score_text(const char *policy)
{
	if (strcmp(policy, "busy") == 0)
		return "score: pending events and reservations, behind the point the connections, "
		       "per weight";
	if (strcmp(policy, "cpu") == 0)
		return "score: connections per weight, the next one counted, the band not taken "
		       "off";
	if (strcmp(policy, "least") == 0 || strcmp(policy, "p2c") == 0)
		return "score: connections per weight, the next one counted; the least wins";
	return "score: none, this policy looks at no load";
}

static void print_reasons(const json_t *report, FILE *out)
{
	double hashed = json_number_value(json_object_get(report, "hashed"));

	fprintf(out, "%s\n", score_text(string_of(report, "policy")));
	fprintf(out,
		"next: the share of %d imagined connections that the policy gives to the slot\n",
		STEER_EXPLAIN_DRAWS);
	if (hashed > 0)
		fprintf(out,
			"%.1f%% of them the kernel's hash would place: no slot may be chosen\n",
			100 * hashed);
}

static unsigned count_open(const json_t *slots)
{
	unsigned count = 0;
	const json_t *slot;
	size_t i;

	json_array_foreach(slots, i, slot) count += strcmp(string_of(slot, "state"), "open") == 0;
	return count;
}

void steer_report_print(const json_t *report, bool explains, FILE *out)
{
	const json_t *slots = json_object_get(report, "slots"), *slot;
	int digits = strcmp(string_of(report, "policy"), "busy") == 0 ? 6 : 2;
	size_t i;

	if (json_is_true(json_object_get(report, "active")))
		fprintf(out, "policy %s: %s\n", string_of(report, "policy"),
			string_of(report, "about"));
	else
		fprintf(out, "steering is off, the kernel hashes: %s\n", string_of(report, "why"));
	fprintf(out,
		"choices %" PRIu64 ", band %" PRIu64 ", pending_weight %" PRIu64
		", stall %g ms, reservation %g ms\n",
		number_of(report, "choices"), number_of(report, "band"),
		number_of(report, "pending_weight"),
		json_number_value(json_object_get(report, "stall_ms")),
		json_number_value(json_object_get(report, "reservation_ms")));
	fprintf(out, "slot  cpu state    weight     live reserved pending%s\n",
		explains ? "       score    next" : "");
	json_array_foreach(slots, i, slot) print_slot(slot, explains, digits, out);
	if (explains)
		print_reasons(report, out);
	if (json_array_size(slots) && count_open(slots) == 0)
		fprintf(out, "no slot is open: the kernel's hash places every connection\n");
}
