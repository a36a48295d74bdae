/* consensus_private: what the two parts of the adapter share. Only consensus_engine.c (the
 * engine, who owns which memory, members) and consensus.c (events) include this. */
#pragma once

#include <raft.h>

#include "replication/consensus.h"

/* A MEMBERS entry above the snapshot. */
struct change {
    uint64_t index;
    bool confirmed; /* the engine was told that it is decided */
    struct str members;
    uint8_t bytes[RAFTWIRE_MEMBERS_BYTES];
};

struct write {
    uint64_t asked;       /* last index as the shell knows it */
    uint64_t first, last; /* what of it still counts; last < first: nothing */
};

struct pending {
    uint64_t req_id, index;
};

struct consensus {
    struct raft raft;
    struct raft_tracer quiet;
    struct cs_config cfg;
    unsigned seed;
    bool loaded, started, stopped;
    uint64_t now_ms, last_timeout_ms;

    bool leading;
    uint64_t lead_term, term_start, leader_shown;

    uint64_t decided;     /* highest index known to be */
    uint64_t was_decided; /* before this step */
    uint64_t applying, applied;

    struct raftwire_snapshot snapshot;
    uint8_t snapshot_members[RAFTWIRE_MEMBERS_BYTES];
    struct raftwire_snapshot incoming; /* asked to be installed */
    uint8_t incoming_members[RAFTWIRE_MEMBERS_BYTES];
    struct change *changes;
    uint32_t change_count, change_room;
    struct cs_members members;

    struct write writes[CS_WRITES];
    uint32_t write_head, write_count;
    struct pending ring[LIMIT_PROPOSALS];
    uint32_t ring_head, ring_count;

    bool wanted, catching, holding; /* a change of members */
    enum cs_change change;
    struct cs_member member;
    uint64_t change_index; /* in the log, not decided; 0: none */

    uint64_t clock_mark_ms; /* elapsed time is counted from here         */
    uint64_t clock_due_ms;  /* next clock entry                          */
    uint64_t clock_index;   /* of the clock entry in flight, 0: none     */
    bool clock_proposed;    /* asked for, not yet proposed by the shell  */

    void *held; /* what the entries of the last update point into */
};

/* One step of the engine; what it asks for is added to *out. False: out->failed says why. */
bool cs_engine_step(struct consensus *c, struct raft_event *ev, struct cs_update *out);
/* The engine begins with what is on disk, as after a crash. False: out->failed says why. */
bool cs_engine_load(struct consensus *c, const struct cs_log *log, struct cs_update *out);
void cs_engine_unload(struct consensus *c);

/* What the bytes say, in the engine's form; closed by who takes it. False: out of memory. */
bool cs_configuration_of(struct str members, struct raft_configuration *out);
void cs_members_renew(struct consensus *c);
/* Changes up to here are in the snapshot. */
void cs_changes_drop(struct consensus *c, uint64_t upto);
void cs_snapshot_set(struct consensus *c, const struct raftwire_snapshot *s);
uint32_t cs_voters(const struct consensus *c);
/* One voter, and this is it: nobody else decides. */
bool cs_is_lone(const struct consensus *c);
