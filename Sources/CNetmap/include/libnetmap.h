/*
 * libnetmap: opening ports by name, with options, and sharing memory between them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Docs: netmap(4), netmap ABI 14. Programs access members of struct nmport_d, so its layout is as
 * fixed as that of the rings; Sources/CNetmap/abi.c checks it. Unless stated otherwise, a function
 * that returns an int returns 0, or -1 with errno set; a function that returns a pointer returns
 * NULL with errno set on failure.
 */
#ifndef LIBNETMAP_H_
#define LIBNETMAP_H_

#include <net/netmap_user.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nmctx;
struct nmem_d;
struct nmport_d;
struct nmport_cleanup_d;
struct nmreq_opt_parser;
struct nmreq_parse_ctx;

/* ---- Ports ---- */

/*
 * A port, from the parsing of its name to the mapping of its rings. Programs may change hdr and reg
 * between the steps; after the last step these hold the engine's answer.
 */
struct nmport_d {
    struct nmreq_header hdr;
    struct nmreq_register reg;

    struct nmem_d *mem; /* the mapping, shared by the context's ports in that region */
    struct nmctx *ctx;
    int register_done;
    int mmap_done;
    struct nmreq_opt_extmem *extmem; /* set if the program provides the memory */

    int fd; /* for poll() and ioctl() */
    struct netmap_if *nifp;
    uint16_t first_tx_ring;
    uint16_t last_tx_ring;
    uint16_t first_rx_ring;
    uint16_t last_rx_ring;
    uint16_t cur_tx_ring; /* where nmport_inject() continues */
    uint16_t cur_rx_ring; /* for the program's use */

    struct nmport_cleanup_d *clist; /* what closing has to undo; private */
};

/*
 * Opens the port named by `portspec`: parses, binds and maps.
 *
 *     portspec := ( "netmap:" | "vale" switch ":" ) port [ mode ] { "@" option }
 *     mode     := [ "^" [ ring ] | "*" | "-" ring ] [ "/" flags ] [ "@" memory-id ]
 *     option   := name [ "=" value | ":" key "=" value { "," key "=" value } ]
 */
struct nmport_d *nmport_open(const char *portspec);
void nmport_close(struct nmport_d *d);

/* Queues a copy of a frame on the first ring with room. Returns `size`, or 0 if there is none. */
int nmport_inject(struct nmport_d *d, const void *buf, size_t size);

/* The steps of nmport_open(). Each may be undone, in reverse order; undoing twice does no harm. */
struct nmport_d *nmport_new(void);
int nmport_parse(struct nmport_d *d, const char *portspec);
int nmport_register(struct nmport_d *d);
int nmport_mmap(struct nmport_d *d);
void nmport_undo_mmap(struct nmport_d *d);
void nmport_undo_register(struct nmport_d *d);
void nmport_undo_parse(struct nmport_d *d);
void nmport_delete(struct nmport_d *d);

/* nmport_open() in two steps: new and parse, then register and mmap. */
struct nmport_d *nmport_prepare(const char *portspec);
int nmport_open_desc(struct nmport_d *d);
void nmport_undo_open_desc(struct nmport_d *d);
void nmport_undo_prepare(struct nmport_d *d);

/* A new descriptor with the name and the request of `d`, its region included, but no options. */
struct nmport_d *nmport_clone(struct nmport_d *d);

/* Put the region into memory of the program, or into a file. Call before nmport_register(). */
int nmport_extmem(struct nmport_d *d, void *base, size_t size);
int nmport_extmem_from_file(struct nmport_d *d, const char *fname);
/* The pools requested, later granted, in that memory; NULL if neither function was called. */
struct nmreq_pools_info *nmport_extmem_getinfo(struct nmport_d *d);

/* Asks for packets that begin inside their buffers; see struct nmreq_opt_offsets. */
int nmport_offset(struct nmport_d *d, uint64_t initial, uint64_t maxoff, uint64_t bits,
                  uint64_t mingap);

/* Set whether port names may carry an option. Initially all are enabled, except "offset". */
void nmport_disable_option(const char *opt);
int nmport_enable_option(const char *opt);

/* ---- Requests and port names ---- */

/* Clears `hdr` and prepares it for a request of that type. */
void nmreq_header_init(struct nmreq_header *hdr, uint16_t reqtype, void *body);

/*
 * Each reads one part of a port name and advances the pointer past it. On failure it changes
 * neither the pointer nor the result, and passes a message to the context's error function.
 */
int nmreq_header_decode(const char **ppspec, struct nmreq_header *hdr, struct nmctx *ctx);
int nmreq_register_decode(const char **pmode, struct nmreq_register *reg, struct nmctx *ctx);

