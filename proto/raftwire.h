/*
 * raftwire: what travels between two nodes on the control plane: one ZeroMQ message each. Bytes
 * are protobuf (proto/raftwire.proto), behind them 8 bytes XXH3-64 of them, little-endian; in
 * one form only: what would not come out of raftwire_encode() again, byte for byte, is refused.
 *
 *   HELLO            who I am, and which format; opens a conversation
 *   APPEND .. TIMEOUT_NOW   messages of Raft (Ongaro's dissertation, figure 3.1, 4.2.3, 9.6)
 *   SNAPSHOT         a piece of the control state, for a member that lags behind the log
 *   SNAPSHOT_ACK     how much of it is there
 *   FORWARD          a proposal, for the leader
 *   FORWARD_ANSWER   where in the log it is, or that it is not
 *   PEERS            who is a member by now, for one whose HELLO said that it is behind: the
 *                    leader may be one that it does not know
 *
 * The sender is known from the transport; the frame's claim (site, incarnation) must agree, and
 * so must the cluster. `version` of Raft's messages has a meaning: a vote whose version is lost
 * could be counted where a pre-vote was meant. It is carried as it came.
 *
 * Sizes are checked before unpacking: LIMIT_FRAME_BYTES, LIMIT_CONTROL_BATCH entries,
 * LIMIT_COMMAND_BYTES each, RAFTWIRE_MEMBERS_BYTES, RAFTWIRE_PIECE_BYTES, LIMIT_MEMBER_RECORDS.
 * Ownership: decoded strings and arrays lie in the arena. Threads: any. Errors: E_PROTO,
 * E_FULL.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

#define RAFTWIRE_FORMAT        1 /* of these bytes and of what they mean */
#define RAFTWIRE_CLUSTER_BYTES 16
#define RAFTWIRE_MEMBERS_BYTES 512
#define RAFTWIRE_KEY_BYTES     32
#define RAFTWIRE_HEAD_BYTES    1024 /* a frame without entries or piece is smaller */
#define RAFTWIRE_PIECE_BYTES   (LIMIT_FRAME_BYTES - RAFTWIRE_HEAD_BYTES)

/* Stored in the control log, too. */
enum raftwire_entry_kind {
    RAFTWIRE_COMMAND = 1, /* bytes of proto/command.h             */
    RAFTWIRE_BARRIER = 2, /* a new leader's first entry; nothing  */
    RAFTWIRE_MEMBERS = 3  /* the members from here on             */
};

struct raftwire_entry {
    uint64_t term;
    enum raftwire_entry_kind kind;
    struct str bytes; /* 1 .. LIMIT_COMMAND_BYTES */
};

/* Where in the log a snapshot stands, and who was a member there. */
struct raftwire_snapshot {
    uint64_t index, term;   /* of the last entry it holds; index 0: no snapshot */
    uint64_t members_index; /* of the entry that made them members */
    struct str members;     /* replication/consensus.h, cs_members_encode() */
};

/* In raftwire.proto the field of a body is this + 10. */
enum raftwire_kind {
    RAFTWIRE_HELLO = 1,
    RAFTWIRE_APPEND = 2,
    RAFTWIRE_APPEND_RESULT = 3,
    RAFTWIRE_VOTE = 4,
    RAFTWIRE_VOTE_RESULT = 5,
    RAFTWIRE_TIMEOUT_NOW = 6,
    RAFTWIRE_SNAPSHOT = 7,
    RAFTWIRE_SNAPSHOT_ACK = 8,
    RAFTWIRE_FORWARD = 9,
    RAFTWIRE_FORWARD_ANSWER = 10,
    RAFTWIRE_PEERS = 11
};

/* A member, and how it is reached on the control plane. */
struct raftwire_peer {
    uint16_t site;
    uint64_t incarnation;
    uint8_t key[RAFTWIRE_KEY_BYTES];
    bool has_old_key;
    uint8_t old_key[RAFTWIRE_KEY_BYTES];
    struct str address; /* as member_address_check() takes it */
};

