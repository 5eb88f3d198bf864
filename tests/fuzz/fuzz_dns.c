/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: a packet of a name server.
 *
 * - as an answer about a service: refused, or a sorted list of whole names, the same that c-ares finds, which reads such
 *   answers too; no byte beyond the packet is read;
 * - as an answer with addresses, out of c-ares: sorted, each once, the lowest where there are too many.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net/resolve_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct target targets[RESOLVE_TARGETS_MAX];
static struct resolve_answer answer;

static void check_target(unsigned i, unsigned count)
{
	const struct target *t = &targets[i];

	BUG_ON(t->name[0] == '\0' || strnlen(t->name, sizeof(t->name)) > RESOLVE_NAME_MAX || t->weight == 0);
	BUG_ON(i + 1 < count && t->priority > targets[i + 1].priority);
}

static bool has_target(const struct ares_srv_reply *s, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(s->host, targets[i].name) == 0 && s->port == targets[i].port &&
		    s->priority == targets[i].priority && MAX(s->weight, 1) == targets[i].weight)
			return true;
	return false;
}

static void compare_with_ares(const uint8_t *packet, int len, int err, unsigned count)
{
	struct ares_srv_reply *list = NULL;
	unsigned good = 0;

	/* It lets a name run beyond the end of its record. */
	if (err == -EBADMSG || ares_parse_srv_reply(packet, len, &list) != ARES_SUCCESS)
		return;
	for (struct ares_srv_reply *s = list; s; s = s->next)
		good += s->host[0] != '\0' && strlen(s->host) <= RESOLVE_NAME_MAX;
	BUG_ON(err != (good ? 0 : -ENODATA) || count != MIN(good, RESOLVE_TARGETS_MAX));
	for (struct ares_srv_reply *s = list; s && good <= RESOLVE_TARGETS_MAX; s = s->next)
		BUG_ON(s->host[0] != '\0' && strlen(s->host) <= RESOLVE_NAME_MAX && !has_target(s, count));
	ares_free_data(list);
}

static void check_service(const uint8_t *packet, int len)
{
	unsigned count;
	uint32_t ttl_s;
	int err = resolve_parse_srv(packet, len, targets, &count, &ttl_s);

	BUG_ON(err != 0 && err != -EBADMSG && err != -ENODATA);
	if (err)
		BUG_ON(count != 0);
	else
		BUG_ON(count == 0 || count > RESOLVE_TARGETS_MAX);
	for (unsigned i = 0; i < count; i++)
		check_target(i, count);
	compare_with_ares(packet, len, err, count);
}

static uint32_t key_of(const struct resolve_address *a)
{
	return ntohl(a->addr.v4.sin_addr.s_addr);
}

/* The bytes as addresses of 10.0.0.0/16, each with a time to live. */
static void check_addresses(const uint8_t *data, size_t size)
{
	static struct sockaddr_in addrs[512];
	static struct ares_addrinfo_node nodes[512];
	static bool is_there[65536];
	struct ares_addrinfo info = {0};
	unsigned count = (unsigned)MIN(size / 3, ARRAY_LEN(nodes)), distinct = 0, below = 0;
	uint32_t ttl_s = UINT32_MAX;

	memset(is_there, 0, sizeof(is_there));
	for (unsigned i = 0; i < count; i++) {
		unsigned low = data[3 * i] << 8 | data[3 * i + 1];

		addrs[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000000 | low)};
		nodes[i] = (struct ares_addrinfo_node){.ai_ttl = data[3 * i + 2],
						       .ai_family = AF_INET,
						       .ai_addrlen = sizeof(addrs[i]),
						       .ai_addr = (struct sockaddr *)&addrs[i],
						       .ai_next = i + 1 < count ? &nodes[i + 1] : NULL};
		ttl_s = MIN(ttl_s, data[3 * i + 2]);
		distinct += !is_there[low];
		is_there[low] = true;
	}
	info.nodes = count ? nodes : NULL;
	memset(&answer, 0, sizeof(answer));
	answer.ttl_s = UINT32_MAX;
	resolve_add(&answer, &info, 80, 0);
	BUG_ON(answer.ttl_s != ttl_s || answer.count != MIN(distinct, RESOLVE_ADDRESSES_MAX));
	BUG_ON((answer.omitted_count > 0) != (distinct > RESOLVE_ADDRESSES_MAX));
	for (unsigned i = 0; i < answer.count; i++) {
		BUG_ON(!is_there[key_of(&answer.addresses[i]) & 0xffff]);
		BUG_ON(ntohs(answer.addresses[i].addr.v4.sin_port) != 80);
		BUG_ON(i && key_of(&answer.addresses[i - 1]) >= key_of(&answer.addresses[i]));
	}
	for (unsigned low = 0; answer.count && low < (key_of(&answer.addresses[answer.count - 1]) & 0xffff); low++)
		below += is_there[low];
	BUG_ON(answer.count && below != answer.count - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Of exactly its size, so that one byte too far is seen. */
	uint8_t *copy = malloc(MAX(size, 1u));

	BUG_ON(!copy);
	memcpy(copy, data, size);
	check_service(copy, (int)size);
	check_addresses(copy, size);
	free(copy);
	return 0;
}
