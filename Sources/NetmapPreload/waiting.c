/* SPDX-License-Identifier: BSD-2-Clause */
#include "waiting.h"
#include "descriptors.h"
#include "process.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define SECOND INT64_C(1000000000)

/* Lengths of sleeps, nanoseconds. */
#define FOREVER INT64_MAX
/* A process that is to ring may be stopped before it does. */
#define LONGEST_SLEEP SECOND
/* Not a number of seconds: see sleep_on_bell(). */
#define LONGEST_BELL_SLEEP INT64_C(700000000)
/* When nothing is certain to end a sleep. */
#define SHORTEST_PAUSE INT64_C(50000)
#define LONGEST_PAUSE INT64_C(10000000)

enum {
	/* Sets up to this size are handled on the stack. */
	FEW = 32,
	WATCHES = 64,
};

NEXT(ppoll)

/* A token in the set: its binding, or NULL if it has none; and its place in the set. */
struct token {
	struct attachment *attachment;
	nfds_t place;
	unsigned wanted;
};

struct wait {
	struct pollfd *entries;
	nfds_t count;
	struct token *tokens;
	size_t token_count;
	/* Descriptors to sleep on: the set with tokens left out, then those of backends, then the watch. */
	struct pollfd *sleep;
	size_t sleep_capacity;
	size_t backends_end;
	bool sure;
	int watch;
	/* What to sleep on instead of descriptors if there is nothing but one token to wait for, and its count. */
	uint32_t *bell;
	uint32_t bell_count;
};

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Watches: epoll instances that report each ring of a doorbell once, to one sleeping thread. */

/* Idle ones: the number of each and that of the doorbell it watches, each plus 1. */
static _Atomic uint64_t watches[WATCHES];
/* Of another process if the process was forked since. */
static _Atomic int watches_owner;

static void close_watch(int watch)
{
	fd_forget(watch);
	syscall(SYS_close, watch);
}

void watches_drop(void)
{
	for (int i = 0; i < WATCHES; i++) {
		const uint64_t idle = atomic_exchange(&watches[i], 0);

		if (idle)
			close_watch((int)(uint32_t)idle - 1);
	}
}

/* Forgets the watches of the parent process. */
static void check_watches(void)
{
	const int owner = atomic_load(&process_page.owner);

	if (LIKELY(atomic_load(&watches_owner) == owner))
		return;
	watches_drop();
	atomic_store(&watches_owner, owner);
}

/* Moves a descriptor to the highest numbers, where a program does not meet it. */
static int move_up(int fd)
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

/* A watch on a doorbell; -1 with errno. */
static int take_watch(int doorbell)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET };
	int watch;

	check_watches();
	for (int i = 0; i < WATCHES; i++) {
		uint64_t idle = atomic_load(&watches[i]);

		if (idle >> 32 == (uint64_t)doorbell + 1 &&
		    atomic_compare_exchange_strong(&watches[i], &idle, 0))
			return (int)(uint32_t)idle - 1;
	}
	watch = (int)syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
	if (watch < 0)
		return -1;
	watch = move_up(watch);
	if (syscall(SYS_epoll_ctl, watch, EPOLL_CTL_ADD, doorbell, &event)) {
		const int error = errno;

		close_watch(watch);
		errno = error;
		return -1;
	}
	return watch;
}

static void return_watch(int watch, int doorbell)
{
	const uint64_t idle = ((uint64_t)doorbell + 1) << 32 | (uint32_t)(watch + 1);

	/* A file of the program's has the number by now. */
	if (fd_state(watch) != FD_PRIVATE)
		return;
	for (int i = 0; i < WATCHES; i++) {
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(&watches[i], &none, idle))
			return;
	}
	close_watch(watch);
}

/* One evaluation of a set */

static unsigned wanted_of(short events)
{
	return (events & (POLLIN | POLLRDNORM) ? NETMAP_READY_RECEIVE : 0) |
	       (events & (POLLOUT | POLLWRNORM) ? NETMAP_READY_TRANSMIT : 0);
}

static short events_of(unsigned ready, short events)
{
	short result = 0;

	if (ready & NETMAP_READY_RECEIVE)
		result |= events & (POLLIN | POLLRDNORM);
	if (ready & NETMAP_READY_TRANSMIT)
		result |= events & (POLLOUT | POLLWRNORM);
	if (ready & NETMAP_READY_ERROR)
		result |= POLLERR;
	return result;
}

