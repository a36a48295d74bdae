/* The grammar of SPF records: RFC 7208 section 12. Has its fuzzer in spf_fuzz.c. */
#include "node/policy/spf_private.h"

#define BITS_V4 (IP_BITS - IP_V4_BITS)
#define BITS_V6 IP_BITS

enum argument { ARG_NONE, ARG_SPEC, ARG_SPEC_OR_NOT, ARG_SPEC_AND_LENGTHS, ARG_V4, ARG_V6 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool spf_cut_version(struct str *record)
{
    return str_cut_nocase(record, STR("v=spf1")) && (record->n == 0 || record->p[0] == ' ');
}

bool spf_cut_term(struct str *rest, struct str *text)
{
    str_skip(rest, ' ');
    if (rest->n == 0)
        return false;
    *text = str_split(rest, ' ');
    return true;
}

/* --- domain-spec --- */

/* toplabel = ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum ) */
static bool is_toplabel(struct str s)
{
    bool all_digits = true;

    if (s.n == 0 || s.p[0] == '-' || str_ends(s, '-'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]) && !is_alpha(s.p[i]) && s.p[i] != '-')
            return false;
        all_digits = all_digits && is_digit(s.p[i]);
    }
    return !all_digits;
}

/* domain-spec = macro-string ( "." toplabel [ "." ] / macro-expand ) */
static bool is_domain_spec(struct str s)
{
    size_t dot;

    if (s.n == 0 || !spf_is_macro_string(s, false))
        return false;
    if (spf_ends_in_macro(s))
        return true;
    if (str_ends(s, '.'))
        s.n--;
    dot = str_find_last(s, '.');
    return dot < s.n && is_toplabel(str_from(s, dot + 1));
}

/* --- prefix lengths and networks --- */

/* Cuts "/" and digits off the end of *s, if there are such; false: they are no length. */
static bool cut_length(struct str *s, unsigned max, unsigned *bits, bool *found)
{
    size_t slash = str_find_last(*s, '/');
    struct str digits = slash < s->n ? str_from(*s, slash + 1) : STR_NONE;
    uint64_t value;

    *found = false;
    if (digits.n == 0)
        return true;
    for (size_t i = 0; i < digits.n; i++)
        if (!is_digit(digits.p[i]))
            return true;
    *found = true;
    *s = str_head(*s, slash);
    if (!str_to_u64(digits, &value) || value > max || (digits.p[0] == '0' && digits.n > 1))
        return false;
    *bits = (unsigned)value;
    return true;
}

/* dual-cidr-length = [ "/" length of IPv4 ] [ "//" length of IPv6 ] */
static bool cut_lengths(struct str *s, struct spf_term *t)
{
    struct str whole = *s;
    unsigned bits = BITS_V6;
    bool found;

    if (!cut_length(s, BITS_V6, &bits, &found))
        return false;
    if (!found)
        return true;
    if (!str_ends(*s, '/')) {
        *s = whole;
        return cut_length(s, BITS_V4, &t->bits4, &found);
    }
    t->bits6 = bits;
    s->n--;
    return cut_length(s, BITS_V4, &t->bits4, &found);
}

/* ":" network [ "/" length ] */
static bool parse_network(struct str arg, struct spf_term *t)
{
    bool is_v4 = t->kind == SPF_IP4, found;

    if (!cut_length(&arg, is_v4 ? BITS_V4 : BITS_V6, is_v4 ? &t->bits4 : &t->bits6, &found) ||
        !str_cut_nocase(&arg, STR(":")))
        return false;
    return (str_find(arg, ':') == arg.n) == is_v4 && ip_parse(arg, &t->net);
}

/* --- terms --- */

