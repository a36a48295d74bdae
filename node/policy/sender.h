/*
 * sender: whether the domain of MAIL FROM can be answered. RFC 5321 5.1 (MX, else A and AAAA),
 * RFC 7505 (null MX), RFC 6761 and its registry (special-use names). No sender is ever called
 * out to.
 *
 *   MX --found, trouble, NXDOMAIN--> DONE
 *    +---no MX--> ADDRESS (A and AAAA) --both answered, or one found--> DONE
 *
 * The null sender, and an address literal, need no look-up: done at once. What DNS does not say
 * for certain is UNKNOWN, which never refuses.
 *
 * Used as rdns.h says: init, questions, answers, until done; give_up when time is up.
 * Pure. Threads: one owner. Memory: 300 bytes.
 */
#pragma once

#include "node/policy/question.h"
#include "node/smtp/address.h"

enum sender_result {
    SENDER_UNKNOWN,
    SENDER_NULL,      /* <>: fine */
    SENDER_LITERAL,   /* user@[192.0.2.1]: fine; there is nothing to look up */
    SENDER_RESOLVES,  /* fine */
    SENDER_NO_DOMAIN, /* 550 5.1.8: NXDOMAIN */
    SENDER_NO_HOST,   /* 550 5.1.8: neither MX nor A nor AAAA */
    SENDER_NULL_MX,   /* 550 5.7.27: it says that it takes no mail, so none can be answered */
    SENDER_SPECIAL,   /* 550 5.1.8: a name that is nobody's in public DNS, or a single label */
};

struct sender {
    enum sender_result result; /* once done */

    /* private */
    int state;
    bool asked, trouble, exists, answered[2];
    size_t length;
    char domain[LIMIT_SMTP_DOMAIN_BYTES];
};

#define SENDER_QUESTIONS 2

/* path: of address_parse_mail(); borrowed for this call. */
void sender_init(struct sender *s, const struct path *path);

size_t sender_questions(struct sender *s, struct question out[static SENDER_QUESTIONS]);
void sender_answer(struct sender *s, uint32_t tag, const struct dns_answer *a);
void sender_give_up(struct sender *s);
bool sender_is_done(const struct sender *s);

/* Whether a verdict may refuse. */
bool sender_is_bad(enum sender_result r);

/* "550 5.1.8 ..." or "450 4.1.8 ..." (null MX: X.7.27), without CRLF, static. Of bad ones only.
 */
const char *sender_reply(enum sender_result r, bool temporary);
const char *sender_result_text(enum sender_result r); /* "null-mx", for the log; static */

/* Whether the name, or one that it lies below, is special-use: "localhost", "a.test". Any case,
 * without final dot. */
bool sender_is_special(struct str domain);
