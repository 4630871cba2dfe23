/* SPDX-License-Identifier: BSD-2-Clause */
#include "descriptors.h"
#include "interest.h"
#include "process.h"
#include "watches.h"

#include <linux/membarrier.h>
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

/* Marks a descriptor that was no token, unless its state has changed since it was looked at. */
static void fd_mark_foreign(int fd, uint8_t seen)
{
	if (seen != FD_FOREIGN && !process_is_guest())
		atomic_compare_exchange_strong(&fd_states[fd], &seen, FD_FOREIGN);
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
	bool is_token, is_file;

	if (state == FD_NETMAP || state == FD_PRIVATE || (state == FD_FOREIGN && !again) ||
	    state == FD_EPOLL || (state == FD_INSTANCE && !again) || (unsigned)fd >= FD_COUNT)
		return state == FD_NETMAP;
	errno = 0;
	is_token = has_token_name(fd);
	is_file = errno != EBADF;
	is_token = is_token && !process_is_guest() && (swift = half()) != NULL && CROSS(swift->recognize(fd));
	/*
	 * A number without a file may get one that no interposed function sees. The number of a file that another thread has
	 * closed meanwhile may be a token by now.
	 */
	if (is_token)
		fd_mark(fd, FD_NETMAP);
	else if (state != FD_INSTANCE && is_file)
		fd_mark_foreign(fd, state);
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

bool fd_is_netmap_now(int fd)
{
	/* The Swift half sends requests on tokens. */
	return !inside_half && fd_is_still_netmap(fd);
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

/* Whether threads may count uses apart: the kernel can make them pass a barrier. Decided before the first use. */
static _Atomic bool has_owners;
/* Changes within a crossing only. */
static bool is_decided;

static bool membarrier(int command)
{
	return !syscall(SYS_membarrier, command, 0, 0);
}

/* Whether no thread uses a binding to which no slot leads, so that none can become a user. Keeps errno. */
static bool is_unused(struct attachment *one)
{
	const int error = errno;
	bool result;

	if (atomic_load(&one->counts))
		return false;
	result = !atomic_load(&has_owners) || membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) ||
		 (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) &&
		  membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
	errno = error;
	return result && !atomic_load(&one->owner_uses);
}

/* Whether the thread that made this process by fork(2) was not in the middle of a sync. */
static bool is_quiet_child;

void descriptors_after_fork(void)
{
	/* PrivateDescriptors in NetmapCore uses no higher numbers. */
	enum { PRIVATE_END = 65536 };
	const struct netmap_half *const swift = half_if_loaded();

	is_quiet_child = !inside_half;
	/* The sync goes on in the child. */
	if (!is_quiet_child)
		return;
	for (int start = 0; swift && start < PRIVATE_END; start += 8) {
		uint64_t states;

		memcpy(&states, (const void *)&fd_states[start], sizeof states);
		for (int fd = start; !LIKELY(!states) && fd < start + 8; fd++)
			if (fd_state(fd) == FD_PRIVATE && swift->close_kept(fd))
				fd_forget(fd);
	}
	watches_drop();
}

/* A fork child: forgets its parent's bindings. */
static void forget_parent(const struct netmap_half *swift)
{
	for (size_t i = 0; i < FD_COUNT / CHUNK; i++) {
		slot *const chunk = atomic_load(&chunks[i]);

		if (chunk)
			memset((void *)chunk, 0, CHUNK * sizeof *chunk);
	}
	/*
	 * Signal handlers may have made this process in the middle of a call that uses a binding, and the call goes on here. The
	 * program's own mappings stay.
	 */
	for (struct attachment *one = is_quiet_child ? attachments : NULL; one; one = one->next)
		if (one->is_attached && !(uint32_t)atomic_load(&one->counts) && !atomic_load(&one->owner_uses))
			syscall(SYS_munmap, one->binding.base, (size_t)one->binding.size);
	attachments = NULL;
	interest_forked();
	swift->forked();
	process_begin();
}

void attachments_tidy(void)
{
	const struct netmap_half *const swift = half_if_loaded();

	if (!swift)
		return;
	if (!process_is_known())
		forget_parent(swift);
	for (struct attachment *one = attachments; one; one = one->next)
		if (one->is_attached && is_unused(one)) {
			one->is_attached = false;
			swift->release(&one->binding);
		}
}

/* An attachment that is not in use; NULL without memory. Within a crossing. */
static struct attachment *idle_attachment(void)
{
	struct attachment *idle = attachments;

	while (idle && idle->is_attached)
		idle = idle->next;
	if (idle)
		return idle;
	idle = new_memory(sizeof *idle);
	if (!idle)
		return NULL;
	idle->next = attachments;
	attachments = idle;
	return idle;
}

bool attachment_is_possible(int fd)
{
	return make_slot(fd) && idle_attachment();
}

/* An attachment for a token, with one more descriptor; NULL with *error. Within a crossing. */
static struct attachment *find_or_attach(int fd, int *error)
{
	const uint64_t cookie = fd_cookie(fd);
	struct attachment *one, *idle;
	int result;

	for (one = attachments; one; one = one->next) {
		if (one->is_attached && one->binding.cookie == cookie) {
			atomic_fetch_add(&one->counts, ONE_DESCRIPTOR);
			return one;
		}
	}
	idle = idle_attachment();
	if (!idle) {
		*error = ENOMEM;
		return NULL;
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
	if (!is_decided)
		atomic_store(&has_owners, membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED));
	is_decided = true;
	found = find_or_attach(fd, &error);
	if (found && !atomic_compare_exchange_strong(place, &none, found))
		atomic_fetch_sub(&found->counts, ONE_DESCRIPTOR);
	return error;
}

/* Counts one more use of a binding. */
static inline void count_use(struct attachment *found, bool is_sync)
{
	void *none = NULL;

	if (is_sync && !LIKELY(atomic_load_explicit(&found->owner, memory_order_relaxed)) &&
	    atomic_load_explicit(&has_owners, memory_order_relaxed))
		atomic_compare_exchange_strong(&found->owner, &none, (void *)&inside_half);
	if (is_sync && LIKELY(attachment_is_own(found))) {
		atomic_store_explicit(&found->owner_uses,
				      atomic_load_explicit(&found->owner_uses, memory_order_relaxed) + 1,
				      memory_order_relaxed);
		/* The barrier in is_unused() does the rest. */
		atomic_signal_fence(memory_order_seq_cst);
	} else {
		atomic_fetch_add(&found->counts, ONE_USER);
	}
}

/* The binding in a slot, with one more user. */
static inline struct attachment *use(slot *place, bool is_sync)
{
	struct attachment *found;

	while (place && (found = atomic_load_explicit(place, memory_order_acquire))) {
		count_use(found, is_sync);
		if (LIKELY(atomic_load(place) == found))
			return found;
		if (is_sync)
			attachment_end(found);
		else
			attachment_end_control(found);
	}
	return NULL;
}

/* The binding of a token that was not attached when the caller looked. */
static __attribute__((noinline)) struct attachment *attach(int fd, int *error, bool is_sync)
{
	struct attachment *found;

	do {
		if (!half()) {
			*error = errno;
			return NULL;
		}
		*error = CROSS(attachment_make(fd));
		if (*error)
			return NULL;
		found = use(slot_of(fd), is_sync);
	} while (!found);
	return found;
}

struct attachment *attachment_begin(int fd, int *error)
{
	struct attachment *const found = process_is_known() ? use(slot_of(fd), true) : NULL;

	return LIKELY(found) ? found : attach(fd, error, true);
}

struct attachment *attachment_begin_control(int fd, int *error)
{
	struct attachment *const found = process_is_known() ? use(slot_of(fd), false) : NULL;

	return found ? found : attach(fd, error, false);
}

struct attachment *attachment_use(int fd)
{
	return use(slot_of(fd), false);
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
		if (process_has_begun())
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
	found = place ? use(slot_of(from), false) : NULL;
	if (!found)
		return;
	atomic_fetch_add(&found->counts, ONE_DESCRIPTOR);
	former = atomic_exchange(place, found);
	if (former)
		end_descriptor(former);
	attachment_end_control(found);
}

/* Within a crossing. Returns 0. */
static int vacate(int fd)
{
	attachments_tidy();
	for (size_t i = 0; i < FD_COUNT; i++) {
		slot *const place = slot_of((int)i);
		struct attachment *const found = place ? atomic_exchange(place, NULL) : NULL;

		if (found)
			atomic_fetch_sub(&found->counts, ONE_DESCRIPTOR);
		else if (!place)
			i += CHUNK - 1;
	}
	interest_vacate(fd);
	/* Those that threads use at present go when these have finished. */
	attachments_tidy();
	half_if_loaded()->vacate(fd);
	fd_forget(fd);
	return 0;
}

void fd_vacate(int fd)
{
	if (half_if_loaded())
		CROSS(vacate(fd));
	watches_drop();
	kicks_vacate(fd);
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
