/* SPDX-License-Identifier: BSD-2-Clause */
#include "waiting.h"
#include "interest.h"
#include "memory.h"
#include "process.h"
#include "watches.h"

#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>

enum {
	/* Sets up to this size are handled on the stack. */
	FEW = 32,
};

NEXT(ppoll)

/* A token in the set, or an epoll instance that has tokens. */
struct token {
	struct attachment *attachment; /* NULL if it has none */
	struct interest *set; /* NULL for a token */
	nfds_t place;
	unsigned wanted;
	/* The place of the descriptor that hangs up when the process that carries the packets ends; 0 for none. */
	size_t carrier;
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
	/* Whether it has epoll instances with tokens. */
	bool has_sets;
	int watch;
	/* The binding whose doorbell the watch is on. */
	struct attachment *guide;
	/* What to sleep on instead of descriptors if there is nothing but one token to wait for, and its count. */
	uint32_t *bell;
	uint32_t bell_count;
	/* Whether signals are blocked between sleeps, so that one that comes there ends the next sleep; the thread's own mask. */
	bool has_blocked;
	sigset_t own_mask;
};

/* One evaluation of a set */

/* Signals are blocked while a thread looks at members of sets. */
static sigset_t block_signals(void)
{
	sigset_t all, mask;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	return mask;
}

