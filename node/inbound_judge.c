/* The shell around node/policy/judge: asks DNS what it wants to know, within a time, while the
 * session waits for its answer to RCPT. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/inbound_private.h"
#include "node/net/dns.h"
#include "node/policy/auth_results.h"

#define ARENA_BYTES 8192 /* HELO, sender, our name */

struct asking {
    struct judging *judging;
    enum judge_part part;
    uint32_t tag;
    bool is_open;
};

/* One that nobody waits for any more stays until its questions are answered. */
struct judging {
    struct judging *next, *prev; /* of the thread */
    struct smtp_thread *thread;
    struct inbound *in; /* NULL: nobody waits */
    struct judge judge;
    struct arena arena;
    struct event *deadline;
    struct asking asking[JUDGE_QUESTIONS];
    unsigned open;
    uint64_t began_ms;
    bool is_late;
};

static void judging_free(struct judging *g)
{
    if (g->prev != NULL)
        g->prev->next = g->next;
    else
        g->thread->judging = g->next;
    if (g->next != NULL)
        g->next->prev = g->prev;
    event_free(g->deadline);
    arena_reset(&g->arena);
    free(g);
}

void inbound_judge_end(struct inbound *in)
{
    struct judging *g = in->judging;

    if (g == NULL)
        return;
    in->judging = NULL;
    g->in = NULL;
    event_del(g->deadline);
    if (g->open == 0)
        judging_free(g);
}

void inbound_judge_hurry(struct inbound *in)
{
    if (in->judging != NULL)
        event_active(in->judging->deadline, EV_TIMEOUT, 0);
}

void inbound_judge_free_all(struct smtp_thread *t)
{
    while (t->judging != NULL)
        judging_free(t->judging);
}

/* --- the verdict --- */

static void count(const struct judging *g)
{
    const struct judge *j = &g->judge;

    stat_add(STAT_CHECKS_TOTAL, 1);
    stat_add(STAT_CHECKS_LATE_TOTAL, g->is_late);
    stat_add(STAT_CHECK_RDNS_TOTAL, judge_is_against(j, DOMAIN_CHECK_RDNS));
    stat_add(STAT_CHECK_SENDER_TOTAL, judge_is_against(j, DOMAIN_CHECK_SENDER));
    stat_add(STAT_CHECK_SPF_TOTAL, judge_is_against(j, DOMAIN_CHECK_SPF));
}

static const char *word(const struct judge *j, enum domain_check_kind kind)
{
    if (j->checks[kind] == CHECK_OFF)
        return "off";
    if (kind == DOMAIN_CHECK_RDNS)
        return rdns_result_text(j->rdns.result);
    if (kind == DOMAIN_CHECK_SENDER)
        return sender_result_text(j->sender.result);
    return spf_result_text(j->spf.verdict.result);
}

static void note(const struct judging *g, struct str reply)
{
    const struct inbound *in = g->in;
    const struct judge *j = &g->judge;

    LOG(EV_CHECKED, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_CSTR("domain", in->tx.domain), L_CSTR("rdns", word(j, DOMAIN_CHECK_RDNS)),
        L_STR("name", j->rdns.name), L_CSTR("sender", word(j, DOMAIN_CHECK_SENDER)),
        L_CSTR("spf", word(j, DOMAIN_CHECK_SPF)), L_U64("ms", clock_boot_ms() - g->began_ms),
        L_STR("refused", reply));
}

/* What was found out goes with the message: Authentication-Results of SPF and the client's name
 * (RFC 8601), and Received-SPF (RFC 7208 9.1). */
static void record(const struct judging *g)
{
    struct inbound *in = g->in;
    const struct judge *j = &g->judge;
    struct auth_result results[2];
    char fields[AUTH_RESULTS_SIZE + RECEIVED_SPF_SIZE], addr[IP_TEXT_BYTES];
    size_t count = 0, n;
    bool has_spf = j->checks[DOMAIN_CHECK_SPF] != CHECK_OFF;

    if (has_spf)
        results[count++] = auth_result_of_spf(&j->spf_check, &j->spf.verdict);
    if (j->checks[DOMAIN_CHECK_RDNS] != CHECK_OFF)
        results[count++] = auth_result_of_rdns(&in->ip, j->rdns.result, addr);
    if (has_spf)
        in->tx.sender_auth = inbound_sender_auth(&j->spf.verdict);
    if (count == 0)
        return;
    n = auth_results_format(str_of(inbound_settings(in)->config->authserv_id), results, count,
                            fields)
            .n;
    if (has_spf)
        n += received_spf_format(&j->spf_check, &j->spf.verdict, fields + n).n;
    in->tx.above = arena_str(&in->tx.arena, (struct str){fields, n});
    if (in->tx.above.p == NULL)
        in->tx.above = STR_NONE;
}

