#include "node/control_thread.h"

#include <event2/event.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/snapshot.h"
#include "base/stats.h"
#include "node/identity.h"
#include "node/net/plane.h"
#include "replication/clusterclock.h"

#define DEFAULT_SESSION_MS 10000
#define IDLE_MS            60000 /* longest sleep */
#define STATUS_MS          1000
#define STRANGER_MS        10000 /* between two lines of the log about them */

enum request_kind {
    R_PROPOSE,
    R_STOP,
    R_TRANSFER,
    R_QUIET,
    R_DRAIN,
    R_LEAVE,
    R_QUIET_ALL,
    R_REKEY,
    R_SOLO
};

/* A proposal, and later its answer: one object, so that an answer never needs memory. */
struct request {
    struct control_answer answer; /* first: control_answer_free() frees the whole */
    struct control_propose_to to;
    size_t n;
    uint8_t bytes[];
};

/* Asked for, and not answered. */
struct wish {
    struct mail mail;                                                 /* first */
    uint64_t to;                                                      /* TRANSFER */
    uint32_t slot;                                                    /* QUIET */
    uint64_t epoch;                                                   /* QUIET */
    bool on;                                                          /* DRAIN */
    uint8_t public_key[PLANE_KEY_BYTES], secret_key[PLANE_KEY_BYTES]; /* REKEY */
};

/* The links to the other members. */
struct links {
    struct plane *plane; /* NULL: a node alone */
    struct identity identity;
    bool stale; /* the members, or their keys or addresses, are others */
    uint64_t strangers, strangers_ms;
};

struct shown_lease {
    atomic_bool has_members, is_over;
    _Atomic uint64_t session, valid_until_ms, leaving[4];
};

/* The cluster clock for readers in other threads: seq is odd while it is written. */
struct shown_clock {
    _Atomic uint64_t seq, base_ms, boot_ms, floor_ms;
    _Atomic uint64_t shown_ms; /* the highest value anybody was told */
};

struct control_thread {
    struct control_thread_options o;
    struct control_core *core;
    struct mailbox *box;
    pthread_t thread;
    bool running;             /* the thread was started */
    _Atomic uint64_t session; /* of a node alone */
    struct shown_lease lease;
    struct mail stop;
    uint64_t now_ms; /* read once per turn */

    struct event_base *base;
    struct event *box_event, *timer;

    bool stopping;
    uint64_t stop_ms; /* when a leader that nobody relieves stops all the same */

    struct links links;
    struct request *solo; /* under way; NULL: none */

    struct shown_clock shown;
    struct snapshot *status;
    uint64_t status_ms;
    bool status_stale;

    struct notice {
        struct mail mail;
        atomic_bool posted;
        atomic_uint changed;
    } notices[CONTROL_SUBSCRIBERS];
};

static uint64_t boot_now(struct control_thread *t)
{
    return t->o.boot_ms != NULL ? t->o.boot_ms() : clock_boot_ms();
}

/* --- cluster clock --- */

static void clock_publish(struct control_thread *t)
{
    const struct clusterclock *c = control_core_clock(t->core);
    struct shown_clock *s = &t->shown;

    if (c->base_ms == atomic_load(&s->base_ms) && c->boot_ms == atomic_load(&s->boot_ms) &&
        c->floor_ms == atomic_load(&s->floor_ms))
        return;
    atomic_fetch_add(&s->seq, 1);
    atomic_store(&s->base_ms, c->base_ms);
    atomic_store(&s->boot_ms, c->boot_ms);
    atomic_store(&s->floor_ms, c->floor_ms);
    atomic_fetch_add(&s->seq, 1);
}

uint64_t control_now_ms(struct control_thread *t)
{
    struct shown_clock *s = &t->shown;
    struct clusterclock c;
    uint64_t seq, now, shown;

    do {
        seq = atomic_load(&s->seq);
        c.base_ms = atomic_load(&s->base_ms);
        c.boot_ms = atomic_load(&s->boot_ms);
        c.floor_ms = atomic_load(&s->floor_ms);
    } while (seq % 2 != 0 || atomic_load(&s->seq) != seq);
    now = clusterclock_now(&c, boot_now(t));
    /* A thread that read the clock just before an entry was applied may have seen more than the
     * floor says: over all threads the highest value told counts. */
    shown = atomic_load(&s->shown_ms);
    while (shown < now && !atomic_compare_exchange_weak(&s->shown_ms, &shown, now))
        ;
    return shown < now ? now : shown;
}

