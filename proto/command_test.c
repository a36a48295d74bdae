/* Commands survive the way to bytes and back; everything else is refused. Their names:
 * command_text.c. */
#include "proto/command.h"

#include <check.h>
#include <stdlib.h>

#include "base/prng.h"

static struct arena arena;
static uint8_t buf[LIMIT_COMMAND_BYTES];
static const struct slot_ref refs[3] = {{0, 1}, {7, UINT64_MAX}, {255, 300}};
static const struct slot_ref unsorted[2] = {{7, 1}, {7, 1}}, no_epoch[1] = {{.slot = 1}};
static const struct mid ids[2] = {{{1, 2, 3}}, {{[15] = 0xff}}};

static void setup(void)
{
    arena_init(&arena, 1 << 20);
}

static void teardown(void)
{
    arena_reset(&arena);
}

#define S(lit)                                                                                 \
    {                                                                                          \
        (lit), sizeof(lit) - 1                                                                 \
    }

/* 192.0.2.0/24 for an hour, "spam" */
#define LISTED "\1\3abc"
#define BLOCKED                                                                                \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\0"                                                 \
    "\x78\x01\0\0\x0e\x10\x04spam"

#define MX_DOMAIN .name = S("a.example"), .route.kind = ROUTE_MX

static const struct command good[] = {
    {COMMAND_SESSION_OPEN,
     .session_open = {.site = 65535, .incarnation = UINT64_MAX, .duration_ms = 10000}},
    {COMMAND_CLOCK, .clock = {.elapsed_ms = 1}},
    {COMMAND_CLOCK, .clock = {.elapsed_ms = 10000}},
    {COMMAND_DOMAIN_PUT, .domain_put = {.mode = DOMAIN_ADD, .domain = {MX_DOMAIN}}},
    {COMMAND_DOMAIN_PUT,
     .domain_put = {.mode = DOMAIN_CHANGE,
                    .if_changed = 77,
                    .domain = {.name = S("a.example"),
                               .route = {.kind = ROUTE_STATIC,
                                         .host_count = 2,
                                         .hosts = {{.host = S("b.example"), .port = 25},
                                                   {.host = S("2001:db8::1"),
                                                    .port = 65535,
                                                    .preference = 65535}}},
                               .hold_s = 86400,
                               .tls = DOMAIN_TLS_REQUIRE,
                               .eight_bit = DOMAIN_EIGHT_BIT_HOLD,
                               .dsn = DOMAIN_DSN_NONE,
                               .paused = true,
                               .plan = S("gold"),
                               .max_connections = 5,
                               .recipients = RECIPIENTS_LIST,
                               .separator = '+',
                               .unknown = UNKNOWN_DEFER,
                               .smtputf8 = true,
                               .digest = S("o.w+n@b.example"),
                               .checks = {1, 2, 3, 3}}}},
    {COMMAND_DOMAIN_REMOVE, .domain_remove = {.name = S("a.example")}},
    {COMMAND_DOMAIN_DROP, .domain_drop = {.name = S("a.example"), .generation = 5}},
    {COMMAND_SETTING_PUT, .setting_put = {.name = S("postmaster"), .value = S("a@b.example")}},
    {COMMAND_SETTING_PUT, .setting_put = {.name = S("postmaster")}},
    {COMMAND_PLAN_PUT,
     .plan_put = {.name = S("gold"), .hold_s = 1209600, .max_connections = 20}},
    {COMMAND_OPERATE, .operate = {.op = OPERATE_HOLD,
                                  .select = OPERATE_IDS,
                                  .ids = ids,
                                  .id_count = 2,
                                  .cutoff_ms = 1,
                                  .uid = 1000}},
    {COMMAND_OPERATE, .operate = {.op = OPERATE_DELETE,
                                  .select = OPERATE_DOMAIN,
                                  .domain = S("a.example"),
                                  .generation = 9,
                                  .cutoff_ms = UINT64_MAX}},
    {COMMAND_OPERATE, .operate = {.op = OPERATE_BOUNCE, .select = OPERATE_ALL, .cutoff_ms = 5}},
    {COMMAND_OPERATE_DONE, .operate_done = {.index = 12}},
    {COMMAND_SESSION_OPEN,
     .session_open =
         {.site = 1, .incarnation = 1, .duration_ms = 1000, .nonce = UINT64_MAX, .after = 7}},
    {COMMAND_MEMBER_ADD, .member_add = {.site = 3,
                                        .key = {[31] = 1},
                                        .control = S("mx3.example.net:7301"),
                                        .data = S("[2001:db8::3]:7302")}},
    {COMMAND_MEMBER_ADD, .member_add = {.site = 1,
                                        .incarnation = 1,
                                        .key = {1, 2, 3},
                                        .control = S("192.0.2.1:1"),
                                        .data = S("a:65535")}},
    {COMMAND_MEMBER_REMOVE, .member_remove = {.site = 2, .incarnation = UINT64_MAX}},
    {COMMAND_MEMBER_KEY, .member_key = {.site = 2, .incarnation = 7, .key = {9}}},
    {COMMAND_MEMBER_KEY,
     .member_key = {.site = 2, .incarnation = 7, .key = {[16] = 9}, .keep_old = true}},
    {COMMAND_MEMBER_FILLED, .member_filled = {.site = 65535, .incarnation = 7}},
    {COMMAND_SESSION_RENEW, .session_renew = {.site = 2, .epoch = 9, .seq = 77}},
    {COMMAND_SESSION_END, .session_end = {.site = 2, .epoch = 9, .renewal_index = 12}},
    {COMMAND_SESSION_END, .session_end = {.site = 2, .epoch = UINT64_MAX}},
    {COMMAND_SLOT_WANTED, .slot_wanted = {.slots = {[31] = 0x80}, .site = 2}},
    {COMMAND_SLOT_WANTED, .slot_wanted = {.slots = {1}, .site = 0}},
    {COMMAND_SLOT_WANTED, .slot_wanted = {.site = 2, .balance = true}},
    {COMMAND_SLOT_RELEASE, .slot_release = {.slots = refs, .count = 3, .to = 2}},
    {COMMAND_SLOT_RELEASE, .slot_release = {.slots = refs, .count = 1}},
    {COMMAND_PLACE, .place = {.domain = S("a.example"), .site = 2, .epoch = 3}},
    {COMMAND_PLACE, .place = {.domain = S("a.example"), .epoch = UINT64_MAX}},
    {COMMAND_DRAIN, .drain = {.site = 3, .on = true}},
    {COMMAND_ACCESS, .access = {.entries = S(BLOCKED), .uid = 1000}},
    {COMMAND_DRAIN, .drain = {.site = 3}},
    {COMMAND_ROSTER,
     .roster = {S("a.example"), .generation = 7, .entries = S(LISTED), .uid = 1000}},
    {COMMAND_ROSTER, .roster = {S("a.example"), .entries = S(LISTED)}},
};

