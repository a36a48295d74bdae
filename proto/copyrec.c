#include "proto/copyrec.h"

#include <stdbool.h>

#include "base/limits.h"

#define EPOCH_BITS 48 /* of a session: what an id has room for */

/* The fields of a record, as a bit set. */
enum field {
    STATE = 1 << 0,
    ID = 1 << 1,
    SITE = 1 << 2,
    EPOCH = 1 << 3,
    COUNTER = 1 << 4,
    SLOT_EPOCH = 1 << 5,
    BODY_NUMBER = 1 << 6,
    OFFSET = 1 << 7,
    DOMAIN = 1 << 8,
    ENVELOPE = 1 << 9,
    BODY = 1 << 10,
    RANGES = 1 << 11
};

struct kind {
    const char *text;
    unsigned needs, may; /* fields that are there, or may be there as well */
};

static const struct kind kinds[] = {
    [COPY_ECHO] = {"echo", 0, 0},
    [COPY_ABORT] = {"abort", ID, 0},
    [COPY_COMMIT] = {"commit", ID, 0},
    [COPY_UPTO] = {"upto", SITE | EPOCH | COUNTER, 0},
    [COPY_DOT] = {"dot", ID | DOMAIN | SLOT_EPOCH | SITE | EPOCH, COUNTER},
    [COPY_CLOSED] = {"closed", ID | SLOT_EPOCH | SITE, 0},
    [COPY_OUTCOME] = {"outcome", ID | ENVELOPE, 0},
    [COPY_RESOLVE] = {"resolve", SITE | EPOCH, 0},
    [COPY_RESOLVED] = {"resolved", SITE | EPOCH, 0},
    [COPY_HAVE] = {"have", SITE | EPOCH | STATE | RANGES, 0},
    [COPY_HAVE_END] = {"have_end", 0, 0},
    [COPY_FILLED] = {"filled", 0, 0},
    [COPY_WANT] = {"want", ID, 0},
    [COPY_CLEAR] = {"clear", SITE | EPOCH, 0},
    [COPY_MARK] = {"mark", ID | SLOT_EPOCH | SITE, EPOCH | COUNTER},
    [COPY_ENDED] = {"ended", ID, 0},
    [COPY_BODY] = {"body", BODY_NUMBER | BODY, OFFSET},
    [COPY_PUT] = {"put", ID | STATE | ENVELOPE, BODY | BODY_NUMBER}};

/* NULL: no such kind. */
static const struct kind *kind_of(enum copy_kind k)
{
    bool is_known =
        (int)k >= 0 && (size_t)k < sizeof kinds / sizeof *kinds && kinds[k].text != NULL;

    return is_known ? &kinds[k] : NULL;
}

static bool has_id(struct mid id)
{
    static const struct mid none;

    return mid_cmp(id, none) != 0;
}

static unsigned fields_of(const struct copy_record *r)
{
    return (r->state != COPY_NONE ? STATE : 0u) | (has_id(r->id) ? ID : 0u) |
           (r->site != 0 ? SITE : 0u) | (r->epoch != 0 ? EPOCH : 0u) |
           (r->counter != 0 ? COUNTER : 0u) | (r->slot_epoch != 0 ? SLOT_EPOCH : 0u) |
           (r->body_number != 0 ? BODY_NUMBER : 0u) | (r->offset != 0 ? OFFSET : 0u) |
           (r->domain.n > 0 ? DOMAIN : 0u) | (r->envelope.n > 0 ? ENVELOPE : 0u) |
           (r->body.n > 0 ? BODY : 0u) | (r->range_count > 0 ? RANGES : 0u);
}

static const char *sizes_check(const struct copy_record *r)
{
    if (r->domain.n > LIMIT_SMTP_DOMAIN_BYTES)
        return "a domain is too long";
    if (r->envelope.n > LIMIT_ENVELOPE_BYTES)
        return "an envelope is too long";
    if (r->body.n > LIMIT_BODY_PIECE_BYTES)
        return "a piece of a body is too long";
    if (r->offset > LIMIT_BODY_BYTES || r->offset + r->body.n > LIMIT_BODY_BYTES)
        return "a body is too long";
    if (r->range_count > LIMIT_FRAME_RANGES)
        return "too many ranges";
    if (r->epoch >> EPOCH_BITS != 0)
        return "a session epoch is too large";
    return NULL;
}

static const char *id_check(struct mid id)
{
    return mid_site(id) != 0 && mid_epoch(id) != 0 && mid_counter(id) != 0
               ? NULL
               : "an id has a site, an epoch and a counter";
}

/* Counters begin with 1. Ranges come in order and do not overlap. */
static const char *ranges_check(const struct copy_record *r)
{
    uint64_t before = 0;

    for (uint32_t i = 0; i < r->range_count; i++) {
        if (r->ranges[i].from <= before || r->ranges[i].to < r->ranges[i].from)
            return "ranges are out of order";
        before = r->ranges[i].to;
    }
    return NULL;
}

/* What a sender may say of a copy: it comes as undecided or committed. What it holds, or held,
 * has any state but none. */
static const char *state_check(const struct copy_record *r)
{
    if ((int)r->state < COPY_NONE || r->state > COPY_SETTLED)
        return "unknown state";
    if (r->kind == COPY_PUT && r->state != COPY_UNDECIDED && r->state != COPY_COMMITTED)
        return "a copy comes undecided or committed";
    return NULL;
}

const char *copyrec_check(const struct copy_record *r)
{
    const struct kind *k = kind_of(r->kind);
    unsigned fields = fields_of(r);
    const char *why;

    if (k == NULL)
        return "unknown kind";
    if ((fields & k->needs) != k->needs)
        return "a field is missing";
    if ((fields & ~(k->needs | k->may)) != 0)
        return "a field of another kind";
    if (r->kind == COPY_PUT && (fields & (BODY | BODY_NUMBER)) == (BODY | BODY_NUMBER))
        return "a body twice";
    if (r->kind == COPY_MARK && (r->counter & ~(uint64_t)(COPY_MARK_DOUBT | COPY_MARK_OVER)))
        return "a mark that is something else";
    why = sizes_check(r);
    if (why == NULL && (fields & ID) != 0)
        why = id_check(r->id);
    if (why == NULL)
        why = state_check(r);
    return why != NULL ? why : ranges_check(r);
}

const char *copy_kind_text(enum copy_kind k)
{
    const struct kind *known = kind_of(k);

    return known != NULL ? known->text : "unknown";
}

const char *copy_code_text(enum copy_code c)
{
    static const char *const texts[] = {[COPY_OK] = "ok",
                                        [COPY_EPOCH] = "epoch",
                                        [COPY_LAG] = "lag",
                                        [COPY_IS_SETTLED] = "is_settled",
                                        [COPY_IS_ABORTED] = "is_aborted",
                                        [COPY_FOREIGN_DOT] = "foreign_dot",
                                        [COPY_NOT_WITNESS] = "not_witness",
                                        [COPY_SEALED] = "sealed",
                                        [COPY_CONFLICT] = "conflict",
                                        [COPY_NO_ROOM] = "no_room",
                                        [COPY_DAMAGED] = "damaged",
                                        [COPY_MISSING] = "missing",
                                        [COPY_MALFORMED] = "malformed",
                                        [COPY_FAILED] = "failed",
                                        [COPY_DOUBT] = "doubt"};

    return (int)c >= 0 && (size_t)c < sizeof texts / sizeof *texts ? texts[c] : "unknown";
}
