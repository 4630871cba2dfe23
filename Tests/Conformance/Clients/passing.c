/* Descriptors that pass between processes and threads. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { MANY = 3 };

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(MANY * sizeof(int))];
};

static void send_descriptors(int socket, const int *fds, int count)
{
	union control control = { .header = { .cmsg_level = SOL_SOCKET,
					      .cmsg_type = SCM_RIGHTS,
					      .cmsg_len = CMSG_LEN(count * sizeof(int)) } };
	struct iovec part = { .iov_base = "x", .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = CMSG_SPACE(count * sizeof(int)) };

	memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	CHECK(sendmsg(socket, &message, 0) == 1);
}

/* A socket on which one descriptor waits, received by nobody. */
static int in_flight(int fd)
{
	int sockets[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	send_descriptors(sockets[0], &fd, 1);
	CHECK(!close(sockets[0]));
	return sockets[1];
}

static int receive_descriptor(int socket, int flags)
{
	union control control;
	char byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };
	int fd;

	CHECK(recvmsg(socket, &message, flags) == 1);
	memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
	return fd;
}

/* Several in one message, and several messages by recvmmsg. */
static void many_at_once(void)
{
	struct port ports[MANY] = { open_port("many{1"), open_port("many{2"), open_port("many{3") };
	const int fds[MANY] = { ports[0].fd, ports[1].fd, ports[2].fd };
	union control controls[2];
	char bytes[2];
	struct iovec parts[2] = { { &bytes[0], 1 }, { &bytes[1], 1 } };
	struct mmsghdr messages[2];
	int sockets[2], received[MANY];

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets));
	send_descriptors(sockets[0], fds, MANY);
	send_descriptors(sockets[0], fds, 1);
	memset(messages, 0, sizeof messages);
	for (int i = 0; i < 2; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i],
						       .msg_iovlen = 1,
						       .msg_control = &controls[i],
						       .msg_controllen = sizeof controls[i] };
	CHECK(recvmmsg(sockets[1], messages, 2, 0, NULL) == 2);
	memcpy(received, CMSG_DATA(&controls[0].header), sizeof received);
	for (int i = 0; i < MANY; i++) {
		CHECK(!close(ports[i].fd));
		CHECK(!ioctl(received[i], NIOCTXSYNC, NULL));
	}
	memcpy(received, CMSG_DATA(&controls[1].header), sizeof *received);

	struct pollfd entry = { .fd = received[0], .events = POLLOUT };

	CHECK(poll(&entry, 1, 0) == 1 && entry.revents == POLLOUT);
}

/* A descriptor on its way keeps its port; if it never arrives, the port ends with the sockets. */
static void on_its_way(void)
{
	struct port port = open_port("way{1"), other = { .fd = open_device() };
	const int socket = in_flight(port.fd);

	CHECK(!close(port.fd));
	CHECK_FAILS(bind_port(&other, "way{1", NR_EXCLUSIVE), EBUSY);
	port.fd = receive_descriptor(socket, 0);
	CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
	CHECK(!close(socket));

	const int second = in_flight(port.fd);

	CHECK(!close(port.fd) && !close(second));
	CHECK(!bind_port(&other, "way{1", NR_EXCLUSIVE));
}

/* The sender exits while its descriptor is on the way. */
static void sender_exits(void)
{
	struct port other = { .fd = open_device() };
	int sockets[2], fd;
	pid_t child;

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets));
	child = fork();
	if (!child) {
		struct port port = open_port("exits{1");

		send_descriptors(sockets[0], &port.fd, 1);
		exit(0);
	}
	join(child);
	CHECK_FAILS(bind_port(&other, "exits{1", NR_EXCLUSIVE), EBUSY);
	fd = receive_descriptor(sockets[1], MSG_CMSG_CLOEXEC);
	CHECK(!ioctl(fd, NIOCTXSYNC, NULL));
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
	CHECK(!close(fd));
	CHECK(!bind_port(&other, "exits{1", NR_EXCLUSIVE));
}

