/* Requests and options at wild addresses. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PAGE = 4096 };

/* Three pages: one that can be used, one that cannot be accessed, and a hole. */
static char *pages;

static void make_pages(void)
{
	pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pages != MAP_FAILED);
	CHECK(!mprotect(pages + PAGE, PAGE, PROT_NONE) && !munmap(pages + 2 * PAGE, PAGE));
}

/* No hole between mappings, which the library could fill. */
static char *const nowhere = (char *)(16UL << 20);

/* Addresses that no structure can be read from. */
static void *wild[10];

static void make_wild(void)
{
	void *const all[] = {
		(void *)1, (void *)16, (void *)0x800, pages + PAGE, nowhere, pages + PAGE - 3,
		(void *)(1UL << 47), (void *)(~0UL << 47), (void *)~0UL, (void *)(~0UL - 40),
	};

	memcpy(wild, all, sizeof wild);
}

static const unsigned long commands[] = { NIOCCTRL, NIOCREGIF, NIOCGINFO, NIOCCONFIG };

static struct nmreq_header header;
static struct nmreq_register reg;

static void reset(void)
{
	header = (struct nmreq_header){ .nr_version = NETMAP_API,
					.nr_reqtype = NETMAP_REQ_REGISTER,
					.nr_name = "wild{1",
					.nr_body = (uintptr_t)&reg };
	reg = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC };
}

static void arguments(void)
{
	const int fd = open_device();

	make_pages();
	make_wild();
	for (int c = 0; c < 4; c++) {
		CHECK_FAILS(ioctl(fd, commands[c], NULL), EINVAL);
		for (int i = 0; i < 10; i++)
			CHECK_FAILS(ioctl(fd, commands[c], wild[i]), EFAULT);
	}
	/* Syncs do not look at theirs. */
	for (int i = 0; i < 10; i++)
		CHECK_FAILS(ioctl(fd, NIOCTXSYNC, wild[i]), ENXIO);
	struct port port = { .fd = fd };

	CHECK(!bind_port(&port, "wild{1", 0));
	for (int i = 0; i < 10; i++)
		CHECK(!ioctl(fd, NIOCRXSYNC, wild[i]));
}

static void bodies_and_options(void)
{
	struct port port = { .fd = open_device() };

	make_pages();
	make_wild();
	for (int i = 0; i < 10; i++) {
		reset();
		header.nr_body = (uintptr_t)wild[i];
		CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EFAULT);
		reset();
		header.nr_options = (uintptr_t)wild[i];
		CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EFAULT);
		/* In the middle of a list. */
		struct nmreq_option option = { .nro_next = (uintptr_t)wild[i], .nro_reqtype = 1234 };

		header.nr_options = (uintptr_t)&option;
		CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EFAULT);
	}
	CHECK(!bind_port(&port, "wild{1", 0));
}

/* A structure may begin at any byte and end with the last byte of a page. */
static void misaligned(void)
{
	make_pages();
	for (size_t shift = 0; shift < 9; shift++) {
		char *const place = pages + PAGE - sizeof header - shift;
		char *const body = pages + 1 + shift;
		const int fd = open_device();

		reset();
		memcpy(body, &reg, sizeof reg);
		header.nr_body = (uintptr_t)body;
		memcpy(place, &header, sizeof header);
		CHECK(!ioctl(fd, NIOCCTRL, place));
		CHECK(!ioctl(fd, NIOCTXSYNC, NULL) && !close(fd));
	}
}

/* Memory that can be read and not written: the answer has no place. */
static void read_only(void)
{
	struct nmreq_header *const place = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct port port = { .fd = open_device() };

	reset();
	CHECK(place != MAP_FAILED);
	memcpy(place, &header, sizeof header);
	CHECK(!mprotect(place, PAGE, PROT_READ));
	CHECK_FAILS(ioctl(port.fd, NIOCCTRL, place), EFAULT);
	/* What the request has done stays, as with netmap. */
	CHECK_FAILS(bind_port(&port, "wild{2", 0), EBUSY);
}

static void circles(void)
{
	static struct nmreq_option options[300];
	struct port port = { .fd = open_device() };

	/* One that follows itself; two that follow each other. */
	for (int length = 1; length <= 2; length++) {
		for (int i = 0; i < length; i++)
			options[i] = (struct nmreq_option){ .nro_next = (uintptr_t)&options[(i + 1) % length],
							    .nro_reqtype = 1234 };
		reset();
		header.nr_options = (uintptr_t)options;
		CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EMSGSIZE);
	}
	/* A known one may come once. */
	struct nmreq_opt_offsets offsets = { .nro_opt = { .nro_next = (uintptr_t)&offsets,
							  .nro_reqtype = NETMAP_REQ_OPT_OFFSETS } };

	reset();
	header.nr_options = (uintptr_t)&offsets;
	CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EINVAL);
	/* More than a request may have. */
	for (int i = 0; i < 300; i++)
		options[i] = (struct nmreq_option){ .nro_next = i < 299 ? (uintptr_t)&options[i + 1] : 0,
						    .nro_reqtype = 1234 };
	reset();
	header.nr_options = (uintptr_t)options;
	CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EMSGSIZE);
	/* A size without limit. */
	options[0] = (struct nmreq_option){ .nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, .nro_size = ~0UL };
	CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EMSGSIZE);
	CHECK(!bind_port(&port, "wild{1", 0));
}

static _Atomic int is_over;

/*
 * Replaces a page that can be accessed by one that cannot, and back. There is no hole between, which another mapping of the
 * process could take.
 */
static void *map_and_unmap(void *place)
{
	while (!is_over) {
		CHECK(mmap(place, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place);
		CHECK(mmap(place, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place);
	}
	return NULL;
}

/* Body and options lie in a page that another thread maps and unmaps. */
static void unmapped_meanwhile(void)
{
	char *const page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const double start = now();
	pthread_t thread;
	int fd = open_device();

	CHECK(page != MAP_FAILED && !pthread_create(&thread, NULL, map_and_unmap, page));
	while (now() - start < 2) {
		reset();
		header.nr_reqtype = NETMAP_REQ_PORT_INFO_GET;
		header.nr_body = (uintptr_t)page;
		ioctl(fd, NIOCCTRL, &header);
		header.nr_body = (uintptr_t)&reg;
		header.nr_options = (uintptr_t)page + 100;
		ioctl(fd, NIOCCTRL, &header);
		ioctl(fd, NIOCGINFO, page + 200);
		ioctl(fd, NIOCCTRL, page + 300);
	}
	is_over = 1;
	CHECK(!pthread_join(thread, NULL));
	struct port port = { .fd = fd };

	CHECK(!bind_port(&port, "wild{1", 0));
}

/* Calls that read the program's memory before the kernel does. */
static void other_calls(void)
{
	struct port port = open_port("calls{1");
	const char *volatile nothing = NULL;

	CHECK_FAILS(poll(NULL, 1, 0), EFAULT);
	CHECK_FAILS(open(nothing, O_RDONLY), EFAULT);
	CHECK_FAILS(recvmsg(0, NULL, 0), ENOTSOCK);
	CHECK_FAILS(mmap(pages + 1, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, port.fd, 0), EINVAL);
}

int main(int count, char **arguments_)
{
	static const struct test tests[] = {
		{ "arguments", arguments },    { "bodies", bodies_and_options }, { "misaligned", misaligned },
		{ "read-only", read_only },    { "circles", circles },
		{ "meanwhile", unmapped_meanwhile }, { "calls", other_calls },	 { 0 },
	};

	return run_test(tests, count, arguments_);
}
