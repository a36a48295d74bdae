/* domain list, show, probe: reading and asking. Changes are in admin_domain_set.c. */
#include <stdlib.h>

#include "base/limits.h"
#include "node/admin_parts.h"

static enum err terms_of(struct admin *a, const struct domain *d, struct domain_terms *out)
{
    return control_domain_terms(control_thread_state(a->node->control), d, out);
}

/* --- list --- */

struct list_state {
    char after[LIMIT_SMTP_DOMAIN_BYTES + 1];
    size_t after_bytes;
};

static enum err list_one(struct admin_call *c, struct list_state *s)
{
    struct admin *a = c->ctx;
    struct domain_terms terms;
    struct domain d;
    struct arena arena;
    enum err e;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_domain_next(control_thread_state(a->node->control),
                            (struct str){s->after, s->after_bytes}, &arena, &d);
    if (e == OK) {
        e = terms_of(a, &d, &terms);
        e = e == E_NOTFOUND ? E_CORRUPT : e; /* a plan that is named always exists */
    }
    if (e == OK) {
        s->after_bytes = d.name.n;
        if (!str_to_z(d.name, s->after, sizeof s->after))
            e = E_CORRUPT; /* longer than any name the store takes */
        else
            admin_emit(c, admin_row_domain(&d, &terms));
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
    return e == OK ? ADMIN_AGAIN : admin_fail_err(c, e, "domain");
}

/* --- show and probe: both look the domain up and ask the scheduler --- */

struct ask_state {
    struct admin_asked asked; /* first */
    bool was_asked, has_learned;
    uint32_t learned; /* recipients */
    char name_text[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct str name;
};

static void ask_end(struct admin_call *c, void *state)
{
    (void)c;
    admin_asked_free(state);
}

static enum err domain_get(struct admin_call *c, struct str name, struct arena *arena,
                           struct domain *out)
{
    struct admin *a = c->ctx;

    arena_init(arena, LIMIT_COMMAND_SCRATCH);
    return control_domain_get(control_thread_state(a->node->control), name, arena, out);
}

static enum admin_next unknown(struct admin_call *c, enum err e)
{
    if (e != E_NOTFOUND)
        return admin_fail_err(c, e, "domain");
    return admin_fail(c, ADMIN_EXIT_NEGATIVE, "no such domain", "name",
                      "trispool domain list shows all; domain add makes one");
}

static enum admin_next ask_domain(struct admin_call *c, struct ask_state *s,
                                  enum cluster_ask_kind kind)
{
    uint64_t generation = 0;
    struct domain d;
    struct arena arena;
    enum err e;

    if (!admin_domain_arg(c, "name", s->name_text, sizeof s->name_text, &s->name))
        return ADMIN_END;
    e = domain_get(c, s->name, &arena, &d);
    if (e == OK)
        generation = d.generation;
    arena_reset(&arena);
    if (e != OK)
        return unknown(c, e);
    s->was_asked = true;
    return admin_ask(c, admin_ask_new(kind, s->name, generation));
}

static void set_listed(struct admin *a, json_t *row, uint64_t generation)
{
    uint32_t n;

    if (control_roster_count(control_thread_state(a->node->control), generation, &n) == OK)
        admin_set_u64(row, "listed", n);
}

/* What it costs that nobody, or few, are known. */
static void set_learned(json_t *row, const struct domain *d, uint32_t learned)
{
    if (d->recipients != RECIPIENTS_LEARN)
        return;
    admin_set_u64(row, "learned", learned);
    if (learned == 0)
        admin_set_z(row, "learned_note",
                    "no recipient is known yet: every one is taken, and those that the primary "
                    "then refuses are bounced to the sender");
    else if (d->unknown != UNKNOWN_ACCEPT)
        admin_set_z(
            row, "learned_note",
            "others are put off (450), unless SPF vouches for the sender and the domain "
            "takes that");
}

static enum admin_next ask_learned(struct admin_call *c, struct ask_state *s)
{
    struct edge_rcpt *q = calloc(1, sizeof *q);
    struct domain d;
    struct arena arena;
    enum err e;

