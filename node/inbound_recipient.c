/* Is there such a recipient? First what costs nothing: the list of its domain, as it stands in
 * the control store. Then, of a domain that learns, what the sites have learned of it, which
 * the edge thread knows; that counts also who names too many that are not there, and is asked
 * for this of every domain that does not take any. What SPF has to say waits for the judge.
 *
 * A client that is suspicious hears 250 of everybody, after the same steps; of a message that
 * is for nobody who is there it is told behind the dot (tx.put_off).
 *
 * A try is counted once: of a list by the edge, which is asked in any case; of a domain that
 * learns by count_bad(), behind all that could still take it. */
#include <stdlib.h>

#include "base/log.h"
#include "base/stats.h"
#include "node/edge.h"
#include "node/inbound_private.h"
#include "proto/roster.h"

static_assert((int)RECIPIENT_ANY == (int)RECIPIENTS_ANY &&
                  (int)RECIPIENT_LIST == (int)RECIPIENTS_LIST &&
                  (int)RECIPIENT_LEARN == (int)RECIPIENTS_LEARN,
              "what is stored is what is judged");
static_assert((int)RECIPIENT_AUTHENTICATED == (int)UNKNOWN_AUTHENTICATED &&
                  (int)RECIPIENT_ACCEPT == (int)UNKNOWN_ACCEPT &&
                  (int)RECIPIENT_DEFER == (int)UNKNOWN_DEFER,
              "the same");

static struct str local_of(const struct inbound *in)
{
    struct str whole = {in->tx.rcpt, in->tx.rcpt_n};

    return str_head(whole, str_find_last(whole, '@'));
}

static const char *why_not(const struct recipient_facts *f, enum recipient_verdict v)
{
    if (v == RECIPIENT_REFUSE)
        return f->mode == RECIPIENT_LIST ? "list" : "primary";
    if (f->is_suspicious)
        return "suspicious-client";
    return f->unknown == RECIPIENT_DEFER ? "unknown" : "unknown-and-not-authenticated";
}

static void note(const struct inbound *in, enum recipient_verdict v, const char *why)
{
    bool is_refused = v == RECIPIENT_REFUSE;

    stat_add(is_refused ? STAT_RCPTS_UNKNOWN_TOTAL : STAT_RCPTS_UNSURE_TOTAL, 1);
    LOG(is_refused ? EV_RCPT_UNKNOWN : EV_RCPT_UNSURE, L_CSTR("client", in->peer),
        L_STR("from", in->tx.sender), L_STR("local", local_of(in)),
        L_CSTR("domain", in->tx.domain), L_CSTR("why", why));
}

static const char *say(struct inbound *in, enum recipient_verdict v)
{
    if (v == RECIPIENT_REFUSE || v == RECIPIENT_UNSURE)
        note(in, v, why_not(&in->tx.facts, v));
    return recipient_reply(v);
}

const char *inbound_offender(const struct inbound *in)
{
    stat_add(STAT_HARVEST_REFUSED_TOTAL, 1);
    LOG(EV_SHED, L_CSTR("limit", "harvest"), L_CSTR("client", in->peer));
    return harvest_reply();
}

/* --- the list --- */

const char *inbound_recipient(struct inbound *in, const struct path *rcpt)
{
    struct control *control = control_thread_state(in->thread->node->control);
    struct recipient_facts *f = &in->tx.facts;
    struct roster_wanted wanted;
    enum roster_match match;

    f->is_reserved = recipient_is_reserved(rcpt->local);
    if (f->mode == RECIPIENT_ANY)
        return "";
    roster_wanted(&wanted, rcpt->local, in->tx.separator);
    if (control_roster_find(control, in->tx.generation, &wanted, &match) != OK)
        return "451 4.3.0 Cannot look that recipient up now";
    f->is_listed = match != ROSTER_NO_MATCH;
    return "";
}

/* --- what was learned, and by whom it is asked for --- */

/* NULL: out of memory. */
static struct edge_rcpt *ask_of(struct inbound *in)
{
    struct str local = local_of(in);
    struct edge_rcpt *a = calloc(1, sizeof *a);

    if (a == NULL)
        return NULL;
    a->answer_to = in->thread->box;
    a->answer_kind = SMTP_MAIL_RECIPIENT;
    a->ctx = in;
    a->client = in->ip;
    a->is_spared = in->tx.is_allowed;
    a->generation = in->tx.generation;
    memcpy(a->domain, in->tx.domain, sizeof a->domain);
    a->separator = in->tx.separator;
    ASSERT(local.n <= sizeof a->local); /* address.h has seen to it */
    memcpy(a->local, local.p, local.n);
    a->local_bytes = (uint8_t)local.n;
    a->facts = in->tx.facts;
    return a;
}

