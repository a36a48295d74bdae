/*
 * judge: the checks of one mail transaction that DNS has a part in: the client's name (rdns),
 * the sender's domain (sender), whether the one may send for the other (spf). All that a domain
 * has switched on are asked at the same time, at the first recipient; then one verdict.
 *
 *   judge_init() --> judge_questions() <--> judge_answer() ... until judge_is_done()
 *                              judge_give_up(), when time is up ^
 *
 * What may refuse, in this order: the client has no name (NONE, MISMATCH), the sender cannot be
 * answered, SPF says fail. Never what DNS did not say: silence, SERVFAIL and errors in a record
 * are "unknown", whatever the mode. The null sender has nothing to fear of `sender`; SPF checks
 * HELO then (RFC 7208 2.4).
 *
 * Pure. Threads: one owner. Not to be copied or moved while it is in use. Memory: 20 KiB, and
 * what spf.h takes of the arena.
 */
#pragma once

#include "node/policy/rdns.h"
#include "node/policy/sender.h"
#include "node/policy/spf.h"
#include "proto/domain.h"

struct judge_facts {
    struct ip_addr client;
    struct str helo; /* as the client said it */
    const struct path *sender;
    struct str host; /* our own name */
    int64_t wall_s;
};

enum judge_part { JUDGE_RDNS, JUDGE_SENDER, JUDGE_SPF };

struct judge_question {
    enum judge_part part;
    struct question q;
};

#define JUDGE_QUESTIONS (LIMIT_RDNS_NAMES + SENDER_QUESTIONS + 1)

struct judge {
    uint8_t checks[DOMAIN_CHECK_KINDS]; /* as they were when it began */
    struct rdns rdns;
    struct sender sender;
    struct spf spf;
    struct spf_check spf_check;

    /* private */
    bool spf_asked, spf_done;
};

/* True: something is switched on that needs it. */
bool judge_is_needed(const uint8_t checks[DOMAIN_CHECK_KINDS]);

/* Copies what it needs into the arena, which lives at least as long as *j. False: no room. */
MUST_CHECK bool judge_init(struct judge *j, const uint8_t checks[DOMAIN_CHECK_KINDS],
                           const struct judge_facts *f, struct arena *arena);

/* What is to be asked now, each question once. Names live as long as *j. */
size_t judge_questions(struct judge *j, struct judge_question out[static JUDGE_QUESTIONS]);

/* In any order; late ones do no harm. */
void judge_answer(struct judge *j, enum judge_part part, uint32_t tag,
                  const struct dns_answer *a);
void judge_give_up(struct judge *j);
bool judge_is_done(const struct judge *j);

/* Once done: whether that check is on, and its verdict against the client. */
bool judge_is_against(const struct judge *j, enum domain_check_kind kind);
/* Once done: which check is against the client, the first in order that may refuse, else the
 * first that is marked. DOMAIN_CHECK_KINDS: none. */
enum domain_check_kind judge_against(const struct judge *j);

/* The refusal, without CRLF; empty: the mail may come. */
#define JUDGE_REPLY_BYTES 512
struct str judge_reply(const struct judge *j, char buf[static JUDGE_REPLY_BYTES]);
