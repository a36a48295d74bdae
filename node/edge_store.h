/*
 * edge_store: the disk of the edge thread: batches of changes, written by a thread of its own,
 * one at a time. While one is written the next one gathers in the sets themselves.
 *
 * Threads: all but the write itself by the edge thread. Errors: a full disk loses the batch
 * (the set is told to peers all the same); E_IO: nothing is written any more. Logged.
 */
#pragma once

#include <stdbool.h>

#include "base/mailbox.h"
#include "spool/known.h"

struct edge_store;
struct edge_batch;

/* Opens it and starts the thread; its answers come to `box` with this kind, see
 * edge_store_done(). E_IO, E_FULL: logged; the node goes on without. */
MUST_CHECK enum err edge_store_open(struct edge_store **out, const char *dir,
                                    struct mailbox *box, int kind);
/* What is stored, before the first batch. False: it goes. What cannot be read to its end is not
 * written any more either. */
void edge_store_load(struct edge_store *s, enum known_table table, void *ctx,
                     bool (*keeps)(void *ctx, struct str key, struct str value));

/* An empty batch; NULL: the one before is still being written, or the disk has failed. */
struct edge_batch *edge_store_begin(struct edge_store *s);
bool edge_store_is_busy(const struct edge_store *s); /* a batch is being written */
/* Keys and values are copied. False: it is full; write it and begin another. */
MUST_CHECK bool edge_batch_put(struct edge_batch *b, enum known_table table, struct str key,
                               struct str value);
MUST_CHECK bool edge_batch_drop(struct edge_batch *b, enum known_table table, struct str key);
void edge_batch_clear(struct edge_batch *b, enum known_table table); /* before its puts */
/* Takes the batch; an empty one is nothing. */
void edge_store_write(struct edge_store *s, struct edge_batch *b);
void edge_store_done(struct edge_store *s, struct mail *m); /* the answer came */

/* Waits for what is being written. NULL: fine. */
void edge_store_close(struct edge_store **s);
