/*
 * The ways to copy descriptors.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "descriptors.h"

#include <fcntl.h>

/* A copy was made. The Swift half keeps the ones that it makes close-on-exec. */
static inline int copied(int from, int to, bool is_kept)
{
	if (to < 0 || (LIKELY(fd_state(from) == fd_state(to)) && LIKELY(fd_state(to) <= FD_FOREIGN) &&
		       !(is_kept && inside_half)))
		return to;
	if (!inside_half)
		fd_copied(from, to);
	else if (is_kept)
		fd_mark(to, FD_PRIVATE);
	return to;
}

/* A number that is the Swift half's becomes the program's, if there is a file to copy to it. */
static inline void make_room(int from, int to)
{
	if (LIKELY(fd_state(to) != FD_PRIVATE) || !fd_is_private(to))
		return;
	if (from != to && syscall(SYS_fcntl, from, F_GETFD) >= 0)
		fd_vacate(to);
}

/* A system call that copies a descriptor, as libc makes it. */
static inline int copy(long number, int fd, int command, int lowest)
{
	const long result = kernel_call(number, fd, command, lowest, 0, 0, 0);

	if (LIKELY(!has_failed(result)))
		return (int)result;
	errno = (int)-result;
	return -1;
}

int __dup2(int, int);

NEXT(dup)
NEXT_IS_LIBC(dup)
SHOWN int dup(int fd)
{
	return copied(fd, next_is_libc_dup() ? copy(SYS_dup, fd, 0, 0) : learn_dup()(fd), false);
}

#define DUP2(name)                                                                                     \
	NEXT(name)                                                                                     \
	SHOWN int name(int fd, int to)                                                                 \
	{                                                                                              \
		/* Nothing is to be said of the copy then. */                                          \
		if (LIKELY(fd_state(fd) == fd_state(to)) && LIKELY(fd_state(to) <= FD_FOREIGN))        \
			return next_##name()(fd, to);                                                  \
		make_room(fd, to);                                                                     \
		if (fd == to)                                                                          \
			return next_##name()(fd, to);                                                  \
		return copied(fd, next_##name()(fd, to), false);                                       \
	}
DUP2(dup2)
DUP2(__dup2)

NEXT(dup3)
SHOWN int dup3(int fd, int to, int flags)
{
	make_room(fd, to);
	return copied(fd, next_dup3()(fd, to, flags), true);
}

typedef int fcntl_function(int, int, void *);

/* libc's functions are variadic: see open.c. */
#define FCNTL(name)                                                                                    \
	NEXT_AS(name, fcntl_function)                                                                  \
	NEXT_IS_LIBC(name)                                                                             \
	SHOWN int interposed_##name(int fd, int command, void *argument) __asm__(#name);               \
	int interposed_##name(int fd, int command, void *argument)                                     \
	{                                                                                              \
		if (LIKELY(command != F_DUPFD && command != F_DUPFD_CLOEXEC))                          \
			return next_##name()(fd, command, argument);                                   \
		return copied(fd,                                                                      \
			      next_is_libc_##name()                                                    \
				      ? copy(SYS_fcntl, fd, command, (int)(long)argument)              \
				      : learn_##name()(fd, command, argument),                         \
			      command == F_DUPFD_CLOEXEC);                                             \
	}
FCNTL(fcntl)
FCNTL(__fcntl)
FCNTL(fcntl64)
