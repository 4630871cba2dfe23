/*
 * What every file of the C half includes: headers, attributes, and access to the functions that this object stands in
 * front of.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef NEXT_H
#define NEXT_H

#define _GNU_SOURCE
/* The checked variants are functions that this object defines. */
#undef _FORTIFY_SOURCE
/* Programs pass NULL, which is for the kernel to refuse; the attribute would have the compiler drop checks for it. */
#define __attribute_nonnull__(parameters)

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define HIDDEN __attribute__((visibility("hidden")))
#define SHOWN __attribute__((visibility("default")))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)

/* Finds the next object's definition of a function, and keeps it in *cell. Leaves errno alone. */
HIDDEN void *next_symbol(_Atomic(void *) *cell, const char *name);

/*
 * Defines next_NAME(), which returns the next object's function of that name. Calls must be tail calls where the function
 * is a cancellation point.
 */
#define NEXT(name) NEXT_AS(name, __typeof__(name))
#define NEXT_AS(name, type)                                                                         \
	static _Atomic(void *) cell_##name;                                                         \
	static inline type *next_##name(void)                                                       \
	{                                                                                           \
		void *known = atomic_load_explicit(&cell_##name, memory_order_relaxed);             \
		return (type *)(LIKELY(known) ? known : next_symbol(&cell_##name, #name));          \
	}

#endif
