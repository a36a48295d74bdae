/* cluster add, remove, move-lease, drain: changes, through the control log. A proposal is
 * answered when this node has applied it, so what is shown afterwards has it. */
#include "base/base64.h"
#include "base/limits.h"
#include "node/admin_parts.h"
#include "node/identity.h"

#define MOVE_WAIT_MS 10000 /* the holder finishes its transactions first */
#define POLL_MS      50

static struct control *store(struct admin_call *c)
{
    struct admin *a = c->ctx;

    return control_thread_state(a->node->control);
}

static uint16_t site_arg(struct admin_call *c)
{
    return (uint16_t)admin_count(c, "site", 0);
}

/* --- add --- */

struct add_state {
    struct admin_asked asked; /* first */
    bool was_forgetting, was_proposed;
    uint8_t key[MEMBER_KEY_BYTES];
};

static void asked_end(struct admin_call *c, void *state)
{
    (void)c;
    admin_asked_free(state);
}

static bool read_key(struct admin_call *c, uint8_t key[MEMBER_KEY_BYTES])
{
    char bytes[BASE64_SIZE(MEMBER_KEY_BYTES)];
    struct str text = admin_text(c, "key");
    size_t n = 0;

    if (text.n == BASE64_SIZE(MEMBER_KEY_BYTES) - 1 && base64_decode(text, bytes, &n) &&
        n == MEMBER_KEY_BYTES) {
        memcpy(key, bytes, n);
        return true;
    }
    (void)admin_fail(c, ADMIN_EXIT_USAGE, "not a key", "key",
                     "on the new node, the last word of: trispool cluster key");
    return false;
}

/* The token of the member that was added. */
static enum err make_token(struct admin_call *c, const struct member *m,
                           char text[IDENTITY_TOKEN_BYTES])
{
    struct admin *a = c->ctx;
    struct identity_token t = {.site = m->site, .incarnation = m->incarnation};
    struct control_members all;
    enum err e = control_members(store(c), &all);

    if (e != OK)
        return e;
    memcpy(t.cluster, control_thread_id(a->node->control)->cluster, sizeof t.cluster);
    memcpy(t.key, m->key, sizeof t.key);
    for (uint32_t i = 0; i < all.count && t.peer_count < LIMIT_CLUSTER_MEMBERS; i++) {
        const struct member *other = &all.members[i];
        struct identity_peer *p = &t.peers[t.peer_count];

        if (other->leaving || other->site == m->site)
            continue;
        *p = (struct identity_peer){.site = other->site, .incarnation = other->incarnation};
        memcpy(p->key, other->key, sizeof p->key);
        snprintf(p->control, sizeof p->control, "%s", other->control);
        snprintf(p->data, sizeof p->data, "%s", other->data);
        t.peer_count++;
    }
    return identity_token_text(&t, text);
}

static enum admin_next show_member(struct admin_call *c, const struct member *m)
{
    struct admin *a = c->ctx;
    struct control_core_status status;
    char text[IDENTITY_TOKEN_BYTES];
    json_t *row;
    enum err e = make_token(c, m, text);

    if (e == E_PROTO)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "there is no other member to join", "site",
                          "the only member of a cluster cannot be replaced by its own word");
    if (e != OK)
        return admin_fail_err(c, e, "site");
    control_thread_status(a->node->control, &status);
    row = admin_row_member(a, m, &status);
    if (row != NULL)
        admin_set_z(row, "token", text);
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

static enum admin_next show_added(struct admin_call *c, const struct add_state *s)
{
    struct member m;
    enum err e = control_member_get(store(c), site_arg(c), &m);

    if (e == OK && m.added != s->asked.control->index)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE,
                          "the site was given to another node meanwhile", "site",
                          "trispool cluster members shows to whom");
    return e == OK ? show_member(c, &m) : admin_fail_err(c, e, "site");
}

/* Exactly that node is the site's member. */
static bool is_the_member(struct admin_call *c, const struct add_state *s, struct member *out)
{
    return control_member_get(store(c), site_arg(c), out) == OK &&
           memcmp(out->key, s->key, sizeof s->key) == 0 &&
           str_eq(str_of(out->control), admin_text(c, "control")) &&
           str_eq(str_of(out->data), admin_text(c, "data"));
}

