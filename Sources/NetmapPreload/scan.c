/*
 * Looks at members of sets: syncs their rings as poll(2) does, and announces them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "interest.h"
#include "waiting.h"

enum {
	/* Members that are not ready but stay on the list, so that short sets are announced before sleeps only. */
	COLD = 8,
	/* Members that a wait looks at for packets to send. */
	LOOKS = 32,
	/* Looks for packets to send with the lock held. */
	LOOKS_AT_ONCE = 64,
};

/* Whether a store to the report's next event will not fault. */
static bool can_store(struct report *report)
{
	const struct epoll_event *const event = report->events + report->count;
	const uintptr_t first = (uintptr_t)event / 4096, last = ((uintptr_t)(event + 1) - 1) / 4096;

	/* Asks for the signal mask: the kernel stores eight bytes, or fails. NULL would mean that it need not. */
	if (!event)
		return false;
	if (first != report->writable &&
	    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, event, (size_t)(_NSIG / 8)))
		return false;
	if (last != first && syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, (char *)(event + 1) - 8,
				     (size_t)(_NSIG / 8)))
		return false;
	report->writable = last;
	return true;
}

/* A look at a member, which is busy meanwhile. */
struct look {
	struct member *member;
	/* With one more user, each. */
	struct attachment *attachment;
	struct interest *nested;
	const struct netmap_binding *binding;
	/* Of the member when the look began. */
	uint32_t events, changes;
	bool is_disabled, had_rung;
	unsigned wanted;
	/* Progress after the look is certain to put the member on the list. */
	bool is_sure;
	/* Whether a wait reports the member now. */
	bool is_news;
	/* The member stays on the list in any case. */
	bool stays;
	uint32_t result;
	uint64_t progress;
};

static void announce(struct look *look, bool sleeps)
{
	const struct netmap_half *const swift = half_if_loaded();

	if (!(sleeps ? swift->arm(look->binding, look->wanted, 0) : swift->announce(look->binding, look->wanted)))
		look->is_sure = false;
	atomic_thread_fence(memory_order_seq_cst);
}

static void sync_rings(struct look *look)
{
	int passed_over = 0;
	const unsigned ready = half_if_loaded()->scan(look->binding, look->wanted, &passed_over);

	look->result = (uint16_t)poll_events(ready, (short)look->events);
	if (passed_over)
		look->is_sure = false;
}

/* Whether a wait reports the member now. */
static bool is_news(const struct look *look)
{
	const struct member *const member = look->member;

	if (!look->result || look->is_disabled)
		return false;
	if (!(look->events & EPOLLET) || member->is_fresh)
		return true;
	if (look->result & EPOLLERR)
		return !(member->last & EPOLLERR);
	return look->had_rung || look->progress != member->progress;
}

/* Finds the binding of a token that had none. */
static void bind(struct look *look)
{
	struct member *const member = look->member;
	int error;

	/* Another file may have the number by now. */
	if (fd_cookie(member->fd) != member->cookie) {
		interest_lock();
		if (member->set)
			member_remove(member);
		interest_unlock();
		return;
	}
	look->attachment = attachment_begin_control(member->fd, &error);
	if (!look->attachment)
		return;
	interest_lock();
	if (member->set && !member->attachment)
		member_attach(member, look->attachment);
	interest_unlock();
}

static void look_at_set(struct look *look, bool settles, int depth)
{
	struct interest *const nested = look->nested;

	look->stays = true;
	look->progress = nested->pushes;
	if (depth && (settles ? interest_settle(nested, depth - 1) : interest_scan(nested, NULL, depth - 1)))
		look->result = look->events & (EPOLLIN | EPOLLRDNORM);
	if (!depth || nested->is_unsure)
		look->is_sure = false;
}

static void look_at_token(struct look *look, bool settles)
{
	if (!look->attachment)
		bind(look);
	if (!look->attachment) {
		look->result = look->member->set ? EPOLLERR : 0;
		return;
	}
	look->binding = &look->attachment->binding;
	look->wanted = look->is_disabled ? 0 : poll_wanted((short)look->events);
	inside_half++;
	/* What comes after the announcement is an edge, or progress that the member must come back on the list for. */
	if (settles || look->events & EPOLLET || look->is_disabled)
		announce(look, settles);
	sync_rings(look);
	if (look->events & EPOLLET)
		look->progress = half_if_loaded()->progress(look->binding, look->wanted);
	inside_half--;
	look->stays |= !look->is_sure;
}

