/* Records of members, sessions, slots and placements: bytes, and the view of all of them. */
#include "spool/control_internal.h"

enum member_flag { M_LEAVING = 1, M_FILLED = 2, M_DRAINING = 4, M_OLD_KEY = 8 };

/* --- records --- */

static void load_released(const char *p, uint64_t released[CONTROL_RELEASED])
{
    for (int i = 0; i < CONTROL_RELEASED; i++)
        released[i] = ctlkv_load_u64(p + 8 * i);
}

static void store_released(char *p, const uint64_t released[CONTROL_RELEASED])
{
    for (int i = 0; i < CONTROL_RELEASED; i++)
        ctlkv_store_u64(p + 8 * i, released[i]);
}

bool control_remembers(const uint64_t released[CONTROL_RELEASED], uint64_t epoch)
{
    for (int i = 0; i < CONTROL_RELEASED; i++)
        if (released[i] == epoch)
            return epoch != 0;
    return false;
}

static struct str site_str(char b[2], uint16_t site)
{
    ctlkv_store_u16(b, site);
    return (struct str){b, 2};
}

void control_put_session(struct ctlkv_txn *t, const struct session *s)
{
    char key[2], b[SESSION_BYTES];

    ctlkv_store_u64(b, s->epoch);
    ctlkv_store_u64(b + 8, s->incarnation);
    ctlkv_store_u32(b + 16, s->duration_ms);
    ctlkv_store_u64(b + 20, s->nonce);
    ctlkv_store_u64(b + 28, s->renewal_index);
    ctlkv_store_u64(b + 36, s->renewal_seq);
    b[44] = s->ended;
    ctlkv_put(t, T_SESSION, site_str(key, s->site), (struct str){b, sizeof b}, STR_NONE);
}

static void session_of(struct str v, uint16_t site, struct session *out)
{
    *out = (struct session){.site = site,
                            .epoch = ctlkv_load_u64(v.p),
                            .incarnation = ctlkv_load_u64(v.p + 8),
                            .duration_ms = ctlkv_load_u32(v.p + 16),
                            .nonce = ctlkv_load_u64(v.p + 20),
                            .renewal_index = ctlkv_load_u64(v.p + 28),
                            .renewal_seq = ctlkv_load_u64(v.p + 36),
                            .ended = v.p[44] != 0};
}

enum err control_get_session(struct ctlkv_txn *t, uint16_t site, struct session *out)
{
    char key[2];
    struct str v;
    enum err e = control_get_sized(t, T_SESSION, site_str(key, site), SESSION_BYTES, &v);

    *out = (struct session){.site = site};
    if (e == OK)
        session_of(v, site, out);
    return e;
}

void control_put_slot(struct ctlkv_txn *t, uint32_t slot, const struct slot_rec *r)
{
    char key = (char)slot, b[SLOT_BYTES];

    ctlkv_store_u16(b, r->s.site);
    ctlkv_store_u64(b + 2, r->s.epoch);
    ctlkv_store_u16(b + 10, r->s.wanted);
    store_released(b + 12, r->released);
    ctlkv_put(t, T_SLOT, (struct str){&key, 1}, (struct str){b, sizeof b}, STR_NONE);
}

/* A slot that nobody ever held has no record. */
enum err control_get_slot(struct ctlkv_txn *t, uint32_t slot, struct slot_rec *out)
{
    char key = (char)slot;
    struct str v;
    enum err e = control_get_sized(t, T_SLOT, (struct str){&key, 1}, SLOT_BYTES, &v);

    *out = (struct slot_rec){.s = {.site = 0}};
    if (e == E_NOTFOUND)
        return OK;
    if (e != OK)
        return e;
    out->s = (struct slot){.site = ctlkv_load_u16(v.p),
                           .epoch = ctlkv_load_u64(v.p + 2),
                           .wanted = ctlkv_load_u16(v.p + 10)};
    load_released(v.p + 12, out->released);
    return OK;
}

