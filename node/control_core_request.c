#include <stdlib.h>

#include "node/control_core_private.h"

void core_requests_init(struct control_core *c)
{
    for (uint32_t i = 0; i < LIMIT_CONTROL_REQUESTS; i++)
        c->free[i] = LIMIT_CONTROL_REQUESTS - 1 - i;
    c->free_count = LIMIT_CONTROL_REQUESTS;
}

/* Exactly once; the slot is free after it. */
static void answer(struct control_core *c, struct core_request *r, enum err e, uint64_t index,
                   const char *refused)
{
    uint64_t req_id = r->req_id;

    ASSERT(r->state != REQUEST_FREE);
    if (r->state == REQUEST_FORWARDED || r->state == REQUEST_ACCEPTED)
        c->out_count--;
    r->state = REQUEST_FREE;
    c->free[c->free_count++] = (uint32_t)(r - c->requests);
    if (r->internal) {
        free((void *)(uintptr_t)r->bytes.p);
        core_lease_answered(c, r->kind, e);
        return;
    }
    c->o.ops.answer(c->o.ops.ctx, req_id,
                    &(struct control_outcome){.index = index, .err = e, .refused = refused});
}

enum err control_core_propose(struct control_core *c, uint64_t req_id, struct str bytes,
                              uint64_t now)
{
    uint32_t slot;

    ASSERT(bytes.n >= 1 && bytes.n <= LIMIT_COMMAND_BYTES);
    if (c->free_count == 0)
        return E_FULL;
    slot = c->free[--c->free_count];
    c->requests[slot] = (struct core_request){.state = REQUEST_QUEUED,
                                              .req_id = req_id,
                                              .bytes = bytes,
                                              .number = c->next_number++,
                                              .begun_ms = now};
    c->queue[(c->queue_head + c->queue_count++) % LIMIT_CONTROL_REQUESTS] = slot;
    return OK;
}

void core_propose_own(struct control_core *c, const struct command *cmd)
{
    uint8_t *buf = malloc(LIMIT_COMMAND_BYTES);
    struct str bytes;
    enum err e = buf == NULL ? E_FULL : command_encode(cmd, buf, LIMIT_COMMAND_BYTES, &bytes);
    uint32_t slot;

    ASSERT(e == OK || e == E_FULL);
    if (e == OK) {
        slot = c->free_count > 0 ? c->free[c->free_count - 1] : 0;
        e = control_core_propose(c, 0, bytes, c->now_ms);
    }
    if (e != OK) {
        free(buf);
        core_lease_answered(c, cmd->kind, e);
        return;
    }
    c->requests[slot].internal = true;
    c->requests[slot].kind = cmd->kind;
}

static struct core_request *pop(struct control_core *c)
{
    uint32_t slot = c->queue[c->queue_head];

    ASSERT(c->queue_count > 0);
    c->queue_head = (c->queue_head + 1) % LIMIT_CONTROL_REQUESTS;
    c->queue_count--;
    return &c->requests[slot];
}

/* --- for the leader --- */

static void forward_answer(struct control_core *c, uint64_t to, uint64_t number,
                           enum raftwire_outcome outcome, uint64_t index, uint64_t term)
{
    struct core_peer *p = core_peer_find(c, to);
    struct raftwire_frame f = {.kind = RAFTWIRE_FORWARD_ANSWER};

    if (p == NULL)
        return;
    f.forward_answer.request = number;
    f.forward_answer.outcome = outcome;
    f.forward_answer.index = index;
    f.forward_answer.term = term;
    if (outcome == RAFTWIRE_NOT_LEADER)
        f.forward_answer.leader = cs_leader(c->cs);
    core_send(c, p, &f);
}

static void foreign_drop(struct core_foreign *f)
{
    free((void *)(uintptr_t)f->bytes.p);
    *f = (struct core_foreign){.used = false};
}

static const struct core_taken *taken_find(const struct control_core *c, uint64_t from,
                                           uint64_t number)
{
    for (size_t i = 0; i < CORE_TAKEN; i++)
        if (c->taken[i].from == from && c->taken[i].number == number)
            return &c->taken[i];
    return NULL;
}

/* Bytes that no node understands would stop all of them when they are applied. */
static bool is_command(struct str bytes)
{
    struct command cmd;
    struct arena a;
    enum err e;

    arena_init(&a, 3 * LIMIT_COMMAND_BYTES);
    e = command_decode(bytes, &a, &cmd);
    arena_reset(&a);
    return e == OK;
}

