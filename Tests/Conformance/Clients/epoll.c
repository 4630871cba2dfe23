/* epoll(7). SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

static void ignore(int signal)
{
	(void)signal;
}

static int set(void)
{
	const int made = epoll_create1(EPOLL_CLOEXEC);

	CHECK(made >= 0);
	return made;
}

static int control(int epoll, int operation, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	return epoll_ctl(epoll, operation, fd, &event);
}

static void add(int epoll, int fd, uint32_t events, uint64_t data)
{
	CHECK(!control(epoll, EPOLL_CTL_ADD, fd, events, data));
}

/* One event, or none: then 0. */
static struct epoll_event next_event(int epoll, int timeout)
{
	struct epoll_event event = { 0 };
	const int count = epoll_wait(epoll, &event, 1, timeout);

	CHECK(count == 0 || count == 1);
	return count ? event : (struct epoll_event){ 0 };
}

static void expect(int epoll, uint32_t events, uint64_t data)
{
	const struct epoll_event event = next_event(epoll, 10000);

	if (event.events != events || event.data.u64 != data)
		printf("events %#x of %llu\n", event.events, (unsigned long long)event.data.u64);
	CHECK(event.events == events && event.data.u64 == data);
}

static void expect_nothing(int epoll)
{
	const struct epoll_event event = next_event(epoll, 0);

	if (event.events)
		printf("events %#x of %llu\n", event.events, (unsigned long long)event.data.u64);
	CHECK(!event.events);
	CHECK(!next_event(epoll, 30).events);
}

struct waiter {
	pthread_t thread;
	int epoll;
	struct epoll_event event;
	int count, error;
};

static void *wait_once(void *argument)
{
	struct waiter *const waiter = argument;

	waiter->count = epoll_wait(waiter->epoll, &waiter->event, 1, 20000);
	waiter->error = errno;
	return NULL;
}

static void start(struct waiter *waiter, int epoll)
{
	waiter->epoll = epoll;
	CHECK(!pthread_create(&waiter->thread, NULL, wait_once, waiter));
}

static void finish(struct waiter *waiter, uint32_t events, uint64_t data)
{
	CHECK(!pthread_join(waiter->thread, NULL));
	if (waiter->count != 1)
		printf("%d events, errno %d\n", waiter->count, waiter->error);
	CHECK(waiter->count == 1);
	CHECK(waiter->event.events == events && waiter->event.data.u64 == data);
}

/* epoll_ctl */

static void errors(void)
{
	struct port port = open_port("errors{1");
	const int epoll = set(), token = open_device();
	int ends[2];

	CHECK(!pipe(ends));
	CHECK_FAILS(control(epoll, EPOLL_CTL_MOD, port.fd, EPOLLIN, 0), ENOENT);
	CHECK_FAILS(control(epoll, EPOLL_CTL_DEL, port.fd, EPOLLIN, 0), ENOENT);
	add(epoll, port.fd, EPOLLIN, 1);
	CHECK_FAILS(control(epoll, EPOLL_CTL_ADD, port.fd, EPOLLIN, 0), EEXIST);
	CHECK_FAILS(control(epoll, 77, port.fd, EPOLLIN, 0), EINVAL);
	CHECK_FAILS(control(999, EPOLL_CTL_ADD, port.fd, EPOLLIN, 0), EBADF);
	CHECK_FAILS(control(ends[0], EPOLL_CTL_ADD, port.fd, EPOLLIN, 0), EINVAL);
	CHECK_FAILS(control(port.fd, EPOLL_CTL_ADD, ends[0], EPOLLIN, 0), EINVAL);
	CHECK_FAILS(control(port.fd, EPOLL_CTL_ADD, port.fd, EPOLLIN, 0), EINVAL);
	CHECK_FAILS(control(epoll, EPOLL_CTL_ADD, 999, EPOLLIN, 0), EBADF);
	CHECK_FAILS(epoll_ctl(epoll, EPOLL_CTL_ADD, token, NULL), EFAULT);
	CHECK_FAILS(epoll_ctl(epoll, EPOLL_CTL_ADD, token, (void *)16), EFAULT);
	CHECK_FAILS(epoll_ctl(epoll, EPOLL_CTL_MOD, port.fd, (void *)16), EFAULT);
	CHECK_FAILS(epoll_ctl(set(), EPOLL_CTL_ADD, token, (void *)16), EFAULT);
	CHECK(!epoll_ctl(epoll, EPOLL_CTL_DEL, port.fd, (void *)16));
	CHECK_FAILS(control(epoll, EPOLL_CTL_DEL, port.fd, EPOLLIN, 0), ENOENT);
	/* What EPOLLEXCLUSIVE forbids. */
	CHECK_FAILS(control(epoll, EPOLL_CTL_ADD, port.fd, EPOLLEXCLUSIVE | EPOLLONESHOT | EPOLLIN, 0), EINVAL);
	add(epoll, port.fd, EPOLLIN | EPOLLOUT | EPOLLEXCLUSIVE, 5);
	CHECK_FAILS(control(epoll, EPOLL_CTL_MOD, port.fd, EPOLLIN, 0), EINVAL);
	expect(epoll, EPOLLOUT, 5);
	CHECK(!control(epoll, EPOLL_CTL_DEL, port.fd, 0, 0));
	expect_nothing(epoll);
	/* Of the wait. */
	add(epoll, port.fd, EPOLLOUT, 6);
	CHECK_FAILS(epoll_wait(epoll, (void *)16, 4, 0), EFAULT);
	CHECK_FAILS(epoll_wait(epoll, NULL, 4, 1000), EFAULT);
	struct epoll_event event;
	CHECK_FAILS(epoll_wait(epoll, &event, 0, 0), EINVAL);
	CHECK_FAILS(epoll_wait(epoll, &event, -1, 0), EINVAL);
	CHECK_FAILS(epoll_wait(epoll, &event, INT32_MAX, 0), EINVAL);
	CHECK_FAILS(epoll_pwait2(epoll, &event, 1, &(struct timespec){ .tv_nsec = -1 }, NULL), EINVAL);
	CHECK_FAILS(epoll_pwait2(epoll, &event, 1, (void *)16, NULL), EFAULT);
	expect(epoll, EPOLLOUT, 6);
	CHECK(!close(epoll));
	CHECK_FAILS(epoll_wait(epoll, &event, 1, 0), EBADF);
	CHECK_FAILS(control(epoll, EPOLL_CTL_MOD, port.fd, EPOLLIN, 0), EBADF);
}

