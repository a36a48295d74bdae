/* Is there such a recipient? By the list of its domain, as it stands in the control store: the
 * same at all sites, and read without asking anybody. */
#include "base/log.h"
#include "base/stats.h"
#include "node/inbound_private.h"
#include "node/policy/recipient.h"
#include "proto/roster.h"

static void note_unknown(const struct inbound *in, struct str local)
{
    stat_add(STAT_RCPTS_UNKNOWN_TOTAL, 1);
    LOG(EV_RCPT_UNKNOWN, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_STR("local", local), L_CSTR("domain", in->tx.domain));
}

const char *inbound_recipient(struct inbound *in, const struct path *rcpt)
{
    struct node *n = in->thread->node;
    struct recipient_facts f = {.mode = RECIPIENT_LIST,
                                .is_reserved = recipient_is_reserved(rcpt->local)};
    struct roster_wanted wanted;
    enum roster_match match;
    enum recipient_verdict v;

    if (in->tx.recipients == RECIPIENTS_ANY)
        return "";
    roster_wanted(&wanted, rcpt->local, in->tx.separator);
    if (control_roster_find(control_thread_state(n->control), in->tx.generation, &wanted,
                            &match) != OK)
        return "451 4.3.0 Cannot look that recipient up now";
    f.is_listed = match != ROSTER_NO_MATCH;
    v = recipient_judge(&f);
    if (v == RECIPIENT_REFUSE)
        note_unknown(in, rcpt->local);
    return recipient_reply(v);
}
