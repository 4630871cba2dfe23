/*
 * Copying between a process's memory and itself when an address may be wild: process_vm_readv(2),
 * process_vm_writev(2), and the calls for a copy through a pipe. The kernel copies, so an address that cannot be
 * reached is an error and not a signal.
 *
 * Addresses are numbers, because they need not be addresses of anything. All calls are raw: functions of the C library
 * may be interposed by the library that uses these.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CLINUX_MEMORY_H
#define CLINUX_MEMORY_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* process_vm_readv(2) on the calling process: copies count bytes at an address. Returns how many, or -1. */
static inline long clinux_copy_from_self(void *to, uint64_t address, size_t count)
{
	const struct iovec local = { to, count };
	const struct iovec remote = { (void *)(uintptr_t)address, count };

	return syscall(SYS_process_vm_readv, syscall(SYS_getpid), &local, 1UL, &remote, 1UL, 0UL);
}

/* As clinux_copy_from_self(). Returns whether all bytes were copied, and keeps errno. */
static inline int clinux_copy_all_from_self(void *to, uint64_t address, size_t count)
{
	const int error = errno;
	const int result = clinux_copy_from_self(to, address, count) == (long)count;

	errno = error;
	return result;
}

/* process_vm_writev(2) on the calling process: copies count bytes to an address. Returns how many, or -1. */
static inline long clinux_copy_to_self(uint64_t address, const void *from, size_t count)
{
	const struct iovec local = { (void *)(uintptr_t)from, count };
	const struct iovec remote = { (void *)(uintptr_t)address, count };

	return syscall(SYS_process_vm_writev, syscall(SYS_getpid), &local, 1UL, &remote, 1UL, 0UL);
}

/* read(2) to an address that may be wild */
static inline long clinux_read_to(int file, uint64_t address, size_t count)
{
	return syscall(SYS_read, file, (uintptr_t)address, count);
}

/* write(2) from an address that may be wild */
static inline long clinux_write_from(int file, uint64_t address, size_t count)
{
	return syscall(SYS_write, file, (uintptr_t)address, count);
}

/* close(2) */
static inline int clinux_raw_close(int file)
{
	return (int)syscall(SYS_close, file);
}

#endif
