/* Only CRLF . CRLF ends the data, whatever a smuggler tries, in whatever pieces it comes. */
#include "cluster-tools/sink/data.h"

#include <check.h>
#include <string.h>

#include "cluster-tools/common/dotstuff.h"

struct outcome {
    char out[256];
    size_t bytes, left; /* left: behind the end */
    struct data d;
};

static struct outcome run(const char *in, size_t n, size_t piece, bool lenient)
{
    struct outcome o = {.bytes = 0};

    data_init(&o.d, lenient);
    for (size_t at = 0; at < n && o.d.state != DATA_END; at += piece) {
        struct str s = {in + at, piece < n - at ? piece : n - at};

        while (s.n > 0 && o.d.state != DATA_END)
            o.bytes += data_read(&o.d, &s, o.out + o.bytes, DATA_MIN_ROOM + at % 3);
        o.left = n - at - (piece < n - at ? piece : n - at) + s.n;
    }
    return o;
}

static const struct {
    const char *in, *want;
    bool ends;
    unsigned bare_cr, bare_lf;
    const char *left;
} cases[] = {
    {".\r\n", "", true, 0, 0, ""},
    {"a\r\n.\r\n", "a\r\n", true, 0, 0, ""},
    {"a\r\n.\r\nQUIT\r\n", "a\r\n", true, 0, 0, "QUIT\r\n"},
    {"..\r\n.\r\n", ".\r\n", true, 0, 0, ""},
    {".a\r\n.\r\n", "a\r\n", true, 0, 0, ""},
    {"a\r\n..b\r\n...\r\n.\r\n", "a\r\n.b\r\n..\r\n", true, 0, 0, ""},
    {"a.\r\n.\r\n", "a.\r\n", true, 0, 0, ""},
    {"\r\n\r\n.\r\n", "\r\n\r\n", true, 0, 0, ""},
    {"a\r\n.", "a\r\n", false, 0, 0, ""},
    {"a\r\n.\r", "a\r\n", false, 0, 0, ""},
    /* the smuggler's list: none of these ends the data */
    {"a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", true, 0, 2, ""},
    {"a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", true, 0, 1, ""},
    {"a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", true, 0, 1, ""},
    {"a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", true, 1, 0, ""},
    {"a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", true, 2, 0, ""},
    {"a\r\n.\r\r\nb\r\n.\r\n", "a\r\n\r\r\nb\r\n", true, 1, 0, ""},
    {"a\r\r\n.\r\n", "a\r\r\n", true, 1, 0, ""},
    {"a\n\r\n.\r\n", "a\n\r\n", true, 0, 1, ""},
    {"a\r\n\n.\r\nb\r\n.\r\n", "a\r\n\n.\r\nb\r\n", true, 0, 1, ""},
};

#define CASES (sizeof cases / sizeof cases[0])

START_TEST(data_ends_at_crlf_dot_crlf_and_nowhere_else)
{
    size_t n = strlen(cases[_i].in);

    for (size_t piece = 1; piece <= n; piece++) {
        struct outcome o = run(cases[_i].in, n, piece, false);

        ck_assert_uint_eq(o.bytes, strlen(cases[_i].want));
        ck_assert_mem_eq(o.out, cases[_i].want, o.bytes);
        ck_assert_int_eq(o.d.state == DATA_END, cases[_i].ends);
        ck_assert_uint_eq(o.d.bare_cr, cases[_i].bare_cr);
        ck_assert_uint_eq(o.d.bare_lf, cases[_i].bare_lf);
        ck_assert_uint_eq(o.left, strlen(cases[_i].left));
    }
}
END_TEST

START_TEST(a_careless_receiver_falls_for_a_bare_lf_and_still_counts_it)
{
    static const struct {
        const char *in, *want, *left;
    } smuggled[] = {
        {"a\n.\nMAIL", "a\n", "MAIL"},
        {"a\r\n.\nMAIL", "a\r\n", "MAIL"},
        {"a\n.\r\nMAIL", "a\n", "MAIL"},
    };
    struct outcome o = run(smuggled[_i].in, strlen(smuggled[_i].in), 2, true);

    ck_assert_int_eq(o.d.state, DATA_END);
    ck_assert_uint_eq(o.bytes, strlen(smuggled[_i].want));
    ck_assert_mem_eq(o.out, smuggled[_i].want, o.bytes);
    ck_assert_uint_eq(o.left, strlen(smuggled[_i].left));
    ck_assert_uint_ge(data_noncanonical(&o.d), 1);
}
END_TEST

START_TEST(what_the_writer_stuffs_the_reader_takes_off)
{
    static const char letters[] = {'.', '.', '\r', '\n', 'a'};
    uint64_t state = 1 + (uint64_t)_i;
    char plain[64], wire[200];
    size_t n = (size_t)_i % 60, stuffed = 0;

    for (size_t i = 0; i < n; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        plain[i] = letters[(state >> 40) % sizeof letters];
    }
    plain[n++] = '\r';
    plain[n++] = '\n';
    struct dotstuff d;
    struct str in = {plain, n};
    dotstuff_init(&d);
    while (in.n > 0)
        stuffed += dotstuff_write(&d, &in, wire + stuffed, sizeof wire - stuffed);
    stuffed += dotstuff_end(&d, wire + stuffed);

    struct outcome o = run(wire, stuffed, 1 + (size_t)_i % 9, false);
    ck_assert_int_eq(o.d.state, DATA_END);
    ck_assert_uint_eq(o.left, 0);
    ck_assert_uint_eq(o.bytes, n);
    ck_assert_mem_eq(o.out, plain, n);
}
END_TEST

START_TEST(a_chunk_is_counted_and_not_changed)
{
    struct data d;

    data_init(&d, false);
    data_scan(&d, STR("a\r"));
    data_scan(&d, STR("\nb\n.\r\n\rc\r"));
    data_scan(&d, STR("d"));
    ck_assert_uint_eq(d.bare_lf, 1);
    ck_assert_uint_eq(d.bare_cr, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("data");
    TCase *tc = tcase_create("reader");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, data_ends_at_crlf_dot_crlf_and_nowhere_else, 0, CASES);
    tcase_add_loop_test(tc, a_careless_receiver_falls_for_a_bare_lf_and_still_counts_it, 0, 3);
    tcase_add_loop_test(tc, what_the_writer_stuffs_the_reader_takes_off, 0, 300);
    tcase_add_test(tc, a_chunk_is_counted_and_not_changed);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