/* Reads all options of a port name. Passes each to the parser whose prefix is the option's name. */
int nmreq_options_decode(const char *opt, struct nmreq_opt_parser *parsers, void *token,
                         struct nmctx *ctx);

/* Called for one option, with the values of its keys. */
typedef int (*nmreq_opt_parser_cb)(struct nmreq_parse_ctx *parse);

#define NMREQ_OPT_MAXKEYS 16

struct nmreq_opt_key {
    const char *key;
    int id;             /* index of its value in nmreq_parse_ctx.keys */
    unsigned int flags; /* NMREQ_OPTK_* */
};

#define NMREQ_OPTK_ALLOWEMPTY (1U << 0) /* may stand without a value */
#define NMREQ_OPTK_MUSTSET (1U << 1)    /* must be given */
#define NMREQ_OPTK_DEFAULT (1U << 2)    /* gets the value of "name=value" */

struct nmreq_opt_parser {
    const char *prefix;
    nmreq_opt_parser_cb parse;
    int default_key; /* its id, or -1 */
    int nr_keys;
    unsigned int flags; /* NMREQ_OPTF_* */
    struct nmreq_opt_parser *next;
    struct nmreq_opt_key keys[NMREQ_OPT_MAXKEYS];
} __attribute__((__aligned__(16)));

#define NMREQ_OPTF_DISABLED (1U << 0)   /* refused with EOPNOTSUPP */
#define NMREQ_OPTF_ALLOWEMPTY (1U << 1) /* may stand without any key */

struct nmreq_parse_ctx {
    struct nmctx *ctx;
    void *token; /* the argument of nmreq_options_decode() */
    const char *keys[NMREQ_OPT_MAXKEYS]; /* by id; NULL if not given */
};

/* The memory region of a port, or -1. Advances `portname` past the name. */
int32_t nmreq_get_mem_id(const char **portname, struct nmctx *ctx);

/* The list of a header's options. nmreq_free_options() frees each with free(). */
void nmreq_push_option(struct nmreq_header *h, struct nmreq_option *o);
void nmreq_remove_option(struct nmreq_header *h, struct nmreq_option *o);
struct nmreq_option *nmreq_find_option(struct nmreq_header *h, uint32_t type);
void nmreq_free_options(struct nmreq_header *h);
const char *nmreq_option_name(uint32_t type);

#define nmreq_option_at_(address) ((struct nmreq_option *)(uintptr_t)(address))
#define nmreq_foreach_option(h, o)                                 \
    for ((o) = nmreq_option_at_((h)->nr_options); (o) != NULL;     \
         (o) = nmreq_option_at_((o)->nro_next))

/* ---- Contexts: messages, memory allocation and shared mappings ---- */

typedef void (*nmctx_error_cb)(struct nmctx *ctx, const char *message);
typedef void *(*nmctx_malloc_cb)(struct nmctx *ctx, size_t size);
typedef void (*nmctx_free_cb)(struct nmctx *ctx, void *memory);
typedef void (*nmctx_lock_cb)(struct nmctx *ctx, int lock); /* 1 to lock, 0 to unlock */

struct nmctx {
    int verbose;
    nmctx_error_cb error;
    nmctx_malloc_cb malloc;
    nmctx_free_cb free;
    nmctx_lock_cb lock;

    struct nmem_d *mem_descs; /* regions mapped at present */
};

/* The context of new ports. nmctx_set_default() returns the previous one. */
struct nmctx *nmctx_get(void);
struct nmctx *nmctx_set_default(struct nmctx *ctx);

/* A mapped region. The library unmaps it after its last port. */
struct nmem_d {
    uint16_t mem_id;
    int refcount;
    void *mem;
    size_t size;
    int is_extmem;
    struct nmem_d *next;
    struct nmem_d *prev;
};

/* Gives the default context a lock, so that ports may be opened and closed in several threads. */
void nmctx_set_threadsafe(void);

/* The functions of a context, as the library calls them. */
void nmctx_ferror(struct nmctx *ctx, const char *format, ...);
void *nmctx_malloc(struct nmctx *ctx, size_t size);
void nmctx_free(struct nmctx *ctx, void *memory);
void nmctx_lock(struct nmctx *ctx);
void nmctx_unlock(struct nmctx *ctx);

#ifndef LIBNETMAP_NOTHREADSAFE
/*
 * Never called. It refers to a symbol of the library's threading part, so that a static link
 * includes that part. A program without threads defines LIBNETMAP_NOTHREADSAFE to omit it.
 */
extern int nmctx_threadsafe;
static void libnetmap_init(void) __attribute__((__used__));
static void
libnetmap_init(void)
{
    nmctx_threadsafe = 1;
}
#endif /* LIBNETMAP_NOTHREADSAFE */

#ifdef __cplusplus
}
#endif

#endif /* LIBNETMAP_H_ */
