/*
 * What this process knows of its descriptors, and the bindings of those that are tokens.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include "crossing.h"
#include "next.h"
#include "process.h"

enum {
	/* Not looked at yet. */
	FD_UNSEEN = 0,
	/* Not netmap's when it was looked at. */
	FD_FOREIGN = 1,
	/* A token. */
	FD_NETMAP = 2,
	/* One that the Swift half keeps. To the program the number is not in use. */
	FD_PRIVATE = 3,
	/* An epoll instance that has tokens, or another instance that has. */
	FD_EPOLL = 4,
	/* An epoll instance that has none. */
	FD_INSTANCE = 5,

	FD_COUNT = 1 << 20,
};

/* A byte for each descriptor. In .bss, so it works before constructors; pages that are never read do not exist. */
HIDDEN extern _Atomic uint8_t fd_states[FD_COUNT];

static inline uint8_t fd_state(int fd)
{
	if (!LIKELY((unsigned)fd < FD_COUNT))
		return FD_FOREIGN;
	return atomic_load_explicit(&fd_states[fd], memory_order_relaxed);
}

/* Whether a number is known to be an epoll instance's. */
static inline bool fd_is_instance(int fd)
{
	return fd_state(fd) >= FD_EPOLL;
}

/* Whether calls on it are this library's. Not for calls of the Swift half itself. */
static inline bool fd_is_netmap(int fd)
{
	return !LIKELY(fd_state(fd) != FD_NETMAP) && !inside_half;
}

/*
 * Whether a number is one that the Swift half keeps, which the program can neither close nor replace. In a fork child the
 * half has not begun yet, and has no descriptors.
 */
HIDDEN bool fd_is_private(int fd);

/*
 * Has the descriptor looked at when it is used next. Harmless in a vfork child, whose memory is its parent's, but for epoll
 * instances: no look would find that they are.
 */
static inline void fd_forget(int fd)
{
	if (!LIKELY(fd_state(fd) == FD_UNSEEN) && (unsigned)fd < FD_COUNT &&
	    !(fd_is_instance(fd) && process_is_guest()))
		atomic_store_explicit(&fd_states[fd], FD_UNSEEN, memory_order_relaxed);
}

/* Sets the state, but not in a vfork child. */
HIDDEN void fd_mark(int fd, uint8_t state);

/*
 * Whether a descriptor is a token. Looks at it if it was not looked at before, or if again. Keeps errno.
 */
HIDDEN bool fd_probe(int fd, bool again);

/* Whether a descriptor that was a token still is one. If not, forgets what was known of it. Keeps errno. */
HIDDEN bool fd_is_still_netmap(int fd);

/* Whether a number that was a token's, and may be another file's by now, is one that calls must not reach. Keeps errno. */
HIDDEN bool fd_is_netmap_now(int fd);

/* The open file's identity; 0 for a descriptor that is no socket. Keeps errno. */
HIDDEN uint64_t fd_cookie(int fd);

/* What attachment.counts counts: threads that use the binding at present, and descriptors. */
#define ONE_USER UINT64_C(1)
#define ONE_DESCRIPTOR (UINT64_C(1) << 32)

/*
 * A binding, and who needs it. Never freed, so that a thread may try to become a user of one that is going.
 *
 * One thread, which syncs the binding nearly always, counts its uses apart, without an atomic addition: that would take
 * as long as a sync of a few packets. Before it releases a binding, a thread makes all others pass a memory barrier, so
 * that it sees a use that has begun, or the use sees that no descriptor leads to the binding any more.
 */
struct attachment {
	_Atomic uint64_t counts;
	/*
	 * The address of that thread's inside_half; NULL as long as no thread has synced the binding. Then never changes, also
	 * when another binding comes: the thread may be about to count a use of the former one, which it then takes back.
	 */
	_Atomic(void *) owner;
	/* Changed by that thread and its signal handlers only. */
	_Atomic uint32_t owner_uses;
	bool is_attached;
	struct attachment *next;
	struct netmap_binding binding;
	struct netmap_places places;
	/* In sets of epoll(7): see interest.h, whose lock guards them. */
	struct member *members;
	struct attachment *next_in_bucket;
};

/*
 * The binding of a token, attached if necessary. The caller ends its use by attachment_end(). NULL with *error if there is
 * none: ENXIO for a token that is not bound.
 *
 * For syncs and waits; the thread that begins a use has to end it. Other uses, by which no thread becomes the owner and which
 * another thread may end, are between attachment_begin_control() and attachment_end_control().
 */
HIDDEN struct attachment *attachment_begin(int fd, int *error);
HIDDEN struct attachment *attachment_begin_control(int fd, int *error);

/*
 * As attachment_begin_control() for a token that is attached, within a crossing. NULL if the number has been closed
 * meanwhile.
 */
HIDDEN struct attachment *attachment_use(int fd);

/* Whether there is memory to attach the binding of a token. Within a crossing. */
HIDDEN bool attachment_is_possible(int fd);

/* Attaches the binding of a token, within a crossing. Returns 0 or an errno. */
HIDDEN int attachment_make(int fd);

/* Whether the calling thread counts its uses apart. */
static inline bool attachment_is_own(struct attachment *attachment)
{
	return atomic_load_explicit(&attachment->owner, memory_order_relaxed) == (void *)&inside_half;
}

static inline void attachment_end_control(struct attachment *attachment)
{
	atomic_fetch_sub_explicit(&attachment->counts, ONE_USER, memory_order_release);
}

static inline void attachment_end(struct attachment *attachment)
{
	if (LIKELY(attachment_is_own(attachment)))
		atomic_store_explicit(
			&attachment->owner_uses,
			atomic_load_explicit(&attachment->owner_uses, memory_order_relaxed) - 1,
			memory_order_release);
	else
		attachment_end_control(attachment);
}

/* Whether a descriptor still is the token of the binding. If not, forgets what was known of the descriptor. */
HIDDEN bool attachment_is_current(const struct attachment *attachment, int fd);

/* Makes the number of a copy known, after dup(2) and the like. */
HIDDEN void fd_copied(int from, int to);

/* A token's number is about to be closed, or is another file's by now. */
HIDDEN void fd_gone(int fd);

/*
 * Before a file of the program's gets a number that the Swift half keeps: has the half give it up. All bindings are attached
 * again when they are used next.
 */
HIDDEN void fd_vacate(int fd);

/* In a fork child: closes the copies of the parent's descriptors that the program does not know. */
HIDDEN void descriptors_after_fork(void);

/*
 * Before a control call, within a crossing: notices that this process is a fork child, and releases bindings whose
 * descriptors are closed.
 */
HIDDEN void attachments_tidy(void);

/* In a fork child, makes what this memory knows the child's own. Not in a vfork child. */
HIDDEN void attachments_catch_up(void);

#endif
