#include "cluster-tools/cli/parse.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 16

static struct cli_run run;
static struct cli_error why;
static char *argv_of[WORDS_MAX + 1];
static char line_of[1024];

/* A line with single blanks between words; two quotes stand for an empty word. */
static enum err parse(const char *line)
{
    struct str rest;
    int argc = 1;

    ck_assert_uint_lt(strlen(line), sizeof line_of);
    snprintf(line_of, sizeof line_of, "%s", line);
    rest = str_of(line_of);
    argv_of[0] = (char *)"trispool";
    while (rest.n > 0) {
        struct str word = str_split(&rest, ' ');
        char *z = line_of + (word.p - line_of);

        ck_assert_int_lt(argc, WORDS_MAX);
        z[word.n] = 0;
        argv_of[argc++] = strcmp(z, "''") == 0 ? z + 2 : z;
    }
    argv_of[argc] = NULL;
    memset(&why, 0, sizeof why);
    return cli_parse(argc, argv_of, &run, &why);
}

static const struct {
    const char *line, *ask, *args;
} good[] = {
    {"status", "status", "{}"},
    {"-o json status", "status", "{}"},
    {"queue list", "queue.list", "{}"},
    {"queue list --domain Example.COM. --limit 5", "queue.list",
     "{\"domain\":\"example.com\",\"limit\":5}"},
    {"queue list --domain=b\xc3\xbc"
     "cher.example",
     "queue.list", "{\"domain\":\"xn--bcher-kva.example\"}"},
    {"queue list -dexample.com -l 3 --older 1d12h", "queue.list",
     "{\"domain\":\"example.com\",\"limit\":3,\"older_s\":129600}"},
    {"queue list --sender '' --state held", "queue.list",
     "{\"sender\":\"\",\"state\":\"held\"}"},
    {"queue delete A B --yes", "queue.operate", "{\"ids\":[\"A\",\"B\"]}"},
    {"queue hold --all -n", "queue.operate", "{\"all\":true,\"dry_run\":true}"},
    {"queue hold -d example.com", "queue.operate", "{\"domain\":\"example.com\"}"},
    {"message cat --headers X", "message.cat", "{\"headers\":true,\"id\":\"X\"}"},
    {"message cat -- -X", "message.cat", "{\"id\":\"-X\"}"},
    {"domain add example.com --route mx --hold 14d --tls require --eight-bit hold --plan p",
     "domain.add",
     "{\"name\":\"example.com\",\"route\":\"mx\",\"hold_s\":1209600,\"tls\":\"require\","
     "\"eight_bit\":\"hold\",\"plan\":\"p\"}"},
    {"domain set example.com --paused yes --hold 0 --max-connections 0", "domain.set",
     "{\"name\":\"example.com\",\"paused\":true,\"hold_s\":0,\"max_connections\":0}"},
    {"domain set example.com --paused no", "domain.set",
     "{\"name\":\"example.com\",\"paused\":false}"},
    {"cluster add --site 2 --key K= --control h:1 --data h:2", "cluster.add",
     "{\"site\":2,\"key\":\"K=\",\"control\":\"h:1\",\"data\":\"h:2\"}"},
    {"cluster remove 3 --yes", "cluster.remove", "{\"site\":3}"},
    {"cluster move-lease Example.com --to 2", "cluster.move-lease",
     "{\"domain\":\"example.com\",\"to\":2}"},
};

START_TEST(a_command_line_becomes_a_request)
{
    json_t *want = json_loads(good[_i].args, 0, NULL);

    ck_assert_msg(parse(good[_i].line) == OK, "%s: %s", good[_i].line, why.what);
    ck_assert_str_eq(run.command->ask, good[_i].ask);
    ck_assert_msg(json_equal(run.args, want), "%s gave %s", good[_i].line,
                  json_dumps(run.args, 0));
    json_decref(want);
    cli_run_fini(&run);
}
END_TEST

static const struct {
    const char *line, *where;
} bad[] = {
    {"nothing", "nothing"},
    {"queue", "queue"},
    {"queue lst", "lst"},
    {"queue status", "status"},
    {"--output", "--output"},
    {"--output xml status", "--output"},
    {"status --unknown", "--unknown"},
    {"status --domain x", "--domain"},
    {"status extra", "extra"},
    {"-x status", "-x"},
    {"queue show", "ID"},
    {"queue show A B", "B"},
    {"queue list --limit", "--limit"},
    {"queue list --limit -1", "--limit"},
    {"queue list --limit 9x", "--limit"},
    {"queue list --limit 1 --limit 2", "--limit"},
    {"queue list --older 5", "--older"},
    {"queue list --older 5x", "--older"},
    {"queue list --older d", "--older"},
    {"queue list --older ''", "--older"},
    {"queue list --older 99999999999w", "--older"},
    {"queue list --state sleeping", "--state"},
    {"queue list --sender \xff", "--sender"},
    {"queue list --domain \xff", "--domain"},
    {"queue list --domain ''", "--domain"},
    {"queue delete", "ID, --domain, --all"},
    {"queue delete A --all", "ID, --domain, --all"},
    {"queue delete --all --domain example.com", "ID, --domain, --all"},
    {"queue delete --all=yes", "--all=yes"},
    {"queue delete -ay", "-ay"},
    {"domain set x --paused maybe", "--paused"},
    {"domain set x --hold 61d", "--hold"},
    {"generate perl", "WHAT"},
    {"cluster remove 4", "SITE"},
    {"cluster remove one", "SITE"},
    {"cluster remove", "SITE"},
    {"cluster join", "TOKEN"},
};

