/*
 * judge: the checks of one mail transaction: the client's name (rdns), lists in DNS that name
 * it (dnsbl), what it calls itself (helo), the sender's domain (sender), whether a domain that
 * is served here is the sender without right (forged), and whether the one may send for the
 * other (spf). All that a domain has switched on are asked at the same time, at the first
 * recipient; then one verdict.
 *
 *   judge_init() --> judge_questions() <--> judge_answer() ... until judge_is_done()
 *                              judge_give_up(), when time is up ^
 *
 * They may refuse in the order above. Never what DNS did not say: silence, SERVFAIL and errors
 * in a record are "unknown", whatever the mode. The null sender has nothing to fear of
 * `sender`; SPF checks HELO then (RFC 7208 2.4).
 *
 * forged: the sender's domain is one of ours, and SPF says anything but pass (a domain that
 * publishes nothing cannot be told from its forgers), or temperror, which says nothing. SPF is
 * looked up for it even when `spf` is off; and where the recipient's verdict hangs on it.
 *
 * Pure. Threads: one owner. Not to be copied or moved while it is in use. Memory: 24 KiB, and
 * what spf.h takes of the arena.
 */
#pragma once

#include "node/policy/helo.h"
#include "node/policy/listing.h"
#include "node/policy/rdns.h"
#include "node/policy/sender.h"
#include "node/policy/spf.h"
#include "proto/domain.h"

struct judge_facts {
    struct ip_addr client;
    struct str helo; /* as the client said it */
    const struct path *sender;
    bool sender_is_ours; /* its domain is served here; of use to `forged` alone */
    bool needs_spf;      /* look it up, whatever is on */
    struct str host;     /* our own name */
    int64_t wall_s;
    struct helo_facts own;        /* own_names, own_name_count, client_is_ours of it */
    struct listing_facts listing; /* client of it is not looked at; lists outlive the judge */
};

enum judge_part { JUDGE_RDNS, JUDGE_DNSBL, JUDGE_SENDER, JUDGE_SPF };

struct judge_question {
    enum judge_part part;
    struct question q;
};

#define JUDGE_QUESTIONS (LIMIT_RDNS_NAMES + LIMIT_DNSBL_LISTS + SENDER_QUESTIONS + 1)

struct judge {
    uint8_t checks[DOMAIN_CHECK_KINDS]; /* as they were when it began */
    struct ip_addr client;
    struct rdns rdns;
    struct listing listing;
    enum helo_result helo;
    struct sender sender;
    bool sender_is_ours;
    struct spf spf; /* .verdict only, unless has_spf */
    struct spf_check spf_check;
    bool has_spf; /* it was looked up */

    /* private */
    bool spf_asked, spf_done;
};

/* True: something is switched on that it judges, or the greylist, which wants to know SPF. */
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

/* Once done. */
enum judge_outcome {
    JUDGE_OFF,
    JUDGE_PASSED,
    JUDGE_UNKNOWN, /* DNS did not say: held against nobody */
    JUDGE_AGAINST,
    JUDGE_OUTCOMES
};
enum judge_outcome judge_outcome(const struct judge *j, enum domain_check_kind kind);
/* Once done: which check is against the client, the first in order that may refuse, else the
 * first that is marked. DOMAIN_CHECK_KINDS: none. */
enum domain_check_kind judge_against(const struct judge *j);

/* The refusal, without CRLF; empty: the mail may come. */
#define JUDGE_REPLY_BYTES 512
struct str judge_reply(const struct judge *j, char buf[static JUDGE_REPLY_BYTES]);

/* --- for the log and for operators; once done --- */

/* The checks that it judges, in the order in which they may refuse. */
#define JUDGE_CHECKS 6
enum domain_check_kind judge_kind(size_t place);

/* What was found out, in a word: "off", "mismatch"; static. Of the checks above; of SPF also
 * when it is off, and was looked up for another. */
const char *judge_word(const struct judge *j, enum domain_check_kind kind);

/* And more of it: the client's name, the lists that name it, SPF's mechanism. May hold bytes
 * from outside. Empty: there is no more. In buf, cut to its size. */
#define JUDGE_DETAIL_BYTES 512
struct str judge_detail(const struct judge *j, enum domain_check_kind kind,
                        char buf[static JUDGE_DETAIL_BYTES]);
