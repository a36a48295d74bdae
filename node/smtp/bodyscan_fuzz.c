/* Any bytes, fed whole and in pieces: the same body, the same end, the same complaint; and a
 * body that is stuffed again is read again as itself. */
#include <stdlib.h>

#include "base/limits.h"
#include "base/prng.h"
#include "node/smtp/bodyscan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    struct bodyscan scan;
    char *body;
    size_t n, consumed;
};

/* Feeds in, in pieces of 1 to `most` bytes, each a heap block of its very size. */
static struct result scan(struct str in, uint64_t max_body_bytes, size_t most, struct prng *rng)
{
    struct result r = {.body = malloc(in.n > 0 ? in.n : 1)};

    ASSERT(r.body != NULL);
    bodyscan_init(&r.scan, max_body_bytes);
    while (in.n > 0 && !r.scan.done) {
        size_t n = most < in.n ? 1 + (size_t)prng_below(rng, most) : in.n;
        char *copy = malloc(n);
        struct str piece = {copy, n}, span;

        ASSERT(copy != NULL);
        memcpy(copy, in.p, n);
        while ((span = bodyscan_next(&r.scan, &piece)).n > 0) {
            ASSERT(!r.scan.done && r.scan.violation == BODY_CLEAN);
            memcpy(r.body + r.n, span.p, span.n);
            r.n += span.n;
        }
        ASSERT(r.scan.done || piece.n == 0);
        r.consumed += n - piece.n;
        in = str_from(in, n);
        free(copy);
    }
    ASSERT(r.scan.violation != BODY_CLEAN || r.scan.body_bytes == r.n);
    return r;
}

static void check_same(const struct result *a, const struct result *b)
{
    ASSERT(a->scan.done == b->scan.done && a->consumed == b->consumed);
    ASSERT(a->scan.violation == b->scan.violation);
    if (a->scan.violation != BODY_CLEAN)
        return;
    ASSERT(str_eq((struct str){a->body, a->n}, (struct str){b->body, b->n}));
    ASSERT(a->scan.eight_bit_bytes == b->scan.eight_bit_bytes);
}

/* The body with dots put in and the end put on; room for twice its bytes and 5. */
static size_t stuff(struct str body, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < body.n; i++) {
        if (body.p[i] == '.' && (i == 0 || body.p[i - 1] == '\n'))
            out[n++] = '.';
        out[n++] = body.p[i];
    }
    memcpy(out + n, ".\r\n", 3);
    return n + 3;
}

static void check_round_trip(const struct result *r, struct prng *rng)
{
    char *stuffed = malloc(2 * r->n + 5);
    struct result again;
    size_t n;

    ASSERT(stuffed != NULL);
    n = stuff((struct str){r->body, r->n}, stuffed);
    again = scan((struct str){stuffed, n}, LIMIT_BODY_BYTES, 9, rng);
    ASSERT(again.scan.done && again.consumed == n && again.scan.violation == BODY_CLEAN);
    ASSERT(str_eq((struct str){again.body, again.n}, (struct str){r->body, r->n}));
    free(again.body);
    free(stuffed);
}

/* data[0]: how often the rest is repeated, so that small inputs reach the limits of lines;
 * data[1]: the size limit of the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t times, n;
    struct prng rng;
    struct result whole, pieces;
    uint64_t max_body_bytes;
    char *in;

    if (size < 3)
        return 0;
    times = data[0] < 0xc0 ? 1 : (size_t)data[0] - 0xbe;
    max_body_bytes = data[1] < 0x40 ? data[1] : LIMIT_BODY_BYTES;
    n = (size - 2) * times;
    in = malloc(n);
    ASSERT(in != NULL);
    for (size_t i = 0; i < times; i++)
        memcpy(in + i * (size - 2), data + 2, size - 2);
    prng_seed(&rng, size + data[1]);
    whole = scan((struct str){in, n}, max_body_bytes, SIZE_MAX, &rng);
    pieces = scan((struct str){in, n}, max_body_bytes, times > 1 ? 1000 : 4, &rng);
    check_same(&whole, &pieces);
    ASSERT(!bodyscan_is_endless(&whole.scan));
    if (whole.scan.done && whole.scan.violation == BODY_CLEAN)
        check_round_trip(&whole, &rng);
    free(whole.body);
    free(pieces.body);
    free(in);
    return 0;
}
