/* The state machine does the same with the same entries, refuses with a reason, and notices
 * damage in every kind of record. */
#include "spool/control.h"

#include <check.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/prng.h"

#define MAP (64 * MiB)

static char dir[2][64];
static struct control *c;
static struct arena arena;
static uint64_t next_index;
static const struct store_id id = {.cluster = {9}, .site = 1, .incarnation = 5};

static enum err open_at(int i, uint64_t map, bool create, struct control **out)
{
    return control_open(out, &(struct control_options){
                                 .dir = dir[i], .map_bytes = map, .id = &id, .create = create});
}

static void setup(void)
{
    log_set_level(LOG_ALARM);
    for (int i = 0; i < 2; i++) {
        snprintf(dir[i], sizeof dir[i], "/tmp/control_test.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(dir[i]));
    }
    arena_init(&arena, 64 * MiB);
    ck_assert_int_eq(open_at(0, MAP, true, &c), OK);
    next_index = 1;
}

static void remove_files(const char *d)
{
    char file[256];

    for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f; f++) {
        snprintf(file, sizeof file, "%s/%s", d, *f);
        unlink(file);
    }
}

static void teardown(void)
{
    if (c != NULL)
        control_close(&c);
    arena_reset(&arena);
    for (int i = 0; i < 2; i++) {
        remove_files(dir[i]);
        rmdir(dir[i]);
    }
}

static struct command_result apply(struct command cmd)
{
    struct command_result r = {.err = E_IO};

    ck_assert_int_eq(control_apply(c, next_index++, &cmd, &r), OK);
    ck_assert((r.err == OK) == (r.refused == NULL));
    return r;
}

static struct command put(enum domain_put_mode mode, const char *name, const char *plan,
                          uint64_t if_changed)
{
    return (struct command){
        .kind = COMMAND_DOMAIN_PUT,
        .domain_put = {
            .mode = mode,
            .if_changed = if_changed,
            .domain = {.name = str_of(name), .plan = str_of(plan), .route.kind = ROUTE_MX}}};
}

static struct command removal(const char *name)
{
    return (struct command){.kind = COMMAND_DOMAIN_REMOVE, .domain_remove = {str_of(name)}};
}

static struct command drop(const char *name, uint64_t generation)
{
    return (struct command){.kind = COMMAND_DOMAIN_DROP,
                            .domain_drop = {str_of(name), generation}};
}

static struct command setting(const char *name, const char *value)
{
    return (struct command){.kind = COMMAND_SETTING_PUT,
                            .setting_put = {str_of(name), str_of(value)}};
}

static struct command plan(const char *name, uint32_t hold_s, uint32_t conns)
{
    return (struct command){.kind = COMMAND_PLAN_PUT,
                            .plan_put = {str_of(name), hold_s, conns}};
}

static struct command session(uint16_t site)
{
    return (struct command){
        .kind = COMMAND_SESSION_OPEN,
        .session_open = {.site = site, .incarnation = 5, .duration_ms = 10000}};
}

static struct command tick(uint32_t ms)
{
    return (struct command){.kind = COMMAND_CLOCK, .clock.elapsed_ms = ms};
}

static struct command operate(const char *domain)
{
    return (struct command){.kind = COMMAND_OPERATE,
                            .operate = {.op = OPERATE_HOLD,
                                        .select = OPERATE_DOMAIN,
                                        .domain = str_of(domain),
                                        .cutoff_ms = 77,
                                        .uid = 1000}};
}

static struct command done(uint64_t index)
{
    return (struct command){.kind = COMMAND_OPERATE_DONE, .operate_done.index = index};
}

static struct command member(uint16_t site, uint64_t incarnation)
{
    return (struct command){.kind = COMMAND_MEMBER_ADD,
                            .member_add = {.site = site,
                                           .incarnation = incarnation,
                                           .key = {(uint8_t)site},
                                           .control = STR("a.example:7301"),
                                           .data = STR("a.example:7302")}};
}

static struct command placing(const char *name, uint16_t site, uint64_t epoch)
{
    return (struct command){.kind = COMMAND_PLACE, .place = {str_of(name), site, epoch}};
}

