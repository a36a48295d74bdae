#include "proto/command.h"

#include "base/bigendian.h"
#include "base/limits.h"
#include "proto/command_private.h"

#define MID_BYTES      sizeof(struct mid)
#define SLOT_REF_BYTES 9 /* of a slot in a release: number, epoch */

static_assert(sizeof(struct mid) == 16, "ids travel as they stand in memory");
/* A name of a plan or a setting. */
static const char *label_check(struct str s, size_t limit)
{
    if (s.n == 0 || s.n > limit)
        return "a name has 1 to 64 characters";
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' &&
            c != '-')
            return "a name is made of a-z, 0-9, '.', '_' and '-'";
    }
    return NULL;
}

static const char *session_check(const struct session_open *s)
{
    if (s->site == 0)
        return "a site is 1 to 65535";
    if (s->incarnation == 0)
        return "an incarnation is above 0";
    if (s->duration_ms < LIMIT_SESSION_MIN_MS || s->duration_ms > LIMIT_SESSION_MAX_MS)
        return "a session lasts 1 to 60 seconds";
    return NULL;
}

static const char *member_check(uint16_t site, uint64_t incarnation)
{
    if (site == 0)
        return "a site is 1 to 65535";
    return incarnation != 0 ? NULL : "an incarnation is above 0";
}

static const char *key_check(const uint8_t key[MEMBER_KEY_BYTES])
{
    uint8_t any = 0;

    for (size_t i = 0; i < MEMBER_KEY_BYTES; i++)
        any |= key[i];
    return any != 0 ? NULL : "a public key is not all zero";
}

const char *member_address_check(struct str address)
{
    size_t colon = str_find_last(address, ':');
    struct str host = str_head(address, colon), port = STR_NONE;
    uint64_t n;

    if (address.n > LIMIT_ADDRESS_BYTES)
        return "an address has at most 262 bytes";
    if (colon < address.n)
        port = str_from(address, colon + 1);
    if (port.n == 0 || port.n > 5 || port.p[0] == '0' || !str_to_u64(port, &n) || n > 65535)
        return "an address ends in a port: host:7301";
    if (host.n == 0 || (host.p[0] == '[') != str_ends(host, ']') ||
        (host.p[0] == '[' && host.n < 4))
        return "an address is a name, an IPv4 address or an IPv6 address in brackets";
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';

        if (!is_plain && !(host.p[0] == '[' && (c == ':' || i == 0 || i == host.n - 1)))
            return "an address is a name, an IPv4 address or an IPv6 address in brackets";
    }
    return NULL;
}

static const char *member_add_check(const struct member_add *m)
{
    const char *why = member_check(m->site, 1);

    if (why == NULL)
        why = key_check(m->key);
    if (why == NULL)
        why = member_address_check(m->control);
    return why != NULL ? why : member_address_check(m->data);
}

static const char *member_key_check(const struct member_key *m)
{
    const char *why = member_check(m->site, m->incarnation);

    return why != NULL ? why : key_check(m->key);
}

static const char *epoch_check(uint16_t site, uint64_t epoch)
{
    if (site == 0)
        return "a site is 1 to 65535";
    return epoch != 0 ? NULL : "an epoch is above 0";
}

static const char *wanted_check(const struct slot_wanted *w)
{
    uint8_t any = 0;

    for (size_t i = 0; i < sizeof w->slots; i++)
        any |= w->slots[i];
    if (w->balance && w->site == 0)
        return "balance is for a site";
    return any != 0 || w->balance ? NULL : "no slot is named";
}

static const char *release_check(const struct slot_release *r)
{
    if (r->count < 1 || r->count > COMMAND_SLOTS)
        return "1 to 256 slots";
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->slots[i].epoch == 0)
            return "an epoch is above 0";
        if (i > 0 && r->slots[i].slot <= r->slots[i - 1].slot)
            return "slots are in ascending order";
    }
    return NULL;
}

static const char *place_check(const struct place *p)
{
    return p->epoch != 0 ? domain_name_check(p->domain) : "an epoch is above 0";
}

static const char *clock_check(const struct clock_tick *c)
{
    return c->elapsed_ms >= 1 && c->elapsed_ms <= 2 * LIMIT_CLOCK_TICK_MS
               ? NULL
               : "a clock entry adds at most two intervals";
}

