/* Lists of recipients come, grow to their limits and go with their domain; what would leave a
 * domain without any recipient is refused. */
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
    snprintf(dir, sizeof dir, "/tmp/control_roster_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(control_open(&c, &(struct control_options){.dir = dir,
                                                                .map_bytes = 256 * MiB,
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

static enum err apply(struct command cmd)
{
    struct command_result r;

    ck_assert_ptr_null(command_check(&cmd));
    ck_assert_int_eq(control_apply(c, next_index++, &cmd, &r), OK);
    ck_assert_int_eq(r.err == OK, r.refused == NULL);
    return r.err;
}

static enum err put_domain(const char *name, enum domain_put_mode mode,
                           enum domain_recipients recipients)
{
    return apply((struct command){.kind = COMMAND_DOMAIN_PUT,
                                  .domain_put = {.mode = mode,
                                                 .domain = {.name = str_of(name),
                                                            .route.kind = ROUTE_MX,
                                                            .recipients = recipients}}});
}

static uint64_t generation_of(const char *name)
{
    struct arena a;
    struct domain d;

    arena_init(&a, 64 * KiB);
    ck_assert_int_eq(control_domain_get(c, str_of(name), &a, &d), OK);
    arena_reset(&a);
    return d.generation;
}

static void add(const char *local)
{
    struct roster_entry e = {.local = str_of(local)};

    ck_assert_int_eq(roster_append(packed, sizeof packed, &used, &e), OK);
}

static void take(const char *local)
{
    struct roster_entry e = {.is_removed = true, .local = str_of(local)};

    ck_assert_int_eq(roster_append(packed, sizeof packed, &used, &e), OK);
}

static enum err change(const char *domain, uint64_t generation)
{
    struct command cmd = {.kind = COMMAND_ROSTER,
                          .roster = {.domain = str_of(domain),
                                     .generation = generation,
                                     .entries = {packed, used},
                                     .uid = 1000}};

    used = 0;
    return apply(cmd);
}

static enum roster_match find(const char *domain, const char *local, char separator)
{
    struct roster_wanted w;
    enum roster_match m;

    roster_wanted(&w, str_of(local), separator);
    ck_assert_int_eq(control_roster_find(c, generation_of(domain), &w, &m), OK);
    return m;
}

static uint32_t count(const char *domain)
{
    uint32_t n;

    ck_assert_int_eq(control_roster_count(c, generation_of(domain), &n), OK);
    return n;
}

START_TEST(an_entry_is_found_whole_by_its_base_or_caught)
{
    ck_assert_int_eq(put_domain("a.example", DOMAIN_ADD, RECIPIENTS_ANY), OK);
    ck_assert_int_eq(put_domain("b.example", DOMAIN_ADD, RECIPIENTS_ANY), OK);
    add("john");
    add("john+sales");
    ck_assert_int_eq(change("a.example", 0), OK);
    ck_assert_int_eq(find("a.example", "JOHN", '+'), ROSTER_EXACT);
    ck_assert_int_eq(find("a.example", "john+sales", '+'), ROSTER_EXACT);
    ck_assert_int_eq(find("a.example", "john+other", '+'), ROSTER_BASE);
    ck_assert_int_eq(find("a.example", "john+other", 0), ROSTER_NO_MATCH);
    ck_assert_int_eq(find("a.example", "joh", '+'), ROSTER_NO_MATCH);
    ck_assert_int_eq(find("b.example", "john", '+'), ROSTER_NO_MATCH);
    add("@");
    ck_assert_int_eq(change("a.example", generation_of("a.example")), OK);
    ck_assert_int_eq(find("a.example", "anybody", '+'), ROSTER_CAUGHT);
    ck_assert_int_eq(find("a.example", "\"any body\"", '+'), ROSTER_CAUGHT);
    ck_assert_int_eq(find("a.example", "john", '+'), ROSTER_EXACT);
    ck_assert_uint_eq(count("a.example"), 3);
    ck_assert_uint_eq(count("b.example"), 0);
}
END_TEST

START_TEST(a_change_counts_what_it_changes)
{
    struct roster_record r[3];
    size_t got;

    ck_assert_int_eq(put_domain("a.example", DOMAIN_ADD, RECIPIENTS_ANY), OK);
    add("a");
    add("b");
    ck_assert_int_eq(change("a.example", 0), OK);
    ck_assert_int_eq(apply((struct command){.kind = COMMAND_CLOCK, .clock.elapsed_ms = 5000}),
                     OK);
    take("a");
    add("b"); /* is there: stays as it was */
    add("c");
    take("d"); /* is not there */
    ck_assert_int_eq(change("a.example", 0), OK);
    ck_assert_uint_eq(count("a.example"), 2);
    ck_assert_int_eq(control_roster_page(c, generation_of("a.example"), STR_NONE, r, 3, &got),
                     OK);
    ck_assert_uint_eq(got, 2);
    ck_assert_str_eq(r[0].local, "b");
    ck_assert_uint_eq(r[0].added_ms, CONTROL_CLOCK_START_MS);
    ck_assert_str_eq(r[1].local, "c");
    ck_assert_uint_eq(r[1].added_ms, CONTROL_CLOCK_START_MS + 5000);
    ck_assert_uint_eq(r[1].uid, 1000);
    add("x");
    ck_assert_int_eq(change("a.example", 77), E_CONFLICT);
    add("x");
    ck_assert_int_eq(change("b.example", 0), E_NOTFOUND);
    ck_assert_uint_eq(count("a.example"), 2);
}
END_TEST

START_TEST(a_domain_never_takes_listed_recipients_only_while_its_list_is_empty)
{
    ck_assert_int_eq(put_domain("a.example", DOMAIN_ADD, RECIPIENTS_LIST), E_CONFLICT);
    ck_assert_int_eq(put_domain("a.example", DOMAIN_ADD, RECIPIENTS_ANY), OK);
    ck_assert_int_eq(put_domain("a.example", DOMAIN_CHANGE, RECIPIENTS_LIST), E_CONFLICT);
    add("a");
    ck_assert_int_eq(change("a.example", 0), OK);
    ck_assert_int_eq(put_domain("a.example", DOMAIN_CHANGE, RECIPIENTS_LIST), OK);
    take("a");
    ck_assert_int_eq(change("a.example", 0), E_CONFLICT);
    ck_assert_int_eq(find("a.example", "a", 0), ROSTER_EXACT);
    take("a");
    add("b"); /* all are replaced at once */
    ck_assert_int_eq(change("a.example", 0), OK);
    ck_assert_int_eq(put_domain("a.example", DOMAIN_CHANGE, RECIPIENTS_ANY), OK);
    take("b");
    ck_assert_int_eq(change("a.example", 0), OK);
    ck_assert_uint_eq(count("a.example"), 0);
}
END_TEST

START_TEST(a_list_goes_with_its_domain_and_leaves_others_alone)
{
    struct control_counts n;
    uint64_t old;

    ck_assert_int_eq(put_domain("a.example", DOMAIN_ADD, RECIPIENTS_ANY), OK);
    ck_assert_int_eq(put_domain("b.example", DOMAIN_ADD, RECIPIENTS_ANY), OK);
    add("@");
    add("x");
    ck_assert_int_eq(change("a.example", 0), OK);
    add("y");
    ck_assert_int_eq(change("b.example", 0), OK);
    old = generation_of("a.example");
    ck_assert_int_eq(apply((struct command){.kind = COMMAND_DOMAIN_REMOVE,
                                            .domain_remove.name = STR("a.example")}),
                     OK);
    ck_assert_uint_eq(count("a.example"), 2); /* closing: it may come back */
    ck_assert_int_eq(apply((struct command){.kind = COMMAND_DOMAIN_DROP,
                                            .domain_drop = {STR("a.example"), old}}),
                     OK);
    ck_assert_int_eq(put_domain("a.example", DOMAIN_ADD, RECIPIENTS_ANY), OK);
    ck_assert_int_eq(find("a.example", "x", 0), ROSTER_NO_MATCH);
    ck_assert_int_eq(find("b.example", "y", 0), ROSTER_EXACT);
    ck_assert_int_eq(control_counts(c, &n), OK);
    ck_assert_uint_eq(n.recipients, 1);
}
END_TEST

START_TEST(pages_show_each_entry_of_the_domain_once_in_order)
{
    enum { COUNT = 500 };
    static struct roster_record page[33];
    char name[32], after[LIMIT_SMTP_LOCAL_PART_BYTES + 1] = "";
    size_t got, seen = 0;

    for (const char *const *d =
             (const char *const[]){"a.example", "b.example", "c.example", NULL};
         *d; d++) {
        ck_assert_int_eq(put_domain(*d, DOMAIN_ADD, RECIPIENTS_ANY), OK);
        for (int i = 0; i < COUNT; i++) {
            snprintf(name, sizeof name, "%c%05d", **d, i);
            add(name);
        }
        ck_assert_int_eq(change(*d, 0), OK);
    }
    do {
        ck_assert_int_eq(
            control_roster_page(c, generation_of("b.example"), str_of(after), page, 33, &got),
            OK);
        for (size_t i = 0; i < got; i++, seen++) {
            snprintf(name, sizeof name, "b%05d", (int)seen);
            ck_assert_str_eq(page[i].local, name);
            memcpy(after, page[i].local, sizeof after);
        }
    } while (got == 33);
    ck_assert_uint_eq(seen, COUNT);
}
END_TEST

static void fill(const char *domain, uint32_t entries)
{
    char name[32];

    for (uint32_t i = 0; i < entries; i++) {
        snprintf(name, sizeof name, "user%07u", (unsigned)i);
        add(name);
        if ((i + 1) % LIMIT_ROSTER_BATCH == 0 || i + 1 == entries)
            ck_assert_int_eq(change(domain, 0), OK);
    }
}

START_TEST(a_full_list_refuses_the_whole_command)
{
    struct control_counts n;
    char name[32];

    for (int i = 0; i < LIMIT_ROSTER_ENTRIES / LIMIT_ROSTER_PER_DOMAIN; i++) {
        snprintf(name, sizeof name, "d%d.example", i);
        ck_assert_int_eq(put_domain(name, DOMAIN_ADD, RECIPIENTS_ANY), OK);
        fill(name, LIMIT_ROSTER_PER_DOMAIN);
    }
    ck_assert_int_eq(put_domain("last.example", DOMAIN_ADD, RECIPIENTS_ANY), OK);
    add("a");
    ck_assert_int_eq(change("last.example", 0), E_FULL);
    add("user0000007"); /* is there already: would do */
    add("userx");
    ck_assert_int_eq(change("d0.example", 0), E_FULL);
    take("user0000007");
    add("userx");
    ck_assert_int_eq(change("d0.example", 0), OK);
    take("user0000007");
    ck_assert_int_eq(change("d1.example", 0), OK);
    add("usery");
    ck_assert_int_eq(change("d0.example", 0), E_FULL); /* its own limit */
    add("a");
    ck_assert_int_eq(change("last.example", 0), OK);
    ck_assert_int_eq(control_counts(c, &n), OK);
    ck_assert_uint_eq(n.recipients, LIMIT_ROSTER_ENTRIES);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("control_roster");
    TCase *tc = tcase_create("control_roster");
    SRunner *sr;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_entry_is_found_whole_by_its_base_or_caught);
    tcase_add_test(tc, a_change_counts_what_it_changes);
    tcase_add_test(tc, a_domain_never_takes_listed_recipients_only_while_its_list_is_empty);
    tcase_add_test(tc, a_list_goes_with_its_domain_and_leaves_others_alone);
    tcase_add_test(tc, pages_show_each_entry_of_the_domain_once_in_order);
    tcase_add_test(tc, a_full_list_refuses_the_whole_command);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
