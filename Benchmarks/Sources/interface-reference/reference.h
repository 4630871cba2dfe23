/*
 * Sends, receives and forwards on network interfaces with plain system calls: the minimal C program for
 * this purpose. `netmap bench --program` runs it; see netmap(1).
 *
 * The loops match those in Sources/Tools/netmap/Bench/Interface: change both.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum direction { TX, RX, FORWARD };

struct options {
	bool packet;			/* TPACKET_V3 instead of AF_XDP */
	bool generic;			/* generic XDP, in place of the driver's */
	enum direction direction;
	uint32_t batch;
	uint32_t frame_bytes;
	int cpu;
	unsigned int interfaces[2];	/* indexes; 0 for none */
};

/* Written by the loop, read by the main thread. */
struct counters {
	_Atomic uint64_t packets;
	_Atomic uint64_t system_calls;
};

/* One way to move packets. */
struct driver {
	void (*open)(const struct options *options);
	void (*loop)(const struct options *options, struct counters *counters);	/* never returns */
	uint64_t (*lost)(void);
};

extern const struct driver xdp_driver, packet_driver;

/* Writes the frame that the loops send. */
void write_frame(uint8_t *frame, uint32_t length);

/* Prints the failed call and errno, and ends the program. */
_Noreturn void fail(const char *what);

/* Wrappers of bpf(2). A program stays attached to the interface until this process ends. */
int load_program(int type, const void *instructions, unsigned int count, unsigned int attach_type);
void attach_program(int program, unsigned int interface, unsigned int type, unsigned int flags);
int create_socket_map(void);
void set_socket(int map, uint32_t queue, int socket);

/* Adds to a counter with one plain store per batch. */
static inline void count(_Atomic uint64_t *counter, uint64_t value)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value,
			      memory_order_relaxed);
}

#endif
