/* Greylisting (RFC 6647): whether this client has been here before, at any site. The edge
 * thread knows; the session waits for its answer to RCPT. */
#include <stdlib.h>

#include "base/log.h"
#include "base/stats.h"
#include "node/edge.h"
#include "node/inbound_private.h"

static const char *refusal_of(const struct inbound *in)
{
    return in->tx.is_grey ? greylist_reply() : "";
}

/* NULL: out of memory. */
static struct edge_ask *ask_of(struct inbound *in)
{
    struct edge_ask *a = calloc(1, sizeof *a);

    if (a == NULL)
        return NULL;
    ASSERT(in->tx.sender.n <= sizeof a->sender);
    a->answer_to = in->thread->box;
    a->answer_kind = SMTP_MAIL_EDGE;
    a->ctx = in;
    a->client = in->ip;
    memcpy(a->spf_domain, in->tx.spf_domain, sizeof a->spf_domain);
    memcpy(a->domain, in->tx.domain, sizeof a->domain);
    memcpy(a->sender, in->tx.sender.p, in->tx.sender.n);
    a->sender_bytes = (uint16_t)in->tx.sender.n;
    return a;
}

/* What cannot be asked for is taken: a list that has no time never loses mail. */
const char *inbound_ask_greylist(struct inbound *in, bool *is_later)
{
    struct edge_ask *a;

    if (in->tx.checks[DOMAIN_CHECK_GREYLIST] == CHECK_OFF)
        return "";
    if (in->tx.grey_generation == in->tx.generation)
        return refusal_of(in);
    a = ask_of(in);
    if (a == NULL || edge_greylist(in->thread->node->edge, a) != OK) {
        stat_add(STAT_GREYLIST_UNASKED_TOTAL, 1);
        free(a);
        return "";
    }
    in->grey = a;
    in->requests++;
    *is_later = true;
    return "";
}

void inbound_grey_end(struct inbound *in)
{
    in->grey = NULL;
}

static void take_verdict(struct inbound *in, const struct edge_ask *a)
{
    uint8_t mode = in->tx.checks[DOMAIN_CHECK_GREYLIST];
    bool is_strange = a->verdict == GREYLIST_FIRST || a->verdict == GREYLIST_EARLY;

    in->tx.grey_generation = in->tx.generation;
    in->tx.is_grey = !a->is_blind && is_strange && mode != CHECK_MARK;
    if (a->is_blind) {
        stat_add(STAT_GREYLIST_UNASKED_TOTAL, 1);
        return;
    }
    if (a->verdict == GREYLIST_KNOWN)
        return;
    LOG(EV_GREYLISTED, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_CSTR("domain", in->tx.domain), L_CSTR("spf", in->tx.spf_domain),
        L_CSTR("verdict", greylist_verdict_text(a->verdict)), L_U64("wait_ms", a->wait_ms),
        L_CSTR("mode", check_mode_text(mode)));
}

void inbound_greylisted(struct edge_ask *a)
{
    struct inbound *in = a->ctx;
    bool is_awaited = in->grey == a;

    in->grey = NULL;
    if (is_awaited && in->conn != NULL) {
        take_verdict(in, a);
        free(a);
        inbound_judged(in, refusal_of(in));
    } else {
        free(a);
    }
    inbound_give_back(in);
}
