#include "node/smtp/address.h"

#include "base/utf8.h"

#define LABEL_BYTES      63 /* RFC 1035 2.3.4 */
#define SIZE_DIGITS      20 /* RFC 1870 3 */
#define IPV6_GROUPS      8
#define IPV6_HEX_DIGITS  4
#define IPV4_PARTS       4
#define IPV4_MAX         255
#define IPV4_PART_DIGITS 3

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_alpha(c) || is_digit(c);
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* RFC 5322 3.2.3, as RFC 5321 4.1.2 uses it */
static bool is_atext(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Of a character that is not ASCII; check_bytes() has seen to it that it is one. */
static bool is_utf8(char c)
{
    return (uint8_t)c >= 0x80;
}

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

/* --- domains and literals --- */

static bool is_label(struct str s)
{
    if (s.n == 0 || s.n > LABEL_BYTES || !is_alnum(s.p[0]) || !is_alnum(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
    return true;
}

/* RFC 5890 2.3.2.1. Its length counts in its A-label, which is made elsewhere. */
static bool is_u_label(struct str s)
{
    if (!utf8_has_8bit(s) || s.p[0] == '-' || str_ends(s, '-'))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '-' && !is_utf8(s.p[i]))
            return false;
    return true;
}

static bool is_domain(struct str s, bool u_labels)
{
    if (s.n == 0 || s.n > LIMIT_SMTP_DOMAIN_BYTES || str_ends(s, '.'))
        return false;
    while (s.n > 0) {
        struct str label = str_split(&s, '.');

        if (!is_label(label) && !(u_labels && is_u_label(label)))
            return false;
    }
    return true;
}

bool domain_normalize(struct str domain, char buf[static LIMIT_SMTP_DOMAIN_BYTES],
                      struct str *out)
{
    *out = STR_NONE;
    if (!is_domain(domain, false))
        return false;
    *out = str_lower(domain, buf, LIMIT_SMTP_DOMAIN_BYTES);
    return true;
}

static bool is_ipv4(struct str s)
{
    unsigned parts = 0;

    if (str_ends(s, '.'))
        return false;
    for (; s.n > 0; parts++) {
        struct str part = str_split(&s, '.');
        uint64_t value;

        if (part.n > IPV4_PART_DIGITS || !str_to_u64(part, &value) || value > IPV4_MAX)
            return false;
    }
    return parts == IPV4_PARTS;
}

/* 1 to 4 hex digits */
static bool is_ipv6_group(struct str s)
{
    if (s.n == 0 || s.n > IPV6_HEX_DIGITS)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_hex(s.p[i]))
            return false;
    return true;
}

/* Groups of a run without "::", or -1. An IPv4 address counts as two, and only at the end. */
static int ipv6_groups(struct str s, bool ipv4_may_end)
{
    int groups = 0;

    if (str_ends(s, ':'))
        return -1;
    while (s.n > 0) {
        struct str group = str_split(&s, ':');

        if (is_ipv6_group(group))
            groups++;
        else if (ipv4_may_end && s.n == 0 && is_ipv4(group))
            groups += 2;
        else
            return -1;
    }
    return groups;
}

/* RFC 5321 4.1.3: IPv6-full, IPv6-comp, IPv6v4-full, IPv6v4-comp. "::" stands for at least two
 * groups there, so that at most six others are left. */
static bool is_ipv6(struct str s)
{
    for (size_t i = 0; i + 1 < s.n; i++) {
        int before, after;

        if (s.p[i] != ':' || s.p[i + 1] != ':')
            continue;
        before = ipv6_groups(str_head(s, i), false);
        after = ipv6_groups(str_from(s, i + 2), true);
        return before >= 0 && after >= 0 && before + after <= IPV6_GROUPS - 2;
    }
    return ipv6_groups(s, true) == IPV6_GROUPS;
}

bool address_is_literal(struct str s)
{
    if (s.n < 2 || s.p[0] != '[' || !str_ends(s, ']'))
        return false;
    s = str_head(str_from(s, 1), s.n - 2);
    return str_cut_nocase(&s, STR("IPv6:")) ? is_ipv6(s) : is_ipv4(s);
}

/* --- the path --- */

/* Length of the quoted string at the start of s with both quotes, or 0. */
static size_t quoted_length(struct str s)
{
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '"')
            return i + 1;
        if (s.p[i] == '\\' && (++i == s.n || is_utf8(s.p[i]))) /* RFC 6531 3.3: ASCII only */
            return 0;
    }
    return 0;
}

/* Length of the Dot-string at the start of s, or 0: atoms with single dots between them. */
static size_t dot_string_length(struct str s)
{
    bool after_atext = false;
    size_t i;

    for (i = 0;
         i < s.n && (is_atext(s.p[i]) || is_utf8(s.p[i]) || (s.p[i] == '.' && after_atext));
         i++)
        after_atext = s.p[i] != '.';
    return after_atext ? i : 0;
}

static bool holds_any(struct str s, const char *set)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr(set, s.p[i]) != NULL)
            return true;
    return false;
}

