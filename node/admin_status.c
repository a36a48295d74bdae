/* status, health and metrics: the node as a whole. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/admin_parts.h"
#include "node/dnsbl_set.h"

#define METRICS_BYTES       65536
#define OLDEST_WARN_PERCENT 70 /* of the hold time: 10 of 14 days */

struct status_state {
    struct admin_asked asked; /* first */
    bool was_asked;
};

static void status_end(struct admin_call *c, void *state)
{
    (void)c;
    admin_asked_free(state);
}

/* --- facts that both status and health look at --- */

struct facts {
    struct admin_times t;
    struct spool_totals totals;
    bool has_oldest;
    uint64_t oldest_received_ms, oldest_deadline_ms;
    bool fenced, stopping, full;
    uint64_t corrupt, alarms;
    uint64_t messages; /* live and committed */
    struct admin_fleet fleet;
};

static bool take_oldest(void *user, const struct envelope *e, bool dot_open)
{
    struct facts *f = user;

    (void)dot_open;
    if (!f->has_oldest || e->received_ms < f->oldest_received_ms) {
        f->oldest_received_ms = e->received_ms;
        f->oldest_deadline_ms = e->deadline_ms;
    }
    f->has_oldest = true;
    return false;
}

static enum err gather(struct admin *a, struct facts *f)
{
    struct spool_cursor cursor;
    struct node *n = a->node;
    enum err e;

    *f = (struct facts){
        .t = admin_times_now(a),
        .totals = spool_totals(n->spool),
        .fenced = atomic_load(&n->fenced),
        .stopping = atomic_load(&n->stopping),
        .full = spool_room(n->spool) == SPOOL_FULL,
        .corrupt = stat_get(STAT_SPOOL_CORRUPT_TOTAL),
    };
    e = admin_fleet_read(a, &f->fleet);
    f->messages = f->totals.messages;
    f->messages -= f->messages < f->fleet.data.status.undecided
                       ? f->messages
                       : f->fleet.data.status.undecided;
    f->alarms = f->corrupt + stat_get(STAT_PRIMARY_ALARMS_TOTAL) + (f->fenced ? 1 : 0) +
                f->fleet.data.conflicts + f->fleet.data.damaged + stat_get(STAT_DNSBL_OFF);
    /* Ids stand in the order of their arrival: of one site, the first is the oldest. */
    for (uint16_t site = 1; e == OK && site <= LIMIT_CLUSTER_MEMBERS; site++) {
        cursor = (struct spool_cursor){.committed_only = true, .next = mid_make(site, 0, 0)};
        e = spool_scan(a->reader, &cursor, ADMIN_ROWS_A_STEP, take_oldest, f);
    }
    return e;
}

/* --- status --- */

static void set_node(json_t *row, struct admin *a, const struct facts *f)
{
    struct snapshot_ref *ref = snapshot_hold(a->node->settings);
    const struct node_settings *s = snapshot_value(ref);
    uint64_t up_ms = f->t.wall_ms > a->o.started_wall_ms
                         ? (uint64_t)(f->t.wall_ms - a->o.started_wall_ms)
                         : 0;

    admin_set_z(row, "version", TRISPOOL_VERSION);
    admin_set_z(row, "cluster", s->config->cluster);
    admin_set_u64(row, "site", a->node->site);
    admin_set_z(row, "hostname", s->config->hostname);
    admin_set_u64(row, "copies", s->config->copies);
    admin_set(row, "one_copy_mode", json_boolean(s->config->copies < 2));
    admin_set_time(row, "started", a->o.started_wall_ms);
    admin_set_u64(row, "uptime_s", up_ms / 1000);
    admin_set(row, "tls_in", json_boolean(s->server_tls != NULL));
    snapshot_release(&ref);
    admin_set_u64(row, "session_epoch",
                  f->fleet.is_member ? f->fleet.session : a->node->session_epoch);
    admin_set_u64(row, "cluster_clock_ms", f->t.cluster_ms);
    admin_set_u64(row, "control_applied",
                  control_applied(control_thread_state(a->node->control)));
    admin_set_u64(row, "sessions", atomic_load(&a->node->sessions));
}

