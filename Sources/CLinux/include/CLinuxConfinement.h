/*
 * Interfaces by which a process gives up rights: prctl(2), capabilities(7), seccomp(2), landlock(7); and the numbers
 * of system calls.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CLINUX_CONFINEMENT_H
#define CLINUX_CONFINEMENT_H

#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

extern int setresuid(unsigned int real, unsigned int effective, unsigned int saved);
extern int setresgid(unsigned int real, unsigned int effective, unsigned int saved);

/* prctl(2) */
static inline int clinux_prctl(int option, unsigned long value)
{
	return prctl(option, value, 0UL, 0UL, 0UL);
}

/*
 * Sets the name that ps(1) and top(1) show for the calling thread, or for the process if the thread is its first
 * one; at most 15 bytes.
 */
static inline void clinux_set_process_name(const char *name)
{
	prctl(PR_SET_NAME, name, 0UL, 0UL, 0UL);
}

enum {
	CLINUX_PR_SET_PDEATHSIG = PR_SET_PDEATHSIG,
	CLINUX_PR_SET_DUMPABLE = PR_SET_DUMPABLE,
	CLINUX_PR_SET_NAME = PR_SET_NAME,
	CLINUX_PR_CAPBSET_DROP = PR_CAPBSET_DROP,
	CLINUX_PR_SET_NO_NEW_PRIVS = PR_SET_NO_NEW_PRIVS,
	/* Names anonymous memory; the C library names the memory of its threads. */
	CLINUX_PR_SET_VMA = 0x53564d41,
};

/* Installs a filter on all threads of the process. Returns 0, -1, or a thread that has another filter. */
static inline long clinux_seccomp(const struct sock_fprog *program)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program);
}

/*
 * landlock(7): restricts the calling thread and the threads that it starts. They can no longer open, create or remove
 * files in any file system, bind or connect TCP sockets, or connect to abstract socket names of, or send signals to,
 * other processes. Restrictions that the kernel does not support are omitted.
 *
 * Returns 0, or -1 when a kernel with Landlock rejects a call.
 */
static inline int clinux_landlock(void)
{
	/* struct landlock_ruleset_attr */
	struct {
		unsigned long long files, net, scoped;
	} handled = { 0, 0, 0 };
	/* LANDLOCK_CREATE_RULESET_VERSION */
	const long version = syscall(444, NULL, 0, 1U);
	int rules, result;

	if (version < 1)
		return 0;
	handled.files = (1ULL << (version >= 5 ? 16 : version >= 3 ? 15 : version >= 2 ? 14 : 13)) - 1;
	if (version >= 4)
		handled.net = 3;
	if (version >= 6)
		handled.scoped = 3;
	rules = (int)syscall(444, &handled, version >= 6 ? 24 : version >= 4 ? 16 : 8, 0U);
	if (rules < 0)
		return -1;
	result = (int)syscall(446, rules, 0U);
	close(rules);
	return result;
}

/* The data that a filter inspects: struct seccomp_data. Arguments are 64 bits each, the low half first. */
enum {
	CLINUX_SECCOMP_CALL = offsetof(struct seccomp_data, nr),
	CLINUX_SECCOMP_ARCHITECTURE = offsetof(struct seccomp_data, arch),
	CLINUX_SECCOMP_ARGUMENTS = offsetof(struct seccomp_data, args),
};
static const unsigned int CLINUX_SECCOMP_ALLOW = SECCOMP_RET_ALLOW;
static const unsigned int CLINUX_SECCOMP_ERROR = SECCOMP_RET_ERRNO;
static const unsigned int CLINUX_SECCOMP_KILL = 0x80000000u;

#if defined(__x86_64__)
static const unsigned int CLINUX_AUDIT_ARCHITECTURE = AUDIT_ARCH_X86_64;
/* Calls of the x32 ABI have this bit. */
static const unsigned int CLINUX_FOREIGN_CALLS = 0x40000000u;
#elif defined(__aarch64__)
static const unsigned int CLINUX_AUDIT_ARCHITECTURE = AUDIT_ARCH_AARCH64;
static const unsigned int CLINUX_FOREIGN_CALLS = 0x40000000u;
#endif

