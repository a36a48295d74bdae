/*
 * greylist: who has tried before, and who is known, over all sites. Mergeable without a quorum:
 * what any site saw is an entry, entries of all sites are merged, and all end with the same
 * set.
 *
 * An entry is a key of 64 bits (SipHash-2-4 under a secret of the cluster: whoever fills the
 * list cannot aim at a slot of it, and the list names nobody) with
 *
 *     first_ms   when it was first seen: merged by min
 *     is_passed  false: a first try of (client, sender, recipient's domain);
 *                true: a client that has once come again in time. Merged by or
 *     last_ms    when it was last of use: merged by max
 *
 * The client is the network (/24, /64) or, of a sender whose domain passes SPF, that domain, so
 * that a farm of servers is one client. See greylist_keys().
 *
 * What a check says (RFC 6647)
 *
 *     FIRST  noted; "450 4.7.1", come again after LIMIT_GREY_DELAY_MS
 *     EARLY  noted before, still too early; the entry stays as it is
 *     PASSED after the delay, within LIMIT_GREY_WINDOW_MS: the client is known from now on
 *     KNOWN  passed before, at any site, with this or any other sender
 *     FULL   no room to note it: mail is taken, and the caller counts it
 *
 * A flood of first tries turns the list off for strangers; it never refuses one for good. Known
 * clients keep room of their own (LIMIT_GREY_FIRST_TRIES of LIMIT_GREY_ENTRIES are first
 * tries). A network with more than LIMIT_GREY_NETWORK_TRIES first tries within
 * LIMIT_GREY_CROWD_MS is a crowd: from then on one entry for each domain, whoever the sender.
 *
 * Ageing. Dead is a first try with last_ms + LIMIT_GREY_WINDOW_MS at or before now, a client
 * with last_ms + LIMIT_GREY_KNOWN_MS. By this rule alone, at every site; a dead entry is as
 * none, at a check and at a merge; greylist_sweep() frees its memory. greylist_changes() hands
 * it to peers and to the disk all the same, where the same rule holds. As the rule looks at
 * last_ms, which only grows, an entry that is alive somewhere is alive after any merge.
 *
 * Clocks. now_ms is cluster time (replication/clusterclock.h), which all sites share but for
 * some seconds. A merge puts last_ms at now at most, and refuses what is dead by now, so that
 * it lies in [now - TTL, now] whatever was sent. A first_ms of long ago needs no bound: it can
 * say no more than that the delay is over. A first_ms ahead of now stays as it was sent and
 * gives no age: a check counts from now, and notes that. (Were it put at now, a node whose
 * clock is behind would hand on the first tries of others as older than they are.) So a clock
 * that is wrong at one node opens the list for nobody whom that node did not see itself,
 * shortens no entry of another, and lengthens none beyond the TTL from now. A known client's
 * first_ms is of no use and 0.
 *
 * Convergence. Each change of an entry, own or merged, gets the next serial number; a link
 * sends greylist_changes() above the serial that it has sent, from 0 for a peer that knows
 * nothing. A merge that changes nothing gets none, so nothing goes round. What is lost may be
 * sent again, doubled and in any order. Below the ceiling the sets end equal.
 *
 * Pure. Threads: one owner. Memory: a counted pool, at most 100 MiB at LIMIT_GREY_ENTRIES.
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
#include "node/policy/ip.h"

struct greylist_options {
    uint64_t delay_ms, window_ms, known_ms; /* 0: LIMIT_GREY_...; the same at all sites */
    uint32_t entries, first_tries;          /* 0: LIMIT_GREY_...; ceilings              */
};

struct greylist {
    struct greylist_options opt;
    struct pool pool;
    struct map map;
    uint32_t first_tries; /* entries that have not passed */
    struct changes changes;
    uint32_t swept;        /* where the sweep goes on */
    uint64_t crowd_window; /* private: first tries of networks, as far as we saw them */
    uint16_t crowd[LIMIT_GREY_CROWD];
};

void greylist_init(struct greylist *g, const struct greylist_options *opt);
void greylist_fini(struct greylist *g);
/* Of checks from now on; above 0. It may differ between sites: entries do not depend on it. */
void greylist_set_delay(struct greylist *g, uint64_t delay_ms);

/* --- who it is --- */

/* A try for one recipient's domain. */
struct greylist_try {
    struct ip_addr client;
    struct str spf_domain; /* the domain that SPF passed, or empty; any case              */
    struct str sender;     /* of MAIL FROM without <>; empty: null sender                 */
    struct str domain;     /* of the recipient; any case                                  */
};

