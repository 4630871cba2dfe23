/* poll(2), select(2) and their variants. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <sys/epoll.h>

static void ignore(int signal)
{
	(void)signal;
}

/* Two processes send one packet back and forth, and sleep between. */
static void wake_each_other(const char *one, const char *other)
{
	enum { ROUNDS = 500 };
	int ready[2];
	char byte;
	pid_t child;

	CHECK(!pipe(ready));
	child = fork();

	struct port port = open_port(child ? one : other);

	if (child)
		CHECK(read(ready[0], &byte, 1) == 1);
	else
		CHECK(write(ready[1], "r", 1) == 1);
	for (int round = 0; round < ROUNDS; round++) {
		struct pollfd entry = { .fd = port.fd, .events = POLLIN };

		if (child)
			send_packets(&port, 1);
		CHECK(poll(&entry, 1, 20000) == 1 && entry.revents == POLLIN);
		CHECK(take(&port) == 1);
		if (!child) {
			/* A wait for nothing sends what is pending. */
			put(&port, 1);
			entry.events = 0;
			CHECK(!poll(&entry, 1, 0));
		}
	}
	if (!child)
		exit(0);
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

static void unbound(void)
{
	struct pollfd entry = { .fd = open_device(), .events = POLLIN | POLLOUT };

	CHECK(poll(&entry, 1, -1) == 1 && entry.revents == POLLERR);
}

static void interrupted(void)
{
	const struct sigaction action = { .sa_handler = ignore, .sa_flags = SA_RESTART };
	struct port port = open_port("signal{1");
	struct pollfd entry = { .fd = port.fd, .events = POLLIN };
	const double start = now();

	CHECK(!sigaction(SIGALRM, &action, NULL));
	alarm(1);
	CHECK_FAILS(poll(&entry, 1, -1), EINTR);
	CHECK(now() - start < 10);
}

/* A signal that only the mask of ppoll lets through ends the sleep. */
static void masked(void)
{
	const struct sigaction action = { .sa_handler = ignore };
	struct port port = open_port("masked{1");
	struct pollfd entry = { .fd = port.fd, .events = POLLIN };
	const struct timespec limit = { .tv_sec = 20 };
	sigset_t blocked, none;

	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGALRM);
	CHECK(!sigaction(SIGALRM, &action, NULL) && !sigprocmask(SIG_BLOCK, &blocked, NULL));
	/* Pending before the wait, then during the sleep. */
	CHECK(!raise(SIGALRM));
	CHECK_FAILS(ppoll(&entry, 1, &limit, &none), EINTR);
	alarm(1);
	CHECK_FAILS(ppoll(&entry, 1, &limit, &none), EINTR);
	CHECK(!ppoll(&entry, 1, &(struct timespec){ 0 }, NULL));
}

static void timeouts(void)
{
	struct port port = open_port("time{1");
	struct pollfd entry = { .fd = port.fd, .events = POLLIN, .revents = POLLIN };
	double start = now();

	CHECK(!poll(&entry, 1, 0) && !entry.revents);
	CHECK(now() - start < 0.2);
	start = now();
	CHECK(!poll(&entry, 1, 300));
	CHECK(now() - start >= 0.3);
}

/* Other descriptors, closed ones, negative ones, and the token twice. */
static void mixed(void)
{
	struct port port = open_port("mixed{1");
	int ends[2];

	CHECK(!pipe(ends));

	struct pollfd entries[] = {
		{ .fd = ends[0], .events = POLLIN }, { .fd = port.fd, .events = POLLIN },
		{ .fd = -1, .events = POLLIN, .revents = POLLIN }, { .fd = port.fd, .events = POLLOUT },
		{ .fd = 999, .events = POLLIN },
	};

	CHECK(poll(entries, 5, -1) == 2);
	CHECK(!entries[0].revents && !entries[1].revents && !entries[2].revents);
	CHECK(entries[3].revents == POLLOUT && entries[4].revents == POLLNVAL);
	CHECK(write(ends[1], "x", 1) == 1);
	CHECK(poll(entries, 2, -1) == 1 && entries[0].revents == POLLIN);
}

