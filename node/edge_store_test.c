/* Batches reach the disk, one at a time, and the last one before the end; what is stored is
 * there at the next start. */
#include "node/edge_store.h"

#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static char dir[64];
static struct mailbox *box;
static struct edge_store *s;

static void open_store(void)
{
    ck_assert_int_eq(edge_store_open(&s, dir, box, 7), OK);
}

static void setup(void)
{
    log_set_level(LOG_ALARM);
    snprintf(dir, sizeof dir, "/tmp/edge_store_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    box = mailbox_new(4);
    open_store();
}

static void drop_file(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
}

static void teardown(void)
{
    edge_store_close(&s);
    for (struct mail *m = mailbox_take(box), *next; m != NULL; m = next) {
        next = m->next;
        free(m);
    }
    mailbox_free(&box);
    drop_file("data.mdb");
    drop_file("lock.mdb");
    ck_assert_int_eq(rmdir(dir), 0);
}

static void wait_done(void)
{
    struct pollfd p = {mailbox_fd(box), POLLIN, 0};
    struct mail *m;

    ck_assert_int_eq(poll(&p, 1, 30000), 1);
    m = mailbox_take(box);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(m->kind, 7);
    edge_store_done(s, m);
}

static bool count(void *ctx, struct str key, struct str value)
{
    (void)key, (void)value;
    ++*(int *)ctx;
    return true;
}

static int stored(void)
{
    int n = 0;

    edge_store_load(s, KNOWN_GREYLIST, &n, count);
    return n;
}

START_TEST(one_batch_is_written_at_a_time)
{
    struct edge_batch *b = edge_store_begin(s);

    ck_assert(edge_batch_put(b, KNOWN_GREYLIST, STR("a"), STR("1")));
    ck_assert(edge_batch_put(b, KNOWN_GREYLIST, STR("b"), STR("2")));
    edge_store_write(s, b);
    ck_assert(edge_store_is_busy(s));
    ck_assert_ptr_null(edge_store_begin(s));
    wait_done();
    ck_assert_int_eq(stored(), 2);
    b = edge_store_begin(s);
    ck_assert(edge_batch_drop(b, KNOWN_GREYLIST, STR("a")));
    edge_store_write(s, b);
    wait_done();
    ck_assert_int_eq(stored(), 1);
    b = edge_store_begin(s);
    edge_batch_clear(b, KNOWN_GREYLIST);
    edge_store_write(s, b);
    wait_done();
    ck_assert_int_eq(stored(), 0);
}
END_TEST

START_TEST(an_empty_batch_is_nothing)
{
    edge_store_write(s, edge_store_begin(s));
    ck_assert(!edge_store_is_busy(s));
    ck_assert_ptr_nonnull(edge_store_begin(s));
}
END_TEST

START_TEST(what_is_under_way_is_written_before_the_end)
{
    struct edge_batch *b = edge_store_begin(s);

    ck_assert(edge_batch_put(b, KNOWN_GREYLIST, STR("a"), STR("1")));
    edge_store_write(s, b);
    edge_store_close(&s);
    open_store();
    ck_assert_int_eq(stored(), 1);
}
END_TEST

START_TEST(a_full_batch_says_so_and_is_whole)
{
    struct edge_batch *b = edge_store_begin(s);
    char value[LIMIT_GOSSIP_ENTRY_BYTES];
    int n = 0;

    memset(value, 'v', sizeof value);
    while (edge_batch_put(b, KNOWN_GREYLIST, (struct str){(const char *)&n, sizeof n},
                          (struct str){value, sizeof value}))
        n++;
    ck_assert_int_gt(n, 1000);
    edge_store_write(s, b);
    wait_done();
    ck_assert_int_eq(stored(), n);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_store");
    TCase *tc = tcase_create("all");
    SRunner *sr = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, one_batch_is_written_at_a_time);
    tcase_add_test(tc, an_empty_batch_is_nothing);
    tcase_add_test(tc, what_is_under_way_is_written_before_the_end);
    tcase_add_test(tc, a_full_batch_says_so_and_is_whole);
    suite_add_tcase(suite, tc);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? 0 : 1;
}
