/* Scalars: what is written in a file, and what it means. */
#include "base/config_tree.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>

static struct config *config;
static struct config_value value;

static void setup(void)
{
    config = config_from_text("f.yaml", STR(""));
}

static void teardown(void)
{
    config_close(&config);
}

static const char *read_as(enum config_type type, const char *text)
{
    struct config_key row = {.name = "x", .type = type};

    return config_read_value(config, &row, str_of(text), &value);
}

static const struct {
    enum config_type type;
    const char *text;
    uint64_t number;
    const char *printed; /* NULL: as it was read */
} quantities[] = {
    {CONFIG_SIZE, "0KiB", 0, NULL},
    {CONFIG_SIZE, "1kB", 1000, NULL},
    {CONFIG_SIZE, "1KiB", 1024, NULL},
    {CONFIG_SIZE, "3MB", 3000000, NULL},
    {CONFIG_SIZE, "50MiB", 52428800, NULL},
    {CONFIG_SIZE, "5GB", 5000000000, NULL},
    {CONFIG_SIZE, "10 GiB", 10737418240, "10GiB"},
    {CONFIG_SIZE, "2TB", 2000000000000, NULL},
    {CONFIG_SIZE, "1TiB", 1099511627776, NULL},
    {CONFIG_SIZE, "1024GiB", 1099511627776, "1TiB"},
    {CONFIG_SIZE, "16777215TiB", UINT64_MAX - 1099511627775, NULL},
    {CONFIG_DURATION, "0d", 0, "0s"},
    {CONFIG_DURATION, "250ms", 250, NULL},
    {CONFIG_DURATION, "90s", 90000, NULL},
    {CONFIG_DURATION, "120s", 120000, "2m"},
    {CONFIG_DURATION, "5m", 300000, NULL},
    {CONFIG_DURATION, "36h", 129600000, NULL},
    {CONFIG_DURATION, "14d", 1209600000, NULL},
    {CONFIG_INT, "0", 0, NULL},
    {CONFIG_INT, "18446744073709551615", UINT64_MAX, NULL},
};

START_TEST(numbers_mean_what_their_unit_says_and_print_with_the_largest_that_fits)
{
    const char *expected =
        quantities[_i].printed != NULL ? quantities[_i].printed : quantities[_i].text;
    char buf[CONFIG_NUMBER_BYTES];

    ck_assert_ptr_null(read_as(quantities[_i].type, quantities[_i].text));
    ck_assert_uint_eq(value.number, quantities[_i].number);
    ck_assert_str_eq(config_number_text(quantities[_i].type, value.number, buf), expected);
}
END_TEST

static const struct {
    enum config_type type;
    const char *text, *wrong;
} refused[] = {
    {CONFIG_SIZE, "10", "needs a unit: write 10KiB, 10MiB or 10GiB (or kB, MB, GB)"},
    {CONFIG_SIZE, "", "must be a whole number with a unit, such as 10MiB, got ''"},
    {CONFIG_SIZE, "MiB", "must be a whole number with a unit, such as 10MiB, got 'MiB'"},
    {CONFIG_SIZE, "-1MiB", "must be a whole number with a unit, such as 10MiB, got '-1MiB'"},
    {CONFIG_SIZE, "1.5GiB", "must be a whole number with a unit, such as 10MiB, got '1.5GiB'"},
    {CONFIG_SIZE, "1Gib",
     "unknown unit 'Gib' (did you mean 'GiB'?); the units are kB, MB, GB, TB "
     "and KiB, MiB, GiB, TiB"},
    {CONFIG_SIZE, "1 parsec",
     "unknown unit 'parsec'; the units are kB, MB, GB, TB and KiB, MiB, GiB, TiB"},
    {CONFIG_SIZE, "16777216TiB", "16777216TiB is too large"},
    {CONFIG_SIZE, "99999999999999999999999kB", "99999999999999999999999kB is too large"},
    {CONFIG_DURATION, "14", "needs a unit: write 14ms, 14s, 14m, 14h or 14d"},
    {CONFIG_DURATION, "d", "must be a whole number with a unit, such as 14d, got 'd'"},
    {CONFIG_DURATION, "14days", "unknown unit 'days'; the units are ms, s, m, h and d"},
    {CONFIG_DURATION, "1h30m", "unknown unit 'h30m'; the units are ms, s, m, h and d"},
    {CONFIG_DURATION, "14D",
     "unknown unit 'D' (did you mean 'd'?); the units are ms, s, m, h and d"},
    {CONFIG_INT, "1 000", "must be a whole number, got '1 000'"},
    {CONFIG_INT, "0x10", "must be a whole number, got '0x10'"},
    {CONFIG_INT, "18446744073709551616", "18446744073709551616 is too large"},
    {CONFIG_BOOL, "True", "must be true or false, got 'True'"},
    {CONFIG_PATH, "var/lib", "must be an absolute path, got 'var/lib'"},
    {CONFIG_PATH, "", "may not be empty"},
};

