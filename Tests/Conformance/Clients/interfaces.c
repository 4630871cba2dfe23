/* Slots, offsets and syncs of network interfaces: v0 and v1 are the ends of a veth pair. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>

/* Puts a frame with a number into a buffer. */
static void write_frame(char *frame, int number, int length)
{
	memset(frame, 0xff, 6);
	memset(frame + 6, 2, 6);
	/* IEEE 802's type for experiments. */
	frame[12] = (char)0x88;
	frame[13] = (char)0xb5;
	for (int i = 14; i < length; i++)
		frame[i] = (char)(number * 7 + i);
}

static int is_frame(const char *frame, int number, int length)
{
	char expected[2048];

	write_frame(expected, number, length);
	return !memcmp(frame, expected, (size_t)length);
}

/* Hands the next transmit slot over. */
static void append(struct port *port, uint32_t buf_idx, int length, int flags)
{
	struct netmap_ring *const ring = NETMAP_TXRING(port->nifp, 0);
	struct netmap_slot *const slot = &ring->slot[ring->head];

	slot->buf_idx = buf_idx;
	slot->len = (uint16_t)length;
	slot->flags = (uint16_t)flags;
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
}

/* Syncs until the interface has sent everything. */
static void flush(struct port *port)
{
	struct netmap_ring *const ring = NETMAP_TXRING(port->nifp, 0);

	for (int i = 0; i < 5000; i++) {
		CHECK(!ioctl(port->fd, NIOCTXSYNC, NULL));
		if (!nm_tx_pending(ring))
			return;
		usleep(1000);
	}
	CHECK(!"sent");
}

/* Waits for a packet, and returns its slot. The slot is still the program's. */
static struct netmap_slot *next_packet(struct port *port)
{
	struct netmap_ring *const ring = NETMAP_RXRING(port->nifp, 0);
	struct pollfd entry = { .fd = port->fd, .events = POLLIN };

	if (nm_ring_empty(ring))
		CHECK(poll(&entry, 1, 5000) == 1 && entry.revents == POLLIN);
	return &ring->slot[ring->head];
}

static void release(struct port *port)
{
	struct netmap_ring *const ring = NETMAP_RXRING(port->nifp, 0);

	ring->head = ring->cur = nm_ring_next(ring, ring->head);
}

/* A program that reads each buf_idx once, at the start. */
static void remembers(void)
{
	struct port a = open_port("v0"), b = open_port("v1");
	struct netmap_ring *const tx = NETMAP_TXRING(a.nifp, 0), *const rx = NETMAP_RXRING(b.nifp, 0);
	char **const buffers = calloc(rx->num_slots, sizeof *buffers);
	int sent = 0, received = 0;

	CHECK(buffers);
	for (uint32_t i = 0; i < rx->num_slots; i++)
		buffers[i] = NETMAP_BUF(rx, rx->slot[i].buf_idx);
	while (received < (int)rx->num_slots * 10) {
		for (int i = 0; i < 50; i++, sent++) {
			write_frame(NETMAP_BUF(tx, tx->slot[tx->head].buf_idx), sent, 200);
			append(&a, tx->slot[tx->head].buf_idx, 200, 0);
		}
		flush(&a);
		for (; received < sent; received++) {
			const struct netmap_slot *const slot = next_packet(&b);

			CHECK(slot->len == 200 && !(slot->flags & NS_BUF_CHANGED));
			CHECK(is_frame(buffers[rx->head], received, 200));
			release(&b);
		}
	}
	free(buffers);
}

/* A program that sends one buffer to both interfaces, several times each. */
static void multicasts(void)
{
	struct port a = open_port("v0"), b = open_port("v1");
	struct netmap_ring *const tx = NETMAP_TXRING(a.nifp, 0);
	const uint32_t buffer = tx->slot[tx->head].buf_idx;

	CHECK(a.reg.nr_mem_id == b.reg.nr_mem_id);
	for (int round = 0; round < 20; round++) {
		write_frame(NETMAP_BUF(tx, buffer), round, 300);
		for (int i = 0; i < 20; i++) {
			append(&a, buffer, 300, NS_BUF_CHANGED | NS_REPORT);
			append(&b, buffer, 300, NS_BUF_CHANGED);
		}
		flush(&a);
		flush(&b);
		for (int i = 0; i < 40; i++) {
			struct port *const port = i % 2 ? &a : &b;
			const struct netmap_slot *const slot = next_packet(port);

			CHECK(slot->len == 300);
			CHECK(is_frame(NETMAP_BUF(NETMAP_RXRING(port->nifp, 0), slot->buf_idx), round, 300));
			release(port);
		}
		for (int i = 0; i < 20; i++)
			CHECK(!(tx->slot[(round * 20 + i) % (int)tx->num_slots].flags & (NS_BUF_CHANGED | NS_REPORT)));
	}
}