/* Wide and small forms of %, ! and @, which a server that folds widths takes for these (RFC
 * 8265 3.3). */
static bool holds_wide_relay(struct str s)
{
    static const uint32_t forms[] = {0xff05, 0xff01, 0xff20, 0xfe6a, 0xfe57, 0xfe6b};
    struct utf8 u = {0};

    for (size_t i = 0; i < s.n && utf8_step(&u, (uint8_t)s.p[i]); i++)
        for (size_t k = 0; k < sizeof forms / sizeof forms[0]; k++)
            if (u.left == 0 && u.character == forms[k])
                return true;
    return false;
}

/* Bytes that no address may hold, wherever they stand. */
static enum address_verdict check_bytes(struct str s, bool smtputf8)
{
    struct utf8 u = {0};
    bool is_good = true;

    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] < 0x80 && !is_printable(s.p[i]))
            return ADDRESS_CONTROL;
    if (!utf8_has_8bit(s))
        return ADDRESS_OK;
    if (!smtputf8)
        return ADDRESS_EIGHT_BIT;
    for (size_t i = 0; i < s.n && is_good; i++) {
        is_good = utf8_step(&u, (uint8_t)s.p[i]);
        if (is_good && u.left == 0 && utf8_is_hidden(u.character))
            return ADDRESS_CONTROL;
    }
    return is_good && u.left == 0 ? ADDRESS_OK : ADDRESS_SYNTAX;
}

/* Mailbox = Local-part "@" ( Domain / address-literal ), in what stands between < and >. */
static enum address_verdict parse_mailbox(struct str s, struct path *path)
{
    bool quoted = s.n > 0 && s.p[0] == '"';
    size_t n = quoted ? quoted_length(s) : dot_string_length(s);

    if (s.n > 0 && s.p[0] == '@')
        return ADDRESS_SOURCE_ROUTE;
    if (n == 0 || n == s.n || s.p[n] != '@')
        return ADDRESS_SYNTAX;
    path->whole = s;
    path->local = str_head(s, n);
    path->domain = str_from(s, n + 1);
    path->literal = address_is_literal(path->domain);
    path->relay_form =
        holds_any(path->local, quoted ? "%!@" : "%!") || holds_wide_relay(path->local);
    path->utf8 = utf8_has_8bit(s);
    if (!path->literal && !is_domain(path->domain, path->utf8))
        return ADDRESS_SYNTAX;
    return ADDRESS_OK;
}

/* Cuts the <path> off *arg: its inside goes to *inside. A > within quotes does not end it. */
static bool cut_brackets(struct str *arg, struct str *inside)
{
    bool quoted = false;

    str_skip(arg, ' ');
    if (arg->n == 0 || arg->p[0] != '<')
        return false;
    for (size_t i = 1; i < arg->n; i++) {
        char c = arg->p[i];

        if (c == '>' && !quoted) {
            *inside = str_from(str_head(*arg, i), 1);
            *arg = str_from(*arg, i + 1);
            return arg->n == 0 || arg->p[0] == ' ';
        }
        if (c == '"')
            quoted = !quoted;
        else if (c == '\\' && quoted)
            i++;
    }
    return false;
}

/* --- parameters --- */

