/* cluster rotate-key, revoke-key, solo: what an operator rarely does, and must know the price
 * of. */
#include "base/clock.h"
#include "base/limits.h"
#include "node/admin_parts.h"
#include "node/identity.h"
#include "node/net/plane.h"

#define LINKS_WAIT_MS  20000 /* for all links to be made anew with the new key */
#define LINKS_SLACK_MS 500   /* what is seen of links may be so old, and an ack under way */
#define POLL_MS        100

static_assert(PLANE_KEY_BYTES == MEMBER_KEY_BYTES, "a member's key is that of its links");

static void asked_end(struct admin_call *c, void *state)
{
    (void)c;
    admin_asked_free(state);
}

static enum err own_member(struct admin *a, struct member *out)
{
    return control_member_get(control_thread_state(a->node->control), a->node->site, out);
}

static enum admin_next propose_key(struct admin_call *c, const struct member *m,
                                   const uint8_t key[MEMBER_KEY_BYTES], bool keep_old)
{
    struct command cmd = {
        .kind = COMMAND_MEMBER_KEY,
        .member_key = {.site = m->site, .incarnation = m->incarnation, .keep_old = keep_old}};

    memcpy(cmd.member_key.key, key, MEMBER_KEY_BYTES);
    return admin_propose(c, &cmd);
}

static enum admin_next show_key(struct admin_call *c, uint16_t site)
{
    struct admin *a = c->ctx;
    struct member m;
    json_t *row;
    enum err e = control_member_get(control_thread_state(a->node->control), site, &m);

    if (e != OK)
        return admin_fail_err(c, e, "site");
    row = json_object();
    admin_set_u64(row, "site", m.site);
    admin_set_key(row, "key", m.key);
    admin_set(row, "old_key_counts", json_boolean(m.has_old_key));
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

/* --- rotate-key: the new key is good beside the old one, then it is shown, then the old one is
 * good no more. Cut short at any point, both keys are good, and the command can be given again.
 */

enum rotate_stage { ROTATE_BEGIN, ROTATE_NAMED, ROTATE_LINKS, ROTATE_REVOKED };

struct rotate_state {
    struct admin_asked asked; /* first */
    enum rotate_stage stage;
    struct member member;
    uint8_t key[MEMBER_KEY_BYTES];
    uint64_t since_ms;
};

static const char *data_dir(struct admin *a, char buf[4096])
{
    struct snapshot_ref *ref = snapshot_hold(a->node->settings);
    const struct node_settings *s = snapshot_value(ref);

    snprintf(buf, 4096, "%s", s->config->data_dir);
    snapshot_release(&ref);
    return buf;
}

static enum admin_next key_trouble(struct admin_call *c, const char *why)
{
    return admin_fail(c, ADMIN_EXIT_NEGATIVE, why, "cluster/next",
                      "both keys are good until it is repeated");
}

static enum admin_next rotate_begin(struct admin_call *c, struct rotate_state *s)
{
    struct admin *a = c->ctx;
    char dir[4096], why[IDENTITY_WHY_BYTES];
    uint8_t secret[MEMBER_KEY_BYTES];
    enum err e;

    if (!admin_is_member(c))
        return ADMIN_END;
    e = own_member(a, &s->member);
    if (e != OK)
        return admin_fail_err(c, e, "members");
    e = identity_next_key(data_dir(a, dir), s->key, secret, why);
    explicit_bzero(secret, sizeof secret);
    if (e != OK)
        return key_trouble(c, why);
    s->stage = ROTATE_NAMED;
    return propose_key(c, &s->member, s->key, true);
}

/* Durable first: a restart from here on shows the new key, which everybody takes. */
static enum admin_next rotate_show(struct admin_call *c, struct rotate_state *s)
{
    struct admin *a = c->ctx;
    char dir[4096], why[IDENTITY_WHY_BYTES];
    uint8_t secret[MEMBER_KEY_BYTES];
    enum err e = identity_next_key(data_dir(a, dir), s->key, secret, why);

    if (e == OK)
        e = identity_take_next_key(dir, why);
    if (e == OK) {
        control_thread_rekey(a->node->control, s->key, secret);
        replica_thread_rekey(a->node->replica, s->key, secret);
    }
    explicit_bzero(secret, sizeof secret);
    if (e != OK)
        return key_trouble(c, why);
    s->stage = ROTATE_LINKS;
    s->since_ms = clock_boot_ms();
    return admin_wait(c, POLL_MS);
}

/* All other members have made something durable since the new key is shown. */
static bool all_linked(struct admin *a, uint64_t since_ms)
{
    uint64_t passed_ms = clock_boot_ms() - since_ms;
    struct admin_fleet f;
    uint32_t linked = 0;

    if (admin_fleet_read(a, &f) != OK)
        return false;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++) {
        const struct replica_peer_status *p = &f.data.status.peers[i];

        linked += p->is_member && p->link_up && p->last_ack_age_ms + LINKS_SLACK_MS < passed_ms;
    }
    return linked == f.others;
}

