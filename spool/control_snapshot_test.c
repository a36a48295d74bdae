/* A state travels whole or not at all, and what a failed or damaged restore leaves is the state
 * before it. Here for control_image.c and control_restore.c, too. */
#include "spool/control_snapshot.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/support/io_tap.h"

#define MAP (64 * MiB)

static char dir[2][64];
static struct control *from, *to;
static uint64_t next_index;
static const struct store_id ids[2] = {{.cluster = {9}, .site = 1, .incarnation = 1},
                                       {.cluster = {9}, .site = 2, .incarnation = 7}};

static struct control *open_at(int i, const struct store_id *id)
{
    struct control *c;

    ck_assert_int_eq(control_open(&c, &(struct control_options){.dir = dir[i],
                                                                .map_bytes = MAP,
                                                                .id = id,
                                                                .create = true}),
                     OK);
    return c;
}

static void setup(void)
{
    log_set_level(LOG_ALARM);
    for (int i = 0; i < 2; i++) {
        snprintf(dir[i], sizeof dir[i], "/tmp/control_snapshot_test.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(dir[i]));
    }
    from = open_at(0, &ids[0]);
    to = open_at(1, &ids[1]);
    next_index = 1;
}

static void teardown(void)
{
    char file[256];

    *io_tap() = (struct io_tap){.judge = NULL};
    control_close(&from);
    if (to != NULL)
        control_close(&to);
    for (int i = 0; i < 2; i++) {
        for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f;
             f++) {
            snprintf(file, sizeof file, "%s/%s", dir[i], *f);
            unlink(file);
        }
        ck_assert_int_eq(rmdir(dir[i]), 0); /* nothing else was left */
    }
}

static void apply(struct control *c, struct command cmd)
{
    struct command_result r;

    ck_assert_int_eq(control_apply(c, next_index++, &cmd, &r), OK);
    ck_assert_int_eq(r.err, OK);
}

static struct command domain(const char *name)
{
    return (struct command){
        .kind = COMMAND_DOMAIN_PUT,
        .domain_put = {.mode = DOMAIN_ADD,
                       .domain = {.name = str_of(name), .route.kind = ROUTE_MX}}};
}

static struct command setting(const char *name, struct str value)
{
    return (struct command){.kind = COMMAND_SETTING_PUT, .setting_put = {str_of(name), value}};
}

/* Records in every table, larger in all than one buffer. */
static void fill(struct control *c)
{
    static char value[4000];
    char name[32];

    memset(value, 'v', sizeof value);
    apply(c, (struct command){.kind = COMMAND_MEMBER_ADD,
                              .member_add = {.site = 1,
                                             .incarnation = 1,
                                             .key = {1},
                                             .control = STR("a.example:7301"),
                                             .data = STR("a.example:7302")}});
    apply(c, (struct command){.kind = COMMAND_SESSION_OPEN,
                              .session_open = {1, 1, 10000, 5, 0}}); /* 2 */
    apply(c, (struct command){.kind = COMMAND_CLOCK, .clock.elapsed_ms = 777});
    apply(c, (struct command){.kind = COMMAND_PLAN_PUT, .plan_put = {STR("gold"), 86400, 3}});
    apply(c, domain("example.com"));
    apply(c, (struct command){.kind = COMMAND_PLACE, .place = {STR("example.com"), 1, 2}});
    apply(c, (struct command){.kind = COMMAND_OPERATE,
                              .operate = {.op = OPERATE_HOLD,
                                          .select = OPERATE_DOMAIN,
                                          .domain = STR("example.com"),
                                          .cutoff_ms = 77}});
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "s%d", i);
        apply(c, setting(name, (struct str){value, sizeof value - (size_t)i}));
        snprintf(name, sizeof name, "d%d.example", i);
        apply(c, domain(name));
    }
}

static uint64_t digest(struct control *c)
{
    uint64_t d;

    ck_assert_int_eq(control_digest(c, &d), OK);
    return d;
}

/* The whole image, gives. */
static struct str image_of(struct control *c)
{
    struct control_snapshot *s;
    struct str image;
    char *bytes = malloc(70000), *whole;
    size_t got;

