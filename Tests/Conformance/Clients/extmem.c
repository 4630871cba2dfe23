/* Regions in memory of the program: NETMAP_REQ_OPT_EXTMEM. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <pthread.h>

#define PAGE 4096UL
#define MEMORY (16UL << 20)

static struct nmreq_opt_extmem option_for(void *memory, uint64_t size)
{
	return (struct nmreq_opt_extmem){ .nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
					  .nro_usrptr = (uintptr_t)memory,
					  .nro_info.nr_memsize = size };
}

/* Binds a new descriptor in memory of the program. Returns what ioctl does. */
static int bind_in(struct port *port, const char *name, struct nmreq_opt_extmem *option, uint64_t flags)
{
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_body = (uintptr_t)&port->reg,
				       .nr_options = (uintptr_t)option };

	snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
	port->reg = (struct nmreq_register){
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 64, .nr_rx_slots = 64, .nr_flags = flags
	};
	option->nro_opt.nro_status = 0xdead;
	return ioctl(port->fd, NIOCCTRL, &header);
}

static struct port open_in(const char *name, void *memory, uint64_t size)
{
	struct nmreq_opt_extmem option = option_for(memory, size);
	struct port port = { .fd = open_device(), .memory = memory };

	CHECK(!bind_in(&port, name, &option, 0));
	CHECK(!option.nro_opt.nro_status && option.nro_usrptr == (uintptr_t)memory);
	CHECK(option.nro_info.nr_memsize == size && port.reg.nr_mem_id > 1);
	port.nifp = NETMAP_IF(memory, port.reg.nr_offset);
	return port;
}

static void refuse(const char *name, struct nmreq_opt_extmem option, int error, int status)
{
	struct port port = { .fd = open_device() };

	CHECK_FAILS(bind_in(&port, name, &option, 0), error);
	CHECK((int)option.nro_opt.nro_status == status);
	/* Nothing is left, and the descriptor can be bound. */
	CHECK(!bind_port(&port, name, 0));
	close(port.fd);
}

static void *anonymous(int flags)
{
	void *const memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	CHECK(memory != MAP_FAILED);
	return memory;
}

/* Sends packets from one port of a switch to another, which may be in other memory. */
static void exchange(struct port *from, struct port *to)
{
	int received = 0;

	send_packets(from, 5);
	received = receive_packets(to);
	CHECK(received == 5);
}

static void check_memory(void *memory)
{
	struct port port = open_in("valeK:ext", memory, MEMORY), other = open_port("valeK:other");
	struct netmap_ring *const ring = NETMAP_TXRING(port.nifp, 0);

	CHECK((char *)ring > port.memory && (char *)ring < port.memory + MEMORY);
	CHECK(NETMAP_BUF(ring, ring->slot[63].buf_idx) < port.memory + MEMORY);
	exchange(&port, &other);
	exchange(&other, &port);
	close(port.fd);
	close(other.fd);
}