/* Whether an epoll instance has a token that is ready. */
static bool scan_set(struct interest *set, struct wait *wait)
{
	const sigset_t mask = block_signals();
	const bool result = interest_scan(set, NULL, DEEPEST);

	if (set->is_unsure)
		wait->sure = false;
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
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

		if (token->set) {
			/* Beside what the kernel says of the instance. */
			if (entry->events & (POLLIN | POLLRDNORM) && scan_set(token->set, wait))
				entry->revents |= entry->events & (POLLIN | POLLRDNORM);
		} else if (!token->attachment) {
			entry->revents = POLLERR;
		} else {
			inside_half++;
			entry->revents = poll_events(swift->scan(&token->attachment->binding,
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

	if (wait->count == wait->token_count && !wait->has_sets && !mask)
		return 0;
	/* A system call of its own, which writes to its timeout, and no cancellation point. */
	struct timespec time = none;

	ready = (int)syscall(SYS_ppoll, wait->sleep, wait->count, &time, mask, (size_t)(_NSIG / 8));
	if (ready > 0)
		for (nfds_t i = 0; i < wait->count; i++)
			if (wait->sleep[i].fd >= 0) {
				/* Of an instance that has been counted. */
				ready -= wait->entries[i].revents && wait->sleep[i].revents;
				wait->entries[i].revents |= wait->sleep[i].revents;
			}
	return ready;
}

/* Announces the members of epoll instances. */
static void announce_sets(struct wait *wait)
{
	const sigset_t mask = block_signals();

	for (size_t i = 0; i < wait->token_count; i++)
		if (wait->tokens[i].set) {
			interest_settle(wait->tokens[i].set, DEEPEST);
			if (wait->tokens[i].set->is_unsure)
				wait->sure = false;
		}
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
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
	if (wait->has_sets)
		announce_sets(wait);
	atomic_thread_fence(memory_order_seq_cst);
}

/* Sleeping */

/*
 * Sleeps once on the bell. Returns -1 with errno if a signal ended the sleep, otherwise 0.
 *
 * The sleep must have a limit: without one the kernel would continue it after a handler that was installed with SA_RESTART. If a
 * signal comes after the limit and before the thread has a CPU, futex(2) reports the limit, and the wait goes on. So only the
 * beginning of a wait is a sleep on the bell, shorter than times that programs give to timers; the rest is in ppoll(2), which
 * reports the signal.
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
static size_t add_backend(struct wait *wait, size_t end, struct token *token, bool with_rings)
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
	token->carrier = 0;
	/* The token hangs up when the process that carries the packets ends. */
	if (binding->is_carried && end + 2 < wait->sleep_capacity) {
		token->carrier = end;
		wait->sleep[end++] = (struct pollfd){ .fd = wait->entries[token->place].fd };
	}
	return end;
}

/* Adds the descriptors of backends of an epoll instance's members. */
static size_t add_backends_of(struct wait *wait, size_t end, const struct interest *set, int depth)
{
	const struct member *one = set->members;

	if (set->backends >= 0 && end + 2 < wait->sleep_capacity)
		wait->sleep[end++] = (struct pollfd){ .fd = set->backends, .events = POLLIN };
	else if (set->backends >= 0)
		wait->sure = false;
	for (size_t i = 0; depth && set->nested_count && i < set->count; i++, one = one->next)
		if (one->nested)
			end = add_backends_of(wait, end, one->nested, depth - 1);
	return end;
}

/* Makes waits and syncs of ports errors whose packets no process carries any more. */
static void abandon(const struct wait *wait)
{
	inside_half++;
	for (size_t i = 0; i < wait->token_count; i++) {
		const struct token *const token = &wait->tokens[i];

		if (token->carrier && wait->sleep[token->carrier].revents & POLLHUP)
			half_if_loaded()->abandon(&token->attachment->binding);
	}
	inside_half--;
}

static void take_backends_of(const struct wait *wait)
{
	const sigset_t mask = block_signals();

	for (size_t i = 0; i < wait->token_count; i++)
		if (wait->tokens[i].set)
			interest_take_backends(wait->tokens[i].set, DEEPEST);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

/*
 * Sleeps once. Returns -1 with errno if a signal ended the sleep, otherwise how many of the other descriptors are ready.
 * Sets *has_rung if the descriptor of a backend ended it.
 */
static int sleep_once(struct wait *wait, const struct netmap_binding *first, int64_t limit,
		      const sigset_t *mask, bool with_rings, bool *has_rung)
{
	struct timespec time = { .tv_sec = limit / SECOND, .tv_nsec = limit % SECOND };
	size_t end = wait->count, own, backends;
	int result, ready = 0;

	for (size_t i = 0; i < wait->token_count; i++)
		if (wait->tokens[i].attachment)
			end = add_backend(wait, end, &wait->tokens[i], with_rings);
	own = end;
	for (size_t i = 0; i < wait->token_count; i++)
		if (wait->tokens[i].set) {
			const sigset_t all = block_signals();

			interest_lock();
			end = add_backends_of(wait, end, wait->tokens[i].set, DEEPEST);
			interest_unlock();
			pthread_sigmask(SIG_SETMASK, &all, NULL);
		}
	backends = end;
	if (wait->watch >= 0)
		wait->sleep[end++] = (struct pollfd){ .fd = wait->watch, .events = POLLIN };
	if (!mask && wait->has_blocked)
		mask = &wait->own_mask;
	result = next_ppoll()(wait->sleep, end, limit == FOREVER ? NULL : &time, mask);
	if (result < 0)
		return -1;
	if (wait->watch >= 0 && wait->sleep[backends].revents)
		if (!take_rings(wait->watch, first))
			wait->sure = false;
	*has_rung = false;
	for (size_t i = wait->count; i < own; i++)
		*has_rung |= wait->sleep[i].revents != 0;
	if (*has_rung)
		abandon(wait);
	if (own < backends)
		take_backends_of(wait);
	for (nfds_t i = 0; i < wait->count; i++)
		if (wait->sleep[i].fd >= 0) {
			wait->entries[i].revents |= wait->sleep[i].revents;
			ready += wait->sleep[i].revents != 0;
		}
	return ready;
}

/* Whether waits have to look at an epoll instance again and again. */
static bool is_polled_set(struct interest *set, const struct netmap_binding *first)
{
	const sigset_t mask = block_signals();
	struct attachment *const guide = interest_guide(set, DEEPEST);
	bool result = interest_is_polled(set, DEEPEST);

	if (guide) {
		result |= !first || guide->binding.doorbell != first->doorbell;
		attachment_end_control(guide);
	}
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	return result;
}

static void look_at_all(const struct wait *wait)
{
	const sigset_t mask = block_signals();

	for (size_t i = 0; i < wait->token_count; i++)
		if (wait->tokens[i].set)
			interest_look_at_all(wait->tokens[i].set, DEEPEST);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

/* Chooses the binding whose doorbell the wait watches: that of a token, or one of a set. */
static void choose_guide(struct wait *wait)
{
	sigset_t mask;

	for (size_t i = 0; i < wait->token_count && !wait->guide; i++) {
		wait->guide = wait->tokens[i].attachment;
		if (wait->guide)
			atomic_fetch_add(&wait->guide->counts, ONE_USER);
	}
	if (wait->guide)
		return;
	mask = block_signals();
	for (size_t i = 0; i < wait->token_count && !wait->guide; i++)
		if (wait->tokens[i].set)
			wait->guide = interest_guide(wait->tokens[i].set, DEEPEST);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
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

/* Leaves the core to its other thread for a moment. */
static void pause_core(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/*
 * Looks some times within about a microsecond. Returns how many tokens are ready.
 *
 * After an announcement the other process has to ring: a system call, in which the next packets wait. A thread that
 * announces before each packet of a sender that syncs each of them halves the rate of both.
 */
static int look_for_a_moment(struct wait *wait)
{
	enum { LOOKS = 6, PAUSES = 4 };
	int ready = 0;

	for (int i = 0; i < LOOKS && !ready; i++) {
		for (int k = 0; k < PAUSES; k++)
			pause_core();
		ready = scan(wait);
	}
	return ready;
}

/* What wait_until() returns if a number belonged to another file: the wait has to begin again. */
enum { AGAIN = -3 };

/* Sleeps and looks until something is ready, the deadline, or a signal. */
static int wait_until(struct wait *wait, int64_t deadline, const sigset_t *mask)
{
	const struct netmap_binding *const first = wait->guide ? &wait->guide->binding : NULL;
	bool is_polled = false, leaves_out_rings = false, has_rung = false, is_checked = false;
	int64_t pause = SHORTEST_PAUSE;
	int ready, others;

	for (size_t i = 0; i < wait->token_count; i++)
		if (wait->tokens[i].attachment) {
			const struct netmap_binding *const one = &wait->tokens[i].attachment->binding;

			is_polled |= one->is_polled;
			/* Of another netmapd: its doorbell is not watched. */
			is_polled |= one->doorbell != first->doorbell;
		} else if (wait->tokens[i].set) {
			is_polled |= is_polled_set(wait->tokens[i].set, first);
		}
	/* A change of the signal mask and the sleep have to be one step, so that sleeps with a mask are the kernel's. */
	if (wait->count == 1 && !wait->has_sets && !mask)
		wait->bell = first->bell;
	ready = wait->bell ? look_for_a_moment(wait) : 0;
	if (ready)
		return ready;
	for (;;) {
		int64_t limit = FOREVER;

		if (deadline != FOREVER) {
			limit = deadline - now();
			if (limit <= 0)
				return 0;
		}
		if (!wait->bell && wait->watch < 0)
			wait->watch = take_watch(first ? first->doorbell : -1);
		wait->sure = wait->bell || wait->watch >= 0;
		announce(wait);
		ready = scan(wait);
		if (ready)
			return ready;
		/* A system call, so only waits that do sleep make it. */
		if (!is_checked && !are_current(wait))
			return AGAIN;
		is_checked = true;
		limit = least(limit, wait->sure ? LONGEST_SLEEP : LONGEST_PAUSE);
		if (is_polled || leaves_out_rings)
			limit = least(limit, pause);
		others = wait->bell ? sleep_on_bell(wait, limit)
				    : sleep_once(wait, first, limit, mask, !leaves_out_rings, &has_rung);
		if (others < 0)
			return -1;
		/* The process that was to ring may have been stopped before it did. */
		if (!others && wait->has_sets && limit == LONGEST_SLEEP)
			look_at_all(wait);
		pause = least(pause * 2, LONGEST_PAUSE);
		ready = scan(wait) + others;
		if (ready)
			return ready;
		/*
		 * Packets may wait for room in a ring whose slots the program holds. The backend's descriptor stays
		 * readable meanwhile, so every other sleep leaves it out.
		 */
		leaves_out_rings = has_rung;
		/* Only ppoll(2) lets signals through for the length of a sleep. */
		if (!wait->bell && !wait->has_blocked) {
			wait->own_mask = block_signals();
			wait->has_blocked = true;
		}
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
		if (entry->fd < 0)
			continue;
		if (!LIKELY(fd_state(entry->fd) != FD_EPOLL)) {
			const sigset_t mask = block_signals();

			attachments_catch_up();
			*token = (struct token){ .place = i, .set = interest_begin(entry->fd) };
			wait->token_count += token->set != NULL;
			wait->has_sets |= token->set != NULL;
			pthread_sigmask(SIG_SETMASK, &mask, NULL);
			continue;
		}
		if (fd_state(entry->fd) != FD_NETMAP)
			continue;
		*token = (struct token){ .place = i, .wanted = poll_wanted(entry->events) };
		token->attachment = attachment_begin(entry->fd, &error);
		/* Another file may have the number by now. */
		if (!token->attachment && !fd_is_still_netmap(entry->fd))
			continue;
		wait->sleep[i].fd = -1;
		wait->token_count++;
	}
}

static void end(void *argument)
{
	struct wait *const wait = argument;

	if (wait->watch >= 0)
		return_watch(wait->watch, wait->guide ? wait->guide->binding.doorbell : -1);
	wait->watch = -1;
	if (wait->guide)
		attachment_end_control(wait->guide);
	wait->guide = NULL;
	if (wait->has_blocked)
		pthread_sigmask(SIG_SETMASK, &wait->own_mask, NULL);
	wait->has_blocked = false;
	for (size_t i = 0; i < wait->token_count; i++) {
		const struct token *const token = &wait->tokens[i];

		if (token->attachment)
			attachment_end(token->attachment);
		if (token->set) {
			const sigset_t mask = block_signals();

			interest_end(token->set);
			pthread_sigmask(SIG_SETMASK, &mask, NULL);
		}
	}
}

/* The result of a wait that has found nothing, and has time left. */
enum { MUST_SLEEP = -2 };

/*
 * Looks once at everything, without sleeping. Returns MUST_SLEEP if nothing is ready.
 *
 * is_scanned: the caller has just found that no token is ready.
 */
static int look(struct wait *wait, const struct timespec *timeout, const sigset_t *mask, bool is_scanned)
{
	int ready, others;

	if (!can_write(wait->entries, wait->count * sizeof *wait->entries) ||
	    (timeout && !can_read(timeout, sizeof *timeout))) {
		errno = EFAULT;
		return -1;
	}
	if (timeout && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= SECOND)) {
		errno = EINVAL;
		return -1;
	}
	begin(wait);
	ready = is_scanned ? 0 : scan(wait);
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
		has_bindings |= wait->tokens[i].attachment || wait->tokens[i].set;
	/* All tokens were other files: see begin(). */
	if (!has_bindings)
		return next_ppoll()(wait->entries, wait->count, timeout, mask);
	choose_guide(wait);
	return wait_until(wait, deadline, mask);
}

static int wait_for_set(struct pollfd *entries, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
			bool is_scanned)
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
		wait.bell = NULL;
		wait.has_sets = false;
		result = look(&wait, timeout, mask, is_scanned);
		is_scanned = false;
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

int wait_for(struct pollfd *entries, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	return wait_for_set(entries, count, timeout, mask, false);
}

static struct timespec of_milliseconds(int time)
{
	return (struct timespec){ .tv_sec = time / 1000, .tv_nsec = time % 1000 * 1000000L };
}

int wait_for_milliseconds(struct pollfd *entries, nfds_t count, int timeout)
{
	const struct timespec time = of_milliseconds(timeout);

	return wait_for_set(entries, count, timeout < 0 ? NULL : &time, NULL, false);
}

int wait_for_token(struct pollfd *entry, int timeout)
{
	struct attachment *attachment;
	struct timespec time;
	int passed_over, error;
	unsigned ready;
	short events;

	/* As libc's calls, which are cancellation points also if they do not sleep. */
	pthread_testcancel();
	attachment = attachment_begin(entry->fd, &error);
	/* The other function says what is wrong. */
	if (LIKELY(attachment) && !LIKELY(can_write(entry, sizeof *entry))) {
		attachment_end(attachment);
		attachment = NULL;
	}
	if (!LIKELY(attachment))
		return wait_for_milliseconds(entry, 1, timeout);
	inside_half++;
	ready = half_if_loaded()->scan(&attachment->binding, poll_wanted(entry->events), &passed_over);
	inside_half--;
	attachment_end(attachment);
	events = poll_events(ready, entry->events);
	if (LIKELY(events || !timeout)) {
		entry->revents = events;
		return events != 0;
	}
	time = of_milliseconds(timeout);
	return wait_for_set(entry, 1, timeout < 0 ? NULL : &time, NULL, true);
}
