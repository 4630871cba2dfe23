/*
 * ptrace(2), which Swift cannot call because it is variadic: a process steps another one through so many
 * instructions or system calls. Header-only.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CTRACE_H
#define CTRACE_H

/*
 * Swift imports Glibc without _GNU_SOURCE, and refuses a module in which the same structures have other members. So this
 * header does not define it, and calls Linux where glibc would declare a function only with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stddef.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Of lseek(2). */
#ifndef SEEK_DATA
#define SEEK_DATA 3
#define SEEK_HOLE 4
#endif

/* The calling process is traced by its parent from now on. */
static inline int ctrace_me(void)
{
	return (int)ptrace(PTRACE_TRACEME, 0, 0, 0);
}

/*
 * Has a stopped process execute up to a number of instructions, until it stops itself.
 *
 * Returns how many it has executed, -1 when it has ended.
 */
static inline long ctrace_steps(int process, long count)
{
	long done = 0;

	while (done < count) {
		int status = 0;

		if (ptrace(PTRACE_SINGLESTEP, process, 0, 0) != 0)
			return -1;
		if (waitpid(process, &status, __WALL) != process || !WIFSTOPPED(status))
			return -1;
		if (WSTOPSIG(status) != SIGTRAP)
			return done;
		done++;
	}
	return done;
}

/*
 * Steps a stopped process until it stops itself, and notes the address of each instruction before it is executed.
 *
 * Returns how many it has executed, -1 when it has ended, -2 where addresses cannot be read.
 */
static inline long ctrace_record(int process, unsigned long *addresses, long count)
{
#ifdef __x86_64__
	long done = 0;

	while (done < count) {
		int status = 0;

		errno = 0;
		addresses[done] = (unsigned long)ptrace(PTRACE_PEEKUSER, process,
							offsetof(struct user, regs.rip), 0);
		if (errno != 0 || ptrace(PTRACE_SINGLESTEP, process, 0, 0) != 0)
			return -1;
		if (waitpid(process, &status, __WALL) != process || !WIFSTOPPED(status))
			return -1;
		if (WSTOPSIG(status) != SIGTRAP)
			return done;
		done++;
	}
	return done;
#else
	(void)process, (void)addresses, (void)count;
	return -2;
#endif
}

/*
 * Lets a stopped process run at full speed until it has reached an instruction for the given time, the first time
 * being 0.
 *
 * Returns 1 when it stands before that instruction, 0 when it has stopped itself earlier, -1 when it has ended.
 */
static inline int ctrace_run_to(int process, unsigned long address, long time)
{
#ifdef __x86_64__
	const unsigned long word = address & ~7ul;
	const unsigned int shift = (unsigned int)(address & 7) * 8;
	int status = 0;
	long original;

	errno = 0;
	original = ptrace(PTRACE_PEEKTEXT, process, word, 0);
	if (errno != 0)
		return -1;
	for (;;) {
		/* A breakpoint: int3 in place of the instruction's first byte. */
		unsigned long changed = ((unsigned long)original & ~(0xfful << shift)) | (0xccul << shift);

		if (ptrace(PTRACE_POKETEXT, process, word, changed) != 0 ||
		    ptrace(PTRACE_CONT, process, 0, 0) != 0)
			return -1;
		if (waitpid(process, &status, __WALL) != process || !WIFSTOPPED(status))
			return -1;
		if (ptrace(PTRACE_POKETEXT, process, word, original) != 0)
			return -1;
		if (WSTOPSIG(status) != SIGTRAP)
			return 0;
		if (ptrace(PTRACE_POKEUSER, process, offsetof(struct user, regs.rip), address) != 0)
			return -1;
		if (time-- == 0)
			return 1;
		if (ctrace_steps(process, 1) != 1)
			return 0;
	}
#else
	(void)process, (void)address, (void)time;
	return -1;
#endif
}

/*
 * Has a stopped process run to the entry or the exit of a system call, up to a number of times, until it stops
 * itself.
 *
 * Returns how many entries and exits it has reached, -1 when it has ended.
 */
static inline long ctrace_calls(int process, long count)
{
	long done = 0;

	while (done < count) {
		int status = 0;

		if (ptrace(PTRACE_SYSCALL, process, 0, 0) != 0)
			return -1;
		if (waitpid(process, &status, __WALL) != process || !WIFSTOPPED(status))
			return -1;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			return done;
		done++;
	}
	return done;
}

/* Marks stops at system calls, so that they differ from other traps. */
static inline int ctrace_mark_calls(int process)
{
	return (int)ptrace(PTRACE_SETOPTIONS, process, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
}

/* Begins to trace a thread of another process, without stopping it. */
static inline int ctrace_seize(int thread)
{
	return (int)ptrace(PTRACE_SEIZE, thread, 0, PTRACE_O_TRACESYSGOOD);
}

/* Stops a thread that was seized. The caller waits for the stop. */
static inline int ctrace_interrupt(int thread)
{
	return (int)ptrace(PTRACE_INTERRUPT, thread, 0, 0);
}

/* As ctrace_seize(), with all threads and children that the thread starts from now on. They are killed with the tracer. */
static inline int ctrace_seize_family(int thread)
{
	return (int)ptrace(PTRACE_SEIZE, thread, 0,
			   PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE |
				   PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK);
}

/* The number and the first argument of a system call, before which a thread stands. */
struct ctrace_entry {
	long number;
	long first;
};

/* Returns 1 for a thread that stands before a system call, 0 for one that stands elsewhere, -1 on error. */
static inline int ctrace_entering(int thread, struct ctrace_entry *entry)
{
#ifdef PTRACE_GET_SYSCALL_INFO
	struct __ptrace_syscall_info information;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(information), &information) <= 0)
		return -1;
	if (information.op != PTRACE_SYSCALL_INFO_ENTRY)
		return 0;
	entry->number = (long)information.entry.nr;
	entry->first = (long)information.entry.args[0];
	return 1;
