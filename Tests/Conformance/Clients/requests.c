/* Each type of control request, each option, and each legacy command. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

/* Makes one request on a descriptor of its own. */
static int request(const char *name, int type, void *body, void *options)
{
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = (uint16_t)type,
				       .nr_body = (uintptr_t)body,
				       .nr_options = (uintptr_t)options };
	const int fd = open_device();
	int result, error;

	snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
	result = ioctl(fd, NIOCCTRL, &header);
	error = errno;
	CHECK(!close(fd));
	errno = error;
	return result;
}

static void port_info(void)
{
	struct nmreq_port_info_get info = { 0 }, pipe = { 0 };

	CHECK(!request("vale0:x", NETMAP_REQ_PORT_INFO_GET, &info, NULL));
	CHECK(info.nr_memsize && info.nr_tx_slots && info.nr_rx_slots && info.nr_tx_rings && info.nr_rx_rings);
	/* Also of a port that is not open. */
	CHECK(!request("info{1", NETMAP_REQ_PORT_INFO_GET, &pipe, NULL));
	CHECK(pipe.nr_memsize && pipe.nr_tx_rings == 1);
	info = (struct nmreq_port_info_get){ 0 };
	CHECK_FAILS(request("no-such-if", NETMAP_REQ_PORT_INFO_GET, &info, NULL), ENXIO);
}

static void pools_info(void)
{
	struct nmreq_pools_info info = { 0 };

	CHECK(!request("vale0:x", NETMAP_REQ_POOLS_INFO_GET, &info, NULL));
	CHECK(info.nr_memsize && info.nr_buf_pool_objtotal && info.nr_buf_pool_objsize >= 2048);
	CHECK(info.nr_if_pool_objtotal && info.nr_ring_pool_objtotal);
	CHECK_FAILS(request("", NETMAP_REQ_POOLS_INFO_GET, &info, NULL), ENXIO);
}

static void persistent(void)
{
	struct nmreq_vale_newif new = { .nr_tx_slots = 256, .nr_rx_slots = 256, .nr_tx_rings = 1, .nr_rx_rings = 1 };
	struct nmreq_vale_attach attach = { .reg = { .nr_mode = NR_REG_ALL_NIC } };
	struct nmreq_vale_detach detach = { 0 };
	struct nmreq_vale_list list = { 0 };

	CHECK(!request("per1", NETMAP_REQ_VALE_NEWIF, &new, NULL));
	CHECK_FAILS(request("per1", NETMAP_REQ_VALE_NEWIF, &new, NULL), EEXIST);
	CHECK(!request("vale1:per1", NETMAP_REQ_VALE_ATTACH, &attach, NULL));
	CHECK(attach.reg.nr_mem_id > 1);
	CHECK(request("vale1:per1", NETMAP_REQ_VALE_ATTACH, &attach, NULL) == -1);
	CHECK(!request("vale1:per1", NETMAP_REQ_VALE_LIST, &list, NULL));
	CHECK(request("per1", NETMAP_REQ_VALE_DELIF, NULL, NULL) == -1);
	CHECK(!request("vale1:per1", NETMAP_REQ_VALE_DETACH, &detach, NULL));
	CHECK(!request("per1", NETMAP_REQ_VALE_DELIF, NULL, NULL));
	CHECK(request("per1", NETMAP_REQ_VALE_DELIF, NULL, NULL) == -1);
}

static void list(void)
{
	struct port a = open_port("vale2:a"), b = open_port("vale2:b");
	struct nmreq_header header = { .nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_VALE_LIST };
	struct nmreq_vale_list place = { 0 };
	int count = 0;

	header.nr_body = (uintptr_t)&place;
	while (!ioctl(a.fd, NIOCCTRL, &header)) {
		CHECK(!strncmp(header.nr_name, "vale2:", 6) && count < 10);
		header.nr_name[0] = '\0';
		place.nr_port_idx++;
		count++;
	}
	CHECK(errno == ENOENT && count == 2);
	CHECK_FAILS(request("vale99:none", NETMAP_REQ_VALE_LIST, &place, NULL), ENOENT);
	CHECK(!close(b.fd));
}

