/* SPDX-License-Identifier: BSD-2-Clause */
#include "interest.h"
#include "process.h"
#include "watches.h"

#include <string.h>
#include <sys/mman.h>

enum {
	CHUNK = 1024,
	BUCKETS = 4096,
	/* Bytes of memory to make objects from. */
	BLOCK = 65536,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* What a number leads to. CHUNK to a group that is made when the first of them is needed, and never freed. */
struct number {
	struct interest *set;
	struct member *members;
};
static struct number *chunks[FD_COUNT / CHUNK];

/* Bindings with members, by segment. */
static struct attachment *buckets[BUCKETS];

static struct interest *sets;
static struct interest *free_sets;
static struct member *free_members;

static _Atomic uint64_t everything;

void interest_lock(void)
{
	pthread_mutex_lock(&lock);
}

void interest_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

/* For callers in which signals are not blocked yet. */
sigset_t interest_lock_blocking(void)
{
	sigset_t all, mask;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	interest_lock();
	return mask;
}

void interest_unlock_blocking(sigset_t mask)
{
	interest_unlock();
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

/* Objects */

static void *new_memory(size_t size)
{
	void *const memory = (void *)syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);

	return memory == MAP_FAILED ? NULL : memory;
}

static struct number *number_of(int fd)
{
	if ((unsigned)fd >= FD_COUNT || !chunks[fd / CHUNK])
		return NULL;
	return chunks[fd / CHUNK] + fd % CHUNK;
}

static struct number *make_number(int fd)
{
	if ((unsigned)fd < FD_COUNT && !chunks[fd / CHUNK])
		chunks[fd / CHUNK] = new_memory(CHUNK * sizeof(struct number));
	return number_of(fd);
}

static struct member *new_member(void)
{
	struct member *made = free_members;

	if (!made) {
		made = new_memory(BLOCK);
		if (!made)
			return NULL;
		for (size_t i = 0; i < BLOCK / sizeof *made; i++) {
			made[i].next = free_members;
			free_members = &made[i];
		}
		made = free_members;
	}
	free_members = made->next;
	memset(made, 0, sizeof *made);
	return made;
}

void member_free(struct member *member)
{
	member->next = free_members;
	free_members = member;
}

static struct interest *new_set(void)
{
	struct interest *made = free_sets;

	if (!made) {
		made = new_memory(BLOCK / 16);
		if (!made)
			return NULL;
		for (size_t i = 0; i < BLOCK / 16 / sizeof *made; i++) {
			made[i].next = free_sets;
			free_sets = &made[i];
		}
		made = free_sets;
	}
	free_sets = made->next;
	memset(made, 0, sizeof *made);
	made->backends = -1;
	made->looking = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	made->everything = atomic_load(&everything);
	made->next = sets;
	sets = made;
	return made;
}

struct member *member_find(const struct interest *set, int fd, uint64_t cookie)
{
	const struct number *const number = number_of(fd);
	struct member *found = number ? number->members : NULL;

