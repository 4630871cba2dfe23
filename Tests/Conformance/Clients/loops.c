/* CSB mode and sync loops. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>

enum { MOST = 8 };

/* The control blocks of a port: transmit rings, then receive rings. */
struct blocks {
	struct nm_csb_atok atok[MOST] __attribute__((aligned(64)));
	struct nm_csb_ktoa ktoa[MOST] __attribute__((aligned(64)));
};

static struct blocks *new_blocks(void)
{
	struct blocks *const blocks =
		mmap(NULL, sizeof *blocks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(blocks != MAP_FAILED);
	return blocks;
}

#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define STORE(word, value) __atomic_store_n(&(word), value, __ATOMIC_SEQ_CST)

static struct nmreq_opt_csb csb_option(struct blocks *blocks)
{
	return (struct nmreq_opt_csb){ .nro_opt.nro_reqtype = NETMAP_REQ_OPT_CSB,
				       .csb_atok = (uintptr_t)blocks->atok,
				       .csb_ktoa = (uintptr_t)blocks->ktoa };
}

static int request(int fd, int type, void *body, void *options)
{
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = (uint16_t)type,
				       .nr_body = (uintptr_t)body,
				       .nr_options = (uintptr_t)options };

	return ioctl(fd, NIOCCTRL, &header);
}

static int bind_with(struct port *port, const char *name, uint64_t flags, void *options)
{
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_body = (uintptr_t)&port->reg,
				       .nr_options = (uintptr_t)options };

	snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
	port->reg = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC, .nr_flags = flags };
	return ioctl(port->fd, NIOCCTRL, &header);
}

/* A port in CSB mode. */
static struct port open_csb(const char *name, struct blocks *blocks)
{
	struct port port = { .fd = open_device() };
	struct nmreq_opt_csb option = csb_option(blocks);

	CHECK(!bind_with(&port, name, NR_EXCLUSIVE, &option) && !option.nro_opt.nro_status);
	map_port(&port);
	return port;
}

static int enable(int fd, struct blocks *blocks)
{
	struct nmreq_opt_csb option = csb_option(blocks);
	const int result = request(fd, NETMAP_REQ_CSB_ENABLE, NULL, &option);

	CHECK(result ? (int)option.nro_opt.nro_status == errno : !option.nro_opt.nro_status);
	return result;
}

static int start_loop(int fd, uint32_t sleep_us, void *options)
{
	struct nmreq_sync_kloop_start start = { .sleep_us = sleep_us };

	return request(fd, NETMAP_REQ_SYNC_KLOOP_START, &start, options);
}

static int stop_loop(int fd)
{
	return request(fd, NETMAP_REQ_SYNC_KLOOP_STOP, NULL, NULL);
}

/* struct nmreq_opt_sync_kloop_eventfds, with room for rings. */
struct events {
	struct nmreq_option option;
	struct nm_kloop_eventfds fds[3];
};

/* A thread that runs a loop. */
struct runner {
	int fd;
	void *options;
	pthread_t thread;
	int result, error;
};

static void *run(void *argument)
{
	struct runner *const runner = argument;

	runner->result = start_loop(runner->fd, 20, runner->options);
	runner->error = errno;
	return NULL;
}

static void start_thread(struct runner *runner, int fd, void *options)
{
	*runner = (struct runner){ .fd = fd, .options = options };
	CHECK(!pthread_create(&runner->thread, NULL, run, runner));
}

static void stop_thread(struct runner *runner)
{
	CHECK(!stop_loop(runner->fd));
	CHECK(!pthread_join(runner->thread, NULL) && !runner->result);
}

#define EVENTUALLY(condition)                              \
	do {                                               \
		const double end = now() + 30;             \
                                                           \
		while (!(condition)) {                     \
			CHECK(now() < end);                \
			usleep(50);                        \
		}                                          \
	} while (0)

