/* What an order asks of one message. */
#include "node/delivery/order.h"

#include <check.h>

#define INDEX 100

static struct rcpt rcpts[2];
static struct envelope env;
static struct operate order;
static struct mid ids[2];

static void setup(void)
{
    rcpts[0] = (struct rcpt){.path = STR("a@d.example"), .fate = FATE_DELIVERED};
    rcpts[1] = (struct rcpt){.path = STR("b@d.example")};
    env = (struct envelope){.id = mid_make(1, 2, 3),
                            .domain = STR("d.example"),
                            .domain_generation = 7,
                            .received_ms = 1000,
                            .rcpts = rcpts,
                            .rcpt_count = 2};
    order = (struct operate){.op = OPERATE_HOLD, .select = OPERATE_ALL, .cutoff_ms = 1000};
}

static bool is_met(enum operate_op op, bool alone)
{
    order.op = op;
    return order_is_met(&order, INDEX, alone, &env);
}

START_TEST(an_order_means_what_it_names)
{
    ck_assert(order_selects(&order, &env));
    order.cutoff_ms = 999; /* received later */
    ck_assert(!order_selects(&order, &env));
    order.cutoff_ms = 1000;
    order.select = OPERATE_DOMAIN;
    order.domain = STR("d.example");
    ck_assert(order_selects(&order, &env));
    order.generation = 7;
    ck_assert(order_selects(&order, &env));
    order.generation = 8;
    ck_assert(!order_selects(&order, &env));
    order.generation = 0;
    order.domain = STR("e.example");
    ck_assert(!order_selects(&order, &env));
    order.select = OPERATE_IDS;
    ck_assert(!order_selects(&order, &env));
    ids[0] = mid_make(1, 2, 4);
    ids[1] = mid_make(1, 2, 3);
    order.ids = ids;
    order.id_count = 1;
    ck_assert(!order_selects(&order, &env));
    order.id_count = 2;
    ck_assert(order_selects(&order, &env));
}
END_TEST

START_TEST(a_hold_is_met_when_it_is_written_or_a_later_order_is)
{
    ck_assert(!is_met(OPERATE_HOLD, true));
    ck_assert(is_met(OPERATE_RELEASE, true));
    ck_assert(!is_met(OPERATE_RELEASE, false)); /* an earlier hold may come yet */
    env.held = true;
    env.held_index = INDEX - 1;
    ck_assert(is_met(OPERATE_HOLD, true));
    ck_assert(!is_met(OPERATE_HOLD, false));
    ck_assert(!is_met(OPERATE_RELEASE, true));
    env.held_index = INDEX;
    ck_assert(is_met(OPERATE_HOLD, false));
    env.held_index = INDEX + 1; /* held by a later order: this release has had its time */
    ck_assert(is_met(OPERATE_RELEASE, true));
    ck_assert(is_met(OPERATE_RELEASE, false));
}
END_TEST

START_TEST(an_end_is_met_when_nobody_is_pending)
{
    ck_assert(!is_met(OPERATE_DELETE, true));
    ck_assert(!is_met(OPERATE_BOUNCE, true));
    rcpts[1].fate = FATE_BOUNCED;
    ck_assert(is_met(OPERATE_DELETE, true));
    ck_assert(is_met(OPERATE_BOUNCE, true));
    env.phase = PHASE_DSN; /* a notification is owed: a delete drops it, a bounce does not */
    ck_assert(!is_met(OPERATE_DELETE, true));
    ck_assert(is_met(OPERATE_BOUNCE, true));
    env.phase = PHASE_DONE;
    ck_assert(is_met(OPERATE_DELETE, true));
}
END_TEST

START_TEST(a_retry_cannot_be_seen)
{
    ck_assert(!is_met(OPERATE_RETRY, true));
    rcpts[1].fate = FATE_DELIVERED;
    ck_assert(!is_met(OPERATE_RETRY, true));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("order");
    TCase *tc = tcase_create("order");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, an_order_means_what_it_names);
    tcase_add_test(tc, a_hold_is_met_when_it_is_written_or_a_later_order_is);
    tcase_add_test(tc, an_end_is_met_when_nobody_is_pending);
    tcase_add_test(tc, a_retry_cannot_be_seen);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
