/*
 * dnsbl: block and allow lists in DNS. RFC 5782.
 *
 * The name that is asked for, what its answer is worth, and for each list a watch that asks the
 * test points of RFC 5782 every LIMIT_DNSBL_TEST_MS and switches the list off, with a reason,
 * while it does not do what a list must do, and on again when it does.
 *
 * What is never a listing: an answer outside 127.0.0.0/8 (a resolver that sends its customers
 * to an advertisement; a domain that was sold), an answer in 127.255.255.0/24 (the errors of
 * Spamhaus: .252 typing error, .254 open resolver, .255 too many queries), an answer in
 * 127.0.0.0/8 that the operator has not named, DNS trouble, and no list that is off.
 *
 * Pure. Threads: any that owns the structs. Limits: LIMIT_DNSBL_ANSWERS, LIMIT_DNSBL_KEY_BYTES.
 */
#pragma once

#include "base/err.h"
#include "node/policy/question.h"

/* Answers from low to high, both included, as numbers: 127.0.0.2 is 0x7f000002. */
struct dnsbl_range {
    uint32_t low, high;
    int32_t weight; /* negative: an allow list */
};

/* A list; all of it is the caller's (a snapshot of the settings). */
struct dnsbl_list {
    struct str zone; /* "zen.spamhaus.org", without final dot */
    struct str key;  /* a label before the zone (Spamhaus DQS: "KEY.zen.dq.spamhaus.net"), or
                        empty.  A secret: the name that is asked for must not be logged */
    size_t range_count;
    struct dnsbl_range ranges[LIMIT_DNSBL_ANSWERS];
};

/* Room for a name with a NUL. */
#define DNSBL_NAME_BYTES (LIMIT_SMTP_DOMAIN_BYTES + 1)

/* "2.0.0.127.zen.spamhaus.org" of 127.0.0.2; nibbles of IPv6. In buf, with a NUL. False: longer
 * than a DNS name may be, or a key that is no label. */
MUST_CHECK bool dnsbl_name(const struct dnsbl_list *list, const struct ip_addr *client,
                           char buf[static DNSBL_NAME_BYTES], struct str *out);

/* They are asked for the same names. */
bool dnsbl_is_same(const struct dnsbl_list *a, const struct dnsbl_list *b);

enum dnsbl_status {
    DNSBL_NOT_LISTED,  /* NXDOMAIN, NODATA, or answers that the operator has not named */
    DNSBL_LISTED,      /* the weight counts */
    DNSBL_UNKNOWN,     /* DNS trouble */
    DNSBL_UNAVAILABLE, /* an error answer, or one that no list gives: the list is to be switched
                          off */
};

struct dnsbl_result {
    enum dnsbl_status status;
    int32_t
        weight; /* of the range that weighs most (of an allow list: least); 0 unless LISTED */
    uint32_t answer; /* that decided, as a number; 0: none */
};

/* Of an answer to DNS_A. One answer that no list gives spoils the others. */
struct dnsbl_result dnsbl_judge(const struct dnsbl_list *list, const struct dns_answer *a);

const char *dnsbl_status_text(enum dnsbl_status s); /* "not-listed"; static */

/* --- the watch over one list and one family --- */

/*
 *          TEST --> UNTESTED --good--> ON <--good-- OFF
 *                      |               |             ^
 *                      +-----bad-------+----bad------+
 *
 * A list is used in ON alone. A round asks two points: 127.0.0.2 must be listed, 127.0.0.1 must
 * not be; of IPv6 ::ffff:7f00:2 and ::ffff:7f00:1 (RFC 5782 5). A round whose answers are DNS
 * trouble is neither good nor bad until LIMIT_DNSBL_SILENT in a row: then the list is off, as
 * each look-up in it would cost its senders the time of a silence.
 */
enum dnsbl_state { DNSBL_UNTESTED, DNSBL_ON, DNSBL_OFF };

enum dnsbl_reason {
    DNSBL_FINE,
    DNSBL_NOT_TESTED,
    DNSBL_LISTS_NOBODY,   /* 127.0.0.2 is not listed: dead, emptied, or the zone is wrong */
    DNSBL_LISTS_ALL,      /* 127.0.0.1 is listed: a wildcard */
    DNSBL_ERROR_ANSWER,   /* 127.255.255.x: our resolver or key is refused */
    DNSBL_FOREIGN_ANSWER, /* outside 127.0.0.0/8: this is no list */
    DNSBL_NO_ANSWER,      /* silence, SERVFAIL or bogus, LIMIT_DNSBL_SILENT times in a row */
    DNSBL_NO_NAME,        /* zone and key do not make a DNS name */
};

struct dnsbl_watch {
    int state; /* enum dnsbl_state */
    enum dnsbl_reason reason;
    uint64_t next_ms; /* when the next round is due */
    /* private */
    bool v6, asked[2];
    uint32_t round, silent;
    enum dnsbl_reason points[2];
    char names[2][DNSBL_NAME_BYTES];
};

struct dnsbl_questions {
    uint32_t count; /* 0 or 2 */
    struct question questions[2];
};

/* The first round is due at once. v6: whether it watches the list's answers for IPv6. */
void dnsbl_watch_init(struct dnsbl_watch *w, const struct dnsbl_list *list, bool v6,
                      uint64_t now_ms);

/* At w->next_ms, or later: begins a round; what the last one has not heard counts as silence.
 * The answers come by dnsbl_watch_answer(). Earlier than that it asks nothing. True: state or
 * reason has changed (an alarm, or its end). */
MUST_CHECK bool dnsbl_watch_tick(struct dnsbl_watch *w, uint64_t now_ms,
                                 struct dnsbl_questions *out);

/* An answer to one of the questions; one of an older round is passed over. True: as above. */
MUST_CHECK bool dnsbl_watch_answer(struct dnsbl_watch *w, uint32_t tag,
                                   const struct dns_answer *a);

/* The next round is due now; what the last one has not heard yet is not waited for. */
void dnsbl_watch_soon(struct dnsbl_watch *w, uint64_t now_ms);

/* A client's look-up was DNSBL_UNAVAILABLE: the list is off at once, up to its next good round.
 * True: as above. `answer` as in dnsbl_result. */
MUST_CHECK bool dnsbl_watch_unavailable(struct dnsbl_watch *w, uint32_t answer);

const char *dnsbl_state_text(enum dnsbl_state s);   /* "on"; static */
const char *dnsbl_reason_text(enum dnsbl_reason r); /* a sentence for the operator; static */
