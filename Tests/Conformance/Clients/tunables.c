/*
 * What tunables do, as a program sees it. Each test needs a netmapd that has been started with the tunables that it names.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "client.h"

/* no_timestamp=1: a receive sync stamps a ring only if the ring asks for it. */
static void stamps(void)
{
	struct port a = open_port("stamp{1"), b = open_port("stamp}1");
	struct netmap_ring *const ring = NETMAP_RXRING(b.nifp, 0);

	send_packets(&a, 1);
	CHECK(receive_packets(&b) == 1);
	CHECK(!timerisset(&ring->ts));
	ring->flags |= NR_TIMESTAMP;
	CHECK(receive_packets(&b) == 0);
	CHECK(timerisset(&ring->ts));
}

/* bridge_batch=0: a switch discards what its ports send, and the slots come back. */
static void discards(void)
{
	struct port a = open_port("vale0:a"), b = open_port("vale0:b");
	struct netmap_ring *const ring = NETMAP_TXRING(a.nifp, 0);

	for (int i = 0; i < 3; i++) {
		send_packets(&a, 500);
		CHECK(nm_ring_space(ring) == ring->num_slots - 1);
		CHECK(receive_packets(&b) == 0);
	}
}

/* bridge_batch=1: nothing is lost, and the order stays. */
static void small_batches(void)
{
	struct port a = open_port("vale0:a"), b = open_port("vale0:b");
	struct netmap_ring *const ring = NETMAP_RXRING(b.nifp, 0);

	for (int i = 0; i < 10; i++) {
		send_packets(&a, 100);
		CHECK(!ioctl(b.fd, NIOCRXSYNC, NULL));
		CHECK(nm_ring_space(ring) == 100);
		for (int number = 0; number < 100; number++) {
			const struct netmap_slot *const slot = &ring->slot[ring->cur];

			CHECK(slot->len == 60 && NETMAP_BUF(ring, slot->buf_idx)[12] == number);
			ring->head = ring->cur = nm_ring_next(ring, ring->cur);
		}
	}
}

/* max_bridges=2: a third switch is refused until one has gone. */
static void few_switches(void)
{
	struct port a = open_port("vale0:a"), b = open_port("vale1:a"), c = { .fd = open_device() };

	CHECK_FAILS(bind_port(&c, "vale2:a", 0), ENOMEM);
	CHECK(!close(a.fd));
	CHECK(!bind_port(&c, "vale2:a", 0));
	(void)b;
}

/* admode=1: no interface can be opened or asked about, and everything else can. */
static void no_interfaces(void)
{
	struct nmreq_port_info_get info = { 0 };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_PORT_INFO_GET,
				       .nr_name = "v0",
				       .nr_body = (uintptr_t)&info };
	struct port port = { .fd = open_device() };

	CHECK_FAILS(bind_port(&port, "v0", 0), EOPNOTSUPP);
	CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EOPNOTSUPP);
	CHECK(!bind_port(&port, "vale0:a", 0));
	(void)open_port("pipe{1");
}

/* Asks for the pools of a port's memory. */
static struct nmreq_pools_info pools_of(const char *name, uint16_t memory)
{
	struct nmreq_pools_info pools = { .nr_mem_id = memory };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_POOLS_INFO_GET,
				       .nr_body = (uintptr_t)&pools };
	const int fd = open_device();

	snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
	CHECK(!ioctl(fd, NIOCCTRL, &header));
	CHECK(!close(fd));
	return pools;
}

/* {if,ring,buf}_{num,size} = 20 x 2048, 50 x 8192, 3000 x 4096 in the memory of interfaces. */
static void shared_pools(void)
{
	struct port port = { .fd = open_device() };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_name = "vale0:a",
				       .nr_body = (uintptr_t)&port.reg };
	struct nmreq_pools_info pools;

	port.reg.nr_mode = NR_REG_ALL_NIC;
	port.reg.nr_mem_id = 1;
	port.reg.nr_tx_slots = port.reg.nr_rx_slots = 64;
	CHECK(!ioctl(port.fd, NIOCCTRL, &header));
	CHECK(port.reg.nr_mem_id == 1);
	pools = pools_of("vale0:a", 0);
	CHECK(pools.nr_if_pool_objtotal == 20 && pools.nr_if_pool_objsize == 2048);
	CHECK(pools.nr_ring_pool_objtotal == 50 && pools.nr_ring_pool_objsize == 8192);
	CHECK(pools.nr_buf_pool_objtotal == 3000 && pools.nr_buf_pool_objsize == 4096);
	map_port(&port);
	CHECK(NETMAP_TXRING(port.nifp, 0)->nr_buf_size == 4096);
}

/* priv_{if,ring,buf}_{num,size} = 90 x 2048, 700 x 65536, 9000 x 4096 in memory of one port. */
static void private_pools(void)
{
	struct port port = open_port("vale0:a");
	const struct nmreq_pools_info pools = pools_of("vale0:a", 0);

	CHECK(port.reg.nr_mem_id > 1);
	CHECK(pools.nr_if_pool_objtotal >= 90 && pools.nr_if_pool_objsize == 2048);
	CHECK(pools.nr_ring_pool_objtotal >= 700 && pools.nr_ring_pool_objsize == 65536);
	CHECK(pools.nr_buf_pool_objtotal >= 9000 && pools.nr_buf_pool_objsize == 4096);
	CHECK(NETMAP_TXRING(port.nifp, 0)->nr_buf_size == 4096);
}

/* generic_ringsize=256: an interface's rings have so many slots, whatever the program asks for. */
static void ring_size(void)
{
	struct port port = open_port("v0");

	CHECK(port.reg.nr_tx_slots == 256 && port.reg.nr_rx_slots == 256);
	CHECK(NETMAP_TXRING(port.nifp, 0)->num_slots == 256);
	CHECK(NETMAP_RXRING(port.nifp, 0)->num_slots == 256);
}

/* Packets pass, and rings are stamped: what tunables without effect leave alone. */
static void as_ever(void)
{
	struct port a = open_port("p{1"), b = open_port("p}1");
	struct port c = open_port("vale0:c"), d = open_port("vale0:d");

	send_packets(&a, 100);
	CHECK(receive_packets(&b) == 100);
	CHECK(timerisset(&NETMAP_RXRING(b.nifp, 0)->ts));
	send_packets(&c, 100);
	CHECK(receive_packets(&d) == 100);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "stamps", stamps },
		{ "discards", discards },
		{ "small-batches", small_batches },
		{ "few-switches", few_switches },
		{ "no-interfaces", no_interfaces },
		{ "shared-pools", shared_pools },
		{ "private-pools", private_pools },
		{ "ring-size", ring_size },
		{ "as-ever", as_ever },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
