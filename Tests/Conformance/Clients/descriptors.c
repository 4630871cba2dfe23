/* The netmap descriptor as a file. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <dirent.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/syscall.h>

int close_range(unsigned int, unsigned int, int);
void closefrom(int);

static void lowest_number(void)
{
	const int a = dup(0), b = dup(0), c = dup(0);

	CHECK(c == b + 1 && b == a + 1);
	CHECK(!close(a) && !close(b));
	CHECK(open_device() == a);

	struct port port = open_port("lowest{1");

	CHECK(port.fd == b);
	/* What the library keeps open is out of the way. */
	CHECK(dup(0) == c + 1);
	CHECK(!fclose(stdin) && open_device() == 0);
	CHECK(fcntl(port.fd, F_GETFD) == 0);
	CHECK(fcntl(open("/dev/netmap", O_RDWR | O_CLOEXEC), F_GETFD) == FD_CLOEXEC);
}

static void copies(void)
{
	struct port a = open_port("copies{1"), b = open_port("copies}1");
	const int second = dup(a.fd), third = fcntl(a.fd, F_DUPFD, 50), fourth = dup2(a.fd, 60);

	CHECK(second >= 0 && third >= 50 && fourth == 60);
	CHECK(!close(a.fd));
	CHECK_FAILS(ioctl(a.fd, NIOCTXSYNC, NULL), EBADF);
	a.fd = second;
	send_packets(&a, 2);
	CHECK(receive_packets(&b) == 2);
	CHECK(!close(second) && !close(third));
	a.fd = fourth;
	send_packets(&a, 1);
	CHECK(receive_packets(&b) == 1);
	/* Another file takes the number, which is no netmap descriptor any more. */
	CHECK(dup2(open("/dev/null", O_RDWR), fourth) == fourth);
	CHECK_FAILS(ioctl(fourth, NIOCTXSYNC, NULL), ENOTTY);
	struct port again = { .fd = open_device() };

	CHECK(!bind_port(&again, "copies{1", NR_EXCLUSIVE));
}

/* Each way to close lets the port be opened exclusively at once. */
static void closed_is_free(void)
{
	for (int i = 0; i < 60; i++) {
		struct port port = { .fd = open_device() };
		FILE *file;

		CHECK(!bind_port(&port, i % 2 ? "free{1" : "vale8:free", NR_EXCLUSIVE));
		map_port(&port);
		send_packets(&port, 1);
		switch (i % 5) {
		case 0:
			CHECK(!close(port.fd));
			break;
		case 1:
			file = fdopen(port.fd, "r");
			CHECK(file && !fclose(file));
			break;
		case 2:
			CHECK(!close_range((unsigned)port.fd, (unsigned)port.fd, 0));
			break;
		case 3:
			closefrom(port.fd);
			break;
		case 4:
			CHECK(dup2(0, port.fd) == port.fd && !close(port.fd));
			break;
		}
		CHECK_FAILS(ioctl(port.fd, NIOCTXSYNC, NULL), EBADF);
		CHECK(!munmap(port.memory, port.reg.nr_memsize));
	}
}

/* As daemons begin. */
static void everything_closed(void)
{
	struct port a = open_port("all{1");

	for (int fd = (int)sysconf(_SC_OPEN_MAX) < 70000 ? (int)sysconf(_SC_OPEN_MAX) : 70000; fd > 2; fd--)
		close(fd);
	CHECK_FAILS(ioctl(a.fd, NIOCTXSYNC, NULL), EBADF);

	struct port b = open_port("all{1"), c = open_port("all}1");

	send_packets(&b, 4);
	CHECK(receive_packets(&c) == 4);
	closefrom(3);
	b = open_port("all{2");
	c = open_port("all}2");
	send_packets(&b, 4);
	CHECK(receive_packets(&c) == 4);
}

static void child_syncs(void)
{
	struct port a = open_port("child{1"), b = open_port("child}1");
	const pid_t child = fork();

	if (!child) {
		send_packets(&a, 5);
		exit(0);
	}
	join(child);
	CHECK(receive_packets(&b) == 5);
	send_packets(&a, 2);
	CHECK(receive_packets(&b) == 2);
}

static void child_waits(void)
{
	struct port a = open_port("sleeps{1"), b = open_port("sleeps}1");
	const pid_t child = fork();

	if (!child) {
		struct pollfd entry = { .fd = b.fd, .events = POLLIN };

		CHECK(poll(&entry, 1, 20000) == 1 && take(&b) == 1);
		exit(0);
	}
	usleep(300000);
	send_packets(&a, 1);
	join(child);
}

