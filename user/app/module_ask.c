/* SPDX-License-Identifier: MIT */
/* What a module may ask of a request and of its instance, and its timers. */
#include "app/module_internal.h"
#include "base/err.h"

/* What was asked -------------------------------------------------------------------------------------------------- */

struct sluice_span module_header(const struct sluice_request *r, const char *name)
{
	const struct request *req = module_const_call_of(r)->req;
	struct span wanted = span_str(name);

	for (unsigned i = 0; i < req->field_count; i++)
		if (span_ieq(req->fields[i].name, wanted))
			return (struct sluice_span){ req->fields[i].value.ptr, req->fields[i].value.len };
	return (struct sluice_span){ NULL, 0 };
}

int module_field(const struct sluice_request *r, uint32_t index, struct sluice_span *ret_name,
		 struct sluice_span *ret_value)
{
	const struct request *req = module_const_call_of(r)->req;

	if (index >= req->field_count)
		return -ENOENT;
	*ret_name = (struct sluice_span){ req->fields[index].name.ptr, req->fields[index].name.len };
	*ret_value = (struct sluice_span){ req->fields[index].value.ptr, req->fields[index].value.len };
	return 0;
}

size_t module_client(const struct sluice_request *r, char *out, size_t size)
{
	char text[SOCK_ADDR_TEXT];
	size_t len;

	if (size == 0)
		return 0;
	len = MIN(strlen(sock_addr_print_host(module_const_call_of(r)->req->peer, text)), size - 1);
	memcpy(out, text, len);
	out[len] = '\0';
	return len;
}

/* Instances ------------------------------------------------------------------------------------------------------- */

static struct module *module_of(const struct sluice_instance *in)
{
	return container_of(in, const struct module_route, instance)->module;
}

_Static_assert(sizeof(struct timer) <= sizeof(((struct sluice_timer *)0)->reserved), "it lies in there");

static struct timer *inner_timer(struct sluice_timer *t)
{
	return (struct timer *)(void *)t->reserved;
}

static void on_expire(struct timer *t)
{
	struct sluice_timer *outer = container_of((void *)t, struct sluice_timer, reserved);

	outer->on_expire(outer);
}

void module_timer_start(struct sluice_instance *in, struct sluice_timer *t, uint64_t after_ms)
{
	struct timer *inner = inner_timer(t);

	/* All zero: never started. */
	if (!inner->on_expire)
		timer_init(inner, on_expire);
	loop_timer_start(module_of(in)->loop, inner, MIN(after_ms, MODULE_AFTER_MAX));
}

void module_timer_stop(struct sluice_instance *in, struct sluice_timer *t)
{
	struct timer *inner = inner_timer(t);

	if (inner->on_expire)
		loop_timer_stop(module_of(in)->loop, inner);
}

uint64_t module_now_ms(const struct sluice_instance *in)
{
	return module_of(in)->loop->now_ms;
}

void module_log(struct sluice_instance *in, enum sluice_level level, const char *text)
{
	static const enum log_level levels[] = {
		[SLUICE_LOG_ERROR] = LOG_ERROR, [SLUICE_LOG_WARN] = LOG_WARN, [SLUICE_LOG_INFO] = LOG_INFO,
		[SLUICE_LOG_DEBUG] = LOG_DEBUG,
	};

	log_at((unsigned)level < ARRAY_LEN(levels) ? levels[level] : LOG_INFO, "module %s: %s", module_of(in)->code.name,
	       text);
}
