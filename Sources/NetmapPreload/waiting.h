/*
 * Waits for tokens and other descriptors together.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef WAITING_H
#define WAITING_H

#include "next.h"

#include <netmap_halves.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#define SECOND INT64_C(1000000000)

/* Lengths of sleeps, nanoseconds. */
#define FOREVER INT64_MAX
/* A process that is to ring may be stopped before it does. */
#define LONGEST_SLEEP SECOND
/* Shorter than times that programs give to timers: see sleep_on_bell(). */
#define LONGEST_BELL_SLEEP INT64_C(17000000)
/* When nothing is certain to end a sleep. */
#define SHORTEST_PAUSE INT64_C(50000)
#define LONGEST_PAUSE INT64_C(10000000)

/*
 * ppoll(2) for a set with tokens. Unlike the system call, leaves *timeout alone.
 *
 * timeout: NULL waits without limit. mask: NULL keeps the thread's signal mask.
 */
HIDDEN int wait_for(struct pollfd *entries, nfds_t count, const struct timespec *timeout,
		    const sigset_t *mask);

/* poll(2) for a set with tokens. */
HIDDEN int wait_for_milliseconds(struct pollfd *entries, nfds_t count, int timeout);

/* The same for a set of one token. Fast if it is ready. */
HIDDEN int wait_for_token(struct pollfd *entry, int timeout);

static inline int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

static inline int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The conditions that events of poll(2) ask for. */
static inline unsigned poll_wanted(short events)
{
	return (events & (POLLIN | POLLRDNORM) ? NETMAP_READY_RECEIVE : 0) |
	       (events & (POLLOUT | POLLWRNORM) ? NETMAP_READY_TRANSMIT : 0);
}

/* The events that conditions are for a wait for these. */
static inline short poll_events(unsigned ready, short events)
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

#endif
