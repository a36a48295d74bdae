/* trispool.yaml: what it says, what is refused, and that the documents say the same. */
#include "node/config.h"

#include <check.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"

#define MINIMAL                                                                                \
    "site: 1\n"                                                                                \
    "hostname: MX1.example.com\n"                                                              \
    "copies: 1\n"                                                                              \
    "postmaster: admin@example.com\n"

#define MEMBER "site: 1\nhostname: a.example\npostmaster: a@b.example\ncopies: 2\n"

static struct node_config *config;
static char *printed;
static size_t printed_bytes;
static FILE *sink;

static void setup(void)
{
    sink = open_memstream(&printed, &printed_bytes);
    ck_assert_ptr_nonnull(sink);
}

static void teardown(void)
{
    fclose(sink);
    free(printed);
    node_config_free(&config);
}

static const char *text_so_far(void)
{
    fflush(sink);
    return printed;
}

static void expect_loads(const char *text)
{
    ck_assert_msg(node_config_from_text("f.yaml", str_of(text), &config, sink) == OK, "%s",
                  text_so_far());
}

START_TEST(four_lines_are_a_configuration)
{
    expect_loads(MINIMAL);
    ck_assert_uint_eq(config->site, 1);
    ck_assert_str_eq(config->hostname, "mx1.example.com");
    ck_assert_str_eq(config->cluster, "trispool");
    ck_assert_uint_eq(config->copies, 1);
    ck_assert(!config->near_sites);
    ck_assert_ptr_null(config->peers.control);
    ck_assert_ptr_null(config->peers.data);
    ck_assert_str_eq(config->data_dir, "/var/lib/trispool");
    ck_assert_str_eq(config->control_socket, "/run/trispool/control.sock");
    ck_assert_str_eq(config->postmaster, "admin@example.com");
    ck_assert_uint_eq(config->hold_ms, LIMIT_HOLD_DEFAULT_S * UINT64_C(1000));
    ck_assert_uint_eq(config->smtp.listen.n, 2);
    ck_assert_uint_eq(config->smtp.threads, 2);
    ck_assert_uint_eq(config->smtp.max_sessions, LIMIT_SMTP_SESSIONS);
    ck_assert_uint_eq(config->smtp.max_sessions_per_client, LIMIT_SMTP_SESSIONS_PER_CLIENT);
    ck_assert_uint_eq(config->smtp.max_message_bytes, LIMIT_BODY_BYTES);
    ck_assert(!config->smtp.require_tls);
    ck_assert_ptr_null(config->smtp.tls_certificate_file);
    ck_assert_str_eq(config->delivery.helo, "mx1.example.com");
    ck_assert_str_eq(config->authserv_id, "trispool");
    ck_assert_uint_eq(config->delivery.own_names.n, 1);
    ck_assert_uint_eq(config->delivery.max_connections, LIMIT_CONNS_PER_DEST);
    ck_assert_uint_eq(config->delivery.dsn_route.n, 0);
    ck_assert(!config->delivery.allow_private_addresses);
    ck_assert_uint_eq(config->spool.quota_bytes, 10 * GiB);
    ck_assert_uint_eq(config->spool.map_bytes, 1024 * GiB);
    ck_assert_uint_eq(config->spool.scrub_rate_bytes, MiB);
    ck_assert_uint_eq(config->dns.servers.n, 0);
    ck_assert_int_eq(config->log.level, LOG_INFO);
}
END_TEST

START_TEST(the_levels_are_those_of_the_log)
{
    static const char *const names[] = {"debug", "info", "notice", "warn", "error", "alarm"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[256];

        snprintf(text, sizeof text, MINIMAL "log: {level: %s}\n", names[i]);
        expect_loads(text);
        ck_assert_int_eq(config->log.level, LOG_DEBUG + (int)i);
        node_config_free(&config);
    }
    ck_assert_int_eq(LOG_ALARM, 5);
}
END_TEST

START_TEST(the_own_names_have_hostname_and_helo_once)
{
    expect_loads(MINIMAL "delivery:\n"
                         "  helo: out.example.com\n"
                         "  own_names: [mx2.example.com, mx1.example.com]\n");
    ck_assert_uint_eq(config->delivery.own_names.n, 3);
    ck_assert_str_eq(config->delivery.own_names.v[0], "mx2.example.com");
    ck_assert_str_eq(config->delivery.own_names.v[1], "mx1.example.com");
    ck_assert_str_eq(config->delivery.own_names.v[2], "out.example.com");
}
END_TEST