/* Triggers */

static void levels(void)
{
	struct port a = open_port("level{1"), b = open_port("level}1");
	const int epoll = set();

	add(epoll, b.fd, EPOLLIN, 7);
	expect_nothing(epoll);
	send_packets(&a, 3);
	expect(epoll, EPOLLIN, 7);
	expect(epoll, EPOLLIN, 7);
	CHECK(take(&b) == 3);
	expect_nothing(epoll);
	CHECK(!control(epoll, EPOLL_CTL_MOD, b.fd, EPOLLIN | EPOLLOUT, 8));
	expect(epoll, EPOLLOUT, 8);
	send_packets(&a, 1);
	expect(epoll, EPOLLIN | EPOLLOUT, 8);
	CHECK(take(&b) == 1);
	/* The norms are events of their own. */
	CHECK(!control(epoll, EPOLL_CTL_MOD, b.fd, EPOLLWRNORM | EPOLLRDHUP | EPOLLPRI, 9));
	expect(epoll, EPOLLWRNORM, 9);
	/* Without events, it is still looked at for what it has to send. */
	CHECK(!control(epoll, EPOLL_CTL_MOD, b.fd, 0, 9));
	expect_nothing(epoll);
	put(&b, 1);
	expect_nothing(epoll);
	CHECK(receive_packets(&a) == 1);
}

static void edges(void)
{
	struct port a = open_port("edge{1"), b = open_port("edge}1");
	const int epoll = set();

	send_packets(&a, 1);
	add(epoll, b.fd, EPOLLIN | EPOLLET, 7);
	expect(epoll, EPOLLIN, 7);
	expect_nothing(epoll);
	send_packets(&a, 1);
	expect(epoll, EPOLLIN, 7);
	expect_nothing(epoll);
	/* It looks at everything after a second, and that is no edge. */
	CHECK(!next_event(epoll, 1300).events);
	CHECK(receive_packets(&b) == 2);
	expect_nothing(epoll);
	send_packets(&a, 1);
	expect(epoll, EPOLLIN, 7);
	/* A change asks again. */
	CHECK(!control(epoll, EPOLL_CTL_MOD, b.fd, EPOLLIN | EPOLLOUT | EPOLLET, 8));
	expect(epoll, EPOLLIN | EPOLLOUT, 8);
	expect_nothing(epoll);
}

static void one_shots(void)
{
	struct port a = open_port("shot{1"), b = open_port("shot}1");
	const int epoll = set();

	add(epoll, b.fd, EPOLLIN | EPOLLONESHOT, 7);
	send_packets(&a, 1);
	expect(epoll, EPOLLIN, 7);
	expect_nothing(epoll);
	send_packets(&a, 1);
	expect_nothing(epoll);
	CHECK(!control(epoll, EPOLL_CTL_MOD, b.fd, EPOLLIN | EPOLLONESHOT, 8));
	expect(epoll, EPOLLIN, 8);
	expect_nothing(epoll);
}

static void failures(void)
{
	struct port port = open_port("spoiled{1");
	const int epoll = set(), token = open_device();

	add(epoll, token, EPOLLIN, 1);
	expect(epoll, EPOLLERR, 1);
	expect(epoll, EPOLLERR, 1);
	/* It is bound now. */
	struct port late = { .fd = token };
	struct waiter waiter;
	CHECK(!control(epoll, EPOLL_CTL_MOD, token, EPOLLOUT | EPOLLET, 1));
	expect(epoll, EPOLLERR, 1);
	start(&waiter, epoll);
	usleep(100000);
	const double begin = now();
	CHECK(!bind_port(&late, "late{1", 0));
	finish(&waiter, EPOLLOUT, 1);
	CHECK(now() - begin < 0.6);
	CHECK(!control(epoll, EPOLL_CTL_MOD, token, EPOLLIN, 1));
	expect_nothing(epoll);
	CHECK(!control(epoll, EPOLL_CTL_MOD, token, EPOLLIN | EPOLLOUT, 1));
	expect(epoll, EPOLLOUT, 1);
	CHECK(!close(token));
	expect_nothing(epoll);
	/* An error once, as of poll. */
	add(epoll, port.fd, EPOLLIN, 2);
	NETMAP_TXRING(port.nifp, 0)->head = 1u << 31;
	expect(epoll, EPOLLERR, 2);
	expect_nothing(epoll);
	/* Edge-triggered, an error that stays is reported once. */
	const int other = open_device();
	add(epoll, other, EPOLLIN | EPOLLET, 3);
	expect(epoll, EPOLLERR, 3);
	expect_nothing(epoll);
}

