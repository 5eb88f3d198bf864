/* SPDX-License-Identifier: MIT */
/*
 * hiredis on our loop, see redis_link.h.  Its context frees itself, on each error and after redisAsyncFree(); the one
 * call that is made on every such way, whatever the reason, is the hook `cleanup`.
 */
#include "net/redis_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/sds.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "base/err.h"

#define WORDS_MAX 16u

const char redis_link_too_large[] = "a reply is larger than allowed";
static const char unasked[] = "the server sent what nobody asked for";

/* Replies, as they are made ----------------------------------------------------------------------------------- */

/* hiredis's own, which do the work. */
static const redisReplyObjectFunctions *makers;

static void *refuse(struct redis_link *l, const char *why)
{
	if (!l->why)
		l->why = why;
	/* Reads as "no memory" over there, and the connection is closed. */
	return NULL;
}

/*
 * What hiredis takes for granted of a message, and asserts: an array whose first two elements are strings and whose third,
 * where it ends a subscription, is a number.  The elements before have been made by now.
 */
static bool is_sound_push(const redisReadTask *task, int type)
{
	const redisReply *message = task->parent->obj;
	const redisReply *kind;

	if (task->idx <= 1)
		return type == REDIS_REPLY_STRING;
	kind = message->element[0];
	if (task->idx != 2 || !kind || kind->type != REDIS_REPLY_STRING || !strstr(kind->str, "unsubscribe"))
		return true;
	return type == REDIS_REPLY_INTEGER;
}

/* Counts what is being made.  False: it is too much, or not awaited at all.  The task takes nil for a string. */
static bool admit(const redisReadTask *task, int type, size_t size)
{
	struct redis_link *l = task->privdata;
	const redisAsyncContext *c = l->context;

	if (!task->parent) {
		/* An error says why the server turns us away. */
		if (!c->replies.head && !(c->c.flags & REDIS_SUBSCRIBED) && task->type != REDIS_REPLY_ERROR)
			return refuse(l, unasked) != NULL;
		l->reply_size = 0;
	} else if (l->is_push && !task->parent->parent && !c->replies.head && !is_sound_push(task, type)) {
		return refuse(l, unasked) != NULL;
	}
	l->reply_size += sizeof(redisReply) + size;
	return l->reply_size <= l->reply_max || refuse(l, redis_link_too_large) != NULL;
}

static void *make_string(const redisReadTask *task, char *text, size_t len)
{
	return admit(task, task->type, len) ? makers->createString(task, text, len) : NULL;
}

static void *make_array(const redisReadTask *task, int count)
{
	struct redis_link *l = task->privdata;

	if (l->is_push && !task->parent && !l->context->replies.head && count < 3)
		return refuse(l, unasked);
	return admit(task, REDIS_REPLY_ARRAY, (size_t)MAX(count, 0) * sizeof(void *)) ? makers->createArray(task, count) : NULL;
}

static void *make_integer(const redisReadTask *task, long long value)
{
	return admit(task, REDIS_REPLY_INTEGER, 0) ? makers->createInteger(task, value) : NULL;
}

static void *make_nil(const redisReadTask *task)
{
	return admit(task, REDIS_REPLY_NIL, 0) ? makers->createNil(task) : NULL;
}

static redisReplyObjectFunctions watched = {
	.createString = make_string,
	.createArray = make_array,
	.createInteger = make_integer,
	.createNil = make_nil,
};

static void watch_replies(struct redis_link *l)
{
	redisReader *reader = l->context->c.reader;

	if (!makers) {
		makers = reader->fn;
		watched.freeObject = makers->freeObject;
	}
	reader->fn = &watched;
	reader->privdata = l;
}

/* Events ------------------------------------------------------------------------------------------------------ */

static uint32_t wanted_events(const struct redis_link *l)
{
	return (l->is_paused ? 0 : (uint32_t)EPOLLIN) | (l->is_connected && !l->is_blocked ? 0 : (uint32_t)EPOLLOUT);
}

static size_t waiting(const struct redis_link *l)
{
	return sdslen(l->context->c.obuf);
}

static void set_blocked(struct redis_link *l, bool is_blocked)
{
	if (l->is_blocked == is_blocked)
		return;
	l->is_blocked = is_blocked;
	loop_modify(l->loop, &l->io, wanted_events(l), true);
}

/* May end in on_down. */
static void write_some(struct redis_link *l)
{
	size_t before = waiting(l);

	redisAsyncHandleWrite(l->context);
	if (!l->context || !l->is_connected)
		return;
	/* What hiredis asked for by its hook is an iteration of ours; when nothing has moved it is the kernel's turn. */
	set_blocked(l, waiting(l) > 0 && waiting(l) == before);
	if (l->is_blocked)
		job_cancel(&l->job);
}

static void on_job(struct job *j)
{
	struct redis_link *l = container_of(j, struct redis_link, job);

	if (l->context && l->is_connected && !l->is_blocked)
		write_some(l);
}

