/*
 * lease_view: the control state as leases look at it (spool/control does not know
 * replication/lease, nor that it). One consistent read.
 * Threads: one owner of a view; reading from any. Errors: as control_cluster().
 */
#pragma once

#include "replication/lease.h"
#include "spool/control.h"

struct lease_view {
    struct lease_state state; /* points into what follows: do not copy */
    struct lease_member members[LIMIT_SITES];
    struct slot_state slots[LEASE_SLOTS];
    struct control_cluster cluster; /* what was read */
};

/* Present members; without any member record (one node, no cluster) the sessions stand for
 * them. */
MUST_CHECK enum err lease_view_read(struct lease_view *v, struct control *c);
