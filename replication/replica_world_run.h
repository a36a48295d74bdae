/*
 * replica_world_run: the shells of the three nodes of replica_world.h: what the machine asks is
 * done, what happens is reported; clients and holders; crashes and wipes; what is checked.
 * Included by test programs only.
 */
#pragma once

#include "replication/replica_world.h"

struct w_shell {
    struct world *w;
    struct w_node *n;
};

static struct w_shell w_shells[W_NODES];

static void w_frame(void *ctx, uint16_t site, bool is_bulk, struct str bytes)
{
    struct w_shell *s = ctx;
    struct world *w = s->w;
    uint64_t copies = prng_below(&w->rng, 1000) < w->dup ? 2 : 1;

    if (prng_below(&w->rng, 1000) < w->loss || w_node(w, site)->deaf[s->n->site])
        return;
    for (uint64_t i = 0; i < copies; i++) {
        struct blob *b = blob_new(bytes.n);
        uint64_t delay = 2 + prng_below(&w->rng, prng_below(&w->rng, 20) == 0 ? 400 : 20);
        uint64_t *last = &w->last_ms[s->n->site][site][is_bulk];
        struct w_event *e;

        if (prng_below(&w->rng, 1000) >= w->reorder) {
            if (w->now + delay < *last)
                delay = *last - w->now;
            *last = w->now + delay;
        }
        e = w_push(w, delay, W_FRAME, w_node(w, site));

        memcpy(b->b, bytes.p, bytes.n);
        e->from = s->n->site;
        e->incarnation = s->n->incarnation;
        e->bytes = b;
    }
}

static struct w_op *w_op_push(struct world *w, struct w_node *n, struct w_op op)
{
    struct w_op *o = &n->ops[(n->op_first + n->op_count) % W_OPS];

    W_CHECK(w, n->op_count < W_OPS, "node %u: too many ops", n->site);
    *o = op;
    n->op_count++;
    if (!n->committing) {
        n->committing = true;
        w_push(w, (n->slow ? 2000 : 1) + prng_below(&w->rng, 8), W_COMMIT, n);
    }
    return o;
}

static void w_store(void *ctx, struct copy_op *op)
{
    struct w_shell *s = ctx;

    w_op_push(s->w, s->n, (struct w_op){.kind = W_OP_COPY, .op = op, .id = op->record.id});
}

static enum err w_read_envelope(void *ctx, struct mid id, struct str *envelope,
                                uint64_t *body_bytes)
{
    struct w_shell *s = ctx;
    struct w_copy *c = w_copy(s->n->disk, id);

    if (c == NULL || w_settled(s->n->disk, id) ||
        (c->state != COPY_UNDECIDED && c->state != COPY_COMMITTED))
        return E_NOTFOUND;
    if (c->damaged)
        return E_CORRUPT;
    *envelope = (struct str){c->fates, W_RCPTS};
    *body_bytes = c->bytes;
    return OK;
}

static enum err w_read_body(void *ctx, struct mid id, uint64_t offset, void *buf, size_t size,
                            size_t *got)
{
    struct w_shell *s = ctx;
    struct w_copy *c = w_copy(s->n->disk, id);

    if (c == NULL || w_settled(s->n->disk, id))
        return E_NOTFOUND;
    *got = offset + size <= c->bytes ? size : (size_t)(c->bytes - offset);
    memset(buf, 'x', *got);
    return OK;
}

static enum err w_read_trace(void *ctx, struct mid id, struct str *envelope)
{
    struct w_shell *s = ctx;
    struct w_copy *c = w_copy(s->n->disk, id);

    if (c == NULL || c->state != COPY_SETTLED || c->trace[0] == 0)
        return E_NOTFOUND;
    *envelope = (struct str){c->trace, W_RCPTS};
    return OK;
}

static enum err w_read_mark(void *ctx, struct mid id, struct copy_mark *out)
{
    struct w_shell *s = ctx;
    const struct w_copy *c = w_copy(s->n->disk, id);

    if (c == NULL || !c->has_dot)
        return E_NOTFOUND;
    *out = (struct copy_mark){.slot_epoch = c->dot_epoch,
                              .session = c->dot_session,
                              .site = c->dot_site,
                              .over = c->dot_over,
                              .doubt = c->dot_doubt};
    return OK;
}