static const char *domain_put_check(const struct domain_put *p)
{
    const char *why = domain_check(&p->domain);

    if (why == NULL && p->domain.plan.n > 0)
        why = label_check(p->domain.plan, LIMIT_PLAN_NAME_BYTES);
    if (why == NULL && (p->mode < DOMAIN_ADD || p->mode > DOMAIN_REOPEN))
        why = "unknown mode";
    if (why == NULL && p->mode == DOMAIN_ADD && p->if_changed != 0)
        why = "a new domain has no change to compare with";
    return why;
}

static const char *drop_check(const struct domain_drop *d)
{
    return d->generation != 0 ? domain_name_check(d->name) : "a generation is above 0";
}

static const char *setting_check(const struct setting *s)
{
    if (s->value.n > LIMIT_SETTING_VALUE_BYTES)
        return "a value has at most 4096 bytes";
    if (str_find(s->value, 0) < s->value.n)
        return "a value has no NUL";
    return label_check(s->name, LIMIT_SETTING_NAME_BYTES);
}

static const char *plan_check(const struct plan *p)
{
    if (p->hold_s < LIMIT_HOLD_MIN_S || p->hold_s > LIMIT_HOLD_MAX_S)
        return "a hold time is 1 to 60 days";
    if (p->max_connections < 1 || p->max_connections > LIMIT_DOMAIN_CONNS)
        return "1 to 1000 connections";
    return label_check(p->name, LIMIT_PLAN_NAME_BYTES);
}

static const char *operate_check(const struct operate *o)
{
    if (o->op < OPERATE_HOLD || o->op > OPERATE_BOUNCE)
        return "unknown operation";
    if (o->cutoff_ms == 0)
        return "a cutoff is above 0";
    if (o->id_count > 0 && o->select != OPERATE_IDS)
        return "message ids without their selector";
    if ((o->domain.n > 0 || o->generation != 0) && o->select != OPERATE_DOMAIN)
        return "a domain without its selector";
    switch (o->select) {
    case OPERATE_IDS:
        return o->id_count >= 1 && o->id_count <= LIMIT_OPERATION_IDS ? NULL
                                                                      : "1 to 1000 message ids";
    case OPERATE_DOMAIN:
        return domain_name_check(o->domain);
    case OPERATE_ALL:
        return NULL;
    }
    return "unknown selector";
}

static const char *list_check(const struct roster *r)
{
    const char *why = domain_name_check(r->domain);

    return why != NULL ? why : roster_check(r->entries);
}

static const char *cluster_check(const struct command *c)
{
    switch (c->kind) {
    case COMMAND_MEMBER_ADD:
        return member_add_check(&c->member_add);
    case COMMAND_MEMBER_REMOVE:
        return member_check(c->member_remove.site, c->member_remove.incarnation);
    case COMMAND_MEMBER_KEY:
        return member_key_check(&c->member_key);
    case COMMAND_MEMBER_FILLED:
        return member_check(c->member_filled.site, c->member_filled.incarnation);
    case COMMAND_SESSION_OPEN:
        return session_check(&c->session_open);
    case COMMAND_SESSION_RENEW:
        return epoch_check(c->session_renew.site, c->session_renew.epoch);
    case COMMAND_SESSION_END:
        return epoch_check(c->session_end.site, c->session_end.epoch);
    case COMMAND_SLOT_WANTED:
        return wanted_check(&c->slot_wanted);
    case COMMAND_SLOT_RELEASE:
        return release_check(&c->slot_release);
    case COMMAND_PLACE:
        return place_check(&c->place);
    case COMMAND_DRAIN:
        return member_check(c->drain.site, 1);
    case COMMAND_ACCESS:
        return access_check(c->access.entries);
    case COMMAND_ROSTER:
        return list_check(&c->roster);
    default:
        return "unknown command";
    }
}

