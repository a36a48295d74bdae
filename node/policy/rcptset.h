/*
 * rcptset: what is known of the recipients of domains, over all sites: by what the primary said
 * to deliveries and to questions. Mergeable without a quorum, in the manner of greylist.h.
 *
 * An entry is of (generation of the domain, local part) and holds four times, each with a
 * meaning of its own and merged by max, in any order, any number of times, to the same end:
 *     valid, invalid  when the primary took it, or refused it, and how that was learned. The
 *                     later one counts; at one moment VALID (mail that is wanted must come in)
 *     asked_ms        when the primary was last asked, so that two sites do not ask
 *     wanted_ms       when some site last wished to know
 * The local part is kept as text, for it is asked for again; one longer than
 * LIMIT_SMTP_LOCAL_PART_BYTES is never kept.
 *
 * Finding: the local part as it is; then in any case, VALID before others (RFC 5321 2.4 lets a
 * primary tell them apart; none is known that does, but what it refused exactly counts for
 * that alone); then the same for what stands before the domain's separator. A VALID fact is
 * kept for the base, so that john+a@ and john+b@ are one; an INVALID one for the whole.
 *
 * Ageing. Being VALID ends LIMIT_RCPTSET_VALID_MS after valid.ms, INVALID ..._INVALID_MS after
 * invalid.ms; an older VALID does not come back then. Entries go when both are over and the
 * later of asked_ms and wanted_ms is older than ..._WISH_MS: by this rule alone, at every site.
 * A time never goes off an entry that stays, so what one site forgot and another did not
 * ends equal. What is over is as none at once; rcptset_sweep() frees it. Times are cluster
 * time; one that is ahead of now is taken as now at a merge, so that a clock that is ahead
 * keeps nothing longer.
 *
 * Asking again. rcptset_due() says which recipients of a domain the primary is to be asked for
 * next: wishes, the oldest first; then facts VALID that are older than ..._RENEW_MS, the oldest
 * first, each at most once in ..._REASK_MS. So what is known is known afresh when the primary
 * goes away.
 *
 * Ceilings. VALID: LIMIT_RCPTSET_PER_DOMAIN, with all others of the domain; the others
 * ("doubts"): LIMIT_RCPTSET_DOUBTS a domain, a quarter of all. A wish never pushes anything
 * out; a doubt that is a fact pushes out the oldest doubt of its domain, a wish before a fact;
 * VALID does so too; when there is no doubt, it is not taken. Who was VALID and is refused is
 * noted whatever room there is, as the number of entries does not rise by it. Doubts come from
 * strangers, VALID from the primary alone. Below the ceilings the sets end equal.
 *
 * Pure. Threads: one owner. Memory: counted pools; about 90 MiB at LIMIT_RCPTSET_ENTRIES.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/changes.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/str.h"

enum rcptset_status { RCPTSET_UNKNOWN, RCPTSET_VALID, RCPTSET_INVALID, RCPTSET_STATUSES };

/* Where a fact comes from. Stored. */
enum rcptset_source {
    RCPTSET_NOBODY,   /* of a wish */
    RCPTSET_DELIVERY, /* the primary took, or refused, mail */
    RCPTSET_CALLOUT,  /* it was asked */
    RCPTSET_SOURCES
};

struct rcptset_options {
    uint32_t entries, per_domain, doubts; /* 0: LIMIT_RCPTSET_...; ceilings */
    uint64_t seed;                        /* any, best one that nobody can guess */
};

struct rcptset {
    struct rcptset_options opt;
    struct pool pool, domain_pool;
    struct map map, domains;
    uint32_t doubts;
    struct changes changes;
    uint32_t swept; /* where the sweep goes on */
};

void rcptset_init(struct rcptset *s, const struct rcptset_options *opt);
void rcptset_fini(struct rcptset *s);

struct rcptset_fact {
    uint64_t ms; /* 0: never */
    enum rcptset_source source;
};

