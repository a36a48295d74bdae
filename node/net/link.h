/*
 * link: the messages between nodes: ZeroMQ with CURVE. One receive-only ROUTER, one send-only
 * DEALER per peer, and a ZAP handler that knows the members' keys: what comes in carries the
 * member it was authenticated as, never what it claims.
 *
 * Sending never blocks and may lose: a peer that is away gets nothing queued (ZMQ_IMMEDIATE,
 * small high-water marks); the protocols above repeat.
 * Threads: one owner with a libevent loop, from link_open() to link_close(); each link has a
 *          ZeroMQ context of its own. Limits: LIMIT_FRAME_BYTES a message, LIMIT_LINK_QUEUE.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define LINK_KEY_BYTES 32
#define LINK_PEERS     8

struct link;

struct link_key {
    uint8_t public_key[LINK_KEY_BYTES], secret_key[LINK_KEY_BYTES];
};

struct link_options {
    struct event_base *base;
    const char *listen; /* "192.0.2.1:7302", "[2001:db8::1]:7302" */
    const struct link_key *key;
    const char *plane; /* "control" or "data": for logs */
    /* One message from an authenticated member; borrowed. */
    void (*receive)(void *ctx, uint16_t site, uint64_t incarnation, struct str bytes);
    void *ctx;
};

/* E_IO: cannot listen; logged. */
MUST_CHECK enum err link_open(struct link **out, const struct link_options *o);
void link_close(struct link **l);

/* Adds or changes a peer: its key may connect from now on, and it is connected to. E_FULL. */
MUST_CHECK enum err link_peer_set(struct link *l, uint16_t site, uint64_t incarnation,
                                  const uint8_t public_key[LINK_KEY_BYTES],
                                  const char *address);
/* Its key is worth nothing from now on; its connections are dropped. */
void link_peer_remove(struct link *l, uint16_t site);

/* Best effort. False: not taken (away, or too much waits). */
bool link_send(struct link *l, uint16_t site, struct str bytes);

/* A peer sends what no node of ours would: nothing of it is taken for LIMIT_LINK_CUT_MS. */
void link_cut(struct link *l, uint16_t site);

/* --- keys --- */
void link_key_make(struct link_key *out);
/* File with mode 0600, made when missing and `create`; E_NOTFOUND, E_PROTO, E_IO. */
MUST_CHECK enum err link_key_load(const char *path, bool create, struct link_key *out);
#define LINK_KEY_TEXT 41 /* Z85, with a NUL */
void link_key_text(const uint8_t key[LINK_KEY_BYTES], char out[LINK_KEY_TEXT]);
bool link_key_parse(struct str text, uint8_t out[LINK_KEY_BYTES]);
