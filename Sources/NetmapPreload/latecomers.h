/*
 * Threads that sleep in the kernel's wait on an instance that has no token yet.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef LATECOMERS_H
#define LATECOMERS_H

#include "interest.h"

/*
 * Ends the waits of other threads on an instance that has got its first token, by reporting that token's event to each of
 * them. Their next wait sees the token. The event may be untrue; a wait of the kernel cannot end otherwise.
 * Takes a few milliseconds, and 50 at most where threads keep running.
 */
HIDDEN void end_kernel_waits(int epoll, const struct epoll_event *event, const struct interest *set);

#endif
