/* domain add, set, remove: changes, through the control log. */
#include "base/limits.h"
#include "node/admin_parts.h"

struct change_state {
    struct admin_asked asked; /* first */
    bool was_asked, was_proposed;
    char name_text[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct str name;
};

static void change_end(struct admin_call *c, void *state)
{
    (void)c;
    admin_asked_free(state);
}

static struct control *store(struct admin_call *c)
{
    struct admin *a = c->ctx;

    return control_thread_state(a->node->control);
}

/* --- the record a request describes --- */

static bool read_route(struct admin_call *c, struct arena *arena, struct domain_route *out)
{
    char what[200];
    const char *why;
    size_t at = 0;

    if (!admin_given(c, "route"))
        return true;
    why = route_parse(admin_text(c, "route"), arena, out, &at);
    if (why == NULL)
        return true;
    snprintf(what, sizeof what, "route: %s, at byte %zu", why, at + 1);
    (void)admin_fail(c, ADMIN_EXIT_USAGE, what, "route",
                     "mx, or host[:port][=preference], separated by commas");
    return false;
}

static bool bad_word(struct admin_call *c, const char *name, const char *choices)
{
    (void)admin_fail(c, ADMIN_EXIT_USAGE, "not one of the choices", name, choices);
    return false;
}

static bool read_checks(struct admin_call *c, struct domain *d)
{
    char what[200];
    const char *why;
    size_t at = 0;

    if (!admin_given(c, "checks"))
        return true;
    why = checks_parse(admin_text(c, "checks"), d->checks, &at);
    if (why == NULL)
        return true;
    snprintf(what, sizeof what, "checks: %s, at byte %zu", why, at + 1);
    (void)admin_fail(
        c, ADMIN_EXIT_USAGE, what, "checks",
        "such as sender=refuse,spf=mark; trispool domain set --help tells the rest");
    return false;
}

static bool read_recipients(struct admin_call *c, struct domain *d)
{
    struct str text;

    if (admin_given(c, "recipients") &&
        !domain_recipients_parse(admin_text(c, "recipients"), &d->recipients))
        return bad_word(c, "recipients", "any, list, learn");
    if (admin_given(c, "unknown") &&
        !domain_unknown_parse(admin_text(c, "unknown"), &d->unknown))
        return bad_word(c, "unknown", "authenticated, accept, defer");
    if (!admin_given(c, "separator"))
        return true;
    text = admin_text(c, "separator");
    if (text.n > 1)
        return bad_word(c, "separator", "one character, or \"\" for none");
    d->separator = text.n == 1 ? text.p[0] : 0;
    return true;
}

/* What the request names goes over what `d` has. */
static bool overlay(struct admin_call *c, struct arena *arena, struct domain *d)
{
    const char *why;

    if (!read_route(c, arena, &d->route) || !read_checks(c, d) || !read_recipients(c, d))
        return false;
    if (admin_given(c, "tls") && !domain_tls_parse(admin_text(c, "tls"), &d->tls))
        return bad_word(c, "tls", "opportunistic, require, off");
    if (admin_given(c, "eight_bit") &&
        !domain_eight_bit_parse(admin_text(c, "eight_bit"), &d->eight_bit))
        return bad_word(c, "eight_bit", "pass, hold");
    if (admin_given(c, "dsn") && !domain_dsn_parse(admin_text(c, "dsn"), &d->dsn))
        return bad_word(c, "dsn", "authenticated, all, none");
    if (admin_given(c, "digest"))
        d->digest = admin_text(c, "digest");
    if (admin_given(c, "smtputf8"))
        d->smtputf8 = admin_flag(c, "smtputf8");
    if (admin_given(c, "plan"))
        d->plan = admin_text(c, "plan");
    if (admin_given(c, "paused"))
        d->paused = admin_flag(c, "paused");
    d->hold_s = (uint32_t)admin_count(c, "hold_s", d->hold_s);
    d->max_connections = (uint32_t)admin_count(c, "max_connections", d->max_connections);
    why = domain_check(d);
    if (why != NULL)
        (void)admin_fail(c, ADMIN_EXIT_USAGE, why, "domain", NULL);
    return why == NULL;
}

/* The record as it would be. */
static enum admin_next dry_run(struct admin_call *c, const struct domain_put *put)
{
    struct domain old;
    struct domain_terms terms;
    struct arena arena;
    enum err e;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(store(c), put->domain.name, &arena, &old);
    arena_reset(&arena);
    if (e == OK && put->mode == DOMAIN_ADD)
        return admin_fail_err(c, E_EXISTS, "name");
    if (e != OK && e != E_NOTFOUND)
        return admin_fail_err(c, e, "name");
    e = control_domain_terms(store(c), &put->domain, &terms);
    if (e == E_NOTFOUND)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "no such plan", "plan",
                          "trispool plan list shows all; plan set makes one");
    if (e != OK)
        return admin_fail_err(c, e, "plan");
    admin_emit(c, admin_row_domain(&put->domain, &terms));
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

static enum admin_next propose_domain(struct admin_call *c, struct change_state *s,
                                      const struct domain_put *put)
{
    struct command cmd = {.kind = COMMAND_DOMAIN_PUT, .domain_put = *put};

    if (admin_flag(c, "dry_run"))
        return dry_run(c, put);
    s->was_proposed = true;
    return admin_propose(c, &cmd);
}

/* --- endings --- */

static void publish_line(json_t *lines, struct str name, struct str host)
{
    char line[2 * LIMIT_SMTP_DOMAIN_BYTES + 64];

    snprintf(line, sizeof line, STR_FMT ". IN MX 50 " STR_FMT ".", STR_ARG(name),
             STR_ARG(host));
    (void)json_array_append_new(lines, admin_json_text(str_of(line)));
}

/* A member that has not said its name yet is left out. */
static void publish_member(struct admin_call *c, json_t *lines, struct str name, uint16_t site)
{
    char key[NODE_HOSTNAME_SETTING_BYTES];
    struct arena arena;
    struct setting s;

    snprintf(key, sizeof key, NODE_HOSTNAME_SETTING, (unsigned)site);
    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    if (control_setting_get(store(c), str_of(key), &arena, &s) == OK)
        publish_line(lines, name, s.value);
    arena_reset(&arena);
}

/* One for each site, of equal preference: a sender may never reach the last of unequal ones. */
static json_t *publish_lines(struct admin_call *c, struct str name)
{
    struct admin *a = c->ctx;
    struct snapshot_ref *ref = snapshot_hold(a->node->settings);
    const struct node_settings *set = snapshot_value(ref);
    struct control_members all = {.count = 0};
    json_t *lines = json_array();

    if (a->node->replica == NULL || control_members(store(c), &all) != OK)
        all.count = 0;
    for (uint32_t i = 0; i < all.count; i++)
        if (!all.members[i].leaving && all.members[i].site != a->node->site)
            publish_member(c, lines, name, all.members[i].site);
    publish_line(lines, name, str_of(set->config->hostname));
    snapshot_release(&ref);
    return lines;
}

/* The record as it is now; `publish`: and the MX records that its owner must publish. */
static enum admin_next show_changed(struct admin_call *c, struct change_state *s, bool publish)
{
    struct domain_terms terms;
    struct domain d;
    struct arena arena;
    json_t *row = NULL;
    enum err e;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(store(c), s->name, &arena, &d);
    if (e == OK)
        e = control_domain_terms(store(c), &d, &terms);
    if (e == OK)
        row = admin_row_domain(&d, &terms);
    arena_reset(&arena);
    if (e != OK && e != E_NOTFOUND) /* removed again by somebody: the change was made */
        return admin_fail_err(c, e, "domain");
    if (row != NULL && publish)
        admin_set(row, "publish", publish_lines(c, s->name));
    if (row != NULL)
        admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

static enum admin_next concluded(struct admin_call *c, struct change_state *s, bool publish)
{
    if (c->timed_out)
        return admin_timed_out(c);
    if (s->asked.control->err != OK)
        return admin_fail_proposal(c, s->asked.control, "name");
    return show_changed(c, s, publish);
}

/* --- add --- */

static enum admin_next add_step(struct admin_call *c, void *state)
{
    struct change_state *s = state;
    struct domain_put put = {
        .mode = admin_flag(c, "reopen") ? DOMAIN_REOPEN : DOMAIN_ADD,
        .domain = {.route = {.kind = ROUTE_MX}},
    };
    enum admin_next next = ADMIN_END;
    struct arena arena;
    enum err e = OK;