/* --- answers, notices, status --- */

void control_answer_free(struct control_answer **a)
{
    free(*a); /* struct request begins with it */
    *a = NULL;
}

static void answer(struct request *r, enum err e, uint64_t index, const char *refused)
{
    r->answer.err = e;
    r->answer.index = index;
    r->answer.refused = refused;
    r->answer.mail.kind = r->to.kind;
    mailbox_answer(r->to.box, &r->answer.mail);
}

static void on_answer(void *ctx, uint64_t req_id, const struct control_outcome *o)
{
    struct control_thread *t = ctx;

    /* Who asks for the time next must not be told less than the entry he waited for says. */
    clock_publish(t);
    answer((struct request *)(uintptr_t)req_id, o->err, o->index, o->refused);
}

static void on_changed(void *ctx, unsigned bits)
{
    struct control_thread *t = ctx;

    if (bits & (CONTROL_CHANGED_LEAD | CONTROL_CHANGED_MEMBERS))
        t->status_stale = true;
    if (bits & CONTROL_CHANGED_MEMBERS)
        t->links.stale = true;
    for (unsigned i = 0; i < CONTROL_SUBSCRIBERS; i++) {
        struct notice *n = &t->notices[i];

        if (t->o.notices[i].box == NULL)
            continue;
        atomic_fetch_or(&n->changed, bits);
        if (!atomic_exchange(&n->posted, true))
            mailbox_answer(t->o.notices[i].box, &n->mail);
    }
}

unsigned control_notice_take(struct control_thread *t, unsigned who)
{
    ASSERT(who < CONTROL_SUBSCRIBERS);
    /* In this order: what is added in between comes with a notice of its own. */
    atomic_store(&t->notices[who].posted, false);
    return atomic_exchange(&t->notices[who].changed, 0);
}

static void on_fence(void *ctx, enum err why)
{
    struct control_thread *t = ctx;

    if (t->running && t->o.fence != NULL)
        t->o.fence(t->o.fence_ctx, why);
}

static uint64_t on_now(void *ctx)
{
    return boot_now(ctx);
}

static void on_solo(void *ctx, enum err e, const char *why)
{
    struct control_thread *t = ctx;
    struct request *r = t->solo;

    t->solo = NULL;
    answer(r, e, 0, why);
}

static void status_publish(struct control_thread *t)
{
    struct control_core_status *s;

    if (!t->status_stale && t->now_ms < t->status_ms + STATUS_MS)
        return;
    s = malloc(sizeof *s);
    if (s == NULL)
        return; /* the one before stays */
    control_core_status(t->core, s);
    snapshot_publish(t->status, s);
    t->status_ms = t->now_ms;
    t->status_stale = false;
}

struct mailbox *control_thread_box(struct control_thread *t)
{
    return t->box;
}

void control_thread_status(struct control_thread *t, struct control_core_status *out)
{
    struct snapshot_ref *ref = snapshot_hold(t->status);

    *out = *(const struct control_core_status *)snapshot_value(ref);
    snapshot_release(&ref);
}

/* --- links --- */

static void wish(struct control_thread *t, struct wish w)
{
    struct wish *m = malloc(sizeof *m);

    ASSERT(m != NULL); /* lost, a slot would never be given away */
    *m = w;
    mailbox_answer(t->box, &m->mail);
}

static void on_send(void *ctx, uint16_t site, uint64_t incarnation, struct str bytes)
{
    struct control_thread *t = ctx;

    (void)incarnation; /* stands in the frame; one before or after it drops it */
    if (t->links.plane != NULL)
        plane_send(t->links.plane, site, PLANE_URGENT, bytes);
}

static void on_cut(void *ctx, uint16_t site)
{
    struct control_thread *t = ctx;

    if (t->links.plane != NULL)
        plane_cut(t->links.plane, site, LIMIT_LINK_CUT_MS);
}

static void on_frame(void *ctx, uint16_t site, uint64_t incarnation, struct str bytes)
{
    struct control_thread *t = ctx;
    uint64_t now = boot_now(t);

    t->now_ms = now > t->now_ms ? now : t->now_ms;
    control_core_receive(t->core, site, incarnation, bytes, t->now_ms);
    event_active(t->timer, EV_TIMEOUT, 0); /* what follows from it: turn() */
}

