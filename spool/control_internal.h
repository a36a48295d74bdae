/* Between the parts of control: control.c (store, domains, plans, settings, operators),
 * control_cluster.c (members, sessions, slots), control_image.h. Nobody else includes it. */
#pragma once

#include "base/assert.h"
#include "base/limits.h"
#include "spool/control.h"
#include "spool/ctlkv.h"

/* The numbers go into checksums: they are part of the disk format. */
enum table {
    T_META,
    T_DOMAIN,
    T_PLAN,
    T_SETTING,
    T_SESSION,
    T_SLOT,
    T_OPERATION,
    T_MEMBER,
    T_PLACEMENT,
    T_ACCESS,
    T_ROSTER,
    T_ROSTER_COUNT,
    T_COUNT
};

/* 2: members, placements, renewals. 3: block and allow lists. 4: lists of recipients. There was
 * no release before them, so nothing reads 1 to 3. */
#define CONTROL_FORMAT   4
#define CONTROL_ID_BYTES 26

#define KEY_FORMAT  STR("format")  /* version u32                                 */
#define KEY_ID      STR("id")      /* cluster 16 bytes, site u16, incarnation u64 */
#define KEY_APPLIED STR("applied") /* index u64                                   */
#define KEY_CLOCK   STR("clock")   /* cluster time u64, ms                        */

struct control {
    struct ctlkv kv;
    _Atomic uint64_t applied;
};

/* One entry while it is applied. */
struct control_step {
    struct control *c;
    struct ctlkv_txn *txn;
    uint64_t index;
    struct arena *arena;
    struct command_result result;
};

static inline void control_refuse(struct control_step *s, enum err e, const char *why)
{
    s->result = (struct command_result){.err = e, .refused = why};
}

/* A record that passed its checksum and still makes no sense: another program wrote it. Sticks;
 * E_CORRUPT. */
MUST_CHECK enum err control_senseless(struct ctlkv_txn *t, uint32_t table, struct str key);

/* A record of a fixed size. */
MUST_CHECK enum err control_get_sized(struct ctlkv_txn *t, uint32_t table, struct str key,
                                      size_t bytes, struct str *v);

/* A meta record: it must be there. */
MUST_CHECK enum err control_get_meta_u64(struct ctlkv_txn *t, struct str key, uint64_t *out);

/* --- Records of members, sessions, slots and placements (control_record.c) --- */

/* Epochs that a slot or a domain was given away under: so many are remembered. */
#define CONTROL_RELEASED 4

#define SESSION_BYTES   45
#define SLOT_BYTES      (12 + 8 * CONTROL_RELEASED)
#define PLACEMENT_BYTES (18 + 8 * CONTROL_RELEASED)
#define MEMBER_BYTES    93 /* and the two addresses */
#define MEMBER_KEY_SIZE 10 /* site u16, incarnation u64 */

struct member_rec {
    struct member m;
    uint64_t eligible; /* log index since when it may hold */
    uint64_t balanced; /* log index of the last balancing that counted it */
};

struct slot_rec {
    struct slot s;
    uint64_t released[CONTROL_RELEASED]; /* newest first; 0: none */
};

struct placement_rec {
    uint16_t site; /* 0: ended at `epoch`; the slot's holder delivers again */
    uint64_t epoch;
    uint64_t slot_epoch; /* of the slot when it ended */
    uint64_t released[CONTROL_RELEASED];
};

/* All that an entry about leases looks at. */
struct view {
    struct ctlkv_txn *txn;
    struct member_rec members[LIMIT_MEMBER_RECORDS];
    uint32_t member_count;
    struct session sessions[LIMIT_SITES];
    uint32_t session_count;
    struct slot_rec slots[CONTROL_SLOTS];
    uint32_t load[LIMIT_SITES]; /* slots per session */
};

/* Errors stick to the transaction; control_judge_sessions() fills in may_hold. */
void control_load_view(struct view *v, struct ctlkv_txn *t);
void control_load_people(struct view *v, struct ctlkv_txn *t); /* members, sessions alone */
void control_judge_sessions(struct view *v);
/* Live, and of a node that is filled; whether it drains set aside. */
bool control_is_able(struct view *v, const struct session *s);
struct member_rec *control_member_at(struct view *v, uint16_t site); /* present one, or NULL */
struct session *control_session_at(struct view *v, uint16_t site);   /* or NULL */

MUST_CHECK enum err control_get_session(struct ctlkv_txn *t, uint16_t site,
                                        struct session *out);
void control_put_session(struct ctlkv_txn *t, const struct session *s);
/* Without a record: all zero, OK. So for a placement. */
MUST_CHECK enum err control_get_slot(struct ctlkv_txn *t, uint32_t slot, struct slot_rec *out);
void control_put_slot(struct ctlkv_txn *t, uint32_t slot, const struct slot_rec *r);
MUST_CHECK enum err control_get_placement(struct ctlkv_txn *t, struct str domain,
                                          struct placement_rec *out);
void control_placement_of(struct str payload, struct placement_rec *out); /* of its size */
void control_put_placement(struct ctlkv_txn *t, struct str domain,
                           const struct placement_rec *r);
struct str control_member_key(char b[MEMBER_KEY_SIZE], uint16_t site, uint64_t incarnation);
MUST_CHECK enum err control_member_of(struct ctlkv_txn *t, struct str key, struct str payload,
                                      struct member_rec *out);
void control_put_member(struct ctlkv_txn *t, const struct member_rec *r);
bool control_remembers(const uint64_t released[CONTROL_RELEASED], uint64_t epoch);

/* What counts for a domain: its placement, else the slot, but no older than the placement's
 * end: epochs of a domain only grow. */
void control_effective(const struct placement_rec *p, const struct slot *slot, uint16_t *site,
                       uint64_t *epoch);

/* Block and allow lists (control_access.c); the command passed its check. */
void control_apply_access(struct control_step *s, const struct access *c);

/* Lists of recipients (control_roster.c); the command passed its check. */
void control_apply_roster(struct control_step *s, const struct roster *c);
/* How many a domain has; errors stick. */
uint32_t control_roster_size(struct ctlkv_txn *t, uint64_t generation);
void control_roster_drop(struct control_step *s, uint64_t generation); /* all of them */

/* Within an entry. E_NOTFOUND; what else it says sticks. Strings point into the arena. */
MUST_CHECK enum err control_step_domain(struct control_step *s, struct str name,
                                        struct domain *out);

/* Members, sessions, slots, placements; the command passed its check (control_cluster.c). */
void control_apply_cluster(struct control_step *s, const struct command *c);
