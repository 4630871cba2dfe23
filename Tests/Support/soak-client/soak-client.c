/*
 * A program for netmap that exchanges packets with another process and sleeps between them, for the soaks. It knows
 * nothing of this package, and runs with the C library preloaded:
 *
 *     soak-client PORT BOARD STATION PEER ping|echo poll|epoll|select
 *
 * The board is a file of 64-bit words, see Tests/Support/soak/SoakBoard.swift.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "port_client.h"

#include <fcntl.h>
#include <net/netmap_user.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { BOARD_BYTES = 32768 * 8 + 8192, INCARNATION = 0, STATE = 3, COUNT = 4, LONGEST = 5, SINCE = 7, HISTOGRAM = 8 };

static int file = -1, set = -1;
static struct netmap_if *interface;
static volatile uint64_t *board;
static int station, peer;
static enum { POLL, EPOLL, SELECT } way;

static volatile uint64_t *word(int index)
{
	return &board[64 + station * 16 + index];
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int open_port(const char *name)
{
	interface = port_client_open(name, &file);
	return interface ? 0 : -1;
}

/* Sleeps until the port is readable, or writable. */
static void rest(int writes)
{
	struct pollfd ask = { .fd = file, .events = writes ? POLLOUT : POLLIN };
	struct epoll_event event = { .events = writes ? EPOLLOUT : EPOLLIN };
	fd_set files;

	switch (way) {
	case POLL:
		poll(&ask, 1, -1);
		break;
	case EPOLL:
		epoll_ctl(set, EPOLL_CTL_MOD, file, &event);
		epoll_wait(set, &event, 1, -1);
		break;
	case SELECT:
		FD_ZERO(&files);
		FD_SET(file, &files);
		select(file + 1, writes ? NULL : &files, writes ? &files : NULL, NULL, NULL);
	}
}

static void address(unsigned char *to, int number)
{
	static const unsigned char common[6] = { 2, 0, 0x53, 0, 0, 0 };

	memcpy(to, common, 6);
	to[5] = (unsigned char)number;
}

/* Sends a frame of 60 bytes, whose bytes from 16 on are an incarnation and a number. */
static void put(int target, const void *content)
{
	struct netmap_ring *const ring = NETMAP_TXRING(interface, 0);
	struct netmap_slot *slot;
	unsigned char *frame;

	while (nm_ring_empty(ring))
		rest(1);
	slot = &ring->slot[ring->cur];
	frame = (unsigned char *)NETMAP_BUF(ring, slot->buf_idx);
	memset(frame, 0, 60);
	if (target < 0)
		memset(frame, 0xff, 6);
	else
		address(frame, target);
	address(frame + 6, station);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	memcpy(frame + 16, content, 16);
	slot->len = 60;
	slot->flags = 0;
	ring->head = ring->cur = nm_ring_next(ring, ring->cur);
	ioctl(file, NIOCTXSYNC, NULL);
}

/* Takes one packet that is for this station. Returns 0 when there is none. */
static int take(uint64_t content[2])
{
	struct netmap_ring *const ring = NETMAP_RXRING(interface, 0);
	unsigned char own[6];

	address(own, station);
	while (!nm_ring_empty(ring)) {
		struct netmap_slot *const slot = &ring->slot[ring->cur];
		const char *const frame = NETMAP_BUF(ring, slot->buf_idx);
		const int is_ours = slot->len == 60 && memcmp(frame, own, 6) == 0;

		if (is_ours)
			memcpy(content, frame + 16, 16);
		ring->head = ring->cur = nm_ring_next(ring, ring->cur);
		if (is_ours)
			return 1;
	}
	return 0;
}

static void count(uint64_t time)
{
	static const uint64_t limits[] = { 100000, 1000000, 10000000, 100000000, 1000000000 };
	int place = 0;

	while (place < 5 && time >= limits[place])
		place++;
	*word(HISTOGRAM + place) += 1;
	if (time > *word(LONGEST))
		*word(LONGEST) = time;
	*word(COUNT) += 1;
}

static void ping(void)
{
	uint64_t sent[2] = { *word(INCARNATION), 0 }, found[2];
	unsigned seed = (unsigned)(sent[0] * 977 + (unsigned)station);

	while (board[0] == 0) {
		const uint64_t begun = now();

		if (rand_r(&seed) % 4 == 0)
			usleep((unsigned)rand_r(&seed) % 200);
		*word(SINCE) = begun;
		put(peer, sent);
		for (;;) {
			if (take(found) && found[0] == sent[0] && found[1] == sent[1])
				break;
			if (nm_ring_empty(NETMAP_RXRING(interface, 0)))
				rest(0);
		}
		*word(SINCE) = 0;
		count(now() - begun);
		sent[1]++;
	}
	*word(STATE) = 2;
}

static void echo(void)
{
	uint64_t found[2];

	for (;;) {
		if (take(found))
			put(peer, found);
		else
			rest(0);
	}
}

int main(int argc, char **words)
{
	const uint64_t hello[2] = { 0, 0 };
	int descriptor;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc < 7)
		return 2;
	station = atoi(words[3]);
	peer = atoi(words[4]);
	way = !strcmp(words[6], "epoll") ? EPOLL : !strcmp(words[6], "select") ? SELECT : POLL;
	descriptor = open(words[2], O_RDWR | O_CLOEXEC);
	board = mmap(NULL, BOARD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	if (descriptor < 0 || board == MAP_FAILED || open_port(words[1]) != 0) {
		perror(words[1]);
		return 1;
	}
	close(descriptor);
	if (way == EPOLL) {
		struct epoll_event event = { .events = EPOLLIN };

		set = epoll_create1(EPOLL_CLOEXEC);
		if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, file, &event) != 0) {
			perror("epoll");
			return 1;
		}
	}
	/* A switch learns the station's address. */
	if (!strncmp(words[1], "vale", 4))
		put(-1, hello);
	*word(STATE) = 1;
	if (!strcmp(words[5], "echo"))
		echo();
	ping();
	for (;;)
		pause();
}