/* System calls by name; calls that an architecture does not have are -1. */
#define CLINUX_CALL(name) CLINUX_CALL_##name = SYS_##name
enum {
	CLINUX_CALL(accept), CLINUX_CALL(accept4), CLINUX_CALL(bind), CLINUX_CALL(bpf), CLINUX_CALL(brk),
	CLINUX_CALL(capset), CLINUX_CALL(chroot), CLINUX_CALL(clock_getres), CLINUX_CALL(clock_gettime),
	CLINUX_CALL(clock_nanosleep), CLINUX_CALL(clone), CLINUX_CALL(close), CLINUX_CALL(connect),
	CLINUX_CALL(delete_module), CLINUX_CALL(dup), CLINUX_CALL(dup3), CLINUX_CALL(epoll_create1),
	CLINUX_CALL(epoll_ctl), CLINUX_CALL(epoll_pwait), CLINUX_CALL(eventfd2), CLINUX_CALL(execve),
	CLINUX_CALL(execveat), CLINUX_CALL(exit), CLINUX_CALL(exit_group), CLINUX_CALL(fallocate), CLINUX_CALL(fcntl),
	CLINUX_CALL(finit_module), CLINUX_CALL(fstat), CLINUX_CALL(ftruncate), CLINUX_CALL(futex),
	CLINUX_CALL(getcpu), CLINUX_CALL(getegid), CLINUX_CALL(geteuid), CLINUX_CALL(getgid),
	CLINUX_CALL(getpeername), CLINUX_CALL(getpid), CLINUX_CALL(getrandom), CLINUX_CALL(getrusage),
	CLINUX_CALL(getsockname), CLINUX_CALL(getsockopt), CLINUX_CALL(gettid), CLINUX_CALL(gettimeofday),
	CLINUX_CALL(getuid), CLINUX_CALL(init_module), CLINUX_CALL(ioctl), CLINUX_CALL(kexec_load),
	CLINUX_CALL(keyctl), CLINUX_CALL(kill), CLINUX_CALL(listen), CLINUX_CALL(lseek),
	CLINUX_CALL(madvise), CLINUX_CALL(membarrier), CLINUX_CALL(memfd_create), CLINUX_CALL(mincore),
	CLINUX_CALL(mlock), CLINUX_CALL(mmap), CLINUX_CALL(mount), CLINUX_CALL(mprotect),
	CLINUX_CALL(mremap), CLINUX_CALL(munlock), CLINUX_CALL(munmap), CLINUX_CALL(nanosleep),
	CLINUX_CALL(open_by_handle_at), CLINUX_CALL(openat), CLINUX_CALL(perf_event_open),
	CLINUX_CALL(personality), CLINUX_CALL(pipe2), CLINUX_CALL(pivot_root), CLINUX_CALL(ppoll),
	CLINUX_CALL(pread64),
	CLINUX_CALL(prctl), CLINUX_CALL(prlimit64), CLINUX_CALL(process_vm_readv),
	CLINUX_CALL(process_vm_writev), CLINUX_CALL(ptrace), CLINUX_CALL(read), CLINUX_CALL(readlinkat),
	CLINUX_CALL(readv), CLINUX_CALL(reboot), CLINUX_CALL(recvfrom), CLINUX_CALL(recvmsg),
	CLINUX_CALL(request_key), CLINUX_CALL(restart_syscall), CLINUX_CALL(rt_sigaction),
	CLINUX_CALL(rt_sigprocmask), CLINUX_CALL(rt_sigreturn), CLINUX_CALL(sched_getaffinity),
	CLINUX_CALL(sched_setaffinity), CLINUX_CALL(sched_yield), CLINUX_CALL(sendmsg),
	CLINUX_CALL(sendto), CLINUX_CALL(set_robust_list), CLINUX_CALL(set_tid_address),
	CLINUX_CALL(setgid), CLINUX_CALL(setgroups), CLINUX_CALL(setns), CLINUX_CALL(setresgid),
	CLINUX_CALL(setresuid), CLINUX_CALL(setsockopt), CLINUX_CALL(setuid), CLINUX_CALL(shutdown),
	CLINUX_CALL(sigaltstack), CLINUX_CALL(socket), CLINUX_CALL(socketpair), CLINUX_CALL(swapon),
	CLINUX_CALL(sysinfo), CLINUX_CALL(tgkill), CLINUX_CALL(umount2), CLINUX_CALL(uname),
	CLINUX_CALL(unshare), CLINUX_CALL(write), CLINUX_CALL(writev), CLINUX_CALL(add_key),
#if defined(__x86_64__)
	CLINUX_CALL(epoll_wait), CLINUX_CALL(open), CLINUX_CALL(pipe), CLINUX_CALL(poll),
	CLINUX_CALL(readlink), CLINUX_CALL(time), CLINUX_CALL(newfstatat), CLINUX_CALL(fork),
	CLINUX_CALL(vfork), CLINUX_CALL(iopl), CLINUX_CALL(ioperm), CLINUX_CALL(arch_prctl),
	CLINUX_CALL(modify_ldt),
#else
	CLINUX_CALL_epoll_wait = -1, CLINUX_CALL_open = -1, CLINUX_CALL_pipe = -1, CLINUX_CALL_poll = -1,
	CLINUX_CALL_readlink = -1, CLINUX_CALL_time = -1, CLINUX_CALL_newfstatat = 79,
	CLINUX_CALL_fork = -1, CLINUX_CALL_vfork = -1, CLINUX_CALL_iopl = -1, CLINUX_CALL_ioperm = -1,
	CLINUX_CALL_arch_prctl = -1, CLINUX_CALL_modify_ldt = -1,
#endif
	/* The same numbers on every architecture since Linux 5.1. */
	CLINUX_CALL_pidfd_send_signal = 424, CLINUX_CALL_io_uring_setup = 425,
	CLINUX_CALL_open_tree = 428, CLINUX_CALL_move_mount = 429, CLINUX_CALL_fsopen = 430,
	CLINUX_CALL_pidfd_open = 434, CLINUX_CALL_clone3 = 435, CLINUX_CALL_close_range = 436,
	CLINUX_CALL_openat2 = 437, CLINUX_CALL_pidfd_getfd = 438, CLINUX_CALL_epoll_pwait2 = 441,
	CLINUX_CALL_rseq =
#if defined(__x86_64__)
		334,
#else
		293,
#endif
	CLINUX_CALL_userfaultfd = SYS_userfaultfd,
};
#undef CLINUX_CALL

/* Whether a program file gives capabilities to processes that run it (capabilities(7)). */
static inline int clinux_has_file_capabilities(const char *path)
{
	return syscall(SYS_getxattr, path, "security.capability", NULL, 0UL) > 0;
}

#endif
