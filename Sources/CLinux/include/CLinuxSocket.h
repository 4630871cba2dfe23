/*
 * Unix sockets: messages with descriptors, and the credentials of the peer. Swift cannot import the
 * control-message macros of cmsg(3).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CLINUX_SOCKET_H
#define CLINUX_SOCKET_H

#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	/* The most descriptors in one message: SCM_MAX_FD of the kernel. */
	CLINUX_MESSAGE_FILES = 253,
	CLINUX_SO_SNDBUFFORCE = 32,
	CLINUX_LOCK_EX = 2,
	CLINUX_POSIX_SPAWN_SETSID = 0x80,
	/* Control messages of unix(7) besides SCM_RIGHTS */
	CLINUX_SCM_CREDENTIALS = 2,
	CLINUX_SCM_PIDFD = 4,
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

/* PR_SET_NO_NEW_PRIVS of prctl(2): from now on exec grants no additional rights */
static inline int clinux_no_new_privileges(void)
{
	extern int prctl(int option, ...);

	return prctl(38, 1UL, 0UL, 0UL, 0UL);
}

/* pipe2(2): both ends are close-on-exec from the start, so another thread's fork and exec cannot leak them */
static inline int clinux_pipe(int ends[2])
{
	return (int)syscall(SYS_pipe2, ends, O_CLOEXEC);
}

/* The family of a socket, such as AF_UNIX; -1 for any other file. Never blocks. */
static inline int clinux_socket_family(int file)
{
	int value = -1;
	socklen_t size = sizeof value;

	/* SO_DOMAIN */
	return getsockopt(file, SOL_SOCKET, 39, &value, &size) ? -1 : value;
}

/* pidfd_open(2) */
static inline int clinux_pidfd_open(int process)
{
	return (int)syscall(434, process, 0);
}

/* pidfd_send_signal(2) */
static inline int clinux_pidfd_signal(int pidfd, int signal)
{
	return (int)syscall(424, pidfd, signal, NULL, 0);
}

/* Whether a file is on tmpfs; files of memfd_create(2) are, unless they use huge pages. */
static inline int clinux_is_tmpfs(int file)
{
	struct statfs status;

	return !fstatfs(file, &status) && status.f_type == 0x01021994;
}

/*
 * Sends one datagram with up to CLINUX_MESSAGE_FILES descriptors.
 *
 * A receiver that asks for credentials gets the effective user. By default the kernel would send the real user,
 * which differs in a set-user-ID program.
 */
static inline ssize_t clinux_send(int socket, const void *bytes, size_t size, const int *files,
				  size_t count, int flags)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(CLINUX_MESSAGE_FILES * sizeof(int)) +
			   CMSG_SPACE(sizeof(struct clinux_credentials))];
	} control;
	struct iovec part = { .iov_base = (void *)bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	size_t used = 0;

	memset(&control, 0, sizeof control);
	if (count > 0 && count <= CLINUX_MESSAGE_FILES) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), files, count * sizeof(int));
		used = CMSG_SPACE(count * sizeof(int));
	}
	if (geteuid() != getuid()) {
		struct cmsghdr *const own = (struct cmsghdr *)(void *)(control.space + used);
		const struct clinux_credentials credentials = {
			.process = getpid(), .user = geteuid(), .group = getegid(),
		};

		own->cmsg_level = SOL_SOCKET;
		own->cmsg_type = CLINUX_SCM_CREDENTIALS;
		own->cmsg_len = CMSG_LEN(sizeof credentials);
		memcpy(CMSG_DATA(own), &credentials, sizeof credentials);
		used += CMSG_SPACE(sizeof credentials);
	}
	if (used > 0) {
		message.msg_control = control.space;
		message.msg_controllen = used;
	}
	return sendmsg(socket, &message, flags | MSG_NOSIGNAL);
}

/*
 * Receives one datagram. Stores its descriptors, close-on-exec, in files, and their number in count. The kernel
 * closes descriptors beyond CLINUX_MESSAGE_FILES. Sets truncated if bytes were lost, and lost if descriptors were: the
 * process may have no free number.
 */
static inline ssize_t clinux_receive_noting(int socket, void *bytes, size_t size, int *files,
					    size_t *count, int *truncated, int *lost, int flags)
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
	*lost = 0;
	if (got < 0)
		return got;
	*truncated = (message.msg_flags & MSG_TRUNC) != 0;
	*lost = (message.msg_flags & MSG_CTRUNC) != 0;
	for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
		if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
			continue;
		*count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(files, CMSG_DATA(each), *count * sizeof(int));
	}
	return got;
}

static inline ssize_t clinux_receive(int socket, void *bytes, size_t size, int *files,
				     size_t *count, int *truncated, int flags)
{
	int lost;

	return clinux_receive_noting(socket, bytes, size, files, count, truncated, &lost, flags);
}

/*
 * Makes every message received on a socket, or on a socket that a listening socket accepts, carry its sender's
 * credentials, which the kernel checks, and since Linux 6.5 a pidfd of the sender.
 */
static inline int clinux_pass_credentials(int socket)
{
	const int yes = 1;

	/* SO_PASSPIDFD; an older kernel rejects it, and the receiver works without a pidfd. */
	(void)setsockopt(socket, SOL_SOCKET, 76, &yes, sizeof yes);
	/* SO_PASSCRED */
	return setsockopt(socket, SOL_SOCKET, 16, &yes, sizeof yes);
}

