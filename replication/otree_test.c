#include <check.h>
#include <stdlib.h>

#include "base/prng.h"
#include "replication/otree.h"

#define KEYS 512

struct item {
    struct otree_node n;
    uint32_t value;
};

static struct mid key_of(uint32_t k)
{
    return mid_make((uint16_t)(1 + k % 3), 5 + k % 2, k);
}

static int by_key(const void *a, const void *b)
{
    return mid_cmp(*(const struct mid *)a, *(const struct mid *)b);
}

/* What a plain sorted list says. */
static void same_as_list(const struct otree *t, const bool *there, struct mid at)
{
    struct mid list[KEYS];
    size_t n = 0;
    uint32_t above = 0, below = 0;

    for (uint32_t k = 0; k < KEYS; k++)
        if (there[k])
            list[n++] = key_of(k);
    qsort(list, n, sizeof list[0], by_key);
    for (size_t i = 0; i < n; i++) {
        if (mid_cmp(list[i], at) >= 0 && above == 0)
            above = otree_find(t, list[i]);
        if (mid_cmp(list[i], at) <= 0)
            below = otree_find(t, list[i]);
    }
    ck_assert_uint_eq(otree_count(t), n);
    ck_assert_uint_eq(otree_ceil(t, at), above);
    ck_assert_uint_eq(otree_floor(t, at), below);
}

START_TEST(items_are_found_in_order_whatever_comes_and_goes)
{
    struct otree t;
    bool there[KEYS] = {false};
    struct prng r;

    prng_seed(&r, (uint64_t)_i + 1);
    otree_init(&t, sizeof(struct item), KEYS);
    for (int step = 0; step < 3000; step++) {
        uint32_t k = (uint32_t)prng_below(&r, KEYS), h = otree_find(&t, key_of(k));

        ck_assert_int_eq(h != 0, there[k]);
        if (h == 0) {
            h = otree_add(&t, key_of(k));
            ck_assert_uint_ne(h, 0);
            ck_assert_uint_eq(((struct item *)otree_at(&t, h))->value, 0);
            ((struct item *)otree_at(&t, h))->value = k;
        } else {
            ck_assert_uint_eq(((struct item *)otree_at(&t, h))->value, k);
            otree_remove(&t, h);
        }
        there[k] = !there[k];
        if (step % 64 == 0) {
            otree_check(&t);
            same_as_list(&t, there, key_of((uint32_t)prng_below(&r, KEYS)));
        }
    }
    otree_fini(&t);
}
END_TEST

START_TEST(ceiling_is_answered_not_passed)
{
    struct otree t;

    otree_init(&t, sizeof(struct item), 2);
    ck_assert_uint_ne(otree_add(&t, key_of(1)), 0);
    ck_assert_uint_ne(otree_add(&t, key_of(2)), 0);
    ck_assert_uint_eq(otree_add(&t, key_of(3)), 0);
    otree_check(&t);
    otree_remove(&t, otree_find(&t, key_of(1)));
    ck_assert_uint_ne(otree_add(&t, key_of(3)), 0);
    otree_fini(&t);
}
END_TEST

static int depth(const struct otree *t, uint32_t h)
{
    const struct otree_node *n;
    int l, r;

    if (h == 0)
        return 0;
    n = otree_at(t, h);
    l = depth(t, n->left);
    r = depth(t, n->right);
    return 1 + (l > r ? l : r);
}

START_TEST(ids_that_come_in_order_make_no_deep_tree)
{
    struct otree t;

    otree_init(&t, sizeof(struct item), 100000);
    for (uint64_t c = 1; c <= 100000; c++)
        ck_assert_uint_ne(otree_add(&t, mid_make(1, 7, c)), 0);
    ck_assert_int_lt(depth(&t, t.root), 64);
    otree_fini(&t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("otree");
    TCase *tc = tcase_create("otree");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_loop_test(tc, items_are_found_in_order_whatever_comes_and_goes, 0, 20);
    tcase_add_test(tc, ceiling_is_answered_not_passed);
    tcase_add_test(tc, ids_that_come_in_order_make_no_deep_tree);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
