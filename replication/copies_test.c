/* Every combination of facts is put to every rule. The tables below say the rules a second
 * time, row by row, first match counts; each row must be reached, and no answer may come that
 * no row gives. Over all of it: no state goes downwards. */
#include "replication/copies.h"

#include <check.h>

#define NEWER   8 /* slot epochs around the one that is asked for */
#define ASKED   7
#define OLDER   6
#define SITE    2 /* of the asking holder */
#define SESSION 40

/* The record is the same in all runs; the facts go around it. */
static const struct copy_record asked = {.site = SITE, .epoch = SESSION, .slot_epoch = ASKED};

enum need { NO, YES, ANY };

/* What a row asks of the facts. States are a bit set. */
struct row {
    const char *rule;
    unsigned states;
    enum need same_digest, sealed, from_origin, own_origin, witness, upto_covers;
    enum need lag, stale, foreign, own_dot, mark, mark_matches, same, over, doubt, flagged;
    /* PUT: state sent; OUTCOME: all_final; DOT: waited for the mark; MARK: counter; -1: any */
    int arg;
    enum copy_code code;
    int state; /* -1: as it was */
    int store, drop;
};

#define S(x) (1u << COPY_##x)
#define ALL  (S(NONE) | S(UNDECIDED) | S(ABORTED) | S(COMMITTED) | S(SETTLED))
#define ANYTHING                                                                               \
    .same_digest = ANY, .sealed = ANY, .from_origin = ANY, .own_origin = ANY, .witness = ANY,  \
    .upto_covers = ANY, .lag = ANY, .stale = ANY, .foreign = ANY, .own_dot = ANY, .mark = ANY, \
    .mark_matches = ANY, .same = ANY, .over = ANY, .doubt = ANY, .flagged = ANY, .arg = -1,    \
    .state = -1
#define ROW(text, on, code_) .rule = (text), .states = (on), ANYTHING, .code = (code_)

/* The later designator of a field counts; that is what rows are made of. */
#pragma GCC diagnostic push
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

static const struct row put_rows[] = {
    {ROW("a state that is not sent", ALL, COPY_MALFORMED), .arg = COPY_NONE},
    {ROW("a state that is not sent", ALL, COPY_MALFORMED), .arg = COPY_ABORTED},
    {ROW("a state that is not sent", ALL, COPY_MALFORMED), .arg = COPY_SETTLED},
    {ROW("a settled id never comes back", S(SETTLED), COPY_IS_SETTLED)},
    {ROW("one id, two bodies", S(UNDECIDED) | S(COMMITTED), COPY_CONFLICT), .same_digest = NO},
    {ROW("committed stays", S(COMMITTED), COPY_OK)},
    {ROW("a committed copy commits", S(UNDECIDED), COPY_OK), .arg = COPY_COMMITTED,
     .state = COPY_COMMITTED},
    {ROW("known already, sealed or not", S(UNDECIDED), COPY_OK)},
    {ROW("aborted, but committed wins", S(ABORTED), COPY_OK), .arg = COPY_COMMITTED,
     .state = COPY_COMMITTED},
    {ROW("aborted stays", S(ABORTED), COPY_IS_ABORTED)},
    {ROW("a sealed session takes no more mail", S(NONE), COPY_SEALED), .sealed = YES,
     .arg = COPY_UNDECIDED},
    {ROW("the watermark was faster", S(NONE), COPY_OK), .upto_covers = YES,
     .state = COPY_COMMITTED},
    {ROW("new and committed", S(NONE), COPY_OK), .arg = COPY_COMMITTED,
     .state = COPY_COMMITTED},
    {ROW("new and undecided", S(NONE), COPY_OK), .state = COPY_UNDECIDED},
};

static const struct row abort_rows[] = {
    {ROW("settled stays", S(SETTLED), COPY_IS_SETTLED)},
    {ROW("said before", S(ABORTED), COPY_OK)},
    {ROW("committed wins", S(COMMITTED), COPY_SEALED)},
    {ROW("the origin of a sealed session decides nothing", ALL, COPY_SEALED), .sealed = YES,
     .from_origin = YES},
    {ROW("in time, or relayed", S(NONE) | S(UNDECIDED), COPY_OK), .state = COPY_ABORTED},
};

