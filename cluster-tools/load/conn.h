/*
 * conn: one connection of the generator: socket, TLS, buffers, and the client that speaks.
 *
 * conn_connect() starts it; then, whenever epoll reports the connection and after every event
 * that was not CONN_NOTHING, conn_next() does what can be done without waiting and says what
 * came of it. The owner decides what follows.
 *
 * Threads: one owner. Memory: about 9 KiB, and up to 32 KiB more while a message goes out,
 * whatever its size. Limits: LIMIT_TOOL_OUT_BYTES of commands waiting.
 */
#pragma once

#include <stdint.h>

#include "cluster-tools/common/address.h"
#include "cluster-tools/common/dotstuff.h"
#include "cluster-tools/common/outbuf.h"
#include "cluster-tools/common/wire.h"
#include "cluster-tools/load/body.h"
#include "cluster-tools/load/client.h"
#include "cluster-tools/load/reply.h"

struct conn_options {
    struct client_options client;
    struct tls_context *tls; /* borrowed; NULL without --starttls */
    const char *tls_name;    /* borrowed; may be NULL */
    uint64_t connect_timeout_us, io_timeout_us;
    bool wait_quit; /* wait for the answer to QUIT; else close behind it, as Postfix does */
};

enum conn_event_type {
    CONN_NOTHING, /* wait for epoll */
    CONN_GREETED, /* the banner was good */
    CONN_SECURED, /* TLS is up */
    CONN_READY,   /* free: conn_begin() or conn_quit() */
    CONN_ACKED,   /* the message was taken; free */
    CONN_TEMP,    /* the message was refused for now; call conn_quit() */
    CONN_PERM,    /* the message was refused for good; CONN_READY or CONN_ENDED follows */
    CONN_REFUSED, /* no session: banner, EHLO or TLS failed; call conn_quit() */
    CONN_CONNECT_FAILED, /* no connection; close */
    CONN_LOST,           /* gone, or timed out, in mid-session; close */
    CONN_MALFORMED,      /* the server sent what is not SMTP, or out of step; close */
    CONN_ENDED,          /* over, in a state where nothing is lost; close */
};

struct conn_event {
    enum conn_event_type type;
    int code; /* of the reply that decided; 0: none did */
};

struct conn {
    const struct conn_options *opt;
    struct wire wire;
    int epoll_fd;
    uint32_t interest; /* epoll events asked for */
    bool connecting, handshaking, sending_body, body_ended, write_failed;
    struct client client;
    struct reply_reader reader;
    struct outbuf out;
    struct body body;
    struct dotstuff stuff;
    char in[4096];
    size_t in_start, in_end;
    uint64_t now_us;      /* when bytes moved last, or the call under way began */
    uint64_t progress_us; /* when a byte moved last */
    uint64_t connect_us, begin_us, dot_us;
};

/* A closed connection. `opt` is borrowed for its life. */
void conn_init(struct conn *c, const struct conn_options *opt, int epoll_fd);

/* Starts to connect; `from` may be NULL. Close after an error. E_NOTFOUND: refused at once.
 * E_FULL (errno): no descriptor, or `from` is not ours; not the target's fault: stop. */
MUST_CHECK enum err conn_connect(struct conn *c, const struct address *to,
                                 const struct address *from, uint64_t now_us);

/* Reads the clock whenever bytes have moved: a turn of a loop may take longer than a server,
 * and the latencies are what is asked for. */
struct conn_event conn_next(struct conn *c);

/* Starts a transaction; c->body must be open. */
void conn_begin(struct conn *c, const struct client_message *msg, uint64_t now_us);

/* Says QUIT if that was not said, and closes unless opt->wait_quit. */
void conn_quit(struct conn *c);

/* Closes now. Idempotent. */
void conn_close(struct conn *c);

bool conn_is_open(const struct conn *c);

/* True when the deadline of what the connection is doing has passed. */
bool conn_timed_out(const struct conn *c, uint64_t now_us);
