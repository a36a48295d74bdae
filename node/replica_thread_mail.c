/* Mail of clients and questions before dots: from who asked to the engine, and back. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/stats.h"
#include "node/replica_thread_private.h"
#include "proto/record.h"

#define DOT_RETRY_MS 1000 /* nothing says when it is worth asking again */

/* --- intakes: made and given back --- */

struct intake *intake_new(struct mailbox *answer_to, int answer_kind, void *ctx)
{
    struct intake *i = calloc(1, sizeof *i);

    if (i == NULL)
        return NULL;
    i->answer_to = answer_to;
    i->answer_kind = answer_kind;
    i->ctx = ctx;
    arena_init(&i->arena, RECORD_ARENA_BYTES + 65536);
    return i;
}

void intake_free(struct node *n, struct intake **ip)
{
    struct intake *i = *ip;

    block_list_free(&n->blocks, &i->body);
    arena_reset(&i->arena);
    free(i);
    *ip = NULL;
}

bool envelope_stamp(struct envelope *e, struct received *r, struct arena *a, struct mid id,
                    const struct envelope_times *times)
{
    char trace[RECEIVED_SIZE], *whole;
    struct str field;

    r->id = id;
    r->wall_ms = times->wall_ms;
    e->id = id;
    e->received_ms = times->now_ms;
    e->received_wall_ms = times->wall_ms;
    e->deadline_ms = times->now_ms + times->hold_ms;
    field = received_format(r, trace);
    whole = arena_take(a, r->above.n + field.n);
    if (whole == NULL)
        return false;
    if (r->above.n > 0)
        memcpy(whole, r->above.p, r->above.n);
    memcpy(whole + r->above.n, field.p, field.n);
    e->trace_header = (struct str){whole, r->above.n + field.n};
    return true;
}

static void unstage(struct replica_thread *t, uint64_t body_number)
{
    struct writer_request *r = writer_request_new(WRITER_UNSTAGE, NULL, 0, NULL);

    if (r == NULL)
        return; /* removed at the next start */
    r->body_number = body_number;
    writer_post_always(t->node->writer, r);
}

void replica_thread_end_intake(struct replica_thread *t, struct intake *i,
                               enum intake_verdict verdict)
{
    i->verdict = verdict;
    i->mail.kind = i->answer_kind;
    if (verdict == INTAKE_CLOSE)
        stat_add(STAT_CLIENTS_CLOSED_TOTAL, 1);
    mailbox_answer(i->answer_to, &i->mail);
    atomic_fetch_sub(&t->pending, 1);
}

/* Nothing was begun: no id was drawn, nobody has heard of it. */
static void refuse(struct replica_thread *t, struct intake *i, bool no_room)
{
    if (i->staged)
        unstage(t, i->body_number);
    i->no_room = no_room;
    replica_thread_end_intake(t, i, INTAKE_REFUSED);
}

/* --- intakes: to the engine and the writer --- */

struct blob *replica_thread_blob(const struct block_list *l)
{
    struct blob *b = blob_new(l->bytes);
    size_t at = 0;

    if (b == NULL)
        return NULL;
    for (const struct block *k = l->first; k != NULL; k = k->next) {
        memcpy(b->b + at, k->data, k->used);
        at += k->used;
    }
    ASSERT(at == l->bytes);
    return b;
}

static struct blob *encode(const struct envelope *e)
{
    size_t size = envelope_encoded_size(e);
    struct blob *b = size > 0 ? blob_new(size) : NULL;

    if (b != NULL)
        envelope_encode(e, b->b);
    return b;
}

/* What is not yet on disk of a staged body joins the chunks there first. */
static void stage_tail(struct replica_thread *t, struct intake *i)
{
    struct writer_request *r;

    if (i->body.bytes == 0)
        return;
    r = writer_request_new(WRITER_STAGE, NULL, 0, NULL);
    ASSERT(r != NULL);
    r->body_number = i->body_number;
    r->offset = i->staged_bytes;
    r->body = i->body;
    i->body = (struct block_list){0};
    writer_post_always(t->node->writer, r); /* a tail that fails lets the put fail */
}