    if (q == NULL)
        return admin_fail_err(c, E_FULL, "memory");
    q->is_look = q->is_spared = true;
    e = domain_get(c, s->name, &arena, &d);
    if (e == OK)
        q->generation = d.generation;
    s->has_learned = e == OK && d.recipients != RECIPIENTS_LEARN; /* there is nothing */
    arena_reset(&arena);
    if (e == OK && !s->has_learned)
        return admin_ask_edge(c, q);
    free(q);
    return e == OK ? ask_domain(c, s, CLUSTER_ASK_DOMAIN) : unknown(c, e);
}

static enum admin_next show_step(struct admin_call *c, void *state)
{
    struct ask_state *s = state;
    struct domain_terms terms;
    struct domain d;
    struct arena arena;
    json_t *row = NULL;
    enum err e;

    if (c->timed_out)
        return admin_timed_out(c);
    if (s->asked.edge != NULL) {
        s->learned = s->asked.edge->learned;
        s->has_learned = true;
    }
    if (!s->has_learned)
        return admin_domain_arg(c, "name", s->name_text, sizeof s->name_text, &s->name)
                   ? ask_learned(c, s)
                   : ADMIN_END;
    if (!s->was_asked)
        return ask_domain(c, s, CLUSTER_ASK_DOMAIN);
    e = domain_get(c, s->name, &arena, &d);
    if (e == OK)
        e = terms_of(c->ctx, &d, &terms);
    if (e == OK)
        row = admin_row_domain(&d, &terms);
    arena_reset(&arena);
    if (e != OK)
        return unknown(c, e);
    if (row != NULL)
        admin_set_primary(row, s->asked.cluster);
    if (row != NULL)
        set_listed(c->ctx, row, d.generation);
    if (row != NULL)
        set_learned(row, &d, s->learned);
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

static enum admin_next probed(struct admin_call *c, const struct cluster_ask *q)
{
    bool any = false;

    if (q->err == E_AGAIN)
        return admin_fail(c, ADMIN_EXIT_TEMPORARY, "a probe is under way", "name", "try again");
    if (q->err == E_IO)
        return admin_fail(c, ADMIN_EXIT_TEMPORARY, "the daemon is about to stop", "probe",
                          NULL);
    if (q->err != OK && q->err != E_NOTFOUND)
        return admin_fail_err(c, q->err, "probe");
    for (size_t i = 0; i < q->addr_count; i++) {
        any |= q->addrs[i].failure == SCHED_FAIL_NONE;
        admin_emit(c, admin_row_address(&q->addrs[i], true));
    }
    if (q->addr_count == 0)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE,
                          q->route > ROUTE_OK && q->route < ROUTE_RESULTS
                              ? route_result_text(q->route)
                              : "the route gave no address",
                          "route", "trispool domain show NAME; look at the domain's DNS");
    return admin_done(c, any ? ADMIN_EXIT_OK : ADMIN_EXIT_NEGATIVE, NULL);
}

static enum admin_next probe_step(struct admin_call *c, void *state)
{
    struct ask_state *s = state;

    if (!s->was_asked)
        return ask_domain(c, s, CLUSTER_ASK_PROBE);
    return c->timed_out ? admin_timed_out(c) : probed(c, s->asked.cluster);
}

static const struct admin_arg name_args[] = {
    {"name", ADMIN_ARG_TEXT, LIMIT_SMTP_DOMAIN_BYTES + 1, true},
};

static const struct admin_command rows[] = {
    {"domain.list", NULL, 0, false, sizeof(struct list_state), list_step, NULL},
    {"domain.show", ADMIN_ARGS(name_args), false, sizeof(struct ask_state), show_step, ask_end},
    {"domain.probe", ADMIN_ARGS(name_args), false, sizeof(struct ask_state), probe_step,
     ask_end},
};

struct admin_table admin_domain_table(void)
{
    return ADMIN_TABLE(rows);
}