static bool same_domain(const struct domain *a, const struct domain *b)
{
    if (a->route.host_count != b->route.host_count || a->route.kind != b->route.kind)
        return false;
    for (uint32_t i = 0; i < a->route.host_count; i++)
        if (!str_eq(a->route.hosts[i].host, b->route.hosts[i].host) ||
            a->route.hosts[i].port != b->route.hosts[i].port ||
            a->route.hosts[i].preference != b->route.hosts[i].preference)
            return false;
    return str_eq(a->name, b->name) && a->hold_s == b->hold_s && a->tls == b->tls &&
           a->eight_bit == b->eight_bit && a->dsn == b->dsn && a->paused == b->paused &&
           str_eq(a->plan, b->plan) && a->max_connections == b->max_connections &&
           a->generation == b->generation && a->changed == b->changed &&
           a->closing == b->closing && a->recipients == b->recipients &&
           a->separator == b->separator && a->unknown == b->unknown &&
           a->smtputf8 == b->smtputf8 && str_eq(a->digest, b->digest) &&
           memcmp(a->checks, b->checks, sizeof a->checks) == 0;
}

static bool same_refs(const struct slot_release *a, const struct slot_release *b)
{
    for (uint32_t i = 0; a->count == b->count && i < a->count; i++)
        if (a->slots[i].slot != b->slots[i].slot || a->slots[i].epoch != b->slots[i].epoch)
            return false;
    return a->count == b->count && a->to == b->to;
}

