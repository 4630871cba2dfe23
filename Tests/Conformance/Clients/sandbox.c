/* Programs that give up rights. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Ways to give up rights. */

static void to_ordinary_user(void)
{
	CHECK(!setgid(65533) && !setuid(65533));
}

/* Refuses some system calls. */
static void filter(unsigned refusal)
{
	static const unsigned numbers[] = {
		SYS_socket, SYS_connect, SYS_openat, SYS_execve, SYS_bind,
#ifdef SYS_open
		SYS_open,
#endif
	};
	enum { COUNT = sizeof numbers / sizeof numbers[0] };
	struct sock_filter program[2 * COUNT + 2] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	unsigned length = 1;

	for (int i = 0; i < COUNT; i++) {
		program[length++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, numbers[i], 0, 1);
		program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, refusal);
	}
	program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

	const struct sock_fprog whole = { .len = (unsigned short)length, .filter = program };

	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole));
}

static void under_filter(void)
{
	filter(SECCOMP_RET_ERRNO | EPERM);
}

/* A call that is refused ends the program. */
static void under_deadly_filter(void)
{
	filter(SECCOMP_RET_KILL_PROCESS);
}

/* Landlock: no file can be opened. Does nothing on a kernel that does not have it. */
static void without_files(void)
{
	unsigned long long handled = (1ULL << 13) - 1;
	const long rules = syscall(444, &handled, sizeof handled, 0U);

	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (rules >= 0)
		CHECK(!syscall(446, (int)rules, 0U) && !close((int)rules));
}

static void into_other_network(void)
{
	CHECK(!unshare(CLONE_NEWNET));
}

static void into_other_users(void)
{
	CHECK(!unshare(CLONE_NEWUSER));
}

