/* Syncs, requests and their refusals. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

/* Each of two processes opens one end, and 100 packets pass. */
static void exchange(const char *one, const char *other)
{
	int ready[2], done[2];
	char byte;
	pid_t child;

	CHECK(!pipe(ready) && !pipe(done));
	child = fork();
	if (!child) {
		struct port port = open_port(other);
		int received = 0;

		CHECK(write(ready[1], "r", 1) == 1);
		CHECK(read(done[0], &byte, 1) == 1);
		received = receive_packets(&port);
		CHECK(received == 100);
		send_packets(&port, 3);
		exit(0);
	}

	struct port port = open_port(one);

	CHECK(read(ready[0], &byte, 1) == 1);
	send_packets(&port, 100);
	CHECK(write(done[1], "d", 1) == 1);
	join(child);
	CHECK(receive_packets(&port) == 3);
}

static void pipe_between_processes(void)
{
	exchange("syncs{1", "syncs}1");
}

static void switch_between_processes(void)
{
	exchange("vale5:a", "vale5:b");
}

static void unbound(void)
{
	const int fd = open_device();

	CHECK_FAILS(ioctl(fd, NIOCTXSYNC, NULL), ENXIO);
	CHECK_FAILS(ioctl(fd, NIOCRXSYNC), ENXIO);
	CHECK_FAILS(ioctl(fd, 0x1234, NULL), EOPNOTSUPP);
	CHECK_FAILS(ioctl(fd, NIOCCTRL, NULL), EINVAL);
	CHECK_FAILS(ioctl(fd, NIOCCTRL, (void *)16), EFAULT);
}

/* A request in an int arrives with its upper bits set. */
static void sign_extended(void)
{
	struct port port = { .fd = open_device() };
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_PORT_INFO_GET };
	struct nmreq_port_info_get info = { 0 };
	const int request = (int)NIOCCTRL;

	snprintf(header.nr_name, sizeof header.nr_name, "vale6:x");
	header.nr_body = (uintptr_t)&info;
	CHECK(!ioctl(port.fd, (unsigned long)(long)request, &header));
	CHECK(info.nr_tx_slots && info.nr_memsize);
}

static void bound_once(void)
{
	struct port port = open_port("once{1");

	CHECK_FAILS(bind_port(&port, "once{2", 0), EBUSY);
	CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
}

static void refusals(void)
{
	struct port port = { .fd = open_device() }, second = { .fd = open_device() };

	CHECK_FAILS(bind_port(&port, "", 0), ENXIO);
	CHECK_FAILS(bind_port(&port, "interface-that-does-not-exist", 0), ENXIO);
	CHECK(!bind_port(&port, "refused{1", NR_EXCLUSIVE));
	CHECK_FAILS(bind_port(&second, "refused{1", 0), EBUSY);
	CHECK(!bind_port(&second, "refused}1", 0));
}

/* An option that is not known is refused, after a port that does not exist; the descriptor can be bound afterwards. */
static void unknown_option(void)
{
	struct port port = { .fd = open_device() };
	struct nmreq_option option = { .nro_reqtype = 1234 };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_name = "interface-that-does-not-exist",
				       .nr_body = (uintptr_t)&port.reg,
				       .nr_options = (uintptr_t)&option };

	port.reg.nr_mode = NR_REG_ALL_NIC;
	CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), ENXIO);
	snprintf(header.nr_name, sizeof header.nr_name, "options{1");
	CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EOPNOTSUPP);
	CHECK(option.nro_status == EOPNOTSUPP);
	CHECK_FAILS(ioctl(port.fd, NIOCTXSYNC, NULL), ENXIO);
	CHECK(!bind_port(&port, "options{1", 0));
}

static void legacy(void)
{
	struct nmreq request = { .nr_version = NETMAP_API };
	const int fd = open_device();

	snprintf(request.nr_name, sizeof request.nr_name, "old");
	request.nr_flags = NR_REG_PIPE_MASTER;
	request.nr_ringid = 7;
	CHECK(!ioctl(fd, NIOCREGIF, &request));
	CHECK(request.nr_memsize && request.nr_tx_rings == 1);
	CHECK(!ioctl(fd, NIOCTXSYNC, NULL));
	/* The same pipe by its new name. */
	struct port port = { .fd = open_device() };

	CHECK(!bind_port(&port, "old}7", 0));
	CHECK(port.reg.nr_mem_id == request.nr_arg2);
}

static void keeps_errno(void)
{
	struct port port = open_port("errno{1");
	struct pollfd entry = { .fd = port.fd, .events = POLLOUT };

	errno = 77;
	CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
	CHECK(poll(&entry, 1, 0) == 1);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, port.fd, 0) != MAP_FAILED);
	CHECK(!close(port.fd));
	CHECK(errno == 77);
}

/* Ends netmapd. Ports that are open go on, requests on their descriptors fail, and new ports have a new netmapd. */
static void outlives(void)
{
	struct port a = open_port("outlives{1"), b = open_port("outlives}1"), c = { .fd = open_device() };
	const pid_t process = atoi(getenv("NETMAP_TEST_DAEMON"));
	struct pollfd entry = { .fd = b.fd, .events = POLLIN };

	CHECK(!kill(process, SIGKILL));
	usleep(1000000);
	send_packets(&a, 3);
	CHECK(poll(&entry, 1, 20000) == 1 && entry.revents == POLLIN);
	CHECK(take(&b) == 3);
	CHECK(!poll(&entry, 1, 100));
	CHECK(bind_port(&c, "outlives{2", 0) == -1);

	struct port d = open_port("outlives{1"), e = open_port("outlives}1");

	send_packets(&d, 2);
	CHECK(receive_packets(&e) == 2 && !receive_packets(&b));
	CHECK(d.reg.nr_mem_id != a.reg.nr_mem_id);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "pipe", pipe_between_processes },
		{ "switch", switch_between_processes },
		{ "unbound", unbound },
		{ "sign-extended", sign_extended },
		{ "bound-once", bound_once },
		{ "refusals", refusals },
		{ "option", unknown_option },
		{ "legacy", legacy },
		{ "errno", keeps_errno },
		{ "outlives", outlives },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
