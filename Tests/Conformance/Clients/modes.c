/* Register modes and flags, port names, flags of slots and rings. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <sys/time.h>

/* Binds with a mode, a ring number, flags and counts. Returns what ioctl does. */
static int bind_as(struct port *port, const char *name, uint32_t mode, int ring, uint64_t flags)
{
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_REGISTER };

	snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
	port->fd = open_device();
	port->reg.nr_mode = mode;
	port->reg.nr_ringid = (uint16_t)ring;
	port->reg.nr_flags = flags;
	header.nr_body = (uintptr_t)&port->reg;
	return ioctl(port->fd, NIOCCTRL, &header);
}

static void all_rings(void)
{
	struct port port = { .reg = { .nr_tx_rings = 3, .nr_rx_rings = 2, .nr_tx_slots = 128, .nr_rx_slots = 64 } };

	CHECK(!bind_as(&port, "vale0:all", NR_REG_ALL_NIC, 0, 0));
	CHECK(port.reg.nr_mode == NR_REG_ALL_NIC && port.reg.nr_tx_rings == 3 && port.reg.nr_rx_rings == 2);
	map_port(&port);
	CHECK(port.nifp->ni_tx_rings == 3 && port.nifp->ni_rx_rings == 2);
	CHECK(NETMAP_TXRING(port.nifp, 2)->num_slots == 128 && NETMAP_RXRING(port.nifp, 1)->num_slots == 64);
}

static void one_ring(void)
{
	struct port all = { .reg = { .nr_tx_rings = 2, .nr_rx_rings = 2 } }, one = { .fd = -1 };

	CHECK(!bind_as(&all, "vale1:one", NR_REG_ALL_NIC, 0, 0));
	CHECK(!bind_as(&one, "vale1:one", NR_REG_ONE_NIC, 1, 0));
	CHECK(one.reg.nr_ringid == 1 && one.reg.nr_mode == NR_REG_ONE_NIC);
	map_port(&one);
	/* A ring that the descriptor did not select is not listed. */
	CHECK(!one.nifp->ring_ofs[0] && one.nifp->ring_ofs[1]);
	CHECK(!ioctl(one.fd, NIOCTXSYNC, NULL));
	CHECK_FAILS(bind_as(&(struct port){ 0 }, "vale1:one", NR_REG_ONE_NIC, 9, 0), EINVAL);
}

static void null_port(void)
{
	struct port port = { .reg.nr_mem_id = 1 }, named = port;

	CHECK(!bind_as(&port, "", NR_REG_NULL, 0, 0));
	CHECK(port.reg.nr_mem_id == 1 && !ioctl(port.fd, NIOCTXSYNC, NULL));
	CHECK(!bind_as(&named, "any-name", NR_REG_NULL, 0, 0));
	CHECK(named.reg.nr_memsize);
	CHECK_FAILS(bind_as(&(struct port){ 0 }, "any-name", NR_REG_NULL, 0, 0), EINVAL);
}

static void refused_modes(void)
{
	static const uint32_t modes[] = { NR_REG_DEFAULT, NR_REG_PIPE_MASTER, NR_REG_PIPE_SLAVE, 9, 1000 };
	struct port port = { .fd = -1 };

	for (int i = 0; i < 5; i++)
		CHECK_FAILS(bind_as(&port, "vale2:x", modes[i], 0, 0), EINVAL);
	/* A pipe has no host rings. */
	CHECK(bind_as(&port, "modes{1", NR_REG_NIC_SW, 0, 0) == -1);
	CHECK(bind_as(&port, "modes{1", NR_REG_SW, 0, 0) == -1);
	CHECK(bind_as(&port, "modes{1", NR_REG_ONE_SW, 0, 0) == -1);
}

/* The old modes for pipes: the number is in nr_ringid. */
static void legacy_pipes(void)
{
	struct nmreq one = { .nr_version = NETMAP_API, .nr_name = "lp", .nr_ringid = 3, .nr_flags = NR_REG_PIPE_MASTER };
	struct nmreq other = { .nr_version = NETMAP_API, .nr_name = "lp", .nr_ringid = 3, .nr_flags = NR_REG_PIPE_SLAVE };

	CHECK(!ioctl(open_device(), NIOCREGIF, &one) && !ioctl(open_device(), NIOCREGIF, &other));
	CHECK(one.nr_arg2 == other.nr_arg2);
	CHECK_FAILS(bind_as(&(struct port){ 0 }, "lp{3", NR_REG_ALL_NIC, 0, NR_EXCLUSIVE), EBUSY);
}

static void exclusive(void)
{
	struct port port = { .fd = -1 }, second = { .fd = -1 };

	CHECK(!bind_as(&port, "vale3:x", NR_REG_ALL_NIC, 0, NR_EXCLUSIVE));
	CHECK_FAILS(bind_as(&second, "vale3:x", NR_REG_ALL_NIC, 0, 0), EBUSY);
	CHECK_FAILS(bind_as(&second, "vale3:x", NR_REG_ALL_NIC, 0, NR_EXCLUSIVE), EBUSY);
	CHECK(!close(port.fd));
	CHECK(!bind_as(&second, "vale3:x", NR_REG_ALL_NIC, 0, 0));
	CHECK_FAILS(bind_as(&(struct port){ 0 }, "vale3:x", NR_REG_ALL_NIC, 0, NR_EXCLUSIVE), EBUSY);
}

