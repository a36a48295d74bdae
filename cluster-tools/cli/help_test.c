#include "cluster-tools/cli/help.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static char *text;
static size_t text_bytes;

static const char *made_by(void (*make)(FILE *out))
{
    FILE *f;

    free(text);
    f = open_memstream(&text, &text_bytes);
    ck_assert_ptr_nonnull(f);
    make(f);
    fclose(f);
    return text;
}

START_TEST(the_man_page_is_what_the_table_says)
{
    FILE *f = fopen(TRISPOOL_SOURCE_DIR "/docs/man/trispool.1.scd", "r");
    static char page[131072];
    size_t n;

    ck_assert_ptr_nonnull(f);
    n = fread(page, 1, sizeof page - 1, f);
    fclose(f);
    page[n] = 0;
    ck_assert_msg(strcmp(made_by(generate_man), page) == 0,
                  "docs/man/trispool.1.scd is old: write it anew with trispool generate man");
}
END_TEST

/* %N and %V in the form: noun and verb. */
static void fill_in(char *head, size_t size, const char *form, const struct cli_command *c)
{
    size_t n = 0;

    for (; *form != 0; form++) {
        if (*form == '%' && n < size)
            n += (size_t)snprintf(head + n, size - n, "%s", *++form == 'N' ? c->noun : c->verb);
        else if (n + 1 < size)
            head[n++] = *form;
    }
    ck_assert_uint_lt(n, size);
    head[n] = 0;
}

static void look_for(const struct cli_command *c, const char *form)
{
    char head[96];

    if (c->noun == NULL)
        snprintf(head, sizeof head, "%s", c->verb);
    else
        fill_in(head, sizeof head, form, c);
    ck_assert_msg(strstr(text, head) != NULL, "'%s' is missing", head);
    for (size_t k = 0; k < c->option_count; k++)
        ck_assert_msg(strstr(text, c->options[k].name) != NULL, "--%s", c->options[k].name);
}

static const struct {
    void (*make)(FILE *out);
    const char *form;
} makers[] = {
    {generate_man, "*trispool %N %V*"},
    {generate_bash, "'%N %V') words="},
    {generate_zsh, "'%N %V') _arguments"},
    {generate_fish, "__trispool_needs_verb %N' -a %V "},
};

START_TEST(every_command_is_in_every_text)
{
    made_by(makers[_i].make);
    for (size_t i = 0; i < cli_command_count(); i++)
        look_for(cli_command_at(i), makers[_i].form);
}
END_TEST

static void whole(FILE *out)
{
    help_overview(out, NULL);
}

static void queue(FILE *out)
{
    help_overview(out, "queue");
}

START_TEST(help_fits_into_eighty_columns)
{
    size_t at = 0;

    made_by(whole);
    for (const char *p = text; *p != 0; p++) {
        at = *p == '\n' ? 0 : at + 1;
        ck_assert_uint_le(at, 80);
        ck_assert_int_ne(*p, '*');
    }
    ck_assert_ptr_nonnull(strstr(text, "domain add"));
    made_by(queue);
    ck_assert_ptr_nonnull(strstr(text, "queue list"));
    ck_assert_ptr_null(strstr(text, "domain add"));
}
END_TEST

static size_t which;

static void one(FILE *out)
{
    help_command(out, cli_command_at(which));
}

START_TEST(help_of_a_command_names_its_options)
{
    which = (size_t)_i;
    made_by(one);
    for (size_t k = 0; k < cli_command_at(which)->option_count; k++)
        ck_assert_ptr_nonnull(strstr(text, cli_command_at(which)->options[k].name));
    ck_assert_ptr_null(strchr(text, '*'));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("help");
    TCase *t = tcase_create("help");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_test(t, the_man_page_is_what_the_table_says);
    tcase_add_loop_test(t, every_command_is_in_every_text, 0, sizeof makers / sizeof *makers);
    tcase_add_test(t, help_fits_into_eighty_columns);
    tcase_add_loop_test(t, help_of_a_command_names_its_options, 0, (int)cli_command_count());
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    free(text);
    return failed != 0;
}
