#include "node/cluster.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/cluster_private.h"
#include "node/resolver.h"
#include "node/smtp_thread.h"

#define CLUSTER_BOX      65536
#define RESCAN_MS        60000
#define RETRY_MS         1000
#define BEAT_MS          100   /* of a member: leases, what is to be given away */
#define ACTIONS_PER_TURN 20000 /* then the mail is looked at again */

struct cluster_new {
    struct mail mail;
    struct sched_message message;
    char domain[LIMIT_SMTP_DOMAIN_BYTES];
};

struct sched_now cluster_now(struct cluster *c)
{
    return (struct sched_now){clock_boot_ms(), control_now_ms(c->node->control)};
}

const struct node_settings *cluster_settings(struct cluster *c, struct snapshot_ref **ref)
{
    *ref = snapshot_hold(c->node->settings);
    return snapshot_value(*ref);
}

void cluster_tell(struct cluster *c, const struct sched_event *ev)
{
    enum err e = sched_step(c->sched, ev, cluster_now(c));

    if (e != OK && e != E_NOTFOUND && e != E_EXISTS && e != E_CONFLICT && e != E_AGAIN)
        LOG(EV_SHED, L_CSTR("limit", "scheduler"), L_ERR(e), L_U64("event", ev->type));
    if (e != E_FULL)
        return;
    if (ev->type == SCHED_EV_MESSAGE_CHANGED) /* forgotten here, found again by the scan */
        cluster_tell(
            c, &(struct sched_event){.type = SCHED_EV_MESSAGE_GONE, .id = ev->message.id});
    if (ev->type == SCHED_EV_MESSAGE_CHANGED || ev->type == SCHED_EV_MESSAGE_NEW)
        cluster_rescan_later(c);
}

void cluster_rescan_later(struct cluster *c)
{
    c->rescan = true;
    c->rescan_at_ms = clock_boot_ms() + RESCAN_MS;
    cluster_look_again(c);
}

void cluster_look_again(struct cluster *c)
{
    struct timeval tv = {RETRY_MS / 1000, 0};

    if (!event_pending(c->retry, EV_TIMEOUT, NULL))
        event_add(c->retry, &tv);
}

/* --- performing --- */

static struct smtp_thread *thread_of(struct cluster *c, uint64_t conn)
{
    return c->node->smtp[conn % c->node->smtp_count];
}

static void open_conn(struct cluster *c, const struct sched_action *a)
{
    struct conn_order *o = calloc(1, sizeof *o);

    ASSERT(o != NULL);
    o->mail.kind = SMTP_MAIL_OPEN;
    o->conn = a->conn;
    o->ip = a->ip;
    o->port = a->port;
    if (!str_to_z(a->host, o->host, sizeof o->host))
        o->host[0] = 0;
    o->tls = a->tls == SCHED_TLS_OFF       ? SMTPC_TLS_OFF
             : a->tls == SCHED_TLS_REQUIRE ? SMTPC_TLS_REQUIRE
                                           : SMTPC_TLS_OPPORTUNISTIC;
    o->connect_ms = a->connect_ms;
    o->greet_ms = a->greet_ms;
    if (a->is_probe)
        stat_add(STAT_PROBES_TOTAL, 1);
    mailbox_answer(thread_of(c, a->conn)->box, &o->mail);
}

static void quit_conn(struct cluster *c, uint64_t conn)
{
    struct conn_order *o = calloc(1, sizeof *o);

    ASSERT(o != NULL);
    o->mail.kind = SMTP_MAIL_QUIT;
    o->conn = conn;
    mailbox_answer(thread_of(c, conn)->box, &o->mail);
}

static const char *addr_text(struct route_ip ip, char buf[INET6_ADDRSTRLEN])
{
    if (route_ip_is_v4(ip))
        inet_ntop(AF_INET, ip.b + 12, buf, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, ip.b, buf, INET6_ADDRSTRLEN);
    return buf;
}

