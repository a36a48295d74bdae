/* queue list, show, trace, summary: reading. Orders are in admin_operate.c. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "node/admin_parts.h"

#define ENVELOPE_ARENA (RECORD_ARENA_BYTES + 65536)

/* --- list --- */

struct list_state {
    struct admin_asked asked; /* first */
    bool begun, was_asked;
    struct spool_cursor cursor;
    struct admin_times t;
    char domain_text[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct str domain; /* .p NULL: any */
    struct str sender; /* the same; of the request */
    bool by_state;
    enum admin_mail_state state;
    uint64_t older_s, limit, shown;
    uint32_t batch; /* rows of this step */
    struct admin_call *call;
    /* Of a member: the rows of this step wait until it is known how many copies there are. */
    json_t *rows[ADMIN_ROWS_A_STEP];
    struct mid ids[ADMIN_ROWS_A_STEP];
};

static_assert(ADMIN_ROWS_A_STEP <= REPLICA_COPIES_ASK, "asked for in one question");

static void list_end(struct admin_call *c, void *state)
{
    struct list_state *s = state;

    (void)c;
    admin_asked_free(&s->asked);
    for (uint32_t i = 0; i < s->batch; i++)
        json_decref(s->rows[i]);
}

static bool list_begin(struct admin_call *c, struct list_state *s)
{
    s->begun = true;
    s->call = c;
    s->cursor.committed_only = true;
    s->older_s = admin_count(c, "older_s", 0);
    s->limit = admin_count(c, "limit", UINT64_MAX);
    s->sender = admin_text(c, "sender");
    if (admin_given(c, "domain") &&
        !admin_domain_arg(c, "domain", s->domain_text, sizeof s->domain_text, &s->domain))
        return false;
    s->by_state = admin_given(c, "state");
    if (!s->by_state || admin_mail_state_parse(admin_text(c, "state"), &s->state))
        return true;
    (void)admin_fail(c, ADMIN_EXIT_USAGE, "not a state of mail", "state",
                     "one of queued, deferred, held, dsn");
    return false;
}

static bool list_wants(const struct list_state *s, const struct envelope *e)
{
    if (s->domain.p != NULL && !str_eq(s->domain, e->domain))
        return false;
    if (s->sender.p != NULL && !str_eq_nocase(s->sender, e->sender))
        return false;
    if (s->by_state && admin_mail_state(e, &s->t) != s->state)
        return false;
    return s->older_s == 0 || admin_age_s(&s->t, e->received_ms) >= s->older_s;
}

static bool list_one(void *user, const struct envelope *e, bool dot_open)
{
    struct list_state *s = user;

    struct admin *a = s->call->ctx;

    if (!list_wants(s, e))
        return true;
    s->ids[s->batch] = e->id;
    s->rows[s->batch] = admin_row_message(e, dot_open, &s->t);
    admin_set_holder(s->rows[s->batch], a, e->domain);
    s->shown++;
    return ++s->batch < ADMIN_ROWS_A_STEP && s->shown < s->limit;
}

static void list_emit(struct list_state *s, bool is_member)
{
    for (uint32_t i = 0; i < s->batch; i++) {
        if (is_member)
            admin_set_copies(s->rows[i], s->asked.copies, i);
        admin_emit(s->call, s->rows[i]);
        s->rows[i] = NULL;
    }
    s->batch = 0;
}

static enum admin_next list_next(struct admin_call *c, struct list_state *s)
{
    json_t *more;

    if (!s->cursor.end && s->shown < s->limit)
        return ADMIN_AGAIN;
    more = json_object();
    admin_set(more, "complete", json_boolean(s->cursor.end));
    admin_set_u64(more, "corrupt", s->cursor.corrupt);
    return admin_done(c, ADMIN_EXIT_OK, more);
}

static enum admin_next list_step(struct admin_call *c, void *state)
{
    struct list_state *s = state;
    struct admin *a = c->ctx;
    bool is_member = a->node->replica != NULL;
    enum err e = OK;

    if (!s->begun && !list_begin(c, s))
        return ADMIN_END;
    if (s->was_asked) {
        if (c->timed_out)
            return admin_timed_out(c);
        s->was_asked = false;
        list_emit(s, true);
        return list_next(c, s);
    }
    s->t = admin_times_now(a);
    if (s->shown < s->limit)
        e = spool_scan(a->reader, &s->cursor, LIMIT_ADMIN_BATCH, list_one, s);
    if (e != OK)
        return admin_fail_err(c, e, "spool");
    if (is_member && s->batch > 0) {
        s->was_asked = true;
        return admin_ask_copies(c, s->ids, s->batch);
    }
    list_emit(s, is_member);
    return list_next(c, s);
}

/* --- show and trace --- */

/* E_AGAIN: it is not. */
static enum err is_decided(struct admin *a, struct mid id)
{
    struct spool_state state;
    enum err e = spool_state_of(a->reader, id, &state);

