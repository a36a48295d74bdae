/* cluster members, leader, leases: what this node knows of its cluster. Changes are in
 * admin_cluster_set.c, keys in admin_cluster_key.c. */
#include "base/base64.h"
#include "base/clock.h"
#include "base/limits.h"
#include "node/admin_parts.h"

static struct control *store(struct admin_call *c)
{
    struct admin *a = c->ctx;

    return control_thread_state(a->node->control);
}

bool admin_is_member(struct admin_call *c)
{
    struct admin *a = c->ctx;

    if (a->node->replica != NULL)
        return true;
    (void)admin_fail(c, ADMIN_EXIT_NEGATIVE, "this node is not a member of a cluster",
                     "copies: 1",
                     "docs/operations.md says how a cluster is formed; a member has copies: 2");
    return false;
}

void admin_set_key(json_t *row, const char *name, const uint8_t key[MEMBER_KEY_BYTES])
{
    char text[BASE64_SIZE(MEMBER_KEY_BYTES)];

    base64_encode((struct str){(const char *)key, MEMBER_KEY_BYTES}, text);
    admin_set_z(row, name, text);
}

/* --- members --- */

static const struct control_core_peer *log_member(const struct control_core_status *s,
                                                  uint64_t incarnation)
{
    for (uint32_t i = 0; i < s->member_count; i++)
        if (s->members[i].incarnation == incarnation)
            return &s->members[i];
    return NULL;
}

const char *admin_member_state(const struct member *m, const struct control_core_status *s)
{
    const struct control_core_peer *p = log_member(s, m->incarnation);

    if (m->leaving)
        return "leaving";
    if (p == NULL)
        return "joining";
    switch (p->role) {
    case CS_VOTER:
        return "voter";
    case CS_SPARE:
        return "spare";
    case CS_STANDBY:
        return "standby";
    }
    return "unknown";
}

json_t *admin_row_member(struct admin *a, const struct member *m,
                         const struct control_core_status *s)
{
    const struct control_core_peer *p = log_member(s, m->incarnation);
    bool is_self = m->incarnation == control_thread_id(a->node->control)->incarnation;
    uint64_t now = clock_boot_ms(), contact = p != NULL ? p->contact_ms : 0;
    json_t *row = json_object();

    if (row == NULL)
        return NULL;
    admin_set_u64(row, "site", m->site);
    admin_set_z(row, "state", admin_member_state(m, s));
    admin_set(row, "self", json_boolean(is_self));
    admin_set(row, "leader", json_boolean(s->leader == m->incarnation));
    admin_set(row, "filled", json_boolean(m->filled));
    admin_set(row, "draining", json_boolean(m->draining));
    admin_set_u64(row, "incarnation", m->incarnation);
    admin_set_z(row, "control", m->control);
    admin_set_z(row, "data", m->data);
    admin_set_key(row, "key", m->key);
    admin_set(row, "old_key_counts", json_boolean(m->has_old_key));
    admin_set(row, "contact_ms",
              is_self || contact == 0
                  ? json_null()
                  : json_integer((json_int_t)(now > contact ? now - contact : 0)));
    admin_set(row, "match",
              p == NULL || p->match == 0 ? json_null() : json_integer((json_int_t)p->match));
    return row;
}

static enum admin_next members_step(struct admin_call *c, void *state)
{
    struct admin *a = c->ctx;
    struct control_core_status status;
    struct control_members members;
    enum err e;

    (void)state;
    if (!admin_is_member(c))
        return ADMIN_END;
    e = control_members(store(c), &members);
    if (e != OK)
        return admin_fail_err(c, e, "members");
    control_thread_status(a->node->control, &status);
    for (uint32_t i = 0; i < members.count; i++)
        admin_emit(c, admin_row_member(a, &members.members[i], &status));
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

/* --- leader --- */

static enum admin_next leader_step(struct admin_call *c, void *state)
{
    struct admin *a = c->ctx;
    struct control_core_status s;
    json_t *row;

