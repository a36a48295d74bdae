/* Which domains are ours, and when the answer may have changed. */
#include "node/delivery/holding.h"

#include <check.h>
#include <stdio.h>

#define OWN   2
#define OTHER 3

static struct holding *h;
static uint64_t epoch, now_ms = 1000;

static void setup(void)
{
    h = holding_new(OWN, 7);
    ck_assert_ptr_nonnull(h);
}

static void teardown(void)
{
    holding_free(&h);
    ck_assert_ptr_null(h);
}

/* A view of one slot. */
static bool view(uint32_t slot, uint16_t site, uint64_t at, bool leaving)
{
    holding_begin(h, now_ms);
    holding_slot(h, slot, site, at, leaving);
    return holding_end(h);
}

static bool is_ours(const char *domain, uint32_t slot)
{
    return holding_of(h, str_of(domain), slot, &epoch);
}

START_TEST(a_slot_is_ours_while_the_lease_counts)
{
    ck_assert(view(5, OWN, 40, false));
    ck_assert(!is_ours("a.example", 5));
    ck_assert(holding_lease(h, true));
    ck_assert(!holding_lease(h, true));
    ck_assert(is_ours("a.example", 5));
    ck_assert_uint_eq(epoch, 40);
    ck_assert(!is_ours("a.example", 6));
    ck_assert(holding_lease(h, false));
    ck_assert(!is_ours("a.example", 5));
    ck_assert_uint_eq(holding_epoch(h, STR("a.example"), 5), 0);
}
END_TEST

START_TEST(only_what_concerns_us_is_another_view)
{
    ck_assert(view(5, OWN, 40, false));
    ck_assert(!view(5, OWN, 40, false));
    ck_assert(view(5, OWN, 41, false));
    ck_assert(view(5, OWN, 41, true));
    ck_assert(view(5, OTHER, 50, false));
    ck_assert(!view(5, OTHER, 60, false));
    ck_assert(!view(6, OTHER, 61, false));
    ck_assert(view(6, OWN, 62, false));
    holding_begin(h, now_ms); /* nobody holds it */
    ck_assert(holding_end(h));
    holding_begin(h, now_ms);
    ck_assert(!holding_end(h));
}
END_TEST

START_TEST(nothing_new_begins_in_a_slot_that_leaves)
{
    holding_lease(h, true);
    view(5, OWN, 40, true);
    ck_assert(!is_ours("a.example", 5));
    ck_assert_uint_eq(holding_epoch(h, STR("a.example"), 5), 40);
    ck_assert_uint_eq(holding_leaving(h, 5), 40);
    ck_assert_uint_eq(holding_leaving(h, 6), 0);
    view(5, OWN, 40, false); /* the wish was taken back */
    ck_assert(is_ours("a.example", 5));
    ck_assert_uint_eq(holding_leaving(h, 5), 0);
}
END_TEST

static bool placed(const char *domain, uint16_t site, uint64_t at)
{
    holding_begin(h, now_ms);
    holding_slot(h, 5, OWN, 40, false);
    ck_assert_int_eq(holding_place(h, str_of(domain), site, at), OK);
    return holding_end(h);
}

START_TEST(a_placement_goes_before_the_slot)
{
    holding_lease(h, true);
    ck_assert(placed("a.example", OTHER, 70));
    ck_assert(!placed("a.example", OTHER, 70));
    ck_assert(!is_ours("a.example", 5));
    ck_assert(is_ours("b.example", 5));
    ck_assert(placed("a.example", OWN, 80));
    ck_assert(is_ours("a.example", 9));
    ck_assert_uint_eq(epoch, 80);
    ck_assert(holding_is_placed(h, STR("a.example")));
    ck_assert(!holding_is_placed(h, STR("b.example")));
    ck_assert(view(5, OWN, 40, false)); /* it ended */
    ck_assert(!is_ours("a.example", 9));
    ck_assert(is_ours("a.example", 5));
    ck_assert_uint_eq(epoch, 40);
    ck_assert(!view(5, OWN, 40, false));
}
END_TEST

START_TEST(a_placement_that_ended_leaves_its_epoch)
{
    holding_lease(h, true);
    placed("a.example", OTHER, 70);
    ck_assert(placed("a.example", 0, 90)); /* the slot is of 40 */
    ck_assert(is_ours("a.example", 5));
    ck_assert_uint_eq(epoch, 90);
    ck_assert(!holding_is_placed(h, STR("a.example")));
    ck_assert(is_ours("b.example", 5));
    ck_assert_uint_eq(epoch, 40);
    ck_assert(!is_ours("a.example", 6));
    ck_assert(placed("a.example", 0, 30)); /* older than the slot's */
    ck_assert(is_ours("a.example", 5));
    ck_assert_uint_eq(epoch, 40);
    ck_assert_uint_eq(holding_home(h, 5), OWN);
    ck_assert_uint_eq(holding_home(h, 6), 0);
    holding_begin(h, now_ms); /* it leaves with its slot */
    holding_slot(h, 5, OWN, 40, true);
    ck_assert_int_eq(holding_place(h, STR("a.example"), 0, 90), OK);
    ck_assert(holding_end(h));
    ck_assert(!is_ours("a.example", 5));
    ck_assert_uint_eq(holding_epoch(h, STR("a.example"), 5), 90);
}
END_TEST

