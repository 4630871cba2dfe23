/*
 * epoll_ctl(2) for tokens, and for epoll instances.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "interest.h"
#include "latecomers.h"
#include "watches.h"

#include <sys/timerfd.h>

NEXT(epoll_ctl)

/*
 * A timer that never expires, plus 1. Each instance that has a set has it as a member, which shows that a number still
 * leads to the instance; and the kernel checks a program's arguments by calls that concern the timer.
 */
static _Atomic int marker;

/* The marker's number; -1 with errno. */
static int find_marker(void)
{
	int none = 0, made = atomic_load(&marker);

	if (LIKELY(made))
		return made - 1;
	made = (int)syscall(SYS_timerfd_create, CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (made < 0)
		return -1;
	made = move_up(made);
	if (!atomic_compare_exchange_strong(&marker, &none, made + 1))
		close_private(made);
	return atomic_load(&marker) - 1;
}

bool interest_keep_marker(int fd)
{
	const int number = atomic_load(&marker);

	if (!number || (number - 1 != fd && fd_state(number - 1) == FD_PRIVATE))
		return true;
	atomic_store(&marker, 0);
	return false;
}

/*
 * Has the kernel check the arguments of a call that adds, and makes the number's instance one with a set. Returns 0, or -1
 * with errno.
 */
static int check_addition(int epoll, struct epoll_event *event)
{
	const int timer = find_marker();
	struct epoll_event plain = { 0 };

	if (timer < 0)
		return -1;
	if (!next_epoll_ctl()(epoll, EPOLL_CTL_ADD, timer, &plain)) {
		const struct interest *set;

		interest_lock();
		set = interest_of(epoll);
		/* Another instance than the one that the number led to. */
		if (set && set->has_marker)
			interest_drop_number(epoll);
		interest_unlock();
	} else if (errno != EEXIST) {
		if (errno == EBADF || errno == EINVAL)
			next_epoll_ctl()(epoll, EPOLL_CTL_ADD, timer, event);
		return -1;
	}
	if (next_epoll_ctl()(epoll, EPOLL_CTL_ADD, timer, event) && errno != EEXIST)
		return -1;
	return 0;
}

/* As above, for the other operations. event is NULL where the kernel does not read it. */
static int check_change(int epoll, struct epoll_event *event)
{
	const int timer = find_marker();
	struct epoll_event plain = { 0 };

	if (timer < 0)
		return -1;
	if (!next_epoll_ctl()(epoll, EPOLL_CTL_MOD, timer, event ? event : &plain))
		return 0;
	if (errno == ENOENT) {
		const struct interest *set;
		bool is_other;

		interest_lock();
		set = interest_of(epoll);
		is_other = !set || set->has_marker;
		if (is_other)
			interest_drop_number(epoll);
		interest_unlock();
		/* A marker that is another than the parent's. */
		if (!is_other)
			return check_addition(epoll, event ? event : &plain);
		errno = ENOENT;
	}
	return -1;
}

/* Adds a token, of whose binding the caller is a user, unless that is NULL. Returns an errno. */
static int add_token(struct interest *set, int fd, uint64_t cookie, const struct epoll_event *event,
		     struct attachment *attachment)
{
	struct member *made;
	const bool is_first = !set->tokens;

	set->has_marker = true;
	if (member_find(set, fd, cookie))
		return EEXIST;
	made = member_add(set, fd, cookie, event);
	if (!made)
		return ENOMEM;
	set->tokens++;
	member_push(made);
	if (attachment)
		member_attach(made, attachment);
	if (is_first)
		interest_mark_numbers(set, DEEPEST);
	set->is_starting |= is_first;
	/* Another than the caller. */
	if (set->users > 1)
		kick();
	return 0;
}

static int change(struct member *member, const struct epoll_event *event)
{
	if (!member)
		return ENOENT;
	if (member->events & EPOLLEXCLUSIVE)
		return EINVAL;
	member->changes++;
	member->events = event->events;
	member->data = event->data.u64;
	member->is_disabled = false;
	member->is_fresh = true;
	member_push(member);
	if (member->set->users)
		kick();
	return 0;
}

/* Has threads that wait in the kernel wait in this library. Under the lock, which it gives up meanwhile. */
static void start_set(struct interest *set, int epoll, const struct epoll_event *event)
{
	interest_unlock();
	end_kernel_waits(epoll, event, set);
	interest_lock();
	set->is_starting = false;
}

static int control(int epoll, int operation, int fd, struct epoll_event *event)
{
	const uint64_t cookie = fd_cookie(fd);
	struct attachment *attachment = NULL;
	struct interest *set;
	struct member *member;
	bool was_starting;
	int error;

	if (operation == EPOLL_CTL_ADD) {
		if (check_addition(epoll, event))
			return errno;
		error = kicks_begin();
		if (error)
			return error;
		attachment = attachment_begin_control(fd, &error);
		interest_lock();
		set = interest_make(epoll);
		error = ENOMEM;
		if (set) {
			set->users++;
			was_starting = set->is_starting;
			error = add_token(set, fd, cookie, event, attachment);
			if (set->is_starting && !was_starting)
				start_set(set, epoll, event);
			interest_release(set);
		}
		interest_unlock();
		if (attachment)
			attachment_end_control(attachment);
		return error;
	}
	if (check_change(epoll, operation == EPOLL_CTL_DEL ? NULL : event))
		return errno;
	interest_lock();
	set = interest_of(epoll);
	member = set ? member_find(set, fd, cookie) : NULL;
	if (operation == EPOLL_CTL_MOD) {
		error = change(member, event);
	} else {
		error = member ? 0 : ENOENT;
		if (member)
			member_remove(member);
	}
	interest_unlock();
	return error;
}

int interest_control(int epoll, int operation, int fd, struct epoll_event *event)
{
	sigset_t all, mask;
	int error;

	if (operation != EPOLL_CTL_ADD && operation != EPOLL_CTL_MOD && operation != EPOLL_CTL_DEL)
		return next_epoll_ctl()(epoll, operation, fd, event);
	if (!half())
		return -1;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	attachments_catch_up();
	error = control(epoll, operation, fd, event);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (!error)
		return 0;
	errno = error;
	return -1;
}

/* Notes what the kernel has done with an instance in another one. */
static void note_nesting(int epoll, int operation, int fd, const struct epoll_event *event)
{
	struct interest *set, *nested;
	struct member *member;

	if (operation == EPOLL_CTL_ADD) {
		set = interest_make(epoll);
		nested = interest_make(fd);
		if (!set || !nested || member_find(set, fd, 0))
			return;
		member = member_add(set, fd, 0, event);
		if (!member)
			return;
		member->nested = nested;
		nested->users++;
		set->nested_count++;
		member_push(member);
		interest_mark_numbers(set, DEEPEST);
		if (set->users)
			kick();
		return;
	}
	set = interest_of(epoll);
	member = set ? member_find(set, fd, 0) : NULL;
	if (!member)
		return;
	if (operation == EPOLL_CTL_MOD)
		change(member, event);
	else
		member_remove(member);
}

int interest_control_set(int epoll, int operation, int fd, struct epoll_event *event)
{
	const struct epoll_event plain = { 0 };
	const int result = next_epoll_ctl()(epoll, operation, fd, event);
	sigset_t mask;

	if (result || process_is_guest())
		return result;
	attachments_catch_up();
	mask = interest_lock_blocking();
	note_nesting(epoll, operation, fd, operation == EPOLL_CTL_DEL ? &plain : event);
	interest_unlock_blocking(mask);
	return result;
}
