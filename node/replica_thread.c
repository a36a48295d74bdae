#include "node/replica_thread.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/replica_thread_private.h"
#include "proto/record.h"

#define VIEW_MS    250
#define SUBSCRIBER 1     /* of the control thread's notices */
#define IDLE_MS    60000 /* longest sleep */

/* --- turns: all that comes in one turn of the loop goes out in one --- */

void replica_thread_turn(struct replica_thread *t)
{
    t->now_ms = clock_boot_ms();
    if (t->engine == NULL || t->corked)
        return;
    t->corked = true;
    replica_cork(t->engine);
    event_active(t->turn, EV_TIMEOUT, 0); /* runs behind all that is active now */
}

static void arm(struct replica_thread *t)
{
    uint64_t due = replica_deadline(t->engine), wait;
    struct timeval tv;

    if (due == t->due_ms && event_pending(t->timer, EV_TIMEOUT, NULL))
        return;
    t->due_ms = due;
    wait = due > t->now_ms ? due - t->now_ms : 0;
    if (wait > IDLE_MS)
        wait = IDLE_MS;
    tv = (struct timeval){(time_t)(wait / 1000), (suseconds_t)(wait % 1000 * 1000)};
    event_add(t->timer, &tv);
}

static void publish(struct replica_thread *t)
{
    atomic_store(&t->backlog, replica_backlog(t->engine));
    if (replica_outcomes_told(t->engine))
        atomic_store(&t->outcomes_told, t->outcomes_seen);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct replica_thread *t = arg;

    (void)fd, (void)what;
    if (!t->corked)
        return;
    t->corked = false;
    replica_uncork(t->engine, t->now_ms);
    publish(t);
    arm(t);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct replica_thread *t = arg;

    (void)fd, (void)what;
    replica_thread_turn(t);
    if (t->engine != NULL)
        replica_tick(t->engine, t->now_ms);
}

static void on_frame(void *ctx, uint16_t site, uint64_t incarnation, struct str bytes)
{
    struct replica_thread *t = ctx;

    if (t->engine == NULL)
        return;
    replica_thread_turn(t);
    replica_frame(t->engine, site, incarnation, bytes, t->now_ms);
}

static void on_refused(void *ctx, const char *from, uint64_t count)
{
    struct replica_thread *t = ctx;

    t->counts.refused_keys += count;
    LOG(EV_DATA_STRANGER, L_CSTR("from", from), L_U64("count", count));
}

/* --- what is seen from outside --- */

static void log_solo(struct replica_thread *t, const struct replica_status *s)
{
    if (s->solo && !t->counts.solo)
        LOG(EV_DATA_SOLO, L_U64("site", t->node->site));
    t->counts.solo = s->solo;
}

static void show(struct replica_thread *t)
{
    struct replica_thread_view *v = malloc(sizeof *v);
    uint64_t lacks = 0;

    if (v == NULL)
        return; /* the one before stays */
    t->counts.begun = t->engine != NULL;
    t->counts.session = t->session;
    if (t->engine != NULL) {
        replica_status(t->engine, &t->counts.status, t->now_ms);
        log_solo(t, &t->counts.status);
    }
    *v = t->counts;
    for (uint32_t i = 0; i < REPLICA_PEERS; i++)
        lacks += v->status.peers[i].lacks;
    stat_set(STAT_COPIES_SINGLE, v->status.single);
    stat_set(STAT_COPIES_UNDECIDED, v->status.undecided);
    stat_set(STAT_COPIES_LACKING, lacks);
    stat_set(STAT_INTAKES_WAITING, otree_count(&t->intakes));
    stat_set(STAT_DOTS_WAITING, otree_count(&t->dots));
    snapshot_publish(t->view, v);
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
    struct replica_thread *t = arg;

    (void)fd, (void)what;
    replica_thread_turn(t);
    replica_thread_session(t); /* its notice may have come before it was to be seen */
    replica_thread_filled(t);
    if (t->engine != NULL)
        replica_thread_solo(t);
    show(t);
}

void replica_thread_view(struct replica_thread *t, struct replica_thread_view *out)
{
    struct snapshot_ref *ref = snapshot_hold(t->view);

    *out = *(const struct replica_thread_view *)snapshot_value(ref);
    snapshot_release(&ref);
}

bool replica_thread_is_open(const struct replica_thread *t)
{
    return atomic_load(&t->open) && !atomic_load(&t->draining);
}

uint64_t replica_thread_backlog(const struct replica_thread *t)
{
    return atomic_load(&t->backlog) + atomic_load(&t->body_posted);
}

uint64_t replica_thread_pending(const struct replica_thread *t)
{
    return atomic_load(&t->pending);
}

