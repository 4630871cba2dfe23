/*
 * The old interface: nm_open() with its suffixes, and NIOCREGIF and NIOCGINFO with commands in nr_cmd.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define NETMAP_WITH_LIBS
#include "client.h"

static struct nm_desc *open_name(const char *name)
{
	struct nm_desc *const d = nm_open(name, NULL, 0, NULL);

	CHECK(d);
	return d;
}

static void refuse_name(const char *name, int error)
{
	errno = 0;
	CHECK(!nm_open(name, NULL, 0, NULL));
	CHECK(!error || errno == error);
}

static void inject(struct nm_desc *d, int count)
{
	char frame[60];

	memset(frame, 0xff, 6);
	memset(frame + 6, 2, 6);
	memset(frame + 12, 7, 48);
	for (int i = 0; i < count; i++)
		CHECK(nm_inject(d, frame, sizeof frame) == sizeof frame);
	CHECK(!ioctl(d->fd, NIOCTXSYNC, NULL));
}

static void count_packet(u_char *counter, const struct nm_pkthdr *header, const u_char *frame)
{
	CHECK(header->len == 60 && frame[12] == 7);
	++*(int *)counter;
}

static int dispatch(struct nm_desc *d)
{
	int count = 0;

	CHECK(!ioctl(d->fd, NIOCRXSYNC, NULL));
	nm_dispatch(d, -1, count_packet, (u_char *)&count);
	return count;
}

static void pipe_ends(void)
{
	struct nm_desc *const sender = open_name("netmap:old{3");
	struct nm_desc *const receiver = open_name("netmap:old}3");

	CHECK(sender->req.nr_arg2 == receiver->req.nr_arg2);
	CHECK(!strcmp(sender->req.nr_name, "old"));
	inject(sender, 100);
	CHECK(dispatch(receiver) == 100);
	inject(receiver, 10);
	CHECK(dispatch(sender) == 10);
	CHECK(!nm_close(sender) && !nm_close(receiver));
}

/* With the size of a port that is made: 2 rings of 64 slots. */
static void one_ring(void)
{
	const struct nmreq size = {
		.nr_tx_rings = 2, .nr_rx_rings = 2, .nr_tx_slots = 64, .nr_rx_slots = 64
	};
	struct nm_desc *const parent = nm_open("vale7:two", &size, 0, NULL);
	struct nm_desc *ring;

	CHECK(parent && parent->first_tx_ring == 0 && parent->last_tx_ring == 1);
	CHECK(NETMAP_TXRING(parent->nifp, 0)->num_slots == 64);
	ring = open_name("vale7:two-1");
	CHECK(ring->first_tx_ring == 1 && ring->last_tx_ring == 1);
	CHECK(ring->first_rx_ring == 1 && ring->last_rx_ring == 1);
	/* The ring is in use. */
	refuse_name("vale7:two-1/x", EBUSY);
	nm_close(ring);
	refuse_name("vale7:two-2", EINVAL);
	nm_close(parent);
	ring = open_name("vale7:two-0/x");
	refuse_name("vale7:two-0", EBUSY);
	nm_close(ring);
}

static void directions(void)
{
	struct nm_desc *const receiver = open_name("vale7:r/R");
	struct nm_desc *const sender = open_name("vale7:t/T");

	CHECK(receiver->first_tx_ring > receiver->last_tx_ring || !receiver->nifp->ring_ofs[0]);
	CHECK(sender->nifp->ring_ofs[0]);
	inject(sender, 5);
	CHECK(dispatch(receiver) == 5);
	nm_close(receiver);
	nm_close(sender);
}

static void suffixes(void)
{
	char name[32];
	struct nm_desc *const d = open_name("netmap:memory{1");
	struct nm_desc *other;

	snprintf(name, sizeof name, "netmap:other{1@%d", d->req.nr_arg2);
	other = open_name(name);
	CHECK(other->req.nr_arg2 == d->req.nr_arg2);
	nm_close(other);
	/* The mapping of another descriptor. */
	other = nm_open(name, NULL, NM_OPEN_NO_MMAP, d);
	CHECK(other && other->mem == d->mem && !other->done_mmap);
	inject(other, 3);
	nm_close(other);
	nm_close(d);
	refuse_name("other:x", 0);
	refuse_name("netmap:x{1/q", 0);
	refuse_name("netmap:x{", 0);
	refuse_name("netmap:x{1@x", 0);
	/* Host rings, which a switch's port does not have. */
	refuse_name("vale7:host^", EINVAL);
	refuse_name("vale7:host*", EINVAL);
}

static int command(unsigned long request, struct nmreq *r, const char *name, int cmd)
{
	const int fd = open_device();
	int result, error;

	r->nr_version = NETMAP_API;
	r->nr_cmd = (uint16_t)cmd;
	snprintf(r->nr_name, sizeof r->nr_name, "%s", name);
	result = ioctl(fd, request, r);
	error = errno;
	close(fd);
	errno = error;
	return result;
}

