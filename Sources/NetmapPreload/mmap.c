/*
 * mmap(2) of tokens.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "descriptors.h"

#include <sys/auxv.h>
#include <sys/mman.h>

/*
 * Maps a part of a binding's region a second time, by mremap(2) with an old length of 0: that needs no descriptor. The
 * mapping of the Swift half stays what it is.
 */
static void *map_again(const struct netmap_binding *binding, void *address, size_t length, int access,
		       int flags, uint64_t offset)
{
	const uint64_t page = getauxval(AT_PAGESZ);
	const uint64_t size = ((uint64_t)length + page - 1) & ~(page - 1);
	int how = MREMAP_MAYMOVE;
	long result;

	if (!length || size < length || offset % page || offset > binding->size ||
	    size > binding->size - offset) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	if (flags & MAP_FIXED)
		how |= MREMAP_FIXED;
	result = syscall(SYS_mremap, (char *)binding->base + offset, (size_t)0, (size_t)size, how, address);
	if (result == -1)
		return MAP_FAILED;
	if (access != (PROT_READ | PROT_WRITE) && syscall(SYS_mprotect, result, (size_t)size, access)) {
		const int error = errno;

		syscall(SYS_munmap, result, (size_t)size);
		errno = error;
		return MAP_FAILED;
	}
	return (void *)result;
}

static void *map_token(int fd, void *address, size_t length, int access, int flags, uint64_t offset)
{
	struct attachment *attachment;
	void *result;
	int error;

	attachment = attachment_begin_control(fd, &error);
	if (!attachment) {
		/* As netmap refuses a descriptor that is not bound. */
		errno = error == ENXIO ? EINVAL : error;
		return MAP_FAILED;
	}
	if (!attachment_is_current(attachment, fd)) {
		attachment_end_control(attachment);
		errno = ENODEV;
		return MAP_FAILED;
	}
	result = map_again(&attachment->binding, address, length, access, flags, offset);
	error = errno;
	attachment_end_control(attachment);
	errno = error;
	return result;
}

/* mmap(2) of a descriptor that is not known to be a token. */
static void *after_mmap(void *result, int fd, void *address, size_t length, int access, int flags, uint64_t offset)
{
	/* What mmap says of a socket, also of one that has taken another file's number. */
	if (LIKELY(result != MAP_FAILED) || errno != ENODEV || inside_half || !fd_probe(fd, true))
		return result;
	return map_token(fd, address, length, access, flags, offset);
}

#define MMAP(name, offset_type)                                                                        \
	NEXT(name)                                                                                     \
	NEXT_IS_LIBC(name)                                                                             \
	static __attribute__((noinline)) void *name##_unseen(void *address, size_t length, int access, \
							     int flags, int fd, offset_type offset)    \
	{                                                                                              \
		return after_mmap(learn_##name()(address, length, access, flags, fd, offset), fd,       \
				  address, length, access, flags, (uint64_t)offset);                   \
	}                                                                                              \
	SHOWN void *name(void *address, size_t length, int access, int flags, int fd,                  \
			 offset_type offset)                                                           \
	{                                                                                              \
		if (!LIKELY(!fd_is_netmap(fd)))                                                        \
			return map_token(fd, address, length, access, flags, (uint64_t)offset);        \
		if (next_is_libc_##name()) {                                                   \
			const long result = kernel_call(SYS_mmap, (long)address, (long)length, access, \
							flags, fd, offset);                            \
                                                                                                       \
			if (LIKELY(!has_failed(result)))                                               \
				return (void *)result;                                                 \
		}                                                                                      \
		/* A call that has failed fails again. */                                              \
		return name##_unseen(address, length, access, flags, fd, offset);                      \
	}
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)
