/*
 * client: one SMTP session as a sending MTA leads it, as a state machine. RFC 5321, 2920
 * (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS), 1870 (SIZE), 6152 (8BITMIME).
 *
 *   BANNER -> EHLO [-> HELO] [-> STARTTLS -> HANDSHAKE -> EHLO] -> IDLE
 *   IDLE -> TX -> BODY -> DOT -> IDLE          a message
 *           TX -> ABORT, BODY -> QUIT          refused before, or while the body goes out
 *           TX, DOT, ABORT -> RSET -> IDLE     refused for good; the session goes on
 *   any -> QUIT                                and nothing after it
 *
 * No I/O and no clock: lines of replies go in, commands come out in an outbuf, and the shell
 * (conn.c) is told what else to do. The shell never passes a line in while it streams a body
 * unless the server really spoke too early, and stops at a result that is not CLIENT_NOTHING.
 * Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cluster-tools/common/outbuf.h"
#include "cluster-tools/load/reply.h"

struct client_options {
    const char *helo, *from; /* borrowed for the life of the client */
    const char *rcpt;        /* each %u in it becomes a number below rcpt_modulus */
    unsigned rcpts;          /* per message, at least 1 */
    uint64_t rcpt_modulus;   /* at least 1 */
    bool pipelining;         /* used when offered */
    bool bdat;               /* used when CHUNKING is offered */
    bool starttls;           /* demanded: a server without it is refused */
};

struct client_message {
    uint64_t number; /* draws the recipients */
    uint64_t bytes;  /* as it goes out, without dot stuffing */
    bool eight_bit;  /* has bytes above 127 */
};

enum client_state {
    CLIENT_BANNER,
    CLIENT_EHLO,
    CLIENT_HELO,
    CLIENT_STARTTLS,
    CLIENT_HANDSHAKE,
    CLIENT_IDLE,
    CLIENT_TX,
    CLIENT_BODY,
    CLIENT_DOT,
    CLIENT_ABORT,
    CLIENT_RSET,
    CLIENT_QUIT,
};

enum client_act {
    CLIENT_NOTHING, /* send what is queued, wait for the next line */
    CLIENT_GREETED, /* the banner was good; go on as with CLIENT_NOTHING */
    CLIENT_DO_TLS,  /* throw away the input, shake hands, call client_secured() */
    CLIENT_READY,   /* the session is free: client_begin() or client_quit() */
    CLIENT_DO_BODY, /* stream the body, then call client_body_sent() */
    CLIENT_ACKED,   /* the message is taken: a 2xx after its end; the session is free */
    CLIENT_TEMP,    /* the message was refused for now; the session ends */
    CLIENT_PERM,    /* the message was refused for good; CLIENT_READY may follow */
    CLIENT_REFUSED, /* the server did not come up to EHLO; the session ends */
    CLIENT_ENDED,   /* close */
};

struct client_result {
    enum client_act act;
    int code; /* of the reply that decided; 0: none did */
};

struct client {
    const struct client_options *opt;
    int state; /* enum client_state */
    bool secured;
    bool can_pipeline, can_chunk, can_starttls, can_size, can_8bit; /* said by EHLO */
    bool body_cut; /* the server spoke before the end of the body: close without QUIT */
    struct client_message msg;
    unsigned replies;  /* of this transaction that have come in */
    unsigned accepted; /* recipients */
    int mail_code;     /* why MAIL was refused; 0: it was not */
    int rcpt_code;     /* why recipients were refused, a 4xx before a 5xx; 0: none was */
};

/* `opt` is borrowed for the life of the client. */
void client_init(struct client *c, const struct client_options *opt);

/* One line of a reply. */
struct client_result client_line(struct client *c, const struct reply_line *line,
                                 struct outbuf *out);

/* After CLIENT_DO_TLS. */
void client_secured(struct client *c, struct outbuf *out);

/* In CLIENT_IDLE: starts a transaction. */
void client_begin(struct client *c, const struct client_message *msg, struct outbuf *out);

/* True when the body goes out as BDAT chunk: no dot stuffing, no dot line. */
bool client_uses_bdat(const struct client *c);

/* After CLIENT_DO_BODY: the last byte, with the dot line, is in the hands of the kernel. */
void client_body_sent(struct client *c);

/* Ends the session politely, in any state but CLIENT_BODY, CLIENT_HANDSHAKE. */
void client_quit(struct client *c, struct outbuf *out);

/* True when a cut of the connection now leaves it open whether the message was taken. */
bool client_outcome_unknown(const struct client *c);

/* True when recipients of this message were taken and others refused. */
bool client_partial(const struct client *c);