/* --- domains --- */

/* One line is one entry, numbered from 1; `err` what becomes of it. */
struct line {
    struct command cmd;
    enum err err;
};

START_TEST(the_life_of_a_domain)
{
    const struct line lines[] = {
        {put(DOMAIN_CHANGE, "a.example", "", 0), E_NOTFOUND},
        {put(DOMAIN_REOPEN, "a.example", "", 0), E_NOTFOUND},
        {removal("a.example"), E_NOTFOUND},
        {drop("a.example", 1), E_NOTFOUND},
        {put(DOMAIN_ADD, "a.example", "gold", 0), E_NOTFOUND}, /* 5: unknown plan */
        {plan("gold", 86400, 7), OK},
        {put(DOMAIN_ADD, "a.example", "gold", 0), OK}, /* 7 */
        {put(DOMAIN_ADD, "a.example", "", 0), E_EXISTS},
        {put(DOMAIN_CHANGE, "a.example", "", 6), E_CONFLICT},
        {put(DOMAIN_CHANGE, "a.example", "", 7), OK}, /* 10 */
        {put(DOMAIN_CHANGE, "a.example", "", 7), E_CONFLICT},
        {put(DOMAIN_CHANGE, "a.example", "lead", 10), E_NOTFOUND},
        {drop("a.example", 7), E_CONFLICT}, /* not closing */
        {removal("a.example"), OK},         /* 14 */
        {removal("a.example"), OK},         /* again: as it is */
        {put(DOMAIN_ADD, "a.example", "", 0), E_CONFLICT},
        {put(DOMAIN_CHANGE, "a.example", "", 14), OK}, /* 17: its route, while it drains */
        {drop("a.example", 14), E_CONFLICT},           /* another generation */
        {put(DOMAIN_REOPEN, "a.example", "", 0), OK},  /* 19 */
        {drop("a.example", 7), E_CONFLICT},
        {removal("a.example"), OK},
        {drop("a.example", 7), OK}, /* 22 */
        {drop("a.example", 7), E_NOTFOUND},
        {put(DOMAIN_ADD, "a.example", "", 0), OK}, /* 24: the next tenant */
    };
    const struct {
        uint64_t after, generation, changed;
        bool closing;
    } seen[] = {{7, 7, 7, false},  {10, 7, 10, false},  {14, 7, 14, true},
                {15, 7, 14, true}, {17, 7, 17, true},   {19, 7, 19, false},
                {22, 0, 0, false}, {24, 24, 24, false}, {0, 0, 0, false}};
    struct domain d;
    size_t look = 0;

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct command_result r = apply(lines[i].cmd);

        ck_assert_msg(r.err == lines[i].err, "entry %zu: %s", i + 1,
                      r.refused != NULL ? r.refused : "ok");
        if (seen[look].after != i + 1)
            continue;
        if (seen[look].generation == 0) {
            ck_assert_int_eq(control_domain_get(c, STR("a.example"), &arena, &d), E_NOTFOUND);
        } else {
            ck_assert_int_eq(control_domain_get(c, STR("a.example"), &arena, &d), OK);
            ck_assert_uint_eq(d.generation, seen[look].generation);
            ck_assert_uint_eq(d.changed, seen[look].changed);
            ck_assert_int_eq(d.closing, seen[look].closing);
        }
        look++;
    }
    ck_assert_uint_eq(seen[look].after, 0);
}
END_TEST

