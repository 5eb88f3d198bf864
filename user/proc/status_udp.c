/* SPDX-License-Identifier: MIT */
/* UDP in the JSON of `status --json`. */
#include "base/err.h"
#include "proc/json_text.h"
#include "proc/status.h"

static int set_u64(json_t *object, const char *name, uint64_t value)
{
	return json_object_set_new(object, name, json_integer((json_int_t)value));
}

/* NULL without memory, in all of this file. */
static json_t *end(json_t *object, int r)
{
	if (r == 0)
		return object;
	json_decref(object);
	return NULL;
}

static json_t *named(const uint64_t *counts, const char *const *names, size_t count)
{
	json_t *object = json_object();
	int r = 0;

	for (size_t i = 0; i < count; i++)
		r |= set_u64(object, names[i], counts[i]);
	return end(object, r);
}

static const struct {
	const char *name;
	size_t offset;
} counters[] = {
#define COUNTER(field) { #field, offsetof(struct udp_stats, field) }
	COUNTER(in),	    COUNTER(bytes_in),	  COUNTER(echoed),  COUNTER(forwarded), COUNTER(replies),
	COUNTER(out),	    COUNTER(bytes_out),	  COUNTER(held_back), COUNTER(send_busy), COUNTER(send_failed),
	COUNTER(joined),    COUNTER(segmented),	  COUNTER(sessions), COUNTER(server_errors), COUNTER(strays),
#undef COUNTER
};

#define X(id, name) [id] = name,
static const char *const end_names[] = { UDP_ENDS(X) };
static const char *const drop_names[] = { UDP_DROPS(X) };
#undef X

json_t *status_udp_counters(const struct udp_stats *s, uint64_t session_count)
{
	json_t *object = json_object();
	int r = set_u64(object, "live", session_count);

	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		r |= set_u64(object, counters[i].name, *(const uint64_t *)((const char *)s + counters[i].offset));
	r |= json_object_set_new(object, "ended", named(s->ended, end_names, ARRAY_LEN(end_names)));
	r |= json_object_set_new(object, "dropped", named(s->dropped, drop_names, ARRAY_LEN(drop_names)));
	return end(object, r);
}

static json_t *verdicts(const struct udp_verdicts *v)
{
	static const char *const names[] = { "kept",	    "kept_old",	  "placed",   "replaced",  "spread",
					     "all_stalled", "bad_config", "not_kept", "no_socket", "short_header" };

	_Static_assert(ARRAY_LEN(names) * sizeof(uint64_t) == sizeof(*v), "every verdict has a name");
	return named((const uint64_t *)v, names, ARRAY_LEN(names));
}

static json_t *listen_of(const struct status_udp_listen *l)
{
	json_t *object = json_object();
	char address[SOCK_ADDR_TEXT];
	int r;

	r = json_object_set_new(object, "address", json_text(sock_addr_print(&l->listener->addr, address)));
	r |= json_object_set_new(object, "udp", json_text(l->mode));
	r |= json_object_set_new(object, "one_way", json_boolean(l->is_one_way));
	r |= json_object_set_new(object, "steered", json_boolean(l->listener->is_steered));
	r |= json_object_set_new(object, "verdicts", verdicts(&l->verdicts));
	return end(object, r);
}

json_t *status_udp(const struct status_source *src, const struct stats_block *sum)
{
	uint64_t draining = 0;
	json_t *list = json_array(), *object;
	int r = 0;

	for (unsigned i = 0; i < src->draining_count; i++)
		draining += src->draining[i].udp_sessions;
	for (unsigned i = 0; i < src->udp_listen_count; i++)
		r |= json_array_append_new(list, listen_of(&src->udp_listens[i]));
	object = status_udp_counters(&sum->udp, sum->udp_sessions);
	r |= set_u64(object, "draining", draining);
	r |= json_object_set_new(object, "listen", list);
	return end(object, r);
}
