/* SPDX-License-Identifier: BSD-2-Clause */
#include "crossing.h"
#include "descriptors.h"
#include "interest.h"
#include "process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

enum {
	ROOM_FOR_CALL = 4 << 20,
	ROOM_FOR_HALF = 64 << 20,
};

_Thread_local int inside_half __attribute__((tls_model("initial-exec")));

NEAR _Atomic(const struct netmap_half *) half_loaded;

static pthread_mutex_t control = PTHREAD_MUTEX_INITIALIZER;

extern char **environ;

/* By which libc knows this object's fork handlers. Compilers' start files, which this object does without, have it as well. */
__attribute__((weak)) HIDDEN void *__dso_handle = NULL;

/* Waits of control calls */

#define MILLISECOND INT64_C(1000000)
/* How long a call waits before signals end it: netmapd nearly always answers sooner. Doubles with each restart. */
#define FIRST_GRACE (500 * MILLISECOND)
/* How long a call that signals restart may take in all. */
#define LONGEST_CALL (30000 * MILLISECOND)

/* The present control call: guarded by the lock. */
static sigset_t outer_mask;
static int64_t began;
static int64_t grace;
/* Whether all signals that have interrupted it have handlers that restart calls. */
static bool restarts;

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000 * MILLISECOND + time.tv_nsec;
}

/* Whether a signal that is let through would interrupt a call, and sets *restarts if the call would then go on. */
static bool interrupts(int signal, bool *goes_on)
{
	struct sigaction action;

	if (sigaction(signal, NULL, &action))
		return false;
	*goes_on = (action.sa_flags & SA_RESTART) != 0;
	if (action.sa_flags & SA_SIGINFO || (action.sa_handler != SIG_IGN && action.sa_handler != SIG_DFL))
		return true;
	if (action.sa_handler == SIG_IGN)
		return false;
	switch (signal) {
	case SIGCHLD:
	case SIGCONT:
	case SIGURG:
	case SIGWINCH:
		return false;
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
		*goes_on = true;
	}
	return true;
}

/* netmap_first_half.is_interrupted */
static int is_interrupted(void)
{
	sigset_t pending;
	bool found = false, all_go_on = true;

	if (now() - began < grace || sigpending(&pending))
		return 0;
	for (int signal = 1; signal < _NSIG; signal++) {
		bool goes_on = false;

		if (sigismember(&pending, signal) != 1 || sigismember(&outer_mask, signal) ||
		    !interrupts(signal, &goes_on))
			continue;
		found = true;
		all_go_on &= goes_on;
	}
	restarts = found && all_go_on;
	return found;
}

struct crossing crossing_begin(void)
{
	struct crossing crossing = { .error = errno };
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &crossing.mask);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &crossing.cancel);
	pthread_mutex_lock(&control);
	inside_half++;
	outer_mask = crossing.mask;
	began = now();
	grace = FIRST_GRACE;
	restarts = false;
	return crossing;
}

void crossing_end(struct crossing crossing)
{
	inside_half--;
	pthread_mutex_unlock(&control);
	pthread_setcancelstate(crossing.cancel, NULL);
	pthread_sigmask(SIG_SETMASK, &crossing.mask, NULL);
	errno = crossing.error;
}

int crossing_call(int (*body)(void *), void *argument)
{
	const int64_t start = now();

	for (int64_t patience = FIRST_GRACE;; patience *= 2) {
		struct crossing crossing = crossing_begin();
		bool again;
		int result;

		grace = patience;
		result = body(argument);
		again = restarts;
		/* Runs the handlers. */
		crossing_end(crossing);
		if (result != -EINTR || !again)
			return result;
		if (now() - start > LONGEST_CALL)
			return -ETIMEDOUT;
	}
}

/* Of the thread that forks. */
static sigset_t mask_of_fork;

static void fork_begins(void)
{
	sigset_t all, mask;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	pthread_mutex_lock(&control);
	interest_lock();
	mask_of_fork = mask;
}

