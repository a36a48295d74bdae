#include <stdlib.h>

#include "node/control_core_private.h"

enum err core_clock_again(struct control_core *c)
{
    uint64_t ms;
    enum err e = control_cluster_ms(c->state, &ms);

    if (e == OK)
        clusterclock_init(&c->clock, ms, c->now_ms);
    return e;
}

/* Reads and decodes the entries of the batch. What is no command only moves the index. */
static enum err read_batch(struct control_core *c, struct arena *a, struct command *commands,
                           struct control_input *inputs)
{
    for (uint64_t i = c->batch_from; i <= c->batch_to; i++) {
        size_t at = (size_t)(i - c->batch_from);
        struct core_result *recent = &c->recent[i % CORE_RESULTS];
        struct log_entry entry;
        enum err e = ctllog_read(c->log, i, a, &entry);

        inputs[at] = (struct control_input){.index = i};
        if (e == OK && entry.kind == RAFTWIRE_COMMAND) {
            e = command_decode(entry.bytes, a, &commands[at]);
            inputs[at].command = &commands[at];
        }
        if (e == E_PROTO || e == E_NOTFOUND) /* checked when it was proposed */
            e = E_CORRUPT;
        if (e != OK)
            return e;
        *recent = (struct core_result){.index = i, .term = entry.term};
    }
    return OK;
}

static unsigned changed_by(const struct command *cmd)
{
    switch (cmd->kind) {
    case COMMAND_DOMAIN_PUT:
    case COMMAND_DOMAIN_REMOVE:
    case COMMAND_DOMAIN_DROP:
        return CONTROL_CHANGED_DOMAINS;
    case COMMAND_PLAN_PUT:
        return CONTROL_CHANGED_PLANS;
    case COMMAND_SETTING_PUT:
        return CONTROL_CHANGED_SETTINGS;
    case COMMAND_OPERATE:
        return CONTROL_CHANGED_OPERATIONS;
    case COMMAND_ACCESS:
        return CONTROL_CHANGED_ACCESS;
    case COMMAND_SESSION_OPEN:
    case COMMAND_SESSION_END:
    case COMMAND_SLOT_WANTED:
    case COMMAND_SLOT_RELEASE:
    case COMMAND_PLACE:
        return CONTROL_CHANGED_SLOTS;
    case COMMAND_MEMBER_ADD:
    case COMMAND_MEMBER_REMOVE:
    case COMMAND_MEMBER_KEY:
    case COMMAND_MEMBER_FILLED:
    case COMMAND_DRAIN:
        return CONTROL_CHANGED_MEMBERS | CONTROL_CHANGED_SLOTS;
    case COMMAND_CLOCK:
    case COMMAND_OPERATE_DONE:
        return 0;
    case COMMAND_ROSTER:
        return 0; /* read in the store at each recipient */
    case COMMAND_SESSION_RENEW:
        return 0; /* nobody but the lease wants to know */
    }
    return 0;
}

/* A domain, a setting or the time change nothing for them, and the view of them is long. */
static bool is_of_leases(const struct command *cmd)
{
    return cmd->kind == COMMAND_SESSION_RENEW ||
           (changed_by(cmd) & (CONTROL_CHANGED_SLOTS | CONTROL_CHANGED_MEMBERS)) != 0;
}

/* What operators see of a command that took effect, or did not. */
static void log_command(uint64_t index, const struct command *cmd,
                        const struct command_result *r)
{
    if (r->err != OK)
        LOG(EV_COMMAND_REFUSED, L_CSTR("command", command_kind_text(cmd->kind)),
            L_U64("index", index), L_CSTR("why", r->refused), L_ERR(r->err));
    else if (cmd->kind == COMMAND_SESSION_OPEN)
        LOG(EV_SESSION_OPENED, L_U64("site", cmd->session_open.site), L_U64("epoch", index));
    else if (cmd->kind == COMMAND_OPERATE)
        LOG(EV_OPERATOR, L_CSTR("op", operate_op_text(cmd->operate.op)), L_U64("index", index),
            L_U64("uid", cmd->operate.uid), L_STR("domain", cmd->operate.domain),
            L_U64("ids", cmd->operate.id_count));
}

static void after_apply(struct control_core *c, const struct control_input *inputs)
{
    unsigned changed = 0;
    uint64_t ms;
    enum err e = control_cluster_ms(c->state, &ms);

    if (e != OK) {
        core_fail(c, "read_clock", e);
        return;
    }
    for (uint64_t i = c->batch_from; i <= c->batch_to; i++) {
        size_t at = (size_t)(i - c->batch_from);

        c->recent[i % CORE_RESULTS].result = c->results[at];
        /* What is no command may be the first entry of a leader's term. */
        c->lease_stale |= inputs[at].command == NULL || is_of_leases(inputs[at].command);
        if (inputs[at].command == NULL)
            continue;
        log_command(i, inputs[at].command, &c->results[at]);
        if (c->results[at].err == OK)
            changed |= changed_by(inputs[at].command);
    }
    if (ms != c->clock.base_ms)
        clusterclock_applied(&c->clock, ms, c->now_ms);
    stat_set(STAT_CONTROL_APPLIED_INDEX, c->batch_to);
    if (changed & CONTROL_CHANGED_MEMBERS)
        c->tend_ms = c->now_ms;
    if (changed != 0)
        c->o.ops.changed(c->o.ops.ctx, changed);
    core_follow_up(c, (struct cs_event){.type = CS_EV_APPLIED, .index = c->batch_to});
}

void core_apply(struct control_core *c)
{
    struct command *commands = calloc(LIMIT_CONTROL_BATCH, sizeof *commands);
    struct control_input inputs[LIMIT_CONTROL_BATCH];
    size_t count = (size_t)(c->batch_to - c->batch_from + 1);
    struct arena a;
    enum err e = commands == NULL ? E_FULL : OK;

    arena_init(&a, CORE_APPLY_BYTES);
    if (e == OK)
        e = read_batch(c, &a, commands, inputs);
    if (e == OK)
        e = control_apply_batch(c->state, inputs, count, c->results);
    c->blocked = e == E_FULL;
    if (c->blocked)
        c->retry_ms = c->now_ms + CORE_RETRY_MS;
    if (e == OK || e == E_FULL)
        core_set_full(c, e == E_FULL);
    if (e == OK)
        after_apply(c, inputs);
    else if (e != E_FULL)
        core_fail(c, "apply", e);
    if (e == OK)
        core_requests_applied(c, c->batch_to);
    arena_reset(&a);
    free(commands);
}

bool core_result_of(const struct control_core *c, uint64_t index, struct core_result *out)
{
    *out = c->recent[index % CORE_RESULTS];
    return out->index == index;
}
