#include "base/block.h"

#include <check.h>
#include <stdlib.h>

#include "base/prng.h"

static struct block_pool pool;

/* Byte `at` of the list. */
static char byte_of(const struct block_list *l, uint64_t at)
{
    for (const struct block *b = l->first; b != NULL; b = b->next) {
        if (at < b->used)
            return b->data[at];
        at -= b->used;
    }
    ck_abort_msg("past the end");
    return 0;
}

START_TEST(bytes_come_back_in_order_over_block_borders)
{
    struct block_list l = {0};
    struct prng rng;
    uint64_t total = 0;
    char *piece;

    block_pool_init(&pool, 1 << 22);
    prng_seed(&rng, 5);
    for (int i = 0; i < 200; i++) {
        size_t n = (size_t)prng_below(&rng, i % 10 == 0 ? 3 * BLOCK_DATA_BYTES : 100);

        piece = malloc(n > 0 ? n : 1);
        for (size_t k = 0; k < n; k++)
            piece[k] = (char)((total + k) % 251);
        ck_assert(block_append(&pool, &l, (struct str){piece, n}));
        free(piece);
        total += n;
        ck_assert_uint_eq(l.bytes, total);
    }
    for (uint64_t i = 0; i < total; i += 1 + prng_below(&rng, 97))
        ck_assert_int_eq(byte_of(&l, i), (char)(i % 251));
    for (const struct block *b = l.first; b != l.last; b = b->next)
        ck_assert_uint_eq(b->used, BLOCK_DATA_BYTES); /* none half empty in the middle */
    block_list_free(&pool, &l);
    ck_assert_uint_eq(atomic_load(&pool.held), 0);
    ck_assert_ptr_null(l.first);
}
END_TEST

START_TEST(append_at_the_ceiling_adds_nothing)
{
    static char big[3 * BLOCK_DATA_BYTES];
    struct block_list a = {0}, b = {0};
    uint64_t before;

    block_pool_init(&pool, 2 * sizeof(struct block));
    ck_assert(block_append(&pool, &a, STR("x")));
    ck_assert(!block_append(&pool, &a, (struct str){big, sizeof big}));
    ck_assert_uint_eq(a.bytes, 1);
    ck_assert_uint_eq(a.first->used, 1);
    ck_assert_uint_eq(atomic_load(&pool.held), sizeof(struct block));
    ck_assert(block_append(&pool, &b, STR("y")));
    ck_assert(!block_append(&pool, &a, (struct str){big, BLOCK_DATA_BYTES}));
    ck_assert(block_append(&pool, &a, (struct str){big, BLOCK_DATA_BYTES - 1})); /* it fits */
    before = a.bytes;
    ck_assert(!block_append(&pool, &a, STR("z")));
    ck_assert_uint_eq(a.bytes, before);
    ck_assert(block_append(&pool, &a, STR_NONE));
    block_list_free(&pool, &a);
    ck_assert(block_append(&pool, &b, (struct str){big, BLOCK_DATA_BYTES}));
    block_list_free(&pool, &b);
    ck_assert_uint_eq(atomic_load(&pool.held), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("block");
    TCase *tc = tcase_create("block");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, bytes_come_back_in_order_over_block_borders);
    tcase_add_test(tc, append_at_the_ceiling_adds_nothing);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
