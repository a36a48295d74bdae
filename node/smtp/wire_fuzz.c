/* Any bytes: a line holds no line end and no NUL, and a cut never depends on what comes later.
 */
#include <stdlib.h>

#include "base/limits.h"
#include "node/smtp/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct str in, struct wire_cut c)
{
    ASSERT(c.consumed <= in.n);
    ASSERT((c.kind == WIRE_MORE) == (c.consumed == 0));
    ASSERT(c.kind != WIRE_MORE || in.n < LIMIT_SMTP_LINE_BYTES);
    ASSERT(c.kind == WIRE_LINE || c.line.n == 0);
    if (c.kind == WIRE_LINE || c.kind == WIRE_NUL) {
        struct str line = str_head(in, c.consumed - 2);

        ASSERT(c.consumed <= LIMIT_SMTP_LINE_BYTES);
        ASSERT(in.p[c.consumed - 2] == '\r' && in.p[c.consumed - 1] == '\n');
        ASSERT(str_find(line, '\r') == line.n && str_find(line, '\n') == line.n);
        ASSERT((str_find(line, '\0') < line.n) == (c.kind == WIRE_NUL));
    }
}

/* What is decided from a part of the input stays so when more comes. */
static void check_prefix(struct str in, struct wire_cut whole, size_t n)
{
    struct wire_cut part = wire_cut_line(str_head(in, n));

    check(str_head(in, n), part);
    if (part.kind == WIRE_MORE)
        return;
    ASSERT(part.kind == whole.kind && part.line.n == whole.line.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    struct str in = {copy, size};

    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    while (in.n > 0) {
        struct wire_cut c = wire_cut_line(in);

        check(in, c);
        for (size_t n = 1; n < in.n && n < 40; n++)
            check_prefix(in, c, n);
        check_prefix(in, c, in.n / 2);
        if (c.kind == WIRE_MORE)
            break;
        in = str_from(in, c.consumed);
    }
    free(copy);
    return 0;
}
