/* The sets of the edge thread: the greylist, what is known of recipients, who names too many
 * that are not there, and whose primary is away. Each as gossip and store see it, and what is
 * asked of it. */
#include "node/edge_private.h"

#include <string.h>

#include "base/log.h"
#include "base/stats.h"

/* Numbers of the sets between sites; part of the protocol (docs/wire.md). */
enum { SET_GREYLIST, SET_RECIPIENTS, SET_HARVEST, SET_AWAY, SETS };

static uint64_t cluster_ms(const struct edge *e)
{
    return control_now_ms(e->node->control);
}

/* --- between sites --- */

static size_t grey_next(void *ctx, struct change_cursor *at, char *buf)
{
    struct edge *e = ctx;
    struct greylist_entry entry;

    if (!greylist_changes(&e->greylist, at, &entry))
        return 0;
    greylist_pack(&entry, (uint8_t *)buf);
    return GREYLIST_ENTRY_BYTES;
}

static enum greylist_merged take_grey(struct edge *e, const struct greylist_entry *entry)
{
    enum greylist_merged what = greylist_merge(&e->greylist, entry, cluster_ms(e));

    stat_add(STAT_GREYLIST_SHED_TOTAL, what == GREYLIST_NO_ROOM);
    return what;
}

static bool grey_merge(void *ctx, struct str bytes)
{
    struct greylist_entry entry;

    if (greylist_unpack(bytes, &entry) != OK)
        return false;
    (void)take_grey(ctx, &entry);
    return true;
}

static size_t rcpt_next(void *ctx, struct change_cursor *at, char *buf)
{
    struct edge *e = ctx;
    struct rcptset_entry entry;

    if (!rcptset_changes(&e->recipients, at, &entry))
        return 0;
    return rcptset_pack(&entry, (uint8_t *)buf);
}

static enum rcptset_merged take_rcpt(struct edge *e, const struct rcptset_entry *entry)
{
    enum rcptset_merged what = rcptset_merge(&e->recipients, entry, cluster_ms(e));

    edge_primary_merged(e, entry->generation, what);
    return what;
}

static bool rcpt_merge(void *ctx, struct str bytes)
{
    struct rcptset_entry entry;

    if (rcptset_unpack(&bytes, &entry) != OK || bytes.n > 0)
        return false;
    (void)take_rcpt(ctx, &entry);
    return true;
}

static size_t harvest_next(void *ctx, struct change_cursor *at, char *buf)
{
    struct edge *e = ctx;
    struct harvest_entry entry;

    if (!harvest_changes(&e->harvest, at, &entry))
        return 0;
    harvest_pack(&entry, (uint8_t *)buf);
    return HARVEST_ENTRY_BYTES;
}

static bool harvest_take(void *ctx, struct str bytes)
{
    struct edge *e = ctx;
    struct harvest_entry entry;

    if (harvest_unpack(bytes, &entry) != OK)
        return false;
    if (harvest_merge(&e->harvest, &entry, cluster_ms(e)) == HARVEST_NEWS)
        offenders_note(&e->offenders, &e->harvest, entry.key, cluster_ms(e));
    return true;
}

static size_t away_next(void *ctx, struct change_cursor *at, char *buf)
{
    struct edge *e = ctx;
    struct away_entry entry;

    if (!away_changes(&e->away, at, &entry))
        return 0;
    away_pack(&entry, (uint8_t *)buf);
    return AWAY_ENTRY_BYTES;
}

static bool away_take(void *ctx, struct str bytes)
{
    struct edge *e = ctx;
    struct away_entry entry;

    if (away_unpack(bytes, &entry) != OK)
        return false;
    (void)!away_merge(&e->away, &entry, cluster_ms(e)); /* no room: it counts as up */
    return true;
}

