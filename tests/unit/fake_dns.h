/* SPDX-License-Identifier: MIT */
/*
 * A name server for tests, on a free port of loopback, served by the loop under test: UDP, and TCP for who was told to
 * come back that way.  It knows the records it was given and can be made to misbehave.
 */
#ifndef SLUICE_TESTS_FAKE_DNS_H
#define SLUICE_TESTS_FAKE_DNS_H

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/err.h"
#include "net/loop.h"
#include "net/sock.h"

#define DNS_A	  1u
#define DNS_CNAME 5u
#define DNS_AAAA  28u
#define DNS_SRV	  33u

enum fake_dns_mode {
	FAKE_DNS_GOOD,
	FAKE_DNS_SILENT,	/* no answer at all */
	FAKE_DNS_GARBAGE,	/* bytes that are no answer */
	FAKE_DNS_MALFORMED,	/* the right question, then records that are cut off */
	FAKE_DNS_TRUNCATED,	/* over UDP only a part: ask by TCP */
	FAKE_DNS_SERVFAIL,
};

struct fake_record {
	const char *name;
	unsigned type;
	uint32_t ttl_s;
	const char *value;	/* "127.0.0.1", "::1", "alias", SRV: "PRIORITY WEIGHT PORT TARGET" */
};

struct fake_dns {
	struct loop *loop;
	struct io udp, tcp, client;
	union sock_addr addr;
	enum fake_dns_mode mode;
	const char *silent_name;	/* this one is not answered, the others are */
	const struct fake_record *records;
	unsigned record_count;
	unsigned udp_count, tcp_count;	/* questions */
};

struct fake_packet {
	uint8_t bytes[4096];
	size_t len;
};

static inline void fake_put(struct fake_packet *p, const void *data, size_t len)
{
	if (len <= sizeof(p->bytes) - p->len) {
		memcpy(p->bytes + p->len, data, len);
		p->len += len;
	}
}

static inline void fake_put16(struct fake_packet *p, unsigned value)
{
	uint8_t bytes[2] = { (uint8_t)(value >> 8), (uint8_t)value };

	fake_put(p, bytes, 2);
}

static inline void fake_put_name(struct fake_packet *p, const char *name)
{
	while (*name) {
		size_t len = strcspn(name, ".");
		uint8_t byte = (uint8_t)len;

		fake_put(p, &byte, 1);
		fake_put(p, name, len);
		name += len + (name[len] == '.');
	}
	fake_put(p, "", 1);
}

static inline void fake_put_value(struct fake_packet *p, const struct fake_record *r)
{
	unsigned priority, weight, port;
	uint8_t address[16];
	char target[256];

	if (r->type == DNS_A && inet_pton(AF_INET, r->value, address) == 1)
		fake_put(p, address, 4);
	else if (r->type == DNS_AAAA && inet_pton(AF_INET6, r->value, address) == 1)
		fake_put(p, address, 16);
	else if (r->type == DNS_CNAME)
		fake_put_name(p, r->value);
	else if (r->type == DNS_SRV && sscanf(r->value, "%u %u %u %255s", &priority, &weight, &port, target) == 4) {
		fake_put16(p, priority);
		fake_put16(p, weight);
		fake_put16(p, port);
		fake_put_name(p, strcmp(target, ".") ? target : "");
	}
}

static inline void fake_put_record(struct fake_packet *p, const struct fake_record *r)
{
	size_t at;

	fake_put_name(p, r->name);
	fake_put16(p, r->type);
	fake_put16(p, 1);
	fake_put16(p, r->ttl_s >> 16);
	fake_put16(p, r->ttl_s & 0xffff);
	at = p->len;
	fake_put16(p, 0);
	fake_put_value(p, r);
	p->bytes[at] = (uint8_t)((p->len - at - 2) >> 8);
	p->bytes[at + 1] = (uint8_t)(p->len - at - 2);
}

/* Name of the question, lower case as it came, and its type; the length of the question, 0 for none. */
static inline size_t fake_question(const uint8_t *q, size_t len, char name[256], unsigned *ret_type)
{
	size_t at = 12, out = 0;

	while (at < len && q[at] && at + 1 + q[at] < len && out + q[at] < 250) {
		memcpy(name + out, q + at + 1, q[at]);
		out += q[at];
		at += 1u + q[at];
		name[out++] = '.';
	}
	name[out ? out - 1 : 0] = '\0';
	if (at + 5 > len)
		return 0;
	*ret_type = (unsigned)q[at + 1] << 8 | q[at + 2];
	return at + 5 - 12;
}

static inline unsigned fake_put_answers(struct fake_packet *p, struct fake_dns *d, const char *name, unsigned type,
					bool *ret_is_known)
{
	unsigned count = 0;

	for (unsigned i = 0; i < d->record_count; i++) {
		const struct fake_record *r = &d->records[i];

		if (strcasecmp(r->name, name) != 0)
			continue;
		*ret_is_known = true;
		if (r->type == DNS_CNAME && type != DNS_CNAME) {
			fake_put_record(p, r);
			count += 1 + fake_put_answers(p, d, r->value, type, ret_is_known);
		} else if (r->type == type) {
			fake_put_record(p, r);
			count++;
		}
	}
	return count;
}

