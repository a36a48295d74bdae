/* What goes into DATA: dots doubled at the start of a line and nowhere else. */
#include "cluster-tools/common/dotstuff.h"

#include <check.h>
#include <string.h>

static char out[256];
static size_t out_bytes;

/* Stuffs `in`, handed over in pieces of `piece` bytes with `room` bytes of room each time. */
static void stuff(const char *in, size_t piece, size_t room)
{
    struct dotstuff d;
    size_t left = strlen(in);

    dotstuff_init(&d);
    out_bytes = 0;
    while (left > 0) {
        size_t n = left < piece ? left : piece;
        struct str s = {in, n};

        while (s.n > 0)
            out_bytes += dotstuff_write(&d, &s, out + out_bytes, room);
        in += n;
        left -= n;
    }
    out_bytes += dotstuff_end(&d, out + out_bytes);
}

static const struct {
    const char *in, *want;
} cases[] = {
    {"", ".\r\n"},
    {"a\r\n", "a\r\n.\r\n"},
    {".\r\n", "..\r\n.\r\n"},
    {"..\r\n", "...\r\n.\r\n"},
    {".a\r\n.\r\n.b", "..a\r\n..\r\n..b\r\n.\r\n"},
    {"a.b\r\n", "a.b\r\n.\r\n"},
    {"a\r\n\r\n.\r\n", "a\r\n\r\n..\r\n.\r\n"},
    {"no end", "no end\r\n.\r\n"},
    {"a\n.b\r\n", "a\n.b\r\n.\r\n"}, /* behind a bare LF no line starts */
    {"a\r.b\r\n", "a\r.b\r\n.\r\n"}, /* nor behind a bare CR */
    {"a\r\r\n.b\r\n", "a\r\r\n..b\r\n.\r\n"},
    {"ends in cr\r", "ends in cr\r\r\n.\r\n"},
};

#define CASES (sizeof cases / sizeof cases[0])

START_TEST(dots_are_doubled_at_line_starts_only)
{
    for (size_t piece = 1; piece <= 8; piece++)
        for (size_t room = DOTSTUFF_MIN_ROOM; room <= 9; room++) {
            stuff(cases[_i].in, piece, room);
            ck_assert_uint_eq(out_bytes, strlen(cases[_i].want));
            ck_assert_mem_eq(out, cases[_i].want, out_bytes);
        }
}
END_TEST

START_TEST(too_little_room_takes_nothing)
{
    struct dotstuff d;
    struct str in = STR("ab");

    dotstuff_init(&d);
    ck_assert_uint_eq(dotstuff_write(&d, &in, out, DOTSTUFF_MIN_ROOM - 1), 0);
    ck_assert_uint_eq(in.n, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dotstuff");
    TCase *tc = tcase_create("writer");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, dots_are_doubled_at_line_starts_only, 0, CASES);
    tcase_add_test(tc, too_little_room_takes_nothing);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
