/* The questions of smtpd: may this sender, this recipient? (This client: inbound_door.c.) What
 * the node itself knows is answered at once; what DNS has a part in, later. */
#include "base/log.h"
#include "base/stats.h"
#include "base/utf8.h"
#include "node/access_view.h"
#include "node/domain_name.h"
#include "node/edge.h"
#include "node/inbound_private.h"
#include "node/replica_thread.h"

static const char NO_PEER[] = "421 4.3.2 No second copy can be made here now, try the next MX";

/* Both are static: it is they, and not what they say, that is compared. */
bool inbound_closes(const char *refusal)
{
    return refusal == NO_PEER || refusal == harvest_reply();
}

const char *inbound_shut(const struct node *n)
{
    return n->replica != NULL && !replica_thread_is_open(n->replica) ? NO_PEER : "";
}

/* DNS and the lists know a domain in another script by its A-labels, so the checks do. What
 * goes on with the mail is what the client said. */
static bool use_a_labels(struct inbound *in, const struct path *path, const char **refusal)
{
    char buf[LIMIT_SMTP_DOMAIN_BYTES], whole[LIMIT_SMTP_PATH_BYTES + LIMIT_SMTP_DOMAIN_BYTES];
    struct str domain;
    size_t head = path->local.n + 1; /* with the @ */

    *refusal = "553 5.1.7 The sender's domain is not a name";
    if (!domain_name_ascii(path->domain, buf, &domain) ||
        head + domain.n > LIMIT_SMTP_PATH_BYTES)
        return false;
    memcpy(whole, path->whole.p, head);
    memcpy(whole + head, domain.p, domain.n);
    in->tx.path.whole = arena_str(&in->tx.arena, (struct str){whole, head + domain.n});
    *refusal = "452 4.3.0 Out of memory";
    return in->tx.path.whole.p != NULL;
}

static const char *ask_mail(struct inbound *in, const struct smtpd_out *out)
{
    struct node *n = in->thread->node;
    const char *refusal;

    if (inbound_shut(n)[0] != 0)
        return NO_PEER;
    if (atomic_load(&n->fenced) || spool_room(n->spool) == SPOOL_FULL)
        return "452 4.3.1 No space here, try the next MX";
    inbound_tx_reset(in);
    in->tx.sender = arena_str(&in->tx.arena, out->path.whole);
    if (in->tx.sender.p == NULL)
        return "452 4.3.0 Out of memory";
    in->tx.path = out->path;
    in->tx.path.whole = in->tx.sender;
    if (utf8_has_8bit(out->path.domain) && !use_a_labels(in, &out->path, &refusal))
        return refusal;
    in->tx.path.local = STR_NONE;
    in->tx.path.domain =
        str_from(in->tx.path.whole, out->path.is_null ? 0 : out->path.local.n + 1);
    in->tx.eight_bit = out->params.eight_bit;
    in->tx.smtputf8 = out->params.smtputf8;
    in->tx.size_bytes = out->params.size_bytes;
    return "";
}

static const char *look_up(struct inbound *in, struct str name, bool ours)
{
    struct node *n = in->thread->node;
    struct control *control = control_thread_state(n->control);
    struct arena scratch;
    struct domain d;
    struct domain_terms terms = {0};
    uint8_t checks[DOMAIN_CHECK_KINDS] = {0};
    enum domain_dsn dsn = DOMAIN_DSN_AUTHENTICATED;
    bool takes_utf8 = false;
    uint64_t generation = 0, hold_ms = inbound_settings(in)->config->hold_ms;
    enum err e;

    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(control, name, &scratch, &d);
    if (e == OK && !d.closing)
        e = control_domain_terms(control, &d, &terms);
    if (e == OK) {
        generation = d.generation;
        dsn = d.dsn;
        takes_utf8 = d.smtputf8;
        if (d.hold_s > 0 || d.plan.n > 0)
            hold_ms = (uint64_t)terms.hold_s * 1000;
        if (!ours) { /* the postmaster is reached by everybody */
            memcpy(checks, d.checks, sizeof checks);
            in->tx.facts.mode = (enum recipient_mode)d.recipients;
            in->tx.facts.unknown = (enum recipient_unknown)d.unknown;
            in->tx.separator = d.separator;
        }
        if (d.closing)
            e = E_NOTFOUND;
    }
    arena_reset(&scratch);
    if (e == E_NOTFOUND && !ours)
        return DOOR_NOT_SERVED;
    if (e != OK && e != E_NOTFOUND)
        return "451 4.3.0 Cannot look that domain up now";
    if (in->tx.smtputf8 && !takes_utf8)
        return "550 5.6.7 The server of this domain takes no internationalised mail";
    if (in->tx.rcpt_count > 0 && generation != in->tx.generation)
        return "451 4.3.0 The domain has changed, try again";
    in->tx.generation = generation;
    in->tx.hold_ms = hold_ms;
    in->tx.wants_auth = dsn == DOMAIN_DSN_AUTHENTICATED;
    if (in->tx.rcpt_count == 0 || !ours)
        memcpy(in->tx.checks, checks, sizeof checks);
    memcpy(in->tx.domain, name.p, name.n);
    in->tx.domain[name.n] = 0;
    return "";
}

/* Something that an allowed client is spared is switched on. */
static bool is_checked(const struct inbound *in)
{
    for (int i = 0; i < DOMAIN_CHECK_KINDS; i++)
        if (i != DOMAIN_CHECK_HEADERS && in->tx.checks[i] != CHECK_OFF)
            return true;
    return false;
}

