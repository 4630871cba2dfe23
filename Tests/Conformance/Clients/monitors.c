/* Monitors: the packets of another program's port. SPDX-License-Identifier: BSD-2-Clause */
#define NETMAP_WITH_LIBS
#include "client.h"

static struct port open_monitor(const char *name, uint64_t flags)
{
	struct port port = { .fd = open_device() };

	CHECK(!bind_port(&port, name, flags));
	CHECK((port.reg.nr_flags & flags) == flags);
	map_port(&port);
	return port;
}

/* A child that has said over the channel how far it is. */
struct child {
	pid_t process;
	int channel;
};

static struct child start(void (*body)(int channel))
{
	struct child child;
	int pair[2];
	char byte;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	child.process = fork();
	CHECK(child.process >= 0);
	if (!child.process) {
		close(pair[0]);
		body(pair[1]);
		exit(0);
	}
	close(pair[1]);
	child.channel = pair[0];
	CHECK(read(child.channel, &byte, 1) == 1);
	return child;
}

/* Waits for packets, and takes them. Returns how many had the flag. */
static int await(struct port *port, int count)
{
	struct netmap_ring *const ring = NETMAP_RXRING(port->nifp, 0);
	int marked = 0;

	while (count > 0) {
		struct pollfd entry = { .fd = port->fd, .events = POLLIN };

		CHECK(poll(&entry, 1, 20000) == 1 && !(entry.revents & POLLERR));
		for (; nm_ring_space(ring); ring->head = ring->cur = nm_ring_next(ring, ring->cur)) {
			const struct netmap_slot *const slot = &ring->slot[ring->cur];

			CHECK(slot->len == 60 && (unsigned char)NETMAP_BUF(ring, slot->buf_idx)[0] == 0xff);
			marked += (slot->flags & NS_TXMON) != 0;
			count--;
		}
	}
	CHECK(!count);
	return marked;
}

static void watch_sent(int channel)
{
	struct port monitor = open_monitor("watched{1", NR_MONITOR_TX);

	CHECK(write(channel, "", 1) == 1);
	CHECK(await(&monitor, 5) == 5);
}

static void watch_received(int channel)
{
	struct port monitor = open_monitor("watched}1", NR_MONITOR_RX);

	CHECK(write(channel, "", 1) == 1);
	CHECK(await(&monitor, 5) == 0);
}

/* A monitor of what a program sends. */
static void sent(void)
{
	struct port a = open_port("watched{1"), b = open_port("watched}1");
	const struct child child = start(watch_sent);

	send_packets(&a, 2);
	send_packets(&a, 3);
	send_packets(&b, 1);
	join(child.process);
	CHECK(receive_packets(&b) == 5 && receive_packets(&a) == 1);
	/* Nobody watches any more. */
	send_packets(&a, 1);
	CHECK(receive_packets(&b) == 1);
}

/* The packets reach the monitor although their receiver does not sync. */
static void received(void)
{
	struct port a = open_port("watched{1"), b = open_port("watched}1");
	const struct child child = start(watch_received);

	send_packets(&a, 5);
	join(child.process);
	CHECK(receive_packets(&b) == 5);
}

static void watch_nothing(int channel)
{
	struct port monitor = open_monitor("watched{1", NR_MONITOR_TX | NR_MONITOR_RX);

	CHECK(write(channel, "", 1) == 1);
	for (;;)
		CHECK(monitor.fd >= 0 && !pause());
}

/* A monitor that is stopped, and then killed, costs the port nothing. */
static void stopped(void)
{
	struct port a = open_port("watched{1"), b = open_port("watched}1");
	const struct child child = start(watch_nothing);
	int status;

	CHECK(!kill(child.process, SIGSTOP));
	for (int i = 0; i < 200; i++) {
		send_packets(&a, 50);
		CHECK(receive_packets(&b) == 50);
		send_packets(&b, 50);
		CHECK(receive_packets(&a) == 50);
	}
	CHECK(!kill(child.process, SIGKILL) && waitpid(child.process, &status, 0) == child.process);
	for (int i = 0; i < 200; i++) {
		send_packets(&a, 50);
		CHECK(receive_packets(&b) == 50);
	}
	/* There is room for another one. */
	const struct child other = start(watch_sent);

	send_packets(&a, 5);
	join(other.process);
}