/* Sets */

static void mixed(void)
{
	struct port a = open_port("mixed{1"), b = open_port("mixed}1");
	const int epoll = set(), signal = eventfd(0, 0);
	struct epoll_event events[4];

	add(epoll, signal, EPOLLIN, 1);
	add(epoll, b.fd, EPOLLIN, 2);
	expect_nothing(epoll);
	CHECK(!eventfd_write(signal, 1));
	expect(epoll, EPOLLIN, 1);
	send_packets(&a, 1);
	CHECK(epoll_wait(epoll, events, 4, -1) == 2);
	CHECK(events[0].data.u64 + events[1].data.u64 == 3);
	/* One event of room goes to each in turn. */
	bool seen[3] = { false };
	for (int i = 0; i < 4; i++)
		seen[next_event(epoll, -1).data.u64] = true;
	CHECK(seen[1] && seen[2]);
	CHECK(take(&b) == 1);
	expect(epoll, EPOLLIN, 1);
	CHECK(!control(epoll, EPOLL_CTL_DEL, signal, 0, 0));
	expect_nothing(epoll);
}

static void rotation(void)
{
	enum { MANY = 12 };
	const int epoll = set();
	int seen[MANY] = { 0 };
	struct epoll_event events[3];

	for (int i = 0; i < MANY; i++) {
		char name[32];

		snprintf(name, sizeof name, "rotation%d{1", i);
		add(epoll, open_port(name).fd, EPOLLOUT, (uint64_t)i);
	}
	for (int i = 0; i < 40; i++) {
		CHECK(epoll_wait(epoll, events, 3, -1) == 3);
		for (int event = 0; event < 3; event++)
			seen[events[event].data.u64]++;
	}
	for (int i = 0; i < MANY; i++)
		CHECK(seen[i] == 10);
}

/* Sleeps */

static void timeouts(void)
{
	struct port port = open_port("time{1");
	const int epoll = set();
	double start = now();
	struct epoll_event event;

	add(epoll, port.fd, EPOLLIN, 0);
	CHECK(!epoll_wait(epoll, &event, 1, 0));
	CHECK(now() - start < 0.2);
	start = now();
	CHECK(!epoll_wait(epoll, &event, 1, 300));
	CHECK(now() - start >= 0.3 && now() - start < 5);
	start = now();
	CHECK(!epoll_pwait2(epoll, &event, 1, &(struct timespec){ .tv_nsec = 200000000 }, NULL));
	CHECK(now() - start >= 0.2 && now() - start < 5);
	start = now();
	CHECK(!epoll_pwait(epoll, &event, 1, 100, NULL));
	CHECK(now() - start >= 0.1 && now() - start < 5);
}

static void interrupted(void)
{
	const struct sigaction action = { .sa_handler = ignore, .sa_flags = SA_RESTART };
	struct port port = open_port("signal{1");
	const int epoll = set();
	struct epoll_event event;
	const double start = now();

	add(epoll, port.fd, EPOLLIN, 0);
	CHECK(!sigaction(SIGALRM, &action, NULL));
	alarm(1);
	CHECK_FAILS(epoll_wait(epoll, &event, 1, -1), EINTR);
	CHECK(now() - start < 10);
}

static int handled;

static void count(int signal)
{
	(void)signal;
	handled++;
}

static void masked(void)
{
	const struct sigaction action = { .sa_handler = count };
	struct port port = open_port("masked{1");
	const int epoll = set();
	struct epoll_event event;
	sigset_t blocked, none, mask;

	add(epoll, port.fd, EPOLLIN, 0);
	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGALRM);
	CHECK(!sigaction(SIGALRM, &action, NULL) && !sigprocmask(SIG_BLOCK, &blocked, NULL));
	CHECK(!raise(SIGALRM));
	CHECK_FAILS(epoll_pwait(epoll, &event, 1, 20000, &none), EINTR);
	CHECK(handled == 1);
	alarm(1);
	CHECK_FAILS(epoll_pwait2(epoll, &event, 1, &(struct timespec){ .tv_sec = 20 }, &none), EINTR);
	CHECK(handled == 2);
	/* Blocked again after the wait, and during waits that do not change the mask. */
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &mask) && sigismember(&mask, SIGALRM));
	CHECK(!raise(SIGALRM));
	CHECK(!epoll_wait(epoll, &event, 1, 50) && handled == 2);
}

static void *wait_for_ever(void *argument)
{
	struct epoll_event event;

	epoll_wait(*(int *)argument, &event, 1, -1);
	return NULL;
}

static void canceled(void)
{
	struct port port = open_port("cancel{1");
	int epoll = set();
	struct epoll_event event;

	add(epoll, port.fd, EPOLLIN, 0);
	for (int i = 0; i < 100; i++) {
		pthread_t thread;
		void *result;

		CHECK(!pthread_create(&thread, NULL, wait_for_ever, &epoll));
		if (i % 2)
			usleep(2000);
		CHECK(!pthread_cancel(thread));
		CHECK(!pthread_join(thread, &result) && result == PTHREAD_CANCELED);
	}
	CHECK(!epoll_wait(epoll, &event, 1, 10));
}

