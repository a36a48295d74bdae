#include "node/idn.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    const char *name, *ascii; /* NULL: refused */
} rows[] = {
    {"Example.COM", "example.com"},
    {"example.com.", "example.com"},
    {"b\xc3\xbc"
     "cher.example",
     "xn--bcher-kva.example"},
    {"B\xc3\x9c"
     "CHER.Example",
     "xn--bcher-kva.example"},
    {"stra\xc3\x9f"
     "e.example",
     "xn--strae-oqa.example"},
    {"\xe4\xbe\x8b\xe5\xad\x90.\xe6\xb5\x8b\xe8\xaf\x95", "xn--fsqu00a.xn--0zwm56d"},
    {"under_score.example", "under_score.example"}, /* the daemon is the judge of ASCII */
    {"", NULL},
    {".", NULL},
    {"\xff.example", NULL},
    {"\xe2\x80\xae.example", NULL},
    {A63 "." A63 "." A63 "." A63 ".com", NULL},
};

START_TEST(names_become_a_labels)
{
    char buf[LIMIT_SMTP_DOMAIN_BYTES + 1];
    const char *why = idn_to_ascii(rows[_i].name, buf);

    ck_assert_msg((why == NULL) == (rows[_i].ascii != NULL), "%s: %s", rows[_i].name,
                  why != NULL ? why : buf);
    if (why == NULL)
        ck_assert_str_eq(buf, rows[_i].ascii);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("idn");
    TCase *t = tcase_create("idn");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_loop_test(t, names_become_a_labels, 0, sizeof rows / sizeof *rows);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
