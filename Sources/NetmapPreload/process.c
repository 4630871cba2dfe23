/* SPDX-License-Identifier: BSD-2-Clause */
#include "process.h"

#include <dlfcn.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

char process_room[2 * PROCESS_PAGE];

/* Whether this process, or one that it descends from by fork(2), has begun. */
static NEAR _Atomic bool has_begun;

/* The process that has last called vfork(2) in this memory. */
static NEAR _Atomic int lender;

RARE void *next_symbol(_Atomic(void *) *cell, const char *name)
{
	const int error = errno;
	void *const found = dlsym(RTLD_NEXT, name);

	errno = error;
	/* The name is one that libc has. */
	if (!found)
		__builtin_trap();
	atomic_store_explicit(cell, found, memory_order_relaxed);
	return found;
}

bool is_of_libc(void *function)
{
	const int error = errno;
	void *const of_libc = dlsym(RTLD_NEXT, "gnu_get_libc_version");
	Dl_info one, other;
	const bool result = of_libc && dladdr(function, &one) && dladdr(of_libc, &other) &&
			    one.dli_fbase == other.dli_fbase;

	errno = error;
	return result;
}

void process_begin(void)
{
	const int error = errno;

	syscall(SYS_madvise, process_page(), (size_t)PROCESS_PAGE, MADV_WIPEONFORK);
	atomic_store(&process_page()->owner, (int)syscall(SYS_getpid));
	atomic_store_explicit(&process_page()->is_known, 1, memory_order_release);
	atomic_store_explicit(&has_begun, true, memory_order_release);
	errno = error;
}

bool process_has_begun(void)
{
	return atomic_load_explicit(&has_begun, memory_order_acquire);
}

/*
 * Whether the calling thread is the one that libc takes it for. In a vfork child libc still means the parent's thread. The
 * number of a thread's clock is made from the thread's number.
 */
static bool is_thread_of_libc(void)
{
	clockid_t clock;
	int thread;

	if (pthread_getcpuclockid(pthread_self(), &clock))
		return false;
	thread = ~(clock >> 3);
	/* First the question that filters of system calls nearly always permit. */
	return thread == (int)syscall(SYS_getpid) || thread == (int)syscall(SYS_gettid);
}

/* Of a process that was not made by libc's fork. */
static bool is_guest_of_parent(void)
{
	const int self = (int)syscall(SYS_getpid), parent = (int)syscall(SYS_getppid),
		  owner = atomic_load(&process_page()->owner);
	long order;

	if (owner)
		return owner != self;
	/* Fails where it is not permitted, and where this process cannot see its parent. */
	order = syscall(SYS_kcmp, self, parent, KCMP_VM, 0L, 0L);
	return order < 0 ? parent && atomic_load(&lender) == parent : !order;
}

bool process_is_guest(void)
{
	const int error = errno;
	const bool result = !LIKELY(is_thread_of_libc()) && is_guest_of_parent();

	errno = error;
	return result;
}

/* A jump, because the child returns through the caller's frame. */
NEXT(vfork)
SHOWN __attribute__((returns_twice)) pid_t vfork(void)
{
	atomic_store(&lender, (int)syscall(SYS_getpid));
	__attribute__((musttail)) return next_vfork()();
}