/* Two processes send one packet back and forth, and wait between in ways that a random number chooses. */
static void wake_each_other(const char *one, const char *other)
{
	enum { ROUNDS = 20000 };
	int ready[2];
	char byte;
	pid_t child;

	CHECK(!pipe(ready));
	child = fork();

	struct port port = open_port(child ? one : other), idle = open_port(child ? "idle{1" : "idle{2");
	const int epoll = set();
	unsigned random = child ? 1 : 7;

	add(epoll, port.fd, EPOLLIN, 0);
	add(epoll, idle.fd, EPOLLIN, 1);
	if (child)
		CHECK(read(ready[0], &byte, 1) == 1);
	else
		CHECK(write(ready[1], "r", 1) == 1);
	for (int round = 0; round < ROUNDS; round++) {
		struct epoll_event event = { 0 };

		random = random * 1103515245 + 12345;
		if (random >> 16 & 3) {
			CHECK(!control(epoll, EPOLL_CTL_MOD, port.fd, EPOLLIN | (random >> 18 & 1 ? EPOLLET : 0), 0));
		}
		if (child)
			send_packets(&port, 1);
		for (int i = random >> 20 & 3; i && !epoll_wait(epoll, &event, 1, 0); i--)
			;
		if (!event.events) {
			const double start = now();

			CHECK(epoll_wait(epoll, &event, 1, 20000) == 1);
			/* The longest sleep hides a wake-up that is lost. */
			CHECK(now() - start < 0.9);
		}
		CHECK(event.events == EPOLLIN && event.data.u64 == 0);
		CHECK(receive_packets(&port) == 1);
		if (!child) {
			put(&port, 1);
			/* The wait sends it, at the latest before it sleeps. */
		}
	}
	if (!child) {
		CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
		exit(0);
	}
	join(child);
}

static void pipe_wakes(void)
{
	wake_each_other("wakes{1", "wakes}1");
}

static void switch_wakes(void)
{
	wake_each_other("vale7:a", "vale7:b");
}

/* Threads */

static void threads(void)
{
	enum { THREADS = 4 };
	struct port a = open_port("threads{1"), b = open_port("threads}1");
	struct waiter waiters[THREADS];
	const int epoll = set();
	const double begin = now();

	/* All threads see what stays ready. */
	add(epoll, b.fd, EPOLLIN, 3);
	for (int i = 0; i < THREADS; i++)
		start(&waiters[i], epoll);
	usleep(100000);
	send_packets(&a, 1);
	for (int i = 0; i < THREADS; i++)
		finish(&waiters[i], EPOLLIN, 3);
	/* One thread sees what happens once. */
	CHECK(!control(epoll, EPOLL_CTL_MOD, b.fd, EPOLLIN | EPOLLONESHOT, 4));
	for (int i = 0; i < THREADS; i++)
		start(&waiters[i], epoll);
	for (int i = 0; i < THREADS; i++) {
		usleep(50000);
		CHECK(!control(epoll, EPOLL_CTL_MOD, b.fd, EPOLLIN | EPOLLONESHOT, 4));
	}
	for (int i = 0; i < THREADS; i++)
		finish(&waiters[i], EPOLLIN, 4);
	CHECK(now() - begin < 10);
}

/* Another thread changes the set while one waits. */
static void changes(void)
{
	struct port a = open_port("changes{1"), b = open_port("changes}1"), c = open_port("changes{2");
	struct waiter waiter;
	const int epoll = set();
	double begin;

	add(epoll, b.fd, EPOLLIN, 1);
	start(&waiter, epoll);
	usleep(100000);
	begin = now();
	add(epoll, c.fd, EPOLLOUT, 2);
	finish(&waiter, EPOLLOUT, 2);
	CHECK(now() - begin < 0.5);
	CHECK(!control(epoll, EPOLL_CTL_DEL, c.fd, 0, 0));
	start(&waiter, epoll);
	usleep(100000);
	begin = now();
	CHECK(!control(epoll, EPOLL_CTL_MOD, b.fd, EPOLLOUT, 3));
	finish(&waiter, EPOLLOUT, 3);
	CHECK(now() - begin < 0.5);
	/* Removed, then closed: it never comes back. */
	CHECK(!control(epoll, EPOLL_CTL_MOD, b.fd, EPOLLIN, 3));
	start(&waiter, epoll);
	usleep(100000);
	CHECK(!control(epoll, EPOLL_CTL_DEL, b.fd, 0, 0));
	send_packets(&a, 1);
	add(epoll, c.fd, EPOLLIN, 4);
	usleep(50000);
	CHECK(!close(c.fd));
	usleep(50000);
	add(epoll, b.fd, EPOLLIN, 5);
	finish(&waiter, EPOLLIN, 5);
}

static void *wait_for_packets(void *argument)
{
	struct waiter *const waiter = argument;

	/* The wait may end because there is a token now, and by a signal that is ignored. */
	do
		waiter->count = epoll_wait(waiter->epoll, &waiter->event, 1, 20000);
	while ((waiter->count < 0 && errno == EINTR) ||
	       (waiter->count == 1 &&
		!nm_ring_space(NETMAP_RXRING(((struct port *)waiter->event.data.ptr)->nifp, 0))));
	waiter->error = errno;
	return NULL;
}

