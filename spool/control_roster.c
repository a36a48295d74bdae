/* Lists of recipients: one record for each entry, under the generation of the domain, and one
 * count for each domain that has a list. A domain that comes back under its old name has none
 * of the old ones. */
#include "spool/control_internal.h"

#define KEY_BYTES    (8 + LIMIT_SMTP_LOCAL_PART_BYTES) /* generation u64, entry */
#define ROSTER_BYTES 12                                /* added u64, uid u32 */

static struct str entry_key(char b[KEY_BYTES], uint64_t generation, struct str local)
{
    ASSERT(local.n <= LIMIT_SMTP_LOCAL_PART_BYTES);
    ctlkv_store_u64(b, generation);
    if (local.n > 0)
        memcpy(b + 8, local.p, local.n);
    return (struct str){b, 8 + local.n};
}

/* Below the first entry of the generation, and above all of the one before it. */
static struct str before_all(char b[KEY_BYTES], uint64_t generation)
{
    return entry_key(b, generation, STR_NONE);
}

static bool is_of(struct str key, uint64_t generation)
{
    return key.n >= 8 && ctlkv_load_u64(key.p) == generation;
}

static enum err check_record(struct ctlkv_txn *t, struct str key, struct str v)
{
    bool makes_sense =
        key.n > 8 && v.n == ROSTER_BYTES && roster_local_check(str_from(key, 8)) == NULL;

    return makes_sense ? OK : control_senseless(t, T_ROSTER, key);
}

static enum err get(struct ctlkv_txn *t, uint64_t generation, struct str local)
{
    char b[KEY_BYTES];
    struct str key = entry_key(b, generation, local), v;
    enum err e = ctlkv_get(t, T_ROSTER, key, &v);

    return e == OK ? check_record(t, key, v) : e;
}

/* --- counts --- */

static enum err get_count(struct ctlkv_txn *t, uint64_t generation, uint32_t *out)
{
    char b[KEY_BYTES];
    struct str v;
    enum err e =
        control_get_sized(t, T_ROSTER_COUNT, before_all(b, generation), sizeof *out, &v);

    *out = e == OK ? ctlkv_load_u32(v.p) : 0;
    return e == E_NOTFOUND ? OK : e;
}

static void put_count(struct ctlkv_txn *t, uint64_t generation, uint32_t count)
{
    char b[KEY_BYTES], v[4];
    struct str key = before_all(b, generation);

    ctlkv_store_u32(v, count);
    if (count == 0)
        ctlkv_del(t, T_ROSTER_COUNT, key);
    else
        ctlkv_put(t, T_ROSTER_COUNT, key, (struct str){v, sizeof v}, STR_NONE);
}

uint32_t control_roster_size(struct ctlkv_txn *t, uint64_t generation)
{
    uint32_t n;

    return get_count(t, generation, &n) == OK ? n : 0;
}

/* --- apply --- */

/* What the command would add and take away. */
static void weigh(struct control_step *s, uint64_t generation, struct str entries,
                  uint32_t *added, uint32_t *removed)
{
    struct roster_entry e;

    *added = *removed = 0;
    while (roster_next(&entries, &e)) {
        bool is_there = get(s->txn, generation, e.local) == OK;

        *added += !is_there && !e.is_removed;
        *removed += is_there && e.is_removed;
    }
}

static bool is_allowed(struct control_step *s, const struct domain *d, uint32_t count,
                       uint32_t added, uint32_t removed)
{
    if (count + added - removed > LIMIT_ROSTER_PER_DOMAIN)
        control_refuse(s, E_FULL, "a domain lists at most 100,000 recipients");
    else if (ctlkv_count(s->txn, T_ROSTER) + added - removed > LIMIT_ROSTER_ENTRIES)
        control_refuse(s, E_FULL, "all domains together list at most a million recipients");
    else if (d->recipients == RECIPIENTS_LIST && count + added == removed)
        control_refuse(s, E_CONFLICT,
                       "the list would be empty and all mail refused: first domain set "
                       "--recipients any");
    return s->result.err == OK;
}

