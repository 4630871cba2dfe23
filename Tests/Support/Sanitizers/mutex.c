/*
 * Shows the thread sanitizer the contended half of Swift's Mutex, for LD_PRELOAD in `scripts/check-sanitized thread`.
 *
 * A Mutex without contention locks by atomic operations in the caller, which the sanitizer sees. With contention, the
 * Swift runtime and the kernel lock and unlock it, which the sanitizer does not see: it would report every access that
 * such a lock orders. The functions here take the place of the runtime's, call them, and tell the sanitizer.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self

/* Absent in programs without the sanitizer, which inherit LD_PRELOAD. */
extern void __tsan_acquire(void *) __attribute__((weak));
extern void __tsan_release(void *) __attribute__((weak));

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

SWIFT void lock_slow(uint32_t thread, SELF) __asm__(LOCK);
SWIFT bool try_lock_slow(SELF) __asm__(TRY_LOCK);
SWIFT void unlock_slow(SELF) __asm__(UNLOCK);

static void *next(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (found == NULL)
		abort();
	return found;
}

SWIFT void lock_slow(uint32_t thread, SELF)
{
	static SWIFT void (*real)(uint32_t, SELF);

	if (real == NULL)
		real = (SWIFT void (*)(uint32_t, SELF))next(LOCK);
	real(thread, self);
	if (__tsan_acquire != NULL)
		__tsan_acquire(self);
}

SWIFT bool try_lock_slow(SELF)
{
	static SWIFT bool (*real)(SELF);
	bool locked;

	if (real == NULL)
		real = (SWIFT bool (*)(SELF))next(TRY_LOCK);
	locked = real(self);
	if (locked && __tsan_acquire != NULL)
		__tsan_acquire(self);
	return locked;
}

SWIFT void unlock_slow(SELF)
{
	static SWIFT void (*real)(SELF);

	if (real == NULL)
		real = (SWIFT void (*)(SELF))next(UNLOCK);
	if (__tsan_release != NULL)
		__tsan_release(self);
	real(self);
}