START_TEST(a_member_of_a_cluster_names_its_own_sockets)
{
    expect_loads(MEMBER "near_sites: true\n"
                        "peers: {control: 'node1:7301', data: '[2001:db8::1]:7302'}\n");
    ck_assert_uint_eq(config->copies, 2);
    ck_assert(config->near_sites);
    ck_assert_str_eq(config->peers.control, "node1:7301");
    ck_assert_str_eq(config->peers.data, "[2001:db8::1]:7302");
}
END_TEST

/* --- mistakes --- */

START_TEST(six_mistakes_are_six_errors_with_their_positions)
{
    enum err e = node_config_from_text("trispool.yaml",
                                       STR("# a file with six different mistakes\n"
                                           "site: 4\n"
                                           "hostnme: mx1.example.com\n"
                                           "hostname: mx1.example.com\n"
                                           "copies: two\n"
                                           "postmaster: admin@example.com\n"
                                           "smtp:\n"
                                           "  listen:\n"
                                           "    - '0.0.0.0:25'\n"
                                           "    - '127.0.0.1'\n"
                                           "  max_message: 10\n"
                                           "hold: 14d\n"
                                           "hold: 10d\n"),
                                       &config, sink);

    ck_assert_int_eq(e, E_PROTO);
    ck_assert_ptr_null(config);
    ck_assert_str_eq(
        text_so_far(),
        "trispool.yaml:2:7: site: must be between 1 and 3, got 4\n"
        "    2 | site: 4\n"
        "      |       ^\n"
        "trispool.yaml:3:1: unknown key 'hostnme' (did you mean 'hostname'?)\n"
        "    3 | hostnme: mx1.example.com\n"
        "      | ^\n"
        "trispool.yaml:5:9: copies: must be a whole number, got 'two'\n"
        "    5 | copies: two\n"
        "      |         ^\n"
        "trispool.yaml:10:7: smtp.listen: must be ADDRESS:PORT such as 192.0.2.1:25 or "
        "'[2001:db8::1]:25', got '127.0.0.1'\n"
        "   10 |     - '127.0.0.1'\n"
        "      |       ^\n"
        "trispool.yaml:11:16: smtp.max_message: needs a unit: write 10KiB, 10MiB or 10GiB (or "
        "kB, MB, GB)\n"
        "   11 |   max_message: 10\n"
        "      |                ^\n"
        "trispool.yaml:13:1: hold: is set twice, first in line 12\n"
        "   13 | hold: 10d\n"
        "      | ^\n");
}
END_TEST

