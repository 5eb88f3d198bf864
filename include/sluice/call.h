/* SPDX-License-Identifier: MIT */
/* The functions of struct sluice_api under their own names; to be included by api.h. */
#ifndef SLUICE_CALL_H
#define SLUICE_CALL_H

/* Of the answer, 200 to 599; 200 unless it is set. */
static inline int sluice_status(struct sluice_request *r, unsigned status)
{
	return r->api->status(r, status);
}

/*
 * A field of the answer, copied.  Content-Length, Transfer-Encoding, Connection, Date and Server are the server's.
 * -EINVAL: no field, or one of those; -ENOSPC: too much.  Either makes the answer a 500.
 */
static inline int sluice_add(struct sluice_request *r, const char *name, const char *value, size_t value_len)
{
	return r->api->add(r, name, value, value_len);
}

/* `length`: bytes of content that follow (to HEAD and with 304: that would), or SLUICE_UNKNOWN. */
static inline int sluice_begin(struct sluice_request *r, uint64_t length)
{
	return r->api->begin(r, length);
}

/* Copies.  -ENOBUFS: too much is on its way already; wait for on_writable. */
static inline int sluice_write(struct sluice_request *r, const void *data, size_t len)
{
	return r->api->write(r, data, len);
}

/*
 * Refers to the bytes, which must not change until `release`; NULL: they stay for as long as the process lives.  What is
 * refused is not released.
 */
static inline int sluice_write_held(struct sluice_request *r, const void *data, size_t len,
				    void (*release)(void *ctx), void *ctx)
{
	return r->api->write_held(r, data, len, release, ctx);
}

/* A part of a file, sent by the kernel; the descriptor must stay open until `release`, likewise. */
static inline int sluice_write_file(struct sluice_request *r, int fd, uint64_t offset, uint64_t len,
				    void (*release)(void *ctx), void *ctx)
{
	return r->api->write_file(r, fd, offset, len, release, ctx);
}

/* The answer is complete.  Fewer bytes than announced: the connection is cut, so that the client sees it. */
static inline int sluice_end(struct sluice_request *r)
{
	return r->api->end(r);
}

/* A whole answer; `type` is its media type, NULL for none.  `data` is copied. */
static inline int sluice_reply(struct sluice_request *r, unsigned status, const char *type, const void *data,
			       size_t len)
{
	return r->api->reply(r, status, type, data, len);
}

/* The server's page for that status, with what was added. */
static inline int sluice_error(struct sluice_request *r, unsigned status)
{
	return r->api->error(r, status);
}

/* Cuts the connection, as the client will see. */
static inline void sluice_abort(struct sluice_request *r)
{
	r->api->abort(r);
}

/* Bytes written that the kernel has not taken yet. */
static inline uint64_t sluice_queued(const struct sluice_request *r)
{
	return r->api->queued(r);
}

/* 1: on_body does not come and the client's bytes stay in the kernel; 0: they come again. */
static inline void sluice_pause(struct sluice_request *r, int is_paused)
{
	r->api->pause(r, is_paused);
}

/* on_timer comes once, after so many milliseconds; a second call replaces the first; SLUICE_UNKNOWN: never mind. */
static inline void sluice_wake(struct sluice_request *r, uint64_t after_ms)
{
	r->api->wake(r, after_ms);
}

/* Of the first field with this name, whatever its case; ptr is NULL where there is none. */
static inline struct sluice_span sluice_header(const struct sluice_request *r, const char *name)
{
	return r->api->header(r, name);
}

/* The index-th field; -ENOENT behind the last. */
static inline int sluice_field(const struct sluice_request *r, uint32_t index, struct sluice_span *ret_name,
			       struct sluice_span *ret_value)
{
	return r->api->field(r, index, ret_name, ret_value);
}

/* The client's address as text, as the log has it; its length, at most size - 1.  64 bytes are enough. */
static inline size_t sluice_client(const struct sluice_request *r, char *out, size_t size)
{
	return r->api->client(r, out, size);
}

#endif
