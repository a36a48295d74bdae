/* queue undelivered: mail that ended without its primary and of which its sender was not told.
 * For the owner of the domain, from the traces: LIMIT_TRACE_DAYS back. A row a recipient. */
#include "base/limits.h"
#include "node/admin_parts.h"
#include "node/delivery/digest.h"

struct undelivered_state {
    bool begun;
    struct spool_cursor cursor;
    struct admin_times t;
    char domain_text[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct str domain; /* .p NULL: any */
    uint64_t within_s; /* 0: all that is kept */
    uint64_t messages, rows;
    json_t *emit[ADMIN_ROWS_A_STEP + LIMIT_SMTP_RCPTS]; /* of this step */
    uint32_t count;
};

static void undelivered_end(struct admin_call *c, void *state)
{
    struct undelivered_state *s = state;

    (void)c;
    for (uint32_t i = 0; i < s->count; i++)
        json_decref(s->emit[i]);
}

static json_t *row_of(const struct envelope *e, const struct rcpt *r)
{
    static const char null_sender[] = "(the null sender is never told)";
    char id[MID_TEXT_SIZE];
    json_t *row = json_object();

    admin_set_z(row, "id", mid_text(e->id, id));
    admin_set_text(row, "domain", e->domain);
    admin_set_text(row, "sender", e->sender);
    admin_set_text(row, "recipient", r->path);
    admin_set_time(row, "received", e->received_wall_ms);
    admin_set_time(row, "ended", e->settled_wall_ms);
    admin_set_z(row, "fate", r->fate == FATE_EXPIRED ? "expired" : "bounced");
    admin_set_text(row, "reply", r->reply);
    admin_set_text(row, "not_told", e->sender.n > 0 ? e->dsn_reply : str_of(null_sender));
    return row;
}

static bool one(void *user, const struct envelope *e, bool dot_open)
{
    struct undelivered_state *s = user;
    uint32_t before = s->count;

    (void)dot_open;
    if (!digest_tells(e) || (s->domain.p != NULL && !str_eq(s->domain, e->domain)) ||
        (s->within_s > 0 && admin_age_s(&s->t, e->settled_ms) > s->within_s))
        return true;
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (digest_tells_of(&e->rcpts[i]))
            s->emit[s->count++] = row_of(e, &e->rcpts[i]);
    s->messages += s->count > before;
    return s->count < ADMIN_ROWS_A_STEP;
}

static bool undelivered_begin(struct admin_call *c, struct undelivered_state *s)
{
    s->begun = true;
    s->cursor.settled = true;
    s->within_s = admin_count(c, "within_s", 0);
    return !admin_given(c, "domain") ||
           admin_domain_arg(c, "domain", s->domain_text, sizeof s->domain_text, &s->domain);
}

static enum admin_next undelivered_step(struct admin_call *c, void *state)
{
    struct undelivered_state *s = state;
    struct admin *a = c->ctx;
    json_t *more;
    enum err e;

    if (!s->begun && !undelivered_begin(c, s))
        return ADMIN_END;
    s->t = admin_times_now(a);
    e = spool_scan(a->reader, &s->cursor, LIMIT_ADMIN_BATCH, one, s);
    if (e != OK)
        return admin_fail_err(c, e, "spool");
    s->rows += s->count;
    for (uint32_t i = 0; i < s->count; i++)
        admin_emit(c, s->emit[i]);
    s->count = 0;
    if (!s->cursor.end)
        return ADMIN_AGAIN;
    more = json_object();
    admin_set_u64(more, "messages", s->messages);
    admin_set_u64(more, "rows", s->rows);
    admin_set_u64(more, "corrupt", s->cursor.corrupt);
    return admin_done(c, ADMIN_EXIT_OK, more);
}

static const struct admin_arg args[] = {
    {"domain", ADMIN_ARG_TEXT, LIMIT_SMTP_DOMAIN_BYTES + 1, false},
    {"within_s", ADMIN_ARG_COUNT, INT32_MAX, false},
};

static const struct admin_command rows[] = {
    {"queue.undelivered", ADMIN_ARGS(args), false, sizeof(struct undelivered_state),
     undelivered_step, undelivered_end},
};

struct admin_table admin_undelivered_table(void)
{
    return ADMIN_TABLE(rows);
}
