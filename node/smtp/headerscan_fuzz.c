/* Any bytes, fed whole and in pieces: the same counts and the same end. */
#include <stdlib.h>

#include "base/limits.h"
#include "base/prng.h"
#include "node/smtp/headerscan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed_in_pieces(struct headerscan *h, struct str in, size_t most, struct prng *rng)
{
    while (in.n > 0) {
        size_t n = 1 + (size_t)prng_below(rng, most);
        char *copy;

        n = n < in.n ? n : in.n;
        copy = malloc(n);
        ASSERT(copy != NULL);
        memcpy(copy, in.p, n);
        headerscan_feed(h, (struct str){copy, n});
        free(copy);
        in = str_from(in, n);
    }
}

/* data[0]: how often the rest is repeated, so that small inputs reach the limits. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct headerscan whole, pieces;
    struct prng rng;
    struct str in;
    size_t times;
    enum header_verdict v = HEADER_OK;

    if (size < 2)
        return 0;
    times = data[0] < 0xc0 ? 1 : 64 * ((size_t)data[0] - 0xbf);
    if (times > (LIMIT_HEADER_BYTES + 4096) / size)
        times = 1 + (LIMIT_HEADER_BYTES + 4096) / size;
    in = str_from((struct str){(const char *)data, size}, 1);
    prng_seed(&rng, size);
    (void)cluster_name_is_valid(in);
    headerscan_init(&whole, STR("east"));
    headerscan_init(&pieces, STR("east"));
    for (size_t i = 0; i < times; i++) {
        headerscan_feed(&whole, in);
        feed_in_pieces(&pieces, in, times > 1 ? 60 : 5, &rng);
        ASSERT(v == HEADER_OK || headerscan_verdict(&whole) != HEADER_OK);
        v = headerscan_verdict(&whole);
    }
    ASSERT(whole.received == pieces.received && whole.own == pieces.own);
    ASSERT(whole.done == pieces.done && whole.header_bytes == pieces.header_bytes);
    ASSERT(v == headerscan_verdict(&pieces));
    ASSERT(whole.own <= whole.received && whole.header_bytes <= LIMIT_HEADER_BYTES + 1);
    return 0;
}