static void switches(void)
{
	struct nmreq r = { .nr_tx_slots = 128, .nr_rx_slots = 128 };

	CHECK(!command(NIOCREGIF, &r, "per0", NETMAP_BDG_NEWIF));
	CHECK_FAILS(command(NIOCREGIF, &r, "per0", NETMAP_BDG_NEWIF), EEXIST);
	memset(&r, 0, sizeof r);
	CHECK(!command(NIOCREGIF, &r, "vale7:per0", NETMAP_BDG_ATTACH));
	memset(&r, 0, sizeof r);
	CHECK(!command(NIOCGINFO, &r, "vale7:per0", NETMAP_BDG_LIST));
	/* The first of all switches, by numbers. */
	memset(&r, 0, sizeof r);
	CHECK(!command(NIOCGINFO, &r, "", NETMAP_BDG_LIST));
	CHECK(!strcmp(r.nr_name, "vale7:per0"));
	r.nr_arg2++;
	CHECK_FAILS(command(NIOCGINFO, &r, "", NETMAP_BDG_LIST), ENOENT);
	CHECK_FAILS(command(NIOCREGIF, &r, "per0", NETMAP_BDG_DELIF), EBUSY);
	memset(&r, 0, sizeof r);
	CHECK(!command(NIOCREGIF, &r, "vale7:per0", NETMAP_BDG_DETACH));
	CHECK(!command(NIOCREGIF, &r, "per0", NETMAP_BDG_DELIF));
	CHECK_FAILS(command(NIOCREGIF, &r, "per0", NETMAP_BDG_DELIF), ENXIO);
	CHECK_FAILS(command(NIOCREGIF, &r, "per0", 77), EINVAL);
}

static void headers(void)
{
	struct nm_desc *const d = open_name("vale7:header");
	struct nmreq r = { .nr_arg1 = 12 };

	CHECK(!command(NIOCREGIF, &r, "vale7:header", NETMAP_BDG_VNET_HDR));
	r.nr_arg1 = 0;
	CHECK(!command(NIOCREGIF, &r, "vale7:header", NETMAP_VNET_HDR_GET));
	CHECK(r.nr_arg1 == 12);
	nm_close(d);
}

static void info(void)
{
	struct nm_desc *const d = open_name("vale7:info");
	struct nmreq r = { 0 };

	CHECK(!command(NIOCGINFO, &r, "vale7:info", 0));
	CHECK(r.nr_memsize == d->req.nr_memsize && r.nr_arg2 == d->req.nr_arg2);
	CHECK(r.nr_tx_rings == 1 && r.nr_rx_rings == 1);
	CHECK(r.nr_tx_slots == d->req.nr_tx_slots && r.nr_rx_slots == d->req.nr_rx_slots);
	nm_close(d);
	/* The region that the request names has gone. */
	CHECK_FAILS(command(NIOCGINFO, &r, "no-such-device", 0), EINVAL);
	r.nr_arg2 = 0;
	CHECK_FAILS(command(NIOCGINFO, &r, "no-such-device", 0), ENXIO);
}

static void extra_buffers(void)
{
	const struct nmreq wanted = { .nr_arg3 = 20 };
	struct nm_desc *const d = nm_open("netmap:extra{1", &wanted, NM_OPEN_ARG3, NULL);
	uint32_t index;
	int count = 0;

	CHECK(d);
	CHECK(d->req.nr_arg3 == 20);
	for (index = d->nifp->ni_bufs_head; index; count++)
		index = *(uint32_t *)(void *)NETMAP_BUF(NETMAP_TXRING(d->nifp, 0), index);
	CHECK(count == 20);
	nm_close(d);
}

static void versions(void)
{
	struct nmreq r = { 0 };
	const int fd = open_device();

	for (uint32_t version = NETMAP_API - 4; version <= NETMAP_API + 2; version++) {
		memset(&r, 0, sizeof r);
		snprintf(r.nr_name, sizeof r.nr_name, "vale7:v");
		r.nr_version = version;
		r.nr_flags = NR_REG_ALL_NIC;
		if (version < NETMAP_MIN_API)
			CHECK_FAILS(ioctl(fd, NIOCGINFO, &r), EINVAL);
		else
			CHECK(!ioctl(fd, NIOCGINFO, &r));
	}
	/* Rings by bits of nr_ringid, as before there were modes. */
	memset(&r, 0, sizeof r);
	snprintf(r.nr_name, sizeof r.nr_name, "vale7:v");
	r.nr_version = NETMAP_API;
	r.nr_ringid = NETMAP_HW_RING | 0;
	CHECK(!ioctl(fd, NIOCREGIF, &r));
	CHECK_FAILS(ioctl(fd, NIOCREGIF, &r), EBUSY);
	close(fd);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "pipe", pipe_ends },     { "one-ring", one_ring },     { "directions", directions },
		{ "suffixes", suffixes },  { "switches", switches },     { "headers", headers },
		{ "info", info },          { "extra", extra_buffers },   { "versions", versions },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
