/*
 * A program for netmap that performs one operation between two stops, for the kill table. It knows nothing of this
 * package, and runs with the C library preloaded:
 *
 *     kill-client PORT txsync|rxsync|poll|open|close
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "port_client.h"

#include <net/netmap_user.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <unistd.h>

static int file = -1;
static struct netmap_if *interface;

static int open_port(const char *name)
{
	interface = port_client_open(name, &file);
	return interface ? 0 : -1;
}

/* The packets of the table's victims. */
static void put(int count)
{
	struct netmap_ring *const ring = NETMAP_TXRING(interface, 0);

	for (int number = 0; number < count; number++) {
		struct netmap_slot *const slot = &ring->slot[ring->cur];
		char *const frame = NETMAP_BUF(ring, slot->buf_idx);
		static const char header[] = { -1, -1, -1, -1, -1, -1, 2, 0, 0, 0, 0, 0x77, (char)0x88, (char)0xb5, 0x77 };

		memcpy(frame, header, sizeof header);
		frame[15] = (char)number;
		memset(frame + 16, 0x77 ^ number, 44);
		slot->len = 60;
		slot->flags = 0;
		ring->head = ring->cur = nm_ring_next(ring, ring->cur);
	}
}

static int operate(const char *operation, const char *port)
{
	if (!strcmp(operation, "txsync"))
		return ioctl(file, NIOCTXSYNC, NULL);
	if (!strcmp(operation, "rxsync"))
		return ioctl(file, NIOCRXSYNC, NULL);
	if (!strcmp(operation, "poll")) {
		struct pollfd ask = { .fd = file, .events = POLLIN | POLLOUT };

		return poll(&ask, 1, 1) < 0;
	}
	if (!strcmp(operation, "open") && open_port(port) != 0)
		return -1;
	return close(file);
}

int main(int count, char **words)
{
	if (count < 3)
		return 2;
	if (strcmp(words[2], "open") != 0) {
		if (open_port(words[1]) != 0) {
			perror(words[1]);
			return 1;
		}
		if (!strcmp(words[2], "rxsync")) {
			struct netmap_ring *const ring = NETMAP_RXRING(interface, 0);

			if (ioctl(file, NIOCRXSYNC, NULL) != 0 || nm_ring_space(ring) == 0)
				return 1;
			ring->head = ring->cur = nm_ring_next(ring, ring->cur);
		} else {
			put(3);
			if (!strcmp(words[2], "close") && ioctl(file, NIOCTXSYNC, NULL) != 0)
				return 1;
		}
	}
	if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0)
		return 1;
	raise(SIGSTOP);
	if (operate(words[2], words[1]) != 0) {
		perror(words[2]);
		return 1;
	}
	raise(SIGSTOP);
	for (;;)
		pause();
}
