#include "base/stats.h"

#include <check.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char text[65536];

START_TEST(counters_add_and_gauges_are_set)
{
    stat_set(STAT_SESSIONS, 7);
    stat_add(STAT_SESSIONS, -3);
    ck_assert_uint_eq(stat_get(STAT_SESSIONS), 4);
    stat_add(STAT_SESSIONS_TOTAL, 2);
    stat_add(STAT_SESSIONS_TOTAL, 1);
    ck_assert_uint_eq(stat_get(STAT_SESSIONS_TOTAL), 3);
}
END_TEST

START_TEST(text_names_every_one_with_help_and_type)
{
    size_t n;

    stat_set(STAT_QUEUE_MESSAGES, 42);
    n = stats_text(text, sizeof text);
    ck_assert_uint_eq(n, strlen(text));
    ck_assert_ptr_nonnull(strstr(text, "\n# TYPE trispool_queue_messages gauge\n"
                                       "trispool_queue_messages 42\n"));
    for (int i = 0; i < STAT_COUNT; i++) {
        char name[80], want[96];

        snprintf(name, sizeof name, "%s", stat_name((enum stat_id)i));
        for (char *c = name; *c != 0; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
        snprintf(want, sizeof want, "\ntrispool_%s ", name);
        ck_assert_msg(strstr(text, want) != NULL, "%s", name);
    }
}
END_TEST

START_TEST(short_buffer_gets_whole_entries_only)
{
    for (size_t size = 1; size < 2000; size += 7) {
        char *buf = malloc(size);
        size_t n = stats_text(buf, size);

        ck_assert_uint_lt(n, size);
        ck_assert_uint_eq(strlen(buf), n);
        ck_assert(n == 0 || buf[n - 1] == '\n');
        free(buf);
    }
}
END_TEST

/* Prometheus takes a counter for one by its name. */
START_TEST(counters_and_only_they_end_in_total)
{
    static const struct {
        const char *name, *type;
    } rows[] = {
#define X(name, type, help) {#name, #type},
#include "base/stats.def"
#undef X
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].name);
        bool total = n > 6 && strcmp(rows[i].name + n - 6, "_TOTAL") == 0;

        ck_assert_msg(total == (strcmp(rows[i].type, "COUNTER") == 0), "%s", rows[i].name);
    }
}
END_TEST

static void *add(void *arg)
{
    for (int i = 0; i < 20000; i++)
        stat_add(STAT_DEFERRALS_TOTAL, 1);
    return arg;
}

START_TEST(threads_lose_no_count)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(stat_get(STAT_DEFERRALS_TOTAL), 80000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stats");
    TCase *tc = tcase_create("stats");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, counters_add_and_gauges_are_set);
    tcase_add_test(tc, text_names_every_one_with_help_and_type);
    tcase_add_test(tc, short_buffer_gets_whole_entries_only);
    tcase_add_test(tc, counters_and_only_they_end_in_total);
    tcase_add_test(tc, threads_lose_no_count);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
