/* Outcomes; undecided copies of sessions that are over. */
#include "base/fault.h"
#include "replication/replica_internal.h"

static const uint64_t ASK_MS = 1000;    /* between two questions about a session */
static const uint64_t ANSWER_MS = 3000; /* for the answer to one */

/* --- settled here, live there --- */

void settle_owe(struct replica *r, struct peer *p, struct rset_span span, bool now)
{
    struct rset *s = now ? &p->stale : &p->stale_late;

    if (!p->up)
        return;
    if (!now && rset_is_empty(s))
        p->stale_ms = r->now + LIMIT_RELAY_MS;
    if (!rset_add(s, span))
        rset_clear(s); /* knowledge only: the next summary brings it again */
}

void settle_hurry(struct replica *r, struct peer *p)
{
    p->stale_ms = r->now;
}

static void move_late(struct replica *r, struct peer *p)
{
    struct mid at = {{0}};
    struct rset_span span;

    if (rset_is_empty(&p->stale_late) || r->now < p->stale_ms)
        return;
    for (; rset_next(&p->stale_late, at, &span); at = rset_after(span))
        if (!rset_add(&p->stale, span))
            break;
    rset_clear(&p->stale_late);
}

/* Its last envelope. Who has none (it learnt of the end alone, or the trace has aged out) says
 * so: a live copy is dropped without its fates only when no member can tell them. */
static bool push_outcome(struct replica *r, struct peer *p, struct mid id)
{
    struct str bytes = STR_NONE;
    enum err e = r->ops.read_trace(r->ops.ctx, id, &bytes);
    struct blob *b = e == OK && bytes.n > 0 ? blob_new(bytes.n) : NULL;
    struct stream_item i = {.record = {.kind = COPY_OUTCOME, .id = id}, .keep = {b, NULL}};
    bool ok;

    if (e == E_NOTFOUND && replica_is_settled(r, id))
        return link_push_mark(r, p, &(struct copy_record){.kind = COPY_ENDED, .id = id});
    if (b == NULL)
        return false;
    memcpy(b->b, bytes.p, b->n);
    i.record.envelope = blob_str(b);
    ok = link_push(r, p, &i, false);
    blob_release(&b);
    return ok;
}

/* It may know the fates, or come to know them: then it tells them. */
static bool may_tell(const struct peer *p, const struct entry *e)
{
    if (p->incarnation == 0 || bit_get(e->ended, p))
        return false;
    return !p->up || !p->got_have || e->has[p->index] == COPY_SETTLED;
}

void settle_judge(struct replica *r, uint32_t h)
{
    const struct entry *e = entry_at(r, h);

    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (may_tell(&r->peers[i], e))
            return;
    if (e->ended != 0)
        (void)rset_add_id(&r->ending, e->n.key); /* full: judged again by the next word */
}

/* A record that was unreadable at the start: nobody says what else is known of it, so all have
 * to say that they cannot tell. */
static void judge_want(struct replica *r, const struct want *w)
{
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (r->peers[i].incarnation != 0 && !bit_get(w->ended, &r->peers[i]))
            return;
    if (w->ended != 0)
        (void)rset_add_id(&r->ending, w->n.key);
}

void settle_forget_peer(struct replica *r, const struct peer *p)
{
    for (uint32_t h = otree_ceil(&r->wants, (struct mid){{0}}); h != 0;
         h = otree_after(&r->wants, h)) {
        struct want *w = otree_at(&r->wants, h);

        bit_set(&w->ended, p, false);
        judge_want(r, w);
    }
}

void settle_ended(struct replica *r, struct peer *p, struct mid id)
{
    uint32_t h = entry_find(r, id), want = otree_find(&r->wants, id);

    if (h != 0) {
        bit_set(&entry_at(r, h)->ended, p, true);
        entry_has(r, h, p, COPY_SETTLED);
        settle_judge(r, h);
    } else if (want != 0) {
        struct want *w = otree_at(&r->wants, want);

        bit_set(&w->ended, p, true);
        judge_want(r, w);
    }
}

static struct peer *who_ended(struct replica *r, struct mid id)
{
    uint32_t h = entry_find(r, id), want = otree_find(&r->wants, id);
    uint8_t bits = h != 0      ? entry_at(r, h)->ended
                   : want != 0 ? ((const struct want *)otree_at(&r->wants, want))->ended
                               : 0;

    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        if (bit_get(bits, &r->peers[i]))
            return &r->peers[i];
    return NULL;
}

/* What is over ends by the own word, a few in each turn. */
static void end_some(struct replica *r)
{
    struct mid at = {{0}};
    struct rset_span span;

    for (uint32_t n = 0; n < LIMIT_REPLICA_TURN && op_room(r, 1); n++) {
        struct peer *p;

        if (!rset_next(&r->ending, at, &span))
            return;
        at = mid_make(span.site, span.epoch, span.from);
        (void)rset_remove_id(&r->ending, at);
        p = who_ended(r, at);
        if (p != NULL) /* else a new link has begun: it says it again */
            op_own(r, &(struct copy_record){.kind = COPY_ENDED, .id = at}, NULL, p->index);
    }
}