static void hold_port(int channel)
{
	struct port port = open_port("held{1");
	char byte;

	CHECK(write(channel, "", 1) == 1 && read(channel, &byte, 1) == 1);
	send_packets(&port, 3);
}

/* The port of another program ends: the monitor's packets stay, and its waits report an error. */
static void port_ends(void)
{
	const struct child child = start(hold_port);
	struct port monitor = open_monitor("held{1", NR_MONITOR_TX);
	struct pollfd entry = { .fd = monitor.fd, .events = POLLIN };

	CHECK(write(child.channel, "", 1) == 1);
	join(child.process);
	do {
		CHECK(poll(&entry, 1, 20000) == 1);
	} while (!(entry.revents & POLLERR));
	CHECK(!ioctl(monitor.fd, NIOCRXSYNC, NULL));
	CHECK(take(&monitor) == 3);
}

static void switch_port(void)
{
	struct port a = open_port("vale7:a"), b = open_port("vale7:b");
	struct port out = open_monitor("vale7:a", NR_MONITOR_TX), in = open_monitor("vale7:b", NR_MONITOR_RX);

	send_packets(&a, 4);
	CHECK(receive_packets(&out) == 4);
	CHECK(receive_packets(&b) == 4);
	CHECK(receive_packets(&in) == 4);
}

static void refused(void)
{
	struct port port = open_port("vale7:a"), monitor = { .fd = open_device() };
	struct pollfd entry = { .events = POLLOUT };

	CHECK_FAILS(bind_port(&monitor, "vale7:b", NR_MONITOR_TX), EINVAL);
	CHECK(!bind_port(&monitor, "vale7:a", NR_MONITOR_TX));
	CHECK(monitor.reg.nr_tx_rings == 1 && monitor.reg.nr_rx_rings == 1);
	CHECK(monitor.reg.nr_mem_id != port.reg.nr_mem_id);
	map_port(&monitor);
	/* It sends nothing. */
	put(&monitor, 1);
	CHECK(!ioctl(monitor.fd, NIOCTXSYNC, NULL));
	entry.fd = monitor.fd;
	CHECK(poll(&entry, 1, 0) == 1 && entry.revents & POLLERR);
}

/* A monitor without copies gets what the program has released, and what has come back to a sender. */
static void exchanged(void)
{
	struct port a = open_port("watched{1"), b = open_port("watched}1");
	struct port monitor = open_monitor("watched{1", NR_ZCOPY_MON);
	struct netmap_ring *const tx = NETMAP_TXRING(a.nifp, 0), *const rx = NETMAP_RXRING(monitor.nifp, 0);
	const uint32_t sent = tx->slot[tx->head].buf_idx, own = rx->slot[rx->head].buf_idx;
	const uint32_t first = tx->head;

	CHECK(monitor.reg.nr_flags & NR_MONITOR_TX && monitor.reg.nr_flags & NR_MONITOR_RX);
	CHECK(monitor.reg.nr_mem_id == a.reg.nr_mem_id);
	send_packets(&a, 1);
	CHECK(receive_packets(&monitor) == 0);
	CHECK(receive_packets(&b) == 1 && receive_packets(&monitor) == 0);
	/* The receiver releases it with its next sync, and the sender gets it back with its own. */
	CHECK(!ioctl(b.fd, NIOCRXSYNC, NULL) && receive_packets(&monitor) == 0);
	CHECK(!ioctl(a.fd, NIOCTXSYNC, NULL) && !ioctl(monitor.fd, NIOCRXSYNC, NULL));
	CHECK(nm_ring_space(rx) == 1 && rx->slot[rx->head].len == 60);
	CHECK(rx->slot[rx->head].buf_idx == sent && rx->slot[rx->head].flags & NS_TXMON);
	CHECK(tx->slot[first].buf_idx == own && tx->slot[first].flags & NS_BUF_CHANGED);
	CHECK(take(&monitor) == 1);
	send_packets(&b, 2);
	CHECK(receive_packets(&a) == 2 && receive_packets(&monitor) == 0);
	CHECK(!ioctl(a.fd, NIOCRXSYNC, NULL) && !ioctl(monitor.fd, NIOCRXSYNC, NULL));
	CHECK(nm_ring_space(rx) == 2 && !(rx->slot[rx->head].flags & NS_TXMON));
	/* It sends nothing, as other monitors. */
	put(&monitor, 1);
	CHECK(!ioctl(monitor.fd, NIOCTXSYNC, NULL) && receive_packets(&b) == 0);
}

