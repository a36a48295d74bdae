#include "node/delivery/reply.h"

#define CODE_DIGITS 3

void reply_reset(struct reply *r)
{
    /* text[] and head[] are not cleared: their counts say what of them is valid */
    r->code = r->lines = r->line_code = 0;
    r->enhanced = (struct enhanced){0};
    r->contradicts = false;
    r->ehlo = (struct ehlo){0};
    r->bad = REPLY_FINE;
    r->bytes = r->line_bytes = 0;
    r->last = r->after_cr = r->done = false;
    r->kept = r->head_n = 0;
}

bool reply_begun(const struct reply *r)
{
    return r->bytes > 0 && !r->done;
}

struct str reply_text(const struct reply *r)
{
    return (struct str){r->text, r->kept};
}

static void keep(struct reply *r, char c)
{
    if (r->kept < sizeof r->text)
        r->text[r->kept++] = c;
}

static void take_digit(struct reply *r, char c)
{
    unsigned digit = (unsigned)(unsigned char)c - '0';

    if (digit > 9) {
        r->bad = REPLY_NO_CODE;
        return;
    }
    r->line_code = (uint16_t)(r->line_code * 10 + digit);
    if (r->lines == 0)
        keep(r, c);
    if (r->line_bytes < CODE_DIGITS)
        return;
    if (r->line_code < 200 || r->line_code > 599)
        r->bad = REPLY_BAD_CLASS;
    else if (r->lines > 0 && r->line_code != r->code)
        r->bad = REPLY_MIXED_CODES;
    r->code = r->line_code;
}

/* One byte of text behind the separator. */
static void take_text(struct reply *r, char c)
{
    if (r->head_n == 0)
        keep(r, ' ');
    keep(r, c);
    if (r->head_n < sizeof r->head)
        r->head[r->head_n++] = c;
}

static void end_line(struct reply *r)
{
    struct str head = {r->head, r->head_n};
    struct enhanced e;

    if (r->lines == 0 && enhanced_parse(head, &e)) {
        r->contradicts = e.klass != r->code / 100;
        if (!r->contradicts)
            r->enhanced = e;
    }
    /* RFC 5321 4.1.1.1: the first line is the name of the host, not an extension */
    if (r->lines > 0 && r->code == 250)
        ehlo_line(&r->ehlo, head);
    r->lines++;
    if (!r->last && r->lines >= LIMIT_REPLY_LINES)
        r->bad = REPLY_MANY_LINES;
    r->line_bytes = 0;
    r->line_code = 0;
    r->head_n = 0;
    r->after_cr = false;
}

/* The byte behind the code; the end of the line was looked for before. */
static void take_separator(struct reply *r, char c)
{
    r->last = c == ' ';
    if (c != ' ' && c != '-')
        r->bad = REPLY_FOUR_DIGITS;
}

/* True: the byte ended a line. */
static bool take(struct reply *r, char c)
{
    uint32_t at = r->line_bytes++;

    if (++r->bytes > LIMIT_REPLY_BYTES)
        r->bad = REPLY_MANY_BYTES;
    else if (r->line_bytes > LIMIT_REPLY_LINE_BYTES)
        r->bad = REPLY_LONG_LINE;
    else if (c == 0)
        r->bad = REPLY_NUL;
    else if (at < CODE_DIGITS)
        take_digit(r, c);
    else if (c == '\n') {
        /* RFC 5321 4.2: a code may stand alone, without separator and text */
        if (at == CODE_DIGITS + (r->after_cr ? 1U : 0U))
            r->last = true;
        return true;
    } else if (at == CODE_DIGITS + 1 && r->after_cr) {
        r->bad = REPLY_FOUR_DIGITS; /* a CR stood where the separator belongs */
    } else {
        if (r->after_cr)
            take_text(r, ' ');
        r->after_cr = c == '\r';
        if (!r->after_cr && at == CODE_DIGITS)
            take_separator(r, c);
        else if (!r->after_cr)
            take_text(r, c);
    }
    return false;
}

