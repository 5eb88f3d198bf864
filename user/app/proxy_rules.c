/* SPDX-License-Identifier: MIT */
/* Changes of fields; see proxy_rules.h. */
#include "app/proxy_rules.h"

#include <errno.h>
#include <stdlib.h>

#include "app/proxy.h"
#include "base/err.h"

static size_t text_size(const struct proxy_rule_list *list)
{
	size_t size = 0;

	for (unsigned i = 0; i < list->count; i++)
		size += strlen(list->texts[i]);
	return size;
}

static struct span keep(struct buf *memory, const char *text)
{
	struct span copy = span_of(memory->ptr + memory->len, strlen(text));

	buf_add_span(memory, span_str(text));
	return copy;
}

static int add_lines(struct proxy_rules *r, struct buf *memory, const struct proxy_rule_list *list, bool is_set)
{
	for (unsigned i = 0; i < list->count; i++) {
		struct span line = keep(memory, list->texts[i]);
		const char *colon = memchr(line.ptr, ':', line.len);
		struct proxy_rule rule;

		if (!colon || colon == line.ptr)
			return -EINVAL;
		rule.name = span_trim(span_of(line.ptr, (size_t)(colon - line.ptr)));
		rule.value = span_trim(span_of(colon + 1, (size_t)(line.ptr + line.len - colon - 1)));
		r->added[r->added_count++] = rule;
		if (is_set)
			r->dropped[r->dropped_count++] = rule.name;
	}
	return 0;
}

int proxy_rules_init(struct proxy_rules *r, const struct proxy_rule_list *set, const struct proxy_rule_list *add,
		     const struct proxy_rule_list *remove)
{
	size_t size = text_size(set) + text_size(add) + text_size(remove);
	struct buf memory;
	int err;

	*r = (struct proxy_rules){ 0 };
	r->memory = malloc(size + 1);
	r->added = calloc(set->count + add->count + 1, sizeof(*r->added));
	r->dropped = calloc(set->count + remove->count + 1, sizeof(*r->dropped));
	if (!r->memory || !r->added || !r->dropped) {
		proxy_rules_fini(r);
		return -ENOMEM;
	}
	buf_init(&memory, r->memory, size + 1);
	err = add_lines(r, &memory, set, true);
	if (!err)
		err = add_lines(r, &memory, add, false);
	for (unsigned i = 0; !err && i < remove->count; i++)
		r->dropped[r->dropped_count++] = span_trim(keep(&memory, remove->texts[i]));
	if (err)
		proxy_rules_fini(r);
	return err;
}

void proxy_rules_fini(struct proxy_rules *r)
{
	free(r->memory);
	free(r->added);
	free(r->dropped);
	*r = (struct proxy_rules){ 0 };
}

static char fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c | 0x20);
	return c == '_' ? '-' : c;
}

/* "X_User" too is "X-User" to a server that makes environment variables of fields (RFC 3875 4.1.18). */
static bool is_same_name(struct span a, struct span b)
{
	size_t i = 0;

	if (a.len != b.len)
		return false;
	while (i < a.len && fold(a.ptr[i]) == fold(b.ptr[i]))
		i++;
	return i == a.len;
}

bool proxy_rules_drop(const struct proxy_rules *r, struct span name)
{
	for (unsigned i = 0; i < r->dropped_count; i++)
		if (is_same_name(r->dropped[i], name))
			return true;
	return false;
}

void proxy_rules_write(const struct proxy_rules *r, struct buf *b)
{
	for (unsigned i = 0; i < r->added_count; i++) {
		buf_add_span(b, r->added[i].name);
		buf_add_lit(b, ": ");
		buf_add_span(b, r->added[i].value);
		buf_add_lit(b, "\r\n");
	}
}
