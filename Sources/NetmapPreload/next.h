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
/* Aligned, so that few of them lie in two pages: each costs a search in the page tables after a system call. */
#define SHOWN __attribute__((visibility("default"), aligned(256)))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)

/*
 * For the words that every program needs: they lie beside the words that the dynamic loader writes when it loads this object, so
 * that no further page of memory is needed for them.
 */
#define NEAR __attribute__((section(".data")))

/* For calls that are rarely made: the callee saves the registers, so that the caller saves none when it does not call. */
#ifdef __clang__
#define RARE __attribute__((preserve_most, noinline))
#else
#define RARE __attribute__((noinline))
#endif

/* Finds the next object's definition of a function, and keeps it in *cell. Leaves errno alone. */
HIDDEN RARE void *next_symbol(_Atomic(void *) *cell, const char *name);

/*
 * Defines next_NAME(), which returns the next object's function of that name. Calls must be tail calls where the function
 * is a cancellation point.
 */
#define NEXT(name) NEXT_AS(name, __typeof__(name))
#define NEXT_AS(name, type)                                                                         \
	static NEAR _Atomic(void *) cell_##name;                                                    \
	static inline type *next_##name(void)                                                       \
	{                                                                                           \
		void *known = atomic_load_explicit(&cell_##name, memory_order_relaxed);             \
		return (type *)(LIKELY(known) ? known : next_symbol(&cell_##name, #name));          \
	}

/* Whether a function is libc's, as opposed to another preloaded object's. Leaves errno alone. */
HIDDEN bool is_of_libc(void *function);

/*
 * System calls made here, for functions that look at the result: they cannot jump to libc's function, and each return after a
 * system call costs 6 to 8 ns, because the kernel overwrites the processor's memory of return addresses. Not for cancellation
 * points.
 */
#if defined(__x86_64__) || defined(__aarch64__)
#define HAS_KERNEL_CALL 1
#else
#define HAS_KERNEL_CALL 0
#endif

/* Returns a negated errno on failure. */
static inline long kernel_call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number, result __asm__("x0") = a, x1 __asm__("x1") = b,
		      x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(result)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return result;
#else
	(void)number, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
	return -ENOSYS;
#endif
}

static inline bool has_failed(long result)
{
	return !LIKELY((unsigned long)result <= -4096UL);
}

/*
 * Defines next_is_libc_NAME(): whether the next object's function is known to be libc's, so that kernel_call() may take its
 * place. For functions that are no more than a system call. learn_NAME() finds out, and returns that function.
 */
#define NEXT_IS_LIBC(name)                                                                       \
	static NEAR _Atomic bool of_libc_##name;                                                 \
	static inline __attribute__((always_inline)) bool next_is_libc_##name(void)              \
	{                                                                                        \
		return HAS_KERNEL_CALL &&                                                        \
		       LIKELY(atomic_load_explicit(&of_libc_##name, memory_order_relaxed));      \
	}                                                                                        \
	static inline __typeof__(next_##name()) learn_##name(void)                               \
	{                                                                                        \
		if (is_of_libc((void *)next_##name()))                                           \
			atomic_store_explicit(&of_libc_##name, true, memory_order_relaxed);      \
		return next_##name();                                                            \
	}

#endif