static void exact(void)
{
	const uint64_t size = 8423424;
	char *const memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct nmreq_opt_extmem option = option_for(memory, size);
	struct nmreq_register reg = {
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 16, .nr_rx_slots = 16, .nr_tx_rings = 16, .nr_rx_rings = 16
	};
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_name = "valeX:exact",
				       .nr_body = (uintptr_t)&reg,
				       .nr_options = (uintptr_t)&option };
	struct port port = { .fd = open_device() }, other;
	struct nmreq_pools_info pools = { .nr_memsize = 0 };

	CHECK(memory != MAP_FAILED);
	option.nro_info.nr_if_pool_objtotal = 2;
	option.nro_info.nr_if_pool_objsize = 1024;
	option.nro_info.nr_ring_pool_objtotal = 64;
	option.nro_info.nr_ring_pool_objsize = 512;
	option.nro_info.nr_buf_pool_objtotal = 4096;
	option.nro_info.nr_buf_pool_objsize = 2048;
	CHECK(!ioctl(port.fd, NIOCCTRL, &header) && !option.nro_opt.nro_status);
	CHECK(reg.nr_memsize == 2057 * PAGE && reg.nr_tx_slots == 16 && reg.nr_rx_rings == 16);
	CHECK(reg.nr_offset % 1024 == 0 && reg.nr_offset < 2048);
	port.nifp = NETMAP_IF(memory, reg.nr_offset);
	for (unsigned int i = 0; i < 16; i++) {
		struct netmap_ring *const ring = NETMAP_TXRING(port.nifp, i);
		const size_t place = (size_t)((char *)ring - memory) - PAGE;

		CHECK(place % 512 == 0 && place < 64 * 512 && ring->num_slots == 16);
		CHECK(ring->nr_buf_size == 2048);
		CHECK(NETMAP_BUF(ring, 0) == memory + 9 * PAGE);
		CHECK(NETMAP_BUF(ring, 4095) + 2048 == memory + 2057 * PAGE);
	}
	header.nr_reqtype = NETMAP_REQ_POOLS_INFO_GET;
	header.nr_body = (uintptr_t)&pools;
	header.nr_options = 0;
	CHECK(!ioctl(port.fd, NIOCCTRL, &header));
	CHECK(pools.nr_ring_pool_offset == PAGE && pools.nr_ring_pool_objsize == 512);
	CHECK(pools.nr_ring_pool_objtotal == 64 && pools.nr_buf_pool_offset == 9 * PAGE);
	CHECK(pools.nr_buf_pool_objtotal == 4096 && pools.nr_if_pool_objsize == 1024);
	CHECK(pools.nr_mem_id == reg.nr_mem_id && pools.nr_memsize == reg.nr_memsize);
	other = open_port("valeX:other");
	exchange(&port, &other);
}

static void defaults(void)
{
	struct nmreq_opt_extmem option = option_for(anonymous(MAP_SHARED), MEMORY);
	struct port port = { .fd = open_device() };
	struct nmreq_pools_info *const info = &option.nro_info;

	CHECK(!bind_in(&port, "valeD:a", &option, 0) && !option.nro_opt.nro_status);
	CHECK(info->nr_if_pool_objtotal == 2 && info->nr_if_pool_objsize == 1024);
	CHECK(info->nr_ring_pool_objtotal == 4 && info->nr_ring_pool_objsize == 20480);
	CHECK(info->nr_buf_pool_objtotal == 4098 && info->nr_buf_pool_objsize == 2048);
	/* What is left of the memory becomes buffers. */
	CHECK(!bind_port(&(struct port){ .fd = open_device() }, "valeD:b", 0));
	close(port.fd);
	port.fd = open_device();
	option = option_for((void *)(uintptr_t)option.nro_usrptr, MEMORY);
	port.reg.nr_extra_bufs = 0;
	{
		struct nmreq_register reg = { .nr_mode = NR_REG_ALL_NIC, .nr_extra_bufs = 1000000 };
		struct nmreq_header header = { .nr_version = NETMAP_API,
					       .nr_reqtype = NETMAP_REQ_REGISTER,
					       .nr_name = "valeD:a",
					       .nr_body = (uintptr_t)&reg,
					       .nr_options = (uintptr_t)&option };

		CHECK(!ioctl(port.fd, NIOCCTRL, &header));
		CHECK(reg.nr_extra_bufs > 8000 - 2048 && reg.nr_extra_bufs < 8192);
	}
	/* The objects do not fit. */
	refuse("valeD:c", option_for(anonymous(MAP_SHARED), 1 << 20), ENOMEM, ENOMEM);
}

static char static_memory[MEMORY] __attribute__((aligned(4096)));