static bool w_ops_sealed(void *ctx, uint16_t site, uint64_t epoch)
{
    struct w_shell *s = ctx;

    return w_sealed(s->w, s->n->applied, site, epoch);
}

static bool w_ops_released(void *ctx, struct str domain, uint64_t slot_epoch)
{
    struct w_shell *s = ctx;

    (void)domain;
    return w_released(s->w, s->n->applied, slot_epoch);
}

/* --- what is checked --- */

static uint64_t w_incarnation(const struct world *w, uint32_t applied, uint16_t site)
{
    for (uint32_t i = applied; i-- > 0;)
        if (w->log[i].kind == W_MEMBER && w->log[i].site == site)
            return w->log[i].incarnation;
    return 0;
}

/* As far as node n can know: it counts a disk until it hears that it is gone. */
static unsigned w_durable(struct world *w, const struct w_node *n, struct mid id)
{
    unsigned count = 0;

    for (uint16_t site = 1; site <= W_NODES; site++) {
        const struct w_node *at = w_node(w, site);
        enum copy_state s = w_state(at->disk, id);

        count += s == COPY_UNDECIDED || s == COPY_COMMITTED || s == COPY_SETTLED ||
                 w_incarnation(w, n->applied, site) != at->incarnation;
    }
    return count;
}

static void w_answered(struct world *w, struct w_node *n, struct mid id, enum w_answer a)
{
    struct w_msg *m = w_msg(w, id);

    W_CHECK(w, m != NULL && m->origin == n->site, "an answer for %s", w_text(id));
    W_CHECK(w, m->answer == W_WAITS, "%s answered twice", w_text(id));
    m->answer = a;
    W_SAY(w, "node %u answers %s: %d", n->site, w_text(id), (int)a);
    if (a == W_250) {
        w->accepted++;
        W_CHECK(w, w_durable(w, n, id) >= (w->solo ? 1 : 2), "250 for %s with %u copies",
                w_text(id), w_durable(w, n, id));
    } else if (a == W_451) {
        w->refused++;
        for (uint32_t k = 0; k < W_RCPTS; k++)
            W_CHECK(w, m->taken[k] == 0, "451 for %s that was delivered", w_text(id));
    } else {
        w->closed++;
    }
}

/* INV-3, INV-4: what must not be when a dot goes out. */
static void w_dot_checks(struct world *w, struct w_node *n, struct w_msg *m,
                         const struct w_dot *d, bool flagged)
{
    for (uint32_t k = 0; k < W_RCPTS; k++) {
        unsigned known = 0;

        for (uint16_t site = 1; site <= W_NODES; site++) {
            const struct w_copy *c = w_copy(w_node(w, site)->disk, m->id);

            known += c != NULL && c->fates[k] == 'd';
        }
        W_CHECK(w, d->deliver[k] != 'd' || known < 2,
                "node %u sends %s again though two nodes know its fate", n->site,
                w_text(m->id));
        W_CHECK(w, d->deliver[k] != 'd' || m->taken[k] == 0 || flagged,
                "node %u sends %s again without a flag", n->site, w_text(m->id));
    }
    W_CHECK(w, m->answer != W_451, "node %u sends %s, which was refused", n->site,
            w_text(m->id));
    for (uint32_t i = 0; i < m->flights; i++)
        W_CHECK(w, m->flight[i].until_ms <= w->now || flagged, "nodes %u and %u both send %s",
                m->flight[i].site, n->site, w_text(m->id));
}

/* --- delivery --- */

static struct w_dot *w_dot_of(struct w_node *n, struct mid id)
{
    for (int i = 0; i < 64; i++)
        if (mid_cmp(n->dots[i].id, id) == 0)
            return &n->dots[i];
    return NULL;
}

static bool w_is_holder(const struct world *w, const struct w_node *n)
{
    uint32_t slot = w_slot(w, n->applied);

    /* the opening of a session frees the slots of the one before */
    return slot > n->session && w->log[slot - 1].site == n->site && n->disk->filled &&
           !n->leaving;
}