void control_apply_roster(struct control_step *s, const struct roster *c)
{
    struct str rest = c->entries;
    uint32_t count, added, removed;
    struct roster_entry e;
    uint64_t now_ms;
    struct domain d;

    switch (control_step_domain(s, c->domain, &d)) {
    case OK:
        break;
    case E_NOTFOUND:
        control_refuse(s, E_NOTFOUND, "no such domain");
        return;
    default:
        return; /* it sticks to the transaction */
    }
    if (c->generation != 0 && c->generation != d.generation) {
        control_refuse(s, E_CONFLICT, "the domain was removed and added anew meanwhile");
        return;
    }
    if (control_get_meta_u64(s->txn, KEY_CLOCK, &now_ms) != OK ||
        get_count(s->txn, d.generation, &count) != OK)
        return;
    weigh(s, d.generation, rest, &added, &removed);
    if (!is_allowed(s, &d, count, added, removed))
        return;
    while (roster_next(&rest, &e)) {
        char b[KEY_BYTES], v[ROSTER_BYTES];
        struct str key = entry_key(b, d.generation, e.local);

        ctlkv_store_u64(v, now_ms);
        ctlkv_store_u32(v + 8, c->uid);
        if (e.is_removed)
            ctlkv_del(s->txn, T_ROSTER, key);
        else if (get(s->txn, d.generation, e.local) == E_NOTFOUND)
            ctlkv_put(s->txn, T_ROSTER, key, (struct str){v, sizeof v}, STR_NONE);
    }
    put_count(s->txn, d.generation, count + added - removed);
}

void control_roster_drop(struct control_step *s, uint64_t generation)
{
    char b[KEY_BYTES], k[KEY_BYTES];
    struct str key, v;

    while (ctlkv_next(s->txn, T_ROSTER, before_all(b, generation), &key, &v) == OK &&
           is_of(key, generation) && key.n <= sizeof k) {
        memcpy(k, key.p, key.n);
        ctlkv_del(s->txn, T_ROSTER, (struct str){k, key.n});
    }
    put_count(s->txn, generation, 0);
}

/* --- reading --- */

enum err control_roster_page(struct control *c, uint64_t generation, struct str after,
                             struct roster_record *out, size_t most, size_t *count)
{
    char b[KEY_BYTES];
    struct str from = entry_key(b, generation, after), key, v;
    struct ctlkv_txn t;
    enum err e = OK;

    *count = 0;
    ctlkv_begin(&t, &c->kv, false);
    while (*count < most && (e = ctlkv_next(&t, T_ROSTER, from, &key, &v)) == OK &&
           is_of(key, generation)) {
        struct roster_record *r = &out[*count];

        e = check_record(&t, key, v);
        if (e != OK)
            break;
        (void)str_to_z(str_from(key, 8), r->local, sizeof r->local);
        r->added_ms = ctlkv_load_u64(v.p);
        r->uid = ctlkv_load_u32(v.p + 8);
        from = entry_key(b, generation, str_from(key, 8));
        ++*count;
    }
    ctlkv_abort(&t);
    return e == E_NOTFOUND ? OK : e;
}

enum err control_roster_find(struct control *c, uint64_t generation,
                             const struct roster_wanted *wanted, enum roster_match *out)
{
    struct ctlkv_txn t;
    enum err e = E_NOTFOUND;
    int i = 0;

    ctlkv_begin(&t, &c->kv, false);
    for (; i < ROSTER_NO_MATCH; i++) {
        if (wanted->key[i].n > 0)
            e = get(&t, generation, wanted->key[i]);
        if (e != E_NOTFOUND)
            break;
    }
    ctlkv_abort(&t);
    *out = (enum roster_match)i;
    return e == E_NOTFOUND ? OK : e;
}

enum err control_roster_count(struct control *c, uint64_t generation, uint32_t *out)
{
    struct ctlkv_txn t;
    enum err e;

    ctlkv_begin(&t, &c->kv, false);
    e = get_count(&t, generation, out);
    ctlkv_abort(&t);
    return e;
}