/* Makes a look, without the lock. settles: announces the member, so that it need not stay on the list. */
static void make(struct look *look, bool settles, int depth)
{
	if (look->nested)
		look_at_set(look, settles, depth);
	else
		look_at_token(look, settles);
	look->is_news = is_news(look);
}

/* Begins a look at the first member of the list, under the lock. Returns false if there is none. */
static bool begin(struct interest *set, struct look *look)
{
	struct member *const first = set->first;

	if (!first)
		return false;
	member_unlist(first);
	first->is_busy = true;
	*look = (struct look){ .member = first, .attachment = first->attachment, .nested = first->nested,
			       .events = first->events, .changes = first->changes,
			       .is_disabled = first->is_disabled,
			       .had_rung = first->has_rung, .is_sure = true };
	/* Set again if it rings during the look. */
	first->has_rung = false;
	if (look->attachment)
		atomic_fetch_add(&look->attachment->counts, ONE_USER);
	if (look->nested)
		look->nested->users++;
	return true;
}

static void report_news(const struct look *look, struct report *report)
{
	struct member *const member = look->member;

	report->events[report->count++] =
		(struct epoll_event){ .events = look->result, .data.u64 = member->data };
	member->is_fresh = false;
	member->progress = look->progress;
	member->last = look->result;
	if (member->events & EPOLLONESHOT)
		member->is_disabled = true;
	else if (!(member->events & EPOLLET))
		report->has_more = true;
	/* It has to be looked at again: it may stay ready, and its program may send. */
	member_push(member);
}

/* Puts a member that is to be reported back to the list's beginning. */
static void put_back(const struct look *look)
{
	struct member *const member = look->member;
	struct interest *const set = member->set;

	member->has_rung |= look->had_rung;
	member_unlist(member);
	member->later = set->first;
	member->earlier = NULL;
	*(set->first ? &set->first->earlier : &set->last) = member;
	set->first = member;
	member->is_listed = true;
	set->listed++;
}

/* Ends a look, under the lock. Returns whether the member is ready. */
static bool finish(struct look *look, struct report *report)
{
	struct member *const member = look->member;
	struct interest *const set = member->set;

	member->is_busy = false;
	if (look->nested)
		interest_release(look->nested);
	/* Its last descriptor may have been closed meanwhile. */
	if (look->attachment)
		attachment_end_control(look->attachment);
	if (!set) {
		member_free(member);
		return false;
	}
	if (!look->is_sure)
		set->is_unsure = true;
	/* The program asks for something else meanwhile. */
	if (look->changes != member->changes) {
		member_push(member);
		return false;
	}
	if (!look->is_news) {
		member->last = look->result;
		if (look->events & EPOLLET)
			member->progress = look->progress;
		if (look->stays)
			member_push(member);
		return false;
	}
	if (report)
		report_news(look, report);
	else
		put_back(look);
	return true;
}

/* After a look at all members is due: puts them on the list. */
static void notice_everything(struct interest *set, uint64_t now)
{
	struct member *one = set->members;

	if (LIKELY(set->everything == now))
		return;
	set->everything = now;
	for (size_t i = 0; i < set->count; i++, one = one->next)
		member_push(one);
}

/* Looks at some members for packets to send. */
static void look_for_packets(struct interest *set, size_t count, bool with_watched)
{
	const struct netmap_half *const swift = half_if_loaded();

	inside_half++;
	for (size_t i = 0; i < count && set->rotor; i++) {
		struct member *const one = set->rotor;

		set->rotor = one->next;
		/* Removal takes the lock before the binding ends. */
		if (!one->is_listed && !one->is_busy && one->attachment &&
		    (one->is_polled || (with_watched && one->is_watched) ||
		     swift->has_unsent(&one->attachment->binding)))
			member_push(one);
	}
	inside_half--;
}

/* Begins to look at members of a set. Sets in sets are not waited for: one could contain itself. */
static bool begin_looking(struct interest *set, int depth)
{
	if (depth == DEEPEST ? pthread_mutex_lock(&set->looking) : pthread_mutex_trylock(&set->looking)) {
		set->is_unsure = true;
		return false;
	}
	interest_lock();
	return true;
}

static void end_looking(struct interest *set)
{
	interest_unlock();
	pthread_mutex_unlock(&set->looking);
}