/* It has been a process of the cluster: what it stored and acknowledged counts. */
static bool has_begun(struct admin_call *c, const struct member *m)
{
    struct session s;

    return m->filled ||
           (control_session(store(c), m->site, &s) == OK && s.incarnation == m->incarnation);
}

/* The answer of before was lost, and with it the token. A node that has begun needs none, and
 * must not be replaced by words that are only said once more; nor may another store begin as
 * the same one (INV-1). */
static enum admin_next add_again(struct admin_call *c, const struct member *m)
{
    if (!has_begun(c, m))
        return show_member(c, m);
    return admin_fail(c, ADMIN_EXIT_NEGATIVE, "this node is the site's member already", "key",
                      "to replace it: empty its data directory, which makes a new key");
}

/* The oldest record of the site that is only waiting to be forgotten, but for the last one: the
 * others may still be busy with its sessions. */
static bool find_forgotten(struct admin_call *c, struct member *out)
{
    struct control_members all;
    uint32_t leaving = 0;

    if (control_members(store(c), &all) != OK)
        return false;
    for (uint32_t i = 0; i < all.count; i++) {
        if (!all.members[i].leaving || all.members[i].site != site_arg(c))
            continue;
        if (leaving++ == 0 || all.members[i].added < out->added)
            *out = all.members[i];
    }
    return leaving > 0;
}

static enum admin_next propose_add(struct admin_call *c, struct add_state *s)
{
    struct command cmd = {.kind = COMMAND_MEMBER_ADD,
                          .member_add = {.site = site_arg(c),
                                         .control = admin_text(c, "control"),
                                         .data = admin_text(c, "data")}};

    s->was_proposed = true;
    memcpy(cmd.member_add.key, s->key, sizeof s->key);
    return admin_propose(c, &cmd);
}

static enum admin_next add_step(struct admin_call *c, void *state)
{
    struct add_state *s = state;
    struct admin *a = c->ctx;
    struct member old = {0};

    if (s->was_proposed) {
        if (c->timed_out)
            return admin_timed_out(c);
        if (s->asked.control->err != OK)
            return admin_fail_proposal(c, s->asked.control, "site");
        return show_added(c, s);
    }
    if (s->was_forgetting) {
        if (c->timed_out)
            return admin_timed_out(c);
        if (s->asked.control->err != OK && s->asked.control->err != E_NOTFOUND)
            return admin_fail_proposal(c, s->asked.control, "site");
        return propose_add(c, s);
    }
    if (!admin_is_member(c) || !read_key(c, s->key))
        return ADMIN_END;
    if (site_arg(c) == control_thread_id(a->node->control)->site)
        return admin_fail(c, ADMIN_EXIT_USAGE, "this node has that site itself", "site",
                          "a node is replaced from one of the others");
    if (is_the_member(c, s, &old))
        return add_again(c, &old);
    if (!find_forgotten(c, &old))
        return propose_add(c, s);
    s->was_forgetting = true;
    return admin_propose(c, &(struct command){.kind = COMMAND_MEMBER_REMOVE,
                                              .member_remove = {old.site, old.incarnation}});
}

/* --- remove --- */

struct remove_state {
    struct admin_asked asked; /* first */
    bool was_proposed;
    struct member member;
    uint32_t removed;
};

/* The present member of the site before those that are leaving. */
static enum err find_removed(struct admin_call *c, struct member *out)
{
    struct control_members all;
    enum err e = control_members(store(c), &all);
    bool found = false;

    for (uint32_t i = 0; e == OK && i < all.count; i++) {
        if (all.members[i].site != site_arg(c) || (found && all.members[i].leaving))
            continue;
        *out = all.members[i];
        found = true;
    }
    return e == OK && !found ? E_NOTFOUND : e;
}

static void emit_removed(struct admin_call *c, const struct member *m, const char *state)
{
    json_t *row = json_object();

    admin_set_u64(row, "site", m->site);
    admin_set_u64(row, "incarnation", m->incarnation);
    admin_set_z(row, "state", state);
    admin_set_z(row, "control", m->control);
    admin_emit(c, row);
}