static const struct {
    const char *text, *first_line;
} refused[] = {
    {"", "f.yaml:1:1: site: is required and missing (number of this site in the fleet, another "
         "one on each node)"},
    {MEMBER,
     "f.yaml:1:1: peers.control: is missing: copies: 2 makes this node a member of a cluster, "
     "which the others reach at peers.control and peers.data"},
    {MEMBER "peers:\n  control: '192.0.2.1:7301'\n",
     "f.yaml:5:1: peers.data: is missing: copies: 2 makes this node a member of a cluster, "
     "which "
     "the others reach at peers.control and peers.data"},
    {MEMBER "peers: {control: '192.0.2.1:7301', data: '192.0.2.1:7301'}\n",
     "f.yaml:5:42: peers.data: is the same as peers.control; give it another port"},
    {MEMBER "peers: {control: '192.0.2.1:7301', data: '192.0.2.1'}\n",
     "f.yaml:5:42: peers.data: must be ADDRESS:PORT such as 192.0.2.1:7301 or "
     "'[2001:db8::1]:7301'"},
    {MEMBER "peers: {control: '192.0.2.1:7301', data: '192.0.2.1:7302'}\n", NULL},
    {MINIMAL "near_sites: yes\n", "f.yaml:5:13: near_sites: must be true or false, got 'yes'"},
    {MINIMAL "peers: {data: '192.0.2.1:7302'}\n",
     "f.yaml:5:15: peers.data: a lone node (copies: 1) has no peers; write copies: 2 for a "
     "member "
     "of a cluster, or leave it out"},
    {"site: 1\nhostname: a.example\npostmaster: a@b.example\ncopies: 3\n",
     "f.yaml:4:9: copies: must be between 1 and 2, got 3"},
    {MINIMAL "cluster: My Fleet\n",
     "f.yaml:5:10: cluster: must be of lower-case letters, digits and hyphens"},
    {MINIMAL "authserv_id: a..b\n", "f.yaml:5:14: authserv_id: must be a name of lower-case "
                                    "letters, digits, hyphens and inner "
                                    "dots"},
    {MINIMAL "authserv_id: mx.\n", "f.yaml:5:14: authserv_id: must be a name of lower-case "
                                   "letters, digits, hyphens and inner "
                                   "dots"},
    {MINIMAL "authserv_id: 'mx;x'\n", "f.yaml:5:14: authserv_id: must be a name of lower-case "
                                      "letters, digits, hyphens and inner "
                                      "dots"},
    {MINIMAL "hold: 23h\n", "f.yaml:5:7: hold: must be between 1d and 60d, got 23h"},
    {MINIMAL "hold: 61d\n", "f.yaml:5:7: hold: must be between 1d and 60d, got 61d"},
    {MINIMAL "smtp: {listen: []}\n", "f.yaml:5:16: smtp.listen: names no address"},
    {MINIMAL "smtp: {listen: ['127.0.0.1:25', '127.0.0.1:25']}\n",
     "f.yaml:5:33: smtp.listen: is in the list already"},
    {MINIMAL "smtp: {threads: 65}\n",
     "f.yaml:5:17: smtp.threads: must be between 1 and 64, got 65"},
    {MINIMAL "smtp: {max_message: 51MiB}\n",
     "f.yaml:5:21: smtp.max_message: must be between 64KiB and 50MiB, got 51MiB"},
    {MINIMAL "smtp: {tls_certificate_file: /c.pem}\n",
     "f.yaml:5:30: smtp.tls_certificate_file: needs smtp.tls_key_file"},
    {MINIMAL "smtp: {tls_key_file: /k.pem}\n",
     "f.yaml:5:22: smtp.tls_key_file: needs smtp.tls_certificate_file"},
    {MINIMAL "smtp:\n  require_tls: true\n",
     "f.yaml:6:16: smtp.require_tls: needs smtp.tls_certificate_file"},
    {MINIMAL "smtp:\n  max_sessions: 10\n",
     "f.yaml:6:17: smtp.max_sessions: must be at least smtp.max_sessions_per_client (50)"},
    {MINIMAL "smtp:\n  max_sessions_per_client: 1001\n",
     "f.yaml:6:28: smtp.max_sessions_per_client: must be at most smtp.max_sessions (1000)"},
    {MINIMAL "spool: {quota: 1TiB}\n",
     "f.yaml:5:16: spool.quota: must be at most 7/8 of spool.map (1TiB)"},
    {MINIMAL "spool: {map: 8GiB}\n",
     "f.yaml:5:14: spool.map: must be at least 8/7 of spool.quota (10GiB)"},
    {MINIMAL "spool: {map: 128GB, quota: 1MiB}\n", NULL},
    {MINIMAL "spool: {map: 1000001kB}\n", "f.yaml:5:14: spool.map: must be a multiple of 4KiB"},
    {MINIMAL "dns: {servers: [localhost]}\n",
     "f.yaml:5:17: dns.servers: must be ADDRESS:PORT such as 192.0.2.1:25 or "
     "'[2001:db8::1]:25', got 'localhost'"},
    {MINIMAL "delivery: {own_addresses: [192.0.2.1:25]}\n",
     "f.yaml:5:28: delivery.own_addresses: must be an IP address such as 192.0.2.1 or "
     "2001:db8::1, got '192.0.2.1:25'"},
    {MINIMAL "delivery: {dsn_route: relay}\n", "f.yaml:5:23: delivery.dsn_route: must be a "
                                               "list ('- VALUE' on a line of its own for each) "
                                               "or mx"},
    {MINIMAL "dnsbl: {lists: none, threshold: 1000}\n", NULL},
    {MINIMAL "dnsbl: {lists: [a.example=127.0.0.2, b.example=127.0.0.2*-1]}\n", NULL},
    {MINIMAL "dnsbl: {lists: [a.example=127.0.0.2*0]}\n",
     "f.yaml:5:17: dnsbl.lists: must have weights such as *2 or *-1, between -1000 and 1000 "
     "and "
     "not 0"},
    {MINIMAL "dnsbl: {lists: [a.example=127.0.0.2, A.example=127.0.0.3]}\n",
     "f.yaml:5:38: dnsbl.lists: the zone stands there twice"},
    {MINIMAL "dnsbl: {lists: [a.b=127.0.0.2, b.b=127.0.0.2, c.b=127.0.0.2, d.b=127.0.0.2, "
             "e.b=127.0.0.2, f.b=127.0.0.2, g.b=127.0.0.2, h.b=127.0.0.2, i.b=127.0.0.2]}\n",
     "f.yaml:5:16: dnsbl.lists: has more than 8 lists"},
    {MINIMAL "dnsbl: {lists: all}\n", "f.yaml:5:16: dnsbl.lists: must be a list ('- VALUE' on "
                                      "a line of its own for each) or none"},
    {MINIMAL "dnsbl: {threshold: 0}\n",
     "f.yaml:5:20: dnsbl.threshold: must be between 1 and 1000, got 0"},
    {MINIMAL "log: {level: warning}\n",
     "f.yaml:5:14: log.level: must be one of debug, info, notice, warn, error, alarm, got "
     "'warning'"},
};

