/* What the checks of a domain say of a session's client and sender: counted, logged, and told
 * to the session, which waits for its answer to RCPT. node/judging.h has the look-ups. */
#include <stdio.h>

#include "base/log.h"
#include "base/stats.h"
#include "node/inbound_private.h"
#include "node/policy/auth_results.h"

void inbound_judge_end(struct inbound *in)
{
    judging_end(&in->judging);
}

void inbound_judge_hurry(struct inbound *in)
{
    if (in->judging != NULL)
        judging_hurry(in->judging);
}

/* HELO needs no answer of DNS. */
static const struct {
    enum stat_id outcomes[JUDGE_OUTCOMES], refused, deferred;
} counters[DOMAIN_CHECK_KINDS] = {
    [DOMAIN_CHECK_RDNS] = {{[JUDGE_PASSED] = STAT_CHECK_RDNS_PASSED_TOTAL,
                            [JUDGE_UNKNOWN] = STAT_CHECK_RDNS_UNKNOWN_TOTAL,
                            [JUDGE_AGAINST] = STAT_CHECK_RDNS_TOTAL},
                           STAT_CHECK_RDNS_REFUSED_TOTAL,
                           STAT_CHECK_RDNS_DEFERRED_TOTAL},
    [DOMAIN_CHECK_DNSBL] = {{[JUDGE_PASSED] = STAT_CHECK_DNSBL_PASSED_TOTAL,
                             [JUDGE_UNKNOWN] = STAT_CHECK_DNSBL_UNKNOWN_TOTAL,
                             [JUDGE_AGAINST] = STAT_CHECK_DNSBL_TOTAL},
                            STAT_CHECK_DNSBL_REFUSED_TOTAL,
                            STAT_CHECK_DNSBL_DEFERRED_TOTAL},
    [DOMAIN_CHECK_HELO] = {{[JUDGE_PASSED] = STAT_CHECK_HELO_PASSED_TOTAL,
                            [JUDGE_UNKNOWN] = STAT_CHECK_HELO_PASSED_TOTAL,
                            [JUDGE_AGAINST] = STAT_CHECK_HELO_TOTAL},
                           STAT_CHECK_HELO_REFUSED_TOTAL,
                           STAT_CHECK_HELO_DEFERRED_TOTAL},
    [DOMAIN_CHECK_SENDER] = {{[JUDGE_PASSED] = STAT_CHECK_SENDER_PASSED_TOTAL,
                              [JUDGE_UNKNOWN] = STAT_CHECK_SENDER_UNKNOWN_TOTAL,
                              [JUDGE_AGAINST] = STAT_CHECK_SENDER_TOTAL},
                             STAT_CHECK_SENDER_REFUSED_TOTAL,
                             STAT_CHECK_SENDER_DEFERRED_TOTAL},
    [DOMAIN_CHECK_FORGED] = {{[JUDGE_PASSED] = STAT_CHECK_FORGED_PASSED_TOTAL,
                              [JUDGE_UNKNOWN] = STAT_CHECK_FORGED_UNKNOWN_TOTAL,
                              [JUDGE_AGAINST] = STAT_CHECK_FORGED_TOTAL},
                             STAT_CHECK_FORGED_REFUSED_TOTAL,
                             STAT_CHECK_FORGED_DEFERRED_TOTAL},
    [DOMAIN_CHECK_SPF] = {{[JUDGE_PASSED] = STAT_CHECK_SPF_PASSED_TOTAL,
                           [JUDGE_UNKNOWN] = STAT_CHECK_SPF_UNKNOWN_TOTAL,
                           [JUDGE_AGAINST] = STAT_CHECK_SPF_TOTAL},
                          STAT_CHECK_SPF_REFUSED_TOTAL,
                          STAT_CHECK_SPF_DEFERRED_TOTAL},
};

static void count(const struct judging_verdict *v)
{
    const struct judge *j = v->judge;
    enum domain_check_kind first = judge_against(j);

    stat_add(STAT_CHECKS_TOTAL, 1);
    stat_add(STAT_CHECKS_LATE_TOTAL, v->is_late);
    for (size_t i = 0; i < JUDGE_CHECKS; i++) {
        enum judge_outcome o = judge_outcome(j, judge_kind(i));

        if (o != JUDGE_OFF)
            stat_add(counters[judge_kind(i)].outcomes[o], 1);
    }
    if (first == DOMAIN_CHECK_KINDS || j->checks[first] == CHECK_MARK)
        return;
    stat_add(j->checks[first] == CHECK_DEFER ? counters[first].deferred
                                             : counters[first].refused,
             1);
    stat_add(STAT_CHECK_REFUSED_TOTAL, 1);
}