/* Syncs each port once and sets its revents. Returns how many are ready. */
static int scan(struct wait *wait)
{
	const struct netmap_half *const swift = half_if_loaded();
	int ready = 0;

	for (size_t i = 0; i < wait->token_count; i++) {
		struct token *const token = &wait->tokens[i];
		struct pollfd *const entry = &wait->entries[token->place];
		int passed_over = 0;

		if (!token->attachment) {
			entry->revents = POLLERR;
		} else {
			inside_half++;
			entry->revents = events_of(swift->scan(&token->attachment->binding,
							       token->wanted, &passed_over),
						   entry->events);
			inside_half--;
		}
		if (passed_over)
			wait->sure = false;
		if (entry->revents)
			ready++;
	}
	return ready;
}

/* Evaluates the other descriptors of the set without sleeping. Returns how many are ready, or -1. */
static int look_at_others(struct wait *wait, const sigset_t *mask)
{
	const struct timespec none = { 0 };
	int ready;

	if (wait->count == wait->token_count && !mask)
		return 0;
	/* A system call of its own, which writes to its timeout, and no cancellation point. */
	struct timespec time = none;

	ready = (int)syscall(SYS_ppoll, wait->sleep, wait->count, &time, mask, (size_t)(_NSIG / 8));
	if (ready > 0)
		for (nfds_t i = 0; i < wait->count; i++)
			if (wait->sleep[i].fd >= 0)
				wait->entries[i].revents = wait->sleep[i].revents;
	return ready;
}

static void announce(struct wait *wait)
{
	const struct netmap_half *const swift = half_if_loaded();

	/* A ring between the announcement and the sleep changes the count. */
	if (wait->bell)
		wait->bell_count = __atomic_load_n(wait->bell, __ATOMIC_SEQ_CST);
	inside_half++;
	for (size_t i = 0; i < wait->token_count; i++)
		if (wait->tokens[i].attachment &&
		    !swift->arm(&wait->tokens[i].attachment->binding, wait->tokens[i].wanted, wait->bell != NULL))
			wait->sure = false;
	inside_half--;
	atomic_thread_fence(memory_order_seq_cst);
}

/* Sleeping */