static void over(struct judging *g)
{
    struct inbound *in = g->in;
    char buf[JUDGE_REPLY_BYTES];
    struct str reply = judge_reply(&g->judge, buf);

    count(g);
    note(g, reply);
    if (reply.n > 0)
        stat_add(STAT_CHECK_REFUSED_TOTAL, 1);
    else
        record(g);
    in->tx.judged_generation = in->tx.generation;
    snprintf(in->tx.verdict, sizeof in->tx.verdict, STR_FMT, STR_ARG(reply));
    inbound_judge_end(in);
    if (in->conn != NULL)
        inbound_judged(in, in->tx.verdict);
}

/* --- the questions --- */

static void on_answer(void *arg, const struct dns_answer *a);

static void ask(struct judging *g, const struct judge_question *q)
{
    struct asking *k = g->asking;
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1];

    while (k->is_open)
        k++;
    ASSERT(k < g->asking + JUDGE_QUESTIONS && str_to_z(q->q.name, name, sizeof name));
    *k = (struct asking){g, q->part, q->q.tag, true};
    g->open++;
    dns_query(g->thread->dns, name, q->q.type, on_answer, k);
}

static void ask_all(struct judging *g)
{
    struct judge_question out[JUDGE_QUESTIONS];
    size_t n = judge_questions(&g->judge, out);

    for (size_t i = 0; i < n; i++)
        ask(g, &out[i]);
}

static void on_answer(void *arg, const struct dns_answer *a)
{
    struct asking *k = arg;
    struct judging *g = k->judging;

    k->is_open = false;
    g->open--;
    if (g->in != NULL) {
        judge_answer(&g->judge, k->part, k->tag, a);
        ask_all(g);
        if (judge_is_done(&g->judge))
            over(g);
    } else if (g->open == 0) {
        judging_free(g);
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct judging *g = arg;

    (void)fd;
    (void)what;
    g->is_late = !judge_is_done(&g->judge);
    judge_give_up(&g->judge);
    over(g);
}

static bool facts_taken(struct judging *g, const struct inbound *in)
{
    struct judge_facts f = {.client = in->ip,
                            .helo = smtpd_helo(&in->smtpd),
                            .sender = &in->tx.path,
                            .host = str_of(inbound_settings(in)->config->hostname),
                            .wall_s = clock_wall_ms() / 1000};

    arena_init(&g->arena, LIMIT_SPF_MEMORY_BYTES + ARENA_BYTES);
    if (judge_init(&g->judge, in->tx.checks, &f, &g->arena))
        return true;
    arena_reset(&g->arena);
    return false;
}

static void link_in(struct judging *g, struct inbound *in)
{
    struct smtp_thread *t = in->thread;

    g->thread = t;
    g->next = t->judging;
    if (t->judging != NULL)
        t->judging->prev = g;
    t->judging = g;
    g->in = in;
    in->judging = g;
    g->began_ms = clock_boot_ms();
    g->deadline = event_new(t->base, -1, 0, on_deadline, g);
    ASSERT(g->deadline != NULL);
}

bool inbound_judge_begin(struct inbound *in)
{
    struct judging *g = calloc(1, sizeof *g);
    struct timeval tv = {.tv_sec = LIMIT_JUDGE_MS / 1000};

    ASSERT(in->judging == NULL);
    if (g == NULL || !facts_taken(g, in)) {
        free(g);
        return false;
    }
    link_in(g, in);
    ask_all(g);
    if (judge_is_done(&g->judge))
        tv.tv_sec = 0; /* not in here: the session waits for no answer yet */
    event_add(g->deadline, &tv);
    return true;
}
