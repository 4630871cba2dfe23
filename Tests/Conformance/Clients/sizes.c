/*
 * The sizes of the memory that interfaces share, and what a program's standard error gets when a request is refused.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "client.h"

static char **words;

/* A pipe without an id. */
static int refused_request(void)
{
	struct port port = { .fd = open_device() };

	CHECK_FAILS(bind_port(&port, "explained{", 0), EINVAL);
	return port.fd;
}

static void refused(void)
{
	close(refused_request());
}

/* The bytes that the process has written with write(2), and not with calls for messages. */
static long written(void)
{
	FILE *const file = fopen("/proc/self/io", "r");
	char line[64];
	long count = -1;

	CHECK(file);
	while (count < 0 && fgets(line, sizeof line, file))
		sscanf(line, "wchar: %ld", &count);
	fclose(file);
	CHECK(count >= 0);
	return count;
}

static void no_errors(void)
{
	struct port port;
	long before;

	close(2);
	port.fd = refused_request();
	CHECK(port.fd == 2);
	before = written();
	CHECK_FAILS(bind_port(&port, "explained{", 0), EINVAL);
	/* Eight bytes ring a bell; a sentence has more. */
	CHECK(written() - before < 40);
	CHECK(!bind_port(&port, "explained{1", 0));
	map_port(&port);
	send_packets(&port, 3);
	close(port.fd);
}

static void pools(void)
{
	struct nmreq_pools_info info = { .nr_memsize = 0 };
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_POOLS_INFO_GET };
	const int fd = open_device();

	info.nr_mem_id = 1;
	snprintf(header.nr_name, sizeof header.nr_name, "%s", "any{1");
	header.nr_body = (uintptr_t)&info;
	CHECK(!ioctl(fd, NIOCCTRL, &header));
	printf("%u buffers, %u rings, %u interfaces\n", info.nr_buf_pool_objtotal, info.nr_ring_pool_objtotal,
	       info.nr_if_pool_objtotal);
	CHECK((int)info.nr_buf_pool_objtotal == atoi(words[2]));
	CHECK((int)info.nr_ring_pool_objtotal == atoi(words[3]));
	CHECK((int)info.nr_if_pool_objtotal == atoi(words[4]));
	close(fd);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "refused", refused },
		{ "no-errors", no_errors },
		{ "pools", pools },
		{ NULL, NULL },
	};

	words = arguments;
	return run_test(tests, count, arguments);
}