bool interest_scan(struct interest *set, struct report *report, int depth)
{
	const uint64_t now = interest_everything();
	bool is_ready = false;
	size_t left, cold = 0;
	struct look look;

	if (!begin_looking(set, depth))
		return false;
	notice_everything(set, now);
	look_for_packets(set, set->count < LOOKS ? set->count : LOOKS, false);
	for (left = set->listed; left && (report ? report->count < report->most : !is_ready); left--) {
		if (!begin(set, &look))
			break;
		interest_unlock();
		make(&look, cold >= COLD, depth);
		if (look.is_news && report && !can_store(report))
			report->has_faulted = true;
		interest_lock();
		if (!look.is_news && !look.stays && cold < COLD && !(look.events & EPOLLET) && !look.is_disabled) {
			look.stays = true;
			cold++;
		}
		if (report && report->has_faulted) {
			finish(&look, NULL);
			break;
		}
		is_ready |= finish(&look, report);
	}
	if (report && left)
		report->has_more = true;
	end_looking(set);
	return is_ready;
}

/* Announces members on the list and looks again. Returns whether one is ready. Under the lock. */
static bool settle_listed(struct interest *set, int depth)
{
	bool is_ready = false;
	struct look look;

	for (size_t left = set->listed; left && !is_ready && begin(set, &look); left--) {
		interest_unlock();
		make(&look, true, depth);
		interest_lock();
		is_ready = finish(&look, NULL);
	}
	return is_ready;
}

bool interest_settle(struct interest *set, int depth)
{
	const uint64_t now = interest_everything();
	bool is_ready;

	if (!begin_looking(set, depth))
		return false;
	set->is_unsure = false;
	notice_everything(set, now);
	is_ready = settle_listed(set, depth);
	for (size_t left = set->count; left && !is_ready;) {
		const size_t some = left < LOOKS_AT_ONCE ? left : LOOKS_AT_ONCE, before = set->listed;

		look_for_packets(set, some, true);
		left -= some;
		if (set->listed > before)
			is_ready = settle_listed(set, depth);
		/* Other threads have their turn. */
		interest_unlock();
		interest_lock();
	}
	end_looking(set);
	return is_ready;
}

static void take_backends(struct interest *set, int depth)
{
	struct epoll_event events[16];
	const long count = set->backends < 0 ?
				   0 :
				   syscall(SYS_epoll_pwait, set->backends, events, 16, 0, NULL, (size_t)0);
	const struct member *other = set->members;

	for (long i = 0; i < count; i++) {
		struct attachment *const attachment = events[i].data.ptr;

		if (!attachment->members)
			continue;
		if (attachment->binding.is_carried && events[i].events & EPOLLHUP) {
			inside_half++;
			half_if_loaded()->abandon(&attachment->binding);
			inside_half--;
		}
		for (struct member *one = attachment->members; one; one = one->next_of_binding)
			member_push(one);
	}
	for (size_t i = 0; depth && set->nested_count && i < set->count; i++, other = other->next)
		if (other->nested)
			take_backends(other->nested, depth - 1);
}

void interest_take_backends(struct interest *set, int depth)
{
	interest_lock();
	take_backends(set, depth);
	interest_unlock();
}

static struct attachment *find_guide(const struct interest *set, int depth)
{
	struct attachment *found = NULL;
	const struct member *one = set->members;

	for (size_t i = 0; i < set->count && !found; i++, one = one->next)
		if (one->attachment)
			found = one->attachment;
		else if (one->nested && depth)
			found = find_guide(one->nested, depth - 1);
	return found;
}

struct attachment *interest_guide(struct interest *set, int depth)
{
	struct attachment *found;

	interest_lock();
	found = find_guide(set, depth);
	if (found)
		atomic_fetch_add(&found->counts, ONE_USER);
	interest_unlock();
	return found;
}

static bool is_polled(const struct interest *set, int depth)
{
	const struct member *one = set->members;

	if (set->polled_count)
		return true;
	for (size_t i = 0; depth && set->nested_count && i < set->count; i++, one = one->next)
		if (one->nested && is_polled(one->nested, depth - 1))
			return true;
	return false;
}

bool interest_is_polled(struct interest *set, int depth)
{
	bool result;

	interest_lock();
	result = is_polled(set, depth);
	interest_unlock();
	return result;
}
