/* SPDX-License-Identifier: MIT */
/* What the master opens before it forks, and closes at its end. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "net/fd_pass.h"
#include "proc/master_internal.h"
#include "proc/worker.h"

unsigned master_cpu_of(const struct master *m, unsigned slot)
{
	return m->cpus.ids[slot % m->cpus.count];
}

static int open_identity(struct master *m)
{
	int err = identity_of(m->config->user ? m->config->user : "nobody", &m->identity);

	if (err)
		log_error("cannot find user '%s': %s", m->config->user, strerror(-err));
	return err;
}

static int open_steer(struct master *m)
{
	const struct config_steering *conf = &m->config->steering;
	struct steer_options opt = {
		.slot_count = m->worker_count,
		.policy = conf->policy,
		.bucket_ns = conf->reservation_ns ? conf->reservation_ns : STEER_NO_RESERVATIONS,
		.stall_ns = conf->stall_ns,
		.choices = conf->choices,
		.band = conf->band,
		.pending_weight = conf->pending_weight,
		.pin_dir = m->config->pin,
		.is_disabled = conf->is_disabled,
	};
	int err = steer_open(&opt, &m->steer);

	if (err) {
		log_error("cannot set up steering: %s", strerror(-err));
		return err;
	}
	if (steer_is_active(m->steer)) {
		if (m->config->pin && steer_pin_error(m->steer))
			log_warn("maps are not pinned: %s", steer_pin_error(m->steer));
		return 0;
	}
	if (conf->is_required) {
		log_error("steering is required and not to be had: %s", steer_why(m->steer));
		return -EOPNOTSUPP;
	}
	if (!conf->is_disabled)
		log_warn("STEERING IS OFF: %s; the kernel's hash spreads connections, all else works",
			 steer_why(m->steer));
	return 0;
}

static int open_listener(struct master *m, const struct config_listen *conf)
{
	struct listener *l = &m->listeners[m->listener_count];
	const char *step = NULL;
	int fd = inherit_take(&m->inherited, &conf->addr);
	int err = fd < 0 ? listener_open(l, &conf->addr, &conf->sock, m->worker_count, m->steer, &step)
			 : listener_open_inherited(l, fd, &conf->addr, &conf->sock, m->worker_count, m->steer,
						   &step);

	if (err) {
		if (conf->place.file)
			log_error("%s:%u: cannot %s '%s': %s", conf->place.file, conf->place.line,
				  step, conf->text, strerror(-err));
		else
			log_error("cannot %s '%s': %s", step, conf->text, strerror(-err));
		return err;
	}
	l->has_proxy_header = conf->has_proxy_protocol;
	m->listener_count++;
	if (steer_is_active(m->steer) && !l->is_steered) {
		if (m->config->steering.is_required) {
			log_error("cannot steer '%s' (%s)", conf->text, step ? step : "?");
			return -EOPNOTSUPP;
		}
		log_warn("'%s' is not steered (%s): the kernel's hash spreads its connections",
			 conf->text, step ? step : "?");
	}
	return 0;
}

static void tell_untaken(const struct inherited *in)
{
	char text[SOCK_ADDR_TEXT];

	for (unsigned i = 0; i < in->count; i++) {
		const struct inherited_sock *s = &in->socks[i];

		if (s->fd >= 0 && s->is_listening)
			log_warn("the service manager passed a socket for '%s', which is no listen address here",
				 sock_addr_print(&s->addr, text));
		else if (s->fd >= 0)
			log_warn("descriptor %d from the service manager is no listening TCP socket", s->fd);
	}
}

static int open_listeners(struct master *m)
{
	int err = 0;

	m->listeners = calloc(m->config->listen_count, sizeof(*m->listeners));
	if (!m->listeners)
		return -ENOMEM;
	for (unsigned i = 0; i < m->config->listen_count && !err; i++)
		err = open_listener(m, &m->config->listens[i]);
	if (!err)
		tell_untaken(&m->inherited);
	inherit_close(&m->inherited);
	return err;
}

static int open_stats(struct master *m)
{
	size_t size = m->worker_count * sizeof(*m->stats);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		int err = -errno;

		log_error("cannot map the statistics: %s", strerror(-err));
		return err;
	}
	m->stats = memory;
	return 0;
}

static int open_inboxes(struct master *m)
{
	int err = inboxes_open(&m->inboxes, m->worker_count);

	if (err)
		log_error("cannot open the workers' inboxes: %s", strerror(-err));
	return err;
}

static int open_log(struct master *m, int *ret_fd)
{
	const char *path = m->config->log.access;
	int err;

	*ret_fd = -1;
	if (!path)
		return 0;
	if (strcmp(path, "-") == 0)
		*ret_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		*ret_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
	if (*ret_fd >= 0)
		return 0;
	/* Kept: writing the message changes errno. */
	err = -errno;
	log_error("cannot open access log '%s': %s", path, strerror(-err));
	return err;
}