/* Sends one packet by the control blocks of a transmit ring, and returns whether a kick is wanted. */
static bool send_by(const struct port *port, struct blocks *blocks, int ring)
{
	struct netmap_ring *const tx = NETMAP_TXRING(port->nifp, ring);
	const uint32_t head = blocks->atok[ring].head;
	struct netmap_slot *const slot = &tx->slot[head];
	char *const frame = NETMAP_BUF(tx, slot->buf_idx);
	const uint32_t next = nm_ring_next(tx, head);

	memset(frame, 0xff, 6);
	memset(frame + 6, 2, 6);
	memset(frame + 12, 0, 48);
	slot->len = 60;
	slot->flags = 0;
	EVENTUALLY(LOAD(blocks->ktoa[ring].hwtail) != head);
	STORE(blocks->atok[ring].cur, next);
	STORE(blocks->atok[ring].head, next);
	return LOAD(blocks->ktoa[ring].kern_need_kick);
}

/* Takes all packets that the control blocks of a receive ring show. */
static int take_by(const struct port *port, struct blocks *blocks, int entry)
{
	const struct netmap_ring *const rx = NETMAP_RXRING(port->nifp, 0);
	const uint32_t tail = LOAD(blocks->ktoa[entry].hwtail), head = blocks->atok[entry].head;

	STORE(blocks->atok[entry].cur, tail);
	STORE(blocks->atok[entry].head, tail);
	return (int)((tail + rx->num_slots - head) % rx->num_slots);
}

static void registered(void)
{
	struct blocks *const blocks = new_blocks();
	struct nmreq_opt_csb option = csb_option(blocks);
	struct port port = { .fd = open_device() };
	char *const hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(blocks, 0xee, sizeof *blocks);
	/* Each refusal leaves the descriptor free. */
	CHECK_FAILS(bind_with(&port, "csb{1", 0, &option), EINVAL);
	CHECK(option.nro_opt.nro_status == EINVAL);
	option.csb_atok += 8;
	CHECK_FAILS(bind_with(&port, "csb{1", NR_EXCLUSIVE, &option), EINVAL);
	option = csb_option(blocks);
	option.csb_ktoa = 0x810;
	CHECK_FAILS(bind_with(&port, "csb{1", NR_EXCLUSIVE, &option), EINVAL);
	option.csb_ktoa = (uintptr_t)hole;
	CHECK_FAILS(bind_with(&port, "csb{1", NR_EXCLUSIVE, &option), EFAULT);
	CHECK(option.nro_opt.nro_status == EFAULT);
	option = csb_option(blocks);
	option.csb_atok = (uintptr_t)-64;
	CHECK_FAILS(bind_with(&port, "csb{1", NR_EXCLUSIVE, &option), EFAULT);
	option.csb_atok = 0;
	CHECK_FAILS(bind_with(&port, "csb{1", NR_EXCLUSIVE, &option), EFAULT);
	option = csb_option(blocks);
	CHECK(!bind_with(&port, "csb{1", NR_EXCLUSIVE, &option) && !option.nro_opt.nro_status);
	map_port(&port);
	CHECK(!blocks->atok[0].head && !blocks->atok[0].cur && blocks->atok[0].appl_need_kick == 1);
	CHECK(blocks->atok[1].sync_flags == 1 && blocks->ktoa[0].kern_need_kick == 1);
	CHECK(blocks->ktoa[0].hwtail == NETMAP_TXRING(port.nifp, 0)->num_slots - 1);
	CHECK(!blocks->ktoa[1].hwcur && !blocks->ktoa[1].hwtail);
	/* There are two rings. */
	CHECK(blocks->atok[2].head == 0xeeeeeeee && blocks->ktoa[2].hwcur == 0xeeeeeeee);
}

