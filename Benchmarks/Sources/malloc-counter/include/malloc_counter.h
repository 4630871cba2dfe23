/*
 * Counts calls of the allocator in the program it is preloaded into.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef MALLOC_COUNTER_H
#define MALLOC_COUNTER_H

/*
 * Calls of malloc, calloc, realloc, reallocarray, aligned_alloc, memalign and posix_memalign so far,
 * in all threads. A program looks this up with dlsym(3), so that it also runs without the counter.
 */
unsigned long malloc_counter_calls(void);

#endif
