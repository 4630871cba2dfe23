/*
 * nm_parse(): the port names that nm_open() understands.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Docs: netmap(4), "nm_open". Included by <net/netmap_desc.h>, not by programs.
 *
 *     name   := "netmap:" port suffix | "vale" switch ":" port suffix
 *     suffix := [ "^" | "*" | "-" number | "{" number | "}" number ] { "/" flags | "@" number }
 *
 * A port consists of any characters except those that begin a suffix. With the "vale" prefix, port
 * and switch consist of letters, digits and underscores.
 */
#ifndef NETMAP_DESC_PARSE_H_
#define NETMAP_DESC_PARSE_H_

/* The contents of a suffix. */
struct nm_suffix_ {
    uint32_t mode;   /* NR_REG_* */
    uint32_t flags;  /* NR_* */
    uint16_t number; /* of a ring or a pipe */
    uint16_t mem_id; /* 0 if not given */
};

/* True if all characters from `s` up to `end` may appear in an identifier. */
static inline int
nm_is_identifier(const char *s, const char *end)
{
    while (s < end && (isalnum((unsigned char)*s) || *s == '_'))
        s++;
    return s == end;
}

/* Reads a decimal number from `low` to `high`. Returns the position after it, or NULL. */
static inline const char *
nm_parse_number_(const char *s, long low, long high, uint16_t *number)
{
    long value = 0;

    if (!isdigit((unsigned char)*s))
        return NULL;
    for (; isdigit((unsigned char)*s); s++) {
        value = value * 10 + (*s - '0');
        if (value > high) /* stop here, before it can overflow */
            return NULL;
    }
    *number = (uint16_t)value;
    return value < low ? NULL : s;
}

/* Reads flag letters up to the end or a memory id. Returns the position after them, or NULL. */
static inline const char *
nm_parse_flags_(const char *s, uint32_t *flags)
{
    if (*s == '\0')
        return NULL;
    for (; *s != '\0' && *s != '@'; s++) {
        switch (*s) {
        case 'x':
            *flags |= NR_EXCLUSIVE;
            break;
        case 'z':
            *flags |= NR_ZCOPY_MON;
            break;
        case 't':
            *flags |= NR_MONITOR_TX;
            break;
        case 'r':
            *flags |= NR_MONITOR_RX;
            break;
        case 'R':
            *flags |= NR_RX_RINGS_ONLY;
            break;
        case 'T':
            *flags |= NR_TX_RINGS_ONLY;
            break;
        default:
            return NULL;
        }
    }
    return s;
}

/* Reads the mode at the start of a suffix. Returns the position after it, or NULL. */
static inline const char *
nm_parse_mode_(const char *s, struct nm_suffix_ *suffix)
{
    suffix->mode = NR_REG_ALL_NIC;
    switch (*s) {
    case '^':
        suffix->mode = NR_REG_SW;
        return s + 1;
    case '*':
        suffix->mode = NR_REG_NIC_SW;
        return s + 1;
    case '-':
        suffix->mode = NR_REG_ONE_NIC;
        break;
    case '{':
        suffix->mode = NR_REG_PIPE_MASTER;
        break;
    case '}':
        suffix->mode = NR_REG_PIPE_SLAVE;
        break;
    default:
        return s; /* no mode given */
    }
    return nm_parse_number_(s + 1, 0, NETMAP_RING_MASK - 1, &suffix->number);
}

/* Reads a whole suffix. Returns NULL, or an error message. */
static inline const char *
nm_parse_suffix_(const char *s, struct nm_suffix_ *suffix)
{
    memset(suffix, 0, sizeof(*suffix));
    s = nm_parse_mode_(s, suffix);
    if (s == NULL)
        return "a ring or pipe number is missing, or not below 4095";
    while (*s != '\0') {
        if (*s == '/') {
            s = nm_parse_flags_(s + 1, &suffix->flags);
            if (s == NULL)
                return "no flag or an unknown flag after /, expected some of x z t r R T";
        } else if (*s == '@') {
            if (suffix->mem_id != 0)
                return "more than one memory id";
            s = nm_parse_number_(s + 1, 1, UINT16_MAX, &suffix->mem_id);
            if (s == NULL)
                return "the memory id is not a number from 1 to 65535";
        } else {
            return "unexpected characters at the end, expected / or @";
        }
    }
    return NULL;
}

/* Finds the start and the end of the port's name in `ifname`. Returns NULL, or an error message. */
static inline const char *
nm_parse_name_(const char *ifname, const char **begin, const char **end)
{
    static const char prefix[] = "netmap:";
    const char *port;

    if (ifname[0] != 'v') {
        port = strncmp(ifname, prefix, sizeof(prefix) - 1) ? NULL : ifname + sizeof(prefix) - 1;
        *begin = port; /* the name in the request excludes this prefix */
        if (port == NULL)
            return "the name begins with neither netmap: nor vale";
    } else {
        port = strchr(ifname, ':');
        *begin = ifname; /* but it includes the switch */
        if (port == NULL)
            return "no ':' after the switch's name";
        if (port - ifname < (long)strlen(NM_BDG_NAME) ||
            !nm_is_identifier(ifname + strlen(NM_BDG_NAME), port))
            return "the switch's name is not an identifier";
        port++;
    }
    *end = port + strcspn(port, "-*^{}/@");
    if (ifname[0] == 'v' && !nm_is_identifier(port, *end))
        return "the port's name is not an identifier";
    if (*end - *begin >= NETMAP_IFNAMSIZ)
        return "the name is longer than 15 characters";
    return NULL;
}

/*
 * Replaces the name, ring, mode and region of d->req by those in `ifname`, and adds its flags to
 * the flags already there.
 *
 * Returns 0; or -1 with errno EINVAL, `d` unchanged, and the reason in `err`, which is NULL or has
 * room for MAXERRMSG characters.
 */
static inline int
nm_parse(const char *ifname, struct nm_desc *d, char *err)
{
    struct nm_suffix_ suffix;
    const char *begin, *end, *problem;
    size_t length;

    problem = nm_parse_name_(ifname, &begin, &end);
    if (problem == NULL)
        problem = nm_parse_suffix_(end, &suffix);
    if (problem != NULL) {
        if (err != NULL)
            snprintf(err, MAXERRMSG, "%s", problem);
        errno = EINVAL;
        return -1;
    }

    length = (size_t)(end - begin);
    memset(d->req.nr_name, 0, sizeof(d->req.nr_name));
    memcpy(d->req.nr_name, begin, length);
    d->req.nr_flags = (d->req.nr_flags & ~(uint32_t)NR_REG_MASK) | suffix.mode | suffix.flags;
    d->req.nr_ringid = (uint16_t)((d->req.nr_ringid & ~NETMAP_RING_MASK) | suffix.number);
    d->req.nr_arg2 = suffix.mem_id;
    d->self = d;
    return 0;
}

#endif /* NETMAP_DESC_PARSE_H_ */