static void enabled(void)
{
	struct blocks *const blocks = new_blocks(), *const others = new_blocks();
	struct port port = { .fd = open_device() }, shared = open_port("csb{2"), none = { .fd = open_device() };
	struct runner runner;

	CHECK_FAILS(request(port.fd, NETMAP_REQ_CSB_ENABLE, NULL, NULL), EINVAL);
	/* No rings that the blocks would be for. */
	CHECK(!enable(port.fd, blocks) && !blocks->ktoa[0].hwtail);
	CHECK(!bind_with(&none, "csb{4", NR_EXCLUSIVE | NR_RX_RINGS_ONLY | NR_TX_RINGS_ONLY, NULL));
	CHECK(!enable(none.fd, blocks) && !ioctl(none.fd, NIOCTXSYNC, NULL));
	CHECK_FAILS(enable(shared.fd, blocks), EINVAL);
	CHECK(!ioctl(shared.fd, NIOCTXSYNC, NULL));
	CHECK(!bind_with(&port, "csb{3", NR_EXCLUSIVE, NULL));
	CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
	CHECK(!enable(port.fd, others) && others->ktoa[0].hwtail);
	/* Replaced. */
	CHECK(!enable(port.fd, blocks) && blocks->ktoa[0].hwtail);
	STORE(blocks->ktoa[0].kern_need_kick, 7);
	start_thread(&runner, port.fd, NULL);
	EVENTUALLY(LOAD(blocks->ktoa[0].kern_need_kick) == 0);
	CHECK_FAILS(enable(port.fd, others), EBUSY);
	stop_thread(&runner);
	CHECK(!enable(port.fd, others));
}

static void refused(void)
{
	struct blocks *const blocks = new_blocks();
	struct port port = open_csb("csb{5", blocks);
	struct pollfd entry = { .fd = port.fd, .events = POLLIN };
	pid_t child;

	for (int i = 0; i < 2; i++) {
		CHECK_FAILS(ioctl(port.fd, NIOCTXSYNC, NULL), EBUSY);
		CHECK_FAILS(ioctl(port.fd, NIOCRXSYNC, NULL), EBUSY);
		CHECK(poll(&entry, 1, 10000) == 1 && entry.revents == POLLERR);
		CHECK_FAILS(bind_with(&port, "csb{6", 0, NULL), EBUSY);
		/* In a child too, which attaches the port anew. */
		if (i)
			exit(0);
		child = fork();
		if (child)
			break;
	}
	join(child);
}

static void not_started(void)
{
	struct blocks *const blocks = new_blocks();
	struct port plain = open_port("csb{7"), port = open_csb("csb{8", blocks);
	const int unbound = open_device(), null = open("/dev/null", O_RDWR);
	struct nmreq_opt_sync_kloop_mode mode = { .nro_opt.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_MODE,
						  .mode = 4 };
	struct events events = { .option = { .nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
					 .nro_size = 24 + 3 * 8 } };
	struct runner runner;

	CHECK_FAILS(start_loop(unbound, 1000001, NULL), EINVAL);
	CHECK_FAILS(start_loop(unbound, 1, NULL), ENXIO);
	CHECK_FAILS(stop_loop(unbound), ENXIO);
	CHECK_FAILS(start_loop(plain.fd, 1, NULL), EINVAL);
	CHECK(!ioctl(plain.fd, NIOCTXSYNC, NULL));
	CHECK_FAILS(start_loop(port.fd, 1000001, NULL), EINVAL);
	CHECK_FAILS(start_loop(port.fd, 1, &mode), EINVAL);
	CHECK(mode.nro_opt.nro_status == EINVAL);
	CHECK_FAILS(start_loop(port.fd, 1, &events), EINVAL);
	CHECK(events.option.nro_status == EINVAL);
	/* Now for two rings. */
	events.option.nro_size = 24 + 2 * 8;
	for (int i = 0; i < 2; i++)
		events.fds[i] = (struct nm_kloop_eventfds){ .ioeventfd = eventfd(0, 0), .irqfd = eventfd(0, 0) };
	mode.mode = NM_OPT_SYNC_KLOOP_DIRECT_TX;
	mode.nro_opt.nro_next = (uintptr_t)&events;
	events.fds[1].ioeventfd = -1;
	CHECK_FAILS(start_loop(port.fd, 1, &mode), EINVAL);
	CHECK(events.option.nro_status == EINVAL && !mode.nro_opt.nro_status);
	mode.nro_opt.nro_next = 0;
	events.fds[1].ioeventfd = 100000;
	CHECK_FAILS(start_loop(port.fd, 1, &events), EBADF);
	events.fds[1].ioeventfd = null;
	CHECK_FAILS(start_loop(port.fd, 1, &events), EINVAL);
	events.fds[1].ioeventfd = eventfd(0, 0);
	events.fds[0].irqfd = null;
	CHECK_FAILS(start_loop(port.fd, 1, &events), EINVAL);
	/* Nothing is left of all that. */
	STORE(blocks->ktoa[0].kern_need_kick, 7);
	start_thread(&runner, port.fd, NULL);
	EVENTUALLY(LOAD(blocks->ktoa[0].kern_need_kick) == 0);
	CHECK_FAILS(start_loop(port.fd, 1, NULL), EBUSY);
	stop_thread(&runner);
}

