/* recipient list, show, change: the lists of recipients; ask: what the primary says. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "node/admin_parts.h"
#include "proto/roster.h"

#define ADDRESS_BYTES (LIMIT_SMTP_LOCAL_PART_BYTES + 1 + LIMIT_SMTP_DOMAIN_BYTES + 1)

static struct control *store(struct admin_call *c)
{
    struct admin *a = c->ctx;

    return control_thread_state(a->node->control);
}

/* What is asked about. */
struct owner {
    char name_text[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct str name;
    uint64_t generation;
    enum domain_recipients mode;
    char separator;
};

/* False: it was answered. */
static bool look_up(struct admin_call *c, struct owner *o, const char *arg)
{
    struct domain d;
    struct arena arena;
    enum err e;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(store(c), o->name, &arena, &d);
    if (e == OK) {
        o->generation = d.generation;
        o->mode = d.recipients;
        o->separator = d.separator;
    }
    arena_reset(&arena);
    if (e == E_NOTFOUND)
        (void)admin_fail(c, ADMIN_EXIT_NEGATIVE, "no such domain", arg,
                         "trispool domain list shows all; domain add makes one");
    else if (e != OK)
        (void)admin_fail_err(c, e, arg);
    return e == OK;
}

/* "local@domain"; the catch-all is "@domain". */
static struct str address_of(const struct owner *o, const char *local,
                             char buf[ADDRESS_BYTES + 1])
{
    bool is_all = strcmp(local, "@") == 0;
    int n =
        snprintf(buf, ADDRESS_BYTES + 1, "%s@" STR_FMT, is_all ? "" : local, STR_ARG(o->name));

    return (struct str){buf, (size_t)n};
}

/* --- list --- */

struct list_state {
    struct owner owner;
    struct admin_times t;
    char after[LIMIT_SMTP_LOCAL_PART_BYTES + 1];
};

static enum admin_next list_step(struct admin_call *c, void *state)
{
    struct list_state *s = state;
    struct roster_record page[ADMIN_ROWS_A_STEP];
    char text[ADDRESS_BYTES + 1];
    json_t *more;
    size_t got;
    enum err e;

    if (s->owner.generation == 0) {
        s->t = admin_times_now(c->ctx);
        if (!admin_domain_arg(c, "domain", s->owner.name_text, sizeof s->owner.name_text,
                              &s->owner.name) ||
            !look_up(c, &s->owner, "domain"))
            return ADMIN_END;
    }
    e = control_roster_page(store(c), s->owner.generation, str_of(s->after), page,
                            ADMIN_ROWS_A_STEP, &got);
    if (e != OK)
        return admin_fail_err(c, e, "domain");
    for (size_t i = 0; i < got; i++) {
        json_t *row = json_object();

        admin_set_text(row, "recipient", address_of(&s->owner, page[i].local, text));
        admin_set(row, "added", admin_json_time(admin_wall_of(&s->t, page[i].added_ms)));
        admin_set_u64(row, "uid", page[i].uid);
        admin_emit(c, row);
    }
    if (got == ADMIN_ROWS_A_STEP) {
        memcpy(s->after, page[got - 1].local, sizeof s->after);
        return ADMIN_AGAIN;
    }
    more = json_object();
    admin_set_u64(more, "generation", s->owner.generation);
    return admin_done(c, ADMIN_EXIT_OK, more);
}

/* --- addresses --- */

static bool wrong(struct admin_call *c, const char *what, const char *hint)
{
    (void)admin_fail(c, ADMIN_EXIT_USAGE, what, "recipients", hint);
    return false;
}

/* Cuts the domain off an address and makes it, or finds it to be, that of *o. A bare local part
 * (and "@") is one of a domain that is known already. False: it was answered. */
static bool cut_domain(struct admin_call *c, struct str text, struct owner *o,
                       struct str *local)
{
    size_t at = str_find_last(text, '@');
    char buf[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct str domain;
    const char *why;

    *local = at == 0 ? ROSTER_CATCH_ALL : str_head(text, at);
    domain = at < text.n ? str_from(text, at + 1) : STR_NONE;
    if (domain.n == 0 && o->name.n > 0)
        return true;
    if (domain.n == 0)
        return wrong(c, "an address has a domain", "as john@example.com, or @example.com");
    if (domain.n > LIMIT_SMTP_DOMAIN_BYTES)
        return wrong(c, "a name has at most 253 bytes", NULL);
    domain = str_lower(domain, buf, sizeof buf);
    why = domain_name_check(domain);
    if (why != NULL)
        return wrong(c, why, NULL);
    if (o->name.n == 0) {
        (void)str_to_z(domain, o->name_text, sizeof o->name_text);
        o->name = str_of(o->name_text);
    }
    return str_eq(domain, o->name) ||
           wrong(c, "addresses of two domains", "one domain in one command");
}

/* --- show --- */

static enum admin_next not_listed(struct admin_call *c, enum domain_recipients mode)
{
    static const char *const whats[] = {
        [RECIPIENTS_ANY] = "not listed, but its domain takes all",
        [RECIPIENTS_LIST] = "not listed: it is refused",
        [RECIPIENTS_LEARN] = "not listed: its domain goes by what it has learned of it",
    };

