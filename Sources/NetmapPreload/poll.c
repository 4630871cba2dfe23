/*
 * poll(2), select(2) and their variants.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "descriptors.h"
#include "memory.h"
#include "waiting.h"

#include <limits.h>
#include <string.h>
#include <sys/select.h>

/* Whether a set has a token, if it has descriptors that are not known to be foreign. Looks at those that are new. */
static bool find_tokens(const struct pollfd *entries, nfds_t count)
{
	bool result = false;

	if (inside_half)
		return false;
	for (nfds_t i = 0; i < count; i++) {
		const uint8_t state = fd_state(entries[i].fd);

		result |= state == FD_NETMAP || state == FD_EPOLL ||
			  (state == FD_UNSEEN && fd_probe(entries[i].fd, false));
	}
	return result;
}

/* Whether it is one that can be read. Longer ones than the kernel accepts are none. */
static inline bool is_set(const struct pollfd *entries, nfds_t count)
{
	return count <= INT_MAX && can_read(entries, count * sizeof *entries);
}

/* Whether a set has a token. */
static inline bool has_tokens(const struct pollfd *entries, nfds_t count)
{
	unsigned others = 0;

	/* The kernel refuses it. */
	if (!LIKELY(is_set(entries, count)))
		return false;
	for (nfds_t i = 0; i < count; i++)
		others |= fd_state(entries[i].fd) ^ FD_FOREIGN;
	if (LIKELY(!others))
		return false;
	return count == 1 && others == (FD_NETMAP ^ FD_FOREIGN) ? !inside_half : find_tokens(entries, count);
}

static int poll_tokens(struct pollfd *entries, nfds_t count, int timeout)
{
	if (count == 1 && fd_state(entries->fd) == FD_NETMAP)
		return wait_for_token(entries, timeout);
	return wait_for_milliseconds(entries, count, timeout);
}

int __poll(struct pollfd *, nfds_t, int);
int __poll_chk(struct pollfd *, nfds_t, int, size_t);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);

#define POLL(name)                                                                                     \
	NEXT(name)                                                                                     \
	SHOWN int name(struct pollfd *entries, nfds_t count, int timeout)                              \
	{                                                                                              \
		/* What most programs for netmap do. */                                                \
		if (count == 1 && is_set(entries, 1) && !LIKELY(fd_state(entries->fd) != FD_NETMAP) && !inside_half) \
			return wait_for_token(entries, timeout);                                       \
		if (!LIKELY(!has_tokens(entries, count)))                                              \
			return poll_tokens(entries, count, timeout);                                   \
		return next_##name()(entries, count, timeout);                                         \
	}
POLL(poll)
POLL(__poll)

/* libc ends a program whose set is smaller than it says. */
NEXT(__poll_chk)
SHOWN int __poll_chk(struct pollfd *entries, nfds_t count, int timeout, size_t size)
{
	if (size / sizeof *entries >= count && !LIKELY(!has_tokens(entries, count)))
		return poll_tokens(entries, count, timeout);
	return next___poll_chk()(entries, count, timeout, size);
}

NEXT(ppoll)
SHOWN int ppoll(struct pollfd *entries, nfds_t count, const struct timespec *timeout,
		const sigset_t *mask)
{
	if (!LIKELY(!has_tokens(entries, count)))
		return wait_for(entries, count, timeout, mask);
	return next_ppoll()(entries, count, timeout, mask);
}

NEXT(__ppoll_chk)
SHOWN int __ppoll_chk(struct pollfd *entries, nfds_t count, const struct timespec *timeout,
		      const sigset_t *mask, size_t size)
{
	if (size / sizeof *entries >= count && !LIKELY(!has_tokens(entries, count)))
		return wait_for(entries, count, timeout, mask);
	return next___ppoll_chk()(entries, count, timeout, mask, size);
}

/* Sets of select(2) */

enum {
	WORD = 8 * sizeof(unsigned long),
	/* What readiness for reading, for writing and the exception are in terms of poll(2), as in the kernel. */
	READS = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
	WRITES = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR,
	EXCEPTS = POLLPRI,
};

/* Sets as programs pass them: of as many bits as the program says, which may be more than an fd_set has. */
struct sets {
	unsigned long *of[3];
	int count;
};

static inline unsigned long word_of(const struct sets *sets, int index)
{
	unsigned long word = 0;

	for (int i = 0; i < 3; i++)
		word |= sets->of[i] ? sets->of[i][index] : 0;
	return word;
}

/* Bytes of each set, as in the kernel. */
static inline size_t size_of(const struct sets *sets)
{
	return ((size_t)sets->count + WORD - 1) / WORD * sizeof(unsigned long);
}

