#include "base/arena.h"

#include <check.h>
#include <stdint.h>

START_TEST(memory_is_aligned_zeroed_and_not_shared)
{
    struct arena a;
    char *got[200];

    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < 200; i++) {
        got[i] = arena_take(&a, i * 7 + 1);
        ck_assert_ptr_nonnull(got[i]);
        ck_assert_uint_eq((uintptr_t)got[i] % 16, 0);
        for (size_t k = 0; k < i * 7 + 1; k++)
            ck_assert_int_eq(got[i][k], 0);
        memset(got[i], (int)i + 1, i * 7 + 1);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < i * 7 + 1; k++)
            ck_assert_int_eq((unsigned char)got[i][k], (unsigned char)(i + 1));
    arena_reset(&a);
}
END_TEST

START_TEST(ceiling_is_kept_and_reset_gives_all_back)
{
    struct arena a;

    arena_init(&a, 10000);
    for (int round = 0; round < 3; round++) {
        size_t taken = 0;

        while (arena_take(&a, 100) != NULL)
            taken++;
        ck_assert_uint_eq(taken, 10000 / 112);
        ck_assert_uint_le(a.used, 10000);
        ck_assert_ptr_null(arena_take(&a, 1000));
        arena_reset(&a);
        ck_assert_uint_eq(a.used, 0);
    }
    ck_assert_ptr_nonnull(arena_take(&a, 9990));
    ck_assert_ptr_null(arena_take(&a, 1));
    arena_reset(&a);
}
END_TEST

START_TEST(sizes_that_overflow_are_refused)
{
    struct arena a;

    arena_init(&a, SIZE_MAX);
    ck_assert_ptr_null(arena_take(&a, SIZE_MAX));
    ck_assert_ptr_null(arena_take(&a, SIZE_MAX - 14));
    arena_reset(&a);
    arena_init(&a, 0);
    ck_assert_ptr_null(arena_take(&a, 1));
    arena_reset(&a);
}
END_TEST

START_TEST(copied_text_is_its_own)
{
    struct arena a;
    char text[] = "hello";
    struct str copy;

    arena_init(&a, 64);
    copy = arena_str(&a, str_of(text));
    text[0] = 'J';
    ck_assert(str_eq(copy, STR("hello")));
    copy = arena_str(&a, STR_NONE);
    ck_assert_ptr_nonnull(copy.p);
    ck_assert_uint_eq(copy.n, 0);
    copy = arena_str(&a, STR("this is more than the sixty-four bytes that the arena may take"));
    ck_assert_ptr_null(copy.p);
    arena_reset(&a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena");
    TCase *tc = tcase_create("arena");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, memory_is_aligned_zeroed_and_not_shared);
    tcase_add_test(tc, ceiling_is_kept_and_reset_gives_all_back);
    tcase_add_test(tc, sizes_that_overflow_are_refused);
    tcase_add_test(tc, copied_text_is_its_own);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
