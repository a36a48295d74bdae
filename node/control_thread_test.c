/* The control thread answers every proposal once, survives restarts, and stops when it must.
 * Wants a process for each check. */
#include "node/control_thread.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/stats.h"
#include "replication/clusterclock.h"
#include "spool/ctllog.h"

static char dir[64];
static struct control_thread *t;
static struct arena arena;
static _Atomic uint64_t boot_ms;
static struct control_thread_options opts;
static atomic_int fenced;

static uint64_t fake_boot(void)
{
    return atomic_load(&boot_ms);
}

static void fence(void *ctx, enum err why)
{
    ck_assert_ptr_eq(ctx, &fenced);
    atomic_store(&fenced, (int)why);
}

static void setup(void)
{
    log_set_level(LOG_ALARM);
    snprintf(dir, sizeof dir, "/tmp/control_thread.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    arena_init(&arena, 16 * MiB);
    atomic_store(&boot_ms, 1000000);
    opts = (struct control_thread_options){.dir = dir,
                                           .log_map_bytes = 64 * MiB,
                                           .state_map_bytes = 64 * MiB,
                                           .site = 1,
                                           .create = true,
                                           .boot_ms = fake_boot,
                                           .fence = fence,
                                           .fence_ctx = &fenced};
}

static void remove_store(const char *name)
{
    char file[128];

    for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f; f++) {
        snprintf(file, sizeof file, "%s/%s/%s", dir, name, *f);
        unlink(file);
    }
    snprintf(file, sizeof file, "%s/%s", dir, name);
    rmdir(file);
}

static void teardown(void)
{
    if (t != NULL)
        control_thread_stop(&t);
    if (opts.notices[0].box != NULL) {
        mailbox_take(opts.notices[0].box);
        mailbox_free(&opts.notices[0].box);
    }
    arena_reset(&arena);
    remove_store("log");
    remove_store("state");
    rmdir(dir);
}

static void start(void)
{
    ck_assert_int_eq(control_thread_start(&t, &opts), OK);
}

static void restart(void)
{
    control_thread_stop(&t);
    ck_assert_ptr_null(t);
    start();
}

static struct command domain(enum domain_put_mode mode, const char *name)
{
    return (struct command){
        .kind = COMMAND_DOMAIN_PUT,
        .domain_put = {.mode = mode, .domain = {.name = str_of(name), .route.kind = ROUTE_MX}}};
}

static struct command setting(const char *name, struct str value)
{
    return (struct command){.kind = COMMAND_SETTING_PUT, .setting_put = {str_of(name), value}};
}

static struct command hold_all(void)
{
    return (struct command){
        .kind = COMMAND_OPERATE,
        .operate = {.op = OPERATE_HOLD, .select = OPERATE_ALL, .cutoff_ms = 5}};
}

static struct control_outcome propose(struct command c)
{
    struct control_outcome out;
    enum err e = control_propose_wait(t, &c, &out);

    ck_assert_int_eq(e, out.err);
    return out;
}

static struct control_answer *next_answer(struct mailbox *box)
{
    static struct mail *list;
    struct mail *m;

    while (list == NULL) {
        struct pollfd p = {.fd = mailbox_fd(box), .events = POLLIN};

        poll(&p, 1, -1);
        list = mailbox_take(box);
    }
    m = list;
    list = m->next;
    return (struct control_answer *)(void *)m;
}

static uint64_t cluster_ms(void)
{
    uint64_t ms;

    ck_assert_int_eq(control_cluster_ms(control_thread_state(t), &ms), OK);
    return ms;
}

/* --- start --- */

START_TEST(a_first_start_opens_a_session_and_takes_the_slots)
{
    struct session s;
    struct slot slot;

    start();
    ck_assert_uint_eq(control_thread_session(t), 2); /* entry 1 names the members */
    ck_assert_int_eq(control_session(control_thread_state(t), 1, &s), OK);
    ck_assert_uint_eq(s.epoch, 2);
    ck_assert_uint_eq(s.incarnation, control_thread_id(t)->incarnation);
    ck_assert_uint_eq(s.duration_ms, 10000);
    ck_assert_int_eq(control_slot(control_thread_state(t), 0, &slot), OK);
    ck_assert_uint_eq(slot.site, 1);
}
END_TEST

