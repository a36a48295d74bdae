/* Any bytes: decoding either refuses them, or what it made encodes to the same bytes. Any
 * fields: a command that passes its check survives the way to bytes and back; one that does not
 * is not encoded; and its bytes, damaged, are again refused or exact. The first byte chooses.
 *
 * Covers: proto/command.c proto/command_domain.c
 */
#include "proto/command.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[LIMIT_COMMAND_BYTES], bytes[LIMIT_COMMAND_BYTES];

static bool exact_command(struct str in, struct arena *a)
{
    struct command c;
    struct str out;

    if (command_decode(in, a, &c) != OK)
        return false;
    ASSERT(command_check(&c) == NULL);
    ASSERT(command_kind_text(c.kind) != NULL);
    ASSERT(command_encode(&c, again, sizeof again, &out) == OK);
    ASSERT(str_eq(in, out));
    return true;
}

static bool exact_domain(struct str in, struct arena *a)
{
    struct arena small;
    struct domain d;
    struct str out;

    if (domain_decode(in, a, &d) != OK)
        return false;
    ASSERT(domain_check(&d) == NULL);
    ASSERT(domain_encode(&d, again, sizeof again, &out) == OK);
    ASSERT(str_eq(in, out));
    arena_init(&small, 16); /* no room: said, or not needed */
    ASSERT(domain_decode(in, &small, &d) != E_PROTO);
    arena_reset(&small);
    return true;
}

/* --- a command from fields --- */

static uint8_t byte(struct str *in)
{
    uint8_t b = 0;

    if (in->n > 0) {
        b = (uint8_t)in->p[0];
        *in = str_from(*in, 1);
    }
    return b;
}

/* Values that lie around limits more often than others. */
static uint64_t number(struct str *in)
{
    static const uint64_t liked[] = {0,
                                     1,
                                     2,
                                     3,
                                     5,
                                     10000,
                                     10001,
                                     999,
                                     1000,
                                     1001,
                                     60000,
                                     60001,
                                     LIMIT_HOLD_MIN_S,
                                     LIMIT_HOLD_MAX_S,
                                     65535,
                                     65536,
                                     UINT32_MAX,
                                     UINT64_MAX};
    uint8_t b = byte(in);
    uint64_t v = 0;

    if (b < 200)
        return liked[b % (sizeof liked / sizeof *liked)];
    for (int i = 0; i < b % 9; i++)
        v = v << 8 | byte(in);
    return v;
}

static struct str text(struct str *in)
{
    static const char *const liked[] = {"a.example", "b.example.com", "gold", "", "A", "com"};
    static char big[LIMIT_SETTING_VALUE_BYTES + 1];
    uint8_t b = byte(in);
    struct str s;

    if (b < 200)
        return str_of(liked[b % (sizeof liked / sizeof *liked)]);
    if (b == 255) {
        memset(big, 'a', sizeof big);
        return (struct str){big, sizeof big - byte(in) % 2};
    }
    s = str_head(*in, b % 80 < in->n ? b % 80 : in->n);
    *in = str_from(*in, s.n);
    return s;
}

static void build_domain(struct str *in, struct domain *d)
{
    *d = (struct domain){.name = text(in),
                         .plan = text(in),
                         .route.kind = (enum route_kind)number(in),
                         .hold_s = (uint32_t)number(in),
                         .tls = (enum domain_tls)(byte(in) % 4),
                         .eight_bit = (enum domain_eight_bit)(byte(in) % 3),
                         .dsn = (enum domain_dsn)(byte(in) % 4),
                         .paused = byte(in) % 2 != 0,
                         .max_connections = (uint32_t)number(in),
                         .recipients = (enum domain_recipients)(byte(in) % 4),
                         .separator = (char)byte(in),
                         .unknown = (enum domain_unknown)(byte(in) % 4),
                         .generation = number(in),
                         .changed = number(in),
                         .closing = byte(in) % 2 != 0};
    for (int i = 0; i < DOMAIN_CHECK_KINDS; i++)
        d->checks[i] = byte(in) & 3;
    d->route.host_count = byte(in) % (LIMIT_ROUTE_HOSTS + 1);
    for (uint32_t i = 0; i < d->route.host_count; i++)
        d->route.hosts[i] =
            (struct domain_host){text(in), (uint16_t)number(in), (uint16_t)number(in)};
    d->smtputf8 = byte(in) % 2 != 0;
    d->digest = text(in);
}

