/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "crace.h"

#include <errno.h>

#ifndef __x86_64__

int crace_prepare(volatile struct crace_death *death)
{
	(void)death;
	return ENOSYS;
}

int crace_share(void) { return ENOSYS; }

int crace_watch(const uint64_t *addresses, const uint32_t *widths, int stores_only, int count)
{
	(void)addresses, (void)widths, (void)stores_only, (void)count;
	return ENOSYS;
}

int crace_patch(const uint64_t *places, int count, uint32_t width)
{
	(void)places, (void)count, (void)width;
	return ENOSYS;
}

/* No caller gets here, because crace_prepare() has failed. */
uint32_t crace_count(int index) { return (void)index, 0; }
uint32_t crace_hits(void) { return 0; }
uint32_t crace_instructions(void) { return 0; }
void crace_keep(uint32_t index, uint64_t value) { (void)index, (void)value; }
uint64_t crace_kept(uint32_t index) { return (void)index, 0; }
uint64_t crace_place(uint32_t number) { return (void)number, 0; }
void crace_begin_steps(void) {}
void crace_end_steps(void) {}
uint64_t crace_beginning(uint64_t place) { return (void)place, 0; }
int crace_is_exchange(uint64_t beginning, uint64_t place) { return (void)beginning, (void)place, 0; }
void crace_set_plain_stores(const uint64_t *places, int count) { (void)places, (void)count; }
void crace_begin(const struct crace_round *round) { (void)round; }
struct crace_outcome crace_end(void) { return (struct crace_outcome){ 0 }; }
struct crace_store crace_stored(uint32_t number) { return (void)number, (struct crace_store){ 0 }; }

#else

#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* si_code of a watch's signal, where the C library does not name it. */
#ifndef TRAP_PERF
#define TRAP_PERF 6
#endif

static volatile struct crace_death *death;
static __thread int is_attacked;

/* MARK: instructions */

/* The memory that an instruction accesses. */
struct access {
	uint64_t address;
	uint32_t bytes;
};