enum reply_status reply_feed(struct reply *r, struct str in, size_t *consumed)
{
    ASSERT(r->bad == REPLY_FINE && !r->done);
    for (size_t i = 0; i < in.n; i++) {
        bool line = take(r, in.p[i]);

        if (line && r->bad == REPLY_FINE)
            end_line(r);
        if (r->bad != REPLY_FINE || (line && r->last)) {
            *consumed = i + 1;
            r->done = r->bad == REPLY_FINE;
            return r->bad != REPLY_FINE ? REPLY_BAD : REPLY_DONE;
        }
    }
    *consumed = in.n;
    return REPLY_MORE;
}

const char *reply_bad_text(enum reply_bad bad)
{
    static const char *const texts[] = {
        [REPLY_FINE] = "reply out of step",
        [REPLY_NO_CODE] = "reply without a three-digit code",
        [REPLY_FOUR_DIGITS] = "no separator behind the reply code",
        [REPLY_MIXED_CODES] = "different codes in the lines of one reply",
        [REPLY_BAD_CLASS] = "reply code outside 200 to 599",
        [REPLY_NUL] = "NUL in a reply",
        [REPLY_LONG_LINE] = "reply line too long",
        [REPLY_MANY_LINES] = "too many lines in a reply",
        [REPLY_MANY_BYTES] = "reply too large",
    };

    ASSERT((size_t)bad < sizeof texts / sizeof texts[0]);
    return texts[bad];
}

void ehlo_line(struct ehlo *e, struct str line)
{
    struct str word = str_split(&line, ' ');
    uint64_t size;

    if (str_eq_nocase(word, STR("PIPELINING"))) {
        e->pipelining = true;
    } else if (str_eq_nocase(word, STR("8BITMIME"))) {
        e->eight_bit = true;
    } else if (str_eq_nocase(word, STR("SMTPUTF8"))) {
        e->smtputf8 = true;
    } else if (str_eq_nocase(word, STR("STARTTLS"))) {
        e->starttls = true;
    } else if (str_eq_nocase(word, STR("ENHANCEDSTATUSCODES"))) {
        e->enhanced = true;
    } else if (str_eq_nocase(word, STR("SIZE"))) {
        e->has_size = true;
        if (str_to_u64(str_split(&line, ' '), &size))
            e->size = size;
    }
}

/* One to three digits at the front of *s, cut off. */
static bool cut_number(struct str *s, uint16_t *out)
{
    uint16_t value = 0;
    size_t n = 0;

    while (n < s->n && n < 4 && s->p[n] >= '0' && s->p[n] <= '9')
        value = (uint16_t)(value * 10 + (s->p[n++] - '0'));
    *s = str_from(*s, n);
    *out = value;
    return n >= 1 && n <= 3;
}

static bool cut_dot(struct str *s)
{
    return str_cut_nocase(s, STR("."));
}

bool enhanced_parse(struct str s, struct enhanced *out)
{
    struct enhanced e;

    if (!cut_number(&s, &e.klass) || !cut_dot(&s) || !cut_number(&s, &e.subject) ||
        !cut_dot(&s) || !cut_number(&s, &e.detail))
        return false;
    if ((e.klass != 2 && e.klass != 4 && e.klass != 5) || (s.n > 0 && s.p[0] != ' '))
        return false;
    *out = e;
    return true;
}

bool reply_text_parse(struct str text, uint16_t *code, struct enhanced *out)
{
    uint16_t value;
    struct str rest = text;
    struct enhanced e;

    if (!cut_number(&rest, &value) || text.n - rest.n != CODE_DIGITS || value < 200 ||
        value > 599 || (rest.n > 0 && rest.p[0] != ' '))
        return false;
    *code = value;
    *out = (struct enhanced){0};
    str_skip(&rest, ' ');
    if (enhanced_parse(rest, &e) && e.klass == value / 100)
        *out = e;
    return true;
}
