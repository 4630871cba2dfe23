/*
 * ioctl(2) on tokens.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "interest.h"
#include "loop.h"

#include <net/netmap.h>
#include <sys/ioctl.h>

/* Whether a number is one of netmap's. The kernel looks at 32 bits. */
static inline bool is_netmap_request(unsigned long request)
{
	switch ((uint32_t)request) {
	case NIOCTXSYNC:
	case NIOCRXSYNC:
	case (uint32_t)NIOCCTRL:
	case (uint32_t)NIOCREGIF:
	case (uint32_t)NIOCGINFO:
	case (uint32_t)NIOCCONFIG:
		return true;
	}
	return false;
}

static int sync_rings(int fd, bool transmits)
{
	const struct netmap_half *swift;
	struct attachment *attachment;
	int error;

	/* A signal handler that interrupted a sync of this thread: the rings are busy. */
	if (!LIKELY(!inside_half))
		return 0;
	attachment = attachment_begin(fd, &error);
	if (!LIKELY(attachment)) {
		errno = error;
		return -1;
	}
	swift = half_if_loaded();
	inside_half++;
	error = transmits ? swift->transmit(&attachment->binding) : swift->receive(&attachment->binding);
	inside_half--;
	attachment_end(attachment);
	if (!LIKELY(!error)) {
		errno = error;
		return -1;
	}
	return 0;
}

struct control_request {
	int fd;
	uint32_t command;
	void *argument;
	/* Of a loop that is to be run, or waited for: with one more user. */
	struct attachment *attachment;
	struct netmap_loop loop;
	bool starts;
};

/* Within a crossing. */
static int make_request(void *argument)
{
	const struct netmap_half *const swift = half_if_loaded();
	struct control_request *const request = argument;
	int result, error = 0;

	attachments_tidy();
	/* Before the token is bound: it stays bound. */
	if (!attachment_is_possible(request->fd))
		return -ENOMEM;
	result = swift->request(request->fd, request->command, request->argument);
	if (result <= 0)
		return result;
	/* Bound: attached at once, so that the Swift half need not ask for the binding again. */
	error = attachment_make(request->fd);
	if (result & NETMAP_REQUEST_BINDS)
		interest_bound(request->fd);
	if (!(result & (NETMAP_REQUEST_LOOPS | NETMAP_REQUEST_STOPS)))
		return -error;
	request->starts = result & NETMAP_REQUEST_LOOPS && swift->take_loop(&request->loop);
	request->attachment = error ? NULL : attachment_use(request->fd);
	if (request->attachment)
		return 0;
	if (request->starts)
		swift->end_loop(&request->loop);
	return error ? -error : -EBADF;
}

static int control(int fd, uint32_t command, void *argument)
{
	struct control_request request = { .fd = fd, .command = command, .argument = argument };
	int result;

	if (!half())
		return -1;
	result = crossing_call(make_request, &request);
	if (request.attachment && request.starts)
		loop_run(request.attachment, &request.loop);
	else if (request.attachment)
		loop_wait(request.attachment);
	if (request.attachment)
		attachment_end_control(request.attachment);
	if (result < 0) {
		errno = -result;
		return -1;
	}
	return result;
}

typedef int ioctl_function(int, unsigned long, void *);
NEXT_AS(ioctl, ioctl_function)

/* libc's function is variadic: see open.c. */
SHOWN int interposed_ioctl(int fd, unsigned long request, void *argument) __asm__("ioctl");
int interposed_ioctl(int fd, unsigned long request, void *argument)
{
	if (LIKELY(fd_state(fd) != FD_NETMAP)) {
		/* Another device may have a request of the same number: then the kernel answers it. */
		if (LIKELY(!is_netmap_request(request)) || inside_half || !fd_probe(fd, true))
			return next_ioctl()(fd, request, argument);
	}
	switch ((uint32_t)request) {
	case NIOCTXSYNC:
		return sync_rings(fd, true);
	case NIOCRXSYNC:
		return sync_rings(fd, false);
	/* What the kernel does for every file. */
	case FIOCLEX:
	case FIONCLEX:
	case FIONBIO:
	case FIOASYNC:
		return next_ioctl()(fd, request, argument);
	}
	if (inside_half)
		return next_ioctl()(fd, request, argument);
	/* The number may be another file's by now, by a call that did not pass here. */
	if (!is_netmap_request(request) && !fd_is_still_netmap(fd))
		return next_ioctl()(fd, request, argument);
	return control(fd, (uint32_t)request, argument);
}
