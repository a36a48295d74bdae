/* The cluster as a whole: what status, health and metrics say of it, and cluster verify. */
#include "base/clock.h"
#include "base/limits.h"
#include "base/stats.h"
#include "node/admin_parts.h"
#include "node/replica_thread.h"

#define VERIFY_WAIT_S 3 /* mail that is just coming in settles within it */
#define VERIFY_MAX_S  60
#define POLL_MS       100

/* --- facts --- */

enum err admin_fleet_read(struct admin *a, struct admin_fleet *f)
{
    struct control_thread *t = a->node->control;
    struct control_lease lease;
    enum err e;

    *f = (struct admin_fleet){.is_member = a->node->replica != NULL};
    if (!f->is_member)
        return OK;
    e = control_cluster(control_thread_state(t), &f->view);
    if (e != OK)
        return e;
    control_thread_status(t, &f->log);
    control_thread_lease(t, &lease);
    replica_thread_view(a->node->replica, &f->data);
    f->site = control_thread_id(t)->site;
    f->incarnation = control_thread_id(t)->incarnation;
    f->session = lease.session;
    f->may_deliver = lease.session != 0 && lease.valid_until_ms > clock_boot_ms();
    f->is_open = replica_thread_is_open(a->node->replica);
    for (uint32_t i = 0; i < f->view.member_count; i++)
        f->others += !f->view.members[i].leaving && f->view.members[i].site != f->site;
    return OK;
}

uint32_t admin_fleet_slots(const struct admin_fleet *f, uint16_t site)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < CONTROL_SLOTS; i++)
        n += f->view.slots[i].site == site;
    return n;
}

/* NULL: the data plane does not know that member. */
static const struct replica_peer_status *peer_of(const struct admin_fleet *f,
                                                 const struct member *m)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (f->data.status.peers[i].is_member && f->data.status.peers[i].site == m->site &&
            f->data.status.peers[i].incarnation == m->incarnation)
            return &f->data.status.peers[i];
    return NULL;
}

bool admin_fleet_reaches(const struct admin_fleet *f, const struct member *m)
{
    const struct replica_peer_status *p = peer_of(f, m);

    return p != NULL && p->link_up;
}

const char *admin_fleet_gate_text(const struct admin_fleet *f)
{
    bool is_linked = false;

    if (f->is_open)
        return "open";
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        is_linked |= f->data.status.peers[i].is_member && f->data.status.peers[i].link_up;
    if (!f->data.begun)
        return "no session yet: less than two members reach each other";
    if (f->others == 0)
        return "there is no other member";
    return is_linked ? "no other node makes copies durable in time"
                     : "no other node is reached";
}

/* --- what is wrong --- */

static void add_problem(json_t *list, uint16_t site, const char *what, uint64_t messages)
{
    json_t *row = json_object();

    admin_set(row, "site", site != 0 ? json_integer(site) : json_null());
    admin_set_z(row, "problem", what);
    admin_set(row, "messages",
              messages != 0 ? json_integer((json_int_t)messages) : json_null());
    (void)json_array_append_new(list, row);
}

static void member_problems(json_t *list, const struct admin_fleet *f, const struct member *m)
{
    const struct replica_peer_status *p = peer_of(f, m);

    if (m->leaving || m->site == f->site)
        return;
    if (p == NULL || !p->link_up) {
        add_problem(list, m->site, "is not reached: nobody knows what it has", 0);
        return;
    }
    if (!p->filled)
        add_problem(list, m->site, "is not filled yet", 0);
    if (p->lacks > 0)
        add_problem(list, m->site, "lacks copies, or what became of them", p->lacks);
}

/* Why not every live message has the copies it should; an empty list: it has. */
static json_t *problems_of(const struct admin_fleet *f)
{
    const struct replica_status *s = &f->data.status;
    json_t *list = json_array();

    if (!f->data.begun)
        add_problem(list, f->site, "has no session: its copies are not known", 0);
    if (f->others == 0)
        add_problem(list, f->site, "is the only member: each message is on its disk alone",
                    s->live);
    if (f->data.begun && !s->filled)
        add_problem(list, f->site, "is not filled yet", 0);
    for (uint32_t i = 0; i < f->view.member_count; i++)
        member_problems(list, f, &f->view.members[i]);
    if (f->others > 0 && s->single > 0)
        add_problem(list, 0, "no second copy is known", s->single);
    if (s->undecided > 0)
        add_problem(list, 0, "neither accepted nor refused yet", s->undecided);
    return list;
}

/* --- verify --- */

struct verify_state {
    uint64_t waited_ms;
};

