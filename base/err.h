/* Error codes: what the caller can DO about a failure, not what the kernel said about it. */
#pragma once

#define MUST_CHECK __attribute__((warn_unused_result))

/* X(code, text, transient) -- transient: the same call may succeed later, unchanged. */
#define ERR_LIST(X)                                                                            \
    X(OK, "ok", 0)                                                                             \
    X(E_AGAIN, "not now", 1)           /* wait for an event, then call again              */   \
    X(E_FULL, "limit reached", 1)      /* a named limit; shed load, tell the client 4xx   */   \
    X(E_TIMEOUT, "timed out", 1)       /* the deadline passed to the call has passed      */   \
    X(E_NOTOWNER, "lease not held", 1) /* another node owns this slot; stop, do not retry */   \
    X(E_NOTFOUND, "not found", 0)      /* an answer rather than a failure                 */   \
    X(E_EXISTS, "already there", 0)    /* idempotent callers treat it as success          */   \
    X(E_CONFLICT, "known id, other content", 0) /* refuse and raise an alarm                */ \
    X(E_PROTO, "malformed input", 0)   /* peer, client or operator sent what we refuse    */   \
    X(E_CORRUPT, "corrupt on disk", 0) /* checksum mismatch: quarantine and refetch       */   \
    X(E_IO, "storage failed", 0)       /* fsync or mmap failed: the node must stop        */

enum err {
#define X(code, text, transient) code,
    ERR_LIST(X)
#undef X
        ERR_COUNT
};

/* A short English text, static. */
const char *err_text(enum err e);
