/* mmap(2) of the netmap descriptor. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

static void *map(int fd, size_t length, off_t offset)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

static void before_bind(void)
{
	CHECK_FAILS(map(open_device(), 4096, 0), EINVAL);
}

static void ranges(void)
{
	struct port port = open_port("ranges{1");
	const size_t size = port.reg.nr_memsize;

	CHECK_FAILS(map(port.fd, size + 1, 0), EINVAL);
	CHECK_FAILS(map(port.fd, size, 4096), EINVAL);
	CHECK_FAILS(map(port.fd, 4096, (off_t)((size + 4095) & ~4095UL)), EINVAL);
	CHECK_FAILS(map(port.fd, 4096, 100), EINVAL);
	CHECK_FAILS(map(port.fd, 0, 0), EINVAL);
	CHECK(map(port.fd, 4096, (off_t)(size - 4096) & ~4095L) != MAP_FAILED);
}

/* Parts and repeated mappings show the same memory. */
static void aliases(void)
{
	struct port port = open_port("aliases{1");
	char *const part = map(port.fd, 8192, 4096), *const all = map(port.fd, port.reg.nr_memsize, 0);
	char *const fixed = map(port.fd, 8192, 0);

	CHECK(part != MAP_FAILED && all != MAP_FAILED && fixed != MAP_FAILED);
	part[5] = 17;
	CHECK(port.memory[4096 + 5] == 17 && all[4096 + 5] == 17 && fixed[4096 + 5] == 17);
	CHECK(mmap(fixed, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, port.fd, 4096) == fixed);
	CHECK(fixed[5] == 17);
}

/* Syncs need no mapping of the program's, and a mapping outlives the descriptor. */
static void lifetimes(void)
{
	struct port a = open_port("life{1"), b = open_port("life}1");

	put(&a, 2);
	CHECK(!munmap(a.memory, a.reg.nr_memsize));
	CHECK(!ioctl(a.fd, NIOCTXSYNC, NULL));
	CHECK(receive_packets(&b) == 2);
	CHECK(!close(b.fd));
	CHECK(NETMAP_RXRING(b.nifp, 0)->num_slots > 0);
}

/* Ports of one region are one memory, by the same number. */
static void regions(void)
{
	struct port a = open_port("region{1"), b = open_port("region}1"), c = open_port("elsewhere{1");

	CHECK(a.reg.nr_mem_id == b.reg.nr_mem_id && a.reg.nr_mem_id != c.reg.nr_mem_id);
	a.memory[100] ^= 1;
	CHECK(b.memory[100] == a.memory[100]);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "before-bind", before_bind }, { "ranges", ranges },	{ "aliases", aliases },
		{ "lifetimes", lifetimes },	{ "regions", regions }, { 0 },
	};

	return run_test(tests, count, arguments);
}
