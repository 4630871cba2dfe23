/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CALL_COSTS_H
#define CALL_COSTS_H

/* What calls of a function on descriptors that are not netmap's cost. */
struct call_cost {
	const char *name;
	/* Nanoseconds: of libc's function, and how much more the preloaded library's takes. Medians. */
	double plain;
	double more;
	/* Whether a library stands in front of libc's function. */
	int is_interposed;
};

/*
 * Measures call number index, in turns of libc's function and of the one that the program is linked with. Returns 0, 1 if
 * there is no call of that number, or -1 with errno.
 */
int call_costs_measure(int index, int rounds, struct call_cost *cost);

#endif
