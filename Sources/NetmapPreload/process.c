/* SPDX-License-Identifier: BSD-2-Clause */
#include "process.h"

#include <dlfcn.h>

union process_page process_page __attribute__((aligned(4096)));

void *next_symbol(_Atomic(void *) *cell, const char *name)
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

void process_claim(void)
{
	int nobody = 0;

	if (!process_is_known())
		atomic_compare_exchange_strong(&process_page.owner, &nobody, (int)syscall(SYS_getpid));
}

bool process_is_guest(void)
{
	const int self = (int)syscall(SYS_getpid);
	int owner = 0;

	/* Zero: the first use of the memory, or a fork child. */
	return !atomic_compare_exchange_strong(&process_page.owner, &owner, self) && owner != self;
}

/* The parent claims its memory before the child can. A jump, because the child returns through the caller's frame. */
NEXT(vfork)
SHOWN __attribute__((returns_twice)) pid_t vfork(void)
{
	process_claim();
	__attribute__((musttail)) return next_vfork()();
}
