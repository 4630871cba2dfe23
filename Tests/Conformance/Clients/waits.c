/* poll(2), select(2) and their variants. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

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
	/* Again and again: the first one comes before the wait if this process had no CPU for so long. */
	ualarm(900000, 900000);
	CHECK_FAILS(poll(&entry, 1, -1), EINTR);
	CHECK(now() - start < 10);
}

static void *wait_for_packets(void *argument)
{
	struct pollfd entry = { .fd = *(int *)argument, .events = POLLIN };

	return (void *)(intptr_t)poll(&entry, 1, -1);
}

/* One packet ends the waits of all threads of two processes. */
static void broadcast(void)
{
	enum { THREADS = 4 };
	struct port port = open_port("all{1"), other = open_port("all}1");
	pthread_t threads[THREADS];
	const pid_t child = fork();
	void *result;

	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, wait_for_packets, &port.fd));
	usleep(200000);
	if (child)
		send_packets(&other, 1);
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(threads[i], &result) && (intptr_t)result == 1);
	if (!child)
		exit(0);
	join(child);
}

/* A thread that waits can be canceled, and leaves nothing behind that keeps the port. */
static void canceled(void)
{
	for (int round = 0; round < 20; round++) {
		struct port port = { .fd = open_device() };
		struct pollfd entry = { .fd = port.fd, .events = POLLIN };
		pthread_t thread;
		void *result;

		CHECK(!bind_port(&port, "canceled{1", NR_EXCLUSIVE));
		CHECK(!pthread_create(&thread, NULL, wait_for_packets, &port.fd));
		/* Before the wait, in its first sleep, and in a later one. */
		usleep(round == 19 ? 1500000 : round * 1000);
		CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result));
		CHECK(result == PTHREAD_CANCELED);
		CHECK(!poll(&entry, 1, 0));
		CHECK(!close(port.fd));
	}
}

/* The number of system calls of a child between two calls that no kernel has. */
enum { MARK = 1 << 20 };

static int count_calls(pid_t child)
{
	struct __ptrace_syscall_info info;
	int status, marks = 0, calls = 0;

	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		CHECK(!ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD));
		CHECK(ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info) > 0);
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
			marks += info.entry.nr == MARK;
			calls += marks == 1 && info.entry.nr != MARK;
		}
		CHECK(!ptrace(PTRACE_SYSCALL, child, 0, 0));
	}
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status) && marks == 2);
	return calls;
}

/* A signal that comes after a sleep has ended and before the next one begins ends a wait as it does during a sleep. */
static void signal_between_sleeps(void)
{
	enum { KNOWN_SLEEP = 2 };
	struct __ptrace_syscall_info info;
	const pid_t child = fork();
	int status, sleeps = 0;
	bool is_sleep = false;

	if (!child) {
		const struct sigaction action = { .sa_handler = ignore, .sa_flags = SA_RESTART };
		struct port port = open_port("between{1");
		struct pollfd entry = { .fd = port.fd, .events = POLLIN };

		CHECK(!sigaction(SIGUSR1, &action, NULL) && !ptrace(PTRACE_TRACEME, 0, 0, 0) && !raise(SIGSTOP));
		CHECK_FAILS(poll(&entry, 1, 20000), EINTR);
		exit(0);
	}
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		const int signal = WSTOPSIG(status);

		CHECK(!ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD));
		if (signal == (SIGTRAP | 0x80)) {
			CHECK(ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info) > 0);
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
				is_sleep = info.entry.nr == SYS_ppoll && info.entry.args[2];
			else if (is_sleep && !info.exit.rval && ++sleeps == KNOWN_SLEEP)
				CHECK(!kill(child, SIGUSR1));
		}
		CHECK(!ptrace(PTRACE_SYSCALL, child, 0, signal == SIGUSR1 ? SIGUSR1 : 0));
	}
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status) && sleeps == KNOWN_SLEEP);
}

/* Sends a packet every 3 ms, to wake a process that sleeps. */
static void send_slowly(void)
{
	struct port port = open_port("calls{1");

	for (;; usleep(3000))
		if (nm_ring_space(NETMAP_TXRING(port.nifp, 0)) > 1)
			send_packets(&port, 1);
}

/* What a child does for count_calls(): syncs and waits that find packets or room, or waits that sleep. */
static void work(bool sleeps)
{
	const pid_t sender = sleeps ? fork() : 0;

	if (sleeps && !sender)
		send_slowly();

	struct port port = sleeps ? (struct port){ 0 } : open_port("calls{1"), other = open_port("calls}1");
	struct pollfd output = { .fd = port.fd, .events = POLLOUT };
	struct pollfd input = { .fd = other.fd, .events = POLLIN };

	for (int round = 0; round < 20; round++) {
		if (round == 10)
			syscall(MARK);
		if (!sleeps) {
			CHECK(poll(&output, 1, -1) == 1);
			send_packets(&port, 1);
		}
		CHECK(poll(&input, 1, 10000) == 1);
		CHECK(take(&other) >= 1 && !ioctl(other.fd, NIOCRXSYNC, NULL));
	}
	syscall(MARK);
	if (sleeps)
		kill(sender, SIGKILL);
	exit(0);
}

/* Syncs and waits make no system call unless they sleep, and few then. */
static void system_calls(void)
{
	for (int sleeps = 0; sleeps < 2; sleeps++) {
		const pid_t child = fork();
		int calls;

		if (!child) {
			CHECK(!ptrace(PTRACE_TRACEME, 0, 0, 0));
			raise(SIGSTOP);
			work(sleeps);
		}
		calls = count_calls(child);
		/* The sleep, and a look whether the descriptor still is the port's. More if the machine is busy. */
		CHECK(calls <= (sleeps ? 30 : 0));
	}
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

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "pipe", pipe_wakes },	      { "switch", switch_wakes },
		{ "unbound", unbound },	      { "interrupted", interrupted },
		{ "masked", masked },	      { "timeouts", timeouts },
		{ "mixed", mixed },	      { "other", other_descriptor_wakes },
		{ "large", large_sets },	      { "select", selects },
		{ "spoiled", spoiled },	      { "broadcast", broadcast },
		{ "canceled", canceled },     { "calls", system_calls },
		{ "between", signal_between_sleeps }, { 0 },
	};

	return run_test(tests, count, arguments);
}