START_TEST(a_file_that_contradicts_itself_is_refused_where_it_does)
{
    enum err e = node_config_from_text("f.yaml", str_of(refused[_i].text), &config, sink);

    if (refused[_i].first_line == NULL) {
        ck_assert_msg(e == OK, "%s", text_so_far());
        return;
    }
    ck_assert_int_eq(e, E_PROTO);
    text_so_far();
    ck_assert_ptr_nonnull(strchr(printed, '\n'));
    *strchr(printed, '\n') = 0;
    ck_assert_str_eq(printed, refused[_i].first_line);
}
END_TEST

static const char *const half_right[] = {
    MINIMAL "spool: {quota: 10Mib, map: 1GiB}\n",
    MINIMAL "spool: {quota: 2TiB, map: 4}\n",
    MINIMAL "smtp: {max_sessions: 10, max_sessions_per_client: x}\n",
    MINIMAL "smtp: {max_sessions: x, max_sessions_per_client: 2000}\n",
};

START_TEST(a_refused_value_is_not_compared_with_others)
{
    ck_assert_int_eq(node_config_from_text("f.yaml", str_of(half_right[_i]), &config, sink),
                     E_PROTO);
    ck_assert_ptr_null(strstr(text_so_far(), "must be at least"));
    ck_assert_ptr_null(strstr(printed, "must be at most"));
}
END_TEST

static const struct {
    const char *address;
    bool good;
} mailboxes[] = {
    {"admin@example.com", true},
    {"a.b+c@example.com", true},
    {"root@localhost", true},
    {"admin", false},
    {"@example.com", false},
    {"admin@", false},
    {"a@b@example.com", false},
    {".a@example.com", false},
    {"a..b@example.com", false},
    {"a.@example.com", false},
    {"a b@example.com", false},
    {"a@-b.example", false},
    {"a@example.com.", false},
    {"a@b..example", false},
    {"a@b_c.example", false},
    {"<a@example.com>", false},
    {"\xc3\xa4@example.com", false},
    {"a123456789b123456789c123456789d123456789e123456789f123456789g123@a.example", true},
    {"a123456789b123456789c123456789d123456789e123456789f123456789g1234@a.example", false},
};

static const struct {
    const char *address;
    bool good;
} endpoints[] = {
    {"192.0.2.1:7301", true}, {"[::1]:7301", true},         {"node-1.example:65535", true},
    {"0.0.0.0:1", true},      {"192.0.2.1", false},         {":7301", false},
    {"192.0.2.1:0", false},   {"192.0.2.1:07301", false},   {"192.0.2.1:65536", false},
    {"192.0.2.1:x", false},   {"::1:7301", false},          {"[]:7301", false},
    {"[::1]7301", false},     {"tcp://192.0.2.1:1", false}, {"a b:7301", false},
    {"192.0.2.1:", false},
};

