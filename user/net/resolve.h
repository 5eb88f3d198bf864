/* SPDX-License-Identifier: MIT */
/*
 * Names to addresses, asynchronously, by c-ares on our loop: A and AAAA of a name (/etc/hosts too), or SRV of a service
 * and then the addresses of its targets.  Every question ends: with an answer, an error, or at its limit of time.
 * Must not know: who asks and how often; addresses in numeric form are not asked here.
 *
 *   resolve_name, resolve_srv --> on_done(question, answer), never before they return
 *                             \-> resolve_cancel: on_done does not come
 */
#ifndef SLUICE_NET_RESOLVE_H
#define SLUICE_NET_RESOLVE_H

#include "net/loop.h"
#include "net/sock.h"

#define RESOLVE_ADDRESSES_MAX 64	/* of one answer; a name with more gives the lowest ones */
#define RESOLVE_TARGETS_MAX   32	/* of a service; those of the highest priority come first */
#define RESOLVE_NAME_MAX      255	/* bytes (RFC 1035 2.3.4) */

struct resolver;

struct resolver_options {		/* zeros: the defaults */
	/* Numeric, with their ports; names are then taken as complete.  None: servers and search list of /etc/resolv.conf. */
	const union sock_addr *servers;
	unsigned server_count;
	unsigned timeout_ms;		/* of the first try at a server, doubled with each round (1500) */
	unsigned tries;			/* rounds over all servers (2) */
	unsigned limit_ms;		/* of a question as a whole (15000) */
};

struct resolve_address {
	union sock_addr addr;		/* with its port */
	uint16_t weight;		/* of the service's target, at least 1; 0: of a plain name */
};

struct resolve_answer {
	int err;			/* 0 or a negative error, see resolve_error_text; there are no addresses then */
	uint32_t ttl_s;			/* the shortest on the way */
	/* Some targets of the service could not be asked about: what is missing here may still be there. */
	bool is_partial;
	unsigned count, omitted_count;	/* omitted: above RESOLVE_ADDRESSES_MAX */
	struct resolve_address addresses[RESOLVE_ADDRESSES_MAX];	/* sorted, each once */
};

struct inquiry;

/* A question, embedded in whoever asks; zeroed before its first use. */
struct resolve {
	/* Borrowed for the call.  Called from the loop; may ask again, cancel others, free the question. */
	void (*on_done)(struct resolve *q, const struct resolve_answer *answer);
	struct inquiry *inquiry;	/* private; NULL: not under way */
};

/* The loop must outlive the resolver.  0, -ENOMEM or -EIO (c-ares does not start). */
int resolver_new(struct loop *loop, const struct resolver_options *opt, struct resolver **ret_resolver);
/* Questions under way are cancelled.  Not from within on_done.  NULL is allowed. */
void resolver_free(struct resolver *r);

/* Addresses of a name, all with that port.  The question must not be under way.  0 or -ENOMEM: on_done does not come. */
int resolve_name(struct resolver *r, struct resolve *q, const char *name, uint16_t port);
/*
 * Addresses of the targets of "_http._tcp.example.net" (RFC 2782): those of the lowest priority that has any.
 */
int resolve_srv(struct resolver *r, struct resolve *q, const char *service);
/* Harmless when it is not under way. */
void resolve_cancel(struct resolve *q);

static inline bool resolve_is_active(const struct resolve *q)
{
	return q->inquiry != NULL;
}

/*
 * In words for the log: -ENOENT "no such name", -ENODATA "no addresses", -ETIMEDOUT "no answer in time",
 * -ECONNREFUSED "name server refuses or fails", -EREMOTEIO "name server fails", -EBADMSG "malformed answer", -EINVAL "bad name".
 */
const char *resolve_error_text(int err);

#endif