    return admin_fail(c, ADMIN_EXIT_NEGATIVE, whats[mode], "address",
                      mode == RECIPIENTS_LEARN ? "trispool policy test shows what that is"
                                               : "trispool recipient add ADDRESS");
}

static enum admin_next show_step(struct admin_call *c, void *state)
{
    struct roster_wanted wanted;
    enum roster_match match;
    struct owner o = {.name = STR_NONE};
    struct str address = admin_text(c, "address"), local;
    char text[ADDRESS_BYTES + 1], key[LIMIT_SMTP_LOCAL_PART_BYTES + 1] = "";
    json_t *row;
    enum err e;

    (void)state;
    if (!cut_domain(c, address, &o, &local) || !look_up(c, &o, "address"))
        return ADMIN_END;
    roster_wanted(&wanted, local, o.separator);
    e = control_roster_find(store(c), o.generation, &wanted, &match);
    if (e != OK)
        return admin_fail_err(c, e, "address");
    if (match == ROSTER_NO_MATCH)
        return not_listed(c, o.mode);
    (void)str_to_z(wanted.key[match], key, sizeof key);
    row = json_object();
    admin_set_text(row, "recipient", address);
    admin_set_z(row, "match", roster_match_text(match));
    admin_set_text(row, "entry", address_of(&o, key, text));
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

/* --- ask --- */

struct ask_state {
    struct admin_asked asked; /* first */
    struct owner owner;
    bool was_asked;
};

static void ask_end(struct admin_call *c, void *state)
{
    struct ask_state *s = state;

    (void)c;
    admin_asked_free(&s->asked);
}

static enum admin_next asked(struct admin_call *c, const struct ask_state *s)
{
    const struct callout_wish *w = &s->asked.callout->wish;
    json_t *row = json_object();
    char text[ADDRESS_BYTES + 1];

    admin_set_text(row, "recipient", address_of(&s->owner, w->local, text));
    admin_set_z(row, "verdict", callout_verdict_text(w->verdict));
    admin_set_holder(row, c->ctx, s->owner.name);
    admin_emit(c, row);
    return admin_done(c, w->verdict == CALLOUT_VALID ? ADMIN_EXIT_OK : ADMIN_EXIT_NEGATIVE,
                      NULL);
}

static enum admin_next ask_step(struct admin_call *c, void *state)
{
    struct ask_state *s = state;
    struct callout_ask *q;
    struct str local;