/* The numbers of a process's open files, but for the one that this function uses. */
static int open_numbers(int *numbers, int capacity)
{
	DIR *const folder = opendir("/proc/self/fd");
	int count = 0;

	CHECK(folder);
	for (struct dirent *entry; (entry = readdir(folder));)
		if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(folder)) {
			CHECK(count < capacity);
			numbers[count++] = atoi(entry->d_name);
		}
	closedir(folder);
	return count;
}

/* The mappings of a process whose lines contain a text. */
static int mappings(const char *text)
{
	FILE *const file = fopen("/proc/self/maps", "r");
	char line[5000];
	int count = 0;

	CHECK(file);
	while (fgets(line, sizeof line, file))
		count += strstr(line, text) != NULL;
	fclose(file);
	return count;
}

/* A fork child has the program's descriptors alone, and at its first use of netmap none of its parent's memory. */
static void child_frees(void)
{
	int numbers[100], before[100];
	const int count = open_numbers(before, 100);
	struct port a = open_port("frees{1"), b = open_port("frees}1");
	struct pollfd entry = { .fd = b.fd, .events = POLLIN };
	pid_t child;

	CHECK(!poll(&entry, 1, 10));
	child = fork();
	if (!child) {
		CHECK(open_numbers(numbers, 100) <= count + 2 + 1);
		for (int i = 0; i < count; i++)
			CHECK(fcntl(before[i], F_GETFD) >= 0);
		CHECK(!munmap(a.memory, a.reg.nr_memsize) && !munmap(b.memory, b.reg.nr_memsize));
		CHECK(mappings("netmap-region") == 2);
		open_device();
		CHECK(mappings("netmap-region") == 0);
		exit(0);
	}
	join(child);
	send_packets(&a, 1);
	CHECK(receive_packets(&b) == 1);
}

/* All numbers can be the targets of dup2, also those that the library uses. */
static void replaced(void)
{
	int before[100], numbers[100], count, others = 0;
	const int null = open("/dev/null", O_RDWR), known = open_numbers(before, 100);
	struct port a = open_port("replaced{1"), b = open_port("replaced}1");
	struct pollfd entry = { .fd = b.fd, .events = POLLIN };

	CHECK(!poll(&entry, 1, 10));
	count = open_numbers(numbers, 100);
	for (int i = 0; i < count; i++) {
		const int number = numbers[i];
		bool is_known = number == a.fd || number == b.fd;
		pid_t child;

		for (int j = 0; j < known; j++)
			is_known |= before[j] == number;
		if (is_known)
			continue;
		others++;
		/* Not in use as far as the program knows, and then its own. */
		CHECK_FAILS(close(number), EBADF);
		CHECK_FAILS(dup2(999, number), EBADF);
		CHECK(i % 2 ? dup2(null, number) == number : dup3(null, number, O_CLOEXEC) == number);
		CHECK(write(number, "x", 1) == 1);
		send_packets(&a, 2);
		CHECK(receive_packets(&b) == 2);
		child = fork();
		if (!child) {
			usleep(50000);
			send_packets(&a, 1);
			_exit(0);
		}

		const double start = now();

		CHECK(poll(&entry, 1, 20000) == 1 && take(&b) == 1 && now() - start < 0.9);
		join(child);
		CHECK(write(number, "x", 1) == 1 && !close(number));
	}
	CHECK(others > 0);

	struct port c = open_port("replaced{2");

	send_packets(&c, 1);
}

/* A bind that cannot be mapped leaves the descriptor unbound. */
static void no_memory(void)
{
	struct port port = { .fd = open_device() }, first = open_port("memory{1");
	struct rlimit limit, former;
	FILE *const file = fopen("/proc/self/statm", "r");
	unsigned long pages;

	CHECK(file && fscanf(file, "%lu", &pages) == 1 && !fclose(file));
	CHECK(!getrlimit(RLIMIT_AS, &former));
	limit = former;
	limit.rlim_cur = pages * 4096 + (256 << 10);
	CHECK(!setrlimit(RLIMIT_AS, &limit));
	CHECK_FAILS(bind_port(&port, "memory{2", 0), ENOMEM);
	CHECK(!setrlimit(RLIMIT_AS, &former));
	CHECK_FAILS(ioctl(port.fd, NIOCTXSYNC, NULL), ENXIO);
	CHECK(!bind_port(&port, "memory{2", NR_EXCLUSIVE));
	map_port(&port);
	send_packets(&port, 1);
	send_packets(&first, 1);
}

