/*
 * A program for netmap that performs one operation between two stops, for the kill table. It knows nothing of this
 * package, and runs with the C library preloaded:
 *
 *     kill-client PORT txsync|rxsync|poll|open|open-memory|close|csb|loop
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

/* Memory that becomes a port's region. */
static char memory[1 << 20] __attribute__((aligned(4096)));

/* The control blocks of a port with one ring of each direction. */
static struct nm_csb_atok requests[2] __attribute__((aligned(64)));
static struct nm_csb_ktoa answers[2] __attribute__((aligned(64)));

static int is(const char *word, const char *operation)
{
	return strcmp(word, operation) == 0;
}

static int open_port(const char *name, const char *operation)
{
	if (is("open-memory", operation))
		interface = port_client_open_in(name, memory, sizeof memory, &file);
	else if (is("csb", operation) || is("loop", operation))
		interface = port_client_open_with(name, NR_EXCLUSIVE, &file);
	else
		interface = port_client_open(name, &file);
	return interface ? 0 : -1;
}

static int enable_control_blocks(void)
{
	struct nmreq_opt_csb option;

	memset(&option, 0, sizeof option);
	option.nro_opt.nro_reqtype = NETMAP_REQ_OPT_CSB;
	option.csb_atok = (uintptr_t)requests;
	option.csb_ktoa = (uintptr_t)answers;
	return port_client_request(file, NETMAP_REQ_CSB_ENABLE, &option);
}

/* Asks the next loop to stop, and starts it. */
static int run_loop(void)
{
	struct nmreq_sync_kloop_start start;

	memset(&start, 0, sizeof start);
	if (port_client_request(file, NETMAP_REQ_SYNC_KLOOP_STOP, NULL) != 0)
		return -1;
	return port_client_ask(file, NETMAP_REQ_SYNC_KLOOP_START, &start);
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
	if (is("txsync", operation))
		return ioctl(file, NIOCTXSYNC, NULL);
	if (is("rxsync", operation))
		return ioctl(file, NIOCRXSYNC, NULL);
	if (is("poll", operation)) {
		struct pollfd ask = { .fd = file, .events = POLLIN | POLLOUT };

		return poll(&ask, 1, 1) < 0;
	}
	if (is("csb", operation))
		return enable_control_blocks();
	if (is("loop", operation))
		return run_loop();
	if (!is("close", operation) && open_port(port, operation) != 0)
		return -1;
	return close(file);
}

/* What comes before the operation. */
static int prepare(const char *operation, const char *port)
{
	if (is("open", operation) || is("open-memory", operation))
		return 0;
	if (open_port(port, operation) != 0) {
		perror(port);
		return -1;
	}
	if (is("csb", operation))
		return 0;
	if (is("loop", operation))
		return enable_control_blocks();
	if (is("rxsync", operation)) {
		struct netmap_ring *const ring = NETMAP_RXRING(interface, 0);

		if (ioctl(file, NIOCRXSYNC, NULL) != 0 || nm_ring_space(ring) == 0)
			return -1;
		ring->head = ring->cur = nm_ring_next(ring, ring->cur);
		return 0;
	}
	put(3);
	return is("close", operation) ? ioctl(file, NIOCTXSYNC, NULL) : 0;
}

int main(int count, char **words)
{
	if (count < 3)
		return 2;
	if (prepare(words[2], words[1]) != 0 || ptrace(PTRACE_TRACEME, 0, 0, 0) != 0)
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
