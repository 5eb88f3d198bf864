/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/list.h"

struct item {
	int number;
	struct list node;
};

static struct item items[6];

/* The numbers of a list, front to back and back to front, as digits. */
static void assert_list(const struct list *head, unsigned expected)
{
	unsigned forth = 0, back = 0, scale = 1;

	list_for_each (node, head)
		forth = forth * 10 + (unsigned)container_of(node, struct item, node)->number;
	for (const struct list *node = head->prev; node != head; node = node->prev) {
		back += scale * (unsigned)container_of(node, struct item, node)->number;
		scale *= 10;
	}
	assert_int_equal(forth, expected);
	assert_int_equal(back, expected);
}

static int setup(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(items); i++) {
		items[i].number = (int)i;
		list_init(&items[i].node);
	}
	return 0;
}

static void list__keeps_the_order_of_pushes(void **state)
{
	struct list head = LIST_INIT(head);

	assert_true(list_is_empty(&head));
	assert_null(list_pop_front(&head));
	list_push_back(&head, &items[2].node);
	list_push_back(&head, &items[3].node);
	list_push_front(&head, &items[1].node);
	assert_list(&head, 123);
	assert_ptr_equal(list_pop_front(&head), &items[1].node);
	assert_list(&head, 23);
	assert_true(list_is_empty(&items[1].node));
}

static void list__removes_twice_without_harm(void **state)
{
	struct list head = LIST_INIT(head);

	for (unsigned i = 1; i < 4; i++)
		list_push_back(&head, &items[i].node);
	list_remove(&items[2].node);
	list_remove(&items[2].node);
	assert_list(&head, 13);
	list_remove(&items[1].node);
	list_remove(&items[3].node);
	assert_true(list_is_empty(&head));
}

static void list__splices_whole_lists(void **state)
{
	static const struct {
		unsigned to_count, from_count, expected;
	} cases[] = {{0, 0, 0}, {2, 0, 12}, {0, 2, 12}, {1, 1, 12}, {2, 3, 12345}};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct list to = LIST_INIT(to), from = LIST_INIT(from);
		unsigned at = 1;

		setup(state);
		while (at <= cases[i].to_count)
			list_push_back(&to, &items[at++].node);
		while (at <= cases[i].to_count + cases[i].from_count)
			list_push_back(&from, &items[at++].node);
		list_splice_back(&to, &from);
		assert_list(&to, cases[i].expected);
		assert_true(list_is_empty(&from));
	}
}

static void list__walks_while_the_walker_removes(void **state)
{
	struct list head = LIST_INIT(head);
	unsigned seen = 0;

	for (unsigned i = 1; i < 6; i++)
		list_push_back(&head, &items[i].node);
	list_for_each_safe (node, tmp, &head) {
		struct item *item = container_of(node, struct item, node);

		seen = seen * 10 + (unsigned)item->number;
		if (item->number % 2)
			list_remove(node);
	}
	assert_int_equal(seen, 12345);
	assert_list(&head, 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(list__keeps_the_order_of_pushes, setup),
		cmocka_unit_test_setup(list__removes_twice_without_harm, setup),
		cmocka_unit_test_setup(list__splices_whole_lists, setup),
		cmocka_unit_test_setup(list__walks_while_the_walker_removes, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
