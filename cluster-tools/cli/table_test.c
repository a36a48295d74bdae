#include "cluster-tools/cli/table.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tools/cli/show.h"

static const struct cli_command *command;

static void check_option(const struct cli_option *o)
{
    ck_assert_ptr_nonnull(o->help);
    ck_assert_msg(o->help[strlen(o->help) - 1] != '.', "--%s: the dot is put by the man page",
                  o->name);
    ck_assert_msg((o->value == NULL) == (o->type == CLI_FLAG), "--%s: value", o->name);
    ck_assert_msg((o->words != NULL) == (o->type == CLI_WORD || o->type == CLI_YESNO),
                  "--%s: words", o->name);
    ck_assert_msg((o->max > 0) == (o->type == CLI_COUNT || o->type == CLI_SPAN), "--%s: max",
                  o->name);
}

START_TEST(every_command_is_whole)
{
    command = cli_command_at((size_t)_i);
    ck_assert_ptr_nonnull(command->summary);
    ck_assert_ptr_eq(cli_find(command->noun, command->verb), command);
    ck_assert((command->ask == NULL) == (command->layout == CLI_LOCAL));
    ck_assert((command->columns != NULL) ==
              (command->layout == CLI_TABLE || command->layout == CLI_RECORD ||
               command->layout == CLI_SUMMARY));
    ck_assert_uint_le(command->column_count, SHOW_COLUMNS);
    for (size_t i = 0; i < command->column_count; i++)
        ck_assert_uint_le(command->columns[i].row_count, SHOW_COLUMNS);
    for (size_t i = 0; i < command->option_count; i++)
        check_option(&command->options[i]);
}
END_TEST

static bool clashes(const struct cli_option *a, const struct cli_option *b)
{
    return strcmp(a->name, b->name) == 0 || (a->letter != 0 && a->letter == b->letter);
}

START_TEST(no_option_stands_twice)
{
    command = cli_command_at((size_t)_i);
    for (size_t i = 0; i < command->option_count; i++) {
        for (size_t k = 0; k < i; k++)
            ck_assert_msg(!clashes(&command->options[i], &command->options[k]), "--%s",
                          command->options[i].name);
        for (size_t k = 0; k < cli_global_count(); k++)
            ck_assert_msg(!clashes(&command->options[i], cli_global_at(k)), "--%s",
                          command->options[i].name);
    }
}
END_TEST

/* What ends something must be able to be asked about, and to be shown first. */
START_TEST(destructive_commands_have_yes_and_dry_run)
{
    bool yes = false, dry_run = false;

    command = cli_command_at((size_t)_i);
    for (size_t i = 0; i < command->option_count; i++) {
        yes |= strcmp(command->options[i].name, "yes") == 0;
        dry_run |= strcmp(command->options[i].name, "dry-run") == 0;
    }
    ck_assert(!command->destructive || (yes && dry_run));
}
END_TEST

START_TEST(words_are_whole_words)
{
    ck_assert(cli_is_word("a|bc|d", "bc"));
    ck_assert(cli_is_word("a|bc|d", "d"));
    ck_assert(!cli_is_word("a|bc|d", "b"));
    ck_assert(!cli_is_word("a|bc|d", ""));
    ck_assert(!cli_is_word("a|bc|d", "a|bc"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("table");
    TCase *t = tcase_create("table");
    SRunner *r = srunner_create(s);
    int failed, count = (int)cli_command_count();

    tcase_add_loop_test(t, every_command_is_whole, 0, count);
    tcase_add_loop_test(t, no_option_stands_twice, 0, count);
    tcase_add_loop_test(t, destructive_commands_have_yes_and_dry_run, 0, count);
    tcase_add_test(t, words_are_whole_words);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
