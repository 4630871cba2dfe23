/* SPDX-License-Identifier: BSD-2-Clause */
#include "watches.h"
#include "descriptors.h"
#include "interest.h"
#include "process.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

enum {
	WATCHES = 64,
	/* Most watches have numbers below this: see move_up(). */
	USUAL = 8192,
	/* What the events of a watch's two members carry. */
	OF_DOORBELL = 0,
	OF_KICK = 1,
};

/* Idle ones: the number of each plus 1, and that of the doorbell it watches plus 2 above 32 bits. */
static _Atomic uint64_t watches[WATCHES];
/* Of another process if the process was forked since. */
static _Atomic int watches_owner;
/* An eventfd that nothing reads, plus 1. */
static _Atomic int kicks;
/* Whether the watch with this number reports kicks. */
static _Atomic bool has_kick[USUAL];

void close_private(int fd)
{
	/* A fork child may have closed it, and have got the number for another file. */
	if (fd_state(fd) != FD_PRIVATE)
		return;
	fd_forget(fd);
	syscall(SYS_close, fd);
}

void watches_drop(void)
{
	for (int i = 0; i < WATCHES; i++) {
		const uint64_t idle = atomic_exchange(&watches[i], 0);

		if (idle)
			close_private((int)(uint32_t)idle - 1);
	}
}

/* Forgets the watches of the parent process. */
static void check_watches(void)
{
	const int owner = atomic_load(&process_page()->owner);
	int of_parent;

	if (LIKELY(atomic_load(&watches_owner) == owner))
		return;
	watches_drop();
	of_parent = atomic_exchange(&kicks, 0);
	if (of_parent)
		close_private(of_parent - 1);
	atomic_store(&watches_owner, owner);
}

int move_up(int fd)
{
	struct rlimit limit = { .rlim_cur = 1024 };
	int moved;

	syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
	if (limit.rlim_cur > 4096)
		limit.rlim_cur = 4096;
	moved = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, (long)(limit.rlim_cur - limit.rlim_cur / 4));
	if (moved >= 0) {
		syscall(SYS_close, fd);
		fd = moved;
	}
	fd_mark(fd, FD_PRIVATE);
	return fd;
}

int kicks_begin(void)
{
	int none = 0, made;

	check_watches();
	if (atomic_load(&kicks))
		return 0;
	made = (int)syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (made < 0)
		return errno;
	made = move_up(made);
	if (!atomic_compare_exchange_strong(&kicks, &none, made + 1))
		close_private(made);
	return 0;
}

void kicks_vacate(int fd)
{
	int number = fd + 1;

	if (!atomic_compare_exchange_strong(&kicks, &number, 0))
		return;
	/* Watches in use lose it as well, until they have been idle. */
	for (int i = 0; i < USUAL; i++)
		atomic_store_explicit(&has_kick[i], false, memory_order_relaxed);
	kicks_begin();
}

void kick(void)
{
	const uint64_t one = 1;
	const int number = atomic_load(&kicks), error = errno;

	if (number)
		syscall(SYS_write, number - 1, &one, sizeof one);
	errno = error;
}

static bool add(int watch, int fd, uint64_t which)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u64 = which };

	return !syscall(SYS_epoll_ctl, watch, EPOLL_CTL_ADD, fd, &event) || errno == EEXIST;
}

/* Whether the watch reports kicks, as far as there are any. */
static bool add_kick(int watch)
{
	const int number = atomic_load(&kicks);

	if (!number || (watch < USUAL && atomic_load_explicit(&has_kick[watch], memory_order_relaxed)))
		return true;
	if (!add(watch, number - 1, OF_KICK))
		return false;
	if (watch < USUAL)
		atomic_store_explicit(&has_kick[watch], true, memory_order_relaxed);
	return true;
}

int take_watch(int doorbell)
{
	int watch;

	check_watches();
	for (int i = 0; i < WATCHES; i++) {
		uint64_t idle = atomic_load(&watches[i]);

		if (idle >> 32 == (uint64_t)(doorbell + 2) &&
		    atomic_compare_exchange_strong(&watches[i], &idle, 0)) {
			watch = (int)(uint32_t)idle - 1;
			if (LIKELY(add_kick(watch)))
				return watch;
			close_private(watch);
			return -1;
		}
	}
	watch = (int)syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
	if (watch < 0)
		return -1;
	watch = move_up(watch);
	if (watch < USUAL)
		atomic_store_explicit(&has_kick[watch], false, memory_order_relaxed);
	if ((doorbell >= 0 && !add(watch, doorbell, OF_DOORBELL)) || !add_kick(watch)) {
		const int error = errno;

		close_private(watch);
		errno = error;
		return -1;
	}
	return watch;
}

void return_watch(int watch, int doorbell)
{
	const uint64_t idle = (uint64_t)(doorbell + 2) << 32 | (uint32_t)(watch + 1);

	/* A file of the program's has the number by now. */
	if (fd_state(watch) != FD_PRIVATE)
		return;
	for (int i = 0; i < WATCHES; i++) {
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(&watches[i], &none, idle))
			return;
	}
	close_private(watch);
}

bool take_rings(int watch, const struct netmap_binding *binding)
{
	struct epoll_event events[2];
	const long count = syscall(SYS_epoll_pwait, watch, events, 2, 0, NULL, (size_t)0);
	bool result = true;
	sigset_t all, mask;

	for (long i = 0; i < count; i++) {
		if (events[i].data.u64 != OF_DOORBELL || !binding)
			continue;
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &mask);
		inside_half++;
		result = half_if_loaded()->take_names(
			binding, (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0, interest_heard);
		inside_half--;
		pthread_sigmask(SIG_SETMASK, &mask, NULL);
	}
	return result;
}
