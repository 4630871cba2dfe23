/*
 * Watches: private epoll instances that report each ring of a doorbell once, to one sleeping thread.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef WATCHES_H
#define WATCHES_H

#include "crossing.h"

/* Moves a descriptor to the highest numbers, where a program does not meet it. */
HIDDEN int move_up(int fd);

/* Closes a descriptor that move_up() has returned. */
HIDDEN void close_private(int fd);

/* A watch on a doorbell, or on nothing but kicks if the doorbell is -1. -1 with errno. */
HIDDEN int take_watch(int doorbell);
HIDDEN void return_watch(int watch, int doorbell);

/*
 * Takes rings out of the doorbell, so that they do not end the next sleep, and tells the sets of epoll(7) which rings have
 * made progress. Returns false if the doorbell can no longer be relied on. binding is one of the doorbell's; NULL if the
 * watch has no doorbell. Blocks signals meanwhile, because the Swift half takes a lock that a handler must not meet.
 */
HIDDEN bool take_rings(int watch, const struct netmap_binding *binding);

/* Closes the watches that are kept for later waits. */
HIDDEN void watches_drop(void);

/* Another file is about to get a number: if it is that of the kicks, they get another one. */
HIDDEN void kicks_vacate(int fd);

/* From now on, watches also report kicks. Returns 0 or an errno. */
HIDDEN int kicks_begin(void);

/* Ends the sleep of every thread of this process that has a watch. */
HIDDEN void kick(void);

#endif
