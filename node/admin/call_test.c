#include "node/admin/call.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/admin/call_kit.h"

struct out {
    char text[65536];
    size_t n;
};

static void collect(void *to, const char *bytes, size_t count)
{
    struct out *o = to;

    ck_assert_uint_lt(o->n + count, sizeof o->text);
    memcpy(o->text + o->n, bytes, count);
    o->n += count;
    o->text[o->n] = 0;
}

/* Runs a request to its end; what was written. */
static const char *run(struct out *o, struct kit *kit, const char *request)
{
    struct admin_table t = kit_table(kit);
    struct admin_call c = {.sink = {collect, o}, .number = 1, .uid = 5};
    size_t n = strlen(request);
    char *copy = malloc(n > 0 ? n : 1);

    memcpy(copy, request, n);
    o->n = 0;
    o->text[0] = 0;
    if (admin_call_begin(&c, &t, (struct str){copy, n})) {
        free(copy); /* a call must not need the line any more */
        while (admin_call_step(&c) != ADMIN_END)
            ;
        admin_call_end(&c);
    } else {
        free(copy);
    }
    ck_assert_ptr_null(c.command);
    return o->text;
}

#define ECHO(args) "{\"cmd\":\"echo\",\"args\":" args "}"
#define DONE       "{\"done\":true,\"exit\":0,\"rows\":1,\"extra\":1}\n"

static const struct {
    const char *request, *answer;
} good[] = {
    {"{\"cmd\":\"echo\"}", "{\"count\":7,\"flag\":false}\n" DONE},
    {ECHO("{}"), "{\"count\":7,\"flag\":false}\n" DONE},
    {ECHO("{\"text\":\"\"}"), "{\"text\":\"\",\"count\":7,\"flag\":false}\n" DONE},
    {ECHO("{\"text\":\"a\\\\b \\u00e9\\u001b\",\"count\":1000,\"flag\":true}"),
     "{\"text\":\"a\\\\\\\\b \\\\xc3\\\\xa9\\\\x1b\",\"count\":1000,\"flag\":true}\n" DONE},
    {ECHO("{\"list\":[\"x\",\"y\",\"z\"]}"),
     "{\"count\":7,\"flag\":false,\"last\":\"z\"}\n" DONE},
    {" {\"args\": {}, \"cmd\": \"echo\"}\r", "{\"count\":7,\"flag\":false}\n" DONE},
    {"{\"cmd\":\"fail\"}",
     "{\"error\":{\"what\":\"no\\\\x0a\\\\x1b[31m\",\"where\":\"here\"},\"exit\":1}\n"},
};

START_TEST(a_request_is_answered)
{
    struct kit kit = {0};
    struct out o;

    ck_assert_str_eq(run(&o, &kit, good[_i].request), good[_i].answer);
    ck_assert_uint_eq(kit.steps, 1);
}
END_TEST

static const struct {
    const char *request, *where;
} bad[] = {
    {"", "request"},
    {"x", "request"},
    {"[]", "request"},
    {"{}", "request"},
    {"{\"cmd\":5}", "request"},
    {"{\"cmd\":\"nothing\"}", "request"},
    {"{\"cmd\":\"echo\",\"more\":1}", "request"},
    {"{\"cmd\":\"echo\",\"args\":[]}", "request"},
    {"{\"cmd\":\"echo\",\"cmd\":\"echo\"}", "request"},
    {"{\"cmd\":\"echo\"}{}", "request"},
    {"{\"cmd\":\"ec\\u0000ho\"}", "request"},
    {ECHO("{\"unknown\":1}"), "echo"},
    {ECHO("{\"text\":1}"), "text"},
    {ECHO("{\"text\":\"123456789012345678901234567890123\"}"), "text"},
    {ECHO("{\"count\":-1}"), "count"},
    {ECHO("{\"count\":1001}"), "count"},
    {ECHO("{\"count\":1.0}"), "count"},
    {ECHO("{\"count\":99999999999999999999}"), "request"},
    {ECHO("{\"flag\":1}"), "flag"},
    {ECHO("{\"list\":[]}"), "list"},
    {ECHO("{\"list\":\"x\"}"), "list"},
    {ECHO("{\"list\":[1]}"), "list"},
    {ECHO("{\"list\":[\"1\",\"2\",\"3\",\"4\"]}"), "list"},
    {"{\"cmd\":\"many\"}", "count"},
};

