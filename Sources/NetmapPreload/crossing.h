/*
 * Calls of the Swift half.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CROSSING_H
#define CROSSING_H

#include "next.h"

#include <netmap_halves.h>
#include <signal.h>

/*
 * How deep this thread is inside the Swift half. The half's own calls of interposed functions go on to libc, and the
 * descriptors that it keeps are recognized by this.
 */
HIDDEN extern _Thread_local int inside_half __attribute__((tls_model("initial-exec")));

/*
 * The Swift half for a control call, loaded at the first one; NULL with errno if it cannot be loaded, and in a vfork child,
 * which must not change its parent's memory.
 */
HIDDEN const struct netmap_half *half(void);

HIDDEN extern _Atomic(const struct netmap_half *) half_loaded;

/* The Swift half if it is loaded, else NULL. */
static inline const struct netmap_half *half_if_loaded(void)
{
	return atomic_load_explicit(&half_loaded, memory_order_acquire);
}

struct crossing {
	sigset_t mask;
	int error;
	int cancel;
};

/*
 * Around a control call: takes the lock of control calls, blocks signals, disables cancellation and keeps errno. No fork
 * happens meanwhile.
 */
HIDDEN struct crossing crossing_begin(void);
HIDDEN void crossing_end(struct crossing crossing);

/*
 * Makes a control call that may wait for long: a result, or a negated errno. If signals interrupt it, runs their handlers, and
 * then makes it again if the handlers ask for that (SA_RESTART).
 */
HIDDEN int crossing_call(int (*body)(void *), void *argument);

/* Makes one control call, and returns its result. */
#define CROSS(call)                                          \
	({                                                   \
		struct crossing crossing_ = crossing_begin(); \
		__auto_type result_ = (call);                \
		crossing_end(crossing_);                     \
		result_;                                     \
	})

#endif