const char *command_check(const struct command *c)
{
    switch (c->kind) {
    case COMMAND_CLOCK:
        return clock_check(&c->clock);
    case COMMAND_DOMAIN_PUT:
        return domain_put_check(&c->domain_put);
    case COMMAND_DOMAIN_REMOVE:
        return domain_name_check(c->domain_remove.name);
    case COMMAND_DOMAIN_DROP:
        return drop_check(&c->domain_drop);
    case COMMAND_SETTING_PUT:
        return setting_check(&c->setting_put);
    case COMMAND_PLAN_PUT:
        return plan_check(&c->plan_put);
    case COMMAND_OPERATE:
        return operate_check(&c->operate);
    case COMMAND_OPERATE_DONE:
        return c->operate_done.index != 0 ? NULL : "an index is above 0";
    default:
        return cluster_check(c);
    }
}

/* --- to bytes --- */

/* Any one body of a command; only one is used. */
union body_pb {
    Control__SessionOpen session_open;
    Control__Clock clock;
    Control__DomainPut domain_put;
    Control__DomainRemove domain_remove;
    Control__DomainDrop domain_drop;
    Control__SettingPut setting_put;
    Control__PlanPut plan_put;
    Control__Operate operate;
    Control__OperateDone operate_done;
    Control__MemberAdd member_add;
    Control__MemberRemove member_remove;
    Control__MemberKey member_key;
    Control__MemberFilled member_filled;
    Control__SessionRenew session_renew;
    Control__SessionEnd session_end;
    Control__SlotWanted slot_wanted;
    Control__SlotRelease slot_release;
    Control__Place place;
    Control__Drain drain;
    Control__Access access;
    Control__Roster roster;
};

/* What the generated forms of a command point to. */
struct room {
    struct command_domain domain;
    uint8_t slots[COMMAND_SLOTS * SLOT_REF_BYTES];
};

static void operate_to_pb(const struct operate *o, Control__Operate *pb)
{
    control__operate__init(pb);
    pb->op = (uint32_t)o->op;
    pb->select = (uint32_t)o->select;
    pb->ids = (ProtobufCBinaryData){.len = o->id_count * MID_BYTES, .data = (uint8_t *)o->ids};
    pb->domain = command_bytes(o->domain);
    pb->generation = o->generation;
    pb->cutoff_ms = o->cutoff_ms;
    pb->uid = o->uid;
}

static void put_domain_body(const struct command *c, union body_pb *b, struct command_domain *d,
                            Control__Command *pb)
{
    if (c->kind == COMMAND_DOMAIN_PUT) {
        command_domain_to_pb(&c->domain_put.domain, d);
        control__domain_put__init(&b->domain_put);
        b->domain_put.mode = (uint32_t)c->domain_put.mode;
        b->domain_put.if_changed = c->domain_put.if_changed;
        b->domain_put.domain = &d->domain;
        pb->domain_put = &b->domain_put;
    } else if (c->kind == COMMAND_DOMAIN_REMOVE) {
        control__domain_remove__init(&b->domain_remove);
        b->domain_remove.name = command_bytes(c->domain_remove.name);
        pb->domain_remove = &b->domain_remove;
    } else {
        control__domain_drop__init(&b->domain_drop);
        b->domain_drop.name = command_bytes(c->domain_drop.name);
        b->domain_drop.generation = c->domain_drop.generation;
        pb->domain_drop = &b->domain_drop;
    }
}

static void put_member_body(const struct command *c, union body_pb *b, Control__Command *pb)
{
    const struct member_add *add = &c->member_add;
    const struct member_key *key = &c->member_key;

    if (c->kind == COMMAND_MEMBER_ADD) {
        control__member_add__init(&b->member_add);
        b->member_add.site = add->site;
        b->member_add.incarnation = add->incarnation;
        b->member_add.key =
            command_bytes((struct str){(const char *)add->key, MEMBER_KEY_BYTES});
        b->member_add.control = command_bytes(add->control);
        b->member_add.data = command_bytes(add->data);
        pb->member_add = &b->member_add;
    } else if (c->kind == COMMAND_MEMBER_KEY) {
        control__member_key__init(&b->member_key);
        b->member_key.site = key->site;
        b->member_key.incarnation = key->incarnation;
        b->member_key.key =
            command_bytes((struct str){(const char *)key->key, MEMBER_KEY_BYTES});
        b->member_key.keep_old = key->keep_old;
        pb->member_key = &b->member_key;
    } else if (c->kind == COMMAND_MEMBER_REMOVE) {
        control__member_remove__init(&b->member_remove);
        b->member_remove.site = c->member_remove.site;
        b->member_remove.incarnation = c->member_remove.incarnation;
        pb->member_remove = &b->member_remove;
    } else {
        control__member_filled__init(&b->member_filled);
        b->member_filled.site = c->member_filled.site;
        b->member_filled.incarnation = c->member_filled.incarnation;
        pb->member_filled = &b->member_filled;
    }
}