    if (s->was_proposed)
        return concluded(c, s, true);
    if (!admin_domain_arg(c, "name", s->name_text, sizeof s->name_text, &s->name))
        return ADMIN_END;
    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    /* A domain that comes back keeps what it had, but for what is named now. */
    if (put.mode == DOMAIN_REOPEN)
        e = control_domain_get(store(c), s->name, &arena, &put.domain);
    put.domain.name = s->name;
    if (e != OK)
        next = admin_fail_err(c, e, "name");
    else if (overlay(c, &arena, &put.domain))
        next = propose_domain(c, s, &put);
    arena_reset(&arena);
    return next;
}

/* --- set --- */

static enum admin_next set_step(struct admin_call *c, void *state)
{
    struct change_state *s = state;
    struct domain_put put = {.mode = DOMAIN_CHANGE};
    enum admin_next next = ADMIN_END;
    struct arena arena;
    enum err e;

    if (s->was_proposed)
        return concluded(c, s, false);
    if (!admin_domain_arg(c, "name", s->name_text, sizeof s->name_text, &s->name))
        return ADMIN_END;
    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(store(c), s->name, &arena, &put.domain);
    put.if_changed = e == OK ? put.domain.changed : 0;
    if (e == E_NOTFOUND)
        next = admin_fail(c, ADMIN_EXIT_NEGATIVE, "no such domain", "name",
                          "trispool domain list shows all; domain add makes one");
    else if (e != OK)
        next = admin_fail_err(c, e, "name");
    else if (overlay(c, &arena, &put.domain))
        next = propose_domain(c, s, &put);
    arena_reset(&arena);
    return next;
}

/* --- remove --- */

static enum admin_next remove_ask(struct admin_call *c, struct change_state *s)
{
    uint64_t generation = 0;
    struct domain d;
    struct arena arena;
    enum err e;

