/* SPDX-License-Identifier: MIT */
/*
 * What the answers of name servers say.  c-ares has parsers, but the one for SRV does not give the time to live, so its
 * records are walked here; names within are c-ares' to expand, and every length is checked against the packet.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "base/err.h"
#include "net/resolve_impl.h"

#define HEADER_LEN   12
#define QUESTION_LEN 4		/* after its name: type, class */
#define RECORD_LEN   10		/* after its name: type, class, time to live, length */
#define SRV_LEN	     6		/* before its target: priority, weight, port */

int resolve_error_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return 0;
	case ARES_ENOTFOUND:
		return -ENOENT;
	case ARES_ENODATA:
		return -ENODATA;
	case ARES_ETIMEOUT:
		return -ETIMEDOUT;
	case ARES_ECONNREFUSED:
	case ARES_EREFUSED:
		return -ECONNREFUSED;
	case ARES_ESERVFAIL:
	case ARES_ENOTIMP:
	case ARES_EFORMERR:
		return -EREMOTEIO;
	case ARES_EBADRESP:
		return -EBADMSG;
	case ARES_EBADNAME:
		return -EINVAL;
	case ARES_ENOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

const char *resolve_error_text(int err)
{
	switch (-err) {
	case ENOENT:
		return "no such name";
	case ENODATA:
		return "no addresses";
	case ETIMEDOUT:
		return "no answer in time";
	case ECONNREFUSED:
		return "name server refuses or fails";
	case EREMOTEIO:
		return "name server fails";
	case EBADMSG:
		return "malformed answer";
	case EINVAL:
		return "bad name";
	case ENOMEM:
		return "out of memory";
	default:
		return "cannot be asked for";
	}
}

/* Records ------------------------------------------------------------------------------------------------------ */

struct walk {
	const unsigned char *packet;
	int len, at;
};

static unsigned u16_at(const struct walk *w, int at)
{
	return (unsigned)w->packet[at] << 8 | w->packet[at + 1];
}

static uint32_t u32_at(const struct walk *w, int at)
{
	return (uint32_t)u16_at(w, at) << 16 | u16_at(w, at + 2);
}

static bool has_bytes(const struct walk *w, int count)
{
	return count <= w->len - w->at;
}

/* Expands the name at hand into `out`, or skips it (NULL); moves on. */
static int take_name(struct walk *w, char *out)
{
	char *name;
	long used;
	int status;

	if (!has_bytes(w, 1))
		return -EBADMSG;
	status = ares_expand_name(w->packet + w->at, w->packet, w->len, &name, &used);
	if (status != ARES_SUCCESS)
		return status == ARES_ENOMEM ? -ENOMEM : -EBADMSG;
	w->at += (int)used;
	/* Bytes that have to be escaped make it longer than any name may be; such a one is no host. */
	if (out && strlen(name) <= RESOLVE_NAME_MAX)
		memcpy(out, name, strlen(name) + 1);
	else if (out)
		*out = '\0';
	ares_free_string(name);
	return 0;
}

static int take_srv(struct walk *w, struct target *t)
{
	if (!has_bytes(w, SRV_LEN))
		return -EBADMSG;
	*t = (struct target){ .priority = (uint16_t)u16_at(w, w->at),
			      .weight = (uint16_t)MAX(u16_at(w, w->at + 2), 1u),
			      .port = (uint16_t)u16_at(w, w->at + 4) };
	w->at += SRV_LEN;
	return take_name(w, t->name);
}

/* One record; *ret_is_srv tells whether *t was filled. */
static int take_record(struct walk *w, struct target *t, bool *ret_is_srv, uint32_t *ttl_s)
{
	int err = take_name(w, NULL);
	unsigned type, class;
	int end;

	if (err)
		return err;
	if (!has_bytes(w, RECORD_LEN))
		return -EBADMSG;
	type = u16_at(w, w->at);
	class = u16_at(w, w->at + 2);
	*ttl_s = MIN(*ttl_s, u32_at(w, w->at + 4));
	end = w->at + RECORD_LEN + (int)u16_at(w, w->at + 8);
	w->at += RECORD_LEN;
	if (end > w->len)
		return -EBADMSG;
	*ret_is_srv = type == DNS_TYPE_SRV && class == DNS_CLASS_IN;
	if (*ret_is_srv)
		err = take_srv(w, t);
	if (!err && w->at > end)
		return -EBADMSG;
	w->at = end;
	return err;
}

