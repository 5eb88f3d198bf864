/* SPDX-License-Identifier: MIT */
/*
 * `sluice top`: asks for the status once an interval and shows what changed.  On a terminal that
 * can place text the screen is drawn anew each time and keys tune the steering; elsewhere (a pipe,
 * TERM=dumb) the same comes as plain lines, once with --once.
 *
 * A server that does not answer is asked again for GONE_MS, so that a restart goes by unnoticed;
 * then top ends.
 */
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "cli/top_internal.h"
#include "net/steer.h"

#define INTERVAL_MS 1000
#define ASK_MS	    2000 /* the screen stands still for as long */
#define GONE_MS	    2000
#define RETRY_MS    200
#define WAKE_MS	    200 /* a signal just before poll() waits so long at most */
#define DEAF_MAX    3	/* times the terminal was readable without a key: it is gone */

static volatile sig_atomic_t has_signal;

static void on_signal(int number)
{
	has_signal = 1;
}

int top_ask(struct top *t, json_t *question, json_t **ret_answer)
{
	struct ctl_client client;
	int err = ctl_client_open(&client, t->path, ASK_MS);

	if (!err)
		err = ctl_client_send(&client, question, ASK_MS);
	if (!err)
		err = ctl_client_receive(&client, ret_answer, ASK_MS);
	if (err)
		snprintf(t->message, sizeof(t->message), "%s", client.error);
	ctl_client_close(&client);
	json_decref(question);
	return err;
}

static int take_sample(struct top *t)
{
	json_t *answer = NULL;
	unsigned next = !t->current;
	uint64_t now_ns = clock_ns();
	int err = top_ask(t, json_pack("{s:s, s:b}", "command", "status", "buckets", 1), &answer);

	if (err)
		return err;
	err = top_sample_read(&t->samples[next], json_object_get(answer, "status"), now_ns);
	json_decref(answer);
	if (err) {
		snprintf(t->message, sizeof(t->message), "the server's answer holds no status");
		return err;
	}
	top_view_make(&t->view, &t->samples[t->current], &t->samples[next]);
	top_history_push(&t->history, t->view.imbalance);
	t->current = next;
	t->has_view = true;
	return 0;
}

static void sleep_ms(uint64_t ms)
{
	struct timespec ts = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	nanosleep(&ts, NULL);
}

/* Without a terminal nobody sets the width; a terminal that cannot place text still has one. */
static unsigned plain_width(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= TOP_COLUMNS)
		return MIN(size.ws_col, TOP_COLUMNS_MAX);
	return TOP_COLUMNS;
}

static void print_view(struct top *t)
{
	top_print(&t->view, &t->history, plain_width(), top_locale_is_utf8(), t->cli->env->out);
}

/* Two samples give rates; interval 0 asks for one, whose times are those since the server's start.
 */
static int run_once(struct top *t)
{
	int err = take_sample(t);

	if (!err && t->ui.interval_ms) {
		sleep_ms(t->ui.interval_ms);
		err = take_sample(t);
	}
	if (err)
		return cli_fail(t->cli, "%s", t->message);
	print_view(t);
	return CLI_OK;
}

static int run_plain(struct top *t)
{
	FILE *out = t->cli->env->out;
	bool is_first = true;

	for (;;) {
		if (take_sample(t) < 0)
			return cli_fail(t->cli, "%s", t->message);
		if (!is_first)
			fputc('\n', out);
		is_first = false;
		print_view(t);
		if (fflush(out) != 0)
			return CLI_FAILURE;
		sleep_ms(t->ui.interval_ms);
	}
}

/* One more look at the server; t->next_ns says when the one after it is due. */
static void refresh_view(struct top *t)
{
	int err = take_sample(t);
	uint64_t now_ns = clock_ns();

	if (!err) {
		if (t->failing_since_ns)
			t->ui.message = NULL;
		t->failing_since_ns = 0;
		t->next_ns = now_ns + t->ui.interval_ms * NS_PER_MS;
		return;
	}
	top_say(t, true);
	t->next_ns = now_ns + RETRY_MS * NS_PER_MS;
	if (!t->failing_since_ns)
		t->failing_since_ns = now_ns;
	/* One that is merely slow to answer may still be worth waiting for. */
	else if (err != -ETIMEDOUT && now_ns - t->failing_since_ns > GONE_MS * NS_PER_MS)
		top_end(t, CLI_FAILURE);
}

/* Until a key, the next sample or a signal; a terminal that is gone ends it all. */
static void wait_for_event(struct top *t)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	uint64_t now_ns = clock_ns(), wait_ms = 0;
	unsigned key_count = 0;
	int key, ready;

	if (t->next_ns > now_ns)
		wait_ms = MIN((t->next_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS, (uint64_t)WAKE_MS);
	ready = poll(&p, 1, (int)wait_ms);
	while (!t->is_over && (key = top_screen_key()) != TOP_KEY_NONE) {
		key_count++;
		top_on_key(t, key);
	}
	t->deaf_count = ready > 0 && key_count == 0 ? t->deaf_count + 1 : 0;
	if (has_signal || t->deaf_count >= DEAF_MAX)
		top_end(t, CLI_OK);
}

static void watch(struct top *t)
{
	while (!t->is_over) {
		uint64_t now_ns = clock_ns();

		if (now_ns >= t->next_ns)
			refresh_view(t);
		if (t->ui.message && !t->failing_since_ns && now_ns > t->message_until_ns)
			t->ui.message = NULL;
		if (t->is_over)
			break;
		top_screen_draw(&t->ui);
		wait_for_event(t);
	}
}

static int run_screen(struct top *t)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	const struct sigaction action = {.sa_handler = on_signal};

	/* The first answer before the screen: no server, no screen. */
	if (take_sample(t) < 0)
		return cli_fail(t->cli, "%s", t->message);
	t->next_ns = clock_ns() + MIN(t->ui.interval_ms, (uint64_t)INTERVAL_MS) * NS_PER_MS;
	has_signal = 0;
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaction(signals[i], &action, NULL);
	if (top_screen_open() < 0)
		return run_plain(t);
	watch(t);
	top_screen_close();
	return t->status == CLI_OK ? CLI_OK : cli_fail(t->cli, "%s", t->message);
}

static void start(struct top *t, struct cli *cli)
{
	t->cli = cli;
	t->view.sample = &t->samples[0];
	for (unsigned i = 0; i < STEER_POLICY_COUNT; i++)
		t->choices[i] = steer_policy_name((enum steer_policy_id)i);
	t->ui = (struct top_ui){
		.view = &t->view,
		.history = &t->history,
		.choices = t->choices,
		.choice_count = STEER_POLICY_COUNT,
		.interval_ms = cli->given & OPTION_INTERVAL ? cli->interval_ms : INTERVAL_MS,
	};
	/* Characters only: numbers are printed the same everywhere. */
	setlocale(LC_CTYPE, "");
}

int cli_do_top(struct cli *cli)
{
	bool is_once = cli->given & OPTION_ONCE;
	struct top *t;
	int status;

	if (cli->given & OPTION_INTERVAL && cli->interval_ms == 0 && !is_once)
		return cli_usage(cli, "--interval 0 goes with --once only");
	t = calloc(1, sizeof(*t));
	if (!t)
		return cli_fail(cli, "%s", strerror(ENOMEM));
	start(t, cli);
	status = cli_control_find(cli, t->path);
	if (status == CLI_OK)
		status = is_once		 ? run_once(t)
			 : top_screen_can_open() ? run_screen(t)
						 : run_plain(t);
	free(t);
	return status;
}
