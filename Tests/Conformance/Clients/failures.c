/* Lost, silent and missing daemons, and sockets' calls on the descriptor. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/un.h>

static pid_t daemon_process(void)
{
	return atoi(getenv("NETMAP_TEST_DAEMON"));
}

static struct port waited;
static _Atomic int is_over, started;

static void *wait_for_packets(void *argument)
{
	while (!is_over) {
		struct pollfd entry = { .fd = waited.fd, .events = POLLIN };

		started++;
		CHECK(poll(&entry, 1, 200) >= 0);
		if (entry.revents & POLLIN)
			take(&waited);
	}
	return argument;
}

static void *sync_always(void *argument)
{
	struct port *const port = argument;

	while (!is_over) {
		if (nm_ring_space(NETMAP_TXRING(port->nifp, 0)))
			put(port, 1);
		CHECK(!ioctl(port->fd, NIOCTXSYNC, NULL));
	}
	return NULL;
}

/* A thread waits, one syncs, one binds; then netmapd is killed. Waits and syncs go on, requests fail or find a new one. */
static void killed_daemon(void)
{
	struct port a = open_port("victim{1"), unbound = { .fd = open_device() };
	const pid_t process = daemon_process();
	pthread_t waiter, syncer;
	int failures = 0;

	waited = open_port("victim}1");
	CHECK(!pthread_create(&waiter, NULL, wait_for_packets, NULL));
	CHECK(!pthread_create(&syncer, NULL, sync_always, &a));
	while (!started)
		usleep(1000);
	for (int i = 0; i < 400; i++) {
		struct port port = { .fd = open("/dev/netmap", O_RDWR) };
		char name[40];

		if (i == 50)
			CHECK(!kill(process, SIGKILL));
		if (port.fd < 0) {
			failures++;
			continue;
		}
		snprintf(name, sizeof name, "port%d{1", i);
		if (bind_port(&port, name, 0))
			failures++;
		CHECK(!close(port.fd));
		usleep(i > 50 ? 5000 : 0);
	}
	printf("%d requests failed\n", failures);
	CHECK(failures < 300);
	is_over = 1;
	CHECK(!pthread_join(waiter, NULL) && !pthread_join(syncer, NULL));
	/* The descriptor of the former daemon, that was never bound. */
	struct pollfd entry = { .fd = unbound.fd, .events = POLLIN };

	CHECK(poll(&entry, 1, 5000) == 1 && entry.revents & POLLERR);
	CHECK(bind_port(&unbound, "victim{2", 0) == -1);
	CHECK(ioctl(unbound.fd, NIOCTXSYNC, NULL) == -1);
}

/* There is no daemon, and no program to start one. */
static void missing_daemon(void)
{
	const double start = now();

	for (int i = 0; i < 3; i++) {
		CHECK(open("/dev/netmap", O_RDWR) == -1);
		printf("errno %d\n", errno);
		CHECK(errno == ENOENT || errno == ENXIO || errno == ECONNREFUSED || errno == EAGAIN);
	}
	CHECK(now() - start < 20);
	/* Other files open. */
	CHECK(open("/dev/null", O_RDWR) >= 0);
}

enum behaviour { CLOSES, MUTE, BABBLES, DEAF };

/* A process at the daemon's socket that is no daemon, or one of another version. */
static pid_t start_impostor(enum behaviour behaviour)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	pid_t child;

	snprintf(name.sun_path, sizeof name.sun_path, "%s", getenv("NETMAP_SOCKET"));
	unlink(name.sun_path);
	CHECK(listener >= 0 && !bind(listener, (struct sockaddr *)&name, sizeof name) && !listen(listener, 10));
	child = fork();
	if (child) {
		CHECK(!close(listener));
		return child;
	}
	alarm(100);
	for (;;) {
		static const char rubbish[200] = { 1, 2, 3 };
		struct msghdr message = { 0 };
		char bytes[2000], control[1000];
		struct iovec part = { bytes, sizeof bytes };
		int fd;

		if (behaviour == DEAF) {
			pause();
			continue;
		}
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		if (behaviour == CLOSES) {
			close(fd);
			continue;
		}
		if (behaviour == MUTE)
			continue;
		message = (struct msghdr){ .msg_iov = &part,
					   .msg_iovlen = 1,
					   .msg_control = control,
					   .msg_controllen = sizeof control };
		send(fd, rubbish, sizeof rubbish, MSG_NOSIGNAL);
		if (recvmsg(fd, &message, 0) <= 0)
			continue;
		/* An answer on each socket that the request brought. */
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
			if (c->cmsg_type == SCM_RIGHTS)
				for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
					int reply;

					memcpy(&reply, CMSG_DATA(c) + i * sizeof reply, sizeof reply);
					send(reply, rubbish, sizeof rubbish, MSG_NOSIGNAL);
				}
	}
}

