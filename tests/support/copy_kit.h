/*
 * copy_kit: what the tests of node/copy_store share: a store on a real spool, a control state
 * that says what a test wants, records made in one call. One test program, one of it. Threads:
 * none. Everything fails the test that runs.
 */
#pragma once

#include <check.h>

#include "base/log.h"
#include "node/copy_store.h"
#include "proto/record.h"
#include "tests/support/spool_kit.h"

#define OWN     1
#define ORIGIN  2 /* draws the ids */
#define OTHER   3
#define SESSION 7

static struct kit kit;
static struct copy_store store;
static struct spool_txn *txn;
static struct copy_op last; /* with its answer */

/* What the control state says. */
static struct {
    bool sealed, has_slot, released;
    uint16_t holder;
    uint64_t slot_epoch;
} view;

static inline bool on_sealed(void *ctx, uint16_t site, uint64_t epoch)
{
    (void)ctx;
    return view.sealed && site == ORIGIN && epoch == SESSION;
}
static inline bool on_slot(void *ctx, struct str domain, uint16_t *site, uint64_t *epoch)
{
    (void)ctx;
    ck_assert(str_eq(domain, STR("example.org")));
    *site = view.holder;
    *epoch = view.slot_epoch;
    return view.has_slot;
}
static inline bool on_released(void *ctx, struct str domain, uint64_t slot_epoch)
{
    (void)ctx, (void)domain;
    return view.released && slot_epoch == 5;
}
static inline uint64_t on_cluster_ms(void *ctx)
{
    (void)ctx;
    return 1000;
}
static inline int64_t on_wall_ms(void *ctx)
{
    (void)ctx;
    return 2000;
}

static inline void begin_store(void)
{
    store = (struct copy_store){.site = OWN,
                                .view = {.sealed = on_sealed,
                                         .slot = on_slot,
                                         .released = on_released,
                                         .cluster_ms = on_cluster_ms,
                                         .wall_ms = on_wall_ms}};
}

static inline void setup(void)
{
    log_set_level(LOG_ALARM + 1);
    kit_init(&kit, 64 * MiB);
    begin_store();
    memset(&view, 0, sizeof view);
    txn = spool_begin(kit.spool);
}

static inline void teardown(void)
{
    blob_release(&last.store_keep);
    if (txn != NULL)
        spool_abort(&txn);
    kit_fini(&kit);
}

static inline void commit(void)
{
    ck_assert_int_eq(spool_commit(&txn), OK);
    txn = spool_begin(kit.spool);
}

static inline void again(void)
{
    ck_assert_int_eq(spool_commit(&txn), OK);
    kit_reopen(&kit);
    begin_store(); /* a new process remembers nothing */
    txn = spool_begin(kit.spool);
}

/* Flips a bit wherever these bytes stand in the file. */
static inline void damage(struct str needle)
{
    char path[128], *file, *at;
    size_t size, hits = 0;
    FILE *f;

    ck_assert_int_eq(spool_commit(&txn), OK);
    kit_close(&kit);
    snprintf(path, sizeof path, "%s/data/data.mdb", kit.dir);
    f = fopen(path, "r+");
    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    size = (size_t)ftell(f);
    rewind(f);
    file = malloc(size);
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(file, 1, size, f), size);
    for (at = file; (at = memmem(at, size - (size_t)(at - file), needle.p, needle.n)) != NULL;
         at++, hits++)
        *at = (char)(*at ^ 1);
    ck_assert_uint_gt(hits, 0);
    rewind(f);
    ck_assert_uint_eq(fwrite(file, 1, size, f), size);
    fclose(f);
    free(file);
    kit_open(&kit);
    begin_store();
    txn = spool_begin(kit.spool);
}

static inline struct mid id_of(uint64_t counter)
{
    return mid_make(ORIGIN, SESSION, counter);
}

static inline enum copy_code apply(uint16_t from, const struct copy_record *r)
{
    blob_release(&last.store_keep);
    last = (struct copy_op){.record = *r, .from = from, .incarnation = from + 100u};
    copy_store_apply(&store, txn, &last);
    return last.answer.code;
}

