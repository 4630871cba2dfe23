/*
 * How the C programs of tests open a port: by netmap's calls alone, as programs do that know nothing of this package.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef PORT_CLIENT_H
#define PORT_CLIENT_H

struct netmap_if;

/*
 * Opens a port with all of its rings, and maps its memory. Stores the descriptor in *file. Returns NULL with errno, and
 * leaves what has been opened: the program ends then.
 */
struct netmap_if *port_client_open(const char *name, int *file);

#endif
