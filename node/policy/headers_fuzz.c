/* Any bytes, whole and in pieces: the same verdict at the same line, with a reply for each
 * fault; a header without a fault stays without one when more fields follow that may be
 * repeated. */
#include <stdlib.h>

#include "base/prng.h"
#include "node/policy/headers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed_in_pieces(struct headers *h, struct str in, size_t most, struct prng *rng)
{
    while (in.n > 0) {
        size_t n = 1 + (size_t)prng_below(rng, most);
        char *copy;

        n = n < in.n ? n : in.n;
        copy = malloc(n);
        ASSERT(copy != NULL);
        memcpy(copy, in.p, n);
        headers_feed(h, (struct str){copy, n});
        free(copy);
        in = str_from(in, n);
    }
}

/* data[0]: SMTPUTF8, what goes before, and how often the rest is repeated. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct headers whole, pieces;
    char reply[HEADERS_REPLY_BYTES];
    struct prng rng;
    struct str in;
    size_t times;

    if (size < 2)
        return 0;
    times = data[0] < 0xc0 ? 1 : 64 * ((size_t)data[0] - 0xbf);
    in = str_from((struct str){(const char *)data, size}, 1);
    if (times > (LIMIT_HEADER_BYTES + 4096) / in.n)
        times = 1 + (LIMIT_HEADER_BYTES + 4096) / in.n;
    prng_seed(&rng, size);
    headers_init(&whole, (data[0] & 1) != 0);
    headers_init(&pieces, (data[0] & 1) != 0);
    if ((data[0] & 2) != 0) {
        headers_feed(&whole, STR("From: a@b\r\nDate: x\r\n"));
        feed_in_pieces(&pieces, STR("From: a@b\r\nDate: x\r\n"), 5, &rng);
    }
    for (size_t i = 0; i < times; i++) {
        headers_feed(&whole, in);
        feed_in_pieces(&pieces, in, times > 1 ? 60 : 5, &rng);
    }
    ASSERT(headers_end(&whole) == headers_end(&pieces));
    ASSERT(whole.done && pieces.done && whole.line == pieces.line);
    ASSERT(whole.field == pieces.field && whole.header_bytes == pieces.header_bytes);
    ASSERT(whole.header_bytes <= LIMIT_HEADER_BYTES + 1);
    ASSERT(headers_verdict_text(whole.verdict)[0] != '\0');
    if (whole.verdict != HEADERS_OK)
        ASSERT(headers_reply(&whole, reply).n > 20);
    return 0;
}