uint64_t settle_ending_deadline(const struct replica *r)
{
    return rset_is_empty(&r->ending) || !op_room(r, 1) ? NEVER : r->now;
}

void settle_ended_stored(struct replica *r, const struct copy_op *op)
{
    struct mid id = op->record.id;

    if (op->answer.code != COPY_OK || op->state != COPY_SETTLED)
        return;
    entry_state(r, id, COPY_SETTLED, &r->peers[op->cookie[0]]);
    feed_repaired(r, id); /* what could not be read is gone, too */
}

void settle_step(struct replica *r, struct peer *p)
{
    struct mid at = {{0}};
    struct rset_span span;

    move_late(r, p);
    for (uint32_t n = 0; n < LIMIT_REPLICA_TURN; n++) {
        if (p->overflow || stream_out_bytes(p->out[FRAME_MARKS]) >= LIMIT_REPLICA_AHEAD_BYTES ||
            !rset_next(&p->stale, at, &span))
            return;
        at = mid_make(span.site, span.epoch, span.from);
        (void)rset_remove_id(&p->stale, at);
        (void)push_outcome(r, p, at);
    }
}

uint64_t settle_deadline(const struct replica *r, const struct peer *p)
{
    if (!p->up)
        return NEVER;
    if (!rset_is_empty(&p->stale) &&
        stream_out_bytes(p->out[FRAME_MARKS]) < LIMIT_REPLICA_AHEAD_BYTES)
        return r->now;
    return rset_is_empty(&p->stale_late) ? NEVER : p->stale_ms;
}

void replica_outcome(struct replica *r, struct mid id, struct blob *envelope, bool is_final,
                     uint64_t now)
{
    uint32_t h = entry_find(r, id);
    struct stream_item i = {
        .record = {.kind = COPY_OUTCOME, .id = id, .envelope = blob_str(envelope)},
        .keep = {envelope, NULL}};

    if (now > r->now)
        r->now = now;
    if (is_final)
        dot_done(r, id);
    else
        dot_unfinished(r, id);
    if (!replica_is_solo(r)) /* full: the slots of this node stay where they are */
        (void)rset_add_id(&r->untold, id);
    if (is_final)
        entry_state(r, id, COPY_SETTLED, NULL);
    for (uint32_t k = 0; k < REPLICA_PEERS; k++) {
        struct peer *p = &r->peers[k];
        bool is_out = link_push(r, p, &i, false);

        if (is_final || h == 0)
            continue;
        bit_set(&entry_at(r, h)->news, p, true);
        if (is_out)
            bit_set(&entry_at(r, h)->flying, p, true);
    }
    if (!is_final && h != 0)
        entry_later(r, h);
    replica_turn(r, now);
}

/* --- outcomes that nobody else has --- */

/* Before a slot is given away: the next holder asks one peer, and must not find an older word.
 */
bool replica_outcomes_told(const struct replica *r)
{
    return rset_is_empty(&r->untold);
}

void settle_told(struct replica *r, struct mid id)
{
    (void)rset_remove_id(&r->untold, id);
}

/* What was on its way when the link went down; news of live mail comes by itself. */
void settle_link_up(struct replica *r, struct peer *p)
{
    struct mid at = {{0}};
    struct rset_span span;

    for (; rset_next(&r->untold, at, &span); at = rset_after(span))
        settle_owe(r, p, span, true);
}

/* --- undecided copies of sessions that are over --- */

/* Our own: no abort of ours was ever heard of that is not durable here, so what is undecided
 * here was aborted by nobody. */
static void commit_own(struct replica *r, struct session *s)
{
    struct rset_span span = {mid_site(s->n.key), mid_epoch(s->n.key), 0, UINT64_MAX};
    uint32_t h;

    if (r->now < s->ask_ms)
        return;
    s->ask_ms = r->now + ASK_MS;
    while ((h = entry_within(r, span)) != 0) {
        const struct entry *e = entry_at(r, h);

        if (e->state == COPY_UNDECIDED && op_room(r, 1))
            op_own(r, &(struct copy_record){.kind = COPY_COMMIT, .id = e->n.key}, NULL, 0);
        if (mid_counter(e->n.key) == UINT64_MAX)
            return;
        span.from = mid_counter(e->n.key) + 1;
    }
}

void settle_commit_own(struct replica *r)
{
    uint32_t h = otree_ceil(&r->sessions, mid_make(r->o.site, 0, 0));

    for (; h != 0; h = otree_after(&r->sessions, h)) {
        struct session *s = otree_at(&r->sessions, h);

        if (mid_site(s->n.key) != r->o.site || mid_epoch(s->n.key) >= r->o.session)
            return;
        if (s->undecided > 0)
            commit_own(r, s);
    }
}

