/*
 * smtpc: one outbound SMTP session as a pure state machine. RFC 5321, 2920 (PIPELINING), 1870
 * (SIZE), 6152 (8BITMIME), 3207 (STARTTLS).
 *
 * No I/O, no clock, no heap: smtpc_step() takes one event and answers with what to do. The
 * shell (node/net) does it; tests and fuzzers do it too.
 *
 *   CONNECT -> BANNER -> EHLO -> READY <-> ENVELOPE -> BODY -> CONSENT -> DOT -> FINAL -> READY
 *                         |  ^             ENVELOPE -> FINAL -> READY (no recipient was taken)
 *                         v  |             READY, FINAL -> QUIT -> CLOSED
 *                  STARTTLS -> HANDSHAKE   any -> CLOSED
 *
 * The turn of the shell
 *   1. step with an event; then, in this order: write out->send; pass on out->result; if
 *      out->close, close the socket (out->closed says why) and stop; if out->ready, hand over
 *      the next JOB when there is one; else do out->act, which never comes with a result. Set
 * the timer to out->deadline_ms.
 *   2. bytes from the socket go through reply_feed(): REPLY_DONE is EV_REPLY (one step for each
 *      reply; reply_reset() when the step has returned, before out is acted on), REPLY_BAD is
 *      EV_ODDITY. End of file or a reset is EV_CLOSED, after all complete replies before it
 *      were passed in.
 *   3. SMTPC_DO_CHECK_INPUT is answered at once, before anything else: read the socket without
 *      blocking (through TLS when it is on); any byte that was not yet passed in as a reply, in
 *      the parser or behind it, makes EV_INPUT_PENDING, else EV_INPUT_EMPTY. End of file is no
 *      byte: answer EV_INPUT_EMPTY, then pass EV_CLOSED. Bytes read by the check stay queued
 * for the parser and are fed to it afterwards, if the session is not closed.
 *   4. SMTPC_DO_START_TLS: nothing is buffered (the check has just said so). Handshake, then
 *      EV_TLS. Start with a fresh struct reply.
 *   5. SMTPC_DO_SEND_BODY: stream trace header and body (or the DSN) through stuff.h, then,
 * when all has been written to the socket, EV_BODY_SENT. Reading goes on meanwhile: a reply is
 *      EV_REPLY as ever. Body not readable or refused by stuff: EV_BODY_FAILED.
 *   6. SMTPC_DO_SEND_DOT: out->send is the dot line. There was consent and the input was empty.
 *
 * What it keeps (INV-3, THREATS "Delivery to the primary")
 *   - the input is empty before each command that is not pipelined, before the dot, before
 *     STARTTLS turns into TLS, and again before any verdict of a message leaves the session. A
 *     reply before its command, one more than commands, or one of the wrong kind is an oddity:
 *     the connection is dropped and every recipient of the message is tried again. Nothing is
 *     delivered and nobody bounced on the word of a primary that is out of step. Sole
 * exception: 421 may come at any time and closes the session in good order.
 *   - the dot is sent with the consent for this message only, and only when some recipient was
 *     accepted. A consent refused before DATA ends in RSET, after it in a dropped connection.
 *   - PIPELINING: RSET, MAIL, up to LIMIT_REMOTE_WINDOW RCPT and, with the last of them, DATA
 *     go in one write; the next group goes when all of its replies are in. So replies waiting
 *     in the peer's socket stay far below any socket buffer. A 354 though every recipient was
 *     refused: RFC 2920 3.1 wants an empty message sent then; instead the connection is closed,
 *     with the replies so far counted, as nothing can be mistaken for mail that way.
 *   - EHLO refused with 500 or 502: HELO (RFC 5321 3.2), unless TLS is required.
 *   - a job that asks (job.asks) stops behind RCPT: its result says for each recipient whether
 *     the primary would take it; no DATA, no body, no consent. The transaction that is left
 *     open ends with the RSET of the next job, or with QUIT (RFC 5321 4.1.1.10).
 *   - A reused connection that ends before the first reply of a job, or turns out not to be
 *     empty before its first command, does not count against the message: result->begun is
 *     false.
 *   - 8-bit mail for a primary without 8BITMIME goes as it is or is held, never re-encoded.
 *   - After LIMIT_MESSAGES_PER_CONN messages the session quits by itself; after
 *     LIMIT_REMOTE_IDLE_MS in READY too.
 *
 * Threads: one owner. Memory: 21 KiB per session, fixed; struct smtpc_out is 9 KiB, one per
 * loop is enough. Deadlines: total per phase, from limits.h (LIMIT_CONNECT_MS, ..._BANNER_MS,
 * ...); a phase never gets longer because a byte arrived. Times: now_ms and deadline_ms are one
 * monotonic clock of the shell.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "node/delivery/reply.h"
#include "node/delivery/verdict.h"
#include "proto/envelope.h"

enum smtpc_state {
    SC_CONNECT,
    SC_BANNER,
    SC_EHLO,
    SC_STARTTLS,
    SC_HANDSHAKE,
    SC_READY,
    SC_ENVELOPE,
    SC_BODY,
    SC_CONSENT, /* all but the dot is sent */
    SC_DOT,
    SC_FINAL, /* all replies are in; is there one too many? */
    SC_QUIT,
    SC_CLOSED
};

