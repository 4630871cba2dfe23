/*
 * epoll(7) for sets with tokens.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "interest.h"
#include "memory.h"
#include "process.h"
#include "waiting.h"
#include "watches.h"

#include <limits.h>

/* Instances */

static inline int created(int fd)
{
	if (fd < 0 || inside_half)
		return fd;
	if (fd_is_instance(fd))
		interest_closed(fd);
	else if (fd_state(fd) == FD_NETMAP)
		fd_gone(fd);
	fd_mark(fd, FD_INSTANCE);
	return fd;
}

NEXT(epoll_create)
SHOWN int epoll_create(int size)
{
	return created(next_epoll_create()(size));
}

NEXT(epoll_create1)
SHOWN int epoll_create1(int flags)
{
	return created(next_epoll_create1()(flags));
}

NEXT(epoll_ctl)
SHOWN int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	if (LIKELY(fd_state(fd) == FD_FOREIGN) || inside_half)
		return next_epoll_ctl()(epoll, operation, fd, event);
	if (fd_is_private(fd) || fd_is_private(epoll)) {
		errno = EBADF;
		return -1;
	}
	if (fd_is_instance(fd))
		return interest_control_set(epoll, operation, fd, event);
	if (fd_probe(fd, false) && fd_is_still_netmap(fd))
		return interest_control(epoll, operation, fd, event);
	return next_epoll_ctl()(epoll, operation, fd, event);
}

/* Waits */

NEXT(ppoll)

enum {
	/* The descriptors to sleep on: the kernel's instance, the watch, and those of backends of sets in the set. */
	OF_KERNEL,
	OF_WATCH,
	OF_BACKENDS,
	MOST = 16,
};

struct epoll_sleep {
	int epoll;
	struct interest *set;
	int watch, doorbell;
	/* The thread's signal mask before the wait. All signals are blocked but for the sleep. */
	sigset_t mask;
	bool is_sure, is_asleep;
	struct interest *with_backends[MOST];
	struct pollfd entries[MOST];
	nfds_t count;
};

/* Lists the sets of which backends end the sleep. Under the lock. */
static void list_backends(struct epoll_sleep *wait, struct interest *set, int depth)
{
	const struct member *one = set->members;

	if (set->backends >= 0) {
		if (wait->count == MOST) {
			wait->is_sure = false;
			return;
		}
		set->users++;
		wait->with_backends[wait->count] = set;
		wait->entries[wait->count++] = (struct pollfd){ .fd = set->backends, .events = POLLIN };
	}
	for (size_t i = 0; depth && set->nested_count && i < set->count; i++, one = one->next)
		if (one->nested)
			list_backends(wait, one->nested, depth - 1);
}

static void forget_backends(struct epoll_sleep *wait)
{
	interest_lock();
	while (wait->count > OF_BACKENDS)
		interest_release(wait->with_backends[--wait->count]);
	interest_unlock();
}

/* Prepares to sleep on what the set now has. */
static void prepare(struct epoll_sleep *wait)
{
	struct attachment *const guide = interest_guide(wait->set, DEEPEST);
	const int doorbell = guide ? guide->binding.doorbell : -1;

	if (guide)
		attachment_end_control(guide);
	if (wait->watch >= 0 && wait->doorbell != doorbell) {
		return_watch(wait->watch, wait->doorbell);
		wait->watch = -1;
	}
	wait->doorbell = doorbell;
	if (wait->watch < 0)
		wait->watch = take_watch(doorbell);
	wait->is_sure = wait->watch >= 0;
	wait->entries[OF_WATCH] = (struct pollfd){ .fd = wait->watch, .events = POLLIN };
	wait->count = OF_BACKENDS;
	interest_lock();
	/* If its last number was closed, another file may have it. */
	wait->entries[OF_KERNEL].fd = wait->set->numbers ? wait->epoll : -1;
	wait->entries[OF_KERNEL].events = POLLIN;
	list_backends(wait, wait->set, DEEPEST);
	interest_unlock();
}

