/* Any bytes, cut in any pieces: the reader keeps its limits, gives out only what the header
 * promises, and does not depend on how the bytes were cut. The first byte draws the cuts. */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "cluster-tools/load/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
    unsigned lines, last;
    uint64_t sum;
    enum err end;
};

static void note(struct tally *t, const struct reply_line *line)
{
    ASSERT(line->code >= 200 && line->code <= 599);
    ASSERT(line->text.n < LIMIT_REPLY_LINE_BYTES);
    t->lines++;
    t->last += line->last;
    t->sum = t->sum * 31 + (uint64_t)line->code * 4 + line->last * 2U + line->first;
    for (size_t i = 0; i < line->text.n; i++) {
        ASSERT(line->text.p[i] != 0 && line->text.p[i] != '\n' && line->text.p[i] != '\r');
        t->sum = t->sum * 31 + (unsigned char)line->text.p[i];
    }
}

static struct tally run(const uint8_t *data, size_t size, unsigned cuts)
{
    struct reply_reader *r = malloc(sizeof *r);
    struct tally t = {.end = E_AGAIN};

    ASSERT(r != NULL);
    reply_init(r);
    while (size > 0 && t.end == E_AGAIN) {
        size_t n = cuts == 0 ? size : 1 + (size_t)(data[0] * cuts) % 17;
        char *copy;
        struct str in;
        struct reply_line line;

        n = n < size ? n : size;
        copy = malloc(n); /* exact, so that reading past the end is seen */
        ASSERT(copy != NULL);
        memcpy(copy, data, n);
        in = (struct str){copy, n};
        while ((t.end = reply_next(r, &in, &line)) == OK)
            note(&t, &line);
        ASSERT(t.end != E_AGAIN || in.n == 0);
        free(copy);
        data += n;
        size -= n;
    }
    free(r);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tally whole, cut;

    if (size == 0)
        return 0;
    whole = run(data + 1, size - 1, 0);
    cut = run(data + 1, size - 1, 1U + data[0]);
    ASSERT(whole.lines == cut.lines && whole.last == cut.last && whole.sum == cut.sum);
    ASSERT(whole.end == cut.end);
    return 0;
}
