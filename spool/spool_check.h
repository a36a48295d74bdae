/*
 * spool_check: reads a whole spool that nobody has open and says what does not fit together.
 * Changes nothing.
 *
 *   record and body agree: every chunk there, its checksum, the digest of the whole
 *   every other value passes its checksum and decodes
 *   settled intervals are sane, merged with their neighbours, and hold no live id
 *   marks and aborts belong to ids that are not settled, aborts to none that is live
 *   nothing is left of sessions that are clear
 *   traces belong to settled ids and to their aging entry, and back
 *   used and free pages are the file
 *
 * Threads: one. Reads every byte once: about 1 GB a second from the page cache.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct spool_finding {
    const char *table; /* "msg", "body", ..., "file" */
    const char *key;   /* message id, or the key in hex */
    const char *what;
};

struct spool_check_summary {
    uint64_t messages, body_bytes, chunks;
    uint64_t undecided; /* of the messages */
    uint64_t marks, intervals, traces, agings, aborted, sessions;
    uint64_t orphan_chunks; /* staged, no record names them; legal after a crash */
    uint64_t file_pages, used_pages, free_pages;
    uint64_t findings;
};

/* Calls report for each finding; strings are borrowed for the call.
 * OK: read to the end, whatever was found. E_AGAIN: a process has the spool open. E_CORRUPT:
 * there is no spool, or it cannot be opened as one. E_PROTO: of a newer version. E_IO. The
 * cause of an error is logged. */
MUST_CHECK enum err spool_check(const char *dir,
                                void (*report)(void *user, const struct spool_finding *f),
                                void *user, struct spool_check_summary *out);
