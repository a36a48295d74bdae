#include "spool/control.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/fault.h"
#include "spool/control_internal.h"

static const char *const tables[] = {[T_META] = "meta",
                                     [T_DOMAIN] = "domain",
                                     [T_PLAN] = "plan",
                                     [T_SETTING] = "setting",
                                     [T_SESSION] = "session",
                                     [T_SLOT] = "slot",
                                     [T_OPERATION] = "operation",
                                     [T_MEMBER] = "member",
                                     [T_PLACEMENT] = "placement",
                                     [T_ACCESS] = "access",
                                     [T_ROSTER] = "roster",
                                     [T_ROSTER_COUNT] = "roster_count",
                                     NULL};

#define PLAN_BYTES 8 /* hold_s u32, max_connections u32 */

static struct str u64_str(char b[8], uint64_t v)
{
    ctlkv_store_u64(b, v);
    return (struct str){b, 8};
}

static void put_u64(struct ctlkv_txn *t, struct str key, uint64_t v)
{
    char b[8];

    ctlkv_put(t, T_META, key, u64_str(b, v), STR_NONE);
}

enum err control_senseless(struct ctlkv_txn *t, uint32_t table, struct str key)
{
    ctlkv_log_corrupt(t->kv, table, key);
    if (t->first_err == OK)
        t->first_err = E_CORRUPT;
    return E_CORRUPT;
}

enum err control_get_sized(struct ctlkv_txn *t, uint32_t table, struct str key, size_t bytes,
                           struct str *v)
{
    enum err e = ctlkv_get(t, table, key, v);

    return e == OK && v->n != bytes ? control_senseless(t, table, key) : e;
}

enum err control_get_meta_u64(struct ctlkv_txn *t, struct str key, uint64_t *out)
{
    struct str v;
    enum err e = control_get_sized(t, T_META, key, 8, &v);

    *out = e == OK ? ctlkv_load_u64(v.p) : 0;
    return e == E_NOTFOUND ? control_senseless(t, T_META, key) : e;
}

/* --- open and close --- */

static struct str id_str(char b[CONTROL_ID_BYTES], const struct store_id *id)
{
    memcpy(b, id->cluster, sizeof id->cluster);
    ctlkv_store_u16(b + 16, id->site);
    ctlkv_store_u64(b + 18, id->incarnation);
    return (struct str){b, CONTROL_ID_BYTES};
}

static enum err make(struct control *c, const struct store_id *id)
{
    struct ctlkv_txn t;
    char format[4], who[CONTROL_ID_BYTES];

    ctlkv_store_u32(format, CONTROL_FORMAT);
    ctlkv_begin(&t, &c->kv, true);
    ctlkv_make_tables(&t);
    ctlkv_put(&t, T_META, KEY_FORMAT, (struct str){format, sizeof format}, STR_NONE);
    ctlkv_put(&t, T_META, KEY_ID, id_str(who, id), STR_NONE);
    put_u64(&t, KEY_APPLIED, 0);
    put_u64(&t, KEY_CLOCK, CONTROL_CLOCK_START_MS);
    return ctlkv_commit(&t);
}

static enum err load(struct control *c, const struct store_id *id)
{
    struct ctlkv_txn t;
    char who[CONTROL_ID_BYTES];
    uint64_t applied = 0;
    struct str v;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    e = control_get_sized(&t, T_META, KEY_FORMAT, 4, &v);
    if (e == E_NOTFOUND || (e == OK && ctlkv_load_u32(v.p) != CONTROL_FORMAT)) {
        ctlkv_fail(&t, "format_version", E_CORRUPT);
        e = E_CORRUPT;
    }
    if (e == OK)
        e = control_get_sized(&t, T_META, KEY_ID, CONTROL_ID_BYTES, &v);
    if (e == E_NOTFOUND)
        e = control_senseless(&t, T_META, KEY_ID);
    if (e == OK && !str_eq(v, id_str(who, id))) {
        ctlkv_fail(&t, "foreign_store", E_CONFLICT);
        e = E_CONFLICT;
    }
    if (e == OK)
        e = control_get_meta_u64(&t, KEY_APPLIED, &applied);
    ctlkv_abort(&t);
    atomic_store(&c->applied, applied);
    return e;
}