START_TEST(a_domain_reads_back_as_it_was_put)
{
    struct command cmd = put(DOMAIN_ADD, "a.example", "", 0);
    struct domain d;

    cmd.domain_put.domain.route =
        (struct domain_route){.kind = ROUTE_STATIC,
                              .host_count = 2,
                              .hosts = {{STR("b.example"), 2525, 0}, {STR("::1"), 25, 9}}};
    cmd.domain_put.domain.hold_s = 100000;
    cmd.domain_put.domain.tls = DOMAIN_TLS_REQUIRE;
    cmd.domain_put.domain.eight_bit = DOMAIN_EIGHT_BIT_HOLD;
    cmd.domain_put.domain.paused = true;
    cmd.domain_put.domain.max_connections = 3;
    ck_assert_int_eq(apply(cmd).err, OK);
    control_close(&c);
    ck_assert_int_eq(open_at(0, MAP, false, &c), OK);
    ck_assert_int_eq(control_domain_get(c, STR("a.example"), &arena, &d), OK);
    ck_assert(str_eq(d.name, STR("a.example")));
    ck_assert_uint_eq(d.route.host_count, 2);
    ck_assert(str_eq(d.route.hosts[1].host, STR("::1")));
    ck_assert_uint_eq(d.route.hosts[0].port, 2525);
    ck_assert_uint_eq(d.route.hosts[1].preference, 9);
    ck_assert_uint_eq(d.hold_s, 100000);
    ck_assert_int_eq(d.tls, DOMAIN_TLS_REQUIRE);
    ck_assert_int_eq(d.eight_bit, DOMAIN_EIGHT_BIT_HOLD);
    ck_assert(d.paused);
    ck_assert_uint_eq(d.max_connections, 3);
}
END_TEST

START_TEST(terms_come_from_domain_then_plan_then_defaults)
{
    struct domain d = {.name = STR("a.example")};
    struct domain_terms t;

    ck_assert_int_eq(apply(plan("gold", 86400, 7)).err, OK);
    ck_assert_int_eq(control_domain_terms(c, &d, &t), OK);
    ck_assert_uint_eq(t.hold_s, LIMIT_HOLD_DEFAULT_S);
    ck_assert_uint_eq(t.max_connections, LIMIT_CONNS_PER_DEST);
    d.plan = STR("gold");
    ck_assert_int_eq(control_domain_terms(c, &d, &t), OK);
    ck_assert_uint_eq(t.hold_s, 86400);
    ck_assert_uint_eq(t.max_connections, 7);
    d.hold_s = 100000;
    d.max_connections = 2;
    ck_assert_int_eq(control_domain_terms(c, &d, &t), OK);
    ck_assert_uint_eq(t.hold_s, 100000);
    ck_assert_uint_eq(t.max_connections, 2);
}
END_TEST

START_TEST(walks_see_all_records_in_order)
{
    static const char *const names[] = {"a.example", "a.example.net", "b.example",
                                        "zz.example"};
    struct str after = STR_NONE;
    struct domain d;
    struct plan p;
    struct setting s;

    for (int i = 3; i >= 0; i--) {
        ck_assert_int_eq(apply(put(DOMAIN_ADD, names[i], "", 0)).err, OK);
        ck_assert_int_eq(apply(plan(names[i], 86400, (uint32_t)i + 1)).err, OK);
        ck_assert_int_eq(apply(setting(names[i], names[i])).err, OK);
    }
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(control_domain_next(c, after, &arena, &d), OK);
        ck_assert_int_eq(control_plan_next(c, after, &arena, &p), OK);
        ck_assert_int_eq(control_setting_next(c, after, &arena, &s), OK);
        after = d.name;
        ck_assert(str_eq(d.name, str_of(names[i])));
        ck_assert(str_eq(p.name, d.name));
        ck_assert_uint_eq(p.max_connections, (uint32_t)i + 1);
        ck_assert(str_eq(s.name, d.name) && str_eq(s.value, d.name));
    }
    ck_assert_int_eq(control_domain_next(c, after, &arena, &d), E_NOTFOUND);
    ck_assert_int_eq(control_plan_next(c, after, &arena, &p), E_NOTFOUND);
    ck_assert_int_eq(control_setting_next(c, after, &arena, &s), E_NOTFOUND);
    ck_assert_int_eq(control_domain_next(c, STR("a.example.zzz"), &arena, &d), OK);
    ck_assert(str_eq(d.name, STR("b.example")));
}
END_TEST

