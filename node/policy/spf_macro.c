/* Macros: RFC 7208 section 7. Has its fuzzer in spf_fuzz.c. */
#include <stdio.h>

#include "node/policy/spf_private.h"

#define PARTS_MOST 1000 /* more labels than any value has */
#define VALUE_SIZE (LIMIT_SMTP_PATH_BYTES + LIMIT_SMTP_HELO_BYTES + 16)

/* One macro-expand: "%{" letter digits [ "r" ] delimiters "}" */
struct macro {
    char letter;   /* lower case */
    bool is_upper; /* the value is URL-escaped */
    bool reverse;
    unsigned parts; /* right-hand parts that are kept; 0: all */
    struct str delimiters;
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_in(char c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

/* Length of the macro at the start of s, or 0: it is none. */
static size_t parse_macro(struct str s, struct macro *m)
{
    size_t at = 3, first;
    bool has_digits;

    if (s.n < 4 || s.p[1] != '{' || !is_in(lower(s.p[2]), "slodiphcrtv"))
        return 0;
    *m = (struct macro){.letter = lower(s.p[2]), .is_upper = lower(s.p[2]) != s.p[2]};
    for (first = at; at < s.n && s.p[at] >= '0' && s.p[at] <= '9'; at++)
        if (m->parts < PARTS_MOST)
            m->parts = m->parts * 10 + (unsigned)(s.p[at] - '0');
    has_digits = at > first;
    if (has_digits && m->parts == 0)
        return 0;
    if (at < s.n && lower(s.p[at]) == 'r') {
        m->reverse = true;
        at++;
    }
    for (first = at; at < s.n && is_in(s.p[at], ".-+,/_="); at++)
        ;
    m->delimiters = at > first ? str_from(str_head(s, at), first) : STR(".");
    return at < s.n && s.p[at] == '}' ? at + 1 : 0;
}

/* Length of the first part of a macro string, or 0 where it breaks the grammar. */
static size_t element(struct str s, bool is_exp, bool *is_macro)
{
    struct macro m;
    size_t n;

    *is_macro = s.p[0] == '%';
    if (!*is_macro)
        return (s.p[0] > ' ' && s.p[0] <= '~') || (is_exp && s.p[0] == ' ');
    if (s.n > 1 && is_in(s.p[1], "%_-"))
        return 2;
    n = parse_macro(s, &m);
    return n > 0 && (is_exp || !is_in(m.letter, "crt")) ? n : 0;
}

bool spf_is_macro_string(struct str s, bool is_exp)
{
    bool is_macro;

    while (s.n > 0) {
        size_t n = element(s, is_exp, &is_macro);

        if (n == 0)
            return false;
        s = str_from(s, n);
    }
    return true;
}

bool spf_ends_in_macro(struct str s)
{
    bool is_macro = false;

    while (s.n > 0) {
        size_t n = element(s, true, &is_macro);

        ASSERT(n > 0);
        s = str_from(s, n);
    }
    return is_macro;
}

bool spf_wants_p(struct str spec)
{
    struct macro m;
    bool is_macro;

    while (spec.n > 0) {
        size_t n = element(spec, true, &is_macro);

        ASSERT(n > 0);
        if (n > 2 && parse_macro(spec, &m) > 0 && m.letter == 'p')
            return true;
        spec = str_from(spec, n);
    }
    return false;
}

/* --- values --- */

bool spf_is_below(struct str name, struct str domain)
{
    size_t before = name.n - domain.n;

    if (name.n < domain.n || !str_eq_nocase(str_from(name, before), domain))
        return false;
    return before == 0 || name.p[before - 1] == '.';
}

/* The validated name: the domain itself, before one below it, before any (7.3). */
static struct str validated_name(const struct spf *s)
{
    struct str best = STR("unknown"), domain = s->top->domain;
    int best_rank = 0;

    for (size_t i = 0; i < s->host_count; i++) {
        struct str name = str_of(s->hosts[i]);
        int rank = str_eq_nocase(name, domain) ? 3 : spf_is_below(name, domain) ? 2 : 1;

        if (s->is_valid[i] && rank > best_rank) {
            best_rank = rank;
            best = name;
        }
    }
    return best;
}

/* 192.0.2.1, or 32 digits with dots between them. */
static struct str dotted(const struct spf *s, char buf[static VALUE_SIZE])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;

    if (s->is_ipv4)
        return ip_text(&s->client, buf);
    for (size_t i = 0; i < 32; i++) {
        uint8_t byte = s->client.b[i / 2];

        buf[n++] = digits[i % 2 == 0 ? byte >> 4 : byte & 15];
        buf[n++] = '.';
    }
    return (struct str){buf, n - 1};
}

static struct str sender(const struct spf *s, char buf[static VALUE_SIZE])
{
    ASSERT(s->local.n + 1 + s->domain.n <= VALUE_SIZE);
    memcpy(buf, s->local.p, s->local.n);
    buf[s->local.n] = '@';
    memcpy(buf + s->local.n + 1, s->domain.p, s->domain.n);
    return (struct str){buf, s->local.n + 1 + s->domain.n};
}

static struct str value(const struct spf *s, char letter, char buf[static VALUE_SIZE])
{
    switch (letter) {
    case 's':
        return sender(s, buf);
    case 'l':
        return s->local;
    case 'o':
        return s->domain;
    case 'd':
        return s->top->domain;
    case 'i':
        return dotted(s, buf);
    case 'p':
        return validated_name(s);
    case 'v':
        return s->is_ipv4 ? STR("in-addr") : STR("ip6");
    case 'h':
        return s->helo;
    case 'r':
        return s->receiver;
    case 'c':
        return ip_text(&s->client, buf);
    }
    snprintf(buf, VALUE_SIZE, "%lld", (long long)s->wall_s); /* t */
    return str_of(buf);
}

/* --- expansion --- */

static void put(struct spf_text *out, char c)
{
    if (out->n < sizeof out->p)
        out->p[out->n++] = c;
    else
        out->is_long = true;
}

/* All but the unreserved characters of RFC 3986 as %XX (7.3). */
static void put_escaped(struct spf_text *out, char c, bool escape)
{
    static const char digits[] = "0123456789ABCDEF";
    bool plain =
        (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || is_in(c, "-._~");

    if (!escape || plain) {
        put(out, c);
        return;
    }
    put(out, '%');
    put(out, digits[(unsigned char)c >> 4]);
    put(out, digits[c & 15]);
}

static bool is_delimiter(const struct macro *m, char c)
{
    return str_find(m->delimiters, c) < m->delimiters.n;
}

/* The last parts, in their order. */
static void put_parts(const struct macro *m, struct str v, struct spf_text *out)
{
    size_t from = v.n;

    for (unsigned seen = 0; from > 0; from--)
        if (is_delimiter(m, v.p[from - 1]) && ++seen == m->parts)
            break;
    for (size_t i = from; i < v.n; i++)
        put_escaped(out, is_delimiter(m, v.p[i]) ? '.' : v.p[i], m->is_upper);
}

/* The last parts of the reversed value, which are the first ones, the last of them first. */
static void put_reversed(const struct macro *m, struct str v, struct spf_text *out)
{
    size_t end = 0;

    for (unsigned seen = 0; end < v.n; end++)
        if (is_delimiter(m, v.p[end]) && ++seen == m->parts)
            break;
    for (size_t to = end, from = end;; from--) {
        if (from > 0 && !is_delimiter(m, v.p[from - 1]))
            continue;
        for (size_t i = from; i < to; i++)
            put_escaped(out, v.p[i], m->is_upper);
        if (from == 0)
            break;
        put(out, '.');
        to = from - 1;
    }
}

static void put_macro(const struct spf *s, struct str text, struct spf_text *out)
{
    char buf[VALUE_SIZE];
    struct macro m;

    ASSERT(parse_macro(text, &m) == text.n);
    if (m.reverse)
        put_reversed(&m, value(s, m.letter, buf), out);
    else
        put_parts(&m, value(s, m.letter, buf), out);
}

void spf_expand(const struct spf *s, struct str spec, struct spf_text *out)
{
    bool is_macro;

    out->n = 0;
    out->is_long = false;
    while (spec.n > 0 && !out->is_long) {
        size_t n = element(spec, true, &is_macro);

        ASSERT(n > 0);
        if (n > 2)
            put_macro(s, str_head(spec, n), out);
        else if (n == 1 || spec.p[1] == '%')
            put(out, spec.p[0]);
        else if (spec.p[1] == '_')
            put(out, ' ');
        else
            for (const char *p = "%20"; *p != 0; p++)
                put(out, *p);
        spec = str_from(spec, n);
    }
}

void spf_reverse_name(const struct spf *s, char out[static LIMIT_SMTP_DOMAIN_BYTES + 1])
{
    char buf[IP_REVERSE_BYTES];
    struct str labels = ip_reverse(&s->client, buf);

    snprintf(out, LIMIT_SMTP_DOMAIN_BYTES + 1, STR_FMT ".%s.arpa", STR_ARG(labels),
             s->is_ipv4 ? "in-addr" : "ip6");
}