static bool same_cluster(const struct command *a, const struct command *b)
{
    switch (a->kind) {
    case COMMAND_MEMBER_ADD:
        return a->member_add.site == b->member_add.site &&
               a->member_add.incarnation == b->member_add.incarnation &&
               memcmp(a->member_add.key, b->member_add.key, MEMBER_KEY_BYTES) == 0 &&
               str_eq(a->member_add.control, b->member_add.control) &&
               str_eq(a->member_add.data, b->member_add.data);
    case COMMAND_MEMBER_REMOVE:
        return a->member_remove.site == b->member_remove.site &&
               a->member_remove.incarnation == b->member_remove.incarnation;
    case COMMAND_MEMBER_KEY:
        return a->member_key.site == b->member_key.site &&
               a->member_key.incarnation == b->member_key.incarnation &&
               memcmp(a->member_key.key, b->member_key.key, MEMBER_KEY_BYTES) == 0 &&
               a->member_key.keep_old == b->member_key.keep_old;
    case COMMAND_MEMBER_FILLED:
        return a->member_filled.site == b->member_filled.site &&
               a->member_filled.incarnation == b->member_filled.incarnation;
    case COMMAND_SESSION_RENEW:
        return a->session_renew.site == b->session_renew.site &&
               a->session_renew.epoch == b->session_renew.epoch &&
               a->session_renew.seq == b->session_renew.seq;
    case COMMAND_SESSION_END:
        return a->session_end.site == b->session_end.site &&
               a->session_end.epoch == b->session_end.epoch &&
               a->session_end.renewal_index == b->session_end.renewal_index;
    case COMMAND_SLOT_WANTED:
        return memcmp(a->slot_wanted.slots, b->slot_wanted.slots, 32) == 0 &&
               a->slot_wanted.site == b->slot_wanted.site &&
               a->slot_wanted.balance == b->slot_wanted.balance;
    case COMMAND_SLOT_RELEASE:
        return same_refs(&a->slot_release, &b->slot_release);
    case COMMAND_PLACE:
        return str_eq(a->place.domain, b->place.domain) && a->place.site == b->place.site &&
               a->place.epoch == b->place.epoch;
    case COMMAND_DRAIN:
        return a->drain.site == b->drain.site && a->drain.on == b->drain.on;
    case COMMAND_ACCESS:
        return str_eq(a->access.entries, b->access.entries) && a->access.uid == b->access.uid;
    case COMMAND_ROSTER:
        return str_eq(a->roster.domain, b->roster.domain) &&
               a->roster.generation == b->roster.generation &&
               str_eq(a->roster.entries, b->roster.entries) && a->roster.uid == b->roster.uid;
    default:
        return false;
    }
}

static bool same(const struct command *a, const struct command *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case COMMAND_SESSION_OPEN:
        return a->session_open.site == b->session_open.site &&
               a->session_open.incarnation == b->session_open.incarnation &&
               a->session_open.duration_ms == b->session_open.duration_ms &&
               a->session_open.nonce == b->session_open.nonce &&
               a->session_open.after == b->session_open.after;
    case COMMAND_CLOCK:
        return a->clock.elapsed_ms == b->clock.elapsed_ms;
    case COMMAND_DOMAIN_PUT:
        return a->domain_put.mode == b->domain_put.mode &&
               a->domain_put.if_changed == b->domain_put.if_changed &&
               same_domain(&a->domain_put.domain, &b->domain_put.domain);
    case COMMAND_DOMAIN_REMOVE:
        return str_eq(a->domain_remove.name, b->domain_remove.name);
    case COMMAND_DOMAIN_DROP:
        return str_eq(a->domain_drop.name, b->domain_drop.name) &&
               a->domain_drop.generation == b->domain_drop.generation;
    case COMMAND_SETTING_PUT:
        return str_eq(a->setting_put.name, b->setting_put.name) &&
               str_eq(a->setting_put.value, b->setting_put.value);
    case COMMAND_PLAN_PUT:
        return str_eq(a->plan_put.name, b->plan_put.name) &&
               a->plan_put.hold_s == b->plan_put.hold_s &&
               a->plan_put.max_connections == b->plan_put.max_connections;
    case COMMAND_OPERATE:
        return a->operate.op == b->operate.op && a->operate.select == b->operate.select &&
               a->operate.id_count == b->operate.id_count &&
               (a->operate.id_count == 0 ||
                memcmp(a->operate.ids, b->operate.ids, 16 * a->operate.id_count) == 0) &&
               str_eq(a->operate.domain, b->operate.domain) &&
               a->operate.generation == b->operate.generation &&
               a->operate.cutoff_ms == b->operate.cutoff_ms && a->operate.uid == b->operate.uid;
    case COMMAND_OPERATE_DONE:
        return a->operate_done.index == b->operate_done.index;
    default:
        return same_cluster(a, b);
    }
}