static void on_stranger(void *ctx, const char *from, uint64_t count)
{
    struct control_thread *t = ctx;
    struct links *l = &t->links;
    uint64_t now = boot_now(t);

    stat_add(STAT_CONTROL_STRANGERS_TOTAL, (int64_t)count);
    l->strangers += count;
    if (l->strangers_ms != 0 && now < l->strangers_ms + STRANGER_MS)
        return;
    LOG(EV_CONTROL_STRANGER, L_CSTR("from", from), L_U64("count", l->strangers));
    l->strangers = 0;
    l->strangers_ms = now;
}

static void peer_of_seed(const struct identity_peer *seed, struct plane_peer *to)
{
    *to = (struct plane_peer){.site = seed->site, .incarnation = seed->incarnation};
    memcpy(to->key, seed->key, sizeof to->key);
    memcpy(to->address, seed->control, sizeof to->address);
}

static void peer_of_news(const struct control_core_news *news, uint32_t i,
                         struct plane_peer *to)
{
    *to = (struct plane_peer){.site = news->peers[i].site,
                              .incarnation = news->peers[i].incarnation,
                              .has_old_key = news->peers[i].has_old_key};
    memcpy(to->key, news->peers[i].key, sizeof to->key);
    memcpy(to->old_key, news->peers[i].old_key, sizeof to->old_key);
    memcpy(to->address, news->peers[i].address, sizeof to->address);
}

static void peer_of_member(const struct member *m, struct plane_peer *to)
{
    *to = (struct plane_peer){
        .site = m->site, .incarnation = m->incarnation, .has_old_key = m->has_old_key};
    memcpy(to->key, m->key, sizeof to->key);
    memcpy(to->old_key, m->old_key, sizeof to->old_key);
    memcpy(to->address, m->control, sizeof to->address);
}

/* Who is a member: what another one has told, when this node is behind; else by the state. A
 * node that joined takes its token's word for it until it has come to its own entry in the log:
 * the token is no older than that, and the members of before may be gone. */
static enum err peers_now(struct control_thread *t, struct plane_peer out[PLANE_PEERS],
                          uint32_t *count)
{
    const struct store_id *own = control_core_id(t->core);
    const struct identity *identity = &t->links.identity;
    const struct control_core_news *news = control_core_news(t->core);
    struct control_members m;
    enum err e = control_members(control_core_state(t->core), &m);

    *count = 0;
    if (e != OK)
        return e;
    if (m.applied < news->index) {
        for (uint32_t i = 0; i < news->count; i++)
            if (news->peers[i].site != own->site)
                peer_of_news(news, i, &out[(*count)++]);
        return OK;
    }
    if (m.applied < own->incarnation && identity->seed_count > 0) {
        for (uint32_t i = 0; i < identity->seed_count; i++)
            if (identity->seeds[i].site != own->site)
                peer_of_seed(&identity->seeds[i], &out[(*count)++]);
        return OK;
    }
    for (uint32_t i = 0; i < m.count; i++)
        if (!m.members[i].leaving && m.members[i].incarnation != own->incarnation)
            peer_of_member(&m.members[i], &out[(*count)++]);
    return OK;
}

static void links_update(struct control_thread *t)
{
    struct plane_peer peers[PLANE_PEERS];
    uint32_t count;

    if (t->links.plane == NULL || !t->links.stale)
        return;
    /* Fails for want of memory or descriptors: logged where it arose, tried again next turn. */
    t->links.stale =
        peers_now(t, peers, &count) != OK || plane_peers(t->links.plane, peers, count) != OK;
    for (uint32_t i = 0; !t->links.stale && i < count; i++)
        control_core_meet(t->core, peers[i].site, peers[i].incarnation);
}

static enum err links_open(struct control_thread *t)
{
    const struct control_thread_options *o = &t->o;

    if (o->bind == NULL)
        return OK;
    ASSERT(o->identity != NULL);
    t->links.identity = *o->identity;
    t->links.stale = true;
    return plane_open(&t->links.plane,
                      &(struct plane_options){.base = t->base,
                                              .bind = o->bind,
                                              .public_key = o->identity->public_key,
                                              .secret_key = o->identity->secret_key,
                                              .ops = {t, on_frame, on_stranger}});
}

void control_thread_rekey(struct control_thread *t, const uint8_t *public_key,
                          const uint8_t *secret_key)
{
    struct wish w = {.mail.kind = R_REKEY};

    memcpy(w.public_key, public_key, sizeof w.public_key);
    memcpy(w.secret_key, secret_key, sizeof w.secret_key);
    wish(t, w);
    explicit_bzero(&w, sizeof w);
}

/* --- lease --- */