START_TEST(what_is_no_such_value_is_refused_with_what_to_write)
{
    ck_assert_str_eq(read_as(refused[_i].type, refused[_i].text), refused[_i].wrong);
}
END_TEST

#define LABEL63 "a23456789-123456789-123456789-123456789-123456789-123456789-123"

static const struct {
    const char *text;
    bool good;
} hostnames[] = {
    {"mx1.example.com", true},
    {"a.b", true},
    {"1.example", true},
    {"xn--bcher-kva.example", true},
    {LABEL63 ".example", true},
    {LABEL63 "." LABEL63 "." LABEL63 "." LABEL63, false}, /* 255 */
    {"a." LABEL63 "." LABEL63 "." LABEL63, true},
    {LABEL63 "4.example", false},
    {"localhost", false},
    {"mx1.example.com.", false},
    {".example.com", false},
    {"a..example", false},
    {"-a.example", false},
    {"a-.example", false},
    {"a_b.example", false},
    {"b\xc3\xbc.example", false},
    {"a b.example", false},
    {"192.0.2.1", false},
    {"a.1", false},
    {"", false},
};

START_TEST(a_host_name_has_two_labels_of_letters_digits_and_hyphens)
{
    ck_assert_int_eq(read_as(CONFIG_HOSTNAME, hostnames[_i].text) == NULL, hostnames[_i].good);
}
END_TEST

static const struct {
    enum config_type type;
    uint16_t port; /* of the row */
    const char *text;
    const char *canonical; /* NULL: refused */
} addresses[] = {
    {CONFIG_IPS, 0, "192.0.2.1", "192.0.2.1"},
    {CONFIG_IPS, 0, "2001:DB8:0::1", "2001:db8::1"},
    {CONFIG_IPS, 0, "[::1]", NULL},
    {CONFIG_IPS, 0, "192.0.2.1:25", NULL},
    {CONFIG_IPS, 0, "192.0.2", NULL},
    {CONFIG_IPS, 0, "192.0.2.01", NULL},
    {CONFIG_IPS, 0, "192.0.2.0/24", NULL},
    {CONFIG_IPS, 0, "", NULL},
    {CONFIG_ADDRESSES, 0, "192.0.2.1:25", "192.0.2.1:25"},
    {CONFIG_ADDRESSES, 0, "[::]:25", "[::]:25"},
    {CONFIG_ADDRESSES, 0, "192.0.2.1", NULL},
    {CONFIG_ADDRESSES, 0, "[::1]", NULL},
    {CONFIG_ADDRESSES, 0, "::1:25", NULL},
    {CONFIG_ADDRESSES, 0, "[192.0.2.1]:25", NULL},
    {CONFIG_ADDRESSES, 0, "[::1:25", NULL},
    {CONFIG_ADDRESSES, 0, "[::1]25", NULL},
    {CONFIG_ADDRESSES, 0, "[::1]:", NULL},
    {CONFIG_ADDRESSES, 0, "192.0.2.1:0", NULL},
    {CONFIG_ADDRESSES, 0, "192.0.2.1:65536", NULL},
    {CONFIG_ADDRESSES, 0, "192.0.2.1:65535", "192.0.2.1:65535"},
    {CONFIG_ADDRESSES, 0, "192.0.2.1:25x", NULL},
    {CONFIG_ADDRESSES, 0, "*:25", NULL},
    {CONFIG_ADDRESSES, 53, "192.0.2.1", "192.0.2.1:53"},
    {CONFIG_ADDRESSES, 53, "::1", "[::1]:53"},
    {CONFIG_ADDRESSES, 53, "[::1]", "[::1]:53"},
    {CONFIG_HOSTS, 25, "Mail.Example", "mail.example:25"},
    {CONFIG_HOSTS, 25, "localhost:2525", "localhost:2525"},
    {CONFIG_HOSTS, 25, "192.0.2.1", "192.0.2.1:25"},
    {CONFIG_HOSTS, 25, "::1", "[::1]:25"},
    {CONFIG_HOSTS, 25, "[::1]:26", "[::1]:26"},
    {CONFIG_HOSTS, 25, "[mail.example]:26", NULL},
    {CONFIG_HOSTS, 25, "[192.0.2.1]:26", NULL},
    {CONFIG_HOSTS, 25, "192.0.2.256", NULL},
    {CONFIG_HOSTS, 25, "mail.example:", NULL},
    {CONFIG_HOSTS, 25, ":25", NULL},
    {CONFIG_HOSTS, 25, "", NULL},
    {CONFIG_HOSTS, 0, "mail.example", NULL},
    {CONFIG_HOSTS, 0, "mail.example:25", "mail.example:25"},
};

START_TEST(an_address_is_read_strictly_and_kept_in_one_form)
{
    struct config_key row = {
        .name = "x", .type = addresses[_i].type, .port = addresses[_i].port};
    const char *wrong = config_read_value(config, &row, str_of(addresses[_i].text), &value);

    if (addresses[_i].canonical == NULL) {
        ck_assert_ptr_nonnull(wrong);
        return;
    }
    ck_assert_ptr_null(wrong);
    ck_assert_str_eq(row.type == CONFIG_HOSTS ? value.host.text : value.address.text,
                     addresses[_i].canonical);
}
END_TEST

