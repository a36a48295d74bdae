/* The last owner frees, and nobody before; leaks and late uses are AddressSanitizer's finds. */
#include "base/blob.h"

#include <check.h>
#include <pthread.h>
#include <stdint.h>

#include "base/assert.h"

START_TEST(bytes_live_until_the_last_owner_lets_go)
{
    struct blob *a = blob_new(5), *b, *c;

    ck_assert_ptr_nonnull(a);
    memcpy(a->b, "hello", 5);
    b = blob_hold(a);
    c = blob_hold(b);
    ck_assert_ptr_eq(a, b);
    ck_assert_uint_eq(atomic_load(&c->owners), 3);
    blob_release(&a);
    ck_assert_ptr_null(a);
    blob_release(&b);
    ck_assert(str_eq(blob_str(c), STR("hello")));
    blob_release(&c);
    ck_assert_ptr_null(c);
}
END_TEST

START_TEST(no_blob_is_an_empty_text)
{
    struct blob *none = NULL, *empty = blob_new(0);

    ck_assert_ptr_null(blob_hold(NULL));
    blob_release(&none);
    ck_assert_uint_eq(blob_str(NULL).n, 0);
    ck_assert_uint_eq(blob_str(empty).n, 0);
    blob_release(&empty);
}
END_TEST

START_TEST(a_size_that_no_memory_has_is_refused)
{
    ck_assert_ptr_null(blob_new(SIZE_MAX));
    ck_assert_ptr_null(blob_new(SIZE_MAX - sizeof(struct blob) + 1));
}
END_TEST

static void *hold_and_release(void *arg)
{
    struct blob *mine = arg;

    for (int i = 0; i < 20000; i++) {
        struct blob *more = blob_hold(mine);

        ASSERT(more->b[0] == 'x');
        blob_release(&more);
    }
    blob_release(&mine);
    return NULL;
}

START_TEST(threads_hold_and_release_at_the_same_time)
{
    struct blob *b = blob_new(1);
    pthread_t t[4];

    b->b[0] = 'x';
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, hold_and_release, blob_hold(b)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    ck_assert_uint_eq(atomic_load(&b->owners), 1);
    blob_release(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("blob");
    TCase *tc = tcase_create("blob");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, bytes_live_until_the_last_owner_lets_go);
    tcase_add_test(tc, no_blob_is_an_empty_text);
    tcase_add_test(tc, a_size_that_no_memory_has_is_refused);
    tcase_add_test(tc, threads_hold_and_release_at_the_same_time);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