static_assert(GREYLIST_ENTRY_BYTES <= LIMIT_GOSSIP_ENTRY_BYTES &&
                  RCPTSET_ENTRY_BYTES <= LIMIT_GOSSIP_ENTRY_BYTES &&
                  HARVEST_ENTRY_BYTES <= LIMIT_GOSSIP_ENTRY_BYTES &&
                  AWAY_ENTRY_BYTES <= LIMIT_GOSSIP_ENTRY_BYTES && SETS <= LIMIT_GOSSIP_SETS,
              "gossip has room for them");

void edge_sets_init(struct edge *e, struct gossip_options *o)
{
    greylist_init(&e->greylist, &(struct greylist_options){0});
    rcptset_init(&e->recipients, &(struct rcptset_options){.seed = o->nonce});
    harvest_init(&e->harvest, 0);
    away_init(&e->away, 0, o->nonce);
    edge_primary_init(e);
    o->set_count = SETS;
    o->sets[SET_GREYLIST] = (struct gossip_set){e, grey_next, grey_merge};
    o->sets[SET_RECIPIENTS] = (struct gossip_set){e, rcpt_next, rcpt_merge};
    o->sets[SET_HARVEST] = (struct gossip_set){e, harvest_next, harvest_take};
    o->sets[SET_AWAY] = (struct gossip_set){e, away_next, away_take};
}

void edge_sets_fini(struct edge *e)
{
    greylist_fini(&e->greylist);
    rcptset_fini(&e->recipients);
    harvest_fini(&e->harvest);
    away_fini(&e->away);
}

uint64_t edge_sets_serial(const struct edge *e)
{
    return e->greylist.changes.serial + e->recipients.changes.serial +
           e->harvest.changes.serial + e->away.changes.serial;
}

/* Serial numbers go on: peers have acknowledged some. */
static void forget(struct edge *e)
{
    uint64_t grey = e->greylist.changes.serial, harvest = e->harvest.changes.serial;

    greylist_fini(&e->greylist);
    greylist_init(&e->greylist, &(struct greylist_options){0});
    e->greylist.changes.serial = grey;
    e->grey_stored = (struct change_cursor){.serial = grey};
    e->grey_dropped_count = 0;
    e->clears = true;
    harvest_fini(&e->harvest);
    harvest_init(&e->harvest, 0);
    e->harvest.changes.serial = harvest;
}

void edge_sets_secret(struct edge *e, const uint64_t secret[2])
{
    if (e->has_secret)
        forget(e);
    memcpy(e->secret, secret, sizeof e->secret);
    e->has_secret = true;
    offenders_secret(&e->offenders, secret);
}

/* --- on disk --- */

/* What is dead by now goes: no sweep would ever meet it. */
static bool grey_load(void *ctx, struct str key, struct str value)
{
    struct greylist_entry entry;

    (void)key; /* the first bytes of the value */
    return greylist_unpack(value, &entry) == OK && take_grey(ctx, &entry) == GREYLIST_NEWS;
}

static bool rcpt_load(void *ctx, struct str key, struct str value)
{
    struct rcptset_entry entry;

    (void)key; /* parts of the value */
    return rcptset_unpack(&value, &entry) == OK && value.n == 0 &&
           take_rcpt(ctx, &entry) == RCPTSET_NEWS;
}

void edge_sets_load(struct edge *e)
{
    edge_store_load(e->store, KNOWN_GREYLIST, e, grey_load);
    edge_store_load(e->store, KNOWN_RECIPIENTS, e, rcpt_load);
    e->grey_stored.serial = e->greylist.changes.serial;
    e->rcpt_stored.serial = e->recipients.changes.serial;
}

/* False, here and below: the batch is full. */
static bool drop_grey(struct edge *e, struct edge_batch *b)
{
    while (e->grey_dropped_count > 0) {
        struct greylist_entry gone = {.key = e->grey_dropped[e->grey_dropped_count - 1]};
        uint8_t bytes[GREYLIST_ENTRY_BYTES];

        greylist_pack(&gone, bytes);
        if (!edge_batch_drop(b, KNOWN_GREYLIST, (struct str){(const char *)bytes, 8}))
            return false;
        e->grey_dropped_count--;
    }
    return true;
}

