/*
 * Which process this memory belongs to.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef PROCESS_H
#define PROCESS_H

#include "next.h"

/* A multiple of the page size of every kernel for the machine. */
#if defined(__x86_64__)
#define PROCESS_PAGE 4096
#else
#define PROCESS_PAGE 65536
#endif

/* All zero in a child of fork(2): the kernel wipes the page. */
HIDDEN extern union process_page {
	struct {
		/* The process, as far as anything had to know it since. */
		_Atomic int owner;
		/* Whether what this memory says of descriptors and bindings is this process's, not its parent's. */
		_Atomic int is_known;
	};
	char bytes[PROCESS_PAGE];
} process_page;

/* False in a fork child until it has forgotten what its parent knew. */
static inline bool process_is_known(void)
{
	return LIKELY(atomic_load_explicit(&process_page.is_known, memory_order_acquire) != 0);
}

/* Says that this memory's knowledge is this process's. */
HIDDEN void process_begin(void);

/* Whether this process runs in the memory of its parent (vfork(2)). Such a process must not change it. */
HIDDEN bool process_is_guest(void);

#endif