/* The receiver is killed; its copy ends with it, and the sender's port does not. */
static void receiver_dies(void)
{
	struct port a = open_port("dies{1"), b = open_port("dies}1");
	int sockets[2], status;
	char byte;
	pid_t child;

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets));
	child = fork();
	if (!child) {
		struct pollfd entry;

		close(a.fd);
		close(b.fd);
		entry = (struct pollfd){ .fd = receive_descriptor(sockets[1], 0), .events = POLLIN };
		CHECK(!ioctl(entry.fd, NIOCRXSYNC, NULL));
		CHECK(write(sockets[1], "r", 1) == 1);
		poll(&entry, 1, -1);
		exit(1);
	}
	send_descriptors(sockets[0], &b.fd, 1);
	CHECK(read(sockets[0], &byte, 1) == 1);
	usleep(50000);
	CHECK(!kill(child, SIGKILL) && waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	send_packets(&a, 2);
	CHECK(receive_packets(&b) == 2);
}

/* A process that binds, and another one that maps and syncs. */
static void bound_by_child(void)
{
	struct port port = { .fd = open_device() }, other = open_port("bound}1");
	const pid_t child = fork();

	if (!child) {
		CHECK(!bind_port(&port, "bound{1", 0));
		exit(0);
	}
	join(child);
	port.memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, port.fd, 0);
	CHECK(port.memory != MAP_FAILED);
	CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL) && !ioctl(port.fd, NIOCRXSYNC, NULL));
	CHECK_FAILS(bind_port(&port, "bound{2", 0), EBUSY);
	CHECK(!close(other.fd));
}

/* A killed holder's ports are free when it has been waited for. */
static void killed(void)
{
	for (int round = 0; round < 30; round++) {
		int ready[2];
		char byte;
		pid_t child;

		CHECK(!pipe(ready));
		child = fork();
		if (!child) {
			struct port port = { .fd = open_device() };

			CHECK(!bind_port(&port, "killed{1", NR_EXCLUSIVE));
			map_port(&port);
			CHECK(write(ready[1], "r", 1) == 1);
			for (;;)
				ioctl(port.fd, NIOCTXSYNC, NULL);
		}
		CHECK(read(ready[0], &byte, 1) == 1);
		CHECK(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);

		struct port port = { .fd = open_device() };

		CHECK(!bind_port(&port, "killed{1", NR_EXCLUSIVE));
		CHECK(!close(port.fd) && !close(ready[0]) && !close(ready[1]));
	}
}

/* A child is killed while it syncs rings that its parent has too: the parent's go on. */
static void killed_in_sync(void)
{
	struct port a = open_port("syncing{1"), b = open_port("syncing}1");

	for (int round = 0; round < 40; round++) {
		const pid_t child = fork();

		if (!child)
			for (;;) {
				ioctl(a.fd, NIOCTXSYNC, NULL);
				ioctl(b.fd, NIOCRXSYNC, NULL);
			}
		usleep(3000);
		CHECK(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);
		put(&a, 1);
		/* The first sync may have to release the lock of the dead process. */
		for (int try = 0; !receive_packets(&b); try++) {
			CHECK(try < 5000);
			CHECK(!ioctl(a.fd, NIOCTXSYNC, NULL));
			usleep(1000);
		}
	}
}

static void ask_for_info(int fd, const char *name, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		struct nmreq_port_info_get info = { 0 };
		struct nmreq_header header = { .nr_version = NETMAP_API,
					       .nr_reqtype = NETMAP_REQ_PORT_INFO_GET,
					       .nr_body = (uintptr_t)&info };

		snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
		CHECK(!ioctl(fd, NIOCCTRL, &header));
		CHECK(!strcmp(header.nr_name, name));
		CHECK(info.nr_tx_rings == (name[0] == 'v' ? 2 : 1));
	}
}

static int shared_fd;

static void *ask(void *name)
{
	ask_for_info(shared_fd, name, 300);
	return NULL;
}

/* Processes and threads make requests on one descriptor at once; each gets its own answer. */
static void requests_at_once(void)
{
	struct port two = { .fd = open_device(), .reg = { .nr_mode = NR_REG_ALL_NIC, .nr_tx_rings = 2, .nr_rx_rings = 2 } };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_name = "vale0:two",
				       .nr_body = (uintptr_t)&two.reg };
	pthread_t thread;
	pid_t child;

	CHECK(!ioctl(two.fd, NIOCCTRL, &header));
	shared_fd = open_device();
	child = fork();
	if (!child) {
		ask_for_info(shared_fd, "vale0:two", 300);
		exit(0);
	}
	CHECK(!pthread_create(&thread, NULL, ask, "vale0:two"));
	ask_for_info(shared_fd, "pipes{1", 300);
	CHECK(!pthread_join(thread, NULL));
	join(child);
}

