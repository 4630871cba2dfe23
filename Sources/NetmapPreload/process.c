/* SPDX-License-Identifier: BSD-2-Clause */
#include "process.h"

#include <dlfcn.h>

union process_page process_page __attribute__((aligned(PROCESS_PAGE)));

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

/* Says whose memory it is, unless it is said already. */
static int claim(int self)
{
	int owner = 0;

	atomic_compare_exchange_strong(&process_page.owner, &owner, self);
	return owner ? owner : self;
}

void process_begin(void)
{
	claim((int)syscall(SYS_getpid));
	atomic_store_explicit(&process_page.is_known, 1, memory_order_release);
}

bool process_is_guest(void)
{
	const int self = (int)syscall(SYS_getpid);

	return claim(self) != self;
}

/* The parent claims its memory before the child can. A jump, because the child returns through the caller's frame. */
NEXT(vfork)
SHOWN __attribute__((returns_twice)) pid_t vfork(void)
{
	claim((int)syscall(SYS_getpid));
	__attribute__((musttail)) return next_vfork()();
}
