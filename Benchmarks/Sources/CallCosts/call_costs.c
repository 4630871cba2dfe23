/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "call_costs.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MANY = 64, CALLS = 200, PAGES = 100 };

/* Descriptors that are not netmap's: an empty file, eventfds, a pair of sockets, an epoll instance; and memory. */
static struct {
	int file;
	int event[MANY];
	int socket[2];
	int epoll;
	char (*pages)[4096];
} fds;

/* libc's functions for what surrounds a measured call. */
static int (*plain_close)(int);
static int (*plain_dup)(int);
static int (*plain_munmap)(void *, size_t);

typedef void turn(void *function);

#define TURN(name, type, ...)                            \
	static void turn_##name(void *function)          \
	{                                                \
		__typeof__(type) *const call = (__typeof__(type) *)function; \
                                                         \
		for (int i = 0; i < CALLS; i++) {        \
			__VA_ARGS__                      \
		}                                        \
	}

TURN(poll, int(struct pollfd *, nfds_t, int), struct pollfd one = { .fd = fds.event[0], .events = POLLIN };
     call(&one, 1, 0);)
TURN(poll_many, int(struct pollfd *, nfds_t, int), struct pollfd many[MANY];
     for (int j = 0; j < MANY; j++) many[j] = (struct pollfd){ .fd = fds.event[j], .events = POLLIN };
     call(many, MANY, 0);)
/* Each set in another page, so that the library has to ask the kernel whether it can be read. */
TURN(poll_pages, int(struct pollfd *, nfds_t, int), struct pollfd *const one = (struct pollfd *)fds.pages[i % PAGES];
     *one = (struct pollfd){ .fd = fds.event[0], .events = POLLIN };
     call(one, 1, 0);)
TURN(ppoll, int(struct pollfd *, nfds_t, const struct timespec *, const void *),
     struct pollfd one = { .fd = fds.event[0], .events = POLLIN };
     struct timespec none = { 0 }; call(&one, 1, &none, NULL);)
TURN(select, int(int, fd_set *, fd_set *, fd_set *, struct timeval *), fd_set set; struct timeval none = { 0 };
     FD_ZERO(&set); FD_SET(fds.event[0], &set); call(fds.event[0] + 1, &set, NULL, NULL, &none);)
TURN(epoll_wait, int(int, struct epoll_event *, int, int), struct epoll_event event; call(fds.epoll, &event, 1, 0);)
TURN(epoll_ctl, int(int, int, int, struct epoll_event *), struct epoll_event event = { .events = EPOLLIN };
     call(fds.epoll, EPOLL_CTL_MOD, fds.event[0], &event);)
TURN(ioctl, int(int, unsigned long, ...), int count; call(fds.file, FIONREAD, &count);)
TURN(fcntl, int(int, int, ...), call(fds.file, F_GETFD);)
TURN(mmap, void *(void *, size_t, int, int, int, off_t),
     void *const memory = call(NULL, 4096, PROT_READ, MAP_SHARED, fds.file, 0); plain_munmap(memory, 4096);)
TURN(mmap_anonymous, void *(void *, size_t, int, int, int, off_t),
     void *const memory = call(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
     plain_munmap(memory, 4096);)
TURN(open, int(const char *, int, ...), plain_close(call("/dev/null", O_RDONLY));)
TURN(openat, int(int, const char *, int, ...), plain_close(call(AT_FDCWD, "/dev/null", O_RDONLY));)
TURN(close, int(int), call(plain_dup(fds.file));)
TURN(dup, int(int), plain_close(call(fds.file));)
TURN(dup2, int(int, int), call(fds.file, fds.event[MANY - 1]);)
TURN(read, ssize_t(int, void *, size_t), char byte; call(fds.file, &byte, 1);)
TURN(write, ssize_t(int, const void *, size_t), call(fds.file, "", 0);)
TURN(fstat, int(int, struct stat *), struct stat status; call(fds.file, &status);)
TURN(recvmsg, ssize_t(int, struct msghdr *, int), char control[256]; char byte;
     struct iovec part = { .iov_base = &byte, .iov_len = 1 };
     struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
			       .msg_controllen = sizeof control };
     call(fds.socket[0], &message, MSG_DONTWAIT);)

static const struct {
	const char *name, *function;
	turn *turn;
} calls[] = {
	{ "poll", "poll", turn_poll },
	{ "poll of 64", "poll", turn_poll_many },
	{ "poll, new pages", "poll", turn_poll_pages },
	{ "ppoll", "ppoll", turn_ppoll },
	{ "select", "select", turn_select },
	{ "epoll_wait", "epoll_wait", turn_epoll_wait },
	{ "epoll_ctl", "epoll_ctl", turn_epoll_ctl },
	{ "ioctl", "ioctl", turn_ioctl },
	{ "fcntl", "fcntl", turn_fcntl },
	{ "mmap of a file", "mmap", turn_mmap },
	{ "mmap of memory", "mmap", turn_mmap_anonymous },
	{ "open", "open", turn_open },
	{ "openat", "openat", turn_openat },
	{ "close", "close", turn_close },
	{ "dup", "dup", turn_dup },
	{ "dup2", "dup2", turn_dup2 },
	{ "read", "read", turn_read },
	{ "write", "write", turn_write },
	{ "fstat", "fstat", turn_fstat },
	{ "recvmsg", "recvmsg", turn_recvmsg },
};

static int prepare(void *libc)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (plain_close)
		return 0;
	plain_dup = (int (*)(int))dlsym(libc, "dup");
	plain_munmap = (int (*)(void *, size_t))dlsym(libc, "munmap");
	fds.file = memfd_create("call-costs", MFD_CLOEXEC);
	if (fds.file < 0 || ftruncate(fds.file, 4096))
		return -1;
	fds.pages = calloc(PAGES, sizeof *fds.pages);
	if (!fds.pages)
		return -1;
	for (int i = 0; i < MANY; i++) {
		fds.event[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fds.event[i] < 0)
			return -1;
	}
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds.socket))
		return -1;
	fds.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (fds.epoll < 0 || epoll_ctl(fds.epoll, EPOLL_CTL_ADD, fds.event[0], &event))
		return -1;
	/* read(2) at the end of the file, so that no byte is copied. */
	lseek(fds.file, 0, SEEK_END);
	plain_close = (int (*)(int))dlsym(libc, "close");
	return 0;
}

static double nanoseconds(turn *turn, void *function)
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	turn(function);
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / CALLS;
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int call_costs_measure(int index, int rounds, struct call_cost *cost)
{
	void *const libc = dlopen("libc.so.6", RTLD_NOW);
	double plain[rounds], more[rounds];

	if (index < 0 || (size_t)index >= sizeof calls / sizeof *calls)
		return 1;
	if (!libc || prepare(libc))
		return -1;

	turn *const turn = calls[index].turn;
	void *const original = dlsym(libc, calls[index].function);
	void *const linked = dlsym(RTLD_DEFAULT, calls[index].function);

	cost->name = calls[index].name;
	cost->is_interposed = original != linked;
	turn(original);
	turn(linked);
	for (int i = 0; i < rounds; i++) {
		/* The speed of the machine drifts. */
		const double before = nanoseconds(turn, original), with = nanoseconds(turn, linked),
			     after = nanoseconds(turn, original);

		plain[i] = (before + after) / 2;
		more[i] = with - plain[i];
	}
	qsort(plain, (size_t)rounds, sizeof *plain, compare);
	qsort(more, (size_t)rounds, sizeof *more, compare);
	cost->plain = plain[rounds / 2];
	cost->more = more[rounds / 2];
	return 0;
}
