/*
 * smtpd: one inbound SMTP session as a pure state machine. RFC 5321; RFC 1870 (SIZE), 2034 and
 * 3463 (enhanced codes), 2920 (PIPELINING), 3207 (STARTTLS), 6152 (8BITMIME), 6531 (SMTPUTF8),
 * 9422 (LIMITS).
 *
 * No I/O, no clock, no heap: smtpd_step() takes one event with the time and answers with
 * actions. The shell (node/net) performs them; tests and the simulator perform them too.
 *
 *   OPEN --> HELO --> READY --> MAIL --> RCPT --> BODY --> COMMIT --> READY
 *   READY, HELO --> TLS --> HELO (STARTTLS)      BODY --> READY (refused after the dot)
 *   MAIL, RCPT --> READY (RSET, EHLO)            any but CLOSED --> CLOSED
 *
 * Contract of the caller
 * - While s->waiting is true (an ASK is under way), and in TLS, BODY, COMMIT and CLOSED, no
 * LINE and no BAD_LINE is passed in; what a client pipelined stays in the read buffer.
 * - Lines come from wire_cut_line(), body ends from bodyscan and headerscan.
 * - Each step: send out.reply (complete lines; the replies of one read may be collected into
 * one write), then do out.act, then close when out.close. After close no further event.
 * - out.deadline_ms is the time at which to pass SMTPD_EV_TIMEOUT, 0 for never; it replaces the
 *   one of the step before. In BODY ask smtpd_body_deadline() when the timer fires: bytes that
 *   keep coming move it.
 * - ASKs are answered by exactly one VERDICT, unless the session closes first (timeout,
 * shutdown).
 * - What out.path borrows is gone after the step: copy it when asked, keep it on a yes.
 *
 * Limits: LIMIT_SMTP_*. Between the dot and EV_COMMIT there is no deadline and no 421: the
 * shell bounds that time (LIMIT_COMMIT_MS) and reports it as an error of the commit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mid.h"
#include "base/str.h"
#include "node/smtp/address.h"
#include "node/smtp/bodyscan.h"
#include "node/smtp/headerscan.h"
#include "node/smtp/wire.h"

enum smtpd_state {
    SMTPD_OPEN,   /* accepted, policy is asked about the client            */
    SMTPD_HELO,   /* banner sent, or TLS just came up: EHLO or HELO is due */
    SMTPD_READY,  /* no transaction                                        */
    SMTPD_MAIL,   /* sender taken, no recipient yet                        */
    SMTPD_RCPT,   /* at least one recipient taken                          */
    SMTPD_TLS,    /* handshake under way                                   */
    SMTPD_BODY,   /* bytes go to bodyscan                                  */
    SMTPD_COMMIT, /* the dot was seen, the answer is not known yet         */
    SMTPD_CLOSED,
    SMTPD_STATES
};

/* Settings of the listener; borrowed, must outlive the session. */
struct smtpd_options {
    struct str hostname;     /* in banner and EHLO; at most LIMIT_SMTP_DOMAIN_BYTES */
    uint64_t max_body_bytes; /* SIZE; at most LIMIT_BODY_BYTES                      */
    bool tls_offered;        /* a certificate is loaded                             */
    bool tls_required;       /* 530 for mail without TLS; needs tls_offered         */
    bool smtputf8;           /* RFC 6531 is offered                                 */
};

enum smtpd_event_type {
    SMTPD_EV_OPEN,     /* first event. .shutting_down: the node takes no sessions    */
    SMTPD_EV_LINE,     /* .line, borrowed for this call                              */
    SMTPD_EV_BAD_LINE, /* .bad_line: a kind of wire.h that is not LINE or MORE       */
    SMTPD_EV_VERDICT,  /* answer to the last ASK: .refusal empty is yes              */
    SMTPD_EV_TLS,      /* handshake over: .tls_ok, .tls_text                         */
    SMTPD_EV_BODY_END, /* the dot was seen and the body is complete; .refusal: of the
                          policy, when nothing else is wrong with it               */
    SMTPD_EV_COMMIT,   /* answer to ACT_COMMIT: .err, .mid                           */
    SMTPD_EV_TIMEOUT,  /* the deadline of the last step has passed                   */
    SMTPD_EV_SHUTDOWN, /* the node stops or drains; may come at any time             */
};

