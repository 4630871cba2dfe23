/* SPDX-License-Identifier: BSD-2-Clause */
#include "crossing.h"
#include "interest.h"
#include "process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

_Thread_local int inside_half __attribute__((tls_model("initial-exec")));

static pthread_mutex_t control = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(const struct netmap_half *) loaded;

extern char **environ;

struct crossing crossing_begin(void)
{
	struct crossing crossing = { .error = errno };
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &crossing.mask);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &crossing.cancel);
	pthread_mutex_lock(&control);
	inside_half++;
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

/* A variable of the environment; NULL in a program with more rights than its caller. */
static const char *setting(const char *name)
{
	const size_t length = strlen(name);

	if (getauxval(AT_SECURE))
		return NULL;
	for (char **entry = environ; entry && *entry; entry++)
		if (!strncmp(*entry, name, length) && (*entry)[length] == '=')
			return *entry + length + 1;
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
		is_registered = !pthread_atfork(fork_begins, fork_ends, fork_ends);
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
	atomic_store_explicit(&loaded, table, memory_order_release);
	return 0;
}

const struct netmap_half *half_if_loaded(void)
{
	return atomic_load_explicit(&loaded, memory_order_acquire);
}

const struct netmap_half *half(void)
{
	const struct netmap_half *const known = half_if_loaded();
	int error;

	if (process_is_guest()) {
		errno = EAGAIN;
		return NULL;
	}
	if (LIKELY(known))
		return known;
	error = CROSS(load());
	if (error) {
		errno = error;
		return NULL;
	}
	return half_if_loaded();
}

/* Does nothing that a program could notice, unless $NETMAP_LOAD says so. */
__attribute__((constructor)) static void start(void)
{
	const int error = errno;
	const char *when;

	syscall(SYS_madvise, &process_page, sizeof process_page, MADV_WIPEONFORK);
	process_begin();
	when = setting("NETMAP_LOAD");
	if (when && !strcmp(when, "early"))
		half();
	errno = error;
}
