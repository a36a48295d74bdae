#include "node/smtp/bodyscan.h"

#include "base/limits.h"

/* Where the next byte stands. */
enum at {
    LINE_START, /* behind a CRLF, or first of all                                        */
    IN_LINE,
    AFTER_CR,     /* the CR is already handed out: if no LF follows, the body is void     */
    AFTER_DOT,    /* a dot at the start of a line is never part of the body              */
    AFTER_DOT_CR, /* this CR is held back: it may belong to the end                       */
};

void bodyscan_init(struct bodyscan *s, uint64_t max_body_bytes)
{
    *s = (struct bodyscan){.max_body_bytes = max_body_bytes, .at = LINE_START};
}

static void violate(struct bodyscan *s, enum body_violation v)
{
    if (v > s->violation)
        s->violation = v;
}

static bool is_plain(char c)
{
    return c != '\r' && c != '\n' && c != '\0';
}

/* Length of the run of plain bytes at the start of in. */
static size_t plain_run(struct str in, uint64_t *eight_bit_bytes)
{
    uint64_t high = 0;
    size_t i;

    for (i = 0; i < in.n && is_plain(in.p[i]); i++)
        high += (unsigned char)in.p[i] >> 7;
    *eight_bit_bytes += high;
    return i;
}

/* Takes in a byte that is not plain, or stands where plain bytes matter too. Says whether the
 * byte is part of the body. */
static bool take_byte(struct bodyscan *s, char c)
{
    bool after_cr = s->at == AFTER_CR || s->at == AFTER_DOT_CR;

    if (c == '\n' && after_cr) {
        s->done = s->at == AFTER_DOT_CR;
        s->at = LINE_START;
        return !s->done;
    }
    if (after_cr)
        violate(s, BODY_BARE_CR);
    if (c == '\n')
        violate(s, BODY_BARE_LF);
    if (c == '\0')
        violate(s, BODY_NUL);
    if (c == '\r')
        s->at = s->at == AFTER_DOT ? AFTER_DOT_CR : AFTER_CR;
    else if (c == '.' && s->at == LINE_START)
        s->at = AFTER_DOT;
    else
        s->at = IN_LINE;
    return s->at != AFTER_DOT && s->at != AFTER_DOT_CR;
}

/* Counts n more body bytes of the current line against the limits. */
static void count(struct bodyscan *s, size_t n)
{
    s->line_bytes += n;
    if (s->violation == BODY_CLEAN)
        s->body_bytes += n;
    if (s->line_bytes > LIMIT_BODY_LINE_BYTES)
        violate(s, BODY_LINE_TOO_LONG);
    if (s->body_bytes > s->max_body_bytes)
        violate(s, BODY_TOO_BIG);
    if (s->at == LINE_START)
        s->line_bytes = 0;
}

/* Consumes in up to the first byte that is not part of the body, or the end of the data;
 * returns how many bytes before it are. */
static size_t scan_run(struct bodyscan *s, struct str in, size_t *consumed)
{
    size_t i = 0;

    while (i < in.n && !s->done) {
        if (s->at == IN_LINE) {
            size_t n = plain_run(str_from(in, i), &s->eight_bit_bytes);

            count(s, n);
            i += n;
            if (i == in.n)
                break;
        }
        if ((unsigned char)in.p[i] >= 0x80)
            s->eight_bit_bytes++;
        if (!take_byte(s, in.p[i])) {
            *consumed = i + 1;
            return i;
        }
        i++;
        count(s, 1);
    }
    *consumed = i;
    return i;
}

struct str bodyscan_next(struct bodyscan *s, struct str *in)
{
    ASSERT(!s->done);
    while (in->n > 0 && !s->done) {
        bool void_before = s->violation != BODY_CLEAN;
        size_t consumed = 0;
        struct str run = str_head(*in, scan_run(s, *in, &consumed));

        *in = str_from(*in, consumed);
        if (void_before)
            s->swallowed_bytes += consumed;
        else if (s->violation == BODY_CLEAN && run.n > 0)
            return run;
    }
    return STR_NONE;
}

bool bodyscan_is_endless(const struct bodyscan *s)
{
    return s->swallowed_bytes > LIMIT_BODY_SWALLOW_BYTES;
}