struct rcptset_entry {
    uint64_t generation; /* above 0 */
    uint8_t local_bytes; /* 1 .. LIMIT_SMTP_LOCAL_PART_BYTES */
    char local[LIMIT_SMTP_LOCAL_PART_BYTES];
    struct rcptset_fact valid, invalid;
    uint64_t asked_ms, wanted_ms; /* 0: never */
};

/* A recipient as RCPT named it. */
struct rcptset_name {
    uint64_t generation;
    struct str local;
    char separator; /* of the domain's sub-addresses; 0: none */
};

/* UNKNOWN: nothing that still counts; *out is untouched. */
enum rcptset_status rcptset_find(const struct rcptset *s, const struct rcptset_name *n,
                                 uint64_t now_ms, struct rcptset_entry *out);

enum rcptset_merged {
    RCPTSET_NEWS,    /* something has changed: to be stored, and told */
    RCPTSET_NO_NEWS, /* known already, or over by now */
    RCPTSET_NO_ROOM, /* at a ceiling, or too long: not taken */
    RCPTSET_VAIN,    /* of rcptset_want(): the primary was just asked for it */
};

/* The primary has said so. The same again within ..._TOUCH_MS is no news. */
MUST_CHECK enum rcptset_merged rcptset_learn(struct rcptset *s, const struct rcptset_name *n,
                                             enum rcptset_status status,
                                             enum rcptset_source source, uint64_t now_ms);
/* Somebody should ask the primary. */
MUST_CHECK enum rcptset_merged rcptset_want(struct rcptset *s, const struct rcptset_name *n,
                                            uint64_t now_ms);

/* Who is to be asked for now, at most `room`, which is RCPTSET_DUE at most; how many. The same
 * again until rcptset_asked() says that it was asked for, whatever came of it. */
#define RCPTSET_DUE 4
size_t rcptset_due(struct rcptset *s, uint64_t generation, uint64_t now_ms,
                   struct rcptset_entry *out, size_t room);
void rcptset_asked(struct rcptset *s, const struct rcptset_entry *e, uint64_t now_ms);

/* VALID ones of a domain; those that are over and not swept included. */
uint32_t rcptset_known(const struct rcptset *s, uint64_t generation);
uint32_t rcptset_count(const struct rcptset *s);

/* --- between sites, and in the store --- */

/* Bytes, big-endian: 0..7 generation, 8..15 valid.ms, 16..23 invalid.ms, 24..31 asked_ms,
 * 32..39 wanted_ms, 40 the sources (valid * 16 + invalid), 41 bytes of the local part, then
 * these. */
#define RCPTSET_HEAD_BYTES  42
#define RCPTSET_ENTRY_BYTES (RCPTSET_HEAD_BYTES + LIMIT_SMTP_LOCAL_PART_BYTES)

size_t rcptset_pack(const struct rcptset_entry *e, uint8_t out[static RCPTSET_ENTRY_BYTES]);
/* The entry at the head of *bytes, which is cut off. E_PROTO: cut short, or nothing that
 * rcptset_pack() writes. Times are not judged here. */
MUST_CHECK enum err rcptset_unpack(struct str *bytes, struct rcptset_entry *out);

/* Of a peer, or of the store at start. */
MUST_CHECK enum rcptset_merged rcptset_merge(struct rcptset *s, const struct rcptset_entry *e,
                                             uint64_t now_ms);

/* The next change behind the cursor, oldest first, each entry once and as it is now; moves the
 * cursor. False: there is none. */
bool rcptset_changes(const struct rcptset *s, struct change_cursor *at,
                     struct rcptset_entry *out);

/* Looks at the next `look` entries in turn, frees those that are over and writes them to
 * dropped[], which has room for `look`; returns how many. */
size_t rcptset_sweep(struct rcptset *s, uint64_t now_ms, size_t look,
                     struct rcptset_entry *dropped);