/* Behind the drops: a key that was dropped and came again is stored. */
static bool put_grey(struct edge *e, struct edge_batch *b)
{
    struct change_cursor at = e->grey_stored;
    struct greylist_entry entry;

    while (greylist_changes(&e->greylist, &at, &entry)) {
        uint8_t bytes[GREYLIST_ENTRY_BYTES];
        struct str value = {(const char *)bytes, sizeof bytes};

        greylist_pack(&entry, bytes);
        if (!edge_batch_put(b, KNOWN_GREYLIST, str_head(value, 8), value))
            return false;
        e->grey_stored = at;
    }
    e->grey_stored.serial =
        e->greylist.changes.serial; /* the newest ones may be dead and gone */
    return true;
}

/* Generation and local part, as text. */
static struct str rcpt_key(const struct rcptset_entry *e, const uint8_t *packed,
                           char buf[8 + LIMIT_SMTP_LOCAL_PART_BYTES])
{
    memcpy(buf, packed, 8);
    memcpy(buf + 8, e->local, e->local_bytes);
    return (struct str){buf, 8 + (size_t)e->local_bytes};
}

static bool drop_rcpt(struct edge *e, struct edge_batch *b)
{
    char key[8 + LIMIT_SMTP_LOCAL_PART_BYTES];
    uint8_t bytes[RCPTSET_ENTRY_BYTES];

    while (e->rcpt_dropped_count > 0) {
        const struct rcptset_entry *gone = &e->rcpt_dropped[e->rcpt_dropped_count - 1];

        (void)rcptset_pack(gone, bytes);
        if (!edge_batch_drop(b, KNOWN_RECIPIENTS, rcpt_key(gone, bytes, key)))
            return false;
        e->rcpt_dropped_count--;
    }
    return true;
}

static bool put_rcpt(struct edge *e, struct edge_batch *b)
{
    char key[8 + LIMIT_SMTP_LOCAL_PART_BYTES];
    uint8_t bytes[RCPTSET_ENTRY_BYTES];
    struct change_cursor at = e->rcpt_stored;
    struct rcptset_entry entry;

    while (rcptset_changes(&e->recipients, &at, &entry)) {
        struct str value = {(const char *)bytes, rcptset_pack(&entry, bytes)};

        if (!edge_batch_put(b, KNOWN_RECIPIENTS, rcpt_key(&entry, bytes, key), value))
            return false;
        e->rcpt_stored = at;
    }
    e->rcpt_stored.serial = e->recipients.changes.serial;
    return true;
}

void edge_sets_write(struct edge *e, struct edge_batch *b)
{
    if (e->clears)
        edge_batch_clear(b, KNOWN_GREYLIST);
    e->clears = false;
    (void)(drop_grey(e, b) && drop_rcpt(e, b) && put_rcpt(e, b) && put_grey(e, b));
}

/* --- time --- */

void edge_sets_sweep(struct edge *e)
{
    uint64_t now_ms = cluster_ms(e);

    if (e->grey_dropped_count == 0) /* else the disk is behind */
        e->grey_dropped_count =
            greylist_sweep(&e->greylist, now_ms, LIMIT_EDGE_GREY_LOOK, e->grey_dropped);
    if (e->rcpt_dropped_count == 0)
        e->rcpt_dropped_count =
            rcptset_sweep(&e->recipients, now_ms, LIMIT_EDGE_RCPT_LOOK, e->rcpt_dropped);
    (void)harvest_sweep(&e->harvest, now_ms, LIMIT_EDGE_GREY_LOOK);
    offenders_sweep(&e->offenders, &e->harvest, now_ms);
    away_sweep(&e->away, now_ms);
}

