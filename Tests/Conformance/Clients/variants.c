/*
 * The variants of libc's functions: checked ones (_FORTIFY_SOURCE), those for files of any size, and other names.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "client.h"

int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);
int __poll(struct pollfd *, nfds_t, int);
int __poll_chk(struct pollfd *, nfds_t, int, size_t);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);
int __select(int, fd_set *, fd_set *, fd_set *, struct timeval *);
int __close(int);
int __dup2(int, int);
int __fcntl(int, int, ...);
int fcntl64(int, int, ...);
void *mmap64(void *, size_t, int, int, int, off64_t);

static void opens(void)
{
	static const char device[] = "/dev/netmap";
	const int fds[] = {
		open(device, O_RDWR),
		open64(device, O_RDWR),
		openat(AT_FDCWD, device, O_RDWR),
		openat64(AT_FDCWD, device, O_RDWR),
		/* An absolute path needs no folder. */
		openat(-1, device, O_RDWR),
		__open_2(device, O_RDWR),
		__open64_2(device, O_RDWR),
		__openat_2(AT_FDCWD, device, O_RDWR),
		__openat64_2(AT_FDCWD, device, O_RDWR),
	};

	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
		struct port port = { .fd = fds[i] };

		CHECK(port.fd >= 0);
		CHECK(!bind_port(&port, "variant{1", NR_EXCLUSIVE));
		map_port(&port);
		CHECK(!__close(port.fd));
		CHECK_FAILS(ioctl(port.fd, NIOCTXSYNC, NULL), EBADF);
	}
}

static void other_files(void)
{
	int fd = open64("/dev/null", O_RDWR);

	CHECK(fd >= 0);
	CHECK_FAILS(ioctl(fd, NIOCTXSYNC, NULL), ENOTTY);
	CHECK(!close(fd));
	CHECK_FAILS(open("/dev/netmap-not", O_RDWR), ENOENT);
	CHECK_FAILS(__open_2("/dev/netmap/x", O_RDWR), ENOENT);
	fd = open("/tmp", O_TMPFILE | O_RDWR, 0640);
	CHECK(fd >= 0 || errno == EOPNOTSUPP || errno == EISDIR);
}

static void maps(void)
{
	struct port port = open_port("variant{1");
	char *const one = mmap64(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, port.fd, 4096);

	CHECK(one != MAP_FAILED);
	one[1] = 9;
	CHECK(port.memory[4097] == 9);
	CHECK_FAILS(mmap64(NULL, 4096, PROT_READ, MAP_SHARED, port.fd, (off64_t)1 << 40), EINVAL);
	CHECK_FAILS(mmap64(NULL, 4096, PROT_READ, MAP_SHARED, port.fd, -4096), EINVAL);
}

static void waits(void)
{
	struct port port = open_port("variant{1");
	struct pollfd entry = { .fd = port.fd, .events = POLLOUT };
	const struct timespec none = { 0 };
	fd_set writes;

	CHECK(poll(&entry, 1, 0) == 1 && entry.revents == POLLOUT);
	CHECK(__poll(&entry, 1, 0) == 1);
	CHECK(__poll_chk(&entry, 1, 0, sizeof entry) == 1);
	CHECK(ppoll(&entry, 1, &none, NULL) == 1);
	CHECK(__ppoll_chk(&entry, 1, &none, NULL, sizeof entry) == 1);
	FD_ZERO(&writes);
	FD_SET(port.fd, &writes);
	CHECK(__select(port.fd + 1, NULL, &writes, NULL, &(struct timeval){ 0 }) == 1);
	CHECK(select(port.fd + 1, NULL, &writes, NULL, &(struct timeval){ 0 }) == 1);
	CHECK(pselect(port.fd + 1, NULL, &writes, NULL, &none, NULL) == 1);
}

/* A checked variant ends a program whose set is smaller than it says. */
static void too_small(void)
{
	struct port port = open_port("variant{1");
	const pid_t child = fork();
	int status;

	if (!child) {
		struct pollfd entry = { .fd = port.fd, .events = POLLOUT };
		volatile nfds_t count = 2;

		signal(SIGABRT, SIG_DFL);
		fclose(stderr);
		__poll_chk(&entry, count, 0, sizeof entry);
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void copies(void)
{
	struct port port = open_port("variant{1");
	const int copies[] = {
		dup(port.fd),
		dup2(port.fd, 70),
		__dup2(port.fd, 71),
		dup3(port.fd, 72, O_CLOEXEC),
		fcntl(port.fd, F_DUPFD, 80),
		fcntl(port.fd, F_DUPFD_CLOEXEC, 80),
		__fcntl(port.fd, F_DUPFD, 80),
		fcntl64(port.fd, F_DUPFD, 80),
	};

	CHECK(dup2(port.fd, port.fd) == port.fd);
	CHECK_FAILS(dup3(port.fd, port.fd, 0), EINVAL);
	CHECK(fcntl(copies[3], F_GETFD) == FD_CLOEXEC && fcntl(copies[5], F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(copies[1], F_GETFD) == 0);
	CHECK(!close(port.fd));
	for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
		struct port other = { .fd = open_device() };

		CHECK(!ioctl(copies[i], NIOCTXSYNC, NULL));
		CHECK_FAILS(bind_port(&other, "variant{1", NR_EXCLUSIVE), EBUSY);
		CHECK(!close(other.fd) && !close(copies[i]));
	}
	struct port again = { .fd = open_device() };

	CHECK(!bind_port(&again, "variant{1", NR_EXCLUSIVE));
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "opens", opens }, { "other-files", other_files }, { "maps", maps },
		{ "waits", waits }, { "too-small", too_small },	    { "copies", copies },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