static enum admin_next verify_step(struct admin_call *c, void *state)
{
    struct verify_state *s = state;
    uint64_t wait_ms = admin_count(c, "wait_s", VERIFY_WAIT_S) * 1000;
    struct admin_fleet f;
    json_t *list, *row;
    bool ok;
    enum err e;

    if (!admin_is_member(c))
        return ADMIN_END;
    e = admin_fleet_read(c->ctx, &f);
    if (e != OK)
        return admin_fail_err(c, e, "cluster");
    list = problems_of(&f);
    ok = json_array_size(list) == 0;
    if (!ok && s->waited_ms < wait_ms) {
        json_decref(list);
        s->waited_ms += POLL_MS;
        return admin_wait(c, POLL_MS);
    }
    row = json_object();
    admin_set(row, "verified", json_boolean(ok));
    admin_set_u64(row, "messages", f.data.status.live);
    admin_set_u64(row, "members", f.others + 1);
    admin_set(row, "problems", list);
    admin_emit(c, row);
    return admin_done(c, ok ? ADMIN_EXIT_OK : ADMIN_EXIT_NEGATIVE, NULL);
}

/* --- status --- */

static json_t *row_node(const struct admin_fleet *f, const struct member *m)
{
    const struct replica_peer_status *p = peer_of(f, m);
    bool is_self = m->site == f->site && m->incarnation == f->incarnation;
    json_t *row = json_object();

    admin_set_u64(row, "site", m->site);
    admin_set_z(row, "state", admin_member_state(m, &f->log));
    admin_set_z(row, "link", is_self ? "self" : p != NULL && p->link_up ? "up" : "down");
    admin_set(row, "leader", json_boolean(f->log.leader == m->incarnation));
    admin_set_u64(row, "slots", m->leaving ? 0 : admin_fleet_slots(f, m->site));
    admin_set(row, "filled", json_boolean(m->filled));
    admin_set(row, "draining", json_boolean(m->draining));
    admin_set(row, "takes_mail",
              is_self                   ? json_boolean(f->is_open)
              : p != NULL && p->link_up ? json_boolean(p->open)
                                        : json_null());
    if (p == NULL || !p->link_up)
        return row;
    admin_set_u64(row, "echo_ms", p->echo_ms);
    admin_set_u64(row, "ack_age_ms", p->last_ack_age_ms);
    admin_set_u64(row, "lacks", p->lacks);
    admin_set_u64(row, "queued_bytes", p->queued_bytes);
    return row;
}

void admin_fleet_set(json_t *row, const struct admin_fleet *f)
{
    const struct replica_status *s = &f->data.status;
    json_t *nodes = json_array();

    admin_set(row, "solo", json_boolean(f->data.solo));
    admin_set(row, "leader",
              f->log.leader != 0 ? json_integer(f->log.leader_site) : json_null());
    admin_set(row, "quorum", json_boolean(f->log.leader != 0));
    admin_set(row, "filled", json_boolean(s->filled));
    admin_set_z(row, "gate", admin_fleet_gate_text(f));
    admin_set(row, "may_deliver", json_boolean(f->may_deliver));
    admin_set_u64(row, "slots", admin_fleet_slots(f, f->site));
    admin_set_u64(row, "single_copies", s->single);
    admin_set_u64(row, "undecided", s->undecided);
    admin_set_u64(row, "dots_waiting", s->dots);
    admin_set_u64(row, "intakes_waiting", s->accepts);
    admin_set_u64(row, "copy_alarms", f->data.conflicts + f->data.damaged);
    admin_set_u64(row, "strangers", f->data.refused_keys);
    for (uint32_t i = 0; i < f->view.member_count; i++)
        (void)json_array_append_new(nodes, row_node(f, &f->view.members[i]));
    admin_set(row, "nodes", nodes);
}

void admin_fleet_metrics(const struct admin_fleet *f)
{
    stat_set(STAT_LEADER_KNOWN, f->log.leader != 0);
    stat_set(STAT_SLOTS_HELD, admin_fleet_slots(f, f->site));
    stat_set(STAT_MAY_DELIVER, f->may_deliver);
    stat_set(STAT_SOLO, f->data.solo);
}

/* --- table --- */

static const struct admin_arg verify_args[] = {
    {"wait_s", ADMIN_ARG_COUNT, VERIFY_MAX_S, false},
};

static const struct admin_command rows[] = {
    {"cluster.verify", ADMIN_ARGS(verify_args), false, sizeof(struct verify_state), verify_step,
     NULL},
};

struct admin_table admin_fleet_table(void)
{
    return ADMIN_TABLE(rows);
}
