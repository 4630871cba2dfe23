/* Requests and options at wild addresses. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { PAGE = 4096 };

/* Three pages: one that can be used, one that cannot be accessed, and a hole. */
static char *pages;

static void make_pages(void)
{
	pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pages != MAP_FAILED);
	CHECK(!mprotect(pages + PAGE, PAGE, PROT_NONE) && !munmap(pages + 2 * PAGE, PAGE));
	/* A path that begins there has no end. */
	memset(pages, 'x', PAGE);
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

/* A descriptor of the program's own that is always ready. */
static int make_event(void)
{
	const int event = eventfd(1, EFD_NONBLOCK);

	CHECK(event >= 0);
	return event;
}

/* Calls that take addresses, for descriptors that are not netmap's. */
static void call_with_wild(void *address)
{
	static struct stat status;
	struct epoll_event one = { .events = EPOLLIN };
	const int event = make_event(), epoll = epoll_create1(0);
	int pair[2];

	CHECK(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, event, &one));
	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) && send(pair[0], "x", 1, 0) == 1);
	CHECK_FAILS(poll(address, 1, 0), EFAULT);
	CHECK_FAILS(poll(address, 64, 0), EFAULT);
	CHECK_FAILS(ppoll(address, 1, NULL, NULL), EFAULT);
	CHECK_FAILS(poll(address, ~0UL, 0), EINVAL);
	CHECK_FAILS(select(1, address, NULL, NULL, NULL), EFAULT);
	CHECK_FAILS(select(1, NULL, address, NULL, NULL), EFAULT);
	CHECK_FAILS(pselect(1, NULL, NULL, address, NULL, NULL), EFAULT);
	CHECK_FAILS(open(address, O_RDONLY), EFAULT);
	CHECK_FAILS(openat(AT_FDCWD, address, O_RDONLY), EFAULT);
	CHECK_FAILS(stat(address, &status), EFAULT);
	CHECK_FAILS(fstatat(event, address, &status, AT_EMPTY_PATH), EFAULT);
	CHECK_FAILS(access(address, R_OK), EFAULT);
	CHECK_FAILS(recvmsg(pair[1], address, MSG_PEEK), EFAULT);
	CHECK_FAILS(epoll_ctl(epoll, EPOLL_CTL_MOD, event, address), EFAULT);
	CHECK_FAILS(epoll_wait(epoll, address, 1, 0), EFAULT);
	CHECK(!close(event) && !close(epoll) && !close(pair[0]) && !close(pair[1]));
}

static void other_calls(void)
{
	make_pages();
	make_wild();
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 10; i++)
			call_with_wild(wild[i]);
		/* Once before the program uses netmap, and once after. */
		open_port("calls{1");
	}
	CHECK_FAILS(poll(NULL, 1, 0), EFAULT);
	const char *volatile nothing = NULL;
	CHECK_FAILS(open(nothing, O_RDONLY), EFAULT);
	/* Paths that end with a page. */
	CHECK_FAILS(open(strcpy(pages + PAGE - 2, "x"), O_RDONLY), ENOENT);
	CHECK(open(strcpy(pages + PAGE - 12, "/dev/netmap"), O_RDWR) >= 0);
}

/* The same calls for netmap's descriptors. */
static void calls_of_ports(void)
{
	struct port port = open_port("calls{1");
	const int event = make_event(), epoll = epoll_create1(0);
	struct pollfd *const entries = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd_set *const set = (fd_set *)(entries + 2);
	struct epoll_event one = { .events = EPOLLOUT };

	make_pages();
	make_wild();
	CHECK(entries != MAP_FAILED && epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, port.fd, &one));
	entries[0] = (struct pollfd){ .fd = port.fd, .events = POLLOUT };
	entries[1] = (struct pollfd){ .fd = event, .events = POLLIN };
	FD_SET(port.fd, set);
	for (int i = 0; i < 10; i++) {
		CHECK_FAILS(fstat(port.fd, wild[i]), EFAULT);
		CHECK_FAILS(stat("/dev/netmap", wild[i]), EFAULT);
		CHECK_FAILS(fstatat(port.fd, wild[i], (struct stat *)entries, AT_EMPTY_PATH), EFAULT);
		CHECK_FAILS(recvmsg(port.fd, wild[i], 0), ENOTSOCK);
		CHECK_FAILS(epoll_ctl(epoll, EPOLL_CTL_MOD, port.fd, wild[i]), EFAULT);
		CHECK_FAILS(epoll_wait(epoll, wild[i], 1, 0), EFAULT);
		/* A second set of descriptors that cannot be read. */
		CHECK_FAILS(select(port.fd + 1, set, wild[i], NULL, NULL), EFAULT);
		entries[0] = (struct pollfd){ .fd = port.fd, .events = POLLOUT };
		entries[1] = (struct pollfd){ .fd = event, .events = POLLIN };
	}
	/* Answers that cannot be written. */
	CHECK(!mprotect(entries, PAGE, PROT_READ));
	CHECK_FAILS(poll(entries, 1, 0), EFAULT);
	CHECK_FAILS(poll(entries, 2, 0), EFAULT);
	CHECK_FAILS(ppoll(entries, 1, NULL, NULL), EFAULT);
	CHECK_FAILS(select(port.fd + 1, NULL, set, NULL, NULL), EFAULT);
	CHECK_FAILS(fstat(port.fd, (struct stat *)entries), EFAULT);
	CHECK(!mprotect(entries, PAGE, PROT_READ | PROT_WRITE));
	CHECK(poll(entries, 2, 0) == 2);
	CHECK_FAILS(mmap(pages + 1, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, port.fd, 0), EINVAL);
}

int main(int count, char **arguments_)
{
	static const struct test tests[] = {
		{ "arguments", arguments },    { "bodies", bodies_and_options }, { "misaligned", misaligned },
		{ "read-only", read_only },    { "circles", circles },
		{ "meanwhile", unmapped_meanwhile }, { "calls", other_calls },
		{ "calls-ports", calls_of_ports }, { 0 },
	};

	return run_test(tests, count, arguments_);
}