/* arg: what stands behind the name, with its ":" or "/". */
static bool parse_argument(struct str arg, enum argument kind, struct spf_term *t)
{
    switch (kind) {
    case ARG_NONE:
        return arg.n == 0;
    case ARG_V4:
    case ARG_V6:
        return parse_network(arg, t);
    case ARG_SPEC_AND_LENGTHS:
        if (!cut_lengths(&arg, t))
            return false;
        break;
    case ARG_SPEC:
    case ARG_SPEC_OR_NOT:
        break;
    }
    if (arg.n == 0)
        return kind != ARG_SPEC;
    t->spec = str_from(arg, 1);
    return arg.p[0] == ':' && is_domain_spec(t->spec);
}

static bool parse_mechanism(struct str name, struct str arg, struct spf_term *t)
{
    static const struct {
        struct str name;
        enum spf_mechanism kind;
        enum argument argument;
    } mechanisms[] = {
        {{"all", 3}, SPF_ALL, ARG_NONE},         {{"include", 7}, SPF_INCLUDE, ARG_SPEC},
        {{"a", 1}, SPF_A, ARG_SPEC_AND_LENGTHS}, {{"mx", 2}, SPF_MX, ARG_SPEC_AND_LENGTHS},
        {{"ptr", 3}, SPF_PTR, ARG_SPEC_OR_NOT},  {{"ip4", 3}, SPF_IP4, ARG_V4},
        {{"ip6", 3}, SPF_IP6, ARG_V6},           {{"exists", 6}, SPF_EXISTS, ARG_SPEC},
    };

    for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
        if (str_eq_nocase(name, mechanisms[i].name)) {
            t->kind = mechanisms[i].kind;
            return parse_argument(arg, mechanisms[i].argument, t);
        }
    }
    return false;
}

/* name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ) */
static bool is_modifier_name(struct str s)
{
    if (s.n == 0 || !is_alpha(s.p[0]))
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (!is_alpha(s.p[i]) && !is_digit(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' &&
            s.p[i] != '.')
            return false;
    return true;
}

static bool parse_modifier(struct str name, struct str value, struct spf_term *t)
{
    if (!is_modifier_name(name))
        return false;
    t->spec = value;
    if (str_eq_nocase(name, STR("redirect")))
        t->kind = SPF_REDIRECT;
    else if (str_eq_nocase(name, STR("exp")))
        t->kind = SPF_EXP;
    else
        t->kind = SPF_UNKNOWN_MODIFIER;
    return t->kind == SPF_UNKNOWN_MODIFIER ? spf_is_macro_string(value, true)
                                           : is_domain_spec(value);
}

static bool cut_qualifier(struct str *s, enum spf_result *out)
{
    static const char signs[] = "+-~?";
    static const enum spf_result results[] = {SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_NEUTRAL};
    const char *hit = memchr(signs, s->p[0], sizeof signs - 1);

    *out = SPF_PASS;
    if (hit == NULL)
        return false;
    *out = results[hit - signs];
    *s = str_from(*s, 1);
    return true;
}

bool spf_parse_term(struct str text, struct spf_term *t)
{
    size_t at = 0;
    struct str rest = text;

    *t = (struct spf_term){.text = text, .bits4 = BITS_V4, .bits6 = BITS_V6};
    while (at < text.n && text.p[at] != ':' && text.p[at] != '/' && text.p[at] != '=')
        at++;
    if (at < text.n && text.p[at] == '=')
        return parse_modifier(str_head(text, at), str_from(text, at + 1), t);
    if (cut_qualifier(&rest, &t->on_match))
        at--;
    return parse_mechanism(str_head(rest, at), str_from(rest, at), t);
}

/* RFC 7208 6: each of them at most once. */
static bool keep_modifier(struct str *place, struct str spec)
{
    if (place->n > 0)
        return false;
    *place = spec;
    return true;
}

bool spf_parse_record(struct spf_frame *f)
{
    struct str rest = f->record, text;
    struct spf_term t;

    while (spf_cut_term(&rest, &text)) {
        if (!spf_parse_term(text, &t))
            return false;
        if (t.kind == SPF_REDIRECT && !keep_modifier(&f->redirect, t.spec))
            return false;
        if (t.kind == SPF_EXP && !keep_modifier(&f->exp, t.spec))
            return false;
    }
    f->rest = f->record;
    return true;
}
