/* Any bytes, cut in any pieces: the same lines come out, none over the limit, and none with a
 * CRLF in it. The first byte draws the cuts. */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "cluster-tools/sink/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
    uint64_t lines, sum, bare;
    bool full;
};

static void note(struct tally *t, struct str line)
{
    ASSERT(line.n <= LIMIT_TOOL_COMMAND_BYTES);
    t->lines++;
    for (size_t i = 0; i < line.n; i++) {
        ASSERT(i == 0 || line.p[i] != '\n' || line.p[i - 1] != '\r');
        t->sum = t->sum * 31 + (unsigned char)line.p[i];
    }
}

static struct tally run(const uint8_t *data, size_t size, unsigned cuts)
{
    struct lines *l = malloc(sizeof *l);
    struct tally t = {0};

    ASSERT(l != NULL);
    lines_init(l, false);
    while (size > 0 && !t.full) {
        size_t n = cuts == 0 ? size : 1 + (size_t)(data[0] * cuts) % 19;
        struct str in, line;
        enum err e;
        char *copy;

        n = n < size ? n : size;
        copy = malloc(n);
        ASSERT(copy != NULL);
        memcpy(copy, data, n);
        in = (struct str){copy, n};
        while ((e = lines_next(l, &in, &line)) == OK)
            note(&t, line);
        t.full = e == E_FULL;
        free(copy);
        data += n;
        size -= n;
    }
    t.bare = l->bare_cr + l->bare_lf;
    free(l);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tally whole, cut;

    if (size == 0)
        return 0;
    whole = run(data + 1, size - 1, 0);
    cut = run(data + 1, size - 1, 1U + data[0]);
    ASSERT(whole.lines == cut.lines && whole.sum == cut.sum && whole.bare == cut.bare &&
           whole.full == cut.full);
    return 0;
}