static bool is_keyword(struct str s)
{
    if (s.n == 0 || !is_alnum(s.p[0]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
    return true;
}

static enum address_verdict take_size(struct str value, struct mail_params *p)
{
    if (p->has_size)
        return ADDRESS_PARAM_DUPLICATE;
    p->has_size = true;
    if (str_to_u64(value, &p->size_bytes))
        return value.n <= SIZE_DIGITS ? ADDRESS_OK : ADDRESS_PARAM_SYNTAX;
    for (size_t i = 0; i < value.n; i++)
        if (!is_digit(value.p[i]))
            return ADDRESS_PARAM_SYNTAX;
    /* 20 digits are legal and may pass 2^64: too large for us either way */
    p->size_bytes = UINT64_MAX;
    return value.n == SIZE_DIGITS ? ADDRESS_OK : ADDRESS_PARAM_SYNTAX;
}

static enum address_verdict take_body(struct str value, struct mail_params *p)
{
    if (p->has_body)
        return ADDRESS_PARAM_DUPLICATE;
    p->has_body = true;
    p->eight_bit = str_eq_nocase(value, STR("8BITMIME"));
    return p->eight_bit || str_eq_nocase(value, STR("7BIT")) ? ADDRESS_OK
                                                             : ADDRESS_PARAM_SYNTAX;
}

static enum address_verdict take_smtputf8(bool has_value, struct mail_params *p)
{
    if (p->smtputf8)
        return ADDRESS_PARAM_DUPLICATE;
    p->smtputf8 = !has_value; /* RFC 6531 3.4 */
    return has_value ? ADDRESS_PARAM_SYNTAX : ADDRESS_OK;
}

static enum address_verdict take_param(struct str param, struct mail_params *p)
{
    bool has_value = str_find(param, '=') < param.n;
    struct str keyword = str_split(&param, '=');

    if (!is_keyword(keyword) || (has_value && param.n == 0))
        return ADDRESS_PARAM_SYNTAX;
    if (p == NULL)
        return ADDRESS_PARAM_UNKNOWN;
    if (str_eq_nocase(keyword, STR("SMTPUTF8")))
        return take_smtputf8(has_value, p);
    if (str_eq_nocase(keyword, STR("SIZE")))
        return take_size(param, p);
    if (str_eq_nocase(keyword, STR("BODY")))
        return take_body(param, p);
    return ADDRESS_PARAM_UNKNOWN;
}

/* rest: what stands behind the >. p NULL: no parameter is known. */
static enum address_verdict parse_params(struct str rest, struct mail_params *p)
{
    enum address_verdict v = ADDRESS_OK;

    for (str_skip(&rest, ' '); rest.n > 0 && v == ADDRESS_OK; str_skip(&rest, ' '))
        v = take_param(str_split(&rest, ' '), p);
    return v;
}

/* --- both together --- */

/* It stands behind the path, which is read in its light. */
static bool says_smtputf8(struct str arg)
{
    struct str inside;

    if (!cut_brackets(&arg, &inside))
        return false;
    while (arg.n > 0)
        if (str_eq_nocase(str_split(&arg, ' '), STR("SMTPUTF8")))
            return true;
    return false;
}

/* params NULL: of RCPT. */
static enum address_verdict parse(struct str arg, bool smtputf8, struct path *path,
                                  struct mail_params *params)
{
    enum address_verdict v = check_bytes(arg, smtputf8);
    bool of_rcpt = params == NULL;
    struct str inside;

    if (v != ADDRESS_OK)
        return v;
    if (!cut_brackets(&arg, &inside))
        return ADDRESS_SYNTAX;
    if (inside.n > LIMIT_SMTP_PATH_BYTES)
        return ADDRESS_TOO_LONG;
    if (inside.n == 0 && !of_rcpt) {
        path->is_null = true;
    } else if (of_rcpt && str_eq_nocase(inside, STR("postmaster"))) {
        path->is_postmaster = true;
        path->whole = path->local = inside;
    } else {
        v = parse_mailbox(inside, path);
        if (v == ADDRESS_OK && of_rcpt && path->local.n > LIMIT_SMTP_LOCAL_PART_BYTES)
            v = ADDRESS_TOO_LONG;
    }
    return v == ADDRESS_OK ? parse_params(arg, params) : v;
}

enum address_verdict address_parse_mail(struct str arg, struct path *path,
                                        struct mail_params *params)
{
    enum address_verdict v;

    *path = (struct path){.is_null = false};
    *params = (struct mail_params){.size_bytes = 0};
    v = parse(arg, says_smtputf8(arg), path, params);
    if (v != ADDRESS_OK) {
        *path = (struct path){.is_null = false};
        *params = (struct mail_params){.size_bytes = 0};
    }
    return v;
}

enum address_verdict address_parse_rcpt(struct str arg, bool smtputf8, struct path *path)
{
    enum address_verdict v;

    *path = (struct path){.is_null = false};
    v = parse(arg, smtputf8, path, NULL);
    if (v != ADDRESS_OK)
        *path = (struct path){.is_null = false};
    return v;
}

const char *address_reply(enum address_verdict v, bool of_rcpt)
{
    switch (v) {
    case ADDRESS_OK:
        break;
    case ADDRESS_SYNTAX:
        return of_rcpt ? "501 5.1.3 Bad recipient address syntax"
                       : "501 5.1.7 Bad sender address syntax";
    case ADDRESS_CONTROL:
        return of_rcpt ? "501 5.1.3 Control byte in recipient address"
                       : "501 5.1.7 Control byte in sender address";
    case ADDRESS_EIGHT_BIT:
        return "501 5.6.7 An address that is not ASCII needs SMTPUTF8";
    case ADDRESS_SOURCE_ROUTE:
        return of_rcpt ? "501 5.1.3 Source routes are not taken"
                       : "501 5.1.7 Source routes are not taken";
    case ADDRESS_TOO_LONG:
        return of_rcpt ? "501 5.1.3 Recipient address too long"
                       : "501 5.1.7 Sender address too long";
    case ADDRESS_PARAM_SYNTAX:
        return "501 5.5.4 Bad parameter syntax";
    case ADDRESS_PARAM_DUPLICATE:
        return "501 5.5.4 Parameter given twice";
    case ADDRESS_PARAM_UNKNOWN:
        return "555 5.5.4 Parameter not known";
    }
    ASSERT(v != ADDRESS_OK);
    return "501 5.5.2 Syntax error";
}

bool address_owner(const struct path *rcpt, char buf[static LIMIT_SMTP_DOMAIN_BYTES],
                   struct str *out)
{
    *out = STR_NONE;
    return !rcpt->relay_form && !rcpt->literal && domain_normalize(rcpt->domain, buf, out);
}