static void headers(void)
{
	struct port port = open_port("vale3:h");
	static const uint32_t lengths[] = { 12, 10, 0 };

	for (int i = 0; i < 3; i++) {
		struct nmreq_port_hdr set = { .nr_hdr_len = lengths[i] }, get = { .nr_hdr_len = 99 };

		CHECK(!request("vale3:h", NETMAP_REQ_PORT_HDR_SET, &set, NULL));
		CHECK(!request("vale3:h", NETMAP_REQ_PORT_HDR_GET, &get, NULL));
		CHECK(get.nr_hdr_len == lengths[i]);
	}
	CHECK_FAILS(request("vale3:h", NETMAP_REQ_PORT_HDR_SET, &(struct nmreq_port_hdr){ .nr_hdr_len = 11 }, NULL),
		    EINVAL);
	CHECK(!close(port.fd));
}

static void polling(void)
{
	struct nmreq_vale_polling polling = { .nr_mode = NETMAP_POLLING_MODE_SINGLE_CPU, .nr_num_polling_cpus = 1 };

	/* There is no interface on this switch: VALE ports cannot be polled. */
	struct port port = open_port("vale4:p");

	CHECK(request("vale4:p", NETMAP_REQ_VALE_POLLING_ENABLE, &polling, NULL) == -1);
	CHECK(request("vale4:none", NETMAP_REQ_VALE_POLLING_DISABLE, &polling, NULL) == -1);
	polling.nr_mode = 99;
	CHECK_FAILS(request("vale4:p", NETMAP_REQ_VALE_POLLING_ENABLE, &polling, NULL), EINVAL);
	CHECK(!close(port.fd));
}

static void unknown(void)
{
	CHECK_FAILS(request("x", 16, NULL, NULL), EINVAL);
	CHECK_FAILS(request("x", 0, NULL, NULL), EINVAL);
}

/* Asks for a port with one option, which must be refused, and then for the same port without it. */
static void expect_refused(struct nmreq_option *option)
{
	struct nmreq_register reg = { .nr_mode = NR_REG_ALL_NIC };

	CHECK(request("option{1", NETMAP_REQ_REGISTER, &reg, option) == -1);
	CHECK(errno == EOPNOTSUPP && option->nro_status == EOPNOTSUPP);
	reg = (struct nmreq_register){ .nr_mode = NR_REG_ALL_NIC };
	CHECK(!request("option{1", NETMAP_REQ_REGISTER, &reg, NULL));
}

static void options_refused(void)
{
	struct nmreq_opt_sync_kloop_mode mode = { .nro_opt.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_MODE };
	struct nmreq_opt_sync_kloop_eventfds events = {
		.nro_opt = { .nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, .nro_size = sizeof events }
	};

	expect_refused(&mode.nro_opt);
	expect_refused(&events.nro_opt);
}

static void offsets(void)
{
	struct nmreq_opt_offsets option = { .nro_opt.nro_reqtype = NETMAP_REQ_OPT_OFFSETS,
					    .nro_max_offset = 256,
					    .nro_initial_offset = 64,
					    .nro_offset_bits = 16 };
	struct port port = { .fd = open_device(), .reg.nr_mode = NR_REG_ALL_NIC };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_name = "vale5:offsets",
				       .nr_body = (uintptr_t)&port.reg,
				       .nr_options = (uintptr_t)&option };
	struct netmap_ring *ring;

	CHECK(!ioctl(port.fd, NIOCCTRL, &header));
	CHECK(!option.nro_opt.nro_status && option.nro_max_offset >= 256);
	map_port(&port);
	ring = NETMAP_RXRING(port.nifp, 0);
	CHECK((ring->slot[0].ptr & ring->offset_mask) == 64);
}

static void versions(void)
{
	struct port port = { .fd = open_device() };
	struct nmreq_port_info_get info = { 0 };
	struct nmreq_header header = { .nr_reqtype = NETMAP_REQ_PORT_INFO_GET,
				       .nr_name = "vale0:v",
				       .nr_body = (uintptr_t)&info };

	for (uint16_t version = 12; version < 18; version++) {
		header.nr_version = version;
		info = (struct nmreq_port_info_get){ 0 };
		if (version == 14 || version == 15)
			CHECK(!ioctl(port.fd, NIOCCTRL, &header));
		else
			CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EINVAL);
	}
	header.nr_version = NETMAP_API;
	header.nr_reserved = 1;
	CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EINVAL);
	header.nr_reserved = 0;
	header.nr_body = 0;
	CHECK_FAILS(ioctl(port.fd, NIOCCTRL, &header), EINVAL);
}

static int legacy_request(unsigned long command, struct nmreq *one, const char *name, int what)
{
	const int fd = open_device();
	int result, error;

	one->nr_version = NETMAP_API;
	one->nr_cmd = (uint16_t)what;
	snprintf(one->nr_name, sizeof one->nr_name, "%s", name);
	result = ioctl(fd, command, one);
	error = errno;
	CHECK(!close(fd));
	errno = error;
	return result;
}