static void w_dots_again(const struct world *w, struct w_node *n)
{
    for (int i = 0; i < 64; i++)
        if (n->dots[i].again_ms > 0 && n->dots[i].again_ms <= w->now)
            n->dots[i] = (struct w_dot){.open = false};
}

static void w_deliver(struct world *w, struct w_node *n)
{
    static const struct mid none;

    w_dots_again(w, n);
    if (!w_is_holder(w, n))
        return;
    for (uint32_t i = 0; i < n->disk->copy_count; i++) {
        const struct w_copy *c = &n->disk->copies[i];
        struct w_dot *d;

        if (c->state != COPY_COMMITTED || w_dot_of(n, c->id) != NULL)
            continue;
        d = w_dot_of(n, none);
        if (d == NULL)
            return;
        *d = (struct w_dot){.id = c->id};
        replica_dot(n->r, c->id, STR("d.example"), w_slot(w, n->applied), 7, w->now);
    }
}

static void w_send_dot(struct world *w, struct w_node *n, const struct replica_news *news)
{
    struct w_dot *d = w_dot_of(n, news->id);
    const struct w_copy *c = w_copy(n->disk, news->id);
    struct w_msg *m = w_msg(w, news->id);
    struct w_event *e;
    uint64_t takes = 20 + prng_below(&w->rng, prng_below(&w->rng, 10) == 0 ? W_DOT_MAX : 300);

    W_CHECK(w, d != NULL && !d->open, "consent that nobody asked for");
    W_CHECK(w, c != NULL && c->state == COPY_COMMITTED, "node %u: consent for %s, state %d",
            n->site, w_text(news->id), c != NULL ? (int)c->state : -1);
    w->consents++;
    d->open = true;
    if (prng_below(&w->rng, 1000) < w->unsent) {
        e = w_push(w, takes, W_RESULT, n);
        e->id = news->id;
        e->slot_epoch = news->slot_epoch;
        e->how = 4;
        return;
    }
    for (uint32_t k = 0; k < W_RCPTS; k++)
        d->deliver[k] = c->fates[k] == '.' && prng_below(&w->rng, 4) > 0 ? 'd' : '.';
    m->flagged = m->flagged || news->possible_duplicate;
    w_dot_checks(w, n, m, d, m->flagged);
    W_SAY(w, "node %u sends %s (%.2s)%s", n->site, w_text(news->id), d->deliver,
          news->possible_duplicate ? " flagged" : "");
    e = w_push(w, takes, W_RESULT, n);
    e->id = news->id;
    e->slot_epoch = news->slot_epoch;
    e->how = prng_below(&w->rng, 1000) < w->fail_4xx ? 4 : 2;
    W_CHECK(w, m->flights < 8, "%s: too many flights", w_text(m->id));
    for (uint32_t i = m->flights; i-- > 0;)
        if (m->flight[i].until_ms <= w->now)
            m->flight[i] = m->flight[--m->flights];
    m->flight[m->flights].site = n->site;
    m->flight[m->flights++].until_ms = w->now + takes;
    for (uint32_t k = 0; e->how == 2 && k < W_RCPTS; k++)
        if (d->deliver[k] == 'd') {
            w->duplicates += m->taken[k] > 0;
            w->delivered++;
            m->taken[k]++;
        }
}

static void w_result(struct world *w, struct w_node *n, const struct w_event *e)
{
    struct w_dot *d = w_dot_of(n, e->id);
    struct w_op op = {.kind = W_OP_UPDATE, .id = e->id};

    if (d == NULL)
        return;
    if (e->how == 5) {
        replica_closed(n->r, e->id, e->slot_epoch, w->now);
        return;
    }
    if (e->how == 4) {
        *d = (struct w_dot){.open = false};
        replica_closed(n->r, e->id, e->slot_epoch, w->now);
        return;
    }
    memcpy(op.fates, d->deliver, W_RCPTS);
    w_op_push(w, n, op);
}

