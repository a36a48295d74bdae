#include "node/replica_read.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/limits.h"
#include "proto/record.h"

#define AT_ONCE 1000 /* in one snapshot of the spool */

enum err replica_read_open(struct replica_read *r, struct spool *s)
{
    *r = (struct replica_read){.encoded = malloc(LIMIT_ENVELOPE_BYTES)};
    ASSERT(r->encoded != NULL);
    arena_init(&r->scratch, RECORD_ARENA_BYTES);
    return spool_reader_open(s, &r->reader);
}

void replica_read_close(struct replica_read *r)
{
    if (r->reader != NULL)
        spool_reader_close(&r->reader);
    arena_reset(&r->scratch);
    free(r->encoded);
    r->encoded = NULL;
}

static enum err encode(struct replica_read *r, const struct envelope *e, struct str *out)
{
    if (envelope_encoded_size(e) == 0)
        return E_CORRUPT;
    *out = (struct str){r->encoded, envelope_encode(e, r->encoded)};
    return OK;
}

enum err replica_read_envelope(struct replica_read *r, struct mid id, struct str *envelope,
                               uint64_t *body_bytes)
{
    struct envelope e;
    enum err rc;

    arena_reset(&r->scratch);
    rc = spool_get(r->reader, id, &r->scratch, &e);
    if (rc == OK)
        rc = spool_verify_body(r->reader, &e); /* what is damaged is never passed on */
    if (rc == OK)
        rc = encode(r, &e, envelope);
    if (rc == OK)
        *body_bytes = e.body_bytes;
    return rc;
}

enum err replica_read_body(struct replica_read *r, struct mid id, uint64_t offset, void *buf,
                           size_t size, size_t *got)
{
    struct envelope e;
    enum err rc;

    arena_reset(&r->scratch);
    rc = spool_get(r->reader, id, &r->scratch, &e);
    return rc == OK ? spool_read_body(r->reader, &e, offset, buf, size, got) : rc;
}

enum err replica_read_trace(struct replica_read *r, struct mid id, struct str *envelope)
{
    struct envelope e;
    bool live;
    enum err rc;

    arena_reset(&r->scratch);
    rc = spool_trace(r->reader, id, &r->scratch, &e, &live);
    if (live) /* readable or not */
        return E_CONFLICT;
    if (rc == E_CORRUPT)
        rc = E_NOTFOUND; /* nobody can read it any more */
    return rc == OK ? encode(r, &e, envelope) : rc;
}

enum err replica_read_mark(struct replica_read *r, struct mid id, struct copy_mark *out)
{
    struct spool_mark m;
    enum err e = spool_mark_of(r->reader, id, &m);

    *out = (struct copy_mark){m.slot_epoch, m.session, m.site, m.over, m.doubt};
    return e;
}

/* --- the start --- */

struct loading {
    struct replica *engine;
    enum err err;
};

static void on_fact(void *user, const struct spool_fact *f)
{
    struct loading *l = user;
    enum err e = OK;

    switch (f->kind) {
    case SPOOL_FACT_CLEAR:
        replica_load_clear(l->engine, f->site, f->epoch);
        break;
    case SPOOL_FACT_SESSION:
        e = replica_load_upto(l->engine, f->site, f->epoch, f->upto);
        break;
    case SPOOL_FACT_SETTLED:
        e = replica_load_settled(l->engine, f->site, f->epoch, f->from, f->to);
        break;
    case SPOOL_FACT_ABORTED:
    case SPOOL_FACT_COPY:
        e = replica_load_copy(l->engine, f->id, f->state);
        break;
    case SPOOL_FACT_DAMAGED:
        e = replica_load_damaged(l->engine, f->id);
        break;
    case SPOOL_FACT_MARK:
        e = replica_load_dot(l->engine, f->id, f->mark.site, f->mark.session,
                             f->mark.slot_epoch);
        break;
    }
    if (l->err == OK)
        l->err = e;
}

/* Fates that the peers may not know yet are told again. */
static bool on_live(void *user, const struct envelope *e, bool dot_open)
{
    struct loading *l = user;
    bool has_news = e->possible_duplicates > 0;

    (void)dot_open;
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        has_news |= e->rcpts[i].fate != FATE_PENDING || e->rcpts[i].attempts > 0;
    if (has_news)
        replica_load_news(l->engine, e->id);
    return true;
}

enum err replica_read_all(struct replica_read *r, struct replica *engine)
{
    struct loading l = {engine, OK};
    struct spool_facts facts = {0};
    struct spool_cursor live = {.committed_only = true};
    enum err e = OK;

    while (e == OK && !facts.end)
        e = spool_facts(r->reader, &facts, AT_ONCE, on_fact, &l);
    while (e == OK && !live.end)
        e = spool_scan(r->reader, &live, AT_ONCE, on_live, &l);
    return e == OK ? l.err : e;
}
