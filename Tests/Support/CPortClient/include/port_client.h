/*
 * How the C programs of tests open a port: by netmap's calls alone, as programs do that know nothing of this package.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef PORT_CLIENT_H
#define PORT_CLIENT_H

#include <stddef.h>
#include <stdint.h>

struct netmap_if;

/*
 * Opens a port with all of its rings, and maps its memory. Stores the descriptor in *file. Returns NULL with errno, and
 * leaves what has been opened: the program ends then.
 */
struct netmap_if *port_client_open(const char *name, int *file);

/* As port_client_open(), with flags of the registration (NR_EXCLUSIVE and so on). */
struct netmap_if *port_client_open_with(const char *name, uint64_t flags, int *file);

/*
 * As port_client_open(), with rings of 64 slots in memory of the program (NETMAP_REQ_OPT_EXTMEM), which is mapped: size
 * bytes, at the address of a page. 1 MiB is enough for a port with one ring of each direction.
 */
struct netmap_if *port_client_open_in(const char *name, void *memory, size_t size, int *file);

/* A request without a body, with an option or NULL, as ioctl(2) returns. */
int port_client_request(int file, uint16_t type, void *option);

/* A request with a body and without options. */
int port_client_ask(int file, uint16_t type, void *body);

#endif