bool replica_thread_outcomes_told(const struct replica_thread *t)
{
    uint64_t posted = atomic_load(&t->outcomes_posted);

    return atomic_load(&t->outcomes_told) >= posted;
}

/* --- mail --- */

static void notice(struct replica_thread *t)
{
    unsigned changed = control_notice_take(t->node->control, SUBSCRIBER);

    replica_thread_session(t);
    replica_thread_turn(t);
    if ((changed & CONTROL_CHANGED_MEMBERS) != 0)
        replica_thread_members(t);
    if (t->engine == NULL)
        return;
    if ((changed & (CONTROL_CHANGED_MEMBERS | CONTROL_CHANGED_SETTINGS)) != 0)
        replica_thread_solo(t);
    replica_control(t->engine, t->now_ms);
}

static void copied(struct replica_thread *t, struct writer_request *r)
{
    struct copy_op *op = r->copy;

    writer_request_free(t->node->writer, &r);
    replica_stored(t->engine, op, t->now_ms);
}

static void outcome(struct replica_thread *t, struct replica_order *o)
{
    t->outcomes_seen++;
    if (t->engine == NULL)
        return; /* loaded with the rest when it begins */
    replica_outcome(t->engine, o->id, o->bytes, o->is_final, t->now_ms);
    if (o->is_final)
        replica_thread_dot_over(t, o->id, 0);
}

static void body(struct replica_thread *t, struct replica_order *o)
{
    atomic_fetch_sub(&t->body_posted, o->bytes->n);
    if (t->engine != NULL)
        replica_body(t->engine, o->number, o->offset, o->bytes, t->now_ms);
    atomic_store(&t->backlog, t->engine != NULL ? replica_backlog(t->engine) : 0);
}

static void rekey_free(struct replica_rekey *r)
{
    explicit_bzero(r, sizeof *r);
    free(r);
}

static void rekey(struct replica_thread *t, struct replica_rekey *r)
{
    enum err e = plane_rekey(t->plane, r->public_key, r->secret_key);

    rekey_free(r);
    if (e != OK) /* nobody is heard any more */
        t->fence(t->ctx, e);
}

static void copies(struct replica_thread *t, struct copies_ask *a)
{
    for (uint32_t i = 0; i < a->count; i++)
        a->of[i].is_known = t->engine != NULL &&
                            replica_copies_of(t->engine, a->of[i].id, &a->of[i].others) == OK;
    a->mail.kind = a->answer_kind;
    mailbox_answer(a->answer_to, &a->mail);
}

static void order(struct replica_thread *t, struct replica_order *o)
{
    switch ((enum replica_mail)o->mail.kind) {
    case RT_BODY:
        body(t, o);
        break;
    case RT_CLOSED:
        replica_thread_dot_closed(t, o->id, o->slot_epoch);
        break;
    case RT_OUTCOME:
        outcome(t, o);
        break;
    case RT_DAMAGED:
        if (t->engine != NULL)
            replica_damaged(t->engine, o->id, t->now_ms);
        break;
    case RT_REACH:
        if (t->engine != NULL)
            replica_reach(t->engine, o->reach, o->reach_count);
        break;
    case RT_FACTS:
        if (t->engine != NULL)
            replica_facts(t->engine, o->site, blob_str(o->bytes));
        break;
    default:
        event_base_loopbreak(t->base);
    }
    blob_release(&o->bytes);
    free(o);
}

static void dispatch(struct replica_thread *t, struct mail *m)
{
    struct control_answer *a;

    switch ((enum replica_mail)m->kind) {
    case RT_INTAKE:
        replica_thread_take_intake(t, (struct intake *)m);
        break;
    case RT_DOT:
        replica_thread_take_dot(t, (struct dot_ask *)m);
        break;
    case RT_PUT:
        replica_thread_take_put(t, (struct writer_request *)m);
        break;
    case RT_COPY:
        copied(t, (struct writer_request *)m);
        break;
    case RT_NOTICE:
        notice(t);
        break;
    case RT_ANSWER:
        a = (struct control_answer *)m;
        t->is_proposing = false; /* refused: proposed again with the next view */
        control_answer_free(&a);
        break;
    case RT_REKEY:
        rekey(t, (struct replica_rekey *)m);
        break;
    case RT_COPIES:
        copies(t, (struct copies_ask *)m);
        break;
    default:
        order(t, (struct replica_order *)m);
    }
}

static void on_mail(evutil_socket_t fd, short what, void *arg)
{
    struct replica_thread *t = arg;
    struct mail *m = mailbox_take(t->box), *next;

    (void)fd, (void)what;
    replica_thread_turn(t);
    for (; m != NULL; m = next) {
        next = m->next; /* a notice may be posted again at once */
        dispatch(t, m);
    }
}

/* --- posted by others --- */

int replica_thread_notice_kind(void)
{
    return RT_NOTICE;
}

