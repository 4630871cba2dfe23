/* Slots, offsets and syncs of network interfaces: v0 and v1 are the ends of a veth pair. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"
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

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "remembers", remembers },
		{ "multicasts", multicasts },
		{ "offsets", offsets },
		{ "down", down },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
