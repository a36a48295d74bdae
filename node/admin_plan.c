/* plan list, show, set. */
#include "base/limits.h"
#include "node/admin_parts.h"

static struct control *store(struct admin_call *c)
{
    struct admin *a = c->ctx;

    return control_thread_state(a->node->control);
}

struct list_state {
    char after[LIMIT_PLAN_NAME_BYTES + 1];
    size_t after_bytes;
};

static enum err list_one(struct admin_call *c, struct list_state *s)
{
    struct plan p;
    struct arena arena;
    enum err e;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_plan_next(store(c), (struct str){s->after, s->after_bytes}, &arena, &p);
    if (e == OK && !str_to_z(p.name, s->after, sizeof s->after))
        e = E_CORRUPT; /* longer than any name the store takes */
    if (e == OK) {
        s->after_bytes = p.name.n;
        admin_emit(c, admin_row_plan(&p));
    }
    arena_reset(&arena);
    return e;
}

static enum admin_next list_step(struct admin_call *c, void *state)
{
    struct list_state *s = state;
    enum err e = OK;

    for (size_t i = 0; i < ADMIN_ROWS_A_STEP && e == OK; i++)
        e = list_one(c, s);
    if (e == E_NOTFOUND)
        return admin_done(c, ADMIN_EXIT_OK, NULL);
    return e == OK ? ADMIN_AGAIN : admin_fail_err(c, e, "plan");
}

static enum admin_next show(struct admin_call *c)
{
    struct plan p;
    struct arena arena;
    json_t *row = NULL;
    enum err e;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_plan_get(store(c), admin_text(c, "name"), &arena, &p);
    if (e == OK)
        row = admin_row_plan(&p);
    arena_reset(&arena);
    if (e == E_NOTFOUND)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "no such plan", "name",
                          "trispool plan list shows all; plan set makes one");
    if (e != OK)
        return admin_fail_err(c, e, "plan");
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

static enum admin_next show_step(struct admin_call *c, void *state)
{
    (void)state;
    return show(c);
}

struct set_state {
    struct admin_asked asked; /* first */
    bool was_proposed;
};

static void set_end(struct admin_call *c, void *state)
{
    (void)c;
    admin_asked_free(state);
}

static enum admin_next set_step(struct admin_call *c, void *state)
{
    struct set_state *s = state;
    struct command cmd = {.kind = COMMAND_PLAN_PUT};
    struct plan old;
    struct arena arena;
    enum err e;

    if (s->was_proposed) {
        if (c->timed_out)
            return admin_timed_out(c);
        if (s->asked.control->err != OK)
            return admin_fail_proposal(c, s->asked.control, "name");
        return show(c);
    }
    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_plan_get(store(c), admin_text(c, "name"), &arena, &old);
    arena_reset(&arena);
    if (e != OK && e != E_NOTFOUND)
        return admin_fail_err(c, e, "plan");
    if (e == E_NOTFOUND)
        old = (struct plan){.hold_s = LIMIT_HOLD_DEFAULT_S,
                            .max_connections = LIMIT_CONNS_PER_DEST};
    cmd.plan_put = (struct plan){
        .name = admin_text(c, "name"),
        .hold_s = (uint32_t)admin_count(c, "hold_s", old.hold_s),
        .max_connections = (uint32_t)admin_count(c, "max_connections", old.max_connections),
    };
    if (admin_flag(c, "dry_run")) {
        const char *why = command_check(&cmd);

        if (why != NULL)
            return admin_fail(c, ADMIN_EXIT_USAGE, why, "plan", NULL);
        admin_emit(c, admin_row_plan(&cmd.plan_put));
        return admin_done(c, ADMIN_EXIT_OK, NULL);
    }
    s->was_proposed = true;
    return admin_propose(c, &cmd);
}

static const struct admin_arg set_args[] = {
    {"name", ADMIN_ARG_TEXT, LIMIT_PLAN_NAME_BYTES, true},
    {"hold_s", ADMIN_ARG_COUNT, LIMIT_HOLD_MAX_S, false},
    {"max_connections", ADMIN_ARG_COUNT, LIMIT_DOMAIN_CONNS, false},
    {"dry_run", ADMIN_ARG_BOOL, 0, false},
};

static const struct admin_arg show_args[] = {
    {"name", ADMIN_ARG_TEXT, LIMIT_PLAN_NAME_BYTES, true},
};

static const struct admin_command rows[] = {
    {"plan.list", NULL, 0, false, sizeof(struct list_state), list_step, NULL},
    {"plan.show", ADMIN_ARGS(show_args), false, 0, show_step, NULL},
    {"plan.set", ADMIN_ARGS(set_args), true, sizeof(struct set_state), set_step, set_end},
};

struct admin_table admin_plan_table(void)
{
    return ADMIN_TABLE(rows);
}