START_TEST(a_setting_is_put_read_and_taken_away)
{
    struct setting s;
    struct control_counts n;

    ck_assert_int_eq(apply(setting("a", "")).err, E_NOTFOUND);
    ck_assert_int_eq(apply(setting("a", "1")).err, OK);
    ck_assert_int_eq(apply(setting("a", "2")).err, OK);
    ck_assert_int_eq(control_setting_get(c, STR("a"), &arena, &s), OK);
    ck_assert(str_eq(s.value, STR("2")));
    ck_assert_int_eq(control_counts(c, &n), OK);
    ck_assert_uint_eq(n.settings, 1);
    ck_assert_int_eq(apply(setting("a", "")).err, OK);
    ck_assert_int_eq(control_setting_get(c, STR("a"), &arena, &s), E_NOTFOUND);
}
END_TEST

START_TEST(keys_that_no_record_can_have_are_not_found)
{
    static const char big[1000];
    struct domain d;
    struct plan p;
    struct setting s;

    ck_assert_int_eq(control_domain_get(c, STR_NONE, &arena, &d), E_NOTFOUND);
    ck_assert_int_eq(control_domain_get(c, (struct str){big, 1000}, &arena, &d), E_NOTFOUND);
    ck_assert_int_eq(control_plan_get(c, (struct str){big, 1000}, &arena, &p), E_NOTFOUND);
    ck_assert_int_eq(control_setting_get(c, (struct str){big, 1000}, &arena, &s), E_NOTFOUND);
}
END_TEST

START_TEST(a_malformed_command_is_refused_and_counts_as_applied)
{
    ck_assert_int_eq(apply(tick(10001)).err, E_PROTO);
    ck_assert_uint_eq(control_applied(c), 1);
}
END_TEST

/* --- sessions, slots, clock --- */

START_TEST(the_first_site_takes_all_slots_and_a_second_one_none)
{
    struct session s;
    struct slot slot;

    ck_assert_int_eq(control_slot(c, 0, &slot), E_NOTFOUND);
    ck_assert_int_eq(control_session(c, 1, &s), E_NOTFOUND);
    ck_assert_int_eq(apply(tick(1)).err, OK);
    ck_assert_int_eq(apply(session(1)).err, OK); /* entry 2 */
    ck_assert_int_eq(apply(session(2)).err, OK); /* entry 3 */
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++) {
        ck_assert_int_eq(control_slot(c, i, &slot), OK);
        ck_assert_uint_eq(slot.site, 1);
        ck_assert_uint_eq(slot.epoch, 2);
    }
    ck_assert_int_eq(control_session(c, 2, &s), OK);
    ck_assert_uint_eq(s.epoch, 3);
    ck_assert_uint_eq(s.incarnation, 5);
    ck_assert_uint_eq(s.duration_ms, 10000);
    ck_assert_int_eq(apply(session(1)).err, OK); /* entry 4: the old session ends */
    ck_assert_int_eq(control_slot(c, 255, &slot), OK);
    ck_assert_uint_eq(slot.epoch, 4);
    ck_assert_int_eq(control_session(c, 1, &s), OK);
    ck_assert_uint_eq(s.epoch, 4);
}
END_TEST

START_TEST(a_slot_follows_from_the_name_alone)
{
    /* Fixed values: another hash would tear the nodes of a cluster apart. */
    ck_assert_uint_eq(control_slot_of(STR("a.example")), control_slot_of(STR("a.example")));
    ck_assert_uint_eq(control_slot_of(STR("example.com")), 115);
    ck_assert_uint_eq(control_slot_of(STR("example.net")), 116);
}
END_TEST

START_TEST(the_cluster_clock_adds_up)
{
    uint64_t ms;

    ck_assert_int_eq(control_cluster_ms(c, &ms), OK);
    ck_assert_uint_eq(ms, CONTROL_CLOCK_START_MS);
    ck_assert_int_eq(apply(tick(5000)).err, OK);
    ck_assert_int_eq(apply(tick(10000)).err, OK);
    ck_assert_int_eq(control_cluster_ms(c, &ms), OK);
    ck_assert_uint_eq(ms, CONTROL_CLOCK_START_MS + 15000);
}
END_TEST

/* --- operators --- */