static const struct row commit_rows[] = {
    {ROW("nothing is here", S(NONE), COPY_MISSING)},
    {ROW("committed", S(UNDECIDED), COPY_OK), .state = COPY_COMMITTED},
    {ROW("said before", S(COMMITTED), COPY_OK)},
    {ROW("the body is gone: a PUT wins, a mark cannot", S(ABORTED), COPY_IS_ABORTED)},
    {ROW("settled stays", S(SETTLED), COPY_IS_SETTLED)},
};

static const struct row dot_rows[] = {
    {ROW("settled: no dot", S(SETTLED), COPY_IS_SETTLED)},
    {ROW("aborted: no dot", S(ABORTED), COPY_IS_ABORTED)},
    {ROW("who has forgotten cannot vouch", ALL, COPY_NOT_WITNESS), .witness = NO},
    {ROW("the epoch is not applied here", ALL, COPY_LAG), .lag = YES},
    {ROW("the lease has moved", ALL, COPY_EPOCH), .stale = YES},
    {ROW("another process may have a dot under way", ALL, COPY_FOREIGN_DOT), .foreign = YES,
     .arg = 0},
    {ROW("the holder delivers only what is committed", S(NONE) | S(UNDECIDED), COPY_MISSING),
     .own_dot = YES},
    {ROW("a mark without a copy would not be told", S(NONE), COPY_MISSING)},
    {ROW("its mark was waited for, ours takes its place, and its doubt", ALL, COPY_DOUBT),
     .foreign = YES, .store = 1},
    {ROW("asked before, and in doubt", ALL, COPY_DOUBT), .same = YES, .over = NO, .doubt = YES},
    {ROW("asked before", ALL, COPY_OK), .same = YES, .over = NO},
    {ROW("the dot is over, the doubt is not", ALL, COPY_DOUBT), .mark = YES, .doubt = YES,
     .store = 1},
    {ROW("consent", ALL, COPY_OK), .store = 1},
};

static const struct row closed_rows[] = {
    {ROW("that dot is over", ALL, COPY_OK), .mark_matches = YES, .doubt = NO, .drop = 1},
    {ROW("the copy itself tells of the doubt", ALL, COPY_OK), .mark_matches = YES,
     .flagged = YES, .drop = 1},
    {ROW("over before", ALL, COPY_OK), .mark_matches = YES, .over = YES},
    {ROW("over, and the doubt stays", ALL, COPY_OK), .mark_matches = YES, .store = 1},
    {ROW("no such dot", ALL, COPY_MISSING)},
};

static const struct row mark_rows[] = {
    {ROW("settled: no dot", S(SETTLED), COPY_OK)},
    {ROW("over, and no doubt", ALL, COPY_OK), .mark = NO, .arg = COPY_MARK_OVER},
    {ROW("none is here", ALL, COPY_OK), .mark = NO, .store = 1},
    {ROW("the doubt is known", ALL, COPY_OK), .doubt = YES},
    {ROW("a doubt", ALL, COPY_OK), .arg = COPY_MARK_DOUBT, .store = 1},
    {ROW("a doubt", ALL, COPY_OK), .arg = COPY_MARK_DOUBT | COPY_MARK_OVER, .store = 1},
    {ROW("the same", ALL, COPY_OK), .same = YES},
    {ROW("another that is over", ALL, COPY_OK), .arg = COPY_MARK_OVER},
    {ROW("another that may be under way: a doubt", ALL, COPY_OK), .store = 1},
};

static const struct row outcome_rows[] = {
    {ROW("all final: settled, the mark goes", ALL, COPY_OK), .arg = 1, .mark = YES,
     .state = COPY_SETTLED, .drop = 1},
    {ROW("all final: settled", ALL, COPY_OK), .arg = 1, .state = COPY_SETTLED},
    {ROW("settled before, the mark goes", S(SETTLED), COPY_OK), .mark = YES, .drop = 1},
    {ROW("settled before", S(SETTLED), COPY_OK)},
    {ROW("no copy", S(NONE), COPY_MISSING)},
    {ROW("no body", S(ABORTED), COPY_IS_ABORTED)},
    {ROW("somebody had it committed; the mark stays", ALL, COPY_OK), .state = COPY_COMMITTED},
};

