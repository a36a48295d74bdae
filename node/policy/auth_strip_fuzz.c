/* Any message, fed in any pieces: what stays is what the oracle leaves, which has the whole of
 * it at once; and nothing that claims our id stays in the header. */
#include "base/prng.h"
#include "node/policy/auth_strip.h"
#include "node/policy/auth_strip_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(struct str *want, struct str got)
{
    ASSERT(got.n <= want->n && (got.n == 0 || memcmp(want->p, got.p, got.n) == 0));
    *want = str_from(*want, got.n);
}

static void feed(struct auth_strip *s, struct str piece, struct str *want)
{
    char *copy = malloc(piece.n); /* exact size: a read past it is seen */
    struct str in = {copy, piece.n}, run;

    ASSERT(copy != NULL);
    memcpy(copy, piece.p, piece.n);
    while ((run = auth_strip_next(s, &in)).n > 0)
        expect(want, run);
    ASSERT(in.n == 0);
    free(copy);
}

static void run(struct str in, size_t most, struct prng *rng)
{
    struct auth_strip s;
    uint32_t removed;
    struct str all = oracle_strip(in, &removed), want = all, field;
    size_t in_n = in.n;

    ASSERT(!auth_results_find(all, ORACLE_ID, &field));
    auth_strip_init(&s, ORACLE_ID);
    while (in.n > 0) {
        size_t n = 1 + (size_t)prng_below(rng, most);

        n = n < in.n ? n : in.n;
        feed(&s, str_head(in, n), &want);
        in = str_from(in, n);
    }
    expect(&want, auth_strip_end(&s));
    ASSERT(want.n == 0 && s.removed == removed && s.removed_bytes == in_n - all.n);
    free((char *)(uintptr_t)all.p);
}

/* data[0]: how large the pieces are; data[1]: blanks behind the first name, so that small
 * inputs reach the limit. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char name[] = "Authentication-Results:";
    struct prng rng;
    size_t blanks, n;
    char *in;

    if (size < 2)
        return 0;
    blanks = data[1] < 0x80 ? 0 : LIMIT_AUTH_CLAIM_BYTES - 0xa0 + data[1] - 0x80;
    n = blanks > 0 ? sizeof name - 1 + blanks : 0;
    in = malloc(n + size);
    ASSERT(in != NULL);
    if (n > 0) {
        memcpy(in, name, sizeof name - 1);
        memset(in + sizeof name - 1, ' ', blanks);
    }
    memcpy(in + n, data + 2, size - 2);
    prng_seed(&rng, size);
    run((struct str){in, n + size - 2}, 1 + data[0], &rng);
    free(in);
    return 0;
}