START_TEST(a_command_survives_the_way_to_bytes_and_back)
{
    struct command back;
    struct str bytes;

    ck_assert_ptr_null(command_check(&good[_i]));
    ck_assert_int_eq(command_encode(&good[_i], buf, sizeof buf, &bytes), OK);
    ck_assert_int_eq(command_decode(bytes, &arena, &back), OK);
    ck_assert(same(&good[_i], &back));
    /* too little room is said, not overrun */
    ck_assert_int_eq(command_encode(&good[_i], buf, bytes.n - 1, &bytes), E_FULL);
}
END_TEST

START_TEST(every_cut_and_every_added_byte_is_refused)
{
    struct command back;
    struct str bytes;
    uint8_t *copy;

    ck_assert_int_eq(command_encode(&good[_i], buf, sizeof buf, &bytes), OK);
    for (size_t n = 0; n < bytes.n; n++) {
        copy = malloc(n > 0 ? n : 1); /* exact size: a read past the end is seen */
        memcpy(copy, buf, n);
        ck_assert_msg(command_decode((struct str){(char *)copy, n}, &arena, &back) == E_PROTO,
                      "cut at %zu", n);
        free(copy);
    }
    for (unsigned b = 0; b < 256; b++) {
        buf[bytes.n] = (uint8_t)b;
        ck_assert_msg(command_decode((struct str){(char *)buf, bytes.n + 1}, &arena, &back) ==
                          E_PROTO,
                      "with %02x", b);
    }
}
END_TEST

START_TEST(a_flipped_bit_never_yields_a_command_of_another_spelling)
{
    struct command back;
    struct str bytes, again;
    static uint8_t other[LIMIT_COMMAND_BYTES];

    ck_assert_int_eq(command_encode(&good[_i], buf, sizeof buf, &bytes), OK);
    for (size_t bit = 0; bit < bytes.n * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (command_decode(bytes, &arena, &back) == OK) {
            ck_assert_int_eq(command_encode(&back, other, sizeof other, &again), OK);
            ck_assert(str_eq(bytes, again));
        }
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        arena_reset(&arena);
    }
}
END_TEST

#define BIG_DOMAIN(...) .domain_put = {.mode = DOMAIN_ADD, .domain = {__VA_ARGS__}}