void control_put_placement(struct ctlkv_txn *t, struct str domain,
                           const struct placement_rec *r)
{
    char b[PLACEMENT_BYTES];

    ctlkv_store_u16(b, r->site);
    ctlkv_store_u64(b + 2, r->epoch);
    ctlkv_store_u64(b + 10, r->slot_epoch);
    store_released(b + 18, r->released);
    ctlkv_put(t, T_PLACEMENT, domain, (struct str){b, sizeof b}, STR_NONE);
}

void control_placement_of(struct str v, struct placement_rec *out)
{
    *out = (struct placement_rec){.site = ctlkv_load_u16(v.p),
                                  .epoch = ctlkv_load_u64(v.p + 2),
                                  .slot_epoch = ctlkv_load_u64(v.p + 10)};
    load_released(v.p + 18, out->released);
}

/* Without a record: all zero, OK. */
enum err control_get_placement(struct ctlkv_txn *t, struct str domain,
                               struct placement_rec *out)
{
    struct str v;
    enum err e;

    *out = (struct placement_rec){.site = 0};
    if (domain.n == 0 || domain.n > LIMIT_SMTP_DOMAIN_BYTES)
        return OK;
    e = control_get_sized(t, T_PLACEMENT, domain, PLACEMENT_BYTES, &v);
    if (e == OK)
        control_placement_of(v, out);
    return e == E_NOTFOUND ? OK : e;
}

struct str control_member_key(char b[MEMBER_KEY_SIZE], uint16_t site, uint64_t incarnation)
{
    ctlkv_store_u16(b, site);
    ctlkv_store_u64(b + 2, incarnation);
    return (struct str){b, MEMBER_KEY_SIZE};
}

void control_put_member(struct ctlkv_txn *t, const struct member_rec *r)
{
    char key[MEMBER_KEY_SIZE], b[MEMBER_BYTES + 2 * LIMIT_ADDRESS_BYTES];
    size_t control = strlen(r->m.control), data = strlen(r->m.data);

    b[0] = (char)((r->m.leaving ? M_LEAVING : 0) | (r->m.filled ? M_FILLED : 0) |
                  (r->m.draining ? M_DRAINING : 0) | (r->m.has_old_key ? M_OLD_KEY : 0));
    ctlkv_store_u64(b + 1, r->m.added);
    ctlkv_store_u64(b + 9, r->eligible);
    ctlkv_store_u64(b + 17, r->balanced);
    memcpy(b + 25, r->m.key, MEMBER_KEY_BYTES);
    memcpy(b + 57, r->m.old_key, MEMBER_KEY_BYTES);
    ctlkv_store_u16(b + 89, (uint16_t)control);
    ctlkv_store_u16(b + 91, (uint16_t)data);
    memcpy(b + MEMBER_BYTES, r->m.control, control);
    memcpy(b + MEMBER_BYTES + control, r->m.data, data);
    ctlkv_put(t, T_MEMBER, control_member_key(key, r->m.site, r->m.incarnation),
              (struct str){b, MEMBER_BYTES + control + data}, STR_NONE);
}

enum err control_member_of(struct ctlkv_txn *t, struct str key, struct str v,
                           struct member_rec *out)
{
    uint16_t control, data;

    if (key.n != MEMBER_KEY_SIZE || v.n < MEMBER_BYTES)
        return control_senseless(t, T_MEMBER, key);
    control = ctlkv_load_u16(v.p + 89);
    data = ctlkv_load_u16(v.p + 91);
    if (control > LIMIT_ADDRESS_BYTES || data > LIMIT_ADDRESS_BYTES ||
        v.n != (size_t)MEMBER_BYTES + control + data)
        return control_senseless(t, T_MEMBER, key);
    *out = (struct member_rec){.m = {.site = ctlkv_load_u16(key.p),
                                     .incarnation = ctlkv_load_u64(key.p + 2),
                                     .leaving = (v.p[0] & M_LEAVING) != 0,
                                     .filled = (v.p[0] & M_FILLED) != 0,
                                     .draining = (v.p[0] & M_DRAINING) != 0,
                                     .has_old_key = (v.p[0] & M_OLD_KEY) != 0,
                                     .added = ctlkv_load_u64(v.p + 1)},
                               .eligible = ctlkv_load_u64(v.p + 9),
                               .balanced = ctlkv_load_u64(v.p + 17)};
    out->m.wants_share = out->eligible > out->balanced;
    memcpy(out->m.key, v.p + 25, MEMBER_KEY_BYTES);
    memcpy(out->m.old_key, v.p + 57, MEMBER_KEY_BYTES);
    memcpy(out->m.control, v.p + MEMBER_BYTES, control);
    memcpy(out->m.data, v.p + MEMBER_BYTES + control, data);
    return OK;
}

