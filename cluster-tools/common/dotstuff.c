#include "cluster-tools/common/dotstuff.h"

#include "base/assert.h"

void dotstuff_init(struct dotstuff *d)
{
    *d = (struct dotstuff){.line_start = true};
}

size_t dotstuff_write(struct dotstuff *d, struct str *in, char *out, size_t room)
{
    size_t taken = 0, n = 0;

    while (taken < in->n && room - n >= DOTSTUFF_MIN_ROOM) {
        char c = in->p[taken++];

        if (d->line_start && c == '.')
            out[n++] = '.';
        out[n++] = c;
        d->line_start = c == '\n' && d->after_cr;
        d->after_cr = c == '\r';
    }
    *in = str_from(*in, taken);
    return n;
}

size_t dotstuff_end(const struct dotstuff *d, char *out)
{
    struct str end = d->line_start ? STR(".\r\n") : STR("\r\n.\r\n");

    ASSERT(end.n <= DOTSTUFF_END_ROOM);
    memcpy(out, end.p, end.n);
    return end.n;
}