enum smtpc_tls { SMTPC_TLS_OFF, SMTPC_TLS_OPPORTUNISTIC, SMTPC_TLS_REQUIRE };
enum smtpc_eight_bit { SMTPC_8BIT_PASS, SMTPC_8BIT_HOLD };

struct smtpc_options {
    struct str
        helo; /* our name, at most LIMIT_SMTP_HELO_BYTES; borrowed as long as the session */
    enum smtpc_tls tls;
    enum smtpc_eight_bit eight_bit; /* of the message, when the primary has no 8BITMIME */
};

/* REFUSED: the answer came before the job; its result comes at once, nothing is sent. */
enum smtpc_consent { SMTPC_CONSENT_ASKED, SMTPC_CONSENT_GIVEN, SMTPC_CONSENT_REFUSED };

/* One message for one primary. */
struct smtpc_job {
    const struct envelope *env; /* borrowed until its result */
    const uint32_t *rcpts;      /* indexes into env->rcpts; borrowed until the result; not
                                   used for a DSN                                           */
    uint32_t rcpt_count;        /* 1 .. LIMIT_SMTP_RCPTS; not used for a DSN                */
    bool dsn;                   /* the notification: MAIL FROM:<>, RCPT TO:<env->sender>    */
    bool asks;                  /* a question: MAIL FROM:<>, RCPT, and no more; not of a DSN */
    bool eight_bit;             /* the bytes that are sent need 8BITMIME                    */
    bool smtputf8;              /* the same, or an address, SMTPUTF8 (RFC 6531)             */
    uint64_t size_bytes;        /* what is sent, trace header included, unstuffed, no dot   */
    enum smtpc_consent consent; /* GIVEN: the DOT mark is already durable                   */
};

enum smtpc_event_type {
    SMTPC_EV_CONNECTED,
    SMTPC_EV_REPLY,       /* .reply                                                     */
    SMTPC_EV_ODDITY,      /* .bad: what reply_feed() disliked                           */
    SMTPC_EV_JOB,         /* .job; only after out->ready                                */
    SMTPC_EV_CONSENT,     /* .yes: the DOT mark of the current job is durable; or refused.
                             Ignored when no job waits for it                           */
    SMTPC_EV_BODY_SENT,   /* all but the dot is in the socket                           */
    SMTPC_EV_BODY_FAILED, /* the body cannot be sent: spool, stuff. Nothing more is written */
    SMTPC_EV_INPUT_EMPTY, /* answers of SMTPC_DO_CHECK_INPUT                            */
    SMTPC_EV_INPUT_PENDING,
    SMTPC_EV_TLS,     /* .yes: the handshake is done and good; or failed            */
    SMTPC_EV_CLOSED,  /* connect failed, end of file, reset, write error            */
    SMTPC_EV_TIMEOUT, /* now_ms reached out->deadline_ms; an early one is ignored   */
    SMTPC_EV_QUIT     /* the session is no longer wanted: ends after the current job */
};

struct smtpc_event {
    enum smtpc_event_type type;
    uint64_t now_ms;
    const struct reply *reply;   /* borrowed for this call */
    const struct smtpc_job *job; /* borrowed for this call; what it points to, see there */
    enum reply_bad bad;
    bool yes;
};

enum smtpc_do {
    SMTPC_DO_NOTHING,
    SMTPC_DO_CHECK_INPUT,
    SMTPC_DO_START_TLS,
    SMTPC_DO_SEND_BODY,
    SMTPC_DO_SEND_DOT
};

/* Why a session, or a message in it, ended other than by the reply that was due. */
enum smtpc_why {
    SMTPC_WHY_NONE,    /* by a reply, see code and text                              */
    SMTPC_WHY_QUIT,    /* in good order: asked for, idle, or enough messages         */
    SMTPC_WHY_REFUSED, /* banner, EHLO, STARTTLS answered with no success            */
    SMTPC_WHY_CLOSING, /* 421, or closed by the peer between two messages            */
    SMTPC_WHY_LOST,    /* closed or reset                                            */
    SMTPC_WHY_TIMEOUT,
    SMTPC_WHY_ODDITY,      /* malformed, unasked-for, out of step                        */
    SMTPC_WHY_TLS_FAILED,  /* offered but refused, injected into or handshake failed; in
                              opportunistic mode connect again without TLS, at once, and
                              remember                                                   */
    SMTPC_WHY_TLS_MISSING, /* required and not offered                                   */
    SMTPC_WHY_NO_CONSENT,  /* the dot was not allowed                                    */
    SMTPC_WHY_BODY_FAILED, /* ours: the body could not be sent                           */
    SMTPC_WHY_UNSOUND,     /* ours: the envelope cannot be put into commands; alarm      */
    SMTPC_WHY_EIGHT_BIT,   /* held: no 8BITMIME, and the policy says hold                */
    SMTPC_WHY_SMTPUTF8,    /* held: no SMTPUTF8                                          */
    SMTPC_WHY_EMPTY_DATA,  /* 354 though no recipient was accepted                       */
    SMTPC_WHY_COUNT
};

