/*
 * What the files of nmport_* share.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef PORTS_H
#define PORTS_H

#include "library.h"

/* A step that has to be undone before the port goes; allocated by the port's context. */
struct nmport_cleanup_d {
	struct nmport_cleanup_d *next;
	void (*undo)(struct nmport_cleanup_d *step, struct nmport_d *d);
};

HIDDEN void port_undo_later(struct nmport_d *d, struct nmport_cleanup_d *step);
HIDDEN void port_undo_last(struct nmport_d *d);

/* The parsers of the options that port names may carry. */
HIDDEN struct nmreq_opt_parser *port_options(void);

#endif