static void w_no_consent(struct world *w, struct w_node *n, const struct replica_news *news)
{
    struct w_dot *d = w_dot_of(n, news->id);

    if (d == NULL || d->open)
        return;
    d->again_ms = w->now + (news->retry_ms > 0 ? news->retry_ms : 300);
    if (prng_below(&w->rng, 2) == 0) { /* some shells take back what was refused */
        struct w_event *e = w_push(w, 0, W_RESULT, n);

        e->id = news->id;
        e->slot_epoch = news->slot_epoch;
        e->how = 5;
    }
}

static void w_tell(void *ctx, const struct replica_news *news)
{
    struct w_shell *s = ctx;
    struct world *w = s->w;
    struct w_node *n = s->n;

    switch (news->kind) {
    case REPLICA_ACCEPTED:
        w_answered(w, n, news->id, W_250);
        break;
    case REPLICA_REFUSED:
        w_answered(w, n, news->id, W_451);
        break;
    case REPLICA_CLOSE:
        w_answered(w, n, news->id, W_CLOSED);
        break;
    case REPLICA_CONSENT:
        w_send_dot(w, n, news);
        break;
    case REPLICA_NO_CONSENT:
        W_SAY(w, "node %u: no consent for %s: %s", n->site, w_text(news->id),
              copy_code_text(news->why));
        w_no_consent(w, n, news);
        break;
    case REPLICA_GATE:
        n->open = news->open;
        break;
    case REPLICA_STOP:
        n->stopped = true;
        W_SAY(w, "node %u stops: %s", n->site, news->text);
        break;
    case REPLICA_ALARM:
        W_CHECK(w, news->why == COPY_DAMAGED, "node %u: alarm for %s: %s", n->site,
                w_text(news->id), copy_code_text(news->why));
        break;
    case REPLICA_BAD_FRAME:
        W_CHECK(w, n->may_hear_bad, "node %u: bad frame: %s", n->site, news->text);
        n->bad_frames++;
        n->bad_text = news->text;
        break;
    case REPLICA_LINK:
        W_SAY(w, "node %u: link to %u %s", n->site, news->site, news->open ? "up" : "down");
        break;
    case REPLICA_DELIVERABLE:
        n->deliverable++;
        break;
    case REPLICA_CHANGED:
    case REPLICA_GONE:
    case REPLICA_FILLED:
    case REPLICA_REACH:
        break;
    case REPLICA_FACTS:
        n->facts++;
        n->facts_site = news->site;
        n->facts_first = news->facts.p[0];
        n->facts_bytes = news->facts.n;
        break;
    }
}

/* --- life of a node --- */

static void w_members(struct world *w, struct w_node *n)
{
    for (uint16_t site = 1; site <= W_NODES; site++)
        if (site != n->site)
            replica_member(n->r, site, w_incarnation(w, n->applied, site), w->now);
}

static void w_load(struct world *w, struct w_node *n)
{
    struct w_disk *d = n->disk;
    struct mid at = {{0}};
    struct rset_span span;

    for (uint32_t i = 0; i < d->copy_count; i++) {
        const struct w_copy *c = &d->copies[i];

        if (c->state == COPY_NONE || w_settled(d, c->id))
            continue;
        W_CHECK(w,
                (c->unreadable ? replica_load_damaged(n->r, c->id)
                               : replica_load_copy(n->r, c->id, c->state)) == OK,
                "no memory");
        if (memchr(c->fates, 'd', W_RCPTS) != NULL)
            replica_load_news(n->r, c->id);
    }
    for (; rset_next(&d->settled, at, &span); at = rset_after(span))
        W_CHECK(w, replica_load_settled(n->r, span.site, span.epoch, span.from, span.to) == OK,
                "no memory");
    for (uint16_t site = 1; site <= W_NODES; site++)
        if (d->clear[site] > 0)
            replica_load_clear(n->r, site, d->clear[site]);
    for (uint32_t i = 0; i < d->session_count; i++)
        if (d->sessions[i].upto > 0)
            W_CHECK(w,
                    replica_load_upto(n->r, d->sessions[i].site, d->sessions[i].epoch,
                                      d->sessions[i].upto) == OK,
                    "no memory");
}

