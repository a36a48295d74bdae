#include "cluster-tools/load/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/assert.h"
#include "cluster-tools/common/now.h"
#include "cluster-tools/load/journal.h"
#include "cluster-tools/load/retry.h"

#define EVENTS        256
#define SCAN_EVERY_US UINT64_C(250000)
#define STOP_WAIT_US  UINT64_C(3000000) /* for answers under way after a signal */
#define MAX_SLEEP_MS  100
#define ID_SIZE       1024
#define RATE_UNIT     1e12 /* microseconds x millionths in one second */
#define NO_SLOT       SIZE_MAX

struct slot {
    struct conn conn; /* first: epoll hands out its address */
    struct message msg;
    struct walk walk;
    int target;
    uint64_t sent; /* messages of this session */
    size_t next;   /* of the free or the ready list */
    bool has_message, completed, ready;
};

struct engine {
    const struct engine_setup *setup;
    struct load_options *opt;
    struct report *report;
    struct body_plan plan;
    struct journal journal;
    struct retry_heap waiting;
    struct prng prng;
    struct slot *slots;
    size_t free, first_ready;
    size_t in_flight; /* messages in slots */
    uint64_t next_number, start_us, stop_us, next_scan_us, next_line_us, line_acked;
    unsigned next_source;
    int epoll_fd;
    enum err err; /* sticky: the machine failed, the run is over */
};

static struct target *target_of(const struct engine *e, const struct slot *s)
{
    return &e->opt->targets.list[s->target];
}

static bool stopping(const struct engine *e)
{
    return e->stop_us != 0 || e->err != OK;
}

static void fail(struct engine *e, enum err err, const char *what)
{
    if (e->err == OK)
        fprintf(stderr, "trispool-load: %s: %s\n", what, strerror(errno));
    e->err = err;
}

/* ---- ids and the journal ---- */

static const struct file_entry *file_of(const struct engine *e, uint64_t number)
{
    const struct file_list *f = e->setup->files;

    return f == NULL ? NULL : &f->list[number % f->n];
}

static struct str id_of(const struct engine *e, uint64_t number, char buffer[ID_SIZE])
{
    const struct file_entry *file = file_of(e, number);
    uint64_t round = file == NULL ? 0 : number / e->setup->files->n;
    int n;

    if (file == NULL)
        n = snprintf(buffer, ID_SIZE, "%s-%" PRIu64, e->opt->run, number);
    else if (round == 0)
        n = snprintf(buffer, ID_SIZE, "%s", file->id);
    else
        n = snprintf(buffer, ID_SIZE, "%s~%" PRIu64, file->id, round + 1);
    ASSERT(n > 0 && n < ID_SIZE);
    return (struct str){buffer, (size_t)n};
}

static void note(struct engine *e, const struct slot *s, char kind, int code)
{
    char buffer[ID_SIZE];
    const char *target = kind == 'G' ? "-" : target_of(e, s)->address.text;

    journal_add(&e->journal, kind, id_of(e, s->msg.number, buffer), target,
                tool_now_us() - e->start_us, code);
}

/* ---- outcomes ---- */

static void note_temp(struct engine *e, const struct slot *s, int code)
{
    e->report->temp++;
    target_of(e, s)->temp++;
    note(e, s, 'T', code);
}

static void note_unknown(struct engine *e, const struct slot *s)
{
    e->report->unknown++;
    target_of(e, s)->unknown++;
    note(e, s, 'U', 0);
}

static void note_perm(struct engine *e, const struct slot *s, int code)
{
    e->report->perm++;
    target_of(e, s)->perm++;
    note(e, s, 'P', code);
}