static int bind_with_offsets(struct port *port, const char *name, struct nmreq_opt_offsets *option)
{
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_REGISTER };

	port->fd = open_device();
	snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
	memset(&port->reg, 0, sizeof port->reg);
	port->reg.nr_mode = NR_REG_ALL_NIC;
	option->nro_opt.nro_reqtype = NETMAP_REQ_OPT_OFFSETS;
	header.nr_body = (uintptr_t)&port->reg;
	header.nr_options = (uintptr_t)option;
	return ioctl(port->fd, NIOCCTRL, &header);
}

static void offsets(void)
{
	struct nmreq_opt_offsets option = { .nro_max_offset = 301, .nro_initial_offset = 75, .nro_offset_bits = 16 };
	struct port a, b;

	CHECK(!bind_with_offsets(&a, "v0", &option) && !option.nro_opt.nro_status);
	CHECK(!bind_with_offsets(&b, "v1", &option) && option.nro_max_offset == 301);
	map_port(&a);
	map_port(&b);

	struct netmap_ring *const tx = NETMAP_TXRING(a.nifp, 0), *const rx = NETMAP_RXRING(b.nifp, 0);
	int wanted[4096];

	for (uint32_t i = 0; i < rx->num_slots; i++)
		wanted[i] = 75;
	for (int number = 0; number < 3000; number++) {
		struct netmap_slot *slot = &tx->slot[tx->head];
		const int place = number * 13 % 302;

		CHECK(number >= (int)tx->num_slots || NETMAP_ROFFSET(tx, slot) == 75);
		NETMAP_WOFFSET(tx, slot, (uint64_t)place);
		write_frame(NETMAP_BUF_OFFSET(tx, slot), number, 500);
		append(&a, slot->buf_idx, 500, 0);
		flush(&a);
		slot = next_packet(&b);
		CHECK(slot->len == 500 && (int)NETMAP_ROFFSET(rx, slot) == wanted[rx->head]);
		CHECK(is_frame(NETMAP_BUF_OFFSET(rx, slot), number, 500));
		wanted[rx->head] = number * 31 % 302;
		NETMAP_WOFFSET(rx, slot, (uint64_t)wanted[rx->head]);
		release(&b);
	}
}

/* Sets an interface up or down. */
static void set_up(const char *name, int is_up)
{
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq request = { 0 };

	CHECK(fd >= 0);
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	CHECK(!ioctl(fd, SIOCGIFFLAGS, &request));
	request.ifr_flags = (short)(is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
	CHECK(!ioctl(fd, SIOCSIFFLAGS, &request));
	CHECK(!close(fd));
}

/* Syncs and polls both ports, and sends what there is room for. Nothing may fail. */
static int use(struct port *a, struct port *b)
{
	struct netmap_ring *const tx = NETMAP_TXRING(a->nifp, 0);
	struct pollfd entries[] = { { .fd = a->fd, .events = POLLOUT }, { .fd = b->fd, .events = POLLIN } };

	if (nm_ring_space(tx) > 10) {
		write_frame(NETMAP_BUF(tx, tx->slot[tx->head].buf_idx), 1, 60);
		append(a, tx->slot[tx->head].buf_idx, 60, 0);
	}
	CHECK(!ioctl(a->fd, NIOCTXSYNC, NULL));
	CHECK(!ioctl(b->fd, NIOCRXSYNC, NULL));
	CHECK(!ioctl(b->fd, NIOCTXSYNC, NULL));
	CHECK(!ioctl(a->fd, NIOCRXSYNC, NULL));
	CHECK(poll(entries, 2, 2) >= 0);
	CHECK(!((entries[0].revents | entries[1].revents) & (POLLERR | POLLHUP | POLLNVAL)));
	return take(b);
}

static void down(void)
{
	struct port a = open_port("v0"), b = open_port("v1");

	for (int round = 0; round < 2; round++) {
		const char *const name = round ? "v0" : "v1";
		int received = 0;

		set_up(name, 0);
		for (int i = 0; i < 100; i++)
			use(&a, &b);
		set_up(name, 1);
		for (int i = 0; i < 2000 && received < 100; i++)
			received += use(&a, &b);
		CHECK(received >= 100);
	}
}

/* Binds rings of v0 by a mode. */
static struct port open_mode(uint32_t mode, uint16_t ring)
{
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_REGISTER };
	struct port port = { .fd = open_device() };

	strcpy(header.nr_name, "v0");
	port.reg.nr_mode = mode;
	port.reg.nr_ringid = ring;
	header.nr_body = (uintptr_t)&port.reg;
	CHECK(!ioctl(port.fd, NIOCCTRL, &header));
	map_port(&port);
	return port;
}

