/*
 * roster: the recipients of a domain as its owner lists them: the form of one entry, entries as
 * they stand in a command, and what is looked for when a recipient is named.
 *
 * An entry is a local part in lower case without quotes, 1 to LIMIT_SMTP_LOCAL_PART_BYTES of
 * printable ASCII but '"', '\' and '@'; or "@" alone: the catch-all, which every recipient of
 * the domain matches. No primary in use tells john@ from John@ (RFC 5321 2.4 would let it), and
 * a list that did would refuse mail that the primary takes: so the list knows one case.
 *
 * In a command, one behind the other:
 *
 *     action u8 (0 remove, 1 add) | length u8 | entry
 *
 * in ascending order of their bytes, each once. So there is one form only.
 *
 * Threads: any. Memory: the caller's. Limits: LIMIT_ROSTER_*.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

#define ROSTER_CATCH_ALL  STR("@")
#define ROSTER_HEAD_BYTES 2 /* of an entry; and its text */

struct roster_entry {
    bool is_removed;
    struct str local;
};

/* In the order of the store. */
int roster_compare(struct str a, struct str b);

/* NULL: an entry in its one form; else why not, static text for people. */
const char *roster_local_check(struct str local);

/* Appends one behind *used bytes. E_PROTO: roster_local_check() says why. E_FULL: no room. The
 * order is the caller's to keep. */
MUST_CHECK enum err roster_append(char *buf, size_t size, size_t *used,
                                  const struct roster_entry *e);

/* Cuts the entry at the head of *bytes; it borrows from there. False: none, or it is cut short.
 * Bytes that passed roster_check() are never cut short. */
bool roster_next(struct str *bytes, struct roster_entry *out);

/* NULL: one to LIMIT_ROSTER_BATCH entries in the one form; else why not. */
const char *roster_check(struct str bytes);

/* NULL: no separator (0), or one that may stand within a local part and is no letter, digit or
 * dot; else why not. */
const char *roster_separator_check(char separator);

/* How an address is found, in the order of looking. */
enum roster_match { ROSTER_EXACT, ROSTER_BASE, ROSTER_CAUGHT, ROSTER_NO_MATCH };

/* What to look for, by enum roster_match: the local part (as RCPT names it, quotes included) in
 * the form of an entry; what stands before its first separator, when there is a separator and
 * something before it; "@". An empty one cannot be in a list. */
struct roster_wanted {
    struct str key[ROSTER_NO_MATCH];
    char folded[LIMIT_SMTP_LOCAL_PART_BYTES];
};

/* The keys borrow from *out, which is not to be moved. */
void roster_wanted(struct roster_wanted *out, struct str local, char separator);

const char *roster_match_text(enum roster_match m); /* "exact", for people; static */
