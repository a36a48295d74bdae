/* Greylisting (RFC 6647): whether this client has been here before, at any site. The edge
 * thread knows; the session waits for its answer to RCPT. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/edge.h"
#include "node/inbound_private.h"
#include "node/net/dns.h"
#include "node/policy/familiar.h"
#include "node/policy/homehost.h"

/* A look whether a stranger is one of the domain's own hosts. One that nobody waits for any
 * more stays until its questions are answered; DNS answers each in bounded time. */
struct home_asking {
    struct home_look *look;
    uint32_t tag;
    bool is_open;
};

struct home_look {
    struct home_look *next, *prev; /* of the thread */
    struct smtp_thread *thread;
    struct inbound *in; /* NULL: nobody waits */
    struct homehost host;
    struct event *deadline;
    unsigned open;
    struct home_asking asking[LIMIT_ROUTE_HOSTS];
};

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
    ASSERT(in->tx.path.whole.n <= sizeof a->sender);
    a->answer_to = in->thread->box;
    a->answer_kind = SMTP_MAIL_EDGE;
    a->ctx = in;
    a->client = in->ip;
    a->is_watching = in->tx.checks[DOMAIN_CHECK_GREYLIST] == CHECK_MARK;
    memcpy(a->spf_domain, in->tx.spf_domain, sizeof a->spf_domain);
    memcpy(a->domain, in->tx.domain, sizeof a->domain);
    if (in->tx.path.whole.n > 0)
        memcpy(a->sender, in->tx.path.whole.p, in->tx.path.whole.n);
    a->sender_bytes = (uint16_t)in->tx.path.whole.n;
    return a;
}

/* What cannot be asked for is taken: a list that has no time never loses mail. */
const char *inbound_ask_greylist(struct inbound *in, bool *is_later)
{
    struct edge_ask *a;

    if (in->tx.checks[DOMAIN_CHECK_GREYLIST] == CHECK_OFF || in->tx.is_allowed)
        return "";
    if (in->tx.grey_generation == in->tx.generation)
        return refusal_of(in);
    if (familiar_is(in->thread->familiar, &in->ip, str_of(in->tx.spf_domain),
                    clock_boot_ms())) {
        stat_add(STAT_GREYLIST_KNOWN_TOTAL, 1);
        stat_add(STAT_GREYLIST_FAMILIAR_TOTAL, 1);
        in->tx.grey_generation = in->tx.generation;
        in->tx.is_grey = false;
        return "";
    }
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

/* --- hosts of the house --- */

static void look_free(struct home_look *l)
{
    if (l->prev != NULL)
        l->prev->next = l->next;
    else
        l->thread->homes = l->next;
    if (l->next != NULL)
        l->next->prev = l->prev;
    event_free(l->deadline);
    free(l);
}

void inbound_home_free_all(struct smtp_thread *t)
{
    while (t->homes != NULL)
        look_free(t->homes);
}

void inbound_grey_end(struct inbound *in)
{
    in->grey = NULL;
    if (in->home == NULL)
        return;
    in->home->in = NULL;
    event_del(in->home->deadline);
    if (in->home->open == 0)
        look_free(in->home);
    in->home = NULL;
}

static void look_over(struct home_look *l)
{
    struct inbound *in = l->in;

    in->home = NULL;
    in->tx.is_grey = !l->host.is_home;
    if (l->host.is_home)
        LOG(EV_GREYLIST_HOME, L_CSTR("client", in->peer), L_CSTR("domain", in->tx.domain));
    l->in = NULL;
    event_del(l->deadline);
    if (l->open == 0)
        look_free(l);
    inbound_answered(in, refusal_of(in), false);
}

static void on_answer(void *arg, const struct dns_answer *a);

static void ask_all(struct home_look *l)
{
    struct question q[LIMIT_ROUTE_HOSTS];
    size_t n = homehost_questions(&l->host, q);

    for (size_t i = 0; i < n; i++) {
        struct home_asking *k = l->asking;
        char name[LIMIT_SMTP_DOMAIN_BYTES + 1];

        while (k->is_open)
            k++;
        ASSERT(k < l->asking + LIMIT_ROUTE_HOSTS && str_to_z(q[i].name, name, sizeof name));
        *k = (struct home_asking){l, q[i].tag, true};
        l->open++;
        dns_query(l->thread->dns, name, q[i].type, on_answer, k);
    }
}

static void on_answer(void *arg, const struct dns_answer *a)
{
    struct home_asking *k = arg;
    struct home_look *l = k->look;

    k->is_open = false;
    l->open--;
    homehost_answer(&l->host, k->tag, a);
    ask_all(l);
    if (l->in != NULL && homehost_is_done(&l->host))
        look_over(l);
    else if (l->in == NULL && l->open == 0)
        look_free(l);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct home_look *l = arg;

    (void)fd;
    (void)what;
    homehost_give_up(&l->host);
    look_over(l);
}

void inbound_grey_hurry(struct inbound *in)
{
    if (in->home != NULL)
        event_active(in->home->deadline, EV_TIMEOUT, 0);
}

static bool host_init(struct homehost *h, const struct inbound *in)
{
    struct control *control = control_thread_state(in->thread->node->control);
    struct arena scratch;
    struct domain d;
    enum err e;

    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(control, str_of(in->tx.domain), &scratch, &d);
    if (e == OK)
        homehost_init(h, &d, &in->ip);
    arena_reset(&scratch);
    return e == OK;
}

/* True: inbound_answered() follows. */
static bool look_begin(struct inbound *in)
{
    struct home_look *l = calloc(1, sizeof *l);
    struct timeval tv = {.tv_sec = LIMIT_HOME_LOOK_MS / 1000};

    if (l == NULL || !host_init(&l->host, in)) {
        free(l);
        return false;
    }
    l->thread = in->thread;
    l->next = in->thread->homes;
    if (l->next != NULL)
        l->next->prev = l;
    in->thread->homes = l;
    l->in = in;
    in->home = l;
    l->deadline = event_new(in->thread->base, -1, 0, on_deadline, l);
    ASSERT(l->deadline != NULL);
    event_add(l->deadline, &tv);
    if (homehost_is_done(&l->host))
        look_over(l); /* not within a question of the session: here it awaits its answer */
    else
        ask_all(l);
    return true;
}

/* --- the verdict --- */

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
    if (a->verdict == GREYLIST_KNOWN) {
        familiar_note(in->thread->familiar, &in->ip, str_of(in->tx.spf_domain),
                      clock_boot_ms());
        return;
    }
    LOG(EV_GREYLISTED, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_CSTR("domain", in->tx.domain), L_CSTR("spf", in->tx.spf_domain),
        L_CSTR("verdict", greylist_verdict_text(a->verdict)), L_U64("wait_ms", a->wait_ms),
        L_CSTR("mode", check_mode_text(mode)));
}

void inbound_greylisted(struct edge_ask *a)
{
    struct inbound *in = a->ctx;
    bool is_awaited = in->grey == a;

    if (is_awaited)
        in->grey = NULL;
    if (is_awaited && in->conn != NULL) {
        take_verdict(in, a);
        free(a);
        if (!in->tx.is_grey || !look_begin(in))
            inbound_answered(in, refusal_of(in), false);
    } else {
        free(a);
    }
    inbound_give_back(in);
}