enum err control_open(struct control **out, const struct control_options *o)
{
    struct control *c = calloc(1, sizeof *c);
    bool fresh;
    enum err e;

    ASSERT(c != NULL);
    *out = NULL;
    e = ctlkv_open(&c->kv,
                   &(struct ctlkv_options){.dir = o->dir,
                                           .name = "state",
                                           .map_bytes = o->map_bytes,
                                           .tables = tables,
                                           .create = o->create},
                   &fresh);
    if (e == OK && fresh)
        e = make(c, o->id);
    if (e == OK)
        e = load(c, o->id);
    if (e != OK)
        control_close(&c);
    *out = c;
    return e;
}

void control_close(struct control **c)
{
    ctlkv_close(&(*c)->kv);
    free(*c);
    *c = NULL;
}

/* --- apply: clock --- */

static void apply_clock(struct control_step *s, const struct clock_tick *c)
{
    uint64_t now;

    if (control_get_meta_u64(s->txn, KEY_CLOCK, &now) == OK)
        put_u64(s->txn, KEY_CLOCK, now + c->elapsed_ms);
}

/* --- apply: domains, plans, settings --- */

/* Decodes; a record that cannot be decoded sticks to the transaction. */
static enum err domain_of(struct ctlkv_txn *t, struct str key, struct str payload,
                          struct arena *a, struct domain *out)
{
    enum err e = domain_decode(payload, a, out);

    if (e == E_PROTO || (e == OK && !str_eq(out->name, key)))
        return control_senseless(t, T_DOMAIN, key);
    if (e != OK && t->first_err == OK)
        t->first_err = e; /* no memory: the entry must not pass as applied */
    return e;
}

static enum err get_domain(struct ctlkv_txn *t, struct str name, struct arena *a,
                           struct domain *out)
{
    struct str v;
    enum err e = ctlkv_get(t, T_DOMAIN, name, &v);

    return e == OK ? domain_of(t, name, v, a, out) : e;
}

enum err control_step_domain(struct control_step *s, struct str name, struct domain *out)
{
    return get_domain(s->txn, name, s->arena, out);
}

static void put_domain(struct control_step *s, const struct domain *d)
{
    uint8_t *buf = arena_take(s->arena, LIMIT_COMMAND_BYTES);
    struct str bytes;
    enum err e = buf == NULL ? E_FULL : domain_encode(d, buf, LIMIT_COMMAND_BYTES, &bytes);

    if (e != OK)
        ctlkv_fail(s->txn, "encode_domain", e);
    else
        ctlkv_put(s->txn, T_DOMAIN, d->name, bytes, STR_NONE);
}

static bool plan_is_known(struct control_step *s, struct str name)
{
    struct str v;

    return name.n == 0 || ctlkv_get(s->txn, T_PLAN, name, &v) != E_NOTFOUND;
}

/* A domain that takes listed recipients only has some, or it would refuse all its mail. */
static bool has_recipients(struct control_step *s, const struct domain *d)
{
    if (d->recipients != RECIPIENTS_LIST || control_roster_size(s->txn, d->generation) > 0)
        return true;
    control_refuse(s, E_CONFLICT, "its list of recipients is empty: all mail would be refused");
    return false;
}

static void apply_domain_add(struct control_step *s, const struct domain *want,
                             const struct domain *have)
{
    struct domain d = *want;

    if (have != NULL && have->closing) {
        control_refuse(s, E_CONFLICT,
                       "the domain is closing: mail of it is left; it can be reopened");
    } else if (have != NULL) {
        control_refuse(s, E_EXISTS, "the domain exists");
    } else if (ctlkv_count(s->txn, T_DOMAIN) >= LIMIT_DOMAINS) {
        control_refuse(s, E_FULL, "too many domains");
    } else {
        d.generation = d.changed = s->index;
        d.closing = false;
        if (has_recipients(s, &d))
            put_domain(s, &d);
    }
}

