/*
 * check: an oracle outside the system. It knows what each client was told, what each primary
 * took, and what each simulated disk holds for certain; everything that must never happen ends
 * the run at once (violation()), what must happen in the end is asked by check_end().
 *
 * A message has a key (the number of the client's transaction); its id is known once drawn.
 * Recipients are u<key>.<index>@domain, so that a primary's word can be traced back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mid.h"
#include "proto/envelope.h"

#define CHECK_RCPTS 4

struct check_counts {
    uint64_t offered, accepted, refused, closed, taken, duplicates, flagged, bounced, expired,
        dots, dots_refused;
};
struct check_counts *check_counts(void);

void check_init(void);

/* --- Clients --- */
uint32_t check_offer(uint64_t bytes, uint32_t rcpts, uint64_t hold_ms);
/* Body of a message, made again from its key. */
char *check_body(uint32_t key, uint64_t bytes);
void check_accepted(uint32_t key, unsigned node); /* 250 leaves the node now (INV-1) */
void check_refused(uint32_t key, unsigned node);  /* 451 after the dot */
void check_closed(uint32_t key, unsigned node);   /* closed without a reply after the dot */

/* --- Nodes --- */
void check_drawn(uint32_t key, struct mid id);
/* A durable copy stands on that node's disk; or its abort. */
void check_stored(struct mid id, unsigned node);
void check_aborted(struct mid id, unsigned node);
/* Fates durable on that node, as of this envelope. */
void check_outcome(const struct envelope *e, unsigned node);
/* The node's disk is gone, or was set back. */
void check_wiped(unsigned node);
void check_crashed(unsigned node);
/* After a restart: what was durable must be there. has(): live, settled or aborted. */
void check_restarted(unsigned node, bool (*has)(void *ctx, struct mid id), void *ctx);
/* A bit of it flips somewhere. What was never acknowledged and lost its only copy so cannot
 * end. */
bool check_some_live(uint32_t *key); /* a message that is stored and has not ended, by chance */
void check_rotted(uint32_t key);
bool check_may_stay(struct mid id);
/* The node, on an empty disk since then, has been told all that the others had. is_told(): the
 * process that took the message from its client is alive, and can tell. */
void check_filled(unsigned node, uint64_t since_us, bool (*is_told)(void *ctx, struct mid id),
                  void *ctx);
/* The node tells another that it may send one. */
void check_yes(struct mid id, unsigned node);
/* The node was allowed a final dot; it is sent; it is known, or known not to be sent. */
void check_consent(struct mid id, unsigned node);
void check_dot_sent(struct mid id, unsigned node);
void check_dot_over(struct mid id, unsigned node);

/* --- Primaries --- */
/* It took this message for that recipient: 250, whether the answer arrives or not. */
void check_taken(struct str rcpt_path, struct str data);
void check_permanent(struct str rcpt_path); /* it said 5xx */

/* --- The end: everything has drained --- */
uint32_t check_open_count(void); /* accepted, and not yet final on all that is known */
/* How a node's store ended for a message: its envelope, or NULL: it has no trace of it. */
void check_end(unsigned node, const struct envelope *(*trace)(void *ctx, struct mid id),
               bool (*settled)(void *ctx, struct mid id), void *ctx);
