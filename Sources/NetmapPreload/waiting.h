/*
 * Waits for tokens and other descriptors together.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef WAITING_H
#define WAITING_H

#include "next.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

/*
 * ppoll(2) for a set with tokens. Unlike the system call, leaves *timeout alone.
 *
 * timeout: NULL waits without limit. mask: NULL keeps the thread's signal mask.
 */
HIDDEN int wait_for(struct pollfd *entries, nfds_t count, const struct timespec *timeout,
		    const sigset_t *mask);

/* The result of a wait that has found nothing, and has time left. */
enum { MUST_SLEEP = -2 };

/*
 * What most waits need: one token, which is ready. Without sleeping. Returns MUST_SLEEP if wait_for() has to do the rest,
 * unless the wait may not sleep.
 */
HIDDEN int wait_at_once(struct pollfd *entry, bool may_sleep);
/* Closes the descriptors that are kept for later waits. */
HIDDEN void watches_drop(void);

#endif