static void kinds(void)
{
	char name[] = "/tmp/netmap-extmem-XXXXXX", shared[] = "/dev/shm/netmap-extmem-XXXXXX";
	const int files[] = { mkstemp(name), mkstemp(shared), memfd_create("extmem", 0),
			      memfd_create("extmem", MFD_ALLOW_SEALING) };
	void *heap;

	check_memory(anonymous(MAP_SHARED));
	check_memory(anonymous(MAP_PRIVATE));
	check_memory(static_memory);
	CHECK(!posix_memalign(&heap, PAGE, MEMORY));
	check_memory(heap);
	free(heap);
	CHECK(!unlink(name) && !unlink(shared));
	for (int i = 0; i < 4; i++) {
		void *memory;

		CHECK(files[i] >= 0 && !ftruncate(files[i], MEMORY));
		memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, files[i], 0);
		CHECK(memory != MAP_FAILED);
		check_memory(memory);
		/* The same addresses again */
		check_memory(memory);
		/* Of a file, a private mapping as well */
		memory = mmap(memory, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, files[i], 0);
		CHECK(memory != MAP_FAILED);
		check_memory(memory);
	}
}

/* The stack of a thread is ordinary memory to the kernel. */
static void *give_stack(void *unused)
{
	char stack[1];

	refuse("valeR:a", option_for((void *)((uintptr_t)stack & ~(PAGE - 1)), PAGE), EINVAL, EINVAL);
	return unused;
}

static void refused(void)
{
	char *const memory = anonymous(MAP_SHARED);
	struct nmreq_opt_extmem option;
	pthread_t thread;
	char stack[1];

	refuse("valeR:a", option_for(memory + 64, MEMORY - PAGE), EINVAL, EINVAL);
	refuse("valeR:a", option_for(memory, 0), ENOMEM, ENOMEM);
	refuse("valeR:a", option_for(memory, UINT64_MAX), ENOMEM, ENOMEM);
	refuse("valeR:a", option_for(memory, 1ULL << 62), ENOMEM, ENOMEM);
	refuse("valeR:a", option_for(NULL, MEMORY), EFAULT, EFAULT);
	refuse("valeR:a", option_for((void *)(UINTPTR_MAX & ~(PAGE - 1)), MEMORY), EFAULT, EFAULT);
	refuse("valeR:a", option_for((void *)((uintptr_t)stack & ~(PAGE - 1)), PAGE), EFAULT, EFAULT);
	CHECK(!pthread_create(&thread, NULL, give_stack, NULL) && !pthread_join(thread, NULL));
	CHECK(!mprotect(memory + PAGE, PAGE, PROT_READ));
	refuse("valeR:a", option_for(memory, MEMORY), EFAULT, EFAULT);
	CHECK(!munmap(memory + PAGE, PAGE));
	refuse("valeR:a", option_for(memory, MEMORY), EFAULT, EFAULT);
	/* The memory is as it was. */
	memory[0] = memory[MEMORY - 1] = 1;
	option = option_for(anonymous(MAP_PRIVATE), MEMORY);
	option.nro_info.nr_ring_pool_objsize = 20481;
	refuse("valeR:a", option, EINVAL, EINVAL);
	option.nro_info.nr_ring_pool_objsize = 0;
	option.nro_info.nr_buf_pool_objsize = 32;
	refuse("valeR:a", option, EINVAL, EINVAL);
	option.nro_info.nr_buf_pool_objsize = 0;
	option.nro_info.nr_buf_pool_objtotal = UINT32_MAX;
	option.nro_info.nr_ring_pool_objtotal = UINT32_MAX;
	refuse("valeR:a", option, EINVAL, EINVAL);
	/* A ring that is too small for its slots is found later, as in netmap: the option has been used. */
	option = option_for(anonymous(MAP_PRIVATE), MEMORY);
	option.nro_info.nr_ring_pool_objsize = 512;
	refuse("valeR:a", option, ENOMEM, 0);
}

