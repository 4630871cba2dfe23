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

	attachment = attachment_begin(fd, &error);
	if (!attachment) {
		/* As netmap refuses a descriptor that is not bound. */
		errno = error == ENXIO ? EINVAL : error;
		return MAP_FAILED;
	}
	if (!attachment_is_current(attachment, fd)) {
		attachment_end(attachment);
		errno = ENODEV;
		return MAP_FAILED;
	}
	result = map_again(&attachment->binding, address, length, access, flags, offset);
	error = errno;
	attachment_end(attachment);
	errno = error;
	return result;
}

#define MMAP(name, offset_type)                                                                        \
	NEXT(name)                                                                                     \
	SHOWN void *name(void *address, size_t length, int access, int flags, int fd,                  \
			 offset_type offset)                                                           \
	{                                                                                              \
		void *result;                                                                          \
                                                                                                       \
		if (LIKELY(!fd_is_netmap(fd))) {                                                       \
			result = next_##name()(address, length, access, flags, fd, offset);            \
			/* What mmap says of a socket, also of one that has taken another file's number. */ \
			if (LIKELY(result != MAP_FAILED) || errno != ENODEV || inside_half ||          \
			    !fd_probe(fd, true))                                                       \
				return result;                                                         \
		}                                                                                      \
		return map_token(fd, address, length, access, flags, (uint64_t)offset);                \
	}
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)
