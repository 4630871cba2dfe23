/*
 * read(2), write(2) and their variants on tokens, and the calls that only sockets answer.
 *
 * netmap's device can neither be read nor written, and is no socket. The socket that a token is would pass the bytes on to
 * netmapd, or wait for bytes of netmapd that never come.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "descriptors.h"

#include <sys/socket.h>
#include <sys/uio.h>

/* Defines a function that fails on tokens with an errno, and otherwise is the next object's. */
#define REFUSE(name, result, error, parameters, arguments)                                             \
	NEXT(name)                                                                                     \
	SHOWN result name parameters                                                                   \
	{                                                                                              \
		if (!LIKELY(fd_state(fd) != FD_NETMAP) && fd_is_netmap_now(fd)) {                      \
			errno = error;                                                                 \
			return -1;                                                                     \
		}                                                                                      \
		return next_##name() arguments;                                                        \
	}
#define TRANSFER(name, parameters, arguments) REFUSE(name, ssize_t, EINVAL, parameters, arguments)
#define SOCKET(name, result, parameters, arguments) REFUSE(name, result, ENOTSOCK, parameters, arguments)

/* The second names, and the variants of programs that are compiled with _FORTIFY_SOURCE. */
ssize_t __read(int, void *, size_t);
ssize_t __write(int, const void *, size_t);
ssize_t __pread64(int, void *, size_t, off64_t);
ssize_t __pwrite64(int, const void *, size_t, off64_t);
ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __pread_chk(int, void *, size_t, off_t, size_t);
ssize_t __pread64_chk(int, void *, size_t, off64_t, size_t);
ssize_t __send(int, const void *, size_t, int);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);

TRANSFER(read, (int fd, void *bytes, size_t count), (fd, bytes, count))
TRANSFER(__read, (int fd, void *bytes, size_t count), (fd, bytes, count))
TRANSFER(__read_chk, (int fd, void *bytes, size_t count, size_t size), (fd, bytes, count, size))
TRANSFER(write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
TRANSFER(__write, (int fd, const void *bytes, size_t count), (fd, bytes, count))

TRANSFER(pread, (int fd, void *bytes, size_t count, off_t offset), (fd, bytes, count, offset))
TRANSFER(pread64, (int fd, void *bytes, size_t count, off64_t offset), (fd, bytes, count, offset))
TRANSFER(__pread64, (int fd, void *bytes, size_t count, off64_t offset), (fd, bytes, count, offset))
TRANSFER(__pread_chk, (int fd, void *bytes, size_t count, off_t offset, size_t size),
	 (fd, bytes, count, offset, size))
TRANSFER(__pread64_chk, (int fd, void *bytes, size_t count, off64_t offset, size_t size),
	 (fd, bytes, count, offset, size))
TRANSFER(pwrite, (int fd, const void *bytes, size_t count, off_t offset), (fd, bytes, count, offset))
TRANSFER(pwrite64, (int fd, const void *bytes, size_t count, off64_t offset), (fd, bytes, count, offset))
TRANSFER(__pwrite64, (int fd, const void *bytes, size_t count, off64_t offset), (fd, bytes, count, offset))

TRANSFER(readv, (int fd, const struct iovec *parts, int count), (fd, parts, count))
TRANSFER(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))

#define VECTOR(name, offset_type)                                                                      \
	TRANSFER(name, (int fd, const struct iovec *parts, int count, offset_type offset),             \
		 (fd, parts, count, offset))
VECTOR(preadv, off_t)
VECTOR(preadv64, off64_t)
VECTOR(pwritev, off_t)
VECTOR(pwritev64, off64_t)

#define VECTOR_2(name, offset_type)                                                                    \
	TRANSFER(name, (int fd, const struct iovec *parts, int count, offset_type offset, int flags),  \
		 (fd, parts, count, offset, flags))
VECTOR_2(preadv2, off_t)
VECTOR_2(preadv64v2, off64_t)
VECTOR_2(pwritev2, off_t)
VECTOR_2(pwritev64v2, off64_t)

SOCKET(recv, ssize_t, (int fd, void *bytes, size_t count, int flags), (fd, bytes, count, flags))
SOCKET(__recv_chk, ssize_t, (int fd, void *bytes, size_t count, size_t size, int flags),
       (fd, bytes, count, size, flags))
SOCKET(recvfrom, ssize_t,
       (int fd, void *restrict bytes, size_t count, int flags, struct sockaddr *restrict from,
	socklen_t *restrict length),
       (fd, bytes, count, flags, from, length))
SOCKET(__recvfrom_chk, ssize_t,
       (int fd, void *bytes, size_t count, size_t size, int flags, struct sockaddr *from, socklen_t *length),
       (fd, bytes, count, size, flags, from, length))
SOCKET(send, ssize_t, (int fd, const void *bytes, size_t count, int flags), (fd, bytes, count, flags))
SOCKET(__send, ssize_t, (int fd, const void *bytes, size_t count, int flags), (fd, bytes, count, flags))
SOCKET(sendto, ssize_t,
       (int fd, const void *bytes, size_t count, int flags, const struct sockaddr *to, socklen_t length),
       (fd, bytes, count, flags, to, length))
SOCKET(sendmsg, ssize_t, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
SOCKET(sendmmsg, int, (int fd, struct mmsghdr *messages, unsigned int count, int flags),
       (fd, messages, count, flags))
SOCKET(shutdown, int, (int fd, int how), (fd, how))
