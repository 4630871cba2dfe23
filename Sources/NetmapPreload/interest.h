/*
 * Tokens in sets of epoll(7): an epoll instance of the kernel, and beside it what this process knows of its tokens.
 *
 * The kernel's instance has the other members. Of the tokens, a wait looks only at those on the set's list. Each token
 * that is not on the list is announced on its rings, and was not ready when it was looked at afterwards. A doorbell says
 * which rings have made progress, and puts their tokens on the list.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef INTEREST_H
#define INTEREST_H

#include "descriptors.h"

#include <pthread.h>
#include <sys/epoll.h>

struct interest;

/* A token, or another set, in a set. Under the lock, but for what a thread that is looking at it has to itself. */
struct member {
	struct interest *set; /* NULL after removal */
	int fd;
	uint32_t events;
	uint64_t data;
	/* How often the program has changed it. */
	uint32_t changes;
	/* The open file's, which is the member's identity together with the number; 0 for a set. */
	uint64_t cookie;
	/* NULL for a token that is not bound. */
	struct attachment *attachment;
	/* NULL for a token. */
	struct interest *nested;
	/* Of the rings, when it was reported last or looked at since: an edge is a change of it. */
	uint64_t progress;
	uint32_t last;
	/* A wait reports it if it is ready, edge or not. */
	bool is_fresh;
	/* Its rings have made progress. */
	bool has_rung;
	/* Reported once, and EPOLLONESHOT. */
	bool is_disabled;
	/* A thread is looking at it; removal leaves it to that thread to free. */
	bool is_busy;
	bool is_listed;
	/* Doorbells do not tell all of its progress, so every thread looks at it before it sleeps. */
	bool is_watched;
	/* Nothing does. */
	bool is_polled;
	struct member *previous, *next; /* in the set */
	struct member *next_of_number;
	struct member *next_of_binding;
	struct member *earlier, *later; /* on the list */
};

struct interest {
	struct interest *next; /* of all sets */
	/* Numbers that lead to it, and threads and sets that use it. */
	int numbers, users;
	/* Threads that may be asleep. */
	int sleepers;
	size_t count, tokens, nested_count, polled_count;
	struct member *members; /* a circle */
	struct member *rotor;
	struct member *first, *last;
	size_t listed;
	/* What it knows of looks at everything. */
	uint64_t everything;
	/* How often a member came on the list. */
	uint64_t pushes;
	/* A private epoll instance with the descriptors of backends; -1 if there are none. */
	int backends;
	/* Whether a look has passed over a ring, or an announcement may not be heard. */
	bool is_unsure;
	bool netmap_first;
	/* Whether the kernel's instance has the marker of this process. */
	bool has_marker;
	/* Whether a thread is ending waits of the kernel, which other waits must not disturb: see latecomers.h. */
	bool is_starting;
	/* Held while a thread looks at members. */
	pthread_mutex_t looking;
};

/* The lock of everything above. Signals are blocked while it is held. */
HIDDEN void interest_lock(void);
HIDDEN void interest_unlock(void);
/* The same for callers in which signals are not blocked yet. */
HIDDEN sigset_t interest_lock_blocking(void);
HIDDEN void interest_unlock_blocking(sigset_t mask);

/* epoll_ctl(2) for a token, and for a descriptor that is an epoll instance. */
HIDDEN int interest_control(int epoll, int operation, int fd, struct epoll_event *event);
HIDDEN int interest_control_set(int epoll, int operation, int fd, struct epoll_event *event);

/* The set of a number, with one more user; NULL if it has none. */
HIDDEN struct interest *interest_begin(int epoll);
HIDDEN void interest_end(struct interest *set);
/* Whether a number leads to a set. */
HIDDEN bool interest_is_of(const struct interest *set, int epoll);
/* As interest_end(), under the lock. */
HIDDEN void interest_release(struct interest *set);

/* A number that leads to an epoll instance is gone, or has a copy. */
HIDDEN void interest_closed(int epoll);
HIDDEN void interest_copied(int from, int to);

/* The last descriptor of a binding is closed: no set has it any more. The caller is a user of the binding. */
HIDDEN void interest_forget(struct attachment *attachment);
/* A number of a token that is not bound is closed. */
HIDDEN void interest_forget_unbound(int fd);

/* A number of a token leads to a binding now. Within a crossing. */
HIDDEN void interest_bound(int fd);

/* Another file is about to get a private number. No set uses a binding any more, until it is looked at again. */
HIDDEN void interest_vacate(int fd);
/* In a fork child: nothing of the parent's bindings is valid. */
HIDDEN void interest_forked(void);

/* What take_names of the Swift half calls. */
HIDDEN void interest_heard(const uint64_t *names, size_t count);
/* Every member of the set, and of sets in it, has to be looked at. */
HIDDEN void interest_look_at_all(struct interest *set, int depth);

/*
 * Whether the marker of a fork child's parent is still there, and has another number than fd: see control.c. If not, there
 * will be another one.
 */
HIDDEN bool interest_keep_marker(int fd);

/* Under the lock. */

/* The set of a number; NULL if it has none. */
HIDDEN struct interest *interest_of(int epoll);
/* As above, but makes it. NULL without memory. */
HIDDEN struct interest *interest_make(int epoll);
/* The number leads to no set any more. */
HIDDEN void interest_drop_number(int fd);
/* Says what waits on a set's numbers have to do, and on those of the sets that contain it. */
HIDDEN void interest_mark_numbers(struct interest *set, int depth);

HIDDEN struct member *member_find(const struct interest *set, int fd, uint64_t cookie);
HIDDEN struct member *member_add(struct interest *set, int fd, uint64_t cookie,
				 const struct epoll_event *event);
HIDDEN void member_push(struct member *member);
HIDDEN void member_unlist(struct member *member);
HIDDEN void member_remove(struct member *member);
/* Frees a member that was removed while a thread looked at it. */
HIDDEN void member_free(struct member *member);
/* Makes a binding, of which the caller is a user, that of a member. */
HIDDEN void member_attach(struct member *member, struct attachment *attachment);

/* Looking, without the lock and with signals blocked: see scan.c. */

/* Where events go. */
struct report {
	struct epoll_event *events;
	int count, most;
	/* The page that a store is known not to fault in. */
	uintptr_t writable;
	bool has_faulted;
	/* Whether members stay ready that it has, or had no room for. */
	bool has_more;
};

/* How deep sets can be in sets, as in the kernel. */
enum { DEEPEST = 5 };

/*
 * Looks at members that may be ready, and reports them. Without a report, ends at the first that is ready, and changes
 * nothing. Returns whether one is ready.
 */
HIDDEN bool interest_scan(struct interest *set, struct report *report, int depth);
/* Announces all members and looks again, before a sleep. Returns whether one is ready. */
HIDDEN bool interest_settle(struct interest *set, int depth);
/* Takes events of backends, also those of sets in it. */
HIDDEN void interest_take_backends(struct interest *set, int depth);
/* The number of looks at everything that were asked for. */
HIDDEN uint64_t interest_everything(void);
/* A binding of the set with one more user, whose doorbell tells the progress of its rings; NULL if it has none. */
HIDDEN struct attachment *interest_guide(struct interest *set, int depth);
/* Whether nothing tells the progress of some member. */
HIDDEN bool interest_is_polled(struct interest *set, int depth);

#endif