START_TEST(stores_are_not_made_unasked)
{
    opts.create = false;
    ck_assert_int_eq(control_thread_start(&t, &opts), E_NOTFOUND);
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(every_start_has_a_session_epoch_of_its_own_and_keeps_the_rest)
{
    uint64_t epoch, incarnation;
    struct domain d;

    start();
    epoch = control_thread_session(t);
    incarnation = control_thread_id(t)->incarnation;
    ck_assert_int_eq(propose(domain(DOMAIN_ADD, "a.example")).err, OK);
    for (int i = 0; i < 3; i++) {
        opts.create = i == 0;
        restart();
        ck_assert_uint_gt(control_thread_session(t), epoch);
        epoch = control_thread_session(t);
        ck_assert_uint_eq(control_thread_id(t)->incarnation, incarnation);
        ck_assert_int_eq(
            control_domain_get(control_thread_state(t), STR("a.example"), &arena, &d), OK);
        ck_assert_uint_eq(d.generation, 3);
    }
}
END_TEST

START_TEST(a_store_of_another_site_is_refused)
{
    start();
    control_thread_stop(&t);
    opts.site = 2;
    ck_assert_int_eq(control_thread_start(&t, &opts), E_CONFLICT);
}
END_TEST

START_TEST(a_lost_state_is_made_again_from_a_whole_log)
{
    struct domain d;

    start();
    ck_assert_int_eq(propose(domain(DOMAIN_ADD, "a.example")).err, OK);
    control_thread_stop(&t);
    remove_store("state");
    opts.create = false;
    start();
    ck_assert_int_eq(control_domain_get(control_thread_state(t), STR("a.example"), &arena, &d),
                     OK);
    ck_assert_uint_eq(d.generation, 3);
}
END_TEST

START_TEST(a_lost_log_is_not_made_again_under_a_known_state)
{
    start();
    control_thread_stop(&t);
    remove_store("log");
    ck_assert_int_eq(control_thread_start(&t, &opts), E_CONFLICT);
    ck_assert_int_eq(control_thread_start(&t, &opts), E_CONFLICT);
    opts.create = false;
    ck_assert_int_eq(control_thread_start(&t, &opts), E_CONFLICT);
}
END_TEST

/* --- proposals --- */

START_TEST(a_proposal_is_answered_when_reads_see_it)
{
    struct control_outcome out;
    struct domain d;

    start();
    out = propose(domain(DOMAIN_ADD, "a.example"));
    ck_assert_int_eq(out.err, OK);
    ck_assert_uint_eq(out.index, 3);
    ck_assert_int_eq(control_domain_get(control_thread_state(t), STR("a.example"), &arena, &d),
                     OK);
    out = propose(domain(DOMAIN_ADD, "a.example"));
    ck_assert_int_eq(out.err, E_EXISTS);
    ck_assert_uint_eq(out.index, 4);
    ck_assert_str_eq(out.refused, "the domain exists");
    out = propose(domain(DOMAIN_ADD, "A.example"));
    ck_assert_int_eq(out.err, E_PROTO);
    ck_assert_uint_eq(out.index, 0);
    ck_assert_ptr_nonnull(out.refused);
}
END_TEST

START_TEST(answers_carry_what_the_asker_gave)
{
    struct mailbox *box = mailbox_new(1);
    struct command c = domain(DOMAIN_ADD, "a.example");
    struct control_answer *a;
    int ctx;

    start();
    ck_assert_int_eq(control_propose(t, &c,
                                     &(struct control_propose_to){
                                         .box = box, .kind = 17, .tag = 99, .ctx = &ctx}),
                     OK);
    a = next_answer(box);
    ck_assert_int_eq(a->mail.kind, 17);
    ck_assert_uint_eq(a->tag, 99);
    ck_assert_ptr_eq(a->ctx, &ctx);
    ck_assert_int_eq(a->err, OK);
    control_answer_free(&a);
    ck_assert_ptr_null(a);
    mailbox_free(&box);
}
END_TEST

#define PROPOSERS 4
#define EACH      150

struct proposer {
    pthread_t thread;
    int number;
    uint64_t indices[EACH];
};

static void *propose_many(void *arg)
{
    struct proposer *p = arg;
    uint64_t last_ms = 0;

    for (int i = 0; i < EACH; i++) {
        char name[32];
        struct control_outcome out;
        struct command c;
        uint64_t now = control_now_ms(t);

        ck_assert_uint_ge(now, last_ms);
        last_ms = now;
        atomic_fetch_add(&boot_ms, 20);
        snprintf(name, sizeof name, "s.%d.%d", p->number, i);
        c = setting(name, STR("v"));
        ck_assert_int_eq(control_propose_wait(t, &c, &out), OK);
        p->indices[i] = out.index;
    }
    return NULL;
}

START_TEST(threads_propose_side_by_side_and_each_gets_its_own_index)
{
    static struct proposer p[PROPOSERS];
    static bool seen[10 * PROPOSERS * EACH];
    struct control_counts n;

    start();
    for (int i = 0; i < PROPOSERS; i++) {
        p[i].number = i;
        ck_assert_int_eq(pthread_create(&p[i].thread, NULL, propose_many, &p[i]), 0);
    }
    for (int i = 0; i < PROPOSERS; i++)
        pthread_join(p[i].thread, NULL);
    for (int i = 0; i < PROPOSERS; i++) {
        for (int k = 0; k < EACH; k++) {
            ck_assert(!seen[p[i].indices[k]]);
            seen[p[i].indices[k]] = true;
            ck_assert(k == 0 || p[i].indices[k] > p[i].indices[k - 1]);
        }
    }
    ck_assert_int_eq(control_counts(control_thread_state(t), &n), OK);
    ck_assert_uint_eq(n.settings, PROPOSERS * EACH);
}
END_TEST

/* Posts until `count` were taken; the box of the thread may be full for a moment. */
static void post_settings(struct mailbox *box, int count, struct str value)
{
    int waiting = 0;

    for (int i = 0; i < count; i++) {
        char name[32];
        struct command c;
        enum err e;

        snprintf(name, sizeof name, "s%d", i % 900);
        c = setting(name, value);
        e = control_propose(t, &c,
                            &(struct control_propose_to){.box = box, .tag = (uint64_t)i});
        ck_assert(e == OK || e == E_FULL);
        waiting += e == OK;
        while (waiting > 0 && (e == E_FULL || i == count - 1)) {
            struct control_answer *a = next_answer(box);

            ck_assert_int_eq(a->err, OK);
            control_answer_free(&a);
            waiting--;
        }
        i -= e == E_FULL; /* again */
    }
    ck_assert_int_eq(waiting, 0);
}

START_TEST(a_long_log_loses_its_applied_beginning_and_still_starts)
{
    struct mailbox *box = mailbox_new(1);
    struct control_thread_options no_create;
    struct ctllog *l;
    char log[96];

    start();
    post_settings(box, LIMIT_CONTROL_LOG_MOST + 500, STR("v"));
    control_thread_stop(&t);
    mailbox_free(&box);
    snprintf(log, sizeof log, "%s/log", dir);
    ck_assert_int_eq(
        ctllog_open(&l, &(struct ctllog_options){.dir = log, .map_bytes = 64 * MiB}), OK);
    ck_assert_uint_gt(ctllog_first(l), 1);
    ck_assert_uint_ge(ctllog_last(l) + 1 - ctllog_first(l), LIMIT_CONTROL_LOG_KEPT);
    ctllog_close(&l);
    start();
    control_thread_stop(&t);
    /* what is gone from the log cannot be replayed: a lost state is not papered over */
    remove_store("state");
    no_create = opts;
    ck_assert_int_eq(control_thread_start(&t, &no_create), E_NOTFOUND);
}
END_TEST

START_TEST(a_stop_answers_all_that_waits)
{
    struct mailbox *box = mailbox_new(1);
    int posted = 0, answered = 0;

    start();
    for (int i = 0; i < 500; i++) {
        struct command c = setting("a", STR("v"));

        posted += control_propose(t, &c, &(struct control_propose_to){.box = box}) == OK;
    }
    control_thread_stop(&t);
    for (; answered < posted; answered++) {
        struct control_answer *a = next_answer(box);

        ck_assert(a->err == OK || a->err == E_IO);
        control_answer_free(&a);
    }
    ck_assert_ptr_null(mailbox_take(box));
    mailbox_free(&box);
}
END_TEST

/* --- notices --- */

static unsigned take_notice(void)
{
    struct mail *m = NULL;

    while (m == NULL) {
        struct pollfd p = {.fd = mailbox_fd(opts.notices[0].box), .events = POLLIN};

        poll(&p, 1, -1);
        m = mailbox_take(opts.notices[0].box);
    }
    ck_assert_int_eq(m->kind, 5);
    ck_assert_ptr_null(m->next);
    return control_notice_take(t, 0);
}

START_TEST(changes_are_gathered_in_one_notice)
{
    struct operation o;

    opts.notices[0].box = mailbox_new(1);
    opts.notices[0].kind = 5;
    start();
    ck_assert_uint_eq(take_notice(), CONTROL_CHANGED_SLOTS | CONTROL_CHANGED_LEAD);
    ck_assert_int_eq(propose(domain(DOMAIN_ADD, "a.example")).err, OK);
    ck_assert_int_eq(propose(setting("a", STR("b"))).err, OK);
    ck_assert_int_eq(propose(hold_all()).err, OK);
    ck_assert_uint_eq(take_notice(), CONTROL_CHANGED_DOMAINS | CONTROL_CHANGED_SETTINGS |
                                         CONTROL_CHANGED_OPERATIONS);
    ck_assert_ptr_null(mailbox_take(opts.notices[0].box));
    ck_assert_int_eq(propose(domain(DOMAIN_ADD, "a.example")).err, E_EXISTS);
    ck_assert_ptr_null(mailbox_take(opts.notices[0].box)); /* a refusal changed nothing */
    ck_assert_int_eq(control_operation_next(control_thread_state(t), 0, &arena, &o), OK);
    ck_assert_int_eq(
        propose((struct command){.kind = COMMAND_OPERATE_DONE, .operate_done.index = o.index})
            .err,
        OK);
    ck_assert_int_eq(control_operation_next(control_thread_state(t), 0, &arena, &o),
                     E_NOTFOUND);
}
END_TEST

START_TEST(an_operation_left_by_an_earlier_run_is_announced)
{
    start();
    ck_assert_int_eq(propose(hold_all()).err, OK);
    opts.notices[0].box = mailbox_new(1);
    opts.notices[0].kind = 5;
    restart();
    ck_assert_uint_eq(take_notice(), CONTROL_CHANGED_OPERATIONS | CONTROL_CHANGED_SLOTS |
                                         CONTROL_CHANGED_LEAD);
}
END_TEST

/* --- clock --- */

/* A clock entry that is due is proposed after the mail of a turn, and applied before that of
 * the next one. One more, for a turn that had begun before the clock moved. */
static void turn_the_loop(void)
{
    for (int i = 0; i < 3; i++)
        propose(setting("a", STR("b")));
}

START_TEST(the_cluster_clock_moves_by_measured_time_and_stands_still_when_down)
{
    uint64_t before;

    start();
    ck_assert_uint_eq(control_now_ms(t), CONTROL_CLOCK_START_MS);
    atomic_fetch_add(&boot_ms, 3000);
    ck_assert_uint_eq(control_now_ms(t), CONTROL_CLOCK_START_MS + 3000);
    atomic_fetch_add(&boot_ms, 3000);
    turn_the_loop();
    ck_assert_uint_eq(cluster_ms(), CONTROL_CLOCK_START_MS + 6000);
    ck_assert_uint_eq(control_now_ms(t), CONTROL_CLOCK_START_MS + 6000);
    atomic_fetch_add(&boot_ms, 86400000); /* suspended for a day */
    ck_assert_uint_eq(control_now_ms(t), CONTROL_CLOCK_START_MS + 6000 + CLUSTERCLOCK_SPAN_MS);
    turn_the_loop();
    ck_assert_uint_eq(cluster_ms(), CONTROL_CLOCK_START_MS + 16000);
    before = control_now_ms(t);
    control_thread_stop(&t);
    atomic_fetch_add(&boot_ms, 86400000); /* down for a day */
    start();
    ck_assert_uint_eq(cluster_ms(), CONTROL_CLOCK_START_MS + 16000);
    ck_assert_uint_le(control_now_ms(t), before + CLUSTERCLOCK_SPAN_MS);
}
END_TEST

START_TEST(a_boot_clock_that_starts_again_does_no_harm)
{
    start();
    atomic_fetch_add(&boot_ms, 6000);
    turn_the_loop();
    control_thread_stop(&t);
    atomic_store(&boot_ms, 10); /* the machine was booted anew */
    start();
    ck_assert_uint_eq(control_now_ms(t), CONTROL_CLOCK_START_MS + 6000);
    atomic_fetch_add(&boot_ms, 100);
    ck_assert_uint_eq(control_now_ms(t), CONTROL_CLOCK_START_MS + 6100);
}
END_TEST

/* --- failures --- */

START_TEST(a_failed_write_fences_the_node_and_nothing_is_acknowledged_any_more)
{
    static char value[4000];
    struct control_outcome out = {.err = OK};

    memset(value, 'x', sizeof value);
    start();
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow: write answers EFBIG */
    ck_assert_int_eq(
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 256 * KiB, .rlim_max = 1 * GiB}),
        0);
    for (int i = 0; out.err == OK && i < 1000; i++) {
        char name[32];

        snprintf(name, sizeof name, "s%d", i);
        out = propose(setting(name, (struct str){value, sizeof value}));
    }
    ck_assert_int_eq(out.err, E_IO);
    ck_assert_int_eq(atomic_load(&fenced), E_IO);
    ck_assert_int_eq(propose(setting("a", STR("b"))).err, E_IO);
    ck_assert_int_eq(
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 1 * GiB, .rlim_max = 1 * GiB}), 0);
    ck_assert_int_eq(propose(setting("a", STR("b"))).err, E_IO); /* not healed by itself */
    restart();
    ck_assert_int_eq(propose(setting("a", STR("b"))).err, OK);
}
END_TEST

