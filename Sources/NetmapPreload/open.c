/*
 * open(2) of /dev/netmap.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "descriptors.h"
#include "device.h"

#include <fcntl.h>

/* Within a crossing. */
static int open_tidily(void *flags)
{
	attachments_tidy();
	return half_if_loaded()->open((*(const int *)flags & O_CLOEXEC) != 0);
}

static int open_device(int flags)
{
	int fd;

	/* What the kernel says of a device that exists. */
	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) || flags & O_DIRECTORY) {
		errno = flags & O_DIRECTORY ? ENOTDIR : EEXIST;
		return -1;
	}
	if (!half())
		return -1;
	fd = crossing_call(open_tidily, &flags);
	if (fd < 0) {
		errno = -fd;
		return -1;
	}
	if (fd_state(fd) == FD_NETMAP)
		fd_gone(fd);
	fd_mark(fd, FD_NETMAP);
	if (flags & O_NONBLOCK)
		syscall(SYS_fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK);
	return fd;
}

/*
 * The number is another file's now, whatever was known of it. As long as the Swift half is not loaded, there is nothing to know
 * that a file could contradict, and opens are jumps to the next object's functions.
 */
static int opened(int fd)
{
	if (!LIKELY(fd_state(fd) == FD_UNSEEN)) {
		if (fd_state(fd) == FD_NETMAP)
			fd_gone(fd);
		else
			fd_forget(fd);
	}
	return fd;
}

/*
 * libc's functions are variadic; these have a fixed last argument. Both receive integers in the same registers (x86-64,
 * AArch64), and a variadic definition would have to store all of them.
 */
typedef int open_function(const char *, int, mode_t);
typedef int openat_function(int, const char *, int, mode_t);

#define OPEN(name)                                                                                     \
	NEXT_AS(name, open_function)                                                                   \
	SHOWN int interposed_##name(const char *path, int flags, mode_t mode) __asm__(#name);          \
	int interposed_##name(const char *path, int flags, mode_t mode)                                \
	{                                                                                              \
		if (!LIKELY(!names_device(path)))                                                      \
			return open_device(flags);                                                     \
		if (LIKELY(!half_if_loaded()))                                                         \
			return next_##name()(path, flags, mode);                                       \
		return opened(next_##name()(path, flags, mode));                                       \
	}
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                   \
	NEXT_AS(name, openat_function)                                                                 \
	SHOWN int interposed_##name(int at, const char *path, int flags, mode_t mode) __asm__(#name);  \
	int interposed_##name(int at, const char *path, int flags, mode_t mode)                        \
	{                                                                                              \
		if (!LIKELY(!names_device(path)))                                                      \
			return open_device(flags);                                                     \
		if (LIKELY(!half_if_loaded()))                                                         \
			return next_##name()(at, path, flags, mode);                                   \
		return opened(next_##name()(at, path, flags, mode));                                   \
	}
OPENAT(openat)
OPENAT(openat64)

/* The variants of programs that are compiled with _FORTIFY_SOURCE. */
int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);

#define OPEN_2(name)                                                                                   \
	NEXT(name)                                                                                     \
	SHOWN int name(const char *path, int flags)                                                    \
	{                                                                                              \
		if (!LIKELY(!names_device(path)))                                                      \
			return open_device(flags);                                                     \
		if (LIKELY(!half_if_loaded()))                                                         \
			return next_##name()(path, flags);                                             \
		return opened(next_##name()(path, flags));                                             \
	}
OPEN_2(__open_2)
OPEN_2(__open64_2)

#define OPENAT_2(name)                                                                                 \
	NEXT(name)                                                                                     \
	SHOWN int name(int at, const char *path, int flags)                                            \
	{                                                                                              \
		if (!LIKELY(!names_device(path)))                                                      \
			return open_device(flags);                                                     \
		if (LIKELY(!half_if_loaded()))                                                         \
			return next_##name()(at, path, flags);                                         \
		return opened(next_##name()(at, path, flags));                                         \
	}
OPENAT_2(__openat_2)
OPENAT_2(__openat64_2)