static const struct row upto_rows[] = {
    {ROW("it may cover an abort that was refused", ALL, COPY_SEALED), .sealed = YES,
     .own_origin = NO},
    {ROW("all aborts came before it", ALL, COPY_OK)},
};

static const struct row resolve_rows[] = {
    {ROW("an abort may still come", ALL, COPY_LAG), .sealed = NO},
    {ROW("who has forgotten cannot tell", ALL, COPY_NOT_WITNESS), .witness = NO},
    {ROW("all aborts are known", ALL, COPY_OK)},
};

static const struct row resolved_rows[] = {
    {ROW("an abort may still come", ALL, COPY_LAG), .sealed = NO},
    {ROW("it may have been told and lost", ALL, COPY_NOT_WITNESS), .witness = NO},
    {ROW("no abort at either", S(UNDECIDED), COPY_OK), .state = COPY_COMMITTED},
    {ROW("decided before", ALL, COPY_OK)},
};
#pragma GCC diagnostic pop

static bool is(enum need want, bool fact)
{
    return want == ANY || (want == YES) == fact;
}

static bool mark_matches(const struct copy_facts *f)
{
    return f->has_dot && f->dot_site == SITE && f->dot_epoch == ASKED;
}

static bool matches(const struct row *r, const struct copy_facts *f, int arg)
{
    bool lag = !f->has_slot || f->newest_epoch < ASKED;
    bool stale = !lag && (f->newest_epoch > ASKED || f->newest_site != SITE);
    bool ours = f->dot_site == SITE && f->dot_session == SESSION;
    bool foreign = f->has_dot && !f->dot_over && !ours;
    bool same = f->has_dot && ours && f->dot_epoch == ASKED;

    return (r->states >> f->state & 1) != 0 && is(r->same_digest, f->same_digest) &&
           is(r->sealed, f->sealed) && is(r->from_origin, f->from_origin) &&
           is(r->own_origin, f->own_origin) && is(r->witness, f->witness) &&
           is(r->upto_covers, f->upto_covers) && is(r->lag, lag) && is(r->stale, stale) &&
           is(r->foreign, foreign) && is(r->own_dot, f->own_dot) && is(r->mark, f->has_dot) &&
           is(r->same, same) && is(r->over, f->dot_over) && is(r->doubt, f->dot_doubt) &&
           is(r->flagged, f->flagged) && is(r->mark_matches, mark_matches(f)) &&
           (r->arg == -1 || r->arg == arg);
}

/* One kind of record: its table, its function, and the range of its argument. */
struct kind {
    const char *name;
    const struct row *rows;
    size_t count;
    int args;
    struct copy_verdict (*ask)(const struct copy_facts *f, int arg);
};

static struct copy_verdict ask_put(const struct copy_facts *f, int arg)
{
    return copies_on_put(f, (enum copy_state)arg);
}

static struct copy_verdict ask_abort(const struct copy_facts *f, int arg)
{
    (void)arg;
    return copies_on_abort(f);
}

static struct copy_verdict ask_commit(const struct copy_facts *f, int arg)
{
    (void)arg;
    return copies_on_commit(f);
}

static struct copy_verdict ask_dot(const struct copy_facts *f, int arg)
{
    struct copy_record r = asked;

    /* a slot epoch of a mark that is not the one here is as good as none */
    r.counter = arg == 1 ? f->dot_epoch : f->dot_epoch + 1;
    return copies_on_dot(f, &r);
}

static struct copy_verdict ask_closed(const struct copy_facts *f, int arg)
{
    (void)arg;
    return copies_on_closed(f, &asked);
}

static struct copy_verdict ask_mark(const struct copy_facts *f, int arg)
{
    struct copy_record r = asked;

    r.counter = (uint64_t)arg;
    return copies_on_mark(f, &r);
}

static struct copy_verdict ask_outcome(const struct copy_facts *f, int arg)
{
    return copies_on_outcome(f, arg != 0);
}

static struct copy_verdict ask_upto(const struct copy_facts *f, int arg)
{
    (void)arg;
    return copies_on_upto(f);
}

