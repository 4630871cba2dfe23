/*
 * Counts the allocator calls of the program that preloads this library.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef MALLOC_COUNTER_H
#define MALLOC_COUNTER_H

/*
 * Number of calls of malloc, calloc, realloc, reallocarray, aligned_alloc, memalign and posix_memalign
 * so far, in all threads. A program finds this function with dlsym(3), so that it also runs without
 * the counter.
 */
unsigned long malloc_counter_calls(void);

#endif
