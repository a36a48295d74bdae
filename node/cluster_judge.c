/* What would be said to a client: an operator's question, looked up as for a session. */
#include <stdlib.h>

#include "node/cluster_private.h"
#include "node/smtp/address.h"

/* Until its answer goes back it stands in the list, so that the end of the thread finds it. */
static void send_back(struct judge_ask *a, enum err e)
{
    struct cluster *c = a->cluster;

    if (c != NULL) {
        *(a->prev != NULL ? &a->prev->next : &c->judge_asks) = a->next;
        if (a->next != NULL)
            a->next->prev = a->prev;
        c->judge_ask_count--;
    }
    a->err = e;
    a->mail.kind = a->answer_kind;
    mailbox_answer(a->answer_to, &a->mail);
}

static void on_verdict(void *ctx, const struct judging_verdict *v)
{
    struct judge_ask *a = ctx;
    const struct judge *j = v->judge;
    struct str reply = judge_reply(j, a->reply);

    memmove(a->reply, reply.n > 0 ? reply.p : "", reply.n);
    a->reply[reply.n] = 0;
    a->ms = v->ms;
    a->is_late = v->is_late;
    a->is_identity = j->has_spf && spf_is_identity(&j->spf.verdict);
    if (!a->is_identity ||
        !str_to_z(j->spf.verdict.domain, a->spf_domain, sizeof a->spf_domain))
        a->spf_domain[0] = 0;
    for (size_t i = 0; i < JUDGE_CHECKS; i++) {
        struct judge_line *l = &a->lines[i];
        struct str more = judge_detail(j, judge_kind(i), l->detail);

        memmove(l->detail, more.n > 0 ? more.p : "", more.n);
        l->detail[more.n] = 0;
        l->kind = judge_kind(i);
        l->word = judge_word(j, l->kind);
        l->is_against = judge_outcome(j, l->kind) == JUDGE_AGAINST;
    }
    a->judging = NULL;
    send_back(a, OK);
}

void cluster_judge(struct cluster *c, struct judge_ask *a)
{
    struct mail_params params;
    struct path path;
    struct judging_order o = {.checks = a->checks,
                              .client = a->client,
                              .helo = str_of(a->helo),
                              .sender = &path,
                              .done = on_verdict,
                              .ctx = a};

    if (c->stopped || c->judgings.dns == NULL) {
        send_back(a, E_IO);
        return;
    }
    if (c->judge_ask_count >= LIMIT_ADMIN_SESSIONS) {
        send_back(a, E_AGAIN);
        return;
    }
    if (address_parse_mail(str_of(a->from), &path, &params) != ADDRESS_OK) {
        send_back(a, E_PROTO);
        return;
    }
    a->cluster = c;
    a->next = c->judge_asks;
    if (a->next != NULL)
        a->next->prev = a;
    c->judge_asks = a;
    c->judge_ask_count++;
    a->judging = judging_begin(&c->judgings, &o);
    if (a->judging == NULL)
        send_back(a, E_FULL);
}

void cluster_judge_ended(struct cluster *c)
{
    while (c->judge_asks != NULL) {
        judging_end(&c->judge_asks->judging);
        send_back(c->judge_asks, E_IO);
    }
}