static void note_ack(struct engine *e, const struct slot *s, int code)
{
    const struct conn *c = &s->conn;
    struct report *r = e->report;
    uint64_t now = c->now_us;

    report_ack(r, now);
    r->acked_bytes += c->client.msg.bytes;
    if (client_partial(&c->client))
        r->partial++;
    histogram_add(&r->end_of_data, now - c->dot_us);
    histogram_add(&r->transaction, now - c->begin_us);
    histogram_add(&r->end_to_end, now > s->msg.scheduled_us ? now - s->msg.scheduled_us : 0);
    target_of(e, s)->acked++;
    note(e, s, 'A', code);
}

static void release_message(struct engine *e, struct slot *s)
{
    ASSERT(s->has_message && e->in_flight > 0);
    s->has_message = false;
    e->in_flight--;
}

/* The attempt is over without success. */
static void defer(struct engine *e, struct slot *s)
{
    struct message *m = &s->msg;

    m->attempts++;
    m->due_us = tool_now_us() +
                retry_wait_us(m->attempts, e->opt->retry_first_us, e->opt->retry_max_us);
    if (m->attempts >= e->opt->attempts || stopping(e)) {
        e->report->given_up++;
        note(e, s, 'G', 0);
    } else if (retry_push(&e->waiting, m) != OK) {
        fail(e, E_FULL, "memory");
    }
    release_message(e, s);
}

/* ---- slots ---- */

static void free_slot(struct engine *e, struct slot *s)
{
    ASSERT(!s->has_message);
    conn_close(&s->conn);
    s->ready = false;
    s->next = e->free;
    e->free = (size_t)(s - e->slots);
}

static const struct address *next_source(struct engine *e, int family)
{
    for (size_t i = 0; i < e->opt->source_count; i++) {
        const struct address *a = &e->opt->sources[e->next_source++ % e->opt->source_count];

        if (a->sa.ss_family == family)
            return a;
    }
    return NULL;
}

static void connect_failed(struct engine *e, struct slot *s)
{
    struct target *t = target_of(e, s);

    conn_close(&s->conn);
    e->report->connect_failed++;
    t->connect_failed++;
    t->down_until_us = tool_now_us() + e->opt->down_cache_us;
    note_temp(e, s, 0);
}

/* A message without a connection: to the next target of this attempt, or to wait. */
static void walk_on(struct engine *e, struct slot *s)
{
    uint64_t now = tool_now_us();

    ASSERT(s->has_message && !conn_is_open(&s->conn));
    s->sent = 0;
    s->completed = false;
    while (e->err == OK && (s->target = walk_next(&s->walk, &e->opt->targets, e->opt->budget,
                                                  now)) != TARGETS_NONE) {
        const struct address *to = &target_of(e, s)->address;
        enum err err = conn_connect(&s->conn, to, next_source(e, to->sa.ss_family), now);

        if (err == OK)
            return;
        if (err == E_FULL)
            fail(e, E_FULL, "connection");
        connect_failed(e, s);
    }
    defer(e, s);
    free_slot(e, s);
}

/* ---- giving out work ---- */

static bool fresh_allowed(const struct engine *e, uint64_t now)
{
    const struct load_options *o = e->opt;

    return !stopping(e) && (o->messages == 0 || e->next_number < o->messages) &&
           (o->duration_us == 0 || now - e->start_us < o->duration_us);
}

/* When message `number` of the open loop should be sent. */
static uint64_t schedule_of(const struct engine *e, uint64_t number)
{
    return e->start_us + (uint64_t)((double)number * (RATE_UNIT / (double)e->opt->rate_micro));
}

static bool fresh_due(const struct engine *e, uint64_t now)
{
    return fresh_allowed(e, now) &&
           (e->opt->rate_micro == 0 || schedule_of(e, e->next_number) <= now);
}

static bool work_due(const struct engine *e, uint64_t now)
{
    return (!stopping(e) && retry_next_us(&e->waiting) <= now) || fresh_due(e, now);
}

