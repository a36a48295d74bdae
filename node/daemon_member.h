/*
 * daemon_member: what a daemon that is a member of a cluster checks before it starts.
 *
 * A member never starts over a spool that is not the one of its incarnation: an emptied one
 * would acknowledge what it does not have, an older one would have forgotten what it promised.
 * DIR/cluster/began is written once the spool of this incarnation exists, durably, and before
 * the first session can be opened; from then on a spool without its record is a lost one.
 */
#pragma once

#include "base/err.h"
#include "node/identity.h"
#include "spool/spool.h"

/* Who this node is. Not OK: printed to stderr, with what to do. */
MUST_CHECK enum err daemon_member_load(const char *data_dir, struct identity *out);
/* copies: 1, so this must be no member: its mail is the others', too, and would go out twice.
 * Not OK: printed to stderr, with what to do. */
MUST_CHECK enum err daemon_member_none(const char *data_dir);
/* The spool is open, no thread runs. Not OK: printed to stderr, with what to do. */
MUST_CHECK enum err daemon_member_spool(const char *data_dir, const struct identity *id,
                                        struct spool *s);
