/* SPDX-License-Identifier: MIT */
/*
 * The active check of one endpoint: every interval, with jitter, a connection is made, or a GET sent and the status of
 * its answer read, and the verdict in the shared table changes after `rise` or `fall` results in a row.  Of an endpoint
 * that is not known yet the first result decides.
 * Must not know: names, processes, who else uses the endpoint.
 *
 *   waiting --timer--> connecting --> sending --> reading --> verdict, waiting
 *                          \------------\------------\--error, timeout--/
 */
#ifndef SLUICE_APP_HEALTH_H
#define SLUICE_APP_HEALTH_H

#include "app/upstream_table.h"
#include "base/span.h"
#include "net/loop.h"

struct health_options {		/* borrowed, may serve many endpoints */
	bool is_http;			/* else a connection is all that is asked for */
	const char *path, *host;	/* http: "/", "app.internal:8080" */
	unsigned status_min, status_max;/* http: what counts as well */
	uint64_t interval_ms;		/* from the begin of a check to that of the next, give or take 10 % */
	uint64_t timeout_ms;		/* of a check as a whole */
	unsigned rise, fall;		/* at least 1 */
	struct span preamble;		/* what the server expects first on every connection: a PROXY header; or empty */
};

struct probe;

struct health {
	/* The owner fills these. */
	const struct health_options *opt;
	struct upstream_endpoint *endpoint;
	/* The verdict has changed: endpoint->health, endpoint->check_error.  May stop the health. */
	void (*on_change)(struct health *h, enum endpoint_health before);
	/* private */
	struct loop *loop;
	struct timer timer;		/* the next check */
	uint64_t begun_ms;
	struct probe *probe;		/* the check under way */
};

/*
 * The first check comes at random within `spread_ms`, so that those of many servers do not come together.  The verdict
 * and its streak go on from what the table holds.
 */
void health_start(struct health *h, struct loop *loop, uint64_t spread_ms);
/* To be called before the endpoint gets another address too.  Harmless when not started (zeroed). */
void health_stop(struct health *h);

#endif