static void perform(struct cluster *c, const struct sched_action *a)
{
    char ip[INET6_ADDRSTRLEN];

    switch (a->type) {
    case SCHED_ACT_RESOLVE:
        cluster_resolve(c, a);
        break;
    case SCHED_ACT_OPEN:
        open_conn(c, a);
        break;
    case SCHED_ACT_GIVE:
        cluster_give(c, a);
        break;
    case SCHED_ACT_QUIT:
        quit_conn(c, a->conn);
        break;
    case SCHED_ACT_EXPIRE:
        cluster_expire(c, a->id);
        break;
    case SCHED_ACT_PROBE_RESULT:
        if (!cluster_reach_probed(c, a))
            cluster_probed(c, a);
        break;
    case SCHED_ACT_PRIMARY_DOWN:
        LOG(EV_PRIMARY_DOWN, L_CSTR("addr", addr_text(a->ip, ip)), L_U64("port", a->port),
            L_STR("host", a->host), L_CSTR("why", sched_failure_text(a->failure)));
        cluster_reach_down(c, a->ip, a->port);
        break;
    case SCHED_ACT_PRIMARY_UP:
        LOG(EV_PRIMARY_UP, L_CSTR("addr", addr_text(a->ip, ip)), L_U64("port", a->port),
            L_STR("host", a->host), L_U64("down_ms", a->down_ms));
        cluster_reach_up(c, a->ip, a->port);
        break;
    case SCHED_ACT_ROUTE_FAILED:
        LOG(EV_ROUTE_FAILED, L_STR("domain", a->domain),
            L_CSTR("why", route_result_text(a->route_result)), L_U64("stale", a->is_stale));
        if (a->generation == 0 && !a->is_stale)
            cluster_dead_dsns(c, a->domain, a->route_result);
        break;
    }
}

/* Pulls what is to be done and sleeps until there may be more. */
static void pull(struct cluster *c)
{
    struct sched_action a;
    struct sched_now now = cluster_now(c);
    uint64_t wake_ms;
    struct timeval tv = {0, 0};

    for (int i = 0; i < ACTIONS_PER_TURN && sched_next_action(c->sched, now, &a); i++)
        perform(c, &a);
    wake_ms = sched_wakeup_ms(c->sched, now);
    if (wake_ms == UINT64_MAX) {
        event_del(c->wake);
        return;
    }
    if (wake_ms > now.boot_ms) {
        uint64_t left = wake_ms - now.boot_ms;

        tv = (struct timeval){(time_t)(left / 1000), (suseconds_t)(left % 1000 * 1000)};
    }
    event_add(c->wake, &tv);
}

/* --- mail --- */

void cluster_message_new(struct cluster *c, const struct envelope *e)
{
    struct cluster_new *m = calloc(1, sizeof *m);

    ASSERT(m != NULL);
    m->mail.kind = CLUSTER_MAIL_NEW;
    m->message = (struct sched_message){.id = e->id,
                                        .domain = {m->domain, e->domain.n},
                                        .generation = e->domain_generation,
                                        .body_bytes = e->body_bytes,
                                        .received_ms = e->received_ms,
                                        .deadline_ms = e->deadline_ms,
                                        .phase = PHASE_DELIVER,
                                        .is_fresh = true};
    memcpy(m->domain, e->domain.p, e->domain.n);
    mailbox_answer(c->box, &m->mail);
}

static void conn_event(struct cluster *c, struct conn_report *r, enum sched_event_type type)
{
    if (cluster_reach_conn(c, r) || cluster_callout_conn(c, r)) {
        free(r);
        return;
    }
    cluster_tell(c, &(struct sched_event){.type = type,
                                          .conn = r->conn,
                                          .failure = r->failure,
                                          .latency_ms = r->latency_ms});
    if (r->odd) {
        stat_add(STAT_PRIMARY_ODDITIES_TOTAL, 1);
        LOG(EV_PRIMARY_ODD, L_U64("conn", r->conn), L_U64("code", r->code),
            L_CSTR("reply", r->text));
    } else if (r->failure == SCHED_FAIL_TLS) {
        LOG(EV_TLS_OUT_FAILED, L_U64("conn", r->conn), L_CSTR("reply", r->text));
    } else if (r->code >= 500 && type == SCHED_EV_CONN_FAILED) {
        stat_add(STAT_PRIMARY_ALARMS_TOTAL, 1);
        LOG(EV_PRIMARY_ALARM, L_U64("conn", r->conn), L_CSTR("reply", r->text));
    }
    free(r);
}

static void notice(struct cluster *c)
{
    unsigned changed = control_notice_take(c->node->control, 0);

    if (changed & (CONTROL_CHANGED_SLOTS | CONTROL_CHANGED_LEASE))
        cluster_hold_look(c);
    if (changed & (CONTROL_CHANGED_DOMAINS | CONTROL_CHANGED_PLANS))
        cluster_domains_changed(c);
    if (changed & CONTROL_CHANGED_OPERATIONS)
        cluster_operations(c);
}

static void free_answer(struct mail *m)
{
    struct control_answer *a = (struct control_answer *)m;

    control_answer_free(&a);
}