/* Threads wait on a set before it has its first token. */
static void starts(void)
{
	enum { THREADS = 3 };
	struct waiter waiters[THREADS];
	const int epoll = set();

	for (int i = 0; i < THREADS; i++) {
		waiters[i].epoll = epoll;
		CHECK(!pthread_create(&waiters[i].thread, NULL, wait_for_packets, &waiters[i]));
	}
	usleep(100000);

	struct port a = open_port("starts{1"), b = open_port("starts}1");

	add(epoll, b.fd, EPOLLIN, (uintptr_t)&b);
	usleep(100000);
	const double begin = now();
	send_packets(&a, 1);
	for (int i = 0; i < THREADS; i++)
		finish(&waiters[i], EPOLLIN, (uintptr_t)&b);
	CHECK(now() - begin < 0.6);
	CHECK(receive_packets(&b) == 1);
	expect_nothing(epoll);
}

static _Atomic bool spins;

static void *spin(void *nothing)
{
	while (spins)
		;
	return nothing;
}

static void *wait_beside_others(void *argument)
{
	struct waiter *const waiter = argument;

	/* The eventfd has no data. */
	do
		waiter->count = epoll_wait(waiter->epoll, &waiter->event, 1, 20000);
	while ((waiter->count < 0 && errno == EINTR) ||
	       (waiter->count == 1 &&
		(!waiter->event.data.ptr ||
		 !nm_ring_space(NETMAP_RXRING(((struct port *)waiter->event.data.ptr)->nifp, 0)))));
	waiter->error = errno;
	return NULL;
}

/*
 * A thread shares a processor with others that never rest. Its waits end at once, until an eventfd is no longer readable
 * and the set has its first token. The processor has just been taken from the thread then: sometimes after it has looked at
 * the set, and before the kernel's wait begins.
 */
static void late(void)
{
	enum { SPINNERS = 4, ROUNDS = 20 };
	pthread_t spinners[SPINNERS];
	pthread_attr_t attributes;
	cpu_set_t one;
	const int rounds = getenv("NETMAP_TEST_ROUNDS") ? atoi(getenv("NETMAP_TEST_ROUNDS")) : ROUNDS;
	struct port a = open_port("late{1"), b = open_port("late}1");

	CHECK(!sched_getaffinity(0, sizeof one, &one));
	for (int cpu = 0, found = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &one) && found++)
			CPU_CLR(cpu, &one);
	CHECK(!pthread_attr_init(&attributes) && !pthread_attr_setaffinity_np(&attributes, sizeof one, &one));
	spins = true;
	for (int i = 0; i < SPINNERS; i++)
		CHECK(!pthread_create(&spinners[i], &attributes, spin, NULL));
	for (int round = 0; round < rounds; round++) {
		struct waiter waiter = { .epoll = set() };
		const int ready = eventfd(1, EFD_CLOEXEC);
		uint64_t value;

		add(waiter.epoll, ready, EPOLLIN, 0);
		CHECK(!pthread_create(&waiter.thread, &attributes, wait_beside_others, &waiter));
		usleep(20000 + (unsigned)round * 1237 % 10000);
		CHECK(read(ready, &value, sizeof value) == sizeof value);
		add(waiter.epoll, b.fd, EPOLLIN, (uintptr_t)&b);
		send_packets(&a, 1);
		finish(&waiter, EPOLLIN, (uintptr_t)&b);
		CHECK(receive_packets(&b) == 1);
		CHECK(!close(ready) && !close(waiter.epoll));
	}
	spins = false;
	for (int i = 0; i < SPINNERS; i++)
		CHECK(!pthread_join(spinners[i], NULL));
}

/* Descriptors */

static void closes(void)
{
	struct port a = open_port("close{1"), b = open_port("close}1");
	const int epoll = set();
	const int copy = dup(b.fd);

	add(epoll, b.fd, EPOLLIN, 1);
	send_packets(&a, 1);
	expect(epoll, EPOLLIN, 1);
	/* The open file is the member: a copy keeps it there. */
	CHECK(!close(b.fd));
	expect(epoll, EPOLLIN, 1);
	CHECK_FAILS(control(epoll, EPOLL_CTL_DEL, b.fd, 0, 0), EBADF);
	CHECK_FAILS(control(epoll, EPOLL_CTL_DEL, copy, 0, 0), ENOENT);
	CHECK(dup2(copy, b.fd) == b.fd);
	CHECK_FAILS(control(epoll, EPOLL_CTL_ADD, b.fd, EPOLLIN, 0), EEXIST);
	CHECK(!close(b.fd));
	/* A copy is a member of its own. */
	add(epoll, copy, EPOLLIN, 2);
	struct epoll_event events[4];
	CHECK(epoll_wait(epoll, events, 4, -1) == 2);
	CHECK(!close(copy));
	expect_nothing(epoll);
	/* The number is another file's. */
	b = open_port("close}2");
	CHECK_FAILS(control(epoll, EPOLL_CTL_MOD, b.fd, EPOLLIN, 0), ENOENT);
	add(epoll, b.fd, EPOLLOUT, 3);
	expect(epoll, EPOLLOUT, 3);
	/* dup2 closes. */
	CHECK(dup2(STDOUT_FILENO, b.fd) == b.fd);
	expect_nothing(epoll);
	/* And so does close_range. */
	b = open_port("close}3");
	add(epoll, b.fd, EPOLLOUT, 4);
	expect(epoll, EPOLLOUT, 4);
	CHECK(!close_range((unsigned)b.fd, (unsigned)b.fd, 0));
	expect_nothing(epoll);
}

