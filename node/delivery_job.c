#include "node/delivery_job.h"

#include <stdlib.h>

#include "base/assert.h"

#define ASK_AGAIN (UINT64_C(1) << 48) /* the lower bits are the cluster thread's serial */

struct consent_ask *delivery_job_ask(struct delivery_job *j, struct mailbox *box, int kind)
{
    struct consent_ask *a = calloc(1, sizeof *a);

    ASSERT(a != NULL);
    j->ask_tag += ASK_AGAIN;
    j->consent = j->no_consent = false;
    a->ask.answer_to = box;
    a->ask.answer_kind = kind;
    a->ask.id = j->env.id;
    a->ask.slot_epoch = j->slot_epoch;
    a->ask.tag = j->ask_tag;
    a->conn = j->conn;
    (void)str_lower(j->env.domain, a->ask.domain, sizeof a->ask.domain);
    if (j->conn == 0)
        a->job = j;
    return a;
}

bool delivery_job_may_send(const struct delivery_job *j, uint64_t now_ms)
{
    return j->consent && now_ms < j->consent_ms + REPLICA_CONSENT_MS;
}