static void impostor(enum behaviour behaviour)
{
	const pid_t child = start_impostor(behaviour);
	const double start = now();
	struct port port = { .fd = open("/dev/netmap", O_RDWR) };

	if (port.fd >= 0) {
		struct pollfd entry = { .fd = port.fd, .events = POLLIN };

		CHECK(bind_port(&port, "impostor{1", 0) == -1);
		printf("bind: errno %d after %.1f s\n", errno, now() - start);
		/* Each call waits for an answer, but not for ever. */
		if (now() - start < 5) {
			CHECK(ioctl(port.fd, NIOCTXSYNC, NULL) == -1);
			CHECK(now() - start > 5 || poll(&entry, 1, 100) >= 0);
		}
		CHECK(!close(port.fd));
	}
	CHECK(now() - start < 70);
	CHECK(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);
}

static void closing_impostor(void)
{
	impostor(CLOSES);
}

static void mute_impostor(void)
{
	impostor(MUTE);
}

static void babbling_impostor(void)
{
	impostor(BABBLES);
}

static void deaf_impostor(void)
{
	impostor(DEAF);
}

/* A socket's calls on the descriptor: they harm nobody but the program, and end at once. */
static void socket_calls(void)
{
	struct port a = open_port("socket{1"), b = open_port("socket}1"), c = { .fd = open_device() };
	static char bytes[5000];
	const double start = now();

	for (int i = 0; i < 50; i++) {
		memset(bytes, i, sizeof bytes);
		send(a.fd, bytes, (size_t)i * 100, MSG_DONTWAIT | MSG_NOSIGNAL);
		send(c.fd, bytes, (size_t)i, MSG_DONTWAIT | MSG_NOSIGNAL);
		CHECK(recv(a.fd, bytes, sizeof bytes, MSG_DONTWAIT) == -1);
		CHECK(errno == EAGAIN || errno == ENOTSOCK);
		CHECK(recv(c.fd, bytes, sizeof bytes, MSG_DONTWAIT) == -1);
	}
	send_packets(&a, 3);
	CHECK(receive_packets(&b) == 3);
	CHECK(!bind_port(&c, "socket{2", 0));
	/* Its holder ends the port in this way, for all who have it. */
	const int result = shutdown(a.fd, SHUT_RDWR);
	struct pollfd entry = { .fd = a.fd, .events = POLLOUT };

	CHECK(!result || errno == ENOTSOCK);
	ioctl(a.fd, NIOCTXSYNC, NULL);
	CHECK(poll(&entry, 1, 1000) >= 0);
	CHECK(!close(a.fd));
	CHECK(!bind_port(&(struct port){ .fd = open_device() }, "socket{1", NR_EXCLUSIVE));
	CHECK(now() - start < 20);
}

/* Rubbish with descriptors, among them a copy of the token itself. */
static void socket_messages(void)
{
	struct port port = open_port("message{1"), other = open_port("message}1");
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS,
				  .cmsg_len = CMSG_LEN(2 * sizeof(int)) } };
	struct iovec part = { .iov_base = "rubbish", .iov_len = 7 };
	const struct msghdr message = { .msg_iov = &part,
					.msg_iovlen = 1,
					.msg_control = &control,
					.msg_controllen = sizeof control };
	const int fds[2] = { port.fd, other.fd };

	memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
	for (int i = 0; i < 20; i++)
		if (sendmsg(port.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			CHECK(errno == ENOTSOCK || errno == EAGAIN || errno == ETOOMANYREFS);
	send_packets(&port, 1);
	CHECK(receive_packets(&other) == 1);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "killed", killed_daemon },	{ "missing", missing_daemon },
		{ "closes", closing_impostor }, { "mute", mute_impostor },
		{ "babbles", babbling_impostor }, { "deaf", deaf_impostor },
		{ "socket-calls", socket_calls }, { "socket-messages", socket_messages },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
