/*
 * dsn_policy: whether the sender of a message that ended undelivered is told. Forged senders
 * are the rule in mail that nobody takes, and a notification to one is backscatter: so only
 * those are told for whom SPF passed when the message came, unless the domain's owner says
 * otherwise; and nobody is told often.
 *
 *   no   the domain tells nobody
 *   no   the sender is not authenticated, and the domain tells only those who are
 *   no   LIMIT_DSN_PER_SENDER in LIMIT_DSN_RATE_MS to this address
 *   no   LIMIT_DSN_PER_DOMAIN in LIMIT_DSN_RATE_MS about mail of this domain
 *   yes  else; and it counts
 *
 * The time of a counter begins with the first that it counts, and all may come at once: across
 * the border between two of them it can be twice the limit within LIMIT_DSN_RATE_MS.
 *
 * Who is not told is kept as DSN_WITHHELD with the reason, for the owner of the domain.
 *
 * The counters are of a fixed number. Two that share a place share its limit: sharing never
 * loosens one, and an attacker who does not know the seed cannot choose whom to share
 * with. They are this node's: who holds a domain sends its notifications. A change of the
 * holder or a restart begins anew.
 *
 * Pure. Threads: one owner. Memory: 2 MiB, the caller's. Time: cluster time.
 */
#pragma once

#include <stdint.h>

#include "base/limits.h"
#include "proto/domain.h"
#include "proto/envelope.h"

struct dsn_count {
    uint64_t since_ms; /* first of those counted */
    uint32_t n;
};

struct dsn_policy {
    uint64_t seed[2];
    struct dsn_count senders[LIMIT_DSN_RATE_PLACES], domains[LIMIT_DSN_RATE_PLACES];
};

void dsn_policy_init(struct dsn_policy *p, const uint64_t seed[2]);

/* Of an envelope with a sender. NULL: he is told, and that counts. Else why not: static. */
const char *dsn_policy_ask(struct dsn_policy *p, const struct envelope *e, enum domain_dsn mode,
                           uint64_t now_ms);
/* What was asked for did not come about. */
void dsn_policy_undo(struct dsn_policy *p, const struct envelope *e);