struct mailbox *replica_thread_box(struct replica_thread *t)
{
    return t->box;
}

enum err replica_thread_accept(struct replica_thread *t, struct intake *i)
{
    enum err e;

    if (!replica_thread_is_open(t))
        return E_AGAIN;
    i->mail.kind = RT_INTAKE;
    atomic_fetch_add(&t->pending, 1);
    e = mailbox_post(t->box, &i->mail);
    if (e != OK)
        atomic_fetch_sub(&t->pending, 1);
    return e;
}

void replica_thread_dot(struct replica_thread *t, struct dot_ask *a)
{
    a->mail.kind = RT_DOT;
    atomic_fetch_add(&t->pending, 1);
    mailbox_answer(t->box, &a->mail);
}

static void post(struct replica_thread *t, const struct replica_order *order)
{
    struct replica_order *o = malloc(sizeof *o);

    ASSERT(o != NULL); /* lost, a mark would stay for ever, or an outcome be unknown */
    *o = *order;
    mailbox_answer(t->box, &o->mail);
}

void replica_thread_body(struct replica_thread *t, uint64_t body_number, uint64_t offset,
                         const struct block_list *piece)
{
    struct blob *b = replica_thread_blob(piece);

    if (b == NULL)
        return; /* the peers read it from here when the copy comes */
    atomic_fetch_add(&t->body_posted, b->n);
    post(t, &(struct replica_order){
                .mail.kind = RT_BODY, .number = body_number, .offset = offset, .bytes = b});
}

void replica_thread_closed(struct replica_thread *t, struct mid id, uint64_t slot_epoch)
{
    post(t,
         &(struct replica_order){.mail.kind = RT_CLOSED, .id = id, .slot_epoch = slot_epoch});
}

void replica_thread_outcome(struct replica_thread *t, struct mid id, struct blob *envelope,
                            bool is_final)
{
    atomic_fetch_add(&t->outcomes_posted, 1);
    post(t, &(struct replica_order){
                .mail.kind = RT_OUTCOME, .id = id, .bytes = envelope, .is_final = is_final});
}

void replica_thread_damaged(struct replica_thread *t, struct mid id)
{
    post(t, &(struct replica_order){.mail.kind = RT_DAMAGED, .id = id});
}

void replica_thread_reach(struct replica_thread *t, const struct frame_reach *reach,
                          uint32_t count)
{
    struct replica_order *o;

    ASSERT(count <= LIMIT_FRAME_REACH);
    o = malloc(sizeof *o + count * sizeof *reach);
    if (o == NULL)
        return; /* told again with the next one */
    *o = (struct replica_order){.mail.kind = RT_REACH, .reach_count = count};
    if (count > 0)
        memcpy(o->reach, reach, count * sizeof *reach);
    mailbox_answer(t->box, &o->mail);
}

void replica_thread_facts(struct replica_thread *t, uint16_t site, struct str facts)
{
    struct blob *b = blob_new(facts.n);

    if (b == NULL)
        return; /* told again */
    memcpy(b->b, facts.p, facts.n);
    post(t, &(struct replica_order){.mail.kind = RT_FACTS, .site = site, .bytes = b});
}

void replica_thread_rekey(struct replica_thread *t, const uint8_t *public_key,
                          const uint8_t *secret_key)
{
    struct replica_rekey *r = malloc(sizeof *r);

    ASSERT(r != NULL); /* lost, this node would show a key that is no good any more */
    *r = (struct replica_rekey){.mail.kind = RT_REKEY};
    memcpy(r->public_key, public_key, sizeof r->public_key);
    memcpy(r->secret_key, secret_key, sizeof r->secret_key);
    mailbox_answer(t->box, &r->mail);
}

void replica_thread_copies(struct replica_thread *t, struct copies_ask *a)
{
    ASSERT(a->count <= REPLICA_COPIES_ASK);
    a->mail.kind = RT_COPIES;
    mailbox_answer(t->box, &a->mail);
}

/* --- life --- */

static struct event *event_of(struct replica_thread *t, int fd, short what, event_callback_fn f)
{
    struct event *e = event_new(t->base, fd, what, f, t);

    ASSERT(e != NULL);
    return e;
}

static void loop_new(struct replica_thread *t)
{
    struct event_config *c = event_config_new();

    ASSERT(c != NULL);
    event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
    t->base = event_base_new_with_config(c);
    event_config_free(c);
    ASSERT(t->base != NULL);
    t->box_event = event_of(t, mailbox_fd(t->box), EV_READ | EV_PERSIST, on_mail);
    t->timer = event_of(t, -1, 0, on_timer);
    t->turn = event_of(t, -1, 0, on_turn);
    t->second = event_of(t, -1, EV_PERSIST, on_second);
}