/* The child closes its copy and ends; the port stays the parent's. */
static void child_closes(void)
{
	struct port a = open_port("closes{1"), b = open_port("closes}1");
	const pid_t child = fork();

	if (!child) {
		CHECK(!close(a.fd));
		exit(0);
	}
	join(child);
	send_packets(&a, 1);
	CHECK(receive_packets(&b) == 1);
}

/* A child that shares the memory changes nothing in it. */
static void vfork_child_closes(void)
{
	struct port a = open_port("vfork{1"), b = open_port("vfork}1");
	const pid_t child = vfork();

	if (!child) {
		close(a.fd);
		_exit(0);
	}
	join(child);
	send_packets(&a, 1);
	CHECK(receive_packets(&b) == 1);
}

/* Runs in a child. Returns 0 if it can open and use a port. */
static int uses_port(void *opened)
{
	struct port port = { .fd = open("/dev/netmap", O_RDWR) };

	*(atomic_int *)opened = port.fd >= 0 ? 0 : errno;
	if (port.fd < 0 || bind_port(&port, "cloned{1", 0))
		return 1;
	map_port(&port);
	return ioctl(port.fd, NIOCTXSYNC, NULL) != 0;
}

static int call_in_child(int flags, atomic_int *opened)
{
	static char stack[1 << 20] __attribute__((aligned(16)));
	const pid_t child = clone(uses_port, stack + sizeof stack, flags | SIGCHLD, opened);
	int status;

	if (child < 0 && errno == EPERM)
		return -1;
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Children of clone(2), of which libc knows nothing, before their parent has opened the device and afterwards. */
static void cloned_children(void)
{
	for (int i = 0; i < 2; i++) {
		atomic_int *const opened = mmap(NULL, sizeof *opened, PROT_READ | PROT_WRITE,
						MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		CHECK(opened != MAP_FAILED);
		/* Memory of its own. */
		CHECK(!call_in_child(0, opened) && !*opened);
		/* Its parent's memory, in which it changes nothing. */
		CHECK(call_in_child(CLONE_VM | CLONE_VFORK, opened) == 1 && *opened == EAGAIN);
		*opened = 0;
		/* A child that cannot see its parent, if this user may make one. */
		CHECK(call_in_child(CLONE_NEWPID, opened) <= 0 && !*opened);

		struct port port = open_port("cloned{1");

		CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL) && !close(port.fd));
	}
}

/* The first thread that syncs makes no atomic additions: other threads pass a barrier instead when a binding is released. */
static void barriers(void)
{
	enum { GET_REGISTRATIONS = 1 << 9, IS_REGISTERED = MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED };
	const long before = syscall(SYS_membarrier, GET_REGISTRATIONS, 0, 0);

	/* An older kernel does not tell. */
	if (before < 0)
		return;
	CHECK(!(before & IS_REGISTERED));
	open_port("barriers{1");
	CHECK(syscall(SYS_membarrier, GET_REGISTRATIONS, 0, 0) & IS_REGISTERED);
}

static void pass(int socket, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS,
				  .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec part = { .iov_base = "x", .iov_len = 1 };
	const struct msghdr message = { .msg_iov = &part,
					.msg_iovlen = 1,
					.msg_control = &control,
					.msg_controllen = sizeof control };

	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	CHECK(sendmsg(socket, &message, 0) == 1);
}

static int receive(int socket)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };
	int fd;

	CHECK(recvmsg(socket, &message, 0) == 1);
	memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
	return fd;
}

/* A process that has never opened netmap maps, sends and receives by a descriptor that arrives. */
static void passed(void)
{
	int sockets[2];
	pid_t child;

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets));
	child = fork();
	if (!child) {
		struct port port = { .fd = receive(sockets[1]) };
		uint64_t numbers[2];

		CHECK(read(sockets[1], numbers, sizeof numbers) == sizeof numbers);
		port.reg.nr_memsize = numbers[0];
		port.reg.nr_offset = numbers[1];
		map_port(&port);
		send_packets(&port, 3);
		exit(0);
	}

	struct port a = open_port("passed{1"), b = open_port("passed}1");
	const uint64_t numbers[2] = { a.reg.nr_memsize, a.reg.nr_offset };

	pass(sockets[0], a.fd);
	CHECK(write(sockets[0], numbers, sizeof numbers) == sizeof numbers);
	join(child);
	CHECK(receive_packets(&b) == 3);
	/* The receiver's end has not ended the port. */
	send_packets(&a, 1);
	CHECK(receive_packets(&b) == 1);
}