/* Of two that are left each is needed: without the other one nothing is decided any more, and
 * no mail is taken, until it is back. */
static bool is_rest_reached(struct admin_call *c, const struct member *removed)
{
    struct admin_fleet f;

    if (removed->leaving || admin_fleet_read(c->ctx, &f) != OK)
        return true;
    for (uint32_t i = 0; i < f.view.member_count; i++) {
        const struct member *m = &f.view.members[i];
        char why[96];

        if (m->leaving || m->site == f.site || m->site == removed->site ||
            admin_fleet_reaches(&f, m))
            continue;
        (void)snprintf(why, sizeof why, "site %u is not reached, and the rest needs it",
                       m->site);
        (void)admin_fail(c, ADMIN_EXIT_NEGATIVE, why, "site",
                         "bring it back first; two lost sites: trispool cluster solo");
        return false;
    }
    return true;
}

static enum admin_next remove_next(struct admin_call *c, struct remove_state *s)
{
    enum err e = find_removed(c, &s->member);

    if (e == E_NOTFOUND && s->removed > 0)
        return admin_done(c, ADMIN_EXIT_OK, NULL);
    if (e == E_NOTFOUND)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "no member has this site", "site",
                          "trispool cluster members shows all");
    if (e != OK)
        return admin_fail_err(c, e, "site");
    if (!s->member.leaving && s->member.site == ((struct admin *)c->ctx)->node->site)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "this node does not remove itself", "site",
                          "at another member: trispool cluster remove");
    if (!is_rest_reached(c, &s->member))
        return ADMIN_END;
    if (admin_flag(c, "dry_run")) {
        emit_removed(c, &s->member, "would be removed");
        return admin_done(c, ADMIN_EXIT_OK, NULL);
    }
    s->was_proposed = true;
    return admin_propose(
        c, &(struct command){.kind = COMMAND_MEMBER_REMOVE,
                             .member_remove = {s->member.site, s->member.incarnation}});
}

static enum admin_next remove_step(struct admin_call *c, void *state)
{
    struct remove_state *s = state;

    if (!s->was_proposed && !admin_is_member(c))
        return ADMIN_END;
    if (!s->was_proposed)
        return remove_next(c, s);
    if (c->timed_out)
        return admin_timed_out(c);
    s->was_proposed = false;
    if (s->asked.control->err == E_NOTFOUND) /* somebody else was faster */
        return remove_next(c, s);
    if (s->asked.control->err != OK)
        return admin_fail_proposal(c, s->asked.control, "site");
    emit_removed(c, &s->member, "removed");
    s->removed++;
    return remove_next(c, s);
}

/* --- move-lease --- */

struct move_state {
    struct admin_asked asked; /* first */
    bool was_proposed, has_answer;
    char domain_text[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct str domain;
    uint64_t waited_ms;
};

static bool is_there(struct admin_call *c, struct str domain, uint16_t site)
{
    uint16_t holder = 0;
    uint64_t epoch;

    return control_holder(store(c), domain, &holder, &epoch) == OK && holder == site;
}

static enum admin_next move_propose(struct admin_call *c, struct move_state *s)
{
    struct command cmd = {.kind = COMMAND_SLOT_WANTED,
                          .slot_wanted.site = (uint16_t)admin_count(c, "to", 0)};
    uint32_t slot_number;
    struct slot slot;
    uint16_t site = 0;
    uint64_t epoch = 0;
    enum err e;

    if (!admin_domain_arg(c, "domain", s->domain_text, sizeof s->domain_text, &s->domain) ||
        !admin_knows_domain(c, s->domain))
        return ADMIN_END;
    slot_number = control_slot_of(s->domain);
    e = control_slot(store(c), slot_number, &slot);
    if (e == E_NOTFOUND)
        return admin_fail(c, ADMIN_EXIT_TEMPORARY, "nobody holds the domain's lease", "domain",
                          "try again once two members are up");
    if (e == OK)
        e = control_holder(store(c), s->domain, &site, &epoch);
    if (e != OK)
        return admin_fail_err(c, e, "domain");
    if (site != slot.site && site != cmd.slot_wanted.site)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE,
                          "the domain is placed at the site that last reached its primary",
                          "domain", "it goes back by itself once others reach the primary too");
    cmd.slot_wanted.slots[slot_number / 8] = (uint8_t)(1u << slot_number % 8);
    s->was_proposed = true;
    return admin_propose(c, &cmd);
}

