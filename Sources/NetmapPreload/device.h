/*
 * The path of the device.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "next.h"

/* No byte is read after the first one that differs: nearly always one of the first two. NULL is for the kernel to refuse. */
static inline bool names_device(const char *path)
{
	return path && path[0] == '/' && path[1] == 'd' && path[2] == 'e' && path[3] == 'v' && path[4] == '/' &&
	       path[5] == 'n' && path[6] == 'e' && path[7] == 't' && path[8] == 'm' && path[9] == 'a' &&
	       path[10] == 'p' && !path[11];
}

#endif
