/* SPDX-License-Identifier: BSD-2-Clause */
#include "latecomers.h"
#include "waiting.h"

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

enum {
	/* The threads that are looked at together. */
	GROUP = 64,
	/* The pause between two looks, nanoseconds, and the most that pauses take. */
	PAUSE = 200000,
	PATIENCE = 2000000000,
	/*
	 * What a thread at least needs of a processor, nanoseconds, before it has surely left the instructions between the look
	 * at a number's state and the system call. They take less than a microsecond, and some page faults.
	 */
	CERTAINTY = 1000000,
};

/* A thread that may be about to wait on the instance: it looked at the number's state before there was a token. */
struct candidate {
	uint64_t thread;
	/* The processor time that it had used when it was first seen. */
	uint64_t time;
	bool has_passed;
};

enum place { WAITS, IS_ELSEWHERE, IS_RUNNING };

/* Reads a file of a thread's folder in /proc/self/task. Returns false if the thread has ended. */
static bool read_file(int folder, uint64_t thread, const char *name, char *text, size_t size)
{
	char path[48], digits[20];
	size_t count = 0, length = 0;
	long file, result;

	for (; thread; thread /= 10)
		digits[count++] = (char)('0' + thread % 10);
	while (count)
		path[length++] = digits[--count];
	do
		path[length++] = *name;
	while (*name++);
	file = syscall(SYS_openat, folder, path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return false;
	result = syscall(SYS_read, file, text, size - 1);
	syscall(SYS_close, file);
	text[result > 0 ? result : 0] = 0;
	return result > 0;
}

/* What a thread does, as far as /proc says so. */
static enum place find_place(int folder, uint64_t thread, const struct interest *set)
{
	char text[64];
	uint64_t call, fd;
	const char *rest;

	if (!read_file(folder, thread, "/syscall", text, sizeof text))
		return IS_ELSEWHERE;
	/* "running", or "-1" for a thread that is stopped, or waits for a page, outside of system calls. */
	if (text[0] < '0' || text[0] > '9')
		return IS_RUNNING;
	rest = read_number(text, 10, &call);
	if (!is_wait(call) || rest[0] != '0' || rest[1] != 'x')
		return IS_ELSEWHERE;
	read_number(rest + 2, 16, &fd);
	return interest_is_of(set, (int)fd) ? WAITS : IS_ELSEWHERE;
}

/*
 * The processor time of a thread, nanoseconds; 0 if it has ended. By its clock (clock_getcpuclockid(3), with the number of a
 * thread): /proc would leave out what the thread has used since the last tick, which can be more than it has to use.
 */
static uint64_t processor_time(uint64_t thread)
{
	struct timespec time = { 0 };

	syscall(SYS_clock_gettime, (int)(~(unsigned)thread << 3 | 6), &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void pause_once(void)
{
	const struct timespec time = { .tv_nsec = PAUSE };

	syscall(SYS_nanosleep, &time, NULL);
}

/* The event that ends waits, and the instance on which they wait. */
struct ending {
	const struct interest *set;
	struct epoll_event event;
	int epoll, ready;
	bool is_added;
	int64_t deadline;
};

static void add_event(struct ending *ending)
{
	if (ending->is_added)
		return;
	/* Readable and writable. */
	if (ending->ready < 0)
		ending->ready = (int)syscall(SYS_eventfd2, 1, EFD_CLOEXEC | EFD_NONBLOCK);
	ending->is_added = ending->ready >= 0 &&
			   !syscall(SYS_epoll_ctl, ending->epoll, EPOLL_CTL_ADD, ending->ready, &ending->event);
}

static void remove_event(struct ending *ending)
{
	/* A fork child may have a copy, so that a close does not take it out. */
	if (ending->is_added)
		syscall(SYS_epoll_ctl, ending->epoll, EPOLL_CTL_DEL, ending->ready, &ending->event);
	ending->is_added = false;
}

/* Ends the waits of some threads, until each of them has been seen where it cannot begin a wait of the kernel any more. */
static void end_waits_of(struct ending *ending, int folder, struct candidate *threads, size_t count)
{
	size_t waiting, undecided;

	do {
		waiting = undecided = 0;
		for (size_t i = 0; i < count; i++) {
			struct candidate *const one = &threads[i];
			uint64_t time;

			if (one->has_passed)
				continue;
			switch (find_place(folder, one->thread, ending->set)) {
			case WAITS:
				waiting++;
				/* The event may wake it for another thread's sake, and it goes on waiting. */
				one->time = 0;
				break;
			case IS_ELSEWHERE:
				one->has_passed = true;
				break;
			case IS_RUNNING:
				time = processor_time(one->thread);
				if (!one->time)
					one->time = time;
				one->has_passed = time - one->time >= CERTAINTY;
				undecided += !one->has_passed;
			}
		}
		if (waiting)
			add_event(ending);
		else
			remove_event(ending);
		if (waiting + undecided)
			pause_once();
	} while (waiting + undecided && now() < ending->deadline);
}

void end_kernel_waits(int epoll, const struct epoll_event *event, const struct interest *set)
{
	const uint32_t both = EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM;
	const uint64_t self = (uint64_t)syscall(SYS_gettid);
	const long folder = syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct ending ending = { .set = set, .epoll = epoll, .ready = -1, .deadline = now() + PATIENCE };
	struct candidate threads[GROUP];
	_Alignas(8) char bytes[1024];
	size_t count = 0;
	long size;

	if (folder < 0)
		return;
	ending.event = (struct epoll_event){ .events = event->events & both, .data = event->data };
	if (!ending.event.events)
		ending.event.events = EPOLLIN;
	while ((size = syscall(SYS_getdents64, folder, bytes, sizeof bytes)) > 0)
		for (long at = 0; at < size;) {
			const struct entry *const entry = (const struct entry *)(bytes + at);
			uint64_t thread;

			at += entry->length;
			read_number(entry->name, 10, &thread);
			if (!thread || thread == self)
				continue;
			threads[count++] = (struct candidate){ .thread = thread };
			if (count == GROUP) {
				end_waits_of(&ending, (int)folder, threads, count);
				count = 0;
			}
		}
	end_waits_of(&ending, (int)folder, threads, count);
	remove_event(&ending);
	if (ending.ready >= 0)
		syscall(SYS_close, ending.ready);
	syscall(SYS_close, folder);
}
