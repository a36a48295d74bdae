#include "node/net/tls.h"

#include <openssl/err.h>
#include <openssl/x509err.h>
#include <stdio.h>

static enum err fail(SSL_CTX *ctx, char *why, size_t size, const char *what, const char *file)
{
    char text[160];

    ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
    snprintf(why, size, "%s %s: %s", what, file, text);
    ERR_clear_error();
    SSL_CTX_free(ctx);
    return E_PROTO;
}

static SSL_CTX *context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    ASSERT(ctx != NULL);
    ASSERT(SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

enum err tls_server_context(const char *cert_file, const char *key_file, SSL_CTX **out,
                            char *why, size_t size)
{
    SSL_CTX *ctx = context(TLS_server_method());

    *out = NULL;
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
        return fail(ctx, why, size, "certificate", cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1) {
        unsigned long e = ERR_peek_last_error();
        bool other =
            ERR_GET_LIB(e) == ERR_LIB_X509 && ERR_GET_REASON(e) == X509_R_KEY_VALUES_MISMATCH;

        return fail(ctx, why, size, other ? "certificate and key do not match:" : "private key",
                    key_file);
    }
    if (SSL_CTX_check_private_key(ctx) != 1) /* a key of another kind got so far */
        return fail(ctx, why, size, "certificate and key do not match:", key_file);
    /* Senders do not present certificates, and MTAs do not resume across days. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    *out = ctx;
    return OK;
}

enum err tls_client_context(const char *ca_file, SSL_CTX **out, char *why, size_t size)
{
    SSL_CTX *ctx = context(TLS_client_method());

    *out = NULL;
    if (ca_file != NULL && ca_file[0] != 0) {
        if (SSL_CTX_load_verify_locations(ctx, ca_file, NULL) != 1)
            return fail(ctx, why, size, "CA file", ca_file);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    }
    *out = ctx;
    return OK;
}

const char *tls_describe(const SSL *ssl, char *buf, size_t size)
{
    snprintf(buf, size, "%s %s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
    return buf;
}
