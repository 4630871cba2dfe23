/*
 * ptrace(2), which Swift cannot call because it is variadic: a process steps another one through so many
 * instructions. Header-only.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CTRACE_H
#define CTRACE_H

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* The calling process is traced by its parent from now on. */
static inline int ctrace_me(void)
{
	return (int)ptrace(PTRACE_TRACEME, 0, 0, 0);
}

/*
 * Has a stopped process execute up to a number of instructions, until it stops itself.
 *
 * Returns how many it has executed, -1 when it has ended.
 */
static inline long ctrace_steps(int process, long count)
{
	long done = 0;

	while (done < count) {
		int status = 0;

		if (ptrace(PTRACE_SINGLESTEP, process, 0, 0) != 0)
			return -1;
		if (waitpid(process, &status, __WALL) != process || !WIFSTOPPED(status))
			return -1;
		if (WSTOPSIG(status) != SIGTRAP)
			return done;
		done++;
	}
	return done;
}

#endif
