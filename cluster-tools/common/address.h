/*
 * address: ADDR:PORT as users write it, to socket addresses.
 *
 *   127.0.0.1:2525   [::1]:2525   mx.example.net:25
 *
 * Threads: any. address_resolve() may ask the system's resolver and so may block; call it
 * before the work starts.
 */
#pragma once

#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/str.h"

#define ADDRESS_TEXT_SIZE 56 /* [IPv6]:port and a NUL */

struct address {
    struct sockaddr_storage sa;
    socklen_t sa_bytes;
    char text[ADDRESS_TEXT_SIZE]; /* numeric, as above; without ":0" when the port is 0 */
};

/* Cuts HOST:PORT or [HOST]:PORT; *host is a part of `text`. Port 1 to 65535.
 * Errors: E_PROTO when it is neither; a bare IPv6 address without brackets is refused. */
MUST_CHECK enum err address_split(struct str text, struct str *host, uint16_t *port);

/* A numeric IPv4 or IPv6 address (no brackets) and a port; asks nobody. E_PROTO: not one. */
MUST_CHECK enum err address_numeric(struct str host, uint16_t port, struct address *out);

/* All addresses of HOST:PORT, at most `room`; *n says how many, at least one when OK.
 * Errors: E_PROTO (not of this form), E_NOTFOUND (the name does not resolve). */
MUST_CHECK enum err address_resolve(struct str text, struct address *out, size_t room,
                                    size_t *n);