START_TEST(an_operation_is_pending_until_it_is_done)
{
    struct operation o;

    ck_assert_int_eq(control_operation_next(c, 0, &arena, &o), E_NOTFOUND);
    ck_assert_int_eq(apply(operate("a.example")).err, OK); /* 1 */
    ck_assert_int_eq(apply(operate("b.example")).err, OK); /* 2 */
    ck_assert_int_eq(control_operation_next(c, 0, &arena, &o), OK);
    ck_assert_uint_eq(o.index, 1);
    ck_assert(str_eq(o.operate.domain, STR("a.example")));
    ck_assert_uint_eq(o.operate.cutoff_ms, 77);
    ck_assert_uint_eq(o.operate.uid, 1000);
    ck_assert_int_eq(control_operation_next(c, 1, &arena, &o), OK);
    ck_assert_uint_eq(o.index, 2);
    ck_assert_int_eq(control_operation_next(c, 2, &arena, &o), E_NOTFOUND);
    ck_assert_int_eq(apply(done(1)).err, OK);
    ck_assert_int_eq(apply(done(1)).err, E_NOTFOUND);
    ck_assert_int_eq(control_operation_next(c, 0, &arena, &o), OK);
    ck_assert_uint_eq(o.index, 2);
}
END_TEST

START_TEST(tables_have_their_limits)
{
    struct command cmds[64];
    struct control_input in[64];
    struct command_result r[64];
    char names[64][16];

    for (uint64_t made = 0; made < LIMIT_SETTINGS;) {
        size_t n = 0;

        for (; n < 64 && made < LIMIT_SETTINGS; n++, made++) {
            snprintf(names[n], sizeof names[n], "s%llu", (unsigned long long)made);
            cmds[n] = setting(names[n], "v");
            in[n] = (struct control_input){next_index++, &cmds[n]};
        }
        ck_assert_int_eq(control_apply_batch(c, in, n, r), OK);
        ck_assert_int_eq(r[n - 1].err, OK);
    }
    ck_assert_int_eq(apply(setting("one-more", "v")).err, E_FULL);
    ck_assert_int_eq(apply(setting("s0", "other")).err, OK); /* a change takes no room */
    for (uint16_t site = 1; site <= LIMIT_SITES; site++)
        ck_assert_int_eq(apply(session(site)).err, OK);
    ck_assert_int_eq(apply(session(LIMIT_SITES + 1)).err, E_FULL);
    ck_assert_int_eq(apply(session(1)).err, OK);
    for (uint64_t made = 0; made < LIMIT_OPERATIONS;) {
        size_t n = 0;

        for (; n < 64 && made < LIMIT_OPERATIONS; n++, made++) {
            cmds[n] = operate("a.example");
            in[n] = (struct control_input){next_index++, &cmds[n]};
        }
        ck_assert_int_eq(control_apply_batch(c, in, n, r), OK);
    }
    ck_assert_int_eq(apply(operate("a.example")).err, E_FULL);
}
END_TEST

/* --- replay --- */

/* A random command over few names, so that refusals and successes mix. */
static struct command any_command(struct prng *r)
{
    static const char *const names[] = {"a.example", "b.example", "c.example"};
    static const char *const plans[] = {"", "", "gold", "silver"};
    const char *name = names[prng_below(r, 3)];
    uint64_t old = prng_below(r, next_index + 1) + 1;

    switch (prng_below(r, 12)) {
    case 9:
        return member((uint16_t)(1 + prng_below(r, 3)), prng_below(r, 8) == 0 ? 5 : 0);
    case 10:
        return (struct command){.kind = COMMAND_SESSION_END,
                                .session_end = {(uint16_t)(1 + prng_below(r, 3)), old, 0}};
    case 11:
        return placing(name, (uint16_t)prng_below(r, 3), old);
    case 0:
        return session((uint16_t)(1 + prng_below(r, 3)));
    case 1:
        return tick((uint32_t)(1 + prng_below(r, 10000)));
    case 2:
        return removal(name);
    case 3:
        return drop(name, old);
    case 4:
        return setting(name, prng_below(r, 2) == 0 ? "" : name);
    case 5:
        return plan(plans[2 + prng_below(r, 2)], 86400, (uint32_t)(1 + prng_below(r, 9)));
    case 6:
        return prng_below(r, 2) == 0 ? operate(name) : done(old);
    default:
        return put((enum domain_put_mode)(1 + prng_below(r, 3)), name, plans[prng_below(r, 4)],
                   0);
    }
}