static void take_message(struct engine *e, struct slot *s, uint64_t now)
{
    if (stopping(e) || retry_pop_due(&e->waiting, now, &s->msg) != OK) {
        s->msg = (struct message){.number = e->next_number, .scheduled_us = now};
        if (e->opt->rate_micro != 0)
            s->msg.scheduled_us = schedule_of(e, e->next_number);
        e->next_number++;
        e->report->offered++;
    }
    s->has_message = true;
    e->in_flight++;
    walk_start(&s->walk, &e->opt->targets, &e->prng,
               conn_is_open(&s->conn) ? s->target : TARGETS_NONE);
}

static void begin(struct engine *e, struct slot *s)
{
    const struct file_entry *file = file_of(e, s->msg.number);
    struct client_message m = {.number = s->msg.number};
    char buffer[ID_SIZE];

    if (file == NULL) {
        m.bytes = e->opt->message_bytes;
        body_open_generated(&s->conn.body, &e->plan,
                            &(struct body_stamp){
                                .id = id_of(e, m.number, buffer),
                                .from = str_of(e->opt->conn.client.from),
                                .number = m.number,
                                .wall_s = tool_wall_us() / 1000000,
                            });
    } else {
        m.bytes = file->bytes;
        m.eight_bit = file->eight_bit;
        if (body_open_file(&s->conn.body, file->path, file->bytes) != OK) {
            fail(e, E_FULL, file->path);
            return;
        }
    }
    conn_begin(&s->conn, &m, tool_now_us());
}

static void close_or_wait(struct engine *e, struct slot *s)
{
    conn_quit(&s->conn);
    if (conn_is_open(&s->conn))
        return; /* --wait-quit: CONN_ENDED comes */
    if (s->has_message)
        walk_on(e, s);
    else
        free_slot(e, s);
}

/* The session is free. */
static void next_message(struct engine *e, struct slot *s)
{
    uint64_t now = tool_now_us();

    if (s->has_message) {
        begin(e, s);
    } else if (e->opt->per_session != 0 && s->sent >= e->opt->per_session) {
        close_or_wait(e, s);
    } else if (work_due(e, now)) {
        take_message(e, s, now);
        begin(e, s);
    } else if (e->opt->rate_micro != 0 && !stopping(e)) {
        s->ready = true; /* kept open for the next one of the schedule */
        s->next = e->first_ready;
        e->first_ready = (size_t)(s - e->slots);
    } else {
        close_or_wait(e, s);
    }
}

/* ---- events of a connection ---- */

static void on_lost(struct engine *e, struct slot *s)
{
    bool unknown = client_outcome_unknown(&s->conn.client);

    conn_close(&s->conn);
    e->report->lost++;
    if (!s->has_message) {
        free_slot(e, s);
        return;
    }
    if (unknown)
        note_unknown(e, s);
    else
        note_temp(e, s, 0);
    walk_on(e, s);
}

static void on_ended(struct engine *e, struct slot *s)
{
    conn_close(&s->conn);
    if (s->ready)
        return; /* still in the ready list, which frees it */
    if (s->has_message)
        walk_on(e, s);
    else
        free_slot(e, s);
}

static void on_greeted(struct engine *e, const struct slot *s)
{
    histogram_add(&e->report->connect, s->conn.now_us - s->conn.connect_us);
    e->report->sessions++;
    target_of(e, s)->connected++;
}

