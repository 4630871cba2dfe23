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

/*
 * What a process says of its memory. All zero before process_begin(), and in a child of fork(2), because the kernel wipes the
 * page.
 */
struct process_page {
	_Atomic int owner;
	/* Whether what this memory says of descriptors and bindings is this process's, not its parent's. */
	_Atomic int is_known;
};

/* Room for the page. Not aligned: then .bss would begin with a page of its own. */
HIDDEN extern char process_room[2 * PROCESS_PAGE];

static inline struct process_page *process_page(void)
{
	return (struct process_page *)(((uintptr_t)process_room + PROCESS_PAGE - 1) & -(uintptr_t)PROCESS_PAGE);
}

/* False before process_begin(), and in a fork child until it has forgotten what its parent knew. */
static inline bool process_is_known(void)
{
	return LIKELY(atomic_load_explicit(&process_page()->is_known, memory_order_acquire) != 0);
}

/* Says that this memory's knowledge is this process's, and has the kernel wipe the page in its children. Keeps errno. */
HIDDEN void process_begin(void);

/* Whether this process may have a parent that knew something: then process_begin() alone is not enough. */
HIDDEN bool process_has_begun(void);

/* Whether this process runs in the memory of its parent (vfork(2)). Such a process must not change it. Keeps errno. */
HIDDEN bool process_is_guest(void);

#endif