static void build_operate(struct str *in, struct operate *o)
{
    static struct mid ids[LIMIT_OPERATION_IDS + 1];

    *o = (struct operate){.op = (enum operate_op)(byte(in) % 7),
                          .select = (enum operate_select)(byte(in) % 5),
                          .ids = ids,
                          .domain = text(in),
                          .generation = number(in),
                          .cutoff_ms = number(in),
                          .uid = (uint32_t)number(in)};
    o->id_count = (uint32_t)(number(in) % (LIMIT_OPERATION_IDS + 2));
}

static struct str address(struct str *in)
{
    static const char *const liked[] = {"a:1",     "mx1.example.net:7301", "[::1]:7302", "a:0",
                                        "[]:7301", "192.0.2.1:65535",      "a:65536",    ":1"};
    uint8_t b = byte(in);

    return b < 200 ? str_of(liked[b % (sizeof liked / sizeof *liked)]) : text(in);
}

static void build_release(struct str *in, struct slot_release *r)
{
    static struct slot_ref refs[COMMAND_SLOTS + 1];

    r->slots = refs;
    r->count = byte(in) == 255 ? COMMAND_SLOTS + 1 : byte(in);
    for (uint32_t i = 0; i < r->count; i++)
        refs[i] = (struct slot_ref){.slot = (uint8_t)(byte(in) < 250 ? i : byte(in)),
                                    .epoch = byte(in) < 200 ? i + 1 : number(in)};
    r->to = (uint16_t)number(in);
}

static struct str build_access(struct str *in)
{
    static char packed[4096];
    struct access_entry e = {.action = ACCESS_REMOVE};
    size_t used = 0;

    for (int i = byte(in) % 4; i > 0; i--) {
        e = (struct access_entry){.action = (enum access_action)(byte(in) % 4),
                                  .prefix = {.bits = byte(in) % 130},
                                  .for_s = (uint32_t)number(in),
                                  .reason = text(in)};
        e.prefix.address[byte(in) % 16] = byte(in);
        if (access_append(packed, sizeof packed, &used, &e) != OK)
            break;
    }
    return (struct str){packed, used > 0 && byte(in) % 8 == 0 ? used - 1 : used};
}

static struct str build_roster(struct str *in)
{
    static char packed[4096];
    size_t used = 0;

    for (int i = byte(in) % 4; i > 0; i--) {
        struct roster_entry e = {.is_removed = byte(in) % 2 != 0, .local = text(in)};

        if (roster_append(packed, sizeof packed, &used, &e) != OK)
            break;
    }
    return (struct str){packed, used > 0 && byte(in) % 8 == 0 ? used - 1 : used};
}

static void build_cluster(struct str *in, struct command *c)
{
    uint16_t site = (uint16_t)number(in);
    uint8_t key = byte(in);

    switch (c->kind) {
    case COMMAND_MEMBER_ADD:
        c->member_add = (struct member_add){.site = site,
                                            .incarnation = number(in),
                                            .key = {key},
                                            .control = address(in),
                                            .data = address(in)};
        return;
    case COMMAND_MEMBER_REMOVE:
        c->member_remove = (struct member_remove){.site = site, .incarnation = number(in)};
        return;
    case COMMAND_MEMBER_KEY:
        c->member_key = (struct member_key){.site = site,
                                            .incarnation = number(in),
                                            .key = {[31] = key},
                                            .keep_old = byte(in) % 2 != 0};
        return;
    case COMMAND_MEMBER_FILLED:
        c->member_filled = (struct member_filled){.site = site, .incarnation = number(in)};
        return;
    case COMMAND_SESSION_RENEW:
        c->session_renew =
            (struct session_renew){.site = site, .epoch = number(in), .seq = number(in)};
        return;
    case COMMAND_SESSION_END:
        c->session_end = (struct session_end){
            .site = site, .epoch = number(in), .renewal_index = number(in)};
        return;
    case COMMAND_SLOT_WANTED:
        c->slot_wanted =
            (struct slot_wanted){.slots = {key}, .site = site, .balance = byte(in) % 2 != 0};
        return;
    case COMMAND_SLOT_RELEASE:
        build_release(in, &c->slot_release);
        return;
    case COMMAND_PLACE:
        c->place = (struct place){.domain = text(in), .site = site, .epoch = number(in)};
        return;
    case COMMAND_DRAIN:
        c->drain = (struct drain){.site = site, .on = byte(in) % 2 != 0};
        return;
    case COMMAND_ACCESS:
        c->access.uid = (uint32_t)number(in);
        c->access.entries = build_access(in);
        return;
    case COMMAND_ROSTER:
        c->roster = (struct roster){
            .domain = text(in), .generation = number(in), .uid = (uint32_t)number(in)};
        c->roster.entries = build_roster(in);
        return;
    default:
        return;
    }
}