static struct copy_verdict ask_resolve(const struct copy_facts *f, int arg)
{
    (void)arg;
    return copies_on_resolve(f);
}

static struct copy_verdict ask_resolved(const struct copy_facts *f, int arg)
{
    (void)arg;
    return copies_on_resolved(f);
}

#define KIND(x, args)                                                                          \
    {                                                                                          \
#x, x##_rows, sizeof x##_rows / sizeof *x##_rows, args, ask_##x                        \
    }

static const struct kind kinds[] = {
    KIND(put, 5),     KIND(abort, 1),   KIND(commit, 1),   KIND(dot, 2),  KIND(closed, 1),
    KIND(outcome, 2), KIND(resolve, 1), KIND(resolved, 1), KIND(mark, 4), KIND(upto, 1)};

/* Millions of facts: only a failure is worth a message of Check's. */
static void want(bool ok, const char *rule, const char *what)
{
    if (!ok)
        ck_abort_msg("%s: %s", rule, what);
}

static void check_answer(const struct row *r, const struct copy_facts *f,
                         const struct copy_verdict *v)
{
    enum copy_state to = r->state == -1 ? f->state : (enum copy_state)r->state;

    want(v->answer.code == r->code, r->rule, "code");
    want(v->state == to, r->rule, "state");
    want(v->state >= f->state, r->rule, "downwards");
    want(v->store_dot == (r->store != 0), r->rule, "mark stored or not");
    want(v->drop_dot == (r->drop != 0), r->rule, "mark dropped or not");
    want(!v->store_dot || v->dot_doubt || r->code != COPY_DOUBT, r->rule, "doubt lost");
    want(r->code != COPY_EPOCH || v->answer.detail == f->newest_epoch, r->rule, "detail");
    want(r->code != COPY_FOREIGN_DOT ||
             (v->answer.detail == f->dot_epoch && v->answer.site == f->dot_site &&
              v->answer.session == f->dot_session),
         r->rule, "detail");
}

static void check_facts(const struct kind *k, const struct copy_facts *f, uint64_t *reached)
{
    for (int arg = 0; arg < k->args; arg++) {
        struct copy_verdict v = k->ask(f, arg);
        size_t i = 0;

        while (i < k->count && !matches(&k->rows[i], f, arg))
            i++;
        want(i < k->count, k->name, "no row for this");
        check_answer(&k->rows[i], f, &v);
        *reached |= UINT64_C(1) << i;
    }
}

/* Digits of a number with mixed bases: what each fact may be. */
static unsigned digit(unsigned *n, unsigned base)
{
    unsigned d = *n % base;

    *n /= base;
    return d;
}

/* False: beyond the last combination. */
static bool facts_of(unsigned n, struct copy_facts *f)
{
    f->state = (enum copy_state)digit(&n, 5);
    f->same_digest = digit(&n, 2) != 0;
    f->sealed = digit(&n, 2) != 0;
    f->from_origin = digit(&n, 2) != 0;
    f->own_origin = digit(&n, 2) != 0;
    f->witness = digit(&n, 2) != 0;
    f->upto_covers = digit(&n, 2) != 0;
    f->own_dot = digit(&n, 2) != 0;
    f->has_slot = digit(&n, 2) != 0;
    f->newest_epoch = OLDER + digit(&n, 3);
    f->newest_site = (uint16_t)(SITE + digit(&n, 2));
    f->has_dot = digit(&n, 2) != 0;
    f->dot_site = (uint16_t)(SITE + digit(&n, 2));
    f->dot_session = SESSION - digit(&n, 2);
    f->dot_epoch = NEWER - digit(&n, 3);
    f->dot_over = digit(&n, 2) != 0;
    f->dot_doubt = digit(&n, 2) != 0;
    f->flagged = digit(&n, 2) != 0;
    if (!f->has_dot)
        f->dot_over = f->dot_doubt = false;
    return n == 0;
}