    return e == OK && state.state == COPY_UNDECIDED ? E_AGAIN : e;
}

enum err admin_queued(struct admin *a, struct mid id, struct arena *arena, struct envelope *out)
{
    enum err e = spool_get(a->reader, id, arena, out);

    return e == OK ? is_decided(a, id) : e;
}

static enum admin_next undecided(struct admin_call *c)
{
    return admin_fail(c, ADMIN_EXIT_TEMPORARY,
                      "the message is neither accepted nor refused yet", "id",
                      "ask again in a few seconds");
}

struct show_state {
    struct admin_asked asked; /* first */
    struct mid id;
    bool was_asked, asked_copies;
    json_t *row; /* waits for the number of copies */
};

static void show_end(struct admin_call *c, void *state)
{
    struct show_state *s = state;

    (void)c;
    admin_asked_free(&s->asked);
    json_decref(s->row);
}

static enum admin_next show_emit(struct admin_call *c, struct show_state *s)
{
    json_t *row = s->row;

    s->row = NULL;
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

/* Of a member: how many copies of a live message are known. */
static enum admin_next show_ask_copies(struct admin_call *c, struct show_state *s, bool live)
{
    struct admin *a = c->ctx;

    if (s->row == NULL || !live || a->node->replica == NULL)
        return show_emit(c, s);
    s->asked_copies = true;
    return admin_ask_copies(c, &s->id, 1);
}

static enum admin_next show_copies(struct admin_call *c, struct show_state *s)
{
    if (c->timed_out)
        return admin_timed_out(c);
    admin_set_copies(s->row, s->asked.copies, 0);
    return show_emit(c, s);
}

static void set_scheduler(json_t *row, const struct cluster_ask *q, const struct admin_times *t)
{
    static const char *const states[] = {"ready", "deferred", "held", "in-delivery",
                                         "being-written"};

    if (q->err != OK) {
        admin_set_z(row, "state", "not-scheduled");
        return;
    }
    admin_set_z(row, "state", states[q->message.state]);
    admin_set_time(row, "next_try",
                   q->message.next_ms > t->cluster_ms ? admin_wall_of(t, q->message.next_ms)
                                                      : 0);
}

static enum admin_next show_row(struct admin_call *c, struct show_state *s)
{
    struct admin *a = c->ctx;
    struct admin_times t = admin_times_now(a);
    struct envelope env;
    struct arena arena;
    enum err e;

    arena_init(&arena, ENVELOPE_ARENA);
    e = admin_queued(a, s->id, &arena, &env);
    if (e == OK)
        s->row = admin_row_envelope(&env, &t);
    if (s->row != NULL)
        admin_set_holder(s->row, a, env.domain);
    arena_reset(&arena);
    if (e == E_NOTFOUND)
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "no such message is queued", "id",
                          "trispool queue trace ID finds mail that is settled");
    if (e == E_AGAIN)
        return undecided(c);
    if (e != OK)
        return admin_fail_err(c, e, "id");
    if (s->row != NULL)
        set_scheduler(s->row, s->asked.cluster, &t);
    return show_ask_copies(c, s, true);
}

static enum admin_next show_step(struct admin_call *c, void *state)
{
    struct show_state *s = state;
    struct cluster_ask *q;

    if (s->asked_copies)
        return show_copies(c, s);
    if (s->was_asked)
        return c->timed_out ? admin_timed_out(c) : show_row(c, s);
    if (!admin_id_arg(c, &s->id))
        return ADMIN_END;
    s->was_asked = true;
    q = admin_ask_new(CLUSTER_ASK_MESSAGE, STR_NONE, 0);
    if (q != NULL)
        q->id = s->id;
    return admin_ask(c, q);
}

/* Nothing but the settled set may know the id: then its fate is known to be final. */
static enum admin_next trace_gone(struct admin_call *c, struct mid id)
{
    struct admin *a = c->ctx;

