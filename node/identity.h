/*
 * identity: who a member of a cluster is, on disk, and how a node becomes one. For the daemon
 * and for the commands that work on the files of a node that does not run.
 *
 *   DIR/cluster/key     its CURVE key: "secret Z85\n", mode 0600
 *   DIR/cluster/next    the key it is changing over to; absent otherwise
 *   DIR/cluster/seeds   of a node that joined: its token. The members that it names are used as
 *                       long as the control state names none
 *   DIR/control/        log/ and state/ (spool/ctllog.h, spool/control.h): cluster id, site and
 *                       incarnation stand in both
 *
 *   first member:   key -> identity_init()
 *   any other:      key (shown) -> MEMBER_ADD by a member -> token -> identity_join()
 *
 * A member begins with an empty directory: neither stores nor a spool may be there, and a key
 * is not made beside the stores of a lone node.
 *
 * Files are written beside their place, synced, and renamed, then the directory is synced.
 * Threads: any, one at a time for one directory; the daemon's must not run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "proto/command.h"
#include "spool/ctllog.h"

#define IDENTITY_TOKEN_BYTES 2560 /* text of a token, with its NUL */
#define IDENTITY_WHY_BYTES   512

struct identity_peer {
    uint16_t site;
    uint64_t incarnation;
    uint8_t key[MEMBER_KEY_BYTES];
    char control[LIMIT_ADDRESS_BYTES + 1], data[LIMIT_ADDRESS_BYTES + 1];
};

struct identity {
    uint8_t public_key[MEMBER_KEY_BYTES], secret_key[MEMBER_KEY_BYTES];
    struct identity_peer seeds[LIMIT_CLUSTER_MEMBERS];
    uint32_t seed_count;
};

/* What a member says to a node that is to join: everything but a secret. */
struct identity_token {
    uint8_t cluster[16];
    uint16_t site;
    uint64_t incarnation;
    uint8_t key[MEMBER_KEY_BYTES]; /* of the node it is for */
    struct identity_peer peers[LIMIT_CLUSTER_MEMBERS];
    uint32_t peer_count;
};

/* E_NOTFOUND: this node has no identity (why says what to do). E_CORRUPT, E_IO. `why`
 * (IDENTITY_WHY_BYTES) gets a text for people on any error. */
MUST_CHECK enum err identity_load(const char *data_dir, struct identity *out, char *why);

/* The public key; makes the pair, and DIR, when there is none. E_EXISTS: the directory is that
 * of a lone node. */
MUST_CHECK enum err identity_key(const char *data_dir, uint8_t public_key[MEMBER_KEY_BYTES],
                                 char *why);
/* The stores of the first member of a new cluster. E_EXISTS: there is an identity, or a spool.
 * E_PROTO: an address is none. */
MUST_CHECK enum err identity_init(const char *data_dir, uint16_t site, struct str control,
                                  struct str data, char *why);
/* The stores of a node that joins. E_EXISTS; E_CONFLICT: the token is for another key or site;
 * E_PROTO: it is no token. site: as configured. */
MUST_CHECK enum err identity_join(const char *data_dir, uint16_t site, struct str token,
                                  char *why);

/* One word of ASCII with a checksum, and its only form. E_PROTO: a field is not what it may be
 * (zero, a doubled site, an address that is none). */
MUST_CHECK enum err identity_token_text(const struct identity_token *t,
                                        char out[IDENTITY_TOKEN_BYTES]);
MUST_CHECK enum err identity_token_parse(struct str text, struct identity_token *out);

/* --- changing the key --- */

/* A pair to change over to, durable before its public key is proposed. Makes it, or gives the
 * one that is there. */
MUST_CHECK enum err identity_next_key(const char *data_dir,
                                      uint8_t public_key[MEMBER_KEY_BYTES],
                                      uint8_t secret_key[MEMBER_KEY_BYTES], char *why);
/* `next` becomes `key`. E_NOTFOUND: there is none. */
MUST_CHECK enum err identity_take_next_key(const char *data_dir, char *why);
