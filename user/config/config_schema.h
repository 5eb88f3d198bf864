/* SPDX-License-Identifier: MIT */
/*
 * Every section and key of the configuration, once: what the scanner knows, what libconfuse is
 * told, how a value is converted, its range and default, and what `config_dump` prints.
 * docs/configuration.md is checked against it.
 */
#ifndef SLUICE_PROC_CONFIG_SCHEMA_H
#define SLUICE_PROC_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

enum config_section_id {
	CONFIG_ROOT,
	CONFIG_STEERING,
	CONFIG_LISTEN,
	CONFIG_LISTEN_UDP,
	CONFIG_UPSTREAM,
	CONFIG_SERVER,
	CONFIG_CHECK,
	CONFIG_REDIS,
	CONFIG_CHANNEL,
	CONFIG_STORE,
	CONFIG_SITE,
	CONFIG_ROUTE,
	CONFIG_LOG,
	CONFIG_TIMEOUTS,
	CONFIG_LIMITS,
	CONFIG_FILES_CACHE,
	CONFIG_SECTION_COUNT,
};

enum config_kind {
	KIND_BOOL,     /* bool */
	KIND_COUNT,    /* int, unsigned or uint64_t by `width` */
	KIND_SIZE,     /* the same, in bytes */
	KIND_DURATION, /* the same, in `unit_ns` */
	KIND_RATE,     /* uint64_t: requests per hour */
	KIND_CHOICE,   /* an enum: index into `choices` */
	KIND_TEXT,     /* char * */
	KIND_LIST,     /* char ** at `offset`, unsigned at `count_offset` */
	KIND_RANGE,    /* "200-299" or "200": unsigned at `offset`, the last at `count_offset` */
	KIND_HANDLER,  /* struct config_route: value, and `handler` as its kind */
};

/* Writes into why what is wrong with the text ("must be an absolute path"), or leaves it alone. */
typedef void (*config_text_check)(const char *text, char *why, size_t size);

struct config_key {
	const char *name;
	enum config_kind kind;
	uint16_t offset, width; /* of the field in the section's struct */
	uint16_t count_offset; /* of a list, or the last of a range */
	bool is_inverted;    /* KIND_BOOL: the field says the opposite */
	uint8_t handler;     /* enum route_kind */
	uint8_t route_kinds; /* bits of enum route_kind the key goes with; 0: all */
	uint8_t store_engines; /* likewise of enum store_engine_kind */
	uint64_t min, max;   /* of the field, in its unit */
	uint64_t unit_ns;
	const char *zero; /* word for 0 or NULL: "auto", "off"; where it is "off", 0 may be written
			     too */
	const char *initial;	    /* the default as it would be written; NULL: none */
	const char *const *choices; /* NULL-terminated */
	config_text_check check;
};

struct config_section {
	const char *name; /* of the root "" */
	enum config_section_id parent;
	const char *title; /* how the title is written: "\"ADDR:PORT\""; NULL: takes none, is there
			      once */
	const char *title_word; /* what the title is: "an address" */
	const struct config_key *keys;
	unsigned key_count;
};

extern const struct config_section config_sections[CONFIG_SECTION_COUNT];

/* Of the file itself, without title: its keys count from struct config. */
static inline bool config_section_is_plain(enum config_section_id id)
{
	return config_sections[id].parent == CONFIG_ROOT && !config_sections[id].title;
}

const struct config_key *config_key_find(enum config_section_id section, struct span name);
/* The section of that name directly within `parent`; CONFIG_ROOT: there is none. */
enum config_section_id config_section_find(enum config_section_id parent, struct span name);
/* Key or section of this name in there? */
bool config_is_known(enum config_section_id section, struct span name);
/* "at top level", "in listen". */
const char *config_section_where(enum config_section_id section);

#define CONFIG_HINT_TEXT 1000 /* of a section with many keys */
/*
 * How to go on after an unknown name, to be put behind "unknown key 'x' in listen": "; did you mean
 * 'y'?",
 * "; it belongs in log", "; known here: ...".  Returns out.
 */
char *config_unknown_hint(enum config_section_id section, struct span name,
			  char out[CONFIG_HINT_TEXT]);

/* Checks of texts, config_text.c, config_text_proxy.c and config_text_websocket.c. */
void config_check_user(const char *text, char *why, size_t size);
void config_check_control(const char *text, char *why, size_t size);
void config_check_pin(const char *text, char *why, size_t size);
void config_check_access(const char *text, char *why, size_t size);
void config_check_folder(const char *text, char *why, size_t size);
void config_check_redirect(const char *text, char *why, size_t size);
void config_check_type(const char *text, char *why, size_t size);
void config_check_server(const char *text, char *why, size_t size);
void config_check_file_name(const char *text, char *why, size_t size);
void config_check_prefix(const char *text, char *why, size_t size);
void config_check_site_name(const char *text, char *why, size_t size);
void config_check_upstream_name(const char *text, char *why, size_t size);
void config_check_hash(const char *text, char *why, size_t size);
void config_check_target(const char *text, char *why, size_t size);
void config_check_rewrite(const char *text, char *why, size_t size);
void config_check_host(const char *text, char *why, size_t size);
void config_check_field_line(const char *text, char *why, size_t size);
void config_check_field_name(const char *text, char *why, size_t size);
void config_check_command(const char *text, char *why, size_t size);
void config_check_key_prefix(const char *text, char *why, size_t size);
void config_check_secret(const char *text, char *why, size_t size);
void config_check_network(const char *text, char *why, size_t size);
void config_check_udp(const char *text, char *why, size_t size);
void config_check_channel(const char *text, char *why, size_t size);
void config_check_topic(const char *text, char *why, size_t size);
void config_check_websocket(const char *text, char *why, size_t size);
void config_check_origin(const char *text, char *why, size_t size);
void config_check_resolver(const char *text, char *why, size_t size);
void config_check_store_name(const char *text, char *why, size_t size);
void config_check_store_path(const char *text, char *why, size_t size);
void config_check_module(const char *text, char *why, size_t size);
void config_check_module_read(const char *text, char *why, size_t size);

#endif