	while (found && (found->set != set || found->cookie != cookie))
		found = found->next_of_number;
	return found;
}

/* The list */

void member_unlist(struct member *member)
{
	struct interest *const set = member->set;

	if (!member->is_listed)
		return;
	*(member->earlier ? &member->earlier->later : &set->first) = member->later;
	*(member->later ? &member->later->earlier : &set->last) = member->earlier;
	member->is_listed = false;
	set->listed--;
}

void member_push(struct member *member)
{
	struct interest *const set = member->set;

	set->pushes++;
	if (member->is_listed)
		return;
	member->earlier = set->last;
	member->later = NULL;
	*(set->last ? &set->last->later : &set->first) = member;
	set->last = member;
	member->is_listed = true;
	set->listed++;
}

/* Members and bindings */

static struct attachment **bucket_of(uint32_t segment)
{
	return &buckets[segment % BUCKETS];
}

/* Adds the descriptors of a member's backend to those that end a sleep, or takes them out. */
static void watch_backends(struct member *member, bool adds)
{
	struct interest *const set = member->set;
	const struct netmap_binding *const binding = &member->attachment->binding;
	struct epoll_event event = { .data.ptr = member->attachment };
	bool is_sure = true;

	if (!binding->watched_count && !binding->is_carried)
		return;
	if (set->backends < 0 && adds) {
		const int made = (int)syscall(SYS_epoll_create1, EPOLL_CLOEXEC);

		set->backends = made < 0 ? -1 : move_up(made);
	}
	for (int i = 0; i < binding->watched_count; i++) {
		const int fd = binding->watched[i].descriptor;

		/* Entries of one descriptor are one member here. */
		event.events = EPOLLET;
		for (int other = 0; other < binding->watched_count; other++)
			if (binding->watched[other].descriptor == fd)
				event.events |= (uint16_t)binding->watched[other].events;
		if (!adds)
			syscall(SYS_epoll_ctl, set->backends, EPOLL_CTL_DEL, fd, &event);
		else if (syscall(SYS_epoll_ctl, set->backends, EPOLL_CTL_ADD, fd, &event) && errno != EEXIST)
			is_sure = false;
	}
	/* The token hangs up when the process that carries the packets ends. */
	event.events = EPOLLET;
	if (binding->is_carried &&
	    syscall(SYS_epoll_ctl, set->backends, adds ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, member->fd, &event) &&
	    adds && errno != EEXIST)
		is_sure = false;
	if (!is_sure && adds && !member->is_polled) {
		member->is_polled = true;
		set->polled_count++;
	}
}

/* The doorbell that waits on the set watch; others are of another netmapd. -1 if there is none. */
static int doorbell_of(const struct interest *set)
{
	const struct member *one = set->members;

	for (size_t i = 0; i < set->count; i++, one = one->next)
		if (one->attachment)
			return one->attachment->binding.doorbell;
	return -1;
}

void member_attach(struct member *member, struct attachment *attachment)
{
	struct interest *const set = member->set;

	if (!attachment->members) {
		struct attachment **const bucket = bucket_of(attachment->places.segment);

		attachment->next_in_bucket = *bucket;
		*bucket = attachment;
	}
	member->attachment = attachment;
	member->next_of_binding = attachment->members;
	attachment->members = member;
	member->is_watched = attachment->binding.watched_count || attachment->binding.is_carried;
	if (attachment->binding.is_polled || attachment->binding.doorbell != doorbell_of(set)) {
		member->is_polled = true;
		set->polled_count++;
	}
	watch_backends(member, true);
	/* The descriptor may have been closed while it was being attached: see end_descriptor(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&attachment->counts) < ONE_DESCRIPTOR)
		member_remove(member);
}

static void detach(struct member *member)
{
	struct attachment *const attachment = member->attachment;
	struct member **place = &attachment->members;
	bool has_other = false;

	while (*place != member)
		place = &(*place)->next_of_binding;
	*place = member->next_of_binding;
	for (const struct member *other = attachment->members; other; other = other->next_of_binding)
		has_other |= other->set == member->set;
	if (!has_other && member->set->backends >= 0)
		watch_backends(member, false);
	if (!attachment->members) {
		struct attachment **entry = bucket_of(attachment->places.segment);

		while (*entry != attachment)
			entry = &(*entry)->next_in_bucket;
		*entry = attachment->next_in_bucket;
	}
	member->attachment = NULL;
}

/* Sets and their numbers */

static bool has_tokens(const struct interest *set, int depth)
{
	const struct member *one = set->members;

	if (set->tokens)
		return true;
	for (size_t i = 0; depth && set->nested_count && i < set->count; i++, one = one->next)
		if (one->nested && has_tokens(one->nested, depth - 1))
			return true;
	return false;
}

/* Says what waits on a set's numbers have to do, and on those of the sets that contain it. */
void interest_mark_numbers(struct interest *set, int depth)
{
	const uint8_t state = has_tokens(set, DEEPEST) ? FD_EPOLL : FD_INSTANCE;

	for (size_t chunk = 0; chunk < FD_COUNT / CHUNK; chunk++)
		for (int i = 0; chunks[chunk] && i < CHUNK; i++) {
			const struct number *const number = chunks[chunk] + i;
			const int fd = (int)(chunk * CHUNK) + i;

			if (number->set != set || fd_state(fd) == state)
				continue;
			fd_mark(fd, state);
			for (const struct member *one = number->members; one && depth; one = one->next_of_number)
				if (one->nested == set)
					interest_mark_numbers(one->set, depth - 1);
		}
}

/* Frees a set that nothing leads to. */
static void tidy_set(struct interest *set)
{
	struct interest **place = &sets;

	if (set->numbers || set->users)
		return;
	while (set->members)
		member_remove(set->members);
	if (set->backends >= 0)
		close_private(set->backends);
	while (*place != set)
		place = &(*place)->next;
	*place = set->next;
	set->next = free_sets;
	free_sets = set;
}

void interest_release(struct interest *set)
{
	set->users--;
	tidy_set(set);
}

void interest_drop_number(int fd)
{
	struct number *const number = number_of(fd);
	struct interest *const set = number ? number->set : NULL;

	if (!set)
		return;
	number->set = NULL;
	if (--set->numbers)
		return;
	set->users++;
	/* Sets that contain it: the kernel takes the instance out when its last number is closed. */
	for (size_t chunk = 0; chunk < FD_COUNT / CHUNK; chunk++)
		for (int i = 0; chunks[chunk] && i < CHUNK; i++)
			for (struct member *one = chunks[chunk][i].members, *next; one; one = next) {
				next = one->next_of_number;
				if (one->nested == set)
					member_remove(one);
			}
	while (set->members)
		member_remove(set->members);
	if (set->sleepers)
		kick();
	interest_release(set);
}

struct member *member_add(struct interest *set, int fd, uint64_t cookie, const struct epoll_event *event)
{
	struct number *const number = make_number(fd);
	struct member *const made = number ? new_member() : NULL;

	if (!made)
		return NULL;
	made->set = set;
	made->fd = fd;
	made->cookie = cookie;
	made->events = event->events;
	made->data = event->data.u64;
	made->is_fresh = true;
	made->next_of_number = number->members;
	number->members = made;
	if (set->members) {
		made->next = set->members;
		made->previous = set->members->previous;
		made->previous->next = made->next->previous = made;
	} else {
		set->members = set->rotor = made->next = made->previous = made;
	}
	set->count++;
	return made;
}

void member_remove(struct member *member)
{
	struct interest *const set = member->set;
	struct member **place = &number_of(member->fd)->members;

	if (member->attachment)
		detach(member);
	member_unlist(member);
	while (*place != member)
		place = &(*place)->next_of_number;
	*place = member->next_of_number;
	if (set->rotor == member)
		set->rotor = member->next;
	if (set->members == member)
		set->members = member->next;
	if (set->members == member)
		set->members = set->rotor = NULL;
	member->next->previous = member->previous;
	member->previous->next = member->next;
	set->count--;
	set->polled_count -= member->is_polled;
	if (member->nested) {
		set->nested_count--;
		interest_release(member->nested);
	} else {
		set->tokens--;
	}
	member->set = NULL;
	if (!set->tokens && set->numbers)
		interest_mark_numbers(set, DEEPEST);
	if (!member->is_busy)
		member_free(member);
}

struct interest *interest_begin(int epoll)
{
	struct interest *set;
	const struct number *number;

	interest_lock();
	number = number_of(epoll);
	set = number ? number->set : NULL;
	if (set)
		set->users++;
	interest_unlock();
	return set;
}

void interest_end(struct interest *set)
{
	interest_lock();
	interest_release(set);
	interest_unlock();
}

/* The set of an instance, made if necessary. */
struct interest *interest_make(int epoll)
{
	struct number *const number = make_number(epoll);

	if (!number)
		return NULL;
	if (!number->set) {
		number->set = new_set();
		if (number->set)
			number->set->numbers = 1;
	}
	return number->set;
}

struct interest *interest_of(int epoll)
{
	const struct number *const number = number_of(epoll);

	return number ? number->set : NULL;
}

bool interest_is_of(const struct interest *set, int epoll)
{
	bool result;

	interest_lock();
	result = interest_of(epoll) == set;
	interest_unlock();
	return result;
}

void interest_closed(int epoll)
{
	sigset_t mask;

	if (process_is_guest() || !process_is_known())
		return;
	mask = interest_lock_blocking();
	interest_drop_number(epoll);
	interest_unlock_blocking(mask);
}

void interest_copied(int from, int to)
{
	const uint8_t state = fd_state(from);
	struct interest *set;
	sigset_t mask;

	if (process_is_guest())
		return;
	if (!process_is_known() && !half_if_loaded())
		attachments_catch_up();
	if (!process_is_known())
		return;
	mask = interest_lock_blocking();
	interest_drop_number(to);
	/* Also an instance that has no tokens yet, which it may get by either number. */
	set = interest_make(from);
	if (set && make_number(to)) {
		number_of(to)->set = set;
		set->numbers++;
	}
	fd_mark(to, state);
	interest_unlock_blocking(mask);
}

/* Ends */

void interest_forget(struct attachment *attachment)
{
	const sigset_t mask = interest_lock_blocking();

	while (attachment->members) {
		struct interest *const set = attachment->members->set;

		member_remove(attachment->members);
		if (set->sleepers)
			kick();
	}
	interest_unlock_blocking(mask);
}

void interest_forget_unbound(int fd)
{
	const sigset_t mask = interest_lock_blocking();
	const struct number *const number = number_of(fd);

	for (struct member *one = number ? number->members : NULL, *next; one; one = next) {
		next = one->next_of_number;
		if (!one->attachment && !one->nested)
			member_remove(one);
	}
	interest_unlock_blocking(mask);
}

void interest_bound(int fd)
{
	const struct number *number;

	interest_lock();
	number = number_of(fd);
	for (struct member *one = number ? number->members : NULL; one; one = one->next_of_number)
		if (!one->attachment && !one->nested) {
			member_push(one);
			if (one->set->users)
				kick();
		}
	interest_unlock();
}

void interest_vacate(int fd)
{
	interest_lock();
	if (!interest_keep_marker(fd))
		for (struct interest *set = sets; set; set = set->next)
			set->has_marker = false;
	for (struct interest *set = sets; set; set = set->next) {
		struct member *one = set->members;

		for (size_t i = 0; i < set->count; i++, one = one->next) {
			if (one->attachment)
				detach(one);
			one->is_polled = one->is_watched = false;
			member_push(one);
		}
		set->polled_count = 0;
		if (set->backends >= 0)
			close_private(set->backends);
		set->backends = -1;
	}
	interest_unlock();
}

void interest_forked(void)
{
	/* A thread of the parent may have had it, unless fork(2) was called by libc's function. */
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	memset(buckets, 0, sizeof buckets);
	/* Where the program has closed the marker's number, instances get another marker. */
	if (!interest_keep_marker(-1))
		for (struct interest *set = sets; set; set = set->next)
			set->has_marker = false;
	for (struct interest *set = sets; set; set = set->next) {
		struct member *one = set->members;

		set->looking = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
		set->users = set->sleepers = 0;
		set->is_starting = false;
		set->polled_count = 0;
		if (set->backends >= 0)
			close_private(set->backends);
		set->backends = -1;
		for (size_t i = 0; i < set->count; i++, one = one->next) {
			one->attachment = NULL;
			one->is_busy = one->is_polled = one->is_watched = false;
			member_push(one);
		}
	}
	for (struct interest *set = sets; set; set = set->next) {
		struct member *one = set->members;

		for (size_t i = 0; i < set->count; i++, one = one->next)
			if (one->nested)
				one->nested->users++;
	}
}

/* Doorbells */

static void hear(uint32_t segment, uint32_t position)
{
	for (struct attachment *one = *bucket_of(segment); one; one = one->next_in_bucket) {
		const struct netmap_places *const places = &one->places;

		if (places->segment != segment)
			continue;
		for (int i = 0; i < 2; i++)
			if (position >= places->first[i] && position < places->end[i]) {
				for (struct member *member = one->members; member;
				     member = member->next_of_binding) {
					member->has_rung = true;
					member_push(member);
				}
				break;
			}
	}
}

uint64_t interest_everything(void)
{
	return atomic_load(&everything);
}

static void look_at_all(struct interest *set, int depth)
{
	const struct member *one = set->members;

	set->everything = interest_everything() - 1;
	for (size_t i = 0; depth && set->nested_count && i < set->count; i++, one = one->next)
		if (one->nested)
			look_at_all(one->nested, depth - 1);
}

void interest_look_at_all(struct interest *set, int depth)
{
	interest_lock();
	look_at_all(set, depth);
	interest_unlock();
}

void interest_heard(const uint64_t *names, size_t count)
{
	if (!names) {
		atomic_fetch_add(&everything, 1);
		return;
	}
	interest_lock();
	for (size_t i = 0; i < count; i++)
		if (names[i])
			hear((uint32_t)(names[i] >> 32), (uint32_t)names[i]);
		else
			atomic_fetch_add(&everything, 1);
	interest_unlock();
}