static void copies(void)
{
	struct port a = open_port("copy{1"), b = open_port("copy}1");
	const int epoll = set(), copy = dup(epoll), third = fcntl(epoll, F_DUPFD_CLOEXEC, 100);

	add(copy, b.fd, EPOLLIN, 1);
	send_packets(&a, 1);
	expect(epoll, EPOLLIN, 1);
	expect(copy, EPOLLIN, 1);
	expect(third, EPOLLIN, 1);
	CHECK(!close(epoll));
	expect(copy, EPOLLIN, 1);
	CHECK_FAILS(epoll_wait(epoll, &(struct epoll_event){ 0 }, 1, 0), EBADF);
	CHECK(dup2(copy, epoll) == epoll && !close(copy) && !close(third));
	expect(epoll, EPOLLIN, 1);
	CHECK(!close(epoll));
	/* A new instance with the old number has nothing. */
	CHECK(set() == epoll);
	expect_nothing(epoll);
	CHECK_FAILS(control(epoll, EPOLL_CTL_MOD, b.fd, EPOLLIN, 0), ENOENT);
}

static void forked(void)
{
	struct port a = open_port("fork{1"), b = open_port("fork}1");
	const int epoll = set();
	pid_t child;

	add(epoll, b.fd, EPOLLIN, 1);
	expect_nothing(epoll);
	child = fork();
	if (!child) {
		struct port c = open_port("fork{2");

		expect(epoll, EPOLLIN, 1);
		/* The child's changes of tokens are its own. */
		add(epoll, c.fd, EPOLLOUT, 2);
		CHECK(!control(epoll, EPOLL_CTL_DEL, b.fd, 0, 0));
		expect(epoll, EPOLLOUT, 2);
		exit(0);
	}
	usleep(300000);
	send_packets(&a, 1);
	join(child);
	expect(epoll, EPOLLIN, 1);
	CHECK(receive_packets(&b) == 1);
	expect_nothing(epoll);
	/* A child that closes everything. */
	child = fork();
	if (!child) {
		for (int fd = 3; fd < 5000; fd++)
			close(fd);
		int again = set();
		struct port c = open_port("fork{3");

		add(again, c.fd, EPOLLOUT, 3);
		expect(again, EPOLLOUT, 3);
		exit(0);
	}
	join(child);
	expect_nothing(epoll);
	send_packets(&a, 1);
	expect(epoll, EPOLLIN, 1);
	/* A child that runs in its parent's memory. */
	child = vfork();
	if (!child) {
		close(epoll);
		open("/dev/null", O_RDWR);
		close(b.fd);
		_exit(0);
	}
	join(child);
	expect(epoll, EPOLLIN, 1);
	CHECK(receive_packets(&b) == 1);
	expect_nothing(epoll);
}

static const char *program;

/* What an instance has after exec is what the kernel has of it. */
static void executed(void)
{
	struct port port = open_port("exec{1");
	const int epoll = epoll_create1(0), signal = eventfd(1, 0);
	char number[16], token[16];
	pid_t child;

	add(epoll, signal, EPOLLIN, 1);
	add(epoll, port.fd, EPOLLOUT, 2);
	CHECK(!fcntl(port.fd, F_SETFD, 0));
	snprintf(number, sizeof number, "%d", epoll);
	snprintf(token, sizeof token, "%d", port.fd);
	child = fork();
	if (!child) {
		execl(program, program, "executed", number, token, NULL);
		_exit(1);
	}
	join(child);
	struct epoll_event events[4];
	CHECK(epoll_wait(epoll, events, 4, -1) == 2);
}

static int after_exec(int epoll, int fd)
{
	expect(epoll, EPOLLIN, 1);
	expect(epoll, EPOLLIN, 1);
	CHECK_FAILS(control(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT, 3), ENOENT);
	add(epoll, fd, EPOLLOUT, 3);
	struct epoll_event events[4];
	CHECK(epoll_wait(epoll, events, 4, -1) == 2);
	CHECK(events[0].data.u64 + events[1].data.u64 == 4);
	return 0;
}

/* Sets in sets */

static void nested(void)
{
	struct port a = open_port("nested{1"), b = open_port("nested}1");
	const int inner = set(), middle = set(), outer = set(), signal = eventfd(0, 0);
	struct waiter waiter;
	double begin;

	/* Added before the inner one has a token, and after. */
	add(middle, inner, EPOLLIN, 10);
	add(inner, b.fd, EPOLLIN, 1);
	add(inner, signal, EPOLLIN, 2);
	add(outer, middle, EPOLLIN, 20);
	expect_nothing(outer);
	send_packets(&a, 1);
	expect(outer, EPOLLIN, 20);
	expect(outer, EPOLLIN, 20);
	expect(middle, EPOLLIN, 10);
	expect(inner, EPOLLIN, 1);
	/* Both its parts are ready: one event. */
	CHECK(!eventfd_write(signal, 1));
	struct epoll_event events[4];
	CHECK(epoll_wait(outer, events, 4, -1) == 1 && events[0].data.u64 == 20);
	CHECK(receive_packets(&b) == 1);
	expect(outer, EPOLLIN, 20);
	CHECK(!eventfd_read(signal, &(eventfd_t){ 0 }));
	expect_nothing(outer);
	/* Wakes a thread. */
	start(&waiter, outer);
	usleep(100000);
	begin = now();
	send_packets(&a, 1);
	finish(&waiter, EPOLLIN, 20);
	CHECK(now() - begin < 0.5);
	CHECK(receive_packets(&b) == 1);
	/* Once. */
	CHECK(!control(outer, EPOLL_CTL_MOD, middle, EPOLLIN | EPOLLONESHOT, 21));
	send_packets(&a, 1);
	expect(outer, EPOLLIN, 21);
	expect_nothing(outer);
	CHECK(!eventfd_write(signal, 1));
	expect_nothing(outer);
	CHECK(!control(outer, EPOLL_CTL_MOD, middle, EPOLLIN, 22));
	expect(outer, EPOLLIN, 22);
	CHECK(!control(outer, EPOLL_CTL_DEL, middle, 0, 0));
	expect_nothing(outer);
	add(outer, middle, EPOLLIN, 23);
	expect(outer, EPOLLIN, 23);
	CHECK(!close(middle));
	expect_nothing(outer);
}

