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
 *
 * A thread may have looked at the number before there was a token, and not have begun its wait yet: the processor may have
 * been taken from it. So this waits until each thread has been seen in a system call, or has used so much processor time
 * that it has got past that point. That takes some milliseconds where threads keep running, as long as a thread waits for a
 * processor, and two seconds at most. Does nothing where /proc is not mounted.
 */
HIDDEN void end_kernel_waits(int epoll, const struct epoll_event *event, const struct interest *set);

#endif
