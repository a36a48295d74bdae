/* The bytes of the spool are those of docs/disk-format.md: keys sort as their meaning does, and
 * a checksum belongs to one table, one key and one content. */
#include "spool/spool_format.h"

#include <check.h>
#include <stdlib.h>

static struct str of(const struct spool_key *k)
{
    return (struct str){(const char *)k->b, k->n};
}

START_TEST(keys_have_the_bytes_on_paper)
{
    struct spool_key body = spool_key_body(UINT64_C(0x0102030405060708), 0x090a0b0c);
    struct spool_key mid = spool_key_mid(mid_make(0x0102, UINT64_C(0x030405060708), 0x090a));
    struct spool_key aging = spool_key_aging(0x01020304, mid_make(5, 6, 7));
    struct spool_key format = spool_key_format();

    ck_assert(str_eq(of(&body), STR("\1\2\3\4\5\6\7\x8\x9\xa\xb\xc")));
    ck_assert(str_eq(of(&mid), STR("\1\2\3\4\5\6\7\x8\0\0\0\0\0\0\x9\xa")));
    ck_assert(str_eq(of(&aging), STR("\1\2\3\4\0\5\0\0\0\0\0\6\0\0\0\0\0\0\0\7")));
    ck_assert(str_eq(of(&format), STR("format")));
}
END_TEST

START_TEST(keys_come_back_and_foreign_lengths_do_not)
{
    struct spool_key body = spool_key_body(77, 3),
                     aging = spool_key_aging(9, mid_make(5, 6, 7));
    uint64_t number;
    uint32_t n;
    struct mid id;

    ck_assert(spool_key_to_body(of(&body), &number, &n) && number == 77 && n == 3);
    ck_assert(spool_key_to_aging(of(&aging), &n, &id) && n == 9);
    ck_assert_int_eq(mid_cmp(id, mid_make(5, 6, 7)), 0);
    ck_assert(!spool_key_to_body(of(&aging), &number, &n));
    ck_assert(!spool_key_to_aging(of(&body), &n, &id));
    ck_assert(!spool_key_to_mid(of(&body), &id));
}
END_TEST

START_TEST(a_value_opens_only_in_its_table_under_its_key_unchanged)
{
    struct spool_key key = spool_key_mid(mid_make(1, 2, 3)),
                     other = spool_key_mid(mid_make(1, 2, 4));
    char value[CHECKSUM_BYTES + 5] = "xxxxxxxxhello";
    struct str data;

    spool_value_seal(TABLE_MSG, of(&key), value, 5);
    ck_assert(spool_value_open(TABLE_MSG, of(&key), (struct str){value, sizeof value}, &data));
    ck_assert(str_eq(data, STR("hello")));
    ck_assert(
        !spool_value_open(TABLE_TRACE, of(&key), (struct str){value, sizeof value}, &data));
    ck_assert(
        !spool_value_open(TABLE_MSG, of(&other), (struct str){value, sizeof value}, &data));
    for (size_t n = 0; n < sizeof value; n++)
        ck_assert(!spool_value_open(TABLE_MSG, of(&key), (struct str){value, n}, &data));
    for (size_t bit = 0; bit < 8 * sizeof value; bit++) {
        value[bit / 8] = (char)(value[bit / 8] ^ (1 << bit % 8));
        ck_assert(
            !spool_value_open(TABLE_MSG, of(&key), (struct str){value, sizeof value}, &data));
        value[bit / 8] = (char)(value[bit / 8] ^ (1 << bit % 8));
    }
}
END_TEST

/* A change of these numbers is a change of the format: old spools could not be read. */
START_TEST(checksums_are_those_of_the_first_version)
{
    struct spool_key key = spool_key_body(1, 0);

    ck_assert_uint_eq(spool_checksum(TABLE_BODY, of(&key), STR("hello")),
                      UINT64_C(0x3F73D51ADFBFB795));
    ck_assert_uint_eq(spool_checksum(TABLE_AGING, of(&key), STR_NONE),
                      UINT64_C(0xBE790EBE73C27AEC));
}
END_TEST

START_TEST(a_head_comes_back_and_an_impossible_one_does_not)
{
    char data[MSG_HEAD_BYTES + 1] = {0};
    struct msg_head h = {7, LIMIT_BODY_BYTES, UINT64_C(0xF123456789ABCDEF), COPY_UNDECIDED},
                    back;
    struct str record;

    msg_head_write(&h, data);
    ck_assert(msg_head_read((struct str){data, sizeof data}, &back, &record));
    ck_assert(back.number == h.number && back.bytes == h.bytes && back.digest == h.digest);
    ck_assert_uint_eq(record.n, 1);
    ck_assert(!msg_head_read((struct str){data, MSG_HEAD_BYTES}, &back, &record));
    h.bytes++;
    msg_head_write(&h, data);
    ck_assert(!msg_head_read((struct str){data, sizeof data}, &back, &record));
}
END_TEST

START_TEST(chunks_cover_a_body_exactly)
{
    for (uint64_t bytes = 0; bytes < 3 * CHUNK_DATA_BYTES; bytes += 509) {
        uint64_t sum = 0;

        for (uint32_t i = 0; i < chunk_count(bytes); i++) {
            ck_assert_uint_gt(chunk_bytes(bytes, i), 0);
            sum += chunk_bytes(bytes, i);
        }
        ck_assert_uint_eq(sum, bytes);
    }
    ck_assert_uint_eq(chunk_count(CHUNK_DATA_BYTES), 1);
    ck_assert_uint_eq(chunk_count(CHUNK_DATA_BYTES + 1), 2);
    ck_assert_uint_eq(CHUNK_DATA_BYTES, 4072);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spool format");
    TCase *tc = tcase_create("bytes");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, keys_have_the_bytes_on_paper);
    tcase_add_test(tc, keys_come_back_and_foreign_lengths_do_not);
    tcase_add_test(tc, a_value_opens_only_in_its_table_under_its_key_unchanged);
    tcase_add_test(tc, checksums_are_those_of_the_first_version);
    tcase_add_test(tc, a_head_comes_back_and_an_impossible_one_does_not);
    tcase_add_test(tc, chunks_cover_a_body_exactly);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