static void fork_ends(void)
{
	const sigset_t mask = mask_of_fork;

	interest_unlock();
	pthread_mutex_unlock(&control);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static void fork_ends_in_child(void)
{
	const sigset_t mask = mask_of_fork;

	interest_unlock();
	pthread_mutex_unlock(&control);
	descriptors_after_fork();
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

/* A variable of the environment; NULL in a program with more rights than its caller. */
static const char *setting(const char *name)
{
	/* Runs at the start of every program, and so without functions that the dynamic loader would have to find. */
	for (char **entry = environ; entry && *entry; entry++) {
		const char *at = *entry, *expected = name;

		for (; *expected && *at == *expected; at++)
			expected++;
		if (!*expected && *at == '=')
			return getauxval(AT_SECURE) ? NULL : at + 1;
	}
	return NULL;
}

/* Writes the path of the Swift half: $NETMAP_HALF, or beside this object, or in the folder netmap there. */
static bool find_half(char path[static 4096], bool is_installed)
{
	const char *const given = setting("NETMAP_HALF");
	const char *const name = is_installed ? "netmap/libnetmap-half.so" : "libnetmap-half.so";
	Dl_info info;
	size_t length;

	if (given) {
		length = strlen(given);
		if (length >= 4096)
			return false;
		memcpy(path, given, length + 1);
		return true;
	}
	if (!dladdr((void *)&find_half, &info) || !info.dli_fname)
		return false;
	length = strlen(info.dli_fname);
	while (length && info.dli_fname[length - 1] != '/')
		length--;
	if (length + strlen(name) >= 4096)
		return false;
	memcpy(path, info.dli_fname, length);
	memcpy(path + length, name, strlen(name) + 1);
	return true;
}

/* The errno of opening a file; 0 if that succeeds. dlopen reports text only. */
static int open_error(const char *path)
{
	const long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return errno;
	syscall(SYS_close, file);
	return 0;
}

/* Whether a descriptor is a terminal, and so neither a token nor a file with the program's data. */
static bool is_terminal(int fd)
{
	char settings[256];

	return !syscall(SYS_ioctl, fd, TCGETS, settings);
}

/* Whether the user wants to know of every failure. */
static bool explains_all(void)
{
	const char *const wish = setting("NETMAP_EXPLAIN");

	return wish && *wish && strcmp(wish, "0");
}

/*
 * netmap_first_half.explain. Unless the user wants to know of every failure, writes one line per process, about an open, and
 * only to a terminal: number 2 may be a file that the program has opened without knowing the number. Never writes to a token.
 */
static void explain(const char *text, int is_open)
{
	static bool has_explained;
	struct iovec parts[] = {
		{ "libnetmap: ", strlen("libnetmap: ") },
		{ (char *)text, strlen(text) },
		{ "\n", 1 },
	};

	if (fd_state(STDERR_FILENO) == FD_NETMAP || fd_state(STDERR_FILENO) == FD_PRIVATE)
		return;
	if (!explains_all() && (!is_open || has_explained || !is_terminal(STDERR_FILENO)))
		return;
	has_explained = true;
	syscall(SYS_writev, STDERR_FILENO, parts, 3L);
}

/* What the Swift half is told: see netmap_first_half. */
static struct netmap_first_half first = {
	.size = sizeof first,
	.is_interrupted = is_interrupted,
	.explain = explain,
};

/* Tells the Swift half where it lies, if other programs of its installation may be run from there. */
static void find_folder(const char *path)
{
	/* Not an array, which would keep the states of the first descriptors off the page of .data. */
	char *folder, *end;

	if (getauxval(AT_SECURE) || path[0] != '/')
		return;
	folder = realpath(path, NULL);
	end = folder ? strrchr(folder, '/') : NULL;
	if (!end || end == folder) {
		free(folder);
		return;
	}
	*end = '\0';
	first.folder = folder;
}

/* Loads the half, and returns 0 or an errno. Runs within a crossing. */
static int load(void)
{
	static char *nothing[] = { NULL };
	static bool is_registered;
	char path[4096];
	int error;

	if (half_if_loaded())
		return 0;
	if (!find_half(path, true))
		return ENOENT;
	error = open_error(path);
	/* In a build folder, netmap is the program. */
	if ((error == ENOENT || error == ENOTDIR) && !find_half(path, false))
		return ENOENT;
	/* Comes first, so that no fork happens while the loader's locks are held. */
	if (!is_registered)
		is_registered = !pthread_atfork(fork_begins, fork_ends, fork_ends_in_child);
	/* The constructors of the Swift runtime walk environ, which is NULL after clearenv and before libc's start. */
	if (!environ)
		environ = nothing;

	void *const object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (!object) {
		dlerror(); /* frees the message */
		error = open_error(path);
		return error ? error : ELIBBAD;
	}

	netmap_half_enter_function *const enter =
		(netmap_half_enter_function *)dlsym(object, "netmap_half_enter");
	const struct netmap_half *const table = enter ? enter(NETMAP_HALVES_VERSION) : NULL;

	if (!table || table->size < sizeof *table)
		return ELIBBAD;
	find_folder(path);
	first.explains_requests = explains_all();
	table->begin(&first);
	atomic_store_explicit(&half_loaded, table, memory_order_release);
	return 0;
}

static void explain_load(int error)
{
	char path[PATH_MAX], text[PATH_MAX + 200];

	if (!find_half(path, true))
		return;
	snprintf(text, sizeof text,
		 "cannot load %s (errno %d); a program that gives up rights before it opens netmap needs"
		 " NETMAP_LOAD=early",
		 path, error);
	explain(text, 1);
}

/*
 * Whether the process may map that many bytes more (RLIMIT_AS). Swift code ends a process that has no room for a small
 * object, so a control call begins only with room for many.
 */
static bool has_room(size_t size)
{
	const int error = errno;
	void *const memory = (void *)syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);

	if (memory == MAP_FAILED)
		return false;
	syscall(SYS_munmap, memory, size);
	errno = error;
	return true;
}

const struct netmap_half *half(void)
{
	const struct netmap_half *const known = half_if_loaded();
	int error;

	if (process_is_guest()) {
		errno = EAGAIN;
		return NULL;
	}
	/* The half and what it needs when it starts, or what a control call needs. */
	if (!has_room(known ? ROOM_FOR_CALL : ROOM_FOR_HALF)) {
		errno = ENOMEM;
		return NULL;
	}
	if (LIKELY(known))
		return known;
	attachments_catch_up();
	error = CROSS(load());
	if (error) {
		explain_load(error);
		errno = error;
		return NULL;
	}
	return half_if_loaded();
}

/* Loads the half, and has it connect to netmapd. */
static void begin_early(void)
{
	const int error = errno;
	const struct netmap_half *const swift = half();

	if (swift)
		CROSS(swift->prepare());
	errno = error;
}

/* Does nothing, unless $NETMAP_LOAD says so: most programs that start never use netmap. */
__attribute__((constructor)) static void start(void)
{
	const char *const when = setting("NETMAP_LOAD");

	if (!LIKELY(!when) && !strcmp(when, "early"))
		begin_early();
}
