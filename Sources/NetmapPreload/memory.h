/*
 * Whether the program's memory can be read and written, for functions that look at their arguments before the kernel does.
 *
 * The kernel answers EFAULT where this library would end the program. So the library asks the kernel about each page that it
 * meets for the first time, and keeps the answer for the pages it has met last. A page that the program has unmapped since then
 * is the one case in which a wild address still ends the program.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "next.h"

enum {
	/* The smallest of every machine. The kernel's may be larger. */
	PAGE = 4096,
	KNOWN_PAGES = 32,
	/* In an entry's low bits: the page can be read, and written as well. */
	CAN_READ = 1,
	CAN_WRITE = 2,
};

/* The address of a page each, with bits; 0 for none. */
HIDDEN extern _Atomic uintptr_t known_pages[KNOWN_PAGES];

/* As can_read() and can_write(), for what the table does not show. Keep errno. */
HIDDEN RARE bool can_read_each(const void *bytes, size_t size);
HIDDEN RARE bool can_write_each(const void *bytes, size_t size);

/* Asks the kernel, whatever is known, about one page. Keeps errno. */
HIDDEN bool kernel_can_read(const void *byte);

/* Whether the kernel could copy the bytes; false for none. Keeps errno. */
static inline bool can_read(const void *bytes, size_t size)
{
	const uintptr_t first = (uintptr_t)bytes, last = first + size - 1;
	const uintptr_t known =
		atomic_load_explicit(&known_pages[first / PAGE % KNOWN_PAGES], memory_order_relaxed);

	if (LIKELY((known | CAN_WRITE) == ((first & -(uintptr_t)PAGE) | CAN_READ | CAN_WRITE) &&
		   !((first ^ last) / PAGE)))
		return true;
	return can_read_each(bytes, size);
}

/* Whether the kernel could store to the bytes; false for none. Keeps errno. */
static inline bool can_write(const void *bytes, size_t size)
{
	const uintptr_t first = (uintptr_t)bytes, last = first + size - 1;
	const uintptr_t known =
		atomic_load_explicit(&known_pages[first / PAGE % KNOWN_PAGES], memory_order_relaxed);

	if (LIKELY(known == ((first & -(uintptr_t)PAGE) | CAN_READ | CAN_WRITE) && !((first ^ last) / PAGE)))
		return true;
	return can_write_each(bytes, size);
}

#endif
