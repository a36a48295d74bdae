#include "node/control_core_private.h"

#define COMMANDS (LIMIT_MEMBER_RECORDS + 1) /* removals, and the setting */

void core_solo_end(struct control_core *c, enum err e, const char *why)
{
    if (c->solo_ms == 0)
        return;
    c->solo_ms = 0;
    if (c->o.ops.solo != NULL)
        c->o.ops.solo(c->o.ops.ctx, e, why);
}

/* --- may it? --- */

/* Heard from since it was asked. */
static bool is_there(const struct control_core *c, uint64_t id)
{
    for (size_t i = 0; i < CORE_PEERS; i++)
        if (c->peers[i].id == id)
            return c->peers[i].contact_ms > c->solo_ms;
    return false;
}

static bool majority_is_there(const struct control_core *c)
{
    const struct cs_members *m = cs_members(c->cs);
    uint32_t voters = 0, there = 0;

    for (uint32_t i = 0; i < m->count; i++) {
        if (m->list[i].role != CS_VOTER)
            continue;
        voters++;
        there += m->list[i].id == ctllog_id(c->log)->incarnation || is_there(c, m->list[i].id);
    }
    return there > voters / 2;
}

/* OK: its members are in *m. */
static enum err check(struct control_core *c, struct control_members *m, const char **why)
{
    const struct store_id *own = ctllog_id(c->log);
    enum err e;

    *why = "the control store has failed";
    if (c->failed != OK || c->stopping)
        return E_IO;
    *why = "the control store has no room";
    if (c->blocked || c->full)
        return E_FULL;
    *why = "this node is the only voter already";
    if (control_core_is_lone(c))
        return E_EXISTS;
    e = control_members(c->state, m);
    if (e != OK) {
        *why = "the members cannot be read";
        return e;
    }
    *why = "this node has not got the end of the log yet";
    if (control_applied(c->state) > ctllog_last(c->log)) /* the state came as a snapshot */
        return E_NOTFOUND;
    *why = NULL;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->members[i].incarnation == own->incarnation && !m->members[i].leaving)
            return OK;
    *why = "this node is no member, or has not got the control state yet";
    return E_NOTFOUND;
}

void control_core_solo(struct control_core *c, uint64_t now)
{
    struct control_members m;
    const char *why;
    enum err e;

    c->now_ms = now > c->now_ms ? now : c->now_ms;
    if (c->solo_ms != 0) {
        c->o.ops.solo(c->o.ops.ctx, E_CONFLICT, "it is under way");
        return;
    }
    c->solo_ms = c->now_ms;
    e = check(c, &m, &why);
    if (e != OK)
        core_solo_end(c, e, why);
}

/* --- doing it --- */

/* Bytes in `a`; what is encoded here always fits. */
static struct str encoded(const struct command *cmd, struct arena *a)
{
    uint8_t buf[1024];
    struct str bytes;
    enum err e = command_encode(cmd, buf, sizeof buf, &bytes);

    ASSERT(e == OK);
    bytes = arena_str(a, bytes);
    ASSERT(bytes.p != NULL);
    return bytes;
}

/* All others are removed, records of replaced ones too; then one copy is enough. */
static size_t commands(const struct control_core *c, const struct control_members *m,
                       struct arena *a, struct str out[COMMANDS])
{
    struct command setting = {.kind = COMMAND_SETTING_PUT,
                              .setting_put = {STR(CONTROL_SOLO_SETTING), STR("on")}};
    size_t n = 0;

    for (uint32_t i = 0; i < m->count; i++) {
        struct command remove = {
            .kind = COMMAND_MEMBER_REMOVE,
            .member_remove = {m->members[i].site, m->members[i].incarnation}};

        if (m->members[i].incarnation != ctllog_id(c->log)->incarnation)
            out[n++] = encoded(&remove, a);
    }
    out[n++] = encoded(&setting, a);
    return n;
}

/* Behind the log, in one transaction, under a term that nobody has voted in. */
static enum err write_solo(struct control_core *c, const struct control_members *m)
{
    const struct store_id *own = ctllog_id(c->log);
    struct cs_members self = {.count = 1};
    uint8_t buf[RAFTWIRE_MEMBERS_BYTES];
    struct log_entry entries[1 + COMMANDS];
    struct str bytes[COMMANDS];
    struct arena a;
    uint64_t term = ctllog_term(c->log) + 1, index = ctllog_last(c->log) + 1;
    size_t count;
    enum err e;

    arena_init(&a, 64 * KiB);
    self.list[0] = (struct cs_member){own->incarnation, own->site, CS_VOTER};
    entries[0] = (struct log_entry){.index = index,
                                    .term = term,
                                    .kind = RAFTWIRE_MEMBERS,
                                    .bytes = cs_members_encode(&self, buf)};
    count = commands(c, m, &a, bytes);
    for (size_t i = 0; i < count; i++)
        entries[1 + i] = (struct log_entry){
            .index = index + 1 + i, .term = term, .kind = RAFTWIRE_COMMAND, .bytes = bytes[i]};
    e = ctllog_put_term(c->log, term, 0);
    if (e == OK)
        e = ctllog_append(c->log, entries, 1 + count);
    arena_reset(&a);
    return e;
}

/* The engine of before knows nothing of what was written behind its back: it ends here. */
static void begin_anew(struct control_core *c)
{
    enum err e;

    core_requests_fail(c, E_TIMEOUT);
    core_transfers_end(c);
    core_arrival_end(c);
    memset(c->peers, 0, sizeof c->peers);
    c->follow_count = 0;
    cs_free(&c->cs);
    e = core_engine_start(c);
    if (e != OK && e != E_FULL) /* full: what is written is applied later */
        core_fail(c, "solo", e);
    c->lease_stale = true;
    c->o.ops.changed(c->o.ops.ctx, CONTROL_CHANGED_LEAD);
}

void core_solo_tick(struct control_core *c)
{
    struct control_members m;
    const char *why;
    enum err e;

    if (c->solo_ms == 0)
        return;
    if (majority_is_there(c)) {
        core_solo_end(c, E_CONFLICT, "a majority of the members is there");
        return;
    }
    if (c->now_ms < c->solo_ms + CORE_SOLO_MS)
        return;
    e = check(c, &m, &why);
    if (e != OK) {
        core_solo_end(c, e, why);
        return;
    }
    e = write_solo(c, &m);
    if (e == E_FULL) {
        core_solo_end(c, e, "the control store has no room");
        return;
    }
    if (e != OK) {
        core_fail(c, "solo", e);
        core_solo_end(c, e, "the control store has failed");
        return;
    }
    log_write(EV_CONTROL_SOLO, NULL, 0);
    begin_anew(c);
    core_solo_end(c, c->failed, c->failed == OK ? NULL : "the control store has failed");
}