#else
	(void)thread, (void)entry;
	return -1;
#endif
}

/* Lets a stopped thread go on to its next system call, with a signal; 0 for none. */
static inline int ctrace_continue_with(int thread, int number)
{
	return (int)ptrace(PTRACE_SYSCALL, thread, 0, (long)number);
}

/* Has a stopped thread execute one instruction. The caller waits for the stop. */
static inline int ctrace_begin_step(int thread)
{
	return (int)ptrace(PTRACE_SINGLESTEP, thread, 0, 0);
}

/* Ends the tracing of a stopped thread, which goes on. */
static inline int ctrace_detach(int thread)
{
	return (int)ptrace(PTRACE_DETACH, thread, 0, 0);
}

/* Lets a stopped thread go on to its next system call, or to the next signal. */
static inline int ctrace_continue(int thread, int to_call)
{
	return (int)ptrace(to_call ? PTRACE_SYSCALL : PTRACE_CONT, thread, 0, 0);
}

/*
 * Forks a process that is a child of the caller's parent, which can so trace it.
 *
 * No handlers of pthread_atfork(3) run: the caller has one thread, and nothing to repair in a child.
 */
static inline int ctrace_fork_sibling(void)
{
	return (int)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
}

/* fork(2), which Swift hides. */
static inline int ctrace_plain_fork(void)
{
	return fork();
}

/* The calling process is killed when its parent ends. */
static inline void ctrace_die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* The calling process gets a network namespace of its own. */
static inline int ctrace_new_network(void)
{
	return (int)syscall(SYS_unshare, CLONE_NEWNET);
}

/* Programs that this process starts have the same addresses each time. */
static inline int ctrace_fix_addresses(void)
{
	return personality(ADDR_NO_RANDOMIZE);
}

/* Copies memory of another process. Returns the bytes copied, -1 on error. */
static inline long ctrace_read(int process, unsigned long address, void *to, unsigned long count)
{
	struct iovec own = { to, count };
	struct iovec other = { (void *)address, count };

	return syscall(SYS_process_vm_readv, process, &own, 1UL, &other, 1UL, 0UL);
}

/*
 * Has the processor stop a stopped thread right after each access to up to four aligned words: 1, 2, 4 or 8 bytes. With
 * stores_only a word's loads do not stop it. The former watches end.
 *
 * Returns 0; -1 on error, -2 on processors without such watches.
 */
static inline int ctrace_watch(int thread, const unsigned long *addresses, const unsigned char *widths,
			       const unsigned char *stores_only, int count)
{
#ifdef __x86_64__
	const unsigned long base = offsetof(struct user, u_debugreg);
	unsigned long control = 0;
	int index;

	if (ptrace(PTRACE_POKEUSER, thread, base + 7 * sizeof(long), 0) != 0)
		return -1;
	for (index = 0; index < count; index++) {
		/* The codes of lengths: 1, 2, 8 and 4 bytes are 0 to 3. */
		unsigned long length = widths[index] == 8 ? 2 : widths[index] - 1ul;

		if (ptrace(PTRACE_POKEUSER, thread, base + (unsigned long)index * sizeof(long),
			   addresses[index]) != 0)
			return -1;
		control |= 1ul << (2 * index);
		control |= ((stores_only[index] ? 1ul : 3ul) | length << 2) << (16 + 4 * index);
	}
	return ptrace(PTRACE_POKEUSER, thread, base + 7 * sizeof(long), control) == 0 ? 0 : -1;
#else
	(void)thread, (void)addresses, (void)widths, (void)stores_only, (void)count;
	return -2;
#endif
}

/* The watches that have stopped a thread, one bit each; 0 when it was stopped by something else, -1 on error. */
static inline int ctrace_hits(int thread)
{
#ifdef __x86_64__
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKUSER, thread, offsetof(struct user, u_debugreg) + 6 * sizeof(long), 0);
	return errno != 0 ? -1 : (int)(word & 15);
#else
	(void)thread;
	return -1;
#endif
}

/* The address of the next instruction of a stopped thread; 0 on error. */
static inline unsigned long ctrace_place(int thread)
{
#ifdef __x86_64__
	return (unsigned long)ptrace(PTRACE_PEEKUSER, thread, offsetof(struct user, regs.rip), 0);
#else
	(void)thread;
	return 0;
#endif
}

/*
 * Waits until a thread stops or ends.
 *
 * Returns the status; -1 when a signal of the caller's timer has ended the wait, or there is no such thread.
 */
static inline int ctrace_await(int thread)
{
	int status = 0;

	return waitpid(thread, &status, __WALL) == thread ? status : -1;
}

static inline void ctrace_ignore(int number)
{
	(void)number;
}

/* Interrupts waits of the calling process with a signal at this interval; 0 for never. */
static inline void ctrace_tick(int milliseconds)
{
	struct sigaction action = { .sa_handler = ctrace_ignore };
	struct itimerval timer = { 0 };

	sigaction(SIGALRM, &action, 0);
	timer.it_interval.tv_usec = milliseconds * 1000;
	timer.it_value = timer.it_interval;
	setitimer(ITIMER_REAL, &timer, 0);
}

/* The processor time that a process has used, nanoseconds; -1 on error. */
static inline long ctrace_cpu_time(int process)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &time) != 0)
		return -1;
	return time.tv_sec * 1000000000l + time.tv_nsec;
}

#endif
