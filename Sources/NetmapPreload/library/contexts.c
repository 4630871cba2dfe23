/*
 * nmctx_*: how the functions of libnetmap.h report errors, allocate memory and share mappings.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "library.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

SHOWN int nmctx_threadsafe;

static void print(struct nmctx *ctx, const char *message)
{
	(void)ctx;
	fprintf(stderr, "%s\n", message);
}

static void *allocate(struct nmctx *ctx, size_t size)
{
	(void)ctx;
	return malloc(size);
}

static void release(struct nmctx *ctx, void *memory)
{
	(void)ctx;
	free(memory);
}

static pthread_mutex_t default_lock = PTHREAD_MUTEX_INITIALIZER;

static void lock_default(struct nmctx *ctx, int lock)
{
	(void)ctx;
	if (lock)
		pthread_mutex_lock(&default_lock);
	else
		pthread_mutex_unlock(&default_lock);
}

/* Has a lock from the start, like upstream's, whose library makes it in a constructor. */
static struct nmctx first_context = {
	.verbose = 1,
	.error = print,
	.malloc = allocate,
	.free = release,
	.lock = lock_default,
};

static struct nmctx *current = &first_context;

SHOWN struct nmctx *nmctx_get(void)
{
	return current;
}

SHOWN struct nmctx *nmctx_set_default(struct nmctx *ctx)
{
	struct nmctx *const former = current;

	current = ctx;
	return former;
}

SHOWN void nmctx_set_threadsafe(void)
{
	static struct nmctx safe;

	if (current->lock == lock_default)
		return;
	safe = *current;
	safe.lock = lock_default;
	current = &safe;
}

SHOWN void nmctx_ferror(struct nmctx *ctx, const char *format, ...)
{
	char message[1000];
	va_list arguments;
	int length;

	if (!ctx->verbose)
		return;
	va_start(arguments, format);
	length = vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	if (length <= 0)
		ctx->error(ctx, "a message could not be formatted");
	else
		ctx->error(ctx, (size_t)length < sizeof message ? message : "a message is too long");
}

SHOWN void *nmctx_malloc(struct nmctx *ctx, size_t size)
{
	return ctx->malloc(ctx, size);
}

SHOWN void nmctx_free(struct nmctx *ctx, void *memory)
{
	ctx->free(ctx, memory);
}

SHOWN void nmctx_lock(struct nmctx *ctx)
{
	if (ctx->lock)
		ctx->lock(ctx, 1);
}

SHOWN void nmctx_unlock(struct nmctx *ctx)
{
	if (ctx->lock)
		ctx->lock(ctx, 0);
}
