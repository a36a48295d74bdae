/* Questions of the admin side about what only the scheduler knows. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "base/clock.h"
#include "node/cluster_private.h"

void cluster_ask(struct cluster *c, struct cluster_ask *a)
{
    a->mail.kind = CLUSTER_MAIL_ASK;
    mailbox_answer(c->box, &a->mail);
}

void cluster_judge_ask(struct cluster *c, struct judge_ask *a)
{
    a->mail.kind = CLUSTER_MAIL_JUDGE;
    mailbox_answer(c->box, &a->mail);
}

static void send_back(struct cluster_ask *a)
{
    a->mail.kind = a->answer_kind;
    mailbox_answer(a->answer_to, &a->mail);
}

static void addr_text(struct route_ip ip, char *buf, size_t size)
{
    bool v4 = route_ip_is_v4(ip);

    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ip.b + 12 : ip.b, buf, (socklen_t)size);
}

static void view_addr(const struct sched_addr_view *v, uint64_t now_ms,
                      struct cluster_addr *out)
{
    *out = (struct cluster_addr){.port = v->port,
                                 .pref = v->pref,
                                 .state = v->state,
                                 .failure = v->failure,
                                 .conns = v->conns,
                                 .window = v->window,
                                 .next_probe_ms = UINT64_MAX};
    addr_text(v->ip, out->ip, sizeof out->ip);
    if (!str_to_z(v->host, out->host, sizeof out->host))
        out->host[0] = 0;
    if (v->state == SCHED_DEST_DOWN && now_ms > v->down_since_ms)
        out->down_ms = now_ms - v->down_since_ms;
    if (v->next_probe_ms != UINT64_MAX)
        out->next_probe_ms = v->next_probe_ms > now_ms ? v->next_probe_ms - now_ms : 0;
}

static void view_domain(struct cluster *c, struct cluster_ask *a)
{
    static struct sched_domain_view v; /* large; this thread's alone */
    uint64_t now_ms = clock_boot_ms();

    if (!sched_domain_view(c->sched, str_of(a->domain), a->generation, &v)) {
        a->err = E_NOTFOUND;
        return;
    }
    a->paused = v.is_paused;
    a->stale = v.is_stale;
    a->route = v.route_result;
    a->messages = v.messages;
    a->ready = v.ready;
    a->deferred = v.deferred;
    a->held = v.held;
    a->given = v.given;
    for (size_t i = 0; i < v.addr_count && i < LIMIT_PROBE_ADDRS; i++)
        view_addr(&v.addrs[i], now_ms, &a->addrs[a->addr_count++]);
}

/* The answer goes back when the scheduler has heard from every address. */
static void probe(struct cluster *c, struct cluster_ask *a)
{
    if (c->probe != NULL) {
        a->err = E_AGAIN;
    } else {
        c->probe = a;
        a->err = sched_step(c->sched,
                            &(struct sched_event){.type = SCHED_EV_PROBE_NOW,
                                                  .domain = str_of(a->domain),
                                                  .generation = a->generation,
                                                  .token = ++c->probe_token},
                            cluster_now(c));
        if (a->err == OK)
            return;
        c->probe = NULL;
    }
    send_back(a);
}

void cluster_probe_ended(struct cluster *c)
{
    struct cluster_ask *a = c->probe;

    c->probe = NULL;
    if (a == NULL)
        return;
    a->err = E_IO;
    send_back(a);
}

void cluster_probed(struct cluster *c, const struct sched_action *act)
{
    struct cluster_ask *a = c->probe;
    struct cluster_addr *addr;

    if (a == NULL || act->token != c->probe_token)
        return;
    a->route = act->route_result;
    if (act->route_result == ROUTE_OK && a->addr_count < LIMIT_PROBE_ADDRS) {
        addr = &a->addrs[a->addr_count++];
        *addr = (struct cluster_addr){.port = act->port,
                                      .failure = act->failure,
                                      .latency_ms = act->latency_ms,
                                      .next_probe_ms = UINT64_MAX};
        addr->state = act->failure == SCHED_FAIL_NONE ? SCHED_DEST_UP : SCHED_DEST_DOWN;
        addr_text(act->ip, addr->ip, sizeof addr->ip);
        if (!str_to_z(act->host, addr->host, sizeof addr->host))
            addr->host[0] = 0;
    }
    if (act->left > 0)
        return;
    c->probe = NULL;
    send_back(a);
}

void cluster_answer(struct cluster *c, struct cluster_ask *a)
{
    a->err = OK;
    a->addr_count = 0;
    switch (a->kind) {
    case CLUSTER_ASK_COUNTS:
        sched_counts(c->sched, &a->counts);
        a->resolver = cluster_resolver_is(c);
        break;
    case CLUSTER_ASK_DOMAIN:
        view_domain(c, a);
        break;
    case CLUSTER_ASK_MESSAGE:
        if (!sched_message_view(c->sched, a->id, &a->message))
            a->err = E_NOTFOUND;
        break;
    case CLUSTER_ASK_PROBE:
        probe(c, a);
        return;
    }
    send_back(a);
}
