#include "node/control_thread.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "replication/clusterclock.h"
#include "replication/consensus.h"
#include "spool/ctllog.h"

#define DEFAULT_LOG_MAP    (1 * GiB)
#define DEFAULT_STATE_MAP  (4 * GiB)
#define DEFAULT_SESSION_MS 10000
#define RETRY_MS           1000  /* between two tries of an apply that found no room */
#define IDLE_MS            60000 /* longest sleep */
#define DROP_SLACK         1024  /* the log is shortened in steps of about this many entries */

/* Decoded commands of one apply; ids and strings are copied twice at most. */
#define APPLY_ARENA_BYTES (LIMIT_CONTROL_BATCH * 3 * LIMIT_COMMAND_BYTES)

enum request_kind { R_PROPOSE, R_STOP };

/* A proposal, and later its answer: one object, so that an answer never needs memory. */
struct request {
    struct control_answer answer; /* first: control_answer_free() frees the whole */
    struct control_propose_to to;
    size_t n;
    uint8_t bytes[];
};

/* The cluster clock for readers in other threads: seq is odd while it is written. */
struct shown_clock {
    _Atomic uint64_t seq, base_ms, boot_ms, floor_ms;
    _Atomic uint64_t shown_ms; /* the highest value anybody was told */
};

#define FOLLOW_UPS 4

struct control_thread {
    struct control_thread_options o;
    struct ctllog *log;
    struct control *state;
    struct mailbox *box;
    pthread_t thread;
    bool running; /* the thread was started */
    uint64_t session;
    struct mail stop;
    uint64_t now_ms; /* read once per turn */

    struct consensus cs;
    struct cs_update update;
    struct cs_event follow[FOLLOW_UPS]; /* what the last update asked to step next */
    size_t follow_count;
    struct cs_proposal proposals[LIMIT_CONTROL_BATCH];
    uint8_t clock_bytes[64];

    struct mail *waiting, **waiting_end; /* requests taken from the box, not yet proposed */
    bool stopping;
    enum err failed; /* not OK: fenced */
    bool full;       /* the log or the state found no room */

    /* The batch last applied, or blocked. */
    uint64_t batch_from, batch_to;
    bool blocked;
    struct command_result results[LIMIT_CONTROL_BATCH];

    struct clusterclock clock;
    struct shown_clock shown;

    struct mail notice;
    atomic_bool notice_posted;
    atomic_uint changed;
};

static uint64_t boot_now(struct control_thread *t)
{
    return t->o.boot_ms != NULL ? t->o.boot_ms() : clock_boot_ms();
}

/* --- cluster clock --- */

