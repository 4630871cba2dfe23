/*
 * Sync loops: NETMAP_REQ_SYNC_KLOOP_START and NETMAP_REQ_SYNC_KLOOP_STOP. The caller is a user of the attachment.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef LOOP_H
#define LOOP_H

#include "descriptors.h"

/* Runs a loop until it is asked to stop, and ends it. Handlers of signals run meanwhile, and do not end it. */
HIDDEN void loop_run(struct attachment *attachment, struct netmap_loop *loop);

/*
 * Waits until no loop drives the rings. Handlers of signals run meanwhile. Does not wait in a handler that interrupts the loop,
 * which ends after the handler has returned.
 */
HIDDEN void loop_wait(const struct attachment *attachment);

#endif
