/* queue hold, release, retry, delete, bounce: counts what is meant, then puts the order into
 * the control log; the scheduler carries it out. Mail received after the cut-off, which is the
 * moment of the first count unless the caller names an earlier one, is not meant. */
#include <stdlib.h>

#include "base/limits.h"
#include "node/admin_parts.h"

#define ENVELOPE_ARENA (RECORD_ARENA_BYTES + 65536)
#define POLL_MS        50 /* between two looks whether the order has been carried out */
#define WAIT_MS        10000
#define WAIT_MAX_MS    600000

enum stage { STAGE_BEGIN, STAGE_COUNT, STAGE_ORDER, STAGE_ANSWER, STAGE_FOLLOW };

struct operate_state {
    struct admin_asked asked; /* first */
    enum stage stage;
    enum operate_op op;
    enum operate_select select;
    char domain_text[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct str domain;
    bool dry_run;
    bool is_in_flux; /* older orders to hold or release are not carried out yet */
    uint64_t cutoff_ms, wait_ms, waited_ms;
    struct admin_times t;
    struct spool_cursor cursor;
    struct mid *ids; /* asked for, and after the count: found */
    uint32_t id_count, looked_at, found;
    json_t *missing; /* ids that are not queued */
    uint64_t messages, bytes, index;
    struct admin_call *call;
};

static void operate_end(struct admin_call *c, void *state)
{
    struct operate_state *s = state;

    (void)c;
    admin_asked_free(&s->asked);
    free(s->ids);
    json_decref(s->missing);
}

static bool usage(struct admin_call *c, const char *what, const char *where)
{
    (void)admin_fail(c, ADMIN_EXIT_USAGE, what, where,
                     "name ids, or one of domain and all, and nothing twice");
    return false;
}

static bool read_ids(struct admin_call *c, struct operate_state *s)
{
    size_t n = admin_texts(c, "ids");

    s->ids = calloc(n, sizeof *s->ids);
    if (s->ids == NULL) {
        (void)admin_fail_err(c, E_FULL, "memory");
        return false;
    }
    for (size_t i = 0; i < n; i++)
        if (!mid_parse(admin_texts_at(c, "ids", i), &s->ids[i]))
            return usage(c, "not a message id", "ids");
    s->id_count = (uint32_t)n;
    return true;
}

static bool read_args(struct admin_call *c, struct operate_state *s)
{
    bool ids = admin_given(c, "ids"), domain = admin_given(c, "domain"),
         all = admin_flag(c, "all");
    uint64_t now_ms = s->t.cluster_ms;

    if (!operate_op_parse(admin_text(c, "op"), &s->op))
        return usage(c, "not an order for mail", "op");
    if (ids + domain + all != 1)
        return usage(c, "say which messages are meant", "op");
    s->select = ids ? OPERATE_IDS : domain ? OPERATE_DOMAIN : OPERATE_ALL;
    s->dry_run = admin_flag(c, "dry_run");
    s->cutoff_ms = admin_count(c, "cutoff_ms", now_ms);
    if (s->cutoff_ms == 0 || s->cutoff_ms > now_ms)
        return usage(c, "a cut-off must not lie in the future", "cutoff_ms");
    s->wait_ms = admin_count(c, "wait_ms", WAIT_MS);
    s->cursor.committed_only = true;
    if (domain &&
        !admin_domain_arg(c, "domain", s->domain_text, sizeof s->domain_text, &s->domain))
        return false;
    return !ids || read_ids(c, s);
}

/* --- counting --- */

/* A message may stand as free and be held in a moment, when the try under way has ended: as
 * long as such an order waits, what the store says of holds is not the last word. */
static bool holds_are_in_flux(struct admin *a)
{
    struct operation op = {0};
    struct arena arena;
    bool found = false;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    while (!found && control_operation_next(control_thread_state(a->node->control), op.index,
                                            &arena, &op) == OK) {
        found = op.operate.op == OPERATE_HOLD || op.operate.op == OPERATE_RELEASE;
        arena_reset(&arena);
        arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    }
    arena_reset(&arena);
    return found;
}

static bool is_meant(const struct operate_state *s, const struct envelope *e)
{
    if (e->received_ms > s->cutoff_ms)
        return false;
    if (s->select == OPERATE_DOMAIN && !str_eq(e->domain, s->domain))
        return false;
    /* What is so already is not counted; the order would do nothing to it. */
    if (!s->is_in_flux && (s->op == OPERATE_HOLD || s->op == OPERATE_RELEASE))
        return e->held == (s->op == OPERATE_RELEASE);
    return true;
}

static bool count_one(void *user, const struct envelope *e, bool dot_open)
{
    struct operate_state *s = user;

    if (!is_meant(s, e))
        return true;
    s->messages++;
    s->bytes += e->body_bytes;
    if (s->dry_run && s->messages <= LIMIT_ADMIN_SAMPLE)
        admin_emit(s->call, admin_row_message(e, dot_open, &s->t));
    return true;
}

static void add_missing(struct operate_state *s, struct mid id)
{
    char text[MID_TEXT_SIZE];

    (void)json_array_append_new(s->missing, json_string(mid_text(id, text)));
}

/* A batch of the ids that were named; those found move to the front. */
static enum err count_ids(struct admin *a, struct operate_state *s)
{
    struct arena arena;
    enum err e = OK;

