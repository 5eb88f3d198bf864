/* SPDX-License-Identifier: MIT */
/* Our tables as cfg_opt_t, and the call of the parser. */
#include "config/config_confuse.h"

#include <stdlib.h>

#include "base/err.h"
#include "config/config_scan.h"
#include "config/config_schema.h"

/* Bytes: more than any text takes, measured at 390 for each byte of one with nothing but sections. */
#define RESERVE		 (1u << 20)
#define RESERVE_PER_BYTE 512u
#define OPTIONS_MAX 96 /* keys, sections, our own two and the end mark, of one section */

/* The error callback gets nothing but the cfg_t; libconfuse's lexer is global anyway, so only one
 * parse runs. */
static struct config_faults *current_faults;

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	size_t len = strlen(value);
	struct config_setting *setting = malloc(sizeof(*setting) + len + 1);

	if (!setting)
		return -1;
	setting->line = (unsigned)cfg->line;
	memcpy(setting->text, value, len + 1);
	*(void **)result = setting;
	return 0;
}

/* What the scanner let through and libconfuse does not take: none is known, so its own words must
 * do. */
static void on_error(cfg_t *cfg, const char *fmt, va_list args)
{
	char message[256];

	vsnprintf(message, sizeof(message), fmt, args);
	config_fault(current_faults, cfg ? (unsigned)cfg->line : 0, 0, "not understood: %s",
		     message);
}

static cfg_opt_t value_option(const char *name, bool is_list)
{
	cfg_opt_t value = CFG_PTR_CB(NULL, NULL, CFGF_NODEFAULT, on_value, free);

	value.name = name;
	if (is_list)
		value.flags |= CFGF_LIST;
	return value;
}

/* Of sections[id] into options[id]; the sections within come after it in the enum, so they are made
 * already. */
static void make_options(cfg_opt_t options[CONFIG_SECTION_COUNT][OPTIONS_MAX], unsigned id)
{
	const struct config_section *section = &config_sections[id];
	const cfg_opt_t end = CFG_END();
	unsigned n = 0;

	BUG_ON(section->key_count + CONFIG_SECTION_COUNT + 3 > OPTIONS_MAX);
	for (unsigned i = 0; i < section->key_count; i++)
		options[id][n++] =
			value_option(section->keys[i].name, section->keys[i].kind == KIND_LIST);
	for (unsigned sub = id + 1; sub < CONFIG_SECTION_COUNT; sub++) {
		cfg_opt_t opt = CFG_SEC(NULL, options[sub], CFGF_NONE);

		if (config_sections[sub].parent != id)
			continue;
		opt.name = config_sections[sub].name;
		if (config_sections[sub].title)
			opt.flags = CFGF_MULTI | CFGF_TITLE;
		options[id][n++] = opt;
	}
	options[id][n++] = value_option(CONFIG_TITLE, false);
	options[id][n++] = value_option(CONFIG_GAP, false);
	options[id][n] = end;
}

/*
 * libconfuse 3.3 frees what it never got when an allocation fails in its middle, and would take the master along in a
 * reload.  This process has one thread, so what is to be had now is still there when it asks.
 */
static bool has_memory(size_t text_len)
{
	/* volatile: a compiler may leave out what is only allocated and freed, and take it for granted. */
	void *volatile reserve = malloc(RESERVE + RESERVE_PER_BYTE * text_len);
	bool is_there = reserve != NULL;

	free(reserve);
	return is_there;
}

int config_confuse_parse(struct config_faults *f, const char *text, cfg_t **ret_cfg)
{
	cfg_opt_t options[CONFIG_SECTION_COUNT][OPTIONS_MAX];
	unsigned before = f->errors->count;
	cfg_t *cfg;

	for (unsigned id = CONFIG_SECTION_COUNT; id-- > 0;)
		make_options(options, id);
	if (!has_memory(strlen(text)))
		return -ENOMEM;
	cfg = cfg_init(options[CONFIG_ROOT], CFGF_NONE);
	if (!cfg)
		return -ENOMEM;
	current_faults = f;
	cfg_set_error_function(cfg, on_error);
	if (cfg_parse_buf(cfg, text) == CFG_SUCCESS) {
		*ret_cfg = cfg;
		return 0;
	}
	if (f->errors->count == before && !f->errors->omitted)
		config_fault(f, 0, 0, "not understood");
	cfg_free(cfg);
	return -EINVAL;
}

bool config_is_given(cfg_t *section, const char *key)
{
	cfg_opt_t *opt = cfg_getopt(section, key);

	return opt && opt->flags & CFGF_MODIFIED;
}

const struct config_setting *config_setting(cfg_t *section, const char *key, unsigned i)
{
	cfg_opt_t *opt = cfg_getopt(section, key);

	return opt && i < cfg_opt_size(opt) ? cfg_opt_getnptr(opt, i) : NULL;
}

bool config_has_gap(cfg_t *section)
{
	return config_is_given(section, CONFIG_GAP);
}
