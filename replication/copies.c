#include "replication/copies.h"

#include "base/assert.h"
#include "base/fault.h"

/* Nothing changes but what the caller adds. */
static struct copy_verdict keep(const struct copy_facts *f, enum copy_code code)
{
    return (struct copy_verdict){.answer = {.code = code}, .state = f->state};
}

/* States never go downwards: a rule that would do so is a mistake of this file. */
static struct copy_verdict raise(const struct copy_facts *f, enum copy_state to)
{
    ASSERT(to >= f->state);
    return (struct copy_verdict){.answer = {.code = COPY_OK}, .state = to};
}

/* --- copies --- */

/* The bytes of a copy are here: an aborted one was forgotten, a settled one may be. */
static bool has_body(const struct copy_facts *f)
{
    return f->state == COPY_UNDECIDED || f->state == COPY_COMMITTED;
}

/* What a copy becomes that comes in as `sent` where none is. The watermark of its session may
 * have been faster: it says "committed" of all ids without an abort. */
static enum copy_state state_of_new(const struct copy_facts *f, enum copy_state sent)
{
    return f->upto_covers ? COPY_COMMITTED : sent;
}

/* Intake ends with the seal. A committed copy is no intake: it comes by relay, or from an
 * origin that is up again. An undecided one has no business here, whoever brings it: who has it
 * resolves it and relays the result. */
static bool put_is_sealed(const struct copy_facts *f, enum copy_state sent)
{
    return f->sealed && sent == COPY_UNDECIDED && !FAULT(PUT_AFTER_SEAL);
}

struct copy_verdict copies_on_put(const struct copy_facts *f, enum copy_state sent)
{
    if (sent != COPY_UNDECIDED && sent != COPY_COMMITTED)
        return keep(f, COPY_MALFORMED);
    if (f->state == COPY_SETTLED)
        return keep(f, COPY_IS_SETTLED);
    if (has_body(f)) {
        if (!f->same_digest)
            return keep(f, COPY_CONFLICT);
        return raise(f, sent > f->state ? sent : f->state);
    }
    if (f->state == COPY_ABORTED)
        return sent == COPY_COMMITTED || FAULT(PUT_OVER_ABORT) ? raise(f, COPY_COMMITTED)
                                                               : keep(f, COPY_IS_ABORTED);
    if (put_is_sealed(f, sent))
        return keep(f, COPY_SEALED);
    return raise(f, state_of_new(f, sent));
}

/* The origin decides only while nobody has closed its session; itself included. A relayed abort
 * was decided before. */
static bool abort_is_sealed(const struct copy_facts *f)
{
    return f->sealed && f->from_origin && !FAULT(ABORT_AFTER_SEAL);
}

struct copy_verdict copies_on_abort(const struct copy_facts *f)
{
    if (f->state == COPY_SETTLED)
        return keep(f, COPY_IS_SETTLED);
    if (f->state == COPY_ABORTED)
        return keep(f, COPY_OK);
    if (f->state == COPY_COMMITTED || abort_is_sealed(f))
        return keep(f, COPY_SEALED);
    return raise(f, COPY_ABORTED);
}

/* The ABORT before it was refused, and somebody else may have said yes to that. */
struct copy_verdict copies_on_upto(const struct copy_facts *f)
{
    bool is_late = f->sealed && !f->own_origin && !FAULT(UPTO_AFTER_SEAL);

    return keep(f, is_late ? COPY_SEALED : COPY_OK);
}

struct copy_verdict copies_on_commit(const struct copy_facts *f)
{
    switch (f->state) {
    case COPY_NONE:
        return keep(f, COPY_MISSING);
    case COPY_UNDECIDED:
    case COPY_COMMITTED:
        return raise(f, COPY_COMMITTED);
    case COPY_ABORTED:
        return keep(f, COPY_IS_ABORTED);
    case COPY_SETTLED:
        break;
    }
    return keep(f, COPY_IS_SETTLED);
}

/* --- dots --- */

/* The slot epoch that is asked for must be the newest that is applied here, and its holder the
 * one that asks: that is what fences a holder whose lease has moved. */
static enum copy_code epoch_code(const struct copy_facts *f, const struct copy_record *r)
{
    if (FAULT(DOT_ANY_EPOCH))
        return COPY_OK;
    if (!f->has_slot || f->newest_epoch < r->slot_epoch)
        return COPY_LAG;
    if (f->newest_epoch > r->slot_epoch || f->newest_site != r->site)
        return COPY_EPOCH;
    return COPY_OK;
}

/* The asker has waited for the mark that stands here. */
static bool dot_was_waited_for(const struct copy_facts *f, const struct copy_record *r)
{
    return r->counter != 0 && r->counter == f->dot_epoch;
}

/* Another process may have a dot under way. One process asks again for itself at will: it never
 * has a message on two connections. */
static bool dot_is_foreign(const struct copy_facts *f, const struct copy_record *r)
{
    if (FAULT(DOT_NOT_FOREIGN))
        return false;
    return f->has_dot && !f->dot_over && (f->dot_site != r->site || f->dot_session != r->epoch);
}