START_TEST(each_combination_of_facts_has_its_answer_and_each_rule_its_case)
{
    const struct kind *k = &kinds[_i];
    struct copy_facts f;
    uint64_t reached = 0;
    unsigned n = 0;

    while (facts_of(n, &f)) {
        check_facts(k, &f, &reached);
        n++;
    }
    ck_assert_uint_eq(n, 5u * 256 * 3 * 2 * 2 * 2 * 2 * 3 * 8);
    for (size_t i = 0; i < k->count; i++)
        ck_assert_msg((reached >> i & 1) != 0, "%s: never: %s", k->name, k->rows[i].rule);
}
END_TEST

/* The verdict carried out. */
static void carry_out(struct copy_facts *f, const struct copy_verdict *v)
{
    f->state = v->state;
    if (v->drop_dot)
        f->has_dot = false;
    if (v->store_dot) {
        f->has_dot = true;
        f->dot_over = v->dot_over;
        f->dot_doubt = v->dot_doubt;
    }
    if (v->store_dot && !v->keep_holder) {
        f->dot_site = SITE;
        f->dot_session = SESSION;
        f->dot_epoch = ASKED;
    }
}

START_TEST(the_same_record_again_changes_nothing)
{
    const struct kind *k = &kinds[_i];
    struct copy_facts f;

    for (unsigned n = 0; facts_of(n, &f); n++) {
        for (int arg = 0; arg < k->args; arg++) {
            struct copy_facts after = f;
            struct copy_verdict v = k->ask(&after, arg), again;

            carry_out(&after, &v);
            after.same_digest |= v.state != f.state; /* what was stored is what came */
            again = k->ask(&after, arg);
            want(again.state == v.state && !again.store_dot && !again.drop_dot, k->name,
                 "again changes something");
            want(again.answer.code == v.answer.code || k->ask == ask_closed, k->name,
                 "again answers something else");
        }
    }
}
END_TEST

/* An asker that was told of a foreign dot, and has waited, says so; no mark is missing between.
 */
START_TEST(a_mark_that_was_waited_for_gives_way_in_one_step)
{
    struct copy_facts f = {.state = COPY_COMMITTED,
                           .witness = true,
                           .has_slot = true,
                           .newest_epoch = ASKED,
                           .newest_site = SITE,
                           .has_dot = true,
                           .dot_site = 3,
                           .dot_session = 30,
                           .dot_epoch = OLDER};
    struct copy_record again = asked;
    struct copy_verdict v = copies_on_dot(&f, &asked);

    ck_assert_int_eq(v.answer.code, COPY_FOREIGN_DOT);
    again.counter = v.answer.detail;
    v = copies_on_dot(&f, &again);
    ck_assert(v.answer.code == COPY_DOUBT && v.store_dot && v.dot_doubt && !v.drop_dot);
    f.dot_epoch = 3; /* it is another one by now */
    ck_assert_int_eq(copies_on_dot(&f, &again).answer.code, COPY_FOREIGN_DOT);
    f.has_dot = false; /* no mark, and a question that names none */
    f.dot_epoch = 0;
    ck_assert_int_eq(copies_on_dot(&f, &asked).answer.code, COPY_OK);
}
END_TEST

/* Whatever comes before the outcome or the flag in the copy, the doubt does not go. */
START_TEST(a_doubt_outlives_its_marks)
{
    struct copy_facts f;

    for (unsigned n = 0; facts_of(n, &f); n++) {
        struct copy_facts after = f;
        struct copy_verdict v;

        if (!f.has_dot || !f.dot_doubt || f.flagged || f.state == COPY_SETTLED)
            continue;
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            for (int arg = 0; arg < kinds[i].args; arg++) {
                v = kinds[i].ask(&f, arg);
                after = f;
                carry_out(&after, &v);
                want(after.state == COPY_SETTLED || (after.has_dot && after.dot_doubt),
                     kinds[i].name, "the doubt is gone");
            }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("copies");
    TCase *tc = tcase_create("copies");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, each_combination_of_facts_has_its_answer_and_each_rule_its_case, 0,
                        (int)(sizeof kinds / sizeof *kinds));
    tcase_add_loop_test(tc, the_same_record_again_changes_nothing, 0,
                        (int)(sizeof kinds / sizeof *kinds));
    tcase_add_test(tc, a_mark_that_was_waited_for_gives_way_in_one_step);
    tcase_add_test(tc, a_doubt_outlives_its_marks);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