/* False: nothing is to be sent. */
static inline bool fake_answer(struct fake_dns *d, const uint8_t *q, size_t len, bool is_tcp, struct fake_packet *p)
{
	bool is_known = false, is_cut = d->mode == FAKE_DNS_TRUNCATED && !is_tcp;
	unsigned type, count = 0, rcode;
	char name[256];
	size_t question_len = len > 12 ? fake_question(q, len, name, &type) : 0;

	p->len = 0;
	if (!question_len || d->mode == FAKE_DNS_SILENT || (d->silent_name && strcasecmp(d->silent_name, name) == 0))
		return false;
	if (d->mode == FAKE_DNS_GARBAGE) {
		fake_put(p, "\xff\x00 this is not DNS, whatever the port says", 40);
		return true;
	}
	fake_put(p, q, 2);
	fake_put16(p, 0);
	fake_put16(p, 1);
	fake_put16(p, 0);
	fake_put16(p, 0);
	fake_put16(p, 0);
	fake_put(p, q + 12, question_len);
	if (!is_cut && d->mode != FAKE_DNS_SERVFAIL)
		count = fake_put_answers(p, d, name, type, &is_known);
	rcode = d->mode == FAKE_DNS_SERVFAIL ? 2 : is_cut || is_known ? 0 : 3;
	p->bytes[2] = (uint8_t)(0x84 | (q[2] & 1) | (is_cut ? 2 : 0));
	p->bytes[3] = (uint8_t)(0x80 | rcode);
	if (d->mode == FAKE_DNS_MALFORMED && count) {
		count += 3;
		p->len -= 2;
	}
	p->bytes[7] = (uint8_t)count;
	return true;
}

static inline void fake_dns_on_udp(struct io *io, uint32_t events)
{
	struct fake_dns *d = container_of(io, struct fake_dns, udp);
	static struct fake_packet answer;
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	uint8_t question[512];
	ssize_t n;

	while ((n = recvfrom(io->fd, question, sizeof(question), 0, (struct sockaddr *)&from, &from_len)) > 0) {
		d->udp_count++;
		if (fake_answer(d, question, (size_t)n, false, &answer))
			sendto(io->fd, answer.bytes, answer.len, 0, (struct sockaddr *)&from, from_len);
	}
}

static inline void fake_dns_drop_client(struct fake_dns *d)
{
	loop_remove(d->loop, &d->client);
	sock_close(d->client.fd);
	d->client.fd = -1;
}

/* Whole questions only: on loopback they come in one piece. */
static inline void fake_dns_on_client(struct io *io, uint32_t events)
{
	struct fake_dns *d = container_of(io, struct fake_dns, client);
	static struct fake_packet answer;
	uint8_t in[1024];
	ssize_t n = sock_read(io->fd, in, sizeof(in));
	size_t at = 0;

	if (n <= 0) {
		if (n != -EAGAIN)
			fake_dns_drop_client(d);
		return;
	}
	while (at + 2 < (size_t)n) {
		size_t len = (size_t)in[at] << 8 | in[at + 1];
		uint8_t head[2];

		d->tcp_count++;
		if (fake_answer(d, in + at + 2, MIN(len, (size_t)n - at - 2), true, &answer)) {
			struct iovec iov[2] = { { head, 2 }, { answer.bytes, answer.len } };

			head[0] = (uint8_t)(answer.len >> 8);
			head[1] = (uint8_t)answer.len;
			sock_writev(io->fd, iov, 2, false);
		}
		at += 2 + len;
	}
}

static inline void fake_dns_on_tcp(struct io *io, uint32_t events)
{
	struct fake_dns *d = container_of(io, struct fake_dns, tcp);
	union sock_addr peer;
	int fd = sock_accept(io->fd, &peer);

	if (fd < 0)
		return;
	if (d->client.fd >= 0)
		fake_dns_drop_client(d);
	io_init(&d->client, fd, fake_dns_on_client);
	loop_add(d->loop, &d->client, EPOLLIN, true);
}

/* 0 or -errno. */
static inline int fake_dns_open(struct fake_dns *d, struct loop *loop, const struct fake_record *records,
				unsigned record_count)
{
	struct sock_options opt = { 0 };
	const char *step;
	int udp, tcp;

	*d = (struct fake_dns){ .loop = loop, .records = records, .record_count = record_count };
	d->client.fd = -1;
	sock_addr_parse(SPAN("127.0.0.1:0"), &d->addr);
	tcp = sock_listen(&d->addr, &opt, &step);
	if (tcp < 0)
		return tcp;
	sock_local_addr(tcp, &d->addr);
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (udp < 0 || bind(udp, &d->addr.any, sizeof(d->addr.v4)) < 0) {
		int err = -errno;

		sock_close(udp);
		sock_close(tcp);
		return err;
	}
	io_init(&d->udp, udp, fake_dns_on_udp);
	io_init(&d->tcp, tcp, fake_dns_on_tcp);
	loop_add(loop, &d->udp, EPOLLIN, true);
	return loop_add(loop, &d->tcp, EPOLLIN, true);
}

static inline void fake_dns_close(struct fake_dns *d)
{
	if (d->client.fd >= 0)
		fake_dns_drop_client(d);
	loop_remove(d->loop, &d->udp);
	loop_remove(d->loop, &d->tcp);
	sock_close(d->udp.fd);
	sock_close(d->tcp.fd);
}

#endif
