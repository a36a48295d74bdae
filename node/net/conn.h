/*
 * conn: one TCP connection of an SMTP session, in or out, in the clear or under TLS.
 *
 * Output is collected and written once per turn of the loop: the replies of a pipelined group
 * leave in one write. Input is read into a fixed buffer; the owner consumes what it understood
 * and the rest stays. All calls and callbacks run in the thread of the event base.
 *
 * Callbacks may call conn_close(); the memory goes when the callback has returned.
 * Limits: LIMIT_INPUT_BYTES of unread input; output is bounded by the owner, who stops
 * producing while conn_output_pending() is high and goes on in on_drained.
 */
#pragma once

#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/str.h"

struct conn;

/* What the connections of one thread share. Zeroed but for the base; plain data. */
struct conn_loop {
    struct event_base *base;
    struct conn *finishing; /* without an owner: see conn_finish() */
};

enum conn_end { CONN_EOF, CONN_RESET, CONN_REFUSED, CONN_TLS_FAILED };

struct conn_ops {
    void (*on_connected)(void *owner);              /* outgoing only                     */
    void (*on_input)(void *owner);                  /* more unread input is there        */
    void (*on_drained)(void *owner);                /* all output is with the kernel     */
    void (*on_tls)(void *owner);                    /* the handshake is done             */
    void (*on_timeout)(void *owner);                /* the deadline passed; it is unset  */
    void (*on_end)(void *owner, enum conn_end why); /* nothing more will come            */
};

/* Takes fd (connected, non-blocking). NULL: out of memory; fd is closed. */
struct conn *conn_accepted(struct conn_loop *loop, int fd, const struct conn_ops *ops,
                           void *owner);

/* Starts to connect; with TCP keepalive, so that a dead peer is noticed within 11 s. E_IO: no
 * way to this address. E_FULL: descriptors, ports or memory of ours. Nothing to close. */
MUST_CHECK enum err conn_connect(struct conn_loop *loop, const struct sockaddr *addr,
                                 socklen_t addr_n, const struct conn_ops *ops, void *owner,
                                 struct conn **out);
void conn_close(struct conn **c);
/* Lets pending output leave, says goodbye and swallows what the peer still sends, for a few
 * seconds, so that no reset destroys our last reply. No callback any more; *c is NULL. */
void conn_finish(struct conn **c);
/* When the loop has ended: cuts what conn_finish() left. */
void conn_loop_end(struct conn_loop *loop);

/* True: what was sent is not acknowledged, and for so long nothing at all has come from the
 * peer's machine, neither of which keepalive notices. A peer that lives and does not read
 * answers, so it is not meant. */
bool conn_is_unheard(const struct conn *c, uint32_t ms);

struct str conn_input(struct conn *c); /* unread bytes, borrowed until the next call */
void conn_consume(struct conn *c, size_t n);
void conn_discard_input(struct conn *c);
/* Reads what the kernel (and TLS) has, without waiting. True: unread bytes are there. The end
 * of the stream is no byte; it is reported by on_end later. */
bool conn_input_pending(struct conn *c);
void conn_pause(struct conn *c, bool paused); /* stop reading: back-pressure */

void conn_write(struct conn *c, struct str bytes); /* copies; sent at the end of this turn */
size_t conn_output_pending(const struct conn *c);

/* Throws unread plaintext away (returns how many bytes), lets pending output leave in the
 * clear, then shakes hands. `host` is for SNI and verification, NULL for servers. */
size_t conn_start_tls(struct conn *c, SSL_CTX *ctx, bool server, const char *host, bool verify);
const char *conn_tls(const struct conn *c, char *buf, size_t size); /* "" in the clear */

/* One deadline at a time, in boot milliseconds as clock_boot_ms(); 0: none. */
void conn_deadline(struct conn *c, uint64_t at_boot_ms, uint64_t now_boot_ms);
