/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory.h"

#include <linux/futex.h>
#include <signal.h>

NEAR _Atomic uintptr_t known_pages[KNOWN_PAGES];

bool kernel_can_read(const void *byte)
{
	const int error = errno;
	const uintptr_t address = (uintptr_t)byte & -(uintptr_t)8;
	bool result;

	/* NULL would mean that the caller has no mask. Nothing is mapped there, or in what the kernel reserves. */
	if (!address)
		return false;
	/* A signal mask for a call that fails: the kernel reads eight bytes, and changes nothing. */
	result = !syscall(SYS_rt_sigprocmask, -1, address, NULL, (size_t)(_NSIG / 8)) || errno != EFAULT;
	errno = error;
	return result;
}

/* Asks the kernel about one page. Changes no byte. Keeps errno. */
static bool kernel_can_write(const void *byte)
{
	static uint32_t own;
	const int error = errno;
	const uintptr_t address = (uintptr_t)byte & -(uintptr_t)4;
	bool result;

	/* The kernel adds 0 to the word, atomically, and wakes no thread. */
	result = syscall(SYS_futex, &own, FUTEX_WAKE_OP_PRIVATE, 0, 0L, address,
			 FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_LT, 0)) >= 0 ||
		 errno != EFAULT;
	errno = error;
	return result;
}

/* Looks at each page, and keeps what the kernel says of those that are new. */
static bool can_use_each(const void *bytes, size_t size, uintptr_t wanted)
{
	const uintptr_t start = (uintptr_t)bytes, end = start + size;

	if (!size || end < start)
		return false;
	for (uintptr_t page = start & -(uintptr_t)PAGE; page < end; page += PAGE) {
		_Atomic uintptr_t *const entry = &known_pages[page / PAGE % KNOWN_PAGES];
		const uintptr_t known = atomic_load_explicit(entry, memory_order_relaxed);

		if ((known & -(uintptr_t)PAGE) == page && (known & wanted) == wanted)
			continue;
		if (!(wanted & CAN_WRITE ? kernel_can_write((void *)page) : kernel_can_read((void *)page)))
			return false;
		atomic_store_explicit(entry, page | wanted, memory_order_relaxed);
		/* The last page of the address space. */
		if (page + PAGE < page)
			break;
	}
	return true;
}

bool can_read_each(const void *bytes, size_t size)
{
	return can_use_each(bytes, size, CAN_READ);
}

bool can_write_each(const void *bytes, size_t size)
{
	return can_use_each(bytes, size, CAN_READ | CAN_WRITE);
}
