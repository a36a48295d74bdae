#include "node/delivery/outcome.h"
#include "base/fault.h"

#define OPERATOR_TEXT STR("(ended by the operator)")

/* The new envelope begins as a copy of the old one. */
static enum err begin(const struct envelope *env, struct arena *a, struct outcome *out)
{
    *out = (struct outcome){.env = *env, .write = OUTCOME_NOTHING};
    if (env->rcpt_count == 0)
        return OK;
    out->env.rcpts = arena_take(a, env->rcpt_count * sizeof *env->rcpts);
    if (out->env.rcpts == NULL)
        return E_FULL;
    memcpy(out->env.rcpts, env->rcpts, env->rcpt_count * sizeof *env->rcpts);
    return OK;
}

static bool failed(const struct rcpt *r)
{
    return r->fate == FATE_BOUNCED || r->fate == FATE_EXPIRED;
}

static void end_rcpt(struct outcome *out, struct rcpt *r, enum fate fate, uint64_t now_ms)
{
    ASSERT(r->fate == FATE_PENDING && fate != FATE_PENDING);
    r->fate = fate;
    r->final_ms = now_ms;
    r->next_ms = 0;
    out->delivered += fate == FATE_DELIVERED;
    out->bounced += fate == FATE_BOUNCED;
    out->expired += fate == FATE_EXPIRED;
    out->purged += fate == FATE_PURGED;
}

static void end_dsn(struct outcome *out, enum dsn_fate fate)
{
    out->env.phase = PHASE_DONE;
    out->env.dsn = fate;
    out->env.dsn_next_ms = 0;
    out->dsn_sent = fate == DSN_SENT;
    out->dsn_given_up = fate == DSN_GIVEN_UP;
}

/* All recipients are final: is the sender owed a word? */
static void leave_deliver(struct outcome *out, uint64_t now_ms)
{
    struct envelope *env = &out->env;
    bool any = false;

    for (uint32_t i = 0; i < env->rcpt_count; i++)
        any |= failed(&env->rcpts[i]);
    if (!any || env->sender.n == 0) { /* RFC 5321 6.1: nobody answers a null sender */
        env->phase = PHASE_DONE;
        return;
    }
    env->phase = PHASE_DSN;
    env->dsn = DSN_PENDING;
    env->dsn_next_ms = 0;
    env->dsn_deadline_ms = now_ms + LIMIT_DSN_HOLD_MS;
    out->dsn_due = true;
}

/* Phase, next try, and what the writer does: the last step of each function here. */
static void conclude(struct outcome *out, bool changed, uint64_t now_ms)
{
    struct envelope *env = &out->env;
    uint32_t pending = 0;

    out->next_ms = env->dsn_next_ms;
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        const struct rcpt *r = &env->rcpts[i];

        if (r->fate == FATE_PENDING && (pending++ == 0 || r->next_ms < out->next_ms))
            out->next_ms = r->next_ms;
    }
    if (env->phase == PHASE_DELIVER && pending == 0)
        leave_deliver(out, now_ms);
    if (changed)
        out->write = env->phase == PHASE_DONE ? OUTCOME_SETTLE : OUTCOME_UPDATE;
}

/* The pause before the next try: doubling what the last one was. */
static uint64_t pause_ms(const struct rcpt *r, bool doubles)
{
    uint64_t last = r->last_ms > 0 && r->next_ms > r->last_ms ? r->next_ms - r->last_ms : 0;

    if (last < LIMIT_RETRY_FIRST_MS)
        return LIMIT_RETRY_FIRST_MS;
    if (doubles)
        last *= 2;
    return last < LIMIT_RETRY_MAX_MS ? last : LIMIT_RETRY_MAX_MS;
}

/* DESIGN "Delivery": an odd 5xx is permanent after 4 h of nothing else. True: it is now. */
static bool odd_run_is_over(struct rcpt *r, uint64_t now_ms)
{
    bool broken = r->odd_since_ms == 0 || now_ms < r->odd_since_ms ||
                  now_ms - r->last_ms > LIMIT_ODD_GAP_MS;

    if (broken)
        r->odd_since_ms = now_ms > 0 ? now_ms : 1; /* 0 says: no run */
    return !broken && now_ms - r->odd_since_ms >= LIMIT_ODD_5XX_MS;
}

static void apply(struct outcome *out, struct rcpt *r, const struct smtpc_rcpt *tried,
                  struct str reply, uint64_t now_ms)
{
    uint64_t pause = pause_ms(r, tried->code != 421);
    bool ended = tried->verdict == VERDICT_PERMANENT;

    if (tried->verdict == VERDICT_ODD_5XX) {
        out->alarm = true;
        ended = odd_run_is_over(r, now_ms);
    } else {
        r->odd_since_ms = 0;
    }
    r->attempts += tried->tried;
    r->last_ms = now_ms;
    r->reply = reply;
    if (tried->verdict == VERDICT_OK) {
        end_rcpt(out, r, FATE_DELIVERED, now_ms);
    } else if (ended) {
        end_rcpt(out, r, FATE_BOUNCED, now_ms);
    } else {
        r->next_ms = now_ms + pause;
        out->deferred++;
    }
}

/* The dot was not allowed: that says nothing about the recipients that would have got it. */
static bool untouched(const struct smtpc_result *r, const struct smtpc_rcpt *tried)
{
    return r->why == SMTPC_WHY_NO_CONSENT && tried->code == 0;
}

static enum err apply_all(struct outcome *out, const struct smtpc_result *r, uint64_t now_ms,
                          struct arena *a, bool *changed)
{
    struct str reply = STR_NONE;

