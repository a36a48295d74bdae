#include "node/writer.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"

#define UPKEEP_MS   1000  /* room and gauges */
#define PRUNE_MS    60000 /* traces past their age, old readers */
#define PRUNE_COUNT 1000  /* traces dropped in one commit */

struct writer {
    struct writer_options o;
    struct mailbox *box;
    pthread_t thread;
    atomic_bool stopping;
    bool fenced, full;
    bool shed; /* the last commits met a full disk or map: look at the room every second */
    struct mail *first, **last; /* taken from the box, not yet committed */
    uint64_t upkeep_at_ms, prune_at_ms;
};

struct writer_request *writer_request_new(enum writer_op op, struct mailbox *answer_to,
                                          int answer_kind, void *ctx)
{
    struct writer_request *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->op = op;
    r->answer_to = answer_to;
    r->answer_kind = answer_kind;
    r->ctx = ctx;
    arena_init(&r->arena, RECORD_ARENA_BYTES + 65536);
    return r;
}

void writer_request_free(struct writer *w, struct writer_request **r)
{
    block_list_free(w->o.blocks, &(*r)->body);
    arena_reset(&(*r)->arena);
    free(*r);
    *r = NULL;
}

enum err writer_post(struct writer *w, struct writer_request *r)
{
    return mailbox_post(w->box, &r->mail);
}

void writer_post_always(struct writer *w, struct writer_request *r)
{
    mailbox_answer(w->box, &r->mail);
}

static void fence(struct writer *w, enum err why)
{
    if (w->fenced)
        return;
    w->fenced = true;
    LOG(EV_FENCED, L_CSTR("store", "spool"), L_ERR(why));
    w->o.fence(w->o.ctx, why);
}

/* The id is drawn: it must not look like live mail that somebody else still has. Peers may have
 * the copy, so that they must be told of an abort; a node that is alone has nobody to tell. */
static enum err give_up(struct spool_txn *t, const struct writer_request *r)
{
    return r->state == COPY_NONE ? spool_abort_id(t, r->id) : spool_abort_copy(t, r->id);
}

static enum err put(struct spool_txn *t, struct writer_request *r)
{
    struct spool_copy c = {.state = r->state == COPY_NONE ? COPY_COMMITTED : r->state,
                           .staged = r->staged ? r->body_number : 0,
                           .blocks = &r->body};
    enum err e = E_FULL, gone;

    if (r->env != NULL)
        e = spool_put_copy(t, r->env, &c);
    if (e == OK)
        return OK;
    gone = give_up(t, r);
    return gone == E_IO ? E_IO : e;
}

static enum err update(struct spool_txn *t, struct writer_request *r)
{
    enum err e = spool_update(t, r->env), mark = OK;

    if (r->closed)
        mark = spool_closed(t, r->env->id);
    return e == OK && mark != E_NOTFOUND ? mark : e;
}

static enum err run(struct writer *w, struct spool_txn *t, struct writer_request *r)
{
    switch (r->op) {
    case WRITER_PUT:
        return put(t, r);
    case WRITER_STAGE:
        return spool_stage(t, r->body_number, r->offset, &r->body);
    case WRITER_UNSTAGE:
        return spool_unstage(t, r->body_number);
    case WRITER_DOT:
        return spool_dot(t, r->id, r->slot_epoch);
    case WRITER_CLOSED:
        return spool_closed(t, r->id);
    case WRITER_UPDATE:
        return update(t, r);
    case WRITER_SETTLE:
        return spool_settle(t, r->env, w->o.cluster_ms(w->o.ctx), clock_wall_ms());
    case WRITER_COPY:
        copy_store_apply(w->o.copies, t, r->copy);
        return OK;
    case WRITER_BARRIER:
        return OK;
    case WRITER_LINK:
        copy_store_link_new(w->o.copies, t, r->site);
        return OK;
    }
    return E_PROTO;
}

