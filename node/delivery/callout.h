/*
 * callout: whom a primary is asked for, when, and what its answers are worth. A question is
 * MAIL FROM:<>, RCPT and no more (smtpc.h, job.asks).
 *
 *   callout_want(), callout_routed(), _ready(), _result(), _closed()     events
 *   while (callout_next(c, now, &action))                                what to do
 *       perform(&action);
 *   as long as !callout_is_idle(): pull again at least once a second
 *
 * A domain with wishes:
 *
 *   WAITING --ROUTE--> ROUTING --OPEN--> OPENING --ready--> NAMES --> SOMEBODY --> LEAVING
 *      ^  <--no budget now--|                                  \---nobody taken------^  |
 *      |  <-------------------------------closed-------------------------------------|
 *
 * In one session up to LIMIT_CALLOUT_NAMES recipients are asked for (NAMES), those whom
 * somebody waits for first, then the oldest. If the primary would take one of them, it is asked
 * for a recipient that nobody has (SOMEBODY), and only when it refuses that one, it is
 * believed. If it takes it, it takes all: noted for LIMIT_CALLOUT_TAKES_ALL_MS, and the
 * domain's wishes are answered so without a question meanwhile.
 *
 * What a reply is worth: 250, 251, 252: VALID. 550, 551, 553 without an enhanced code, or with
 * one of X.1.x (address): INVALID. All else UNKNOWN: 4xx, refusals for other reasons ("5.7.1"),
 * protocol oddities, and a primary that is lost before it was known whether it takes all.
 *
 * Budget. An address sees at most `per_minute` questions of this node in any minute, over all
 * domains that go there, the recipient that nobody has included. A question takes a place; the
 * place is free again LIMIT_CALLOUT_MINUTE_MS after the session has ended, not after it was
 * sent: so what was late on its way counts too. In the first LIMIT_CALLOUT_MINUTE_MS after
 * init nothing is asked: the run before may have. Each of several sites gets its part of the
 * LIMIT_CALLOUT_PER_MINUTE (callout_share()), whoever holds what: no word between them, no
 * clock, no change of hands and no partition adds to the sum (docs/decisions/0021).
 *
 * An address that does not answer, breaks off or brakes (421, 450) rests for
 * LIMIT_CALLOUT_REST_MS, doubled each time up to ..._REST_MAX_MS. Who asks meanwhile hears
 * NOT_ASKED at once.
 *
 * One session to an address at a time; the shell is told to cut one that is older than
 * LIMIT_CALLOUT_SESSION_MS. Domains take turns. A wish comes back within
 * LIMIT_CALLOUT_WISH_MS (one that does not hurry: LIMIT_CALLOUT_PATIENCE_MS, some minutes, so
 * that it meets free places) and a session, each exactly once, by ANSWER.
 *
 * Pure. Threads: one owner. Time: any monotonic clock. Memory: fixed, about 1 MiB; wishes are
 * their owner's. Limits: LIMIT_CALLOUT_DOMAINS, LIMIT_CALLOUT_WISHES of one,
 * LIMIT_CALLOUT_ADDRS, LIMIT_CALLOUT_CONNS sessions: what is above is NOT_ASKED, or waits.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/prng.h"
#include "node/delivery/route.h"
#include "node/delivery/smtpc.h"

enum callout_verdict {
    CALLOUT_NOT_ASKED, /* no room, no budget, no way there: again later */
    CALLOUT_VALID,
    CALLOUT_INVALID,
    CALLOUT_UNKNOWN,   /* it was asked, and nothing came of it */
    CALLOUT_TAKES_ALL, /* the primary takes whatever it is asked for */
    CALLOUT_VERDICTS
};
const char *callout_verdict_text(enum callout_verdict v); /* "valid", "not-asked"; static */

