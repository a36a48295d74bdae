#include "cluster-tools/load/reply.h"

#include "base/assert.h"

#define CODE_BYTES 3

void reply_init(struct reply_reader *r)
{
    r->line_bytes = 0;
    r->code = 0;
    r->lines = 0;
}

/* Moves bytes of *in to the line, up to and with CRLF. */
static enum err gather(struct reply_reader *r, struct str *in)
{
    size_t taken = 0;

    while (taken < in->n) {
        char c = in->p[taken++];
        bool after_cr = r->line_bytes > 0 && r->line[r->line_bytes - 1] == '\r';

        if (c == 0 || after_cr != (c == '\n'))
            return E_PROTO;
        if (r->line_bytes == sizeof r->line)
            return E_FULL;
        r->line[r->line_bytes++] = c;
        if (c == '\n') {
            *in = str_from(*in, taken);
            return OK;
        }
    }
    *in = str_from(*in, taken);
    return E_AGAIN;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* `line` comes without its CRLF. */
static enum err parse(struct str line, struct reply_line *out)
{
    if (line.n < CODE_BYTES || line.p[0] < '2' || line.p[0] > '5' || !is_digit(line.p[1]) ||
        !is_digit(line.p[2]))
        return E_PROTO;
    out->code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    out->last = true;
    out->text = STR("");
    if (line.n == CODE_BYTES)
        return OK; /* RFC 5321 4.2: a bare code should be understood */
    if (line.p[CODE_BYTES] != ' ' && line.p[CODE_BYTES] != '-')
        return E_PROTO;
    out->last = line.p[CODE_BYTES] == ' ';
    out->text = str_from(line, CODE_BYTES + 1);
    return OK;
}

enum err reply_next(struct reply_reader *r, struct str *in, struct reply_line *out)
{
    enum err e = gather(r, in);

    if (e != OK)
        return e;
    ASSERT(r->line_bytes >= 2);
    e = parse((struct str){r->line, r->line_bytes - 2}, out);
    r->line_bytes = 0;
    if (e != OK)
        return e;
    out->first = r->code == 0;
    if (!out->first && out->code != r->code)
        return E_PROTO; /* RFC 5321 4.2.1: the code is the same in all lines */
    if (++r->lines > LIMIT_REPLY_LINES)
        return E_FULL;
    r->code = out->last ? 0 : out->code;
    if (out->last)
        r->lines = 0;
    return OK;
}
