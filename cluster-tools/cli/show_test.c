#include "cluster-tools/cli/show.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static char *text, *errors;
static size_t text_bytes, error_bytes;
static FILE *out, *err;
static struct show show;

static void begin(const char *noun, const char *verb, enum cli_output output)
{
    struct cli_run run = {.command = cli_find(noun, verb), .output = output};

    ck_assert_ptr_nonnull(run.command);
    out = open_memstream(&text, &text_bytes);
    err = open_memstream(&errors, &error_bytes);
    show_begin(&show, &run, out, err);
    show.colour = false;
}

static void close_all(void)
{
    fclose(out);
    fclose(err);
}

static void teardown(void)
{
    free(text);
    free(errors);
}

static json_t *row(const char *json)
{
    json_t *v = json_loads(json, 0, NULL);

    ck_assert_ptr_nonnull(v);
    return v;
}

#define GOLD "{\"name\":\"gold\",\"hold_s\":2592000,\"max_connections\":50}"
#define EVIL "{\"name\":\"e\\u001b[2J\\u00fc\",\"hold_s\":60,\"max_connections\":1}"

START_TEST(a_table_has_titles_and_columns)
{
    begin("plan", "list", CLI_OUT_TABLE);
    show_row(&show, row(GOLD));
    show_row(&show, row(EVIL));
    ck_assert_int_eq(show_end(&show, NULL, 0), 0);
    close_all();
    ck_assert_str_eq(text, "PLAN               HOLD  CONNECTIONS\n"
                           "gold                30d           50\n"
                           "e\\x1b[2J\\xc3\\xbc  1m00s            1\n");
}
END_TEST

START_TEST(a_column_that_no_row_has_is_left_out)
{
    begin("queue", "list", CLI_OUT_TABLE);
    show_row(&show, row("{\"id\":\"A\",\"state\":\"held\",\"holder\":null}"));
    show_row(&show, row("{\"id\":\"B\",\"state\":\"dsn\",\"sender\":\"x@y.example\"}"));
    ck_assert_int_eq(show_end(&show, NULL, 0), 0);
    close_all();
    ck_assert_str_eq(text, "ID  STATE  HOLDER  SENDER\n"
                           "A   held        -  -\n"
                           "B   dsn         -  x@y.example\n");
}
END_TEST

START_TEST(an_empty_table_is_nothing)
{
    begin("plan", "list", CLI_OUT_TABLE);
    ck_assert_int_eq(show_end(&show, NULL, 0), 0);
    close_all();
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(a_long_table_is_shown_as_it_comes)
{
    begin("plan", "list", CLI_OUT_TABLE);
    for (int i = 0; i < 3 * SHOW_HELD; i++) {
        show_row(&show, row(GOLD));
        fflush(out);
        ck_assert_int_eq(text_bytes == 0, i + 1 < SHOW_HELD);
    }
    (void)show_end(&show, NULL, 0);
    close_all();
    ck_assert_uint_eq(text_bytes, (3 * SHOW_HELD + 1) * strlen("PLAN  HOLD  CONNECTIONS\n"));
}
END_TEST

START_TEST(json_is_one_object)
{
    json_t *last = row("{\"done\":true,\"exit\":0,\"rows\":2,\"complete\":true}"), *v;

    begin("plan", "list", CLI_OUT_JSON);
    show_row(&show, row(GOLD));
    show_row(&show, row(EVIL));
    ck_assert_int_eq(show_end(&show, last, 0), 0);
    close_all();
    v = row(text);
    ck_assert_int_eq(json_integer_value(json_object_get(v, "schema")), SHOW_SCHEMA);
    ck_assert_str_eq(json_string_value(json_object_get(v, "command")), "plan list");
    ck_assert_uint_eq(json_array_size(json_object_get(v, "items")), 2);
    ck_assert(json_is_true(json_object_get(json_object_get(v, "summary"), "complete")));
    ck_assert_uint_eq(json_object_size(json_object_get(v, "summary")), 1);
    for (const char *p = text; *p != 0; p++)
        ck_assert(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
    json_decref(v);
    json_decref(last);
}
END_TEST

START_TEST(json_without_rows_is_an_object_too)
{
    begin("plan", "list", CLI_OUT_JSON);
    ck_assert_int_eq(show_end(&show, NULL, 1), 1);
    close_all();
    ck_assert_str_eq(
        text,
        "{\"schema\":1,\"command\":\"plan list\",\"items\":[],\"summary\":{},\"exit\":1}\n");
}
END_TEST

START_TEST(json_lines_carry_the_schema)
{
    begin("plan", "list", CLI_OUT_JSONL);
    show_row(&show, row(GOLD));
    (void)show_end(&show, NULL, 0);
    close_all();
    ck_assert_str_eq(
        text, "{\"name\":\"gold\",\"hold_s\":2592000,\"max_connections\":50,\"schema\":1}\n");
}
END_TEST

START_TEST(an_error_says_what_where_and_what_to_do)
{
    struct cli_error why;

    cli_error_set(&why, 69, "here\x1b", "this", "%s", "bad\n");
    begin("plan", "list", CLI_OUT_TABLE);
    show_row(&show, row(GOLD));
    ck_assert_int_eq(show_error(&show, &why), 69);
    close_all();
    ck_assert_str_eq(errors, "trispool: bad\\x0a\n  where: here\\x1b\n  do:    this\n");
    /* Rows that had come are shown. */
    ck_assert_ptr_nonnull(strstr(text, "gold"));
}
END_TEST

START_TEST(an_error_in_json_keeps_the_object_whole)
{
    struct cli_error why;
    json_t *v;

    cli_error_set(&why, 75, "", "", "later \"x\"");
    begin("plan", "list", CLI_OUT_JSON);
    show_row(&show, row(GOLD));
    ck_assert_int_eq(show_error(&show, &why), 75);
    close_all();
    v = row(text);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(v, "error"), "what")),
                     "later \"x\"");
    ck_assert_int_eq(json_integer_value(json_object_get(v, "exit")), 75);
    json_decref(v);
}
END_TEST

