#include "base/changes.h"

#include <check.h>
#include <string.h>

#include "base/prng.h"

#define ITEMS 60

struct item {
    struct change_link link;
    uint32_t name;
};

/* The set, and what it should be: of each name its handle (0: gone) and its last serial. */
struct world {
    struct pool pool;
    struct changes changes;
    uint32_t handle[ITEMS];
    uint64_t serial[ITEMS];
};

static void setup(struct world *w)
{
    *w = (struct world){0};
    pool_init(&w->pool, sizeof(struct item), ITEMS);
}

static void add(struct world *w, uint32_t name)
{
    w->handle[name] = pool_take(&w->pool);
    ck_assert_uint_ne(w->handle[name], 0);
    ((struct item *)pool_at(&w->pool, w->handle[name]))->name = name;
    changes_add(&w->changes, &w->pool, w->handle[name]);
    w->serial[name] = w->changes.serial;
}

static void touch(struct world *w, uint32_t name)
{
    changes_touch(&w->changes, &w->pool, w->handle[name]);
    w->serial[name] = w->changes.serial;
}

static void drop(struct world *w, uint32_t name)
{
    changes_remove(&w->changes, &w->pool, w->handle[name]);
    pool_give(&w->pool, w->handle[name]);
    w->handle[name] = 0;
}

/* The name of the next one; -1: none. */
static int next(const struct world *w, struct change_cursor *at)
{
    uint32_t item = changes_next(&w->changes, &w->pool, at);

    return item != 0 ? (int)((struct item *)pool_at(&w->pool, item))->name : -1;
}

/* The same by looking at all. */
static int expected(const struct world *w, uint64_t serial)
{
    int best = -1;

    for (int i = 0; i < ITEMS; i++)
        if (w->handle[i] != 0 && w->serial[i] > serial &&
            (best < 0 || w->serial[i] < w->serial[best]))
            best = i;
    return best;
}

START_TEST(an_empty_one_has_none_and_what_was_removed_is_told_to_nobody)
{
    struct change_cursor at = {0};
    struct world w;

    setup(&w);
    ck_assert_int_eq(next(&w, &at), -1);
    add(&w, 3);
    ck_assert_int_eq(next(&w, &at), 3);
    ck_assert_int_eq(next(&w, &at), -1);
    drop(&w, 3);
    ck_assert_int_eq(next(&w, &(struct change_cursor){0}), -1);
    add(&w, 4);
    ck_assert_uint_eq(w.changes.serial, 2); /* no number twice */
    ck_assert_int_eq(next(&w, &at), 4);
    pool_fini(&w.pool);
}
END_TEST

START_TEST(what_changes_again_comes_once_at_the_end)
{
    struct change_cursor at = {0};
    struct world w;

    setup(&w);
    for (uint32_t i = 0; i < 4; i++)
        add(&w, i);
    ck_assert_int_eq(next(&w, &at), 0);
    touch(&w, 1);
    touch(&w, 0); /* the cursor's own: its hint holds no more */
    ck_assert_int_eq(next(&w, &at), 2);
    ck_assert_int_eq(next(&w, &at), 3);
    ck_assert_int_eq(next(&w, &at), 1);
    ck_assert_int_eq(next(&w, &at), 0);
    ck_assert_int_eq(next(&w, &at), -1);
    pool_fini(&w.pool);
}
END_TEST

/* Many cursors, some of which lose their hint, read on at random while all changes. */
START_TEST(every_cursor_finds_what_is_new_whatever_happened_meanwhile)
{
    struct change_cursor at[8] = {0};
    struct prng p;
    struct world w;

    prng_seed(&p, (uint64_t)_i);
    setup(&w);
    for (int step = 0; step < 3000; step++) {
        struct change_cursor *c = &at[prng_below(&p, 8)];
        uint32_t name = (uint32_t)prng_below(&p, ITEMS);
        int want = expected(&w, c->serial);

        if (prng_below(&p, 10) == 0)
            c->hint = (uint32_t)prng_below(&p, ITEMS + 2);
        ck_assert_int_eq(next(&w, c), want);
        if (want >= 0)
            ck_assert_uint_eq(c->serial, w.serial[want]);
        if (prng_below(&p, 3) > 0)
            continue;
        if (w.handle[name] == 0)
            add(&w, name);
        else if (prng_below(&p, 2) == 0)
            touch(&w, name);
        else
            drop(&w, name);
    }
    pool_fini(&w.pool);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("changes");
    TCase *tc = tcase_create("all");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_test(tc, an_empty_one_has_none_and_what_was_removed_is_told_to_nobody);
    tcase_add_test(tc, what_changes_again_comes_once_at_the_end);
    tcase_add_loop_test(tc, every_cursor_finds_what_is_new_whatever_happened_meanwhile, 0, 20);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
