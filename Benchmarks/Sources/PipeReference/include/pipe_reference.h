/*
 * The references for pipes, hand-written in C: the loops of Sources/Tools/netmap/Bench/PipeLoops.swift over the
 * same rings, and over a plain ring. One pipe and one plain ring per process.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef PIPE_REFERENCE_H
#define PIPE_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

enum { PIPE_FRAME_BYTES = 60, PIPE_SLOTS = 1024 };

enum pipe_phase { PIPE_STARTING, PIPE_WARMING, PIPE_MEASURING, PIPE_STOPPED };

struct pipe_options {
	bool touched;
	bool plain;		/* the plain ring instead of the pipe */
	uint32_t batch;		/* 1 to PIPE_SLOTS - 1 */
	uint32_t frame_bytes;	/* PIPE_FRAME_BYTES to 1514 */
};

struct pipe_progress {
	uint64_t packets;
	uint64_t yields;
	uint64_t digest;
};

/* Makes the pipe; false with errno set when memory runs out. */
bool pipe_reference_make(void);

/* Frees the pipe. Call it while no loop runs. */
void pipe_reference_free(void);

/* Call it while no loop runs. */
void pipe_reference_configure(struct pipe_options options);

void pipe_reference_enter(enum pipe_phase phase);

/* Sends until the phase is PIPE_STOPPED. */
void pipe_reference_send(struct pipe_progress *progress);

/* Receives until the phase changes. */
void pipe_reference_receive(enum pipe_phase phase, struct pipe_progress *progress);

/* Binds the calling thread to one CPU; false with errno set on failure. */
bool pipe_reference_pin(int cpu);

#endif
