/* Programs without descriptors or memory, at each step. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <sys/resource.h>

static void set_limit(int resource, rlim_t value)
{
	struct rlimit limit;

	CHECK(!getrlimit(resource, &limit));
	limit.rlim_cur = value < limit.rlim_max ? value : limit.rlim_max;
	CHECK(!setrlimit(resource, &limit));
}

static int failed(const char *what)
{
	printf("%s: errno %d\n", what, errno);
	CHECK(errno == EMFILE || errno == ENOMEM || errno == ENFILE || errno == EAGAIN || errno == ENOBUFS ||
	      errno == ELIBBAD || errno == ETOOMANYREFS || errno == EINVAL);
	return 0;
}

/* Opens and uses two ports, as far as possible. Each step works, or fails with an errno. Returns whether all work. */
static int use_ports(void)
{
	struct port ports[2];
	int result = 1;

	for (int i = 0; i < 2 && result; i++) {
		struct port *const port = &ports[i];
		struct pollfd entry = { .events = POLLIN };

		port->fd = open("/dev/netmap", O_RDWR);
		if (port->fd < 0)
			return failed("open");
		if (bind_port(port, i ? "scarce}1" : "scarce{1", 0))
			return failed("bind");
		if (ioctl(port->fd, NIOCTXSYNC, NULL) || ioctl(port->fd, NIOCRXSYNC, NULL))
			return failed("sync");
		port->memory = mmap(NULL, port->reg.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, port->fd, 0);
		if (port->memory == MAP_FAILED)
			return failed("map");
		port->nifp = NETMAP_IF(port->memory, port->reg.nr_offset);
		entry.fd = port->fd;
		/* A wait works without a descriptor of its own. */
		CHECK(!poll(&entry, 1, 20));
	}
	send_packets(&ports[0], 3);

	struct pollfd entry = { .fd = ports[1].fd, .events = POLLIN };

	CHECK(poll(&entry, 1, 1000) == 1 && take(&ports[1]) == 3);
	return result;
}

/*
 * Runs use_ports in children under a limit that rises in steps from what is used now. Each child then uses ports without
 * the limit. The last child must have had enough.
 */
static void raise_limit(int resource, rlim_t first, rlim_t step, int steps)
{
	int enough = 0;

	for (int i = 0; i < steps && !enough; i++) {
		int status;
		pid_t child;

		fflush(stdout);
		child = fork();
		if (!child) {
			struct rlimit before;

			alarm(30);
			CHECK(!getrlimit(resource, &before));
			set_limit(resource, first + (rlim_t)i * step);
			const int works = use_ports();

			set_limit(resource, before.rlim_cur);
			closefrom(3);
			CHECK(use_ports());
			fflush(stdout);
			_exit(works ? 42 : 0);
		}
		CHECK(waitpid(child, &status, 0) == child);
		printf("limit %lu: status %x\n", (unsigned long)(first + (rlim_t)i * step), status);
		CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 42 || !WEXITSTATUS(status)));
		enough = WEXITSTATUS(status) == 42;
	}
	CHECK(enough);
}

static void descriptors(void)
{
	raise_limit(RLIMIT_NOFILE, 3, 1, 40);
}

static rlim_t used_memory(void)
{
	unsigned long pages;
	FILE *const file = fopen("/proc/self/statm", "r");

	CHECK(file && fscanf(file, "%lu", &pages) == 1 && !fclose(file));
	return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void memory(void)
{
	/* A region takes some 270 MB of addresses, and is mapped twice. */
	raise_limit(RLIMIT_AS, used_memory() + (1 << 20), 25 << 20, 80);
}

/* Many ports at once, until a limit; then they are closed, and others open. */
static void many_ports(void)
{
	int fds[200], count = 0;

	set_limit(RLIMIT_NOFILE, 100);
	for (; count < 200; count++) {
		struct port port = { .fd = open("/dev/netmap", O_RDWR) };
		char name[30];

		if (port.fd < 0) {
			failed("open");
			break;
		}
		snprintf(name, sizeof name, "vale%d:x", count % 3);
		fds[count] = port.fd;
		if (bind_port(&port, name, 0)) {
			failed("bind");
			count++;
			break;
		}
	}
	printf("%d ports\n", count);
	CHECK(count > 30 && count < 100);
	while (count)
		CHECK(!close(fds[--count]));
	struct port port = open_port("many{1");

	send_packets(&port, 1);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "descriptors", descriptors }, { "memory", memory }, { "many", many_ports }, { 0 },
	};

	return run_test(tests, count, arguments);
}
