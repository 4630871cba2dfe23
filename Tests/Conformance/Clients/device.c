/* The netmap descriptor and its path as those of a character device. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <termios.h>

/* Reading and writing: the variants of programs that are compiled with _FORTIFY_SOURCE have names of their own. */
ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __pread_chk(int, void *, size_t, off_t, size_t);
ssize_t __pread64_chk(int, void *, size_t, off64_t, size_t);

/* Functions that libc exports without declaring them, for programs that were compiled long ago or for its own use. */
static void *find(const char *name)
{
	void *const found = dlsym(RTLD_DEFAULT, name);

	CHECK(found);
	return found;
}

typedef ssize_t transfer(int, void *, size_t);
typedef ssize_t transfer_at(int, void *, size_t, off64_t);

static void undeclared_transfers(int fd)
{
	ssize_t (*const checked)(int, void *, size_t, size_t, int) = find("__recv_chk");
	ssize_t (*const checked_from)(int, void *, size_t, size_t, int, void *, socklen_t *) = find("__recvfrom_chk");
	ssize_t (*const sends)(int, const void *, size_t, int) = find("__send");
	char bytes[8] = "bytes";

	CHECK_FAILS(((transfer *)find("__read"))(fd, bytes, 8), EINVAL);
	CHECK_FAILS(((transfer *)find("__write"))(fd, bytes, 8), EINVAL);
	CHECK_FAILS(((transfer_at *)find("__pread64"))(fd, bytes, 8, 0), EINVAL);
	CHECK_FAILS(((transfer_at *)find("__pwrite64"))(fd, bytes, 8, 0), EINVAL);
	CHECK_FAILS(checked(fd, bytes, 8, 8, 0), ENOTSOCK);
	CHECK_FAILS(checked_from(fd, bytes, 8, 8, 0, NULL, NULL), ENOTSOCK);
	CHECK_FAILS(sends(fd, bytes, 8, 0), ENOTSOCK);
}

static void transfers(void)
{
	struct port port = open_port("transfers{1");
	char bytes[8] = "bytes";
	struct iovec part = { bytes, sizeof bytes };
	const int free = open_device();

	for (int i = 0; i < 2; i++) {
		const int fd = i ? port.fd : free;

		CHECK_FAILS(read(fd, bytes, 8), EINVAL);
		CHECK_FAILS(__read_chk(fd, bytes, 8, 8), EINVAL);
		CHECK_FAILS(readv(fd, &part, 1), EINVAL);
		CHECK_FAILS(pread(fd, bytes, 8, 0), EINVAL);
		CHECK_FAILS(pread64(fd, bytes, 8, 0), EINVAL);
		CHECK_FAILS(__pread_chk(fd, bytes, 8, 0, 8), EINVAL);
		CHECK_FAILS(__pread64_chk(fd, bytes, 8, 0, 8), EINVAL);
		CHECK_FAILS(preadv(fd, &part, 1, 0), EINVAL);
		CHECK_FAILS(preadv64(fd, &part, 1, 0), EINVAL);
		CHECK_FAILS(preadv2(fd, &part, 1, 0, 0), EINVAL);
		CHECK_FAILS(preadv64v2(fd, &part, 1, 0, 0), EINVAL);
		CHECK_FAILS(write(fd, bytes, 8), EINVAL);
		CHECK_FAILS(writev(fd, &part, 1), EINVAL);
		CHECK_FAILS(pwrite(fd, bytes, 8, 0), EINVAL);
		CHECK_FAILS(pwrite64(fd, bytes, 8, 0), EINVAL);
		CHECK_FAILS(pwritev(fd, &part, 1, 0), EINVAL);
		CHECK_FAILS(pwritev64(fd, &part, 1, 0), EINVAL);
		CHECK_FAILS(pwritev2(fd, &part, 1, 0, 0), EINVAL);
		CHECK_FAILS(pwritev64v2(fd, &part, 1, 0, 0), EINVAL);
		CHECK_FAILS(recv(fd, bytes, 8, 0), ENOTSOCK);
		CHECK_FAILS(recvfrom(fd, bytes, 8, 0, NULL, NULL), ENOTSOCK);
		CHECK_FAILS(send(fd, bytes, 8, 0), ENOTSOCK);
		CHECK_FAILS(sendto(fd, bytes, 8, 0, NULL, 0), ENOTSOCK);
		CHECK_FAILS(shutdown(fd, SHUT_RDWR), ENOTSOCK);

		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
		struct mmsghdr messages = { .msg_hdr = message };

		CHECK_FAILS(recvmsg(fd, &message, 0), ENOTSOCK);
		CHECK_FAILS(recvmmsg(fd, &messages, 1, 0, NULL), ENOTSOCK);
		CHECK_FAILS(sendmsg(fd, &message, 0), ENOTSOCK);
		CHECK_FAILS(sendmmsg(fd, &messages, 1, 0), ENOTSOCK);
		undeclared_transfers(fd);
	}
	/* The descriptor is what it was. */
	send_packets(&port, 1);
	/* Another file that gets the number by a call of libc itself is not netmap's. */
	CHECK(!fclose(stdin) && open_device() == 0);
	CHECK(freopen("/dev/zero", "r", stdout) && fileno(stdout) >= 0);
	CHECK(dup2(fileno(stdout), 0) == 0 && read(0, bytes, 8) == 8);
}