/* --- the view --- */

/* The present member of a site; NULL: none. */
struct member_rec *control_member_at(struct view *v, uint16_t site)
{
    for (uint32_t i = 0; i < v->member_count; i++)
        if (v->members[i].m.site == site && !v->members[i].m.leaving)
            return &v->members[i];
    return NULL;
}

struct session *control_session_at(struct view *v, uint16_t site)
{
    for (uint32_t i = 0; i < v->session_count; i++)
        if (v->sessions[i].site == site)
            return &v->sessions[i];
    return NULL;
}

bool control_is_able(struct view *v, const struct session *s)
{
    const struct member_rec *m = control_member_at(v, s->site);

    if (s->ended)
        return false;
    return v->member_count == 0 ||
           (m != NULL && m->m.incarnation == s->incarnation && m->m.filled);
}

static bool may_hold(struct view *v, const struct session *s)
{
    const struct member_rec *m = control_member_at(v, s->site);

    return control_is_able(v, s) && (m == NULL || !m->m.draining);
}

void control_judge_sessions(struct view *v)
{
    for (uint32_t i = 0; i < v->session_count; i++)
        v->sessions[i].may_hold = may_hold(v, &v->sessions[i]);
}

static void load_members(struct view *v)
{
    struct str after = STR_NONE, payload;
    char key[MEMBER_KEY_SIZE];
    struct str found;

    v->member_count = 0;
    while (ctlkv_next(v->txn, T_MEMBER, after, &found, &payload) == OK) {
        if (v->member_count == LIMIT_MEMBER_RECORDS) {
            ctlkv_fail(v->txn, "too_many_members", E_CORRUPT);
            return;
        }
        if (control_member_of(v->txn, found, payload, &v->members[v->member_count]) != OK)
            return;
        v->member_count++;
        memcpy(key, found.p, sizeof key);
        after = (struct str){key, sizeof key};
    }
}

static void load_sessions(struct view *v)
{
    struct str after = STR_NONE, found, payload;
    char key[2];

    v->session_count = 0;
    while (ctlkv_next(v->txn, T_SESSION, after, &found, &payload) == OK) {
        if (v->session_count == LIMIT_SITES || found.n != 2 || payload.n != SESSION_BYTES) {
            if (control_senseless(v->txn, T_SESSION, found) != OK)
                return;
        }
        session_of(payload, ctlkv_load_u16(found.p), &v->sessions[v->session_count++]);
        memcpy(key, found.p, sizeof key);
        after = (struct str){key, sizeof key};
    }
}

void control_load_people(struct view *v, struct ctlkv_txn *t)
{
    v->txn = t;
    load_members(v);
    load_sessions(v);
    control_judge_sessions(v);
}

void control_load_view(struct view *v, struct ctlkv_txn *t)
{
    control_load_people(v, t);
    memset(v->load, 0, sizeof v->load);
    for (uint32_t i = 0; i < CONTROL_SLOTS && t->first_err == OK; i++) {
        struct session *s;

        if (control_get_slot(t, i, &v->slots[i]) != OK)
            return; /* sticks */
        s = control_session_at(v, v->slots[i].s.site);
        if (s != NULL)
            v->load[s - v->sessions]++;
    }
}

/* --- who delivers --- */

void control_effective(const struct placement_rec *p, const struct slot *slot, uint16_t *site,
                       uint64_t *epoch)
{
    *site = p->site != 0 ? p->site : slot->site;
    *epoch = p->site != 0 || p->epoch > slot->epoch ? p->epoch : slot->epoch;
}