/* There is nobody to ask: mail that was answered 250 must not wait for ever (INV-2). */
static void resolve_alone(struct replica *r, struct session *s)
{
    if (r->now < s->ask_ms || !r->filled || !op_room(r, 1))
        return;
    s->ask_ms = r->now + ASK_MS;
    op_own(r,
           &(struct copy_record){
               .kind = COPY_RESOLVED, .site = mid_site(s->n.key), .epoch = mid_epoch(s->n.key)},
           NULL, 0);
}

/* Whoever sealed it too knows every abort that anybody may have been told of. */
static void ask_session(struct replica *r, struct session *s)
{
    struct copy_record rec = {
        .kind = COPY_RESOLVE, .site = mid_site(s->n.key), .epoch = mid_epoch(s->n.key)};

    if (r->now < s->ask_ms || !r->filled)
        return;
    s->asked = false; /* it does not answer: the other one */
    for (uint32_t i = 0; i < REPLICA_PEERS && !s->asked; i++) {
        s->asked_peer = (uint8_t)(1 - s->asked_peer); /* the other one than last time */
        s->asked = link_push_mark(r, &r->peers[s->asked_peer], &rec);
    }
    s->ask_ms = r->now + ANSWER_MS;
}

void settle_tick(struct replica *r)
{
    end_some(r);
    if (r->undecided == 0 || r->now < r->seal_ms)
        return;
    r->seal_ms = r->now + LIMIT_DOT_LAG_MS;
    for (uint32_t h = otree_ceil(&r->sessions, (struct mid){{0}}); h != 0;
         h = otree_after(&r->sessions, h)) {
        struct session *s = otree_at(&r->sessions, h);
        uint16_t site = mid_site(s->n.key);
        bool is_past = site == r->o.site && mid_epoch(s->n.key) < r->o.session;

        if (s->undecided == 0)
            continue;
        if (!replica_is_sealed(r, site, mid_epoch(s->n.key)) && !is_past)
            continue;
        if (site == r->o.site)
            commit_own(r, s);
        else if (replica_is_solo(r) || FAULT(RESOLVE_UNASKED))
            resolve_alone(r, s);
        else
            ask_session(r, s);
    }
}

void settle_link_down(struct replica *r, struct peer *p)
{
    for (uint32_t h = otree_ceil(&r->sessions, (struct mid){{0}}); h != 0;
         h = otree_after(&r->sessions, h)) {
        struct session *s = otree_at(&r->sessions, h);

        if (s->asked_peer == p->index)
            s->asked = false;
    }
}

static void push_aborted(struct replica *r, struct peer *p, const struct copy_record *about,
                         uint32_t count)
{
    struct blob *keep;
    struct stream_item i = {.record = {.kind = COPY_HAVE,
                                       .state = COPY_ABORTED,
                                       .site = about->site,
                                       .epoch = about->epoch,
                                       .range_count = count}};

    if (count == 0)
        return;
    keep = blob_new(count * sizeof r->ranges[0]);
    if (keep == NULL) {
        p->overflow = true;
        return;
    }
    memcpy(keep->b, r->ranges, count * sizeof r->ranges[0]);
    i.record.ranges = (const struct copy_range *)(const void *)keep->b;
    i.keep[0] = keep;
    (void)link_push(r, p, &i, false);
    blob_release(&keep);
}

/* All aborts of the session that are known here, then the word that these were all. */
void settle_answer_resolve(struct replica *r, struct peer *p, const struct copy_record *about)
{
    struct rset_span span = {about->site, about->epoch, 0, UINT64_MAX};
    struct copy_record end = {
        .kind = COPY_RESOLVED, .site = about->site, .epoch = about->epoch};
    uint32_t h, count = 0;

    while ((h = entry_within(r, span)) != 0) {
        const struct entry *e = entry_at(r, h);
        uint64_t c = mid_counter(e->n.key);

        if (e->state == COPY_ABORTED) {
            r->ranges[count++] = (struct copy_range){c, c};
            if (count == LIMIT_FRAME_RANGES) {
                push_aborted(r, p, about, count);
                count = 0;
            }
        }
        if (c == UINT64_MAX)
            break;
        span.from = c + 1;
    }
    push_aborted(r, p, about, count);
    (void)link_push_mark(r, p, &end);
}

void settle_resolve_acked(struct replica *r, struct peer *p, const struct copy_record *rec,
                          const struct copy_answer *a)
{
    struct session *s = session_find(r, rec->site, rec->epoch);

    if (s == NULL || s->asked_peer != p->index || a->code == COPY_OK)
        return;
    s->asked = false;
    s->ask_ms = r->now + (a->code == COPY_LAG ? (uint64_t)LIMIT_DOT_LAG_MS : ASK_MS);
}

void settle_resolved(struct replica *r, const struct copy_op *op, struct peer *by)
{
    const struct copy_record *rec = &op->record;
    struct session *s = session_find(r, rec->site, rec->epoch);

    if (s == NULL)
        return;
    s->asked = false;
    s->ask_ms = r->now + ASK_MS;
    if (op->answer.code == COPY_OK)
        entry_commit_range(r, rec->site, rec->epoch, 0, UINT64_MAX, by);
}