START_TEST(a_wrong_request_is_refused_and_says_where)
{
    struct kit kit = {0};
    struct out o;
    json_t *line = json_loads(run(&o, &kit, bad[_i].request), 0, NULL);
    const json_t *error = json_object_get(line, "error");

    ck_assert_msg(error != NULL, "%s", bad[_i].request);
    ck_assert_str_eq(json_string_value(json_object_get(error, "where")), bad[_i].where);
    ck_assert_int_eq(json_integer_value(json_object_get(line, "exit")), ADMIN_EXIT_USAGE);
    ck_assert_uint_eq(kit.steps, 0);
    json_decref(line);
}
END_TEST

START_TEST(rows_are_counted_and_state_is_ended_once)
{
    struct kit kit = {0};
    struct out o;
    const char *text = run(&o, &kit, "{\"cmd\":\"many\",\"args\":{\"count\":3}}");
    size_t lines = 0;

    for (const char *p = text; *p != 0; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, 4);
    ck_assert_ptr_nonnull(strstr(text, "{\"done\":true,\"exit\":0,\"rows\":3}\n"));
    ck_assert_uint_eq(kit.ended, 1);
}
END_TEST

START_TEST(a_call_can_be_ended_before_its_end)
{
    struct kit kit = {0};
    struct admin_table t = kit_table(&kit);
    struct out o = {.n = 0};
    struct admin_call c = {.sink = {collect, &o}};

    ck_assert(admin_call_begin(&c, &t, STR("{\"cmd\":\"many\",\"args\":{\"count\":3}}")));
    ck_assert_int_eq(admin_call_step(&c), ADMIN_AGAIN);
    admin_call_end(&c);
    ck_assert_uint_eq(kit.ended, 1);
}
END_TEST

/* Out of memory for a row must not look like a complete answer. */
START_TEST(a_row_that_is_not_there_is_an_error)
{
    struct kit kit = {0};
    struct admin_table t = kit_table(&kit);
    struct out o = {.n = 0};
    struct admin_call c = {.sink = {collect, &o}};

    ck_assert(admin_call_begin(&c, &t, STR("{\"cmd\":\"many\",\"args\":{\"count\":3}}")));
    admin_emit(&c, NULL);
    admin_emit(&c, json_object());
    ck_assert_int_eq(admin_done(&c, ADMIN_EXIT_OK, json_object()), ADMIN_END);
    ck_assert_ptr_nonnull(strstr(o.text, "\"exit\":75"));
    ck_assert_ptr_null(strstr(o.text, "done"));
    admin_call_end(&c);
}
END_TEST

static const struct {
    int64_t wall_ms;
    const char *text;
} times[] = {
    {1, "\"1970-01-01T00:00:00.001Z\""},
    {1732406400123, "\"2024-11-24T00:00:00.123Z\""},
    {253402300799999, "\"9999-12-31T23:59:59.999Z\""},
    {253402300800000, "null"},
    {0, "null"},
    {-5, "null"},
    {INT64_MAX, "null"},
};

START_TEST(times_are_rfc_3339)
{
    json_t *v = admin_json_time(times[_i].wall_ms);
    char *text = json_dumps(v, JSON_ENCODE_ANY);

    ck_assert_str_eq(text, times[_i].text);
    free(text);
    json_decref(v);
}
END_TEST

START_TEST(every_byte_becomes_printable_ascii)
{
    char all[2048];
    json_t *v;
    const char *text;

    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    v = admin_json_text((struct str){all, sizeof all});
    text = json_string_value(v);
    for (size_t i = 0; i < json_string_length(v); i++)
        ck_assert(text[i] >= 0x20 && text[i] < 0x7f);
    ck_assert_ptr_nonnull(strstr(text, "\\x00\\x01"));
    ck_assert_ptr_nonnull(strstr(text, "[\\\\]"));
    json_decref(v);
}
END_TEST

START_TEST(numbers_above_json_are_cut)
{
    json_t *row = json_object();

    admin_set_u64(row, "n", UINT64_MAX);
    ck_assert_int_eq(json_integer_value(json_object_get(row, "n")), INT64_MAX);
    json_decref(row);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("call");
    TCase *t = tcase_create("call");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_loop_test(t, a_request_is_answered, 0, sizeof good / sizeof *good);
    tcase_add_loop_test(t, a_wrong_request_is_refused_and_says_where, 0,
                        sizeof bad / sizeof *bad);
    tcase_add_test(t, rows_are_counted_and_state_is_ended_once);
    tcase_add_test(t, a_call_can_be_ended_before_its_end);
    tcase_add_test(t, a_row_that_is_not_there_is_an_error);
    tcase_add_loop_test(t, times_are_rfc_3339, 0, sizeof times / sizeof *times);
    tcase_add_test(t, every_byte_becomes_printable_ascii);
    tcase_add_test(t, numbers_above_json_are_cut);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
