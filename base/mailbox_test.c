#include "base/mailbox.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#define POSTERS 4
#define EACH    4000

struct letter {
    struct mail mail; /* first */
    int from, number;
};

static bool is_readable(const struct mailbox *m)
{
    struct pollfd p = {.fd = mailbox_fd(m), .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

START_TEST(mail_comes_out_in_order_and_the_descriptor_follows)
{
    struct mailbox *m = mailbox_new(8);
    struct letter l[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    struct mail *got;

    ck_assert(!is_readable(m));
    ck_assert_ptr_null(mailbox_take(m));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mailbox_post(m, &l[i].mail), OK);
    ck_assert(is_readable(m));
    got = mailbox_take(m);
    ck_assert(!is_readable(m));
    for (int i = 0; i < 3; i++, got = got->next)
        ck_assert_int_eq(((struct letter *)got)->number, i);
    ck_assert_ptr_null(got);
    ck_assert_int_eq(mailbox_post(m, &l[0].mail), OK);
    ck_assert(is_readable(m));
    ck_assert_ptr_eq(mailbox_take(m), &l[0].mail);
    mailbox_free(&m);
    ck_assert_ptr_null(m);
}
END_TEST

START_TEST(full_box_refuses_requests_and_still_takes_answers)
{
    struct mailbox *m = mailbox_new(2);
    struct letter l[5] = {0};

    ck_assert_int_eq(mailbox_post(m, &l[0].mail), OK);
    ck_assert_int_eq(mailbox_post(m, &l[1].mail), OK);
    ck_assert_int_eq(mailbox_post(m, &l[2].mail), E_FULL);
    mailbox_answer(m, &l[3].mail);
    ck_assert_int_eq(mailbox_post(m, &l[2].mail), E_FULL);
    ck_assert_ptr_eq(mailbox_take(m), &l[0].mail);
    ck_assert_ptr_eq(l[1].mail.next, &l[3].mail);
    ck_assert_int_eq(mailbox_post(m, &l[2].mail), OK);
    ck_assert_ptr_eq(mailbox_take(m), &l[2].mail);
    mailbox_free(&m);
}
END_TEST

START_TEST(what_is_withdrawn_does_not_come_and_the_rest_stays_in_order)
{
    for (int gone = 0; gone < 4; gone++) {
        struct mailbox *box = mailbox_new(9);
        struct mail mails[3] = {{.kind = 0}, {.kind = 1}, {.kind = 2}}, late = {.kind = 3}, *m;
        int want = 0;

        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(mailbox_post(box, &mails[i]), OK);
        mailbox_withdraw(box, gone < 3 ? &mails[gone] : &late); /* the last one is not in it */
        ck_assert_int_eq(mailbox_post(box, &late), OK);
        for (m = mailbox_take(box); m != NULL; m = m->next, want++) {
            want += gone < 3 && want == gone;
            ck_assert_int_eq(m->kind, want);
        }
        ck_assert_int_eq(want, 4);
        mailbox_withdraw(box, &late); /* of an empty one */
        ck_assert_int_eq(mailbox_post(box, &late), OK);
        mailbox_withdraw(box, &late); /* the only one */
        ck_assert_ptr_null(mailbox_take(box));
        mailbox_free(&box);
    }
}
END_TEST

START_TEST(a_knock_wakes_the_owner_and_brings_nothing)
{
    struct mailbox *m = mailbox_new(1);
    struct letter l = {0};

    mailbox_knock(m);
    mailbox_knock(m);
    ck_assert(is_readable(m));
    ck_assert_uint_eq(mailbox_takes(m), 0);
    ck_assert_ptr_null(mailbox_take(m));
    ck_assert(!is_readable(m));
    ck_assert_uint_eq(mailbox_takes(m), 1);
    ck_assert_int_eq(mailbox_post(m, &l.mail), OK);
    mailbox_knock(m);
    ck_assert_ptr_eq(mailbox_take(m), &l.mail);
    ck_assert_uint_eq(mailbox_takes(m), 2);
    mailbox_free(&m);
}
END_TEST

static struct mailbox *box;
static atomic_int refused;

static void *poster(void *arg)
{
    int from = (int)(intptr_t)arg;

    for (int i = 0; i < EACH;) {
        struct letter *l = malloc(sizeof *l);

        *l = (struct letter){.from = from, .number = i};
        if (i % 16 == 0) {
            mailbox_answer(box, &l->mail);
            i++;
        } else if (mailbox_post(box, &l->mail) == OK) {
            i++;
        } else {
            free(l);
            atomic_fetch_add(&refused, 1);
            sched_yield();
        }
    }
    return NULL;
}

/* The owner sleeps on the descriptor alone: a lost wake-up would hang the test. */
START_TEST(nothing_is_lost_doubled_or_overtaken_between_threads)
{
    int next[POSTERS] = {0}, got = 0;
    pthread_t threads[POSTERS];

    box = mailbox_new(64);
    for (intptr_t i = 0; i < POSTERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, poster, (void *)i), 0);
    while (got < POSTERS * EACH) {
        struct pollfd p = {.fd = mailbox_fd(box), .events = POLLIN};
        struct mail *m;

        ck_assert_int_eq(poll(&p, 1, -1), 1);
        for (m = mailbox_take(box); m != NULL; got++) {
            struct letter *l = (struct letter *)m;

            m = m->next;
            ck_assert_int_eq(l->number, next[l->from]);
            next[l->from]++;
            free(l);
        }
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_ptr_null(mailbox_take(box));
    mailbox_free(&box);
    ck_assert_int_gt(atomic_load(&refused), 0); /* the limit was met on the way */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mailbox");
    TCase *tc = tcase_create("mailbox");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, mail_comes_out_in_order_and_the_descriptor_follows);
    tcase_add_test(tc, full_box_refuses_requests_and_still_takes_answers);
    tcase_add_test(tc, what_is_withdrawn_does_not_come_and_the_rest_stays_in_order);
    tcase_add_test(tc, a_knock_wakes_the_owner_and_brings_nothing);
    tcase_add_test(tc, nothing_is_lost_doubled_or_overtaken_between_threads);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