static void sticky(void)
{
	struct blocks *const blocks = new_blocks();
	struct port port = open_csb("csb{9", blocks), plain = open_port("csb{10");
	struct runner runner;

	/* Without a loop, and without control blocks. */
	CHECK(!stop_loop(plain.fd));
	CHECK(!stop_loop(port.fd) && !stop_loop(port.fd));
	CHECK(!start_loop(port.fd, 1, NULL));
	/* Once. */
	STORE(blocks->ktoa[0].kern_need_kick, 7);
	start_thread(&runner, port.fd, NULL);
	EVENTUALLY(LOAD(blocks->ktoa[0].kern_need_kick) == 0);
	usleep(10000);
	stop_thread(&runner);
	/* A loop may begin again. */
	start_thread(&runner, port.fd, NULL);
	stop_thread(&runner);
}

/* Packets pass in both directions while another thread runs the loop. */
static void pass(const char *name, const char *peer)
{
	struct blocks *const blocks = new_blocks();
	struct port port = open_csb(name, blocks), other = open_port(peer);
	struct netmap_ring *const tx = NETMAP_TXRING(port.nifp, 0), *const rx = NETMAP_RXRING(port.nifp, 0);
	struct runner runner;
	int received = 0;

	tx->head = tx->cur = tx->tail = rx->head = rx->cur = rx->tail = 0x12345678;
	start_thread(&runner, port.fd, NULL);
	for (int i = 0; i < 3000; i++) {
		send_by(&port, blocks, 0);
		if (i % 50)
			continue;
		/* A switch drops what its receiver has no room for. */
		EVENTUALLY(LOAD(blocks->ktoa[0].hwcur) == blocks->atok[0].head);
		received += receive_packets(&other);
	}
	EVENTUALLY((received += receive_packets(&other)) == 3000);
	received = 0;
	for (int i = 0; i < 60; i++) {
		send_packets(&other, 50);
		EVENTUALLY((received += take_by(&port, blocks, 1)) == 50 * (i + 1));
	}
	stop_thread(&runner);
	/* The cursors of the rings are the program's own. */
	CHECK(tx->head == 0x12345678 && tx->cur == 0x12345678 && tx->tail == 0x12345678);
	CHECK(rx->head == 0x12345678 && rx->cur == 0x12345678 && rx->tail == 0x12345678);
	CHECK(!close(port.fd) && !close(other.fd));
}

static void pipe_loop(void)
{
	pass("csb{11", "csb}11");
}

static void switch_loop(void)
{
	pass("vale7:csb", "vale7:peer");
}

static void kick(int fd)
{
	const uint64_t one = 1;

	CHECK(write(fd, &one, sizeof one) == sizeof one);
}