/* The arena goes with the request: an intake may be answered before the writer gives it back.
 */
static void put(struct replica_thread *t, struct intake *i)
{
    struct writer_request *r = writer_request_new(WRITER_PUT, t->box, RT_PUT, NULL);

    ASSERT(r != NULL);
    r->id = i->env.id;
    r->state = COPY_UNDECIDED;
    r->staged = i->staged;
    r->body_number = i->body_number;
    if (i->staged)
        stage_tail(t, i);
    r->body = i->body;
    i->body = (struct block_list){0};
    r->env = arena_take(&i->arena, sizeof *r->env);
    if (r->env != NULL)
        *r->env = i->env;
    r->arena = i->arena;
    arena_init(&i->arena, RECORD_ARENA_BYTES + 65536);
    writer_post_always(t->node->writer, r); /* bounded by the intakes */
}

/* True: the engine has it. */
static bool offer(struct replica_thread *t, struct intake *i, struct blob *envelope,
                  struct blob *body)
{
    enum err e;

    if (i->staged && body->n > 0)
        replica_body(t->engine, i->body_number, i->staged_bytes, body, t->now_ms);
    e = replica_put(t->engine, i->env.id, envelope, i->staged ? NULL : body,
                    i->staged ? i->body_number : 0, t->now_ms);
    return e == OK;
}

static bool begin(struct replica_thread *t, struct intake *i)
{
    struct mid id = mid_make(t->node->site, t->session, t->counter + 1);
    struct envelope_times times = {control_now_ms(t->node->control), clock_wall_ms(),
                                   i->hold_ms};
    struct blob *envelope = NULL, *body = NULL;
    uint32_t h = 0;
    bool taken = false;

    if (envelope_stamp(&i->env, &i->received, &i->arena, id, &times)) {
        envelope = encode(&i->env);
        body = replica_thread_blob(&i->body);
    }
    if (envelope != NULL && body != NULL)
        h = otree_add(&t->intakes, id);
    if (h != 0) {
        struct replica_waiting *w = otree_at(&t->intakes, h);

        w->intake = i;
        w->at_writer = true;
        taken = offer(t, i, envelope, body);
    }
    blob_release(&envelope);
    blob_release(&body);
    if (taken)
        t->counter++; /* else nobody has heard of the id: the next one takes it */
    else if (h != 0)
        otree_remove(&t->intakes, h);
    return taken;
}

void replica_thread_take_intake(struct replica_thread *t, struct intake *i)
{
    if (t->engine == NULL || !replica_is_open(t->engine) || atomic_load(&t->draining)) {
        refuse(t, i, false);
        return;
    }
    if (begin(t, i))
        put(t, i);
    else
        refuse(t, i, false);
}

/* --- intakes: back --- */

void replica_thread_take_put(struct replica_thread *t, struct writer_request *r)
{
    uint32_t h = otree_find(&t->intakes, r->id);
    struct replica_waiting *w = otree_at(&t->intakes, h);
    struct mid id = r->id;
    enum err e = r->err;

    ASSERT(h != 0 && w->at_writer);
    w->at_writer = false;
    if (w->intake != NULL) {
        w->intake->no_room = e == E_FULL;
        if (r->env != NULL)
            w->intake->env.body_number = r->env->body_number;
        arena_reset(&w->intake->arena);
        w->intake->arena = r->arena;
        arena_init(&r->arena, RECORD_ARENA_BYTES);
    } else {
        otree_remove(&t->intakes, h);
    }
    if (r->staged && e != OK && e != E_IO) /* after E_IO a record may name it all the same */
        unstage(t, r->body_number);
    writer_request_free(t->node->writer, &r);
    if (t->engine != NULL)
        replica_put_stored(t->engine, id, e, t->now_ms);
}