static void legacy(void)
{
	struct nmreq one = { 0 };
	struct port port = { .fd = -1 };

	CHECK(!legacy_request(NIOCGINFO, &one, "vale0:old", 0));
	CHECK(one.nr_memsize && one.nr_tx_slots && one.nr_tx_rings);
	memset(&one, 0, sizeof one);
	CHECK(!legacy_request(NIOCREGIF, &one, "vale0:old", 0));
	CHECK(one.nr_memsize && one.nr_rx_rings);
	memset(&one, 0, sizeof one);
	CHECK(!legacy_request(NIOCREGIF, &one, "oldper", NETMAP_BDG_NEWIF));
	memset(&one, 0, sizeof one);
	CHECK(!legacy_request(NIOCREGIF, &one, "vale6:oldper", NETMAP_BDG_ATTACH));
	memset(&one, 0, sizeof one);
	CHECK(!legacy_request(NIOCGINFO, &one, "vale6:oldper", NETMAP_BDG_LIST));
	memset(&one, 0, sizeof one);
	CHECK(!legacy_request(NIOCREGIF, &one, "vale6:oldper", NETMAP_BDG_DETACH));
	CHECK(!legacy_request(NIOCREGIF, &one, "oldper", NETMAP_BDG_DELIF));
	port = open_port("vale7:head");
	memset(&one, 0, sizeof one);
	one.nr_arg1 = 12;
	CHECK(!legacy_request(NIOCREGIF, &one, "vale7:head", NETMAP_BDG_VNET_HDR));
	memset(&one, 0, sizeof one);
	CHECK(!legacy_request(NIOCREGIF, &one, "vale7:head", NETMAP_VNET_HDR_GET));
	CHECK(one.nr_arg1 == 12);
	CHECK(!close(port.fd));
}

static void legacy_refused(void)
{
	static const int commands[] = { NETMAP_BDG_REGOPS, NETMAP_PT_HOST_CREATE, NETMAP_PT_HOST_DELETE, 99 };
	struct port port = open_port("vale8:p");
	struct nmreq one = { 0 };

	for (int i = 0; i < 4; i++) {
		memset(&one, 0, sizeof one);
		CHECK(legacy_request(NIOCREGIF, &one, "vale8:p", commands[i]) == -1);
		printf("%d: errno %d\n", commands[i], errno);
	}
	/* A port of a switch, which has no interrupts to replace. */
	one.nr_arg1 = NETMAP_POLLING_MODE_SINGLE_CPU;
	CHECK(legacy_request(NIOCREGIF, &one, "vale8:p", NETMAP_BDG_POLLING_ON) == -1);
	CHECK(legacy_request(NIOCREGIF, &one, "vale8:p", NETMAP_BDG_POLLING_OFF) == -1);
	for (uint32_t version = 0; version < 14; version++) {
		const int fd = open_device();

		one = (struct nmreq){ .nr_version = version, .nr_name = "vale8:q" };
		CHECK_FAILS(ioctl(fd, NIOCREGIF, &one), EINVAL);
		CHECK(!close(fd));
	}
	CHECK(!close(port.fd));
}

static void configuration(void)
{
	struct nm_ifreq message = { .nifr_name = "vale9:", .data = "anything" };
	struct port port;

	/* There is no such switch. */
	CHECK_FAILS(ioctl(open_device(), NIOCCONFIG, &message), EINVAL);
	port = open_port("vale9:a");
	/* There is one, whose module takes no messages; the descriptor may be any. */
	CHECK_FAILS(ioctl(port.fd, NIOCCONFIG, &message), EINVAL);
	CHECK(!strcmp(message.data, "anything") && !strcmp(message.nifr_name, "vale9:"));
	CHECK_FAILS(ioctl(port.fd, NIOCCONFIG, (void *)1), EFAULT);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "port-info", port_info },	    { "pools-info", pools_info },
		{ "persistent", persistent },	    { "list", list },
		{ "headers", headers },		    { "polling", polling },
		{ "unknown", unknown },		    { "options-refused", options_refused },
		{ "offsets", offsets },		    { "versions", versions },
		{ "legacy", legacy },		    { "legacy-refused", legacy_refused },
		{ "configuration", configuration }, { 0 },
	};

	return run_test(tests, count, arguments);
}
