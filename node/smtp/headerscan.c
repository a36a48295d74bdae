#include "node/smtp/headerscan.h"

/* Where the next byte stands. */
enum at {
    LINE_START,
    EMPTY_LINE_CR, /* a CR at the start of a line               */
    NAME,          /* field name                                */
    NAME_SPACE,    /* white space before the colon (RFC 5322 4.5.1) */
    VALUE,
    MBOX_LINE, /* "From someone ...", up to its end         */
};

bool cluster_name_is_valid(struct str name)
{
    if (name.n == 0 || name.n > LIMIT_CLUSTER_NAME_BYTES)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '-' || c == '_'))
            return false;
    }
    return true;
}

static void append_to_mark(struct headerscan *h, struct str s)
{
    ASSERT(h->mark_n + s.n <= sizeof h->mark);
    memcpy(h->mark + h->mark_n, s.p, s.n);
    h->mark_n += (uint32_t)s.n;
}

void headerscan_init(struct headerscan *h, struct str cluster)
{
    ASSERT(cluster_name_is_valid(cluster));
    *h = (struct headerscan){.at = LINE_START, .is_first_line = true};
    append_to_mark(h, STR("(trispool "));
    append_to_mark(h, cluster);
    append_to_mark(h, STR(")"));
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The mark may be folded or spread by those who passed the message on: runs of white space
 * count as one space. '(' stands at its start only, so a mismatch never hides a later start. */
static void match_mark(struct headerscan *h, char c)
{
    if (is_space(c)) {
        if (h->after_space)
            return;
        c = ' ';
    }
    h->after_space = c == ' ';
    if (c == h->mark[h->mark_matched])
        h->mark_matched++;
    else
        h->mark_matched = c == h->mark[0] ? 1 : 0;
    if (h->mark_matched < h->mark_n)
        return;
    h->mark_matched = 0;
    if (!h->counted_as_own)
        h->own++;
    h->counted_as_own = true;
}

static bool name_is(const struct headerscan *h, struct str name)
{
    return h->name_n == name.n && str_eq_nocase((struct str){h->name, name.n}, name);
}

static void start_value(struct headerscan *h)
{
    h->at = VALUE;
    h->in_received = name_is(h, STR("Received"));
    h->counted_as_own = false;
    h->after_space = true;
    h->mark_matched = 0;
    if (h->in_received)
        h->received++;
}

static void on_name_byte(struct headerscan *h, char c)
{
    if (c == ':' && h->name_n > 0) {
        start_value(h);
    } else if (c == ' ' || c == '\t') {
        h->at = NAME_SPACE;
    } else if (c > ' ' && c <= '~' && c != ':') {
        if (h->name_n < sizeof h->name)
            h->name[h->name_n] = c;
        h->name_n++;
    } else {
        h->done = true; /* no field: the body has begun */
    }
}

static void on_name_space_byte(struct headerscan *h, char c)
{
    bool mbox = h->is_first_line && (name_is(h, STR("From")) || name_is(h, STR(">From")));

    if (c == ':')
        start_value(h);
    else if (c == ' ' || c == '\t')
        h->at = NAME_SPACE;
    else if (mbox && c != '\n')
        h->at = MBOX_LINE;
    else
        h->done = true;
}

static void on_line_start_byte(struct headerscan *h, char c)
{
    if (c == '\r') {
        h->at = EMPTY_LINE_CR;
    } else if (c == ' ' || c == '\t') {
        /* a continuation, which needs a field to continue */
        h->at = VALUE;
        h->done = h->is_first_line;
    } else {
        h->at = NAME;
        h->name_n = 0;
        h->in_received = false;
        on_name_byte(h, c);
    }
}

static void on_line_end(struct headerscan *h)
{
    h->at = LINE_START;
    h->is_first_line = false;
}

static void on_byte(struct headerscan *h, char c)
{
    switch ((enum at)h->at) {
    case LINE_START:
        on_line_start_byte(h, c);
        break;
    case EMPTY_LINE_CR:
        h->done = true;
        break;
    case NAME:
        on_name_byte(h, c);
        break;
    case NAME_SPACE:
        on_name_space_byte(h, c);
        break;
    case VALUE:
        if (c == '\n')
            on_line_end(h);
        if (h->in_received && c != '\n')
            match_mark(h, c);
        break;
    case MBOX_LINE:
        if (c == '\n')
            on_line_end(h);
        break;
    }
}

void headerscan_feed(struct headerscan *h, struct str span)
{
    for (size_t i = 0; i < span.n && !h->done; i++) {
        h->header_bytes++;
        on_byte(h, span.p[i]);
        if (h->header_bytes > LIMIT_HEADER_BYTES)
            h->done = true;
    }
}

enum header_verdict headerscan_verdict(const struct headerscan *h)
{
    if (h->own > LIMIT_OWN_TRACES)
        return HEADER_OWN_LOOP;
    if (h->received > LIMIT_RECEIVED_HOPS)
        return HEADER_LOOP;
    if (h->header_bytes > LIMIT_HEADER_BYTES)
        return HEADER_TOO_BIG;
    return HEADER_OK;
}