static void w_start(struct world *w, struct w_node *n)
{
    struct replica_options o = {.site = n->site,
                                .incarnation = n->incarnation,
                                .cluster = "cluster",
                                .filled = n->disk->filled,
                                .seed = prng_next(&w->rng),
                                .copies = 2};

    n->up = true;
    n->life++;
    n->session = w_append(w, (struct w_entry){.kind = W_SESSION, .site = n->site});
    if (n->disk->first_epoch == 0)
        n->disk->first_epoch = n->session;
    n->applied = (uint32_t)n->session; /* it has seen its own session opened */
    n->next_counter = 1;
    o.session = n->session;
    o.first_epoch = n->disk->first_epoch;
    w_shells[n->site - 1] = (struct w_shell){w, n};
    o.ops = (struct replica_ops){.ctx = &w_shells[n->site - 1],
                                 .send = w_frame,
                                 .store = w_store,
                                 .tell = w_tell,
                                 .read_envelope = w_read_envelope,
                                 .read_body = w_read_body,
                                 .read_trace = w_read_trace,
                                 .read_mark = w_read_mark,
                                 .sealed = w_ops_sealed,
                                 .released = w_ops_released};
    n->r = replica_new(&o);
    W_CHECK(w, n->r != NULL, "no memory");
    w_load(w, n);
    replica_start(n->r, w->now);
    w_members(w, n);
    n->tick_ms = W_NEVER;
    W_SAY(w, "node %u starts, session %llu", n->site, (unsigned long long)n->session);
}

/* What was not committed is gone; what it answered nobody heard. */
static inline void w_crash(struct world *w, struct w_node *n)
{
    n->up = false;
    n->life++;
    n->op_count = 0;
    n->body_count = 0;
    n->committing = false;
    n->leaving = false;
    n->open = false;
    n->store_fails = n->full = false;
    memset(n->dots, 0, sizeof n->dots);
    replica_free(&n->r);
    for (uint32_t i = 0; i < w->msg_count; i++)
        if (w->msgs[i].origin == n->site && w->msgs[i].answer == W_WAITS)
            w->msgs[i].answer = W_CLOSED;
    w->crashes++;
    W_SAY(w, "node %u crashes", n->site);
}

static void w_disk_new(struct w_node *n)
{
    if (n->disk != NULL) {
        rset_fini(&n->disk->settled);
        free(n->disk);
    }
    n->disk = calloc(1, sizeof *n->disk);
    rset_init(&n->disk->settled, 100000);
}

static inline void w_wipe(struct world *w, struct w_node *n)
{
    w_disk_new(n);
    n->incarnation = ++w->next_incarnation;
    w_append(
        w, (struct w_entry){.kind = W_MEMBER, .site = n->site, .incarnation = n->incarnation});
    w->wipes++;
    W_SAY(w, "node %u is wiped", n->site);
}

static void w_say_op(struct world *w, const struct w_node *n, const struct w_op *o)
{
    const struct copy_record *rec = o->kind == W_OP_COPY ? &o->op->record : NULL;

    if (rec == NULL)
        W_SAY(w, "node %u: own %s %s: %s", n->site, o->kind == W_OP_PUT ? "put" : "update",
              w_text(o->id), err_text(o->err));
    else if (rec->kind != COPY_ECHO && rec->kind != COPY_BODY)
        W_SAY(w, "node %u: %u says %s %s %u.%llu %llu: %s", n->site, o->op->from,
              copy_kind_text(rec->kind), w_text(rec->id), rec->site,
              (unsigned long long)rec->epoch, (unsigned long long)rec->counter,
              copy_code_text(o->op->answer.code));
}