static const int registers[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

/* Whether an opcode of one byte is followed by a ModRM byte (Intel SDM, volume 2, appendix A). */
static int has_operand(uint8_t opcode)
{
	if (opcode < 0x40)
		return (opcode & 7) < 4;
	switch (opcode) {
	case 0x63: case 0x69: case 0x6b: case 0xc0: case 0xc1: case 0xc6: case 0xc7:
	case 0xf6: case 0xf7: case 0xfe: case 0xff:
		return 1;
	}
	return (opcode >= 0x80 && opcode <= 0x8b) || (opcode >= 0xd0 && opcode <= 0xd3);
}

/* The same for opcodes after 0x0f, without those that access no memory: prefetches, hints and fences. */
static int has_long_operand(uint8_t opcode)
{
	if (opcode == 0x0d || (opcode >= 0x18 && opcode <= 0x1f))
		return 0;
	return (opcode >= 0x10 && opcode <= 0x17) || (opcode >= 0x28 && opcode <= 0x2f) ||
	       (opcode >= 0x40 && opcode <= 0x76) || (opcode >= 0x7c && opcode <= 0x7f) ||
	       (opcode >= 0x90 && opcode <= 0x9f) || opcode == 0xa3 || opcode == 0xa4 || opcode == 0xa5 ||
	       (opcode >= 0xab && opcode <= 0xad) || (opcode >= 0xaf && opcode <= 0xc7) || opcode >= 0xd0;
}

/* Bytes that an SSE or AVX instruction with an opcode after 0x0f accesses. */
static uint32_t vector_bytes(uint8_t opcode, uint32_t full, int is_wide, int operand_size, int repeat)
{
	switch (opcode) {
	case 0x10: case 0x11:
		return repeat == 0xf3 ? 4 : repeat == 0xf2 ? 8 : full;
	case 0x6e:
		return is_wide ? 8 : 4;
	case 0x7e:
		return repeat == 0xf3 || is_wide ? 8 : 4;
	case 0x12: case 0x13: case 0x16: case 0x17: case 0xd6:
		return 8;
	case 0x2e: case 0x2f:
		return operand_size ? 8 : 4;
	case 0x2a: case 0x2c: case 0x2d:
		return is_wide ? 8 : 4;
	case 0x51: case 0x58: case 0x59: case 0x5a: case 0x5c: case 0x5d: case 0x5e: case 0x5f:
		return repeat == 0xf3 ? 4 : repeat == 0xf2 ? 8 : full;
	}
	return full;
}

/*
 * Finds the memory operand of an instruction before it is executed. The bytes are copied from the program; 16 of them can be read.
 *
 * Returns 1; 0 for instructions without a plain memory operand. movable becomes whether the instruction does the same at
 * another address.
 */
static int decode(const uint8_t *code, const greg_t *values, struct access *access, int *movable)
{
	const uint8_t *at = code;
	int operand_size = 0, repeat = 0, rex = 0, vector = 0, map = 0;
	uint32_t full = 16, scale = 1;
	uint8_t opcode, operand;
	uint64_t address = 0;
	int base_bit, index_bit, mod, rm, is_wide;

	*movable = 0;
	for (;; at++) {
		if (at - code > 8)
			return 0;
		if (*at == 0x66)
			operand_size = 1;
		else if (*at == 0xf2 || *at == 0xf3)
			repeat = *at;
		else if (*at != 0xf0 && *at != 0x2e && *at != 0x3e && *at != 0x26 && *at != 0x36)
			break;
	}
	/* Thread-local memory, and addresses of 32 bits. */
	if (*at == 0x64 || *at == 0x65 || *at == 0x67)
		return 0;
	if ((*at & 0xf0) == 0x40)
		rex = *at++;
	base_bit = (rex & 1) << 3;
	index_bit = (rex & 2) << 2;
	is_wide = (rex & 8) != 0;
	if (*at == 0xc5 || *at == 0xc4 || *at == 0x62) {
		/* VEX and EVEX prefixes: vectors of the AVX instruction sets. */
		uint8_t last;

		vector = 1;
		if (*at == 0xc5) {
			map = 1;
			base_bit = index_bit = 0;
			last = at[1];
			at += 2;
			full = last & 4 ? 32 : 16;
			repeat = (last & 3) == 2 ? 0xf3 : (last & 3) == 3 ? 0xf2 : 0;
			operand_size = (last & 3) == 1;
		} else {
			map = at[1] & (*at == 0x62 ? 7 : 31);
			base_bit = at[1] & 0x20 ? 0 : 8;
			index_bit = at[1] & 0x40 ? 0 : 8;
			last = at[2];
			is_wide = (last & 0x80) != 0;
			repeat = (last & 3) == 2 ? 0xf3 : (last & 3) == 3 ? 0xf2 : 0;
			operand_size = (last & 3) == 1;
			if (*at == 0x62) {
				/* Broadcasts, and registers above 15 in indexes. */
				if (at[3] & 0x10 || !(at[3] & 8))
					return 0;
				full = scale = 16u << (at[3] >> 5 & 3);
				at += 4;
			} else {
				full = last & 4 ? 32 : 16;
				at += 3;
			}
		}
		if (map != 1)
			return 0;
		opcode = *at++;
	} else if (*at == 0x0f) {
		map = 1;
		opcode = *++at;
		at++;
		if (opcode == 0x38 || opcode == 0x3a || !has_long_operand(opcode))
			return 0;
	} else {
		opcode = *at++;
		if (!has_operand(opcode))
			return 0;
	}
	operand = *at++;
	mod = operand >> 6;
	rm = operand & 7;
	if (mod == 3 || (map == 0 && opcode == 0xff && (operand >> 3 & 7) > 1))
		return 0;
	*movable = 1;
	if (rm == 4) {
		uint8_t sib = *at++;
		int index = (sib >> 3 & 7) | index_bit;

		if ((sib & 7) != 5 || mod != 0)
			address = (uint64_t)values[registers[(sib & 7) | base_bit]];
		else
			mod = 2;
		if (index != 4)
			address += (uint64_t)values[registers[index]] << (sib >> 6);
	} else if (rm == 5 && mod == 0) {
		/* Relative to the next instruction, whose address is not known here: never shared memory. */
		*movable = 0;
		return 0;
	} else {
		address = (uint64_t)values[registers[rm | base_bit]];
	}
	if (mod == 1) {
		address += (uint64_t)((int64_t)(int8_t)*at * (int64_t)scale);
	} else if (mod == 2) {
		int32_t distance;

		memcpy(&distance, at, 4);
		address += (uint64_t)(int64_t)distance;
	}
	access->address = address;
	if (vector)
		access->bytes = vector_bytes(opcode, full, is_wide, operand_size, repeat);
	else if (map == 1 && (opcode == 0xb6 || opcode == 0xbe || opcode == 0xb0 || opcode == 0xc0 ||
			      (opcode & 0xf0) == 0x90))
		access->bytes = 1;
	else if (map == 1 && (opcode == 0xb7 || opcode == 0xbf))
		access->bytes = 2;
	else if (map == 1 && opcode == 0xc7)
		access->bytes = is_wide ? 16 : 8;
	else if (map == 1 && (opcode < 0x40 || (opcode >= 0x50 && opcode < 0x80) || opcode == 0xc2 ||
			      opcode == 0xc6 || opcode >= 0xd0))
		access->bytes = vector_bytes(opcode, 16, is_wide, operand_size, repeat);
	else if (map == 0 && !(opcode & 1) && opcode != 0x63 && opcode != 0x69 && opcode != 0x6b)
		access->bytes = 1;
	else
		access->bytes = opcode == 0x63 && map == 0 ? 4 : is_wide ? 8 : operand_size ? 2 : 4;
	return 1;
}

int crace_is_exchange(uint64_t beginning, uint64_t place)
{
	const uint8_t *at = (const uint8_t *)beginning;
	const uint8_t *end = (const uint8_t *)place;

	for (; at < end; at++) {
		if (*at == 0xf0)
			return 1;
		if (*at != 0x66 && *at != 0xf2 && *at != 0xf3 && (*at & 0xf0) != 0x40)
			break;
	}
	/* xchg, and arithmetic whose target is memory: it loads the word and stores the result. */
	if (at >= end)
		return 0;
	if (*at == 0x86 || *at == 0x87)
		return 1;
	if (*at < 0x38 && (*at & 7) < 2)
		return 1;
	return *at == 0x80 || *at == 0x81 || *at == 0x83 || *at == 0xf6 || *at == 0xf7 || *at == 0xfe ||
	       *at == 0xff || *at == 0xc0 || *at == 0xc1 || (*at >= 0xd0 && *at <= 0xd3);
}

/* MARK: rounds */

static struct crace_round round_now;
static struct crace_outcome outcome;
static struct crace_store stored[CRACE_STORES];
static int is_attacking;
/* Whether further accesses change nothing. */
static int is_done;
static uint64_t back_address, back_old;

#define PLAIN_STORES 4096
static uint64_t plain_stores[PLAIN_STORES];
static int plain_store_count;

static int is_plain_store(uint64_t place)
{
	int low = 0, high = plain_store_count;

	while (low < high) {
		int middle = (low + high) / 2;

		if (plain_stores[middle] < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low < plain_store_count && plain_stores[low] == place;
}

void crace_set_plain_stores(const uint64_t *places, int count)
{
	plain_store_count = count < PLAIN_STORES ? count : PLAIN_STORES;
	memcpy(plain_stores, places, (size_t)plain_store_count * sizeof(*places));
}

static uint64_t load(uint64_t address, uint32_t width)
{
	switch (width) {
	case 1: return *(volatile uint8_t *)address;
	case 2: return *(volatile uint16_t *)address;
	case 4: return *(volatile uint32_t *)address;
	}
	return *(volatile uint64_t *)address;
}

static void store(uint64_t value, uint64_t address, uint32_t width)
{
	switch (width) {
	case 1: *(volatile uint8_t *)address = (uint8_t)value; break;
	case 2: *(volatile uint16_t *)address = (uint16_t)value; break;
	case 4: *(volatile uint32_t *)address = (uint32_t)value; break;
	default: *(volatile uint64_t *)address = value;
	}
}

static uint64_t ones(uint32_t bits) { return bits >= 64 ? ~0ull : (1ull << bits) - 1; }

static uint64_t hostile(uint64_t now)
{
	const uint64_t mask = ones(round_now.bits);
	const uint64_t part = now >> round_now.shift & mask;
	uint64_t value = round_now.value;

	if (round_now.kind == CRACE_DIFFERENCE)
		value = part + round_now.value;
	else if (round_now.kind == CRACE_FLIP)
		value = part ^ 1ull << (round_now.value & 63);
	return (now & ~(mask << round_now.shift)) | (value & mask) << round_now.shift;
}

/*
 * Decides about one access to a word. The word has its present value before and after a load.
 *
 * Returns whether the word gets another value.
 */
static int decide(uint64_t address, uint64_t place, uint64_t *value)
{
	const uint32_t number = outcome.accesses++;
	uint64_t now;
	uint32_t index;

	if (number < round_now.access || (round_now.mode == CRACE_ONCE && number != round_now.access))
		return 0;
	is_done = round_now.mode == CRACE_ONCE;
	now = load(address + round_now.alias, round_now.width);
	if (round_now.mode == CRACE_BACK && number > round_now.access) {
		*value = back_old;
		is_done = 1;
		return number == round_now.access + 1 && address == back_address;
	}
	*value = hostile(now);
	if (*value == now)
		return 0;
	back_address = address;
	back_old = now;
	for (index = 0; index < outcome.stores; index++)
		if (stored[index].address == address)
			break;
	if (index == CRACE_STORES)
		return 0;
	if (index == outcome.stores) {
		stored[index].address = address;
		stored[index].old = now;
		outcome.stores++;
	}
	stored[index].last = *value;
	if (!is_plain_store(place))
		outcome.changes++;
	return 1;
}

/* The word of the round that an access reaches; 0 for none. */
static uint64_t target(const struct access *access)
{
	uint64_t distance, index;

	/* The access may begin before the word. */
	if (access->address + access->bytes <= round_now.address)
		return 0;
	if (access->address < round_now.address + round_now.width)
		return round_now.address;
	distance = access->address - round_now.address;
	index = distance / round_now.stride;
	if (index < round_now.count && distance - index * round_now.stride < round_now.width)
		return round_now.address + index * round_now.stride;
	index++;
	if (index < round_now.count &&
	    round_now.address + index * round_now.stride < access->address + access->bytes)
		return round_now.address + index * round_now.stride;
	return 0;
}

/* MARK: watches */

static int watches[4] = { -1, -1, -1, -1 };
static int watch_count;
static uint32_t counts[4];
static uint64_t places_seen[CRACE_PLACES];

uint32_t crace_count(int index) { return counts[index & 3]; }

uint64_t crace_place(uint32_t number) { return number < CRACE_PLACES ? places_seen[number] : 0; }

static void fill(struct perf_event_attr *attr, uint64_t address, uint32_t width, int stores_only, int index)
{
	memset(attr, 0, sizeof(*attr));
	attr->type = PERF_TYPE_BREAKPOINT;
	attr->size = sizeof(*attr);
	attr->sample_period = 1;
	attr->bp_type = stores_only ? HW_BREAKPOINT_W : HW_BREAKPOINT_RW;
	attr->bp_addr = address;
	attr->bp_len = width;
	attr->sigtrap = 1;
	attr->remove_on_exec = 1;
	attr->exclude_kernel = 1;
	attr->exclude_hv = 1;
	attr->sig_data = (uint64_t)index;
}

int crace_watch(const uint64_t *addresses, const uint32_t *widths, int stores_only, int count)
{
	struct perf_event_attr attr;
	int index;

	for (index = 0; index < 4; index++) {
		if (index >= count) {
			if (watches[index] >= 0 && index < watch_count)
				ioctl(watches[index], PERF_EVENT_IOC_DISABLE, 0);
			continue;
		}
		fill(&attr, addresses[index], widths[index], stores_only, index);
		if (watches[index] < 0) {
			watches[index] = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1,
						      PERF_FLAG_FD_CLOEXEC);
			if (watches[index] < 0)
				return errno;
		} else if (ioctl(watches[index], PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &attr) != 0 ||
			   (index >= watch_count && ioctl(watches[index], PERF_EVENT_IOC_ENABLE, 0) != 0)) {
			return errno;
		}
	}
	watch_count = count;
	memset(counts, 0, sizeof(counts));
	return 0;
}

/* MARK: steps */

#define EDGES (1u << 16)
/* What a process leaves to the next one, which may begin after this one was killed at any instruction. */
static struct {
	/* For the end of an instruction, its beginning. Open addressing; a full table forgets nothing and learns nothing. */
	struct { uint64_t place, beginning; } edges[EDGES];
	uint32_t edge_count;
	uint64_t kept[CRACE_KEPT];
} *shared;
static int is_stepping;
static uint32_t steps_left;
static uint64_t step_before;

int crace_share(void)
{
	if (shared != NULL)
		munmap(shared, sizeof(*shared));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared != MAP_FAILED)
		return 0;
	shared = NULL;
	return errno;
}

void crace_keep(uint32_t index, uint64_t value)
{
	if (index < CRACE_KEPT)
		shared->kept[index] = value;
}

uint64_t crace_kept(uint32_t index) { return index < CRACE_KEPT ? shared->kept[index] : 0; }

uint32_t crace_instructions(void) { return shared->edge_count; }

static uint32_t edge(uint64_t place)
{
	uint32_t index = (uint32_t)(place * 0x9e3779b97f4a7c15ull >> 48) % EDGES;

	while (shared->edges[index].place != 0 && shared->edges[index].place != place)
		index = (index + 1) % EDGES;
	return index;
}

static void note_edge(uint64_t beginning, uint64_t place)
{
	uint32_t index = edge(place);

	if (shared->edges[index].place == 0 && shared->edge_count < EDGES / 2) {
		shared->edges[index].beginning = beginning;
		/* The place makes the entry valid. */
		__asm__ volatile("" ::: "memory");
		shared->edges[index].place = place;
		shared->edge_count++;
	}
}

uint64_t crace_beginning(uint64_t place)
{
	uint32_t index = edge(place);

	return shared->edges[index].place == place ? shared->edges[index].beginning : 0;
}

/* MARK: breakpoints */

#define BREAKPOINTS 64
#define STUB 128

/* What a stub stores, and where. */
struct stub_store {
	uint64_t value;
	uint64_t address;
};

static struct breakpoint {
	uint64_t beginning, place;
	uint8_t code[16];
	/* Two copies of the instruction: one that goes on, one that changes the word first. */
	uint8_t *plain, *changing;
	struct stub_store store;
} breakpoints[BREAKPOINTS];
static int breakpoint_count;
static uint8_t *stubs;

static uint8_t *put(uint8_t *at, const void *bytes, size_t count)
{
	memcpy(at, bytes, count);
	return at + count;
}

static uint8_t *put_address(uint8_t *at, const void *pointer)
{
	return put(at, &pointer, sizeof(pointer));
}

/* jmp *0(%rip), and the address. */
static uint8_t *put_jump(uint8_t *at, uint64_t to)
{
	at = put(at, "\xff\x25\0\0\0\0", 6);
	return put(at, &to, 8);
}

static void write_stubs(struct breakpoint *point, uint32_t width)
{
	const size_t length = point->place - point->beginning;
	uint8_t *at = put(point->plain, point->code, length);

	put_jump(at, point->place);
	at = put(point->changing, point->code, length);
	/* No instruction here changes the flags, or the 128 bytes below the stack pointer. */
	at = put(at, "\x48\x8d\x64\x24\x80", 5);		/* lea -128(%rsp), %rsp */
	at = put(at, "\x50\x51\x48\xb9", 4);			/* push %rax; push %rcx; mov $store, %rcx */
	at = put_address(at, &point->store);
	at = put(at, "\x48\x8b\x01\x48\x8b\x49\x08", 7);	/* mov (%rcx), %rax; mov 8(%rcx), %rcx */
	switch (width) {
	case 1: at = put(at, "\x88\x01", 2); break;		/* mov %al, (%rcx) */
	case 2: at = put(at, "\x66\x89\x01", 3); break;
	case 4: at = put(at, "\x89\x01", 2); break;
	default: at = put(at, "\x48\x89\x01", 3);
	}
	at = put(at, "\x59\x58\x48\x8d\xa4\x24\x80\0\0\0", 10);	/* pop %rcx; pop %rax; lea 128(%rsp), %rsp */
	put_jump(at, point->place);
}

static int make_writable(uint64_t address, int is_writable)
{
	const uint64_t page = address & ~4095ull;

	return mprotect((void *)page, 4096, PROT_READ | PROT_EXEC | (is_writable ? PROT_WRITE : 0)) == 0 ? 0 : errno;
}

static uint32_t breakpoint_hits;

uint32_t crace_hits(void) { return breakpoint_hits; }

/* Whether the breakpoints are in the program. A thread that executes one that has just been removed goes on. */
static int is_armed;

static void arm(int wanted)
{
	for (int index = 0; index < breakpoint_count; index++)
		*(volatile uint8_t *)breakpoints[index].beginning = wanted ? 0xcc : breakpoints[index].code[0];
	is_armed = wanted;
}

static void remove_breakpoints(void)
{
	arm(0);
	for (int index = 0; index < breakpoint_count; index++)
		make_writable(breakpoints[index].beginning, 0);
	breakpoint_count = 0;
}

int crace_patch(const uint64_t *places, int count, uint32_t width)
{
	remove_breakpoints();
	if (count > BREAKPOINTS)
		return EOPNOTSUPP;
	if (stubs == NULL) {
		stubs = mmap(NULL, BREAKPOINTS * 2 * STUB, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (stubs == MAP_FAILED) {
			stubs = NULL;
			return errno;
		}
	}
	for (int index = 0; index < count; index++) {
		struct breakpoint *point = &breakpoints[index];
		static const greg_t none[NGREG];
		struct access access;
		int movable;

		point->place = places[index];
		point->beginning = crace_beginning(places[index]);
		if (point->beginning == 0)
			return EOPNOTSUPP;
		memcpy(point->code, (const void *)point->beginning, 16);
		if (!decode(point->code, none, &access, &movable) || !movable)
			return EOPNOTSUPP;
		point->plain = stubs + index * 2 * STUB;
		point->changing = point->plain + STUB;
		write_stubs(point, width);
	}
	for (int index = 0; index < count; index++) {
		struct breakpoint *point = &breakpoints[index];
		int error = make_writable(point->beginning, 1);

		if (error != 0) {
			remove_breakpoints();
			return error;
		}
		breakpoint_count = index + 1;
	}
	return 0;
}

/* MARK: signals */

static void end_process(int number, const siginfo_t *info, uint64_t instruction)
{
	/* In a copy of an instruction, the instruction itself is meant. */
	for (int index = 0; index < breakpoint_count; index++) {
		const uint64_t plain = (uint64_t)breakpoints[index].plain;

		if (instruction >= plain && instruction < plain + 2 * STUB)
			instruction = breakpoints[index].beginning;
	}
	death->instruction = instruction;
	death->address = (uint64_t)info->si_addr;
	death->signal = number;
	_exit(99);
}

static void watched(const siginfo_t *info, uint64_t place)
{
	unsigned long index;

	/* si_perf_data follows si_addr; older headers do not name it. */
	memcpy(&index, (const char *)info + offsetof(siginfo_t, si_addr) + sizeof(void *), sizeof(index));
	if (index == 0 && counts[0] < CRACE_PLACES)
		places_seen[counts[0]] = place;
	if (index < 4)
		counts[index]++;
	if (is_attacking && index == 0) {
		uint64_t value;

		if (decide(round_now.address, place, &value))
			store(value, round_now.address + round_now.alias, round_now.width);
	}
}

static void stepped(ucontext_t *context)
{
	greg_t *values = context->uc_mcontext.gregs;
	const uint64_t now = (uint64_t)values[REG_RIP];
	static struct access access;
	static int is_access;
	int movable;

	if (!is_stepping || steps_left-- == 0) {
		is_stepping = 0;
		values[REG_EFL] &= ~(greg_t)0x100;
		step_before = 0;
		return;
	}
	if (step_before != 0 && is_access && now > step_before && now - step_before <= 15) {
		uint64_t value, word;

		note_edge(step_before, now);
		if (is_attacking && (word = target(&access)) != 0 && decide(word, now, &value))
			store(value, word + round_now.alias, round_now.width);
	}
	step_before = now;
	is_access = decode((const uint8_t *)now, values, &access, &movable);
}

static void trapped(int number, siginfo_t *info, void *raw)
{
	const int saved = errno;
	ucontext_t *context = raw;
	greg_t *values = context->uc_mcontext.gregs;
	const uint64_t place = (uint64_t)values[REG_RIP];

	if (info->si_code == TRAP_PERF) {
		watched(info, place);
	} else if (info->si_code == SI_KERNEL) {
		struct access access;
		uint64_t word, value;
		struct breakpoint *point = NULL;
		int movable;

		for (int index = 0; index < breakpoint_count && point == NULL; index++)
			if (breakpoints[index].beginning == place - 1)
				point = &breakpoints[index];
		if (point == NULL)
			end_process(number, info, place - 1);
		breakpoint_hits++;
		values[REG_RIP] = (greg_t)point->plain;
		if (is_attacked && is_attacking && decode(point->code, values, &access, &movable) &&
		    (word = target(&access)) != 0 && decide(word, point->place, &value)) {
			point->store.value = value;
			point->store.address = word + round_now.alias;
			values[REG_RIP] = (greg_t)point->changing;
		}
		/* A breakpoint takes 2 us. */
		if (is_attacking && is_done && is_armed)
			arm(0);
	} else if (info->si_code == TRAP_TRACE) {
		stepped(context);
	} else {
		end_process(number, info, place);
	}
	errno = saved;
}

static void fault(int number, siginfo_t *info, void *raw)
{
	end_process(number, info, (uint64_t)((ucontext_t *)raw)->uc_mcontext.gregs[REG_RIP]);
}

int crace_prepare(volatile struct crace_death *note)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };
	static uint8_t stack[65536];
	const stack_t alternative = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (shared == NULL)
		return EINVAL;
	death = note;
	is_attacked = 1;
	if (sigaltstack(&alternative, NULL) != 0)
		return errno;
	for (size_t index = 0; index < sizeof(faults) / sizeof(*faults); index++)
		if (sigaction(faults[index], &action, NULL) != 0)
			return errno;
	action.sa_sigaction = trapped;
	action.sa_flags = SA_SIGINFO;
	return sigaction(SIGTRAP, &action, NULL) == 0 ? 0 : errno;
}

/* MARK: rounds, from outside */

__attribute__((noinline)) void crace_begin_steps(void)
{
	step_before = 0;
	steps_left = CRACE_STEPS;
	is_stepping = 1;
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
}

__attribute__((noinline)) void crace_end_steps(void)
{
	is_stepping = 0;
	__asm__ volatile("nop" ::: "memory");
}

void crace_begin(const struct crace_round *round)
{
	round_now = *round;
	memset(&outcome, 0, sizeof(outcome));
	memset(counts, 0, sizeof(counts));
	back_address = 0;
	is_done = 0;
	breakpoint_hits = 0;
	if (!is_armed)
		arm(1);
	is_attacking = 1;
}

struct crace_outcome crace_end(void)
{
	is_attacking = 0;
	return outcome;
}

struct crace_store crace_stored(uint32_t number)
{
	return number < outcome.stores ? stored[number] : (struct crace_store){ 0 };
}

#endif
