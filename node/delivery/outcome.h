/*
 * outcome: what a try, an end of the hold time or an operator makes of an envelope. Pure: the
 * old envelope stays as it is, a new one is built in the arena of the caller.
 *
 *   PHASE_DELIVER --all recipients final--> PHASE_DSN --sent or given up--> PHASE_DONE
 *        \--all final, nobody to tell------------------------------------> PHASE_DONE
 *
 * PHASE_DSN is entered when the sender is not null and a recipient bounced or expired; a DSN is
 * never sent for a null sender (RFC 5321 6.1). Purged recipients owe nobody a DSN.
 *
 * Recipients: OK ends in DELIVERED, PERMANENT in BOUNCED, an unbroken run of ODD_5XX over
 * LIMIT_ODD_5XX_MS in BOUNCED; everything else stays PENDING and is tried again after
 * LIMIT_RETRY_FIRST_MS, doubling from try to try up to LIMIT_RETRY_MAX_MS (no doubling after
 * 421: the primary spoke of itself, not of the message). The run of ODD_5XX breaks at any other
 * verdict, and when more than LIMIT_ODD_GAP_MS lie between two tries (the primary was away). A
 * result with begun == false changes nothing. A final fate never changes (INV-2).
 * Whether the sender may be told is dsn_policy's word: with a no, outcome_withhold() ends what
 * is due (PHASE_DONE, DSN_WITHHELD), before anything is written.
 *
 * DSN: any 5xx gives it up, everything else is tried again on the same clock until
 * dsn_deadline_ms (LIMIT_DSN_HOLD_MS after the phase began).
 *
 * The caller does not expire, purge or bounce while a try of the message is under way.
 *
 * Times: now_ms is cluster time. Threads: any. Memory: the arena's.
 * Errors: E_FULL: the arena is at its ceiling; nothing was decided, *out is not to be used.
 */
#pragma once

#include "base/arena.h"
#include "node/delivery/smtpc.h"
#include "proto/envelope.h"

/* What the writer must do with the new envelope. */
enum outcome_write {
    OUTCOME_NOTHING, /* nothing changed; close the DOT mark, if one was made */
    OUTCOME_UPDATE,  /* store it                                   */
    OUTCOME_SETTLE   /* phase DONE: store it and settle the message */
};

struct outcome {
    struct envelope env; /* new; arrays and changed texts in the arena, the rest borrowed from
                            the old one */
    enum outcome_write write;
    /* Facts of this step, for log and stats: recipients by what became of them now. */
    uint32_t delivered, bounced, expired, purged, deferred;
    bool possible_duplicate; /* env.possible_duplicates was raised */
    bool alarm;              /* an odd 5xx came, or ended a recipient */
    bool dsn_due;            /* the phase became PHASE_DSN */
    bool dsn_sent, dsn_given_up, dsn_withheld;
    uint64_t next_ms; /* earliest next try of a pending recipient or of the DSN; 0: at once */
};

/* A try has ended. A result for a DSN is only for an envelope in PHASE_DSN, another only for
 * one in PHASE_DELIVER. */
MUST_CHECK enum err outcome_of_result(const struct envelope *env, const struct smtpc_result *r,
                                      uint64_t now_ms, struct arena *a, struct outcome *out);

/* The clock has moved: after deadline_ms the pending recipients expire, after dsn_deadline_ms
 * the DSN is given up. Held mail expires too: holding lengthens nothing. */
MUST_CHECK enum err outcome_of_time(const struct envelope *env, uint64_t now_ms,
                                    struct arena *a, struct outcome *out);

enum outcome_order {
    OUTCOME_PURGE, /* pending recipients end, silently; an owed DSN is not sent */
    OUTCOME_BOUNCE /* pending recipients end as bounced; the sender is told; a DSN under way
                      goes on */
};

/* An operator ends the message, or, with which != NULL, those recipients for which
 * which[index] is true (env->rcpt_count entries). */
MUST_CHECK enum err outcome_of_operator(const struct envelope *env, enum outcome_order order,
                                        const bool *which, uint64_t now_ms, struct arena *a,
                                        struct outcome *out);

/* The DSN has nowhere to go (the sender's domain does not exist, takes no mail, or leads to
 * ourselves): given up. why is kept as dsn_reply. */
MUST_CHECK enum err outcome_of_dead_dsn(const struct envelope *env, struct str why,
                                        uint64_t now_ms, struct arena *a, struct outcome *out);

/* The sender is not to be told. out: of any of the above, with dsn_due. why is kept as
 * dsn_reply: static, or it lives as long as the arena. */
void outcome_withhold(struct outcome *out, struct str why);