void edge_sets_gauges(const struct edge *e)
{
    /* What is on its way to the disk is not there yet. */
    uint64_t flying = e->store != NULL && edge_store_is_busy(e->store);

    stat_set(STAT_GREYLIST_ENTRIES, greylist_count(&e->greylist));
    stat_set(STAT_GREYLIST_UNSTORED,
             e->greylist.changes.serial - e->grey_stored.serial + flying);
    stat_set(STAT_RECIPIENTS_ENTRIES, rcptset_count(&e->recipients));
    stat_set(STAT_RECIPIENTS_UNSTORED,
             e->recipients.changes.serial - e->rcpt_stored.serial + flying);
    stat_set(STAT_HARVEST_ENTRIES, harvest_count(&e->harvest));
    stat_set(STAT_AWAY_ENTRIES, away_count(&e->away));
}

/* --- the greylist is asked --- */

static void count_grey(const struct edge_ask *a)
{
    static const enum stat_id ids[] = {[GREYLIST_FIRST] = STAT_GREYLIST_FIRST_TOTAL,
                                       [GREYLIST_EARLY] = STAT_GREYLIST_EARLY_TOTAL,
                                       [GREYLIST_PASSED] = STAT_GREYLIST_PASSED_TOTAL,
                                       [GREYLIST_KNOWN] = STAT_GREYLIST_KNOWN_TOTAL,
                                       [GREYLIST_FULL] = STAT_GREYLIST_SHED_TOTAL};

    if (!a->is_blind)
        stat_add(ids[a->verdict], 1);
}

static enum greylist_verdict judge_grey(struct edge *e, const struct greylist_keys *keys,
                                        struct edge_ask *a)
{
    if (a->is_look)
        return greylist_look(&e->greylist, keys, cluster_ms(e), &a->wait_ms);
    return (a->is_watching ? greylist_watch : greylist_check)(&e->greylist, keys, cluster_ms(e),
                                                              &a->wait_ms);
}

void edge_sets_grey(struct edge *e, struct edge_ask *a)
{
    struct greylist_try try = {.client = a->client,
                               .spf_domain = str_of(a->spf_domain),
                               .sender = {a->sender, a->sender_bytes},
                               .domain = str_of(a->domain)};
    struct greylist_keys keys;

    a->is_blind = !e->has_secret || e->has_ended;
    if (!a->is_blind) {
        keys = greylist_keys(e->secret, &try);
        a->verdict = judge_grey(e, &keys, a);
    }
    if (!a->is_look)
        count_grey(a);
    a->mail.kind = a->answer_kind;
    mailbox_answer(a->answer_to, &a->mail);
}

/* --- recipients are asked for --- */

/* Said once each time that a client rises. */
static void note_rise(const struct ip_addr *client, const char *domain, enum harvest_state was,
                      enum harvest_state is)
{
    char ip[IP_TEXT_BYTES];

    if (is <= was)
        return;
    stat_add(is == HARVEST_OFFENDER ? STAT_HARVEST_OFFENDERS_TOTAL
                                    : STAT_HARVEST_SUSPICIOUS_TOTAL,
             1);
    LOG(EV_HARVEST, L_STR("client", ip_text(client, ip)), L_CSTR("domain", domain),
        L_CSTR("state", is == HARVEST_OFFENDER ? "offender" : "suspicious"));
}

/* What the client is then. */
static enum harvest_state take_bad(struct edge *e, const struct ip_addr *client,
                                   const char *domain, struct str local)
{
    struct harvest_keys k = harvest_keys(e->secret, client, str_of(domain));
    uint64_t now_ms = cluster_ms(e);
    enum harvest_state was = harvest_state(&e->harvest, &k, now_ms), is;

    if (!harvest_bad(&e->harvest, e->node->site, &k,
                     harvest_name(e->secret, client, str_of(domain), local), now_ms))
        return was;
    offenders_note(&e->offenders, &e->harvest, k.client, now_ms);
    offenders_note(&e->offenders, &e->harvest, k.network, now_ms);
    is = harvest_state(&e->harvest, &k, now_ms);
    stat_add(STAT_HARVEST_BAD_TOTAL, 1);
    note_rise(client, domain, was, is);
    return is;
}