void master_reopen_log(struct master *m)
{
	char byte = CHANNEL_LOG;
	int fd;

	if (m->log_fd < 0 || open_log(m, &fd) < 0)
		return;
	close(m->log_fd);
	m->log_fd = fd;
	for (unsigned i = 0; i < m->supervisor.count; i++) {
		struct supervised *w = &m->supervisor.workers[i];

		if (w->channel.fd >= 0 && fd_pass_send(w->channel.fd, &byte, 1, fd) < 0)
			log_warn("worker %u keeps the old access log", i);
	}
	log_info("access log opened anew");
}

static int open_ctl(struct master *m)
{
	struct ctl_options opt = {
		.path = m->config->control, .commands = master_commands, .owner = m
	};
	char error[CTL_ERROR_TEXT];
	int err = ctl_open(&m->loop, &opt, &m->ctl, error);

	if (err)
		log_error("%s", error);
	return err;
}

int master_open(struct master *m)
{
	int err;

	cpus_detect(&m->cpus);
	m->worker_count = m->config->workers ? m->config->workers : m->cpus.usable;
	m->worker_count = MIN(m->worker_count, (unsigned)STEER_MAX_SLOTS);
	m->file_limit = privilege_raise_files();
	err = open_identity(m);
	/* Before anything is replaced: another server with this control socket keeps all it has. */
	if (!err)
		err = open_ctl(m);
	if (!err)
		err = runtime_new(m->config, m->file_limit, &m->runtime);
	/* After the folders of the routes, which it names. */
	if (!err)
		err = sandbox_open(&m->sandbox, m->config);
	if (!err)
		err = open_log(m, &m->log_fd);
	if (!err)
		err = open_stats(m);
	if (!err)
		err = master_open_upstreams(m);
	if (!err)
		err = open_steer(m);
	if (!err)
		err = open_inboxes(m);
	if (!err)
		err = open_listeners(m);
	return err;
}

void master_close(struct master *m)
{
	for (unsigned i = 0; i < m->listener_count; i++)
		listener_close(&m->listeners[i], m->steer);
	free(m->listeners);
	m->listeners = NULL;
	m->listener_count = 0;
	inherit_close(&m->inherited);
	inboxes_close(&m->inboxes);
	steer_close(m->steer);
	m->steer = NULL;
	runtime_free(m->runtime);
	m->runtime = NULL;
	sandbox_close(&m->sandbox);
	upstream_table_close(&m->upstreams);
	if (m->stats)
		munmap(m->stats, m->worker_count * sizeof(*m->stats));
	m->stats = NULL;
	if (m->log_fd >= 0)
		close(m->log_fd);
	m->log_fd = -1;
	/* Last: whoever waits for the end of `stop` sees the control socket close. */
	ctl_close(m->ctl);
	m->ctl = NULL;
}
