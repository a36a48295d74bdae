#include "node/delivery/stuff.h"
#include "base/fault.h"

void stuff_init(struct stuff *s)
{
    *s = (struct stuff){.line_start = true};
}

static void take(struct str *in, size_t n)
{
    *in = str_from(*in, n);
}

/* The bytes before the next CR or LF: they are copied in one go. */
static size_t plain_run(struct str in, size_t room)
{
    struct str window = str_head(in, in.n < room ? in.n : room);

    window = str_head(window, str_find(window, '\n'));
    return str_find(window, '\r');
}

/* Moves one CR, LF, dot or run of plain bytes. False: no room for it. */
static bool move(struct stuff *s, struct str *in, char *out, size_t room, size_t *n)
{
    char c = in->p[0];
    size_t run;

    if (s->after_cr || c == '\n') {
        if (!s->after_cr || c != '\n') {
            s->bad = true;
            return false;
        }
        if (room - *n < 2)
            return false;
        out[(*n)++] = '\r';
        out[(*n)++] = '\n';
        take(in, 1);
        s->after_cr = false;
        s->line_start = true;
        return true;
    }
    if (c == '\r') { /* held back: a lone one must never be on the wire */
        take(in, 1);
        s->after_cr = true;
        return true;
    }
    if (s->line_start && c == '.' && !FAULT(DOT_NOT_STUFFED)) {
        if (room - *n < 2)
            return false;
        out[(*n)++] = '.';
        s->line_start = false; /* the dot itself goes with the run below, next turn */
        return true;
    }
    run = plain_run(*in, room - *n);
    if (run == 0)
        return false;
    memcpy(out + *n, in->p, run);
    *n += run;
    take(in, run);
    s->line_start = false;
    return true;
}

enum err stuff_step(struct stuff *s, struct str *in, char *out, size_t room, size_t *written)
{
    size_t before = in->n;

    *written = 0;
    while (!s->bad && in->n > 0 && move(s, in, out, room, written))
        ;
    if (s->bad) {
        *written = 0;
        return E_CORRUPT;
    }
    ASSERT(*written <= room);
    s->in_bytes += before - in->n;
    s->out_bytes += *written;
    return OK;
}

enum err stuff_end(const struct stuff *s)
{
    return !s->bad && !s->after_cr && s->line_start ? OK : E_CORRUPT;
}