/* Nobody can be asked: a list is a list; what is learned would have to be known. */
static const char *unasked(struct inbound *in)
{
    if (in->tx.facts.is_listed)
        return "";
    stat_add(STAT_RECIPIENTS_UNASKED_TOTAL, 1);
    if (in->tx.facts.mode == RECIPIENT_LIST)
        return say(in, RECIPIENT_REFUSE);
    note(in, RECIPIENT_UNSURE, "busy");
    return recipient_reply(RECIPIENT_UNSURE);
}

const char *inbound_ask_recipient(struct inbound *in, bool *is_later)
{
    struct node *n = in->thread->node;
    const struct recipient_facts *f = &in->tx.facts;
    struct edge_rcpt *a;

    if (f->mode == RECIPIENT_ANY)
        return "";
    if (!in->tx.is_allowed && edge_is_offender(n->edge, &in->ip))
        return inbound_offender(in);
    if (f->is_reserved) /* of a listed one, too: what is said at once is known to be there */
        return "";
    a = ask_of(in);
    if (a == NULL || edge_recipient(n->edge, a) != OK) {
        free(a);
        return unasked(in);
    }
    in->recipient = a;
    in->requests++;
    *is_later = true;
    return "";
}

void inbound_recipient_end(struct inbound *in)
{
    in->recipient = NULL;
}

/* Whether SPF could make a TAKE of it; then the judge is to look it up. */
static bool spf_would_help(const struct inbound *in)
{
    struct recipient_facts f = in->tx.facts;

    f.is_authenticated = true;
    return in->tx.sender.n > 0 && recipient_judge(&f) == RECIPIENT_TAKE;
}

/* The edge has waited for the primary, or could not: of an ASK that is left nothing came. */
static enum recipient_verdict verdict_now(struct inbound *in)
{
    enum recipient_verdict v = recipient_judge(&in->tx.facts);

    if (v != RECIPIENT_ASK)
        return v;
    in->tx.facts.was_asked = true;
    return recipient_judge(&in->tx.facts);
}

/* In a domain that learns it is a try when nothing has taken it; of a list the edge knows. */
static void count_bad(struct inbound *in, enum recipient_verdict v)
{
    if (v != RECIPIENT_TAKE && in->tx.facts.mode == RECIPIENT_LEARN && !in->tx.is_allowed)
        edge_bad(in->thread->node->edge, &in->ip, str_of(in->tx.domain), local_of(in));
}

/* Counted only: a line in the log would take its time, and RCPT would tell. */
static const char *put_off(struct inbound *in, enum recipient_verdict v)
{
    if (v == RECIPIENT_TAKE)
        return "";
    stat_add(v == RECIPIENT_REFUSE ? STAT_RCPTS_UNKNOWN_TOTAL : STAT_RCPTS_UNSURE_TOTAL, 1);
    in->tx.is_rcpt_put_off = true;
    in->tx.put_off = v;
    return "";
}

const char *inbound_recipient_for_nobody(const struct inbound *in)
{
    enum recipient_verdict v = in->tx.put_off;

    if (v == RECIPIENT_TAKE || in->tx.is_for_somebody)
        return "";
    LOG(v == RECIPIENT_REFUSE ? EV_RCPT_UNKNOWN : EV_RCPT_UNSURE, L_CSTR("client", in->peer),
        L_STR("from", in->tx.sender), L_STR("local", local_of(in)),
        L_CSTR("domain", in->tx.domain), L_CSTR("why", why_not(&in->tx.facts, v)),
        L_U64("rcpts", in->tx.rcpt_count));
    return recipient_reply(v);
}

static const char *take_answer(struct inbound *in, const struct edge_rcpt *a)
{
    enum recipient_verdict v;

    if (a->is_blind)
        return unasked(in);
    in->tx.facts = a->facts;
    if (a->state == HARVEST_OFFENDER)
        return inbound_offender(in);
    v = verdict_now(in);
    if (v == RECIPIENT_UNSURE && spf_would_help(in)) {
        in->tx.needs_spf = true;
        return "";
    }
    count_bad(in, v);
    return in->tx.facts.is_suspicious ? put_off(in, v) : say(in, v);
}

void inbound_recipient_known(struct edge_rcpt *a)
{
    struct inbound *in = a->ctx;
    bool is_awaited = in->recipient == a;
    const char *refusal;

    if (is_awaited)
        in->recipient = NULL;
    if (is_awaited && in->conn != NULL) {
        refusal = take_answer(in, a);
        free(a);
        inbound_answered(in, refusal, false);
    } else {
        free(a);
    }
    inbound_give_back(in);
}

/* Behind the judge. */
const char *inbound_recipient_unsure(struct inbound *in)
{
    enum recipient_verdict v;

    if (!in->tx.needs_spf)
        return "";
    in->tx.facts.is_authenticated = in->tx.sender_auth == SENDER_PASS;
    v = recipient_judge(&in->tx.facts);
    count_bad(in, v);
    return say(in, v);
}

bool inbound_recipient_is_there(const struct inbound *in)
{
    const struct recipient_facts *f = &in->tx.facts;

    return f->is_listed || (f->mode == RECIPIENT_LEARN && f->known == RCPTSET_VALID);
}