static void one_direction(void)
{
	struct port sends = { .fd = -1 }, receives = { .fd = -1 };

	CHECK(!bind_as(&sends, "vale4:d", NR_REG_ALL_NIC, 0, NR_TX_RINGS_ONLY));
	CHECK(!bind_as(&receives, "vale4:d", NR_REG_ALL_NIC, 0, NR_RX_RINGS_ONLY));
	map_port(&sends);
	map_port(&receives);
	CHECK(NETMAP_TXRING(sends.nifp, 0)->num_slots && NETMAP_RXRING(receives.nifp, 0)->num_slots);
	struct pollfd entry = { .fd = sends.fd, .events = POLLIN };

	send_packets(&sends, 1);
	CHECK(poll(&entry, 1, 0) >= 0);
}

static void virtio_flag(void)
{
	struct port plain = open_port("vale6:plain"), ready = { .fd = -1 };
	struct nmreq_port_hdr length = { .nr_hdr_len = 12 };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_PORT_HDR_SET,
				       .nr_name = "vale6:h",
				       .nr_body = (uintptr_t)&length };

	CHECK(!bind_as(&ready, "vale6:h", NR_REG_ALL_NIC, 0, NR_ACCEPT_VNET_HDR));
	CHECK(!ioctl(ready.fd, NIOCCTRL, &header));
	map_port(&ready);
	send_packets(&plain, 1);
	CHECK(!ioctl(ready.fd, NIOCRXSYNC, NULL));
	/* The header comes before the packet. */
	CHECK(nm_ring_space(NETMAP_RXRING(ready.nifp, 0)) == 1);
	CHECK(NETMAP_RXRING(ready.nifp, 0)->slot[0].len == 72);
}

/* poll for POLLIN alone sends, unless NR_NO_TX_POLL was set; for POLLOUT it sends in any case. */
static void no_transmit_poll(void)
{
	struct port plain = { .fd = -1 }, quiet = { .fd = -1 }, a, b;

	CHECK(!bind_as(&plain, "poll{1", NR_REG_ALL_NIC, 0, 0) && !bind_as(&quiet, "poll{2", NR_REG_ALL_NIC, 0, NR_NO_TX_POLL));
	map_port(&plain);
	map_port(&quiet);
	a = open_port("poll}1");
	b = open_port("poll}2");

	struct pollfd entries[] = { { .fd = plain.fd, .events = POLLIN }, { .fd = quiet.fd, .events = POLLIN } };

	put(&plain, 2);
	put(&quiet, 2);
	CHECK(!poll(entries, 2, 0));
	CHECK(receive_packets(&a) == 2 && !receive_packets(&b));
	entries[1].events = POLLOUT;
	CHECK(poll(entries, 2, 0) == 1);
	CHECK(receive_packets(&b) == 2);
}

/* NR_DO_RX_POLL is accepted, and changes nothing: poll fetches packets if it is asked for POLLIN. */
static void receive_poll(void)
{
	struct port a = open_port("fetch{1"), b = { .fd = -1 };

	CHECK(!bind_as(&b, "fetch}1", NR_REG_ALL_NIC, 0, NR_DO_RX_POLL));
	map_port(&b);
	send_packets(&a, 3);

	struct pollfd entry = { .fd = b.fd, .events = POLLIN };

	CHECK(b.reg.nr_flags == NR_DO_RX_POLL);
	CHECK(poll(&entry, 1, 1000) == 1 && take(&b) == 3);
}

/* A bit that programs set by mistake, and unknown ones. */
static void unknown_flags(void)
{
	struct port port = { .fd = -1 };
	const uint64_t flags = 0x1000 | UINT64_C(1) << 40 | UINT64_C(1) << 63;

	CHECK(!bind_as(&port, "flags{1", NR_REG_ALL_NIC, 0, flags));
	CHECK(port.reg.nr_flags == flags);
}

static void extra_buffers(void)
{
	struct port port = { .reg.nr_extra_bufs = 12 };
	uint32_t buffer, count = 0;

	CHECK(!bind_as(&port, "vale7:extra", NR_REG_ALL_NIC, 0, 0));
	CHECK(port.reg.nr_extra_bufs == 12);
	map_port(&port);
	for (buffer = port.nifp->ni_bufs_head; buffer && count < 20; count++)
		buffer = *(uint32_t *)NETMAP_BUF(NETMAP_TXRING(port.nifp, 0), buffer);
	CHECK(!buffer && count == 12);
}