static const struct command bad[] = {
    {.kind = (enum command_kind)0},
    {.kind = (enum command_kind)(COMMAND_KIND_MAX + 1)},
    {COMMAND_SESSION_OPEN, .session_open = {.incarnation = 1, .duration_ms = 10000}},
    {COMMAND_SESSION_OPEN, .session_open = {.site = 1, .duration_ms = 10000}},
    {COMMAND_SESSION_OPEN, .session_open = {.site = 1, .incarnation = 1, .duration_ms = 999}},
    {COMMAND_SESSION_OPEN, .session_open = {.site = 1, .incarnation = 1, .duration_ms = 60001}},
    {COMMAND_CLOCK, .clock = {.elapsed_ms = 0}},
    {COMMAND_CLOCK, .clock = {.elapsed_ms = 10001}},
    {COMMAND_DOMAIN_PUT, BIG_DOMAIN(.name = S("Example.com"), .route.kind = ROUTE_MX)},
    {COMMAND_DOMAIN_PUT, BIG_DOMAIN(.name = S("example.com"))},
    {COMMAND_DOMAIN_PUT, BIG_DOMAIN(MX_DOMAIN, .plan = S("no blanks"))},
    {COMMAND_DOMAIN_PUT, .domain_put = {.mode = 0, .domain = {MX_DOMAIN}}},
    {COMMAND_DOMAIN_PUT,
     .domain_put = {.mode = (enum domain_put_mode)4, .domain = {MX_DOMAIN}}},
    {COMMAND_DOMAIN_PUT,
     .domain_put = {.mode = DOMAIN_ADD, .if_changed = 1, .domain = {MX_DOMAIN}}},
    {COMMAND_DOMAIN_REMOVE, .domain_remove = {.name = S("com")}},
    {COMMAND_DOMAIN_DROP, .domain_drop = {.name = S("a.example")}},
    {COMMAND_SETTING_PUT, .setting_put = {.value = S("x")}},
    {COMMAND_SETTING_PUT, .setting_put = {.name = S("A"), .value = S("x")}},
    {COMMAND_SETTING_PUT, .setting_put = {.name = S("a"), .value = S("x\0y")}},
    {COMMAND_PLAN_PUT, .plan_put = {.name = S("a"), .hold_s = 1, .max_connections = 1}},
    {COMMAND_PLAN_PUT, .plan_put = {.name = S("a"), .hold_s = 86400}},
    {COMMAND_PLAN_PUT, .plan_put = {.hold_s = 86400, .max_connections = 1}},
    {COMMAND_OPERATE, .operate = {.op = OPERATE_HOLD, .select = OPERATE_ALL}},
    {COMMAND_OPERATE, .operate = {.op = 0, .select = OPERATE_ALL, .cutoff_ms = 1}},
    {COMMAND_OPERATE,
     .operate = {.op = (enum operate_op)6, .select = OPERATE_ALL, .cutoff_ms = 1}},
    {COMMAND_OPERATE, .operate = {.op = OPERATE_HOLD, .select = OPERATE_IDS, .cutoff_ms = 1}},
    {COMMAND_OPERATE, .operate = {.op = OPERATE_HOLD,
                                  .select = OPERATE_ALL,
                                  .ids = ids,
                                  .id_count = 1,
                                  .cutoff_ms = 1}},
    {COMMAND_OPERATE, .operate = {.op = OPERATE_HOLD,
                                  .select = OPERATE_ALL,
                                  .domain = S("a.example"),
                                  .cutoff_ms = 1}},
    {COMMAND_OPERATE,
     .operate = {.op = OPERATE_HOLD, .select = OPERATE_DOMAIN, .cutoff_ms = 1}},
    {COMMAND_OPERATE,
     .operate = {.op = OPERATE_HOLD, .select = (enum operate_select)4, .cutoff_ms = 1}},
    {COMMAND_OPERATE_DONE, .operate_done = {.index = 0}},
#define ADD(...)                                                                               \
    {                                                                                          \
        COMMAND_MEMBER_ADD, .member_add = { __VA_ARGS__ }                                      \
    }
    ADD(.key = {1}, .control = S("a:1"), .data = S("a:2")),
    ADD(.site = 1, .control = S("a:1"), .data = S("a:2")),
    ADD(.site = 1, .key = {1}, .control = S("a"), .data = S("a:2")),
    ADD(.site = 1, .key = {1}, .control = S("a:1"), .data = S(":2")),
    ADD(.site = 1, .key = {1}, .control = S("a:65536"), .data = S("a:2")),
    ADD(.site = 1, .key = {1}, .control = S("a:01"), .data = S("a:2")),
    ADD(.site = 1, .key = {1}, .control = S("a b:1"), .data = S("a:2")),
    ADD(.site = 1, .key = {1}, .control = S("::1:1"), .data = S("a:2")),
    ADD(.site = 1, .key = {1}, .control = S("[]:1"), .data = S("a:2")),
    ADD(.site = 1, .key = {1}, .control = S("[::1:1"), .data = S("a:2")),
    {COMMAND_MEMBER_REMOVE, .member_remove = {.site = 1}},
    {COMMAND_MEMBER_KEY, .member_key = {.site = 1, .incarnation = 1}},
    {COMMAND_MEMBER_KEY, .member_key = {.incarnation = 1, .key = {1}}},
    {COMMAND_MEMBER_FILLED, .member_filled = {.incarnation = 1}},
    {COMMAND_SESSION_RENEW, .session_renew = {.site = 1}},
    {COMMAND_SESSION_RENEW, .session_renew = {.epoch = 1}},
    {COMMAND_SESSION_END, .session_end = {.site = 1}},
    {COMMAND_SLOT_WANTED, .slot_wanted = {.site = 1}},
    {COMMAND_SLOT_WANTED, .slot_wanted = {.slots = {1}, .balance = true}},
    {COMMAND_SLOT_RELEASE, .slot_release = {.slots = refs}},
    {COMMAND_SLOT_RELEASE, .slot_release = {.slots = refs, .count = 257}},
    {COMMAND_SLOT_RELEASE, .slot_release = {.slots = unsorted, .count = 2}},
    {COMMAND_SLOT_RELEASE, .slot_release = {.slots = no_epoch, .count = 1}},
    {COMMAND_PLACE, .place = {.domain = S("a.example"), .site = 2}},
    {COMMAND_PLACE, .place = {.domain = S("example"), .site = 2, .epoch = 3}},
    {COMMAND_DRAIN, .drain = {.on = true}},
    {COMMAND_ACCESS, .access = {.uid = 1}},
    {COMMAND_ACCESS, .access = {.entries = S(BLOCKED BLOCKED)}},
    {COMMAND_ROSTER, .roster = {.domain = S("a.example")}},
    {COMMAND_ROSTER, .roster = {S("example"), .entries = S(LISTED)}},
    {COMMAND_ROSTER, .roster = {S("a.example"), .entries = S(LISTED LISTED)}},
};

