/*
 * access: who may speak on the control socket. The kernel says who is at the other end
 * (SO_PEERCRED, SO_PEERGROUPS), as of its connect; no name is looked up for a caller.
 * Allowed are uid 0, the uid of the daemon, and members of its group (trispool). Everybody
 * else is refused, for reading too: the queue shows who writes to whom.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define ACCESS_GROUPS 256 /* more supplementary groups are not looked at */

struct access_rule {
    uid_t uid; /* of the daemon */
    bool has_group;
    gid_t group;
};

struct access_peer {
    uid_t uid;
    gid_t gid;
    gid_t groups[ACCESS_GROUPS];
    size_t group_count;
};

/* The rule of this process; group: a name, NULL or unknown for none. */
void access_rule_init(struct access_rule *r, const char *group);

/* E_IO: the kernel does not say; treat it as refused. */
MUST_CHECK enum err access_peer_of(int fd, struct access_peer *out);

bool access_allowed(const struct access_rule *r, const struct access_peer *p);