void core_forward_received(struct control_core *c, const struct raftwire_frame *f)
{
    const struct core_taken *known = taken_find(c, f->incarnation, f->forward.request);
    struct core_foreign *to = NULL;
    char *copy;

    if (known != NULL) {
        forward_answer(c, f->incarnation, known->number, RAFTWIRE_ACCEPTED, known->index,
                       known->term);
        return;
    }
    for (size_t i = 0; i < LIMIT_CONTROL_FOREIGN; i++) {
        struct core_foreign *o = &c->foreign[i];

        if (o->used && o->from == f->incarnation && o->number == f->forward.request)
            return; /* it waits here already */
        if (!o->used && to == NULL)
            to = o;
    }
    if (!cs_leads(c->cs)) {
        forward_answer(c, f->incarnation, f->forward.request, RAFTWIRE_NOT_LEADER, 0, 0);
        return;
    }
    if (!is_command(f->forward.bytes)) {
        core_bad_frame(c, f->site, "a proposal that is no command");
        return;
    }
    copy = to != NULL && !c->blocked ? malloc(f->forward.bytes.n) : NULL;
    if (copy == NULL) {
        forward_answer(c, f->incarnation, f->forward.request, RAFTWIRE_FULL, 0, 0);
        return;
    }
    memcpy(copy, f->forward.bytes.p, f->forward.bytes.n);
    *to = (struct core_foreign){.used = true,
                                .from = f->incarnation,
                                .number = f->forward.request,
                                .bytes = {copy, f->forward.bytes.n}};
    c->foreign_count++;
}

/* The entries of the update are in this log, or will never be. */
void core_requests_taken(struct control_core *c)
{
    for (size_t i = 0; i < c->update.entry_count; i++) {
        const struct cs_entry *e = &c->update.entries[i];
        struct core_foreign *f;

        if ((e->req_id & CORE_REQ_FOREIGN) == 0)
            continue;
        f = &c->foreign[e->req_id - CORE_REQ_FOREIGN - 1];
        c->taken[c->taken_at++ % CORE_TAKEN] =
            (struct core_taken){f->from, f->number, e->index, e->term};
        forward_answer(c, f->from, f->number, RAFTWIRE_ACCEPTED, e->index, e->term);
    }
}

static enum raftwire_outcome outcome_of(enum cs_outcome o)
{
    return o == CS_NOT_LEADER ? RAFTWIRE_NOT_LEADER
           : o == CS_FULL     ? RAFTWIRE_FULL
                              : RAFTWIRE_UNKNOWN;
}

static void answer_local(struct control_core *c, struct core_request *r,
                         const struct cs_answer *a)
{
    const struct command_result *res;

    switch (a->outcome) {
    case CS_APPLIED:
        ASSERT(a->index >= c->batch_from && a->index <= c->batch_to);
        res = &c->results[a->index - c->batch_from];
        answer(c, r, res->err, a->index, res->refused);
        return;
    case CS_FULL:
        answer(c, r, E_FULL, 0, NULL);
        return;
    case CS_NOT_LEADER: /* it was not put into the log: it waits for a leader */
        r->state = REQUEST_QUEUED;
        c->queue[(c->queue_head + c->queue_count++) % LIMIT_CONTROL_REQUESTS] =
            (uint32_t)(r - c->requests);
        return;
    case CS_UNKNOWN:
        answer(c, r, c->failed != OK || c->stopping ? E_IO : E_TIMEOUT, 0, NULL);
        return;
    }
}

void core_requests_answers(struct control_core *c)
{
    for (size_t i = 0; i < c->update.answer_count; i++) {
        const struct cs_answer *a = &c->update.answers[i];

        c->in_flight--;
        if (a->req_id & CORE_REQ_FOREIGN) {
            struct core_foreign *f = &c->foreign[a->req_id - CORE_REQ_FOREIGN - 1];

            /* Of one that is in the log the asker was told; he looks at it himself. */
            if (taken_find(c, f->from, f->number) == NULL)
                forward_answer(c, f->from, f->number, outcome_of(a->outcome), 0, 0);
            foreign_drop(f);
        } else {
            answer_local(c, &c->requests[a->req_id - 1], a);
        }
    }
}

/* --- for the follower --- */

static void send_forward(struct control_core *c, struct core_request *r)
{
    struct core_peer *p = core_peer_find(c, r->to);
    struct raftwire_frame f = {.kind = RAFTWIRE_FORWARD};

    r->sent_ms = c->now_ms;
    if (p == NULL)
        return;
    f.forward.request = r->number;
    f.forward.bytes = r->bytes;
    core_send(c, p, &f);
}

