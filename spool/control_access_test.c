/* Entries of the block and allow lists come, change, end by the cluster clock and go; a list
 * that is full refuses whole commands. Any order of pages shows each entry once. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "spool/control.h"

static char dir[64];
static struct control *c;
static uint64_t next_index;
static char packed[LIMIT_COMMAND_BYTES];
static size_t used;

static void setup(void)
{
    struct store_id id = {.cluster = {9}, .site = 1, .incarnation = 1};

    log_set_level(LOG_ALARM);
    snprintf(dir, sizeof dir, "/tmp/control_access_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(control_open(&c, &(struct control_options){.dir = dir,
                                                                .map_bytes = 64 * MiB,
                                                                .id = &id,
                                                                .create = true}),
                     OK);
    next_index = 1;
    used = 0;
}

static void teardown(void)
{
    char file[256];

    control_close(&c);
    for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f; f++) {
        snprintf(file, sizeof file, "%s/%s", dir, *f);
        unlink(file);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

static struct access_prefix prefix(uint32_t n)
{
    return (struct access_prefix){.address = {0x20, 1, [12] = (uint8_t)(n >> 24),
                                              (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                                              (uint8_t)n},
                                  .bits = 128};
}

static void add(uint32_t n, enum access_action action, uint32_t for_s, const char *reason)
{
    struct access_entry e = {
        .prefix = prefix(n), .action = action, .for_s = for_s, .reason = str_of(reason)};

    ck_assert_int_eq(access_append(packed, sizeof packed, &used, &e), OK);
}

static enum err apply_one(struct command cmd)
{
    struct command_result r;

    ck_assert_ptr_null(command_check(&cmd));
    ck_assert_int_eq(control_apply(c, next_index++, &cmd, &r), OK);
    return r.err;
}

static enum err apply_all(void)
{
    struct command cmd = {.kind = COMMAND_ACCESS,
                          .access = {.entries = {packed, used}, .uid = 1000}};

    used = 0;
    return apply_one(cmd);
}

static void pass(uint32_t ms)
{
    struct command cmd = {.kind = COMMAND_CLOCK, .clock.elapsed_ms = ms};

    ck_assert_int_eq(apply_one(cmd), OK);
}

static enum err get(uint32_t n, struct access_record *out)
{
    struct access_prefix p = prefix(n);

    return control_access_get(c, &p, out);
}

START_TEST(an_entry_comes_changes_and_goes)
{
    struct access_record r;

    add(1, ACCESS_BLOCK, 60, "spam");
    ck_assert_int_eq(apply_all(), OK);
    ck_assert_int_eq(get(1, &r), OK);
    ck_assert_int_eq(r.action, ACCESS_BLOCK);
    ck_assert_uint_eq(r.added_ms, CONTROL_CLOCK_START_MS);
    ck_assert_uint_eq(r.expires_ms, CONTROL_CLOCK_START_MS + 60000);
    ck_assert_uint_eq(r.uid, 1000);
    ck_assert_str_eq(r.reason, "spam");
    pass(5000);
    add(1, ACCESS_ALLOW, 0, "");
    ck_assert_int_eq(apply_all(), OK);
    ck_assert_int_eq(get(1, &r), OK);
    ck_assert_int_eq(r.action, ACCESS_ALLOW);
    ck_assert_uint_eq(r.expires_ms, 0);
    ck_assert_uint_eq(r.added_ms, CONTROL_CLOCK_START_MS + 5000);
    ck_assert_uint_eq(r.reason_bytes, 0);
    add(1, ACCESS_REMOVE, 0, "");
    add(2, ACCESS_REMOVE, 0, ""); /* is not there: nothing */
    ck_assert_int_eq(apply_all(), OK);
    ck_assert_int_eq(get(1, &r), E_NOTFOUND);
}
END_TEST

START_TEST(only_what_is_over_lapses)
{
    struct access_record r;
    struct control_counts n;

    add(1, ACCESS_BLOCK, 5, "");
    add(2, ACCESS_BLOCK, 6, "");
    add(3, ACCESS_BLOCK, 0, "");
    ck_assert_int_eq(apply_all(), OK);
    pass(5000);
    for (uint32_t i = 1; i <= 4; i++)
        add(i, ACCESS_LAPSE, 0, "");
    ck_assert_int_eq(apply_all(), OK);
    ck_assert_int_eq(get(1, &r), E_NOTFOUND);
    ck_assert_int_eq(get(2, &r), OK);
    ck_assert_int_eq(get(3, &r), OK);
    ck_assert_int_eq(control_counts(c, &n), OK);
    ck_assert_uint_eq(n.access, 2);
}
END_TEST

START_TEST(pages_show_each_entry_once_in_order)
{
    enum { COUNT = 1000 };
    static struct access_record page[COUNT];
    struct access_prefix at;
    size_t got, seen = 0;

    for (uint32_t i = 0; i < COUNT; i++)
        add(i * 7, ACCESS_BLOCK, 0, "");
    ck_assert_int_eq(apply_all(), OK);
    do {
        ck_assert_int_eq(control_access_page(c, seen > 0 ? &at : NULL, page, 33, &got), OK);
        for (size_t i = 0; i < got; i++, seen++) {
            struct access_prefix want = prefix((uint32_t)seen * 7);

            ck_assert_int_eq(access_prefix_compare(&page[i].prefix, &want), 0);
            at = page[i].prefix;
        }
    } while (got == 33);
    ck_assert_uint_eq(seen, COUNT);
}
END_TEST

START_TEST(a_full_list_refuses_the_whole_command)
{
    struct access_record r;
    struct control_counts n;

    for (uint32_t i = 0; i < LIMIT_ACCESS_ENTRIES; i++) {
        add(i, ACCESS_BLOCK, 0, "");
        if ((i + 1) % LIMIT_ACCESS_BATCH == 0)
            ck_assert_int_eq(apply_all(), OK);
    }
    add(7, ACCESS_ALLOW, 0, ""); /* is there already: would do */
    add(UINT32_MAX, ACCESS_BLOCK, 0, "");
    ck_assert_int_eq(apply_all(), E_FULL);
    ck_assert_int_eq(get(7, &r), OK);
    ck_assert_int_eq(r.action, ACCESS_BLOCK);
    add(7, ACCESS_ALLOW, 0, "");
    ck_assert_int_eq(apply_all(), OK);
    ck_assert_int_eq(control_counts(c, &n), OK);
    ck_assert_uint_eq(n.access, LIMIT_ACCESS_ENTRIES);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("control_access");
    TCase *tc = tcase_create("control_access");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_entry_comes_changes_and_goes);
    tcase_add_test(tc, only_what_is_over_lapses);
    tcase_add_test(tc, pages_show_each_entry_once_in_order);
    tcase_add_test(tc, a_full_list_refuses_the_whole_command);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
