/* access list, show, change: the block and allow lists. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "node/access_view.h"
#include "node/admin_parts.h"
#include "node/policy/prefix.h"

static struct control *store(struct admin_call *c)
{
    struct admin *a = c->ctx;

    return control_thread_state(a->node->control);
}

static struct prefix prefix_of(const struct access_prefix *p)
{
    struct prefix out = {.bits = p->bits};

    memcpy(out.ip.b, p->address, sizeof out.ip.b);
    return out;
}

static const char *action_text(enum access_action action)
{
    return action == ACCESS_ALLOW ? "allow" : "block";
}

static json_t *row_of(const struct access_record *r, const struct admin_times *t)
{
    char text[PREFIX_TEXT_BYTES];
    struct prefix p = prefix_of(&r->prefix);
    json_t *row = json_object();

    admin_set_text(row, "network", prefix_text(&p, text));
    admin_set_z(row, "action", action_text(r->action));
    admin_set_time(row, "expires", admin_wall_of(t, r->expires_ms));
    admin_set_time(row, "added", admin_wall_of(t, r->added_ms));
    admin_set_u64(row, "uid", r->uid);
    admin_set_z(row, "reason", r->reason);
    return row;
}

/* --- list --- */

struct list_state {
    struct admin_times t;
    struct access_prefix after;
    bool has_begun;
};

static enum admin_next list_step(struct admin_call *c, void *state)
{
    struct list_state *s = state;
    struct access_record page[ADMIN_ROWS_A_STEP];
    size_t got;
    enum err e;

    if (!s->has_begun)
        s->t = admin_times_now(c->ctx);
    e = control_access_page(store(c), s->has_begun ? &s->after : NULL, page, ADMIN_ROWS_A_STEP,
                            &got);
    if (e != OK)
        return admin_fail_err(c, e, "access");
    for (size_t i = 0; i < got; i++)
        if (page[i].expires_ms == 0 || page[i].expires_ms > s->t.cluster_ms)
            admin_emit(c, row_of(&page[i], &s->t));
    if (got < ADMIN_ROWS_A_STEP)
        return admin_done(c, ADMIN_EXIT_OK, NULL);
    s->after = page[got - 1].prefix;
    s->has_begun = true;
    return ADMIN_AGAIN;
}

/* --- show: what holds for one address --- */

static enum admin_next show_step(struct admin_call *c, void *state)
{
    struct admin *a = c->ctx;
    struct admin_times t = admin_times_now(a);
    struct access_record r;
    struct access_found found;
    struct ip_addr ip;
    enum err e;

    (void)state;
    if (!ip_parse(admin_text(c, "address"), &ip))
        return admin_fail(c, ADMIN_EXIT_USAGE, "not an address", "address",
                          "as 192.0.2.1 or 2001:db8::1");
    access_view_find(a->node->access, &ip, t.cluster_ms, &found);
    if (found.action == ACCESS_REMOVE)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "no entry holds this address", "address",
                          "trispool access list shows all");
    e = control_access_get(store(c), &found.prefix, &r);
    if (e == E_NOTFOUND) /* removed a moment ago */
        return admin_fail(c, ADMIN_EXIT_TEMPORARY, "the lists are changing", "address",
                          "try again");
    if (e != OK)
        return admin_fail_err(c, e, "access");
    admin_emit(c, row_of(&r, &t));
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

/* --- block, allow, remove --- */

struct change_state {
    struct admin_asked asked; /* first */
    bool was_proposed;
    char *bytes;
    size_t used;
};

static void change_end(struct admin_call *c, void *state)
{
    struct change_state *s = state;

    (void)c;
    admin_asked_free(&s->asked);
    free(s->bytes);
}

static int by_prefix(const void *a, const void *b)
{
    const struct access_entry *x = a, *y = b;

    return access_prefix_compare(&x->prefix, &y->prefix);
}

static bool wrong(struct admin_call *c, const char *what, const char *hint)
{
    (void)admin_fail(c, ADMIN_EXIT_USAGE, what, "networks", hint);
    return false;
}

static bool read_network(struct admin_call *c, struct str text, struct access_entry *e)
{
    char hint[PREFIX_TEXT_BYTES + 32] = "as 192.0.2.0/24, 192.0.2.1 or 2001:db8::/32";
    char canonical[PREFIX_TEXT_BYTES];
    struct prefix p;
    enum prefix_verdict v = prefix_parse(text, &p);

    if (v == PREFIX_HOST_BITS)
        snprintf(hint, sizeof hint, "perhaps %s is meant", prefix_text(&p, canonical).p);
    if (v != PREFIX_OK)
        return wrong(c, prefix_verdict_text(v), hint);
    memcpy(e->prefix.address, p.ip.b, sizeof e->prefix.address);
    e->prefix.bits = p.bits;
    return true;
}