/* A socket that sends and receives frames on an interface as its host does. */
static int host_socket(const char *name)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct timeval patience = { .tv_sec = 5 };
	const int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	CHECK(fd >= 0);
	address.sll_ifindex = (int)if_nametoindex(name);
	CHECK(!bind(fd, (struct sockaddr *)&address, sizeof address));
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
	return fd;
}

/* Receives a frame that the host did not send itself. */
static int host_hears(int fd, int number, int length)
{
	char frame[2048];

	for (;;) {
		struct sockaddr_ll from;
		socklen_t size = sizeof from;
		const ssize_t received = recvfrom(fd, frame, sizeof frame, 0, (struct sockaddr *)&from, &size);

		if (received < 0)
			return 0;
		if (from.sll_pkttype != PACKET_OUTGOING && received == length && is_frame(frame, number, length))
			return 1;
	}
}

static void host_send(int fd, int number, int length)
{
	char frame[2048];

	write_frame(frame, number, length);
	CHECK(send(fd, frame, (size_t)length, 0) == length);
}

/* Waits for a frame in a receive ring, leaves it there, and tells whether it is the expected one. */
static int ring_hears(struct port *port, struct netmap_ring *ring, int number, int length)
{
	for (int i = 0; i < 500; i++) {
		struct pollfd entry = { .fd = port->fd, .events = POLLIN };

		if (!nm_ring_empty(ring)) {
			const struct netmap_slot *const slot = &ring->slot[ring->head];

			return slot->len == length && is_frame(NETMAP_BUF(ring, slot->buf_idx), number, length);
		}
		CHECK(poll(&entry, 1, 10) >= 0);
	}
	return 0;
}

static void skip(struct netmap_ring *ring)
{
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
}

/* What the host sends arrives in the host ring, and what the host ring is given, the host receives. */
static void host_rings(void)
{
	struct port port = open_mode(NR_REG_NIC_SW, 0);
	const int host = host_socket("v0"), wire = host_socket("v1");

	CHECK(port.nifp->ni_host_tx_rings == 1 && port.nifp->ni_host_rx_rings == 1);
	struct netmap_ring *const tx = NETMAP_TXRING(port.nifp, port.nifp->ni_tx_rings);
	struct netmap_ring *const rx = NETMAP_RXRING(port.nifp, port.nifp->ni_rx_rings);

	for (int number = 0; number < 300; number++) {
		struct netmap_slot *const slot = &tx->slot[tx->head];

		host_send(host, number, 60 + number);
		CHECK(ring_hears(&port, rx, number, 60 + number));
		skip(rx);
		write_frame(NETMAP_BUF(tx, slot->buf_idx), number, 100);
		slot->len = 100;
		slot->flags = 0;
		skip(tx);
		CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
		CHECK(host_hears(host, number, 100));
	}
	CHECK(!close(port.fd));

	/* netmapd sees the close a moment later. Until then the host's frames still go to the ring. */
	int is_heard = 0;

	for (int attempt = 0; attempt < 5 && !is_heard; attempt++) {
		host_send(host, 1, 60);
		is_heard = host_hears(wire, 1, 60);
	}
	CHECK(is_heard);
}

/* The host rings alone, all of them and one pair: the host still reaches the wire. */
static void host_rings_alone(void)
{
	const int host = host_socket("v0"), wire = host_socket("v1");

	for (int one = 0; one < 2; one++) {
		struct port port = open_mode(one ? NR_REG_ONE_SW : NR_REG_SW, 0);
		struct netmap_ring *const tx = NETMAP_TXRING(port.nifp, port.nifp->ni_tx_rings);
		struct netmap_slot *const slot = &tx->slot[tx->head];

		host_send(host, one, 90);
		CHECK(host_hears(wire, one, 90));
		write_frame(NETMAP_BUF(tx, slot->buf_idx), 3, 100);
		slot->len = 100;
		skip(tx);
		CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
		CHECK(host_hears(host, 3, 100));
		CHECK(!close(port.fd));
	}
	struct port refused = { .fd = open_device() };
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_REGISTER };

	strcpy(header.nr_name, "v0");
	refused.reg.nr_mode = NR_REG_ONE_SW;
	refused.reg.nr_ringid = 1;
	header.nr_body = (uintptr_t)&refused.reg;
	CHECK_FAILS(ioctl(refused.fd, NIOCCTRL, &header), EINVAL);
}

