/*
 * The path of the device.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "next.h"

#include <string.h>

/* The first bytes decide nearly always. A path that cannot be read is for the kernel to refuse. */
static inline bool names_device(const char *path)
{
	return path && path[0] == '/' && path[1] == 'd' && !strcmp(path, "/dev/netmap");
}

#endif
