/*
 * The yardstick for `netmap bench --case pipe-1t` and `pipe-2t`: the same loops over the same rings,
 * hand-written in C. Prints one JSON object with the same keys.
 *
 * The loops correspond to Sources/Tools/netmap/Bench/PipeLoops.swift: change both.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

#include "pipe.h"

enum { FRAME_BYTES = 60, SLOTS = 1024, BUFFER_BYTES = 2048, FIRST_BUFFER = 2, PATIENCE = 4096 };

enum phase { STARTING, WARMING, MEASURING, STOPPED };

struct options {
	bool two_threads;
	bool touched;
	uint32_t batch;
	double seconds;
	uint64_t packets;	/* 0: for that many seconds instead */
	int cpus[2];
};

struct control {
	_Alignas(128) uint32_t phase;
	_Alignas(128) uint32_t arrivals;
};

struct progress {
	uint64_t packets;
	uint64_t yields;
	uint64_t digest;
};

static struct options options;
static struct control control;
static struct end sender, receiver;

/* What the receiver leaves for the main thread, which reads it after joining. */
static struct {
	uint64_t packets, nanoseconds, yields, digest;
} result;

static void fail(const char *what)
{
	fprintf(stderr, "pipe-reference: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- the measured loops ---- */

static inline bool in_phase(enum phase phase)
{
	return __atomic_load_n(&control.phase, __ATOMIC_RELAXED) == (uint32_t)phase;
}

static inline void write_frame(void *buffer, uint64_t sequence)
{
	uint64_t *words = buffer;

	for (int i = 0; i < 7; i++)
		words[i] = sequence + (uint64_t)i;
	*(uint32_t *)(words + 7) = (uint32_t)sequence;
}

static inline uint64_t sum_frame(const void *buffer)
{
	const uint64_t *words = buffer;
	uint64_t sum = *(const uint32_t *)(words + 7);

	for (int i = 0; i < 7; i++)
		sum += words[i];
	return sum;
}

/* Fills up to batch free slots. Inlined into a loop for each payload. */
static inline __attribute__((always_inline)) uint32_t
fill(struct ring *ring, uint32_t batch, uint64_t sent, uint64_t limit, bool touched)
{
	uint32_t count = ring_space(ring);
	uint32_t position = ring->head;

	if (count > batch)
		count = batch;
	if (count > limit - sent)
		count = (uint32_t)(limit - sent);
	for (uint32_t i = 0; i < count; i++) {
		struct slot *slot = &ring->slot[position];

		if (touched)
			write_frame(ring_buffer(ring, slot->buf_idx), sent + i);
		slot->len = FRAME_BYTES;
		slot->flags = 0;
		position = ring_next(ring, position);
	}
	ring_advance(ring, position);
	return count;
}

/* Takes up to batch packets. */
static inline __attribute__((always_inline)) uint32_t
drain(struct ring *ring, uint32_t batch, uint64_t *digest, bool touched)
{
	uint32_t count = ring_space(ring);
	uint32_t position = ring->head;

	if (count > batch)
		count = batch;
	for (uint32_t i = 0; i < count; i++) {
		const struct slot *slot = &ring->slot[position];

		if (!touched)
			*digest += slot->len;
		else if (slot->len == FRAME_BYTES)
			*digest += sum_frame(ring_buffer(ring, slot->buf_idx));
		position = ring_next(ring, position);
	}
	ring_advance(ring, position);
	return count;
}

static inline void offer_cpu(uint32_t *idle, struct progress *progress)
{
	sched_yield();
	progress->yields++;
	*idle = 0;
}

static inline __attribute__((always_inline)) void
send_loop(uint64_t limit, struct progress *progress, bool touched)
{
	uint64_t sent = progress->packets;
	uint32_t idle = 0;

	while (sent < limit && !in_phase(STOPPED)) {
		const uint32_t count = fill(sender.ring, options.batch, sent, limit, touched);

		pipe_txsync(&sender);
		sent += count;
		idle = count == 0 ? idle + 1 : 0;
		if (idle == PATIENCE)
			offer_cpu(&idle, progress);
	}
	progress->packets = sent;
}

static inline __attribute__((always_inline)) void
receive_loop(uint64_t limit, enum phase phase, struct progress *progress, bool touched)
{
	uint64_t received = progress->packets;
	uint64_t digest = progress->digest;
	uint32_t idle = 0;

	while (received < limit && in_phase(phase)) {
		pipe_rxsync(&receiver);
		const uint32_t count = drain(receiver.ring, options.batch, &digest, touched);

		received += count;
		idle = count == 0 ? idle + 1 : 0;
		if (idle == PATIENCE)
			offer_cpu(&idle, progress);
	}
	progress->packets = received;
	progress->digest = digest;
}

static inline __attribute__((always_inline)) void
send_and_receive_loop(uint64_t limit, enum phase phase, struct progress *progress, bool touched)
{
	uint64_t sent = progress->packets;
	uint64_t taken = sent;
	uint64_t digest = progress->digest;

	while (taken < limit && in_phase(phase)) {
		sent += fill(sender.ring, options.batch, sent, limit, touched);
		pipe_txsync(&sender);
		pipe_rxsync(&receiver);
		const uint32_t count = drain(receiver.ring, options.batch, &digest, touched);

		taken += count;
		if (count == 0 && sent != taken)
			break;
	}
	progress->packets = taken;
	progress->digest = digest;
}

static __attribute__((noinline)) void run_sender(uint64_t limit, struct progress *progress)
{
	if (options.touched)
		send_loop(limit, progress, true);
	else
		send_loop(limit, progress, false);
}

static __attribute__((noinline)) void run_receiver(uint64_t limit, enum phase phase,
						   struct progress *progress)
{
	if (options.two_threads && options.touched)
		receive_loop(limit, phase, progress, true);
	else if (options.two_threads)
		receive_loop(limit, phase, progress, false);
	else if (options.touched)
		send_and_receive_loop(limit, phase, progress, true);
	else
		send_and_receive_loop(limit, phase, progress, false);
}

/* ---- threads ---- */

static uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void enter(enum phase phase)
{
	__atomic_store_n(&control.phase, phase, __ATOMIC_RELEASE);
}

static void pin_and_wait(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		fail("sched_setaffinity");
	__atomic_fetch_add(&control.arrivals, 1, __ATOMIC_RELEASE);
	while (in_phase(STARTING))
		sched_yield();
}

static uint64_t limit(void)
{
	return options.packets != 0 ? options.packets : UINT64_MAX;
}

static void *sender_thread(void *unused)
{
	struct progress progress = { 0 };

	pin_and_wait(options.cpus[0]);
	run_sender(limit(), &progress);
	return unused;
}

static void *receiver_thread(void *unused)
{
	struct progress progress = { 0 };

	pin_and_wait(options.cpus[options.two_threads ? 1 : 0]);
	run_receiver(limit(), WARMING, &progress);
	const uint64_t start = nanoseconds(), before = progress.packets;
	run_receiver(limit(), MEASURING, &progress);
	result.nanoseconds = nanoseconds() - start;
	result.packets = progress.packets - before;
	result.yields = progress.yields;
	result.digest = progress.digest;
	enter(STOPPED);
	return unused;
}

static void sleep_for(double seconds)
{
	struct timespec left = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

static void run(void)
{
	pthread_t threads[2];
	const uint32_t count = options.two_threads ? 2 : 1;

	if (pthread_create(&threads[0], NULL, receiver_thread, NULL) != 0 ||
	    (count == 2 && pthread_create(&threads[1], NULL, sender_thread, NULL) != 0))
		fail("pthread_create");
	while (__atomic_load_n(&control.arrivals, __ATOMIC_ACQUIRE) < count)
		sched_yield();
	if (options.packets != 0) {
		enter(MEASURING);
	} else {
		enter(WARMING);
		sleep_for(0.05);
		enter(MEASURING);
		sleep_for(options.seconds);
		enter(STOPPED);
	}
	for (uint32_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

/* ---- set-up ---- */

static struct ring *make_ring(char *region, size_t offset, size_t buffers, uint16_t dir)
{
	/* Written as a whole, because most members never change afterwards. */
	const struct ring header = {
		.buf_ofs = (int64_t)buffers - (int64_t)offset,
		.num_slots = SLOTS,
		.nr_buf_size = BUFFER_BYTES,
		.dir = dir,
		.tail = dir == 0 ? 0 : SLOTS - 1,
	};
	struct ring *ring = (struct ring *)(region + offset);

	memcpy(ring, &header, sizeof(header));
	for (uint32_t i = 0; i < SLOTS; i++)
		ring->slot[i].buf_idx = FIRST_BUFFER + i;
	return ring;
}

/* One shared mapping with two rings and their buffers, and another one with the krings. */
static void make_pipe(void)
{
	const size_t ring_bytes = (sizeof(struct ring) + SLOTS * sizeof(struct slot) + 4095) & ~4095ul;
	const size_t buffers = 2 * ring_bytes;
	const size_t bytes = buffers + (size_t)(FIRST_BUFFER + SLOTS) * BUFFER_BYTES;
	const int memory = memfd_create("pipe-reference", MFD_CLOEXEC);
	const int krings_memory = memfd_create("pipe-reference-krings", MFD_CLOEXEC);

	if (memory < 0 || krings_memory < 0 || ftruncate(memory, (off_t)bytes) != 0 ||
	    ftruncate(krings_memory, 4096) != 0)
		fail("memfd_create");
	char *region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	struct kring *krings =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, krings_memory, 0);
	if (region == MAP_FAILED || krings == MAP_FAILED)
		fail("mmap");
	struct ring *tx = make_ring(region, 0, buffers, 1);
	struct ring *rx = make_ring(region, ring_bytes, buffers, 0);
	krings[0].hwtail = krings[0].rtail = SLOTS - 1;
	sender = (struct end){ tx, &krings[0], rx, &krings[1], 1, eventfd(0, EFD_NONBLOCK) };
	receiver = (struct end){ rx, &krings[1], tx, &krings[0], 2, eventfd(0, EFD_NONBLOCK) };
}

static void usage(const char *problem)
{
	fprintf(stderr,
		"pipe-reference: %s\n"
		"usage: pipe-reference [--case pipe-1t|pipe-2t] [--batch 1...%d]\n"
		"                      [--payload untouched|touched] [--seconds S | --packets N]\n"
		"                      [--cpus A,B] [--json]\n",
		problem, SLOTS - 1);
	exit(64);
}

static void parse(int argc, char **argv)
{
	options = (struct options){ .two_threads = true, .batch = 256, .seconds = 1, .cpus = { 0, 1 } };
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		options.cpus[1] = 0;
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i];

		/* Accepted so that both programs take the same command line; the output is JSON anyway. */
		if (strcmp(name, "--json") == 0)
			continue;
		if (++i == argc)
			usage("an option lacks its value, or is unknown");
		const char *value = argv[i];
		if (strcmp(name, "--case") == 0) {
			options.two_threads = strcmp(value, "pipe-2t") == 0;
			if (!options.two_threads && strcmp(value, "pipe-1t") != 0)
				usage("unknown case");
		} else if (strcmp(name, "--payload") == 0) {
			options.touched = strcmp(value, "touched") == 0;
			if (!options.touched && strcmp(value, "untouched") != 0)
				usage("unknown payload");
		} else if (strcmp(name, "--batch") == 0) {
			options.batch = (uint32_t)strtoul(value, NULL, 10);
			if (options.batch < 1 || options.batch >= SLOTS)
				usage("--batch is out of range");
		} else if (strcmp(name, "--seconds") == 0) {
			options.seconds = strtod(value, NULL);
			if (!(options.seconds > 0 && options.seconds <= 3600))
				usage("--seconds is out of range");
		} else if (strcmp(name, "--packets") == 0) {
			options.packets = strtoull(value, NULL, 10);
			if (options.packets == 0)
				usage("--packets is out of range");
		} else if (strcmp(name, "--cpus") == 0) {
			if (sscanf(value, "%d,%d", &options.cpus[0], &options.cpus[1]) != 2)
				usage("--cpus is not two numbers");
		} else {
			usage("unknown option");
		}
	}
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	make_pipe();
	run();
	if (result.packets == 0 || (options.packets != 0 && result.packets != options.packets)) {
		fprintf(stderr, "pipe-reference: packets are missing\n");
		return 1;
	}
	const double seconds = (double)result.nanoseconds / 1e9;
	printf("{\"schema\":1,\"case\":\"%s\",\"backend\":\"reference-c\",\"mode\":\"embedded\","
	       "\"frameBytes\":%d,\"batch\":%u,\"direction\":\"both\",\"mpps\":%.6f,"
	       "\"nsPerPacket\":%.6f,\"syscallsPerPacket\":%.9f,\"payload\":\"%s\","
	       "\"packets\":%" PRIu64 ",\"seconds\":%.9f,\"digest\":%" PRIu64 "}\n",
	       options.two_threads ? "pipe-2t" : "pipe-1t", FRAME_BYTES, options.batch,
	       (double)result.packets / seconds / 1e6, seconds * 1e9 / (double)result.packets,
	       (double)result.yields / (double)result.packets,
	       options.touched ? "touched" : "untouched", result.packets, seconds, result.digest);
	return 0;
}