START_TEST(a_full_log_sheds_changes_and_stays_up)
{
    static char value[4000];
    struct control_outcome out = {.err = OK};
    uint64_t last = 0;

    memset(value, 'x', sizeof value);
    opts.log_map_bytes = 256 * KiB;
    start();
    for (int i = 0; out.err == OK && i < 1000; i++) {
        last = out.index;
        out = propose(setting("a", (struct str){value, sizeof value}));
    }
    ck_assert_int_eq(out.err, E_FULL);
    ck_assert_uint_eq(out.index, 0);
    ck_assert_int_eq(atomic_load(&fenced), 0);
    ck_assert_uint_eq(control_applied(control_thread_state(t)), last);
    opts.log_map_bytes = 64 * MiB;
    restart();
    ck_assert_int_eq(propose(setting("a", STR("b"))).err, OK);
}
END_TEST

START_TEST(an_entry_without_room_in_the_state_waits_and_is_applied_later)
{
    static char value[4000];
    struct mailbox *box = mailbox_new(1);
    struct control *state;
    struct setting s;
    struct ctllog *l;
    char text[96];
    int waiting = 0;
    bool last = false;

    memset(value, 'x', sizeof value);
    opts.state_map_bytes = 512 * KiB;
    start();
    for (int i = 0; i <= 200; i++, waiting++) { /* more than the state has room for */
        struct command c;

        while (i == 200 && stat_get(STAT_CONTROL_FULL) == 0)
            sched_yield();
        snprintf(text, sizeof text, "s%03d", i);
        c = setting(text, (struct str){value, sizeof value});
        ck_assert_int_eq(
            control_propose(t, &c,
                            &(struct control_propose_to){.box = box, .tag = (uint64_t)i}),
            OK);
    }
    while (!last) { /* the last one comes to a thread that is blocked */
        struct control_answer *a = next_answer(box);

        last = a->tag == 200;
        ck_assert_int_eq(a->err, last || a->index == 0 ? E_FULL : OK);
        control_answer_free(&a);
        waiting--;
    }
    control_thread_stop(&t);
    for (; waiting > 0; waiting--) {
        struct control_answer *a = next_answer(box);

        ck_assert_int_eq(a->err, E_IO); /* in the log: it will take effect */
        control_answer_free(&a);
    }
    mailbox_free(&box);
    ck_assert_int_eq(atomic_load(&fenced), 0);

    snprintf(text, sizeof text, "%s/log", dir);
    ck_assert_int_eq(
        ctllog_open(&l, &(struct ctllog_options){.dir = text, .map_bytes = 64 * MiB}), OK);
    snprintf(text, sizeof text, "%s/state", dir);
    ck_assert_int_eq(control_open(&state, &(struct control_options){.dir = text,
                                                                    .map_bytes = 64 * MiB,
                                                                    .id = ctllog_id(l)}),
                     OK);
    ck_assert_uint_lt(control_applied(state), ctllog_last(l));
    control_close(&state);
    ctllog_close(&l);

    opts.state_map_bytes = 64 * MiB;
    start();
    ck_assert_int_eq(control_setting_get(control_thread_state(t), STR("s000"), &arena, &s), OK);
    ck_assert_int_eq(propose(setting("a", STR("b"))).err, OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control_thread");
    TCase *tc = tcase_create("control_thread");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_first_start_opens_a_session_and_takes_the_slots);
    tcase_add_test(tc, stores_are_not_made_unasked);
    tcase_add_test(tc, every_start_has_a_session_epoch_of_its_own_and_keeps_the_rest);
    tcase_add_test(tc, a_store_of_another_site_is_refused);
    tcase_add_test(tc, a_lost_state_is_made_again_from_a_whole_log);
    tcase_add_test(tc, a_lost_log_is_not_made_again_under_a_known_state);
    tcase_add_test(tc, a_proposal_is_answered_when_reads_see_it);
    tcase_add_test(tc, answers_carry_what_the_asker_gave);
    tcase_add_test(tc, threads_propose_side_by_side_and_each_gets_its_own_index);
    tcase_add_test(tc, a_long_log_loses_its_applied_beginning_and_still_starts);
    tcase_add_test(tc, a_stop_answers_all_that_waits);
    tcase_add_test(tc, changes_are_gathered_in_one_notice);
    tcase_add_test(tc, an_operation_left_by_an_earlier_run_is_announced);
    tcase_add_test(tc, the_cluster_clock_moves_by_measured_time_and_stands_still_when_down);
    tcase_add_test(tc, a_boot_clock_that_starts_again_does_no_harm);
    tcase_add_test(tc, a_failed_write_fences_the_node_and_nothing_is_acknowledged_any_more);
    tcase_add_test(tc, a_full_log_sheds_changes_and_stays_up);
    tcase_add_test(tc, an_entry_without_room_in_the_state_waits_and_is_applied_later);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
