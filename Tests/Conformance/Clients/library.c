/* libnetmap's functions. Linked with -lnetmap, and not preloaded. SPDX-License-Identifier: BSD-2-Clause */
#include "client.h"

#include <libnetmap.h>

static char said[1000];

static void keep(struct nmctx *ctx, const char *message)
{
	(void)ctx;
	snprintf(said, sizeof said, "%s", message);
}

static void ports(void)
{
	struct nmport_d *const a = nmport_open("netmap:lib{1"), *const b = nmport_open("netmap:lib}1");
	char packet[60] = "hello";

	CHECK(a && b);
	CHECK(a->register_done && a->mmap_done && a->fd >= 0);
	CHECK(a->mem == b->mem && a->mem->refcount == 2);
	CHECK(a->first_tx_ring == 0 && a->last_tx_ring == 0);
	CHECK(nmport_inject(a, packet, sizeof packet) == sizeof packet);
	CHECK(!ioctl(a->fd, NIOCTXSYNC, NULL) && !ioctl(b->fd, NIOCRXSYNC, NULL));

	struct netmap_ring *const ring = NETMAP_RXRING(b->nifp, b->first_rx_ring);

	CHECK(nm_ring_space(ring) == 1);
	CHECK(!strcmp(NETMAP_BUF(ring, ring->slot[ring->head].buf_idx), "hello"));
	nmport_close(a);
	CHECK(b->mem->refcount == 1);
	nmport_close(b);
	nmport_close(NULL);
	CHECK(!nmctx_get()->mem_descs);
}

static void clones(void)
{
	struct nmport_d *const port = nmport_open("vale4:lib@conf:rings=2,tx-slots=256");
	struct nmport_d *copy;

	CHECK(port && port->reg.nr_tx_rings == 2 && port->reg.nr_tx_slots == 256);
	copy = nmport_clone(port);
	CHECK(copy && copy->fd == -1 && !copy->register_done && copy->reg.nr_mem_id == port->reg.nr_mem_id);
	CHECK(!nmport_open_desc(copy));
	CHECK(copy->mem == port->mem);
	CHECK_FAILS(nmport_register(copy), EINVAL);
	CHECK_FAILS(nmport_mmap(copy), EINVAL);
	nmport_undo_open_desc(copy);
	nmport_undo_open_desc(copy);
	nmport_undo_prepare(copy);
	nmport_close(port);
}

static void shares(void)
{
	struct nmport_d *const a = nmport_open("netmap:shared{1");
	struct nmport_d *const b = nmport_open("netmap:shared{2@share=netmap:shared{1");

	CHECK(a);
	CHECK(!b || b->mem == a->mem);
}

static void refusals(void)
{
	nmctx_get()->error = keep;
	CHECK(!nmport_open("eth0") && errno == EINVAL && said[0]);
	CHECK(!nmport_open("netmap:interface-that-does-not-exist"));
	CHECK(!nmport_open("netmap:none") && errno == ENXIO);
	CHECK(!nmport_open("netmap:a{1@unknown=1") && errno == EINVAL);
	CHECK(!nmport_open("netmap:a{1@offset=64") && errno == EOPNOTSUPP);
	CHECK(!nmport_open("netmap:a{1@conf=4") && errno == EINVAL);
	CHECK(!nmport_open("netmap:a{1@conf:rings=1,rings=1") && errno == EINVAL);
	CHECK(!nmport_enable_option("offset"));
	CHECK_FAILS(nmport_enable_option("unknown"), EOPNOTSUPP);

	struct nmport_d *const port = nmport_open("netmap:a{1@offset=64");

	CHECK(port && nmreq_find_option(&port->hdr, NETMAP_REQ_OPT_OFFSETS));
	nmport_close(port);
}

/* Name, mode, ring, flags and region of what a port name says; mode 0 stands for a refusal. */
struct name {
	const char *spec, *name;
	uint32_t mode;
	uint16_t ring, region;
	uint64_t flags;
};

