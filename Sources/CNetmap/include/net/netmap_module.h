/*
 * Modules of VALE switches, as a shared object offers them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A shared object exports one function, netmap_switch_module, which returns a table of functions. Only
 * what is declared here crosses the border, so the two sides may be built by different compilers and
 * carry run-time libraries of their own. In Swift nobody writes this by hand: a type that conforms to
 * SwitchModule makes the table (SwitchModuleLibrary.table).
 */
#ifndef NET_NETMAP_MODULE_H
#define NET_NETMAP_MODULE_H

#include <stdint.h>

struct netmap_slot;

#ifdef __cplusplus
extern "C" {
#endif

/* Changes with every change of a structure below. */
#define NETMAP_MODULE_VERSION 3

/* Verdicts, below 254 the index of a port. */
enum {
    NETMAP_MODULE_BROADCAST = 254,
    NETMAP_MODULE_DROP = 255
};

/* One slot of a packet. A packet is one of them, or as many as `fragments` of its first one says. */
struct netmap_module_frame {
    const uint8_t *bytes;
    uint32_t room;      /* bytes that may be read from `bytes` on */
    uint16_t length;    /* bytes of the packet in this slot */
    uint16_t next;      /* the switch's own */
    uint8_t fragments;  /* in the first frame of a packet only; at least 1 */
    uint8_t continues;  /* the switch's own */
    uint8_t spare[6];
};

/*
 * Packets that one port sends. `verdicts` has an entry for each frame, of which those of first frames
 * count: the verdict in the low 16 bits; above it 0 for the receive ring that has the sender's ring's
 * number, or the number of another one plus 1. They are NETMAP_MODULE_DROP to begin with.
 *
 * A module with NETMAP_MODULE_TAKES_SLOTS in its `flags` also gets batches whose `frames` is NULL: packets as they
 * are in the sender's ring, a slot each. It goes through `slots` up to the first one that
 *   - has NS_BUF_CHANGED, NS_INDIRECT or NS_MOREFRAG,
 *   - has a buf_idx that is not below `buffer_count`, or
 *   - has a len that is below 14 or above `buffer_size`,
 * and says in `decided` how many came before it; `verdicts` has an entry for each of those, and nothing in it
 * to begin with. The packet of a slot is at buffers + buf_idx * buffer_size. The sender may write to its slots
 * meanwhile: read each of them once.
 */
struct netmap_module_batch {
    const struct netmap_module_frame *frames;
    uint32_t *verdicts;
    uint64_t *addresses;    /* the switch's address table, atomic words; 1024 of them */
    uint32_t count;         /* frames, or slots */
    uint32_t frame_stride;  /* bytes from one frame to the next */
    uint32_t port;          /* index of the port they come from */
    uint32_t ring;          /* number of its transmit ring */
    uint32_t header;        /* bytes before the Ethernet header */
    uint32_t decided;       /* slots that have a verdict; the module's, 0 to begin with */
    const struct netmap_slot *slots;
    const uint8_t *buffers;
    uint32_t buffer_count;
    uint32_t buffer_size;
};

/* In `flags`: the module understands batches in slots. */
#define NETMAP_MODULE_TAKES_SLOTS 2

/*
 * In `flags`: the verdicts depend on nothing of a packet but its two Ethernet addresses, on the port and on
 * the ring. Of packets side by side with the same addresses the module is then shown one.
 */
#define NETMAP_MODULE_BY_ADDRESSES 1

/*
 * What a module can do. Functions that return a number return 0 or an errno, and then leave the
 * reason and, after a line feed, a remedy in `error`, as a string. lookup may be called by several
 * threads at once, and at the same time as any other function but destroy.
 */
struct netmap_module {
    uint32_t version; /* NETMAP_MODULE_VERSION */
    uint32_t size;    /* sizeof(struct netmap_module) */
    const char *name;
    void *user; /* handed to create */
    int32_t (*create)(void *user, const char *configuration, void **module, char *error,
                      uint32_t error_size);
    void (*lookup)(void *module, struct netmap_module_batch *batch);
    int32_t (*configure)(void *module, const char *configuration, char *error,
                         uint32_t error_size);
    void (*port_left)(void *module, uint32_t index);
    /* Writes lines of a name, a space and a number; returns how many bytes. */
    uint32_t (*statistics)(void *module, char *text, uint32_t text_size);
    void (*destroy)(void *module);
    uint32_t flags;
    uint32_t spare;
};

/* What the shared object exports. */
typedef const struct netmap_module *netmap_switch_module_fn(void);
#define NETMAP_MODULE_SYMBOL "netmap_switch_module"

#ifdef __cplusplus
}
#endif

#endif /* NET_NETMAP_MODULE_H */