static void lease_publish(struct control_thread *t)
{
    uint64_t leaving[4] = {0};

    for (uint32_t i = 0; i < CONTROL_SLOTS; i++)
        if (control_core_is_leaving(t->core, i))
            leaving[i / 64] |= UINT64_C(1) << i % 64;
    /* What is to be given away first: who sees the new session sees no old slots. */
    for (size_t i = 0; i < 4; i++)
        atomic_store(&t->lease.leaving[i], leaving[i]);
    atomic_store(&t->lease.session, control_core_session(t->core));
    atomic_store(&t->lease.valid_until_ms, control_core_valid_until(t->core));
    atomic_store(&t->lease.is_over, control_core_is_over(t->core));
    atomic_store(&t->lease.has_members, control_core_has_members(t->core));
}

void control_thread_lease(struct control_thread *t, struct control_lease *out)
{
    *out = (struct control_lease){.has_members = atomic_load(&t->lease.has_members),
                                  .session = atomic_load(&t->lease.session),
                                  .valid_until_ms = atomic_load(&t->lease.valid_until_ms),
                                  .is_over = atomic_load(&t->lease.is_over)};
    for (size_t i = 0; i < 4; i++)
        out->leaving[i] = atomic_load(&t->lease.leaving[i]);
    if (!out->has_members)
        out->session = atomic_load(&t->session);
}

void control_thread_quiet(struct control_thread *t, uint32_t slot, uint64_t epoch)
{
    wish(t, (struct wish){.mail.kind = R_QUIET, .slot = slot, .epoch = epoch});
}

void control_thread_drain(struct control_thread *t, bool on)
{
    wish(t, (struct wish){.mail.kind = R_DRAIN, .on = on});
}

void control_thread_leave(struct control_thread *t)
{
    wish(t, (struct wish){.mail.kind = R_LEAVE});
}

void control_thread_quiet_all(struct control_thread *t)
{
    wish(t, (struct wish){.mail.kind = R_QUIET_ALL});
}

void control_thread_transfer(struct control_thread *t, uint64_t to)
{
    wish(t, (struct wish){.mail.kind = R_TRANSFER, .to = to});
}

static void grant(struct control_thread *t, const struct wish *w)
{
    switch ((enum request_kind)w->mail.kind) {
    case R_TRANSFER:
        control_core_transfer(t->core, w->to, t->now_ms);
        return;
    case R_QUIET:
        control_core_quiet(t->core, w->slot, w->epoch, t->now_ms);
        return;
    case R_DRAIN:
        control_core_drain(t->core, w->on, t->now_ms);
        return;
    case R_LEAVE:
        control_core_leave(t->core, t->now_ms);
        return;
    case R_QUIET_ALL:
        control_core_quiet_all(t->core, t->now_ms);
        return;
    case R_REKEY:
        if (t->links.plane != NULL &&
            plane_rekey(t->links.plane, w->public_key, w->secret_key) != OK)
            LOG(EV_CONTROL_FAILED, L_CSTR("store", "control"), L_CSTR("op", "rekey"),
                L_ERR(E_IO));
        return;
    case R_PROPOSE:
    case R_STOP:
    case R_SOLO:
        return;
    }
}

/* --- the loop --- */

static void take_request(struct control_thread *t, struct request *r)
{
    enum err e;

    if (t->core == NULL) {
        answer(r, E_IO, 0, NULL);
    } else if (r->answer.mail.kind == R_PROPOSE) {
        e = control_core_propose(t->core, (uint64_t)(uintptr_t)r,
                                 (struct str){(const char *)r->bytes, r->n}, t->now_ms);
        if (e != OK)
            answer(r, e, 0, NULL);
    } else if (t->solo != NULL) {
        answer(r, E_CONFLICT, 0, "it is under way");
    } else {
        t->solo = r;
        control_core_solo(t->core, t->now_ms);
    }
}

static void take_mail(struct control_thread *t)
{
    struct mail *next;

    for (struct mail *m = mailbox_take(t->box); m != NULL; m = next) {
        struct request *r = (struct request *)(void *)m; /* mail is first in all of them */

        next = m->next;
        m->next = NULL;
        if (m == &t->stop) {
            t->stopping = true;
        } else if (m->kind == R_PROPOSE || m->kind == R_SOLO) {
            take_request(t, r);
        } else {
            if (t->core != NULL)
                grant(t, (struct wish *)(void *)m);
            explicit_bzero(m, sizeof(struct wish)); /* there may be a key in it */
            free(m);
        }
    }
}