static void on_ready(struct io *io, uint32_t events)
{
	struct redis_link *l = container_of(io, struct redis_link, io);

	if (l->is_connected ? events & EPOLLOUT : events) {
		if (l->is_connected)
			set_blocked(l, false);
		write_some(l);
	}
	if (l->context && l->is_connected && events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
		redisAsyncHandleRead(l->context);
		/* A string is gathered whole before anything of it is made. */
		if (l->context && l->context->c.reader->len > l->reply_max + REDIS_READER_MAX_BUF)
			redis_link_close(l, redis_link_too_large);
	}
}

/* Hooks of hiredis. */
static void on_want_write(void *data)
{
	struct redis_link *l = data;

	if (l->is_connected && !l->is_blocked)
		loop_again(l->loop, &l->job);
}

static void on_want_nothing(void *data)
{
}

static void on_cleanup(void *data)
{
	struct redis_link *l = data;
	redisAsyncContext *c = l->context;

	loop_remove(l->loop, &l->io);
	job_cancel(&l->job);
	l->context = NULL;
	l->is_connected = l->is_blocked = l->is_paused = false;
	l->on_down(l, l->why ? l->why : c->errstr && *c->errstr ? c->errstr : "closed");
}

static void on_connect(const redisAsyncContext *c, int status)
{
	struct redis_link *l = c->data;

	if (status != REDIS_OK)
		return;
	l->is_connected = true;
	loop_modify(l->loop, &l->io, wanted_events(l), true);
	l->on_up(l);
}

/* Use --------------------------------------------------------------------------------------------------------- */

void redis_link_init(struct redis_link *l, struct loop *loop)
{
	*l = (struct redis_link){ .loop = loop };
	io_init(&l->io, -1, on_ready);
	job_init(&l->job, on_job);
}

/* Numeric addresses, so that hiredis has no name to look up.  NULL without memory. */
static redisAsyncContext *begin(const struct sockaddr *addr, socklen_t len)
{
	const union {
		const struct sockaddr *any;
		const struct sockaddr_in *v4;
		const struct sockaddr_in6 *v6;
		const struct sockaddr_un *path;
	} a = { addr };
	char text[INET6_ADDRSTRLEN];

	if (addr->sa_family == AF_UNIX)
		return redisAsyncConnectUnix(a.path->sun_path);
	if (addr->sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a.v6->sin6_addr, text, sizeof(text));
		return redisAsyncConnect(text, ntohs(a.v6->sin6_port));
	}
	inet_ntop(AF_INET, &a.v4->sin_addr, text, sizeof(text));
	return redisAsyncConnect(text, ntohs(a.v4->sin_port));
}

int redis_link_open(struct redis_link *l, const struct sockaddr *addr, socklen_t len)
{
	redisAsyncContext *c;
	int err = 0;

	errno = 0;
	c = begin(addr, len);
	if (!c)
		return -ENOMEM;
	if (c->err)
		err = errno ? -errno : -EIO;
	l->context = c;
	l->why = NULL;
	l->io.fd = c->c.fd;
	if (!err)
		err = loop_add(l->loop, &l->io, wanted_events(l), true);
	if (err) {
		l->context = NULL;
		redisAsyncFree(c);
		return err;
	}
	/* Where it fails a dead host is only noticed later. */
	if (l->is_push && addr->sa_family != AF_UNIX && redisEnableKeepAlive(&c->c) != REDIS_OK)
		c->c.err = 0;
	watch_replies(l);
	c->data = l;
	c->ev.data = l;
	c->ev.addRead = c->ev.delRead = c->ev.delWrite = on_want_nothing;
	c->ev.addWrite = on_want_write;
	c->ev.cleanup = on_cleanup;
	redisAsyncSetConnectCallback(c, on_connect);
	return 0;
}

void redis_link_close(struct redis_link *l, const char *why)
{
	if (!l->context)
		return;
	if (!l->why)
		l->why = why;
	redisAsyncFree(l->context);
}

void redis_link_pause(struct redis_link *l, bool is_paused)
{
	if (!l->context || l->is_paused == is_paused)
		return;
	l->is_paused = is_paused;
	loop_modify(l->loop, &l->io, wanted_events(l), true);
}

void redis_link_flush(struct redis_link *l)
{
	if (redis_link_is_usable(l) && l->is_connected && !l->is_blocked && waiting(l) > 0)
		write_some(l);
}

int redis_link_send(struct redis_link *l, struct span command, redisCallbackFn *fn, void *ctx)
{
	if (!redis_link_is_usable(l))
		return -ENOTCONN;
	return redisAsyncFormattedCommand(l->context, fn, ctx, command.ptr, command.len) == REDIS_OK ? 0 : -ENOTCONN;
}

int redis_link_send_words(struct redis_link *l, unsigned count, const struct span *words, redisCallbackFn *fn, void *ctx)
{
	const char *texts[WORDS_MAX];
	size_t lens[WORDS_MAX];

	BUG_ON(count > WORDS_MAX);
	for (unsigned i = 0; i < count; i++) {
		texts[i] = words[i].ptr;
		lens[i] = words[i].len;
	}
	if (!redis_link_is_usable(l))
		return -ENOTCONN;
	return redisAsyncCommandArgv(l->context, fn, ctx, (int)count, texts, lens) == REDIS_OK ? 0 : -ENOTCONN;
}
