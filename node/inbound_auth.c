/* Whether the sender is who it says: SPF of MAIL FROM, for whether it may be told of failure
 * later (node/delivery/dsn_policy), where the judge does not look at it anyway. RCPT does not
 * wait for it. It is asked while the client goes on; only when it is not known at the end of
 * the body is it waited for, a short time, and not again for a while when that was in vain: no
 * trouble of DNS slows mail down. Asked it is always: a sender whose name servers are silent
 * takes from the others the wait, and not the answers that come before their dots. */
#include "base/clock.h"
#include "node/inbound_private.h"
#include "node/policy/spf.h"

static_assert((int)SENDER_NONE == (int)SPF_NONE + 1 && (int)SENDER_PASS == (int)SPF_PASS + 1 &&
                  (int)SENDER_PERMERROR == (int)SPF_PERMERROR + 1,
              "what is stored is SPF's result, and that there is none");

enum sender_auth inbound_sender_auth(const struct spf_verdict *v)
{
    if (v->identity != SPF_MAILFROM)
        return SENDER_UNASKED;
    if (v->result == SPF_PASS && !spf_is_identity(v))
        return SENDER_NEUTRAL; /* a pass of everybody says of nobody who it is */
    return (enum sender_auth)((int)v->result + 1);
}

void inbound_auth_end(struct inbound *in)
{
    judging_end(&in->authing);
}

void inbound_auth_hurry(struct inbound *in)
{
    if (in->authing != NULL && in->tx.is_awaiting_auth)
        judging_hurry(in->authing);
}

static void on_verdict(void *ctx, const struct judging_verdict *v)
{
    struct inbound *in = ctx;

    in->authing = NULL;
    if (v->is_late)
        in->thread->auth_silent_ms = clock_boot_ms() + LIMIT_SENDER_SILENT_MS;
    in->tx.sender_auth = inbound_sender_auth(&v->judge->spf.verdict);
    if (in->tx.is_awaiting_auth && in->conn != NULL)
        inbound_authenticated(in);
}

void inbound_auth_begin(struct inbound *in)
{
    static const uint8_t none[DOMAIN_CHECK_KINDS];
    struct judging_order o = {.checks = none,
                              .needs_spf = true,
                              .client = in->ip,
                              .helo = smtpd_helo(&in->smtpd),
                              .sender = &in->tx.path,
                              .done = on_verdict,
                              .ctx = in};

    if (in->tx.wants_auth && in->tx.sender.n > 0 && in->authing == NULL &&
        in->tx.sender_auth == SENDER_UNASKED)
        in->authing = judging_begin(&in->thread->judgings, &o);
}

bool inbound_auth_wait(struct inbound *in)
{
    if (in->authing == NULL)
        return false;
    if (clock_boot_ms() < in->thread->auth_silent_ms) { /* whoever it was that was silent */
        in->tx.sender_auth = SENDER_TEMPERROR;
        inbound_auth_end(in);
        return false;
    }
    in->tx.is_awaiting_auth = true;
    judging_limit(in->authing, LIMIT_SENDER_WAIT_MS);
    return true;
}
