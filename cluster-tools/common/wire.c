#include "cluster-tools/common/wire.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"

struct tls_context {
    SSL_CTX *ssl;
    bool server;
    bool verifies;
};

static struct tls_context *context_new(bool server)
{
    struct tls_context *ctx = calloc(1, sizeof *ctx);

    if (ctx == NULL)
        return NULL;
    ctx->server = server;
    ctx->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (ctx->ssl == NULL) {
        free(ctx);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx->ssl,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Mail servers often close without close_notify; SMTP itself says where a reply ends. */
    SSL_CTX_set_options(ctx->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
    return ctx;
}

static void complain(const char *path)
{
    fprintf(stderr, "TLS: cannot use %s: %s\n", path,
            ERR_reason_error_string(ERR_peek_last_error()));
    ERR_clear_error();
}

struct tls_context *tls_context_new_server(const char *cert_path, const char *key_path)
{
    struct tls_context *ctx = context_new(true);
    const char *bad = NULL;

    if (ctx == NULL)
        return NULL;
    if (SSL_CTX_use_certificate_chain_file(ctx->ssl, cert_path) != 1)
        bad = cert_path;
    else if (SSL_CTX_use_PrivateKey_file(ctx->ssl, key_path, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(ctx->ssl) != 1)
        bad = key_path;
    if (bad != NULL) {
        complain(bad);
        tls_context_free(&ctx);
    }
    return ctx;
}

struct tls_context *tls_context_new_client(const char *ca_path)
{
    struct tls_context *ctx = context_new(false);

    if (ctx == NULL || ca_path == NULL)
        return ctx;
    if (SSL_CTX_load_verify_file(ctx->ssl, ca_path) != 1) {
        complain(ca_path);
        tls_context_free(&ctx);
        return NULL;
    }
    ctx->verifies = true;
    SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER, NULL);
    return ctx;
}

void tls_context_free(struct tls_context **ctx)
{
    if (*ctx == NULL)
        return;
    SSL_CTX_free((*ctx)->ssl);
    free(*ctx);
    *ctx = NULL;
}

void wire_init(struct wire *w, int fd)
{
    *w = (struct wire){.fd = fd};
}

void wire_cut(struct wire *w)
{
    SSL_free(w->tls);
    if (w->fd >= 0)
        close(w->fd);
    wire_init(w, -1);
}

void wire_close(struct wire *w)
{
    if (w->tls != NULL && SSL_is_init_finished(w->tls)) {
        ERR_clear_error();
        if (SSL_shutdown(w->tls) < 0)
            ERR_clear_error(); /* the other side may be gone already; we end either way */
    }
    wire_cut(w);
}

/* What an SSL_* call that returned `rc` <= 0 means for the owner. */
static enum wire_result tls_failure(struct wire *w, int rc)
{
    int why = SSL_get_error(w->tls, rc);

    w->wants_write = why == SSL_ERROR_WANT_WRITE;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return WIRE_AGAIN;
    ERR_clear_error();
    return WIRE_CLOSED;
}

static enum wire_result plain_result(ssize_t n, size_t *moved)
{
    if (n > 0) {
        *moved = (size_t)n;
        return WIRE_OK;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return WIRE_AGAIN;
    return WIRE_CLOSED;
}

enum wire_result wire_read(struct wire *w, char *to, size_t room, size_t *got)
{
    ssize_t n;
    int rc;

    ASSERT(room > 0 && w->fd >= 0);
    *got = 0;
    if (w->tls != NULL) {
        ERR_clear_error();
        rc = SSL_read_ex(w->tls, to, room, got);
        if (rc <= 0)
            return tls_failure(w, rc);
        w->wants_write = false;
        return WIRE_OK;
    }
    do {
        n = recv(w->fd, to, room, 0);
    } while (n < 0 && errno == EINTR);
    return plain_result(n, got);
}

enum wire_result wire_write(struct wire *w, struct str from, size_t *sent)
{
    ssize_t n;
    int rc;

    ASSERT(from.n > 0 && w->fd >= 0);
    *sent = 0;
    if (w->tls != NULL) {
        ERR_clear_error();
        rc = SSL_write_ex(w->tls, from.p, from.n, sent);
        return rc <= 0 ? tls_failure(w, rc) : WIRE_OK;
    }
    do {
        n = send(w->fd, from.p, from.n, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return plain_result(n, sent);
}

enum err wire_start_tls(struct wire *w, struct tls_context *ctx, const char *name)
{
    ASSERT(w->tls == NULL && w->fd >= 0);
    w->tls = SSL_new(ctx->ssl);
    if (w->tls == NULL || SSL_set_fd(w->tls, w->fd) != 1)
        return E_FULL;
    if (ctx->server) {
        SSL_set_accept_state(w->tls);
        return OK;
    }
    SSL_set_connect_state(w->tls);
    if (name == NULL)
        return OK;
    if (SSL_set_tlsext_host_name(w->tls, name) != 1)
        return E_FULL;
    if (ctx->verifies && SSL_set1_host(w->tls, name) != 1)
        return E_FULL;
    return OK;
}

enum wire_result wire_handshake(struct wire *w)
{
    int rc;

    ASSERT(w->tls != NULL);
    ERR_clear_error();
    rc = SSL_do_handshake(w->tls);
    if (rc <= 0)
        return tls_failure(w, rc);
    w->wants_write = false;
    return WIRE_OK;
}