/* A row for each list in DNS and each family of addresses. */
static void set_lists(json_t *row, struct admin *a)
{
    struct snapshot_ref *ref = snapshot_hold(a->node->settings);
    const struct dnsbl_set *s = ((const struct node_settings *)snapshot_value(ref))->dnsbl;
    const struct dnsbl_list *lists;
    size_t n = dnsbl_set_lists(s, &lists);
    json_t *rows = json_array();

    for (size_t i = 0; i < 2 * n; i++) {
        struct dnsbl_view v;
        json_t *one = json_object();

        dnsbl_set_view(s, i / 2, i % 2 != 0, &v);
        admin_set_text(one, "zone", v.zone);
        admin_set_z(one, "addresses", v.v6 ? "IPv6" : "IPv4");
        admin_set_z(one, "state", dnsbl_state_text(v.state));
        admin_set_z(one, "why", dnsbl_reason_text(v.reason));
        admin_set(one, "alarm", json_boolean(v.is_alarm));
        (void)json_array_append_new(rows, one);
    }
    admin_set(row, "dnsbl", rows);
    snapshot_release(&ref);
}

static void set_queue(json_t *row, struct admin *a, const struct facts *f)
{
    const struct spool *s = a->node->spool;

    admin_set_u64(row, "queue_messages", f->messages);
    admin_set_u64(row, "queue_bytes", f->totals.bytes);
    admin_set_time(row, "oldest",
                   f->has_oldest ? admin_wall_of(&f->t, f->oldest_received_ms) : 0);
    admin_set(row, "oldest_age_s",
              f->has_oldest
                  ? json_integer((json_int_t)admin_age_s(&f->t, f->oldest_received_ms))
                  : json_null());
    admin_set_u64(row, "spool_used_bytes", spool_used_bytes(s));
    admin_set_u64(row, "spool_capacity_bytes", spool_capacity_bytes(s));
    admin_set(row, "takes_mail",
              json_boolean(!f->full && !f->fenced && !f->stopping &&
                           (!f->fleet.is_member || f->fleet.is_open)));
    admin_set_u64(row, "possible_duplicates", stat_get(STAT_POSSIBLE_DUPLICATES_TOTAL));
    admin_set_u64(row, "corrupt_records", f->corrupt);
    admin_set(row, "spool_full", json_boolean(f->full));
    admin_set(row, "fenced", json_boolean(f->fenced));
    admin_set_u64(row, "alarms", f->alarms);
}

static void set_counts(json_t *row, const struct cluster_ask *a)
{
    admin_set_u64(row, "ready", a->counts.ready);
    admin_set_u64(row, "deferred", a->counts.deferred);
    admin_set_u64(row, "held", a->counts.held);
    admin_set_u64(row, "in_delivery", a->counts.given + a->counts.writing);
    admin_set_u64(row, "destinations", a->counts.dests);
    admin_set_u64(row, "destinations_down", a->counts.dests_down);
    admin_set_u64(row, "connections_out", a->counts.conns);
}

static enum admin_next ask_counts(struct admin_call *c, struct status_state *s)
{
    s->was_asked = true;
    return admin_ask(c, admin_ask_new(CLUSTER_ASK_COUNTS, STR_NONE, 0));
}

static enum admin_next status_step(struct admin_call *c, void *state)
{
    struct status_state *s = state;
    struct admin *a = c->ctx;
    struct control_counts counts;
    struct facts f;
    json_t *row;
    enum err e;