static void w_commit(struct world *w, struct w_node *n)
{
    uint32_t count = n->op_count;
    struct w_op done[W_OPS / 8];

    if (count > W_OPS / 8)
        count = W_OPS / 8;
    n->commits++;
    for (uint32_t i = 0; i < count; i++) {
        struct w_op *o = &n->ops[n->op_first];

        if (o->kind == W_OP_COPY)
            w_apply(w, n, o->op);
        else
            w_apply_own(w, n, o);
        w_say_op(w, n, o);
        done[i] = *o;
        n->op_first = (n->op_first + 1) % W_OPS;
        n->op_count--;
    }
    n->committing = n->op_count > 0;
    if (n->committing)
        w_push(w, 1 + prng_below(&w->rng, 8), W_COMMIT, n);
    if (w->seed % 2 == 0)
        replica_cork(n->r);
    for (uint32_t i = 0; i < count; i++) {
        struct w_op *o = &done[i];

        if (o->kind == W_OP_COPY) {
            replica_stored(n->r, o->op, w->now);
        } else if (o->kind == W_OP_PUT) {
            /* the answer goes by way of the client's thread */
            struct w_event *e = w_push(w, prng_below(&w->rng, 5), W_PUT_STORED, n);

            e->id = o->id;
            e->err = o->err;
        } else if (o->err == E_FULL) {
            w_push(w, 1000, W_RESULT, n)->id = o->id; /* the shell tries again */
        } else {
            struct blob *b = blob_new(W_RCPTS);
            struct w_dot *d = w_dot_of(n, o->id);

            memcpy(b->b, o->fates, W_RCPTS);
            if (o->err == OK)
                replica_outcome(n->r, o->id, b, o->is_final, w->now);
            blob_release(&b);
            if (d != NULL)
                *d = (struct w_dot){.open = false};
        }
    }
    if (w->seed % 2 == 0)
        replica_uncork(n->r, w->now);
}

/* --- clients --- */

static void w_put_to_replica(struct world *w, struct w_node *n, struct mid id, uint32_t bytes)
{
    struct blob *envelope = blob_new(W_RCPTS), *body = NULL;
    uint64_t number = 0;

    memset(envelope->b, '.', W_RCPTS);
    if (bytes > 256 * KiB) {
        number = 1000 + mid_counter(id);
    } else {
        body = blob_new(bytes);
        memset(body->b, 'x', bytes);
    }
    W_CHECK(w, replica_put(n->r, id, envelope, body, number, w->now) == OK, "put");
    blob_release(&envelope);
    blob_release(&body);
}

static struct mid w_mail(struct world *w, struct w_node *n, uint32_t bytes)
{
    struct mid id = mid_make(n->site, n->session, n->next_counter++);
    struct w_event *e;

    W_CHECK(w, w->msg_count < W_MSGS, "too many messages");
    w->msgs[w->msg_count++] =
        (struct w_msg){.id = id, .origin = n->site, .life = n->life, .bytes = bytes};
    if (bytes > 256 * KiB)
        for (uint64_t at = 0; at < bytes; at += 200000) {
            struct blob *b = blob_new(bytes - at < 200000 ? bytes - at : 200000);

            memset(b->b, 'x', b->n);
            replica_body(n->r, 1000 + mid_counter(id), at, b, w->now);
            blob_release(&b);
        }
    w_op_push(w, n, (struct w_op){.kind = W_OP_PUT, .id = id, .bytes = bytes});
    if (prng_below(&w->rng, 2) == 0) {
        w_put_to_replica(w, n, id, bytes);
    } else {
        e = w_push(w, prng_below(&w->rng, 10), W_PUT_LATE, n);
        e->id = id;
        e->size = bytes;
    }
    return id;
}

/* --- the clock --- */

static void w_apply_log(struct world *w, struct w_node *n)
{
    const struct w_entry *e;

    if (n->applied >= w->log_count)
        return;
    e = &w->log[n->applied++];
    W_SAY(w, "node %u applies %u: %d of %u", n->site, n->applied, (int)e->kind, e->site);
    if (e->kind == W_SLOT)
        n->leaving = false;
    if (e->kind == W_MEMBER && e->site != n->site)
        replica_member(n->r, e->site, e->incarnation, w->now);
    if (e->kind == W_SESSION && e->site == n->site && n->applied > n->session) {
        n->session = n->applied;
        n->next_counter = 1;
        replica_session(n->r, n->session, w->now);
    }
    if (e->kind == W_END && e->site == n->site)
        w_append(w, (struct w_entry){.kind = W_SESSION, .site = n->site});
    replica_control(n->r, w->now);
    if (n->applied < w->log_count)
        w_push(w, 1 + prng_below(&w->rng, 100), W_APPLY, n);
}