/* Of the caller, from want to ANSWER. */
struct callout_wish {
    char domain[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* as stored */
    uint64_t generation;                      /* above 0 */
    char local[LIMIT_SMTP_LOCAL_PART_BYTES + 1];
    bool hurries;                 /* somebody waits for the answer */
    enum callout_verdict verdict; /* the answer */

    /* private */
    struct callout_wish *next;
    uint64_t since_ms;
    uint32_t name; /* in the session: place + 1 */
};

enum callout_state {
    CO_FREE,
    CO_WAITING,
    CO_ROUTING,
    CO_OPENING,
    CO_NAMES,
    CO_SOMEBODY,
    CO_LEAVING
};

struct callout_budget {
    struct route_ip ip;
    bool is_taken, is_busy; /* busy: a session is open */
    bool is_awaited;        /* another domain has met it busy, and goes before this one */
    uint32_t failures;      /* in a row */
    uint64_t rest_ms, used_ms;
    uint64_t free_ms[LIMIT_CALLOUT_PER_MINUTE]; /* UINT64_MAX: of the session that is open */
};

struct callout_domain {
    int state; /* enum callout_state */
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint64_t generation;
    struct callout_wish *first;
    uint32_t wishes;
    uint64_t again_ms;

    uint32_t budget;
    uint64_t opened_ms;   /* 0: OPEN is due */
    bool is_cut, is_well; /* cut: was told to be; well: the primary answered as it should */
    uint32_t spent;       /* questions */
    uint32_t name_count;
    char names[LIMIT_CALLOUT_NAMES][LIMIT_SMTP_LOCAL_PART_BYTES + 1];
    enum callout_verdict verdicts[LIMIT_CALLOUT_NAMES];
    char somebody[LIMIT_SMTP_LOCAL_PART_BYTES + 1];
};

struct callout {
    uint32_t per_minute;
    uint64_t start_ms;
    bool is_stopped;
    struct prng rng;
    uint32_t turn, sessions, note_at;
    struct callout_wish *answers, **answers_end;
    struct callout_domain domains[LIMIT_CALLOUT_DOMAINS];
    struct callout_budget budgets[LIMIT_CALLOUT_ADDRS];
    struct callout_note {
        uint64_t generation, until_ms;
    } notes[LIMIT_CALLOUT_NOTES];
};

/* What one of so many sites may ask in a minute. */
uint32_t callout_share(uint32_t sites);

/* per_minute: 2 .. LIMIT_CALLOUT_PER_MINUTE. seed: one that nobody can guess. */
void callout_init(struct callout *c, uint32_t per_minute, uint64_t seed, uint64_t now_ms);

/* Takes the wish until its ANSWER. */
void callout_want(struct callout *c, struct callout_wish *w, uint64_t now_ms);

/* Answers ROUTE. NULL: there is no way, or nobody is to be asked there now. */
void callout_routed(struct callout *c, uint32_t place, const struct route_ip *ip,
                    uint64_t now_ms);

/* The recipients of the question that is due now. */
struct callout_names {
    uint32_t count;
    const char *locals[LIMIT_CALLOUT_NAMES]; /* borrowed until the result */
};

/* The session is open. */
void callout_ready(struct callout *c, uint32_t place, struct callout_names *out);
/* Of the question; NULL: it was never sent. True: *out is to be asked next; else the session is
 * to be ended. */
bool callout_result(struct callout *c, uint32_t place, const struct smtpc_result *r,
                    struct callout_names *out);
/* The connection is over, or never came to be; after the result of what was asked on it. */
void callout_closed(struct callout *c, uint32_t place, uint64_t now_ms);

enum callout_do {
    CALLOUT_ROUTE,  /* .place: find the address of its domain; callout_routed() */
    CALLOUT_OPEN,   /* .place: a session to the address that was found; ready or closed */
    CALLOUT_CUT,    /* .place: it takes too long; a result that is due, and closed, follow */
    CALLOUT_ANSWER, /* .wish: goes back to its owner */
};

struct callout_action {
    enum callout_do act;
    uint32_t place;
    const struct callout_domain *domain; /* of place */
    struct callout_wish *wish;
};

/* False: nothing to do now. What was handed out counts as done. */
bool callout_next(struct callout *c, uint64_t now_ms, struct callout_action *out);

/* No wish is here, no session open. */
bool callout_is_idle(const struct callout *c);

/* From now on wishes are answered NOT_ASKED, and sessions are to be cut. */
void callout_stop(struct callout *c);
/* All is over, sessions included: what is left to pull is ANSWERs. */
void callout_abandon(struct callout *c);