    if (!s->was_asked)
        return ask_counts(c, s);
    e = gather(a, &f);
    if (e == OK)
        e = control_counts(control_thread_state(a->node->control), &counts);
    if (e != OK)
        return admin_fail_err(c, e, "store");
    row = json_object();
    set_node(row, a, &f);
    set_queue(row, a, &f);
    admin_set_u64(row, "domains", counts.domains);
    admin_set_u64(row, "orders_pending", counts.operations);
    /* A scheduler that does not answer is a thing status must be able to show. */
    admin_set(row, "scheduler_answers", json_boolean(s->asked.cluster != NULL));
    admin_set_z(row, "resolver",
                cluster_resolver_text(s->asked.cluster != NULL ? s->asked.cluster->resolver
                                                               : RESOLVER_NOT_ASKED));
    if (s->asked.cluster != NULL)
        set_counts(row, s->asked.cluster);
    set_lists(row, a);
    if (f.fleet.is_member)
        admin_fleet_set(row, &f.fleet);
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

/* --- health --- */

enum health { HEALTH_OK, HEALTH_WARNING, HEALTH_CRITICAL };

struct finding {
    enum health level;
    char text[160];
};

/* Keeps the worst, and of equal ones the first. */
static void __attribute__((format(printf, 3, 4)))
find(struct finding *f, enum health level, const char *fmt, ...)
{
    va_list args;

    if (level <= f->level && f->text[0] != 0)
        return;
    f->level = level;
    va_start(args, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, args);
    va_end(args);
}

static void judge_age(struct finding *out, const struct facts *f)
{
    uint64_t hold_ms = f->oldest_deadline_ms - f->oldest_received_ms;
    uint64_t age_ms = f->t.cluster_ms - f->oldest_received_ms;

    if (!f->has_oldest || f->oldest_deadline_ms <= f->oldest_received_ms ||
        f->t.cluster_ms <= f->oldest_received_ms)
        return;
    if (age_ms / 100 > hold_ms / 10000 * OLDEST_WARN_PERCENT)
        find(out, HEALTH_WARNING, "the oldest message is %llu days old and expires",
             (unsigned long long)(age_ms / 86400000));
}

static void judge_peer(struct finding *out, const struct replica_peer_status *p)
{
    if (p->is_member && !p->link_up)
        find(out, HEALTH_WARNING, "site %u is not reached", p->site);
    else if (p->is_member && !p->filled)
        find(out, HEALTH_WARNING, "site %u is not filled yet: %llu copies to go", p->site,
             (unsigned long long)p->lacks);
}

static void judge_fleet(struct finding *out, const struct admin_fleet *f)
{
    const struct replica_status *s = &f->data.status;

    if (!f->is_member)
        return;
    if (!f->is_open)
        find(out, HEALTH_CRITICAL, "takes no mail: %s", admin_fleet_gate_text(f));
    if (f->log.leader == 0)
        find(out, HEALTH_CRITICAL,
             "nobody leads the control log: leases run out, and nothing is delivered then");
    if (f->data.solo)
        find(out, HEALTH_WARNING,
             "solo: by an operator's order each message is on this disk alone");
    else if (s->single > 0)
        find(out, HEALTH_WARNING, "%llu messages without a second copy that is known",
             (unsigned long long)s->single);
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        judge_peer(out, &s->peers[i]);
    if (f->data.begun && !s->filled)
        find(out, HEALTH_WARNING, "this node is not filled by the others yet");
    if (f->data.conflicts + f->data.damaged > 0)
        find(out, HEALTH_WARNING, "%llu copies were damaged or contradicted a peer's",
             (unsigned long long)(f->data.conflicts + f->data.damaged));
}

static void judge_lists(struct finding *out, const struct dnsbl_set *s)
{
    const struct dnsbl_list *lists;
    size_t n = dnsbl_set_lists(s, &lists);
    struct dnsbl_view v;

    for (size_t i = 0; i < 2 * n; i++) {
        dnsbl_set_view(s, i / 2, i % 2 != 0, &v);
        if (v.is_alarm)
            find(out, HEALTH_WARNING, "list " STR_FMT " is off: %s", STR_ARG(v.zone),
                 dnsbl_reason_text(v.reason));
    }
}

static void judge(struct finding *out, const struct facts *f, const struct dnsbl_set *lists,
                  bool scheduler_answers)
{
    if (f->fenced)
        find(out, HEALTH_CRITICAL, "fenced after a disk error: acknowledges nothing more");
    if (f->full)
        find(out, HEALTH_CRITICAL, "the spool is full: mail is answered 4xx");
    if (!scheduler_answers)
        find(out, HEALTH_CRITICAL, "the delivery scheduler does not answer");
    judge_fleet(out, &f->fleet);
    if (f->stopping)
        find(out, HEALTH_WARNING, "stopping");
    if (f->corrupt > 0)
        find(out, HEALTH_WARNING, "%llu damaged records found since start",
             (unsigned long long)f->corrupt);
    judge_age(out, f);
    judge_lists(out, lists);
    if (out->level == HEALTH_OK)
        find(out, HEALTH_OK, "%llu messages queued", (unsigned long long)f->messages);
}

static enum admin_next health_step(struct admin_call *c, void *state)
{
    static const char *const words[] = {"ok", "warning", "critical"};
    struct status_state *s = state;
    struct admin *a = c->ctx;
    struct finding found = {0};
    struct snapshot_ref *ref;
    const struct node_settings *settings;
    struct facts f;
    json_t *row;

