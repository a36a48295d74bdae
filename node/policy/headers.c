#include "node/policy/headers.h"

#include <stdio.h>

/* Where the next byte stands. */
enum at {
    LINE_START,
    EMPTY_LINE_CR, /* behind a CR at the start of a line */
    NAME,
    NAME_SPACE, /* white space before the colon */
    VALUE,
    VALUE_CR,
};

enum { FROM, DATE };

/* RFC 5322 3.6: at most one of each; the first two are asked for. */
static const char *const singletons[] = {
    [FROM] = "From", [DATE] = "Date", "Sender",      "Reply-To",   "To",      "Cc",
    "Bcc",           "Message-ID",    "In-Reply-To", "References", "Subject",
};

#define SINGLETONS (int)(sizeof singletons / sizeof singletons[0])

void headers_init(struct headers *h, bool smtputf8)
{
    *h = (struct headers){.at = LINE_START, .current = -1, .line = 1, .smtputf8 = smtputf8};
}

static void fault(struct headers *h, enum headers_verdict v)
{
    if (h->done)
        return;
    h->verdict = v;
    h->done = true;
}

static void fault_of(struct headers *h, enum headers_verdict v, int singleton)
{
    if (!h->done)
        h->field = singletons[singleton];
    fault(h, v);
}

/* --- fields --- */

static void end_field(struct headers *h)
{
    if (h->in_field && !h->has_text && (h->current == FROM || h->current == DATE))
        fault_of(h, HEADERS_EMPTY, h->current);
    h->in_field = false;
}

static void end_section(struct headers *h)
{
    end_field(h);
    for (int i = FROM; i <= DATE; i++)
        if ((h->seen & 1U << i) == 0)
            fault_of(h, HEADERS_MISSING, i);
    h->done = true;
}

static void start_field(struct headers *h)
{
    struct str name = {h->name, h->name_n};

    h->at = VALUE;
    h->in_field = true;
    h->has_text = false;
    h->current = -1;
    if (h->name_n > sizeof h->name)
        return;
    for (int i = 0; i < SINGLETONS && h->current < 0; i++)
        if (str_eq_nocase(name, str_of(singletons[i])))
            h->current = i;
    if (h->current < 0)
        return;
    if ((h->seen & 1U << h->current) != 0)
        fault_of(h, HEADERS_TWICE, h->current);
    h->seen |= 1U << h->current;
}

/* --- bytes --- */

static void on_name_byte(struct headers *h, char c)
{
    if (c == ':' && h->name_n > 0) {
        start_field(h);
    } else if ((c == ' ' || c == '\t') && h->name_n > 0) {
        h->at = NAME_SPACE;
    } else if (c > ' ' && c <= '~' && c != ':') {
        if (h->name_n < sizeof h->name)
            h->name[h->name_n] = c;
        h->name_n++;
    } else {
        fault(h, HEADERS_NOT_A_FIELD);
    }
}

static void on_value_byte(struct headers *h, char c)
{
    uint8_t byte = (uint8_t)c;

    if (h->smtputf8 ? !utf8_step(&h->utf8, byte) : byte >= 0x80)
        fault(h, h->smtputf8 ? HEADERS_NOT_UTF8 : HEADERS_EIGHT_BIT);
    else if (c == '\r')
        h->at = VALUE_CR;
    else if (c != ' ' && c != '\t')
        h->has_text = true;
}

static void on_line_start_byte(struct headers *h, char c)
{
    if (c == '\r') {
        h->at = EMPTY_LINE_CR;
    } else if (c == ' ' || c == '\t') {
        h->at = VALUE;
        if (!h->in_field)
            fault(h, HEADERS_NOT_A_FIELD);
    } else {
        end_field(h);
        h->at = NAME;
        h->name_n = 0;
        on_name_byte(h, c);
    }
}