START_TEST(batches_single_entries_and_replays_give_the_same_state)
{
    static struct command cmds[500];
    static struct control_input in[500];
    static struct command_result once[500], other[500];
    struct control *d;
    struct prng r;
    uint64_t one, two;
    size_t at = 0;

    prng_seed(&r, 5);
    for (size_t i = 0; i < 500; i++) {
        cmds[i] = any_command(&r);
        in[i] = (struct control_input){next_index++, &cmds[i]};
        ck_assert_int_eq(control_apply(c, in[i].index, &cmds[i], &once[i]), OK);
    }
    ck_assert_int_eq(open_at(1, MAP, true, &d), OK);
    while (at < 500) { /* forward in random batches, each begun a little too early */
        size_t back = (size_t)prng_below(&r, at + 1) % 20;
        size_t n = 1 + (size_t)prng_below(&r, 30);

        n = at + n > 500 ? 500 - at : n;
        ck_assert_int_eq(control_apply_batch(d, in + at - back, n + back, other), OK);
        for (size_t i = 0; i < back; i++)
            ck_assert_int_eq(other[i].err, OK);
        for (size_t i = 0; i < n; i++) {
            ck_assert_int_eq(other[back + i].err, once[at + i].err);
            ck_assert_ptr_eq(other[back + i].refused, once[at + i].refused);
        }
        at += n;
        if (prng_below(&r, 10) == 0) {
            control_close(&d);
            ck_assert_int_eq(open_at(1, MAP, false, &d), OK);
        }
        ck_assert_uint_eq(control_applied(d), at);
    }
    ck_assert_int_eq(control_digest(c, &one), OK);
    ck_assert_int_eq(control_digest(d, &two), OK);
    ck_assert_uint_eq(one, two);
    ck_assert_int_eq(control_apply_batch(d, in, 500, other), OK); /* all once more: nothing */
    ck_assert_int_eq(control_digest(d, &two), OK);
    ck_assert_uint_eq(one, two);
    ck_assert_uint_eq(control_applied(d), 500);
    control_close(&d);
}
END_TEST

START_TEST(the_digest_sees_every_difference)
{
    uint64_t was, now;
    const struct command cmds[] = {session(1),
                                   tick(1),
                                   plan("gold", 86400, 1),
                                   put(DOMAIN_ADD, "a.example", "gold", 0),
                                   setting("a", "b"),
                                   operate("a.example"),
                                   removal("a.example")};

    ck_assert_int_eq(control_digest(c, &was), OK);
    for (size_t i = 0; i < sizeof cmds / sizeof *cmds; i++, was = now) {
        ck_assert_int_eq(apply(cmds[i]).err, OK);
        ck_assert_int_eq(control_digest(c, &now), OK);
        ck_assert_uint_ne(was, now);
    }
}
END_TEST

/* --- opening --- */

START_TEST(a_store_of_another_identity_is_refused)
{
    struct store_id other = id;

    control_close(&c);
    other.incarnation++;
    ck_assert_int_eq(control_open(&c, &(struct control_options){.dir = dir[0],
                                                                .map_bytes = MAP,
                                                                .id = &other,
                                                                .create = true}),
                     E_CONFLICT);
    ck_assert_ptr_null(c);
    ck_assert_int_eq(open_at(1, MAP, false, &c), E_NOTFOUND);
}
END_TEST