/* Whom an operator allows is not asked for a name, a list or SPF. Said once a message. */
static void spare(struct inbound *in, const struct access_found *found)
{
    if (in->tx.is_allowed)
        return;
    in->tx.is_allowed = true;
    if (!is_checked(in))
        return;
    stat_add(STAT_ACCESS_ALLOWED_TOTAL, 1);
    LOG(EV_ACCESS_ALLOWED, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_CSTR("domain", in->tx.domain), L_CSTR("reason", found->reason));
}

/* Clients of blocked networks reach nobody but the postmaster (RFC 5321 4.5.1). */
static const char *ask_access(struct inbound *in)
{
    struct node *n = in->thread->node;
    struct access_found found;

    access_view_find(n->access, &in->ip, control_now_ms(n->control), &found);
    if (found.action == ACCESS_ALLOW)
        spare(in, &found);
    if (found.action != ACCESS_BLOCK)
        return "";
    stat_add(STAT_ACCESS_BLOCKED_TOTAL, 1);
    LOG(EV_ACCESS_BLOCKED, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_CSTR("reason", found.reason));
    return door_blocked(&found, in->peer, in->refusal);
}

/* What was asked for is one of the message's. */
static const char *add_rcpt(struct inbound *in)
{
    struct str path = arena_str(&in->tx.arena, (struct str){in->tx.rcpt, in->tx.rcpt_n});

    if (path.p == NULL)
        return "452 4.3.0 Out of memory";
    ASSERT(in->tx.rcpt_count < LIMIT_SMTP_RCPTS);
    in->tx.rcpts[in->tx.rcpt_count++] = path;
    inbound_auth_begin(in);
    in->tx.is_wanted |= inbound_recipient_is_there(in);
    in->tx.is_for_somebody |= !in->tx.is_rcpt_put_off;
    return "";
}

/* One verdict counts for all recipients of a domain; and no client makes us look up without end
 * by naming one domain after the other. */
static const char *ask_judge(struct inbound *in, bool *later)
{
    bool is_needed = !in->tx.is_allowed && judge_is_needed(in->tx.checks);

    if (!is_needed && !in->tx.needs_spf)
        return "";
    if (in->tx.judged_generation == in->tx.generation && (in->tx.has_spf || !in->tx.needs_spf))
        return in->tx.verdict;
    if (in->tx.judgings >= LIMIT_JUDGINGS)
        return "452 4.5.3 One domain per message, send the others in another";
    in->tx.judgings++;
    *later = inbound_judge_begin(in);
    return "";
}

const char *inbound_next_step(struct inbound *in, bool *is_later)
{
    const char *refusal = "";

    while (refusal[0] == 0 && !*is_later) {
        switch (in->tx.step++) {
        case RCPT_KNOWN:
            refusal = inbound_ask_recipient(in, is_later);
            break;
        case RCPT_JUDGE:
            refusal = ask_judge(in, is_later);
            break;
        case RCPT_UNSURE:
            refusal = inbound_recipient_unsure(in);
            break;
        case RCPT_SERVER:
            *is_later = !in->tx.is_allowed && inbound_delegate_begin(in);
            break;
        case RCPT_GREYLIST:
            refusal = inbound_ask_greylist(in, is_later);
            break;
        case RCPT_TAKE:
            return add_rcpt(in);
        }
    }
    return refusal;
}

/* *later: something has to be looked up first. */
static const char *ask_rcpt(struct inbound *in, const struct smtpd_out *out, bool *later)
{
    char buf[LIMIT_SMTP_DOMAIN_BYTES];
    struct str path = out->path.whole, name = out->path.domain;
    const char *refusal;

    if (out->path.is_postmaster) {
        path = str_of(inbound_settings(in)->config->postmaster);
        name = str_from(path, str_find_last(path, '@') + 1);
    }
    if (out->path.is_postmaster ? !domain_normalize(name, buf, &name)
                                : !domain_name_owner(&out->path, buf, &name))
        return "550 5.7.1 Relaying denied";
    if (in->tx.rcpt_count > 0 && !str_eq(name, str_of(in->tx.domain)))
        return "452 4.5.3 One domain per message, send the others in another";
    in->tx.facts = (struct recipient_facts){.mode = RECIPIENT_ANY};
    in->tx.needs_spf = in->tx.is_rcpt_put_off = false;
    refusal = look_up(in, name, out->path.is_postmaster);
    if (refusal[0] == 0 && !out->path.is_postmaster)
        refusal = ask_access(in);
    if (refusal[0] == 0 && !out->path.is_postmaster)
        refusal = inbound_recipient(in, &out->path);
    if (refusal[0] != 0)
        return refusal;
    ASSERT(path.n <= sizeof in->tx.rcpt);
    memcpy(in->tx.rcpt, path.p, path.n);
    in->tx.rcpt_n = (uint16_t)path.n;
    in->tx.step = out->path.is_postmaster ? RCPT_TAKE : RCPT_KNOWN;
    return inbound_next_step(in, later);
}

struct inbound_answer inbound_ask(struct inbound *in, const struct smtpd_out *out)
{
    struct inbound_answer a = {.is_asked = true, .refusal = ""};

    switch (out->act) {
    case SMTPD_ACT_ASK_CONNECT:
        a.refusal = inbound_door_ask(in, &a.is_later);
        break;
    case SMTPD_ACT_ASK_MAIL:
        a.refusal = ask_mail(in, out);
        break;
    case SMTPD_ACT_ASK_RCPT:
        a.refusal = ask_rcpt(in, out, &a.is_later);
        if (a.refusal[0] != 0)
            stat_add(STAT_RCPTS_REFUSED_TOTAL, 1);
        break;
    default:
        a.is_asked = false;
    }
    a.closes = inbound_closes(a.refusal);
    return a;
}
