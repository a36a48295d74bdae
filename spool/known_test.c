/* What the door remembers survives a close; what cannot be read is put aside, and never stands
 * in the way of a start. */
#include "spool/known.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static char top[64], dir[128];
static struct known *k;

static void reopen(void)
{
    known_close(&k);
    ck_assert_int_eq(known_open(&k, dir), OK);
}

static void setup(void)
{
    log_set_level(LOG_ALARM);
    snprintf(top, sizeof top, "/tmp/known_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/a/known", top);
    ck_assert_int_eq(known_open(&k, dir), OK); /* makes the folder above, too */
}

static void drop_file(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
}

static void teardown(void)
{
    char above[160];

    known_close(&k);
    drop_file("data.mdb");
    drop_file("data.mdb.bad");
    drop_file("lock.mdb");
    rmdir(dir);
    snprintf(above, sizeof above, "%s/a", top);
    rmdir(above);
    ck_assert_int_eq(rmdir(top), 0);
}

static void put(const char *key, const char *value)
{
    known_begin(k);
    known_put(k, KNOWN_GREYLIST, str_of(key), str_of(value));
    ck_assert_int_eq(known_commit(k), OK);
}

static bool add(void *ctx, struct str key, struct str value)
{
    char *text = ctx;

    snprintf(text + strlen(text), 200 - strlen(text), STR_FMT "=" STR_FMT " ", STR_ARG(key),
             STR_ARG(value));
    return !str_eq(value, STR("dead"));
}

static const char *all(void)
{
    static char text[200];

    text[0] = 0;
    ck_assert_int_eq(known_each(k, KNOWN_GREYLIST, text, add), OK);
    return text;
}

START_TEST(what_is_put_stays)
{
    ck_assert_str_eq(all(), "");
    put("b", "2");
    put("a", "1");
    put("b", "3");
    reopen();
    ck_assert_str_eq(all(), "a=1 b=3 ");
}
END_TEST

START_TEST(drops_and_clears_take_effect_in_their_order)
{
    put("a", "1");
    put("b", "2");
    known_begin(k);
    known_drop(k, KNOWN_GREYLIST, STR("a"));
    known_drop(k, KNOWN_GREYLIST, STR("none"));
    known_put(k, KNOWN_GREYLIST, STR("c"), STR(""));
    ck_assert_int_eq(known_commit(k), OK);
    ck_assert_str_eq(all(), "b=2 c= ");
    known_begin(k);
    known_clear(k, KNOWN_GREYLIST);
    known_put(k, KNOWN_GREYLIST, STR("d"), STR("4"));
    ck_assert_int_eq(known_commit(k), OK);
    reopen();
    ck_assert_str_eq(all(), "d=4 ");
}
END_TEST

START_TEST(what_nobody_keeps_goes)
{
    put("a", "dead");
    put("b", "2");
    put("c", "dead");
    put("d", "dead");
    ck_assert_str_eq(all(), "a=dead b=2 c=dead d=dead ");
    reopen();
    ck_assert_str_eq(all(), "b=2 ");
}
END_TEST

static void write_over(const char *bytes, size_t count, off_t at)
{
    char path[256];
    int fd;

    snprintf(path, sizeof path, "%s/data.mdb", dir);
    fd = open(path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)pwrite(fd, bytes, count, at), (int)count);
    close(fd);
}

START_TEST(a_store_that_is_none_is_put_aside)
{
    char junk[8192], path[256];
    struct stat st;

    put("a", "1");
    known_close(&k);
    memset(junk, 'j', sizeof junk);
    write_over(junk, sizeof junk, 0);
    ck_assert_int_eq(known_open(&k, dir), OK);
    ck_assert_str_eq(all(), "");
    snprintf(path, sizeof path, "%s/data.mdb.bad", dir);
    ck_assert_int_eq(stat(path, &st), 0);
    put("b", "2");
    reopen();
    ck_assert_str_eq(all(), "b=2 ");
}
END_TEST

START_TEST(a_damaged_record_is_passed_over_and_goes)
{
    char path[256], page[65536], *found;
    ssize_t n;
    int fd;

    put("key-one", "value-one");
    put("key-two", "dead");
    put("key-zoo", "value-two");
    known_close(&k);
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    n = pread(fd, page, sizeof page, 0);
    ck_assert_int_gt((int)n, 0);
    for (char *p = page; (found = memmem(p, (size_t)(page + n - p), "value-one", 9)) != NULL;
         p = found + 1) /* pages of before are there, too */
        ck_assert_int_eq((int)pwrite(fd, "VALUE", 5, found - page), 5);
    close(fd);
    ck_assert_int_eq(known_open(&k, dir), OK);
    ck_assert_str_eq(all(), "key-two=dead key-zoo=value-two ");
    ck_assert_str_eq(all(), "key-zoo=value-two "); /* and is not there to be damaged again */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("known");
    TCase *tc = tcase_create("all");
    SRunner *sr = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_is_put_stays);
    tcase_add_test(tc, drops_and_clears_take_effect_in_their_order);
    tcase_add_test(tc, a_store_that_is_none_is_put_aside);
    tcase_add_test(tc, what_nobody_keeps_goes);
    tcase_add_test(tc, a_damaged_record_is_passed_over_and_goes);
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? 0 : 1;
}