static void note(const struct inbound *in, const struct judging_verdict *v, struct str reply)
{
    const struct judge *j = v->judge;
    char lists[JUDGE_DETAIL_BYTES];

    LOG(EV_CHECKED, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_CSTR("domain", in->tx.domain), L_CSTR("rdns", judge_word(j, DOMAIN_CHECK_RDNS)),
        L_STR("name", j->rdns.name), L_CSTR("sender", judge_word(j, DOMAIN_CHECK_SENDER)),
        L_CSTR("spf", judge_word(j, DOMAIN_CHECK_SPF)),
        L_CSTR("dnsbl", judge_word(j, DOMAIN_CHECK_DNSBL)),
        L_STR("lists", judge_detail(j, DOMAIN_CHECK_DNSBL, lists)),
        L_CSTR("helo", judge_word(j, DOMAIN_CHECK_HELO)),
        L_CSTR("forged", judge_word(j, DOMAIN_CHECK_FORGED)), L_U64("ms", v->ms),
        L_STR("refused", reply));
}

/* What was found out goes with the message: Authentication-Results of SPF and the client's name
 * (RFC 8601), and Received-SPF (RFC 7208 9.1). */
static void record(struct inbound *in, const struct judge *j)
{
    struct auth_result results[2];
    char fields[AUTH_RESULTS_SIZE + RECEIVED_SPF_SIZE], addr[IP_TEXT_BYTES];
    size_t count = 0, n;

    if (j->has_spf)
        results[count++] = auth_result_of_spf(&j->spf_check, &j->spf.verdict);
    if (j->checks[DOMAIN_CHECK_RDNS] != CHECK_OFF)
        results[count++] = auth_result_of_rdns(&in->ip, j->rdns.result, addr);
    if (count == 0)
        return;
    n = auth_results_format(str_of(inbound_settings(in)->config->authserv_id), results, count,
                            fields)
            .n;
    if (j->has_spf) {
        inbound_auth_end(in); /* it asks the same */
        in->tx.sender_auth = inbound_sender_auth(&j->spf.verdict);
        n += received_spf_format(&j->spf_check, &j->spf.verdict, fields + n).n;
        if (spf_is_identity(&j->spf.verdict) &&
            !str_to_z(j->spf.verdict.domain, in->tx.spf_domain, sizeof in->tx.spf_domain))
            in->tx.spf_domain[0] = 0;
    }
    in->tx.above = arena_str(&in->tx.arena, (struct str){fields, n});
    if (in->tx.above.p == NULL)
        in->tx.above = STR_NONE;
}

static void on_verdict(void *ctx, const struct judging_verdict *v)
{
    struct inbound *in = ctx;
    char buf[JUDGE_REPLY_BYTES];
    struct str reply = judge_reply(v->judge, buf);

    in->judging = NULL;
    in->tx.has_spf = v->judge->has_spf;
    count(v);
    note(in, v, reply);
    if (reply.n == 0)
        record(in, v->judge);
    in->tx.judged_generation = in->tx.generation;
    snprintf(in->tx.verdict, sizeof in->tx.verdict, STR_FMT, STR_ARG(reply));
    if (in->conn != NULL)
        inbound_answered(in, in->tx.verdict, false);
}

/* A recipient of the domain that comes later may: what is asked now is asked once. */
static bool may_need_spf(const struct recipient_facts *f)
{
    return f->mode == RECIPIENT_LEARN && f->unknown == RECIPIENT_AUTHENTICATED;
}

bool inbound_judge_begin(struct inbound *in)
{
    static const uint8_t none[DOMAIN_CHECK_KINDS]; /* an allowed client is spared them */
    struct judging_order o = {.checks = in->tx.is_allowed ? none : in->tx.checks,
                              .needs_spf = in->tx.needs_spf || may_need_spf(&in->tx.facts),
                              .client = in->ip,
                              .helo = smtpd_helo(&in->smtpd),
                              .sender = &in->tx.path,
                              .done = on_verdict,
                              .ctx = in};

    ASSERT(in->judging == NULL);
    in->judging = judging_begin(&in->thread->judgings, &o);
    return in->judging != NULL;
}