START_TEST(a_full_map_applies_nothing_and_room_heals_it)
{
    static char value[4000];
    char name[16];
    struct command cmd;
    struct command_result r;
    enum err e = OK;

    memset(value, 'x', sizeof value - 1);
    control_close(&c);
    ck_assert_int_eq(open_at(0, 512 * KiB, false, &c), OK);
    while (e == OK) {
        snprintf(name, sizeof name, "s%llu", (unsigned long long)next_index);
        cmd = setting(name, value);
        e = control_apply(c, next_index, &cmd, &r);
        if (e == OK)
            next_index++;
    }
    ck_assert_int_eq(e, E_FULL);
    ck_assert_uint_eq(control_applied(c), next_index - 1);
    control_close(&c);
    ck_assert_int_eq(open_at(0, MAP, false, &c), OK);
    ck_assert_int_eq(control_apply(c, next_index, &cmd, &r), OK);
    ck_assert_int_eq(r.err, OK);
    ck_assert_uint_eq(control_applied(c), next_index);
}
END_TEST

/* --- damage --- */

static const struct {
    const char *table;
    MDB_val key;
} kinds[] = {
    {"domain", {9, "a.example"}},
    {"plan", {4, "gold"}},
    {"setting", {4, "name"}},
    {"session", {2, "\0\1"}},
    {"slot", {1, "\7"}},
    {"operation", {8, "\0\0\0\0\0\0\0\5"}},
    {"member", {10, "\0\1\0\0\0\0\0\0\0\5"}},
    {"placement", {9, "a.example"}},
    {"meta", {5, "clock"}},
    {"meta", {7, "applied"}},
    {"meta", {2, "id"}},
    {"meta", {6, "format"}},
};

