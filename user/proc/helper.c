/* SPDX-License-Identifier: MIT */
/* Life of a helper; see helper.h. */
#include "proc/helper.h"

#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/fd_pass.h"
#include "proc/child.h"
#include "proc/worker.h"

static void on_signal(struct io *io, uint32_t events)
{
	struct helper *h = container_of(io, struct helper, signal_io);
	struct signalfd_siginfo info;

	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGTERM && h->leave)
			h->leave(h);
		else
			loop_stop(&h->loop);
	}
}

/* The master says nothing here; what there is to read is its end. */
static void on_channel(struct io *io, uint32_t events)
{
	struct helper *h = container_of(io, struct helper, channel_io);
	char byte;
	ssize_t n;

	while ((n = fd_pass_receive(io->fd, &byte, sizeof(byte), NULL)) > 0)
		;
	if (n != -EAGAIN)
		loop_stop(&h->loop);
}

static void on_turn(struct loop *l, int event_count)
{
	sandbox_tell();
}

static int start(struct helper *h)
{
	int err = loop_init(&h->loop);
	int fd;

	if (err)
		return err;
	h->loop.on_turn = on_turn;
	fd = child_open_signals();
	if (fd < 0)
		return fd;
	io_init(&h->signal_io, fd, on_signal);
	err = loop_add(&h->loop, &h->signal_io, EPOLLIN, false);
	if (err)
		return err;
	io_init(&h->channel_io, h->channel_fd, on_channel);
	err = loop_add(&h->loop, &h->channel_io, EPOLLIN, false);
	return err ? err : h->start(h);
}

int helper_run(struct helper *h)
{
	static uint64_t refused;	/* told, not shown: a helper has no statistics */
	char ready = CHANNEL_READY;
	int err;

	log_set_name(h->name);
	err = privilege_drop(&h->identity);
	if (err) {
		log_error("cannot give up rights: %s", strerror(-err));
		return 1;
	}
	err = start(h);
	if (err) {
		log_error("cannot start: %s", strerror(-err));
		return 1;
	}
	err = sandbox_enter(h->sandbox, h->role, &refused);
	if (err < 0) {
		log_error("cannot enter its sandbox: %s", strerror(-err));
		return 1;
	}
	fd_pass_send(h->channel_fd, &ready, sizeof(ready), -1);
	err = loop_run(&h->loop);
	if (err)
		log_error("event loop: %s", strerror(-err));
	h->stop(h);
	loop_remove(&h->loop, &h->signal_io);
	loop_remove(&h->loop, &h->channel_io);
	loop_fini(&h->loop);
	return err ? 1 : 0;
}