static void on_event(struct engine *e, struct slot *s, struct conn_event ev)
{
    switch (ev.type) {
    case CONN_NOTHING:
        break;
    case CONN_GREETED:
        on_greeted(e, s);
        break;
    case CONN_SECURED:
        e->report->tls_sessions++;
        break;
    case CONN_READY:
        if (!s->completed)
            walk_completed(&s->walk);
        s->completed = true;
        next_message(e, s);
        break;
    case CONN_ACKED:
        note_ack(e, s, ev.code);
        release_message(e, s);
        s->sent++;
        next_message(e, s);
        break;
    case CONN_PERM:
        note_perm(e, s, ev.code);
        release_message(e, s);
        s->sent++;
        if (s->conn.client.body_cut)
            close_or_wait(e, s);
        break;
    case CONN_REFUSED:
        e->report->refused++;
        note_temp(e, s, ev.code);
        close_or_wait(e, s);
        break;
    case CONN_TEMP:
        note_temp(e, s, ev.code);
        close_or_wait(e, s);
        break;
    case CONN_CONNECT_FAILED:
        connect_failed(e, s);
        walk_on(e, s);
        break;
    case CONN_MALFORMED:
        e->report->malformed++;
        on_lost(e, s);
        break;
    case CONN_LOST:
        on_lost(e, s);
        break;
    case CONN_ENDED:
        on_ended(e, s);
        break;
    }
}

static void pump(struct engine *e, struct slot *s)
{
    struct conn_event ev;

    while (e->err == OK && conn_is_open(&s->conn)) {
        ev = conn_next(&s->conn);
        if (ev.type == CONN_NOTHING)
            return;
        on_event(e, s, ev);
    }
}

/* ---- the loop ---- */

/* An idle session, or a free slot; NO_SLOT: all are busy. */
static size_t find_slot(struct engine *e)
{
    size_t i;

    while (e->first_ready != NO_SLOT) {
        i = e->first_ready;
        e->first_ready = e->slots[i].next;
        e->slots[i].ready = false;
        if (conn_is_open(&e->slots[i].conn))
            return i;
        free_slot(e, &e->slots[i]); /* the server closed it meanwhile */
    }
    i = e->free;
    if (i != NO_SLOT)
        e->free = e->slots[i].next;
    return i;
}

static void hand_out(struct engine *e)
{
    /* At most one round over the slots a turn: where nobody listens, each message fails at
     * once, and a signal must still be seen. */
    for (unsigned i = 0; i < e->opt->connections && e->err == OK; i++) {
        uint64_t now = tool_now_us();
        size_t at;
        struct slot *s;

        if (!work_due(e, now) || (at = find_slot(e)) == NO_SLOT)
            return;
        s = &e->slots[at];
        take_message(e, s, now);
        if (conn_is_open(&s->conn))
            begin(e, s);
        else
            walk_on(e, s);
        pump(e, s);
    }
}

static void scan(struct engine *e, uint64_t now)
{
    if (now < e->next_scan_us)
        return;
    e->next_scan_us = now + SCAN_EVERY_US;
    for (size_t i = 0; i < e->opt->connections; i++) {
        struct slot *s = &e->slots[i];
        int state = s->conn.client.state;

        if (!conn_timed_out(&s->conn, now))
            continue;
        if (s->conn.connecting) {
            connect_failed(e, s);
            walk_on(e, s);
        } else if (state == CLIENT_QUIT || state == CLIENT_IDLE || state == CLIENT_RSET) {
            on_ended(e, s);
        } else {
            on_lost(e, s);
        }
    }
}

static void print_progress(struct engine *e, uint64_t now)
{
    if (e->opt->interval_us == 0 || now < e->next_line_us)
        return;
    fprintf(stderr,
            "%.1f s: acked %" PRIu64 " (%.0f/s) in flight %zu waiting %zu temp %" PRIu64
            " unknown %" PRIu64 "\n",
            (double)(now - e->start_us) / 1e6, e->report->acked,
            (double)(e->report->acked - e->line_acked) * 1e6 / (double)e->opt->interval_us,
            e->in_flight, e->waiting.n, e->report->temp, e->report->unknown);
    e->line_acked = e->report->acked;
    e->next_line_us += e->opt->interval_us;
}

