/*
 * The C half of the C library has no interface of its own: it exports functions of libc and of libnetmap.h.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