/* Numbers that change hands by calls that the library does not see. */
static void behind_the_library(void)
{
	struct port port = open_port("behind{1"), other = open_port("behind}1");
	int ends[2], copy;

	CHECK(!pipe(ends));
	/* The token's number becomes a pipe's. */
	copy = dup(port.fd);
	CHECK(syscall(SYS_dup3, ends[0], port.fd, 0) == port.fd);
	struct pollfd entry = { .fd = port.fd, .events = POLLIN };

	CHECK(!poll(&entry, 1, 20));
	CHECK(write(ends[1], "x", 1) == 1);
	CHECK(poll(&entry, 1, 5000) == 1 && entry.revents == POLLIN);
	CHECK_FAILS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, port.fd, 0), ENODEV);
	/* A pipe's number becomes the token's, before and after it was looked at. */
	CHECK(syscall(SYS_dup3, copy, ends[0], 0) == ends[0]);
	CHECK(!ioctl(ends[0], NIOCTXSYNC, NULL));
	CHECK(!pipe(ends) && !poll(&(struct pollfd){ .fd = ends[0], .events = POLLIN }, 1, 0));
	CHECK(syscall(SYS_dup3, copy, ends[0], 0) == ends[0]);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, ends[0], 0) != MAP_FAILED);
	/* A copy by the kernel from this very process. */
	const int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	const int taken = (int)syscall(SYS_pidfd_getfd, self, copy, 0);

	if (taken >= 0) {
		entry = (struct pollfd){ .fd = taken, .events = POLLOUT };
		CHECK(poll(&entry, 1, 1000) == 1 && entry.revents == POLLOUT);
		CHECK(!ioctl(taken, NIOCTXSYNC, NULL));
	}
	CHECK(!close(other.fd));
}

static void nonblocking(void)
{
	struct port a = open_port("fast{1"), b = open_port("fast}1"), c = { .fd = open_device() };
	struct pollfd entry = { .fd = b.fd, .events = POLLIN };
	const double start = now();
	int on = 1;

	CHECK(!fcntl(a.fd, F_SETFL, O_NONBLOCK) && !ioctl(b.fd, FIONBIO, &on));
	CHECK(!fcntl(c.fd, F_SETFL, fcntl(c.fd, F_GETFL) | O_NONBLOCK));
	CHECK(fcntl(a.fd, F_GETFL) & O_NONBLOCK);
	CHECK(!bind_port(&c, "fast{2", 0));
	CHECK(!poll(&entry, 1, 200) && now() - start >= 0.2);
	send_packets(&a, 2);
	CHECK(poll(&entry, 1, 5000) == 1 && take(&b) == 2);
}

/* A request fails, whatever its reason, without a word on the program's standard error. */
static void silent(void)
{
	struct port port = { .fd = open_device() };
	const struct rlimit none = { 0 };
	int ends[2];
	char text[100];

	CHECK(!pipe(ends) && dup2(ends[1], 2) == 2 && !close(ends[1]));
	CHECK(bind_port(&port, "no-such-interface", 0) == -1);
	CHECK(bind_port(&port, "vale0:x{", 0) == -1);
	CHECK(ioctl(port.fd, NIOCCTRL, (void *)16) == -1 && ioctl(port.fd, NIOCTXSYNC, NULL) == -1);
	CHECK(!setrlimit(RLIMIT_NOFILE, &none) && open("/dev/netmap", O_RDWR) == -1);
	CHECK(!close(2));
	CHECK(!read(ends[0], text, sizeof text));
}

/* Standard error is the port. */
static void as_standard_error(void)
{
	struct port a, b = open_port("stderr}1");

	CHECK(!fclose(stderr));
	a = open_port("stderr{1");
	CHECK(a.fd == 2);
	CHECK(bind_port(&(struct port){ .fd = open_device() }, "no-such-interface", 0) == -1);
	perror("netmap");
	send_packets(&a, 1);
	CHECK(receive_packets(&b) == 1);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "many", many_at_once },	{ "way", on_its_way },
		{ "sender-exits", sender_exits }, { "receiver-dies", receiver_dies },
		{ "bound-by-child", bound_by_child }, { "killed", killed },
		{ "killed-in-sync", killed_in_sync }, { "requests-at-once", requests_at_once },
		{ "behind", behind_the_library }, { "nonblocking", nonblocking },
		{ "silent", silent },		{ "stderr", as_standard_error }, { 0 },
	};

	return run_test(tests, count, arguments);
}