static enum admin_next rotate_links(struct admin_call *c, struct rotate_state *s)
{
    if (all_linked(c->ctx, s->since_ms)) {
        s->stage = ROTATE_REVOKED;
        return propose_key(c, &s->member, s->key, false);
    }
    if (clock_boot_ms() - s->since_ms < LINKS_WAIT_MS)
        return admin_wait(c, POLL_MS);
    return show_key(c, s->member.site); /* somebody is away: the old key stays good for it */
}

static enum admin_next rotate_step(struct admin_call *c, void *state)
{
    struct rotate_state *s = state;

    if (s->stage == ROTATE_BEGIN)
        return rotate_begin(c, s);
    if (s->stage == ROTATE_LINKS)
        return rotate_links(c, s);
    if (c->timed_out)
        return admin_timed_out(c);
    if (s->asked.control->err != OK)
        return admin_fail_proposal(c, s->asked.control, "key");
    return s->stage == ROTATE_NAMED ? rotate_show(c, s) : show_key(c, s->member.site);
}

/* --- revoke-key --- */

struct revoke_state {
    struct admin_asked asked; /* first */
    bool was_proposed;
};

static enum admin_next revoke_step(struct admin_call *c, void *state)
{
    struct revoke_state *s = state;
    struct admin *a = c->ctx;
    uint16_t site = (uint16_t)admin_count(c, "site", a->node->site);
    struct member m;
    enum err e;

    if (s->was_proposed) {
        if (c->timed_out)
            return admin_timed_out(c);
        if (s->asked.control->err != OK)
            return admin_fail_proposal(c, s->asked.control, "site");
        return show_key(c, site);
    }
    if (!admin_is_member(c))
        return ADMIN_END;
    e = control_member_get(control_thread_state(a->node->control), site, &m);
    if (e == E_NOTFOUND)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "no member has this site", "site",
                          "trispool cluster members shows all");
    if (e != OK)
        return admin_fail_err(c, e, "site");
    if (!m.has_old_key)
        return admin_fail(
            c, ADMIN_EXIT_NEGATIVE, "the member has one key only", "site",
            "a key that got out is replaced with: trispool cluster rotate-key, on "
            "that node; a node that is lost is shut out with: trispool cluster "
            "remove");
    s->was_proposed = true;
    return propose_key(c, &m, m.key, false);
}

/* --- solo --- */

static const char *const price[] = {
    "This makes the node the only member of its cluster. It is for the case that both other",
    "sites are lost for good: this node alone cannot tell that from a cut line.",
    "",
    "The price:",
    "- mail that the others accepted and that had not come here is lost, though it got a 250;",
    "- mail that they delivered, and this node has not heard of it, is delivered again;",
    "- changes of domains and settings that had not come here are gone;",
    "- a 250 stands for one copy on this disk, until another member is added and filled;",
    "- what is left of the others must never be started again: empty their data directories",
    "  and let them join anew.",
    NULL,
};

struct solo_state {
    struct admin_asked asked; /* first */
    bool was_asked;
};

static void emit_line(struct admin_call *c, const char *text)
{
    json_t *row = json_object();

    admin_set_z(row, "line", text);
    admin_emit(c, row);
}

static enum admin_next solo_step(struct admin_call *c, void *state)
{
    struct solo_state *s = state;

    if (s->was_asked) {
        if (c->timed_out)
            return admin_timed_out(c);
        if (s->asked.control->err != OK)
            return admin_fail_proposal(c, s->asked.control, "solo");
        emit_line(c, "This node is the only member now, and takes mail on one copy.");
        return admin_done(c, ADMIN_EXIT_OK, NULL);
    }
    if (!admin_is_member(c))
        return ADMIN_END;
    if (!admin_flag(c, "yes")) {
        for (size_t i = 0; price[i] != NULL; i++)
            emit_line(c, price[i]);
        return admin_fail(c, ADMIN_EXIT_USAGE, "this cannot be taken back", "solo",
                          "if the others are lost for good: trispool cluster solo --yes");
    }
    s->was_asked = true;
    return admin_solo(c);
}

/* --- table --- */

static const struct admin_arg revoke_args[] = {{"site", ADMIN_ARG_COUNT, UINT16_MAX, false}};
static const struct admin_arg solo_args[] = {{"yes", ADMIN_ARG_BOOL, 0, false}};

static const struct admin_command rows[] = {
    {"cluster.rotate-key", NULL, 0, true, sizeof(struct rotate_state), rotate_step, asked_end},
    {"cluster.revoke-key", ADMIN_ARGS(revoke_args), true, sizeof(struct revoke_state),
     revoke_step, asked_end},
    {"cluster.solo", ADMIN_ARGS(solo_args), true, sizeof(struct solo_state), solo_step,
     asked_end},
};

struct admin_table admin_cluster_key_table(void)
{
    return ADMIN_TABLE(rows);
}