static void names(void)
{
	static const struct name all[] = {
		{ "netmap:eth0", "eth0", NR_REG_ALL_NIC, 0, 0, 0 },
		{ "netmap:eth0-1", "eth0", NR_REG_ONE_NIC, 1, 0, 0 },
		{ "netmap:eth0-", NULL, 0, 0, 0, 0 },
		{ "netmap:eth0-1x", NULL, 0, 0, 0, 0 },
		{ "netmap:eth0-4094", "eth0", NR_REG_ONE_NIC, 4094, 0, 0 },
		{ "netmap:eth0-4095", NULL, 0, 0, 0, 0 },
		{ "netmap:eth0^", "eth0", NR_REG_SW, 0, 0, 0 },
		{ "netmap:eth0^3", "eth0", NR_REG_ONE_SW, 3, 0, 0 },
		{ "netmap:eth0*", "eth0", NR_REG_NIC_SW, 0, 0, 0 },
		{ "netmap:eth0*/x", "eth0", NR_REG_NIC_SW, 0, 0, NR_EXCLUSIVE },
		{ "netmap:eth0/zrt", "eth0", NR_REG_ALL_NIC, 0, 0,
		  NR_ZCOPY_MON | NR_MONITOR_RX | NR_MONITOR_TX },
		{ "netmap:eth0/RT", "eth0", NR_REG_ALL_NIC, 0, 0, NR_RX_RINGS_ONLY | NR_TX_RINGS_ONLY },
		{ "netmap:eth0/", NULL, 0, 0, 0, 0 },
		{ "netmap:eth0/w", NULL, 0, 0, 0, 0 },
		{ "netmap:eth0@2", "eth0", NR_REG_ALL_NIC, 0, 2, 0 },
		{ "netmap:eth0@2@2", "eth0", NR_REG_ALL_NIC, 0, 2, 0 },
		{ "netmap:eth0@2@3", NULL, 0, 0, 0, 0 },
		{ "netmap:eth0@", NULL, 0, 0, 0, 0 },
		{ "netmap:eth0@0", NULL, 0, 0, 0, 0 },
		{ "netmap:p{1/x@7", "p{1", NR_REG_ALL_NIC, 0, 7, NR_EXCLUSIVE },
		{ "netmap:p}x_1-0", "p}x_1", NR_REG_ONE_NIC, 0, 0, 0 },
		{ "netmap:p{", NULL, 0, 0, 0, 0 },
		{ "netmap:p{1}2", NULL, 0, 0, 0, 0 },
		{ "vale0:x", "vale0:x", NR_REG_ALL_NIC, 0, 0, 0 },
		{ "vale:x", "vale:x", NR_REG_ALL_NIC, 0, 0, 0 },
		{ "vale_0:x", "vale_0:x", NR_REG_ALL_NIC, 0, 0, 0 },
		{ "vale+:x", NULL, 0, 0, 0, 0 },
		{ "vale0", NULL, 0, 0, 0, 0 },
		{ "netmapx:eth0", NULL, 0, 0, 0, 0 },
		{ "netmap:", NULL, 0, 0, 0, 0 },
		{ "", NULL, 0, 0, 0, 0 },
	};

	nmctx_get()->error = keep;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		const struct name *const one = &all[i];
		struct nmreq_header header = { .nr_name = "untouched" };
		struct nmreq_register reg = { .nr_ringid = 99 };
		const char *rest = one->spec;
		int result;

		said[0] = '\0';
		result = nmreq_header_decode(&rest, &header, nmctx_get());
		if (result)
			CHECK(rest == one->spec && !strcmp(header.nr_name, "untouched"));
		if (!result) {
			const char *const mode = rest;

			result = nmreq_register_decode(&rest, &reg, nmctx_get());
			if (result)
				CHECK(rest == mode && reg.nr_ringid == 99);
		}
		printf("%s: %d %s\n", one->spec, result, said);
		CHECK(!result == (one->mode != 0));
		if (result) {
			CHECK(errno == EINVAL && said[0]);
			continue;
		}
		CHECK(!strcmp(header.nr_name, one->name) && reg.nr_mode == one->mode && !*rest);
		CHECK(reg.nr_ringid == one->ring && reg.nr_mem_id == one->region &&
		      reg.nr_flags == one->flags);
	}
}

/* The calls of libc on the descriptor go to the library that the program is linked with. */
static void waits(void)
{
	struct nmport_d *const a = nmport_open("netmap:linked{1"), *const b = nmport_open("netmap:linked}1");
	char packet[60] = { 0 };

	CHECK(a && b);
	struct pollfd entries[] = { { .fd = a->fd }, { .fd = b->fd, .events = POLLIN } };

	CHECK(!poll(entries, 2, 50));
	CHECK(nmport_inject(a, packet, sizeof packet));
	CHECK(poll(entries, 2, 20000) == 1 && entries[1].revents == POLLIN);
}

/* Needs NETMAP_LOAD=early. */
static void after_chroot(void)
{
	enter_empty_root();
	waits();
}

