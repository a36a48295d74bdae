/*
 * replica_world: three nodes with the data plane of each, on virtual time: a network that
 * loses, doubles, delays and parts; a store in memory that follows copies.h and forgets what
 * was not committed; a control log that each node applies with a lag; clients; holders that
 * deliver. What must never happen ends the test at once, with the seed. Included by test
 * programs only.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/prng.h"
#include "replication/copies.h"
#include "replication/replica.h"
#include "replication/rset.h"

#define W_NODES   3
#define W_COPIES  4096
#define W_MSGS    4096
#define W_ENTRIES 4096
#define W_EVENTS  65536
#define W_OPS     8192
#define W_RCPTS   2
#define W_SMALL   400
#define W_LARGE   150000
#define W_NEVER   UINT64_MAX
#define W_DOT_MAX 20000
#define W_DAY     UINT64_C(86400000)

/* A stored message. The envelope is a letter per recipient: '.' pending, 'd' delivered. */
struct w_copy {
    struct mid id;
    enum copy_state state;
    char fates[W_RCPTS];
    uint32_t bytes;
    bool damaged, unreadable; /* its body; its record, at a start */
    bool has_dot, dot_over, dot_doubt;
    uint16_t dot_site;
    uint64_t dot_session, dot_epoch;
    char trace[W_RCPTS]; /* SETTLED */
};

struct w_session {
    uint16_t site;
    uint64_t epoch, upto;
    bool resolved;
};

struct w_body {
    uint16_t site;
    uint64_t number, done;
};

struct w_disk {
    struct w_copy copies[W_COPIES];
    uint32_t copy_count;
    struct w_session sessions[256];
    uint32_t session_count;
    struct rset settled;
    uint64_t clear[W_NODES + 1];
    bool filled;
    uint64_t first_epoch;
};

enum w_entry_kind { W_SESSION, W_END, W_SLOT, W_MEMBER };

struct w_entry {
    enum w_entry_kind kind;
    uint16_t site;
    uint64_t incarnation;
    bool released; /* SLOT: the holder before gave it away, all its dots closed */
};

enum w_op_kind { W_OP_COPY, W_OP_PUT, W_OP_UPDATE };

struct w_op {
    enum w_op_kind kind;
    struct copy_op *op;
    struct mid id;
    uint32_t bytes;
    char fates[W_RCPTS];
    bool answered;
    enum err err;
    bool is_final;
};

struct w_dot {
    struct mid id;
    bool open;
    char deliver[W_RCPTS]; /* which recipients go with it */
    uint64_t again_ms;     /* refused: asked again then */
};

struct w_node {
    uint16_t site;
    bool up, slow, paused;
    uint32_t life; /* counts starts: events of an earlier life are void */
    uint64_t incarnation, session, next_counter;
    bool leaving; /* it gave its slot away and begins nothing more */
    uint32_t applied;
    struct replica *r;
    struct w_disk *disk;
    struct w_body bodies[64];
    uint32_t body_count;
    struct w_op ops[W_OPS];
    uint32_t op_first, op_count;
    bool committing, store_fails;
    bool full; /* its store takes nothing at all */
    bool open, stopped;
    struct w_dot dots[64];
    char text[8];
    uint64_t tick_ms;
    uint32_t commits;
    uint32_t deliverable; /* times that it was told so */
    uint32_t bad_frames;  /* that it told of */
    const char *bad_text; /* why, of the last one */
    bool may_hear_bad;    /* else one is a bug of ours */
    uint32_t facts;       /* that it heard */
    uint16_t facts_site;  /* of whom, the last ones */
    size_t facts_bytes;
    char facts_first;
    bool deaf[W_NODES + 1]; /* hears nothing from that site */
};

enum w_answer { W_WAITS, W_250, W_451, W_CLOSED };

