/* Ports with several descriptors, threads and waiters. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <pthread.h>
#include <stdatomic.h>

static void ignore(int signal)
{
	(void)signal;
}

/* Two descriptors of one port: rings are shared, each has its own struct netmap_if, and the second one resets nothing. */
static void two_descriptors(void)
{
	struct port a = open_port("twice{1"), b = open_port("twice}1"), again;

	send_packets(&a, 5);
	put(&a, 3);
	again = open_port("twice{1");
	CHECK(again.reg.nr_offset != a.reg.nr_offset && again.reg.nr_mem_id == a.reg.nr_mem_id);
	CHECK(NETMAP_TXRING(again.nifp, 0)->head == NETMAP_TXRING(a.nifp, 0)->head);
	CHECK(NETMAP_TXRING(again.nifp, 0)->head == 8);
	CHECK(!ioctl(again.fd, NIOCTXSYNC, NULL));
	CHECK(receive_packets(&b) == 8);
	CHECK(!close(a.fd));
	send_packets(&again, 2);
	CHECK(receive_packets(&b) == 2);
}

static _Atomic int is_over;

static void *receive_always(void *argument)
{
	while (!is_over)
		CHECK(!ioctl(((struct port *)argument)->fd, NIOCRXSYNC, NULL));
	return NULL;
}

/* Two threads sync one port by descriptors of their own; a ring that is busy is passed over. */
static void two_threads(void)
{
	struct port reads = open_port("both{1"), sends = open_port("both{1"), other = open_port("both}1");
	struct pollfd entry = { .fd = sends.fd, .events = POLLIN | POLLOUT };
	pthread_t thread;
	int count = 0;

	CHECK(!pthread_create(&thread, NULL, receive_always, &reads));
	for (int i = 0; i < 20000; i++) {
		const double start = now();

		if (nm_ring_space(NETMAP_TXRING(sends.nifp, 0)))
			put(&sends, 1);
		CHECK(!ioctl(sends.fd, NIOCTXSYNC, NULL));
		CHECK(!ioctl(sends.fd, NIOCRXSYNC, NULL));
		CHECK(poll(&entry, 1, 0) >= 0 && !(entry.revents & POLLERR));
		count += receive_packets(&other);
		CHECK(now() - start < 20);
	}
	is_over = 1;
	CHECK(!pthread_join(thread, NULL));
	CHECK(!ioctl(sends.fd, NIOCTXSYNC, NULL));
	CHECK(count + receive_packets(&other) == 20000);
}

/* A ready descriptor does not shorten the scan: the other one sends. */
static void every_descriptor(void)
{
	struct port a = open_port("every{1"), b = open_port("every}1"), c = open_port("every{2"), d = open_port("every}2");
	struct pollfd entries[] = { { .fd = b.fd, .events = POLLIN }, { .fd = c.fd } };

	send_packets(&a, 1);
	put(&c, 4);
	CHECK(poll(entries, 2, -1) == 1 && entries[0].revents == POLLIN && !entries[1].revents);
	CHECK(receive_packets(&d) == 4);
}

/* cur = tail asks to be woken only when tail moves. */
static void cursor_at_tail(void)
{
	struct port a = open_port("cursor{1"), b = open_port("cursor}1");
	struct netmap_ring *const ring = NETMAP_RXRING(b.nifp, 0);
	struct pollfd entry = { .fd = b.fd, .events = POLLIN };

	send_packets(&a, 2);
	CHECK(poll(&entry, 1, 1000) == 1);
	CHECK(nm_ring_space(ring) == 2);
	ring->cur = ring->tail;
	CHECK(!poll(&entry, 1, 50));
	send_packets(&a, 1);
	CHECK(poll(&entry, 1, 5000) == 1);
	/* Nothing was released. */
	ring->cur = ring->head;
	CHECK(nm_ring_space(ring) == 3);
}