    if (s->was_asked)
        return c->timed_out ? admin_timed_out(c) : asked(c, s);
    if (!cut_domain(c, admin_text(c, "address"), &s->owner, &local) ||
        !look_up(c, &s->owner, "address"))
        return ADMIN_END;
    q = calloc(1, sizeof *q);
    if (q == NULL)
        return admin_fail_err(c, E_FULL, "memory");
    q->wish.generation = s->owner.generation;
    q->wish.hurries = true;
    (void)str_to_z(s->owner.name, q->wish.domain, sizeof q->wish.domain);
    if (local.n == 0 || str_eq(local, ROSTER_CATCH_ALL) ||
        !str_to_z(local, q->wish.local, sizeof q->wish.local)) {
        free(q);
        return admin_fail(c, ADMIN_EXIT_USAGE, "not a recipient", "address",
                          "as john@example.com");
    }
    s->was_asked = true;
    return admin_ask_primary(c, q);
}

/* --- add, remove --- */

struct change_state {
    struct admin_asked asked; /* first */
    struct owner owner;
    bool was_proposed;
    char *bytes;
    size_t used;
    uint64_t added, removed, unchanged; /* as the list was when the command was made */
};

static void change_end(struct admin_call *c, void *state)
{
    struct change_state *s = state;

    (void)c;
    admin_asked_free(&s->asked);
    free(s->bytes);
}

static int by_local(const void *a, const void *b)
{
    const struct roster_entry *x = a, *y = b;

    return roster_compare(x->local, y->local);
}

/* Lowered in place; *names has room for it. */
static bool read_one(struct admin_call *c, struct owner *o, struct str text, bool is_removed,
                     char *names, struct roster_entry *out)
{
    const char *why;

    *out = (struct roster_entry){.is_removed = is_removed};
    if (!cut_domain(c, text, o, &out->local))
        return false;
    if (out->local.n <= LIMIT_SMTP_LOCAL_PART_BYTES)
        out->local = str_lower(out->local, names, LIMIT_SMTP_LOCAL_PART_BYTES);
    why = roster_local_check(out->local);
    return why == NULL || wrong(c, why, "as john@example.com, or @example.com for all");
}

/* Sorted, each once. False: it was answered. */
static bool pack(struct admin_call *c, struct change_state *s, bool is_removed)
{
    size_t n = admin_texts(c, "recipients");
    struct roster_entry *list = calloc(n, sizeof *list);
    char *names = calloc(n, LIMIT_SMTP_LOCAL_PART_BYTES);
    bool ok = list != NULL && names != NULL;

    s->bytes = malloc(LIMIT_COMMAND_BYTES);
    if (!ok || s->bytes == NULL)
        (void)admin_fail(c, ADMIN_EXIT_TEMPORARY, "out of memory", "recipients", "try again");
    ok = ok && s->bytes != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = read_one(c, &s->owner, admin_texts_at(c, "recipients", i), is_removed,
                      names + i * LIMIT_SMTP_LOCAL_PART_BYTES, &list[i]);
    if (ok)
        qsort(list, n, sizeof *list, by_local);
    for (size_t i = 0; ok && i < n; i++) {
        if (i > 0 && by_local(&list[i - 1], &list[i]) == 0)
            continue;
        ok = roster_append(s->bytes, LIMIT_COMMAND_BYTES, &s->used, &list[i]) == OK ||
             wrong(c, "too much at once", "name fewer recipients");
    }
    free(list);
    free(names);
    return ok;
}

static bool weigh(struct admin_call *c, struct change_state *s)
{
    struct str rest = {s->bytes, s->used};
    struct roster_entry e;

    while (roster_next(&rest, &e)) {
        struct roster_wanted w = {.key = {[ROSTER_EXACT] = e.local}};
        enum roster_match match;
        enum err err = control_roster_find(store(c), s->owner.generation, &w, &match);
        bool is_there = match == ROSTER_EXACT;

        if (err != OK) {
            (void)admin_fail_err(c, err, "recipients");
            return false;
        }
        s->unchanged += is_there != e.is_removed;
        s->added += !is_there && !e.is_removed;
        s->removed += is_there && e.is_removed;
    }
    return true;
}

static bool read_args(struct admin_call *c, struct change_state *s)
{
    struct str op = admin_text(c, "op");
    bool is_removed = str_eq(op, STR("remove"));
    uint64_t generation = admin_count(c, "generation", 0);

    if (!is_removed && !str_eq(op, STR("add"))) {
        (void)admin_fail(c, ADMIN_EXIT_USAGE, "no such op", "op", "add or remove");
        return false;
    }
    if (admin_given(c, "domain") &&
        !admin_domain_arg(c, "domain", s->owner.name_text, sizeof s->owner.name_text,
                          &s->owner.name))
        return false;
    if (!pack(c, s, is_removed) || !look_up(c, &s->owner, "recipients"))
        return false;
    if (generation != 0 && generation != s->owner.generation) {
        (void)admin_fail(c, ADMIN_EXIT_NEGATIVE,
                         "the domain was removed and added anew meanwhile", "domain", NULL);
        return false;
    }
    return weigh(c, s);
}

static enum admin_next report(struct admin_call *c, const struct change_state *s)
{
    json_t *row = json_object();
    uint32_t listed = 0;
    enum err e = control_roster_count(store(c), s->owner.generation, &listed);