/* Takes what the kernel has found, but for the program's events. */
static void take(struct epoll_sleep *wait)
{
	if (wait->watch >= 0 && wait->entries[OF_WATCH].revents) {
		struct attachment *const guide = interest_guide(wait->set, DEEPEST);

		if (!take_rings(wait->watch, guide ? &guide->binding : NULL))
			wait->is_sure = false;
		if (guide)
			attachment_end_control(guide);
	}
	for (nfds_t i = OF_BACKENDS; i < wait->count; i++)
		if (wait->entries[i].revents)
			interest_take_backends(wait->with_backends[i], 0);
}

/* Has the kernel report events of other members. Returns false with errno. */
static bool report_others(struct epoll_sleep *wait, struct report *report)
{
	long count;

	if (!wait->entries[OF_KERNEL].revents || report->count == report->most)
		return true;
	count = syscall(SYS_epoll_pwait, wait->epoll, report->events + report->count,
			report->most - report->count, 0, NULL, (size_t)0);
	if (count < 0)
		return report->count > 0;
	report->count += (int)count;
	return true;
}

/*
 * Both the kernel and this library report an instance in the set, each for members of its own. others...end are the
 * kernel's events. Leaves one event of each.
 */
static void reconcile(struct epoll_sleep *wait, struct report *report, int others, int end)
{
	struct member *one;

	interest_lock();
	one = wait->set->members;
	for (size_t i = 0; i < wait->set->count; i++, one = one->next) {
		bool is_reported = false;
		int of_kernel = -1;

		if (!one->nested)
			continue;
		for (int event = 0; event < report->count; event++)
			if (report->events[event].data.u64 != one->data)
				continue;
			else if (event >= others && event < end)
				of_kernel = event;
			else
				is_reported = true;
		if (of_kernel >= 0 && one->events & EPOLLONESHOT)
			one->is_disabled = true;
		if (of_kernel >= 0 && is_reported) {
			report->events[of_kernel] = report->events[--report->count];
			end -= end > report->count;
		} else if (is_reported && one->events & EPOLLONESHOT) {
			struct epoll_event none = { .data.u64 = one->data };

			syscall(SYS_epoll_ctl, wait->epoll, EPOLL_CTL_MOD, one->fd, &none);
		}
	}
	interest_unlock();
}

/* Asks the kernel what has happened. Returns false with errno. */
static bool ask(struct epoll_sleep *wait)
{
	struct timespec none = { 0 };

	/* A system call of its own: no cancellation point. */
	if (syscall(SYS_ppoll, wait->entries, wait->count, &none, NULL, (size_t)0) < 0)
		for (nfds_t i = 0; i < wait->count; i++)
			wait->entries[i].revents = POLLIN;
	if (wait->entries[OF_KERNEL].revents & POLLNVAL) {
		errno = EBADF;
		return false;
	}
	take(wait);
	return true;
}

/* Looks at the set once, and reports what is ready. Returns false with errno. */
static bool look(struct epoll_sleep *wait, struct report *report)
{
	const bool netmap_first = wait->set->netmap_first;
	int others, end;

	/* In turns, so that neither has all the room. */
	wait->set->netmap_first = !netmap_first;
	report->count = 0;
	report->has_more = false;
	if (netmap_first)
		interest_scan(wait->set, report, DEEPEST);
	others = report->count;
	if (!report_others(wait, report))
		return false;
	end = report->count;
	if (!netmap_first)
		interest_scan(wait->set, report, DEEPEST);
	if (wait->set->nested_count && end > others)
		reconcile(wait, report, others, end);
	else if (wait->set->nested_count)
		reconcile(wait, report, 0, 0);
	if (report->has_faulted && !report->count) {
		errno = EFAULT;
		return false;
	}
	if (report->has_more && wait->set->sleepers)
		kick();
	return true;
}