/* The steps of an open one by one, each undone and done again. */
static void steps(void)
{
	struct nmport_d *port = nmport_new(), *second;

	CHECK(port && port->fd == -1);
	CHECK(!nmport_parse(port, "netmap:steps{1"));
	nmport_undo_parse(port);
	CHECK(!nmport_parse(port, "netmap:steps{2"));
	CHECK(!nmport_register(port) && port->register_done);
	CHECK(!nmport_mmap(port) && port->mmap_done && port->nifp);
	nmport_undo_mmap(port);
	CHECK(!port->mmap_done && !nmport_mmap(port));
	nmport_undo_mmap(port);
	nmport_undo_register(port);
	CHECK(port->fd == -1 && !port->register_done);
	nmport_undo_parse(port);
	nmport_delete(port);
	second = nmport_prepare("netmap:steps{2/x");
	CHECK(second && !nmport_open_desc(second));
	nmport_close(second);
}

/* Memory of the program, and a file, as the region of ports. */
static void memory(void)
{
	static char memory[16 << 20] __attribute__((aligned(4096)));
	char file[] = "/tmp/netmap-extmem-XXXXXX", name[128];
	struct nmport_d *port = nmport_prepare("netmap:memory{1"), *other;

	nmctx_get()->error = keep;
	CHECK(port && !nmport_extmem_getinfo(port));
	CHECK(!nmport_extmem(port, memory, 1 << 16));
	CHECK(nmport_extmem_getinfo(port)->nr_memsize == 1 << 16);
	CHECK_FAILS(nmport_extmem(port, memory, sizeof memory), EINVAL);
	/* Too little */
	CHECK_FAILS(nmport_register(port), ENOMEM);
	nmport_undo_prepare(port);
	port = nmport_prepare("netmap:memory{1");
	CHECK(port && !nmport_extmem(port, memory, sizeof memory) && !nmport_open_desc(port));
	CHECK((char *)port->nifp >= memory && (char *)port->nifp < memory + sizeof memory);
	CHECK(nmport_extmem_getinfo(port)->nr_buf_pool_objsize == 2048);
	nmport_close(port);
	port = nmport_prepare("netmap:memory{1");
	CHECK_FAILS(nmport_extmem_from_file(port, "/nonexistent/file"), ENOENT);
	nmport_undo_prepare(port);
	CHECK(mkstemp(file) >= 0 && !truncate(file, sizeof memory));
	snprintf(name, sizeof name, "valeM:a@extmem:file=%s,if-num=4,ring-num=8", file);
	port = nmport_open(name);
	snprintf(name, sizeof name, "valeM:b@extmem=%s", file);
	other = nmport_open(name);
	CHECK(!unlink(file) && port && other);
	CHECK(nmport_extmem_getinfo(port)->nr_ring_pool_objtotal == 8);
	CHECK(port->reg.nr_mem_id == other->reg.nr_mem_id);
	CHECK(nmport_inject(port, memory, 60) == 60 && !ioctl(port->fd, NIOCTXSYNC, NULL));
	CHECK(!ioctl(other->fd, NIOCRXSYNC, NULL));
	CHECK(nm_ring_space(NETMAP_RXRING(other->nifp, 0)) == 1);
	nmport_close(other);
	nmport_close(port);
}

/* Offsets, and options that are switched off. */
static void settings(void)
{
	struct nmport_d *port = nmport_prepare("netmap:settings{1");

	nmctx_get()->error = keep;
	CHECK(!nmport_offset(port, 0, 128, 16, 0));
	CHECK(nmreq_find_option(&port->hdr, NETMAP_REQ_OPT_OFFSETS));
	CHECK(!nmport_open_desc(port));
	nmport_close(port);
	/* Numbers are read as by atoi. What is too high for a port becomes the most that it may have. */
	port = nmport_open("valeN:a@conf:rings=-1,tx-slots=100000");
	CHECK(port && port->reg.nr_tx_rings == 16 && port->reg.nr_rx_rings == 16);
	CHECK(port->reg.nr_tx_slots == 4096 && port->reg.nr_rx_slots == 1024);
	nmport_close(port);
	port = nmport_open("valeN:a@conf:rings=many");
	CHECK(port && port->reg.nr_tx_rings == 1);
	nmport_close(port);
	nmport_disable_option("conf");
	CHECK(!nmport_open("netmap:settings{1@conf:rings=1") && errno == EOPNOTSUPP);
	CHECK(!nmport_enable_option("conf"));
	port = nmport_open("netmap:settings{1@conf:rings=1");
	CHECK(port);
	nmport_close(port);
}

