/* Block and allow lists: one record for each prefix. */
#include "spool/control_internal.h"

/* action u8, expires u64, added u64, uid u32; then the reason */
#define ACCESS_BYTES 21

static struct str prefix_key(char b[ACCESS_PREFIX_BYTES], const struct access_prefix *p)
{
    memcpy(b, p->address, sizeof p->address);
    b[16] = (char)p->bits;
    return (struct str){b, ACCESS_PREFIX_BYTES};
}

static void record_of(struct str key, struct str v, struct access_record *out)
{
    memcpy(out->prefix.address, key.p, sizeof out->prefix.address);
    out->prefix.bits = (uint8_t)key.p[16];
    out->action = (enum access_action)(uint8_t)v.p[0];
    out->expires_ms = ctlkv_load_u64(v.p + 1);
    out->added_ms = ctlkv_load_u64(v.p + 9);
    out->uid = ctlkv_load_u32(v.p + 17);
    out->reason_bytes = (uint8_t)(v.n - ACCESS_BYTES);
    memcpy(out->reason, v.p + ACCESS_BYTES, out->reason_bytes);
    out->reason[out->reason_bytes] = 0;
}

static bool makes_sense(struct str key, struct str v)
{
    return key.n == ACCESS_PREFIX_BYTES && (uint8_t)key.p[16] <= 128 && v.n >= ACCESS_BYTES &&
           v.n <= ACCESS_BYTES + LIMIT_ACCESS_REASON_BYTES &&
           (v.p[0] == ACCESS_BLOCK || v.p[0] == ACCESS_ALLOW);
}

static enum err get(struct ctlkv_txn *t, const struct access_prefix *p,
                    struct access_record *out)
{
    char b[ACCESS_PREFIX_BYTES];
    struct str key = prefix_key(b, p), v;
    enum err e = ctlkv_get(t, T_ACCESS, key, &v);

    if (e == OK && !makes_sense(key, v))
        e = control_senseless(t, T_ACCESS, key);
    if (e == OK)
        record_of(key, v, out);
    return e;
}

/* --- apply --- */

static bool has_room(struct control_step *s, struct str entries)
{
    uint64_t count = ctlkv_count(s->txn, T_ACCESS);
    struct access_record old;
    struct access_entry e;

    while (access_next(&entries, &e))
        if ((e.action == ACCESS_BLOCK || e.action == ACCESS_ALLOW) &&
            get(s->txn, &e.prefix, &old) == E_NOTFOUND)
            count++;
    return count <= LIMIT_ACCESS_ENTRIES;
}

static void put(struct control_step *s, const struct access_entry *e, uint64_t now_ms,
                uint32_t uid)
{
    char b[ACCESS_PREFIX_BYTES], head[ACCESS_BYTES];

    head[0] = (char)e->action;
    ctlkv_store_u64(head + 1, e->for_s > 0 ? now_ms + (uint64_t)e->for_s * 1000 : 0);
    ctlkv_store_u64(head + 9, now_ms);
    ctlkv_store_u32(head + 17, uid);
    ctlkv_put(s->txn, T_ACCESS, prefix_key(b, &e->prefix), (struct str){head, sizeof head},
              e->reason);
}

void control_apply_access(struct control_step *s, const struct access *c)
{
    struct str rest = c->entries;
    struct access_record old;
    struct access_entry e;
    uint64_t now_ms;

    if (control_get_meta_u64(s->txn, KEY_CLOCK, &now_ms) != OK)
        return; /* it sticks to the transaction */
    if (!has_room(s, c->entries)) {
        control_refuse(s, E_FULL, "the lists hold a million entries");
        return;
    }
    while (access_next(&rest, &e)) {
        char b[ACCESS_PREFIX_BYTES];
        bool over = e.action == ACCESS_LAPSE && get(s->txn, &e.prefix, &old) == OK &&
                    old.expires_ms != 0 && old.expires_ms <= now_ms;

        if (e.action == ACCESS_REMOVE || over)
            ctlkv_del(s->txn, T_ACCESS, prefix_key(b, &e.prefix));
        else if (e.action != ACCESS_LAPSE)
            put(s, &e, now_ms, c->uid);
    }
}

/* --- reading --- */

enum err control_access_get(struct control *c, const struct access_prefix *p,
                            struct access_record *out)
{
    struct ctlkv_txn t;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    e = get(&t, p, out);
    ctlkv_abort(&t);
    return e;
}

enum err control_access_page(struct control *c, const struct access_prefix *after,
                             struct access_record *out, size_t most, size_t *count)
{
    char b[ACCESS_PREFIX_BYTES];
    struct str from = STR_NONE, key, v;
    struct ctlkv_txn t;
    enum err e = OK;

    *count = 0;
    if (after != NULL)
        from = prefix_key(b, after);
    ctlkv_begin(&t, &c->kv, false);
    while (*count < most && (e = ctlkv_next(&t, T_ACCESS, from, &key, &v)) == OK) {
        if (!makes_sense(key, v)) {
            e = control_senseless(&t, T_ACCESS, key);
            break;
        }
        record_of(key, v, &out[(*count)++]);
        memcpy(b, key.p, sizeof b);
        from = (struct str){b, sizeof b};
    }
    ctlkv_abort(&t);
    return e == E_NOTFOUND ? OK : e;
}
