/*
 * stream: one direction of one numbered stream between two nodes: records go out in order,
 * are resent until acknowledged, and are taken in order exactly once. Pure.
 *
 *   out: QUEUED --room in the window--> FLYING --ack--> done (with its answer)
 *   in:  expected seq --> taken, executed, answered --> acknowledged cumulatively
 *
 * The window, up to LIMIT_STREAM_WINDOW_BYTES, follows the way: acks that come later than the
 * best ones by LIMIT_STREAM_DELAY_MS say that records wait in a queue on it, behind which marks
 * and acks wait too; then less flies (the delay as RFC 6817 measures it). Go-back-N: no ack for
 * LIMIT_RESEND_MS (doubling to LIMIT_RESEND_MAX_MS) sends all flying records again. Records of
 * the urgent queue go before those of the feed queue, and what is whole in one record before
 * large bodies and their PUTs; what flies stays in order. Threads: one
 * owner. Memory: heap; bytes up to the limits. Limits: LIMIT_STREAM_WINDOW_BYTES flying,
 * LIMIT_STREAM_QUEUE_BYTES waiting, LIMIT_FRAME_BYTES, LIMIT_FRAME_RECORDS,
 * LIMIT_FRAME_REFUSALS answers kept.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "proto/frame.h"

/* A record on its way out; `cookie` comes back with its answer. Holds the blobs it borrows
 * from. */
struct stream_item {
    struct copy_record record;
    struct blob *keep[2]; /* NULL: none; strings of the record lie in these, or are static */
    uint64_t cookie;
};

struct stream_out;
struct stream_in;

struct stream_out *stream_out_new(enum frame_stream which);
void stream_out_free(struct stream_out **s);
/* The link is new: numbers start at 1. What was queued or flying is handed to `lost` (with its
 * item; its blobs are released after the call) and forgotten. */
void stream_out_reset(struct stream_out *s,
                      void (*lost)(void *ctx, const struct stream_item *i), void *ctx);
/* Takes a copy of the item and holds its blobs. E_FULL: too much waits. `feed`: after all that
 * is urgent. */
MUST_CHECK enum err stream_push(struct stream_out *s, const struct stream_item *item,
                                bool feed);
/* The next frame to send now, as records with their first seq; false: nothing. The records are
 * borrowed until the next call. A frame without records tells only `acked`, so that the peer
 * may forget refusals. Fills stream, seq, acked, records, record_count of *f. */
bool stream_next(struct stream_out *s, uint64_t now, struct frame *f);
/* An ACK came. Calls done() for each record that it settles, in order; done() may push, and may
 * reset the stream (the rest of the ack is dropped then). False: malformed (acks what was never
 * sent): the peer is broken. */
bool stream_acked(struct stream_out *s, const struct frame *ack, uint64_t now,
                  void (*done)(void *ctx, const struct stream_item *i,
                               const struct copy_answer *a, uint64_t took_ms),
                  void *ctx);
uint64_t stream_out_deadline(const struct stream_out *s); /* when stream_next() has something
                                                             without an event; UINT64_MAX */
uint64_t stream_out_bytes(const struct stream_out *s);    /* queued and flying */
uint64_t stream_out_flying(const struct stream_out *s);   /* bytes */
uint64_t
stream_out_feed(const struct stream_out *s); /* bytes of feed items queued and flying */
bool stream_out_stuck(const struct stream_out *s,
                      uint64_t now); /* resent LIMIT_RESEND_TRIES times */

struct stream_in *stream_in_new(enum frame_stream which);
void stream_in_free(struct stream_in **s);
void stream_in_reset(struct stream_in *s);
/* How many of f->records, from which on, are new and in order: take these. 0: none (then an ack
 * is due all the same). */
uint32_t stream_in_take(struct stream_in *s, const struct frame *f, uint32_t *from);
/* The record with that seq was executed and its commit is durable (or it was refused). In any
 * order; acknowledged in order. Not what was taken before a reset. */
void stream_in_done(struct stream_in *s, uint64_t seq, const struct copy_answer *a);
/* An ack is due: fills stream, upto, refusals of *f (borrowed until the next call). */
bool stream_in_ack(struct stream_in *s, struct frame *f);
uint64_t stream_in_next(const struct stream_in *s);    /* the seq expected next */
uint64_t stream_in_pending(const struct stream_in *s); /* taken, not done */
