#include <check.h>
#include <stdlib.h>

#include "base/prng.h"
#include "replication/rset.h"

#define IDS 200

/* Two sessions of IDS counters each, as plain bits. */
static struct rset_span span_of(uint64_t which, uint64_t from, uint64_t to)
{
    return (struct rset_span){2, 9 + which, from, to};
}

static void same_as_bits(const struct rset *s, const bool bits[2][IDS])
{
    uint64_t count = 0;
    struct rset_span cut;

    rset_check(s);
    for (uint64_t w = 0; w < 2; w++)
        for (uint64_t c = 0; c < IDS; c++) {
            uint64_t next = c;

            count += bits[w][c];
            ck_assert_int_eq(rset_has(s, mid_make(2, 9 + w, c)), bits[w][c]);
            while (next < IDS && !bits[w][next])
                next++;
            if (next == IDS) {
                ck_assert(!rset_cut(s, span_of(w, c, IDS), &cut));
                continue;
            }
            ck_assert(rset_cut(s, span_of(w, c, IDS - 1), &cut));
            ck_assert_uint_eq(cut.from, next);
            while (next < IDS && bits[w][next])
                next++;
            ck_assert_uint_eq(cut.to, next - 1);
            ck_assert(rset_covers(s, cut));
        }
    ck_assert_uint_eq(s->ids, count);
}

START_TEST(it_holds_what_was_added_and_not_removed)
{
    struct rset s;
    bool bits[2][IDS] = {{false}};
    struct prng r;

    prng_seed(&r, (uint64_t)_i + 1);
    rset_init(&s, 4 * IDS);
    for (int step = 0; step < 400; step++) {
        uint64_t w = prng_below(&r, 2), from = prng_below(&r, IDS);
        uint64_t to = from + prng_below(&r, prng_below(&r, 4) == 0 ? IDS - from : 3);
        bool adds = prng_below(&r, 3) > 0;

        if (to >= IDS)
            to = IDS - 1;
        if (adds)
            ck_assert(rset_add(&s, span_of(w, from, to)));
        else
            ck_assert(rset_remove(&s, span_of(w, from, to)));
        for (uint64_t c = from; c <= to; c++)
            bits[w][c] = adds;
        if (step % 16 == 0)
            same_as_bits(&s, bits);
    }
    same_as_bits(&s, bits);
    rset_drop_below(&s, 2, 10);
    for (uint64_t c = 0; c < IDS; c++)
        bits[0][c] = false;
    same_as_bits(&s, bits);
    rset_fini(&s);
}
END_TEST

START_TEST(neighbours_are_one_interval)
{
    struct rset s;
    struct rset_span span;

    rset_init(&s, 8);
    ck_assert(rset_add(&s, span_of(0, 1, 3)));
    ck_assert(rset_add(&s, span_of(0, 5, 5)));
    ck_assert_uint_eq(otree_count(&s.spans), 2);
    ck_assert(rset_add_id(&s, mid_make(2, 9, 4)));
    ck_assert_uint_eq(otree_count(&s.spans), 1);
    ck_assert(rset_next(&s, mid_make(2, 9, 2), &span));
    ck_assert_uint_eq(span.from, 2);
    ck_assert_uint_eq(span.to, 5);
    rset_fini(&s);
}
END_TEST

START_TEST(last_counter_ends_an_interval)
{
    struct rset s;
    struct rset_span span;

    rset_init(&s, 8);
    ck_assert(rset_add(&s, span_of(0, UINT64_MAX - 1, UINT64_MAX)));
    ck_assert(rset_add(&s, span_of(0, UINT64_MAX, UINT64_MAX)));
    ck_assert(rset_add(&s, span_of(1, 0, 0)));
    ck_assert_uint_eq(otree_count(&s.spans), 2);
    ck_assert(rset_next(&s, mid_make(2, 9, UINT64_MAX), &span));
    ck_assert(rset_next(&s, rset_after(span), &span));
    ck_assert_uint_eq(span.epoch, 10);
    rset_check(&s);
    rset_fini(&s);
}
END_TEST

START_TEST(ceiling_is_answered)
{
    struct rset s;

    rset_init(&s, 1);
    ck_assert(rset_add(&s, span_of(0, 1, 1)));
    ck_assert(!rset_add(&s, span_of(0, 3, 3)));
    rset_fini(&s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rset");
    TCase *tc = tcase_create("rset");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_loop_test(tc, it_holds_what_was_added_and_not_removed, 0, 40);
    tcase_add_test(tc, neighbours_are_one_interval);
    tcase_add_test(tc, last_counter_ends_an_interval);
    tcase_add_test(tc, ceiling_is_answered);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