struct w_msg {
    struct mid id;
    uint16_t origin;
    uint32_t life;
    enum w_answer answer;
    uint32_t bytes;
    uint32_t taken[W_RCPTS]; /* by the primary */
    bool flagged;            /* as a possible duplicate: stays in the envelope */
    struct {
        uint16_t site;
        uint64_t until_ms;
    } flight[8];
    uint32_t flights;
};

enum w_event_kind { W_FRAME, W_COMMIT, W_APPLY, W_TICK, W_PUT_LATE, W_RESULT, W_PUT_STORED };

struct w_event {
    uint64_t at_ms, seq;
    enum w_event_kind kind;
    uint16_t node, from;
    uint32_t life;
    uint64_t incarnation;
    struct blob *bytes;
    struct mid id;
    uint32_t size, dot;
    enum err err;
    uint64_t slot_epoch;
    int how;
};

struct world {
    uint64_t seed, now, seq;
    struct prng rng;
    struct w_node nodes[W_NODES];
    struct w_msg msgs[W_MSGS];
    uint32_t msg_count;
    struct w_entry log[W_ENTRIES];
    uint32_t log_count; /* entry i has index i + 1 */
    struct w_event events[W_EVENTS];
    uint32_t event_count;
    uint32_t loss, dup, reorder;                   /* in 1000 */
    uint64_t last_ms[W_NODES + 1][W_NODES + 1][2]; /* arrival of the last frame in order */
    bool verbose;
    bool solo; /* one copy is enough */
    uint64_t delivered, duplicates, accepted, refused, closed, consents, crashes, wipes;
    uint32_t fail_4xx, unsent; /* in 1000 dots */
    uint64_t next_incarnation;
};

