/* SPDX-License-Identifier: MIT */
/* The content of a module's answer: never more than was announced, nor more than is good for the worker's memory. */
#include <stdlib.h>

#include "app/module_internal.h"
#include "base/err.h"
#include "base/hold.h"

/* 0: so many bytes may follow now. */
static int check_write(struct module_call *c, uint64_t len)
{
	const struct reply *r = c->reply;

	if (!r->is_begun)
		return module_refuse(c, "content before begin", -EINVAL);
	if (!r->is_unsized && len > r->length - r->written)
		return module_refuse(c, "more content than announced", -EMSGSIZE);
	module_note_activity(c);
	return 0;
}

int module_write(struct sluice_request *r, const void *data, size_t len)
{
	struct module_call *c = module_call_of(r);
	uint64_t queued = reply_queued(c->reply);
	int err = check_write(c, len);

	if (err)
		return err;
	/* What goes beyond is no mistake of a module that looks; one that does not is stopped here. */
	if (len > SLUICE_WRITE_MAX || queued > SLUICE_WRITE_MAX - len)
		return -ENOBUFS;
	reply_write(c->reply, data, len);
	return 0;
}

struct borrowed {
	struct hold hold;
	void (*release)(void *ctx);
	void *ctx;
};

static void on_release(struct hold *h)
{
	struct borrowed *b = container_of(h, struct borrowed, hold);

	b->release(b->ctx);
	free(b);
}

/* False: no memory.  *ret_hold is NULL where nothing is to be released. */
static bool borrow(void (*release)(void *ctx), void *ctx, struct hold **ret_hold)
{
	struct borrowed *b;

	*ret_hold = NULL;
	if (!release)
		return true;
	b = malloc(sizeof(*b));
	if (!b)
		return false;
	hold_init(&b->hold, on_release);
	b->release = release;
	b->ctx = ctx;
	*ret_hold = &b->hold;
	return true;
}

int module_write_held(struct sluice_request *r, const void *data, size_t len, void (*release)(void *ctx), void *ctx)
{
	struct module_call *c = module_call_of(r);
	struct hold *hold;
	int err = check_write(c, len);

	if (err)
		return err;
	if (!borrow(release, ctx, &hold))
		return -ENOMEM;
	reply_write_held(c->reply, span_of(data, len), hold);
	hold_put(hold);
	return 0;
}

int module_write_file(struct sluice_request *r, int fd, uint64_t offset, uint64_t len, void (*release)(void *ctx),
		      void *ctx)
{
	struct module_call *c = module_call_of(r);
	struct hold *hold;
	int err = check_write(c, len);

	if (!err && (fd < 0 || offset > INT64_MAX || len > INT64_MAX - offset))
		err = module_refuse(c, "a part of a file that is none", -EINVAL);
	if (err)
		return err;
	if (!borrow(release, ctx, &hold))
		return -ENOMEM;
	reply_write_file(c->reply, fd, (off_t)offset, len, hold);
	hold_put(hold);
	return 0;
}