static int by_priority(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	return x->priority != y->priority ? (x->priority < y->priority ? -1 : 1) : strcmp(x->name, y->name);
}

int resolve_parse_srv(const unsigned char *packet, int len, struct target targets[RESOLVE_TARGETS_MAX],
		      unsigned *ret_count, uint32_t *ret_ttl_s)
{
	struct walk w = { packet, len, HEADER_LEN };
	unsigned questions, records, count = 0;
	uint32_t ttl_s = UINT32_MAX;
	struct target t;

	*ret_count = 0;
	if (len < HEADER_LEN)
		return -EBADMSG;
	questions = u16_at(&w, 4);
	records = u16_at(&w, 6);
	for (unsigned i = 0; i < questions; i++) {
		int err = take_name(&w, NULL);

		if (err || !has_bytes(&w, QUESTION_LEN))
			return err ? err : -EBADMSG;
		w.at += QUESTION_LEN;
	}
	for (unsigned i = 0; i < records; i++) {
		bool is_srv = false;
		int err = take_record(&w, &t, &is_srv, &ttl_s);

		if (err)
			return err;
		if (!is_srv || t.name[0] == '\0')
			continue;
		/* A full list gives up its last for one of a better priority. */
		if (count == RESOLVE_TARGETS_MAX && by_priority(&t, &targets[count - 1]) >= 0)
			continue;
		count = MIN(count, RESOLVE_TARGETS_MAX - 1u);
		targets[count++] = t;
		qsort(targets, count, sizeof(*targets), by_priority);
	}
	*ret_count = count;
	*ret_ttl_s = ttl_s;
	return count ? 0 : -ENODATA;
}

/* Addresses ---------------------------------------------------------------------------------------------------- */

static int compare(const union sock_addr *a, const union sock_addr *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return a->any.sa_family < b->any.sa_family ? -1 : 1;
	return memcmp(a, b, sock_addr_len(a));
}

/* A name server may turn the order at every answer; ours is always the same, also when some are left out. */
static void insert(struct resolve_answer *a, const struct resolve_address *one)
{
	unsigned at = 0;

	while (at < a->count && compare(&a->addresses[at].addr, &one->addr) < 0)
		at++;
	if (at < a->count && compare(&a->addresses[at].addr, &one->addr) == 0)
		return;
	if (a->count == RESOLVE_ADDRESSES_MAX)
		a->omitted_count++;
	else
		a->count++;
	if (at == a->count)
		return;
	memmove(&a->addresses[at + 1], &a->addresses[at], (a->count - 1 - at) * sizeof(*one));
	a->addresses[at] = *one;
}

void resolve_add(struct resolve_answer *a, const struct ares_addrinfo *info, uint16_t port, uint16_t weight)
{
	for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next)
		a->ttl_s = MIN(a->ttl_s, (uint32_t)MAX(c->ttl, 0));
	for (const struct ares_addrinfo_node *n = info->nodes; n; n = n->ai_next) {
		struct resolve_address one = { .weight = weight };

		if (n->ai_family != AF_INET && n->ai_family != AF_INET6)
			continue;
		memcpy(&one.addr, n->ai_addr, MIN((size_t)n->ai_addrlen, sizeof(one.addr)));
		if (n->ai_family == AF_INET)
			one.addr.v4.sin_port = htons(port);
		else
			one.addr.v6.sin6_port = htons(port);
		a->ttl_s = MIN(a->ttl_s, (uint32_t)MAX(n->ai_ttl, 0));
		insert(a, &one);
	}
}
