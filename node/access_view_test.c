/* What the store says is what SMTP threads find, soon after it changed; an entry whose time is
 * over counts for nothing at once, and is removed later. */
#include "node/access_view.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "node/control_thread.h"

static char dir[64];
static struct control_thread *t;
static struct access_view *v;
static struct control_thread_options opts;
static _Atomic uint64_t boot_ms;

static uint64_t fake_boot(void)
{
    return atomic_load(&boot_ms);
}

static void start(void)
{
    v = access_view_new();
    opts.notices[ACCESS_VIEW_SUBSCRIBER] =
        (struct control_subscriber){access_view_box(v), access_view_notice_kind()};
    ck_assert_int_eq(control_thread_start(&t, &opts), OK);
    ck_assert_int_eq(access_view_run(v, t), OK);
}

static void stop(void)
{
    access_view_stop(v);
    control_thread_stop(&t);
    access_view_free(&v);
}

static void setup(void)
{
    log_set_level(LOG_ALARM);
    snprintf(dir, sizeof dir, "/tmp/access_view.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    atomic_store(&boot_ms, 1000000);
    opts = (struct control_thread_options){.dir = dir,
                                           .log_map_bytes = 64 * MiB,
                                           .state_map_bytes = 64 * MiB,
                                           .site = 1,
                                           .create = true,
                                           .boot_ms = fake_boot};
    start();
}

static void teardown(void)
{
    char file[128];

    stop();
    for (const char *const *s = (const char *const[]){"log", "state", NULL}; *s; s++) {
        for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f;
             f++) {
            snprintf(file, sizeof file, "%s/%s/%s", dir, *s, *f);
            unlink(file);
        }
        snprintf(file, sizeof file, "%s/%s", dir, *s);
        rmdir(file);
    }
    rmdir(dir);
}

static struct ip_addr ip(const char *text)
{
    struct ip_addr out;

    ck_assert(ip_parse(str_of(text), &out));
    return out;
}

static struct access_entry entry(const char *text, uint8_t bits, enum access_action action)
{
    struct access_entry e = {.prefix.bits = bits, .action = action};
    struct ip_addr a = ip(text);

    memcpy(e.prefix.address, a.b, sizeof e.prefix.address);
    return e;
}

static void put(struct access_entry e)
{
    char bytes[512];
    size_t used = 0;
    struct command cmd = {.kind = COMMAND_ACCESS};

    ck_assert_int_eq(access_append(bytes, sizeof bytes, &used, &e), OK);
    cmd.access.entries = (struct str){bytes, used};
    ck_assert_int_eq(control_propose_wait(t, &cmd, NULL), OK);
}

static struct access_found find(const char *address)
{
    struct ip_addr a = ip(address);
    struct access_found found;

    access_view_find(v, &a, control_now_ms(t), &found);
    return found;
}

/* The view's thread is on its way: this waits for what it publishes, as an SMTP thread sees it.
 */
static void until(const char *address, enum access_action action)
{
    while (find(address).action != action)
        sched_yield();
}

START_TEST(the_longest_network_is_found)
{
    struct access_entry e = entry("192.0.2.0", 120, ACCESS_BLOCK);

    ck_assert_int_eq(find("192.0.2.1").action, ACCESS_REMOVE);
    e.reason = STR("spam run");
    put(e);
    until("192.0.2.1", ACCESS_BLOCK);
    put(entry("192.0.2.64", 122, ACCESS_ALLOW));
    until("192.0.2.65", ACCESS_ALLOW);
    put(entry("2001:db8::", 32, ACCESS_BLOCK));
    until("2001:db8:1::1", ACCESS_BLOCK);
    ck_assert_str_eq(find("192.0.2.1").reason, "spam run");
    ck_assert_uint_eq(find("192.0.2.1").prefix.bits, 120);
    ck_assert_str_eq(find("192.0.2.65").reason, "");
    ck_assert_int_eq(find("192.0.3.1").action, ACCESS_REMOVE);
    ck_assert_int_eq(find("2001:db9::1").action, ACCESS_REMOVE);
    put(entry("192.0.2.0", 120, ACCESS_REMOVE));
    until("192.0.2.1", ACCESS_REMOVE);
    ck_assert_int_eq(find("192.0.2.65").action, ACCESS_ALLOW);
}
END_TEST

START_TEST(what_was_in_the_store_counts_from_the_start)
{
    put(entry("192.0.2.0", 120, ACCESS_BLOCK));
    stop();
    start();
    ck_assert_int_eq(find("192.0.2.1").action, ACCESS_BLOCK);
}
END_TEST

/* A tick of the cluster clock; and a change, at which the view's thread looks again. */
static void time_passes(void)
{
    uint64_t before = control_now_ms(t);

    atomic_fetch_add(&boot_ms, LIMIT_CLOCK_TICK_MS);
    put(entry("198.51.100.0", 120, ACCESS_BLOCK));
    while (control_now_ms(t) == before)
        sched_yield();
}

START_TEST(an_entry_whose_time_is_over_counts_for_nothing)
{
    struct access_entry e = entry("192.0.2.0", 120, ACCESS_BLOCK);
    struct access_record r;

    e.for_s = 60;
    put(entry("192.0.2.1", 128, ACCESS_ALLOW));
    put(e);
    until("192.0.2.2", ACCESS_BLOCK);
    while (find("192.0.2.2").action != ACCESS_REMOVE)
        time_passes();
    ck_assert_int_eq(find("192.0.2.1").action, ACCESS_ALLOW);
    ck_assert_int_eq(control_access_get(control_thread_state(t), &e.prefix, &r), OK);
    while (control_access_get(control_thread_state(t), &e.prefix, &r) == OK)
        time_passes();
    ck_assert_int_eq(find("192.0.2.1").action, ACCESS_ALLOW);
}
END_TEST

static atomic_bool over;

static void *keep_asking(void *arg)
{
    uint64_t *asked = arg;

    while (!atomic_load(&over)) {
        struct access_found f = find("192.0.2.1");

        ck_assert(f.action == ACCESS_BLOCK || f.action == ACCESS_REMOVE);
        ck_assert_str_eq(f.reason, f.action == ACCESS_BLOCK ? "why" : "");
        ++*asked;
    }
    return NULL;
}

START_TEST(it_can_be_asked_while_it_changes)
{
    struct access_entry e = entry("192.0.2.0", 120, ACCESS_BLOCK);
    uint64_t asked = 0;
    pthread_t thread;

    e.reason = STR("why");
    atomic_store(&over, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, keep_asking, &asked), 0);
    for (int i = 0; i < 20; i++) {
        put(e);
        until("192.0.2.1", ACCESS_BLOCK);
        put(entry("192.0.2.0", 120, ACCESS_REMOVE));
        until("192.0.2.1", ACCESS_REMOVE);
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    ck_assert_uint_gt(asked, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("access_view");
    TCase *tc = tcase_create("access_view");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_longest_network_is_found);
    tcase_add_test(tc, what_was_in_the_store_counts_from_the_start);
    tcase_add_test(tc, an_entry_whose_time_is_over_counts_for_nothing);
    tcase_add_test(tc, it_can_be_asked_while_it_changes);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
