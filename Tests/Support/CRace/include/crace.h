/*
 * Changes a word of the calling thread's memory right after an access of this thread to it.
 *
 * The processor reports the access: by a watch (perf_event_open(2), PERF_TYPE_BREAKPOINT with attr.sigtrap), by
 * single steps, or by a breakpoint in place of the instruction that is known to access the word. Each of them is a
 * SIGTRAP in the thread itself. Its handler changes the word through a second mapping of the memory, and returns.
 *
 * One thread of a process can be attacked. Linux on x86-64 only: elsewhere crace_prepare() fails with ENOSYS.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef CRACE_H
#define CRACE_H

#include <stdint.h>

/* What happens to the word. */
enum crace_mode {
	/* It changes once. */
	CRACE_ONCE = 0,
	/* It changes after each access from the chosen one on. */
	CRACE_ALWAYS = 1,
	/* It changes, and has its old value again after the next access. */
	CRACE_BACK = 2,
};

/* How the new value follows from the present one. */
enum crace_value {
	CRACE_CONSTANT = 0,
	CRACE_DIFFERENCE = 1,
	CRACE_FLIP = 2,
};

/* The words that one round attacks, and how. */
struct crace_round {
	/* The first word, in the memory that the thread uses. */
	uint64_t address;
	/* What is added to an address to reach the same byte in the second mapping. */
	uint64_t alias;
	/* The words: count of them, at a distance of stride bytes. Watches see the first one only. */
	uint64_t stride;
	uint32_t count;
	/* Bytes of a word: 1, 2, 4 or 8. */
	uint32_t width;
	/* The part of the word that changes. */
	uint32_t shift;
	uint32_t bits;
	/* The access after which it changes, the first one being 0. UINT32_MAX for never. */
	uint32_t access;
	enum crace_mode mode;
	enum crace_value kind;
	uint64_t value;
};

/* The most stores of a round that are noted. */
#define CRACE_STORES 64

/* A word that the handler has changed. */
struct crace_store {
	/* Its address in the memory that the thread uses. */
	uint64_t address;
	/* Its value before the first change, and after the last one. */
	uint64_t old;
	uint64_t last;
};

/* What one round has done. */
struct crace_outcome {
	/* Accesses to the words. */
	uint32_t accesses;
	/* Changes after an instruction that loads. */
	uint32_t changes;
	/* Words that were changed: at most CRACE_STORES, the others keep their values. */
	uint32_t stores;
};

/* Why the process ends, where its parent can read it. */
struct crace_death {
	int32_t signal;
	uint64_t instruction;
	uint64_t address;
};

/*
 * Prepares the calling thread, after crace_share(). Signals of faults and traps end the process with status 99 from now on, after
 * a note.
 *
 * Returns 0, or an errno.
 */
int crace_prepare(volatile struct crace_death *death);

/*
 * Forgets what steps have shown and what was kept, and has the processes that this one forks later share both. Processes that
 * were forked from one process have the same code at the same addresses. At most one of them may be attacked at a time.
 *
 * Returns 0, or an errno.
 */
int crace_share(void);

/* Numbers that the caller keeps for the next process; 0 before the first crace_keep(). */
#define CRACE_KEPT (1u << 18)
void crace_keep(uint32_t index, uint64_t value);
uint64_t crace_kept(uint32_t index);

/*
 * Watches up to four words; stores_only leaves out their loads. Words of one call should lie 64 bytes apart: of two that
 * one instruction accesses, only one is reported.
 *
 * Returns 0, or an errno.
 */
int crace_watch(const uint64_t *addresses, const uint32_t *widths, int stores_only, int count);

/* The accesses to one of the watched words since the last call of crace_watch or crace_begin. */
uint32_t crace_count(int index);

/*
 * The place of an access to the first watched word: the address of the next instruction. The first access is number 0.
 * Of further accesses than CRACE_PLACES no places are noted.
 */
#define CRACE_PLACES 1024
uint64_t crace_place(uint32_t number);

/*
 * Begins to execute instructions one by one, and notes where each begins that accesses memory and ends at the next. After
 * CRACE_STEPS instructions the thread goes on at full speed: a changed word may have an operation repeat a loop for each
 * slot of a ring.
 */
#define CRACE_STEPS (1u << 18)
void crace_begin_steps(void);
void crace_end_steps(void);

/* The instructions that access memory, as far as steps have shown them. */
uint32_t crace_instructions(void);

/* The beginning of the instruction that ends at a place; 0 where no step has shown it. */
uint64_t crace_beginning(uint64_t place);

/* Whether the instruction that begins at one place and ends at another loads memory and stores to it in one step. */
int crace_is_exchange(uint64_t beginning, uint64_t place);

/* The instructions, by the places at which they end, that store and do not load. */
void crace_set_plain_stores(const uint64_t *places, int count);

/*
 * Puts breakpoints in place of the instructions that end at some places, and removes the former ones. The words that
 * they attack have this width.
 *
 * Returns 0, or an errno: EOPNOTSUPP when one of the instructions cannot be executed elsewhere.
 */
int crace_patch(const uint64_t *places, int count, uint32_t width);

/* The breakpoints that the process has reached since the last call of crace_begin. */
uint32_t crace_hits(void);

/* Begins a round. What the caller has chosen reports the accesses: a watch, single steps, or breakpoints. */
void crace_begin(const struct crace_round *round);

/* Ends the round. Watches and breakpoints stay. */
struct crace_outcome crace_end(void);

/* A word that the last round has changed, the first one being number 0. */
struct crace_store crace_stored(uint32_t number);

#endif
