/*
 * What the files of libnetmap's own functions share. Unlike the interposed functions they are ordinary code: they allocate
 * memory, and call open(2) and ioctl(2) as programs do.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef LIBRARY_H
#define LIBRARY_H

#include "../next.h"

/* Part of the header is for programs, which then link the part of a static library that makes it thread-safe. */
#define LIBNETMAP_NOTHREADSAFE
#include <libnetmap.h>

/* Passes a message to the context and returns -1 with this errno. */
#define REFUSE(ctx, error, ...)                   \
	({                                        \
		const int error_ = (error);       \
                                                  \
		nmctx_ferror((ctx), __VA_ARGS__); \
		errno = error_;                   \
		-1;                               \
	})

#endif
