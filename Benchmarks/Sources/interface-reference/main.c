/*
 * The command line and the reports; see reference.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE
#include "reference.h"

#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct options options = { .batch = 256, .frame_bytes = 60 };
static const struct driver *driver;
static struct counters counters;

_Noreturn void fail(const char *what)
{
	fprintf(stderr, "interface-reference: %s: %s\n", what, strerror(errno));
	exit(1);
}

static _Noreturn void usage(const char *problem)
{
	fprintf(stderr,
		"interface-reference: %s\n"
		"usage: interface-reference --backend xdp|packet --mode copy|generic|tpacket-v3\n"
		"           --direction tx|rx|forward --batch N --frame-bytes N --cpu N\n"
		"           --interface NAME [--interface NAME]\n"
		"To be started by 'netmap bench --program', which makes the interfaces.\n",
		problem);
	exit(64);
}

void write_frame(uint8_t *frame, uint32_t length)
{
	static const uint8_t header[] = {
		2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0,
		0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
		0x03, 0xe8, 0x07, 0xd0, 0, 26, 0, 0,
	};
	memset(frame, 0, length);
	memcpy(frame, header, sizeof(header));
}

static uint32_t number(const char *text, uint32_t first, uint32_t last)
{
	char *end;
	const unsigned long value = strtoul(text, &end, 10);

	if (*text == 0 || *end != 0 || value < first || value > last)
		usage("a number is out of range");
	return (uint32_t)value;
}

static void parse(int argc, char **argv)
{
	unsigned int count = 0;

	for (int i = 1; i < argc; i += 2) {
		const char *name = argv[i], *value = argv[i + 1];

		if (value == NULL)
			usage("an option lacks its value");
		if (strcmp(name, "--backend") == 0)
			options.packet = strcmp(value, "packet") == 0;
		else if (strcmp(name, "--mode") == 0)
			options.generic = strcmp(value, "generic") == 0;
		else if (strcmp(name, "--direction") == 0)
			options.direction = strcmp(value, "tx") == 0   ? TX :
					    strcmp(value, "rx") == 0 ? RX :
								       FORWARD;
		else if (strcmp(name, "--batch") == 0)
			options.batch = number(value, 1, 1023);
		else if (strcmp(name, "--frame-bytes") == 0)
			options.frame_bytes = number(value, 60, 1514);
		else if (strcmp(name, "--cpu") == 0)
			options.cpu = (int)number(value, 0, CPU_SETSIZE - 1);
		else if (strcmp(name, "--interface") == 0 && count < 2)
			options.interfaces[count++] = if_nametoindex(value);
		else
			usage("unknown option");
	}
	if (options.interfaces[0] == 0 ||
	    (options.direction == FORWARD && options.interfaces[1] == 0))
		usage("an interface is missing");
}

static void *move(void *unused)
{
	cpu_set_t set;

	(void)unused;
	CPU_ZERO(&set);
	CPU_SET(options.cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		fail("sched_setaffinity");
	driver->loop(&options, &counters);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	char line[16];

	parse(argc, argv);
	if (options.packet && options.direction == FORWARD) {
		printf("unavailable: no packet sockets in this direction\n");
		return 0;
	}
	driver = options.packet ? &packet_driver : &xdp_driver;
	driver->open(&options);
	errno = pthread_create(&thread, NULL, move, NULL);
	if (errno != 0)
		fail("pthread_create");
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", counters.packets,
		       counters.system_calls, driver->lost());
		fflush(stdout);
	}
	return 0;
}
