/*
 * The ways to close descriptors.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "descriptors.h"
#include "interest.h"
#include "process.h"

#include <stdio.h>

/* Whether the program may close it: false, with errno, for a number that is not in use as far as the program knows. */
static bool closes(int fd)
{
	switch (fd_state(fd)) {
	case FD_NETMAP:
		if (!inside_half)
			fd_gone(fd);
		return true;
	case FD_PRIVATE:
		if (fd_is_private(fd)) {
			errno = EBADF;
			return false;
		}
		break;
	case FD_EPOLL:
	case FD_INSTANCE:
		if (!inside_half)
			interest_closed(fd);
		break;
	}
	fd_forget(fd);
	return true;
}

int __close(int);

#define CLOSE(name)                                                                                    \
	NEXT(name)                                                                                     \
	SHOWN int name(int fd)                                                                         \
	{                                                                                              \
		if (!LIKELY(fd_state(fd) == FD_UNSEEN) && !closes(fd))                                 \
			return -1;                                                                     \
		return next_##name()(fd);                                                              \
	}
CLOSE(close)
CLOSE(__close)

/* fclose does not call close through its symbol. */
NEXT(fclose)
SHOWN int fclose(FILE *file)
{
	if (!LIKELY(fd_state(fileno(file)) == FD_UNSEEN))
		closes(fileno(file));
	return next_fclose()(file);
}

void closefrom(int);
int close_range(unsigned int, unsigned int, int);

NEXT(close_range)
NEXT(closefrom)

/* Closes first...last but for the Swift half's descriptors, which lie between ranges that it passes on. */
static int close_between(unsigned int first, unsigned int last, int flags)
{
	const unsigned int end = last < FD_COUNT ? last : FD_COUNT - 1;
	unsigned int start = first;
	int result = 0;

	for (unsigned int fd = first; fd <= end; fd++) {
		const uint8_t state = fd_state((int)fd);

		if (LIKELY(state == FD_UNSEEN))
			continue;
		if (fd_is_private((int)fd)) {
			if (fd > start && next_close_range()(start, fd - 1, flags))
				result = -1;
			start = fd + 1;
		} else if (!(flags & 4 /* CLOSE_RANGE_CLOEXEC */)) {
			closes((int)fd);
		}
	}
	if (start <= last && next_close_range()(start, last, flags))
		result = -1;
	return result;
}

SHOWN int close_range(unsigned int first, unsigned int last, int flags)
{
	if (first > last || !half_if_loaded() || inside_half || process_is_guest())
		return next_close_range()(first, last, flags);
	return close_between(first, last, flags);
}

SHOWN void closefrom(int first)
{
	if (!half_if_loaded() || inside_half || process_is_guest())
		next_closefrom()(first);
	else
		close_between(first < 0 ? 0 : (unsigned int)first, ~0U, 0);
}