static void put_session_body(const struct command *c, union body_pb *b, Control__Command *pb)
{
    if (c->kind == COMMAND_SESSION_OPEN) {
        control__session_open__init(&b->session_open);
        b->session_open.site = c->session_open.site;
        b->session_open.incarnation = c->session_open.incarnation;
        b->session_open.duration_ms = c->session_open.duration_ms;
        b->session_open.nonce = c->session_open.nonce;
        b->session_open.after = c->session_open.after;
        pb->session_open = &b->session_open;
    } else if (c->kind == COMMAND_SESSION_RENEW) {
        control__session_renew__init(&b->session_renew);
        b->session_renew.site = c->session_renew.site;
        b->session_renew.epoch = c->session_renew.epoch;
        b->session_renew.seq = c->session_renew.seq;
        pb->session_renew = &b->session_renew;
    } else {
        control__session_end__init(&b->session_end);
        b->session_end.site = c->session_end.site;
        b->session_end.epoch = c->session_end.epoch;
        b->session_end.renewal_index = c->session_end.renewal_index;
        pb->session_end = &b->session_end;
    }
}

static struct str release_bytes(const struct slot_release *r, uint8_t *to)
{
    for (uint32_t i = 0; i < r->count; i++) {
        uint8_t *at = to + i * SLOT_REF_BYTES;

        at[0] = r->slots[i].slot;
        put_be(at + 1, 8, r->slots[i].epoch);
    }
    return (struct str){(const char *)to, r->count * SLOT_REF_BYTES};
}

static void put_slot_body(const struct command *c, union body_pb *b, struct room *room,
                          Control__Command *pb)
{
    const struct slot_wanted *w = &c->slot_wanted;

    if (c->kind == COMMAND_SLOT_WANTED) {
        control__slot_wanted__init(&b->slot_wanted);
        b->slot_wanted.slots =
            command_bytes((struct str){(const char *)w->slots, sizeof w->slots});
        b->slot_wanted.site = w->site;
        b->slot_wanted.balance = w->balance;
        pb->slot_wanted = &b->slot_wanted;
    } else if (c->kind == COMMAND_SLOT_RELEASE) {
        control__slot_release__init(&b->slot_release);
        b->slot_release.slots = command_bytes(release_bytes(&c->slot_release, room->slots));
        b->slot_release.to = c->slot_release.to;
        pb->slot_release = &b->slot_release;
    } else if (c->kind == COMMAND_PLACE) {
        control__place__init(&b->place);
        b->place.domain = command_bytes(c->place.domain);
        b->place.site = c->place.site;
        b->place.epoch = c->place.epoch;
        pb->place = &b->place;
    } else {
        control__drain__init(&b->drain);
        b->drain.site = c->drain.site;
        b->drain.on = c->drain.on;
        pb->drain = &b->drain;
    }
}

