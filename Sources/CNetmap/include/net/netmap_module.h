/*
 * The interface to modules of VALE switches that a shared object provides.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A shared object exports one function, netmap_switch_module, which returns a table of functions. The two
 * sides share only these declarations, so different compilers may build them, with separate run-time
 * libraries. In Swift, SwitchModuleLibrary.table makes the table from a type that conforms to SwitchModule.
 */
#ifndef NET_NETMAP_MODULE_H
#define NET_NETMAP_MODULE_H

#include <stdint.h>

struct netmap_slot;

#ifdef __cplusplus
extern "C" {
#endif

/* Changes whenever a structure below changes. */
#define NETMAP_MODULE_VERSION 3

/* Verdicts. A verdict below 254 is the index of a port. */
enum {
    NETMAP_MODULE_BROADCAST = 254,
    NETMAP_MODULE_DROP = 255
};

/* One slot of a packet. The first frame of a packet says in `fragments` how many frames the packet has. */
struct netmap_module_frame {
    const uint8_t *bytes;
    uint32_t room;      /* bytes that may be read from `bytes` on */
    uint16_t length;    /* bytes of the packet in this slot */
    uint16_t next;      /* for the switch */
    uint8_t fragments;  /* in the first frame of a packet only; at least 1 */
    uint8_t continues;  /* for the switch */
    uint8_t spare[6];
};

/*
 * Packets that one port sends. `verdicts` has an entry for each frame; the switch uses the entries of first
 * frames. An entry holds the verdict in its low 16 bits. The bits above hold 0 for the receive ring with the
 * number of the sender's ring, or the number of another receive ring plus 1. The initial value of every entry is
 * NETMAP_MODULE_DROP.
 *
 * A module with NETMAP_MODULE_TAKES_SLOTS in its `flags` also gets batches whose `frames` is NULL: these hold
 * packets in the sender's ring, one slot per packet. The module processes `slots` up to the first slot that
 *   - has NS_BUF_CHANGED, NS_INDIRECT or NS_MOREFRAG,
 *   - has a buf_idx that is not below `buffer_count`, or
 *   - has a len that is below 14 or above `buffer_size`,
 * and stores in `decided` the number of slots before it. `verdicts` has an entry for each of those slots, initially
 * undefined. The packet of a slot is at buffers + buf_idx * buffer_size. The sender may write to its slots
 * meanwhile, so the module must read each slot only once.
 */
struct netmap_module_batch {
    const struct netmap_module_frame *frames;
    uint32_t *verdicts;
    uint64_t *addresses;    /* the switch's address table: 1024 atomic words */
    uint32_t count;         /* frames, or slots */
    uint32_t frame_stride;  /* bytes from one frame to the next */
    uint32_t port;          /* index of the port they come from */
    uint32_t ring;          /* number of its transmit ring */
    uint32_t header;        /* bytes before the Ethernet header */
    uint32_t decided;       /* slots that have a verdict; set by the module, initially 0 */
    const struct netmap_slot *slots;
    const uint8_t *buffers;
    uint32_t buffer_count;
    uint32_t buffer_size;
};

/* In `flags`: the module accepts batches of slots. */
#define NETMAP_MODULE_TAKES_SLOTS 2

/*
 * In `flags`: the verdicts depend only on a packet's two Ethernet addresses, the port and
 * the ring. The switch then shows the module only one of several consecutive packets with the same addresses.
 */
#define NETMAP_MODULE_BY_ADDRESSES 1

/*
 * The functions of a module. A function that returns int32_t returns 0 or an errno; with an errno it stores
 * the reason and, after a line feed, a remedy in `error`, as a string. Several threads may call lookup at
 * once, and at the same time as any other function except destroy.
 */
struct netmap_module {
    uint32_t version; /* NETMAP_MODULE_VERSION */
    uint32_t size;    /* sizeof(struct netmap_module) */
    const char *name;
    void *user; /* passed to create */
    int32_t (*create)(void *user, const char *configuration, void **module, char *error,
                      uint32_t error_size);
    void (*lookup)(void *module, struct netmap_module_batch *batch);
    int32_t (*configure)(void *module, const char *configuration, char *error,
                         uint32_t error_size);
    void (*port_left)(void *module, uint32_t index);
    /* Writes lines of a name, a space and a number; returns the number of bytes written. */
    uint32_t (*statistics)(void *module, char *text, uint32_t text_size);
    void (*destroy)(void *module);
    uint32_t flags;
    uint32_t spare;
};

/* The function that the shared object exports. */
typedef const struct netmap_module *netmap_switch_module_fn(void);
#define NETMAP_MODULE_SYMBOL "netmap_switch_module"

#ifdef __cplusplus
}
#endif

#endif /* NET_NETMAP_MODULE_H */
