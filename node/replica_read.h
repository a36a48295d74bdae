/*
 * replica_read: what the engine of the data plane reads of the spool: copies for a peer that
 * lacks them, and at a start all that it has to know. Also used by the simulator as it is.
 * Threads: one owner, that of the engine. Errors: as replication/replica.h says of its ops.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "replication/replica.h"
#include "spool/spool.h"

struct replica_read {
    struct spool_reader *reader;
    struct arena scratch; /* of one call */
    char *encoded;        /* LIMIT_ENVELOPE_BYTES: the envelope of the last call */
};

/* E_FULL: LIMIT_SPOOL_READERS are open. */
MUST_CHECK enum err replica_read_open(struct replica_read *r, struct spool *s);
void replica_read_close(struct replica_read *r); /* also of one that is all zero */

MUST_CHECK enum err replica_read_envelope(struct replica_read *r, struct mid id,
                                          struct str *envelope, uint64_t *body_bytes);
MUST_CHECK enum err replica_read_body(struct replica_read *r, struct mid id, uint64_t offset,
                                      void *buf, size_t size, size_t *got);
MUST_CHECK enum err replica_read_trace(struct replica_read *r, struct mid id,
                                       struct str *envelope);
MUST_CHECK enum err replica_read_mark(struct replica_read *r, struct mid id,
                                      struct copy_mark *out);

/* All of it, into an engine that has not been started. E_FULL: the spool holds more than a node
 * may (LIMIT_QUEUE_MESSAGES and its like): the engine would forget mail. */
MUST_CHECK enum err replica_read_all(struct replica_read *r, struct replica *engine);
