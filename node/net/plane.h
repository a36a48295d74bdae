/*
 * plane: how a node hears and reaches the other members on one plane (control, data). One
 * ZeroMQ message is one frame. A receive-only ROUTER is bound to the own address; a send-only
 * DEALER is connected to each peer for each lane (two while its key is changed over): what is
 * small and urgent does not wait behind what is large. CURVE encrypts both
 * ways, and a ZAP handler of this plane lets in the keys of plane_peers() only: a key that is
 * nobody's gets nothing, not even an error (INV-9). Who sent a frame is who its key says,
 * whatever stands in it.
 *
 *   plane_peers(list) --> ways to new or changed peers are opened, others are closed
 *   plane_send(site, lane) --> queued for that peer; dropped when it is away, or is behind
 *   ops.frame(site, incarnation, bytes) <-- a frame of a member
 *
 * Threads: one owner, that of `base`; ops are called from its loop and may call back, but for
 * plane_close(). ZeroMQ's own threads do the encryption.
 * Limits: LIMIT_FRAME_BYTES a frame (larger ones never arrive, the connection is dropped),
 * LIMIT_LINK_QUEUE frames waiting for a peer, PLANE_PEERS peers, LIMIT_PLANE_TURN frames in a
 * turn of the loop.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

#define PLANE_KEY_BYTES 32
#define PLANE_PEERS     LIMIT_MEMBER_RECORDS

struct plane;

/* Each is a connection of its own. Between them there is no order. */
enum plane_lane { PLANE_URGENT, PLANE_BULK, PLANE_LANES };

struct plane_ops {
    void *ctx;
    void (*frame)(void *ctx, uint16_t site, uint64_t incarnation, struct str bytes);
    /* A handshake with a key that is no member's, or none at all, or a frame on a connection
     * that is older than the removal of its key. Called at most once a second;
     * `count` of them since the last call; `from` is the address of the last one. */
    void (*refused)(void *ctx, const char *from, uint64_t count);
};

struct plane_options {
    struct event_base *base;
    const char *bind;                       /* "host:port" or "[address]:port" */
    bool has_bulk;                          /* else PLANE_URGENT carries all */
    const uint8_t *public_key, *secret_key; /* PLANE_KEY_BYTES each; copied */
    struct plane_ops ops;
};

/* A name in `bind` is looked up here. E_IO: cannot bind, logged; *out is NULL. */
MUST_CHECK enum err plane_open(struct plane **out, const struct plane_options *o);
/* What is still queued is dropped, but for a moment that lets last frames go (100 ms). */
void plane_close(struct plane **p);

struct plane_peer {
    uint16_t site;
    uint64_t incarnation;
    char address[LIMIT_ADDRESS_BYTES + 1]; /* "host:port"; a name is looked up by ZeroMQ */
    uint8_t key[PLANE_KEY_BYTES];          /* what it shows, and what it is asked to show */
    uint8_t old_key[PLANE_KEY_BYTES];      /* good too while it is changed over */
    bool has_old_key;
};

/* The other members, all of them: keys that are not among these are shut out, at once: a
 * handshake is refused, what comes on an open connection is dropped unseen. The ways to those
 * that stay are not touched. Cheap when nothing has changed. E_FULL: too many. E_CONFLICT: a
 * site twice. */
MUST_CHECK enum err plane_peers(struct plane *p, const struct plane_peer *peers,
                                uint32_t count);
/* The own keys are changed: all connections are made anew. E_IO: it hears nothing any more. */
MUST_CHECK enum err plane_rekey(struct plane *p, const uint8_t *public_key,
                                const uint8_t *secret_key);

/* Best effort, never blocks; borrows. Takes the urgent lane while the other is not there.
 * False: dropped. */
bool plane_send(struct plane *p, uint16_t site, enum plane_lane lane, struct str bytes);
/* For so long nothing of that member is heard (what comes is dropped). */
void plane_cut(struct plane *p, uint16_t site, uint64_t for_ms);

struct plane_counts {
    uint64_t sent, received; /* frames */
    uint64_t sent_bytes, received_bytes;
    uint64_t dropped; /* not sent: the peer is away, or too much waits for it */
    uint64_t ignored; /* came, and not handed on: cut off, no member any more, no frame */
    uint64_t refused; /* handshakes, and frames of keys that were removed */
};
void plane_counts(const struct plane *p, struct plane_counts *out);

/* --- keys --- */

#define PLANE_KEY_TEXT 41 /* Z85 with its NUL */

/* A fresh pair. E_IO: no chance to be had. */
MUST_CHECK enum err plane_key_new(uint8_t public_key[PLANE_KEY_BYTES],
                                  uint8_t secret_key[PLANE_KEY_BYTES]);
void plane_key_text(const uint8_t key[PLANE_KEY_BYTES], char out[PLANE_KEY_TEXT]);
/* False: not a key in Z85. */
bool plane_key_parse(struct str text, uint8_t out[PLANE_KEY_BYTES]);
/* The public key of a secret one. */
MUST_CHECK enum err plane_key_public(const uint8_t secret_key[PLANE_KEY_BYTES],
                                     uint8_t public_key[PLANE_KEY_BYTES]);