static inline enum copy_state state(uint64_t counter)
{
    struct spool_state st;

    ck_assert_int_eq(spool_state(txn, id_of(counter), &st), OK);
    return st.damaged ? (enum copy_state)99 : st.state;
}

/* --- Making records --- */

static char body_bytes[200000];
static char record_bytes[LIMIT_ENVELOPE_BYTES];

struct made {
    struct kit_message m;
    struct rcpt rcpts[2];
};

static inline struct envelope *make(struct made *x, uint64_t counter, uint64_t bytes)
{
    kit_envelope(&x->m, id_of(counter), bytes);
    x->rcpts[0] = (struct rcpt){.path = STR("ann@example.org")};
    x->rcpts[1] = (struct rcpt){.path = STR("bob@example.org")};
    x->m.envelope.rcpts = x->rcpts;
    x->m.envelope.rcpt_count = 2;
    return &x->m.envelope;
}

static inline struct str encode(const struct envelope *e)
{
    return (struct str){record_bytes, envelope_encode(e, record_bytes)};
}

static inline struct str body_of(uint64_t counter, uint64_t offset, uint64_t bytes)
{
    kit_fill(id_of(counter), offset, body_bytes, bytes);
    return (struct str){body_bytes, bytes};
}

static inline struct copy_record put_record(uint64_t counter, enum copy_state sent,
                                            uint64_t bytes)
{
    struct made x;

    return (struct copy_record){.kind = COPY_PUT,
                                .id = id_of(counter),
                                .state = sent,
                                .envelope = encode(make(&x, counter, bytes)),
                                .body = body_of(counter, 0, bytes)};
}

static inline enum copy_code put(uint16_t from, uint64_t counter, enum copy_state sent,
                                 uint64_t bytes)
{
    struct copy_record r = put_record(counter, sent, bytes);

    return apply(from, &r);
}

static inline enum copy_code mark(uint16_t from, enum copy_kind kind, uint64_t counter)
{
    return apply(from, &(struct copy_record){.kind = kind, .id = id_of(counter)});
}

static inline enum copy_code of_session(uint16_t from, enum copy_kind kind, uint64_t epoch)
{
    return apply(from, &(struct copy_record){.kind = kind, .site = ORIGIN, .epoch = epoch});
}

static inline enum copy_code upto(uint64_t counter)
{
    return apply(ORIGIN,
                 &(struct copy_record){
                     .kind = COPY_UPTO, .site = ORIGIN, .epoch = SESSION, .counter = counter});
}

static inline enum copy_code dot(uint16_t from, uint64_t session, uint64_t slot_epoch)
{
    return apply(from, &(struct copy_record){.kind = COPY_DOT,
                                             .id = id_of(1),
                                             .domain = STR("example.org"),
                                             .site = from,
                                             .epoch = session,
                                             .slot_epoch = slot_epoch});
}

static inline enum copy_code closed(uint16_t site, uint64_t slot_epoch)
{
    return apply(OTHER, &(struct copy_record){.kind = COPY_CLOSED,
                                              .id = id_of(1),
                                              .site = site,
                                              .slot_epoch = slot_epoch});
}

static inline enum copy_code outcome(uint16_t from, uint64_t counter, uint64_t bytes,
                                     enum fate first, enum fate second, enum phase phase)
{
    struct made x;
    struct envelope *e = make(&x, counter, bytes);

    x.rcpts[0].fate = first;
    x.rcpts[1].fate = second;
    e->phase = phase;
    return apply(
        from, &(struct copy_record){.kind = COPY_OUTCOME, .id = e->id, .envelope = encode(e)});
}

static inline enum copy_code delivered(uint64_t counter)
{
    return outcome(OTHER, counter, 100, FATE_DELIVERED, FATE_DELIVERED, PHASE_DONE);
}

static inline void fill(void)
{
    ck_assert_int_eq(spool_filled_set(txn), OK);
}