static enum admin_next move_step(struct admin_call *c, void *state)
{
    struct move_state *s = state;
    uint16_t to = (uint16_t)admin_count(c, "to", 0);
    json_t *row;

    if (!s->was_proposed)
        return admin_is_member(c) ? move_propose(c, s) : ADMIN_END;
    if (!s->has_answer) {
        if (c->timed_out)
            return admin_timed_out(c);
        if (s->asked.control->err != OK)
            return admin_fail_proposal(c, s->asked.control, "to");
        s->has_answer = true;
    }
    if (!is_there(c, s->domain, to) && s->waited_ms < MOVE_WAIT_MS) {
        s->waited_ms += POLL_MS;
        return admin_wait(c, POLL_MS);
    }
    row = admin_row_lease(store(c), s->domain);
    admin_set(row, "moved", json_boolean(is_there(c, s->domain, to)));
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

/* --- drain, undrain --- */

static enum admin_next drain_step(struct admin_call *c, void *state, bool on)
{
    struct add_state *s = state;
    struct admin *a = c->ctx;
    uint16_t site = (uint16_t)admin_count(c, "site", control_thread_id(a->node->control)->site);
    json_t *row;

    if (!s->was_proposed) {
        if (!admin_is_member(c))
            return ADMIN_END;
        s->was_proposed = true;
        return admin_propose(
            c, &(struct command){.kind = COMMAND_DRAIN, .drain = {.site = site, .on = on}});
    }
    if (c->timed_out)
        return admin_timed_out(c);
    if (s->asked.control->err != OK)
        return admin_fail_proposal(c, s->asked.control, "site");
    row = json_object();
    admin_set_u64(row, "site", site);
    admin_set(row, "draining", json_boolean(on));
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

static enum admin_next drain_on_step(struct admin_call *c, void *state)
{
    return drain_step(c, state, true);
}

static enum admin_next drain_off_step(struct admin_call *c, void *state)
{
    return drain_step(c, state, false);
}

/* --- table --- */

#define SITE_ARG(required)                                                                     \
    {                                                                                          \
        "site", ADMIN_ARG_COUNT, UINT16_MAX, required                                          \
    }

static const struct admin_arg add_args[] = {
    SITE_ARG(true),
    {"key", ADMIN_ARG_TEXT, 64, true},
    {"control", ADMIN_ARG_TEXT, LIMIT_ADDRESS_BYTES, true},
    {"data", ADMIN_ARG_TEXT, LIMIT_ADDRESS_BYTES, true},
};
static const struct admin_arg remove_args[] = {SITE_ARG(true),
                                               {"dry_run", ADMIN_ARG_BOOL, 0, false}};
static const struct admin_arg move_args[] = {
    {"domain", ADMIN_ARG_TEXT, LIMIT_SMTP_DOMAIN_BYTES + 1, true},
    {"to", ADMIN_ARG_COUNT, UINT16_MAX, true},
};
static const struct admin_arg drain_args[] = {SITE_ARG(false)};

static const struct admin_command rows[] = {
    {"cluster.add", ADMIN_ARGS(add_args), true, sizeof(struct add_state), add_step, asked_end},
    {"cluster.remove", ADMIN_ARGS(remove_args), true, sizeof(struct remove_state), remove_step,
     asked_end},
    {"cluster.move-lease", ADMIN_ARGS(move_args), true, sizeof(struct move_state), move_step,
     asked_end},
    {"cluster.drain", ADMIN_ARGS(drain_args), true, sizeof(struct add_state), drain_on_step,
     asked_end},
    {"cluster.undrain", ADMIN_ARGS(drain_args), true, sizeof(struct add_state), drain_off_step,
     asked_end},
};

struct admin_table admin_cluster_set_table(void)
{
    return ADMIN_TABLE(rows);
}
