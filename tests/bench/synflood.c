/* SPDX-License-Identifier: MIT */
/*
 * Spoofed SYNs to 127.0.0.1, for use in a network namespace of its own (root): `synflood PORT COUNT
 * SECONDS`.  They come from 10.x.y.z, where nobody answers, so no handshake ever completes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define PORTS_PER_ADDRESS 60000

static uint32_t sum_of(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	return sum;
}

static uint16_t folded(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static int send_syn(int raw, const struct sockaddr_in *to, uint32_t n)
{
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} packet = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP}};
	uint32_t sum = IPPROTO_TCP + sizeof(packet.tcp);

	packet.ip.saddr = htonl(0x0a000001 + n / PORTS_PER_ADDRESS);
	packet.ip.daddr = to->sin_addr.s_addr;
	packet.ip.tot_len = htons(sizeof(packet));
	packet.tcp.source = htons((uint16_t)(1024 + n % PORTS_PER_ADDRESS));
	packet.tcp.dest = to->sin_port;
	packet.tcp.seq = htonl(n * 2654435761u);
	packet.tcp.doff = 5;
	packet.tcp.syn = 1;
	packet.tcp.window = htons(65535);
	sum = sum_of(&packet.ip.saddr, 8, sum);
	packet.tcp.check = folded(sum_of(&packet.tcp, sizeof(packet.tcp), sum));
	if (sendto(raw, &packet, sizeof(packet), 0, (const struct sockaddr *)to, sizeof(*to)) < 0)
		return -errno;
	return 0;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW), err;
	struct sockaddr_in to = {.sin_family = AF_INET};
	uint32_t count, n = 0;
	double start, seconds;

	if (argc != 4 || raw < 0) {
		fprintf(stderr, "synflood PORT COUNT SECONDS, as root\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	count = (uint32_t)atoi(argv[2]);
	seconds = atof(argv[3]);
	start = now_s();
	while (n < count) {
		uint32_t due = (uint32_t)((now_s() - start) / seconds * count) + 1;

		for (; n < due && n < count; n++) {
			err = send_syn(raw, &to, n);
			if (err && err != -ENOBUFS) {
				fprintf(stderr, "synflood: %s\n", strerror(-err));
				return 1;
			}
		}
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	printf("%u SYNs in %.3f s\n", n, now_s() - start);
	return 0;
}