/* Both sides sleep when there is nothing to do, and wake each other by eventfds. */
static void notified(uint32_t bits)
{
	struct blocks *const blocks = new_blocks();
	struct port port = open_csb("csb{12", blocks), other = open_port("csb}12");
	struct nmreq_opt_sync_kloop_mode mode = { .nro_opt.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_MODE,
						  .mode = bits };
	struct events events = { .option = { .nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
					 .nro_size = 24 + 2 * 8,
					 .nro_next = (uintptr_t)&mode } };
	struct runner runner;
	int received = 0;

	for (int i = 0; i < 2; i++)
		events.fds[i] = (struct nm_kloop_eventfds){ .ioeventfd = eventfd(0, 0), .irqfd = eventfd(0, 0) };
	start_thread(&runner, port.fd, &events);
	/* More than a ring has slots. */
	for (int i = 0; i < 2000; i++) {
		if (send_by(&port, blocks, 0))
			kick(events.fds[0].ioeventfd);
		if (i % 100 == 99) {
			/* Sleeps on its own port. */
			while (received < i + 1) {
				struct pollfd entry = { .fd = other.fd, .events = POLLIN };

				CHECK(poll(&entry, 1, 30000) == 1);
				received += take(&other);
			}
		}
	}
	/* The program sleeps on the eventfd. */
	STORE(blocks->atok[1].appl_need_kick, 1);
	received = 0;
	for (int i = 0; i < 200; i++) {
		send_packets(&other, 3);
		while (received < 3 * (i + 1)) {
			struct pollfd entry = { .fd = events.fds[1].irqfd, .events = POLLIN };
			uint64_t count;
			int taken = take_by(&port, blocks, 1);

			received += taken;
			if (taken && LOAD(blocks->ktoa[1].kern_need_kick))
				kick(events.fds[1].ioeventfd);
			if (taken)
				continue;
			CHECK(poll(&entry, 1, 30000) == 1);
			CHECK(read(entry.fd, &count, sizeof count) == sizeof count);
		}
	}
	CHECK(!events.option.nro_status && !mode.nro_opt.nro_status);
	/* The loop has copies of the descriptors. */
	for (int i = 0; i < 2; i++)
		CHECK(!close(events.fds[i].ioeventfd) && !close(events.fds[i].irqfd));
	usleep(20000);
	stop_thread(&runner);
}

static void eventfds(void)
{
	notified(0);
}

static void direct(void)
{
	notified(NM_OPT_SYNC_KLOOP_DIRECT_TX | NM_OPT_SYNC_KLOOP_DIRECT_RX);
}

static void direct_one(void)
{
	notified(NM_OPT_SYNC_KLOOP_DIRECT_RX);
}

/* Another process stops the loop, and runs the next one on memory that both have. */
static void other_process(void)
{
	struct blocks *const blocks = new_blocks();
	struct port port = open_csb("csb{13", blocks), other = open_port("csb}13");
	struct runner runner;
	pid_t child;

	start_thread(&runner, port.fd, NULL);
	EVENTUALLY(LOAD(blocks->ktoa[0].kern_need_kick) == 0);
	child = fork();
	if (!child) {
		CHECK_FAILS(start_loop(port.fd, 1, NULL), EBUSY);
		CHECK(!stop_loop(port.fd));
		exit(0);
	}
	join(child);
	CHECK(!pthread_join(runner.thread, NULL) && !runner.result);
	child = fork();
	if (!child) {
		CHECK(!start_loop(port.fd, 1, NULL));
		exit(0);
	}
	for (int i = 0; i < 10; i++)
		send_by(&port, blocks, 0);
	EVENTUALLY(receive_packets(&other) || LOAD(blocks->ktoa[0].hwcur) == 10);
	CHECK(!stop_loop(port.fd));
	join(child);
}

/* A process that runs a loop is killed: the loop has ended, and another one can begin. */
static void killed(void)
{
	struct blocks *const blocks = new_blocks();
	struct port port = open_csb("csb{14", blocks), other = open_port("csb}14");
	struct runner runner;

	for (int i = 0; i < 10; i++) {
		pid_t child;
		int status;

		STORE(blocks->ktoa[0].kern_need_kick, 7);
		child = fork();
		if (!child) {
			start_loop(port.fd, 0, NULL);
			exit(1);
		}
		EVENTUALLY(LOAD(blocks->ktoa[0].kern_need_kick) == 0);
		usleep((useconds_t)(i * 300));
		CHECK(!kill(child, SIGKILL));
		CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
		/* Waits until netmapd has noticed. The request may stay for the next loop. */
		CHECK(!stop_loop(port.fd));
		CHECK(!start_loop(port.fd, 1, NULL));
	}
	start_thread(&runner, port.fd, NULL);
	send_by(&port, blocks, 0);
	EVENTUALLY(receive_packets(&other) == 1);
	stop_thread(&runner);
}

