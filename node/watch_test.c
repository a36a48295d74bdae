/* Threads are played by events of one base: one that lives takes whenever its box says so. */
#include "node/watch.h"

#include <check.h>
#include <stdbool.h>

#define PERIOD_MS 2

static struct event_base *base;
static struct mailbox *boxes[2];
static struct event *owners[2];
static struct watch *watch;
static unsigned fed;

static void on_box(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ck_assert_ptr_null(mailbox_take(arg));
}

static void on_alive(void *ctx)
{
    ck_assert_ptr_eq(ctx, &fed);
    fed++;
}

static void setup(void)
{
    base = event_base_new();
    ck_assert_ptr_nonnull(base);
    watch = watch_new(&(struct watch_options){
        .base = base, .period_ms = PERIOD_MS, .alive = on_alive, .ctx = &fed});
    for (int i = 0; i < 2; i++) {
        boxes[i] = mailbox_new(1);
        owners[i] =
            event_new(base, mailbox_fd(boxes[i]), EV_READ | EV_PERSIST, on_box, boxes[i]);
        event_add(owners[i], NULL);
        watch_add(watch, i == 0 ? "first" : "second", boxes[i]);
    }
    fed = 0;
}

static void teardown(void)
{
    watch_free(&watch);
    ck_assert_ptr_null(watch);
    watch_free(&watch);
    for (int i = 0; i < 2; i++) {
        event_free(owners[i]);
        mailbox_free(&boxes[i]);
    }
    event_base_free(base);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    --*(unsigned *)arg;
}

/* Turns the base until that many periods have passed. */
static void turn(unsigned periods)
{
    struct timeval tv = {0, PERIOD_MS * 1000};
    struct event *tick = event_new(base, -1, EV_PERSIST, on_tick, &periods);

    event_add(tick, &tv);
    while (periods > 0)
        event_base_loop(base, EVLOOP_ONCE);
    event_free(tick);
}

START_TEST(it_is_fed_while_all_threads_turn)
{
    while (fed < 5)
        event_base_loop(base, EVLOOP_ONCE);
}
END_TEST

START_TEST(one_silent_thread_ends_the_feeding_until_it_turns_again)
{
    while (fed < 2)
        event_base_loop(base, EVLOOP_ONCE);
    event_del(owners[1]);
    turn(3); /* what it took before may still count */
    fed = 0;
    turn(10);
    ck_assert_uint_eq(fed, 0);
    event_add(owners[1], NULL);
    while (fed < 2)
        event_base_loop(base, EVLOOP_ONCE);
}
END_TEST

START_TEST(an_idle_thread_is_not_taken_for_a_silent_one)
{
    uint64_t before = mailbox_takes(boxes[0]);

    turn(20); /* nobody posts anything */
    ck_assert_uint_gt(mailbox_takes(boxes[0]), before);
    ck_assert_uint_gt(fed, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("watch");
    TCase *tc = tcase_create("watch");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, it_is_fed_while_all_threads_turn);
    tcase_add_test(tc, one_silent_thread_ends_the_feeding_until_it_turns_again);
    tcase_add_test(tc, an_idle_thread_is_not_taken_for_a_silent_one);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