    ck_assert_int_eq(control_snapshot_open(&s, c), OK);
    image.n = control_snapshot_bytes(s);
    whole = malloc(image.n);
    ck_assert(bytes != NULL && whole != NULL);
    for (size_t at = 0; at < image.n; at += got) {
        size_t n = image.n - at < 70000 ? image.n - at : 70000;

        ck_assert_int_eq(control_snapshot_read(s, at / 2, bytes, n, &got), OK); /* again */
        ck_assert_int_eq(control_snapshot_read(s, at, bytes, n, &got), OK);
        ck_assert_uint_eq(got, n);
        memcpy(whole + at, bytes, n);
    }
    ck_assert_int_eq(control_snapshot_read(s, image.n, bytes, 0, &got), OK);
    ck_assert_uint_eq(control_snapshot_index(s), control_applied(c));
    control_snapshot_close(&s);
    ck_assert_ptr_null(s);
    free(bytes);
    image.p = whole;
    return image;
}

static enum err restore(struct control *c, struct str image, size_t piece)
{
    struct control_restore *r;
    enum err e;

    ck_assert_int_eq(control_restore_begin(&r, c), OK);
    for (size_t at = 0; at < image.n; at += piece) {
        size_t n = image.n - at < piece ? image.n - at : piece;

        ck_assert_uint_eq(control_restore_bytes(r), at);
        ck_assert_int_eq(control_restore_write(r, str_head(str_from(image, at), n)), OK);
    }
    e = control_restore_commit(&r);
    ck_assert_ptr_null(r);
    return e;
}

static const size_t pieces[] = {1000, 70001, 300000, 10000000};

START_TEST(a_restored_state_is_the_same_and_goes_on_the_same_way)
{
    struct str image;
    uint64_t bad;
    struct slot slot;

    fill(from);
    next_index = 1;
    apply(to, setting("old", STR("gone")));
    apply(to, domain("old.example"));
    image = image_of(from);
    ck_assert_int_eq(restore(to, image, pieces[_i]), OK);
    ck_assert_uint_eq(digest(to), digest(from));
    ck_assert_uint_eq(control_applied(to), control_applied(from));
    ck_assert_int_eq(control_verify(to, &bad), OK);
    ck_assert_uint_eq(bad, 0);
    control_close(&to);
    to = open_at(1, &ids[1]); /* its own identity is left */
    ck_assert_uint_eq(digest(to), digest(from));
    next_index = control_applied(from) + 1;
    apply(from, (struct command){.kind = COMMAND_SESSION_END, .session_end = {1, 2, 2}});
    next_index--;
    apply(to, (struct command){.kind = COMMAND_SESSION_END, .session_end = {1, 2, 2}});
    ck_assert_uint_eq(digest(to), digest(from));
    ck_assert_int_eq(control_slot(to, 3, &slot), E_NOTFOUND);
    free((char *)image.p);
}
END_TEST

START_TEST(an_image_is_of_one_moment)
{
    struct control_snapshot *s;
    struct control_restore *r;
    char part[4096];
    uint64_t was, at = 0;
    size_t got;

    fill(from);
    was = digest(from);
    ck_assert_int_eq(control_snapshot_open(&s, from), OK);
    ck_assert_int_eq(control_restore_begin(&r, to), OK);
    do {
        char name[32];

        snprintf(name, sizeof name, "later%d.example", (int)at);
        apply(from, domain(name));
        ck_assert_int_eq(control_snapshot_read(s, at, part, sizeof part, &got), OK);
        ck_assert_int_eq(control_restore_write(r, (struct str){part, got}), OK);
        at += got;
    } while (got == sizeof part);
    control_snapshot_close(&s);
    ck_assert_int_eq(control_restore_commit(&r), OK);
    ck_assert_uint_eq(digest(to), was);
}
END_TEST

START_TEST(an_empty_state_travels_too)
{
    struct str image = image_of(from);

    ck_assert_int_eq(restore(to, image, 7), OK);
    ck_assert_uint_eq(digest(to), digest(from));
    free((char *)image.p);
}
END_TEST

