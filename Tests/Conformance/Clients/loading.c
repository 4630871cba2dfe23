/* A program that loads the C library itself. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <dlfcn.h>

#define LIBNETMAP_NOTHREADSAFE
#include <libnetmap.h>

/* The library's own functions find its open and ioctl, although libc's come first for the program. */
static void by_dlopen(void)
{
	void *const library = dlopen("libnetmap.so.1", RTLD_NOW | RTLD_LOCAL);

	CHECK(library);

	__typeof__(&nmport_open) open_by_name = (__typeof__(&nmport_open))dlsym(library, "nmport_open");
	__typeof__(&poll) wait = (__typeof__(&poll))dlsym(library, "poll");

	CHECK(open_by_name && wait);

	struct nmport_d *const port = open_by_name("netmap:loaded{1");

	CHECK(port);

	struct pollfd entry = { .fd = port->fd, .events = POLLOUT };

	CHECK(wait(&entry, 1, 0) == 1 && entry.revents == POLLOUT);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = { { "dlopen", by_dlopen }, { 0 } };

	return run_test(tests, count, arguments);
}