/* Sorted, each once. False: it was answered. */
static bool pack(struct admin_call *c, struct change_state *s, const struct access_entry *like)
{
    size_t n = admin_texts(c, "networks");
    struct access_entry *list = calloc(n, sizeof *list);
    bool ok = list != NULL;

    s->bytes = malloc(LIMIT_COMMAND_BYTES);
    if (!ok || s->bytes == NULL) {
        free(list);
        (void)admin_fail(c, ADMIN_EXIT_TEMPORARY, "out of memory", "networks", "try again");
        return false;
    }
    for (size_t i = 0; ok && i < n; i++) {
        list[i] = *like;
        ok = read_network(c, admin_texts_at(c, "networks", i), &list[i]);
    }
    qsort(list, ok ? n : 0, sizeof *list, by_prefix);
    for (size_t i = 0; ok && i < n; i++) {
        if (i > 0 && by_prefix(&list[i - 1], &list[i]) == 0)
            continue;
        switch (access_append(s->bytes, LIMIT_COMMAND_BYTES - 64, &s->used, &list[i])) {
        case OK:
            break;
        case E_FULL:
            ok = wrong(c, "too much at once", "name fewer networks, or a shorter reason");
            break;
        default:
            ok = wrong(c, access_entry_check(&list[i]), NULL);
        }
    }
    free(list);
    return ok;
}

static bool read_args(struct admin_call *c, struct change_state *s)
{
    struct str op = admin_text(c, "op");
    struct access_entry like = {.action = ACCESS_REMOVE};

    if (str_eq(op, STR("block")))
        like.action = ACCESS_BLOCK;
    else if (str_eq(op, STR("allow")))
        like.action = ACCESS_ALLOW;
    else if (!str_eq(op, STR("remove"))) {
        (void)admin_fail(c, ADMIN_EXIT_USAGE, "no such op", "op", "block, allow or remove");
        return false;
    }
    if (like.action != ACCESS_REMOVE) {
        like.for_s = (uint32_t)admin_count(c, "for_s", 0);
        like.reason = admin_given(c, "reason") ? admin_text(c, "reason") : STR_NONE;
    }
    return pack(c, s, &like);
}

/* What the store has now, or of a dry run what it would have. */
static enum admin_next report(struct admin_call *c, struct change_state *s)
{
    struct admin_times t = admin_times_now(c->ctx);
    struct str rest = {s->bytes, s->used};
    struct access_entry e;
    uint64_t count = 0;
    json_t *more = json_object();

    while (access_next(&rest, &e)) {
        struct access_record r = {.prefix = e.prefix, .action = e.action};

        count++;
        if (admin_flag(c, "dry_run") && e.action != ACCESS_REMOVE) {
            str_to_z(e.reason, r.reason, sizeof r.reason);
            r.added_ms = t.cluster_ms;
            r.expires_ms = e.for_s > 0 ? t.cluster_ms + (uint64_t)e.for_s * 1000 : 0;
            r.uid = c->uid;
            admin_emit(c, row_of(&r, &t));
        } else if (control_access_get(store(c), &e.prefix, &r) == OK) {
            admin_emit(c, row_of(&r, &t));
        }
    }
    admin_set_u64(more, "networks", count);
    admin_set(more, "dry_run", json_boolean(admin_flag(c, "dry_run")));
    return admin_done(c, ADMIN_EXIT_OK, more);
}

static enum admin_next change_step(struct admin_call *c, void *state)
{
    struct change_state *s = state;
    struct command cmd = {.kind = COMMAND_ACCESS};

    if (s->was_proposed) {
        if (c->timed_out)
            return admin_timed_out(c);
        if (s->asked.control->err != OK)
            return admin_fail_proposal(c, s->asked.control, "networks");
        return report(c, s);
    }
    if (!read_args(c, s))
        return ADMIN_END;
    if (admin_flag(c, "dry_run"))
        return report(c, s);
    cmd.access = (struct access){.entries = {s->bytes, s->used}, .uid = c->uid};
    s->was_proposed = true;
    return admin_propose(c, &cmd);
}

static const struct admin_arg show_args[] = {{"address", ADMIN_ARG_TEXT, IP_TEXT_BYTES, true}};

static const struct admin_arg change_args[] = {
    {"op", ADMIN_ARG_TEXT, 16, true},
    {"networks", ADMIN_ARG_TEXTS, LIMIT_ACCESS_BATCH, true},
    {"for_s", ADMIN_ARG_COUNT, LIMIT_ACCESS_FOR_S, false},
    {"reason", ADMIN_ARG_TEXT, LIMIT_ACCESS_REASON_BYTES, false},
    {"dry_run", ADMIN_ARG_BOOL, 0, false},
};

static const struct admin_command rows[] = {
    {"access.list", NULL, 0, false, sizeof(struct list_state), list_step, NULL},
    {"access.show", ADMIN_ARGS(show_args), false, 0, show_step, NULL},
    {"access.change", ADMIN_ARGS(change_args), true, sizeof(struct change_state), change_step,
     change_end},
};

struct admin_table admin_access_table(void)
{
    return ADMIN_TABLE(rows);
}
