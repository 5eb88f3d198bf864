/* SPDX-License-Identifier: MIT */
/* What the master opens once, before the first generation, and closes after the last. */
#include "base/err.h"
#include "proc/master_internal.h"

int master_open_identity(struct master *m, const struct config *config)
{
	int err = identity_of(config->user ? config->user : "nobody", &m->identity);

	if (err)
		log_error("cannot find user '%s': %s", config->user, strerror(-err));
	return err;
}

static int open_ctl(struct master *m, const struct config *config)
{
	struct ctl_options opt = {
		.path = config->control, .commands = master_commands, .owner = m
	};
	char error[CTL_ERROR_TEXT];
	int err = m->ctl_fd < 0 ? ctl_open(&m->loop, &opt, &m->ctl, error)
				: ctl_adopt(&m->loop, &opt, m->ctl_fd, &m->ctl, error);

	if (err)
		log_error("%s", error);
	else
		m->ctl_fd = -1;
	return err;
}

int master_open_ctl(struct master *m)
{
	return open_ctl(m, m->current->config);
}

int master_open_memory(struct master *m)
{
	int err = shm_new(&m->owners_memory, "sluice-owners", STEER_MAX_SLOTS * sizeof(*m->owners));

	if (!err)
		err = shm_new(&m->past_memory, "sluice-past", STEER_MAX_SLOTS * sizeof(*m->past));
	m->owners = m->owners_memory.at;
	m->past = m->past_memory.at;
	if (!err)
		return 0;
	log_error("cannot start: %s", strerror(-err));
	return err;
}

void master_reopen_log(struct master *m)
{
	bool is_done = false;

	/* Old workers too, or a rotated file would go on growing. */
	list_for_each(node, &m->generations)
		is_done |= generation_reopen_log(container_of(node, struct generation, node));
	elder_reopen_logs(m);
	if (is_done)
		log_info("access log opened anew");
}

static void tell_untaken(const struct inherited *in)
{
	char text[SOCK_ADDR_TEXT];

	for (unsigned i = 0; i < in->count; i++) {
		const struct inherited_sock *s = &in->socks[i];

		if (!s->is_taken && s->is_listening)
			log_warn("the service manager passed a socket for '%s', which is no listen address here",
				 sock_addr_print(&s->addr, text));
		else if (!s->is_taken)
			log_warn("descriptor %u from the service manager is no listening TCP socket",
				 INHERIT_FIRST_FD + i);
	}
}

int master_open(struct master *m, const struct config *config)
{
	int err;

	m->file_limit = privilege_raise_files();
	err = master_open_identity(m, config);
	/* Before anything is replaced: another server with this control socket keeps all it has. */
	if (!err)
		err = open_ctl(m, config);
	if (!err)
		err = master_open_memory(m);
	if (!err)
		err = generation_new(m, config, NULL, NULL, &m->current);
	if (!err)
		tell_untaken(&m->inherited);
	for (unsigned i = 0; !err && i < STEER_MAX_SLOTS; i++)
		m->owners[i] = m->current->number;
	return err;
}

void master_close(struct master *m)
{
	list_for_each_safe(node, next, &m->generations) {
		struct generation *g = container_of(node, struct generation, node);

		/* What lives elsewhere stays as it is there. */
		generation_release(g, NULL, g->elder ? NULL : g->steer);
		generation_free(g);
	}
	m->current = NULL;
	generation_drop_module_past(m);
	bus_close(&m->bus);
	inherit_close(&m->inherited);
	elder_fini(m);
	shm_free(&m->past_memory);
	shm_free(&m->owners_memory);
	sock_close(m->ctl_fd);
	/* Last: whoever waits for the end of `stop` sees the control socket close. */
	ctl_close(m->ctl);
	m->ctl = NULL;
}
