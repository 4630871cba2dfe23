/*
 * Which process this memory belongs to.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef PROCESS_H
#define PROCESS_H

#include "next.h"

/* 0 in a child of fork(2) until process_claim(): the page is wiped. */
HIDDEN extern union process_page {
	_Atomic int owner;
	char bytes[4096];
} process_page;

/* Whether this process has its own memory and has said so. False in a fork child. One load. */
static inline bool process_is_known(void)
{
	return LIKELY(atomic_load_explicit(&process_page.owner, memory_order_relaxed) != 0);
}

/* Says that the memory is this process's, unless it is said to be another's. */
HIDDEN void process_claim(void);

/* Whether this process runs in the memory of its parent (vfork(2)). Such a process must not change it. */
HIDDEN bool process_is_guest(void);

#endif
