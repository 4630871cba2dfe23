/*
 * What the test clients share. They are programs for netmap as anyone writes them: nothing here is of this package.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CLIENT_H
#define CLIENT_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/netmap_user.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Ends the program with a message unless the condition holds. */
#define CHECK(condition)                                                                          \
	do {                                                                                      \
		if (!(condition)) {                                                               \
			printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);  \
			exit(1);                                                                  \
		}                                                                                 \
	} while (0)

/* A call fails with this errno. */
#define CHECK_FAILS(call, error)              \
	do {                                  \
		errno = 0;                    \
		CHECK((long)(call) == -1L);   \
		CHECK(errno == (error));      \
	} while (0)

struct port {
	int fd;
	struct nmreq_register reg;
	char *memory;
	struct netmap_if *nifp;
};

static inline int open_device(void)
{
	const int fd = open("/dev/netmap", O_RDWR);

	CHECK(fd >= 0);
	return fd;
}

/* Binds a descriptor. Returns what ioctl does. */
static inline int bind_port(struct port *port, const char *name, uint64_t flags)
{
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_REGISTER };

	snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
	memset(&port->reg, 0, sizeof port->reg);
	port->reg.nr_mode = NR_REG_ALL_NIC;
	port->reg.nr_flags = flags;
	header.nr_body = (uintptr_t)&port->reg;
	return ioctl(port->fd, NIOCCTRL, &header);
}

static inline void map_port(struct port *port)
{
	port->memory = mmap(NULL, port->reg.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, port->fd, 0);
	CHECK(port->memory != MAP_FAILED);
	port->nifp = NETMAP_IF(port->memory, port->reg.nr_offset);
}

static inline struct port open_port(const char *name)
{
	struct port port = { .fd = open_device() };

	CHECK(!bind_port(&port, name, 0));
	map_port(&port);
	return port;
}

/* Fills slots with frames to all stations, without a sync. */
static inline void put(struct port *port, int count)
{
	struct netmap_ring *const ring = NETMAP_TXRING(port->nifp, 0);

	CHECK(count <= (int)nm_ring_space(ring));
	for (int i = 0; i < count; i++) {
		struct netmap_slot *const slot = &ring->slot[ring->cur];
		char *const frame = NETMAP_BUF(ring, slot->buf_idx);

		memset(frame, 0xff, 6);
		memset(frame + 6, 2, 6);
		memset(frame + 12, i, 48);
		slot->len = 60;
		slot->flags = 0;
		ring->head = ring->cur = nm_ring_next(ring, ring->cur);
	}
}

/* Takes all packets that the ring shows, without a sync. */
static inline int take(struct port *port)
{
	struct netmap_ring *const ring = NETMAP_RXRING(port->nifp, 0);
	const int count = (int)nm_ring_space(ring);

	ring->head = ring->cur = ring->tail;
	return count;
}

static inline void send_packets(struct port *port, int count)
{
	put(port, count);
	CHECK(!ioctl(port->fd, NIOCTXSYNC, NULL));
}

static inline int receive_packets(struct port *port)
{
	CHECK(!ioctl(port->fd, NIOCRXSYNC, NULL));
	return take(port);
}

/* Makes an empty folder the root, and leaves nothing behind: the folder has no name any more. */
static inline void enter_empty_root(void)
{
	char folder[] = "/tmp/netmap-root-XXXXXX";

	CHECK(mkdtemp(folder) && !chmod(folder, 0755) && !chdir(folder) && !rmdir(folder));
	CHECK(!chroot(".") && !chdir("/"));
}

/* Waits for a child, which must have succeeded. */
static inline void join(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) != child)
		CHECK(errno == EINTR);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

static inline double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

struct test {
	const char *name;
	void (*run)(void);
};

/* Runs the test that the command line names. */
static inline int run_test(const struct test *tests, int count, char **arguments)
{
	for (const struct test *test = tests; test->name; test++)
		if (count >= 2 && !strcmp(test->name, arguments[1])) {
			test->run();
			return 0;
		}
	printf("there is no such test\n");
	return 2;
}

#endif