static void on_byte(struct headers *h, char c)
{
    switch ((enum at)h->at) {
    case LINE_START:
        on_line_start_byte(h, c);
        break;
    case EMPTY_LINE_CR: /* LF: others were refused before */
        end_section(h);
        break;
    case NAME:
        on_name_byte(h, c);
        break;
    case NAME_SPACE:
        if (c == ':')
            start_field(h);
        else if (c != ' ' && c != '\t')
            fault(h, HEADERS_NOT_A_FIELD);
        break;
    case VALUE:
        on_value_byte(h, c);
        break;
    case VALUE_CR:
        h->at = LINE_START;
        h->line++;
        h->line_bytes = 0;
        break;
    }
}

/* CR and LF come together or not at all. */
static bool is_bad(const struct headers *h, char c)
{
    bool after_cr = h->at == VALUE_CR || h->at == EMPTY_LINE_CR;

    return c == '\0' || after_cr != (c == '\n');
}

void headers_feed(struct headers *h, struct str span)
{
    for (size_t i = 0; i < span.n && !h->done; i++) {
        char c = span.p[i];

        if (is_bad(h, c))
            fault(h, HEADERS_BAD_BYTE);
        else if (++h->header_bytes > LIMIT_HEADER_BYTES)
            fault(h, HEADERS_TOO_BIG);
        else if (c != '\r' && c != '\n' && ++h->line_bytes > LIMIT_HEADER_LINE_BYTES)
            fault(h, HEADERS_LINE_TOO_LONG);
        else
            on_byte(h, c);
    }
}

enum headers_verdict headers_end(struct headers *h)
{
    if (!h->done && h->at != LINE_START && h->at != EMPTY_LINE_CR)
        fault(h, h->at == VALUE_CR ? HEADERS_BAD_BYTE : HEADERS_NOT_A_FIELD);
    if (!h->done)
        end_section(h);
    return h->verdict;
}

/* --- words --- */

static const struct {
    const char *text, *words;
} verdicts[] = {
    [HEADERS_OK] = {"ok", NULL},
    [HEADERS_NOT_A_FIELD] = {"not-a-field", "neither a field nor its continuation"},
    [HEADERS_BAD_BYTE] = {"bad-byte", "a NUL, a bare CR or a bare LF"},
    [HEADERS_EIGHT_BIT] = {"eight-bit", "a byte above 127 without SMTPUTF8"},
    [HEADERS_NOT_UTF8] = {"not-utf8", "not valid UTF-8"},
    [HEADERS_LINE_TOO_LONG] = {"line-too-long", "longer than 998 bytes"},
    [HEADERS_TOO_BIG] = {"too-big", NULL},
    [HEADERS_TWICE] = {"twice", NULL},
    [HEADERS_EMPTY] = {"empty", NULL},
    [HEADERS_MISSING] = {"missing", NULL},
};

const char *headers_verdict_text(enum headers_verdict v)
{
    return verdicts[v].text;
}

static int write_reply(const struct headers *h, char *buf, size_t size)
{
    unsigned long long line = h->line;

    switch (h->verdict) {
    case HEADERS_OK:
        break;
    case HEADERS_TOO_BIG:
        return snprintf(buf, size, "552 5.3.4 Header larger than %llu bytes",
                        (unsigned long long)LIMIT_HEADER_BYTES);
    case HEADERS_MISSING:
        return snprintf(buf, size, "550 5.6.0 Header has no %s field", h->field);
    case HEADERS_TWICE:
        return snprintf(buf, size, "550 5.6.0 Header line %llu: a second %s field", line,
                        h->field);
    case HEADERS_EMPTY:
        return snprintf(buf, size, "550 5.6.0 Header: the %s field is empty", h->field);
    case HEADERS_NOT_A_FIELD:
    case HEADERS_BAD_BYTE:
    case HEADERS_EIGHT_BIT:
    case HEADERS_NOT_UTF8:
    case HEADERS_LINE_TOO_LONG:
        return snprintf(buf, size, "550 5.6.0 Header line %llu: %s", line,
                        verdicts[h->verdict].words);
    }
    return -1;
}

struct str headers_reply(const struct headers *h, char buf[static HEADERS_REPLY_BYTES])
{
    int n = write_reply(h, buf, HEADERS_REPLY_BYTES);

    ASSERT(n > 0 && n < HEADERS_REPLY_BYTES);
    return (struct str){buf, (size_t)n};
}