static void apply_domain_put(struct control_step *s, const struct domain_put *p)
{
    struct domain have, d = p->domain;
    enum err e = get_domain(s->txn, d.name, s->arena, &have);

    if (e != OK && e != E_NOTFOUND)
        return; /* sticks */
    if (!plan_is_known(s, d.plan)) {
        control_refuse(s, E_NOTFOUND, "unknown plan");
    } else if (p->mode == DOMAIN_ADD) {
        apply_domain_add(s, &d, e == OK ? &have : NULL);
    } else if (e == E_NOTFOUND) {
        control_refuse(s, E_NOTFOUND, "no such domain");
    } else if (p->if_changed != 0 && p->if_changed != have.changed) {
        control_refuse(s, E_CONFLICT, "the domain was changed meanwhile; look again");
    } else {
        d.generation = have.generation;
        d.changed = s->index;
        d.closing = have.closing && p->mode != DOMAIN_REOPEN;
        if (has_recipients(s, &d))
            put_domain(s, &d);
    }
}

static void apply_domain_remove(struct control_step *s, const struct domain_remove *r)
{
    struct domain d;
    enum err e = get_domain(s->txn, r->name, s->arena, &d);

    if (e == E_NOTFOUND)
        control_refuse(s, E_NOTFOUND, "no such domain");
    if (e != OK || d.closing)
        return;
    d.closing = true;
    d.changed = s->index;
    put_domain(s, &d);
}

static void apply_domain_drop(struct control_step *s, const struct domain_drop *r)
{
    struct domain d;
    enum err e = get_domain(s->txn, r->name, s->arena, &d);

    if (e == E_NOTFOUND)
        control_refuse(s, E_NOTFOUND, "no such domain");
    else if (e == OK && !d.closing)
        control_refuse(s, E_CONFLICT, "the domain is not closing");
    else if (e == OK && d.generation != r->generation)
        control_refuse(s, E_CONFLICT, "the domain has another generation");
    else if (e == OK) {
        ctlkv_del(s->txn, T_DOMAIN, r->name);
        ctlkv_del(s->txn, T_PLACEMENT, r->name);
        control_roster_drop(s, d.generation);
    }
}

static void apply_setting(struct control_step *s, const struct setting *p)
{
    struct str v;
    enum err e = ctlkv_get(s->txn, T_SETTING, p->name, &v);

    if (p->value.n == 0 && e == E_NOTFOUND)
        control_refuse(s, E_NOTFOUND, "no such setting");
    else if (p->value.n == 0)
        ctlkv_del(s->txn, T_SETTING, p->name);
    else if (e == E_NOTFOUND && ctlkv_count(s->txn, T_SETTING) >= LIMIT_SETTINGS)
        control_refuse(s, E_FULL, "too many settings");
    else
        ctlkv_put(s->txn, T_SETTING, p->name, p->value, STR_NONE);
}

static void apply_plan(struct control_step *s, const struct plan *p)
{
    char b[PLAN_BYTES];

    if (!plan_is_known(s, p->name) && ctlkv_count(s->txn, T_PLAN) >= LIMIT_PLANS) {
        control_refuse(s, E_FULL, "too many plans");
        return;
    }
    ctlkv_store_u32(b, p->hold_s);
    ctlkv_store_u32(b + 4, p->max_connections);
    ctlkv_put(s->txn, T_PLAN, p->name, (struct str){b, sizeof b}, STR_NONE);
}

/* --- apply: operators --- */