/* stdio writes by itself: netmapd gets the bytes, and ignores them. */
static void standard_output(void)
{
	const int out = dup(1);

	CHECK(!close(1) && open_device() == 1);
	printf("text for netmapd\n");
	fflush(stdout);

	struct port port = { .fd = 1 };

	if (bind_port(&port, "output{1", 0) || ioctl(1, NIOCTXSYNC, NULL))
		exit(1);
	CHECK(dup2(out, 1) == 1);
}

static void check_status(const struct stat *status)
{
	static struct stat first;

	CHECK(S_ISCHR(status->st_mode) && (status->st_mode & 0777) == 0666);
	CHECK(major(status->st_rdev) == 10 && !status->st_size && status->st_nlink == 1);
	if (!first.st_ino)
		first = *status;
	/* The same device each time, by its descriptors and by its path. */
	CHECK(status->st_rdev == first.st_rdev && status->st_dev == first.st_dev);
	CHECK(status->st_ino == first.st_ino);
}

typedef int old_status(int, const char *, struct stat *);
typedef int old_status_of(int, int, struct stat *);
typedef int old_status_at(int, int, const char *, struct stat *, int);

/* The functions that stat was before glibc 2.33. */
static void old_statuses(int fd)
{
#ifdef __x86_64__
	const int version = 1;
#else
	const int version = 0;
#endif
	static const char *const by_path[] = { "__xstat", "__xstat64", "__lxstat", "__lxstat64" };
	static const char *const by_number[] = { "__fxstat", "__fxstat64" };
	static const char *const at[] = { "__fxstatat", "__fxstatat64" };
	struct stat status;

	for (int i = 0; i < 4; i++) {
		CHECK(!((old_status *)find(by_path[i]))(version, "/dev/netmap", &status));
		check_status(&status);
	}
	for (int i = 0; i < 2; i++) {
		CHECK(!((old_status_of *)find(by_number[i]))(version, fd, &status));
		check_status(&status);
		CHECK(!((old_status_at *)find(at[i]))(version, fd, "", &status, AT_EMPTY_PATH));
		check_status(&status);
	}
}

