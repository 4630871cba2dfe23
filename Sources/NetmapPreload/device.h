/*
 * The path of the device.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "memory.h"

/* Other paths, and those that cannot be read, are for the kernel. */
static inline bool names_device(const char *path)
{
	/* The device's path with its end has twelve bytes. */
	const char *const name = LIKELY(can_read(path, 12)) ? path : "";

	/* No byte is read after the first one that differs: nearly always one of the first two. */
	return name[0] == '/' && name[1] == 'd' && name[2] == 'e' && name[3] == 'v' && name[4] == '/' &&
	       name[5] == 'n' && name[6] == 'e' && name[7] == 't' && name[8] == 'm' && name[9] == 'a' &&
	       name[10] == 'p' && !name[11];
}

#endif