static void judge_client(struct edge *e, struct edge_rcpt *a)
{
    const struct recipient_facts *f = &a->facts;
    bool is_bad = f->mode == RECIPIENT_LIST && !f->is_listed && !f->is_reserved;
    struct harvest_keys k;

    if (!e->has_secret || a->is_spared)
        return;
    k = harvest_keys(e->secret, &a->client, str_of(a->domain));
    a->state = is_bad && !a->is_look
                   ? take_bad(e, &a->client, a->domain, (struct str){a->local, a->local_bytes})
                   : harvest_state(&e->harvest, &k, cluster_ms(e));
    a->facts.is_suspicious = a->state != HARVEST_OK;
}

/* True: it waits for what the primary says. Else somebody may still wish to know, later. */
static bool wait_or_wish(struct edge *e, struct edge_rcpt *a, const struct rcptset_name *n)
{
    if (a->is_look || recipient_judge(&a->facts) != RECIPIENT_ASK)
        return false;
    if (edge_primary_wait(e, a))
        return true;
    if (rcptset_want(&e->recipients, n, cluster_ms(e)) == RCPTSET_NO_ROOM)
        stat_add(STAT_RECIPIENTS_SHED_TOTAL, 1);
    return false;
}

static void look_up(struct edge *e, struct edge_rcpt *a, const struct rcptset_name *n)
{
    struct rcptset_entry found;

    a->facts.is_up = !away_has(&e->away, a->generation, cluster_ms(e));
    a->learned = rcptset_known(&e->recipients, a->generation);
    a->facts.any_is_known = a->learned > 0;
    a->facts.known = n->local.n > 0 ? rcptset_find(&e->recipients, n, cluster_ms(e), &found)
                                    : RCPTSET_UNKNOWN;
}

void edge_sets_rcpt(struct edge *e, struct edge_rcpt *a)
{
    struct rcptset_name n = {a->generation, {a->local, a->local_bytes}, a->separator};

    a->state = HARVEST_OK;
    a->is_blind = e->has_ended;
    if (!a->is_blind) {
        look_up(e, a, &n);
        judge_client(e, a);
        if (wait_or_wish(e, a, &n))
            return;
    }
    a->mail.kind = a->answer_kind;
    mailbox_answer(a->answer_to, &a->mail);
}

/* --- what others have seen --- */

void edge_sets_away(struct edge *e, const struct edge_seen *s)
{
    away_told(&e->away, e->node->site, s->generations, s->count, cluster_ms(e));
}

void edge_sets_lesson(struct edge *e, const struct edge_taught *t)
{
    struct rcptset_name name = {t->generation, {t->local, t->local_bytes}, t->separator};
    enum rcptset_merged what =
        rcptset_learn(&e->recipients, &name, t->status, RCPTSET_DELIVERY, cluster_ms(e));

    away_answered(&e->away, e->node->site, t->generation, cluster_ms(e));
    stat_add(STAT_RECIPIENTS_LEARNED_TOTAL, what == RCPTSET_NEWS);
    edge_primary_merged(e, t->generation, what);
}

void edge_sets_client(struct edge *e, const struct edge_client *c)
{
    struct harvest_keys k;

    if (!e->has_secret)
        return;
    if (c->mail.kind == MAIL_BAD) {
        (void)take_bad(e, &c->client, c->domain, (struct str){c->local, c->local_bytes});
        return;
    }
    k = harvest_keys(e->secret, &c->client, STR_NONE);
    harvest_good(&e->harvest, e->node->site, &k, cluster_ms(e));
}
