/* SPDX-License-Identifier: MIT */
/*
 * What the server gives a module, and the functions it may call; to be included by handler.h.  Texts are pointer and
 * length, without a NUL behind them, and stay as long as the request, unless it says otherwise.
 */
#ifndef SLUICE_API_H
#define SLUICE_API_H

#include <stddef.h>
#include <stdint.h>

#define SLUICE_ABI 1u
#define SLUICE_UNKNOWN UINT64_MAX	/* a length that nobody knows beforehand */
#define SLUICE_FULL 65536		/* bytes on their way above which one should wait for on_writable */
#define SLUICE_WRITE_MAX 16777216	/* bytes on their way above which sluice_write refuses: -ENOBUFS */

enum sluice_level { SLUICE_LOG_ERROR, SLUICE_LOG_WARN, SLUICE_LOG_INFO, SLUICE_LOG_DEBUG };

struct sluice_span {
	const char *ptr;
	size_t len;
};

/* A module at one route, in one worker. */
struct sluice_instance {
	const struct sluice_api *api;
	const char *args;		/* `module_args`; "" where there are none */
	const char *prefix;		/* of the route */
	uint32_t worker;		/* slot, from 0 */
	void *data;			/* yours */
};

struct sluice_request {
	const struct sluice_api *api;
	struct sluice_instance *instance;
	void *data;			/* yours; NULL at first */
	struct sluice_span method;
	struct sluice_span target;	/* as received */
	struct sluice_span host;	/* without port */
	struct sluice_span path;	/* decoded, without dot segments; may hold any byte but NUL */
	struct sluice_span rest;	/* what the star of the route's path stands for */
	struct sluice_span query;	/* as received, without '?' */
	uint64_t length;		/* bytes of content; 0: none; SLUICE_UNKNOWN: chunked */
	uint32_t version;		/* 10 or 11: HTTP/1.0, HTTP/1.1 */
};

/* All zero but for these two before its first use; its memory must stay while it runs. */
struct sluice_timer {
	void (*on_expire)(struct sluice_timer *t);
	void *data;			/* yours */
	uint64_t reserved[8];
};

struct sluice_api {
	uint32_t abi, size;
	int (*status)(struct sluice_request *r, unsigned status);
	int (*add)(struct sluice_request *r, const char *name, const char *value, size_t value_len);
	int (*begin)(struct sluice_request *r, uint64_t length);
	int (*write)(struct sluice_request *r, const void *data, size_t len);
	/* `release`, where it is not NULL, is called when the bytes are not needed any more; it must call nothing of this. */
	int (*write_held)(struct sluice_request *r, const void *data, size_t len, void (*release)(void *ctx), void *ctx);
	int (*write_file)(struct sluice_request *r, int fd, uint64_t offset, uint64_t len, void (*release)(void *ctx),
			  void *ctx);
	int (*end)(struct sluice_request *r);
	int (*reply)(struct sluice_request *r, unsigned status, const char *type, const void *data, size_t len);
	int (*error)(struct sluice_request *r, unsigned status);
	void (*abort)(struct sluice_request *r);
	uint64_t (*queued)(const struct sluice_request *r);
	void (*pause)(struct sluice_request *r, int is_paused);
	void (*wake)(struct sluice_request *r, uint64_t after_ms);
	struct sluice_span (*header)(const struct sluice_request *r, const char *name);
	int (*field)(const struct sluice_request *r, uint32_t index, struct sluice_span *ret_name,
		     struct sluice_span *ret_value);
	size_t (*client)(const struct sluice_request *r, char *out, size_t size);
	void (*timer_start)(struct sluice_instance *in, struct sluice_timer *t, uint64_t after_ms);
	void (*timer_stop)(struct sluice_instance *in, struct sluice_timer *t);
	uint64_t (*now_ms)(const struct sluice_instance *in);
	void (*log)(struct sluice_instance *in, enum sluice_level level, const char *text);
};

#include "sluice/call.h"

#endif
