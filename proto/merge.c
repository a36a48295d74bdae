#include "proto/merge.h"
#include "base/fault.h"

static int cmp_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int cmp_str(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int d = n > 0 ? memcmp(a.p, b.p, n) : 0;

    return d != 0 ? d : cmp_u64(a.n, b.n);
}

/* Only what differs is taken, so that the answer "changed" is true only then. */
static bool raise_u64(uint64_t *into, uint64_t other)
{
    if (other <= *into)
        return false;
    *into = other;
    return true;
}

/* --- Recipients --- */

static int cmp_try(const struct rcpt *a, const struct rcpt *b)
{
    int d = cmp_u64(a->last_ms, b->last_ms);

    if (d == 0)
        d = cmp_u64(a->attempts, b->attempts);
    if (d == 0)
        d = cmp_u64(a->next_ms, b->next_ms);
    return d != 0 ? d : cmp_u64(a->odd_since_ms, b->odd_since_ms);
}

static int cmp_end(const struct rcpt *a, const struct rcpt *b)
{
    int d = cmp_u64((uint64_t)a->fate, (uint64_t)b->fate);

    if (FAULT(MERGE_LOWER_FATE))
        d = -d;
    if (d == 0)
        d = cmp_u64(a->final_ms, b->final_ms);
    /* The reply of a recipient that still waits is that of its last try. */
    if (d == 0 && a->fate == FATE_PENDING)
        d = cmp_try(a, b);
    return d != 0 ? d : cmp_str(a->reply, b->reply);
}

static bool merge_rcpt(struct rcpt *into, const struct rcpt *other)
{
    bool newer_end = cmp_end(other, into) > 0, newer_try = cmp_try(other, into) > 0;

    if (newer_end) {
        into->fate = other->fate;
        into->final_ms = other->final_ms;
        into->reply = other->reply;
    }
    if (newer_try) {
        into->attempts = other->attempts;
        into->last_ms = other->last_ms;
        into->next_ms = other->next_ms;
        into->odd_since_ms = other->odd_since_ms;
    }
    return newer_end || newer_try;
}

/* --- The message --- */

static uint64_t rank(enum dsn_fate f)
{
    static const uint64_t ranks[] = {[DSN_NONE] = 0,
                                     [DSN_PENDING] = 1,
                                     [DSN_WITHHELD] = 2,
                                     [DSN_GIVEN_UP] = 3,
                                     [DSN_SENT] = 4};

    return ranks[f];
}

static int cmp_dsn(const struct envelope *a, const struct envelope *b)
{
    int d = cmp_u64(rank(a->dsn), rank(b->dsn));

    if (d == 0)
        d = cmp_u64(a->dsn_attempts, b->dsn_attempts);
    if (d == 0)
        d = cmp_u64(a->dsn_next_ms, b->dsn_next_ms);
    if (d == 0)
        d = cmp_u64(a->dsn_deadline_ms, b->dsn_deadline_ms);
    return d != 0 ? d : cmp_str(a->dsn_reply, b->dsn_reply);
}

static bool merge_dsn(struct envelope *into, const struct envelope *other)
{
    if (cmp_dsn(other, into) <= 0)
        return false;
    into->dsn = other->dsn;
    into->dsn_attempts = other->dsn_attempts;
    into->dsn_next_ms = other->dsn_next_ms;
    into->dsn_deadline_ms = other->dsn_deadline_ms;
    into->dsn_reply = other->dsn_reply;
    return true;
}

static bool merge_held(struct envelope *into, const struct envelope *other)
{
    int d = cmp_u64(other->held_index, into->held_index);

    if (d < 0 || (d == 0 && other->held <= into->held))
        return false;
    into->held_index = other->held_index;
    into->held = other->held;
    return true;
}

static bool merge_settled(struct envelope *into, const struct envelope *other)
{
    int d = cmp_u64(other->settled_ms, into->settled_ms);

    if (d < 0 || (d == 0 && other->settled_wall_ms <= into->settled_wall_ms))
        return false;
    into->settled_ms = other->settled_ms;
    into->settled_wall_ms = other->settled_wall_ms;
    return true;
}

bool envelope_merge(struct envelope *into, const struct envelope *other)
{
    bool changed = merge_held(into, other);

    for (uint32_t i = 0; i < into->rcpt_count && i < other->rcpt_count; i++)
        changed |= merge_rcpt(&into->rcpts[i], &other->rcpts[i]);
    changed |= merge_dsn(into, other);
    changed |= merge_settled(into, other);
    changed |= raise_u64(&into->deadline_ms, other->deadline_ms);
    if (other->possible_duplicates > into->possible_duplicates) {
        into->possible_duplicates = other->possible_duplicates;
        changed = true;
    }
    if (other->phase > into->phase) {
        into->phase = other->phase;
        changed = true;
    }
    return changed;
}
