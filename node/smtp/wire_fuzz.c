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

/* data[0]: from 0xf0 on, the input starts with so many bytes of text that it ends about where
 * the limit of a line is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t pad = size > 0 && data[0] >= 0xf0 ? LIMIT_SMTP_LINE_BYTES - 16 + (data[0] & 15u) : 0;
    size_t n_in = pad + size;
    char *copy = malloc(n_in > 0 ? n_in : 1);
    struct str in = {copy, n_in};

    ASSERT(copy != NULL);
    memset(copy, 'a', n_in > 0 ? n_in : 1);
    if (size > 1)
        memcpy(copy + pad + 1, data + 1, size - 1);
    if (size > 0 && pad == 0)
        copy[0] = (char)data[0];
    while (in.n > 0) {
        struct wire_cut c = wire_cut_line(in);

        check(in, c);
        for (size_t n = 1; n < in.n && n < 40; n++)
            check_prefix(in, c, n);
        check_prefix(in, c, in.n / 2);
        check_prefix(in, c, in.n - 1);
        if (c.kind == WIRE_MORE)
            break;
        in = str_from(in, c.consumed);
    }
    free(copy);
    return 0;
}
