#include "cluster-tools/sink/lines.h"

void lines_init(struct lines *l, bool lenient)
{
    l->bytes = 0;
    l->ended = false;
    l->lenient = lenient;
    l->bare_cr = l->bare_lf = 0;
}

/* Appends one byte. True: it ended the line. */
static bool add(struct lines *l, char c)
{
    bool after_cr = l->bytes > 0 && l->line[l->bytes - 1] == '\r';

    l->line[l->bytes++] = c;
    if (c == '\n' && after_cr) {
        l->bytes -= 2;
        return true;
    }
    if (after_cr)
        l->bare_cr++;
    if (c == '\n') {
        l->bare_lf++;
        if (l->lenient)
            l->bytes--;
        return l->lenient;
    }
    return false;
}

enum err lines_next(struct lines *l, struct str *in, struct str *line)
{
    size_t taken = 0;

    if (l->ended)
        l->bytes = 0;
    l->ended = false;
    while (taken < in->n && !l->ended) {
        if (l->bytes == sizeof l->line)
            return E_FULL;
        l->ended = add(l, in->p[taken++]);
    }
    *in = str_from(*in, taken);
    *line = (struct str){l->line, l->bytes};
    return l->ended ? OK : E_AGAIN;
}
