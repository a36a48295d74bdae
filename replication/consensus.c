#include "replication/consensus.h"

#include "base/assert.h"
#include "replication/clusterclock.h"

void cs_init(struct consensus *c, const struct cs_config *cfg)
{
    ASSERT(cfg->site != 0);
    ASSERT(cfg->applied <= cfg->last_index);
    *c = (struct consensus){.site = cfg->site,
                            .term = cfg->term,
                            .last = cfg->last_index,
                            .persisted = cfg->last_index,
                            .applying = cfg->applied,
                            .applied = cfg->applied,
                            .clock_mark_ms = cfg->boot_now_ms,
                            .clock_due_ms = cfg->boot_now_ms + LIMIT_CLOCK_TICK_MS,
                            .now_ms = cfg->boot_now_ms,
                            .req_index_first = cfg->last_index + 1};
}

bool cs_leads(const struct consensus *c)
{
    return c->started && !c->stopped;
}

uint64_t cs_applied(const struct consensus *c)
{
    return c->applied;
}

uint64_t cs_deadline_ms(const struct consensus *c)
{
    /* The next clock entry waits for the last one; APPLIED of that one brings it up again. */
    if (!cs_leads(c) || c->clock_proposed || c->clock_index != 0)
        return UINT64_MAX;
    return c->clock_due_ms;
}

static void answer(struct cs_update *out, uint64_t req_id, enum cs_outcome outcome,
                   uint64_t index)
{
    if (req_id == CS_CLOCK_REQ)
        return;
    ASSERT(out->answer_count < LIMIT_PROPOSALS);
    out->answers[out->answer_count++] =
        (struct cs_answer){.req_id = req_id, .outcome = outcome, .index = index};
}

static uint64_t *ring_at(struct consensus *c, uint32_t i)
{
    return &c->ring[(c->req_head + i) % LIMIT_PROPOSALS];
}

/* One batch is with the state machine at a time; the next is given when that one is done. */
static void give_apply(struct consensus *c, struct cs_update *out)
{
    uint64_t to = c->persisted;

    if (c->applying > c->applied || to <= c->applied)
        return;
    if (to - c->applied > LIMIT_CONTROL_BATCH)
        to = c->applied + LIMIT_CONTROL_BATCH;
    out->apply_from = c->applied + 1;
    out->apply_to = to;
    c->applying = to;
}

static void on_start(struct consensus *c, struct cs_update *out)
{
    ASSERT(!c->started);
    c->started = true;
    /* A lone member elects itself. The term grows as in an election, so that entries of two
     * runs are told apart as Raft expects of a log. */
    c->term++;
    out->store_term = true;
    out->term = c->term;
    out->vote = c->site;
    give_apply(c, out);
}

static void on_propose(struct consensus *c, const struct cs_event *ev, struct cs_update *out)
{
    ASSERT(ev->count >= 1 && ev->count <= LIMIT_CONTROL_BATCH);
    for (size_t i = 0; i < ev->count; i++) {
        const struct cs_proposal *p = &ev->proposals[i];

        ASSERT(p->bytes.n >= 1 && p->bytes.n <= LIMIT_COMMAND_BYTES);
        if (p->req_id == CS_CLOCK_REQ)
            c->clock_proposed = false;
        if (!cs_leads(c) || c->req_count == LIMIT_PROPOSALS) {
            answer(out, p->req_id, CS_FULL, 0);
            continue;
        }
        c->last++;
        *ring_at(c, c->req_count++) = p->req_id;
        if (p->req_id == CS_CLOCK_REQ)
            c->clock_index = c->last;
        out->entries[out->entry_count++] =
            (struct cs_entry){.index = c->last, .term = c->term, .bytes = p->bytes};
    }
}

static void on_persisted(struct consensus *c, uint64_t index, struct cs_update *out)
{
    ASSERT(index > c->persisted && index <= c->last);
    c->persisted = index;
    give_apply(c, out);
}

static void on_store_full(struct consensus *c, uint64_t from, struct cs_update *out)
{
    ASSERT(from > c->persisted && from <= c->last);
    /* Oldest first, as they came; indices are given again to others. */
    for (uint64_t i = from; i <= c->last; i++)
        answer(out, *ring_at(c, (uint32_t)(i - c->req_index_first)), CS_FULL, 0);
    c->req_count -= (uint32_t)(c->last - from + 1);
    c->last = from - 1;
    if (c->clock_index >= from)
        c->clock_index = 0;
}

static void on_applied(struct consensus *c, uint64_t index, struct cs_update *out)
{
    ASSERT(index > c->applied && index <= c->applying);
    c->applied = index;
    while (c->req_count > 0 && c->req_index_first <= index) {
        answer(out, *ring_at(c, 0), CS_APPLIED, c->req_index_first);
        c->req_head = (c->req_head + 1) % LIMIT_PROPOSALS;
        c->req_count--;
        c->req_index_first++;
    }
    if (c->clock_index != 0 && c->clock_index <= index)
        c->clock_index = 0;
    give_apply(c, out);
}

static void on_tick(struct consensus *c, struct cs_update *out)
{
    if (c->now_ms < cs_deadline_ms(c))
        return;
    out->clock_elapsed_ms = clusterclock_measure(&c->clock_mark_ms, c->now_ms);
    c->clock_due_ms = c->now_ms + LIMIT_CLOCK_TICK_MS;
    c->clock_proposed = out->clock_elapsed_ms > 0;
}

static void on_stop(struct consensus *c, struct cs_update *out)
{
    if (c->stopped)
        return;
    c->stopped = true;
    for (uint32_t i = 0; i < c->req_count; i++)
        answer(out, *ring_at(c, i), CS_UNKNOWN, 0);
    c->req_index_first += c->req_count;
    c->req_count = 0;
}

void cs_step(struct consensus *c, const struct cs_event *ev, struct cs_update *out)
{
    out->store_term = false;
    out->entry_count = out->answer_count = 0;
    out->apply_from = out->apply_to = 0;
    out->clock_elapsed_ms = 0;
    ASSERT(ev->boot_now_ms >= c->now_ms);
    ASSERT(c->started || ev->type == CS_EV_START);
    c->now_ms = ev->boot_now_ms;
    switch (ev->type) {
    case CS_EV_START:
        on_start(c, out);
        return;
    case CS_EV_PROPOSE:
        on_propose(c, ev, out);
        return;
    case CS_EV_PERSISTED:
        on_persisted(c, ev->index, out);
        return;
    case CS_EV_STORE_FULL:
        on_store_full(c, ev->index, out);
        return;
    case CS_EV_APPLIED:
        on_applied(c, ev->index, out);
        return;
    case CS_EV_TICK:
        on_tick(c, out);
        return;
    case CS_EV_STOP:
        on_stop(c, out);
        return;
    }
    ASSERT(false); /* an event without a type */
}
