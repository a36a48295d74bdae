/* control_core_private: what the parts of control_core share: control_core.c (stores, events),
 * control_core_apply.c (decided entries), control_core_request.c (proposals, here and
 * forwarded), control_core_net.c (frames), control_core_snapshot.c (the state of a member that
 * is behind), control_core_member.c (members of the log), control_core_solo.c (the others are
 * lost for good). */
#pragma once

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/control_core.h"
#include "node/lease_view.h"
#include "proto/raftwire.h"
#include "spool/ctllog.h"

#define CORE_FOLLOW_UPS  8
#define CORE_RESULTS     2048 /* of entries applied last, for answers that come late */
#define CORE_TAKEN       2048 /* forwarded proposals that are in the log, for repeated ones */
#define CORE_RETRY_MS    1000 /* between two tries of what found no room, or no answer */
#define CORE_DENIED_MS   100  /* before one that does not lead is asked again */
#define CORE_FORWARD_MS  10000
#define CORE_TRANSFER_MS 10000 /* a member that takes no piece of a snapshot */
#define CORE_LOAD_BYTES  (8 * MiB)
#define CORE_FRAME_ARENA (2 * MiB)
/* Request ids in the consensus: a slot here, or a slot of a foreign one. */
#define CORE_REQ_FOREIGN (UINT64_C(1) << 32)

/* Decoded commands of one apply; ids and strings are copied twice at most. */
#define CORE_APPLY_BYTES (LIMIT_CONTROL_BATCH * 3 * LIMIT_COMMAND_BYTES)

enum request_state {
    REQUEST_FREE,
    REQUEST_QUEUED,
    REQUEST_LOCAL,     /* with the consensus here       */
    REQUEST_FORWARDED, /* sent to `to`, no answer yet    */
    REQUEST_ACCEPTED   /* in the log at (index, term)    */
};

struct core_request {
    enum request_state state;
    uint64_t req_id, number; /* the asker's; ours on the wire */
    struct str bytes;
    bool internal; /* a lease's; the bytes are owned, `kind` is told what became of it */
    enum command_kind kind;
    uint64_t to, index, term;
    uint64_t begun_ms, sent_ms;
};

struct core_foreign {
    bool used, submitted;
    uint64_t from, number;
    struct str bytes; /* owned */
};

/* A forwarded proposal that is in the log. */
struct core_taken {
    uint64_t from, number, index, term;
};

struct core_result {
    uint64_t index, term;
    struct command_result result;
};

/* The state on its way to a member. */
struct core_transfer {
    struct control_snapshot *snapshot; /* NULL: none under way */
    uint64_t number, term, sent_ms, heard_ms;
    uint64_t offset; /* of the piece that is not yet acknowledged, */
    size_t piece_bytes;
    uint8_t version;
    struct raftwire_snapshot at;
    char members[RAFTWIRE_MEMBERS_BYTES];
};

/* The state on its way to us. */
struct core_arrival {
    struct control_restore *restore; /* NULL: none under way */
    uint64_t from, number, applied, offset, term;
    uint8_t version;
    struct raftwire_snapshot at;
    char members[RAFTWIRE_MEMBERS_BYTES];
};

struct core_peer {
    uint64_t id; /* 0: free */
    uint16_t site;
    bool greeted; /* its HELLO came, and its format is ours */
    bool foreign; /* another format: nothing of it is taken */
    uint64_t contact_ms, hello_ms;
    uint32_t bad; /* frames, since bad_ms */
    uint64_t bad_ms;
    struct core_transfer transfer;
};

struct control_core {
    struct control_core_options o;
    struct ctllog *log;
    struct control *state;
    struct consensus *cs;
    struct cs_update update;
    uint64_t now_ms;
    enum err failed; /* not OK: fenced */
    bool stopping, full;

    struct cs_event follow[CORE_FOLLOW_UPS]; /* what the last update asked to step next */
    size_t follow_count;
    struct cs_proposal proposals[LIMIT_CONTROL_BATCH];
    uint8_t clock_bytes[64];

    struct core_request requests[LIMIT_CONTROL_REQUESTS];
    uint32_t free[LIMIT_CONTROL_REQUESTS], free_count;
    uint32_t queue[LIMIT_CONTROL_REQUESTS], queue_head, queue_count;
    uint32_t out_count;         /* forwarded or accepted */
    uint64_t denied, denied_ms; /* that member says that it does not lead; till then believed */
    uint32_t in_flight;         /* with the consensus, ours and foreign ones */
    uint64_t next_number;       /* of forwarded requests */
    struct core_foreign foreign[LIMIT_CONTROL_FOREIGN];
    uint32_t foreign_count; /* not yet submitted */
    struct core_taken taken[CORE_TAKEN];
    uint32_t taken_at;