START_TEST(the_own_sockets_have_an_address_and_a_port)
{
    char text[256];
    enum err e;

    snprintf(text, sizeof text, MEMBER "peers:\n  control: 'h:1'\n  data: '%s'\n",
             endpoints[_i].address);
    e = node_config_from_text("f.yaml", str_of(text), &config, sink);
    ck_assert_int_eq(e == OK, endpoints[_i].good);
    ck_assert_int_eq(strstr(text_so_far(), "f.yaml:7:9: peers.data: must be ADDRESS") != NULL,
                     !endpoints[_i].good);
}
END_TEST

START_TEST(postmaster_is_a_mail_address)
{
    char text[256];
    enum err e;

    snprintf(text, sizeof text, "site: 1\nhostname: a.example\ncopies: 1\npostmaster: '%s'\n",
             mailboxes[_i].address);
    e = node_config_from_text("f.yaml", str_of(text), &config, sink);
    ck_assert_int_eq(e == OK, mailboxes[_i].good);
    ck_assert_int_eq(strstr(text_so_far(), "f.yaml:4:13: postmaster: must be a mail address") !=
                         NULL,
                     !mailboxes[_i].good);
}
END_TEST

START_TEST(the_path_of_the_control_socket_fits_into_its_address)
{
    char text[512];

    snprintf(text, sizeof text, MINIMAL "control_socket: /%0106d\n", 0);
    expect_loads(text);
    node_config_free(&config);
    snprintf(text, sizeof text, MINIMAL "control_socket: /%0107d\n", 0);
    ck_assert_int_eq(node_config_from_text("f.yaml", str_of(text), &config, sink), E_PROTO);
}
END_TEST

/* --- --check --- */

START_TEST(check_reads_the_file_and_nothing_that_it_names)
{
    static char path[] = "/tmp/trispool_check_XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");

    ck_assert_ptr_nonnull(f);
    fputs(MINIMAL
          "data_dir: /nowhere/at/all\n"
          "smtp: {tls_certificate_file: /nowhere/c.pem, tls_key_file: /nowhere/k.pem}\n"
          "delivery: {tls_ca_file: /nowhere/ca.pem, dsn_route: [no-such-host.invalid]}\n",
          f);
    fclose(f);
    ck_assert_int_eq(node_config_check(path, sink), 0);
    ck_assert_ptr_nonnull(strstr(text_so_far(), ": ok\n"));
    f = fopen(path, "a");
    fputs("site: 2\n", f);
    fclose(f);
    ck_assert_int_eq(node_config_check(path, sink), NODE_CONFIG_EXIT_BAD);
    ck_assert_ptr_nonnull(strstr(text_so_far(), ":8:1: site: is set twice, first in line 1\n"));
    unlink(path);
    ck_assert_int_eq(node_config_check(path, sink), NODE_CONFIG_EXIT_BAD);
}
END_TEST

/* --- printing and comparing --- */

START_TEST(the_effective_values_are_a_file_of_the_same_meaning)
{
    struct node_config *again;
    struct config_change changes[NODE_CONFIG_KEYS_MAX];
    char *first;

    expect_loads(MINIMAL "delivery: {own_names: [mx2.example.com], dsn_route: [relay]}\n");
    node_config_print(config, sink);
    first = strdup(text_so_far());
    ck_assert_int_eq(node_config_from_text("p.yaml", str_of(first), &again, sink), OK);
    ck_assert_uint_eq(
        node_config_diff(config, again, changes, sizeof changes / sizeof *changes), 0);
    ck_assert_ptr_nonnull(strstr(first, "\n  helo: mx1.example.com\n"));
    ck_assert_ptr_nonnull(strstr(first, "\n    - 'relay:25'\n"));
    node_config_free(&again);
    free(first);
}
END_TEST

START_TEST(a_change_says_whether_it_waits_for_a_restart)
{
    struct node_config *after;
    struct config_change changes[NODE_CONFIG_KEYS_MAX];

    expect_loads(MINIMAL);
    ck_assert_int_eq(
        node_config_from_text("g.yaml", STR(MINIMAL "smtp: {threads: 4, max_message: 1MiB}\n"),
                              &after, sink),
        OK);
    ck_assert_uint_eq(node_config_diff(config, after, changes, NODE_CONFIG_KEYS_MAX), 2);
    ck_assert_str_eq(changes[0].key, "smtp.threads");
    ck_assert(changes[0].restart);
    ck_assert_str_eq(changes[1].key, "smtp.max_message");
    ck_assert(!changes[1].restart);
    node_config_free(&after);
}
END_TEST