void replica_thread_verdict(struct replica_thread *t, struct mid id,
                            enum intake_verdict verdict)
{
    uint32_t h = otree_find(&t->intakes, id);
    struct replica_waiting *w;
    struct intake *i;

    if (h == 0)
        return;
    w = otree_at(&t->intakes, h);
    i = w->intake;
    if (i == NULL)
        return;
    w->intake = NULL;
    if (w->at_writer)
        i->env = (struct envelope){.id = id}; /* its strings are the writer's */
    else
        otree_remove(&t->intakes, h);
    replica_thread_end_intake(t, i, verdict);
}

/* --- dots --- */

void replica_thread_end_dot(struct replica_thread *t, struct dot_ask *a, uint64_t retry_ms)
{
    a->retry_ms = retry_ms;
    a->mail.kind = a->answer_kind;
    mailbox_answer(a->answer_to, &a->mail);
    atomic_fetch_sub(&t->pending, 1);
}

void replica_thread_dot_over(struct replica_thread *t, struct mid id, uint64_t retry_ms)
{
    uint32_t h = otree_find(&t->dots, id);
    struct dot_ask *a;

    if (h == 0)
        return;
    a = ((struct replica_asking *)otree_at(&t->dots, h))->ask;
    otree_remove(&t->dots, h);
    replica_thread_end_dot(t, a, retry_ms);
}

void replica_thread_take_dot(struct replica_thread *t, struct dot_ask *a)
{
    uint32_t h;

    a->yes = a->possible_duplicate = false;
    replica_thread_dot_over(t, a->id, DOT_RETRY_MS); /* asked anew: the later one counts */
    h = t->engine != NULL ? otree_add(&t->dots, a->id) : 0;
    if (h == 0) {
        replica_thread_end_dot(t, a, DOT_RETRY_MS);
        return;
    }
    ((struct replica_asking *)otree_at(&t->dots, h))->ask = a;
    a->asked_ms = clock_boot_ms();
    replica_dot(t->engine, a->id, str_of(a->domain), a->slot_epoch, a->tag, t->now_ms);
}

void replica_thread_dot_closed(struct replica_thread *t, struct mid id, uint64_t slot_epoch)
{
    replica_thread_dot_over(t, id, DOT_RETRY_MS);
    if (t->engine != NULL)
        replica_closed(t->engine, id, slot_epoch, t->now_ms);
}

void replica_thread_dot_news(struct replica_thread *t, const struct replica_news *news)
{
    uint32_t h = otree_find(&t->dots, news->id);
    struct dot_ask *a = h != 0 ? ((struct replica_asking *)otree_at(&t->dots, h))->ask : NULL;

    if (a == NULL || a->tag != news->tag || a->slot_epoch != news->slot_epoch)
        return; /* of one that was given up */
    otree_remove(&t->dots, h);
    a->yes = news->kind == REPLICA_CONSENT;
    a->possible_duplicate = a->yes && news->possible_duplicate;
    replica_thread_end_dot(t, a, a->yes ? 0 : news->retry_ms);
}

/* --- the end --- */

void replica_thread_answer_all(struct replica_thread *t)
{
    struct mid at = {{0}};
    uint32_t h;

    while ((h = otree_ceil(&t->intakes, at)) != 0) {
        struct replica_waiting *w = otree_at(&t->intakes, h);

        at = w->n.key;
        replica_thread_verdict(t, at, INTAKE_CLOSE);
        if (mid_counter(at) == UINT64_MAX)
            break;
        at = mid_make(mid_site(at), mid_epoch(at), mid_counter(at) + 1);
    }
    while ((h = otree_ceil(&t->dots, (struct mid){{0}})) != 0)
        replica_thread_dot_over(t, ((struct replica_asking *)otree_at(&t->dots, h))->n.key,
                                DOT_RETRY_MS);
}