    arena_init(&arena, ENVELOPE_ARENA);
    for (size_t i = 0; i < ADMIN_ROWS_A_STEP && s->looked_at < s->id_count; i++) {
        struct mid id = s->ids[s->looked_at++];
        struct envelope env;

        e = admin_queued(a, id, &arena, &env);
        if (e == OK && env.received_ms <= s->cutoff_ms) {
            s->ids[s->found++] = id;
            (void)count_one(s, &env, false);
        } else if (e == OK || e == E_NOTFOUND || e == E_AGAIN || e == E_CORRUPT) {
            add_missing(s, id);
        } else {
            break;
        }
        arena_reset(&arena);
        e = OK;
    }
    arena_reset(&arena);
    s->cursor.end = s->looked_at == s->id_count;
    return e;
}

static json_t *facts(const struct operate_state *s)
{
    json_t *more = json_object();

    admin_set_z(more, "op", operate_op_text(s->op));
    admin_set_u64(more, "messages", s->messages);
    admin_set_u64(more, "bytes", s->bytes);
    admin_set_u64(more, "cutoff_ms", s->cutoff_ms);
    admin_set(more, "dry_run", json_boolean(s->dry_run));
    admin_set(more, "missing", json_incref(s->missing));
    return more;
}

static enum admin_next count(struct admin_call *c, struct operate_state *s)
{
    struct admin *a = c->ctx;
    enum err e = s->select == OPERATE_IDS
                     ? count_ids(a, s)
                     : spool_scan(a->reader, &s->cursor, LIMIT_ADMIN_BATCH, count_one, s);

    if (e != OK)
        return admin_fail_err(c, e, "spool");
    if (!s->cursor.end)
        return ADMIN_AGAIN;
    s->stage = STAGE_ORDER;
    if (s->messages > 0 && !s->dry_run)
        return ADMIN_AGAIN;
    return admin_done(c, s->messages == 0 ? ADMIN_EXIT_NEGATIVE : ADMIN_EXIT_OK, facts(s));
}

/* --- ordering --- */

static enum admin_next order(struct admin_call *c, struct operate_state *s)
{
    struct command cmd = {
        .kind = COMMAND_OPERATE,
        .operate = {.op = s->op,
                    .select = s->select,
                    .ids = s->ids,
                    .id_count = s->found,
                    .domain = s->domain,
                    .cutoff_ms = s->cutoff_ms,
                    .uid = c->uid},
    };

    s->stage = STAGE_ANSWER;
    return admin_propose(c, &cmd);
}

static bool is_pending(struct admin *a, uint64_t index)
{
    struct operation op;
    struct arena arena;
    enum err e;

    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    e = control_operation_next(control_thread_state(a->node->control), index - 1, &arena, &op);
    arena_reset(&arena);
    return e == OK && op.index == index;
}

static enum admin_next follow(struct admin_call *c, struct operate_state *s)
{
    bool pending = is_pending(c->ctx, s->index);
    json_t *more;

    if (pending && s->waited_ms < s->wait_ms) {
        s->waited_ms += POLL_MS;
        return admin_wait(c, POLL_MS);
    }
    more = facts(s);
    admin_set_u64(more, "index", s->index);
    admin_set(more, "finished", json_boolean(!pending));
    return admin_done(c, json_array_size(s->missing) > 0 ? ADMIN_EXIT_PARTIAL : ADMIN_EXIT_OK,
                      more);
}

static enum admin_next answer(struct admin_call *c, struct operate_state *s)
{
    if (c->timed_out)
        return admin_timed_out(c);
    if (s->asked.control->err != OK)
        return admin_fail_proposal(c, s->asked.control, "queue");
    s->index = s->asked.control->index;
    s->stage = STAGE_FOLLOW;
    return follow(c, s);
}

static enum admin_next operate_step(struct admin_call *c, void *state)
{
    struct operate_state *s = state;

    switch (s->stage) {
    case STAGE_BEGIN:
        s->t = admin_times_now(c->ctx);
        s->call = c;
        s->missing = json_array();
        if (!read_args(c, s))
            return ADMIN_END;
        s->is_in_flux = holds_are_in_flux(c->ctx);
        s->stage = STAGE_COUNT;
        return count(c, s);
    case STAGE_COUNT:
        return count(c, s);
    case STAGE_ORDER:
        return order(c, s);
    case STAGE_ANSWER:
        return answer(c, s);
    case STAGE_FOLLOW:
        return follow(c, s);
    }
    return ADMIN_END;
}

static const struct admin_arg operate_args[] = {
    {"op", ADMIN_ARG_TEXT, 16, true},
    {"ids", ADMIN_ARG_TEXTS, LIMIT_OPERATION_IDS, false},
    {"domain", ADMIN_ARG_TEXT, LIMIT_SMTP_DOMAIN_BYTES + 1, false},
    {"all", ADMIN_ARG_BOOL, 0, false},
    {"dry_run", ADMIN_ARG_BOOL, 0, false},
    {"cutoff_ms", ADMIN_ARG_COUNT, INT64_MAX, false},
    {"wait_ms", ADMIN_ARG_COUNT, WAIT_MAX_MS, false},
};

static const struct admin_command rows[] = {
    {"queue.operate", ADMIN_ARGS(operate_args), true, sizeof(struct operate_state),
     operate_step, operate_end},
};

struct admin_table admin_operate_table(void)
{
    return ADMIN_TABLE(rows);
}
