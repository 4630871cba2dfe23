/* Packets in the program's own memory (NS_INDIRECT). SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdatomic.h>

enum { LENGTH = 100 };

static struct port sender, receiver;

static void open_ports(void)
{
	sender = open_port("vale3:a");
	receiver = open_port("vale3:b");
}

/* A packet to all stations that is filled with one byte. */
static void make_packet(char *packet, int fill)
{
	memset(packet, 0xff, 6);
	memset(packet + 6, 2, 6);
	memset(packet + 12, fill, LENGTH - 12);
}

static void put_indirect(uint64_t address, int flags)
{
	struct netmap_ring *const ring = NETMAP_TXRING(sender.nifp, 0);
	struct netmap_slot *const slot = &ring->slot[ring->cur];

	CHECK(nm_ring_space(ring));
	slot->ptr = address;
	slot->len = LENGTH;
	slot->flags = (uint16_t)(NS_INDIRECT | flags);
	ring->head = ring->cur = nm_ring_next(ring, ring->cur);
}

static void send_indirect(const void *packet)
{
	put_indirect((uintptr_t)packet, 0);
	errno = 77;
	CHECK(!ioctl(sender.fd, NIOCTXSYNC, NULL));
	CHECK(errno == 77);
}

/* The packet that has arrived, if it is the only one. */
static const char *arrived(void)
{
	struct netmap_ring *const ring = NETMAP_RXRING(receiver.nifp, 0);
	const char *packet;

	CHECK(!ioctl(receiver.fd, NIOCRXSYNC, NULL));
	if (!nm_ring_space(ring))
		return NULL;
	CHECK(nm_ring_space(ring) == 1);
	packet = NETMAP_BUF(ring, ring->slot[ring->head].buf_idx);
	CHECK(ring->slot[ring->head].len == LENGTH);
	ring->head = ring->cur = ring->tail;
	return packet;
}

/* Runs netmap ports, which has to print a counter of drops. */
static void expect_drops(const char *reason, int count)
{
	char line[20000], text[100];
	FILE *const ports = popen(getenv("NETMAP_TEST_PORTS"), "r");
	bool is_found = false;

	snprintf(text, sizeof text, "\"%s\":%d", reason, count);
	CHECK(ports);
	while (fgets(line, sizeof line, ports)) {
		is_found |= strstr(line, "vale3:a") && strstr(line, text);
		fputs(line, stdout);
	}
	CHECK(!pclose(ports) && is_found);
}

static void refused(void)
{
	char packet[LENGTH];

	open_ports();
	make_packet(packet, 1);
	send_indirect(packet);
	send_indirect(NULL);
	CHECK(!arrived());
	send_packets(&sender, 2);
	CHECK(receive_packets(&receiver) == 2);
	expect_drops("indirect", 2);
}

static void allowed(void)
{
	static char packet[LENGTH];
	struct pollfd entry = { .events = POLLOUT };

	open_ports();
	make_packet(packet, 7);
	send_indirect(packet);
	CHECK(!memcmp(arrived(), packet, LENGTH));
	/* The wait of a sender sends as well. */
	make_packet(packet, 8);
	put_indirect((uintptr_t)packet, 0);
	entry.fd = sender.fd;
	CHECK(poll(&entry, 1, 0) == 1);
	CHECK(!memcmp(arrived(), packet, LENGTH));
}

/* One batch of many, and a packet of several slots. */
static void many(void)
{
	enum { COUNT = 200 };
	static char packets[COUNT][LENGTH];
	struct netmap_ring *ring;

	open_ports();
	for (int i = 0; i < COUNT; i++) {
		make_packet(packets[i], i);
		put_indirect((uintptr_t)packets[i], 0);
	}
	CHECK(!ioctl(sender.fd, NIOCTXSYNC, NULL) && !ioctl(receiver.fd, NIOCRXSYNC, NULL));
	ring = NETMAP_RXRING(receiver.nifp, 0);
	CHECK(nm_ring_space(ring) == COUNT);
	for (int i = 0; i < COUNT; i++) {
		CHECK(!memcmp(NETMAP_BUF(ring, ring->slot[ring->head].buf_idx), packets[i], LENGTH));
		ring->head = ring->cur = nm_ring_next(ring, ring->head);
	}
	put_indirect((uintptr_t)packets[3], NS_MOREFRAG);
	put(&sender, 1);
	CHECK(!ioctl(sender.fd, NIOCTXSYNC, NULL) && !ioctl(receiver.fd, NIOCRXSYNC, NULL));
	CHECK(nm_ring_space(ring) == 2);
	CHECK(!memcmp(NETMAP_BUF(ring, ring->slot[ring->head].buf_idx), packets[3], LENGTH));
	/* The packet with a slot that cannot be read is lost as a whole. */
	ring->head = ring->cur = ring->tail;
	put_indirect((uintptr_t)packets[3], NS_MOREFRAG);
	put_indirect(16, 0);
	CHECK(!ioctl(sender.fd, NIOCTXSYNC, NULL));
	CHECK(!arrived());
}

static void wild(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *const pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	open_ports();
	CHECK(pages != MAP_FAILED);
	CHECK(!mprotect(pages + page, page, PROT_NONE) && !munmap(pages + 2 * page, page));
	/* Up to the last byte of a page, and one byte further. */
	make_packet(pages + page - LENGTH, 3);
	send_indirect(pages + page - LENGTH);
	CHECK(!memcmp(arrived(), pages + page - LENGTH, LENGTH));

	const void *const addresses[] = {
		NULL, (void *)1, (void *)16, pages + page - LENGTH + 1, pages + page, pages + 2 * page - 7,
		pages + 2 * page, (void *)(1UL << 47), (void *)(~0UL << 47), (void *)~0UL,
		(void *)(~0UL - LENGTH + 1), (void *)(1UL << 62),
	};
	const int count = sizeof addresses / sizeof *addresses;

	for (int i = 0; i < count; i++) {
		send_indirect(addresses[i]);
		CHECK(!arrived());
	}
	expect_drops("bad_length", count);
	send_packets(&sender, 1);
	CHECK(receive_packets(&receiver) == 1);
}

static _Atomic int is_over;

/*
 * Replaces a page that can be accessed by one that cannot, and back. There is no hole between, which another mapping of the
 * process could take.
 */
static void *map_and_unmap(void *place)
{
	while (!is_over) {
		CHECK(mmap(place, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place);
		CHECK(mmap(place, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place);
	}
	return NULL;
}

/* A page comes and goes while packets are sent from it. */
static void unmapped_meanwhile(void)
{
	char *const page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const double start = now();
	pthread_t thread;

	open_ports();
	CHECK(page != MAP_FAILED);
	CHECK(!pthread_create(&thread, NULL, map_and_unmap, page));
	while (now() - start < 2) {
		for (int i = 0; i < 50; i++)
			put_indirect((uintptr_t)page, 0);
		CHECK(!ioctl(sender.fd, NIOCTXSYNC, NULL));
		receive_packets(&receiver);
	}
	is_over = 1;
	CHECK(!pthread_join(thread, NULL));
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "refused", refused }, { "allowed", allowed },		{ "many", many },
		{ "wild", wild },	{ "meanwhile", unmapped_meanwhile }, { 0 },
	};

	return run_test(tests, count, arguments);
}
