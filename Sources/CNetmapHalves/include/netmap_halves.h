/*
 * What the two halves of the C library are to each other. The C half (Sources/NetmapPreload) is preloaded into programs
 * or linked with them. It loads the Swift half (Sources/NetmapC) when a program first needs netmap.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef NETMAP_HALVES_H
#define NETMAP_HALVES_H

#include <stddef.h>
#include <stdint.h>

/* Changes whenever an older C half could not use the table below, or an older Swift half could not fill it. */
#define NETMAP_HALVES_VERSION 2

/* Conditions of a wait, with the values of Readiness in NetmapCore. */
enum {
	NETMAP_READY_RECEIVE = 1,
	NETMAP_READY_TRANSMIT = 2,
	NETMAP_READY_ERROR = 4,
};

/* A descriptor that a wait for a binding includes, because its backend gets packets from the kernel. */
struct netmap_watched {
	int descriptor;
	short events; /* of poll(2) */
	uint8_t wanted; /* NETMAP_READY_*: the conditions of a wait that includes it; 0 for every wait */
};

/*
 * A binding as this process has it mapped. The Swift half fills it in; the C half owns the structure, and uses it only
 * between attach and release.
 */
struct netmap_binding {
	void *port; /* of the Swift half */
	const void *path; /* of the Swift half */
	void *base; /* the region */
	uint64_t size;
	uint64_t cookie; /* identifies the open file, SO_COOKIE of its token */
	int doorbell; /* readable edge-triggered after each ring; all bindings of a netmapd have the same */
	int watched_count;
	const struct netmap_watched *watched;
	/*
	 * Counts the wake-ups of threads that wait for this binding alone, which can sleep on the word by futex(2). NULL if
	 * such a thread has to watch descriptors.
	 */
	uint32_t *bell;
	/* Whether closing it must release it at once: its backend has sockets that an interface is busy by. */
	uint8_t releases_at_close;
	/* Whether nothing announces the progress of its rings, so that waits must look again and again. */
	uint8_t is_polled;
	/* Whether another process carries the packets of the port, whose end the token shows as a hang-up. */
	uint8_t is_carried;
};

/* What the C half tells the Swift half, once. Only grows at its end. */
struct netmap_first_half {
	uint32_t size;
	/* The folder of the Swift half's file, an absolute path without links; NULL if no program may be looked for there. */
	const char *folder;
	/*
	 * Whether a control call that waits should end with EINTR: a signal that ends calls is pending, and the call has
	 * waited for some time.
	 */
	int (*is_interrupted)(void);
	/* Tells the user why an open, or another request, has failed, if there is a place to write to. */
	void (*explain)(const char *text, int is_open);
	/* Whether the user wants to know why requests other than opens are refused. */
	int explains_requests;
};

/*
 * Which rings of a doorbell mean a binding. A ring is a word: the number of a segment above 32 bits that say the position
 * of a ring in it; or 0, which means all rings.
 */
struct netmap_places {
	uint32_t segment;
	/* Positions of transmit rings, then those of receive rings. */
	uint32_t first[2];
	uint32_t end[2];
};

/* A sync loop that a request has started: see NETMAP_REQ_SYNC_KLOOP_START. */
struct netmap_loop {
	void *loop; /* of the Swift half */
	/* Readable edge-triggered after each kick by the program. -1 if the loop looks again and again. */
	int kicks;
	/* Between two turns of a loop that looks again and again, microseconds. */
	uint32_t pause;
};

/* What a request wants of the C half, beside 0. */
enum {
	/* The token is bound, and has to be attached. */
	NETMAP_REQUEST_BINDS = 1,
	/* A loop has to be taken and run. */
	NETMAP_REQUEST_LOOPS = 2,
	/* A loop has been asked to stop, and the caller has to wait for that. */
	NETMAP_REQUEST_STOPS = 4,
};

/* What follows a turn of a loop. */
enum {
	/* The loop has to be ended. */
	NETMAP_TURN_LAST = 1,
	/* There is more to do. */
	NETMAP_TURN_MORE = 2,
	/* A sleep may miss progress. */
	NETMAP_TURN_UNSURE = 4,
	/* Descriptors of backends that the loop has to sleep on. */
	NETMAP_TURN_RECEIVE = 8,
	NETMAP_TURN_TRANSMIT = 16,
};

