#include <check.h>

#include "replication/replica_world_run.h"

/* Faults by a seed, then quiet: all must hold then what the rules promise. Another range of
 * seeds: REPLICA_SEED and REPLICA_SEEDS; REPLICA_VERBOSE tells the story of it. */

static uint64_t number_of(const char *name, uint64_t other)
{
    const char *text = getenv(name);
    uint64_t n;

    return text != NULL && str_to_u64(str_of(text), &n) ? n : other;
}

static struct w_node *any_node(struct world *w)
{
    return &w->nodes[prng_below(&w->rng, W_NODES)];
}

static bool others_are_up_and_filled(struct world *w, const struct w_node *n)
{
    for (int i = 0; i < W_NODES; i++)
        if (&w->nodes[i] != n && (!w->nodes[i].up || !w->nodes[i].disk->filled))
            return false;
    return true;
}

/* Mail that has two copies at least, so that one disk may go. */
static bool may_wipe(struct world *w, const struct w_node *n)
{
    if (!others_are_up_and_filled(w, n))
        return false;
    for (uint32_t i = 0; i < w->msg_count; i++) {
        const struct w_msg *m = &w->msgs[i];
        unsigned elsewhere = 0;

        for (int k = 0; k < W_NODES; k++) {
            enum copy_state s = w_state(w->nodes[k].disk, m->id);

            elsewhere += &w->nodes[k] != n && s != COPY_NONE;
        }
        if (m->answer == W_250 && elsewhere == 0)
            return false;
    }
    return true;
}

static void move_slot(struct world *w)
{
    uint32_t slot = w_slot(w, w->log_count);
    struct w_node *to = any_node(w), *from = w_node(w, w->log[slot - 1].site);
    bool busy = false;

    if (to == from || !to->up || !to->disk->filled)
        return;
    for (int i = 0; i < 64; i++)
        busy = busy || (mid_epoch(from->dots[i].id) != 0 && from->dots[i].again_ms == 0);
    if (from->up && w_is_holder(w, from) && prng_below(&w->rng, 2) == 0) {
        if (!busy && from->applied == w->log_count && replica_outcomes_told(from->r)) {
            from->leaving = true;
            w_append(w, (struct w_entry){.kind = W_SLOT, .site = to->site, .released = true});
        }
        return;
    }
    w_append(w, (struct w_entry){.kind = W_END, .site = from->site});
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = to->site});
}

/* The leader gives slots of sessions that are over to somebody. */
static void take_over(struct world *w)
{
    uint32_t slot = w_slot(w, w->log_count);
    struct w_node *to = any_node(w);

    if (prng_below(&w->rng, 4) > 0 || !to->up || !to->disk->filled ||
        !w_sealed(w, w->log_count, w->log[slot - 1].site, slot))
        return;
    w_append(w, (struct w_entry){.kind = W_SLOT, .site = to->site});
}

static void one_fault(struct world *w, bool wipes)
{
    struct w_node *n = any_node(w), *m = any_node(w);

    switch (prng_below(&w->rng, 13)) {
    case 0:
    case 1:
        if (n->up)
            w_crash(w, n);
        break;
    case 2:
    case 3:
    case 4:
        if (!n->up)
            w_start(w, n);
        break;
    case 5:
        n->deaf[m->site] = n != m;
        break;
    case 6:
    case 7:
        memset(n->deaf, 0, sizeof n->deaf);
        break;
    case 8:
        n->slow = !n->slow;
        break;
    case 9:
        move_slot(w);
        break;
    case 10:
        n->store_fails = n->up && !n->store_fails;
        break;
    case 12:
        n->full = n->up && !n->full;
        break;
    case 11:
        if (!wipes || !n->up || !may_wipe(w, n))
            break;
        w_crash(w, n);
        w_wipe(w, n);
        w_start(w, n);
        break;
    }
}

static void quiet(struct world *w)
{
    uint32_t slot;

    w->loss = w->dup = w->reorder = w->fail_4xx = w->unsent = 0;
    for (int i = 0; i < W_NODES; i++) {
        struct w_node *n = &w->nodes[i];

        memset(n->deaf, 0, sizeof n->deaf);
        n->slow = n->store_fails = n->full = false;
        if (!n->up)
            w_start(w, n);
    }
    w_run_long(w, 30000);
    slot = w_slot(w, w->log_count);
    if (!w_is_holder(w, w_node(w, w->log[slot - 1].site)))
        w_append(w, (struct w_entry){.kind = W_SLOT, .site = w->log[slot - 1].site});
}