/* The outcome for one recipient. */
struct smtpc_rcpt {
    uint32_t index;       /* into env->rcpts; 0 for a DSN */
    enum verdict verdict; /* OK, RETRY, RETRY_BRAKE, PERMANENT, ODD_5XX, UNKNOWN or ODDITY;
                             OK of a question: the primary would take it */
    uint16_t code;        /* of the reply that decided, 0: none */
    bool tried;           /* RCPT was sent and MAIL accepted */
    bool accepted;        /* RCPT got its 2xx */
    bool decided;         /* private: a reply has set verdict */
    struct str reply;     /* the kept text, or words of our own in parentheses */
};

/* The outcome of one job. Lives in the session until the next SMTPC_EV_JOB. */
struct smtpc_result {
    const struct envelope *env; /* the job's */
    bool dsn;
    bool begun; /* false: nothing is known about the message; try again at once elsewhere */
    bool dot_sent;
    bool unknown; /* the dot was sent and its outcome not learned: possible duplicate */
    bool brake;   /* 421 or 450 was seen: slow the drain down */
    bool alarm;   /* an odd 5xx was seen */
    enum at at;   /* how far it got */
    enum smtpc_why why;
    uint32_t count;
    const struct smtpc_rcpt *rcpts;
};

/* Why and where a session ended. Lives as long as the session. */
struct smtpc_closed {
    enum smtpc_why why;
    enum at at;
    enum verdict verdict; /* OK: in good order. DEST_NOT_UP, .._ALARM: never became ready.
                             RETRY_BRAKE: 421. ODDITY. RETRY, UNKNOWN: lost. */
    enum reply_bad bad;   /* with WHY_ODDITY: what the parser disliked, or FINE: out of step */
    uint16_t code;        /* of the deciding reply, 0: none */
    struct str reply;     /* its kept text, or words of our own in parentheses */
    uint32_t messages;    /* jobs that were begun */
};

#define SMTPC_SEND_BYTES                                                                       \
    (LIMIT_REMOTE_WINDOW * (LIMIT_SMTP_PATH_BYTES + 16) + LIMIT_SMTP_PATH_BYTES + 128)

struct smtpc_out {
    char send[SMTPC_SEND_BYTES]; /* complete command lines */
    size_t send_n;
    enum smtpc_do act;
    const struct smtpc_result *result; /* or NULL */
    bool ready;                        /* the session waits for a JOB */
    bool close;
    const struct smtpc_closed *closed; /* with close */
    uint64_t deadline_ms;              /* of the phase; 0 with close */
};

struct smtpc {
    struct smtpc_options opt;
    int state; /* enum smtpc_state */
    struct ehlo ehlo;
    bool tls, helo; /* TLS is on; HELO was used */
    bool quit;      /* asked to end after the job */
    int next;       /* what an empty input lets happen; 0: no check is open */
    uint64_t deadline_ms;
    uint32_t messages;

    struct smtpc_job job;
    struct smtpc_rcpt rcpts[LIMIT_SMTP_RCPTS];
    uint32_t rcpt_count, rcpts_sent, rcpts_answered, rcpts_accepted;
    enum at reached;                   /* where the message was decided */
    bool in_job, heard;                /* heard: a reply to MAIL came */
    bool consent, refused;             /* to send the dot: given; denied */
    bool rset_due, mail_due, data_due; /* sent, reply not yet in */
    bool mail_sent, mail_ok, data_sent;
    bool need_rset;  /* the primary still has a transaction open */
    bool empty_data; /* 354 without a recipient: close after the result */
    struct smtpc_result result;
    struct smtpc_closed closed;
    uint32_t texts_left; /* recipients that may still need room in texts[] */
    size_t texts_n;
    struct str text; /* the last one put into texts[] */
    char texts[LIMIT_REMOTE_TEXTS_BYTES];
    char closed_text[LIMIT_REPLY_KEPT_BYTES];
};

/* *opt is copied. The deadline of CONNECT starts at now_ms. */
void smtpc_init(struct smtpc *s, const struct smtpc_options *opt, uint64_t now_ms);

/* One event in, actions out. out is overwritten. Not called again after out->close. */
void smtpc_step(struct smtpc *s, const struct smtpc_event *ev, struct smtpc_out *out);

/* Where in the dialogue the session stands: what its next reply answers. */
enum at smtpc_at(const struct smtpc *s);

/* A deep copy into the arena, for another thread; env stays borrowed. NULL: no room. */
MUST_CHECK const struct smtpc_result *smtpc_result_copy(const struct smtpc_result *r,
                                                        struct arena *a);

const char *smtpc_why_name(enum smtpc_why why); /* "quit", "lost", ...; static */
