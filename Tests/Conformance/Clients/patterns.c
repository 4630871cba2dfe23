/*
 * What bridges, load balancers and replayers rely on: times of rings, ports that are open twice, buffers that change places.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "client.h"

#include <pthread.h>

/* A receive sync stamps the ring, also without packets; nothing stamps transmit rings. */
static void timestamps(void)
{
	struct port a = open_port("stamp{1"), b = open_port("stamp}1");
	struct netmap_ring *const ring = NETMAP_RXRING(b.nifp, 0);
	struct timeval before, after, first;

	gettimeofday(&before, NULL);
	CHECK(receive_packets(&b) == 0);
	gettimeofday(&after, NULL);
	first = ring->ts;
	CHECK(!timercmp(&first, &before, <) && !timercmp(&first, &after, >));
	usleep(2000);
	send_packets(&a, 1);
	CHECK(receive_packets(&b) == 1);
	CHECK(timercmp(&ring->ts, &first, >));
	CHECK(!timerisset(&NETMAP_TXRING(a.nifp, 0)->ts));
}

enum { ECHOED = 200000 };

/* Sends everything that a ring has received on the other descriptor of the same port. */
static void *echo(void *ports)
{
	struct port *const receiver = ports, *const sender = receiver + 1;

	for (int count = 0; count < ECHOED;) {
		struct netmap_ring *const in = NETMAP_RXRING(receiver->nifp, 0);
		struct netmap_ring *const out = NETMAP_TXRING(sender->nifp, 0);

		CHECK(!ioctl(receiver->fd, NIOCRXSYNC, NULL));
		while (!nm_ring_empty(in)) {
			struct netmap_slot *const from = &in->slot[in->cur], *to;

			while (nm_ring_empty(out))
				CHECK(!ioctl(sender->fd, NIOCTXSYNC, NULL));
			to = &out->slot[out->cur];
			memcpy(NETMAP_BUF(out, to->buf_idx), NETMAP_BUF(in, from->buf_idx), 8);
			to->len = from->len;
			out->head = out->cur = nm_ring_next(out, out->cur);
			in->head = in->cur = nm_ring_next(in, in->cur);
			count++;
		}
		CHECK(!ioctl(sender->fd, NIOCTXSYNC, NULL));
	}
	return NULL;
}

static void *collect(void *port)
{
	struct port *const receiver = port;
	struct netmap_ring *const ring = NETMAP_RXRING(receiver->nifp, 0);

	for (uint64_t next = 0; next < ECHOED;) {
		CHECK(!ioctl(receiver->fd, NIOCRXSYNC, NULL));
		for (; !nm_ring_empty(ring); next++) {
			uint64_t number;

			memcpy(&number, NETMAP_BUF(ring, ring->slot[ring->cur].buf_idx), sizeof number);
			CHECK(number == next);
			ring->head = ring->cur = nm_ring_next(ring, ring->cur);
		}
	}
	return NULL;
}

/* Each end of a pipe is open twice: one descriptor receives and the other one sends, in four threads. */
static void open_twice(void)
{
	struct port far[2] = { open_port("twice}1"), open_port("twice}1") };
	struct port receiver = open_port("twice{1"), sender = open_port("twice{1");
	struct netmap_ring *const ring = NETMAP_TXRING(sender.nifp, 0);
	pthread_t echoing, collecting;

	CHECK(far[0].reg.nr_offset != far[1].reg.nr_offset);
	CHECK(!pthread_create(&echoing, NULL, echo, far));
	CHECK(!pthread_create(&collecting, NULL, collect, &receiver));
	for (uint64_t number = 0; number < ECHOED; number++) {
		while (nm_ring_empty(ring))
			CHECK(!ioctl(sender.fd, NIOCTXSYNC, NULL));
		memcpy(NETMAP_BUF(ring, ring->slot[ring->cur].buf_idx), &number, sizeof number);
		ring->slot[ring->cur].len = 60;
		ring->head = ring->cur = nm_ring_next(ring, ring->cur);
		if (number % 37 == 0)
			CHECK(!ioctl(sender.fd, NIOCTXSYNC, NULL));
	}
	CHECK(!ioctl(sender.fd, NIOCTXSYNC, NULL));
	CHECK(!pthread_join(echoing, NULL) && !pthread_join(collecting, NULL));
}

/* A second open shows the ring as it is, and resets nothing. */
static void later_open(void)
{
	struct port first = open_port("later{1"), peer = open_port("later}1"), second;
	uint32_t free_slots;

	send_packets(&first, 10);
	CHECK(!ioctl(peer.fd, NIOCRXSYNC, NULL));
	NETMAP_RXRING(peer.nifp, 0)->head = NETMAP_RXRING(peer.nifp, 0)->cur = 7;
	CHECK(!ioctl(peer.fd, NIOCRXSYNC, NULL));
	second = open_port("later{1");
	CHECK(!ioctl(second.fd, NIOCTXSYNC, NULL));
	free_slots = nm_ring_space(NETMAP_TXRING(second.nifp, 0));
	CHECK(free_slots == NETMAP_TXRING(second.nifp, 0)->num_slots - 1 - 3);
	close(second.fd);
	/* All slots come back, as programs that wait for their last packets expect. */
	CHECK(receive_packets(&peer) == 3);
	CHECK(!ioctl(peer.fd, NIOCRXSYNC, NULL) && !ioctl(first.fd, NIOCTXSYNC, NULL));
	CHECK(!nm_tx_pending(NETMAP_TXRING(first.nifp, 0)));
}