START_TEST(a_malformed_command_is_refused_with_a_reason)
{
    struct str bytes;

    ck_assert_ptr_nonnull(command_check(&bad[_i]));
    ck_assert_int_eq(command_encode(&bad[_i], buf, sizeof buf, &bytes), E_PROTO);
}
END_TEST

/* Bytes that protobuf would take and we do not. */
static const struct {
    const char *what;
    struct str bytes;
} odd[] = {
    {"nothing", S("")},
    {"kind 10", S("\x52\x02\x08\x01")},
    {"kind 100", S("\xa2\x06\x02\x08\x01")},
    {"an empty clock", S("\x12\x00")},
    {"clock twice", S("\x12\x02\x08\x01\x12\x02\x08\x01")},
    {"two kinds", S("\x12\x02\x08\x01\x4a\x02\x08\x01")},
    {"a long varint", S("\x12\x03\x08\x81\x00")},
    {"an unknown field inside", S("\x12\x04\x08\x01\x10\x01")},
    {"an unknown field outside", S("\x12\x02\x08\x01\x78\x01")},
    {"a default written out", S("\x1a\x13\x08\x01\x10\x00\x1a\x0d\x0a\x09"
                                "a.example\x10\x01")},
    {"a site above 16 bits", S("\x0a\x09\x08\x80\x80\x04\x10\x01\x18\x90\x4e")},
    {"a domain put without domain", S("\x1a\x02\x08\x01")},
    {"ids of 15 bytes", S("\x42\x17\x08\x01\x10\x01\x1a\x0f"
                          "123456789012345\x30\x01")},
    {"a wrong wire type", S("\x10\x01")},
    {"a length past the end", S("\x12\x7f\x08\x01")},
};

START_TEST(bytes_that_we_would_not_write_are_refused)
{
    struct command back;

    ck_assert_msg(command_decode(odd[_i].bytes, &arena, &back) == E_PROTO, "%s", odd[_i].what);
}
END_TEST

START_TEST(the_control_of_the_odd_bytes_is_taken)
{
    struct command back;

    ck_assert_int_eq(command_decode(STR("\x12\x02\x08\x01"), &arena, &back), OK);
    ck_assert_int_eq(back.kind, COMMAND_CLOCK);
    ck_assert_int_eq(command_decode(STR("\x1a\x10\x08\x01\x1a\x0c\x0a\x09"
                                        "a.example\x10\x01"),
                                    &arena, &back),
                     E_PROTO); /* inner length is one short */
    ck_assert_int_eq(command_decode(STR("\x1a\x11\x08\x01\x1a\x0d\x0a\x09"
                                        "a.example\x10\x01"),
                                    &arena, &back),
                     OK);
    ck_assert_int_eq(
        command_decode(STR("\x0a\x09\x08\xff\xff\x03\x10\x01\x18\x90\x4e"), &arena, &back), OK);
    ck_assert_int_eq(back.session_open.site, 65535);
}
END_TEST

START_TEST(a_small_input_cannot_take_much_memory)
{
    struct command back;
    size_t n = 0;

    /* a domain of 32,000 empty hosts */
    buf[n++] = 0x1a;
    buf[n++] = 0x83, buf[n++] = 0xf4, buf[n++] = 0x03; /* 64003 */
    buf[n++] = 0x1a;
    buf[n++] = 0xff, buf[n++] = 0xf3, buf[n++] = 0x03; /* 63999 */
    while (n + 2 <= 64007) {
        buf[n++] = 0x1a;
        buf[n++] = 0x00;
    }
    ck_assert_int_eq(command_decode((struct str){(char *)buf, n}, &arena, &back), E_PROTO);
    ck_assert_uint_eq(arena.used, 0);
}
END_TEST