    for (uint32_t i = 0; i < r->count; i++) {
        const struct smtpc_rcpt *tried = &r->rcpts[i];

        ASSERT(tried->index < out->env.rcpt_count);
        if (out->env.rcpts[tried->index].fate != FATE_PENDING || untouched(r, tried))
            continue;
        if (i == 0 || !str_eq(reply, tried->reply) || reply.p == NULL)
            reply = arena_str(a, tried->reply);
        if (reply.p == NULL)
            return E_FULL;
        apply(out, &out->env.rcpts[tried->index], tried, reply, now_ms);
        *changed = true;
    }
    if (r->unknown) {
        out->env.possible_duplicates++;
        out->possible_duplicate = true;
        *changed = true;
    }
    return OK;
}

static enum err apply_dsn(struct outcome *out, const struct smtpc_result *r, uint64_t now_ms,
                          struct arena *a, bool *changed)
{
    struct envelope *env = &out->env;
    const struct smtpc_rcpt *tried = &r->rcpts[0];
    uint64_t pause = LIMIT_RETRY_FIRST_MS;

    ASSERT(r->count == 1);
    if (untouched(r, tried))
        return OK;
    *changed = true;
    env->dsn_reply = arena_str(a, tried->reply);
    if (env->dsn_reply.p == NULL)
        return E_FULL;
    for (uint32_t i = 0; i < env->dsn_attempts && pause < LIMIT_RETRY_MAX_MS; i++)
        pause *= 2;
    env->dsn_attempts++;
    if (tried->verdict == VERDICT_OK)
        end_dsn(out, DSN_SENT);
    else if (tried->verdict == VERDICT_PERMANENT || tried->verdict == VERDICT_ODD_5XX)
        end_dsn(out, DSN_GIVEN_UP);
    else
        env->dsn_next_ms = now_ms + (pause < LIMIT_RETRY_MAX_MS ? pause : LIMIT_RETRY_MAX_MS);
    return OK;
}

enum err outcome_of_result(const struct envelope *env, const struct smtpc_result *r,
                           uint64_t now_ms, struct arena *a, struct outcome *out)
{
    bool changed = false;
    enum err e = begin(env, a, out);

    ASSERT(env->phase == (r->dsn ? PHASE_DSN : PHASE_DELIVER));
    if (e == OK && r->begun)
        e = r->dsn ? apply_dsn(out, r, now_ms, a, &changed)
                   : apply_all(out, r, now_ms, a, &changed);
    if (e == OK)
        conclude(out, changed, now_ms);
    return e;
}

enum err outcome_of_time(const struct envelope *env, uint64_t now_ms, struct arena *a,
                         struct outcome *out)
{
    bool changed = false;
    enum err e = begin(env, a, out);

    if (e != OK)
        return e;
    if (env->phase == PHASE_DSN && now_ms >= env->dsn_deadline_ms) {
        end_dsn(out, DSN_GIVEN_UP);
        changed = true;
    }
    if (env->phase == PHASE_DELIVER && (now_ms >= env->deadline_ms || FAULT(EXPIRES_AT_ONCE))) {
        for (uint32_t i = 0; i < env->rcpt_count; i++)
            if (env->rcpts[i].fate == FATE_PENDING)
                end_rcpt(out, &out->env.rcpts[i], FATE_EXPIRED, now_ms);
        changed = true;
    }
    conclude(out, changed, now_ms);
    return OK;
}

enum err outcome_of_operator(const struct envelope *env, enum outcome_order order,
                             const bool *which, uint64_t now_ms, struct arena *a,
                             struct outcome *out)
{
    bool purge = order == OUTCOME_PURGE, changed = false;
    enum err e = begin(env, a, out);

    if (e != OK)
        return e;
    for (uint32_t i = 0; env->phase == PHASE_DELIVER && i < env->rcpt_count; i++) {
        struct rcpt *r = &out->env.rcpts[i];

        if (r->fate != FATE_PENDING || (which != NULL && !which[i]))
            continue;
        r->reply = OPERATOR_TEXT;
        end_rcpt(out, r, purge ? FATE_PURGED : FATE_BOUNCED, now_ms);
        changed = true;
    }
    if (purge && which == NULL && env->phase == PHASE_DSN) {
        end_dsn(out, DSN_GIVEN_UP);
        changed = true;
    }
    conclude(out, changed, now_ms);
    if (purge && which == NULL && out->dsn_due) { /* who purges all wants no mail about it */
        out->dsn_due = false;
        end_dsn(out, DSN_GIVEN_UP);
        out->write = OUTCOME_SETTLE;
    }
    return OK;
}

enum err outcome_of_dead_dsn(const struct envelope *env, struct str why, uint64_t now_ms,
                             struct arena *a, struct outcome *out)
{
    enum err e = begin(env, a, out);

    ASSERT(env->phase == PHASE_DSN);
    if (e != OK)
        return e;
    out->env.dsn_reply = arena_str(a, why);
    if (out->env.dsn_reply.p == NULL)
        return E_FULL;
    end_dsn(out, DSN_GIVEN_UP);
    conclude(out, true, now_ms);
    return OK;
}

void outcome_withhold(struct outcome *out, struct str why)
{
    ASSERT(out->dsn_due && out->env.phase == PHASE_DSN);
    end_dsn(out, DSN_WITHHELD);
    out->dsn_due = false;
    out->dsn_withheld = true;
    out->env.dsn_reply = why;
    out->env.dsn_deadline_ms = 0;
    out->next_ms = 0;
    out->write = OUTCOME_SETTLE;
}