static void within(void)
{
	char *const memory = anonymous(MAP_SHARED);
	struct port port, other;

	memset(memory, 0x5a, PAGE);
	memset(memory + MEMORY - PAGE, 0x5a, PAGE);
	/* Rights that some pages had for a while make several mappings of one. */
	CHECK(!mprotect(memory + 8 * PAGE, PAGE, PROT_READ));
	CHECK(!mprotect(memory + 8 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	port = open_in("valeW:a", memory + PAGE, MEMORY - 2 * PAGE);
	other = open_port("valeW:b");
	exchange(&port, &other);
	exchange(&other, &port);
	/* Pages beside the memory stay the program's. */
	for (size_t i = 0; i < PAGE; i++)
		CHECK(memory[i] == 0x5a && memory[MEMORY - PAGE + i] == 0x5a);
}

static void last_page(void)
{
	/* Objects take whole pages up to the last one, which the program uses behind the memory. */
	const uint64_t size = PAGE + 2 * 20480 + 64 * 2048 + 64;
	char *const memory = anonymous(MAP_PRIVATE);
	struct nmreq_opt_extmem option = option_for(memory, size);
	struct port port = { .fd = open_device() };

	option.nro_info.nr_if_pool_objtotal = 4;
	option.nro_info.nr_ring_pool_objtotal = 2;
	option.nro_info.nr_buf_pool_objtotal = 64;
	memset(memory + size, 0x77, 1024);
	CHECK(bind_in(&port, "valeL:a", &option, NR_TX_RINGS_ONLY) == -1 && errno == ENOMEM);
	for (int i = 0; i < 1024; i++)
		CHECK(memory[size + (uint64_t)i] == 0x77);
	/* With rings that the buffers suffice for */
	{
		struct nmreq_register reg = {
			.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 16, .nr_rx_slots = 16
		};
		struct nmreq_header header = { .nr_version = NETMAP_API,
					       .nr_reqtype = NETMAP_REQ_REGISTER,
					       .nr_name = "valeL:a",
					       .nr_body = (uintptr_t)&reg,
					       .nr_options = (uintptr_t)&option };

		CHECK(!ioctl(port.fd, NIOCCTRL, &header) && !option.nro_opt.nro_status);
	}
	for (int i = 0; i < 1024; i++)
		CHECK(memory[size + (uint64_t)i] == 0x77);
}

/* Maps a file that another process has made. */
static void *map_file(const char *name)
{
	const int file = open(name, O_RDWR);
	void *const memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	CHECK(file >= 0 && memory != MAP_FAILED);
	close(file);
	return memory;
}

static void share(const char *pattern)
{
	char name[64];
	int file, pair[2];
	pid_t child;
	char byte;

	snprintf(name, sizeof name, "%s", pattern);
	file = mkstemp(name);
	CHECK(file >= 0 && !ftruncate(file, MEMORY));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		struct port port = open_in("valeS:child", map_file(name), MEMORY);
		const uint16_t id = port.reg.nr_mem_id;
		uint32_t place;

		close(pair[0]);
		CHECK(write(pair[1], &id, sizeof id) == sizeof id);
		CHECK(read(pair[1], &place, sizeof place) == sizeof place);
		/* A buffer of the other port, at the same place of the memory */
		CHECK(!strcmp(port.memory + place, "written by the parent"));
		CHECK(receive_packets(&port) == 5);
		send_packets(&port, 3);
		CHECK(write(pair[1], "", 1) == 1);
		CHECK(read(pair[1], &byte, 1) == 1);
		exit(0);
	}
	{
		struct port port = open_in("valeS:parent", map_file(name), MEMORY);
		struct netmap_ring *ring = NETMAP_TXRING(port.nifp, 0);
		char *const buffer = NETMAP_BUF(ring, ring->slot[ring->num_slots - 1].buf_idx);
		const uint32_t place = (uint32_t)(buffer - port.memory);
		uint16_t id;

		close(pair[1]);
		CHECK(read(pair[0], &id, sizeof id) == sizeof id);
		CHECK(id == port.reg.nr_mem_id);
		strcpy(buffer, "written by the parent");
		send_packets(&port, 5);
		CHECK(write(pair[0], &place, sizeof place) == sizeof place);
		CHECK(read(pair[0], &byte, 1) == 1);
		CHECK(receive_packets(&port) == 3);
		CHECK(write(pair[0], "", 1) == 1);
		join(child);
		close(port.fd);
		close(pair[0]);
		close(file);
	}
	CHECK(!unlink(name));
}

static void shared(void)
{
	share("/dev/shm/netmap-extmem-XXXXXX");
	share("/tmp/netmap-extmem-XXXXXX");
}

static void truncated(void)
{
	const int file = memfd_create("extmem", 0);
	struct port port, other;
	void *memory;

	CHECK(file >= 0 && !ftruncate(file, MEMORY));
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(memory != MAP_FAILED);
	port = open_in("valeT:a", memory, MEMORY);
	other = open_port("valeT:b");
	CHECK(!ftruncate(file, 0));
	exchange(&port, &other);
	CHECK(!fallocate(file, 0, 0, PAGE));
	exchange(&other, &port);
	close(port.fd);
	/* Also the program's own rings are still there. */
	CHECK(NETMAP_TXRING(port.nifp, 0)->num_slots == 64);
}

static void elsewhere(void)
{
	struct port pipe = open_port("elsewhere{1"), port = { .fd = open_device() };
	struct nmreq_opt_extmem option = option_for(anonymous(MAP_SHARED), MEMORY);

	/* A port that is in a region already cannot be in the program's. */
	CHECK_FAILS(bind_in(&port, "elsewhere}1", &option, 0), EBUSY);
	CHECK(!option.nro_opt.nro_status);
	CHECK_FAILS(bind_in(&port, "elsewhere{1", &option, NR_MONITOR_TX), EBUSY);
	CHECK(!bind_port(&port, "elsewhere}1", 0));
	close(pipe.fd);
	close(port.fd);
}

static void pipes(void)
{
	void *const memory = anonymous(MAP_PRIVATE);
	struct nmreq_opt_extmem option = option_for(memory, MEMORY);
	struct port parent = { .fd = open_device() }, master, slave;

	option.nro_info.nr_if_pool_objtotal = 8;
	option.nro_info.nr_ring_pool_objtotal = 16;
	CHECK(!bind_in(&parent, "valeP:parent", &option, 0));
	master = open_port("valeP:parent{1");
	slave = open_port("valeP:parent}1");
	CHECK(master.reg.nr_mem_id == parent.reg.nr_mem_id);
	CHECK(slave.reg.nr_mem_id == parent.reg.nr_mem_id);
	send_packets(&master, 5);
	CHECK(receive_packets(&slave) == 5);
	/* The program sees the pipe's rings in its own memory. */
	CHECK(NETMAP_TXRING(NETMAP_IF(memory, master.reg.nr_offset), 0)->head == 5);
	/* The pipe keeps the region when its parent is closed. */
	close(parent.fd);
	send_packets(&master, 5);
	CHECK(receive_packets(&slave) == 5);
}

static void life(void)
{
	char *const memory = anonymous(MAP_SHARED);
	struct port port = open_in("valeF:a", memory, MEMORY), other = open_port("valeF:b");
	struct port late = { .fd = open_device() };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_name = "valeF:c",
				       .nr_body = (uintptr_t)&late.reg };
	const uint16_t id = port.reg.nr_mem_id;
	struct netmap_ring *ring;
	pid_t child;

	/* A child has the same memory, with the same rings in it. */
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		exchange(&port, &other);
		exit(0);
	}
	join(child);
	ring = NETMAP_TXRING(port.nifp, 0);
	CHECK(ring->head == 5);
	/* The program may unmap what it gave, and map the region as any other one. */
	CHECK(!munmap(memory, MEMORY));
	map_port(&port);
	exchange(&port, &other);
	close(port.fd);
	close(other.fd);
	late.reg = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC, .nr_mem_id = id };
	CHECK_FAILS(ioctl(late.fd, NIOCCTRL, &header), EINVAL);
	/* The mapping outlives the region. */
	CHECK(NETMAP_TXRING(port.nifp, 0)->num_slots == 64);
}