/* Takes rings out of the doorbell, so that they do not end the next sleep. */
static void take_rings(struct wait *wait, const struct netmap_binding *binding)
{
	struct epoll_event event = { 0 };
	sigset_t all, mask;

	if (syscall(SYS_epoll_pwait, wait->watch, &event, 1, 0, NULL, (size_t)0) <= 0)
		return;
	/* The Swift half takes a lock for this, which a signal handler of this thread must not meet. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	inside_half++;
	if (!half_if_loaded()->take_rings(binding, (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0))
		wait->sure = false;
	inside_half--;
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

/*
 * Sleeps once on the bell. Returns -1 with errno if a signal ended the sleep, otherwise 0.
 *
 * The sleep must have a limit: without one the kernel would continue it after a handler that was installed with SA_RESTART. If a
 * signal comes when the limit is over, futex(2) reports the limit, and the wait would go on. So later sleeps of the wait are in
 * ppoll(2), which reports the signal, and the limit is not one that a program gives to alarm(2).
 */
static int sleep_on_bell(struct wait *wait, int64_t limit)
{
	const int64_t length = least(limit, LONGEST_BELL_SLEEP);
	const struct timespec time = { .tv_nsec = length };
	int type, error = 0;

	/* What libc does around the system calls of its cancellation points. */
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	if (syscall(SYS_futex, wait->bell, FUTEX_WAIT, wait->bell_count, &time, NULL, 0))
		error = errno;
	pthread_setcanceltype(type, NULL);
	if (error == ETIMEDOUT)
		wait->bell = NULL;
	if (!error || error == EAGAIN || error == ETIMEDOUT)
		return 0;
	errno = error;
	return -1;
}

/* Adds the descriptors of a binding to those to sleep on. */
static size_t add_backend(struct wait *wait, size_t end, const struct token *token, bool with_rings)
{
	const struct netmap_binding *const binding = &token->attachment->binding;

	for (int i = 0; i < binding->watched_count; i++) {
		const struct netmap_watched *const one = &binding->watched[i];

		if (one->wanted && (!with_rings || !(one->wanted & token->wanted)))
			continue;
		if (end + 2 < wait->sleep_capacity)
			wait->sleep[end++] =
				(struct pollfd){ .fd = one->descriptor, .events = one->events };
		else
			wait->sure = false;
	}
	/* The token hangs up when the process that carries the packets ends. */
	if (binding->is_carried && end + 2 < wait->sleep_capacity)
		wait->sleep[end++] = (struct pollfd){ .fd = wait->entries[token->place].fd };
	return end;
}

/*
 * Sleeps once. Returns -1 with errno if a signal ended the sleep, otherwise how many of the other descriptors are ready.
 * Sets *has_rung if the descriptor of a backend ended it.
 */
static int sleep_once(struct wait *wait, const struct netmap_binding *first, int64_t limit,
		      const sigset_t *mask, bool with_rings, bool *has_rung)
{
	struct timespec time = { .tv_sec = limit / SECOND, .tv_nsec = limit % SECOND };
	size_t end = wait->count, backends;
	int result, ready = 0;

	for (size_t i = 0; i < wait->token_count; i++)
		if (wait->tokens[i].attachment)
			end = add_backend(wait, end, &wait->tokens[i], with_rings);
	backends = end;
	if (wait->watch >= 0)
		wait->sleep[end++] = (struct pollfd){ .fd = wait->watch, .events = POLLIN };
	result = next_ppoll()(wait->sleep, end, limit == FOREVER ? NULL : &time, mask);
	if (result < 0)
		return -1;
	if (wait->watch >= 0 && wait->sleep[backends].revents)
		take_rings(wait, first);
	*has_rung = false;
	for (size_t i = wait->count; i < backends; i++)
		*has_rung |= wait->sleep[i].revents != 0;
	for (nfds_t i = 0; i < wait->count; i++)
		if (wait->sleep[i].fd >= 0) {
			wait->entries[i].revents = wait->sleep[i].revents;
			ready += wait->sleep[i].revents != 0;
		}
	return ready;
}

/* Sleeps and looks until something is ready, the deadline, or a signal. */
static int wait_until(struct wait *wait, int64_t deadline, const sigset_t *mask)
{
	const struct netmap_binding *first = NULL;
	bool is_polled = false, leaves_out_rings = false, has_rung = false;
	int64_t pause = SHORTEST_PAUSE;
	int ready, others;

	for (size_t i = 0; i < wait->token_count; i++)
		if (wait->tokens[i].attachment) {
			const struct netmap_binding *const one = &wait->tokens[i].attachment->binding;

			if (!first)
				first = one;
			is_polled |= one->is_polled;
			/* Of another netmapd: its doorbell is not watched. */
			is_polled |= one->doorbell != first->doorbell;
		}
	/* A change of the signal mask and the sleep have to be one step, so that sleeps with a mask are the kernel's. */
	if (wait->count == 1 && !mask)
		wait->bell = first->bell;
	for (;;) {
		int64_t limit = FOREVER;

		if (deadline != FOREVER) {
			limit = deadline - now();
			if (limit <= 0)
				return 0;
		}
		if (!wait->bell && wait->watch < 0)
			wait->watch = take_watch(first->doorbell);
		wait->sure = wait->bell || wait->watch >= 0;
		announce(wait);
		ready = scan(wait);
		if (ready)
			return ready;
		limit = least(limit, wait->sure ? LONGEST_SLEEP : LONGEST_PAUSE);
		if (is_polled || leaves_out_rings)
			limit = least(limit, pause);
		others = wait->bell ? sleep_on_bell(wait, limit)
				    : sleep_once(wait, first, limit, mask, !leaves_out_rings, &has_rung);
		if (others < 0)
			return -1;
		pause = least(pause * 2, LONGEST_PAUSE);
		ready = scan(wait) + others;
		if (ready)
			return ready;
		/*
		 * Packets may wait for room in a ring whose slots the program holds. The backend's descriptor stays
		 * readable meanwhile, so every other sleep leaves it out.
		 */
		leaves_out_rings = has_rung;
	}
}

/* Setting up */

/* Finds the tokens of the set and their bindings, and prepares the set of the others. */
static void begin(struct wait *wait)
{
	for (nfds_t i = 0; i < wait->count; i++) {
		struct pollfd *const entry = &wait->entries[i];
		struct token *const token = &wait->tokens[wait->token_count];
		int error;

		wait->sleep[i] = *entry;
		wait->sleep[i].revents = 0;
		entry->revents = 0;
		if (entry->fd < 0 || fd_state(entry->fd) != FD_NETMAP)
			continue;
		*token = (struct token){ .place = i, .wanted = wanted_of(entry->events) };
		token->attachment = attachment_begin(entry->fd, &error);
		/* Another file may have the number by now. */
		if (!token->attachment && !fd_is_still_netmap(entry->fd))
			continue;
		wait->sleep[i].fd = -1;
		wait->token_count++;
	}
}

/* Whether all tokens are still the files that they were. If not, forgets those that are others. */
static bool are_current(const struct wait *wait)
{
	bool result = true;

	for (size_t i = 0; i < wait->token_count; i++)
		if (wait->tokens[i].attachment)
			result &= attachment_is_current(wait->tokens[i].attachment,
							wait->entries[wait->tokens[i].place].fd);
	return result;
}

static void end(void *argument)
{
	struct wait *const wait = argument;
	int doorbell = -1;

	for (size_t i = 0; i < wait->token_count; i++) {
		struct attachment *const one = wait->tokens[i].attachment;

		if (!one)
			continue;
		if (doorbell < 0)
			doorbell = one->binding.doorbell;
		attachment_end(one);
	}
	if (wait->watch >= 0)
		return_watch(wait->watch, doorbell);
	wait->watch = -1;
}

/* What wait_in() returns if a number belonged to another file: the wait has to begin again. */
enum { AGAIN = -3 };

/* Looks once at everything, without sleeping. Returns MUST_SLEEP if nothing is ready. */
static int look(struct wait *wait, const struct timespec *timeout, const sigset_t *mask)
{
	int ready, others;

	if (timeout && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= SECOND)) {
		errno = EINVAL;
		return -1;
	}
	begin(wait);
	ready = scan(wait);
	others = look_at_others(wait, mask);
	if (others < 0)
		return -1;
	ready += others;
	return ready || (timeout && !timeout->tv_sec && !timeout->tv_nsec) ? ready : MUST_SLEEP;
}

