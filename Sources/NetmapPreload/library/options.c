/*
 * nmreq_options_decode: the options at the end of a port name.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "library.h"

#include <string.h>

static const struct nmreq_opt_key *find_key(const struct nmreq_opt_parser *parser, const char *name)
{
	for (int i = 0; i < NMREQ_OPT_MAXKEYS && parser->keys[i].key; i++)
		if (!strcmp(parser->keys[i].key, name))
			return &parser->keys[i];
	return NULL;
}

/* Reads one "key" or "key=value", which the caller has ended by a NUL. */
static int read_key(char *text, const struct nmreq_opt_parser *parser, struct nmreq_parse_ctx *parse)
{
	char *const value = strchr(text, '=');
	const struct nmreq_opt_key *key;

	if (value)
		*value = '\0';
	for (char *c = text; *c; c++)
		if (*c == '-' && c != text)
			*c = '_';
	key = find_key(parser, text);
	if (!key)
		return REFUSE(parse->ctx, EINVAL, "option %s has no key '%s'", parser->prefix, text);
	if (parse->keys[key->id])
		return REFUSE(parse->ctx, EINVAL, "option %s has the key %s twice", parser->prefix, text);
	if (value)
		parse->keys[key->id] = value[1] ? value + 1 : NULL;
	else if (key->flags & NMREQ_OPTK_ALLOWEMPTY)
		parse->keys[key->id] = text;
	else
		return REFUSE(parse->ctx, EINVAL, "option %s: the value of %s is missing", parser->prefix,
			      text);
	return 0;
}

/* Reads keys that commas separate, and checks that none is missing. */
static int read_keys(char *text, const struct nmreq_opt_parser *parser, struct nmreq_parse_ctx *parse)
{
	while (*text) {
		char *const comma = strchr(text, ',');

		if (comma)
			*comma = '\0';
		if (read_key(text, parser, parse))
			return -1;
		text = comma ? comma + 1 : text + strlen(text) + 1;
		if (!comma)
			break;
	}
	for (int i = 0; i < NMREQ_OPT_MAXKEYS && parser->keys[i].key; i++)
		if (parser->keys[i].flags & NMREQ_OPTK_MUSTSET && !parse->keys[parser->keys[i].id])
			return REFUSE(parse->ctx, EINVAL, "option %s: the key %s is missing",
				      parser->prefix, parser->keys[i].key);
	return 0;
}

/* Reads one option, in memory that may be changed. */
static int read_option(char *text, struct nmreq_opt_parser *parsers, void *token, struct nmctx *ctx)
{
	struct nmreq_parse_ctx parse = { .ctx = ctx, .token = token };
	const struct nmreq_opt_parser *parser = parsers;
	char *const end = text + strcspn(text, ":=");
	const char kind = *end;

	*end = '\0';
	while (parser && strcmp(parser->prefix, text))
		parser = parser->next;
	if (!parser)
		return REFUSE(ctx, EINVAL, "there is no option '%s'", text);
	if (parser->flags & NMREQ_OPTF_DISABLED)
		return REFUSE(ctx, EOPNOTSUPP, "the program does not support option %s", text);
	if (kind == '=') {
		if (parser->default_key < 0 || parser->default_key >= NMREQ_OPT_MAXKEYS)
			return REFUSE(ctx, EINVAL, "option %s takes keys, behind a colon", text);
		if (!end[1])
			return REFUSE(ctx, EINVAL, "option %s: the value is missing", text);
		parse.keys[parser->default_key] = end + 1;
	} else if (kind == ':') {
		if (read_keys(end + 1, parser, &parse))
			return -1;
	} else if (!(parser->flags & NMREQ_OPTF_ALLOWEMPTY)) {
		return REFUSE(ctx, EINVAL, "option %s: the value is missing", text);
	}
	return parser->parse(&parse);
}

SHOWN int nmreq_options_decode(const char *opt, struct nmreq_opt_parser *parsers, void *token,
			       struct nmctx *ctx)
{
	if (*opt && *opt != '@')
		return REFUSE(ctx, EINVAL, "options begin with '@'");
	while (*opt) {
		const size_t length = strcspn(opt + 1, "@");
		char *copy;
		int result, error;

		if (!length)
			return REFUSE(ctx, EINVAL, "an option is empty");
		copy = nmctx_malloc(ctx, length + 1);
		if (!copy)
			return REFUSE(ctx, ENOMEM, "no memory for an option");
		memcpy(copy, opt + 1, length);
		copy[length] = '\0';
		result = read_option(copy, parsers, token, ctx);
		error = errno;
		nmctx_free(ctx, copy);
		errno = error;
		if (result < 0)
			return -1;
		opt += 1 + length;
	}
	return 0;
}