    switch (spool_settled_contains(a->reader, id)) {
    case OK:
        return admin_fail(c, ADMIN_EXIT_NEGATIVE,
                          "this id is settled, or was refused before its 250; nothing more is "
                          "kept of it",
                          "id", "traces are kept 30 days; older ones are in the log");
    case E_NOTFOUND:
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "no message ever had this id here", "id",
                          NULL);
    case E_CORRUPT:
        return admin_fail_err(c, E_CORRUPT, "settled set");
    default:
        return admin_fail_err(c, E_IO, "spool");
    }
}

static enum admin_next trace_step(struct admin_call *c, void *state)
{
    struct show_state *s = state;
    struct admin *a = c->ctx;
    struct admin_times t = admin_times_now(a);
    struct envelope env;
    struct arena arena;
    bool live = false;
    enum err e;

    if (s->asked_copies)
        return show_copies(c, s);
    if (!admin_id_arg(c, &s->id))
        return ADMIN_END;
    arena_init(&arena, ENVELOPE_ARENA);
    e = spool_trace(a->reader, s->id, &arena, &env, &live);
    if (e == OK && live)
        e = is_decided(a, s->id);
    if (e == OK)
        s->row = admin_row_envelope(&env, &t);
    if (s->row != NULL && live)
        admin_set_holder(s->row, a, env.domain);
    arena_reset(&arena);
    if (e == E_AGAIN)
        return undecided(c);
    if (e == E_NOTFOUND)
        return trace_gone(c, s->id);
    if (e != OK)
        return admin_fail_err(c, e, "id");
    if (s->row != NULL)
        admin_set(s->row, "live", json_boolean(live));
    return show_ask_copies(c, s, live);
}

/* --- summary --- */

struct sum {
    struct str domain;
    uint64_t messages, bytes, oldest_ms, held, deferred, dsn, possible_duplicates;
};

struct summary_state {
    struct admin_asked asked; /* first */
    bool begun, was_asked, full;
    struct spool_cursor cursor;
    struct admin_times t;
    struct arena names;
    struct map index;
    struct sum *sums; /* index values are places from 1 */
    size_t count, room, next;
};

static void summary_end(struct admin_call *c, void *state)
{
    struct summary_state *s = state;

    (void)c;
    admin_asked_free(&s->asked);
    if (!s->begun)
        return;
    arena_reset(&s->names);
    map_fini(&s->index);
    free(s->sums);
}

static bool is_sum(const void *ctx, uint32_t value, const void *key)
{
    const struct summary_state *s = ctx;
    const struct str *domain = key;

    return str_eq(s->sums[value - 1].domain, *domain);
}

/* NULL: no room. */
static struct sum *sum_of(struct summary_state *s, struct str domain)
{
    uint64_t hash = map_hash(&s->index, domain.p, domain.n);
    uint32_t at = map_find(&s->index, hash, is_sum, s, &domain);
    struct str name;

    if (at != 0)
        return &s->sums[at - 1];
    if (s->count == s->room) {
        size_t room = s->room == 0 ? 64 : s->room * 2;
        struct sum *more = reallocarray(s->sums, room, sizeof *more);

        if (more == NULL)
            return NULL;
        s->sums = more;
        s->room = room;
    }
    name = arena_str(&s->names, domain);
    if (name.p == NULL)
        return NULL;
    s->sums[s->count] = (struct sum){.domain = name, .oldest_ms = UINT64_MAX};
    if (map_put(&s->index, hash, (uint32_t)s->count + 1) != OK)
        return NULL;
    return &s->sums[s->count++];
}

static bool sum_one(void *user, const struct envelope *e, bool dot_open)
{
    struct summary_state *s = user;
    struct sum *sum = sum_of(s, e->domain);
    enum admin_mail_state state = admin_mail_state(e, &s->t);

    (void)dot_open;
    s->full = sum == NULL;
    if (s->full)
        return false;
    sum->messages++;
    sum->bytes += e->body_bytes;
    sum->oldest_ms = e->received_ms < sum->oldest_ms ? e->received_ms : sum->oldest_ms;
    sum->held += state == MAIL_HELD;
    sum->deferred += state == MAIL_DEFERRED;
    sum->dsn += state == MAIL_DSN;
    sum->possible_duplicates += e->possible_duplicates > 0;
    return true;
}

static int by_domain(const void *x, const void *y)
{
    const struct sum *a = x, *b = y;
    size_t n = a->domain.n < b->domain.n ? a->domain.n : b->domain.n;
    int order = memcmp(a->domain.p, b->domain.p, n);

    return order != 0 ? order : (a->domain.n > b->domain.n) - (a->domain.n < b->domain.n);
}