static void apply_operate(struct control_step *s, const struct command *c)
{
    uint8_t *buf = arena_take(s->arena, LIMIT_COMMAND_BYTES);
    char key[8];
    struct str bytes;
    enum err e;

    if (ctlkv_count(s->txn, T_OPERATION) >= LIMIT_OPERATIONS) {
        control_refuse(s, E_FULL, "too many operations are pending");
        return;
    }
    e = buf == NULL ? E_FULL : command_encode(c, buf, LIMIT_COMMAND_BYTES, &bytes);
    if (e != OK)
        ctlkv_fail(s->txn, "encode_operation", e);
    else
        ctlkv_put(s->txn, T_OPERATION, u64_str(key, s->index), bytes, STR_NONE);
}

static void apply_operate_done(struct control_step *s, const struct operate_done *d)
{
    char key[8];
    struct str v;
    enum err e = ctlkv_get(s->txn, T_OPERATION, u64_str(key, d->index), &v);

    if (e == E_NOTFOUND)
        control_refuse(s, E_NOTFOUND, "no such operation is pending");
    else if (e == OK)
        ctlkv_del(s->txn, T_OPERATION, u64_str(key, d->index));
}

static void apply_one(struct control_step *s, const struct command *c)
{
    const char *why = command_check(c);

    if (why != NULL) {
        control_refuse(s, E_PROTO, why);
        return;
    }
    switch (c->kind) {
    case COMMAND_CLOCK:
        apply_clock(s, &c->clock);
        return;
    case COMMAND_DOMAIN_PUT:
        apply_domain_put(s, &c->domain_put);
        return;
    case COMMAND_DOMAIN_REMOVE:
        apply_domain_remove(s, &c->domain_remove);
        return;
    case COMMAND_DOMAIN_DROP:
        apply_domain_drop(s, &c->domain_drop);
        return;
    case COMMAND_SETTING_PUT:
        apply_setting(s, &c->setting_put);
        return;
    case COMMAND_PLAN_PUT:
        apply_plan(s, &c->plan_put);
        return;
    case COMMAND_OPERATE:
        apply_operate(s, c);
        return;
    case COMMAND_OPERATE_DONE:
        apply_operate_done(s, &c->operate_done);
        return;
    case COMMAND_ACCESS:
        control_apply_access(s, &c->access);
        return;
    case COMMAND_ROSTER:
        control_apply_roster(s, &c->roster);
        return;
    default: /* members, sessions, slots */
        control_apply_cluster(s, c);
        return;
    }
}

/* Memory for one entry: a record read, a record written. */
#define STEP_BYTES (4 * LIMIT_COMMAND_BYTES)

enum err control_apply_batch(struct control *c, const struct control_input *inputs,
                             size_t count, struct command_result *results)
{
    uint64_t applied = control_applied(c);
    struct ctlkv_txn t;
    struct arena arena;
    enum err e;

    arena_init(&arena, STEP_BYTES);
    ctlkv_begin(&t, &c->kv, true);
    for (size_t i = 0; i < count; i++) {
        struct control_step s = {.c = c, .txn = &t, .index = inputs[i].index, .arena = &arena};

        if (inputs[i].index > applied || FAULT(APPLY_TWICE)) {
            ASSERT(inputs[i].index == applied + 1 || FAULT(APPLY_TWICE));
            if (inputs[i].command != NULL)
                apply_one(&s, inputs[i].command);
            applied = inputs[i].index;
            arena_reset(&arena);
        }
        results[i] = s.result;
    }
    if (applied == control_applied(c)) { /* a replay of what is applied already */
        e = t.first_err;
        ctlkv_abort(&t);
        return e;
    }
    put_u64(&t, KEY_APPLIED, applied);
    e = ctlkv_commit(&t);
    if (e == OK)
        atomic_store(&c->applied, applied);
    return e;
}

enum err control_apply(struct control *c, uint64_t index, const struct command *cmd,
                       struct command_result *result)
{
    return control_apply_batch(c, &(struct control_input){.index = index, .command = cmd}, 1,
                               result);
}

/* --- reads: each one a transaction of its own --- */

uint64_t control_applied(const struct control *c)
{
    return atomic_load(&c->applied);
}

enum err control_domain_get(struct control *c, struct str name, struct arena *a,
                            struct domain *out)
{
    struct ctlkv_txn t;
    enum err e;

