#include "node/judging.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/stats.h"
#include "node/dnsbl_set.h"
#include "node/net/dns.h"
#include "node/smtp/address.h"

#define ARENA_BYTES 8192 /* HELO, sender, our name */

struct asking {
    struct judging *judging;
    enum judge_part part;
    uint32_t tag;
    bool is_open;
};

struct judging {
    struct judging *next, *prev; /* of the place */
    struct judging_place *place;
    judging_done *done; /* NULL: nobody waits */
    void *ctx;
    struct snapshot_ref *settings; /* whose lists are asked */
    struct arena arena;
    struct event *deadline;
    unsigned open;
    uint64_t began_ms;
    bool is_late;
    struct asking asking[JUDGE_QUESTIONS];
    struct judge judge; /* last: nothing in it needs to be zero */
};

static const struct node_settings *settings_of(const struct judging *g)
{
    return snapshot_value(g->settings);
}

static void judging_free(struct judging *g)
{
    if (g->prev != NULL)
        g->prev->next = g->next;
    else
        g->place->all = g->next;
    if (g->next != NULL)
        g->next->prev = g->prev;
    event_free(g->deadline);
    snapshot_release(&g->settings);
    arena_reset(&g->arena);
    free(g);
}

static void leave(struct judging *g)
{
    g->done = NULL;
    event_del(g->deadline);
    if (g->open == 0)
        judging_free(g);
}

void judging_end(struct judging **gp)
{
    struct judging *g = *gp;

    *gp = NULL;
    if (g != NULL)
        leave(g);
}

void judging_limit(struct judging *g, uint64_t ms)
{
    struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    if (!judge_is_done(&g->judge)) /* else it is about to be over */
        event_add(g->deadline, &tv);
}

void judging_hurry(struct judging *g)
{
    event_active(g->deadline, EV_TIMEOUT, 0);
}

void judging_free_all(struct judging_place *place)
{
    while (place->all != NULL)
        judging_free(place->all);
}

static void over(struct judging *g)
{
    judging_done *done = g->done;
    struct judging_verdict v = {&g->judge, clock_boot_ms() - g->began_ms, g->is_late};

    g->done = NULL;
    done(g->ctx, &v);
    leave(g);
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
    dns_query(g->place->dns, name, q->q.type, on_answer, k);
}

static void ask_all(struct judging *g)
{
    struct judge_question out[JUDGE_QUESTIONS];
    size_t n = judge_questions(&g->judge, out);

    for (size_t i = 0; i < n; i++)
        ask(g, &out[i]);
}

/* A list that answers with an error is off at once, for all. */
static void complain(const struct judging *g, uint32_t tag)
{
    const struct dnsbl_result *r = &g->judge.listing.items[tag].result;

    if (r->status != DNSBL_UNAVAILABLE)
        return;
    stat_add(STAT_DNSBL_UNAVAILABLE_TOTAL, 1);
    dnsbl_set_complain(settings_of(g)->dnsbl, tag, !ip_is_v4(&g->judge.client), r->answer);
}

static void on_answer(void *arg, const struct dns_answer *a)
{
    struct asking *k = arg;
    struct judging *g = k->judging;

    k->is_open = false;
    g->open--;
    if (g->done != NULL) {
        judge_answer(&g->judge, k->part, k->tag, a);
        if (k->part == JUDGE_DNSBL)
            complain(g, k->tag);
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

/* --- the facts --- */

/* False, too, when the store cannot tell: nothing is held against anybody then. */
static bool is_served_here(struct node *n, struct str name)
{
    char buf[LIMIT_SMTP_DOMAIN_BYTES];
    struct arena scratch;
    struct domain d;
    bool found;

    if (!domain_normalize(name, buf, &name))
        return false;
    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    found = control_domain_get(control_thread_state(n->control), name, &scratch, &d) == OK;
    arena_reset(&scratch);
    return found;
}

static bool is_own_address(const struct node_config *c, const struct ip_addr *client)
{
    for (size_t i = 0; i < c->delivery.own_addresses.n; i++) {
        struct ip_addr own;

        if (ip_parse(str_of(c->delivery.own_addresses.v[i].text), &own) && ip_eq(&own, client))
            return true;
    }
    return false;
}

static void gather(const struct judging *g, const struct judging_order *o,
                   struct judge_facts *f)
{
    const struct node_settings *s = settings_of(g);
    const struct node_config *c = s->config;

    *f = (struct judge_facts){.client = o->client,
                              .helo = o->helo,
                              .sender = o->sender,
                              .needs_spf = o->needs_spf,
                              .host = str_of(c->hostname),
                              .wall_s = clock_wall_ms() / 1000};
    if (o->checks[DOMAIN_CHECK_FORGED] != CHECK_OFF)
        f->sender_is_ours = is_served_here(g->place->node, o->sender->domain);
    if (o->checks[DOMAIN_CHECK_HELO] != CHECK_OFF)
        f->own = (struct helo_facts){.own_names = c->delivery.own_names.v,
                                     .own_name_count = c->delivery.own_names.n,
                                     .client_is_ours = is_own_address(c, &o->client)};
    f->listing.threshold = dnsbl_set_threshold(s->dnsbl);
    f->listing.count = dnsbl_set_lists(s->dnsbl, &f->listing.lists);
    f->listing.on = dnsbl_set_on(s->dnsbl, !ip_is_v4(&o->client));
}

static void link_in(struct judging *g, struct judging_place *place)
{
    g->next = place->all;
    if (place->all != NULL)
        place->all->prev = g;
    place->all = g;
    g->deadline = event_new(place->base, -1, 0, on_deadline, g);
    ASSERT(g->deadline != NULL);
}

struct judging *judging_begin(struct judging_place *place, const struct judging_order *o)
{
    struct judging *g = malloc(sizeof *g);
    struct timeval tv = {.tv_sec = LIMIT_JUDGE_MS / 1000};
    struct judge_facts f;

    if (g == NULL)
        return NULL;
    memset(g, 0, offsetof(struct judging, judge));
    g->place = place;
    g->done = o->done;
    g->ctx = o->ctx;
    g->began_ms = clock_boot_ms();
    g->settings = snapshot_hold(place->node->settings);
    gather(g, o, &f);
    arena_init(&g->arena, LIMIT_SPF_MEMORY_BYTES + ARENA_BYTES);
    if (!judge_init(&g->judge, o->checks, &f, &g->arena)) {
        arena_reset(&g->arena);
        snapshot_release(&g->settings);
        free(g);
        return NULL;
    }
    link_in(g, place);
    ask_all(g);
    if (judge_is_done(&g->judge))
        tv.tv_sec = 0; /* not in here: who asks waits for no answer yet */
    event_add(g->deadline, &tv);
    return g;
}