static bool dot_is_this(const struct copy_facts *f, const struct copy_record *r)
{
    return f->has_dot && f->dot_site == r->site && f->dot_session == r->epoch &&
           f->dot_epoch == r->slot_epoch;
}

/* The mark of this question takes the place of what is there, and its doubt. */
static void consent(const struct copy_facts *f, const struct copy_record *r,
                    struct copy_verdict *v)
{
    v->dot_doubt = f->has_dot && (f->dot_doubt || dot_is_foreign(f, r));
    v->store_dot = !dot_is_this(f, r) || f->dot_over;
    if (v->dot_doubt)
        v->answer.code = COPY_DOUBT;
}

struct copy_verdict copies_on_dot(const struct copy_facts *f, const struct copy_record *r)
{
    struct copy_verdict v;
    enum copy_code code;

    if (f->state == COPY_SETTLED)
        return keep(f, FAULT(DOT_AFTER_OUTCOME) ? epoch_code(f, r) : COPY_IS_SETTLED);
    if (f->state == COPY_ABORTED)
        return keep(f, COPY_IS_ABORTED);
    if (!f->witness && !FAULT(WIPED_WITNESS))
        return keep(f, COPY_NOT_WITNESS);
    code = epoch_code(f, r);
    v = keep(f, code);
    if (code == COPY_EPOCH)
        v.answer.detail = f->newest_epoch;
    if (code != COPY_OK)
        return v;
    if (dot_is_foreign(f, r) && !dot_was_waited_for(f, r)) {
        v.answer =
            (struct copy_answer){COPY_FOREIGN_DOT, f->dot_epoch, f->dot_site, f->dot_session};
        return v;
    }
    if (f->own_dot && f->state != COPY_COMMITTED)
        return keep(f, COPY_MISSING); /* only committed copies are delivered */
    /* A mark stands beside a copy: with it it is told to a peer that has lost its memory. */
    if (f->state == COPY_NONE)
        return keep(f, COPY_MISSING);
    consent(f, r, &v);
    return v;
}

struct copy_verdict copies_on_closed(const struct copy_facts *f, const struct copy_record *r)
{
    bool is_it = f->has_dot && f->dot_site == r->site && f->dot_epoch == r->slot_epoch;
    struct copy_verdict v = keep(f, is_it ? COPY_OK : COPY_MISSING);

    v.drop_dot = is_it && (!f->dot_doubt || f->flagged);
    v.store_dot = v.keep_holder = is_it && !v.drop_dot && !f->dot_over;
    v.dot_over = v.dot_doubt = v.store_dot;
    return v;
}

/* Of two marks one is kept, and the doubt about the other. */
struct copy_verdict copies_on_mark(const struct copy_facts *f, const struct copy_record *r)
{
    bool over = (r->counter & COPY_MARK_OVER) != 0, doubt = (r->counter & COPY_MARK_DOUBT) != 0;
    bool same = f->has_dot && f->dot_site == r->site && f->dot_session == r->epoch &&
                f->dot_epoch == r->slot_epoch;
    struct copy_verdict v = keep(f, COPY_OK);

    if (f->state == COPY_SETTLED)
        return v;
    v.dot_over = f->has_dot ? f->dot_over : over;
    v.dot_doubt = doubt || (f->has_dot && (f->dot_doubt || (!same && !over)));
    v.keep_holder = f->has_dot;
    v.store_dot = f->has_dot ? v.dot_doubt != f->dot_doubt : doubt || !over;
    return v;
}

/* --- outcomes --- */

static struct copy_verdict on_unfinished_outcome(const struct copy_facts *f)
{
    switch (f->state) {
    case COPY_NONE:
        return keep(f, COPY_MISSING);
    case COPY_UNDECIDED: /* some holder had it committed, else there were no outcome */
    case COPY_COMMITTED:
        return raise(f, COPY_COMMITTED);
    case COPY_ABORTED:
        return keep(f, COPY_IS_ABORTED);
    case COPY_SETTLED:
        break;
    }
    return keep(f, COPY_OK);
}

/* An outcome that leaves the message live may be older than the mark (a relay, a link that is
 * new), or come while the dot is under way (a flag, an order): the mark stays until CLOSED. */
static bool outcome_ends_dot(const struct copy_facts *f, bool settles)
{
    return f->has_dot && settles;
}

struct copy_verdict copies_on_outcome(const struct copy_facts *f, bool all_final)
{
    struct copy_verdict v = all_final ? raise(f, COPY_SETTLED) : on_unfinished_outcome(f);

    v.drop_dot = outcome_ends_dot(f, v.state == COPY_SETTLED);
    return v;
}

/* --- resolving --- */

/* Before the seal an abort may still come; a node that is not filled may have lost one. */
static enum copy_code resolver_code(const struct copy_facts *f)
{
    if (!f->sealed)
        return COPY_LAG;
    return f->witness ? COPY_OK : COPY_NOT_WITNESS;
}

struct copy_verdict copies_on_resolve(const struct copy_facts *f)
{
    return keep(f, resolver_code(f));
}

struct copy_verdict copies_on_resolved(const struct copy_facts *f)
{
    enum copy_code code = resolver_code(f);

    if (f->state != COPY_UNDECIDED || code != COPY_OK)
        return keep(f, code);
    return raise(f, COPY_COMMITTED);
}