START_TEST(an_address_is_ready_for_bind)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&value.address.ss;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&value.address.ss;

    ck_assert_ptr_null(read_as(CONFIG_ADDRESSES, "127.0.0.1:2525"));
    ck_assert_uint_eq(value.address.ss_bytes, sizeof *v4);
    ck_assert_int_eq(v4->sin_family, AF_INET);
    ck_assert_uint_eq(ntohs(v4->sin_port), 2525);
    ck_assert_uint_eq(ntohl(v4->sin_addr.s_addr), INADDR_LOOPBACK);
    ck_assert_ptr_null(read_as(CONFIG_ADDRESSES, "[::1]:2526"));
    ck_assert_uint_eq(value.address.ss_bytes, sizeof *v6);
    ck_assert_uint_eq(ntohs(v6->sin6_port), 2526);
    ck_assert(IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr));
}
END_TEST

static const struct {
    const char *a, *b;
    size_t distance;
} pairs[] = {
    {"", "", 0},
    {"abc", "", 3},
    {"listen", "LISTEN", 0},
    {"listen", "lsiten", 1}, /* a swap is one */
    {"listen", "liste", 1},
    {"listen", "listens", 1},
    {"listen", "lisden", 1},
    {"kitten", "sitting", 3},
    {"ca", "abc", 3}, /* no letter is touched twice */
    {"max_sessions", "max_message", 5},
};

START_TEST(distance_counts_the_slips_of_a_typist)
{
    ck_assert_uint_eq(config_distance(str_of(pairs[_i].a), str_of(pairs[_i].b)),
                      pairs[_i].distance);
    ck_assert_uint_eq(config_distance(str_of(pairs[_i].b), str_of(pairs[_i].a)),
                      pairs[_i].distance);
}
END_TEST

START_TEST(long_words_are_never_similar)
{
    char a[CONFIG_SIMILAR_BYTES + 1];
    size_t d;

    memset(a, 'a', sizeof a);
    ck_assert(!config_similar((struct str){a, sizeof a}, STR("a"), &d));
    ck_assert(!config_similar(STR("a"), (struct str){a, sizeof a}, &d));
    ck_assert_uint_eq(config_distance((struct str){a, sizeof a - 1}, STR("")), sizeof a - 1);
}
END_TEST

/* RFC 3629 section 3: the first and last of each length, and what lies beside. */
static const struct {
    const char *bytes;
    uint32_t character;
    size_t n;
} utf8[] = {
    {"\x7f", 0x7f, 1},
    {"\x80", 0, 0},
    {"\xc1\xbf", 0, 0},
    {"\xc2\x80", 0x80, 2},
    {"\xdf\xbf", 0x7ff, 2},
    {"\xe0\x9f\xbf", 0, 0},
    {"\xe0\xa0\x80", 0x800, 3},
    {"\xed\x9f\xbf", 0xd7ff, 3},
    {"\xed\xa0\x80", 0, 0},
    {"\xed\xbf\xbf", 0, 0},
    {"\xee\x80\x80", 0xe000, 3},
    {"\xef\xbf\xbf", 0xffff, 3},
    {"\xf0\x8f\xbf\xbf", 0, 0},
    {"\xf0\x90\x80\x80", 0x10000, 4},
    {"\xf4\x8f\xbf\xbf", 0x10ffff, 4},
    {"\xf4\x90\x80\x80", 0, 0},
    {"\xf5\x80\x80\x80", 0, 0},
    {"\xff", 0, 0},
    {"\xe2\x82", 0, 0},
    {"\xc3"
     "a",
     0, 0},
};

START_TEST(utf8_is_decoded_strictly)
{
    uint32_t character = 0;

    ck_assert_uint_eq(config_utf8(str_of(utf8[_i].bytes), &character), utf8[_i].n);
    ck_assert_uint_eq(character, utf8[_i].character);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config_value");
    TCase *tc = tcase_create("values");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc,
                        numbers_mean_what_their_unit_says_and_print_with_the_largest_that_fits,
                        0, sizeof quantities / sizeof *quantities);
    tcase_add_loop_test(tc, what_is_no_such_value_is_refused_with_what_to_write, 0,
                        sizeof refused / sizeof *refused);
    tcase_add_loop_test(tc, a_host_name_has_two_labels_of_letters_digits_and_hyphens, 0,
                        sizeof hostnames / sizeof *hostnames);
    tcase_add_loop_test(tc, an_address_is_read_strictly_and_kept_in_one_form, 0,
                        sizeof addresses / sizeof *addresses);
    tcase_add_test(tc, an_address_is_ready_for_bind);
    tcase_add_loop_test(tc, distance_counts_the_slips_of_a_typist, 0,
                        sizeof pairs / sizeof *pairs);
    tcase_add_test(tc, long_words_are_never_similar);
    tcase_add_loop_test(tc, utf8_is_decoded_strictly, 0, sizeof utf8 / sizeof *utf8);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