static int sleep_ms(const struct engine *e, uint64_t now)
{
    uint64_t wake = now + MAX_SLEEP_MS * 1000, retry = retry_next_us(&e->waiting);
    bool slot_free = e->free != NO_SLOT || e->first_ready != NO_SLOT;

    if (!slot_free)
        return MAX_SLEEP_MS;
    if (work_due(e, now))
        return 0;
    if (retry < wake)
        wake = retry;
    if (e->opt->rate_micro != 0 && fresh_allowed(e, now) &&
        schedule_of(e, e->next_number) < wake)
        wake = schedule_of(e, e->next_number);
    return wake > now ? (int)((wake - now + 999) / 1000) : 0;
}

static bool done(const struct engine *e, uint64_t now)
{
    if (e->err != OK)
        return true;
    if (e->stop_us != 0)
        return e->in_flight == 0 || now - e->stop_us > STOP_WAIT_US;
    return e->in_flight == 0 && e->waiting.n == 0 && !fresh_allowed(e, now);
}

static void turn(struct engine *e)
{
    struct epoll_event events[EVENTS];
    uint64_t now;
    int n;

    hand_out(e);
    n = epoll_wait(e->epoll_fd, events, EVENTS, sleep_ms(e, tool_now_us()));
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == NULL)
            e->stop_us = e->stop_us != 0 ? e->stop_us : tool_now_us();
        else
            pump(e, events[i].data.ptr);
    }
    now = tool_now_us();
    scan(e, now);
    print_progress(e, now);
    if (e->journal.failed)
        fail(e, E_IO, "journal");
}

/* What a signal or a failure has cut off gets its line, too. */
static void settle(struct engine *e)
{
    struct slot left = {.target = 0};

    for (size_t i = 0; i < e->opt->connections; i++) {
        struct slot *s = &e->slots[i];

        if (s->has_message && client_outcome_unknown(&s->conn.client))
            note_unknown(e, s);
        else if (s->has_message)
            note_temp(e, s, 0);
        else if (conn_is_open(&s->conn) && s->conn.client.state == CLIENT_IDLE)
            conn_quit(&s->conn);
        conn_close(&s->conn);
    }
    while (retry_pop_due(&e->waiting, UINT64_MAX, &left.msg) == OK) {
        e->report->given_up++;
        note(e, &left, 'G', 0);
    }
}

static enum err prepare(struct engine *e)
{
    struct epoll_event stop = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};

    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->epoll_fd < 0 ||
        epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->setup->stop_fd, &stop) < 0) {
        fail(e, E_FULL, "epoll");
        return E_FULL;
    }
    e->slots = calloc(e->opt->connections, sizeof *e->slots);
    if (e->slots == NULL) {
        fail(e, E_FULL, "connections");
        return E_FULL;
    }
    for (size_t i = e->opt->connections; i-- > 0;) {
        conn_init(&e->slots[i].conn, &e->opt->conn, e->epoll_fd);
        e->slots[i].next = e->free;
        e->free = i;
    }
    if (journal_open(&e->journal, e->opt->journal_path) != OK) {
        fail(e, E_IO, e->opt->journal_path);
        return E_IO;
    }
    if (e->setup->files == NULL)
        body_plan_init(&e->plan, e->opt->message_bytes);
    prng_seed(&e->prng, tool_wall_us() ^ (uint64_t)getpid());
    retry_init(&e->waiting);
    e->start_us = e->report->start_us = tool_now_us();
    e->next_line_us = e->start_us + e->opt->interval_us;
    return OK;
}

enum err engine_run(const struct engine_setup *setup)
{
    struct engine e = {
        .setup = setup,
        .opt = setup->opt,
        .report = setup->report,
        .free = NO_SLOT,
        .first_ready = NO_SLOT,
    };

    if (prepare(&e) == OK) {
        while (!done(&e, tool_now_us()))
            turn(&e);
        settle(&e);
        if (journal_close(&e.journal) != OK)
            fail(&e, E_IO, "journal");
    }
    retry_fini(&e.waiting);
    free(e.slots);
    if (e.epoll_fd >= 0)
        close(e.epoll_fd);
    return e.err;
}
