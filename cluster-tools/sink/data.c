#include "cluster-tools/sink/data.h"

#include "base/assert.h"

void data_init(struct data *d, bool lenient)
{
    *d = (struct data){.state = DATA_LINE_START, .lenient = lenient};
}

uint64_t data_noncanonical(const struct data *d)
{
    return d->bare_cr + d->bare_lf;
}

/* A byte that begins nothing special, or an LF without CR. */
static size_t on_text(struct data *d, char c, char *out)
{
    d->state = DATA_TEXT;
    if (c == '\r') {
        d->state = DATA_CR;
        return 0;
    }
    if (c == '\n') {
        d->bare_lf++;
        if (d->lenient)
            d->state = DATA_LINE_START;
    }
    out[0] = c;
    return 1;
}

/* The byte behind a CR. */
static size_t on_cr(struct data *d, char c, char *out)
{
    out[0] = '\r';
    if (c == '\n') {
        out[1] = '\n';
        d->state = DATA_LINE_START;
        return 2;
    }
    d->bare_cr++;
    return 1 + on_text(d, c, out + 1);
}

static size_t on_byte(struct data *d, char c, char *out)
{
    switch (d->state) {
    case DATA_LINE_START:
        if (c == '.') {
            d->state = DATA_DOT;
            return 0;
        }
        return on_text(d, c, out);
    case DATA_TEXT:
        return on_text(d, c, out);
    case DATA_CR:
        return on_cr(d, c, out);
    case DATA_DOT:
        if (c == '\r') {
            d->state = DATA_DOT_CR;
            return 0;
        }
        if (c == '\n' && d->lenient) {
            d->bare_lf++;
            d->state = DATA_END;
            return 0;
        }
        return on_text(d, c, out);
    case DATA_DOT_CR:
        if (c == '\n') {
            d->state = DATA_END;
            return 0;
        }
        return on_cr(d, c, out);
    case DATA_END:
        break;
    }
    ASSERT(false); /* data_read() stops at the end */
    return 0;
}

size_t data_read(struct data *d, struct str *in, char *out, size_t room)
{
    size_t taken = 0, n = 0;

    while (taken < in->n && room - n >= DATA_MIN_ROOM && d->state != DATA_END)
        n += on_byte(d, in->p[taken++], out + n);
    *in = str_from(*in, taken);
    return n;
}

void data_scan(struct data *d, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];

        if (d->state == DATA_CR && c != '\n')
            d->bare_cr++;
        if (d->state != DATA_CR && c == '\n')
            d->bare_lf++;
        d->state = c == '\r' ? DATA_CR : DATA_TEXT;
    }
}
