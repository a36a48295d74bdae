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

static void count(const struct judging_verdict *v)
{
    static const struct {
        enum domain_check_kind kind;
        enum stat_id against, refused;
    } stats[] = {
        {DOMAIN_CHECK_RDNS, STAT_CHECK_RDNS_TOTAL, STAT_CHECK_RDNS_REFUSED_TOTAL},
        {DOMAIN_CHECK_DNSBL, STAT_CHECK_DNSBL_TOTAL, STAT_CHECK_DNSBL_REFUSED_TOTAL},
        {DOMAIN_CHECK_HELO, STAT_CHECK_HELO_TOTAL, STAT_CHECK_HELO_REFUSED_TOTAL},
        {DOMAIN_CHECK_SENDER, STAT_CHECK_SENDER_TOTAL, STAT_CHECK_SENDER_REFUSED_TOTAL},
        {DOMAIN_CHECK_FORGED, STAT_CHECK_FORGED_TOTAL, STAT_CHECK_FORGED_REFUSED_TOTAL},
        {DOMAIN_CHECK_SPF, STAT_CHECK_SPF_TOTAL, STAT_CHECK_SPF_REFUSED_TOTAL},
    };
    enum domain_check_kind first = judge_against(v->judge);

    stat_add(STAT_CHECKS_TOTAL, 1);
    stat_add(STAT_CHECKS_LATE_TOTAL, v->is_late);
    for (size_t i = 0; i < sizeof stats / sizeof *stats; i++) {
        bool refused = stats[i].kind == first && v->judge->checks[first] != CHECK_MARK;

        if (judge_is_against(v->judge, stats[i].kind))
            stat_add(stats[i].against, 1);
        if (refused)
            stat_add(stats[i].refused, 1);
        stat_add(STAT_CHECK_REFUSED_TOTAL, refused);
    }
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
        in->tx.sender_auth = inbound_sender_auth(&j->spf.verdict);
        in->tx.is_authenticated = spf_is_identity(&j->spf.verdict) &&
                                  j->spf.verdict.identity != SPF_HELO && in->tx.sender.n > 0;
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
        inbound_judged(in, in->tx.verdict);
}

bool inbound_judge_begin(struct inbound *in)
{
    static const uint8_t none[DOMAIN_CHECK_KINDS]; /* an allowed client is spared them */
    struct judging_order o = {.checks = in->tx.is_allowed ? none : in->tx.checks,
                              .needs_spf = in->tx.needs_spf,
                              .client = in->ip,
                              .helo = smtpd_helo(&in->smtpd),
                              .sender = &in->tx.path,
                              .done = on_verdict,
                              .ctx = in};

    ASSERT(in->judging == NULL);
    in->judging = judging_begin(&in->thread->judgings, &o);
    return in->judging != NULL;
}