START_TEST(a_damaged_cut_or_longer_image_changes_nothing)
{
    struct str image;
    uint64_t was;
    char *longer;

    next_index = 1;
    apply(from, domain("example.com"));
    apply(from, setting("a", STR("b")));
    next_index = 1;
    apply(to, domain("old.example"));
    was = digest(to);
    image = image_of(from);
    for (size_t i = 0; i < image.n; i++) {
        ((char *)image.p)[i] ^= 0x10;
        ck_assert_int_eq(restore(to, image, image.n), E_PROTO);
        ((char *)image.p)[i] ^= 0x10;
        ck_assert_int_eq(restore(to, str_head(image, i), image.n), E_PROTO);
    }
    longer = malloc(image.n + 1);
    memcpy(longer, image.p, image.n);
    longer[image.n] = 0;
    ck_assert_int_eq(restore(to, (struct str){longer, image.n + 1}, image.n), E_PROTO);
    ck_assert_uint_eq(digest(to), was);
    free(longer);
    free((char *)image.p);
}
END_TEST

START_TEST(an_image_of_another_cluster_or_an_older_one_is_refused)
{
    static const struct store_id other = {.cluster = {8}, .site = 2, .incarnation = 7};
    struct str image, newer;
    char file[256];

    apply(from, domain("example.com"));
    image = image_of(from);
    apply(from, domain("example.net"));
    newer = image_of(from);
    ck_assert_int_eq(restore(to, newer, 100), OK);
    ck_assert_int_eq(restore(to, image, 100), E_CONFLICT);
    ck_assert_int_eq(restore(to, newer, 100), OK);
    ck_assert_uint_eq(digest(to), digest(from));
    control_close(&to);
    snprintf(file, sizeof file, "%s/data.mdb", dir[1]);
    unlink(file);
    to = open_at(1, &other);
    ck_assert_int_eq(restore(to, newer, 100), E_CONFLICT);
    ck_assert_uint_eq(control_applied(to), 0);
    free((char *)image.p);
    free((char *)newer.p);
}
END_TEST

/* --- the disk fails at every call in turn --- */

static unsigned calls, fail_at;

static enum io_verdict judge(void *user, enum io_op op)
{
    (void)user;
    (void)op;
    return ++calls >= fail_at ? IO_FAIL_EIO : IO_PASS;
}

START_TEST(a_restore_that_fails_at_any_write_leaves_the_old_state_or_the_new)
{
    struct str image;
    uint64_t was, will, now;
    enum err e = E_IO;
    bool saw_old = false;

    fill(from);
    next_index = 1;
    apply(to, domain("old.example"));
    was = digest(to);
    will = digest(from);
    image = image_of(from);
    for (fail_at = 1; e != OK; fail_at++) {
        calls = 0;
        *io_tap() = (struct io_tap){.judge = judge};
        e = restore(to, image, image.n);
        *io_tap() = (struct io_tap){.judge = NULL};
        control_close(&to); /* as a crash: what is not committed is gone */
        to = open_at(1, &ids[1]);
        now = digest(to);
        ck_assert(now == was || now == will);
        ck_assert(e != OK || now == will);
        saw_old |= now == was;
    }
    ck_assert(saw_old && fail_at > 3);
    free((char *)image.p);
}
END_TEST

START_TEST(a_given_up_restore_leaves_nothing)
{
    struct control_restore *r;
    struct control_snapshot *s = NULL;

    ck_assert_int_eq(control_restore_begin(&r, to), OK);
    ck_assert_int_eq(control_restore_write(r, STR("abc")), OK);
    control_restore_abort(&r);
    ck_assert_ptr_null(r);
    control_restore_abort(&r);
    control_snapshot_close(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control_snapshot");
    TCase *tc = tcase_create("control_snapshot");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_restored_state_is_the_same_and_goes_on_the_same_way, 0, 4);
    tcase_add_test(tc, an_image_is_of_one_moment);
    tcase_add_test(tc, an_empty_state_travels_too);
    tcase_add_test(tc, a_damaged_cut_or_longer_image_changes_nothing);
    tcase_add_test(tc, an_image_of_another_cluster_or_an_older_one_is_refused);
    tcase_add_test(tc, a_restore_that_fails_at_any_write_leaves_the_old_state_or_the_new);
    tcase_add_test(tc, a_given_up_restore_leaves_nothing);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
