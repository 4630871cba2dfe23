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
	if (to < 0 || (LIKELY(fd_state(from) == fd_state(to)) && !inside_half && fd_state(to) != FD_NETMAP &&
		       !fd_is_instance(to)))
		return to;
	if (!inside_half)
		fd_copied(from, to);
	else if (is_kept)
		fd_mark(to, FD_PRIVATE);
	return to;
}

/* A number that is the Swift half's cannot be a target: to the program it is beyond the limit. */
static inline bool may_replace(int to)
{
	if (LIKELY(fd_state(to) != FD_PRIVATE) || !fd_is_private(to))
		return true;
	errno = EBADF;
	return false;
}

int __dup2(int, int);

NEXT(dup)
SHOWN int dup(int fd)
{
	return copied(fd, next_dup()(fd), false);
}

#define DUP2(name)                                                                                     \
	NEXT(name)                                                                                     \
	SHOWN int name(int fd, int to)                                                                 \
	{                                                                                              \
		if (!may_replace(to))                                                                  \
			return -1;                                                                     \
		if (fd == to)                                                                          \
			return next_##name()(fd, to);                                                  \
		return copied(fd, next_##name()(fd, to), false);                                       \
	}
DUP2(dup2)
DUP2(__dup2)

NEXT(dup3)
SHOWN int dup3(int fd, int to, int flags)
{
	if (!may_replace(to))
		return -1;
	return copied(fd, next_dup3()(fd, to, flags), true);
}

typedef int fcntl_function(int, int, void *);

/* libc's functions are variadic: see open.c. */
#define FCNTL(name)                                                                                    \
	NEXT_AS(name, fcntl_function)                                                                  \
	SHOWN int interposed_##name(int fd, int command, void *argument) __asm__(#name);               \
	int interposed_##name(int fd, int command, void *argument)                                     \
	{                                                                                              \
		if (LIKELY(command != F_DUPFD && command != F_DUPFD_CLOEXEC))                          \
			return next_##name()(fd, command, argument);                                   \
		return copied(fd, next_##name()(fd, command, argument), command == F_DUPFD_CLOEXEC);   \
	}
FCNTL(fcntl)
FCNTL(__fcntl)
FCNTL(fcntl64)
