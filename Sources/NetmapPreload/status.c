/*
 * What stat(2) and access(2) say of the device and of tokens.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "descriptors.h"
#include "device.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum {
	/* Devices of the class misc. The kernel gives the minor number to none of them: it means "any". */
	MAJOR = 10,
	MINOR = 255,
	/* The device is in no file system: a device number that no file system has, and an inode that suits. */
	SYSTEM_MINOR = (1 << 20) - 1,
	INODE = 1,
	MODE = S_IFCHR | 0666,
	BLOCK = 4096,
};

/* Describes the device as all its descriptors and its path show it. Returns what stat(2) does. */
#define DESCRIBE(status)                                              \
	({                                                            \
		const bool can_ = can_write((status), sizeof *(status)); \
                                                                      \
		if (can_) {                                           \
			memset((status), 0, sizeof *(status));        \
			(status)->st_dev = makedev(0, SYSTEM_MINOR);  \
			(status)->st_ino = INODE;                     \
			(status)->st_mode = MODE;                     \
			(status)->st_nlink = 1;                       \
			(status)->st_rdev = makedev(MAJOR, MINOR);    \
			(status)->st_blksize = BLOCK;                 \
		} else {                                              \
			errno = EFAULT;                               \
		}                                                     \
		can_ ? 0 : -1;                                        \
	})

static inline bool is_token(int fd)
{
	return !LIKELY(fd_state(fd) != FD_NETMAP) && fd_is_netmap_now(fd);
}

/* Whether a call that failed has looked for the device's path, which no file has. */
static inline bool misses_device(const char *path)
{
	return (errno == ENOENT || errno == ENOTDIR) && names_device(path) && !inside_half;
}

/* Whether a path and a folder mean the folder's descriptor itself. Only such paths are looked at. */
static inline bool means_descriptor(const char *path, int flags)
{
	return (flags & AT_EMPTY_PATH) && (!path || (can_read(path, 1) && !*path));
}

/* glibc calls the first one of each pair by the second one's name if a program was compiled before glibc 2.33. */
int __fxstat(int, int, struct stat *);
int __fxstat64(int, int, struct stat64 *);
int __xstat(int, const char *, struct stat *);
int __xstat64(int, const char *, struct stat64 *);
int __lxstat(int, const char *, struct stat *);
int __lxstat64(int, const char *, struct stat64 *);
int __fxstatat(int, int, const char *, struct stat *, int);
int __fxstatat64(int, int, const char *, struct stat64 *, int);

#define FSTAT(name, type, parameters, arguments)                                                       \
	NEXT(name)                                                                                     \
	SHOWN int name parameters                                                                      \
	{                                                                                              \
		if (is_token(fd))                                                                      \
			return DESCRIBE(status);                                                       \
		return next_##name() arguments;                                                        \
	}
FSTAT(fstat, stat, (int fd, struct stat *status), (fd, status))
FSTAT(fstat64, stat64, (int fd, struct stat64 *status), (fd, status))
FSTAT(__fxstat, stat, (int version, int fd, struct stat *status), (version, fd, status))
FSTAT(__fxstat64, stat64, (int version, int fd, struct stat64 *status), (version, fd, status))

/* Describes the device if the call has missed it. */
#define STAT(name, parameters, arguments)                                                              \
	NEXT(name)                                                                                     \
	SHOWN int name parameters                                                                      \
	{                                                                                              \
		const int error = errno, result = next_##name() arguments;                             \
                                                                                                       \
		if (LIKELY(!result) || !misses_device(path))                                           \
			return result;                                                                 \
		errno = error;                                                                         \
		return DESCRIBE(status);                                                               \
	}
STAT(stat, (const char *restrict path, struct stat *restrict status), (path, status))
STAT(stat64, (const char *restrict path, struct stat64 *restrict status), (path, status))
STAT(lstat, (const char *restrict path, struct stat *restrict status), (path, status))
STAT(lstat64, (const char *restrict path, struct stat64 *restrict status), (path, status))
STAT(__xstat, (int version, const char *path, struct stat *status), (version, path, status))
STAT(__xstat64, (int version, const char *path, struct stat64 *status), (version, path, status))
STAT(__lxstat, (int version, const char *path, struct stat *status), (version, path, status))
STAT(__lxstat64, (int version, const char *path, struct stat64 *status), (version, path, status))

#define STATAT(name, parameters, arguments)                                                            \
	NEXT(name)                                                                                     \
	SHOWN int name parameters                                                                      \
	{                                                                                              \
		const int error = errno;                                                               \
		int result;                                                                            \
                                                                                                       \
		if (!is_token(fd) || !means_descriptor(path, flags)) {                                 \
			result = next_##name() arguments;                                              \
			if (LIKELY(!result) || !misses_device(path))                                   \
				return result;                                                         \
			errno = error;                                                                 \
		}                                                                                      \
		return DESCRIBE(status);                                                               \
	}
STATAT(fstatat, (int fd, const char *restrict path, struct stat *restrict status, int flags),
       (fd, path, status, flags))
STATAT(fstatat64, (int fd, const char *restrict path, struct stat64 *restrict status, int flags),
       (fd, path, status, flags))
STATAT(__fxstatat, (int version, int fd, const char *path, struct stat *status, int flags),
       (version, fd, path, status, flags))
STATAT(__fxstatat64, (int version, int fd, const char *path, struct stat64 *status, int flags),
       (version, fd, path, status, flags))

NEXT(statx)
SHOWN int statx(int fd, const char *restrict path, int flags, unsigned int mask,
		struct statx *restrict status)
{
	const int error = errno;
	int result;

	if (!is_token(fd) || !means_descriptor(path, flags)) {
		result = next_statx()(fd, path, flags, mask, status);
		if (LIKELY(!result) || !misses_device(path))
			return result;
		errno = error;
	}
	if (!can_write(status, sizeof *status)) {
		errno = EFAULT;
		return -1;
	}
	memset(status, 0, sizeof *status);
	status->stx_mask = STATX_BASIC_STATS;
	status->stx_blksize = BLOCK;
	status->stx_nlink = 1;
	status->stx_mode = MODE;
	status->stx_ino = INODE;
	status->stx_rdev_major = MAJOR;
	status->stx_rdev_minor = MINOR;
	status->stx_dev_minor = SYSTEM_MINOR;
	return 0;
}

/* access(2): all users may read and write the device, and run nothing there. */
#define ACCESS(name, parameters, arguments)                                                            \
	NEXT(name)                                                                                     \
	SHOWN int name parameters                                                                      \
	{                                                                                              \
		const int error = errno, result = next_##name() arguments;                             \
                                                                                                       \
		if (LIKELY(!result) || !misses_device(path))                                           \
			return result;                                                                 \
		errno = mode & X_OK ? EACCES : error;                                                  \
		return mode & X_OK ? -1 : 0;                                                           \
	}
ACCESS(access, (const char *path, int mode), (path, mode))
ACCESS(eaccess, (const char *path, int mode), (path, mode))
ACCESS(euidaccess, (const char *path, int mode), (path, mode))
ACCESS(faccessat, (int at, const char *path, int mode, int flags), (at, path, mode, flags))
