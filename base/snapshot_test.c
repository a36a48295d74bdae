#include "base/snapshot.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct value {
    int a, b; /* always equal */
};

static atomic_int alive;

static void *value_new(int n)
{
    struct value *v = malloc(sizeof *v);

    *v = (struct value){n, n};
    atomic_fetch_add(&alive, 1);
    return v;
}

static void value_free(void *v)
{
    ((struct value *)v)->b = -1;
    free(v);
    atomic_fetch_sub(&alive, 1);
}

static int number(const struct snapshot_ref *r)
{
    return ((const struct value *)snapshot_value(r))->a;
}

START_TEST(holder_keeps_its_value_over_a_publish_and_the_last_one_frees_it)
{
    struct snapshot *s = snapshot_new(value_new(1), value_free);
    struct snapshot_ref *old = snapshot_hold(s), *old2 = snapshot_hold(s), *fresh;

    snapshot_publish(s, value_new(2));
    fresh = snapshot_hold(s);
    ck_assert_int_eq(number(old), 1);
    ck_assert_int_eq(number(fresh), 2);
    ck_assert_int_eq(atomic_load(&alive), 2);
    snapshot_release(&old);
    ck_assert_ptr_null(old);
    ck_assert_int_eq(number(old2), 1);
    snapshot_release(&old2);
    ck_assert_int_eq(atomic_load(&alive), 1);
    snapshot_free(&s);
    ck_assert_int_eq(number(fresh), 2); /* outlives the snapshot */
    snapshot_release(&fresh);
    ck_assert_int_eq(atomic_load(&alive), 0);
}
END_TEST

static struct snapshot *shared;
static atomic_bool done;

static void *reader(void *arg)
{
    (void)arg;
    while (!atomic_load(&done)) {
        struct snapshot_ref *r = snapshot_hold(shared);
        const struct value *v = snapshot_value(r);

        ck_assert(v->a == v->b);
        snapshot_release(&r);
    }
    return NULL;
}

START_TEST(readers_never_see_a_freed_or_half_written_value)
{
    pthread_t threads[3];

    shared = snapshot_new(value_new(0), value_free);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, reader, NULL), 0);
    for (int i = 1; i < 5000; i++)
        snapshot_publish(shared, value_new(i));
    atomic_store(&done, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    snapshot_free(&shared);
    ck_assert_int_eq(atomic_load(&alive), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapshot");
    TCase *tc = tcase_create("snapshot");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, holder_keeps_its_value_over_a_publish_and_the_last_one_frees_it);
    tcase_add_test(tc, readers_never_see_a_freed_or_half_written_value);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