static void dispatch(struct cluster *c, struct mail *m)
{
    switch ((enum cluster_mail)m->kind) {
    case CLUSTER_MAIL_NEW:
        cluster_tell(c, &(struct sched_event){.type = SCHED_EV_MESSAGE_NEW,
                                              .message = ((struct cluster_new *)m)->message});
        free(m);
        break;
    case CLUSTER_MAIL_READY:
        conn_event(c, (struct conn_report *)m, SCHED_EV_CONN_READY);
        break;
    case CLUSTER_MAIL_FAILED:
        conn_event(c, (struct conn_report *)m, SCHED_EV_CONN_FAILED);
        break;
    case CLUSTER_MAIL_CLOSED:
        conn_event(c, (struct conn_report *)m, SCHED_EV_CONN_CLOSED);
        break;
    case CLUSTER_MAIL_RESULT:
        cluster_result(c, (struct delivery_job *)m);
        break;
    case CLUSTER_MAIL_WRITTEN:
        cluster_written(c, (struct writer_request *)m);
        break;
    case CLUSTER_MAIL_NOTICE: /* belongs to the control thread */
        if (!c->ended)
            notice(c);
        break;
    case CLUSTER_MAIL_ANSWER:
        cluster_reach_answer(c, (struct control_answer *)m);
        free_answer(m);
        break;
    case CLUSTER_MAIL_BARRIER:
        cluster_digest_go(c, (struct writer_request *)m);
        break;
    case CLUSTER_MAIL_DIGEST:
        cluster_digest_stored(c, m);
        break;
    case CLUSTER_MAIL_REPLICA:
        cluster_news(c, (struct replica_event *)m);
        free(m);
        break;
    case CLUSTER_MAIL_CONSENT:
        cluster_consented(c, (struct consent_ask *)m);
        break;
    case CLUSTER_MAIL_ASK:
        cluster_answer(c, (struct cluster_ask *)m);
        break;
    case CLUSTER_MAIL_JUDGE:
        cluster_judge(c, (struct judge_ask *)m);
        break;
    case CLUSTER_MAIL_CALLOUT:
        cluster_callout_take(c, (struct callout_ask *)m);
        break;
    case CLUSTER_MAIL_DRAIN:
        free(m);
        c->draining = true;
        cluster_callout_drain(c);
        cluster_tell(c, &(struct sched_event){.type = SCHED_EV_DRAIN_STOP});
        break;
    case CLUSTER_MAIL_STOP:
        free(m);
        c->stopped = true;
        event_base_loopbreak(c->base);
        break;
    }
}

static void on_mail(evutil_socket_t fd, short what, void *arg)
{
    struct cluster *c = arg;
    struct mail *m = mailbox_take(c->box), *next;

    (void)fd;
    (void)what;
    for (; m != NULL; m = next) {
        next = m->next;
        dispatch(c, m);
    }
    cluster_hold_beat(c);
    if (!c->stopped)
        pull(c);
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
    struct cluster *c = arg;

    (void)fd;
    (void)what;
    cluster_hold_beat(c);
    cluster_reach_beat(c);
    cluster_operate_beat(c);
    pull(c);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    pull(arg);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct cluster *c = arg;
    struct sched_counts counts;

    (void)fd;
    (void)what;
    cluster_retry_parked(c);
    cluster_drop_closed(c);
    sched_counts(c->sched, &counts);
    if (c->rescan && counts.messages < LIMIT_QUEUE_MESSAGES / 2 &&
        clock_boot_ms() >= c->rescan_at_ms) {
        c->rescan = false;
        cluster_rescan(c);
    }
    if (c->parked != NULL || c->some_closing || c->rescan)
        cluster_look_again(c);
    pull(c);
}

/* --- life --- */

struct cluster *cluster_new(struct node *n)
{
    struct cluster *c = calloc(1, sizeof *c);

    ASSERT(c != NULL);
    c->node = n;
    c->box = mailbox_new(CLUSTER_BOX);
    return c;
}

struct mailbox *cluster_box(struct cluster *c)
{
    return c->box;
}

static void *cluster_main(void *arg)
{
    struct cluster *c = arg;

    pull(c);
    event_base_loop(c->base, EVLOOP_NO_EXIT_ON_EMPTY);
    return NULL;
}

static enum err open_dns(struct cluster *c)
{
    struct snapshot_ref *ref;
    enum err e = resolver_open(c->base, cluster_settings(c, &ref)->config, &c->dns);

    snapshot_release(&ref);
    return e;
}