START_TEST(the_largest_operation_fits_and_one_more_id_does_not)
{
    static struct mid many[LIMIT_OPERATION_IDS + 1];
    struct command c = {COMMAND_OPERATE, .operate = {.op = OPERATE_RETRY,
                                                     .select = OPERATE_IDS,
                                                     .ids = many,
                                                     .id_count = LIMIT_OPERATION_IDS,
                                                     .cutoff_ms = 1}},
                   back;
    struct str bytes;

    for (size_t i = 0; i <= LIMIT_OPERATION_IDS; i++)
        many[i] = mid_make(1, 2, i);
    ck_assert_int_eq(command_encode(&c, buf, sizeof buf, &bytes), OK);
    ck_assert_int_eq(command_decode(bytes, &arena, &back), OK);
    ck_assert(same(&c, &back));
    c.operate.id_count++;
    ck_assert_int_eq(command_encode(&c, buf, sizeof buf, &bytes), E_PROTO);
}
END_TEST

START_TEST(a_full_arena_is_not_called_malformed)
{
    struct arena small;
    struct command back;
    struct str bytes;

    arena_init(&small, 16);
    ck_assert_int_eq(command_encode(&good[4], buf, sizeof buf, &bytes), OK);
    ck_assert_int_eq(command_decode(bytes, &small, &back), E_FULL);
    arena_reset(&small);
}
END_TEST

START_TEST(a_stored_domain_keeps_what_the_store_set)
{
    struct domain d = good[4].domain_put.domain, back;
    struct str bytes;

    d.generation = 40;
    d.changed = UINT64_MAX;
    d.closing = true;
    ck_assert_int_eq(domain_encode(&d, buf, sizeof buf, &bytes), OK);
    ck_assert_int_eq(domain_decode(bytes, &arena, &back), OK);
    ck_assert(same_domain(&d, &back));
    ck_assert_int_eq(domain_decode(str_head(bytes, bytes.n - 1), &arena, &back), E_PROTO);
}
END_TEST

START_TEST(a_command_carries_no_generation)
{
    struct command c = good[3], back;
    struct str bytes;

    c.domain_put.domain.generation = 9;
    c.domain_put.domain.closing = true;
    ck_assert_int_eq(command_encode(&c, buf, sizeof buf, &bytes), OK);
    ck_assert_int_eq(command_decode(bytes, &arena, &back), OK);
    ck_assert_uint_eq(back.domain_put.domain.generation, 0);
    ck_assert(!back.domain_put.domain.closing);
}
END_TEST

START_TEST(operations_read_back_by_their_word)
{
    enum operate_op op;

    for (int i = OPERATE_HOLD; i <= OPERATE_BOUNCE; i++) {
        ck_assert(operate_op_parse(str_of(operate_op_text((enum operate_op)i)), &op));
        ck_assert_int_eq(op, i);
    }
    ck_assert(!operate_op_parse(STR("Hold"), &op));
    ck_assert_str_eq(command_kind_text(COMMAND_OPERATE_DONE), "operate_done");
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

int main(void)
{
    Suite *suite = suite_create("command");
    TCase *tc = tcase_create("command");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_command_survives_the_way_to_bytes_and_back, 0, COUNT(good));
    tcase_add_loop_test(tc, every_cut_and_every_added_byte_is_refused, 0, COUNT(good));
    tcase_add_loop_test(tc, a_flipped_bit_never_yields_a_command_of_another_spelling, 0,
                        COUNT(good));
    tcase_add_loop_test(tc, a_malformed_command_is_refused_with_a_reason, 0, COUNT(bad));
    tcase_add_loop_test(tc, bytes_that_we_would_not_write_are_refused, 0, COUNT(odd));
    tcase_add_test(tc, the_control_of_the_odd_bytes_is_taken);
    tcase_add_test(tc, a_small_input_cannot_take_much_memory);
    tcase_add_test(tc, the_largest_operation_fits_and_one_more_id_does_not);
    tcase_add_test(tc, a_full_arena_is_not_called_malformed);
    tcase_add_test(tc, a_stored_domain_keeps_what_the_store_set);
    tcase_add_test(tc, a_command_carries_no_generation);
    tcase_add_test(tc, operations_read_back_by_their_word);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