static void w_arm(struct world *w, struct w_node *n)
{
    uint64_t at;

    if (!n->up)
        return;
    at = replica_deadline(n->r);
    if (at < w->now)
        at = w->now;
    if (n->tick_ms <= at && n->tick_ms > w->now)
        return;
    n->tick_ms = at > w->now ? at : w->now + 1;
    w_push(w, n->tick_ms - w->now, W_TICK, n);
}

static void w_event(struct world *w, struct w_event *e)
{
    struct w_node *n = w_node(w, e->node);
    bool is_here = n->up && n->life == e->life;

    switch (e->kind) {
    case W_FRAME:
        if (n->up)
            replica_frame(n->r, e->from, e->incarnation, blob_str(e->bytes), w->now);
        blob_release(&e->bytes);
        break;
    case W_COMMIT:
        if (is_here)
            w_commit(w, n);
        break;
    case W_APPLY:
        if (is_here)
            w_apply_log(w, n);
        break;
    case W_TICK:
        if (!is_here || e->at_ms != n->tick_ms)
            return;
        n->tick_ms = W_NEVER;
        replica_tick(n->r, w->now);
        break;
    case W_PUT_LATE:
        if (is_here)
            w_put_to_replica(w, n, e->id, e->size);
        break;
    case W_PUT_STORED:
        if (!is_here)
            return;
        replica_put_stored(n->r, e->id, e->err, w->now);
        break;
    case W_RESULT:
        if (is_here)
            w_result(w, n, e);
        break;
    }
    w_arm(w, n);
}

static void w_run(struct world *w, uint64_t for_ms)
{
    uint64_t end = w->now + for_ms;

    while (w->event_count > 0 && w->events[0].at_ms <= end) {
        struct w_event e = w_pop(w);

        w->now = e.at_ms;
        w_event(w, &e);
    }
    w->now = end;
    for (int i = 0; i < W_NODES; i++)
        if (w->nodes[i].up) {
            replica_check(w->nodes[i].r);
            w_deliver(w, &w->nodes[i]);
            w_arm(w, &w->nodes[i]);
        }
}

/* In steps in which holders look for what they can deliver. */
static void w_run_long(struct world *w, uint64_t for_ms)
{
    for (uint64_t end = w->now + for_ms; w->now < end;)
        w_run(w, end - w->now < 100 ? end - w->now : 100);
}

/* Three founding members, filled, site 1 holds the slot; links up, doors open. */
static struct world *w_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);

    w->seed = seed;
    w->now = 1000;
    prng_seed(&w->rng, seed);
    for (uint16_t site = 1; site <= W_NODES; site++) {
        struct w_node *n = w_node(w, site);

        n->site = site;
        n->tick_ms = W_NEVER;
        w_disk_new(n);
        n->disk->filled = true;
        n->incarnation = ++w->next_incarnation;
        w_append(
            w, (struct w_entry){.kind = W_MEMBER, .site = site, .incarnation = n->incarnation});
    }
    for (uint16_t site = 1; site <= W_NODES; site++)
        w_start(w, w_node(w, site));
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = 1});
    for (int i = 0; i < W_NODES; i++)
        w_arm(w, &w->nodes[i]);
    return w;
}

static void w_free(struct world *w)
{
    while (w->event_count > 0) {
        struct w_event e = w_pop(w);

        blob_release(&e.bytes);
    }
    for (int i = 0; i < W_NODES; i++) {
        if (w->nodes[i].up)
            replica_free(&w->nodes[i].r);
        rset_fini(&w->nodes[i].disk->settled);
        free(w->nodes[i].disk);
    }
    free(w);
}

/* --- what tests do with it --- */

static inline enum copy_state w_state_at(struct world *w, uint16_t site, struct mid id)
{
    return w_state(w_node(w, site)->disk, id);
}

/* Neither hears the other. */
static inline void w_part(struct world *w, uint16_t a, uint16_t b, bool on)
{
    w_node(w, a)->deaf[b] = on;
    w_node(w, b)->deaf[a] = on;
}

static inline void w_no_holder(struct world *w)
{
    for (int i = 0; i < W_NODES; i++)
        w->nodes[i].leaving = true;
}
