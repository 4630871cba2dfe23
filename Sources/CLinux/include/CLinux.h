/*
 * Linux interfaces that Swift's Glibc module does not show.
 *
 * Glibc is imported without _GNU_SOURCE, so the calls and constants below, all of them stable
 * kernel or C library ABI, are declared here once. Header-only: nothing is linked from this target.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CLINUX_H
#define CLINUX_H

#include <poll.h>
#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <errno.h>
#include <unistd.h>

/*
 * An entry of poll(2). Swift finds struct pollfd in this module or in Glibc's, whichever it has loaded first; this name is
 * always this module's, so that declarations of packages can use it.
 */
typedef struct pollfd clinux_pollfd;

/* The symbol of an errno, such as "EINVAL"; NULL for an unknown number. In glibc since 2.32. */
extern const char *strerrorname_np(int code);

/* The processor's cycle counter, or a counter with a steady rate; 0 where there is none. */
static inline uint64_t clinux_cycles(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t count;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
	return count;
#else
	return 0;
#endif
}

/* secure_getenv(3) */
extern char *secure_getenv(const char *name);

/* memfd_create(2) */
extern int memfd_create(const char *name, unsigned int flags);
enum {
	CLINUX_MFD_CLOEXEC = 0x0001,
	CLINUX_MFD_ALLOW_SEALING = 0x0002,
};

/* fcntl(2), file seals and duplication */
enum {
	CLINUX_F_ADD_SEALS = 1033,
	CLINUX_F_GET_SEALS = 1034,
	CLINUX_F_DUPFD_CLOEXEC = 1030,
	CLINUX_F_SEAL_SEAL = 0x0001,
	CLINUX_F_SEAL_SHRINK = 0x0002,
	CLINUX_F_SEAL_GROW = 0x0004,
	CLINUX_F_SEAL_WRITE = 0x0008,
	CLINUX_F_SEAL_FUTURE_WRITE = 0x0010,
	/* madvise(2) */
	CLINUX_MADV_DONTFORK = 10,
};

/* dup3(2) */
extern int dup3(int file, int as, int flags);

/* fork(2). Swift hides it, because the child of a multithreaded process may do little. */
static inline int clinux_fork(void)
{
	return fork();
}

/* ppoll(2): changes the signal mask and sleeps in one atomic step */
extern int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		 const sigset_t *mask);

/*
 * futex(2), FUTEX_WAIT and FUTEX_WAKE. Not the "private" operations, because the words lie in memory that
 * processes share. With a time-out, which is relative, a wait behaves like poll(2): a signal handler ends it with
 * EINTR, with or without SA_RESTART; a stop followed by SIGCONT does not end it.
 */
static inline int clinux_futex_wait(const void *word, unsigned int expected,
				    const struct timespec *timeout)
{
	return (int)syscall(SYS_futex, word, 0, expected, timeout, NULL, 0);
}
static inline int clinux_futex_wake(const void *word, int most)
{
	return (int)syscall(SYS_futex, word, 1, most, NULL, NULL, 0);
}

/* epoll_ctl(2): EPOLLET is bit 31 and does not survive import as a signed enumerator */
static const unsigned int CLINUX_EPOLLIN = 0x001u;
static const unsigned int CLINUX_EPOLLOUT = 0x004u;
static const unsigned int CLINUX_EPOLLERR = 0x008u;
static const unsigned int CLINUX_EPOLLHUP = 0x010u;
static const unsigned int CLINUX_EPOLLRDHUP = 0x2000u;
static const unsigned int CLINUX_EPOLLET = 1u << 31;

/* sched(7): the size-explicit form takes a plain bit array */
extern int sched_setaffinity(int pid, unsigned long size, const void *mask);
extern int sched_getaffinity(int pid, unsigned long size, void *mask);

/* unshare(2), setns(2) */
extern int unshare(int flags);
extern int setns(int file, int type);
enum {
	CLINUX_CLONE_NEWNET = 0x40000000,
};

/* capset(2), capget(2): a header and two sets of three words */
extern int capset(void *header, const void *data);
extern int capget(void *header, void *data);

/* signalfd(2) */
extern int signalfd(int file, const sigset_t *mask, int flags);
enum {
	CLINUX_SFD_CLOEXEC = 02000000,
	CLINUX_SFD_NONBLOCK = 04000,
};

/*
 * Whether this process can read the byte at an address: 0 only if the kernel reports that it cannot
 * (process_vm_readv(2) on the process itself). Keeps errno.
 */
extern ssize_t process_vm_readv(pid_t process, const struct iovec *local, unsigned long localCount,
				const struct iovec *remote, unsigned long remoteCount,
				unsigned long flags);
static inline int clinux_is_readable(const void *address)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { (void *)address, 1 };

	const int error = errno;
	const int result = process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1 || errno != EFAULT;

	errno = error;
	return result;
}

/* gettid(2) */
extern int gettid(void);

/* For loops that wait for another thread: leaves the core to its other thread for a moment. */
__attribute__((swift_attr("@_noLocks")))
static inline void clinux_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/*
 * Prefetches a cache line; Swift has no equivalent. The attribute tells the Swift compiler, which cannot
 * analyze C code, that the function takes no locks.
 */
__attribute__((swift_attr("@_noLocks")))
static inline void clinux_prefetch(const void *address)
{
	__builtin_prefetch(address);
}

/* Prefetches a cache line for writing. */
__attribute__((swift_attr("@_noLocks")))
static inline void clinux_prefetch_to_write(void *address)
{
#if defined(__x86_64__)
	/* Every 64-bit processor accepts the instruction; some treat it as a no-op. */
	__asm__ volatile("prefetchw %0" : : "m"(*(char *)address));
#else
	__builtin_prefetch(address, 1);
#endif
}

#endif