/* A byte in a pipe ends a sleep that waits for packets as well. */
static void other_descriptor_wakes(void)
{
	struct port port = open_port("other{1");
	int ends[2];
	pid_t child;

	CHECK(!pipe(ends));
	child = fork();
	if (!child) {
		usleep(200000);
		_exit(write(ends[1], "x", 1) != 1);
	}

	struct pollfd entries[] = { { .fd = port.fd, .events = POLLIN }, { .fd = ends[0], .events = POLLIN } };

	CHECK(poll(entries, 2, 20000) == 1 && entries[1].revents == POLLIN);
	join(child);
}

/* A set that is too large for a stack, and sets that the kernel refuses. */
static void large_sets(void)
{
	enum { MANY = 200 };
	struct pollfd entries[MANY];
	struct port port = open_port("large{1");
	int ends[2];

	CHECK(!pipe(ends));
	for (int i = 0; i < MANY; i++)
		entries[i] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
	entries[150] = (struct pollfd){ .fd = port.fd, .events = POLLIN };
	CHECK(!poll(entries, MANY, 100));
	entries[150].events = POLLOUT;
	CHECK(poll(entries, MANY, -1) == 1 && entries[150].revents == POLLOUT);
	CHECK(write(ends[1], "x", 1) == 1);
	CHECK(poll(entries, MANY, -1) == MANY);
	CHECK_FAILS(poll(NULL, 1, 0), EFAULT);
	CHECK(!poll(NULL, 0, 1));
}

static void selects(void)
{
	struct port a = open_port("select{1"), b = open_port("select}1");
	struct timeval limit = { .tv_sec = 20 };
	fd_set reads, writes;

	FD_ZERO(&reads);
	FD_ZERO(&writes);
	FD_SET(b.fd, &reads);
	FD_SET(a.fd, &writes);
	CHECK(select(b.fd + 1, &reads, &writes, NULL, &limit) == 1);
	CHECK(!FD_ISSET(b.fd, &reads) && FD_ISSET(a.fd, &writes) && limit.tv_sec >= 10);
	send_packets(&a, 2);
	FD_SET(b.fd, &reads);
	CHECK(select(b.fd + 1, &reads, NULL, NULL, NULL) == 1 && FD_ISSET(b.fd, &reads));
	CHECK(take(&b) == 2);
	limit = (struct timeval){ .tv_usec = 200000 };
	CHECK(!select(b.fd + 1, &reads, NULL, NULL, &limit));
	CHECK(!FD_ISSET(b.fd, &reads) && !limit.tv_sec && !limit.tv_usec);
	FD_SET(b.fd, &reads);
	CHECK(!pselect(b.fd + 1, &reads, NULL, NULL, &(struct timespec){ 0 }, NULL));
}

/* Indexes that the program has spoiled are an error of the wait, and usable again afterwards. */
static void spoiled(void)
{
	struct port port = open_port("spoiled{1");
	struct pollfd entry = { .fd = port.fd, .events = POLLOUT };

	NETMAP_TXRING(port.nifp, 0)->cur = 1u << 31;
	CHECK(poll(&entry, 1, 1000) == 1 && entry.revents & POLLERR);
	CHECK(poll(&entry, 1, 1000) == 1 && entry.revents == POLLOUT);
	NETMAP_TXRING(port.nifp, 0)->head = 1u << 31;
	CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
}

static void by_epoll(void)
{
	struct port port = open_port("epoll{1");
	struct epoll_event event = { .events = EPOLLIN };

	CHECK_FAILS(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, port.fd, &event), EPERM);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "pipe", pipe_wakes },	      { "switch", switch_wakes },
		{ "unbound", unbound },	      { "interrupted", interrupted },
		{ "masked", masked },	      { "timeouts", timeouts },
		{ "mixed", mixed },	      { "other", other_descriptor_wakes },
		{ "large", large_sets },	      { "select", selects },
		{ "spoiled", spoiled },	      { "epoll", by_epoll },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