static void put_body(const struct command *c, union body_pb *b, struct room *room,
                     Control__Command *pb)
{
    switch (c->kind) {
    case COMMAND_CLOCK:
        control__clock__init(&b->clock);
        b->clock.elapsed_ms = c->clock.elapsed_ms;
        pb->clock = &b->clock;
        return;
    case COMMAND_MEMBER_ADD:
    case COMMAND_MEMBER_REMOVE:
    case COMMAND_MEMBER_KEY:
    case COMMAND_MEMBER_FILLED:
        put_member_body(c, b, pb);
        return;
    case COMMAND_SESSION_OPEN:
    case COMMAND_SESSION_RENEW:
    case COMMAND_SESSION_END:
        put_session_body(c, b, pb);
        return;
    case COMMAND_SLOT_WANTED:
    case COMMAND_SLOT_RELEASE:
    case COMMAND_PLACE:
    case COMMAND_DRAIN:
        put_slot_body(c, b, room, pb);
        return;
    case COMMAND_DOMAIN_PUT:
    case COMMAND_DOMAIN_REMOVE:
    case COMMAND_DOMAIN_DROP:
        put_domain_body(c, b, &room->domain, pb);
        return;
    case COMMAND_SETTING_PUT:
        control__setting_put__init(&b->setting_put);
        b->setting_put.name = command_bytes(c->setting_put.name);
        b->setting_put.value = command_bytes(c->setting_put.value);
        pb->setting_put = &b->setting_put;
        return;
    case COMMAND_PLAN_PUT:
        control__plan_put__init(&b->plan_put);
        b->plan_put.name = command_bytes(c->plan_put.name);
        b->plan_put.hold_s = c->plan_put.hold_s;
        b->plan_put.max_connections = c->plan_put.max_connections;
        pb->plan_put = &b->plan_put;
        return;
    case COMMAND_OPERATE:
        operate_to_pb(&c->operate, &b->operate);
        pb->operate = &b->operate;
        return;
    case COMMAND_OPERATE_DONE:
        control__operate_done__init(&b->operate_done);
        b->operate_done.index = c->operate_done.index;
        pb->operate_done = &b->operate_done;
        return;
    case COMMAND_ACCESS:
        control__access__init(&b->access);
        b->access.entries = command_bytes(c->access.entries);
        b->access.uid = c->access.uid;
        pb->access = &b->access;
        return;
    case COMMAND_ROSTER:
        control__roster__init(&b->roster);
        b->roster.domain = command_bytes(c->roster.domain);
        b->roster.generation = c->roster.generation;
        b->roster.entries = command_bytes(c->roster.entries);
        b->roster.uid = c->roster.uid;
        pb->roster = &b->roster;
        return;
    }
}

static_assert((int)COMMAND_SESSION_OPEN == (int)CONTROL__COMMAND__KIND_SESSION_OPEN &&
                  (int)COMMAND_DOMAIN_PUT == (int)CONTROL__COMMAND__KIND_DOMAIN_PUT &&
                  (int)COMMAND_OPERATE_DONE == (int)CONTROL__COMMAND__KIND_OPERATE_DONE &&
                  (int)COMMAND_MEMBER_ADD == (int)CONTROL__COMMAND__KIND_MEMBER_ADD &&
                  (int)COMMAND_SLOT_WANTED == (int)CONTROL__COMMAND__KIND_SLOT_WANTED &&
                  (int)COMMAND_DRAIN == (int)CONTROL__COMMAND__KIND_DRAIN &&
                  (int)COMMAND_ROSTER == (int)CONTROL__COMMAND__KIND_ROSTER,
              "kinds are field numbers");

enum err command_encode(const struct command *c, uint8_t *buf, size_t size, struct str *out)
{
    Control__Command pb = CONTROL__COMMAND__INIT;
    union body_pb body;
    struct room room;

    if (command_check(c) != NULL)
        return E_PROTO;
    pb.kind_case = (Control__Command__KindCase)c->kind;
    put_body(c, &body, &room, &pb);
    return command_pack(&pb.base, LIMIT_COMMAND_BYTES, buf, size, out);
}

/* --- from bytes --- */

static bool operate_from_pb(const Control__Operate *pb, struct arena *a, struct operate *o,
                            bool *full)
{
    struct str ids;

    if (pb->ids.len % MID_BYTES != 0 || pb->ids.len / MID_BYTES > LIMIT_OPERATION_IDS)
        return false;
    ids = command_keep(pb->ids, a, full);
    *o = (struct operate){.op = (enum operate_op)pb->op,
                          .select = (enum operate_select)pb->select,
                          .ids = ids.n > 0 ? (const struct mid *)(const void *)ids.p : NULL,
                          .id_count = (uint32_t)(ids.n / MID_BYTES),
                          .domain = command_keep(pb->domain, a, full),
                          .generation = pb->generation,
                          .cutoff_ms = pb->cutoff_ms,
                          .uid = pb->uid};
    return true;
}

/* False: a site that does not fit. */
static bool site_from_pb(uint32_t pb, uint16_t *site)
{
    *site = (uint16_t)pb;
    return pb <= UINT16_MAX;
}

static bool member_key_from_pb(ProtobufCBinaryData pb, uint8_t key[MEMBER_KEY_BYTES])
{
    if (pb.len != MEMBER_KEY_BYTES)
        return false;
    memcpy(key, pb.data, MEMBER_KEY_BYTES);
    return true;
}