/* A record of the data plane whose commit failed did nothing. */
static void answer_copy(struct writer_request *r)
{
    ASSERT(r->answer_to != NULL);
    if (r->err == OK)
        return;
    r->copy->answer =
        (struct copy_answer){.code = r->err == E_FULL ? COPY_NO_ROOM : COPY_FAILED};
    r->copy->state = COPY_NONE;
}

static void answer(struct writer *w, struct writer_request *r)
{
    if (r->op == WRITER_COPY)
        answer_copy(r);
    if (r->op == WRITER_PUT || r->op == WRITER_STAGE)
        block_list_free(w->o.blocks, &r->body);
    r->mail.kind = r->answer_kind;
    if (r->answer_to != NULL)
        mailbox_answer(r->answer_to, &r->mail);
    else
        writer_request_free(w, &r);
}

static enum err commit(struct writer *w, struct spool_txn **t)
{
    uint64_t start = clock_boot_us();
    enum err e = spool_commit(t);

    stat_add(STAT_SPOOL_COMMITS_TOTAL, 1);
    stat_add(STAT_SPOOL_COMMIT_US_TOTAL, (int64_t)(clock_boot_us() - start));
    if (e != OK && e != E_FULL)
        fence(w, e);
    w->shed = e == E_FULL;
    return e;
}

/* What brings mail in: shed when there is no room. */
static bool is_intake(const struct writer_request *r)
{
    if (r->op == WRITER_COPY)
        return r->copy->record.kind == COPY_PUT || r->copy->record.kind == COPY_BODY;
    return r->op == WRITER_PUT || r->op == WRITER_STAGE;
}

/* One request in a commit of its own: after a batch that did not fit. */
static void run_alone(struct writer *w, struct writer_request *r)
{
    struct spool_txn *t = spool_begin(w->o.spool);
    enum err e = OK, done;

    /* Of puts and stages only the abort mark of a drawn id is written. */
    if (r->op == WRITER_PUT)
        e = give_up(t, r);
    else if (!is_intake(r))
        e = run(w, t, r);
    done = commit(w, &t);
    if (is_intake(r))
        r->err = done == E_IO ? E_IO : E_FULL;
    else
        r->err = done != OK ? done : e;
}

/* Takes requests from the front of the queue into one commit and answers them. */
static void run_batch(struct writer *w)
{
    struct spool_txn *t = spool_begin(w->o.spool);
    struct mail *batch = w->first, *m, *next;
    enum err done;

    for (m = w->first; m != NULL && spool_txn_bytes(t) < LIMIT_BATCH_BYTES; m = m->next) {
        struct writer_request *r = (struct writer_request *)m;

        r->err = run(w, t, r);
    }
    w->first = m;
    if (m == NULL)
        w->last = &w->first;
    done = commit(w, &t);
    for (; batch != m; batch = next) {
        struct writer_request *r = (struct writer_request *)batch;

        next = batch->next;
        if (done == E_FULL)
            run_alone(w, r);
        else if (done != OK)
            r->err = done;
        answer(w, r);
    }
}

static void answer_fenced(struct writer *w)
{
    while (w->first != NULL) {
        struct writer_request *r = (struct writer_request *)w->first;

        w->first = w->first->next;
        r->err = E_IO;
        answer(w, r);
    }
    w->last = &w->first;
}

static void gauges(struct writer *w)
{
    struct spool_totals t = spool_totals(w->o.spool);

    stat_set(STAT_QUEUE_MESSAGES, t.messages);
    stat_set(STAT_QUEUE_BYTES, t.bytes);
    stat_set(STAT_SPOOL_USED_BYTES, spool_used_bytes(w->o.spool));
    stat_set(STAT_BODY_BLOCK_BYTES, atomic_load(&w->o.blocks->held));
}

