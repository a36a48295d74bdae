/* The public test suite of RFC 7208, all of it: tests/corpus/spf says where it comes from.
 * Every case is run twice, with servers that are silent and with servers that fail. */
#include <stdio.h>

#include "node/policy/spf_world.h"

#define SUITE_BYTES 65536

static struct world world;
static char suite[SUITE_BYTES];
static unsigned expected, ran, passed;

static unsigned hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Undoes \xHH in place: once for each text. */
static struct str unescape(struct str in)
{
    char *out = suite + (in.p - suite);
    size_t n = 0;

    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '\\') {
            ck_assert(i + 3 < in.n && in.p[i + 1] == 'x');
            out[n++] = (char)(hex(in.p[i + 2]) << 4 | hex(in.p[i + 3]));
            i += 3;
        } else {
            out[n++] = in.p[i];
        }
    }
    return (struct str){out, n};
}

static struct str load(void)
{
    static const char path[] = TRISPOOL_SOURCE_DIR "/tests/corpus/spf/rfc7208-tests.txt";
    FILE *f = fopen(path, "rb");
    size_t n;

    ck_assert_msg(f != NULL, "%s cannot be read", path);
    n = fread(suite, 1, sizeof suite, f);
    fclose(f);
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_lt(n, sizeof suite);
    return (struct str){suite, n};
}

static bool is_one_of(struct str results, enum spf_result r)
{
    while (results.n > 0)
        if (str_eq(str_split(&results, ','), str_of(spf_result_text(r))))
            return true;
    return false;
}

struct suite_case {
    struct str id, results, explanation;
    bool has_explanation;
    struct spf_check check;
};

/* fields: ID CLIENT HELO MAILFROM RESULTS [EXPLANATION] */
static struct suite_case case_of(struct str fields)
{
    struct suite_case c = {.id = str_split(&fields, '\t')};
    char client[INET6_ADDRSTRLEN];

    ck_assert(str_to_z(str_split(&fields, '\t'), client, sizeof client));
    c.check.client = client_of(client);
    c.check.receiver = STR("mx.example");
    c.check.helo = unescape(str_split(&fields, '\t'));
    c.check.sender = unescape(str_split(&fields, '\t'));
    c.results = str_split(&fields, '\t');
    c.has_explanation = fields.n > 0;
    c.explanation = unescape(fields);
    if (str_eq(c.explanation, STR("DEFAULT"))) /* the checker's own, which is none here */
        c.explanation = STR("");
    return c;
}

static bool run_case(const struct suite_case *c, enum dns_status timeout)
{
    const struct spf_verdict *v;

    world.timeout = timeout;
    v = world_check(&world, &c->check);
    if (is_one_of(c->results, v->result) &&
        (!c->has_explanation || str_eq(v->explanation, c->explanation)))
        return true;
    printf(STR_FMT ": %s (%s) '" STR_FMT "', not " STR_FMT " '" STR_FMT "'\n", STR_ARG(c->id),
           spf_result_text(v->result), spf_problem_text(v->problem), STR_ARG(v->explanation),
           STR_ARG(c->results), STR_ARG(c->explanation));
    return false;
}

/* The lines of one scenario: first its zones, then its tests. */
static void run_scenario(struct str lines)
{
    struct str rest = lines;

    world_reset(&world);
    while (rest.n > 0) {
        struct str line = str_split(&rest, '\n');

        if (str_cut_nocase(&line, STR("zone\t"))) {
            struct str name = str_split(&line, '\t');

            world_add(&world, unescape(name), line, '\t');
            for (size_t i = 0; i < world.rows[world.count - 1].n; i++)
                world.rows[world.count - 1].data[i] =
                    unescape(world.rows[world.count - 1].data[i]);
        }
    }
    for (rest = lines; rest.n > 0;) {
        struct str line = str_split(&rest, '\n');

        if (str_cut_nocase(&line, STR("test\t"))) {
            struct suite_case c = case_of(line);

            ran++;
            passed += run_case(&c, DNS_SILENCE) && run_case(&c, DNS_SERVFAIL);
        }
    }
}

/* What stands before the next scenario; it is left at the start of *rest. */
static struct str cut_scenario(struct str *rest)
{
    static const char mark[] = "\nscenario\t";
    const char *at = memmem(rest->p, rest->n, mark, sizeof mark - 1);
    size_t n = at != NULL ? (size_t)(at - rest->p) : rest->n;
    struct str head = str_head(*rest, n);

    *rest = str_from(*rest, at != NULL ? n + 1 : n);
    return head;
}

START_TEST(all_cases_of_the_rfc_7208_suite_pass)
{
    struct str rest = load(), head = cut_scenario(&rest);
    uint64_t n;

    while (head.n > 0) {
        struct str line = str_split(&head, '\n');

        if (str_cut_nocase(&line, STR("cases\t"))) {
            ck_assert(str_to_u64(line, &n));
            expected = (unsigned)n;
        }
    }
    while (rest.n > 0)
        run_scenario(cut_scenario(&rest));
    printf("RFC 7208 suite: %u of %u cases pass\n", passed, expected);
    ck_assert_uint_gt(expected, 200);
    ck_assert_uint_eq(ran, expected);
    ck_assert_uint_eq(passed, expected);
    arena_reset(&world.arena);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("spf_suite");
    TCase *tc = tcase_create("RFC 7208");
    SRunner *runner = srunner_create(s);
    int failed;

    tcase_add_test(tc, all_cases_of_the_rfc_7208_suite_pass);
    suite_add_tcase(s, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
