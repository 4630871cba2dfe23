/* SPDX-License-Identifier: BSD-2-Clause */
#include "loop.h"
#include "waiting.h"
#include "watches.h"

#include <pthread.h>

enum {
	/* Turns without a sleep after which signals are let through. */
	TURNS = 256,
	/* Nanoseconds between two looks whether a loop has ended. netmap has the same pause. */
	END_PAUSE = 1000000,
	/* The longest sleep after progress, nanoseconds. */
	FIRST_PATIENCE = 1000000,
};

/* A thread that runs a loop. Signals are blocked, but for pauses: a handler must not meet a sync of its own thread. */
struct runner {
	const struct netmap_binding *binding;
	struct netmap_loop *loop;
	/* The program's mask. */
	sigset_t mask;
	int watch;
	bool was_kicked;
	/* A backend's descriptor has ended the last sleep. */
	bool has_rung;
	uint64_t progress;
	/* The next sleep, if a backend is polled; and in any case. Both grow while nothing moves. */
	int64_t pause, patience;
	struct runner *outer;
};

/* The loops that the thread runs, the innermost first: handlers can start others. */
static _Thread_local struct runner *runners __attribute__((tls_model("initial-exec")));

/* ppoll(2), but not a cancellation point: ioctl(2) is none. */
static int sleep_with_signals(struct pollfd *entries, nfds_t count, int64_t length, const sigset_t *mask)
{
	struct timespec time = { .tv_sec = length / SECOND, .tv_nsec = length % SECOND };
	const int depth = inside_half;
	int result;

	inside_half = 0;
	result = (int)syscall(SYS_ppoll, entries, count, &time, mask, (size_t)(_NSIG / 8));
	inside_half = depth;
	return result;
}

static unsigned turn(struct runner *runner)
{
	const bool was_kicked = runner->was_kicked;
	unsigned result;

	runner->was_kicked = false;
	inside_half++;
	result = half_if_loaded()->turn_loop(runner->loop, was_kicked);
	inside_half--;
	return result;
}

/* Sleeps until the program or the port's other side does something. */
static void sleep_until_woken(struct runner *runner, unsigned state)
{
	const struct netmap_binding *const binding = runner->binding;
	const unsigned wanted = (state & NETMAP_TURN_RECEIVE ? NETMAP_READY_RECEIVE : 0) |
				(state & NETMAP_TURN_TRANSMIT ? NETMAP_READY_TRANSMIT : 0);
	struct pollfd entries[binding->watched_count + 2];
	const uint64_t progress = half_if_loaded()->progress(binding, NETMAP_READY_RECEIVE | NETMAP_READY_TRANSMIT);
	const bool moves = progress != runner->progress;
	/* A backend's descriptor may stay readable although its packets have no room: every other sleep leaves it out. */
	const bool leaves_out = runner->has_rung && !moves;
	const bool is_sure = runner->watch >= 0 && !(state & NETMAP_TURN_UNSURE);
	int64_t limit = is_sure ? LONGEST_SLEEP : LONGEST_PAUSE;
	nfds_t count = 2;

	runner->progress = progress;
	runner->pause = moves ? SHORTEST_PAUSE : least(runner->pause * 2, LONGEST_PAUSE);
	/*
	 * Programs for netmap have no fence between the store of their cursors and the look whether a kick is wanted, so a kick can
	 * be missing.
	 */
	runner->patience = moves ? FIRST_PATIENCE : least(runner->patience * 2, LONGEST_SLEEP);
	limit = least(limit, runner->patience);
	if (binding->is_polled || leaves_out)
		limit = least(limit, runner->pause);
	entries[0] = (struct pollfd){ .fd = runner->loop->kicks, .events = POLLIN };
	entries[1] = (struct pollfd){ .fd = runner->watch, .events = POLLIN };
	/* A port that has stopped stays readable for every wait: it is none of the loop's. */
	for (int i = 0; i < binding->watched_count && !leaves_out; i++)
		if (binding->watched[i].wanted & wanted)
			entries[count++] = (struct pollfd){ .fd = binding->watched[i].descriptor,
							    .events = binding->watched[i].events };
	runner->has_rung = false;
	/* A signal ends the sleep, and not the loop. */
	if (sleep_with_signals(entries, count, limit, &runner->mask) <= 0)
		return;
	runner->was_kicked = entries[0].revents != 0;
	if (entries[1].revents && !take_rings(runner->watch, binding)) {
		return_watch(runner->watch, binding->doorbell);
		runner->watch = -1;
	}
	for (nfds_t i = 2; i < count; i++)
		runner->has_rung |= entries[i].revents != 0;
}

static void run(struct runner *runner)
{
	const bool is_polling = runner->loop->kicks < 0;
	unsigned state, turns = 0;

	while (!((state = turn(runner)) & NETMAP_TURN_LAST)) {
		if (is_polling && runner->loop->pause) {
			sleep_with_signals(NULL, 0, runner->loop->pause * INT64_C(1000), &runner->mask);
		} else if (is_polling || state & NETMAP_TURN_MORE) {
			if (!(++turns % TURNS))
				sleep_with_signals(NULL, 0, 0, &runner->mask);
		} else {
			sleep_until_woken(runner, state);
		}
		/* A handler has made this process. */
		if (!LIKELY(process_is_known()))
			return;
	}
}

static int end_loop(struct netmap_loop *loop)
{
	half_if_loaded()->end_loop(loop);
	return 0;
}

void loop_run(struct attachment *attachment, struct netmap_loop *loop)
{
	struct runner runner = { .binding = &attachment->binding,
				 .loop = loop,
				 .watch = -1,
				 .pause = SHORTEST_PAUSE,
				 .patience = FIRST_PATIENCE,
				 .outer = runners };
	const int error = errno;
	sigset_t all;
	int cancel;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &runner.mask);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	runners = &runner;
	/* Before the first announcement, which comes with a turn. */
	if (loop->kicks >= 0)
		runner.watch = take_watch(attachment->binding.doorbell);
	run(&runner);
	if (LIKELY(process_is_known())) {
		if (runner.watch >= 0)
			return_watch(runner.watch, attachment->binding.doorbell);
		CROSS(end_loop(loop));
	}
	runners = runner.outer;
	pthread_setcancelstate(cancel, NULL);
	pthread_sigmask(SIG_SETMASK, &runner.mask, NULL);
	errno = error;
}

void loop_wait(const struct attachment *attachment)
{
	const int error = errno;

	for (const struct runner *one = runners; one; one = one->outer)
		if (one->binding == &attachment->binding)
			return;
	for (;;) {
		struct timespec pause = { .tv_nsec = END_PAUSE };
		int lives;

		inside_half++;
		lives = half_if_loaded()->has_loop(&attachment->binding);
		inside_half--;
		if (!lives)
			break;
		syscall(SYS_nanosleep, &pause, NULL);
	}
	errno = error;
}