static bool member_from_pb(const Control__Command *pb, struct arena *a, struct command *c,
                           bool *full)
{
    if (c->kind == COMMAND_MEMBER_ADD) {
        c->member_add.incarnation = pb->member_add->incarnation;
        c->member_add.control = command_keep(pb->member_add->control, a, full);
        c->member_add.data = command_keep(pb->member_add->data, a, full);
        return member_key_from_pb(pb->member_add->key, c->member_add.key) &&
               site_from_pb(pb->member_add->site, &c->member_add.site);
    }
    if (c->kind == COMMAND_MEMBER_KEY) {
        c->member_key.incarnation = pb->member_key->incarnation;
        c->member_key.keep_old = pb->member_key->keep_old != 0;
        return member_key_from_pb(pb->member_key->key, c->member_key.key) &&
               site_from_pb(pb->member_key->site, &c->member_key.site);
    }
    if (c->kind == COMMAND_MEMBER_REMOVE) {
        c->member_remove.incarnation = pb->member_remove->incarnation;
        return site_from_pb(pb->member_remove->site, &c->member_remove.site);
    }
    c->member_filled.incarnation = pb->member_filled->incarnation;
    return site_from_pb(pb->member_filled->site, &c->member_filled.site);
}

static bool session_from_pb(const Control__Command *pb, struct command *c)
{
    if (c->kind == COMMAND_SESSION_OPEN) {
        c->session_open.incarnation = pb->session_open->incarnation;
        c->session_open.duration_ms = pb->session_open->duration_ms;
        c->session_open.nonce = pb->session_open->nonce;
        c->session_open.after = pb->session_open->after;
        return site_from_pb(pb->session_open->site, &c->session_open.site);
    }
    if (c->kind == COMMAND_SESSION_RENEW) {
        c->session_renew.epoch = pb->session_renew->epoch;
        c->session_renew.seq = pb->session_renew->seq;
        return site_from_pb(pb->session_renew->site, &c->session_renew.site);
    }
    c->session_end.epoch = pb->session_end->epoch;
    c->session_end.renewal_index = pb->session_end->renewal_index;
    return site_from_pb(pb->session_end->site, &c->session_end.site);
}

static bool release_from_pb(ProtobufCBinaryData pb, struct arena *a, struct slot_release *r,
                            bool *full)
{
    size_t count = pb.len / SLOT_REF_BYTES;
    struct slot_ref *refs;

    if (pb.len % SLOT_REF_BYTES != 0 || count < 1 || count > COMMAND_SLOTS)
        return false;
    refs = arena_take(a, count * sizeof *refs);
    if (refs == NULL) {
        *full = true;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = pb.data + i * SLOT_REF_BYTES;

        refs[i].slot = at[0];
        refs[i].epoch = get_be(at + 1, 8);
    }
    r->slots = refs;
    r->count = (uint32_t)count;
    return true;
}

static bool slot_from_pb(const Control__Command *pb, struct arena *a, struct command *c,
                         bool *full)
{
    if (c->kind == COMMAND_SLOT_WANTED) {
        if (pb->slot_wanted->slots.len != sizeof c->slot_wanted.slots)
            return false;
        memcpy(c->slot_wanted.slots, pb->slot_wanted->slots.data, sizeof c->slot_wanted.slots);
        c->slot_wanted.balance = pb->slot_wanted->balance != 0;
        return site_from_pb(pb->slot_wanted->site, &c->slot_wanted.site);
    }
    if (c->kind == COMMAND_SLOT_RELEASE)
        return release_from_pb(pb->slot_release->slots, a, &c->slot_release, full) &&
               site_from_pb(pb->slot_release->to, &c->slot_release.to);
    if (c->kind == COMMAND_PLACE) {
        c->place.domain = command_keep(pb->place->domain, a, full);
        c->place.epoch = pb->place->epoch;
        return site_from_pb(pb->place->site, &c->place.site);
    }
    c->drain.on = pb->drain->on != 0;
    return site_from_pb(pb->drain->site, &c->drain.site);
}

