/* How many changes a second go through a follower, how long it takes until a leader that stands
 * still is replaced, and until what it held is held by others: control_thread_cluster_bench
 * [ROUNDS]. Near sites' timers, real links on loopback. */
#include "node/control_thread_world.h"

static uint32_t slots_of(int as_seen_by, uint16_t site)
{
    struct slot slots[CONTROL_SLOTS];
    uint32_t n = 0;

    if (control_slots(control_thread_state(nodes[as_seen_by].t), slots) != OK)
        return 0;
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++)
        n += slots[i].site == site;
    return n;
}

/* As a cluster thread without mail does. */
static void give_away(int i)
{
    struct control_lease l = lease(i);

    for (uint32_t slot = 0; slot < CONTROL_SLOTS; slot++) {
        struct slot s;

        if ((l.leaving[slot / 64] >> slot % 64 & 1) != 0 &&
            control_slot(control_thread_state(nodes[i].t), slot, &s) == OK)
            control_thread_quiet(nodes[i].t, slot, s.epoch);
    }
}

static bool shares_are_fair(void)
{
    bool well = true;

    for (int i = 0; i < 3; i++) {
        give_away(i);
        well = well && slots_of(0, (uint16_t)(i + 1)) >= 80 && lease(i).session != 0;
    }
    return well;
}

/* Settings put at one that does not lead, as many at a time as it takes. */
static void forwarded(void)
{
    const int count = 2000;
    struct mailbox *box = mailbox_new(1);
    int i = (leader(0) + 1) % 3, posted = 0, done = 0;
    uint64_t begin = clock_boot_ms(), ms;

    while (done < count) {
        struct pollfd p = {.fd = mailbox_fd(box), .events = POLLIN};
        struct command c = {.kind = COMMAND_SETTING_PUT,
                            .setting_put = {STR("bench"), STR("value")}};
        struct mail *next;

        while (posted < count && posted - done < 500 &&
               control_propose(nodes[i].t, &c, &(struct control_propose_to){.box = box}) == OK)
            posted++;
        poll(&p, 1, 1000);
        for (struct mail *m = mailbox_take(box); m != NULL; m = next) {
            struct control_answer *a = (struct control_answer *)(void *)m;

            next = m->next;
            ck_assert_int_eq(a->err, OK);
            control_answer_free(&a);
            done++;
        }
    }
    ms = clock_boot_ms() - begin;
    mailbox_free(&box);
    printf("%d changes through a follower: %llu a second\n", count,
           (unsigned long long)((uint64_t)count * 1000 / (ms > 0 ? ms : 1)));
}

static void one_round(uint64_t *lead_ms, uint64_t *held_ms)
{
    uint64_t begin;
    int first, other;

    three();
    for (int i = 0; i < 3; i++)
        ask(i, (struct command){.kind = COMMAND_MEMBER_FILLED,
                                .member_filled = {nodes[i].id.site, nodes[i].id.incarnation}});
    UNTIL(shares_are_fair());
    forwarded();
    first = leader(0);
    other = (first + 1) % 3;
    begin = clock_boot_ms();
    freeze(first, true);
    UNTIL(leader(other) >= 0 && leader(other) != first);
    *lead_ms = clock_boot_ms() - begin;
    UNTIL(slots_of(other, nodes[first].id.site) == 0);
    *held_ms = clock_boot_ms() - begin;
    freeze(first, false);
}

static uint64_t rounds = 5;

START_TEST(rounds_of_it)
{
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t lead_ms, held_ms;

        setup();
        one_round(&lead_ms, &held_ms);
        teardown();
        printf("another leads after %llu ms, holds all after %llu ms\n",
               (unsigned long long)lead_ms, (unsigned long long)held_ms);
        fflush(stdout);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("control_thread_cluster_bench");
    TCase *tc = tcase_create("rounds");
    SRunner *runner;
    int failed;

    if (argc > 1 && !str_to_u64(str_of(argv[1]), &rounds))
        return 64;
    tcase_add_test(tc, rounds_of_it);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_SILENT);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