/* Stops passing a pidfd with messages. */
static inline int clinux_pass_no_pidfd(int socket)
{
	const int no = 0;

	return setsockopt(socket, SOL_SOCKET, 76, &no, sizeof no);
}

/* Whether a descriptor is a Unix SOCK_SEQPACKET socket that is not listening. Never blocks. */
static inline int clinux_is_message_socket(int file)
{
	int value = -1;
	socklen_t size = sizeof value;

	/* SO_DOMAIN, SO_TYPE, SO_ACCEPTCONN */
	if (getsockopt(file, SOL_SOCKET, 39, &value, &size) || value != AF_UNIX)
		return 0;
	if (getsockopt(file, SOL_SOCKET, 3, &value, &size) || value != SOCK_SEQPACKET)
		return 0;
	return !getsockopt(file, SOL_SOCKET, 30, &value, &size) && value == 0;
}

/* Whether a descriptor is a Unix socket of any type. Never blocks. */
static inline int clinux_is_unix_socket(int file)
{
	int value = -1;
	socklen_t size = sizeof value;

	return !getsockopt(file, SOL_SOCKET, 39, &value, &size) && value == AF_UNIX;
}

/* Makes close(2) of a socket return without waiting until sent data has arrived; no effect on other files. */
static inline void clinux_no_linger(int file)
{
	const struct {
		int on, seconds;
	} never = { 0, 0 };

	/* SO_LINGER */
	(void)setsockopt(file, SOL_SOCKET, 13, &never, sizeof never);
}

/* The data that arrived with a datagram besides its bytes. */
struct clinux_arrival {
	struct clinux_credentials sender;
	/* Whether credentials arrived: an empty datagram has them, the end of a connection does not. */
	int has_sender;
	/* The sender's pidfd; -1 if the kernel provides none, or the sender has exited. */
	int pidfd;
	/* The number of descriptors. */
	size_t count;
	/* Whether bytes were lost (truncated) or descriptors (lost). */
	int truncated, lost;
};

/*
 * Receives one datagram with its sender's credentials, on a socket prepared by clinux_pass_credentials. The buffer has
 * room for every descriptor that a message can carry, because the kernel would close further descriptors on this
 * thread, and closing a file can block for as long as its owner likes.
 */
static inline ssize_t clinux_receive_arrival(int socket, void *bytes, size_t size, int *files,
					     struct clinux_arrival *arrival)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(CLINUX_MESSAGE_FILES * sizeof(int)) +
			   CMSG_SPACE(sizeof(struct clinux_credentials)) +
			   CMSG_SPACE(sizeof(int)) + 64];
	} control;
	struct iovec part = { .iov_base = bytes, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof control.space,
	};
	const ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	memset(arrival, 0, sizeof *arrival);
	arrival->pidfd = -1;
	if (got < 0)
		return got;
	arrival->truncated = (message.msg_flags & MSG_TRUNC) != 0;
	arrival->lost = (message.msg_flags & MSG_CTRUNC) != 0;
	for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
		const size_t length = each->cmsg_len - CMSG_LEN(0);

		if (each->cmsg_level != SOL_SOCKET)
			continue;
		if (each->cmsg_type == SCM_RIGHTS) {
			arrival->count = length / sizeof(int);
			memcpy(files, CMSG_DATA(each), arrival->count * sizeof(int));
		} else if (each->cmsg_type == CLINUX_SCM_CREDENTIALS &&
			   length >= sizeof arrival->sender) {
			memcpy(&arrival->sender, CMSG_DATA(each), sizeof arrival->sender);
			arrival->has_sender = 1;
		} else if (each->cmsg_type == CLINUX_SCM_PIDFD && length >= sizeof(int)) {
			memcpy(&arrival->pidfd, CMSG_DATA(each), sizeof(int));
		}
	}
	return got;
}

/* The owner of the user namespace that a network namespace belongs to (ioctl_ns(2)). */
static inline int clinux_namespace_owner(int file, unsigned int *user)
{
	extern int ioctl(int file, unsigned long request, ...);
	/* NS_GET_USERNS, NS_GET_OWNER_UID */
	const int owner = ioctl(file, 0xb701UL);
	int result;

	if (owner < 0)
		return -1;
	result = ioctl(owner, 0xb704UL, user);
	close(owner);
	return result;
}

/* Sends eight bytes on a stream socket, all or none. Never blocks, whatever flags the socket has; raises no SIGPIPE. */
static inline ssize_t clinux_send_word(int socket, uint64_t word)
{
	return send(socket, &word, sizeof word, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/*
 * Reads up to size bytes from a stream socket's queue without removing them, and returns their number. Sets has_files
 * if descriptors lie among the bytes or directly after them. Never waits for bytes.
 */
static inline ssize_t clinux_peek(int socket, void *bytes, size_t size, int *has_files)
{
	struct iovec part = { .iov_base = bytes, .iov_len = size };
	/* Without room for descriptors, the kernel reports them as truncated. */
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	const ssize_t got = recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT);

	*has_files = got >= 0 && (message.msg_flags & MSG_CTRUNC) != 0;
	return got;
}

/* Removes bytes from a stream socket's queue. Never waits for bytes. */
static inline ssize_t clinux_take(int socket, void *bytes, size_t size)
{
	return recv(socket, bytes, size, MSG_DONTWAIT);
}

/*
 * Changes the user of the calling thread only, and drops its groups and capabilities. The C library's functions
 * would change all threads.
 */
static inline int clinux_become_on_thread(unsigned int user)
{
	if (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, user, user, user))
		return -1;
	return (int)syscall(SYS_setresuid, user, user, user);
}

#endif
