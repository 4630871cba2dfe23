/*
 * System calls of attackers that Swift cannot make, because syscall(2) is variadic. Header-only.
 *
 * Without _GNU_SOURCE, with which Swift cannot import the header beside Glibc.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CSTORM_H
#define CSTORM_H

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* An io_uring(7) of two entries; -1 where the kernel refuses it. */
static inline int cstorm_io_uring(void)
{
	/* struct io_uring_params */
	char parameters[120];

	memset(parameters, 0, sizeof parameters);
	return (int)syscall(SYS_io_uring_setup, 2, parameters);
}

/* A userfaultfd(2) for faults of user code; -1 where the kernel refuses it. */
static inline int cstorm_userfaultfd(void)
{
	/* UFFD_USER_MODE_ONLY */
	return (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
}

/* Declared here: stdlib.h would define fd_set otherwise than Swift's Glibc module does. */
extern int posix_openpt(int flags);
extern int unlockpt(int file);
extern char *ptsname(int file);

/* Both sides of a pseudo-terminal; -1 where there is none. */
static inline void cstorm_terminal(int sides[2])
{
	const char *name;

	sides[1] = -1;
	sides[0] = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
	if (sides[0] < 0 || unlockpt(sides[0]) || !(name = ptsname(sides[0])))
		return;
	sides[1] = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
}

/* A timer that never expires. */
static inline int cstorm_timer(void)
{
	return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
}

/* The kernel kills the calling process when the thread that forked it ends. */
static inline void cstorm_die_with_parent(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

#endif