/* flip: one bit at `at`. Else the record is copied to the key `to`. */
static void damage(size_t kind, size_t at, const MDB_val *to)
{
    MDB_val key = kinds[kind].key, v;
    static char copy[8192];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 16), 0);
    ck_assert_int_eq(mdb_env_open(env, dir[0], 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, kinds[kind].table, 0, &dbi), 0);
    ck_assert_int_eq(mdb_get(txn, dbi, &key, &v), 0);
    memcpy(copy, v.mv_data, v.mv_size);
    v.mv_data = copy;
    if (to != NULL)
        key = *to;
    else
        copy[at % v.mv_size] ^= 0x04;
    ck_assert_int_eq(mdb_put(txn, dbi, &key, &v, 0), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void fill(void)
{
    ck_assert_int_eq(apply(session(1)).err, OK);
    ck_assert_int_eq(apply(plan("gold", 86400, 1)).err, OK);
    ck_assert_int_eq(apply(put(DOMAIN_ADD, "a.example", "gold", 0)).err, OK);
    ck_assert_int_eq(apply(setting("name", "value")).err, OK);
    ck_assert_int_eq(apply(operate("a.example")).err, OK); /* 5 */
    ck_assert_int_eq(apply(member(1, 5)).err, OK);
    ck_assert_int_eq(apply(placing("a.example", 1, 1)).err, OK);
    control_close(&c);
}

/* The read that touches the record of a kind. */
static enum err read_kind(size_t kind)
{
    struct domain d;
    struct plan p;
    struct setting s;
    struct session se;
    struct slot sl;
    struct operation o;
    struct member m;
    uint16_t site;
    uint64_t ms, epoch;

    switch (kind) {
    case 0:
        return control_domain_get(c, STR("a.example"), &arena, &d);
    case 1:
        return control_plan_get(c, STR("gold"), &arena, &p);
    case 2:
        return control_setting_get(c, STR("name"), &arena, &s);
    case 3:
        return control_session(c, 1, &se);
    case 4:
        return control_slot(c, 7, &sl);
    case 5:
        return control_operation_next(c, 0, &arena, &o);
    case 6:
        return control_member_get(c, 1, &m);
    case 7:
        return control_holder(c, STR("a.example"), &site, &epoch);
    default:
        return control_cluster_ms(c, &ms);
    }
}

START_TEST(a_flipped_bit_in_any_record_is_noticed_and_never_used)
{
    size_t kind = (size_t)_i / 4, places[] = {0, 7, 8, 11};
    uint64_t bad;

    fill();
    damage(kind, places[_i % 4], NULL);
    if (kind >= 9) {
        ck_assert_int_eq(open_at(0, MAP, false, &c), E_CORRUPT);
        return;
    }
    ck_assert_int_eq(open_at(0, MAP, false, &c), OK);
    ck_assert_int_eq(read_kind(kind), E_CORRUPT);
    ck_assert_int_eq(control_verify(c, &bad), OK);
    ck_assert_uint_eq(bad, 1);
}
END_TEST

START_TEST(a_record_under_a_foreign_key_is_noticed)
{
    struct domain d;
    uint64_t bad;

    fill();
    damage(0, 0, &(MDB_val){9, "b.example"});
    ck_assert_int_eq(open_at(0, MAP, false, &c), OK);
    ck_assert_int_eq(control_domain_get(c, STR("a.example"), &arena, &d), OK);
    ck_assert_int_eq(control_domain_get(c, STR("b.example"), &arena, &d), E_CORRUPT);
    ck_assert_int_eq(control_verify(c, &bad), OK);
    ck_assert_uint_eq(bad, 1);
}
END_TEST

START_TEST(a_walk_names_the_damaged_record_and_goes_on)
{
    struct domain d;

    ck_assert_int_eq(apply(put(DOMAIN_ADD, "b.example", "", 0)).err, OK);
    next_index = 2;
    ck_assert_int_eq(apply(put(DOMAIN_ADD, "a.example", "", 0)).err, OK);
    control_close(&c);
    damage(0, 9, NULL);
    ck_assert_int_eq(open_at(0, MAP, false, &c), OK);
    ck_assert_int_eq(control_domain_next(c, STR_NONE, &arena, &d), E_CORRUPT);
    ck_assert(str_eq(d.name, STR("a.example")));
    ck_assert_int_eq(control_domain_next(c, d.name, &arena, &d), OK);
    ck_assert(str_eq(d.name, STR("b.example")));
}
END_TEST

START_TEST(an_entry_that_meets_damage_is_not_applied)
{
    struct command cmd = put(DOMAIN_CHANGE, "a.example", "", 0);
    struct command_result r;

    fill();
    damage(0, 9, NULL);
    ck_assert_int_eq(open_at(0, MAP, false, &c), OK);
    ck_assert_int_eq(control_apply(c, next_index, &cmd, &r), E_CORRUPT);
    ck_assert_uint_eq(control_applied(c), next_index - 1);
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

int main(void)
{
    Suite *suite = suite_create("control");
    TCase *tc = tcase_create("control");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_life_of_a_domain);
    tcase_add_test(tc, a_domain_reads_back_as_it_was_put);
    tcase_add_test(tc, terms_come_from_domain_then_plan_then_defaults);
    tcase_add_test(tc, walks_see_all_records_in_order);
    tcase_add_test(tc, a_setting_is_put_read_and_taken_away);
    tcase_add_test(tc, keys_that_no_record_can_have_are_not_found);
    tcase_add_test(tc, a_malformed_command_is_refused_and_counts_as_applied);
    tcase_add_test(tc, the_first_site_takes_all_slots_and_a_second_one_none);
    tcase_add_test(tc, a_slot_follows_from_the_name_alone);
    tcase_add_test(tc, the_cluster_clock_adds_up);
    tcase_add_test(tc, an_operation_is_pending_until_it_is_done);
    tcase_add_test(tc, tables_have_their_limits);
    tcase_add_test(tc, batches_single_entries_and_replays_give_the_same_state);
    tcase_add_test(tc, the_digest_sees_every_difference);
    tcase_add_test(tc, a_store_of_another_identity_is_refused);
    tcase_add_test(tc, a_full_map_applies_nothing_and_room_heals_it);
    tcase_add_loop_test(tc, a_flipped_bit_in_any_record_is_noticed_and_never_used, 0,
                        4 * COUNT(kinds));
    tcase_add_test(tc, a_record_under_a_foreign_key_is_noticed);
    tcase_add_test(tc, a_walk_names_the_damaged_record_and_goes_on);
    tcase_add_test(tc, an_entry_that_meets_damage_is_not_applied);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
