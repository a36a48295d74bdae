/*
 * envelope: what a node knows of one message besides its body. Plain data: the spool stores it
 * (proto/record.h converts), SMTP in fills it, delivery changes it.
 *
 * Times named *_ms are cluster time (milliseconds of the cluster clock, which no wall clock
 * moves), except received_wall_ms, which is Unix time and for display only.
 * Ownership: all struct str and the array point into an arena or a buffer of whoever made it.
 */
#pragma once

#include <stdint.h>

#include "base/mid.h"
#include "base/str.h"

/* Fate of one recipient. PENDING is the only one that is not final. Stored; the values are part
 * of the disk format, and merge order is delivered > bounced > expired > purged. */
enum fate {
    FATE_PENDING = 0,
    FATE_PURGED = 1,
    FATE_EXPIRED = 2,
    FATE_BOUNCED = 3,
    FATE_DELIVERED = 4
};

struct rcpt {
    struct str path; /* as the client gave it, without <>; byte-exact */
    enum fate fate;
    uint32_t attempts;     /* tries that got as far as RCPT                        */
    uint64_t last_ms;      /* of the last try, 0: none                             */
    uint64_t next_ms;      /* not tried again before; 0: at once                   */
    uint64_t odd_since_ms; /* first of an unbroken run of "other 5xx", 0: none     */
    uint64_t final_ms;     /* when the fate became final                           */
    struct str reply;      /* last reply of the primary, cut to LIMIT_REPLY_KEPT_BYTES */
};

/* A DSN is a phase of the message it reports on, not a message of its own. */
enum phase {
    PHASE_DELIVER = 0, /* some recipient is pending                                   */
    PHASE_DSN = 1,     /* all are final, the sender is owed a notification            */
    PHASE_DONE = 2     /* nothing more to do: the spool settles it                    */
};

enum dsn_fate {
    DSN_NONE = 0,
    DSN_PENDING = 1,
    DSN_SENT = 2,
    DSN_GIVEN_UP = 3,
    DSN_WITHHELD = 4 /* the sender is not told; dsn_reply says why */
};

/* What SPF said of the client and MAIL FROM when the message came. Stored. Only PASS says that
 * the sender is who it says. */
enum sender_auth {
    SENDER_UNASKED = 0, /* not looked up, or not in time */
    SENDER_NONE = 1,
    SENDER_NEUTRAL = 2,
    SENDER_PASS = 3,
    SENDER_FAIL = 4,
    SENDER_SOFTFAIL = 5,
    SENDER_TEMPERROR = 6,
    SENDER_PERMERROR = 7
};

struct envelope {
    struct mid id;
    struct str domain;          /* of all recipients: A-labels, lower case, no final dot */
    uint64_t domain_generation; /* of the control store: old mail never goes to a new tenant */
    struct str sender;          /* reverse path without <>; empty: null sender           */
    struct rcpt *rcpts;
    uint32_t rcpt_count;

    uint64_t body_bytes;     /* as received, unstuffed, without the final dot line    */
    uint64_t body_digest;    /* XXH3-64 of the body                                   */
    uint64_t body_number;    /* where the spool keeps the chunks; set by the spool    */
    bool eight_bit;          /* BODY=8BITMIME or 8-bit bytes seen                     */
    bool smtputf8;           /* MAIL said SMTPUTF8 (RFC 6531): goes on with it, or not at all */
    struct str trace_header; /* Received, and what goes above it; each with its CRLF  */

    uint64_t received_ms;
    int64_t received_wall_ms;
    uint64_t deadline_ms;   /* received_ms + hold time; only ever lengthened         */
    struct str client_addr; /* text form of the client's address                     */
    struct str client_helo;
    enum sender_auth sender_auth; /* set at receipt, never changed                         */
    struct str tls;               /* "TLSv1.3 TLS_AES_256_GCM_SHA384" or empty             */

    bool held;                    /* by an operator: not tried until released              */
    uint64_t held_index;          /* log index of the order that said so, or released it   */
    uint32_t possible_duplicates; /* dots whose outcome was never learned                  */
    enum phase phase;
    enum dsn_fate dsn;
    uint32_t dsn_attempts;
    uint64_t dsn_next_ms;     /* next try of the DSN                                   */
    uint64_t dsn_deadline_ms; /* given up after                                        */
    struct str dsn_reply;     /* last reply to the DSN                                 */
    uint64_t settled_ms;      /* set by the spool when it settles, else 0              */
    int64_t settled_wall_ms;

    /* Not 0: no mail of a client but a digest for the owner of `domain`, about mail that
     * settled before that cluster time (of the site that made it). It begins in PHASE_DSN, with
     * the owner's address as `sender`, the whole message as body, and no recipients. */
    uint64_t digest_until_ms;
};