    /* The batch last applied, or blocked for want of room. */
    uint64_t batch_from, batch_to, retry_ms;
    bool blocked;
    struct command_result results[LIMIT_CONTROL_BATCH];
    struct core_result recent[CORE_RESULTS];

    struct clusterclock clock;
    struct core_peer peers[CORE_PEERS];
    struct core_arrival arrival;
    uint64_t next_transfer, bad_frames;
    uint64_t tend_ms; /* members are looked at again */

    struct lease *lease;
    struct lease_view view;
    bool lease_stale; /* something was applied, or the lead changed */
    bool has_members; /* the state names some */
    uint8_t leaving[LEASE_SLOTS / 8];
    uint64_t session;
    bool over;

    uint64_t lonely_ms; /* no leader is known since then, or the last greeting; 0: one is */
    struct control_core_news news;
    uint64_t slow_ms; /* the disk was said to be slow */
    uint64_t solo_ms; /* when it was asked for; 0: it was not */
    struct {
        uint64_t since_ms, last; /* 0: none; and the end of the log then */
        uint32_t count;
    } gap; /* what is decided does not come */

    uint8_t frame[LIMIT_FRAME_BYTES];
    uint8_t piece[RAFTWIRE_PIECE_BYTES];
};

/* control_core.c */
void core_follow_up(struct control_core *c, struct cs_event ev);
void core_fail(struct control_core *c, const char *op, enum err e);
void core_set_full(struct control_core *c, bool full);
/* The consensus begins with what is on disk. */
MUST_CHECK enum err core_engine_start(struct control_core *c);
/* One event, and all that follows from it. */
void core_run(struct control_core *c, struct cs_event ev);

/* control_core_apply.c */
void core_apply(struct control_core *c);
/* Term of an entry that was applied lately, and its result; false: too long ago. */
bool core_result_of(const struct control_core *c, uint64_t index, struct core_result *out);
/* The state came as a snapshot. */
enum err core_clock_again(struct control_core *c);

/* control_core_request.c */
void core_requests_init(struct control_core *c);
void core_requests_answers(struct control_core *c); /* those of the update */
void core_requests_taken(struct control_core *c); /* entries of the update have an index now */
void core_requests_applied(struct control_core *c, uint64_t upto);
void core_requests_lead_changed(struct control_core *c);
void core_requests_tick(struct control_core *c);
void core_requests_fail(struct control_core *c, enum err e);
uint64_t core_requests_deadline(const struct control_core *c);
void core_forward_received(struct control_core *c, const struct raftwire_frame *f);
void core_forward_answered(struct control_core *c, const struct raftwire_frame *f);

/* Proposed by this node itself. */
void core_propose_own(struct control_core *c, const struct command *cmd);

/* control_core_lease.c */
MUST_CHECK enum err core_lease_init(struct control_core *c);
/* Steps the lease when it is due and proposes what it wants. */
void core_lease_pump(struct control_core *c);
void core_lease_answered(struct control_core *c, enum command_kind kind, enum err e);
uint64_t core_lease_deadline(const struct control_core *c);

/* control_core_net.c */
void core_send_messages(struct control_core *c); /* those of the update */
/* Fills in who it is from and to. */
void core_send(struct control_core *c, struct core_peer *p, struct raftwire_frame *f);
struct core_peer *core_peer_find(struct control_core *c, uint64_t id);
/* Known, or known from now on; NULL: no room for it. */
struct core_peer *core_peer_of(struct control_core *c, uint64_t id, uint16_t site);
/* Nobody leads, as far as is known here: perhaps it is one that is not known here. */
void core_lonely_tick(struct control_core *c);
void core_bad_frame(struct control_core *c, uint16_t site, const char *why);

/* control_core_snapshot.c */
void core_transfer_begin(struct control_core *c, struct core_peer *p,
                         const struct raftwire_message *m);
void core_transfer_acked(struct control_core *c, struct core_peer *p,
                         const struct raftwire_frame *f);
void core_transfers_tick(struct control_core *c);
void core_transfers_end(struct control_core *c);
void core_arrival_piece(struct control_core *c, struct core_peer *p,
                        const struct raftwire_frame *f);
void core_arrival_end(struct control_core *c);
void core_install(struct control_core *c); /* what the update says */

/* control_core_solo.c */
void core_solo_tick(struct control_core *c);
void core_solo_end(struct control_core *c, enum err e, const char *why);

/* control_core_member.c */
void core_members_tend(struct control_core *c);
