#include "node/admin.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "node/admin_parts.h"

#define GROUP "trispool"

enum {
    MAIL_CONTROL,
    MAIL_CLUSTER,
    MAIL_COPIES,
    MAIL_JUDGE,
    MAIL_EDGE,
    MAIL_GREYLIST,
    MAIL_CALLOUT
};

/* --- answers of other threads --- */

void admin_asked_free(struct admin_asked *s)
{
    free(s->cluster);
    free(s->copies);
    free(s->judge);
    free(s->edge);
    free(s->greylist);
    free(s->callout);
    s->cluster = NULL;
    s->copies = NULL;
    s->judge = NULL;
    s->edge = NULL;
    s->greylist = NULL;
    s->callout = NULL;
    if (s->control != NULL)
        control_answer_free(&s->control);
}

static void answered(struct admin *a, struct mail *m)
{
    struct admin_asked got = {.cluster = NULL};
    struct admin_asked *state = NULL;
    uint64_t number;

    if (m->kind == MAIL_CONTROL) {
        got.control = (struct control_answer *)m;
        number = got.control->tag;
    } else if (m->kind == MAIL_COPIES) {
        got.copies = (struct copies_ask *)m;
        number = (uint64_t)(uintptr_t)got.copies->ctx;
    } else if (m->kind == MAIL_JUDGE) {
        got.judge = (struct judge_ask *)m;
        number = (uint64_t)(uintptr_t)got.judge->ctx;
    } else if (m->kind == MAIL_EDGE) {
        got.edge = (struct edge_rcpt *)m;
        number = (uint64_t)(uintptr_t)got.edge->ctx;
    } else if (m->kind == MAIL_GREYLIST) {
        got.greylist = (struct edge_ask *)m;
        number = (uint64_t)(uintptr_t)got.greylist->ctx;
    } else if (m->kind == MAIL_CALLOUT) {
        got.callout = (struct callout_ask *)m;
        number = (uint64_t)(uintptr_t)got.callout->ctx;
    } else {
        got.cluster = (struct cluster_ask *)m;
        number = (uint64_t)(uintptr_t)got.cluster->ctx;
    }
    if (a->server != NULL)
        state = admin_server_state(a->server, number);
    if (state == NULL) {
        admin_asked_free(&got);
        return;
    }
    admin_asked_free(state);
    *state = got;
    admin_server_wake(a->server, number);
}

static void take_answers(struct admin *a)
{
    struct mail *m = mailbox_take(a->box);

    while (m != NULL) {
        struct mail *next = m->next;

        answered(a, m);
        m = next;
    }
}

static void box_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    take_answers(arg);
}

struct cluster_ask *admin_ask_new(enum cluster_ask_kind kind, struct str domain,
                                  uint64_t generation)
{
    struct cluster_ask *a = calloc(1, sizeof *a);

    if (a == NULL)
        return NULL;
    a->kind = kind;
    a->generation = generation;
    if (!str_to_z(domain, a->domain, sizeof a->domain)) {
        free(a);
        return NULL;
    }
    return a;
}

enum admin_next admin_ask(struct admin_call *c, struct cluster_ask *q)
{
    struct admin *a = c->ctx;
    uint64_t wait_ms;

    if (q == NULL)
        return admin_fail_err(c, E_FULL, "memory");
    wait_ms = q->kind == CLUSTER_ASK_PROBE ? LIMIT_ADMIN_PROBE_MS : LIMIT_ADMIN_ANSWER_MS;
    q->answer_to = a->box;
    q->answer_kind = MAIL_CLUSTER;
    q->ctx = (void *)(uintptr_t)c->number;
    cluster_ask(a->node->cluster, q);
    return admin_wait(c, wait_ms);
}

enum admin_next admin_ask_judge(struct admin_call *c, struct judge_ask *q, uint64_t wait_ms)
{
    struct admin *a = c->ctx;

    q->answer_to = a->box;
    q->answer_kind = MAIL_JUDGE;
    q->ctx = (void *)(uintptr_t)c->number;
    cluster_judge_ask(a->node->cluster, q);
    return admin_wait(c, wait_ms);
}

enum admin_next admin_ask_edge(struct admin_call *c, struct edge_rcpt *q)
{
    struct admin *a = c->ctx;

    q->answer_to = a->box;
    q->answer_kind = MAIL_EDGE;
    q->ctx = (void *)(uintptr_t)c->number;
    if (edge_recipient(a->node->edge, q) != OK) {
        free(q);
        return admin_fail_err(c, E_AGAIN, "recipients");
    }
    return admin_wait(c, LIMIT_ADMIN_ANSWER_MS);
}