static void loop_free(struct replica_thread *t)
{
    if (t->plane != NULL)
        plane_close(&t->plane);
    event_free(t->box_event);
    event_free(t->timer);
    event_free(t->turn);
    event_free(t->second);
    event_base_free(t->base);
}

enum err replica_thread_new(struct replica_thread **out, struct node *n,
                            const struct replica_thread_options *o)
{
    struct replica_thread *t = calloc(1, sizeof *t);
    struct replica_thread_view *v = calloc(1, sizeof *v);
    enum err e;

    ASSERT(t != NULL && v != NULL);
    *out = NULL;
    t->node = n;
    t->identity = *o->identity;
    t->news = o->news;
    t->news_kind = o->news_kind;
    t->fence = o->fence;
    t->facts = o->facts;
    t->link = o->link;
    t->ctx = o->ctx;
    t->box = mailbox_new(LIMIT_REPLICA_BOX);
    t->view = snapshot_new(v, free);
    arena_init(&t->scratch, RECORD_ARENA_BYTES);
    otree_init(&t->intakes, sizeof(struct replica_waiting), LIMIT_REPLICA_ACCEPTS);
    otree_init(&t->dots, sizeof(struct replica_asking), LIMIT_REPLICA_DOTS);
    replica_thread_copy_store(t, &t->store);
    loop_new(t);
    e = plane_open(&t->plane, &(struct plane_options){.base = t->base,
                                                      .bind = o->bind,
                                                      .has_bulk = true,
                                                      .public_key = o->identity->public_key,
                                                      .secret_key = o->identity->secret_key,
                                                      .ops = {t, on_frame, on_refused}});
    if (e != OK)
        replica_thread_free(&t);
    *out = t;
    return e;
}

struct copy_store *replica_thread_store(struct replica_thread *t)
{
    return &t->store;
}

static void *replica_main(void *arg)
{
    struct replica_thread *t = arg;
    struct timeval tv = {0, VIEW_MS * 1000};

    event_add(t->box_event, NULL);
    event_add(t->second, &tv);
    replica_thread_members(t);
    replica_thread_session(t);
    event_base_loop(t->base, EVLOOP_NO_EXIT_ON_EMPTY);
    return NULL;
}

enum err replica_thread_run(struct replica_thread *t)
{
    enum err e = replica_read_open(&t->read, t->node->spool);

    if (e != OK)
        return e;
    if (pthread_create(&t->thread, NULL, replica_main, t) != 0)
        return E_IO;
    t->running = true;
    pthread_setname_np(t->thread, "replica");
    return OK;
}

/* What is posted now is answered at once, or was the writer's: its memory is given back. */
static void take_last(struct replica_thread *t)
{
    struct mail *m = mailbox_take(t->box), *next;

    for (; m != NULL; m = next) {
        struct writer_request *r = (struct writer_request *)m;
        struct control_answer *a = (struct control_answer *)m;
        struct replica_order *o = (struct replica_order *)m;

        next = m->next;
        switch ((enum replica_mail)m->kind) {
        case RT_INTAKE:
            replica_thread_end_intake(t, (struct intake *)m, INTAKE_CLOSE);
            break;
        case RT_DOT:
            replica_thread_end_dot(t, (struct dot_ask *)m, VIEW_MS);
            break;
        case RT_COPY:
            blob_release(&r->copy->store_keep);
            writer_request_free(t->node->writer, &r);
            break;
        case RT_PUT:
            writer_request_free(t->node->writer, &r);
            break;
        case RT_NOTICE:
            break;
        case RT_ANSWER:
            control_answer_free(&a);
            break;
        case RT_REKEY:
            rekey_free((struct replica_rekey *)m);
            break;
        case RT_COPIES:
            free(m);
            break;
        default:
            blob_release(&o->bytes);
            free(o);
        }
    }
}

void replica_thread_join(struct replica_thread *t)
{
    atomic_store(&t->draining, true);
    atomic_store(&t->open, false);
    if (!t->running)
        return;
    post(t, &(struct replica_order){.mail.kind = RT_STOP});
    pthread_join(t->thread, NULL);
    t->running = false;
    replica_thread_answer_all(t);
    take_last(t);
}

void replica_thread_end(struct replica_thread *t)
{
    take_last(t);
}

void replica_thread_free(struct replica_thread **tp)
{
    struct replica_thread *t = *tp;

    *tp = NULL;
    take_last(t); /* what the control thread answered as it stopped */
    loop_free(t);
    if (t->engine != NULL)
        replica_free(&t->engine);
    replica_read_close(&t->read);
    otree_fini(&t->intakes);
    otree_fini(&t->dots);
    arena_reset(&t->scratch);
    snapshot_free(&t->view);
    mailbox_free(&t->box);
    free(t);
}
