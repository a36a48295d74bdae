#include "node/policy/judge.h"

#include <stdio.h>

bool judge_is_needed(const uint8_t checks[DOMAIN_CHECK_KINDS])
{
    return checks[DOMAIN_CHECK_RDNS] != CHECK_OFF || checks[DOMAIN_CHECK_SENDER] != CHECK_OFF ||
           checks[DOMAIN_CHECK_SPF] != CHECK_OFF;
}

static bool is_on(const struct judge *j, enum domain_check_kind kind)
{
    return j->checks[kind] != CHECK_OFF;
}

bool judge_init(struct judge *j, const uint8_t checks[DOMAIN_CHECK_KINDS],
                const struct judge_facts *f, struct arena *arena)
{
    struct spf_check *c = &j->spf_check;

    *j = (struct judge){.spf_done = true};
    memcpy(j->checks, checks, sizeof j->checks);
    rdns_init(&j->rdns, &f->client);
    if (!is_on(j, DOMAIN_CHECK_RDNS))
        rdns_give_up(&j->rdns);
    sender_init(&j->sender, f->sender, &(struct sender_options){false});
    if (!is_on(j, DOMAIN_CHECK_SENDER))
        sender_give_up(&j->sender);
    if (!is_on(j, DOMAIN_CHECK_SPF))
        return true;
    *c = (struct spf_check){.client = f->client,
                            .helo = arena_str(arena, f->helo),
                            .sender = arena_str(arena, f->sender->whole),
                            .receiver = arena_str(arena, f->host),
                            .wall_s = f->wall_s};
    if (c->helo.p == NULL || c->sender.p == NULL || c->receiver.p == NULL)
        return false;
    spf_init(&j->spf, c, arena);
    j->spf_done = !spf_next(&j->spf, NULL);
    return true;
}

size_t judge_questions(struct judge *j, struct judge_question out[static JUDGE_QUESTIONS])
{
    struct question ask[LIMIT_RDNS_NAMES + SENDER_QUESTIONS];
    size_t rdns = rdns_questions(&j->rdns, ask), n = 0;
    size_t sender = sender_questions(&j->sender, ask + rdns);

    for (; n < rdns + sender; n++)
        out[n] = (struct judge_question){n < rdns ? JUDGE_RDNS : JUDGE_SENDER, ask[n]};
    if (j->spf_done || j->spf_asked)
        return n;
    j->spf_asked = true;
    out[n++] = (struct judge_question){
        JUDGE_SPF, {j->spf.ask.type, str_of(j->spf.ask.name), j->spf.verdict.questions}};
    return n;
}

void judge_answer(struct judge *j, enum judge_part part, uint32_t tag,
                  const struct dns_answer *a)
{
    switch (part) {
    case JUDGE_RDNS:
        rdns_answer(&j->rdns, tag, a);
        return;
    case JUDGE_SENDER:
        sender_answer(&j->sender, tag, a);
        return;
    case JUDGE_SPF:
        if (j->spf_done || !j->spf_asked)
            return;
        j->spf_asked = false;
        j->spf_done = !spf_next(&j->spf, a);
        return;
    }
}

void judge_give_up(struct judge *j)
{
    rdns_give_up(&j->rdns);
    sender_give_up(&j->sender);
    if (!j->spf_done)
        spf_stop(&j->spf);
    j->spf_done = true;
}

bool judge_is_done(const struct judge *j)
{
    return rdns_is_done(&j->rdns) && sender_is_done(&j->sender) && j->spf_done;
}

bool judge_is_against(const struct judge *j, enum domain_check_kind kind)
{
    if (!is_on(j, kind))
        return false;
    switch (kind) {
    case DOMAIN_CHECK_RDNS:
        return j->rdns.result == RDNS_NONE || j->rdns.result == RDNS_MISMATCH;
    case DOMAIN_CHECK_SENDER:
        return sender_is_bad(j->sender.result);
    case DOMAIN_CHECK_SPF:
        return j->spf.verdict.result == SPF_FAIL;
    default:
        return false;
    }
}

enum domain_check_kind judge_against(const struct judge *j)
{
    enum domain_check_kind marked = DOMAIN_CHECK_KINDS;

    for (unsigned i = 0; i < DOMAIN_CHECK_KINDS; i++) {
        if (!judge_is_against(j, (enum domain_check_kind)i))
            continue;
        if (j->checks[i] != CHECK_MARK)
            return (enum domain_check_kind)i;
        if (marked == DOMAIN_CHECK_KINDS)
            marked = (enum domain_check_kind)i;
    }
    return marked;
}

/* RFC 7372 3.2; the owner's explanation only as his: RFC 7208 6.2. */
static struct str spf_reply(const struct judge *j, bool temporary, char *buf)
{
    const struct spf_verdict *v = &j->spf.verdict;
    bool explains = v->explanation.n > 0;
    size_t most = v->domain.n < LIMIT_SMTP_DOMAIN_BYTES ? v->domain.n : LIMIT_SMTP_DOMAIN_BYTES;
    struct str text = explains ? v->explanation : str_head(v->domain, most);
    int n = snprintf(buf, JUDGE_REPLY_BYTES, "%s SPF fail%s" STR_FMT,
                     temporary ? "450 4.7.23" : "550 5.7.23",
                     explains ? ", its owner says: " : " for ", STR_ARG(text));

    ASSERT(n > 0 && n < JUDGE_REPLY_BYTES);
    return (struct str){buf, (size_t)n};
}

struct str judge_reply(const struct judge *j, char buf[static JUDGE_REPLY_BYTES])
{
    enum domain_check_kind kind = judge_against(j);
    bool temporary;

    if (kind == DOMAIN_CHECK_KINDS || j->checks[kind] == CHECK_MARK)
        return STR_NONE;
    temporary = j->checks[kind] == CHECK_DEFER;
    if (kind == DOMAIN_CHECK_RDNS)
        return str_of(rdns_reply(j->rdns.result, temporary));
    if (kind == DOMAIN_CHECK_SENDER)
        return str_of(sender_reply(j->sender.result, temporary));
    return spf_reply(j, temporary, buf);
}