enum admin_next admin_ask_greylist(struct admin_call *c, struct edge_ask *q)
{
    struct admin *a = c->ctx;

    q->answer_to = a->box;
    q->answer_kind = MAIL_GREYLIST;
    q->ctx = (void *)(uintptr_t)c->number;
    if (edge_greylist(a->node->edge, q) != OK) {
        free(q);
        return admin_fail_err(c, E_AGAIN, "greylist");
    }
    return admin_wait(c, LIMIT_ADMIN_ANSWER_MS);
}

enum admin_next admin_ask_primary(struct admin_call *c, struct callout_ask *q)
{
    struct admin *a = c->ctx;

    q->answer_to = a->box;
    q->answer_kind = MAIL_CALLOUT;
    q->ctx = (void *)(uintptr_t)c->number;
    if (cluster_callout(a->node->cluster, q) != OK) {
        free(q);
        return admin_fail_err(c, E_FULL, "primary");
    }
    return admin_wait(c,
                      LIMIT_CALLOUT_WISH_MS + LIMIT_CALLOUT_SESSION_MS + LIMIT_ADMIN_ANSWER_MS);
}

enum admin_next admin_propose(struct admin_call *c, const struct command *cmd)
{
    struct admin *a = c->ctx;
    struct control_propose_to to = {.box = a->box, .kind = MAIL_CONTROL, .tag = c->number};
    enum err e = control_propose(a->node->control, cmd, &to);
    const char *why;

    if (e == OK)
        return admin_wait(c, LIMIT_ADMIN_ANSWER_MS);
    why = command_check(cmd);
    if (e == E_PROTO)
        return admin_fail(c, ADMIN_EXIT_USAGE, why != NULL ? why : err_text(e),
                          c->command->name, NULL);
    return admin_fail_err(c, e, "control log");
}

enum admin_next admin_solo(struct admin_call *c)
{
    struct admin *a = c->ctx;
    struct control_propose_to to = {.box = a->box, .kind = MAIL_CONTROL, .tag = c->number};
    enum err e = control_thread_solo(a->node->control, &to);

    return e == OK ? admin_wait(c, LIMIT_ADMIN_ANSWER_MS) : admin_fail_err(c, e, "control log");
}

enum admin_next admin_ask_copies(struct admin_call *c, const struct mid *ids, uint32_t count)
{
    struct admin *a = c->ctx;
    struct copies_ask *ask = calloc(1, sizeof *ask);

    if (ask == NULL)
        return admin_fail_err(c, E_FULL, "memory");
    ask->answer_to = a->box;
    ask->answer_kind = MAIL_COPIES;
    ask->ctx = (void *)(uintptr_t)c->number;
    ask->count = count;
    for (uint32_t i = 0; i < count; i++)
        ask->of[i].id = ids[i];
    replica_thread_copies(a->node->replica, ask);
    return admin_wait(c, LIMIT_ADMIN_ANSWER_MS);
}

void admin_set_copies(json_t *row, const struct copies_ask *a, uint32_t i)
{
    admin_set(row, "copies",
              a != NULL && i < a->count && a->of[i].is_known ? json_integer(1 + a->of[i].others)
                                                             : json_null());
}

void admin_set_holder(json_t *row, struct admin *a, struct str domain)
{
    uint16_t site;
    uint64_t epoch;

    if (a->node->replica == NULL)
        return;
    admin_set(row, "holder",
              control_holder(control_thread_state(a->node->control), domain, &site, &epoch) ==
                      OK
                  ? json_integer(site)
                  : json_null());
}

/* --- endings --- */

enum admin_next admin_timed_out(struct admin_call *c)
{
    return admin_fail(c, ADMIN_EXIT_TEMPORARY, "the daemon's threads do not answer in time",
                      c->command->name, "look at its log; try again");
}

enum admin_next admin_fail_err(struct admin_call *c, enum err e, const char *where)
{
    switch (e) {
    case E_NOTFOUND:
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "not found", where, NULL);
    case E_AGAIN:
    case E_TIMEOUT:
    case E_FULL:
        return admin_fail(c, ADMIN_EXIT_TEMPORARY, "a limit of the daemon is reached", where,
                          "try again later");
    case E_CORRUPT:
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "the record is damaged on disk", where,
                          "see spool_corrupt in the log; the record is kept as it is");
    case E_IO:
        return admin_fail(c, ADMIN_EXIT_UNREACHABLE, "the store has failed", where,
                          "check the disk; the daemon stops and must be started again");
    default:
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, err_text(e), where, NULL);
    }
}