/* It has lost the lead, and this node has not heard of it yet: the same question at once would
 * go to and fro as fast as the way allows. */
static bool is_denied(const struct control_core *c, uint64_t leader)
{
    return leader == c->denied && c->now_ms < c->denied_ms;
}

static void forward_all(struct control_core *c, uint64_t leader)
{
    while (c->queue_count > 0) {
        struct core_request *r = pop(c);

        r->state = REQUEST_FORWARDED;
        r->to = leader;
        c->out_count++;
        send_forward(c, r);
    }
}

static void settle_accepted(struct control_core *c, struct core_request *r)
{
    struct core_result got;

    if (r->index > control_applied(c->state))
        return;
    if (!core_result_of(c, r->index, &got) || got.term != r->term)
        answer(c, r, E_TIMEOUT, 0, NULL); /* replaced, or it came with a snapshot */
    else
        answer(c, r, got.result.err, r->index, got.result.refused);
}

void core_forward_answered(struct control_core *c, const struct raftwire_frame *f)
{
    struct core_request *r = NULL;

    for (size_t i = 0; c->out_count > 0 && r == NULL && i < LIMIT_CONTROL_REQUESTS; i++)
        if (c->requests[i].state == REQUEST_FORWARDED &&
            c->requests[i].number == f->forward_answer.request &&
            c->requests[i].to == f->incarnation)
            r = &c->requests[i];
    if (r == NULL)
        return; /* late, or said twice */
    switch (f->forward_answer.outcome) {
    case RAFTWIRE_ACCEPTED:
        r->state = REQUEST_ACCEPTED;
        r->index = f->forward_answer.index;
        r->term = f->forward_answer.term;
        settle_accepted(c, r);
        return;
    case RAFTWIRE_NOT_LEADER:
        c->denied = f->incarnation;
        c->denied_ms = c->now_ms + CORE_DENIED_MS;
        r->state = REQUEST_QUEUED;
        c->out_count--;
        c->queue[(c->queue_head + c->queue_count++) % LIMIT_CONTROL_REQUESTS] =
            (uint32_t)(r - c->requests);
        return;
    case RAFTWIRE_FULL:
        answer(c, r, E_FULL, 0, NULL);
        return;
    case RAFTWIRE_UNKNOWN:
        answer(c, r, E_TIMEOUT, 0, NULL);
        return;
    }
}

void core_requests_applied(struct control_core *c, uint64_t upto)
{
    for (size_t i = 0; c->out_count > 0 && i < LIMIT_CONTROL_REQUESTS; i++) {
        struct core_request *r = &c->requests[i];

        if (r->state == REQUEST_ACCEPTED && r->index <= upto)
            settle_accepted(c, r);
    }
}

/* Another leads, or nobody: what was sent to the one before may be in its log. What it accepted
 * is still waited for. */
void core_requests_lead_changed(struct control_core *c)
{
    for (size_t i = 0; c->out_count > 0 && i < LIMIT_CONTROL_REQUESTS; i++) {
        struct core_request *r = &c->requests[i];

        if (r->state == REQUEST_FORWARDED && r->to != cs_leader(c->cs))
            answer(c, r, E_TIMEOUT, 0, NULL);
    }
}

/* --- both --- */

static size_t gather(struct control_core *c)
{
    size_t n = 0;

    for (size_t i = 0;
         c->foreign_count > 0 && n < LIMIT_CONTROL_BATCH / 2 && i < LIMIT_CONTROL_FOREIGN;
         i++) {
        struct core_foreign *f = &c->foreign[i];

        if (!f->used || f->submitted)
            continue;
        f->submitted = true;
        c->foreign_count--;
        c->proposals[n++] = (struct cs_proposal){CORE_REQ_FOREIGN + i + 1, f->bytes};
    }
    while (n < LIMIT_CONTROL_BATCH && c->queue_count > 0) {
        struct core_request *r = pop(c);

        r->state = REQUEST_LOCAL;
        c->proposals[n++] = (struct cs_proposal){(uint64_t)(r - c->requests) + 1, r->bytes};
    }
    return n;
}

/* Those of other members that are not with the consensus yet. */
static void refuse_foreign(struct control_core *c, enum raftwire_outcome outcome)
{
    for (size_t i = 0; c->foreign_count > 0 && i < LIMIT_CONTROL_FOREIGN; i++) {
        struct core_foreign *f = &c->foreign[i];

        if (!f->used || f->submitted)
            continue;
        forward_answer(c, f->from, f->number, outcome, 0, 0);
        foreign_drop(f);
        c->foreign_count--;
    }
}

