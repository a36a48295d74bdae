/*
 * access: entries of the block and allow lists as they stand in a command: which prefix, what
 * about it, for how long, why. Bytes are packed, one entry behind the other:
 *
 *     address 16 (IPv4 as ::ffff:a.b.c.d) | bits u8 | action u8 | for_s u32, big-endian |
 *     length of the reason u8 | reason
 *
 * in ascending order of address and bits, each prefix once; bits behind the prefix are zero. So
 * there is one form only. A prefix inside ::ffff:0:0/96 is one of IPv4.
 *
 * Threads: any. Memory: the caller's. Limits: LIMIT_ACCESS_*.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

#define ACCESS_PREFIX_BYTES 17
#define ACCESS_ENTRY_BYTES  (ACCESS_PREFIX_BYTES + 6) /* and the reason */

struct access_prefix {
    uint8_t address[16];
    uint8_t bits; /* 0 .. 128 */
};

/* Stored. REMOVE and LAPSE have neither a time nor a reason. */
enum access_action {
    ACCESS_REMOVE = 0, /* no such entry: nothing happens                        */
    ACCESS_BLOCK = 1,  /* clients from there are refused                        */
    ACCESS_ALLOW = 2,  /* they are not judged by what they are, nor delayed     */
    ACCESS_LAPSE = 3   /* as REMOVE, of an entry whose time is over, else nothing */
};

struct access_entry {
    struct access_prefix prefix;
    enum access_action action;
    uint32_t for_s;    /* from now on, at most LIMIT_ACCESS_FOR_S; 0: until it is removed */
    struct str reason; /* printable ASCII, at most LIMIT_ACCESS_REASON_BYTES */
};

int access_prefix_compare(const struct access_prefix *a, const struct access_prefix *b);

/* NULL: well formed; else why not, static text for people. */
const char *access_entry_check(const struct access_entry *e);

/* Appends one behind *used bytes. E_PROTO: access_entry_check() says why. E_FULL: no room. The
 * order is the caller's to keep. */
MUST_CHECK enum err access_append(char *buf, size_t size, size_t *used,
                                  const struct access_entry *e);

/* Cuts the entry at the head of *bytes; its reason borrows from there. False: none, or it is
 * cut short. Bytes that passed access_check() are never cut short. */
bool access_next(struct str *bytes, struct access_entry *out);

/* NULL: one to LIMIT_ACCESS_BATCH entries in the one form; else why not. */
const char *access_check(struct str bytes);
