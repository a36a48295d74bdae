/*
 * frame: what travels between two nodes on the data plane: one ZeroMQ message each. Bytes are
 * protobuf (proto/frame.proto) behind an 8 byte XXH3-64 of what follows; in one form only.
 *
 *   HELLO    opens a link: my nonce, the peer's nonce as far as seen (0: not yet)
 *   RECORDS  records of one stream, numbered seq, seq + 1, ...
 *   ACK      durable up to `upto`, but for the refused ones
 *   NOTE     gossip: unnumbered, may be lost
 *   FACTS    what the door knows (replication/gossip.h): bytes of its own, may be lost
 *
 * All but HELLO carry both nonces and count only on that link. Only the fields of its kind
 * travel with a frame; what is decoded is sound: every record passes copyrec_check() and is on
 * its stream, refusals are in order. The format of a HELLO may be any: the caller refuses it.
 *
 * Limits: sizes, counts, and which fields are there are checked before anything is unpacked:
 * LIMIT_FRAME_BYTES, LIMIT_FRAME_RECORDS, LIMIT_FRAME_RANGES, LIMIT_FRAME_REFUSALS,
 * LIMIT_FRAME_REACH, LIMIT_GOSSIP_FRAME_BYTES. 4 MiB of arena are enough for whatever was
 * packed by frame_record_bytes(). Ownership: decoded strings and arrays lie in the arena.
 * Threads: any. Errors: E_PROTO: malformed or not sound; E_FULL: over a limit, or no room.
 */
#pragma once

#include <stdbool.h>

#include "proto/copyrec.h"

#define FRAME_FORMAT 1 /* of these bytes and of what they mean; another one is refused */

enum frame_kind {
    FRAME_HELLO = 1,
    FRAME_RECORDS = 2,
    FRAME_ACK = 3,
    FRAME_NOTE = 4,
    FRAME_FACTS = 5
};
enum frame_stream { FRAME_MARKS = 0, FRAME_COPIES = 1, FRAME_STREAMS = 2 };

struct frame_refusal {
    uint64_t seq;
    struct copy_answer answer;
};

struct frame_reach { /* a primary's address as the sender sees it */
    uint8_t ip[16];
    uint16_t port;
    bool up;
    uint32_t age_ms; /* since it was seen so */
};

struct frame {
    enum frame_kind kind;
    uint8_t cluster[16];
    uint16_t site;
    uint64_t incarnation;
    uint64_t from_nonce, to_nonce;

    uint32_t format;  /* HELLO */
    uint64_t session; /* HELLO: epoch of the sender's session */
    bool filled;      /* HELLO: the sender is a witness */

    enum frame_stream stream; /* RECORDS, ACK */
    uint64_t seq;             /* RECORDS: of records[0]; above 0 */
    uint64_t acked; /* RECORDS: what the sender has seen acknowledged on this stream */
    const struct copy_record *records;
    uint32_t record_count; /* 0: only `acked` is told */

    uint64_t upto;                        /* ACK: cumulative */
    const struct frame_refusal *refusals; /* ACK: all not yet covered by `acked`; seq <= upto */
    uint32_t refusal_count;

    bool open; /* NOTE: the sender takes mail */
    uint64_t live,
        single; /* NOTE: messages it holds; of these with no other copy it knows of */
    const struct frame_reach *reach; /* NOTE */
    uint32_t reach_count;

    struct str facts; /* FACTS: not empty */
};

/* Appends nothing else: *out borrows buf. E_FULL: does not fit into size or a limit. */
MUST_CHECK enum err frame_encode(const struct frame *f, uint8_t *buf, size_t size,
                                 struct str *out);
MUST_CHECK enum err frame_decode(struct str bytes, struct arena *a, struct frame *out);
/* What one record adds to a frame, at most; for packing. */
size_t frame_record_bytes(const struct copy_record *r);