static void exchanged_switch(void)
{
	struct port a = open_port("vale7:a"), b = open_port("vale7:b");
	struct port monitor = open_monitor("vale7:a", NR_ZCOPY_MON);

	send_packets(&b, 2);
	CHECK(receive_packets(&monitor) == 0 && receive_packets(&a) == 2);
	CHECK(receive_packets(&monitor) == 0 && !ioctl(a.fd, NIOCRXSYNC, NULL));
	CHECK(receive_packets(&monitor) == 2);
	/* The receiver has not read it. */
	send_packets(&a, 1);
	CHECK(receive_packets(&monitor) == 1 && receive_packets(&b) == 1);
}

static void watch_exchanged(int channel)
{
	struct port monitor = open_monitor("watched{1", NR_ZCOPY_MON);

	CHECK(write(channel, "", 1) == 1);
	CHECK(await(&monitor, 5) == 5);
}

static void watch_no_buffers(int channel)
{
	struct port monitor = open_monitor("watched{1", NR_ZCOPY_MON);

	CHECK(write(channel, "", 1) == 1);
	for (;;)
		CHECK(monitor.fd >= 0 && !pause());
}

/* Monitors without copies that are stopped, and then killed, cost the port neither a packet nor a buffer. */
static void exchange_stopped(void)
{
	struct port a = open_port("watched{1"), b = open_port("watched}1");
	int status;

	for (int round = 0; round < 8; round++) {
		const struct child child = start(watch_no_buffers);

		CHECK(!kill(child.process, SIGSTOP));
		for (int i = 0; i < 50; i++) {
			send_packets(&a, 50);
			CHECK(receive_packets(&b) == 50);
			send_packets(&b, 50);
			CHECK(receive_packets(&a) == 50);
		}
		CHECK(!kill(child.process, SIGKILL) && waitpid(child.process, &status, 0) == child.process);
		close(child.channel);
		for (int i = 0; i < 50; i++) {
			send_packets(&a, 50);
			CHECK(receive_packets(&b) == 50);
		}
	}
	CHECK(!ioctl(b.fd, NIOCRXSYNC, NULL) && !ioctl(a.fd, NIOCTXSYNC, NULL));
	const struct child other = start(watch_exchanged);

	send_packets(&a, 5);
	CHECK(receive_packets(&b) == 5 && !ioctl(b.fd, NIOCRXSYNC, NULL));
	CHECK(!ioctl(a.fd, NIOCTXSYNC, NULL));
	join(other.process);
}

/* The letters of nm_open(). */
static void suffixes(void)
{
	struct port a = open_port("watched{1");
	struct nm_desc *const d = nm_open("netmap:watched{1/t", NULL, 0, NULL);
	struct nm_pkthdr header;

	CHECK(d && d->req.nr_flags & NR_MONITOR_TX);
	send_packets(&a, 2);
	CHECK(nm_nextpkt(d, &header) == NULL && !ioctl(d->fd, NIOCRXSYNC, NULL));
	CHECK(NETMAP_RXRING(d->nifp, 0)->slot[0].flags & NS_TXMON);
	CHECK(nm_nextpkt(d, &header) && header.len == 60);
	CHECK(!nm_close(d));
	struct nm_desc *const z = nm_open("netmap:watched{1/z", NULL, 0, NULL);

	CHECK(z && z->req.nr_flags & NR_ZCOPY_MON);
	CHECK(!nm_close(z));
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "sent", sent },	  { "received", received },    { "stopped", stopped },
		{ "port-ends", port_ends }, { "switch", switch_port }, { "refused", refused },
		{ "exchanged", exchanged },
		{ "exchanged-switch", exchanged_switch },
		{ "exchange-stopped", exchange_stopped },
		{ "suffixes", suffixes }, { 0 },
	};

	return run_test(tests, count, arguments);
}