START_TEST(a_wrong_command_line_says_where)
{
    ck_assert_msg(parse(bad[_i].line) == E_PROTO, "%s", bad[_i].line);
    ck_assert_int_eq(why.exit, 64);
    ck_assert_msg(strcmp(why.where, bad[_i].where) == 0, "%s: %s", bad[_i].line, why.where);
    ck_assert_str_ne(why.what, "");
    ck_assert_str_ne(why.act, "");
}
END_TEST

START_TEST(help_and_version_need_nothing_else)
{
    ck_assert_int_eq(parse("--help"), OK);
    ck_assert(run.help && run.command == NULL);
    cli_run_fini(&run);
    ck_assert_int_eq(parse("queue --help"), OK);
    ck_assert(run.help && run.command == NULL);
    ck_assert_str_eq(run.noun, "queue");
    cli_run_fini(&run);
    ck_assert_int_eq(parse("queue show -h"), OK);
    ck_assert(run.help && run.command != NULL);
    cli_run_fini(&run);
    ck_assert_int_eq(parse("-V"), OK);
    ck_assert(run.version);
    cli_run_fini(&run);
}
END_TEST

START_TEST(options_of_the_tool_are_set)
{
    ck_assert_int_eq(parse("-s /x/y queue delete --all --yes -o jsonl --quiet"), OK);
    ck_assert_str_eq(run.socket, "/x/y");
    ck_assert(run.yes && run.quiet && !run.dry_run && run.output == CLI_OUT_JSONL);
    cli_run_fini(&run);
    ck_assert_int_eq(parse("health --nagios"), OK);
    ck_assert(run.nagios);
    cli_run_fini(&run);
    ck_assert_int_eq(parse("config check some.yaml"), OK);
    ck_assert_str_eq(run.operand, "some.yaml");
    cli_run_fini(&run);
}
END_TEST

/* Programs that ask for JSON get their error as JSON. */
START_TEST(the_form_of_output_is_known_after_an_error)
{
    ck_assert_int_eq(parse("-o json queue lst"), E_PROTO);
    ck_assert_int_eq(run.output, CLI_OUT_JSON);
}
END_TEST

START_TEST(a_thousand_ids_are_the_limit)
{
    enum { IDS = 1001 };
    static char *argv[IDS + 5];

    argv[0] = (char *)"trispool";
    argv[1] = (char *)"queue";
    argv[2] = (char *)"hold";
    for (int i = 3; i < IDS + 3; i++)
        argv[i] = (char *)"A";
    ck_assert_int_eq(cli_parse(IDS + 2, argv, &run, &why), OK);
    ck_assert_uint_eq(json_array_size(json_object_get(run.args, "ids")), 1000);
    cli_run_fini(&run);
    ck_assert_int_eq(cli_parse(IDS + 3, argv, &run, &why), E_PROTO);
}
END_TEST

static const struct {
    const char *text;
    uint64_t max, seconds; /* UINT64_MAX: refused */
} spans[] = {
    {"0", 10, 0},
    {"0d", 10, 0},
    {"10s", 10, 10},
    {"11s", 10, UINT64_MAX},
    {"1m", UINT64_MAX - 1, 60},
    {"2h30m", UINT64_MAX - 1, 9000},
    {"1w", UINT64_MAX - 1, 604800},
    {"18446744073709551615s", UINT64_MAX - 1, UINT64_MAX},
    {"18446744073709551615w", UINT64_MAX - 1, UINT64_MAX},
    {"18446744073709551616s", UINT64_MAX - 1, UINT64_MAX},
    {"1", 10, UINT64_MAX},
    {"1s1", 10, UINT64_MAX},
    {"s", 10, UINT64_MAX},
    {" 1s", 10, UINT64_MAX},
    {"-1s", 10, UINT64_MAX},
    {"1.5s", 10, UINT64_MAX},
};

START_TEST(times_need_units)
{
    uint64_t got = UINT64_MAX;
    bool ok = cli_span_parse(str_of(spans[_i].text), spans[_i].max, &got);

    ck_assert_msg(ok == (spans[_i].seconds != UINT64_MAX), "%s", spans[_i].text);
    if (ok)
        ck_assert_uint_eq(got, spans[_i].seconds);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("parse");
    TCase *t = tcase_create("parse");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_loop_test(t, a_command_line_becomes_a_request, 0, sizeof good / sizeof *good);
    tcase_add_loop_test(t, a_wrong_command_line_says_where, 0, sizeof bad / sizeof *bad);
    tcase_add_test(t, help_and_version_need_nothing_else);
    tcase_add_test(t, options_of_the_tool_are_set);
    tcase_add_test(t, the_form_of_output_is_known_after_an_error);
    tcase_add_test(t, a_thousand_ids_are_the_limit);
    tcase_add_loop_test(t, times_need_units, 0, sizeof spans / sizeof *spans);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