#define W_CHECK(w, cond, ...)                                                                  \
    do {                                                                                       \
        if (!(cond)) {                                                                         \
            fprintf(stderr, "seed %llu at %llu ms: ", (unsigned long long)(w)->seed,           \
                    (unsigned long long)(w)->now);                                             \
            fprintf(stderr, __VA_ARGS__);                                                      \
            fprintf(stderr, "\n");                                                             \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

#define W_SAY(w, ...)                                                                          \
    do {                                                                                       \
        if ((w)->verbose) {                                                                    \
            printf("%8llu ", (unsigned long long)(w)->now);                                    \
            printf(__VA_ARGS__);                                                               \
            printf("\n");                                                                      \
        }                                                                                      \
    } while (0)

static const char *w_text(struct mid id)
{
    static char buf[4][64];
    static unsigned at;

    at = (at + 1) % 4;
    snprintf(buf[at], sizeof buf[at], "%u.%llu.%llu", mid_site(id),
             (unsigned long long)mid_epoch(id), (unsigned long long)mid_counter(id));
    return buf[at];
}

/* --- events --- */

static bool w_before(const struct w_event *a, const struct w_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static struct w_event *w_push(struct world *w, uint64_t in_ms, enum w_event_kind kind,
                              const struct w_node *n)
{
    uint32_t i = w->event_count++;
    struct w_event e = {.at_ms = w->now + in_ms,
                        .seq = w->seq++,
                        .kind = kind,
                        .node = n->site,
                        .life = n->life};

    W_CHECK(w, w->event_count < W_EVENTS, "too many events");
    while (i > 0 && w_before(&e, &w->events[(i - 1) / 2])) {
        w->events[i] = w->events[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->events[i] = e;
    return &w->events[i]; /* to be filled in at once: at_ms and seq stay */
}

static struct w_event w_pop(struct world *w)
{
    struct w_event first = w->events[0], last = w->events[--w->event_count];
    uint32_t i = 0;

    for (;;) {
        uint32_t c = 2 * i + 1;

        if (c >= w->event_count)
            break;
        if (c + 1 < w->event_count && w_before(&w->events[c + 1], &w->events[c]))
            c++;
        if (!w_before(&w->events[c], &last))
            break;
        w->events[i] = w->events[c];
        i = c;
    }
    if (w->event_count > 0)
        w->events[i] = last;
    return first;
}

static struct w_node *w_node(struct world *w, uint16_t site)
{
    return &w->nodes[site - 1];
}

static struct w_msg *w_msg(struct world *w, struct mid id)
{
    for (uint32_t i = w->msg_count; i-- > 0;)
        if (mid_cmp(w->msgs[i].id, id) == 0)
            return &w->msgs[i];
    return NULL;
}

/* --- control state, as a node has applied it --- */

static bool w_sealed(const struct world *w, uint32_t applied, uint16_t site, uint64_t epoch)
{
    for (uint32_t i = 0; i < applied; i++)
        if ((w->log[i].kind == W_SESSION || w->log[i].kind == W_END) &&
            w->log[i].site == site && i + 1 > epoch)
            return true;
    return false;
}

static uint32_t w_slot(const struct world *w, uint32_t applied)
{
    for (uint32_t i = applied; i-- > 0;)
        if (w->log[i].kind == W_SLOT)
            return i + 1;
    return 0;
}

static bool w_released(const struct world *w, uint32_t applied, uint64_t slot_epoch)
{
    for (uint32_t i = (uint32_t)slot_epoch; i < applied; i++)
        if (w->log[i].kind == W_SLOT)
            return w->log[i].released;
    return false;
}

static uint32_t w_append(struct world *w, struct w_entry e)
{
    W_CHECK(w, w->log_count < W_ENTRIES, "the log is full");
    w->log[w->log_count++] = e;
    for (int i = 0; i < W_NODES; i++)
        if (w->nodes[i].up)
            w_push(w, 1 + prng_below(&w->rng, 400), W_APPLY, &w->nodes[i]);
    return w->log_count;
}

/* --- the store --- */

static struct w_copy *w_copy(struct w_disk *d, struct mid id)
{
    for (uint32_t i = d->copy_count; i-- > 0;)
        if (mid_cmp(d->copies[i].id, id) == 0)
            return &d->copies[i];
    return NULL;
}

static struct w_copy *w_copy_get(struct world *w, struct w_disk *d, struct mid id)
{
    struct w_copy *c = w_copy(d, id);

    if (c != NULL)
        return c;
    W_CHECK(w, d->copy_count < W_COPIES, "the disk is full");
    c = &d->copies[d->copy_count++];
    *c = (struct w_copy){.id = id};
    memset(c->fates, '.', W_RCPTS);
    return c;
}

static struct w_session *w_session(struct world *w, struct w_disk *d, uint16_t site,
                                   uint64_t epoch)
{
    for (uint32_t i = 0; i < d->session_count; i++)
        if (d->sessions[i].site == site && d->sessions[i].epoch == epoch)
            return &d->sessions[i];
    W_CHECK(w, d->session_count < 256, "too many sessions");
    d->sessions[d->session_count] = (struct w_session){.site = site, .epoch = epoch};
    return &d->sessions[d->session_count++];
}

static bool w_settled(const struct w_disk *d, struct mid id)
{
    return mid_epoch(id) < d->clear[mid_site(id)] || rset_has(&d->settled, id);
}

static enum copy_state w_state(struct w_disk *d, struct mid id)
{
    const struct w_copy *c = w_copy(d, id);

    if (w_settled(d, id))
        return COPY_SETTLED;
    return c != NULL ? c->state : COPY_NONE;
}

static struct copy_facts w_facts(struct world *w, struct w_node *n, struct mid id,
                                 const struct copy_op *op)
{
    struct w_session *s = w_session(w, n->disk, mid_site(id), mid_epoch(id));
    const struct w_copy *c = w_copy(n->disk, id);
    uint32_t slot = w_slot(w, n->applied);
    struct copy_facts f = {.state = w_state(n->disk, id),
                           .same_digest = true,
                           .sealed = w_sealed(w, n->applied, mid_site(id), mid_epoch(id)),
                           .from_origin = op->from == mid_site(id),
                           .own_origin = n->site == mid_site(id),
                           .witness = n->disk->filled,
                           .upto_covers = mid_counter(id) <= s->upto || s->resolved,
                           .own_dot = op->from == n->site,
                           .has_slot = slot != 0};

    if (slot != 0) {
        f.newest_epoch = slot;
        f.newest_site = w->log[slot - 1].site;
    }
    if (c != NULL && c->has_dot) {
        f.has_dot = true;
        f.dot_over = c->dot_over ||
                     (op->record.kind == COPY_DOT && w_released(w, n->applied, c->dot_epoch));
        f.dot_doubt = c->dot_doubt;
        f.dot_site = c->dot_site;
        f.dot_session = c->dot_session;
        f.dot_epoch = c->dot_epoch;
    }
    return f;
}

static void w_settle(struct world *w, struct w_node *n, struct mid id)
{
    struct w_copy *c = w_copy_get(w, n->disk, id);

    memcpy(c->trace, c->fates, W_RCPTS);
    c->state = COPY_SETTLED;
    c->has_dot = false;
    c->damaged = false;
    W_CHECK(w, rset_add_id(&n->disk->settled, id), "no memory");
}

static bool w_merge(char *into, struct str from)
{
    bool all = true;

    for (size_t i = 0; i < W_RCPTS; i++) {
        if (i < from.n && from.p[i] == 'd')
            into[i] = 'd';
        all = all && into[i] == 'd';
    }
    return all;
}

static struct w_body *w_body(struct w_node *n, uint16_t site, uint64_t number)
{
    for (uint32_t i = 0; i < n->body_count; i++)
        if (n->bodies[i].site == site && n->bodies[i].number == number)
            return &n->bodies[i];
    return NULL;
}

static void w_on_body(struct w_node *n, struct copy_op *op)
{
    struct w_body *b = w_body(n, op->from, op->record.body_number);

    if (b == NULL) {
        b = &n->bodies[n->body_count < 64 ? n->body_count++ : 0];
        *b = (struct w_body){op->from, op->record.body_number, 0};
    }
    if (op->record.offset == 0)
        b->done = 0;
    op->answer.code = b->done == op->record.offset ? COPY_OK : COPY_MISSING;
    if (op->answer.code == COPY_OK)
        b->done += op->record.body.n;
}

static void w_on_put(struct world *w, struct w_node *n, struct copy_op *op)
{
    const struct w_msg *m = w_msg(w, op->record.id);
    struct copy_facts f = w_facts(w, n, op->record.id, op);
    struct copy_verdict v = copies_on_put(&f, op->record.state);
    struct w_body *b = w_body(n, op->from, op->record.body_number);
    uint64_t bytes =
        op->record.body_number != 0 ? (b != NULL ? b->done : 0) : op->record.body.n;
    struct w_copy *c;

    W_CHECK(w, m != NULL, "a copy of a message that nobody sent");
    op->answer = v.answer;
    op->state = f.state;
    if (v.answer.code != COPY_OK)
        return;
    if (bytes != m->bytes) {
        W_CHECK(w, op->record.body_number != 0, "node %u: body of %s has %llu bytes", n->site,
                w_text(op->record.id), (unsigned long long)bytes);
        op->answer.code = COPY_MISSING;
        return;
    }
    c = w_copy_get(w, n->disk, op->record.id);
    c->state = v.state;
    c->bytes = m->bytes;
    c->damaged = false;
    w_merge(c->fates, op->record.envelope);
    op->state = v.state;
}

/* DOT, MARK, CLOSED. */
static void w_on_mark(struct world *w, struct w_node *n, struct copy_op *op)
{
    struct copy_facts f = w_facts(w, n, op->record.id, op);
    struct copy_verdict v = op->record.kind == COPY_DOT    ? copies_on_dot(&f, &op->record)
                            : op->record.kind == COPY_MARK ? copies_on_mark(&f, &op->record)
                                                           : copies_on_closed(&f, &op->record);
    struct w_copy *c;

    op->answer = v.answer;
    if (v.drop_dot)
        w_copy_get(w, n->disk, op->record.id)->has_dot = false;
    if (!v.store_dot)
        return;
    c = w_copy_get(w, n->disk, op->record.id);
    c->has_dot = true;
    c->dot_over = v.dot_over;
    c->dot_doubt = v.dot_doubt;
    if (v.keep_holder)
        return;
    c->dot_site = op->record.site;
    c->dot_session = op->record.epoch;
    c->dot_epoch = op->record.slot_epoch;
}

static void w_on_outcome(struct world *w, struct w_node *n, struct copy_op *op)
{
    struct copy_facts f = w_facts(w, n, op->record.id, op);
    char fates[W_RCPTS];
    struct w_copy *c = w_copy(n->disk, op->record.id);
    struct copy_verdict v;
    bool all;

    memset(fates, '.', W_RCPTS);
    if (c != NULL)
        memcpy(fates, c->fates, W_RCPTS);
    all = w_merge(fates, op->record.envelope);
    v = copies_on_outcome(&f, all);
    op->answer = v.answer;
    op->state = v.state;
    if (v.answer.code != COPY_OK || f.state == COPY_SETTLED)
        return;
    c = w_copy_get(w, n->disk, op->record.id);
    memcpy(c->fates, fates, W_RCPTS);
    if (v.state == COPY_SETTLED)
        w_settle(w, n, op->record.id);
    else
        c->state = v.state;
    if (v.drop_dot)
        c->has_dot = false;
}

static void w_on_have(struct world *w, struct w_node *n, struct copy_op *op)
{
    const struct copy_record *rec = &op->record;

    op->answer.code = COPY_OK;
    for (uint32_t i = 0; rec->state == COPY_SETTLED && i < rec->range_count; i++)
        for (uint64_t c = rec->ranges[i].from; c <= rec->ranges[i].to; c++) {
            struct mid id = mid_make(rec->site, rec->epoch, c);

            if (w_state(n->disk, id) == COPY_NONE)
                W_CHECK(w, rset_add_id(&n->disk->settled, id), "no memory");
        }
}

static void w_commit_session(struct world *w, struct w_node *n, uint16_t site, uint64_t epoch,
                             uint64_t upto)
{
    (void)w;
    for (uint32_t i = 0; i < n->disk->copy_count; i++) {
        struct w_copy *c = &n->disk->copies[i];

        if (mid_site(c->id) == site && mid_epoch(c->id) == epoch &&
            mid_counter(c->id) <= upto && c->state == COPY_UNDECIDED)
            c->state = COPY_COMMITTED;
    }
}

static void w_on_session(struct world *w, struct w_node *n, struct copy_op *op)
{
    const struct copy_record *rec = &op->record;
    struct w_session *s = w_session(w, n->disk, rec->site, rec->epoch);
    struct copy_facts f = {.state = COPY_UNDECIDED,
                           .sealed = w_sealed(w, n->applied, rec->site, rec->epoch),
                           .own_origin = op->from == n->site,
                           .witness = n->disk->filled};

    op->answer = copies_on_upto(&f).answer;
    if (rec->kind == COPY_RESOLVE) {
        op->answer = copies_on_resolve(&f).answer;
    } else if (rec->kind == COPY_RESOLVED) {
        op->answer = copies_on_resolved(&f).answer;
        if (op->answer.code != COPY_OK)
            return;
        s->resolved = true;
        w_commit_session(w, n, rec->site, rec->epoch, UINT64_MAX);
    } else if (op->answer.code == COPY_OK) {
        if (s->upto < rec->counter)
            s->upto = rec->counter;
        w_commit_session(w, n, rec->site, rec->epoch, rec->counter);
    }
}

static void w_on_clear(struct world *w, struct w_node *n, struct copy_op *op)
{
    uint16_t site = op->record.site;
    uint64_t epoch = op->record.epoch;

    W_CHECK(w, op->from == n->site, "CLEAR of a peer reached the store");
    op->answer.code = COPY_OK;
    for (uint32_t i = 0; i < n->disk->copy_count; i++) {
        struct w_copy *c = &n->disk->copies[i];

        if (mid_site(c->id) == site && mid_epoch(c->id) < epoch)
            W_CHECK(w, c->state != COPY_UNDECIDED && c->state != COPY_COMMITTED,
                    "node %u: %s is live and its session is cleared", n->site, w_text(c->id));
    }
    if (n->disk->clear[site] < epoch)
        n->disk->clear[site] = epoch;
    rset_drop_below(&n->disk->settled, site, epoch);
}

static void w_on_decision(struct world *w, struct w_node *n, struct copy_op *op)
{
    struct copy_facts f = w_facts(w, n, op->record.id, op);
    struct copy_verdict v =
        op->record.kind == COPY_ABORT ? copies_on_abort(&f) : copies_on_commit(&f);

    op->answer = v.answer;
    op->state = f.state;
    if (v.answer.code != COPY_OK || v.state == f.state)
        return;
    w_copy_get(w, n->disk, op->record.id)->state = v.state;
    op->state = v.state;
}

static void w_on_ended(struct world *w, struct w_node *n, struct copy_op *op)
{
    struct w_copy *c = w_copy(n->disk, op->record.id);

    if (c != NULL && c->state != COPY_SETTLED) {
        w_settle(w, n, op->record.id);
        c->trace[0] = 0;
    }
    op->state = w_state(n->disk, op->record.id);
}

static void w_apply(struct world *w, struct w_node *n, struct copy_op *op)
{
    op->answer = (struct copy_answer){.code = n->full ? COPY_NO_ROOM : COPY_OK};
    op->state = COPY_NONE;
    if (n->full)
        return;
    switch (op->record.kind) {
    case COPY_BODY:
        w_on_body(n, op);
        break;
    case COPY_PUT:
        w_on_put(w, n, op);
        break;
    case COPY_ABORT:
    case COPY_COMMIT:
        w_on_decision(w, n, op);
        break;
    case COPY_DOT:
    case COPY_MARK:
    case COPY_CLOSED:
        w_on_mark(w, n, op);
        break;
    case COPY_OUTCOME:
        w_on_outcome(w, n, op);
        break;
    case COPY_HAVE:
        w_on_have(w, n, op);
        break;
    case COPY_UPTO:
    case COPY_RESOLVE:
    case COPY_RESOLVED:
        w_on_session(w, n, op);
        break;
    case COPY_CLEAR:
        w_on_clear(w, n, op);
        break;
    case COPY_FILLED:
        if (op->from == n->site)
            n->disk->filled = true;
        break;
    case COPY_ECHO:
        break;
    case COPY_ENDED:
        if (op->from == n->site)
            w_on_ended(w, n, op);
        break;
    case COPY_HAVE_END:
    case COPY_WANT:
        W_CHECK(w, false, "a record that is none of the store's");
    }
}

/* The own PUT of a client's message; the own outcome. */
static void w_apply_own(struct world *w, struct w_node *n, struct w_op *o)
{
    struct copy_op op = {.from = n->site};

    o->err = n->full ? E_FULL : OK;
    if (n->full)
        return;
    if (o->kind == W_OP_PUT) {
        struct copy_facts f = w_facts(w, n, o->id, &op);
        struct copy_verdict v = copies_on_put(&f, COPY_UNDECIDED);

        o->err = n->store_fails ? E_FULL : v.answer.code == COPY_OK ? OK : E_NOTOWNER;
        if (o->err == OK) {
            struct w_copy *c = w_copy_get(w, n->disk, o->id);

            c->state = v.state;
            c->bytes = o->bytes;
        }
    } else if (w_state(n->disk, o->id) == COPY_COMMITTED) {
        struct w_copy *c = w_copy(n->disk, o->id);

        o->is_final = w_merge(c->fates, (struct str){o->fates, W_RCPTS});
        memcpy(o->fates, c->fates, W_RCPTS);
        if (o->is_final)
            w_settle(w, n, o->id);
    } else {
        o->err = E_NOTFOUND; /* settled by a peer's word meanwhile */
    }
}