/* One of several rings with a packet is enough, and all of them are fetched. */
static void several_rings(void)
{
	struct port ports[2];
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_REGISTER };

	for (int i = 0; i < 2; i++) {
		ports[i] = (struct port){ .fd = open_device(),
					  .reg = { .nr_mode = NR_REG_ALL_NIC, .nr_tx_rings = 2, .nr_rx_rings = 2 } };
		snprintf(header.nr_name, sizeof header.nr_name, "vale0:r%d", i);
		header.nr_body = (uintptr_t)&ports[i].reg;
		CHECK(!ioctl(ports[i].fd, NIOCCTRL, &header));
		map_port(&ports[i]);
	}
	/* Ring 1 of the sender alone has packets; POLLOUT is ready at ring 0 already. */
	struct netmap_ring *const ring = NETMAP_TXRING(ports[0].nifp, 1);
	struct pollfd entry = { .fd = ports[0].fd, .events = POLLOUT };

	memset(NETMAP_BUF(ring, ring->slot[0].buf_idx), 0xff, 6);
	memset(NETMAP_BUF(ring, ring->slot[0].buf_idx) + 6, 2, 54);
	ring->slot[0].len = 60;
	ring->head = ring->cur = 1;
	CHECK(poll(&entry, 1, 0) == 1 && entry.revents == POLLOUT);
	entry = (struct pollfd){ .fd = ports[1].fd, .events = POLLIN };
	CHECK(poll(&entry, 1, 5000) == 1 && entry.revents == POLLIN);
	CHECK(nm_ring_space(NETMAP_RXRING(ports[1].nifp, 0)) + nm_ring_space(NETMAP_RXRING(ports[1].nifp, 1)) == 1);
}

static struct port waited;
static _Atomic int asleep, woken;

static void *wait_for_packet(void *argument)
{
	struct pollfd entry = { .fd = waited.fd, .events = POLLIN };

	asleep++;
	CHECK(poll(&entry, 1, 30000) == 1 && entry.revents == POLLIN);
	woken++;
	return argument;
}

/* All threads and processes that wait on one descriptor wake. */
static void broadcast(void)
{
	enum { THREADS = 4, CHILDREN = 2 };
	struct port a = open_port("all{1");
	pthread_t threads[THREADS];
	pid_t children[CHILDREN];

	waited = open_port("all}1");
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		if (!children[i]) {
			wait_for_packet(NULL);
			exit(0);
		}
	}
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, wait_for_packet, NULL));
	while (asleep < THREADS)
		usleep(1000);
	usleep(500000);
	/* Nobody takes it. */
	send_packets(&a, 1);
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(woken == THREADS);
	for (int i = 0; i < CHILDREN; i++)
		join(children[i]);
}

static void *wait_for_ever(void *argument)
{
	struct pollfd entry = { .fd = waited.fd, .events = POLLIN };

	asleep++;
	poll(&entry, 1, -1);
	return argument;
}

/* A thread is canceled in its sleep, and the port works on. */
static void cancellation(void)
{
	struct port a = open_port("cancel{1");

	waited = open_port("cancel}1");
	for (int round = 0; round < 20; round++) {
		void *result;
		pthread_t thread;

		asleep = 0;
		CHECK(!pthread_create(&thread, NULL, wait_for_ever, NULL));
		while (!asleep)
			usleep(100);
		usleep(round * 500);
		CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result) && result == PTHREAD_CANCELED);
	}
	struct pollfd entry = { .fd = waited.fd, .events = POLLIN };

	send_packets(&a, 1);
	CHECK(poll(&entry, 1, 5000) == 1 && take(&waited) == 1);
	/* What the waits used is released with the port. */
	CHECK(!close(waited.fd));
	CHECK(!bind_port(&(struct port){ .fd = open_device() }, "cancel}1", NR_EXCLUSIVE));
}

/* Each wait ends with EINTR, whatever the handler's flags, and whatever its time. */
static void interrupted(void)
{
	const struct sigaction action = { .sa_handler = ignore, .sa_flags = SA_RESTART };
	struct port port = open_port("handler{1");
	struct pollfd entry = { .fd = port.fd, .events = POLLIN };
	const struct timespec time = { .tv_sec = 30 };
	fd_set reads;

	CHECK(!sigaction(SIGALRM, &action, NULL));
	for (int i = 0; i < 6; i++) {
		struct timeval limit = { .tv_sec = 30 };

		/* Again and again: the first one comes before the wait if this process had no CPU for so long. */
		ualarm(300000, 300000);
		FD_ZERO(&reads);
		FD_SET(port.fd, &reads);
		switch (i) {
		case 0:
			CHECK_FAILS(poll(&entry, 1, 30000), EINTR);
			break;
		case 1:
			CHECK_FAILS(ppoll(&entry, 1, &time, NULL), EINTR);
			break;
		case 2:
			CHECK_FAILS(ppoll(&entry, 1, NULL, NULL), EINTR);
			break;
		case 3:
			CHECK_FAILS(select(port.fd + 1, &reads, NULL, NULL, &limit), EINTR);
			break;
		case 4:
			CHECK_FAILS(select(port.fd + 1, &reads, NULL, NULL, NULL), EINTR);
			break;
		case 5:
			CHECK_FAILS(pselect(port.fd + 1, &reads, NULL, NULL, &time, NULL), EINTR);
			break;
		}
	}
}

