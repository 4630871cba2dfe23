/*
 * epoll(7) of tokens.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "descriptors.h"

#include <sys/epoll.h>

/*
 * Refuses tokens, as epoll refuses files that it cannot wait for: the kernel would report a token as writable for ever and
 * never as readable.
 */
NEXT(epoll_ctl)
SHOWN int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	if (!LIKELY(fd_state(fd) == FD_FOREIGN) && !inside_half && fd_probe(fd, false)) {
		errno = EPERM;
		return -1;
	}
	return next_epoll_ctl()(epoll, operation, fd, event);
}