/* The rest of a wait that has found nothing ready. */
static int wait_in(struct wait *wait, const struct timespec *timeout, const sigset_t *mask)
{
	int64_t deadline = FOREVER;
	bool has_bindings = false;

	if (timeout && timeout->tv_sec < FOREVER / SECOND / 2)
		deadline = now() + timeout->tv_sec * SECOND + timeout->tv_nsec;
	for (size_t i = 0; i < wait->token_count; i++)
		has_bindings |= wait->tokens[i].attachment != NULL;
	if (!are_current(wait))
		return AGAIN;
	/* All tokens were other files: see begin(). */
	if (!has_bindings)
		return next_ppoll()(wait->entries, wait->count, timeout, mask);
	return wait_until(wait, deadline, mask);
}

int wait_at_once(struct pollfd *entry, bool may_sleep)
{
	struct attachment *attachment;
	int passed_over = 0, error;
	unsigned ready;

	/* As libc's calls, which are cancellation points also if they do not sleep. */
	pthread_testcancel();
	attachment = attachment_begin(entry->fd, &error);
	if (!LIKELY(attachment))
		return MUST_SLEEP;
	inside_half++;
	ready = half_if_loaded()->scan(&attachment->binding, wanted_of(entry->events), &passed_over);
	inside_half--;
	entry->revents = events_of(ready, entry->events);
	attachment_end(attachment);
	return entry->revents || !may_sleep ? entry->revents != 0 : MUST_SLEEP;
}

int wait_for(struct pollfd *entries, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	struct {
		struct token tokens[FEW];
		struct pollfd sleep[FEW * 4];
	} few;
	struct wait wait = { .entries = entries, .count = count, .tokens = few.tokens, .watch = -1 };
	void *memory = NULL;
	size_t size = 0;
	int result, error;

	/* As libc's calls, which are cancellation points also if they do not sleep. */
	pthread_testcancel();
	if (count > INT_MAX / 2) {
		errno = EINVAL;
		return -1;
	}
	wait.sleep = few.sleep;
	wait.sleep_capacity = FEW * 4;
	if (count > FEW) {
		wait.sleep_capacity = count * 2 + FEW;
		size = count * sizeof *wait.tokens + wait.sleep_capacity * sizeof *wait.sleep;
		memory = (void *)syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
		if (memory == MAP_FAILED) {
			errno = ENOMEM;
			return -1;
		}
		wait.tokens = memory;
		wait.sleep = (struct pollfd *)(wait.tokens + count);
	}
	do {
		wait.token_count = 0;
		result = look(&wait, timeout, mask);
		if (result == MUST_SLEEP) {
			/* The sleep is a cancellation point. */
			pthread_cleanup_push(end, &wait);
			result = wait_in(&wait, timeout, mask);
			pthread_cleanup_pop(0);
		}
		error = errno;
		end(&wait);
	} while (result == AGAIN);
	if (memory)
		syscall(SYS_munmap, memory, size);
	errno = error;
	return result;
}
