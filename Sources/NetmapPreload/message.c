/*
 * Descriptors that arrive in messages.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "descriptors.h"

#include <string.h>
#include <sys/socket.h>

/* Looks at the descriptors of a message. */
static void look_at(struct msghdr *message)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
		const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
			/* The number is new, whatever was known of it. */
			if (fd_state(fd) == FD_NETMAP)
				fd_gone(fd);
			fd_forget(fd);
			fd_probe(fd, true);
		}
	}
}

NEXT(recvmsg)
SHOWN ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t result;

	/* As in transfer.c. */
	if (!LIKELY(fd_state(fd) != FD_NETMAP) && fd_is_netmap_now(fd)) {
		errno = ENOTSOCK;
		return -1;
	}
	if (inside_half)
		return next_recvmsg()(fd, message, flags);
	/* Nothing is read before the kernel has read it. */
	result = next_recvmsg()(fd, message, flags);
	if (result >= 0 && message->msg_control && message->msg_controllen >= CMSG_LEN(sizeof(int)))
		look_at(message);
	return result;
}

NEXT(recvmmsg)
SHOWN int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags,
		   struct timespec *timeout)
{
	int result;

	if (!LIKELY(fd_state(fd) != FD_NETMAP) && fd_is_netmap_now(fd)) {
		errno = ENOTSOCK;
		return -1;
	}
	result = next_recvmmsg()(fd, messages, count, flags, timeout);
	for (int i = 0; i < result && !inside_half; i++)
		if (messages[i].msg_hdr.msg_control &&
		    messages[i].msg_hdr.msg_controllen >= CMSG_LEN(sizeof(int)))
			look_at(&messages[i].msg_hdr);
	return result;
}