    *out = (struct domain){.name = STR_NONE};
    if (name.n == 0 || name.n > LIMIT_SMTP_DOMAIN_BYTES)
        return E_NOTFOUND;
    ctlkv_begin(&t, &c->kv, false);
    e = get_domain(&t, name, a, out);
    ctlkv_abort(&t);
    return e;
}

/* The record behind `after`, its key copied into the arena, also when it is corrupt. */
static enum err next(struct ctlkv_txn *t, uint32_t table, struct str after, struct arena *a,
                     struct str *key, struct str *payload)
{
    struct str k;
    enum err e = ctlkv_next(t, table, after, &k, payload);

    *key = arena_str(a, k);
    return k.n > 0 && key->p == NULL ? E_FULL : e;
}

enum err control_domain_next(struct control *c, struct str after, struct arena *a,
                             struct domain *out)
{
    struct ctlkv_txn t;
    struct str key, v;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    e = next(&t, T_DOMAIN, after, a, &key, &v);
    if (e == OK)
        e = domain_of(&t, key, v, a, out);
    if (e != OK)
        *out = (struct domain){.name = key};
    ctlkv_abort(&t);
    return e;
}

static enum err plan_of(struct ctlkv_txn *t, struct str key, struct str v, struct plan *out)
{
    if (v.n != PLAN_BYTES)
        return control_senseless(t, T_PLAN, key);
    *out = (struct plan){
        .name = key, .hold_s = ctlkv_load_u32(v.p), .max_connections = ctlkv_load_u32(v.p + 4)};
    return command_check(&(struct command){.kind = COMMAND_PLAN_PUT, .plan_put = *out}) == NULL
               ? OK
               : control_senseless(t, T_PLAN, key);
}

static enum err get_plan(struct ctlkv_txn *t, struct str name, struct plan *out)
{
    struct str v;
    enum err e = ctlkv_get(t, T_PLAN, name, &v);

    return e == OK ? plan_of(t, name, v, out) : e;
}

enum err control_plan_get(struct control *c, struct str name, struct arena *a, struct plan *out)
{
    struct ctlkv_txn t;
    enum err e;

    *out = (struct plan){.name = STR_NONE};
    if (name.n == 0 || name.n > LIMIT_PLAN_NAME_BYTES)
        return E_NOTFOUND;
    ctlkv_begin(&t, &c->kv, false);
    e = get_plan(&t, name, out);
    ctlkv_abort(&t);
    out->name = arena_str(a, name);
    return e == OK && out->name.p == NULL ? E_FULL : e;
}

enum err control_plan_next(struct control *c, struct str after, struct arena *a,
                           struct plan *out)
{
    struct ctlkv_txn t;
    struct str key, v;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    e = next(&t, T_PLAN, after, a, &key, &v);
    if (e == OK)
        e = plan_of(&t, key, v, out);
    if (e != OK)
        *out = (struct plan){.name = key};
    ctlkv_abort(&t);
    return e;
}

enum err control_setting_get(struct control *c, struct str name, struct arena *a,
                             struct setting *out)
{
    struct ctlkv_txn t;
    struct str v;
    enum err e;

    *out = (struct setting){.name = STR_NONE};
    if (name.n == 0 || name.n > LIMIT_SETTING_NAME_BYTES)
        return E_NOTFOUND;
    ctlkv_begin(&t, &c->kv, false);
    e = ctlkv_get(&t, T_SETTING, name, &v);
    if (e == OK)
        *out = (struct setting){.name = arena_str(a, name), .value = arena_str(a, v)};
    ctlkv_abort(&t);
    return e == OK && (out->name.p == NULL || out->value.p == NULL) ? E_FULL : e;
}

enum err control_setting_next(struct control *c, struct str after, struct arena *a,
                              struct setting *out)
{
    struct ctlkv_txn t;
    struct str key, v;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    e = next(&t, T_SETTING, after, a, &key, &v);
    *out = (struct setting){.name = key};
    if (e == OK)
        out->value = arena_str(a, v);
    ctlkv_abort(&t);
    return e == OK && out->value.p == NULL ? E_FULL : e;
}