static void count_sleeper(struct epoll_sleep *wait, bool is_asleep)
{
	interest_lock();
	wait->set->sleepers += is_asleep ? 1 : -1;
	interest_unlock();
	wait->is_asleep = is_asleep;
}

static void end(struct epoll_sleep *wait)
{
	if (wait->is_asleep)
		count_sleeper(wait, false);
	forget_backends(wait);
	if (wait->watch >= 0)
		return_watch(wait->watch, wait->doorbell);
	interest_end(wait->set);
	pthread_sigmask(SIG_SETMASK, &wait->mask, NULL);
}

/* The sleep is a cancellation point, and signals are not blocked then. */
static void end_canceled(void *wait)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	end(wait);
}

/* Sleeps for a time at most. Returns what ppoll does. */
static int sleep_for(struct epoll_sleep *wait, int64_t limit, const sigset_t *mask)
{
	struct timespec time = { .tv_sec = limit / SECOND, .tv_nsec = limit % SECOND };

	return next_ppoll()(wait->entries, wait->count, &time, mask ? mask : &wait->mask);
}

static int wait_until(struct epoll_sleep *wait, struct report *report, int64_t deadline, const sigset_t *mask)
{
	int64_t pause = SHORTEST_PAUSE;
	/* Whether the kernel has just been asked, by a sleep. */
	bool has_asked = false;

	for (;;) {
		int64_t limit = LONGEST_SLEEP, left = FOREVER;
		int result = 0, error;

		prepare(wait);
		if ((!has_asked && !ask(wait)) || !look(wait, report))
			return -1;
		if (report->count || !deadline)
			return report->count;
		if (deadline != FOREVER) {
			left = deadline - now();
			if (left <= 0)
				return 0;
		}
		/* From now on, other threads end the sleep. */
		count_sleeper(wait, true);
		if (!interest_settle(wait->set, DEEPEST)) {
			if (!wait->is_sure || wait->set->is_unsure)
				limit = LONGEST_PAUSE;
			if (interest_is_polled(wait->set, DEEPEST))
				limit = least(limit, pause);
			pause = least(pause * 2, LONGEST_PAUSE);
			result = sleep_for(wait, least(limit, left), mask);
			error = errno;
			/* The process that was to ring may have been stopped before it did. */
			if (!result && limit <= left && (limit == LONGEST_SLEEP || !wait->is_sure))
				interest_look_at_all(wait->set, DEEPEST);
		}
		count_sleeper(wait, false);
		if (result < 0) {
			errno = error;
			return -1;
		}
		if (result > 0)
			take(wait);
		has_asked = result > 0 && !(wait->entries[OF_KERNEL].revents & POLLNVAL);
		forget_backends(wait);
	}
}

/* Waits while another thread ends waits of the kernel on the instance, whose event this thread must not take. */
static void await_start(struct interest *set)
{
	for (int i = 0; i < 1000; i++) {
		const struct timespec time = { .tv_nsec = 50000 };
		bool is_starting;

		interest_lock();
		is_starting = set->is_starting;
		interest_unlock();
		if (LIKELY(!is_starting))
			return;
		syscall(SYS_nanosleep, &time, NULL);
	}
}

/* What wait_in_set() returns if the number leads to no set. */
enum { NO_SET = -2 };