static void beat(struct cluster *c)
{
    struct timeval tv = {0, BEAT_MS * 1000};

    if (!cluster_is_member(c))
        return;
    c->beat = event_new(c->base, -1, EV_PERSIST, on_beat, c);
    ASSERT(c->beat != NULL);
    event_add(c->beat, &tv);
}

enum err cluster_run(struct cluster *c)
{
    uint64_t seed[3]; /* outsiders choose keys of the tables below: they must not guess these */
    enum err e;

    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return E_IO;
    prng_seed(&c->rng, seed[2]);
    c->base = event_base_new();
    c->sched = sched_new(
        &(struct sched_options){.seed = prng_next(&c->rng), .ask_ahead = cluster_is_member(c)});
    c->dsn_policy = calloc(1, sizeof *c->dsn_policy);
    ASSERT(c->base != NULL && c->sched != NULL && c->dsn_policy != NULL);
    dsn_policy_init(c->dsn_policy, seed);
    e = open_dns(c);
    if (e == OK)
        e = spool_reader_open(c->node->spool, &c->reader);
    if (e != OK)
        return e;
    c->judgings = (struct judging_place){.node = c->node, .base = c->base, .dns = c->dns};
    cluster_dnsbl_begin(c);
    cluster_resolver_begin(c);
    cluster_callout_begin(c);
    cluster_digest_begin(c);
    c->box_event = event_new(c->base, mailbox_fd(c->box), EV_READ | EV_PERSIST, on_mail, c);
    c->wake = event_new(c->base, -1, 0, on_wake, c);
    c->retry = event_new(c->base, -1, 0, on_retry, c);
    ASSERT(c->box_event != NULL && c->wake != NULL && c->retry != NULL);
    event_add(c->box_event, NULL);
    cluster_hold_begin(c);
    cluster_reach_begin(c);
    cluster_away_begin(c);
    beat(c);
    cluster_domains_changed(c);
    e = cluster_scan(c);
    if (e != OK)
        return e;
    cluster_operations(c);
    if (pthread_create(&c->thread, NULL, cluster_main, c) != 0)
        return E_IO;
    pthread_setname_np(c->thread, "cluster");
    c->running = true;
    return OK;
}

static void post(struct cluster *c, enum cluster_mail kind)
{
    struct mail *m = calloc(1, sizeof *m);

    ASSERT(m != NULL);
    m->kind = (int)kind;
    mailbox_answer(c->box, m);
}

void cluster_drain(struct cluster *c)
{
    if (c->running) /* else nobody reads it: a start that failed */
        post(c, CLUSTER_MAIL_DRAIN);
}

void cluster_join(struct cluster *c)
{
    if (!c->running)
        return;
    post(c, CLUSTER_MAIL_STOP);
    pthread_join(c->thread, NULL);
    c->running = false;
}

void cluster_take_last(struct cluster *c)
{
    struct mail *m = mailbox_take(c->box), *next;

    for (; m != NULL && c->sched != NULL; m = next) {
        next = m->next;
        dispatch(c, m);
    }
}

void cluster_end(struct cluster *c)
{
    c->ended = true;
    cluster_take_last(c);
    cluster_probe_ended(c);
    cluster_judge_ended(c);
    cluster_callout_end(c);
    if (c->sched != NULL) {
        cluster_parked_free(c);
        cluster_routes_free(c);
        cluster_orders_free(c);
        cluster_operate_end(c);
        cluster_reach_end(c);
        cluster_hold_end(c);
        sched_free(&c->sched);
    }
    if (c->dns != NULL)
        dns_close(&c->dns);
    judging_free_all(&c->judgings);
    cluster_dnsbl_end(c);
    cluster_resolver_end(c);
    cluster_away_end(c);
    cluster_digest_end(c);
    if (c->reader != NULL)
        spool_reader_close(&c->reader);
}

void cluster_free(struct cluster **cp)
{
    struct cluster *c = *cp;

    *cp = NULL;
    if (c->box_event != NULL) {
        event_free(c->box_event);
        event_free(c->wake);
        event_free(c->retry);
    }
    if (c->beat != NULL)
        event_free(c->beat);
    if (c->base != NULL)
        event_base_free(c->base);
    for (struct mail *m = mailbox_take(c->box), *next; m != NULL; m = next) {
        next = m->next;
        if (m->kind == CLUSTER_MAIL_ANSWER) /* of the control thread, as it stopped */
            free_answer(m);
    }
    mailbox_abandon(&c->box);
    free(c->dsn_policy);
    free(c);
}