enum err control_domain_terms(struct control *c, const struct domain *d,
                              struct domain_terms *out)
{
    struct plan plan = {.hold_s = LIMIT_HOLD_DEFAULT_S,
                        .max_connections = LIMIT_CONNS_PER_DEST};
    enum err e = OK;

    if (d->plan.n > 0) {
        struct ctlkv_txn t;

        ctlkv_begin(&t, &c->kv, false);
        e = get_plan(&t, d->plan, &plan);
        ctlkv_abort(&t);
    }
    *out = (struct domain_terms){
        .hold_s = d->hold_s != 0 ? d->hold_s : plan.hold_s,
        .max_connections = d->max_connections != 0 ? d->max_connections : plan.max_connections};
    return e;
}

enum err control_cluster_ms(struct control *c, uint64_t *out)
{
    struct ctlkv_txn t;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    e = control_get_meta_u64(&t, KEY_CLOCK, out);
    ctlkv_abort(&t);
    return e;
}

static enum err operation_of(struct ctlkv_txn *t, struct str key, struct str v, struct arena *a,
                             struct operation *out)
{
    struct command cmd;
    enum err e = command_decode(v, a, &cmd);

    if (e == E_FULL)
        return e;
    if (e != OK || cmd.kind != COMMAND_OPERATE)
        return control_senseless(t, T_OPERATION, key);
    out->operate = cmd.operate;
    return OK;
}

enum err control_operation_next(struct control *c, uint64_t after, struct arena *a,
                                struct operation *out)
{
    struct ctlkv_txn t;
    struct str key, v;
    char from[8];
    enum err e;

    *out = (struct operation){.index = 0};
    ctlkv_begin(&t, &c->kv, false);
    e = ctlkv_next(&t, T_OPERATION, u64_str(from, after), &key, &v);
    if (key.n == 8)
        out->index = ctlkv_load_u64(key.p);
    else if (e == OK)
        e = control_senseless(&t, T_OPERATION, key);
    if (e == OK)
        e = operation_of(&t, key, v, a, out);
    ctlkv_abort(&t);
    return e;
}

enum err control_counts(struct control *c, struct control_counts *out)
{
    struct ctlkv_txn t;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    *out = (struct control_counts){.domains = ctlkv_count(&t, T_DOMAIN),
                                   .plans = ctlkv_count(&t, T_PLAN),
                                   .settings = ctlkv_count(&t, T_SETTING),
                                   .operations = ctlkv_count(&t, T_OPERATION),
                                   .access = ctlkv_count(&t, T_ACCESS),
                                   .recipients = ctlkv_count(&t, T_ROSTER),
                                   .placements = ctlkv_count(&t, T_PLACEMENT)};
    e = t.first_err;
    ctlkv_abort(&t);
    return e;
}

enum err control_digest(struct control *c, uint64_t *out)
{
    uint64_t bad, applied, ms, tables_digest;
    struct ctlkv_txn t;
    char b[24];
    enum err e = ctlkv_walk(&c->kv, T_DOMAIN, &bad, &tables_digest);

    *out = 0;
    if (e != OK)
        return e;
    ctlkv_begin(&t, &c->kv, false);
    e = control_get_meta_u64(&t, KEY_APPLIED, &applied);
    if (e == OK)
        e = control_get_meta_u64(&t, KEY_CLOCK, &ms);
    ctlkv_abort(&t);
    if (e != OK)
        return e;
    ctlkv_store_u64(b, applied);
    ctlkv_store_u64(b + 8, ms);
    ctlkv_store_u64(b + 16, tables_digest);
    *out = XXH3_64bits(b, sizeof b);
    return bad == 0 ? OK : E_CORRUPT;
}

enum err control_verify(struct control *c, uint64_t *bad)
{
    uint64_t digest;

    return ctlkv_walk(&c->kv, T_META, bad, &digest);
}