static void fragments(void)
{
	struct port a = open_port("vale8:a"), b = open_port("vale8:b");
	struct netmap_ring *const ring = NETMAP_TXRING(a.nifp, 0), *const other = NETMAP_RXRING(b.nifp, 0);

	put(&a, 3);
	ring->slot[0].flags = ring->slot[1].flags = NS_MOREFRAG;
	/* A buffer of another slot: the application says so. */
	const uint32_t buffer = ring->slot[2].buf_idx;

	ring->slot[2].buf_idx = ring->slot[5].buf_idx;
	ring->slot[5].buf_idx = buffer;
	ring->slot[2].flags = NS_BUF_CHANGED | NS_REPORT;
	CHECK(!ioctl(a.fd, NIOCTXSYNC, NULL) && !ioctl(b.fd, NIOCRXSYNC, NULL));
	CHECK(nm_ring_space(other) == 3);
	CHECK(other->slot[0].flags & NS_MOREFRAG && other->slot[1].flags & NS_MOREFRAG);
	CHECK(!(other->slot[2].flags & NS_MOREFRAG));
	CHECK(NS_RFRAGS(&other->slot[0]) == 3);
	CHECK(!(ring->slot[2].flags & NS_BUF_CHANGED));
}

/* NS_NO_LEARN is documented, and has no effect in netmap either: the source of the packet is learned. */
static void learning(void)
{
	struct port a = open_port("vale9:a"), b = open_port("vale9:b"), c = open_port("vale9:c");

	put(&a, 1);

	struct netmap_ring *ring = NETMAP_TXRING(a.nifp, 0);

	memset(NETMAP_BUF(ring, ring->slot[0].buf_idx) + 6, 4, 6);
	ring->slot[0].flags = NS_NO_LEARN;
	CHECK(!ioctl(a.fd, NIOCTXSYNC, NULL));
	CHECK(receive_packets(&b) == 1 && receive_packets(&c) == 1);
	put(&b, 1);
	ring = NETMAP_TXRING(b.nifp, 0);
	memset(NETMAP_BUF(ring, ring->slot[0].buf_idx), 4, 6);
	CHECK(!ioctl(b.fd, NIOCTXSYNC, NULL));
	CHECK(receive_packets(&a) == 1 && receive_packets(&c) == 0);
}

/* Flags for host rings, which a pipe does not have, and of monitors. */
static void ignored_flags(void)
{
	struct port a = open_port("ignored{1"), b = open_port("ignored}1");
	struct netmap_ring *const ring = NETMAP_TXRING(a.nifp, 0);

	put(&a, 1);
	ring->flags = NR_FORWARD;
	ring->slot[0].flags = NS_FORWARD | NS_TXMON;
	CHECK(!ioctl(a.fd, NIOCTXSYNC, NULL));
	NETMAP_RXRING(b.nifp, 0)->flags = NR_FORWARD;
	CHECK(receive_packets(&b) == 1);
}

static void time_stamps(void)
{
	struct port a = open_port("stamps{1"), b = open_port("stamps}1");
	struct netmap_ring *const ring = NETMAP_RXRING(b.nifp, 0);
	struct timeval time;

	ring->flags = NR_TIMESTAMP;
	send_packets(&a, 1);
	CHECK(receive_packets(&b) == 1);
	CHECK(!gettimeofday(&time, NULL) && llabs((long long)time.tv_sec - ring->ts.tv_sec) < 5);
}

/* What programs keep in rings stays: ptr of slots, the area sem, and the slot at tail. */
static void programs_own_data(void)
{
	struct port a = open_port("own{1"), b = open_port("own}1");
	struct netmap_ring *const ring = NETMAP_TXRING(a.nifp, 0);
	struct pollfd entry = { .fd = a.fd, .events = POLLOUT };

	memset(ring->sem, 0x5a, sizeof ring->sem);
	for (uint32_t i = 0; i < ring->num_slots; i++)
		ring->slot[i].ptr = 1000 + i;
	ring->slot[ring->tail].len = 1234;
	for (int round = 0; round < 5; round++) {
		send_packets(&a, 7);
		CHECK(receive_packets(&b) == 7);
		CHECK(poll(&entry, 1, 0) == 1);
	}
	for (size_t i = 0; i < sizeof ring->sem; i++)
		CHECK(ring->sem[i] == 0x5a);
	for (uint32_t i = 0; i < ring->num_slots; i++)
		CHECK(ring->slot[i].ptr == 1000 + i);
	CHECK(ring->slot[ring->num_slots - 1].len == 1234);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "all", all_rings },		{ "one", one_ring },	  { "null", null_port },
		{ "refused", refused_modes },	{ "legacy-pipes", legacy_pipes },
		{ "exclusive", exclusive },	{ "one-direction", one_direction },
		{ "virtio", virtio_flag },
		{ "no-tx-poll", no_transmit_poll }, { "do-rx-poll", receive_poll },
		{ "unknown", unknown_flags },	{ "extra", extra_buffers }, { "fragments", fragments },
		{ "learning", learning },	{ "ignored", ignored_flags },	{ "stamps", time_stamps }, { "own-data", programs_own_data },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