static void all_is_well(struct world *w)
{
    for (uint32_t i = 0; i < w->msg_count; i++) {
        const struct w_msg *m = &w->msgs[i];
        enum copy_state s[W_NODES];

        for (int k = 0; k < W_NODES; k++) {
            s[k] = w_state(w->nodes[k].disk, m->id);
            W_CHECK(w, s[k] != COPY_UNDECIDED && s[k] != COPY_COMMITTED,
                    "%s is still in state %d at node %d (answer %d)", w_text(m->id), (int)s[k],
                    k + 1, (int)m->answer);
        }
        if (m->answer == W_250)
            for (uint32_t r = 0; r < W_RCPTS; r++)
                W_CHECK(w, m->taken[r] > 0, "%s got 250 and was not delivered", w_text(m->id));
        if (m->answer == W_451)
            for (uint32_t r = 0; r < W_RCPTS; r++)
                W_CHECK(w, m->taken[r] == 0, "%s got 451 and was delivered", w_text(m->id));
    }
    for (int k = 0; k < W_NODES; k++) {
        struct replica_status st;

        W_CHECK(w, !w->nodes[k].stopped, "node %d stopped", k + 1);
        replica_status(w->nodes[k].r, &st, w->now);
        W_CHECK(w, st.live == 0 && st.open && st.filled, "node %d: %llu live, open %d", k + 1,
                (unsigned long long)st.live, st.open);
    }
}

static void run_seed(uint64_t seed)
{
    struct world *w = w_new(seed);
    bool wipes = seed % 3 == 0;

    w->verbose = getenv("REPLICA_VERBOSE") != NULL;
    if (w->verbose)
        setvbuf(stdout, NULL, _IOLBF, 0);
    w_run_long(w, 2000);
    w->loss = (uint32_t)prng_below(&w->rng, 100);
    w->dup = (uint32_t)prng_below(&w->rng, 100);
    w->reorder = (uint32_t)(prng_below(&w->rng, 2) == 0 ? 0 : prng_below(&w->rng, 50));
    w->fail_4xx = (uint32_t)prng_below(&w->rng, 300);
    w->unsent = (uint32_t)prng_below(&w->rng, 300);
    for (int step = 0; step < 120; step++) {
        struct w_node *n = any_node(w);

        if (prng_below(&w->rng, 4) == 0)
            one_fault(w, wipes);
        take_over(w);
        for (uint64_t k = prng_below(&w->rng, 4); n->up && k > 0; k--)
            w_mail(w, n, prng_below(&w->rng, 30) == 0 ? W_LARGE * (uint32_t)(1 + k) : W_SMALL);
        w_run_long(w, 20 + prng_below(&w->rng, prng_below(&w->rng, 10) == 0 ? 15000 : 800));
    }
    quiet(w);
    w_run_long(w, LIMIT_FOREIGN_DOT_MS + 240000);
    all_is_well(w);
    if (w->verbose || getenv("REPLICA_SEEDS") != NULL)
        printf("seed %llu: %u messages, %llu accepted, %llu refused, %llu closed, %llu dots, "
               "%llu duplicates, %llu crashes, %llu wipes\n",
               (unsigned long long)seed, w->msg_count, (unsigned long long)w->accepted,
               (unsigned long long)w->refused, (unsigned long long)w->closed,
               (unsigned long long)w->consents, (unsigned long long)w->duplicates,
               (unsigned long long)w->crashes, (unsigned long long)w->wipes);
    w_free(w);
}

START_TEST(nothing_is_lost_and_all_drains_after_any_faults)
{
    uint64_t first = number_of("REPLICA_SEED", 1), count = number_of("REPLICA_SEEDS", 40);

    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("replica_random");
    TCase *tc = tcase_create("replica_random");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_set_timeout(tc, 600);
    tcase_add_test(tc, nothing_is_lost_and_all_drains_after_any_faults);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