/* Slots that are released with NS_FORWARD go to the other side, others do not. */
static void transparent(void)
{
	struct port port = open_mode(NR_REG_NIC_SW, 0);
	const int host = host_socket("v0"), wire = host_socket("v1");
	struct netmap_ring *const from_wire = NETMAP_RXRING(port.nifp, 0);
	struct netmap_ring *const from_host = NETMAP_RXRING(port.nifp, port.nifp->ni_rx_rings);

	from_wire->flags |= NR_FORWARD;
	from_host->flags |= NR_FORWARD;
	for (int number = 0; number < 50; number++) {
		host_send(host, number, 200);
		CHECK(ring_hears(&port, from_host, number, 200));
		if (number % 2)
			from_host->slot[from_host->head].flags |= NS_FORWARD;
		skip(from_host);
		CHECK(!ioctl(port.fd, NIOCRXSYNC, NULL));
		CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
		if (number % 2)
			CHECK(host_hears(wire, number, 200));
		host_send(wire, number, 300);
		CHECK(ring_hears(&port, from_wire, number, 300));
		if (number % 2)
			from_wire->slot[from_wire->head].flags |= NS_FORWARD;
		skip(from_wire);
		CHECK(!ioctl(port.fd, NIOCRXSYNC, NULL));
		if (number % 2)
			CHECK(host_hears(host, number, 300));
	}
}

/* fwd=1: slots that are released go to the other side without a flag. */
static void forwards_all(void)
{
	struct port port = open_mode(NR_REG_NIC_SW, 0);
	const int host = host_socket("v0"), wire = host_socket("v1");
	struct netmap_ring *const from_wire = NETMAP_RXRING(port.nifp, 0);
	struct netmap_ring *const from_host = NETMAP_RXRING(port.nifp, port.nifp->ni_rx_rings);

	for (int number = 0; number < 20; number++) {
		host_send(host, number, 200);
		CHECK(ring_hears(&port, from_host, number, 200));
		skip(from_host);
		CHECK(!ioctl(port.fd, NIOCRXSYNC, NULL));
		CHECK(host_hears(wire, number, 200));
		host_send(wire, number, 300);
		CHECK(ring_hears(&port, from_wire, number, 300));
		skip(from_wire);
		CHECK(!ioctl(port.fd, NIOCRXSYNC, NULL));
		CHECK(host_hears(host, number, 300));
	}
	CHECK(!(from_wire->flags & NR_FORWARD) && !(from_host->flags & NR_FORWARD));
}

/* An interface whose rings lie in memory of the program */
static void in_memory(void)
{
	const size_t size = 32 << 20;
	char *const memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct nmreq_opt_extmem option = { .nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
					   .nro_usrptr = (uintptr_t)memory,
					   .nro_info.nr_memsize = size,
					   .nro_info.nr_ring_pool_objtotal = 8 };
	struct port a = { .fd = open_device(), .memory = memory }, b;
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_name = "v0",
				       .nr_body = (uintptr_t)&a.reg,
				       .nr_options = (uintptr_t)&option };

	CHECK(memory != MAP_FAILED);
	/* Host rings need memory that the kernel can receive into. */
	a.reg.nr_mode = NR_REG_NIC_SW;
	CHECK_FAILS(ioctl(a.fd, NIOCCTRL, &header), EOPNOTSUPP);
	CHECK(!option.nro_opt.nro_status);
	memset(&a.reg, 0, sizeof a.reg);
	a.reg.nr_mode = NR_REG_ALL_NIC;
	CHECK(!ioctl(a.fd, NIOCCTRL, &header) && !option.nro_opt.nro_status);
	CHECK(a.reg.nr_mem_id > 1);
	a.nifp = NETMAP_IF(memory, a.reg.nr_offset);
	b = open_port("v1");
	CHECK(b.reg.nr_mem_id == 1);
	for (int i = 0; i < 3000; i++) {
		struct port *const from = i & 1 ? &b : &a, *const to = i & 1 ? &a : &b;
		struct netmap_ring *const tx = NETMAP_TXRING(from->nifp, 0), *const rx = NETMAP_RXRING(to->nifp, 0);
		const uint32_t buffer = tx->slot[tx->head].buf_idx;
		struct netmap_slot *slot;

		write_frame(NETMAP_BUF(tx, buffer), i, 60 + i % 1400);
		append(from, buffer, 60 + i % 1400, 0);
		flush(from);
		slot = next_packet(to);
		while (slot->len != 60 + i % 1400 || NETMAP_BUF(rx, slot->buf_idx)[12] != (char)0x88) {
			release(to);
			slot = next_packet(to);
		}
		CHECK(is_frame(NETMAP_BUF(rx, slot->buf_idx), i, 60 + i % 1400));
		release(to);
	}
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "remembers", remembers },
		{ "multicasts", multicasts },
		{ "offsets", offsets },
		{ "down", down },
		{ "host-rings", host_rings },
		{ "host-alone", host_rings_alone },
		{ "transparent", transparent },
		{ "forwards-all", forwards_all },
		{ "memory", in_memory },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