    if (!s->was_asked)
        return ask_counts(c, s);
    if (gather(a, &f) != OK)
        find(&found, HEALTH_CRITICAL, "the spool cannot be read");
    ref = snapshot_hold(a->node->settings);
    settings = snapshot_value(ref);
    judge(&found, &f, settings->dnsbl, s->asked.cluster != NULL);
    row = json_object();
    admin_set_z(row, "health", words[found.level]);
    admin_set_u64(row, "level", found.level);
    admin_set_z(row, "text", found.text);
    admin_set_u64(row, "copies", settings->config->copies);
    admin_set_u64(row, "queue_messages", f.messages);
    admin_set_u64(row, "queue_bytes", f.totals.bytes);
    snapshot_release(&ref);
    admin_emit(c, row);
    return admin_done(c, found.level == HEALTH_OK ? ADMIN_EXIT_OK : ADMIN_EXIT_NEGATIVE, NULL);
}

/* --- metrics --- */

static void emit_line(struct admin_call *c, struct str line)
{
    json_t *row = json_object();

    /* The escape of admin_set_text() would double the backslashes of a label. */
    admin_set(row, "line", json_stringn(line.n > 0 ? line.p : "", line.n));
    admin_emit(c, row);
}

static void __attribute__((format(printf, 5, 6)))
emit_metric(struct admin_call *c, const char *name, const char *type, const char *help,
            const char *fmt, ...)
{
    char text[256];
    va_list args;
    int n;

    n = snprintf(text, sizeof text, "# HELP trispool_%s %s", name, help);
    emit_line(c, (struct str){text, (size_t)n});
    n = snprintf(text, sizeof text, "# TYPE trispool_%s %s", name, type);
    emit_line(c, (struct str){text, (size_t)n});
    n = snprintf(text, sizeof text, "trispool_%s", name);
    va_start(args, fmt);
    n += vsnprintf(text + n, sizeof text - (size_t)n, fmt, args);
    va_end(args);
    emit_line(c, (struct str){text, (size_t)n});
}

static enum admin_next metrics_step(struct admin_call *c, void *state)
{
    struct status_state *s = state;
    struct admin *a = c->ctx;
    struct facts f;
    struct str rest;
    char *text;

    if (!s->was_asked)
        return ask_counts(c, s);
    if (gather(a, &f) != OK)
        return admin_fail_err(c, E_IO, "spool");
    if (f.fleet.is_member)
        admin_fleet_metrics(&f.fleet);
    text = malloc(METRICS_BYTES);
    if (text == NULL)
        return admin_fail_err(c, E_FULL, "memory");
    rest = (struct str){text, stats_text(text, METRICS_BYTES)};
    while (rest.n > 0)
        emit_line(c, str_split(&rest, '\n'));
    free(text);
    emit_metric(c, "build_info", "gauge", "the version, as a label", "{version=\"%s\"} 1",
                TRISPOOL_VERSION);
    emit_metric(c, "start_time_seconds", "gauge", "Unix time of the start", " %lld",
                (long long)(a->o.started_wall_ms / 1000));
    emit_metric(
        c, "oldest_message_age_seconds", "gauge", "age of the oldest message queued", " %llu",
        f.has_oldest ? (unsigned long long)admin_age_s(&f.t, f.oldest_received_ms) : 0ull);
    emit_metric(c, "spool_capacity_bytes", "gauge", "what the spool could hold", " %llu",
                (unsigned long long)spool_capacity_bytes(a->node->spool));
    emit_metric(c, "spool_full", "gauge", "1: mail is answered 4xx", " %d", f.full);
    emit_metric(c, "fenced", "gauge", "1: a disk error, nothing is acknowledged", " %d",
                f.fenced);
    if (s->asked.cluster != NULL)
        emit_metric(c, "destinations_down", "gauge", "primaries that do not answer", " %llu",
                    (unsigned long long)s->asked.cluster->counts.dests_down);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

static const struct admin_command rows[] = {
    {"status", NULL, 0, false, sizeof(struct status_state), status_step, status_end},
    {"health", NULL, 0, false, sizeof(struct status_state), health_step, status_end},
    {"metrics", NULL, 0, false, sizeof(struct status_state), metrics_step, status_end},
};

struct admin_table admin_status_table(void)
{
    return ADMIN_TABLE(rows);
}