static void arm(struct control_thread *t)
{
    uint64_t now = boot_now(t), due = control_core_deadline(t->core), ms;
    struct timeval tv;

    if (t->stopping && t->stop_ms < due)
        due = t->stop_ms;
    ms = due > now ? due - now : 0;
    if (ms > IDLE_MS)
        ms = IDLE_MS;
    tv = (struct timeval){.tv_sec = (time_t)(ms / 1000),
                          .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    event_add(t->timer, &tv);
}

/* A leader hands over first: the others need not find out that it is gone. */
static void stop_when_relieved(struct control_thread *t)
{
    if (t->stop_ms == 0) {
        t->stop_ms = t->now_ms + CONTROL_HAND_OVER_MS;
        control_core_transfer(t->core, 0, t->now_ms);
    }
    if (control_core_leads(t->core) && !control_core_is_lone(t->core) && t->now_ms < t->stop_ms)
        return;
    control_core_stop(t->core, t->now_ms);
    event_base_loopbreak(t->base);
}

static void turn(struct control_thread *t)
{
    uint64_t now = boot_now(t);

    t->now_ms = now > t->now_ms ? now : t->now_ms;
    take_mail(t);
    control_core_flush(t->core, t->now_ms);
    control_core_tick(t->core, t->now_ms);
    links_update(t);
    clock_publish(t);
    status_publish(t);
    lease_publish(t);
    if (t->stopping)
        stop_when_relieved(t);
    arm(t);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    turn(arg);
}

static void *thread_main(void *arg)
{
    struct control_thread *t = arg;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_setname_np(pthread_self(), "control");
    turn(t);
    event_base_loop(t->base, EVLOOP_NO_EXIT_ON_EMPTY);
    return NULL;
}

/* --- proposing --- */

enum err control_propose(struct control_thread *t, const struct command *cmd,
                         const struct control_propose_to *to)
{
    struct request *r = malloc(sizeof *r + LIMIT_COMMAND_BYTES);
    struct request *fitted;
    struct str bytes = STR_NONE;
    enum err e;

    if (r == NULL)
        return E_FULL;
    e = command_encode(cmd, r->bytes, LIMIT_COMMAND_BYTES, &bytes);
    if (e != OK) {
        free(r);
        return e;
    }
    fitted = realloc(r, sizeof *r + bytes.n);
    if (fitted != NULL)
        r = fitted;
    r->answer = (struct control_answer){.mail.kind = R_PROPOSE, .tag = to->tag, .ctx = to->ctx};
    r->to = *to;
    r->n = bytes.n;
    e = mailbox_post(t->box, &r->answer.mail);
    if (e != OK)
        free(r);
    return e;
}

enum err control_thread_solo(struct control_thread *t, const struct control_propose_to *to)
{
    struct request *r = calloc(1, sizeof *r);
    enum err e;

    if (r == NULL)
        return E_FULL;
    r->answer = (struct control_answer){.mail.kind = R_SOLO, .tag = to->tag, .ctx = to->ctx};
    r->to = *to;
    e = mailbox_post(t->box, &r->answer.mail);
    if (e != OK)
        free(r);
    return e;
}

enum err control_propose_wait(struct control_thread *t, const struct command *cmd,
                              struct control_outcome *out)
{
    struct mailbox *box = mailbox_new(1);
    struct control_outcome got = {.index = 0};
    struct mail *mail = NULL;

    got.err = control_propose(t, cmd, &(struct control_propose_to){.box = box});
    if (got.err == E_PROTO)
        got.refused = command_check(cmd);
    while (got.err == OK && mail == NULL) {
        struct pollfd p = {.fd = mailbox_fd(box), .events = POLLIN};

        poll(&p, 1, -1);
        mail = mailbox_take(box);
    }
    if (mail != NULL) {
        struct control_answer *a = (struct control_answer *)(void *)mail;

        got = (struct control_outcome){.index = a->index, .err = a->err, .refused = a->refused};
        control_answer_free(&a);
    }
    mailbox_free(&box);
    if (out != NULL)
        *out = got;
    return got.err;
}

/* --- start and stop --- */

static enum err open_core(struct control_thread *t)
{
    const struct control_thread_options *o = &t->o;
    uint64_t seed;

    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return E_IO;
    t->now_ms = boot_now(t);
    return control_core_open(
        &t->core, &(struct control_core_options){.dir = o->dir,
                                                 .log_map_bytes = o->log_map_bytes,
                                                 .state_map_bytes = o->state_map_bytes,
                                                 .site = o->site,
                                                 .create = o->create,
                                                 .near_sites = o->near_sites,
                                                 .session_ms = o->session_ms,
                                                 .seed = seed,
                                                 .boot_now_ms = t->now_ms,
                                                 .ops = {.ctx = t,
                                                         .send = on_send,
                                                         .answer = on_answer,
                                                         .changed = on_changed,
                                                         .fence = on_fence,
                                                         .cut = on_cut,
                                                         .solo = on_solo,
                                                         .now = on_now}});
}

static enum err open_loop(struct control_thread *t)
{
    enum err e;

    t->base = event_base_new();
    if (t->base == NULL)
        return E_IO;
    t->box_event = event_new(t->base, mailbox_fd(t->box), EV_READ | EV_PERSIST, on_event, t);
    t->timer = event_new(t->base, -1, 0, on_event, t);
    if (t->box_event == NULL || t->timer == NULL || event_add(t->box_event, NULL) != 0)
        return E_IO;
    e = links_open(t);
    if (e != OK)
        return e;
    t->running = true;
    if (pthread_create(&t->thread, NULL, thread_main, t) == 0)
        return OK;
    t->running = false;
    return E_IO;
}

static enum err open_session(struct control_thread *t)
{
    const struct store_id *id = control_core_id(t->core);
    struct control_outcome out;
    struct command c = {.kind = COMMAND_SESSION_OPEN,
                        .session_open = {.site = t->o.site,
                                         .incarnation = id->incarnation,
                                         .duration_ms = t->o.session_ms != 0
                                                            ? t->o.session_ms
                                                            : DEFAULT_SESSION_MS}};
    enum err e = control_propose_wait(t, &c, &out);

    atomic_store(&t->session, out.index);
    return e;
}

enum err control_thread_start(struct control_thread **out,
                              const struct control_thread_options *o)
{
    struct control_thread *t = calloc(1, sizeof *t);
    bool lone = false;
    enum err e;

    ASSERT(t != NULL);
    *out = NULL;
    t->o = *o;
    for (unsigned i = 0; i < CONTROL_SUBSCRIBERS; i++)
        t->notices[i].mail.kind = o->notices[i].kind;
    t->stop.kind = R_STOP;
    t->box = mailbox_new(LIMIT_CONTROL_BOX);
    t->status = snapshot_new(calloc(1, sizeof(struct control_core_status)), free);
    e = open_core(t);
    if (e == OK) {
        clock_publish(t);
        /* The first member of a cluster has its session from the lease, as all members. */
        control_core_flush(t->core, t->now_ms);
        lone = control_core_is_lone(t->core) && !control_core_has_members(t->core);
        e = open_loop(t);
        if (e != OK)
            LOG(EV_CONTROL_FAILED, L_CSTR("store", "control"), L_CSTR("op", "thread"),
                L_ERR(e));
    }
    t->o.bind = NULL; /* borrowed */
    t->o.identity = NULL;
    if (e == OK && lone)
        e = open_session(t);
    if (e != OK)
        control_thread_stop(&t);
    *out = t;
    return e;
}

void control_thread_stop(struct control_thread **tp)
{
    struct control_thread *t = *tp;

    if (t->running) {
        mailbox_answer(t->box, &t->stop);
        pthread_join(t->thread, NULL);
    }
    if (t->core != NULL)
        control_core_close(&t->core);
    take_mail(t);
    mailbox_free(&t->box);
    for (unsigned i = 0; i < CONTROL_SUBSCRIBERS; i++)
        if (t->o.notices[i].box != NULL)
            mailbox_withdraw(t->o.notices[i].box, &t->notices[i].mail);
    if (t->links.plane != NULL)
        plane_close(&t->links.plane);
    explicit_bzero(&t->links.identity, sizeof t->links.identity);
    if (t->box_event != NULL)
        event_free(t->box_event);
    if (t->timer != NULL)
        event_free(t->timer);
    if (t->base != NULL)
        event_base_free(t->base);
    snapshot_free(&t->status);
    free(t);
    *tp = NULL;
}

struct control *control_thread_state(struct control_thread *t)
{
    return control_core_state(t->core);
}

uint64_t control_thread_session(const struct control_thread *t)
{
    uint64_t session = atomic_load(&t->lease.session);

    return session != 0 ? session : atomic_load(&t->session);
}

const struct store_id *control_thread_id(const struct control_thread *t)
{
    return control_core_id(t->core);
}