/* pselect lets a signal through that was blocked before. */
static void masked_select(void)
{
	const struct sigaction action = { .sa_handler = ignore };
	struct port port = open_port("mask{1");
	const struct timespec limit = { .tv_sec = 30 };
	sigset_t blocked, none, after;
	fd_set reads;

	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGALRM);
	CHECK(!sigaction(SIGALRM, &action, NULL) && !sigprocmask(SIG_BLOCK, &blocked, NULL));
	for (int round = 0; round < 2; round++) {
		if (round)
			ualarm(300000, 0);
		else
			raise(SIGALRM);
		FD_ZERO(&reads);
		FD_SET(port.fd, &reads);
		CHECK_FAILS(pselect(port.fd + 1, &reads, NULL, NULL, &limit, &none), EINTR);
		CHECK(!sigprocmask(SIG_BLOCK, NULL, &after) && sigismember(&after, SIGALRM) == 1);
	}
}

/* Refusals of the kernel are those of the library. */
static void refused_waits(void)
{
	struct port port = open_port("refuse{1");
	struct pollfd entry = { .fd = port.fd, .events = POLLIN };
	fd_set reads;

	CHECK_FAILS(ppoll(&entry, 1, &(struct timespec){ .tv_nsec = 1000000000 }, NULL), EINVAL);
	CHECK_FAILS(ppoll(&entry, 1, &(struct timespec){ .tv_sec = -1 }, NULL), EINVAL);
	FD_ZERO(&reads);
	FD_SET(port.fd, &reads);
	FD_SET(900, &reads);
	CHECK_FAILS(select(901, &reads, NULL, NULL, &(struct timeval){ 0 }), EBADF);
	FD_ZERO(&reads);
	FD_SET(port.fd, &reads);
	CHECK_FAILS(select(port.fd + 1, &reads, NULL, NULL, &(struct timeval){ .tv_sec = -1 }), EINVAL);
	CHECK_FAILS(select(-1, &reads, NULL, NULL, &(struct timeval){ 0 }), EINVAL);
}

static _Atomic int waiting_fd;

static void *wait_once(void *argument)
{
	struct pollfd entry = { .fd = waiting_fd, .events = POLLIN };

	asleep++;
	CHECK(poll(&entry, 1, 2000) >= 0);
	return argument;
}

static void *request_always(void *argument)
{
	while (!is_over) {
		struct nmreq_port_info_get info = { 0 };
		struct nmreq_header header = { .nr_version = NETMAP_API,
					       .nr_reqtype = NETMAP_REQ_PORT_INFO_GET,
					       .nr_name = "closing{9",
					       .nr_body = (uintptr_t)&info };

		ioctl(waiting_fd, NIOCCTRL, &header);
	}
	return argument;
}

/* Descriptors are closed while other threads wait and make requests on them. */
static void closed_meanwhile(void)
{
	const double start = now();
	pthread_t waiter, asker;

	waiting_fd = -1;
	CHECK(!pthread_create(&asker, NULL, request_always, NULL));
	while (now() - start < 3) {
		struct port port = open_port("closing{1");

		asleep = 0;
		waiting_fd = port.fd;
		CHECK(!pthread_create(&waiter, NULL, wait_once, NULL));
		while (!asleep)
			usleep(100);
		usleep(2000);
		CHECK(!close(port.fd));
		waiting_fd = open_device();
		usleep(1000);
		close(waiting_fd);
		CHECK(!munmap(port.memory, port.reg.nr_memsize));
		CHECK(!pthread_kill(waiter, 0) && !pthread_cancel(waiter) && !pthread_join(waiter, NULL));
	}
	is_over = 1;
	CHECK(!pthread_join(asker, NULL));
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "two-descriptors", two_descriptors }, { "two-threads", two_threads },
		{ "every", every_descriptor },		{ "cursor", cursor_at_tail },
		{ "several", several_rings },		{ "broadcast", broadcast },
		{ "cancellation", cancellation },	{ "interrupted", interrupted },
		{ "masked-select", masked_select },	{ "refused", refused_waits },
		{ "closed", closed_meanwhile },		{ 0 },
	};

	return run_test(tests, count, arguments);
}