/* False: malformed. Ranges are left to command_check(). */
static bool from_pb(const Control__Command *pb, struct arena *a, struct command *c, bool *full)
{
    *c = (struct command){.kind = (enum command_kind)pb->kind_case};
    switch (pb->kind_case) {
    case CONTROL__COMMAND__KIND_MEMBER_ADD:
    case CONTROL__COMMAND__KIND_MEMBER_REMOVE:
    case CONTROL__COMMAND__KIND_MEMBER_KEY:
    case CONTROL__COMMAND__KIND_MEMBER_FILLED:
        return member_from_pb(pb, a, c, full);
    case CONTROL__COMMAND__KIND_SESSION_OPEN:
    case CONTROL__COMMAND__KIND_SESSION_RENEW:
    case CONTROL__COMMAND__KIND_SESSION_END:
        return session_from_pb(pb, c);
    case CONTROL__COMMAND__KIND_SLOT_WANTED:
    case CONTROL__COMMAND__KIND_SLOT_RELEASE:
    case CONTROL__COMMAND__KIND_PLACE:
    case CONTROL__COMMAND__KIND_DRAIN:
        return slot_from_pb(pb, a, c, full);
    case CONTROL__COMMAND__KIND_CLOCK:
        c->clock.elapsed_ms = pb->clock->elapsed_ms;
        return true;
    case CONTROL__COMMAND__KIND_DOMAIN_PUT:
        c->domain_put.mode = (enum domain_put_mode)pb->domain_put->mode;
        c->domain_put.if_changed = pb->domain_put->if_changed;
        return pb->domain_put->domain != NULL &&
               command_domain_from_pb(pb->domain_put->domain, a, &c->domain_put.domain, full);
    case CONTROL__COMMAND__KIND_DOMAIN_REMOVE:
        c->domain_remove.name = command_keep(pb->domain_remove->name, a, full);
        return true;
    case CONTROL__COMMAND__KIND_DOMAIN_DROP:
        c->domain_drop.name = command_keep(pb->domain_drop->name, a, full);
        c->domain_drop.generation = pb->domain_drop->generation;
        return true;
    case CONTROL__COMMAND__KIND_SETTING_PUT:
        c->setting_put.name = command_keep(pb->setting_put->name, a, full);
        c->setting_put.value = command_keep(pb->setting_put->value, a, full);
        return true;
    case CONTROL__COMMAND__KIND_PLAN_PUT:
        c->plan_put.name = command_keep(pb->plan_put->name, a, full);
        c->plan_put.hold_s = pb->plan_put->hold_s;
        c->plan_put.max_connections = pb->plan_put->max_connections;
        return true;
    case CONTROL__COMMAND__KIND_OPERATE:
        return operate_from_pb(pb->operate, a, &c->operate, full);
    case CONTROL__COMMAND__KIND_OPERATE_DONE:
        c->operate_done.index = pb->operate_done->index;
        return true;
    case CONTROL__COMMAND__KIND_ACCESS:
        c->access.entries = command_keep(pb->access->entries, a, full);
        c->access.uid = pb->access->uid;
        return true;
    case CONTROL__COMMAND__KIND_ROSTER:
        c->roster = (struct roster){.domain = command_keep(pb->roster->domain, a, full),
                                    .generation = pb->roster->generation,
                                    .entries = command_keep(pb->roster->entries, a, full),
                                    .uid = pb->roster->uid};
        return true;
    case CONTROL__COMMAND__KIND__NOT_SET:
        break;
    default: /* the generated enum has a size marker of its own */
        break;
    }
    return false;
}

enum err command_decode(struct str bytes, struct arena *a, struct command *out)
{
    struct arena scratch;
    ProtobufCAllocator alloc = command_scratch(&scratch);
    Control__Command *pb;
    struct str again;
    uint8_t *buf;
    bool full = false;
    enum err e = E_PROTO;

    *out = (struct command){.kind = 0};
    if (bytes.n == 0 || bytes.n > LIMIT_COMMAND_BYTES)
        return E_PROTO;
    pb = control__command__unpack(&alloc, bytes.n, (const uint8_t *)bytes.p);
    buf = arena_take(&scratch, bytes.n);
    if (pb != NULL && buf != NULL && from_pb(pb, a, out, &full)) {
        if (full)
            e = E_FULL;
        else if (command_encode(out, buf, bytes.n, &again) == OK && str_eq(again, bytes))
            e = OK;
    }
    arena_reset(&scratch);
    return e;
}