static void status(void)
{
	struct port port = open_port("status{1");
	const int fds[] = { open_device(), port.fd, dup(port.fd) };
	struct stat status;
	struct stat64 status64;
	struct statx extended;

	for (int i = 0; i < 3; i++) {
		CHECK(!fstat(fds[i], &status));
		check_status(&status);
		CHECK(!fstat64(fds[i], &status64) && S_ISCHR(status64.st_mode));
		CHECK(!fstatat(fds[i], "", &status, AT_EMPTY_PATH));
		check_status(&status);
		CHECK(!statx(fds[i], "", AT_EMPTY_PATH, STATX_BASIC_STATS, &extended));
		CHECK(S_ISCHR(extended.stx_mode) && extended.stx_rdev_major == 10);
		CHECK(extended.stx_ino == status.st_ino && !extended.stx_size);
	}
	CHECK(!stat("/dev/netmap", &status));
	check_status(&status);
	CHECK(!lstat("/dev/netmap", &status));
	check_status(&status);
	CHECK(!stat64("/dev/netmap", &status64) && S_ISCHR(status64.st_mode));
	CHECK(!lstat64("/dev/netmap", &status64) && S_ISCHR(status64.st_mode));
	CHECK(!fstatat64(fds[0], "", &status64, AT_EMPTY_PATH) && S_ISCHR(status64.st_mode));
	old_statuses(port.fd);
	CHECK(!fstatat(AT_FDCWD, "/dev/netmap", &status, AT_SYMLINK_NOFOLLOW));
	check_status(&status);
	CHECK(!statx(AT_FDCWD, "/dev/netmap", 0, STATX_BASIC_STATS, &extended));
	CHECK(S_ISCHR(extended.stx_mode));
	/* Other files are what they are, and NULL is an error. */
	CHECK(!stat("/dev/null", &status) && S_ISCHR(status.st_mode) && minor(status.st_rdev) == 3);
	CHECK_FAILS(stat("/dev/netmaps", &status), ENOENT);
	CHECK_FAILS(fstat(1000, &status), EBADF);

	const char *volatile nowhere = NULL;

	CHECK_FAILS(stat(nowhere, &status), EFAULT);
	CHECK_FAILS(access(nowhere, F_OK), EFAULT);
	/* A file that takes the number is no device of netmap's. */
	CHECK(dup2(open("/dev/null", O_RDONLY), fds[0]) == fds[0]);
	CHECK(!fstat(fds[0], &status) && minor(status.st_rdev) == 3);
}

static void existence(void)
{
	CHECK(!access("/dev/netmap", F_OK) && !access("/dev/netmap", R_OK | W_OK));
	CHECK(!eaccess("/dev/netmap", R_OK) && !euidaccess("/dev/netmap", R_OK) && !faccessat(AT_FDCWD, "/dev/netmap", W_OK, AT_EACCESS));
	CHECK_FAILS(access("/dev/netmap", X_OK), EACCES);
	CHECK_FAILS(access("/dev/netmaps", F_OK), ENOENT);
	CHECK_FAILS(open("/dev/netmap", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	CHECK_FAILS(open("/dev/netmap", O_RDONLY | O_DIRECTORY), ENOTDIR);
	/* Programs that this one starts have the library if it is preloaded. */
	CHECK(!getenv("LD_PRELOAD") || !system("test -c /dev/netmap && test -w /dev/netmap && ! test -c /dev/netmaps"));
}

static void other_calls(void)
{
	struct port port = open_port("others{1");
	const int waiting = open("/dev/netmap", O_RDWR | O_NONBLOCK);
	struct termios settings;
	int on = 1;

	CHECK_FAILS(lseek(port.fd, 0, SEEK_CUR), ESPIPE);
	CHECK_FAILS(ftruncate(port.fd, 0), EINVAL);
	CHECK_FAILS(fsync(port.fd), EINVAL);
	CHECK_FAILS(fdatasync(port.fd), EINVAL);
	CHECK(!isatty(port.fd) && tcgetattr(port.fd, &settings) == -1);
	CHECK((fcntl(port.fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_RDWR);
	CHECK((fcntl(waiting, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDWR | O_NONBLOCK));
	/* A descriptor that does not block works as others do. */
	port.fd = waiting;
	CHECK(!bind_port(&port, "others{2", 0) && !ioctl(waiting, NIOCRXSYNC, NULL));
	CHECK(!ioctl(waiting, FIONBIO, &on) && !fcntl(waiting, F_SETFL, O_RDWR));
	send_packets(&(struct port){ .fd = waiting, .nifp = port.nifp }, 0);
}

/* read(2) is still a cancellation point. */
static void *read_for_ever(void *argument)
{
	char byte;

	(void)!read(*(int *)argument, &byte, 1);
	return NULL;
}

static void cancellation(void)
{
	int ends[2];
	pthread_t thread;
	void *result;

	open_device();
	CHECK(!pipe(ends) && !pthread_create(&thread, NULL, read_for_ever, &ends[0]));
	usleep(50000);
	CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result) && result == PTHREAD_CANCELED);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "transfers", transfers }, { "output", standard_output }, { "status", status },
		{ "existence", existence }, { "others", other_calls },	   { "cancellation", cancellation },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
