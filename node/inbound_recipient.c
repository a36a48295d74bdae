/* Is there such a recipient? By the list of its domain, as it stands in the control store: the
 * same at all sites, and read without asking anybody. */
#include "base/log.h"
#include "base/stats.h"
#include "node/inbound_private.h"
#include "proto/roster.h"

/* Every domain has them, whatever its list says (RFC 5321 4.5.1, RFC 2142 4): they are how its
 * people hear that the list is wrong. */
static bool is_always_there(struct str local)
{
    return str_eq_nocase(local, STR("postmaster")) || str_eq_nocase(local, STR("abuse"));
}

static void note_unknown(const struct inbound *in, struct str local)
{
    stat_add(STAT_RCPTS_UNKNOWN_TOTAL, 1);
    LOG(EV_RCPT_UNKNOWN, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_STR("local", local), L_CSTR("domain", in->tx.domain));
}

const char *inbound_recipient(struct inbound *in, const struct path *rcpt)
{
    struct node *n = in->thread->node;
    struct roster_wanted wanted;
    enum roster_match match;

    if (in->tx.recipients == RECIPIENTS_ANY || is_always_there(rcpt->local))
        return "";
    roster_wanted(&wanted, rcpt->local, in->tx.separator);
    if (control_roster_find(control_thread_state(n->control), in->tx.generation, &wanted,
                            &match) != OK)
        return "451 4.3.0 Cannot look that recipient up now";
    if (match != ROSTER_NO_MATCH)
        return "";
    note_unknown(in, rcpt->local);
    return "550 5.1.1 No such recipient here";
}
