/*
 * control_snapshot: the control state as a stream of bytes, from one moment, and back: for a
 * node that is too far behind for the log, and for a new one.
 *
 * The image is made within control_snapshot_open(), from one read transaction, into a file of
 * its own without a name: however long a peer takes to fetch it, no reader is held, and any
 * piece can be sent again. It does not carry the store's identity; it does carry the cluster's.
 *
 * A restore gathers the pieces in such a file, verifies the whole by its checksum, and then
 * replaces all records in one write transaction: readers in other threads see the old state or
 * the new one, and so does a node that crashed at any moment. The handle stays as it is.
 *
 * Order for a Raft log: first the restore is committed, then the log starts anew behind
 * control_applied(). A crash between the two leaves a state that is ahead of its log.
 *
 * Threads:    a snapshot: one owner, any thread. A restore: the one that applies.
 * Durability: control_restore_commit() returns after its fsync.
 * Limits:     the disk below the store's directory; the file is gone with the process.
 * Errors:     E_FULL: disk or map; nothing changed. E_CORRUPT: a record of the store (logged).
 *             E_PROTO: not a whole image, or of another version. E_CONFLICT: of another
 * cluster, or older than the state. E_IO: as in control.h. Bytes: docs/disk-format-control.md.
 */
#pragma once

#include "spool/control.h"

struct control_snapshot;

/* *out is NULL on error. */
MUST_CHECK enum err control_snapshot_open(struct control_snapshot **out, struct control *c);
void control_snapshot_close(struct control_snapshot **s);

uint64_t control_snapshot_index(const struct control_snapshot *s); /* last entry in it */
uint64_t control_snapshot_bytes(const struct control_snapshot *s);
/* *got < size: the end. E_IO: the file cannot be read; open another snapshot. */
MUST_CHECK enum err control_snapshot_read(struct control_snapshot *s, uint64_t offset,
                                          void *buf, size_t size, size_t *got);

struct control_restore;

MUST_CHECK enum err control_restore_begin(struct control_restore **out, struct control *c);
/* The next bytes, in order. */
MUST_CHECK enum err control_restore_write(struct control_restore *r, struct str bytes);
uint64_t control_restore_bytes(const struct control_restore *r); /* written so far */
/* All bytes are there: the state is now that of the image. Ends the restore, also on error. */
MUST_CHECK enum err control_restore_commit(struct control_restore **r);
void control_restore_abort(struct control_restore **r);