    if (e != OK) {
        json_decref(row);
        return admin_fail_err(c, e, "recipients");
    }
    admin_set_text(row, "domain", s->owner.name);
    admin_set_u64(row, "added", s->added);
    admin_set_u64(row, "removed", s->removed);
    admin_set_u64(row, "unchanged", s->unchanged);
    admin_set_u64(row, "listed", listed);
    admin_set(row, "dry_run", json_boolean(admin_flag(c, "dry_run")));
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

static enum admin_next change_step(struct admin_call *c, void *state)
{
    struct change_state *s = state;
    struct command cmd = {.kind = COMMAND_ROSTER};

    if (s->was_proposed) {
        if (c->timed_out)
            return admin_timed_out(c);
        if (s->asked.control->err != OK)
            return admin_fail_proposal(c, s->asked.control, "recipients");
        return report(c, s);
    }
    if (!read_args(c, s))
        return ADMIN_END;
    if (admin_flag(c, "dry_run"))
        return report(c, s);
    cmd.roster = (struct roster){.domain = s->owner.name,
                                 .generation = s->owner.generation,
                                 .entries = {s->bytes, s->used},
                                 .uid = c->uid};
    s->was_proposed = true;
    return admin_propose(c, &cmd);
}

static const struct admin_arg list_args[] = {
    {"domain", ADMIN_ARG_TEXT, LIMIT_SMTP_DOMAIN_BYTES + 1, true}};

static const struct admin_arg show_args[] = {{"address", ADMIN_ARG_TEXT, ADDRESS_BYTES, true}};

static const struct admin_arg change_args[] = {
    {"op", ADMIN_ARG_TEXT, 16, true},
    {"recipients", ADMIN_ARG_TEXTS, LIMIT_ROSTER_BATCH, true},
    {"domain", ADMIN_ARG_TEXT, LIMIT_SMTP_DOMAIN_BYTES + 1, false},
    {"generation", ADMIN_ARG_COUNT, INT64_MAX, false},
    {"dry_run", ADMIN_ARG_BOOL, 0, false},
};

static const struct admin_command rows[] = {
    {"recipient.list", ADMIN_ARGS(list_args), false, sizeof(struct list_state), list_step,
     NULL},
    {"recipient.show", ADMIN_ARGS(show_args), false, 0, show_step, NULL},
    {"recipient.ask", ADMIN_ARGS(show_args), false, sizeof(struct ask_state), ask_step,
     ask_end},
    {"recipient.change", ADMIN_ARGS(change_args), true, sizeof(struct change_state),
     change_step, change_end},
};

struct admin_table admin_recipient_table(void)
{
    return ADMIN_TABLE(rows);
}
