/*
 * Copying between a process's memory and itself when an address may be wild: process_vm_readv(2),
 * process_vm_writev(2), and the calls for a copy through a pipe. And what a mapping maps. The kernel copies, so an address that cannot be
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
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
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

/* pthread_getattr_np(3), which <pthread.h> declares for GNU sources only */
extern int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes);

/* The addresses of the calling thread's stack; first == end if they are not known. */
static inline void clinux_find_stack(uint64_t *first, uint64_t *end)
{
	pthread_attr_t attributes;
	void *start = NULL;
	size_t size = 0;

	if (!pthread_getattr_np(pthread_self(), &attributes)) {
		pthread_attr_getstack(&attributes, &start, &size);
		pthread_attr_destroy(&attributes);
	}
	*first = (uintptr_t)start;
	*end = *first + size;
}

/* st_dev of a device that /proc/PID/maps shows by its two numbers */
static inline uint64_t clinux_device(uint32_t major_number, uint32_t minor_number)
{
	return makedev(major_number, minor_number);
}

/* What a path names now. */
struct clinux_file {
	uint64_t inode;
	/* when the file was created, nanoseconds since 1970; 0 if the file system does not say */
	uint64_t birth;
	int is_character_device;
	/* whether the file system counts its inodes, so that no file soon has the number of a former one */
	int counts_inodes;
};

/* statx(2) and statfs(2). Returns 0, or -1. */
static inline int clinux_examine_file(const char *path, struct clinux_file *file)
{
	struct statx status;
	struct statfs system;

	if (syscall(SYS_statx, AT_FDCWD, path, 0, STATX_TYPE | STATX_INO | STATX_BTIME, &status) ||
	    syscall(SYS_statfs, path, &system))
		return -1;
	file->inode = status.stx_ino;
	file->birth = status.stx_mask & STATX_BTIME
			      ? (uint64_t)status.stx_btime.tv_sec * 1000000000 + status.stx_btime.tv_nsec
			      : 0;
	file->is_character_device = (status.stx_mode & 0170000) == 0020000;
	file->counts_inodes = (uint32_t)system.f_type == TMPFS_MAGIC ||
			      (uint32_t)system.f_type == HUGETLBFS_MAGIC;
	return 0;
}

/* close(2) */
static inline int clinux_raw_close(int file)
{
	return (int)syscall(SYS_close, file);
}

#endif