static inline bool set_has_tokens(const struct sets *sets)
{
	/* The kernel refuses sets that cannot be read. */
	for (int i = 0; i < 3; i++)
		if (sets->of[i] && !LIKELY(can_read(sets->of[i], size_of(sets))))
			return false;
	for (int start = 0; start < sets->count; start += WORD) {
		unsigned long word = word_of(sets, start / WORD);

		for (; word; word &= word - 1) {
			const int fd = start + __builtin_ctzl(word);

			if (fd < sets->count && !LIKELY(fd_state(fd) == FD_FOREIGN) && !inside_half &&
			    (fd_state(fd) == FD_EPOLL || fd_probe(fd, false)))
				return true;
		}
	}
	return false;
}

static bool has_bit(const unsigned long *set, int fd)
{
	return set && set[fd / WORD] & 1UL << fd % WORD;
}

/* select(2) for sets with tokens. */
static int select_tokens(const struct sets *sets, const struct timespec *timeout, const sigset_t *mask)
{
	static const short asked[3] = { POLLIN | POLLRDNORM | POLLRDBAND,
					POLLOUT | POLLWRNORM | POLLWRBAND, POLLPRI };
	static const short answered[3] = { READS, WRITES, EXCEPTS };
	struct pollfd entries[sets->count];
	nfds_t count = 0;
	int result, bits = 0;

	for (int i = 0; i < 3; i++)
		if (sets->of[i] && !can_write(sets->of[i], size_of(sets))) {
			errno = EFAULT;
			return -1;
		}
	for (int fd = 0; fd < sets->count; fd++) {
		short events = 0;

		for (int i = 0; i < 3; i++)
			events |= has_bit(sets->of[i], fd) ? asked[i] : 0;
		if (events)
			entries[count++] = (struct pollfd){ .fd = fd, .events = events };
	}
	result = wait_for(entries, count, timeout, mask);
	if (result < 0)
		return -1;
	for (nfds_t e = 0; e < count; e++)
		if (entries[e].revents & POLLNVAL) {
			errno = EBADF;
			return -1;
		}
	for (nfds_t e = 0; e < count; e++)
		for (int i = 0; i < 3; i++) {
			const int fd = entries[e].fd;

			if (!has_bit(sets->of[i], fd))
				continue;
			if (entries[e].revents & answered[i])
				bits++;
			else
				sets->of[i][fd / WORD] &= ~(1UL << fd % WORD);
		}
	return bits;
}

/* The set of descriptors is made on the stack. An fd_set has 1024. */
static inline bool is_usual(int count)
{
	return count > 0 && count <= 1 << 12;
}

static int select_with_timeval(const struct sets *sets, struct timeval *timeout)
{
	struct timespec time, start, end;
	int64_t left;
	int result;

	if (!timeout)
		return select_tokens(sets, NULL, NULL);
	if (!can_read(timeout, sizeof *timeout)) {
		errno = EFAULT;
		return -1;
	}
	if (timeout->tv_sec < 0 || timeout->tv_usec < 0) {
		errno = EINVAL;
		return -1;
	}
	time = (struct timespec){ .tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000,
				  .tv_nsec = timeout->tv_usec % 1000000 * 1000 };
	clock_gettime(CLOCK_MONOTONIC, &start);
	result = select_tokens(sets, &time, NULL);
	clock_gettime(CLOCK_MONOTONIC, &end);
	/* Linux stores the time that is left, and does not mind if it cannot. */
	if (!can_write(timeout, sizeof *timeout))
		return result;
	left = (time.tv_sec + start.tv_sec - end.tv_sec) * INT64_C(1000000) +
	       (time.tv_nsec + start.tv_nsec - end.tv_nsec) / 1000;
	if (left < 0)
		left = 0;
	timeout->tv_sec = left / 1000000;
	timeout->tv_usec = left % 1000000;
	return result;
}

int __select(int, fd_set *, fd_set *, fd_set *, struct timeval *);

#define SELECT(name)                                                                                   \
	NEXT(name)                                                                                     \
	SHOWN int name(int count, fd_set *reads, fd_set *writes, fd_set *excepts,                      \
		       struct timeval *timeout)                                                        \
	{                                                                                              \
		const struct sets sets = { { (void *)reads, (void *)writes, (void *)excepts }, count }; \
                                                                                                       \
		if (is_usual(count) && !LIKELY(!set_has_tokens(&sets)))                                \
			return select_with_timeval(&sets, timeout);                                    \
		return next_##name()(count, reads, writes, excepts, timeout);                          \
	}
SELECT(select)
SELECT(__select)

NEXT(pselect)
SHOWN int pselect(int count, fd_set *reads, fd_set *writes, fd_set *excepts,
		  const struct timespec *timeout, const sigset_t *mask)
{
	const struct sets sets = { { (void *)reads, (void *)writes, (void *)excepts }, count };

	if (is_usual(count) && !LIKELY(!set_has_tokens(&sets)))
		return select_tokens(&sets, timeout, mask);
	return next_pselect()(count, reads, writes, excepts, timeout, mask);
}