static void clock_publish(struct control_thread *t)
{
    struct shown_clock *s = &t->shown;

    atomic_fetch_add(&s->seq, 1);
    atomic_store(&s->base_ms, t->clock.base_ms);
    atomic_store(&s->boot_ms, t->clock.boot_ms);
    atomic_store(&s->floor_ms, t->clock.floor_ms);
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

/* --- answers and notices --- */

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

static void notify(struct control_thread *t, unsigned bits)
{
    if (bits == 0 || t->o.notices == NULL)
        return;
    atomic_fetch_or(&t->changed, bits);
    if (!atomic_exchange(&t->notice_posted, true))
        mailbox_answer(t->o.notices, &t->notice);
}

unsigned control_notice_take(struct control_thread *t)
{
    /* In this order: what is added in between comes with a notice of its own. */
    atomic_store(&t->notice_posted, false);
    return atomic_exchange(&t->changed, 0);
}

/* --- failures --- */

static void follow_up(struct control_thread *t, struct cs_event ev)
{
    ASSERT(t->follow_count < FOLLOW_UPS);
    t->follow[t->follow_count++] = ev;
}

static void fail(struct control_thread *t, const char *op, enum err e)
{
    if (t->failed != OK)
        return;
    t->failed = e;
    t->blocked = false;
    LOG(EV_CONTROL_FAILED, L_CSTR("store", "thread"), L_CSTR("op", op), L_ERR(e));
    t->follow_count = 0; /* nothing of what was asked for is done any more */
    follow_up(t, (struct cs_event){.type = CS_EV_STOP});
    if (t->running && t->o.fence != NULL)
        t->o.fence(t->o.fence_ctx, e);
}

static void set_full(struct control_thread *t, bool full)
{
    if (full != t->full)
        log_write(full ? EV_CONTROL_FULL : EV_CONTROL_ROOM_AGAIN, NULL, 0);
    t->full = full;
    stat_set(STAT_CONTROL_FULL, full);
}

/* --- carrying out an update --- */

static void do_append(struct control_thread *t)
{
    const struct cs_update *u = &t->update;
    struct log_entry entries[LIMIT_CONTROL_BATCH];
    enum err e;

    for (size_t i = 0; i < u->entry_count; i++)
        entries[i] = (struct log_entry){.index = u->entries[i].index,
                                        .term = u->entries[i].term,
                                        .bytes = u->entries[i].bytes};
    e = ctllog_append(t->log, entries, u->entry_count);
    if (e == OK || e == E_FULL)
        set_full(t, e == E_FULL);
    if (e == OK)
        follow_up(t, (struct cs_event){.type = CS_EV_PERSISTED, .index = ctllog_last(t->log)});
    else if (e == E_FULL)
        follow_up(t, (struct cs_event){.type = CS_EV_STORE_FULL, .index = entries[0].index});
    else
        fail(t, "append", e);
}

/* Reads and decodes the entries of the batch. */
static enum err read_batch(struct control_thread *t, struct arena *a, struct command *commands,
                           struct control_input *inputs)
{
    for (uint64_t i = t->batch_from; i <= t->batch_to; i++) {
        size_t at = (size_t)(i - t->batch_from);
        struct log_entry entry;
        enum err e = ctllog_read(t->log, i, a, &entry);

        if (e == OK)
            e = command_decode(entry.bytes, a, &commands[at]);
        if (e == E_PROTO || e == E_NOTFOUND) /* checked when it was proposed */
            e = E_CORRUPT;
        if (e != OK)
            return e;
        inputs[at] = (struct control_input){.index = i, .command = &commands[at]};
    }
    return OK;
}

static unsigned changed_by(const struct command *c)
{
    switch (c->kind) {
    case COMMAND_DOMAIN_PUT:
    case COMMAND_DOMAIN_REMOVE:
    case COMMAND_DOMAIN_DROP:
        return CONTROL_CHANGED_DOMAINS;
    case COMMAND_PLAN_PUT:
        return CONTROL_CHANGED_PLANS;
    case COMMAND_SETTING_PUT:
        return CONTROL_CHANGED_SETTINGS;
    case COMMAND_OPERATE:
        return CONTROL_CHANGED_OPERATIONS;
    case COMMAND_CLOCK:
    case COMMAND_OPERATE_DONE:
    case COMMAND_SESSION_RENEW:
        return 0;
    case COMMAND_SESSION_OPEN:
    case COMMAND_SESSION_END:
    case COMMAND_MEMBER_ADD:
    case COMMAND_MEMBER_REMOVE:
    case COMMAND_MEMBER_KEY:
    case COMMAND_MEMBER_FILLED:
    case COMMAND_SLOT_WANTED:
    case COMMAND_SLOT_RELEASE:
    case COMMAND_PLACE:
    case COMMAND_DRAIN:
        return CONTROL_CHANGED_SLOTS;
    }
    return 0;
}

/* What operators see of a command that took effect, or did not. */
static void log_command(uint64_t index, const struct command *c, const struct command_result *r)
{
    if (r->err != OK)
        LOG(EV_COMMAND_REFUSED, L_CSTR("command", command_kind_text(c->kind)),
            L_U64("index", index), L_CSTR("why", r->refused), L_ERR(r->err));
    else if (c->kind == COMMAND_SESSION_OPEN)
        LOG(EV_SESSION_OPENED, L_U64("site", c->session_open.site), L_U64("epoch", index));
    else if (c->kind == COMMAND_OPERATE)
        LOG(EV_OPERATOR, L_CSTR("op", operate_op_text(c->operate.op)), L_U64("index", index),
            L_U64("uid", c->operate.uid), L_STR("domain", c->operate.domain),
            L_U64("ids", c->operate.id_count));
}

static void after_apply(struct control_thread *t, const struct command *commands)
{
    unsigned changed = 0;
    uint64_t ms;
    enum err e = control_cluster_ms(t->state, &ms);

    if (e != OK) {
        fail(t, "read_clock", e);
        return;
    }
    for (uint64_t i = t->batch_from; i <= t->batch_to; i++) {
        size_t at = (size_t)(i - t->batch_from);

        log_command(i, &commands[at], &t->results[at]);
        if (t->results[at].err == OK)
            changed |= changed_by(&commands[at]);
    }
    if (ms != t->clock.base_ms) {
        clusterclock_applied(&t->clock, ms, boot_now(t));
        clock_publish(t);
    }
    stat_set(STAT_CONTROL_APPLIED_INDEX, t->batch_to);
    notify(t, changed);
    follow_up(t, (struct cs_event){.type = CS_EV_APPLIED, .index = t->batch_to});
}

static void drop_old_entries(struct control_thread *t)
{
    uint64_t applied = control_applied(t->state);
    enum err e;

    if (applied + 1 - ctllog_first(t->log) < LIMIT_CONTROL_LOG_KEPT + DROP_SLACK)
        return;
    e = ctllog_drop_prefix(t->log, applied - LIMIT_CONTROL_LOG_KEPT);
    if (e != OK && e != E_FULL) /* full: the log stays longer, and it is tried again */
        fail(t, "drop_prefix", e);
}

static void do_apply(struct control_thread *t)
{
    struct command *commands = calloc(LIMIT_CONTROL_BATCH, sizeof *commands);
    struct control_input inputs[LIMIT_CONTROL_BATCH];
    size_t count = (size_t)(t->batch_to - t->batch_from + 1);
    struct arena a;
    enum err e = commands == NULL ? E_FULL : OK;

    arena_init(&a, APPLY_ARENA_BYTES);
    if (e == OK)
        e = read_batch(t, &a, commands, inputs);
    if (e == OK)
        e = control_apply_batch(t->state, inputs, count, t->results);
    t->blocked = e == E_FULL;
    if (e == OK || e == E_FULL)
        set_full(t, e == E_FULL);
    if (e == OK)
        after_apply(t, commands);
    else if (e != E_FULL)
        fail(t, "apply", e);
    arena_reset(&a);
    free(commands);
    if (e == OK && t->failed == OK)
        drop_old_entries(t);
}

static void do_answers(struct control_thread *t)
{
    for (size_t i = 0; i < t->update.answer_count; i++) {
        const struct cs_answer *a = &t->update.answers[i];
        struct request *r = (struct request *)(uintptr_t)a->req_id;
        const struct command_result *res;

        switch (a->outcome) {
        case CS_APPLIED:
            ASSERT(a->index >= t->batch_from && a->index <= t->batch_to);
            res = &t->results[a->index - t->batch_from];
            answer(r, res->err, a->index, res->refused);
            break;
        case CS_FULL:
            answer(r, E_FULL, 0, NULL);
            break;
        case CS_NOT_LEADER:
            answer(r, E_NOTOWNER, 0, NULL);
            break;
        case CS_UNKNOWN:
            answer(r, E_IO, 0, NULL);
            break;
        }
    }
}

static void do_clock(struct control_thread *t)
{
    struct command c = {.kind = COMMAND_CLOCK, .clock.elapsed_ms = t->update.clock_elapsed_ms};
    struct str bytes;
    enum err e = command_encode(&c, t->clock_bytes, sizeof t->clock_bytes, &bytes);

    ASSERT(e == OK);
    t->proposals[0] = (struct cs_proposal){.req_id = CS_CLOCK_REQ, .bytes = bytes};
    follow_up(t,
              (struct cs_event){.type = CS_EV_PROPOSE, .proposals = t->proposals, .count = 1});
}

/* In the order that replication/consensus.h asks for. */
static void carry_out(struct control_thread *t)
{
    const struct cs_update *u = &t->update;
    enum err e;

    if (u->store_term) {
        e = ctllog_put_term(t->log, u->term, u->vote);
        if (e != OK)
            fail(t, "put_term", e);
    }
    if (t->failed == OK && u->entry_count > 0)
        do_append(t);
    do_answers(t);
    if (t->failed == OK && u->apply_to != 0) {
        t->batch_from = u->apply_from;
        t->batch_to = u->apply_to;
        do_apply(t);
    }
    if (t->failed == OK && u->clock_elapsed_ms != 0)
        do_clock(t);
}

/* One event and all that follows from it. */
static void run(struct control_thread *t, struct cs_event ev)
{
    struct cs_event queue[FOLLOW_UPS];
    size_t count = 1;

    queue[0] = ev;
    while (count > 0) {
        struct cs_event one = queue[0];

        one.boot_now_ms = t->now_ms;
        t->follow_count = 0;
        cs_step(&t->cs, &one, &t->update);
        carry_out(t);
        if (t->failed != OK) /* only the STOP that fail() left counts */
            count = 1;
        for (size_t i = 1; i < count; i++)
            queue[i - 1] = queue[i];
        count--;
        for (size_t i = 0; i < t->follow_count; i++) {
            ASSERT(count < FOLLOW_UPS);
            queue[count++] = t->follow[i];
        }
    }
}

/* --- the loop --- */

static void take_mail(struct control_thread *t)
{
    struct mail *next;

    for (struct mail *m = mailbox_take(t->box); m != NULL; m = next) {
        next = m->next;
        m->next = NULL;
        if (m == &t->stop) {
            t->stopping = true;
            continue;
        }
        *t->waiting_end = m;
        t->waiting_end = &m->next;
    }
}

static struct request *pop_request(struct control_thread *t)
{
    struct mail *m = t->waiting;

    if (m == NULL)
        return NULL;
    t->waiting = m->next;
    if (t->waiting == NULL)
        t->waiting_end = &t->waiting;
    return (struct request *)(void *)m; /* mail is first in answer, answer in request */
}

/* Proposes all that waits, in batches. What cannot go on is answered at once. */
static void propose_waiting(struct control_thread *t)
{
    while (t->waiting != NULL) {
        struct request *r;
        size_t n = 0;

        if (t->failed != OK || t->blocked || t->stopping) {
            r = pop_request(t);
            answer(r, t->blocked ? E_FULL : E_IO, 0, NULL);
            continue;
        }
        while (n < LIMIT_CONTROL_BATCH && (r = pop_request(t)) != NULL)
            t->proposals[n++] = (struct cs_proposal){.req_id = (uint64_t)(uintptr_t)r,
                                                     .bytes = {(const char *)r->bytes, r->n}};
        run(t, (struct cs_event){.type = CS_EV_PROPOSE, .proposals = t->proposals, .count = n});
    }
}

static void retry_blocked(struct control_thread *t)
{
    t->follow_count = 0;
    do_apply(t);
    if (t->follow_count > 0)
        run(t, t->follow[0]);
}

static int sleep_ms(struct control_thread *t)
{
    uint64_t now = boot_now(t), due = cs_deadline_ms(&t->cs), ms;

    if (t->blocked)
        return RETRY_MS;
    ms = due > now ? due - now : 0;
    return ms < IDLE_MS ? (int)ms : IDLE_MS;
}

static void turn(struct control_thread *t)
{
    uint64_t now = boot_now(t);

    t->now_ms = now > t->now_ms ? now : t->now_ms;
    take_mail(t);
    if (t->blocked)
        retry_blocked(t);
    propose_waiting(t);
    if (t->failed == OK && !t->blocked && !t->stopping)
        run(t, (struct cs_event){.type = CS_EV_TICK});
}

static void *thread_main(void *arg)
{
    struct control_thread *t = arg;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_setname_np(pthread_self(), "control");
    while (!t->stopping) {
        struct pollfd p = {.fd = mailbox_fd(t->box), .events = POLLIN};

        poll(&p, 1, sleep_ms(t)); /* EINTR and failures: a turn too many */
        turn(t);
    }
    if (t->failed == OK)
        run(t, (struct cs_event){.type = CS_EV_STOP});
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

static enum err complain(const char *op, enum err e)
{
    LOG(EV_CONTROL_FAILED, L_CSTR("store", "thread"), L_CSTR("op", op), L_ERR(e));
    return e;
}

static enum err draw_id(uint16_t site, struct store_id *id)
{
    *id = (struct store_id){.site = site};
    if (getrandom(id->cluster, sizeof id->cluster, 0) != (ssize_t)sizeof id->cluster ||
        getrandom(&id->incarnation, sizeof id->incarnation, 0) !=
            (ssize_t)sizeof id->incarnation)
        return complain("getrandom", E_IO);
    id->incarnation |= 1; /* above 0 */
    return OK;
}

static enum err open_stores(struct control_thread *t)
{
    const struct control_thread_options *o = &t->o;
    char dir[4096];
    struct store_id id;
    enum err e = draw_id(o->site, &id);

    if (e != OK)
        return e;
    if (snprintf(dir, sizeof dir, "%s/log", o->dir) >= (int)sizeof dir - 8)
        return complain("dir", E_FULL);
    e = ctllog_open(&t->log, &(struct ctllog_options){.dir = dir,
                                                      .map_bytes = o->log_map_bytes,
                                                      .create = o->create ? &id : NULL});
    if (e != OK)
        return complain("open_log", e);
    if (ctllog_id(t->log)->site != o->site)
        return complain("site", E_CONFLICT);
    snprintf(dir, sizeof dir, "%s/state", o->dir);
    /* A log that still holds its first entry rebuilds a state that was not made yet. */
    e = control_open(&t->state, &(struct control_options){.dir = dir,
                                                          .map_bytes = o->state_map_bytes,
                                                          .id = ctllog_id(t->log),
                                                          .create = ctllog_first(t->log) == 1});
    if (e != OK)
        return complain("open_state", e);
    if (control_applied(t->state) > ctllog_last(t->log))
        return complain("log_is_behind_state", E_CORRUPT);
    if (control_applied(t->state) + 1 < ctllog_first(t->log))
        return complain("state_is_behind_log", E_CORRUPT);
    return OK;
}

/* Applies what an earlier run decided. Still in the caller's thread: errors go to him. */
static enum err replay(struct control_thread *t)
{
    uint64_t ms, applied = control_applied(t->state);
    struct control_counts counts;
    enum err e;

    t->now_ms = boot_now(t);
    cs_init(&t->cs, &(struct cs_config){.site = t->o.site,
                                        .last_index = ctllog_last(t->log),
                                        .term = ctllog_term(t->log),
                                        .applied = applied,
                                        .boot_now_ms = t->now_ms});
    e = control_cluster_ms(t->state, &ms);
    if (e != OK)
        return complain("read_clock", e);
    clusterclock_init(&t->clock, ms, t->now_ms);
    clock_publish(t);
    run(t, (struct cs_event){.type = CS_EV_START});
    if (t->failed != OK || t->blocked)
        return t->blocked ? E_FULL : t->failed;
    LOG(EV_CONTROL_OPENED, L_U64("applied", control_applied(t->state)),
        L_U64("replayed", control_applied(t->state) - applied),
        L_U64("log_first", ctllog_first(t->log)), L_U64("term", ctllog_term(t->log)));
    stat_set(STAT_CONTROL_APPLIED_INDEX, control_applied(t->state));
    e = control_counts(t->state, &counts);
    if (e == OK && counts.operations > 0)
        notify(t, CONTROL_CHANGED_OPERATIONS);
    return e;
}

static enum err open_session(struct control_thread *t)
{
    struct control_outcome out;
    struct command c = {.kind = COMMAND_SESSION_OPEN,
                        .session_open = {.site = t->o.site,
                                         .incarnation = ctllog_id(t->log)->incarnation,
                                         .duration_ms = t->o.session_ms}};
    enum err e = control_propose_wait(t, &c, &out);

    t->session = out.index;
    return e;
}

enum err control_thread_start(struct control_thread **out,
                              const struct control_thread_options *o)
{
    struct control_thread *t = calloc(1, sizeof *t);
    enum err e;

    ASSERT(t != NULL);
    *out = NULL;
    t->o = *o;
    if (t->o.log_map_bytes == 0)
        t->o.log_map_bytes = DEFAULT_LOG_MAP;
    if (t->o.state_map_bytes == 0)
        t->o.state_map_bytes = DEFAULT_STATE_MAP;
    if (t->o.session_ms == 0)
        t->o.session_ms = DEFAULT_SESSION_MS;
    t->waiting_end = &t->waiting;
    t->notice.kind = o->notice_kind;
    t->stop.kind = R_STOP;
    t->box = mailbox_new(LIMIT_CONTROL_BOX);
    e = open_stores(t);
    if (e == OK)
        e = replay(t);
    if (e == OK) {
        t->running = true;
        if (pthread_create(&t->thread, NULL, thread_main, t) != 0) {
            t->running = false;
            e = complain("thread", E_IO);
        }
    }
    if (e == OK)
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
    t->stopping = true;
    take_mail(t);
    propose_waiting(t);
    mailbox_free(&t->box);
    if (t->state != NULL)
        control_close(&t->state);
    if (t->log != NULL)
        ctllog_close(&t->log);
    free(t);
    *tp = NULL;
}

struct control *control_thread_state(struct control_thread *t)
{
    return t->state;
}

uint64_t control_thread_session(const struct control_thread *t)
{
    return t->session;
}

const struct store_id *control_thread_id(const struct control_thread *t)
{
    return ctllog_id(t->log);
}
