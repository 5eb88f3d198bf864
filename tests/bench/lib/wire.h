/* SPDX-License-Identifier: MIT */
/*
 * As much HTTP/1.1 as both ends of the proxy's benches need: the client (mixload) and the back end.
 * Both are our own, so nothing here is lenient: what they do not send is malformed, and counted.
 *
 * Bodies are made of a table of random bytes, from a place that the seed of the message gives.  So
 * both sides know every byte of a body by its seed, and bodies of two messages differ from the
 * first bytes on.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WIRE_HEAD_MAX	4096  /* bytes of a head */
#define WIRE_CHUNKS	16384 /* bytes of chunks made at a time */

enum wire_framing { WIRE_NONE, WIRE_SIZED, WIRE_CHUNKED };

/* Fills the table: once, before everything else. */
void wire_init(void);
/* `*len` bytes of the body of `seed` from `at` on, fewer where the table wraps. */
const char *wire_content(uint64_t seed, uint64_t at, size_t *len);
uint64_t wire_hash(uint64_t seed, uint64_t size);
/* A good hash of a counter: seeds and sizes that look random and can be made again. */
uint64_t wire_mix(uint64_t x);

struct wire_head {
	const char *target;	  /* request only, not terminated */
	size_t target_len;
	unsigned status;	  /* response only */
	char method;		  /* its first letter */
	bool is_close, is_upgrade, has_expect, has_seed, has_framing;
	enum wire_framing framing;
	uint64_t length;	  /* WIRE_SIZED */
	uint64_t seed;		  /* X-Seed */
};

/* Bytes of the head, 0 when it is not complete yet, -1 when it is malformed. */
ssize_t wire_parse(const char *data, size_t len, bool is_request, struct wire_head *ret);

/* A body that comes in. */
struct wire_in {
	enum wire_framing framing;
	bool is_checked;	/* compared with the content of `seed`, and hashed */
	bool is_wrong;		/* a byte differed, the first one at `wrong_at` */
	uint8_t chunk_state;
	uint64_t seed, left, count, wrong_at;
	XXH64_state_t hash;
};

void wire_in_start(struct wire_in *in, const struct wire_head *head, uint64_t seed,
		   bool is_checked);
/* Takes what belongs to the body off the front: 1 at its end, 0 for more, -1 malformed. */
int wire_in_take(struct wire_in *in, const char **data, size_t *len);

/* A message that goes out: a head, and a body of `size` bytes of `seed`. */
struct wire_out {
	char head[512];
	size_t head_len, head_at;
	enum wire_framing framing;
	bool is_ended, has_trailer;
	uint64_t seed, size, at;
	char *chunks; /* only while chunks are being sent */
	size_t chunks_len, chunks_at;
	uint32_t random;
};

void wire_out_start(struct wire_out *out, enum wire_framing framing, uint64_t seed, uint64_t size);
void wire_out_head(struct wire_out *out, const char *form, ...)
	__attribute__((format(printf, 2, 3)));
/*
 * Sends up to `budget` bytes: 1 when all is sent, 0 when the socket is full or the budget spent,
 * else -errno.
 */
int wire_out_send(struct wire_out *out, int fd, size_t budget);
void wire_out_fini(struct wire_out *out);

double wire_now_s(void);
/* As many descriptors as there may be; returns their number. */
size_t wire_raise_files(size_t wanted);

#endif
