/* SPDX-License-Identifier: BSD-2-Clause */
#include "latecomers.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <time.h>

struct entry {
	uint64_t number;
	int64_t next;
	uint16_t length;
	uint8_t kind;
	char name[];
};

/* Reads a number, decimal or hexadecimal, and the space after it. Returns what follows. */
static const char *read_number(const char *text, int base, uint64_t *value)
{
	*value = 0;
	for (;; text++) {
		const char digit = *text;

		if (digit >= '0' && digit <= '9')
			*value = *value * (unsigned)base + (unsigned)(digit - '0');
		else if (base == 16 && digit >= 'a' && digit <= 'f')
			*value = *value * 16 + (unsigned)(digit - 'a') + 10;
		else
			break;
	}
	return *text == ' ' ? text + 1 : text;
}

static bool is_wait(uint64_t call)
{
	return call == SYS_epoll_pwait || call == 441 /* epoll_pwait2 */
#ifdef SYS_epoll_wait
	       || call == SYS_epoll_wait
#endif
		;
}

/* Whether the thread of a folder of /proc/self/task sleeps in a wait on the instance. */
static bool is_waiting(int folder, const char *thread, const struct interest *set, bool *is_running)
{
	char path[48] = { 0 }, text[64] = { 0 };
	uint64_t call, fd;
	const char *rest;
	size_t length = 0;
	long file;

	while (thread[length] && length < 32) {
		path[length] = thread[length];
		length++;
	}
	__builtin_memcpy(path + length, "/syscall", sizeof "/syscall");
	file = syscall(SYS_openat, folder, path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return false;
	if (syscall(SYS_read, file, text, sizeof text - 1) <= 0)
		text[0] = 0;
	syscall(SYS_close, file);
	*is_running |= text[0] == 'r';
	if (text[0] < '0' || text[0] > '9')
		return false;
	rest = read_number(text, 10, &call);
	if (!is_wait(call) || rest[0] != '0' || rest[1] != 'x')
		return false;
	read_number(rest + 2, 16, &fd);
	return interest_is_of(set, (int)fd);
}

/* How many other threads sleep in a wait on the instance. */
static int count_waits(const struct interest *set, bool *is_running)
{
	const long self = syscall(SYS_gettid);
	const long folder = syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_Alignas(8) char bytes[2048];
	int result = 0;
	long size;

	*is_running = false;
	if (folder < 0)
		return 0;
	while ((size = syscall(SYS_getdents64, folder, bytes, sizeof bytes)) > 0)
		for (long at = 0; at < size;) {
			const struct entry *const entry = (const struct entry *)(bytes + at);
			uint64_t thread;

			at += entry->length;
			read_number(entry->name, 10, &thread);
			if (thread && (long)thread != self)
				result += is_waiting((int)folder, entry->name, set, is_running);
		}
	syscall(SYS_close, folder);
	return result;
}

static void pause_for(long nanoseconds)
{
	const struct timespec time = { .tv_nsec = nanoseconds };

	syscall(SYS_nanosleep, &time, NULL);
}

/*
 * Whether there are threads that sleep in a wait on the instance. Those that run may be about to, or may have been woken and
 * go on sleeping, so they get some time.
 */
static bool has_waits(const struct interest *set)
{
	bool is_running;

	for (int i = 0; i < 5; i++) {
		if (count_waits(set, &is_running))
			return true;
		if (!is_running)
			return false;
		pause_for(200000);
	}
	return false;
}

void end_kernel_waits(int epoll, const struct epoll_event *event, const struct interest *set)
{
	const uint32_t both = EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM;
	struct epoll_event now = { .events = event->events & both, .data = event->data };
	int ready = -1;

	if (!now.events)
		now.events = EPOLLIN;
	for (int round = 0; round < 20 && has_waits(set); round++) {
		bool is_running;

		/* Readable and writable. */
		if (ready < 0)
			ready = (int)syscall(SYS_eventfd2, 1, EFD_CLOEXEC | EFD_NONBLOCK);
		if (ready < 0 || syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, ready, &now))
			break;
		for (int i = 0; i < 5 && count_waits(set, &is_running); i++)
			pause_for(200000);
		/* A fork child may have a copy, so that a close does not take it out. */
		syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_DEL, ready, &now);
	}
	if (ready >= 0)
		syscall(SYS_close, ready);
}
