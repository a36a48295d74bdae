/*
 * copyrec: one record of the data plane: what a node does to the copy of a message, or says
 * about it. The same record is sent to peers (proto/frame.h) and executed by the store
 * (node/copy_store.h). docs/wire.md names the invariant that each one serves.
 *
 * Ownership: str and ranges are borrowed. Threads: any.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/mid.h"
#include "base/str.h"

/* Of a message at one node; stored and sent. Never downwards. */
enum copy_state {
    COPY_NONE = 0,
    COPY_UNDECIDED = 1,
    COPY_ABORTED = 2,
    COPY_COMMITTED = 3,
    COPY_SETTLED = 4
};

/* Sent; values are never used again for something else. */
enum copy_kind {
    /* marks */
    COPY_ECHO = 1,     /* nothing but a durable commit of the peer's writer (INV-6)           */
    COPY_ABORT = 2,    /* id                                                                  */
    COPY_COMMIT = 3,   /* id                                                                  */
    COPY_UPTO = 4,     /* site epoch counter: all ids of the session up to counter are decided:
                          committed, but for those with an ABORT                              */
    COPY_DOT = 5,      /* id domain slot_epoch site epoch (the holder's session): may I?
                          counter: slot epoch of another's mark that was waited for; or 0     */
    COPY_CLOSED = 6,   /* id slot_epoch site: that dot was not sent, or refused with a 4xx    */
    COPY_OUTCOME = 7,  /* id envelope: fates so far                                           */
    COPY_RESOLVE = 8,  /* site epoch: a sealed session: which of it did you see aborted?      */
    COPY_RESOLVED = 9, /* site epoch: the ABORTs before this record were all                  */
    COPY_HAVE = 10,    /* site epoch state ranges: what the sender holds or has settled       */
    COPY_HAVE_END = 11, /* the summary is complete                                            */
    COPY_FILLED = 12, /* you have now all that I had                                         */
    COPY_WANT = 13,   /* id: send me the copy and its marks again                            */
    COPY_CLEAR = 14,  /* site epoch: at the sender all sessions of the site below epoch are
                         sealed, resolved and settled                                        */
    COPY_MARK = 15,   /* id slot_epoch site epoch counter: a mark that stands at the sender, of
                         a dot whose end it does not know; counter: enum copy_mark_is        */
    COPY_ENDED = 16,  /* id: it is over, and the sender knows no fates of it (any more)      */
    /* copies */
    COPY_BODY = 32, /* body_number (of the sender) offset body                                */
    COPY_PUT = 33   /* id state envelope, and body, or body_number of BODY records before it  */
};

/* Of a mark: what it says besides whose it is; bits. */
enum copy_mark_is {
    COPY_MARK_DOUBT = 1, /* it stands for an earlier dot of unknown end, too            */
    COPY_MARK_OVER = 2   /* its own dot is over: nobody waits for it, the doubt stays   */
};

/* How a store answers. OK or why not. Sent in ACKs. */
enum copy_code {
    COPY_OK = 0,
    COPY_EPOCH = 1,      /* DOT: detail: a newer slot epoch is applied here              */
    COPY_LAG = 2,        /* DOT, RESOLVE: the asked entry is not applied here yet; ask again */
    COPY_IS_SETTLED = 3, /* settled here; its OUTCOME follows, or ENDED                      */
    COPY_IS_ABORTED = 4,
    COPY_FOREIGN_DOT = 5, /* DOT: detail: slot epoch, site and session of the open dot    */
    COPY_NOT_WITNESS = 6, /* DOT, RESOLVE: this node is not filled                        */
    COPY_SEALED = 7,      /* PUT, ABORT of a sealed session by its origin                 */
    COPY_CONFLICT = 8,    /* PUT: known id, other digest                                  */
    COPY_NO_ROOM = 9,     /* PUT, BODY: disk marks                                        */
    COPY_DAMAGED = 10,    /* a stored record does not verify                              */
    COPY_MISSING =
        11, /* PUT: its BODY records are not all here; CLOSED and such: nothing to do */
    COPY_MALFORMED = 12,
    COPY_FAILED = 13, /* the store failed: nothing was done                            */
    COPY_DOUBT = 14   /* DOT: yes, but an earlier dot may have arrived: flag it        */
};

struct copy_answer {
    enum copy_code code;
    uint64_t detail;  /* EPOCH, FOREIGN_DOT: slot epoch        */
    uint16_t site;    /* FOREIGN_DOT: holder                   */
    uint64_t session; /* FOREIGN_DOT: holder's session epoch   */
};

struct copy_range {
    uint64_t from, to; /* counters, both included */
};

struct copy_record {
    enum copy_kind kind;
    enum copy_state state;
    struct mid id;
    uint16_t site;
    uint64_t epoch;
    uint64_t counter;
    uint64_t slot_epoch;
    uint64_t body_number, offset;
    struct str domain;
    struct str envelope; /* bytes of record_encode() */
    struct str body;
    const struct copy_range *ranges;
    uint32_t range_count;
};

/* NULL: well formed (the fields that the kind needs, and only those); else why not. */
const char *copyrec_check(const struct copy_record *r);
const char *copy_kind_text(enum copy_kind k); /* "put" ..., for logs */
const char *copy_code_text(enum copy_code c); /* "foreign_dot" ...    */