START_TEST(an_error_before_any_command_is_json_too)
{
    struct cli_run run = {.output = CLI_OUT_JSONL};
    struct cli_error why;
    json_t *v;

    cli_error_set(&why, 64, "x", "y", "z");
    out = open_memstream(&text, &text_bytes);
    err = open_memstream(&errors, &error_bytes);
    show_begin(&show, &run, out, err);
    ck_assert_int_eq(show_error(&show, &why), 64);
    close_all();
    v = row(text);
    ck_assert_int_eq(json_integer_value(json_object_get(v, "exit")), 64);
    json_decref(v);
}
END_TEST

START_TEST(bytes_come_out_as_they_are)
{
    begin("message", "cat", CLI_OUT_TABLE);
    show_row(&show, row("{\"base64\":\"YQD/Cg==\"}"));
    show_row(&show, row("{\"base64\":\"not base64\"}"));
    show_row(&show, row("{\"other\":1}"));
    (void)show_end(&show, NULL, 0);
    close_all();
    ck_assert_uint_eq(text_bytes, 4);
    ck_assert_mem_eq(text, "a\0\xff\n", 4);
}
END_TEST

START_TEST(a_record_has_its_inner_tables)
{
    begin("queue", "trace", CLI_OUT_TABLE);
    show_row(&show, row("{\"id\":\"X\",\"live\":true,\"sender\":\"\",\"recipients\":"
                        "[{\"recipient\":\"a@b\",\"fate\":\"pending\",\"attempts\":2}],"
                        "\"dsn\":{\"fate\":\"none\"}}"));
    (void)show_end(&show, NULL, 0);
    close_all();
    ck_assert_ptr_nonnull(strstr(text, "still queued:"));
    ck_assert_ptr_nonnull(strstr(text, "sender:                    <>\n"));
    ck_assert_ptr_nonnull(strstr(text, "  a@b        pending      2  "));
    ck_assert_ptr_null(strstr(text, "notification"));
}
END_TEST

START_TEST(a_summary_counts)
{
    json_t *last = row("{\"done\":true,\"exit\":2,\"messages\":12,\"bytes\":2048,"
                       "\"dry_run\":false,\"missing\":[\"A\\u001b\"],\"finished\":false}");

    begin("queue", "delete", CLI_OUT_TABLE);
    ck_assert_int_eq(show_end(&show, last, 2), 2);
    close_all();
    ck_assert_str_eq(text, "delete: 12 messages, 2.0K; ordered, the daemon is still at it\n");
    ck_assert_str_eq(errors, "trispool: not queued: A\\x1b\n");
    json_decref(last);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("show");
    TCase *t = tcase_create("show");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, a_table_has_titles_and_columns);
    tcase_add_test(t, a_column_that_no_row_has_is_left_out);
    tcase_add_test(t, an_empty_table_is_nothing);
    tcase_add_test(t, a_long_table_is_shown_as_it_comes);
    tcase_add_test(t, json_is_one_object);
    tcase_add_test(t, json_without_rows_is_an_object_too);
    tcase_add_test(t, json_lines_carry_the_schema);
    tcase_add_test(t, an_error_says_what_where_and_what_to_do);
    tcase_add_test(t, an_error_in_json_keeps_the_object_whole);
    tcase_add_test(t, an_error_before_any_command_is_json_too);
    tcase_add_test(t, bytes_come_out_as_they_are);
    tcase_add_test(t, a_record_has_its_inner_tables);
    tcase_add_test(t, a_summary_counts);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