/* Words of any value: the loop goes on, and so does the other end. */
static void nonsense(void)
{
	struct blocks *const blocks = new_blocks();
	struct port port = open_csb("csb{15", blocks), other = open_port("csb}15");
	struct runner runner;
	unsigned seed = 1;
	int received;

	start_thread(&runner, port.fd, NULL);
	for (int i = 0; i < 20000; i++) {
		uint32_t *const words = (uint32_t *)blocks;
		const uint32_t value = (uint32_t)rand_r(&seed) * (rand_r(&seed) % 2 ? 1 : 65537);

		/* Of all entries, also those without a ring. */
		__atomic_store_n(&words[(unsigned)rand_r(&seed) % (sizeof *blocks / 4)], value % 5 ? value : value % 1024,
				 __ATOMIC_RELAXED);
		if (i % 100 == 0)
			CHECK(!ioctl(other.fd, NIOCTXSYNC, NULL) && receive_packets(&other) >= 0);
	}
	/* The program recovers by the published cursors. */
	for (int i = 0; i < 2; i++) {
		const uint32_t count = NETMAP_TXRING(port.nifp, 0)->num_slots;

		/* Slots that a head in range has asked for may still be on their way. */
		for (int steady = 0; steady < 20; usleep(1000)) {
			const uint32_t hwcur = LOAD(blocks->ktoa[i].hwcur);

			steady = hwcur < count && blocks->atok[i].head == hwcur ? steady + 1 : 0;
			STORE(blocks->atok[i].cur, hwcur);
			STORE(blocks->atok[i].head, hwcur);
		}
	}
	do
		received = receive_packets(&other);
	while (received);
	for (int i = 0; i < 5; i++)
		send_by(&port, blocks, 0);
	EVENTUALLY(LOAD(blocks->ktoa[0].hwcur) == blocks->atok[0].head);
	CHECK(receive_packets(&other) == 5);
	stop_thread(&runner);
}

static volatile sig_atomic_t handled, stopped_fd = -1;

static void handle(int number)
{
	(void)number;
	handled++;
	/* Also a request to stop, by the thread that runs the loop. */
	if (stopped_fd >= 0)
		handled += stop_loop(stopped_fd) ? 1000 : 0;
}

/* Handlers run, and end the loop only if they ask for that. */
static void signals(void)
{
	struct blocks *const blocks = new_blocks();
	struct port port = open_csb("csb{16", blocks);
	struct sigaction action = { .sa_handler = handle };
	struct events events = { .option = { .nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
					 .nro_size = 24 + 2 * 8 } };

	for (int i = 0; i < 2; i++)
		events.fds[i] = (struct nm_kloop_eventfds){ .ioeventfd = eventfd(0, 0), .irqfd = -1 };
	CHECK(!sigaction(SIGUSR1, &action, NULL));
	for (int i = 0; i < 2; i++) {
		struct runner runner;

		handled = 0;
		stopped_fd = -1;
		start_thread(&runner, port.fd, i ? &events : NULL);
		for (int round = 0; round < 20; round++) {
			const int before = handled;

			CHECK(!pthread_kill(runner.thread, SIGUSR1));
			EVENTUALLY(handled > before);
		}
		CHECK_FAILS(start_loop(port.fd, 1, NULL), EBUSY);
		stopped_fd = port.fd;
		CHECK(!pthread_kill(runner.thread, SIGUSR1));
		CHECK(!pthread_join(runner.thread, NULL) && !runner.result && handled < 1000);
	}
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "registered", registered },	{ "enabled", enabled },	      { "refused", refused },
		{ "not-started", not_started }, { "sticky", sticky },	      { "pipe", pipe_loop },
		{ "switch", switch_loop },	{ "eventfds", eventfds },     { "direct", direct },
		{ "direct-one", direct_one },	{ "other-process", other_process }, { "killed", killed },
		{ "nonsense", nonsense },	{ "signals", signals },	      { NULL, NULL },
	};

	return run_test(tests, count, arguments);
}
