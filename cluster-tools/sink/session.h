/*
 * session: one inbound SMTP session of the sink, as a state machine. RFC 5321, 3030, 3207.
 *
 *   NEW -> READY -> MAIL -> RCPT -> (message) -> READY
 *   MAIL, RCPT -> READY by RSET, EHLO, STARTTLS
 *
 * No I/O, no clock: lines go in, replies come out in an outbuf, and the shell (conn.c) is told
 * what else to do. What goes wrong on purpose is asked of a struct fault at every step.
 * Threads: one owner. Limits: LIMIT_TOOL_ENVELOPE_BYTES of MAIL and RCPT lines, then 452.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cluster-tools/common/outbuf.h"
#include "cluster-tools/sink/fault.h"

struct session_config {
    const char *hostname;                 /* borrowed for the life of the session */
    bool pipelining, chunking, eight_bit; /* offered */
    bool tls, require_tls;                /* offered; demanded before MAIL */
    uint64_t max_bytes;                   /* announced by SIZE, and kept to; 0: neither */
};

enum session_state { SESSION_NEW, SESSION_READY, SESSION_MAIL, SESSION_RCPT };

struct session {
    const struct session_config *config;
    struct fault *fault;
    int state; /* enum session_state */
    bool secured;
    unsigned rcpts;
    struct outbuf
        envelope; /* MAIL FROM and RCPT TO lines of this transaction, LF behind each */
    bool chunked; /* a BDAT of this transaction has come */
    uint64_t message_bytes;
};

enum session_act {
    SESSION_GO_ON,
    SESSION_DO_DATA,  /* the message follows, up to the dot */
    SESSION_DO_CHUNK, /* .chunk_bytes of the message follow */
    SESSION_DO_TLS,   /* flush the reply, throw away the input, shake hands */
    SESSION_CLOSE,    /* flush the reply and close */
    SESSION_DROP,     /* close at once, forget what is queued */
    SESSION_STALL,    /* never answer again */
};

struct session_out {
    enum session_act act;
    uint64_t delay_us; /* hold the replies back for this long */
    uint64_t chunk_bytes;
    bool chunk_first, chunk_last;
    bool chunk_unwanted;   /* already refused; read it and throw it away */
    enum fault_kind fault; /* what went wrong on purpose, for the counters */
};

/* `config` and `fault` are borrowed for the life of the session. */
void session_init(struct session *s, const struct session_config *config, struct fault *fault);
void session_fini(struct session *s);

/* The client has connected; busy: there are too many. */
struct session_out session_open(struct session *s, bool busy, struct outbuf *replies);

/* One command, without its CRLF. */
struct session_out session_line(struct session *s, struct str line, struct outbuf *replies);

/* Bytes of the message have come. Only act and fault of the result matter. */
struct session_out session_body(struct session *s, uint64_t bytes);

/* A wanted chunk that is not the last one is complete. */
void session_chunk_end(struct outbuf *replies);

/* The message is complete. *take: it shall be kept; do that, and then call session_taken(),
 * unless act is SESSION_DROP (the 250 is to be lost). */
struct session_out session_message_end(struct session *s, bool *take, struct outbuf *replies);
void session_taken(bool kept, struct outbuf *replies);

/* The transaction is over, after session_message_end(). */
void session_reset(struct session *s);

/* TLS is up: RFC 3207 4.2, all is forgotten. */
void session_secured(struct session *s);