static void *send_later(void *argument)
{
	usleep(100000);
	send_packets(argument, 1);
	return NULL;
}

static void polled(void)
{
	struct port a = open_port("polled{1"), b = open_port("polled}1");
	const int epoll = set();
	struct pollfd entries[] = { { .fd = epoll, .events = POLLIN }, { .fd = -1 } };
	struct timeval limit = { .tv_sec = 20 };
	pthread_t thread;
	fd_set reads;
	double begin;

	add(epoll, b.fd, EPOLLIN, 1);
	CHECK(!poll(entries, 2, 0) && !poll(entries, 2, 30));
	send_packets(&a, 1);
	CHECK(poll(entries, 2, -1) == 1 && entries[0].revents == POLLIN);
	CHECK(ppoll(entries, 1, NULL, NULL) == 1);
	FD_ZERO(&reads);
	FD_SET(epoll, &reads);
	CHECK(select(epoll + 1, &reads, NULL, NULL, NULL) == 1 && FD_ISSET(epoll, &reads));
	CHECK(pselect(epoll + 1, &reads, NULL, NULL, NULL, NULL) == 1 && FD_ISSET(epoll, &reads));
	expect(epoll, EPOLLIN, 1);
	CHECK(receive_packets(&b) == 1);
	CHECK(!poll(entries, 2, 0) && !entries[0].revents);
	/* Both end a sleep. */
	CHECK(!pthread_create(&thread, NULL, send_later, &a));
	begin = now();
	CHECK(poll(entries, 2, 20000) == 1 && entries[0].revents == POLLIN && now() - begin < 0.6);
	CHECK(!pthread_join(thread, NULL) && receive_packets(&b) == 1);
	CHECK(!pthread_create(&thread, NULL, send_later, &a));
	begin = now();
	CHECK(select(epoll + 1, &reads, NULL, NULL, &limit) == 1 && now() - begin < 0.6);
	CHECK(!pthread_join(thread, NULL) && receive_packets(&b) == 1);
}

/* An interface, in a network namespace of the program's own */

static int peer;

static void *inject_later(void *argument)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = 6, .sll_ifindex = (int)if_nametoindex("v1") };
	unsigned char frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 2, 2, 2, 2, 2, 0x88, 0x88 };

	usleep(100000);
	CHECK(sendto(peer, frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to) == sizeof frame);
	return argument;
}

/* Takes all packets, and returns how many are of inject_later(). */
static int take_injected(struct port *port)
{
	struct netmap_ring *const ring = NETMAP_RXRING(port->nifp, 0);
	int count = 0;

	for (; ring->head != ring->tail; ring->head = nm_ring_next(ring, ring->head)) {
		const char *const frame = NETMAP_BUF(ring, ring->slot[ring->head].buf_idx);

		count += frame[12] == (char)0x88 && frame[13] == (char)0x88;
	}
	ring->cur = ring->head;
	return count;
}

/* Waits on a set, or on a set that contains it, or by poll, until the packet has come. */
static void expect_injected(struct port *port, int epoll, int outer, uint64_t data)
{
	const double begin = now();
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, inject_later, NULL));
	do {
		struct pollfd entry = { .fd = epoll, .events = POLLIN };

		if (outer >= 0)
			expect(outer, EPOLLIN, data);
		else if (data)
			CHECK(poll(&entry, 1, 10000) == 1);
		CHECK(next_event(epoll, 10000).events == EPOLLIN);
	} while (!take_injected(port));
	CHECK(!pthread_join(thread, NULL));
	CHECK(now() - begin < 0.6);
}

static void interface(void)
{
	const int epoll = set(), edge = set(), outer = set();

	CHECK(!system("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up"));
	peer = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	CHECK(peer >= 0);

	struct port port = open_port("v0");

	add(outer, epoll, EPOLLIN, 9);
	add(epoll, port.fd, EPOLLIN, 1);
	add(edge, port.fd, EPOLLIN | EPOLLET, 1);
	for (int round = 0; round < 3; round++) {
		expect_injected(&port, epoll, -1, 0);
		expect_injected(&port, edge, -1, 0);
		expect_injected(&port, epoll, outer, 9);
		expect_injected(&port, epoll, -1, 1);
	}
	/* A packet goes out by a wait that asks for packets only. */
	put(&port, 1);
	next_event(epoll, 50);

	unsigned char frame[64];
	int found = 0;

	for (int i = 0; i < 50 && !found; i++)
		found = recv(peer, frame, sizeof frame, 0) >= 14 && frame[6] == 2 && frame[7] == 2 && frame[12] == 0;
	CHECK(found);
	/* Without the interface, the port is an error. */
	CHECK(!system("ip link del v0"));
	CHECK(next_event(epoll, 10000).events & EPOLLERR);
}