/*
 * The functions of the Swift half. The first two words never change their place.
 *
 * Control calls return 0 or a result, or a negated errno. The C half makes one at a time, with signals blocked. The other
 * calls may be made by any thread with a binding that is attached; they allocate nothing and take no lock.
 */
struct netmap_half {
	uint32_t version;
	uint32_t size;

	/* Control calls */

	/* Opens a token; it has the lowest number that is free. */
	int (*open)(int closes_on_exec);
	/* Whether a descriptor is a token of a netmapd that this user trusts. */
	int (*recognize)(int descriptor);
	/* ioctl(2) on a token, but for the two requests to sync. Returns NETMAP_REQUEST_*. */
	int (*request)(int descriptor, uint32_t command, void *argument);
	/* Maps the port that a token is bound to. -ENXIO if it is not bound. */
	int (*attach)(int descriptor, struct netmap_binding *binding);
	void (*release)(struct netmap_binding *binding);
	/* This process is a fork child: forgets everything, and releases nothing. */
	void (*forked)(void);

	/* Data path */

	/* NIOCTXSYNC and NIOCRXSYNC: 0, or an errno. */
	int (*transmit)(const struct netmap_binding *binding);
	int (*receive)(const struct netmap_binding *binding);
	/*
	 * Syncs as poll(2) does. Returns the conditions that hold. Sets *passed_over if it passed over a ring that
	 * another thread was syncing.
	 */
	unsigned (*scan)(const struct netmap_binding *binding, unsigned wanted, int *passed_over);
	/*
	 * Announces a sleeper: on the bell of the binding, or on this process's doorbell. Returns 0 if it may not be rung
	 * for all progress.
	 */
	int (*arm)(const struct netmap_binding *binding, unsigned wanted, int on_bell);

	/* Control calls that came later */

	/* Comes before all others. The structure stays where it is. */
	void (*begin)(const struct netmap_first_half *first);
	/* Connects to netmapd, which it starts if none runs, so that opens need no path from now on. */
	int (*prepare)(void);
	/*
	 * A file of the program's is about to get the number of a descriptor that the half keeps: gives up everything that
	 * uses it. No binding is attached.
	 */
	void (*vacate)(int descriptor);

	/*
	 * In a fork child, before fork(2) returns: closes a descriptor if the half keeps it. Returns whether it was in the
	 * half's table. Can be called in signal handlers.
	 */
	int (*close_kept)(int descriptor);

	/* For sets of which a wait looks only at the members that can be ready */

	void (*places)(const struct netmap_binding *binding, struct netmap_places *places);
	/* Whether a transmit ring holds slots that a wait would send. */
	int (*has_unsent)(const struct netmap_binding *binding);
	/* A number that changes when the rings of a wait make progress. */
	uint64_t (*progress)(const struct netmap_binding *binding, unsigned wanted);
	/*
	 * Takes rings out of the doorbell, and calls heard with them, with a lock held. NULL means all rings. Calls of other
	 * threads that begin later find that heard has returned. Returns 0 if the doorbell can no longer be relied on.
	 */
	int (*take_names)(const struct netmap_binding *binding, int has_ended,
			  void (*heard)(const uint64_t *names, size_t count));
	/* As arm, but not before a sleep, which is counted. */
	int (*announce)(const struct netmap_binding *binding, unsigned wanted);
	/* The process that carries the packets has ended: waits and syncs are errors from now on. */
	void (*abandon)(const struct netmap_binding *binding);

	/* Sync loops. The binding stays attached meanwhile. */

	/* Control call: takes the loop that the last request has started. Returns 0 if there is none. */
	int (*take_loop)(struct netmap_loop *loop);
	/*
	 * Data path: announces this process, and looks at all rings. was_kicked: whether kicks was readable. Returns
	 * NETMAP_TURN_*.
	 */
	unsigned (*turn_loop)(const struct netmap_loop *loop, int was_kicked);
	/* Control call. */
	void (*end_loop)(struct netmap_loop *loop);
	/* Data path: whether a loop still drives the rings, and is going to stop when it is asked. */
	int (*has_loop)(const struct netmap_binding *binding);
};

/* The function that the Swift half exports, netmap_half_enter. Returns NULL for a version that it does not know. */
typedef const struct netmap_half *netmap_half_enter_function(uint32_t version);

#endif