    if (!admin_domain_arg(c, "name", s->name_text, sizeof s->name_text, &s->name))
        return ADMIN_END;
    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(store(c), s->name, &arena, &d);
    if (e == OK)
        generation = d.generation;
    arena_reset(&arena);
    if (e != OK)
        return admin_fail_err(c, e, "name");
    s->was_asked = true;
    return admin_ask(c, admin_ask_new(CLUSTER_ASK_DOMAIN, s->name, generation));
}

static enum admin_next remove_step(struct admin_call *c, void *state)
{
    struct change_state *s = state;
    struct command cmd = {.kind = COMMAND_DOMAIN_REMOVE};
    json_t *row;

    if (s->was_proposed)
        return concluded(c, s, false);
    if (!s->was_asked)
        return remove_ask(c, s);
    if (c->timed_out)
        return admin_timed_out(c);
    if (!admin_flag(c, "dry_run")) {
        cmd.domain_remove.name = s->name;
        s->was_proposed = true;
        return admin_propose(c, &cmd);
    }
    row = json_object();
    admin_set_text(row, "name", s->name);
    admin_set_u64(row, "messages", s->asked.cluster->messages);
    admin_set_z(row, "state", "would close");
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

/* --- table --- */

#define NAME_ARG                                                                               \
    {                                                                                          \
        "name", ADMIN_ARG_TEXT, LIMIT_SMTP_DOMAIN_BYTES + 1, true                              \
    }
#define DRY_RUN_ARG                                                                            \
    {                                                                                          \
        "dry_run", ADMIN_ARG_BOOL, 0, false                                                    \
    }
#define RECORD_ARGS                                                                            \
    {"route", ADMIN_ARG_TEXT, ROUTE_TEXT_SIZE, false},                                         \
        {"hold_s", ADMIN_ARG_COUNT, LIMIT_HOLD_MAX_S, false},                                  \
        {"tls", ADMIN_ARG_TEXT, 16, false}, {"eight_bit", ADMIN_ARG_TEXT, 16, false},          \
        {"plan", ADMIN_ARG_TEXT, LIMIT_PLAN_NAME_BYTES, false},                                \
        {"max_connections", ADMIN_ARG_COUNT, LIMIT_DOMAIN_CONNS, false},                       \
        {"paused", ADMIN_ARG_BOOL, 0, false}, {"dsn", ADMIN_ARG_TEXT, 16, false},              \
        {"checks", ADMIN_ARG_TEXT, CHECKS_TEXT_SIZE, false},                                   \
        {"recipients", ADMIN_ARG_TEXT, 16, false}, {"separator", ADMIN_ARG_TEXT, 16, false},   \
        {"unknown", ADMIN_ARG_TEXT, 16, false}, {"smtputf8", ADMIN_ARG_BOOL, 0, false},        \
        {"digest", ADMIN_ARG_TEXT, LIMIT_SMTP_PATH_BYTES + 1, false}, DRY_RUN_ARG

static const struct admin_arg add_args[] = {
    NAME_ARG, RECORD_ARGS, {"reopen", ADMIN_ARG_BOOL, 0, false}};
static const struct admin_arg set_args[] = {NAME_ARG, RECORD_ARGS};
static const struct admin_arg remove_args[] = {NAME_ARG, DRY_RUN_ARG};

static const struct admin_command rows[] = {
    {"domain.add", ADMIN_ARGS(add_args), true, sizeof(struct change_state), add_step,
     change_end},
    {"domain.set", ADMIN_ARGS(set_args), true, sizeof(struct change_state), set_step,
     change_end},
    {"domain.remove", ADMIN_ARGS(remove_args), true, sizeof(struct change_state), remove_step,
     change_end},
};

struct admin_table admin_domain_set_table(void)
{
    return ADMIN_TABLE(rows);
}