/* Nothing comes of what waits. */
static void refuse_waiting(struct control_core *c, enum err e)
{
    while (c->queue_count > 0)
        answer(c, pop(c), e, 0, NULL);
    refuse_foreign(c, RAFTWIRE_FULL);
}

static void flush(struct control_core *c)
{
    if (c->failed != OK || c->stopping || c->blocked) {
        refuse_waiting(c, c->blocked ? E_FULL : E_IO);
        return;
    }
    while (c->queue_count + c->foreign_count > 0 && c->failed == OK && !c->blocked &&
           cs_takes_proposals(c->cs) && c->in_flight + LIMIT_CONTROL_BATCH <= LIMIT_PROPOSALS) {
        size_t n = gather(c);

        c->in_flight += (uint32_t)n;
        core_run(
            c, (struct cs_event){.type = CS_EV_PROPOSE, .proposals = c->proposals, .count = n});
    }
    if (c->failed != OK || c->blocked) {
        refuse_waiting(c, c->blocked ? E_FULL : E_IO);
        return;
    }
    if (cs_leads(c->cs))
        return; /* full of what is under way, or the members are changing */
    refuse_foreign(c, RAFTWIRE_NOT_LEADER);
    if (cs_leader(c->cs) != 0 && !is_denied(c, cs_leader(c->cs)))
        forward_all(c, cs_leader(c->cs));
}

/* What is proposed may be applied at once, and leases may want more by it: twice is enough, the
 * rest comes with the next turn. */
void control_core_flush(struct control_core *c, uint64_t now)
{
    c->now_ms = now > c->now_ms ? now : c->now_ms;
    core_lease_pump(c);
    flush(c);
    core_lease_pump(c);
    flush(c);
}

void core_requests_tick(struct control_core *c)
{
    for (size_t i = 0; c->out_count > 0 && i < LIMIT_CONTROL_REQUESTS; i++) {
        struct core_request *r = &c->requests[i];

        if (r->state != REQUEST_FORWARDED && r->state != REQUEST_ACCEPTED)
            continue;
        if (c->now_ms >= r->begun_ms + CORE_FORWARD_MS)
            answer(c, r, E_TIMEOUT, 0, NULL);
        else if (r->state == REQUEST_FORWARDED && c->now_ms >= r->sent_ms + CORE_RETRY_MS)
            send_forward(c, r);
    }
    while (c->queue_count > 0 && !cs_leads(c->cs) &&
           c->now_ms >= c->requests[c->queue[c->queue_head]].begun_ms + CORE_LEADERLESS_MS)
        answer(c, pop(c), E_NOTOWNER, 0, NULL);
    control_core_flush(c, c->now_ms);
}

uint64_t core_requests_deadline(const struct control_core *c)
{
    uint64_t due = UINT64_MAX;

    if (c->foreign_count > 0 && cs_takes_proposals(c->cs))
        return c->now_ms;
    for (size_t i = 0; c->out_count > 0 && i < LIMIT_CONTROL_REQUESTS; i++) {
        const struct core_request *r = &c->requests[i];

        if (r->state == REQUEST_FORWARDED && r->sent_ms + CORE_RETRY_MS < due)
            due = r->sent_ms + CORE_RETRY_MS;
        if (r->state == REQUEST_ACCEPTED && r->begun_ms + CORE_FORWARD_MS < due)
            due = r->begun_ms + CORE_FORWARD_MS;
    }
    if (c->queue_count > 0) {
        uint64_t head = c->requests[c->queue[c->queue_head]].begun_ms + CORE_LEADERLESS_MS;

        due = head < due ? head : due;
        if (is_denied(c, cs_leader(c->cs)) && c->denied_ms < due)
            due = c->denied_ms;
    }
    return due;
}

void core_requests_fail(struct control_core *c, enum err e)
{
    c->queue_count = 0;
    for (size_t i = 0; i < LIMIT_CONTROL_REQUESTS; i++)
        if (c->requests[i].state != REQUEST_FREE)
            answer(c, &c->requests[i], e, 0, NULL);
    for (size_t i = 0; i < LIMIT_CONTROL_FOREIGN; i++)
        if (c->foreign[i].used)
            foreign_drop(&c->foreign[i]);
    c->foreign_count = c->in_flight = 0;
}