/* A message of Raft. RAFTWIRE_SNAPSHOT here is the whole ("install this"), on the wire it goes
 * in pieces. */
struct raftwire_message {
    enum raftwire_kind kind;
    uint64_t peer; /* incarnation of the receiver, or of the sender; of the frame, not in it */
    uint8_t version;
    uint64_t term;
    union {
        struct {
            uint64_t prev_index, prev_term, commit;
            const struct raftwire_entry *entries;
            uint32_t count;
        } append;
        struct {
            uint64_t rejected; /* index, 0: accepted */
            uint64_t last_index;
            uint16_t features, capacity;
        } append_result;
        struct {
            uint64_t last_index, last_term;
            bool disrupt_leader, pre_vote;
        } vote;
        struct {
            bool granted, pre_vote;
            uint16_t features, capacity;
        } vote_result;
        struct {
            uint64_t last_index, last_term;
        } timeout_now;
        struct raftwire_snapshot install;
    };
};

enum raftwire_outcome {
    RAFTWIRE_ACCEPTED = 1,   /* in the leader's log at (index, term): not yet decided */
    RAFTWIRE_NOT_LEADER = 2, /* not in the log; `leader`: whom to ask, 0: not known   */
    RAFTWIRE_FULL = 3,       /* not in the log                                        */
    RAFTWIRE_UNKNOWN = 4     /* may be in the log or not                              */
};

struct raftwire_frame {
    uint8_t cluster[RAFTWIRE_CLUSTER_BYTES];
    uint16_t site;        /* of the sender */
    uint64_t incarnation; /* of the sender */
    uint64_t to;          /* incarnation meant: a frame to a predecessor is not for us */
    enum raftwire_kind kind;
    union {
        struct {
            uint32_t format;
            bool answer; /* to a HELLO: is not answered itself */
            uint64_t applied;
        } hello;
        struct raftwire_message message; /* APPEND .. TIMEOUT_NOW; .kind is the frame's */
        struct {
            uint8_t version;
            uint64_t term;
            struct raftwire_snapshot at;
            uint64_t transfer; /* number of this transfer, the sender's own; above 0 */
            uint64_t applied;  /* of the state that is sent: at.index or above */
            uint64_t offset;
            bool last;
            struct str piece; /* 1 .. RAFTWIRE_PIECE_BYTES */
        } snapshot;
        struct {
            uint64_t transfer;
            uint64_t offset; /* all below is there */
            bool failed;     /* nothing comes of it: begin again */
        } snapshot_ack;
        struct {
            uint64_t request; /* the sender's number, above 0; never used twice */
            struct str bytes; /* 1 .. LIMIT_COMMAND_BYTES */
        } forward;
        struct {
            uint64_t request;
            enum raftwire_outcome outcome;
            uint64_t index, term; /* ACCEPTED */
            uint64_t leader;      /* NOT_LEADER: incarnation */
        } forward_answer;
        struct {
            uint64_t index;                   /* the sender has applied; above 0 */
            const struct raftwire_peer *list; /* by site, each once */
            uint32_t count;                   /* 1 .. LIMIT_MEMBER_RECORDS */
        } peers;
    };
};

/* *out borrows buf. E_FULL: does not fit into size or a limit. E_PROTO: cannot be said. */
MUST_CHECK enum err raftwire_encode(const struct raftwire_frame *f, uint8_t *buf, size_t size,
                                    struct str *out);
MUST_CHECK enum err raftwire_decode(struct str bytes, struct arena *a,
                                    struct raftwire_frame *out);
/* What one entry adds to a frame, at most; for packing. */
size_t raftwire_entry_bytes(const struct raftwire_entry *e);

/* "append", "vote" and so on, for logs. */
const char *raftwire_kind_text(enum raftwire_kind k);
