/* Whether the sender is who it says: SPF of MAIL FROM, for whether it may be told of failure
 * later (node/delivery/dsn_policy), where the judge does not look at it anyway. RCPT does not
 * wait for it. It is asked while the client goes on; only when it is not known at the end of
 * the body is it waited for, a short time, and not again for a while when that was in vain: no
 * trouble of DNS slows mail down. Asked it is always: a sender whose name servers are silent
 * takes from the others the wait, and not the answers that come before their dots. */
#include <stdlib.h>

#include "base/clock.h"
#include "node/inbound_private.h"
#include "node/net/dns.h"
#include "node/policy/spf.h"

/* One that nobody waits for any more stays until its question is answered. */
struct authing {
    struct authing *next, *prev; /* of the thread */
    struct smtp_thread *thread;
    struct inbound *in; /* NULL: nobody waits */
    struct spf spf;
    struct arena arena;
    struct event *deadline;
    bool is_open; /* a question is */
};

static_assert((int)SENDER_NONE == (int)SPF_NONE + 1 && (int)SENDER_PASS == (int)SPF_PASS + 1 &&
                  (int)SENDER_PERMERROR == (int)SPF_PERMERROR + 1,
              "what is stored is SPF's result, and that there is none");

enum sender_auth inbound_sender_auth(const struct spf_verdict *v)
{
    if (v->identity != SPF_MAILFROM)
        return SENDER_UNASKED;
    if (v->result == SPF_PASS && !spf_is_identity(v))
        return SENDER_NEUTRAL; /* a pass of everybody says of nobody who it is */
    return (enum sender_auth)((int)v->result + 1);
}

static void authing_free(struct authing *g)
{
    if (g->prev != NULL)
        g->prev->next = g->next;
    else
        g->thread->authing = g->next;
    if (g->next != NULL)
        g->next->prev = g->prev;
    event_free(g->deadline);
    arena_reset(&g->arena);
    free(g);
}

void inbound_auth_end(struct inbound *in)
{
    struct authing *g = in->authing;

    if (g == NULL)
        return;
    in->authing = NULL;
    g->in = NULL;
    event_del(g->deadline);
    if (!g->is_open)
        authing_free(g);
}

void inbound_auth_free_all(struct smtp_thread *t)
{
    while (t->authing != NULL)
        authing_free(t->authing);
}

void inbound_auth_hurry(struct inbound *in)
{
    if (in->authing != NULL && in->tx.is_awaiting_auth)
        event_active(in->authing->deadline, EV_TIMEOUT, 0);
}

/* The verdict is there. */
static void over(struct authing *g)
{
    struct inbound *in = g->in;

    in->tx.sender_auth = inbound_sender_auth(&g->spf.verdict);
    inbound_auth_end(in);
    if (in->tx.is_awaiting_auth && in->conn != NULL)
        inbound_authenticated(in);
}

static void no_answer(struct authing *g)
{
    g->thread->auth_silent_ms = clock_boot_ms() + LIMIT_SENDER_SILENT_MS;
}

static void on_answer(void *arg, const struct dns_answer *a);

static void ask(struct authing *g)
{
    g->is_open = true;
    dns_query(g->thread->dns, g->spf.ask.name, g->spf.ask.type, on_answer, g);
}

static void on_answer(void *arg, const struct dns_answer *a)
{
    struct authing *g = arg;

    g->is_open = false;
    if (a->status == DNS_SILENCE)
        no_answer(g);
    if (g->in == NULL)
        authing_free(g);
    else if (spf_next(&g->spf, a))
        ask(g);
    else
        over(g);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct authing *g = arg;

    (void)fd;
    (void)what;
    no_answer(g);
    spf_stop(&g->spf);
    over(g);
}

static struct authing *authing_new(struct inbound *in)
{
    struct smtp_thread *t = in->thread;
    struct authing *g = calloc(1, sizeof *g);

    if (g == NULL)
        return NULL;
    g->thread = t;
    g->in = in;
    g->next = t->authing;
    if (t->authing != NULL)
        t->authing->prev = g;
    t->authing = g;
    g->deadline = event_new(t->base, -1, 0, on_deadline, g);
    ASSERT(g->deadline != NULL);
    arena_init(&g->arena, LIMIT_SPF_MEMORY_BYTES);
    return g;
}

void inbound_auth_begin(struct inbound *in)
{
    struct authing *g;

    if (!in->tx.wants_auth || in->tx.sender.n == 0 || in->authing != NULL ||
        in->tx.sender_auth != SENDER_UNASKED)
        return;
    g = authing_new(in);
    if (g == NULL)
        return;
    in->authing = g;
    spf_init(&g->spf,
             &(struct spf_check){.client = in->ip,
                                 .helo = smtpd_helo(&in->smtpd),
                                 .sender = in->tx.sender,
                                 .receiver = str_of(inbound_settings(in)->config->hostname),
                                 .wall_s = clock_wall_ms() / 1000},
             &g->arena);
    if (spf_next(&g->spf, NULL))
        ask(g);
    else
        over(g);
}

bool inbound_auth_wait(struct inbound *in)
{
    struct timeval tv = {.tv_sec = LIMIT_SENDER_WAIT_MS / 1000};

    if (in->authing == NULL)
        return false;
    if (clock_boot_ms() < in->thread->auth_silent_ms) { /* whoever it was that was silent */
        in->tx.sender_auth = SENDER_TEMPERROR;
        inbound_auth_end(in);
        return false;
    }
    in->tx.is_awaiting_auth = true;
    event_add(in->authing->deadline, &tv);
    return true;
}