static volatile int is_done;

static void *scribble(void *memory)
{
	while (!is_done)
		for (size_t i = 0; i < MEMORY; i += PAGE)
			((volatile char *)memory)[i + PAGE / 2]++;
	return NULL;
}

/* Threads write into the memory while it becomes a region. */
static void threads(void)
{
	for (int round = 0; round < 20; round++) {
		void *const memory = anonymous(round & 1 ? MAP_SHARED : MAP_PRIVATE);
		struct port port;
		pthread_t thread;

		is_done = 0;
		CHECK(!pthread_create(&thread, NULL, scribble, memory));
		port = open_in("valeH:a", memory, MEMORY);
		is_done = 1;
		CHECK(!pthread_join(thread, NULL));
		close(port.fd);
		CHECK(!munmap(memory, MEMORY));
	}
}

static void *sync_rings(void *port)
{
	const int fd = ((struct port *)port)->fd;

	while (!is_done)
		CHECK(!ioctl(fd, NIOCTXSYNC, NULL) && !ioctl(fd, NIOCRXSYNC, NULL));
	return NULL;
}

/* The program truncates its file and unmaps its memory while packets arrive there and another thread syncs. */
static void taken_away(void)
{
	enum { ROUNDS = 50 };
	const int file = memfd_create("extmem", 0);
	struct port port, other;
	pthread_t thread;

	CHECK(file >= 0 && !ftruncate(file, MEMORY));
	port.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(port.memory != MAP_FAILED);
	port = open_in("valeU:a", port.memory, MEMORY);
	other = open_port("valeU:b");
	is_done = 0;
	CHECK(!pthread_create(&thread, NULL, sync_rings, &port));
	for (int round = 0; round < ROUNDS; round++) {
		CHECK(!ftruncate(file, round % 2 ? MEMORY : 0));
		CHECK(!munmap(port.memory, MEMORY));
		send_packets(&other, 1);
		map_port(&port);
	}
	is_done = 1;
	CHECK(!pthread_join(thread, NULL));
	CHECK(receive_packets(&port) == ROUNDS);
	exchange(&port, &other);
}

