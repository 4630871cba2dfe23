/* SPDX-License-Identifier: BSD-2-Clause */
#include "descriptors.h"
#include "interest.h"
#include "process.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

_Atomic uint8_t fd_states[FD_COUNT];

enum { CHUNK = 1024 };

/* The bindings of descriptors, CHUNK to a page group that is made when the first of them is needed. */
typedef _Atomic(struct attachment *) slot;
static _Atomic(slot *) chunks[FD_COUNT / CHUNK];

/* All attachments there are. Changes within a crossing only. */
static struct attachment *attachments;

static void *new_memory(size_t size)
{
	void *const memory = (void *)syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);

	return memory == MAP_FAILED ? NULL : memory;
}

static slot *slot_of(int fd)
{
	slot *chunk;

	if ((unsigned)fd >= FD_COUNT)
		return NULL;
	chunk = atomic_load_explicit(&chunks[fd / CHUNK], memory_order_acquire);
	return chunk ? chunk + fd % CHUNK : NULL;
}

/* As slot_of(), but makes the chunk. NULL without memory. */
static slot *make_slot(int fd)
{
	slot *chunk, *none = NULL;

	if ((unsigned)fd >= FD_COUNT)
		return NULL;
	if (!slot_of(fd)) {
		chunk = new_memory(CHUNK * sizeof *chunk);
		if (chunk && !atomic_compare_exchange_strong(&chunks[fd / CHUNK], &none, chunk))
			syscall(SYS_munmap, chunk, CHUNK * sizeof *chunk);
	}
	return slot_of(fd);
}

void fd_mark(int fd, uint8_t state)
{
	if ((unsigned)fd >= FD_COUNT || fd_state(fd) == state || process_is_guest())
		return;
	atomic_store_explicit(&fd_states[fd], state, memory_order_relaxed);
}

bool fd_is_private(int fd)
{
	return fd_state(fd) == FD_PRIVATE && !inside_half && process_is_known() && !process_is_guest();
}

/* Whether the descriptor is a socket whose own name is one that NetmapClient gives to tokens. Sends nothing. */
static bool has_token_name(int fd)
{
	static const char prefix[] = "\0netmap-token-";
	struct sockaddr_un name;
	socklen_t size = sizeof name;

	return !syscall(SYS_getsockname, fd, &name, &size) && name.sun_family == AF_UNIX &&
	       size == offsetof(struct sockaddr_un, sun_path) + sizeof prefix - 1 + 32 &&
	       !memcmp(name.sun_path, prefix, sizeof prefix - 1);
}

bool fd_probe(int fd, bool again)
{
	const uint8_t state = fd_state(fd);
	const int error = errno;
	const struct netmap_half *swift;
	bool is_token;

	if (state == FD_NETMAP || state == FD_PRIVATE || (state == FD_FOREIGN && !again) ||
	    state == FD_EPOLL || (state == FD_INSTANCE && !again) || (unsigned)fd >= FD_COUNT)
		return state == FD_NETMAP;
	is_token = has_token_name(fd) && !process_is_guest() && (swift = half()) != NULL &&
		   CROSS(swift->recognize(fd));
	/* A number without a file may get one that no interposed function sees. */
	if (is_token)
		fd_mark(fd, FD_NETMAP);
	else if (state != FD_INSTANCE && syscall(SYS_fcntl, fd, 1 /* F_GETFD */) >= 0)
		fd_mark(fd, FD_FOREIGN);
	errno = error;
	return is_token;
}

bool fd_is_still_netmap(int fd)
{
	const int error = errno;
	const bool result = has_token_name(fd);

	if (!result)
		fd_gone(fd);
	errno = error;
	return result;
}

uint64_t fd_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof cookie;
	const int error = errno;

	/* 57 is SO_COOKIE */
	if (syscall(SYS_getsockopt, fd, SOL_SOCKET, 57, &cookie, &size))
		cookie = 0;
	errno = error;
	return cookie;
}

void attachments_tidy(void)
{
	const struct netmap_half *const swift = half_if_loaded();

	if (!swift)
		return;
	if (!process_is_known()) {
		/* A fork child. The bindings are its parent's; threads of the parent may have been using them. */
		for (size_t i = 0; i < FD_COUNT / CHUNK; i++) {
			slot *const chunk = atomic_load(&chunks[i]);

			if (chunk)
				memset((void *)chunk, 0, CHUNK * sizeof *chunk);
		}
		attachments = NULL;
		interest_forked();
		swift->forked();
		process_begin();
	}
	for (struct attachment *one = attachments; one; one = one->next)
		/* No slot leads to it then, so no thread can become a user. */
		if (one->is_attached && !atomic_load(&one->counts)) {
			one->is_attached = false;
			swift->release(&one->binding);
		}
}

