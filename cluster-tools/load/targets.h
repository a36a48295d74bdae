/*
 * targets: where mail goes, and in which order a sending MTA tries it. RFC 5321 section 5.1.
 *
 * The lowest preference first, equal ones in random order. Real senders spend a budget in one
 * attempt (measured: Postfix considers 5 addresses and completes 2 sessions, OpenSMTPD
 * completes 1, Exim walks on). A session is completed once the server has taken EHLO; a 421 in
 * the banner costs only an address, so the next target is reached in the same attempt.
 *
 * Pure: no I/O, no heap. Threads: one owner. Limits: LIMIT_TOOL_TARGETS.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/prng.h"
#include "base/str.h"
#include "cluster-tools/common/address.h"

#define TARGETS_DEFAULT_PREFERENCE 10
#define TARGETS_NONE               (-1)

struct target {
    struct address address;
    unsigned preference;
    uint64_t down_until_us; /* passed over until then; see --down-cache */
    uint64_t connected, connect_failed, acked, temp, perm, unknown;
};

struct targets {
    struct target list[LIMIT_TOOL_TARGETS];
    size_t n;
};

/* Adds what "ADDR:PORT[/PREF][,...]" names; a host name stands for all its addresses. May ask
 * the resolver. On an error *bad is the part of `text` that is wrong.
 * Errors: E_PROTO (malformed), E_NOTFOUND (no such name), E_FULL (too many). */
MUST_CHECK enum err targets_add(struct targets *t, struct str text, struct str *bad);

/* 0: no limit. */
struct walk_budget {
    unsigned addresses, sessions;
};

/* One attempt to deliver one message: which targets are left. */
struct walk {
    uint8_t order[LIMIT_TOOL_TARGETS];
    unsigned n, pos; /* order[pos..n) has not been tried */
    unsigned addresses, sessions;
};

/* Starts an attempt. `current`: the target of an open session that takes this message, which
 * then counts as tried and as one session; or TARGETS_NONE. */
void walk_start(struct walk *w, const struct targets *t, struct prng *prng, int current);

/* The next target of this attempt, or TARGETS_NONE: the message has to wait. */
int walk_next(struct walk *w, const struct targets *t, struct walk_budget b, uint64_t now_us);

/* The session with the target that walk_next() gave last was completed. */
void walk_completed(struct walk *w);