static int parse_probe(struct nmreq_parse_ctx *parse)
{
	const char **const values = parse->token;

	/* The texts end with the call. */
	values[0] = parse->keys[0] && !strcmp(parse->keys[0], "1") ? "one" : NULL;
	values[1] = parse->keys[1] && !strcmp(parse->keys[1], "2") ? "two" : NULL;
	return 0;
}

static void requests(void)
{
	struct nmreq_opt_parser parser = { .prefix = "probe",
					   .parse = parse_probe,
					   .default_key = 0,
					   .nr_keys = 2,
					   .keys = { { "a", 0, NMREQ_OPTK_DEFAULT }, { "b", 1, 0 } } };
	struct nmreq_option *const one = calloc(1, sizeof *one), *const other = calloc(1, sizeof *other);
	const char *values[2] = { NULL, NULL }, *name = "netmap:requests{1";
	struct nmreq_port_info_get info;
	struct nmport_d *const port = nmport_open(name);
	struct nmreq_header header;

	memset(&header, 0xff, sizeof header);
	nmreq_header_init(&header, NETMAP_REQ_PORT_INFO_GET, &info);
	CHECK(header.nr_version == NETMAP_API && header.nr_reqtype == NETMAP_REQ_PORT_INFO_GET);
	CHECK(!header.nr_options && header.nr_body == (uintptr_t)&info && !header.nr_name[0]);
	CHECK(one && other);
	one->nro_reqtype = NETMAP_REQ_OPT_CSB;
	other->nro_reqtype = NETMAP_REQ_OPT_OFFSETS;
	nmreq_push_option(&header, one);
	nmreq_push_option(&header, other);
	CHECK(nmreq_find_option(&header, NETMAP_REQ_OPT_CSB) == one);
	nmreq_remove_option(&header, one);
	CHECK(!nmreq_find_option(&header, NETMAP_REQ_OPT_CSB));
	nmreq_push_option(&header, one);
	nmreq_free_options(&header);
	CHECK(!strcmp(nmreq_option_name(NETMAP_REQ_OPT_CSB), "csb") && nmreq_option_name(99));
	nmctx_get()->error = keep;
	CHECK(!nmreq_options_decode("@probe:a=1,b=2", &parser, values, nmctx_get()));
	CHECK(values[0] && values[1]);
	CHECK(!nmreq_options_decode("@probe=1", &parser, values, nmctx_get()) && values[0] && !values[1]);
	CHECK_FAILS(nmreq_options_decode("@other=1", &parser, values, nmctx_get()), EINVAL);
	CHECK(port && nmreq_get_mem_id(&name, nmctx_get()) == port->reg.nr_mem_id && !*name);
	name = "netmap:no-such-if";
	CHECK(nmreq_get_mem_id(&name, nmctx_get()) == -1);
	nmport_close(port);
}

static int locks;

static void count_locks(struct nmctx *ctx, int lock)
{
	(void)ctx;
	locks += lock ? 1 : -1;
}

static void contexts(void)
{
	struct nmctx *const usual = nmctx_get();
	struct nmctx own = *usual, *const mine = &own;
	void *memory;

	mine->error = keep;
	mine->lock = count_locks;
	CHECK(nmctx_set_default(mine) == usual && nmctx_get() == mine);
	nmctx_lock(mine);
	CHECK(locks == 1);
	nmctx_unlock(mine);
	CHECK(!locks);
	memory = nmctx_malloc(mine, 100);
	CHECK(memory);
	nmctx_free(mine, memory);
	nmctx_ferror(mine, "%d and %s", 7, "text");
	CHECK(strstr(said, "7 and text"));
	CHECK(nmctx_set_default(usual) == mine);
	nmctx_set_threadsafe();
	CHECK(nmctx_get()->lock);
	/* What a static link needs; nothing sets it. */
	CHECK(!nmctx_threadsafe);
}

int main(int count, char **arguments)
{
	static const struct test tests[] = {
		{ "chroot", after_chroot },
		{ "ports", ports },	  { "clones", clones }, { "shares", shares },
		{ "refusals", refusals }, { "names", names },	{ "waits", waits },
		{ "steps", steps },	  { "settings", settings }, { "memory", memory }, { "requests", requests },
		{ "contexts", contexts },
		{ 0 },
	};

	return run_test(tests, count, arguments);
}