    (void)state;
    if (!admin_is_member(c))
        return ADMIN_END;
    control_thread_status(a->node->control, &s);
    row = json_object();
    if (s.leader != 0) {
        admin_set_u64(row, "site", s.leader_site);
        admin_set_u64(row, "incarnation", s.leader);
    } else {
        admin_set(row, "site", json_null());
        admin_set(row, "incarnation", json_null());
    }
    admin_set_u64(row, "term", s.term);
    admin_set_u64(row, "committed", s.commit);
    admin_set_u64(row, "applied", s.applied);
    admin_set_u64(row, "last", s.last);
    admin_set(row, "changing", json_boolean(s.changing));
    admin_emit(c, row);
    return admin_done(c, s.leader != 0 ? ADMIN_EXIT_OK : ADMIN_EXIT_NEGATIVE, NULL);
}

/* --- leases --- */

struct leases_state {
    bool begun;
    struct control_cluster view;
    uint64_t placed[LIMIT_SITES + 1]; /* domains, by place in view.sessions */
    char after_text[LIMIT_SMTP_DOMAIN_BYTES + 1];
};

json_t *admin_row_lease(struct control *state, struct str domain)
{
    json_t *row = json_object();
    uint32_t slot_number = control_slot_of(domain);
    struct slot slot;
    uint16_t site = 0;
    uint64_t epoch = 0;
    enum err e = control_holder(state, domain, &site, &epoch);

    admin_set_text(row, "domain", domain);
    admin_set_u64(row, "slot", slot_number);
    if (e != OK) {
        admin_set(row, "site", json_null());
        admin_set(row, "epoch", json_null());
        return row;
    }
    admin_set_u64(row, "site", site);
    admin_set_u64(row, "epoch", epoch);
    e = control_slot(state, slot_number, &slot);
    admin_set_z(row, "by", e == OK && slot.site == site ? "slot" : "placement");
    admin_set(row, "wanted",
              e == OK && slot.wanted != 0 ? json_integer(slot.wanted) : json_null());
    return row;
}

bool admin_knows_domain(struct admin_call *c, struct str domain)
{
    struct arena arena;
    struct domain d;
    enum err e;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(store(c), domain, &arena, &d);
    arena_reset(&arena);
    if (e == E_NOTFOUND)
        (void)admin_fail(c, ADMIN_EXIT_NEGATIVE, "no such domain", "domain",
                         "trispool domain list shows all");
    else if (e != OK)
        (void)admin_fail_err(c, e, "domain");
    return e == OK;
}

static enum admin_next lease_of_domain(struct admin_call *c)
{
    char text[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct str domain;
    json_t *row;
    bool held;

    if (!admin_domain_arg(c, "domain", text, sizeof text, &domain) ||
        !admin_knows_domain(c, domain))
        return ADMIN_END;
    row = admin_row_lease(store(c), domain);
    held = json_is_integer(json_object_get(row, "site"));
    admin_emit(c, row);
    return admin_done(c, held ? ADMIN_EXIT_OK : ADMIN_EXIT_NEGATIVE, NULL);
}

static void count_placement(struct leases_state *s, uint16_t site)
{
    for (uint32_t i = 0; i < s->view.session_count; i++)
        if (s->view.sessions[i].site == site)
            s->placed[i]++;
}

/* OK: there is more. E_NOTFOUND: that was all. */
static enum err count_placements(struct admin_call *c, struct leases_state *s)
{
    for (size_t i = 0; i < LIMIT_ADMIN_BATCH; i++) {
        struct placement p;
        struct arena arena;
        enum err e;

        arena_init(&arena, LIMIT_COMMAND_SCRATCH);
        e = control_placement_next(store(c), str_of(s->after_text), &arena, &p);
        if (e == OK && !str_to_z(p.domain, s->after_text, sizeof s->after_text))
            e = E_CORRUPT;
        if (e == OK)
            count_placement(s, p.site);
        arena_reset(&arena);
        if (e != OK)
            return e;
    }
    return OK;
}

static json_t *row_session(const struct leases_state *s, uint32_t i)
{
    const struct session *session = &s->view.sessions[i];
    uint64_t slots = 0, leaving = 0, coming = 0;
    json_t *row = json_object();

    for (uint32_t k = 0; k < CONTROL_SLOTS; k++) {
        const struct slot *slot = &s->view.slots[k];

        slots += slot->site == session->site;
        leaving += slot->site == session->site && slot->wanted != 0;
        coming += slot->wanted == session->site;
    }
    admin_set_u64(row, "site", session->site);
    admin_set_u64(row, "slots", slots);
    admin_set_u64(row, "leaving", leaving);
    admin_set_u64(row, "coming", coming);
    admin_set_u64(row, "placed", s->placed[i]);
    admin_set(row, "live", json_boolean(!session->ended));
    admin_set(row, "may_hold", json_boolean(session->may_hold));
    admin_set_u64(row, "session", session->epoch);
    return row;
}

static enum admin_next leases_rows(struct admin_call *c, const struct leases_state *s)
{
    uint64_t vacant = 0;
    json_t *more = json_object();

    for (uint32_t i = 0; i < s->view.session_count; i++)
        admin_emit(c, row_session(s, i));
    for (uint32_t k = 0; k < CONTROL_SLOTS; k++)
        vacant += s->view.slots[k].site == 0;
    admin_set_u64(more, "vacant", vacant);
    return admin_done(c, ADMIN_EXIT_OK, more);
}

static enum admin_next leases_step(struct admin_call *c, void *state)
{
    struct leases_state *s = state;
    enum err e;

    if (!s->begun) {
        if (!admin_is_member(c))
            return ADMIN_END;
        if (admin_given(c, "domain"))
            return lease_of_domain(c);
        s->begun = true;
        e = control_cluster(store(c), &s->view);
        return e == OK ? ADMIN_AGAIN : admin_fail_err(c, e, "leases");
    }
    e = count_placements(c, s);
    if (e == OK)
        return ADMIN_AGAIN;
    return e == E_NOTFOUND ? leases_rows(c, s) : admin_fail_err(c, e, "placements");
}

/* --- table --- */

static const struct admin_arg leases_args[] = {
    {"domain", ADMIN_ARG_TEXT, LIMIT_SMTP_DOMAIN_BYTES + 1, false},
};

static const struct admin_command rows[] = {
    {"cluster.members", NULL, 0, false, 0, members_step, NULL},
    {"cluster.leader", NULL, 0, false, 0, leader_step, NULL},
    {"cluster.leases", ADMIN_ARGS(leases_args), false, sizeof(struct leases_state), leases_step,
     NULL},
};

struct admin_table admin_cluster_table(void)
{
    return ADMIN_TABLE(rows);
}
