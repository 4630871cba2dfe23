/*
 * nmreq_header_decode and nmreq_register_decode: the name of a port, and the rings, flags and region that follow it.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "library.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Where the characters of an identifier end, which may be none. */
static const char *end_of_identifier(const char *text)
{
	while (isalnum((unsigned char)*text) || *text == '_')
		text++;
	return text;
}

/*
 * Finds where nr_name begins: at the name of a switch, or behind "netmap:". Sets *port to what follows the colon. NULL
 * after a message.
 */
static const char *find_name(const char *spec, const char **port, struct nmctx *ctx)
{
	const bool is_vale = !strncmp(spec, NM_BDG_NAME, strlen(NM_BDG_NAME));
	const char *const rest = spec + strlen(is_vale ? NM_BDG_NAME : "netmap");
	const char *colon;

	if (!is_vale && strncmp(spec, "netmap", strlen("netmap"))) {
		nmctx_ferror(ctx, "%s: a port name begins with netmap: or vale", spec);
		return NULL;
	}
	colon = strchr(rest, ':');
	if (!colon) {
		nmctx_ferror(ctx, "%s: the colon is missing", spec);
		return NULL;
	}
	if (!is_vale && colon != rest) {
		nmctx_ferror(ctx, "%s: nothing may stand between netmap and the colon", spec);
		return NULL;
	}
	if (end_of_identifier(rest) != colon) {
		nmctx_ferror(ctx, "%s: '%.*s' cannot be the name of a switch", spec, (int)(colon - spec),
			     spec);
		return NULL;
	}
	*port = colon + 1;
	return is_vale ? spec : colon + 1;
}

SHOWN int nmreq_header_decode(const char **ppspec, struct nmreq_header *hdr, struct nmctx *ctx)
{
	const char *const spec = *ppspec;
	const char *port, *end, *pipe;
	const char *const name = find_name(spec, &port, ctx);
	size_t length;

	if (!name) {
		errno = EINVAL;
		return -1;
	}
	end = port + strcspn(port, "-*^/@");
	pipe = port + strcspn(port, "{}");
	if (pipe < end) {
		pipe++;
		if (!*pipe)
			return REFUSE(ctx, EINVAL, "%s: the name of the pipe is missing", spec);
		if (end_of_identifier(pipe) < end)
			return REFUSE(ctx, EINVAL, "%s: '%.*s' cannot be the name of a pipe", spec,
				      (int)(end - pipe), pipe);
	}
	length = (size_t)(end - name);
	if (!length)
		return REFUSE(ctx, EINVAL, "%s: the name of the port is missing", spec);
	if (length >= sizeof hdr->nr_name)
		return REFUSE(ctx, EINVAL, "%s: the name is longer than %zu bytes", spec,
			      sizeof hdr->nr_name - 1);
	memcpy(hdr->nr_name, name, length);
	hdr->nr_name[length] = '\0';
	*ppspec = end;
	return 0;
}

/* Reads a number of digits; -1 if there is none, or if it is too large for a long. */
static long read_number(const char **text)
{
	char *end;
	long number;

	if (!isdigit((unsigned char)**text))
		return -1;
	errno = 0;
	number = strtol(*text, &end, 10);
	*text = end;
	return errno ? -1 : number;
}

/* Reads the number of a ring. */
static int read_ring(const char **mode, struct nmreq_register *reg, struct nmctx *ctx)
{
	const char *const text = *mode;
	const long number = read_number(mode);

	if (number < 0 || number >= NETMAP_RING_MASK)
		return REFUSE(ctx, EINVAL, "'%s' does not begin with the number of a ring, 0 to %d", text,
			      NETMAP_RING_MASK - 1);
	reg->nr_ringid = (uint16_t)number;
	return 0;
}

/* Reads which rings to bind. */
static int read_rings(const char **mode, struct nmreq_register *reg, struct nmctx *ctx)
{
	switch (*(*mode)++) {
	case '*':
		reg->nr_mode = NR_REG_NIC_SW;
		return 0;
	case '-':
		reg->nr_mode = NR_REG_ONE_NIC;
		return read_ring(mode, reg, ctx);
	default: /* '^' */
		reg->nr_mode = NR_REG_SW;
		if (!isdigit((unsigned char)**mode))
			return 0;
		reg->nr_mode = NR_REG_ONE_SW;
		return read_ring(mode, reg, ctx);
	}
}

/* Reads flags up to an '@' or the end; there is at least one. */
static int read_flags(const char **mode, struct nmreq_register *reg, struct nmctx *ctx)
{
	static const char letters[] = "xztrRT";
	static const uint64_t flags[] = { NR_EXCLUSIVE,  NR_ZCOPY_MON,     NR_MONITOR_TX,
					  NR_MONITOR_RX, NR_RX_RINGS_ONLY, NR_TX_RINGS_ONLY };

	if (!**mode)
		return REFUSE(ctx, EINVAL, "flags are missing behind '/'");
	for (; **mode && **mode != '@'; (*mode)++) {
		const char *const letter = strchr(letters, **mode);

		if (!letter)
			return REFUSE(ctx, EINVAL, "there is no flag '%c'", **mode);
		reg->nr_flags |= flags[letter - letters];
	}
	return 0;
}

/* Reads the number of a region. Another one than the request has already is refused. */
static int read_region(const char **mode, struct nmreq_register *reg, struct nmctx *ctx)
{
	const char *const text = *mode;
	const long number = read_number(mode);

	if (number <= 0 || number > UINT16_MAX)
		return REFUSE(ctx, EINVAL, "'%s' does not begin with the number of a region", text);
	if (reg->nr_mem_id && reg->nr_mem_id != number)
		return REFUSE(ctx, EINVAL, "region %ld contradicts region %u", number, reg->nr_mem_id);
	reg->nr_mem_id = (uint16_t)number;
	return 0;
}

SHOWN int nmreq_register_decode(const char **pmode, struct nmreq_register *reg, struct nmctx *ctx)
{
	const char *mode = *pmode;
	struct nmreq_register result = *reg;
	int failure = 0;

	result.nr_mode = NR_REG_ALL_NIC;
	result.nr_ringid = 0;
	result.nr_flags = 0;
	if (*mode && strchr("^*-", *mode))
		failure = read_rings(&mode, &result, ctx);
	while (!failure && *mode) {
		/* Options begin with an '@' too, and a letter. */
		if (*mode == '@' && mode[1] && !isdigit((unsigned char)mode[1]))
			break;
		switch (*mode++) {
		case '/':
			failure = read_flags(&mode, &result, ctx);
			break;
		case '@':
			failure = read_region(&mode, &result, ctx);
			break;
		default:
			failure = REFUSE(ctx, EINVAL, "'%c' does not belong behind the name", mode[-1]);
		}
	}
	if (failure)
		return -1;
	*reg = result;
	*pmode = mode;
	return 0;
}