static void overlapping(void)
{
	char *const memory = mmap(NULL, 2 * MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct port first, second, other = open_port("valeO:other");

	CHECK(memory != MAP_FAILED);
	first = open_in("valeO:first", memory, MEMORY);
	/* The second region takes the pages that both have. The first one goes on without the program seeing all of it. */
	second = open_in("valeO:second", memory + MEMORY / 2, MEMORY);
	CHECK(first.reg.nr_mem_id != second.reg.nr_mem_id);
	exchange(&second, &other);
	CHECK(!ioctl(first.fd, NIOCTXSYNC, NULL) && !ioctl(first.fd, NIOCRXSYNC, NULL));
	close(first.fd);
	exchange(&other, &second);
	close(second.fd);
	/* Other sizes of the same addresses are other regions. */
	second = open_in("valeO:second", memory, 2 * MEMORY);
	exchange(&second, &other);
}

/* Processes that are killed at any moment leave nothing behind. */
static void killed(void)
{
	const int file = memfd_create("extmem", 0);
	struct port port;
	void *memory;

	CHECK(file >= 0 && !ftruncate(file, MEMORY));
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(memory != MAP_FAILED);
	for (int round = 0; round < 30; round++) {
		int status;
		const pid_t child = fork();

		CHECK(child >= 0);
		if (!child) {
			memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
			for (;;) {
				struct port own = open_in("valeQ:child", memory, MEMORY);

				send_packets(&own, 5);
				close(own.fd);
			}
		}
		usleep((useconds_t)(round * 700));
		CHECK(!kill(child, SIGKILL) && waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	}
	port = open_in("valeQ:child", memory, MEMORY);
	send_packets(&port, 5);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "exact", exact },	    { "defaults", defaults },	{ "kinds", kinds },
		{ "refused", refused },	    { "within", within },	{ "last-page", last_page },
		{ "shared", shared },	    { "truncated", truncated }, { "elsewhere", elsewhere },
		{ "pipes", pipes },	    { "life", life },		{ "threads", threads },
		{ "taken-away", taken_away },   { "overlapping", overlapping },
		{ "killed", killed },	    { NULL, NULL },
	};

	return run_test(tests, count, arguments);
}
