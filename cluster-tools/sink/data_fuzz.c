/* Any bytes, cut in any pieces, against a second opinion: a reader that has the whole input and
 * follows RFC 5321 4.5.2 by searching. The first byte draws the cuts. */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "cluster-tools/sink/data.h"
#include "cluster-tools/sink/tag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    char *out;
    size_t bytes, taken;
    bool ended;
};

/* As if CRLF had come before: the end is the first CRLF . CRLF, each CRLF . loses its dot. */
static struct result second_opinion(const uint8_t *in, size_t n)
{
    struct result r = {.out = malloc(n + 1), .taken = n};
    bool line_start = true;

    ASSERT(r.out != NULL);
    for (size_t i = 0; i < n; i++) {
        if (line_start && in[i] == '.') {
            if (n - i >= 3 && in[i + 1] == '\r' && in[i + 2] == '\n') {
                r.ended = true;
                r.taken = i + 3;
                return r;
            }
            line_start = false;
            continue;
        }
        r.out[r.bytes++] = (char)in[i];
        line_start = in[i] == '\n' && i > 0 && in[i - 1] == '\r';
    }
    return r;
}

static struct result run(const uint8_t *in, size_t n, unsigned cuts, struct tag *tag)
{
    struct result r = {.out = malloc(n + DATA_MIN_ROOM)};
    struct data d;

    ASSERT(r.out != NULL);
    data_init(&d, false);
    while (r.taken < n && d.state != DATA_END) {
        size_t piece = 1 + (size_t)(in[r.taken] * cuts) % 23, before = r.bytes;
        char *copy;
        struct str s;

        piece = piece < n - r.taken ? piece : n - r.taken;
        copy = malloc(piece); /* exact, so that reading past the end is seen */
        ASSERT(copy != NULL);
        memcpy(copy, in + r.taken, piece);
        s = (struct str){copy, piece};
        while (s.n > 0 && d.state != DATA_END)
            r.bytes += data_read(&d, &s, r.out + r.bytes, n + DATA_MIN_ROOM - r.bytes);
        tag_add(tag, (struct str){r.out + before, r.bytes - before});
        r.taken += piece - s.n;
        free(copy);
    }
    r.ended = d.state == DATA_END;
    return r;
}

/* The careless reader ends no later than the strict one, and a chunk is only counted: a CR and
 * an LF that stand together count as little as the bytes between. */
static void run_others(const uint8_t *in, size_t n, const struct result *strict)
{
    struct str all = {(const char *)in, n}, left = all;
    char *out = malloc(n + DATA_MIN_ROOM);
    struct data lenient, chunk;
    size_t pairs = 0, single = 0;

    ASSERT(out != NULL);
    data_init(&lenient, true);
    data_read(&lenient, &left, out, n + DATA_MIN_ROOM);
    ASSERT(!strict->ended || lenient.state == DATA_END);
    ASSERT(!strict->ended || n - left.n <= strict->taken);
    ASSERT(lenient.state != DATA_END || strict->ended || data_noncanonical(&lenient) > 0);

    data_init(&chunk, false);
    data_scan(&chunk, str_head(all, n / 2));
    data_scan(&chunk, str_from(all, n / 2));
    for (size_t i = 0; i < n; i++) {
        pairs += i > 0 && in[i] == '\n' && in[i - 1] == '\r';
        single += in[i] == '\n' || (in[i] == '\r' && i + 1 < n); /* a CR at the end may go on */
    }
    ASSERT(data_noncanonical(&chunk) + 2 * pairs == single);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result got, want;
    struct tag *tag = malloc(sizeof *tag);

    ASSERT(tag != NULL);
    tag_init(tag);
    if (size > 0) {
        if (data[0] % 2 == 1)
            tag_add(tag, STR("X-Trispool-Id: id 5 ")); /* a step no fuzzer finds by itself */
        got = run(data + 1, size - 1, 1U + data[0], tag);
        want = second_opinion(data + 1, size - 1);
        ASSERT(got.ended == want.ended && got.taken == want.taken);
        /* Without an end up to two bytes (CR, or dot and CR) are still held back. */
        ASSERT(got.bytes <= want.bytes && want.bytes - got.bytes <= (got.ended ? 0U : 1U));
        ASSERT(got.bytes == 0 || memcmp(got.out, want.out, got.bytes) == 0);
        run_others(data + 1, size - 1, &got);
        ASSERT((tag_verdict(tag) == TAG_UNTAGGED) == (tag_id(tag).n == 0));
        ASSERT(strlen(tag_verdict_text(tag_verdict(tag))) > 0);
        free(got.out);
        free(want.out);
    }
    free(tag);
    return 0;
}