/* --- documents --- */

START_TEST(the_example_loads)
{
    ck_assert_msg(node_config_load(TRISPOOL_SOURCE_DIR "/docs/trispool.yaml.example", &config,
                                   sink) == OK,
                  "%s", text_so_far());
}
END_TEST

/* The keys it leaves commented out are there with their defaults: without the '#' it is still a
 * configuration, and only what must be unset or has no default differs. */
START_TEST(the_example_is_right_about_the_defaults)
{
    static const char *const filled_in[] = {"smtp.tls_certificate_file", "smtp.tls_key_file",
                                            "smtp.policy_server", "delivery.tls_ca_file"};
    struct node_config *full;
    struct config_change changes[NODE_CONFIG_KEYS_MAX];
    FILE *f = fopen(TRISPOOL_SOURCE_DIR "/docs/trispool.yaml.example", "r");
    char text[8192] = "", line[256];
    size_t n = 0;

    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL) {
        char *hash = strchr(line, '#'), *colon = strchr(line, ':');
        bool is_key =
            hash != NULL && colon != NULL &&
            strspn(hash + 2, "abcdefghijklmnopqrstuvwxyz_") == (size_t)(colon - hash - 2);

        if (is_key)
            memmove(hash, hash + 2, strlen(hash + 2) + 1);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", line);
        ck_assert_uint_lt(n, sizeof text);
    }
    fclose(f);
    ck_assert_msg(node_config_from_text("full", str_of(text), &full, sink) == OK, "%s",
                  text_so_far());
    ck_assert_int_eq(
        node_config_load(TRISPOOL_SOURCE_DIR "/docs/trispool.yaml.example", &config, sink), OK);
    ck_assert_uint_eq(node_config_diff(config, full, changes, NODE_CONFIG_KEYS_MAX),
                      sizeof filled_in / sizeof *filled_in);
    for (size_t i = 0; i < sizeof filled_in / sizeof *filled_in; i++)
        ck_assert_str_eq(changes[i].key, filled_in[i]);
    node_config_free(&full);
}
END_TEST

START_TEST(the_reference_is_what_the_table_says)
{
    FILE *f = fopen(TRISPOOL_SOURCE_DIR "/docs/configuration.md", "r");
    static char page[65536];
    size_t n;

    ck_assert_ptr_nonnull(f);
    n = fread(page, 1, sizeof page - 1, f);
    fclose(f);
    page[n] = 0;
    node_config_print_reference(sink);
    ck_assert_msg(strcmp(text_so_far(), page) == 0,
                  "docs/configuration.md is old: write it anew with config-reference");
}
END_TEST

static void add_cases(TCase *tc)
{
    tcase_add_test(tc, four_lines_are_a_configuration);
    tcase_add_test(tc, the_levels_are_those_of_the_log);
    tcase_add_test(tc, the_own_names_have_hostname_and_helo_once);
    tcase_add_test(tc, a_member_of_a_cluster_names_its_own_sockets);
    tcase_add_test(tc, six_mistakes_are_six_errors_with_their_positions);
    tcase_add_loop_test(tc, a_file_that_contradicts_itself_is_refused_where_it_does, 0,
                        sizeof refused / sizeof *refused);
    tcase_add_loop_test(tc, a_refused_value_is_not_compared_with_others, 0,
                        sizeof half_right / sizeof *half_right);
    tcase_add_loop_test(tc, the_own_sockets_have_an_address_and_a_port, 0,
                        sizeof endpoints / sizeof *endpoints);
    tcase_add_loop_test(tc, postmaster_is_a_mail_address, 0,
                        sizeof mailboxes / sizeof *mailboxes);
    tcase_add_test(tc, the_path_of_the_control_socket_fits_into_its_address);
    tcase_add_test(tc, check_reads_the_file_and_nothing_that_it_names);
    tcase_add_test(tc, the_effective_values_are_a_file_of_the_same_meaning);
    tcase_add_test(tc, a_change_says_whether_it_waits_for_a_restart);
    tcase_add_test(tc, the_example_loads);
    tcase_add_test(tc, the_example_is_right_about_the_defaults);
    tcase_add_test(tc, the_reference_is_what_the_table_says);
}

int main(void)
{
    Suite *suite = suite_create("node_config");
    TCase *tc = tcase_create("file");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    add_cases(tc);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
