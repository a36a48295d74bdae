/*
 * wire: a non-blocking connection, in the clear or under TLS (OpenSSL, TLS 1.2 and up).
 *
 * The owner's epoll set asks for input always, and for output while it has bytes to write or
 * `wants_write` is true (TLS may need to write before it can read).
 * Threads: one owner. A tls_context may be shared by all wires of one thread.
 * Needs SIGPIPE ignored: OpenSSL writes with write(2).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct tls_context;

/* A server's context from PEM files. gives. NULL: the reason is on stderr. */
struct tls_context *tls_context_new_server(const char *cert_path, const char *key_path);

/* A client's context. ca_path NULL: any certificate will do, as with opportunistic TLS between
 * mail servers; else the chain must lead to a certificate of that PEM file. gives. NULL: the
 * reason is on stderr. */
struct tls_context *tls_context_new_client(const char *ca_path);

void tls_context_free(struct tls_context **ctx);

enum wire_result {
    WIRE_OK,     /* done; for read and write: at least one byte moved */
    WIRE_AGAIN,  /* call again when epoll says so */
    WIRE_CLOSED, /* the other side is gone, or broke TLS: close */
};

struct wire {
    int fd; /* owned; -1: closed */
    struct ssl_st *tls;
    bool wants_write;
};

/* takes fd, which must be non-blocking. -1 for a wire that is not open yet. */
void wire_init(struct wire *w, int fd);

/* Ends politely (with TLS: close_notify, without waiting for the answer). Idempotent. */
void wire_close(struct wire *w);

/* Ends rudely, as a crash or a cut would: no close_notify. Idempotent. */
void wire_cut(struct wire *w);

MUST_CHECK enum wire_result wire_read(struct wire *w, char *to, size_t room, size_t *got);
MUST_CHECK enum wire_result wire_write(struct wire *w, struct str from, size_t *sent);

/* Switches to TLS; then call wire_handshake() until it is not WIRE_AGAIN. `name` (a client
 * only, may be NULL) is sent as SNI, and must be in the certificate when the context verifies.
 * E_FULL: no memory; close. */
MUST_CHECK enum err wire_start_tls(struct wire *w, struct tls_context *ctx, const char *name);
MUST_CHECK enum wire_result wire_handshake(struct wire *w);