enum admin_next admin_fail_proposal(struct admin_call *c, const struct control_answer *a,
                                    const char *where)
{
    const char *why = a->refused != NULL ? a->refused : err_text(a->err);

    if (a->refused == NULL && a->err == E_IO)
        return admin_fail(c, ADMIN_EXIT_UNREACHABLE,
                          "the control log has failed; it is not known whether this counts",
                          where, "look again once the daemon is back");
    if (a->err == E_FULL)
        return admin_fail(c, ADMIN_EXIT_TEMPORARY, why, where, "try again later");
    if (a->refused == NULL && a->err == E_NOTOWNER)
        return admin_fail(c, ADMIN_EXIT_TEMPORARY,
                          "nobody leads the control log: less than two of three members reach "
                          "each other",
                          where, "trispool cluster members; mail is taken and kept meanwhile");
    if (a->refused == NULL && a->err == E_TIMEOUT)
        return admin_fail(c, ADMIN_EXIT_TEMPORARY,
                          "the leader changed; it is not known whether this counts", where,
                          "look whether it was done before you try again");
    return admin_fail(c, ADMIN_EXIT_NEGATIVE, why, where, NULL);
}

/* --- clocks --- */

struct admin_times admin_times_now(const struct admin *a)
{
    return (struct admin_times){control_now_ms(a->node->control), clock_wall_ms()};
}

int64_t admin_wall_of(const struct admin_times *t, uint64_t cluster_ms)
{
    if (cluster_ms == 0 || cluster_ms > INT64_MAX / 2)
        return 0;
    return t->wall_ms + ((int64_t)cluster_ms - (int64_t)t->cluster_ms);
}

uint64_t admin_age_s(const struct admin_times *t, uint64_t cluster_ms)
{
    return t->cluster_ms > cluster_ms ? (t->cluster_ms - cluster_ms) / 1000 : 0;
}

/* --- life --- */

/* One table out of those of the files. */
static size_t gather(struct admin_command *out)
{
    const struct admin_table parts[] = {
        admin_status_table(),      admin_queue_table(),       admin_operate_table(),
        admin_message_table(),     admin_domain_table(),      admin_domain_set_table(),
        admin_plan_table(),        admin_config_table(),      admin_cluster_table(),
        admin_cluster_set_table(), admin_cluster_key_table(), admin_fleet_table(),
        admin_access_table(),      admin_policy_table(),      admin_recipient_table(),
        admin_undelivered_table(),
    };
    size_t n = 0;

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (size_t k = 0; k < parts[i].count; k++) {
            ASSERT(n < ADMIN_COMMANDS_MAX);
            out[n++] = parts[i].commands[k];
        }
    return n;
}

enum err admin_start(struct admin **out, struct node *n, struct event_base *base,
                     const struct admin_options *o)
{
    struct admin *a = calloc(1, sizeof *a);
    struct admin_server_options so = {
        .path = o->path,
        .base = base,
        .group = GROUP,
        .table = {.ctx = a},
    };
    enum err e;

    *out = NULL;
    if (a == NULL)
        return E_FULL;
    a->node = n;
    a->o = *o;
    so.table.commands = a->commands;
    so.table.count = gather(a->commands);
    a->box = mailbox_new(1); /* gets answers only, which have no limit of their own */
    a->box_event = event_new(base, mailbox_fd(a->box), EV_READ | EV_PERSIST, box_cb, a);
    e = a->box_event != NULL && event_add(a->box_event, NULL) == 0 ? OK : E_FULL;
    if (e == OK)
        e = spool_reader_open(n->spool, &a->reader);
    if (e == OK)
        e = admin_server_start(&a->server, &so);
    if (e != OK)
        admin_stop(&a);
    *out = a;
    return e;
}

void admin_close(struct admin *a)
{
    if (a->server != NULL)
        admin_server_stop(&a->server);
}

void admin_stop(struct admin **admin)
{
    struct admin *a = *admin;

    admin_close(a);
    take_answers(a);
    if (a->box_event != NULL)
        event_free(a->box_event);
    if (a->reader != NULL)
        spool_reader_close(&a->reader);
    mailbox_free(&a->box);
    free(a);
    *admin = NULL;
}