static void build(struct str *in, struct command *c)
{
    *c = (struct command){.kind = (enum command_kind)(byte(in) % (COMMAND_KIND_MAX + 2))};
    switch (c->kind) {
    case COMMAND_SESSION_OPEN:
        c->session_open = (struct session_open){.site = (uint16_t)number(in),
                                                .incarnation = number(in),
                                                .duration_ms = (uint32_t)number(in),
                                                .nonce = number(in),
                                                .after = number(in)};
        return;
    case COMMAND_CLOCK:
        c->clock.elapsed_ms = (uint32_t)number(in);
        return;
    case COMMAND_DOMAIN_PUT:
        c->domain_put.mode = (enum domain_put_mode)(byte(in) % 5);
        c->domain_put.if_changed = number(in);
        build_domain(in, &c->domain_put.domain);
        return;
    case COMMAND_DOMAIN_REMOVE:
        c->domain_remove.name = text(in);
        return;
    case COMMAND_DOMAIN_DROP:
        c->domain_drop = (struct domain_drop){.name = text(in), .generation = number(in)};
        return;
    case COMMAND_SETTING_PUT:
        c->setting_put = (struct setting){.name = text(in), .value = text(in)};
        return;
    case COMMAND_PLAN_PUT:
        c->plan_put = (struct plan){.name = text(in),
                                    .hold_s = (uint32_t)number(in),
                                    .max_connections = (uint32_t)number(in)};
        return;
    case COMMAND_OPERATE:
        build_operate(in, &c->operate);
        return;
    case COMMAND_OPERATE_DONE:
        c->operate_done.index = number(in);
        return;
    default:
        build_cluster(in, c);
        return;
    }
}

/* An exact-size copy of good bytes, some of them changed, perhaps cut. */
static struct str damage(struct str good, struct str how)
{
    char *copy = malloc(good.n);

    ASSERT(copy != NULL);
    memcpy(copy, good.p, good.n);
    for (size_t i = 0; i + 1 < how.n; i += 2)
        copy[(uint8_t)how.p[i] % good.n] = how.p[i + 1];
    return (struct str){copy, how.n % 2 == 0 ? good.n : good.n - 1};
}

static void built_command(struct str in, struct arena *a)
{
    struct arena small;
    struct command c, other;
    struct str out, bad;

    build(&in, &c);
    if (command_check(&c) != NULL) {
        ASSERT(command_encode(&c, bytes, sizeof bytes, &out) == E_PROTO);
        return;
    }
    ASSERT(command_encode(&c, bytes, sizeof bytes, &out) == OK);
    ASSERT(exact_command(out, a));
    arena_init(&small, 16); /* no room: said, or not needed */
    ASSERT(command_decode(out, &small, &other) != E_PROTO);
    arena_reset(&small);
    ASSERT(command_encode(&c, again, 0, &bad) == E_FULL);
    bad = damage(out, in);
    exact_command(bad, a);
    free((char *)bad.p);
}

static void built_domain(struct str in, struct arena *a)
{
    struct domain d;
    struct str out, bad;

    build_domain(&in, &d);
    if (domain_encode(&d, bytes, sizeof bytes, &out) != OK) {
        ASSERT(domain_check(&d) != NULL);
        return;
    }
    ASSERT(exact_domain(out, a));
    bad = damage(out, in);
    exact_domain(bad, a);
    free((char *)bad.p);
}

static void words(struct str in)
{
    enum operate_op op;

    if (operate_op_parse(in, &op))
        ASSERT(str_eq(in, str_of(operate_op_text(op))));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str in;
    char *copy;

    if (size < 1)
        return 0;
    copy = malloc(size - 1 > 0 ? size - 1 : 1);
    ASSERT(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    in = (struct str){copy, size - 1};
    arena_init(&a, 1 << 20);
    switch (data[0] % 5) {
    case 0:
        exact_command(in, &a);
        break;
    case 1:
        exact_domain(in, &a);
        break;
    case 2:
        built_command(in, &a);
        break;
    case 3:
        built_domain(in, &a);
        break;
    default:
        words(in);
        break;
    }
    arena_reset(&a);
    free(copy);
    return 0;
}
