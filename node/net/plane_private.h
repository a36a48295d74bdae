/* plane_private: what the parts of plane share: plane.c (peers, ways, frames), plane_gate.c
 * (who gets in: ZAP, and handshakes that failed), plane_key.c (keys). */
#pragma once

#include "node/net/plane.h"

#define PLANE_FROM_BYTES 64  /* text of a remote address */
#define PLANE_ACCEPTED   256 /* connections whose address is remembered, by descriptor */

/* A DEALER, connected to one key at one address. */
struct plane_way {
    void *socket; /* NULL: none */
    uint8_t key[PLANE_KEY_BYTES];
    uint64_t stuck_ms; /* it takes nothing since; 0: it does */
};

struct plane_member {
    struct plane_peer is;
    struct plane_way ways[PLANE_LANES][2]; /* to the key, to the old key */
    uint64_t cut_until_ms;
};

/* Handshakes in vain that were not yet told of. */
struct plane_refusals {
    uint64_t untold, told_ms;
    char from[PLANE_FROM_BYTES];
    bool failed; /* by the monitor: the next connection that ends is that one */
    struct {
        int fd;
        char from[PLANE_FROM_BYTES];
    } accepted[PLANE_ACCEPTED];
};

struct plane {
    struct plane_options o; /* bind and keys: not used, see below */
    char bind[LIMIT_ADDRESS_BYTES + 1];
    uint8_t public_key[PLANE_KEY_BYTES], secret_key[PLANE_KEY_BYTES];
    void *zmq, *zap, *router, *monitor;
    struct event *zap_event, *router_event, *monitor_event, *timer;
    int listen_fd;     /* bound once; each ROUTER gets a copy */
    uint32_t number;   /* of the ROUTER, for the name of its monitor */
    bool is_busy;      /* frames are being handed out: the ROUTER must stay */
    bool wants_reopen; /* then it is opened anew */
    struct plane_member members[PLANE_PEERS];
    uint32_t member_count;
    struct plane_refusals refusals;
    struct plane_counts counts;
};

/* plane.c */
/* NULL: a key that is nobody's. */
struct plane_member *plane_member_of(struct plane *p, const uint8_t key[PLANE_KEY_BYTES]);
/* The descriptor of a socket in the loop. E_IO. */
MUST_CHECK enum err plane_watch(struct plane *p, void *socket, event_callback_fn cb,
                                struct event **out);

/* plane_gate.c */
MUST_CHECK enum err plane_gate_open(struct plane *p);
void plane_gate_close(struct plane *p);
/* Of the ROUTER of now; the one before is forgotten. Without it refusals are not told of. */
MUST_CHECK enum err plane_monitor_open(struct plane *p);
void plane_monitor_close(struct plane *p);
/* Somebody was not let in, or is no member any more and still speaks. */
void plane_refused(struct plane *p, const char *from);
/* Once a second: what waits to be told. */
void plane_gate_tick(struct plane *p, uint64_t now);