/* deadline: 0 does not sleep. */
static int wait_in_set(int epoll, struct epoll_event *events, int most, int64_t deadline, const sigset_t *mask)
{
	struct epoll_sleep wait = { .epoll = epoll, .watch = -1, .doorbell = -1, .count = OF_BACKENDS };
	struct report report = { .events = events, .most = most, .writable = UINTPTR_MAX };
	sigset_t all;
	int result, error;

	/* As libc's calls, which are cancellation points also if they do not sleep. */
	pthread_testcancel();
	if (inside_half || process_is_guest() || !half_if_loaded())
		return NO_SET;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &wait.mask);
	attachments_catch_up();
	wait.set = interest_begin(epoll);
	if (!wait.set) {
		pthread_sigmask(SIG_SETMASK, &wait.mask, NULL);
		return NO_SET;
	}
	kicks_begin();
	await_start(wait.set);
	pthread_cleanup_push(end_canceled, &wait);
	result = wait_until(&wait, &report, deadline, mask);
	pthread_cleanup_pop(0);
	error = errno;
	end(&wait);
	errno = error;
	return result;
}

static int64_t deadline_in(int64_t seconds, int64_t nanoseconds)
{
	if (!seconds && !nanoseconds)
		return 0;
	if (seconds >= FOREVER / SECOND / 2)
		return FOREVER;
	return now() + seconds * SECOND + nanoseconds;
}

static int64_t deadline_of(int timeout)
{
	return timeout < 0 ? FOREVER : deadline_in(timeout / 1000, timeout % 1000 * INT64_C(1000000));
}

/* Whether a wait is this library's, as far as a look at the number says. */
static inline bool is_ours(int epoll, int most)
{
	return !LIKELY(fd_state(epoll) != FD_EPOLL) && most > 0 &&
	       most <= INT_MAX / (int)sizeof(struct epoll_event);
}

/* The calls of libc come first, as jumps: what follows them is for sets with tokens. */

NEXT(epoll_wait)
static __attribute__((noinline)) int wait_in_tokens(int epoll, struct epoll_event *events, int most, int timeout)
{
	const int result = wait_in_set(epoll, events, most, deadline_of(timeout), NULL);

	return result == NO_SET ? next_epoll_wait()(epoll, events, most, timeout) : result;
}

SHOWN int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
	if (!LIKELY(!is_ours(epoll, most)))
		return wait_in_tokens(epoll, events, most, timeout);
	return next_epoll_wait()(epoll, events, most, timeout);
}

NEXT(epoll_pwait)
static __attribute__((noinline)) int pwait_in_tokens(int epoll, struct epoll_event *events, int most, int timeout,
						     const sigset_t *mask)
{
	const int result = wait_in_set(epoll, events, most, deadline_of(timeout), mask);

	return result == NO_SET ? next_epoll_pwait()(epoll, events, most, timeout, mask) : result;
}

SHOWN int epoll_pwait(int epoll, struct epoll_event *events, int most, int timeout, const sigset_t *mask)
{
	if (!LIKELY(!is_ours(epoll, most)))
		return pwait_in_tokens(epoll, events, most, timeout, mask);
	return next_epoll_pwait()(epoll, events, most, timeout, mask);
}

NEXT(epoll_pwait2)
static __attribute__((noinline)) int pwait2_in_tokens(int epoll, struct epoll_event *events, int most,
						      const struct timespec *timeout, const sigset_t *mask)
{
	int result = NO_SET;

	/* The kernel refuses times that are none. */
	if (!timeout)
		result = wait_in_set(epoll, events, most, FOREVER, mask);
	else if (kernel_can_read(&timeout->tv_sec) && kernel_can_read(&timeout->tv_nsec) &&
		 timeout->tv_sec >= 0 && timeout->tv_nsec >= 0 && timeout->tv_nsec < SECOND)
		result = wait_in_set(epoll, events, most, deadline_in(timeout->tv_sec, timeout->tv_nsec), mask);
	return result == NO_SET ? next_epoll_pwait2()(epoll, events, most, timeout, mask) : result;
}

SHOWN int epoll_pwait2(int epoll, struct epoll_event *events, int most, const struct timespec *timeout,
		       const sigset_t *mask)
{
	if (!LIKELY(!is_ours(epoll, most)))
		return pwait2_in_tokens(epoll, events, most, timeout, mask);
	return next_epoll_pwait2()(epoll, events, most, timeout, mask);
}
