/*
 * tls: OpenSSL contexts, TLS 1.2 and up (RFC 3207, RFC 9325). Opportunistic on both sides
 * unless a policy asks for more; a context that verifies does so against host names.
 * Threads: a context is made once and then only read; sessions belong to their connection.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* For sessions with clients. E_PROTO: a file is missing or wrong; `why` (size bytes) says
 * which. The caller frees with SSL_CTX_free(). */
MUST_CHECK enum err tls_server_context(const char *cert_file, const char *key_file,
                                       SSL_CTX **out, char *why, size_t size);

/* For connections to primaries. ca_file may be NULL or empty: then nothing is verified. */
MUST_CHECK enum err tls_client_context(const char *ca_file, SSL_CTX **out, char *why,
                                       size_t size);

/* "TLSv1.3 TLS_AES_256_GCM_SHA384" into buf; returns buf. */
const char *tls_describe(const SSL *ssl, char *buf, size_t size);