/* An attachment for a token, with one more descriptor; NULL with *error. Within a crossing. */
static struct attachment *find_or_attach(int fd, int *error)
{
	const uint64_t cookie = fd_cookie(fd);
	struct attachment *one, *idle = NULL;
	int result;

	for (one = attachments; one; one = one->next) {
		if (one->is_attached && one->binding.cookie == cookie) {
			atomic_fetch_add(&one->counts, ONE_DESCRIPTOR);
			return one;
		}
		if (!one->is_attached)
			idle = one;
	}
	if (!idle) {
		idle = new_memory(sizeof *idle);
		if (!idle) {
			*error = ENOMEM;
			return NULL;
		}
		idle->next = attachments;
		attachments = idle;
	}
	memset(&idle->binding, 0, sizeof idle->binding);
	result = half_if_loaded()->attach(fd, &idle->binding);
	if (result < 0) {
		*error = -result;
		return NULL;
	}
	idle->binding.cookie = cookie;
	half_if_loaded()->places(&idle->binding, &idle->places);
	idle->is_attached = true;
	atomic_fetch_add(&idle->counts, ONE_DESCRIPTOR);
	return idle;
}

int attachment_make(int fd)
{
	slot *const place = make_slot(fd);
	struct attachment *found, *none = NULL;
	int error = 0;

	if (!place)
		return ENOMEM;
	attachments_tidy();
	if (atomic_load(place))
		return 0;
	found = find_or_attach(fd, &error);
	if (found && !atomic_compare_exchange_strong(place, &none, found))
		atomic_fetch_sub(&found->counts, ONE_DESCRIPTOR);
	return error;
}

/* The binding in a slot, with one more user. */
static struct attachment *use(slot *place)
{
	struct attachment *found;

	while (place && (found = atomic_load_explicit(place, memory_order_acquire))) {
		atomic_fetch_add(&found->counts, ONE_USER);
		if (LIKELY(atomic_load(place) == found))
			return found;
		attachment_end(found);
	}
	return NULL;
}

struct attachment *attachment_begin(int fd, int *error)
{
	struct attachment *found = process_is_known() ? use(slot_of(fd)) : NULL;

	while (!LIKELY(found)) {
		if (!half()) {
			*error = errno;
			return NULL;
		}
		*error = CROSS(attachment_make(fd));
		if (*error)
			return NULL;
		found = use(slot_of(fd));
	}
	return found;
}

bool attachment_is_current(const struct attachment *attachment, int fd)
{
	if (LIKELY(fd_cookie(fd) == attachment->binding.cookie))
		return true;
	fd_gone(fd);
	return false;
}

/* Releases what has no descriptors any more. Returns 0. */
static int tidy(void)
{
	attachments_tidy();
	return 0;
}

void attachments_catch_up(void)
{
	if (process_is_known())
		return;
	if (half_if_loaded()) {
		CROSS(tidy());
	} else {
		interest_forked();
		process_begin();
	}
}

/* One descriptor fewer leads to the binding. */
static void end_descriptor(struct attachment *attachment)
{
	uint64_t counts = atomic_fetch_add(&attachment->counts, ONE_USER - ONE_DESCRIPTOR) - ONE_DESCRIPTOR;

	/* Read without a lock: a member that another thread adds meanwhile sees that there is no descriptor. */
	if (counts < ONE_DESCRIPTOR && attachment->members && process_is_known())
		interest_forget(attachment);
	counts = atomic_fetch_sub(&attachment->counts, ONE_USER) - ONE_USER;
	/* Otherwise the next control call does it: closing works in signal handlers. */
	if (!counts && attachment->binding.releases_at_close)
		CROSS(tidy());
}

void fd_copied(int from, int to)
{
	struct attachment *found, *former;
	slot *place;

	if (fd_state(to) == FD_NETMAP)
		fd_gone(to);
	if (fd_is_instance(to))
		interest_closed(to);
	if (fd_is_instance(from)) {
		interest_copied(from, to);
		return;
	}
	fd_mark(to, fd_state(from));
	if (fd_state(to) != FD_NETMAP || !process_is_known() || process_is_guest())
		return;
	place = make_slot(to);
	found = place ? use(slot_of(from)) : NULL;
	if (!found)
		return;
	atomic_fetch_add(&found->counts, ONE_DESCRIPTOR);
	former = atomic_exchange(place, found);
	if (former)
		end_descriptor(former);
	attachment_end(found);
}

void fd_gone(int fd)
{
	slot *const place = slot_of(fd);
	struct attachment *found;

	if (process_is_guest())
		return;
	fd_forget(fd);
	found = place ? atomic_exchange(place, NULL) : NULL;
	if (found)
		end_descriptor(found);
	else if (process_is_known())
		interest_forget_unbound(fd);
}