static void note_room(struct writer *w)
{
    bool full = spool_room(w->o.spool) == SPOOL_FULL;

    if (full && !w->full)
        LOG(EV_SPOOL_FULL, L_U64("used", spool_used_bytes(w->o.spool)),
            L_U64("capacity", spool_capacity_bytes(w->o.spool)));
    if (!full && w->full)
        LOG(EV_SPOOL_ROOM_AGAIN, L_U64("used", spool_used_bytes(w->o.spool)));
    w->full = full;
}

static void prune(struct writer *w, uint64_t now_ms)
{
    struct spool_reader_age age;
    struct spool_txn *t;
    size_t dropped = 0;
    bool aged;
    enum err e;

    if (now_ms < w->prune_at_ms)
        return;
    w->prune_at_ms = now_ms + PRUNE_MS;
    spool_readers_check(w->o.spool, &age);
    t = spool_begin(w->o.spool);
    e = spool_prune(t, w->o.cluster_ms(w->o.ctx), PRUNE_COUNT, &dropped);
    aged = w->o.copies != NULL && copy_store_age(w->o.copies, t, now_ms);
    if (e != OK || (dropped == 0 && !aged))
        spool_abort(&t);
    else if (commit(w, &t) == OK && dropped == PRUNE_COUNT)
        w->prune_at_ms = now_ms; /* there may be more */
}

static void upkeep(struct writer *w, uint64_t now_ms)
{
    if (w->fenced || now_ms < w->upkeep_at_ms)
        return;
    w->upkeep_at_ms = now_ms + UPKEEP_MS;
    spool_refresh_room(w->o.spool);
    prune(w, now_ms);
    note_room(w);
    gauges(w);
}

static void gather(struct writer *w)
{
    *w->last = mailbox_take(w->box);
    while (*w->last != NULL)
        w->last = &(*w->last)->next;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    struct pollfd p = {mailbox_fd(w->box), POLLIN, 0};

    for (;;) {
        bool stopping = atomic_load(&w->stopping);

        gather(w);
        if (w->first == NULL) {
            if (stopping)
                break;
            upkeep(w, clock_boot_ms());
            poll(&p, 1, w->full || w->shed ? UPKEEP_MS : PRUNE_MS);
            continue;
        }
        if (w->fenced)
            answer_fenced(w);
        else
            run_batch(w);
        note_room(w);
        gauges(w);
        upkeep(w, clock_boot_ms());
    }
    return NULL;
}

enum err writer_start(struct writer **out, const struct writer_options *o)
{
    struct writer *w = calloc(1, sizeof *w);

    ASSERT(w != NULL);
    w->o = *o;
    w->last = &w->first;
    w->box = mailbox_new(LIMIT_WRITER_BOX);
    atomic_init(&w->stopping, false);
    gauges(w);
    if (pthread_create(&w->thread, NULL, writer_main, w) != 0) {
        mailbox_free(&w->box);
        free(w);
        return E_IO;
    }
    pthread_setname_np(w->thread, "writer");
    *out = w;
    return OK;
}

struct mailbox *writer_box(struct writer *w)
{
    return w->box;
}

void writer_join(struct writer *w)
{
    struct writer_request *wake = writer_request_new(WRITER_UNSTAGE, NULL, 0, NULL);

    ASSERT(wake != NULL); /* a request without effect, to end the wait */
    wake->body_number = UINT64_MAX;
    atomic_store(&w->stopping, true);
    writer_post_always(w, wake);
    pthread_join(w->thread, NULL);
}

void writer_free(struct writer **wp)
{
    struct writer *w = *wp;
    struct mail *m = mailbox_take(w->box), *next;

    *wp = NULL;
    for (; m != NULL; m = next) { /* posted too late: only what nobody waits for may be */
        struct writer_request *r = (struct writer_request *)m;

        next = m->next;
        ASSERT(r->answer_to == NULL);
        writer_request_free(w, &r);
    }
    mailbox_free(&w->box);
    free(w);
}