struct smtpd_event {
    enum smtpd_event_type type;
    uint64_t now_ms; /* monotonic; with every event */
    struct str line;
    enum wire_kind bad_line;
    struct str refusal;  /* a reply without CRLF, "450 4.7.1 ..." (4xx or 5xx); bytes that
                            are not printable ASCII are shown as '?'                    */
    bool refusal_closes; /* close after a refusal; always so at ASK_CONNECT             */
    bool shutting_down;
    bool tls_ok;         /* false: the session ends without a word                      */
    struct str tls_text; /* "TLSv1.3 TLS_AES_256_GCM_SHA384"; copied                    */
    enum body_violation violation; /* of bodyscan */
    bool endless; /* bodyscan_is_endless(): the dot was not waited for           */
    enum header_verdict header; /* of headerscan */
    uint64_t body_bytes;
    enum err err; /* OK: durable. E_FULL: 452. E_TIMEOUT: aborted, the abort is durable: 451.
                     Any other: undecided, the client is left without an answer */
    struct mid mid;
};

enum smtpd_act {
    SMTPD_ACT_NONE,
    SMTPD_ACT_ASK_CONNECT, /* may this client talk to us? VERDICT when known                  */
    SMTPD_ACT_ASK_MAIL,    /* out.path, out.params                                            */
    SMTPD_ACT_ASK_RCPT,    /* out.path. Domain served? relay_form? VERDICT when known         */
    SMTPD_ACT_START_TLS,   /* send the reply, throw away every byte already read and not yet
                              passed in, forget everything else about the client, handshake   */
    SMTPD_ACT_BODY,        /* init bodyscan and headerscan; the bytes from here on are theirs */
    SMTPD_ACT_COMMIT,      /* make it durable, then EV_COMMIT                                 */
    SMTPD_ACT_RESET, /* the transaction is over: the session forgets envelope and body. What was
                        handed to storage is storage's                                      */
};

struct smtpd_out {
    char reply[LIMIT_SMTP_REPLY_BYTES];
    size_t reply_n;
    enum smtpd_act act;
    struct path path;          /* borrows from the event's line */
    struct mail_params params; /* with ASK_MAIL */
    bool close;                /* after the reply is flushed; an open transaction is void */
    uint64_t deadline_ms;      /* same clock as now_ms; 0: none */
};

struct smtpd {
    const struct smtpd_options *options;
    int state; /* enum smtpd_state */
    bool waiting;
    bool esmtp;     /* EHLO, not HELO        */
    bool tls;       /* active                */
    bool eight_bit; /* BODY=8BITMIME of this transaction */
    bool smtputf8;  /* SMTPUTF8 of this transaction */
    uint16_t helo_n, domain_n, tls_text_n;
    uint32_t rcpts;    /* taken in this transaction */
    uint32_t messages; /* MAIL commands taken       */
    char helo[LIMIT_SMTP_HELO_BYTES];
    char domain[LIMIT_SMTP_PATH_BYTES]; /* of the recipients, lower case; set once rcpts > 0 */
    char tls_text[LIMIT_TLS_TEXT_BYTES];

    /* private */
    enum smtpd_act asked;
    bool shutting_down;
    uint32_t errors, idle_commands, refused_rcpts;
    uint64_t command_deadline_ms, envelope_deadline_ms, body_start_ms;
};

/* `options` is borrowed for the life of the session. */
void smtpd_init(struct smtpd *s, const struct smtpd_options *options);

void smtpd_step(struct smtpd *s, const struct smtpd_event *ev, struct smtpd_out *out);

/* Time at which a body is too slow, `input_bytes` of it being read (LIMIT_SMTP_DATA_MS and the
 * time of LIMIT_SMTP_DATA_MIN_RATE). Only in SMTPD_BODY. */
uint64_t smtpd_body_deadline(const struct smtpd *s, uint64_t input_bytes);

/* Name of the state, static, for logs and tests. */
const char *smtpd_state_name(const struct smtpd *s);

static inline struct str smtpd_helo(const struct smtpd *s)
{
    return (struct str){s->helo, s->helo_n};
}

/* The one domain of all recipients taken so far, as the first had it: lower case; empty for
 * bare postmaster. */
static inline struct str smtpd_domain(const struct smtpd *s)
{
    return (struct str){s->domain, s->rcpts > 0 ? s->domain_n : 0};
}

static inline struct str smtpd_tls_text(const struct smtpd *s)
{
    return (struct str){s->tls_text, s->tls_text_n};
}