static void without_new_rights(void)
{
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/* Few descriptors more than there are, so that the library's own numbers are beyond the limit. */
static void with_few_descriptors(void)
{
	struct rlimit limit;
	const int lowest = dup(0);

	CHECK(!close(lowest) && !getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = (rlim_t)lowest + 24;
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
}

static const struct sandbox {
	const char *name;
	void (*enter)(void);
	/* Whether the first open after it may find netmapd's socket without help. */
	int lets_open;
} sandboxes[] = {
	{ "chroot", enter_empty_root, 0 },
	{ "setuid", to_ordinary_user, 0 },
	{ "seccomp", under_filter, 0 },
	{ "deadly", under_deadly_filter, 0 },
	{ "landlock", without_files, 0 },
	{ "newnet", into_other_network, 1 },
	{ "newuser", into_other_users, 0 },
	{ "nonewprivs", without_new_rights, 1 },
	{ "nofile", with_few_descriptors, 1 },
	{ 0 },
};

/* What must work */

static int ask_for_rings(int fd, const char *name)
{
	struct nmreq_port_info_get info = { 0 };
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_PORT_INFO_GET };

	snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
	header.nr_body = (uintptr_t)&info;
	return ioctl(fd, NIOCCTRL, &header);
}

/* Packets pass, a wait ends with a packet of a child's, and the ports can be asked about. */
static void use(struct port *a, struct port *b, const char *name)
{
	struct pollfd entry = { .fd = b->fd, .events = POLLIN };
	pid_t child;

	send_packets(a, 3);
	CHECK(receive_packets(b) == 3);
	CHECK(!poll(&entry, 1, 10));
	child = fork();
	if (!child) {
		usleep(100000);
		send_packets(a, 1);
		_exit(0);
	}
	CHECK(poll(&entry, 1, 20000) == 1 && entry.revents == POLLIN && take(b) == 1);
	join(child);
	CHECK(!ask_for_rings(a->fd, name));
}

/* Without any descriptor packets pass, and requests say so. */
static void no_descriptors(void)
{
	struct port a = open_port("none{1"), b = open_port("none}1");
	struct pollfd entry = { .fd = b.fd, .events = POLLIN };
	struct rlimit limit;

	CHECK(!poll(&entry, 1, 10) && !getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = (rlim_t)b.fd + 1;
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	send_packets(&a, 3);
	CHECK(poll(&entry, 1, 1000) == 1 && take(&b) == 3);
	CHECK(!poll(&entry, 1, 10));
	CHECK_FAILS(ask_for_rings(a.fd, "none{1"), EMFILE);
	CHECK_FAILS(open("/dev/netmap", O_RDWR), EMFILE);
}

static void after(const struct sandbox *sandbox)
{
	struct port a = open_port("sand{1"), b = open_port("sand}1"), spare = { .fd = open_device() };
	struct pollfd entry = { .fd = b.fd, .events = POLLIN };

	/* The first sleep makes what later ones need. */
	CHECK(!poll(&entry, 1, 10));
	CHECK(!ask_for_rings(a.fd, "sand{1"));
	sandbox->enter();
	use(&a, &b, "sand{1");
	CHECK(!bind_port(&spare, "sand{2", 0));
	map_port(&spare);
	CHECK(!ioctl(spare.fd, NIOCTXSYNC, NULL));
	if (sandbox->enter == under_deadly_filter)
		return;

	/* Another open is lucky or not. */
	const int more = open("/dev/netmap", O_RDWR);

	CHECK(more >= 0 || (errno > 0 && errno < 200));
	printf("another open: %d\n", more >= 0 ? 0 : errno);
	use(&a, &b, "sand{1");
	CHECK(!close(a.fd) && !close(spare.fd));
}

static void before(const struct sandbox *sandbox)
{
	if (sandbox->enter != under_deadly_filter)
		sandbox->enter();

	const int fd = open("/dev/netmap", O_RDWR);

	printf("open: %d\n", fd >= 0 ? 0 : errno);
	CHECK(fd >= 0 || (errno > 0 && errno < 200));
	CHECK(!sandbox->lets_open || fd >= 0);
}

static void early(const struct sandbox *sandbox)
{
	sandbox->enter();

	struct port a = open_port("early{1"), b = open_port("early}1");
	pid_t child;

	use(&a, &b, "early{1");
	/* A child opens ports of its own. */
	child = fork();
	if (!child) {
		struct port c = open_port("early{2"), d = open_port("early}2");

		use(&c, &d, "early{2");
		_exit(0);
	}
	join(child);
	CHECK(!close(a.fd) && !close(b.fd));
	a = open_port("early{1");
	b = open_port("early}1");
	use(&a, &b, "early{1");
}

/* An interface of the process's network namespace can be bound in a folder without /proc, and one of another one cannot. */
static void interfaces(int opens_first)
{
	struct port port = { .fd = -1 };

	CHECK(!unshare(CLONE_NEWNET));
	CHECK(!system("ip link add sand0 type veth peer name sand1 && ip link set sand0 up && ip link set sand1 up"));
	/* With NETMAP_LOAD=early the namespace that counts is the one at the start. */
	if (opens_first)
		port.fd = open_device();
	enter_empty_root();
	if (!opens_first)
		port.fd = open_device();
	CHECK(bind_port(&port, "sand0", 0) == (opens_first ? 0 : -1));
	if (opens_first) {
		map_port(&port);
		CHECK(!ioctl(port.fd, NIOCTXSYNC, NULL));
		CHECK(!unshare(CLONE_NEWNET));
		port.fd = open_device();
		CHECK_FAILS(bind_port(&port, "sand0", 0), ENOENT);
	}
}

static void interfaces_after(void)
{
	interfaces(1);
}

static void interfaces_early(void)
{
	interfaces(0);
}

int main(int count, char **arguments)
{
	static const struct {
		const char *prefix;
		void (*run)(const struct sandbox *);
	} tests[] = { { "after-", after }, { "before-", before }, { "early-", early }, { 0 } };

	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 0; count >= 2 && tests[i].prefix; i++)
		for (const struct sandbox *one = sandboxes; one->name; one++) {
			const size_t length = strlen(tests[i].prefix);

			if (!strncmp(arguments[1], tests[i].prefix, length) &&
			    !strcmp(arguments[1] + length, one->name)) {
				tests[i].run(one);
				return 0;
			}
		}

	static const struct test others[] = {
		{ "no-descriptors", no_descriptors },
		{ "interfaces-after", interfaces_after },
		{ "interfaces-early", interfaces_early },
		{ 0 },
	};

	return run_test(others, count, arguments);
}