START_TEST(a_placed_domain_does_not_leave_with_its_slot)
{
    holding_lease(h, true);
    holding_begin(h, now_ms);
    holding_slot(h, 5, OWN, 40, true);
    ck_assert_int_eq(holding_place(h, STR("a.example"), OWN, 80), OK);
    ck_assert(holding_end(h));
    ck_assert(is_ours("a.example", 5));
    ck_assert(!is_ours("b.example", 5));
}
END_TEST

START_TEST(a_domain_that_is_given_waits_for_its_next_epoch)
{
    holding_lease(h, true);
    view(5, OWN, 40, false);
    holding_give(h, STR("a.example"), 5);
    ck_assert(!is_ours("a.example", 5));
    ck_assert(is_ours("b.example", 5));
    ck_assert_uint_eq(holding_epoch(h, STR("a.example"), 5), 40);
    ck_assert(!view(5, OWN, 40, false));
    ck_assert(!is_ours("a.example", 5));
    ck_assert(view(5, OWN, 41, false)); /* it came back with its slot */
    ck_assert(is_ours("a.example", 5));
    holding_give(h, STR("a.example"), 5);
    ck_assert(!is_ours("a.example", 5));
    holding_keep(h, STR("a.example"));
    ck_assert(is_ours("a.example", 5));
    ck_assert(!view(5, OWN, 41, false));
    ck_assert(is_ours("a.example", 5));
}
END_TEST

START_TEST(what_did_not_change_need_not_be_looked_at)
{
    view(5, OWN, 40, false);
    holding_lease(h, true);
    ck_assert(holding_is_new(h, 5) && holding_is_new(h, 6)); /* the lease */
    view(5, OWN, 40, false);
    ck_assert(!holding_is_new(h, 5));
    view(5, OWN, 41, false);
    ck_assert(holding_is_new(h, 5) && !holding_is_new(h, 6));
    view(5, OWN, 41, true);
    ck_assert(holding_is_new(h, 5) && !holding_is_new(h, 6));
    view(6, OWN, 44, false); /* and 5 is gone */
    ck_assert(holding_is_new(h, 5) && holding_is_new(h, 6) && !holding_is_new(h, 7));
    placed("a.example", OTHER, 70);
    ck_assert(holding_is_new(h, 7));
    placed("a.example", OTHER, 70);
    ck_assert(!holding_is_new(h, 7));
    view(5, OWN, 40, false);
    ck_assert(holding_is_new(h, 7));
    holding_begin(h, now_ms);
    holding_slot(h, 5, OWN, 40, false);
    ck_assert(!holding_end(h));
    holding_lease(h, false);
    ck_assert(holding_is_new(h, 7));
}
END_TEST

START_TEST(it_is_held_since_its_epoch_came)
{
    now_ms = 1000;
    view(5, OWN, 40, false);
    now_ms = 2000;
    view(5, OWN, 40, true);
    ck_assert_uint_eq(holding_since(h, STR("a.example"), 5), 1000);
    view(5, OWN, 41, false);
    ck_assert_uint_eq(holding_since(h, STR("a.example"), 5), 2000);
    now_ms = 3000;
    placed("a.example", OWN, 70);
    now_ms = 4000;
    placed("a.example", OWN, 70);
    ck_assert_uint_eq(holding_since(h, STR("a.example"), 5), 3000);
    placed("a.example", 0, 80); /* back, under a later epoch than the slot's */
    ck_assert_uint_eq(holding_since(h, STR("a.example"), 5), 4000);
    now_ms = 5000;
    view(5, OWN, 90, false);
    ck_assert_uint_eq(holding_since(h, STR("a.example"), 5), 5000);
}
END_TEST

START_TEST(many_placements_come_and_go)
{
    char name[32];

    holding_lease(h, true);
    for (int round = 0; round < 2; round++) {
        holding_begin(h, now_ms);
        for (int i = 0; i < 5000; i++) {
            snprintf(name, sizeof name, "d%d.example", i);
            ck_assert_int_eq(holding_place(h, str_of(name), i % 2 == 0 ? OWN : OTHER, 90), OK);
        }
        ck_assert(holding_end(h) == (round == 0));
    }
    ck_assert(is_ours("d4998.example", 1));
    ck_assert(!is_ours("d4999.example", 1));
    holding_begin(h, now_ms);
    ck_assert(holding_end(h));
    ck_assert(!is_ours("d4998.example", 1));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("holding");
    TCase *tc = tcase_create("holding");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_slot_is_ours_while_the_lease_counts);
    tcase_add_test(tc, only_what_concerns_us_is_another_view);
    tcase_add_test(tc, nothing_new_begins_in_a_slot_that_leaves);
    tcase_add_test(tc, a_placement_goes_before_the_slot);
    tcase_add_test(tc, a_placement_that_ended_leaves_its_epoch);
    tcase_add_test(tc, a_placed_domain_does_not_leave_with_its_slot);
    tcase_add_test(tc, a_domain_that_is_given_waits_for_its_next_epoch);
    tcase_add_test(tc, what_did_not_change_need_not_be_looked_at);
    tcase_add_test(tc, it_is_held_since_its_epoch_came);
    tcase_add_test(tc, many_placements_come_and_go);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? 0 : 1;
}
