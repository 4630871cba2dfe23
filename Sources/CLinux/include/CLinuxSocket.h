/*
 * Unix sockets: descriptors with messages, and who is at the other end. The control-message macros of
 * cmsg(3) cannot be imported into Swift.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CLINUX_SOCKET_H
#define CLINUX_SOCKET_H

#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	/* The most descriptors in one message: SCM_MAX_FD of the kernel. */
	CLINUX_MESSAGE_FILES = 253,
	CLINUX_SO_SNDBUFFORCE = 32,
	CLINUX_LOCK_EX = 2,
	CLINUX_POSIX_SPAWN_SETSID = 0x80,
};

/* struct ucred: process, user and group of the peer */
struct clinux_credentials {
	int process;
	unsigned int user;
	unsigned int group;
};

/* posix_spawn(3) */
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
extern int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions,
						const char *path);

/* flock(2): without waiting */
enum {
	CLINUX_LOCK_NB = 4,
};

/* flock(2) */
extern int flock(int file, int operation);

/* SO_PEERCRED of socket(7) */
static inline int clinux_peer(int socket, struct clinux_credentials *peer)
{
	socklen_t size = sizeof *peer;

	return getsockopt(socket, SOL_SOCKET, 17, peer, &size);
}

/* PR_SET_NO_NEW_PRIVS of prctl(2): exec never gives more rights from now on */
static inline int clinux_no_new_privileges(void)
{
	extern int prctl(int option, ...);

	return prctl(38, 1UL, 0UL, 0UL, 0UL);
}

/* pipe2(2): the ends are closed on exec from the start, whatever other threads run just then */
static inline int clinux_pipe(int ends[2])
{
	return (int)syscall(SYS_pipe2, ends, O_CLOEXEC);
}

/* pidfd_open(2) */
static inline int clinux_pidfd_open(int process)
{
	return (int)syscall(434, process, 0);
}

/* Sends one datagram with some descriptors; at most CLINUX_MESSAGE_FILES. */
static inline ssize_t clinux_send(int socket, const void *bytes, size_t size, const int *files,
				  size_t count, int flags)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(CLINUX_MESSAGE_FILES * sizeof(int))];
	} control;
	struct iovec part = { .iov_base = (void *)bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	memset(&control, 0, sizeof control);
	if (count > 0 && count <= CLINUX_MESSAGE_FILES) {
		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), files, count * sizeof(int));
	}
	return sendmsg(socket, &message, flags | MSG_NOSIGNAL);
}

/*
 * Receives one datagram. Its descriptors, close-on-exec, go to files, their number to count; those
 * beyond CLINUX_MESSAGE_FILES are closed by the kernel. truncated says whether bytes were lost.
 */
static inline ssize_t clinux_receive(int socket, void *bytes, size_t size, int *files,
				     size_t *count, int *truncated, int flags)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(CLINUX_MESSAGE_FILES * sizeof(int))];
	} control;
	struct iovec part = { .iov_base = bytes, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof control.space,
	};
	const ssize_t got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);

	*count = 0;
	*truncated = 0;
	if (got < 0)
		return got;
	*truncated = (message.msg_flags & MSG_TRUNC) != 0;
	for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
		if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
			continue;
		*count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(files, CMSG_DATA(each), *count * sizeof(int));
	}
	return got;
}

#endif