/* try: this sender to this domain by this client. client: by its name (SPF) or network.
 * network: by its network, the same as client without SPF. Values above 0. */
struct greylist_keys {
    uint64_t try, client, network;
    uint64_t crowd; /* the network to this domain, whoever the sender: for who fills the list */
    uint64_t
        plain; /* try without SPF: what DNS did not say then, it may say when he comes again */
};

/* secret: of the cluster, 128 bits; with another one all are strangers again. Texts are cut at
 * their limits (LIMIT_SMTP_PATH_BYTES, LIMIT_SMTP_DOMAIN_BYTES). */
struct greylist_keys greylist_keys(const uint64_t secret[2], const struct greylist_try *t);

/* The sender as it is hashed: what differs from message to message or from recipient to
 * recipient is taken out, so that a list waits once (VERP, BATV "prvs=", SRS; sub-addresses
 * behind '+'; each run of letters and digits with a digit in it becomes '#'; a local part with
 * '=' keeps its first word). Lower case. At most sender.n bytes go into buf; returns them. */
struct str greylist_sender(struct str sender, char buf[static LIMIT_SMTP_PATH_BYTES]);

/* --- checks --- */

enum greylist_verdict {
    GREYLIST_FIRST,
    GREYLIST_EARLY,
    GREYLIST_PASSED,
    GREYLIST_KNOWN,
    GREYLIST_FULL,
};

/* Notes what is to be noted. *wait_ms: how long it is too early, 0 when mail is taken. */
enum greylist_verdict greylist_check(struct greylist *g, const struct greylist_keys *keys,
                                     uint64_t now_ms, uint64_t *wait_ms);
/* The same for a domain that takes mail all the same: nobody becomes known by what nobody made
 * him wait for. */
enum greylist_verdict greylist_watch(struct greylist *g, const struct greylist_keys *keys,
                                     uint64_t now_ms, uint64_t *wait_ms);

/* What a check would say; notes nothing, and does not look whether there is room. */
enum greylist_verdict greylist_look(const struct greylist *g, const struct greylist_keys *keys,
                                    uint64_t now_ms, uint64_t *wait_ms);

/* "450 4.7.1 ..." for FIRST and EARLY, without CRLF, static. The same words for both: what the
 * list knows is nobody's business. */
const char *greylist_reply(void);
const char *greylist_verdict_text(enum greylist_verdict v); /* "first", for the log; static */

/* --- between sites, and in the store --- */

struct greylist_entry {
    uint64_t key; /* above 0 */
    uint64_t first_ms, last_ms;
    bool is_passed;
};

/* Bytes, big-endian: 0..7 key, 8..15 first_ms, 16..23 last_ms, 24 0 or 1: is_passed. */
#define GREYLIST_ENTRY_BYTES 25

void greylist_pack(const struct greylist_entry *e, uint8_t out[static GREYLIST_ENTRY_BYTES]);
/* E_PROTO: another number of bytes, key 0, byte 24 neither 0 nor 1. Times are not judged here.
 */
MUST_CHECK enum err greylist_unpack(struct str bytes, struct greylist_entry *out);

enum greylist_merged {
    GREYLIST_NEWS,    /* something has changed: to be stored */
    GREYLIST_NO_NEWS, /* known already, or dead by now */
    GREYLIST_NO_ROOM, /* at a ceiling, not taken: counted by the caller */
};

/* Of a peer, or of the store at start. */
MUST_CHECK enum greylist_merged greylist_merge(struct greylist *g,
                                               const struct greylist_entry *e, uint64_t now_ms);

/* The next change behind the cursor, oldest first, each entry once and as it is now; moves the
 * cursor. False: there is none. For peers, and for the store. */
bool greylist_changes(const struct greylist *g, struct change_cursor *at,
                      struct greylist_entry *out);

/* Looks at the next `look` entries in turn, frees the dead ones and writes their keys to
 * dropped[], which has room for `look`; returns how many. A last_ms ahead of now is put right.
 */
size_t greylist_sweep(struct greylist *g, uint64_t now_ms, size_t look, uint64_t *dropped);

/* The entry of a key, if it is alive. */
bool greylist_get(const struct greylist *g, uint64_t key, uint64_t now_ms,
                  struct greylist_entry *out);

uint32_t greylist_count(const struct greylist *g); /* dead ones that are not swept included */
