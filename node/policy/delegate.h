/*
 * delegate: what is said to a policy server and what it answers, in the protocol that Postfix
 * made common (SMTPD_POLICY_README, access(5)): lines of name=value, an empty line; the answer
 * is action=..., an empty line.
 *
 * It is asked for each recipient, after all checks but the greylist. What it may answer:
 *
 *   DUNNO, OK, PERMIT, digits alone               the mail may come
 *   REJECT, 5NN                                   refused for good
 *   DEFER, DEFER_IF_PERMIT, 4NN                   refused for now
 *   DEFER_IF_REJECT                               the mail may come: no check comes after it
 *   anything else (PREPEND, FILTER, HOLD, DISCARD, REDIRECT, WARN, BCC, names of
 *   restrictions ...)                             not done: the mail may come, and it is told
 *
 * Behind the word stands a text for the client, which may begin with an enhanced status code.
 * 421 and 521 end the session, as they do with Postfix.
 *
 * Pure. Threads: any. Limits: LIMIT_DELEGATE_REQUEST_BYTES, LIMIT_DELEGATE_ANSWER_BYTES,
 * LIMIT_DELEGATE_REST_MS, LIMIT_DELEGATE_TIMEOUTS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "proto/domain.h"

/* All borrowed. Control bytes in them are sent as '?'. */
struct delegate_facts {
    struct str client;    /* address */
    struct str helo;      /* as it was said */
    struct str sender;    /* empty: the null sender */
    struct str recipient; /* with its domain */
    struct str tls;       /* "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty: in the clear */
    uint64_t instance;    /* the same for all questions about a message, and for no other */
    uint64_t size_bytes;  /* of MAIL's SIZE; 0: not said */
    bool esmtp;
};

/* The question; lies in buf. */
struct str delegate_request(const struct delegate_facts *f,
                            char buf[static LIMIT_DELEGATE_REQUEST_BYTES]);

enum delegate_act {
    DELEGATE_PASS,
    DELEGATE_REFUSE,  /* with .reply */
    DELEGATE_UNKNOWN, /* an action that is not done here */
};

#define DELEGATE_REPLY_BYTES 512
#define DELEGATE_WORD_BYTES  32

struct delegate_answer {
    enum delegate_act act;
    bool closes;                      /* the session ends with it */
    char word[DELEGATE_WORD_BYTES];   /* the action as it was sent, cut; printable */
    char reply[DELEGATE_REPLY_BYTES]; /* a line without CRLF, printable; empty: none */
};

enum delegate_read {
    DELEGATE_MORE, /* the empty line has not come */
    DELEGATE_DONE, /* *used bytes are the answer */
    DELEGATE_BAD,  /* no answer: too long, not one action, a line without = */
};

/* `in`: what has come since the question. Lines end with LF or CRLF. */
enum delegate_read delegate_read(struct str in, size_t *used, struct delegate_answer *a);

/* What the domain's switch makes of a refusal: DEFER turns it into a 4xx, MARK into none. */
void delegate_soften(struct delegate_answer *a, uint8_t mode);

/* --- whether it is asked at all --- */

/* After a failure it is not asked for LIMIT_DELEGATE_REST_MS. One question without an answer is
 * none: a client may know what it is slow about, and must not switch it off for the others.
 * LIMIT_DELEGATE_TIMEOUTS in a row are. All zero: it is asked. now_ms: never set back. */
struct delegate_rest {
    uint64_t until_ms;
    uint32_t timeouts; /* since the last answer */
};

bool delegate_is_resting(const struct delegate_rest *r, uint64_t now_ms);
/* It cannot be reached, or does not speak the protocol. */
void delegate_failed(struct delegate_rest *r, uint64_t now_ms);
/* True: it rests now. */
MUST_CHECK bool delegate_timed_out(struct delegate_rest *r, uint64_t now_ms);
void delegate_answered(struct delegate_rest *r);