/* Packets stay when the receiver closes its end, and the next one that opens it finds them. */
static void left_behind(void)
{
	struct port sender = open_port("left{1"), receiver = open_port("left}1");

	send_packets(&sender, 5);
	CHECK(!ioctl(receiver.fd, NIOCRXSYNC, NULL));
	close(receiver.fd);
	send_packets(&sender, 2);
	receiver = open_port("left}1");
	CHECK(receive_packets(&receiver) == 7);
}

static void exchange(struct netmap_slot *one, struct netmap_slot *other)
{
	const uint32_t buffer = one->buf_idx;

	one->buf_idx = other->buf_idx;
	other->buf_idx = buffer;
	one->flags |= NS_BUF_CHANGED;
	other->flags |= NS_BUF_CHANGED;
}

/* Buffers move from one pipe of a region to another one, and on each packet's way no byte is copied. */
static void swaps(void)
{
	struct port source = open_port("swap{1"), in = open_port("swap}1");
	struct port out = open_port("swap{2"), target = open_port("swap}2");
	struct netmap_ring *const from = NETMAP_RXRING(in.nifp, 0), *const to = NETMAP_TXRING(out.nifp, 0);
	struct netmap_ring *const last = NETMAP_RXRING(target.nifp, 0);

	CHECK(in.reg.nr_mem_id == out.reg.nr_mem_id);
	for (int round = 0; round < 3000; round++) {
		const uint32_t sent = NETMAP_TXRING(source.nifp, 0)->slot[NETMAP_TXRING(source.nifp, 0)->cur].buf_idx;

		put(&source, 3);
		CHECK(!ioctl(source.fd, NIOCTXSYNC, NULL) && !ioctl(in.fd, NIOCRXSYNC, NULL));
		CHECK(nm_ring_space(from) == 3);
		while (!nm_ring_empty(from)) {
			to->slot[to->cur].len = from->slot[from->cur].len;
			exchange(&to->slot[to->cur], &from->slot[from->cur]);
			to->head = to->cur = nm_ring_next(to, to->cur);
			from->head = from->cur = nm_ring_next(from, from->cur);
		}
		CHECK(!ioctl(in.fd, NIOCRXSYNC, NULL) && !ioctl(out.fd, NIOCTXSYNC, NULL));
		CHECK(!ioctl(target.fd, NIOCRXSYNC, NULL));
		CHECK(nm_ring_space(last) == 3);
		CHECK(last->slot[last->cur].buf_idx == sent);
		CHECK(NETMAP_BUF(last, last->slot[nm_ring_next(last, last->cur)].buf_idx)[20] == 1);
		CHECK(take(&target) == 3);
		CHECK(!ioctl(target.fd, NIOCRXSYNC, NULL) && !ioctl(source.fd, NIOCTXSYNC, NULL));
	}
}

/* `sem` and the slots of the program are its own: a sync changes none of them. */
static void own_words(void)
{
	struct port a = open_port("own{1"), b = open_port("own}1");
	struct netmap_ring *const ring = NETMAP_TXRING(a.nifp, 0);
	struct netmap_slot *const unused = &ring->slot[100];

	memset(ring->sem, 0x5a, sizeof ring->sem);
	unused->ptr = 0x123456789abcdef0;
	unused->len = 33;
	ring->slot[ring->tail].ptr = 77;
	send_packets(&a, 10);
	CHECK(receive_packets(&b) == 10);
	CHECK(!ioctl(b.fd, NIOCRXSYNC, NULL) && !ioctl(a.fd, NIOCTXSYNC, NULL));
	CHECK(unused->ptr == 0x123456789abcdef0 && unused->len == 33);
	for (size_t i = 0; i < sizeof ring->sem; i++)
		CHECK(ring->sem[i] == 0x5a);
}

/* A packet of several slots arrives as a whole. */
static void fragments(void)
{
	static const char *const pairs[][2] = { { "parts{1", "parts}1" }, { "vale8:a", "vale8:b" } };

	for (int i = 0; i < 2; i++) {
		struct port a = open_port(pairs[i][0]), b = open_port(pairs[i][1]);
		struct netmap_ring *const in = NETMAP_RXRING(b.nifp, 0);

		put(&a, 3);
		NETMAP_TXRING(a.nifp, 0)->slot[0].flags = NS_MOREFRAG;
		NETMAP_TXRING(a.nifp, 0)->slot[1].flags = NS_MOREFRAG;
		CHECK(!ioctl(a.fd, NIOCTXSYNC, NULL) && !ioctl(b.fd, NIOCRXSYNC, NULL));
		CHECK(nm_ring_space(in) == 3);
		CHECK(in->slot[0].flags & NS_MOREFRAG && in->slot[1].flags & NS_MOREFRAG);
		CHECK(!(in->slot[2].flags & NS_MOREFRAG));
	}
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "timestamps", timestamps }, { "open-twice", open_twice }, { "later-open", later_open },
		{ "left-behind", left_behind }, { "swaps", swaps },         { "own-words", own_words },
		{ "fragments", fragments },     { NULL, NULL },
	};

	return run_test(tests, count, arguments);
}