static enum admin_next summary_scan(struct admin_call *c, struct summary_state *s)
{
    struct admin *a = c->ctx;
    enum err e;

    if (!s->begun) {
        arena_init(&s->names, LIMIT_ADMIN_SUMMARY_BYTES);
        map_init(&s->index, LIMIT_QUEUE_DOMAINS, clock_boot_us());
        s->t = admin_times_now(a);
        s->cursor.committed_only = true;
        s->begun = true;
    }
    e = spool_scan(a->reader, &s->cursor, LIMIT_ADMIN_BATCH, sum_one, s);
    if (e != OK)
        return admin_fail_err(c, e, "spool");
    if (s->full)
        return admin_fail_err(c, E_FULL, "domains in the queue");
    if (s->cursor.end && s->count > 0)
        qsort(s->sums, s->count, sizeof *s->sums, by_domain);
    return ADMIN_AGAIN;
}

static enum admin_next summary_ask(struct admin_call *c, struct summary_state *s)
{
    struct admin *a = c->ctx;
    struct str name = s->sums[s->next].domain;
    uint64_t generation = 0;
    struct domain d;
    struct arena arena;
    enum err e;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_domain_get(control_thread_state(a->node->control), name, &arena, &d);
    if (e == OK)
        generation = d.generation;
    arena_reset(&arena);
    if (e != OK && e != E_NOTFOUND)
        return admin_fail_err(c, e, "domain");
    s->was_asked = true;
    return admin_ask(c, admin_ask_new(CLUSTER_ASK_DOMAIN, name, generation));
}

static void summary_row(struct admin_call *c, struct summary_state *s)
{
    const struct sum *sum = &s->sums[s->next++];
    json_t *row = json_object();

    s->was_asked = false;
    admin_set_text(row, "domain", sum->domain);
    admin_set_u64(row, "messages", sum->messages);
    admin_set_u64(row, "bytes", sum->bytes);
    admin_set_time(row, "oldest", admin_wall_of(&s->t, sum->oldest_ms));
    admin_set_u64(row, "oldest_age_s", admin_age_s(&s->t, sum->oldest_ms));
    admin_set_u64(row, "held", sum->held);
    admin_set_u64(row, "deferred", sum->deferred);
    admin_set_u64(row, "dsn", sum->dsn);
    admin_set_u64(row, "possible_duplicates", sum->possible_duplicates);
    admin_set_z(row, "primary", admin_primary_text(s->asked.cluster));
    admin_set(row, "paused",
              json_boolean(s->asked.cluster->err == OK && s->asked.cluster->paused));
    admin_set_holder(row, c->ctx, sum->domain);
    admin_emit(c, row);
}

static enum admin_next summary_step(struct admin_call *c, void *state)
{
    struct summary_state *s = state;
    json_t *more;

    if (!s->cursor.end)
        return summary_scan(c, s);
    if (s->was_asked) {
        if (c->timed_out)
            return admin_timed_out(c);
        summary_row(c, s);
        return ADMIN_AGAIN;
    }
    if (s->next < s->count)
        return summary_ask(c, s);
    more = json_object();
    admin_set_u64(more, "corrupt", s->cursor.corrupt);
    return admin_done(c, ADMIN_EXIT_OK, more);
}

/* --- table --- */

static const struct admin_arg list_args[] = {
    {"domain", ADMIN_ARG_TEXT, LIMIT_SMTP_DOMAIN_BYTES + 1, false},
    {"sender", ADMIN_ARG_TEXT, LIMIT_SMTP_PATH_BYTES, false},
    {"older_s", ADMIN_ARG_COUNT, INT32_MAX, false},
    {"state", ADMIN_ARG_TEXT, 16, false},
    {"limit", ADMIN_ARG_COUNT, INT64_MAX, false},
};
static const struct admin_arg id_args[] = {{"id", ADMIN_ARG_TEXT, 64, true}};

static const struct admin_command rows[] = {
    {"queue.list", ADMIN_ARGS(list_args), false, sizeof(struct list_state), list_step,
     list_end},
    {"queue.show", ADMIN_ARGS(id_args), false, sizeof(struct show_state), show_step, show_end},
    {"queue.trace", ADMIN_ARGS(id_args), false, sizeof(struct show_state), trace_step,
     show_end},
    {"queue.summary", NULL, 0, false, sizeof(struct summary_state), summary_step, summary_end},
};

struct admin_table admin_queue_table(void)
{
    return ADMIN_TABLE(rows);
}