/* Two programs in turn: the second one is told the number. */
static char *program;

static void inherited(void)
{
	const char *const number = getenv("NETMAP_TEST_DESCRIPTOR");
	char text[20];

	if (!number) {
		struct port port = open_port("exec{1");

		snprintf(text, sizeof text, "%d", port.fd);
		CHECK(!setenv("NETMAP_TEST_DESCRIPTOR", text, 1));
		execl(program, program, "exec", NULL);
		CHECK(!"execl failed");
	}

	const int fd = atoi(number);
	struct pollfd entry = { .fd = fd, .events = POLLOUT };

	CHECK(poll(&entry, 1, 0) == 1 && entry.revents == POLLOUT);
	CHECK(!ioctl(fd, NIOCTXSYNC, NULL));
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
	struct port port = { .fd = open_device() };

	CHECK_FAILS(bind_port(&port, "exec{1", NR_EXCLUSIVE), EBUSY);
	CHECK(!close(fd));
	CHECK(!bind_port(&port, "exec{1", NR_EXCLUSIVE));
}

/* The descriptor that threads use while the main thread closes it and opens others. */
static _Atomic int shared = -1;
static _Atomic int is_over;

static void use_shared(int signal)
{
	struct pollfd entry = { .fd = shared, .events = POLLIN };

	(void)signal;
	ioctl(entry.fd, NIOCTXSYNC, NULL);
	poll(&entry, 1, 0);
}

static void *sync_shared(void *argument)
{
	while (!is_over)
		ioctl(shared, NIOCRXSYNC, NULL);
	return argument;
}

static void *wait_for_shared(void *argument)
{
	while (!is_over) {
		struct pollfd entry = { .fd = shared, .events = POLLIN };

		poll(&entry, 1, 1);
	}
	return argument;
}

static void closed_by_another_thread(void)
{
	const struct sigaction action = { .sa_handler = use_shared };
	const double start = now();
	pthread_t threads[2];

	CHECK(!sigaction(SIGUSR1, &action, NULL));
	CHECK(!pthread_create(&threads[0], NULL, sync_shared, NULL));
	CHECK(!pthread_create(&threads[1], NULL, wait_for_shared, NULL));
	for (int round = 0; round < 20 || now() - start < 2; round++) {
		struct port port = open_port(round % 2 ? "threads{1" : "vale9:threads");
		const int copy = dup(port.fd);

		shared = port.fd;
		pthread_kill(threads[round % 2], SIGUSR1);
		usleep(500);
		CHECK(!close(port.fd));
		shared = copy;
		pthread_kill(threads[round % 2], SIGUSR1);
		usleep(500);
		CHECK(!close(copy));
		CHECK(!munmap(port.memory, port.reg.nr_memsize));
	}
	is_over = 1;
	CHECK(!pthread_join(threads[0], NULL) && !pthread_join(threads[1], NULL));
}

/* A socket of the program's own stays a socket. */
static void other_sockets(void)
{
	int sockets[2];
	char bytes[8];

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets));
	struct pollfd entry = { .fd = sockets[0], .events = POLLIN };

	CHECK(!poll(&entry, 1, 0));
	CHECK_FAILS(ioctl(sockets[0], NIOCTXSYNC, NULL), ENOTTY);
	CHECK_FAILS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, sockets[0], 0), ENODEV);
	CHECK(write(sockets[1], "hello", 5) == 5 && poll(&entry, 1, 0) == 1);
	CHECK(read(sockets[0], bytes, sizeof bytes) == 5);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "lowest", lowest_number },	{ "copies", copies },
		{ "closed", closed_is_free },	{ "everything", everything_closed },
		{ "child-syncs", child_syncs }, { "child-waits", child_waits },
		{ "child-closes", child_closes }, { "vfork", vfork_child_closes },
		{ "passed", passed },		{ "exec", inherited },
		{ "child-frees", child_frees }, { "replaced", replaced },
		{ "memory", no_memory },	{ "cloned", cloned_children },
		{ "barriers", barriers },
		{ "sockets", other_sockets },	{ "threads", closed_by_another_thread },
		{ 0 },
	};

	program = arguments[0];
	return run_test(tests, count, arguments);
}