/* Many */

enum { MANY = 1000 };

/* With few slots, because all ports of a test share one region's buffers. */
static struct port open_small(const char *name)
{
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_REGISTER };
	struct port port = { .fd = open_device() };

	snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
	port.reg.nr_mode = NR_REG_ALL_NIC;
	port.reg.nr_tx_slots = port.reg.nr_rx_slots = 16;
	header.nr_body = (uintptr_t)&port.reg;
	CHECK(!ioctl(port.fd, NIOCCTRL, &header));
	map_port(&port);
	return port;
}

static void open_many(struct port *a, struct port *b)
{
	const struct rlimit limit = { .rlim_cur = 4096, .rlim_max = 4096 };

	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	for (int i = 0; i < MANY; i++) {
		char name[32];

		snprintf(name, sizeof name, "many%d{%d", i / 50, i % 50);
		a[i] = open_small(name);
		snprintf(name, sizeof name, "many%d}%d", i / 50, i % 50);
		b[i] = open_small(name);
	}
}

static double cpu_time(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* The least time of a wait that finds these ready among the first ones, in nanoseconds. */
static double time_of_wait(int epoll, int members, struct port *a, struct port *b, int ready, int timeout)
{
	enum { ROUNDS = 200 };
	static struct epoll_event events[MANY];
	double result = 1e18;

	for (int round = 0; round < ROUNDS; round++) {
		double begin, time;
		int count;

		for (int i = 0; i < ready; i++)
			send_packets(&a[(i * 7 + round) % members], 1);
		begin = cpu_time();
		count = epoll_wait(epoll, events, MANY, timeout);
		time = cpu_time() - begin;
		result = time < result ? time : result;
		CHECK(count == ready);
		for (int i = 0; i < count; i++)
			CHECK(receive_packets(&b[events[i].data.u64]) == 1);
	}
	return result;
}

/* The least time of a wait that sleeps and is woken by one packet. */
static double time_of_sleep(int epoll, struct port *a, struct port *b)
{
	double result = 1e18;

	for (int round = 0; round < 20; round++) {
		struct epoll_event event;
		pthread_t thread;
		double begin, time;

		CHECK(!pthread_create(&thread, NULL, send_later, &a[round]));
		begin = cpu_time();
		CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
		time = cpu_time() - begin;
		result = time < result ? time : result;
		CHECK(!pthread_join(thread, NULL));
		CHECK(receive_packets(&b[event.data.u64]) == 1);
	}
	return result;
}

static void costs(void)
{
	enum { FEW = 40 };
	static struct port a[MANY], b[MANY];
	static const int ready[] = { 1, 10, 100, 1000 };
	const int small = set(), large = set();
	double of_small, of_large[4];

	open_many(a, b);
	for (int i = 0; i < FEW; i++)
		add(small, b[i].fd, EPOLLIN, (uint64_t)i);
	expect_nothing(small);
	of_small = time_of_wait(small, FEW, a, b, 1, 0);
	printf("1 of %d ready: %.0f ns, with a sleep %.0f ns\n", FEW, of_small, time_of_sleep(small, a, b));
	CHECK(!close(small));
	for (int i = 0; i < MANY; i++)
		add(large, b[i].fd, EPOLLIN, (uint64_t)i);
	expect_nothing(large);
	for (int i = 0; i < 4; i++) {
		of_large[i] = time_of_wait(large, MANY, a, b, ready[i], 0);
		printf("%d of %d ready: %.0f ns, where it may sleep %.0f ns\n", ready[i], MANY, of_large[i],
		       time_of_wait(large, MANY, a, b, ready[i], -1));
	}
	printf("1 of %d ready after a sleep: %.0f ns\n", MANY, time_of_sleep(large, a, b));
	/* With a look at each member, it would be 25 times as much, and all would cost what one does. */
	CHECK(of_large[0] < 5 * of_small);
	CHECK(of_large[3] > 10 * of_large[0]);
}

int main(int argument_count, char **arguments)
{
	static const struct test tests[] = {
		{ "errors", errors },	      { "levels", levels },
		{ "edges", edges },	      { "one-shots", one_shots },
		{ "failures", failures },     { "mixed", mixed },
		{ "rotation", rotation },     { "timeouts", timeouts },
		{ "interrupted", interrupted }, { "masked", masked },
		{ "canceled", canceled },     { "pipe", pipe_wakes },
		{ "switch", switch_wakes },   { "threads", threads },
		{ "changes", changes },	      { "closes", closes },
		{ "starts", starts },	      { "late", late },
		{ "copies", copies },	      { "forked", forked },
		{ "exec", executed },	      { "nested", nested },
		{ "polled", polled },	      { "costs", costs },
		{ "interface", interface },
		{ 0 },
	};

	program = arguments[0];
	if (argument_count == 4 && !strcmp(arguments[1], "executed"))
		return after_exec(atoi(arguments[2]), atoi(arguments[3]));
	return run_test(tests, argument_count, arguments);
}
