#include "proto/domain.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "proto/roster.h"

#define DEFAULT_PORT 25

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *label_check(struct str label)
{
    if (label.n == 0)
        return "an empty label (two dots, or a dot at an end)";
    if (label.n > 63)
        return "a label is longer than 63 bytes";
    if (label.p[0] == '-' || str_ends(label, '-'))
        return "a label starts or ends with a hyphen";
    for (size_t i = 0; i < label.n; i++) {
        char c = label.p[i];

        if (c >= 'A' && c <= 'Z')
            return "upper case; names are kept in lower case";
        if (!(c >= 'a' && c <= 'z') && !is_digit(c) && c != '-')
            return "only a-z, 0-9, hyphens and dots (other scripts as xn-- labels)";
    }
    return NULL;
}

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_digit(s.p[i]))
            return false;
    return true;
}

/* Hosts of a route may have one label ("localhost"); domains need two. */
static const char *name_check(struct str name, size_t min_labels)
{
    struct str rest = name, label = STR_NONE;
    size_t labels = 0;
    bool more = true;

    if (name.n == 0)
        return "empty";
    if (name.n > LIMIT_SMTP_DOMAIN_BYTES)
        return "longer than 253 bytes";
    while (more) {
        size_t dot = str_find(rest, '.');
        const char *why = label_check(str_head(rest, dot));

        if (why != NULL)
            return why;
        label = str_head(rest, dot);
        labels++;
        more = dot < rest.n;
        if (more)
            rest = str_from(rest, dot + 1);
    }
    if (all_digits(label))
        return "the last label is a number";
    return labels < min_labels ? "needs at least two labels" : NULL;
}

const char *domain_name_check(struct str name)
{
    return name_check(name, 2);
}

/* AF_INET, AF_INET6, or 0; `canonical` gets the shortest text. */
static int address_family(struct str s, char canonical[INET6_ADDRSTRLEN])
{
    static const int families[] = {AF_INET, AF_INET6};
    char z[INET6_ADDRSTRLEN];
    unsigned char bytes[sizeof(struct in6_addr)];

    if (!str_to_z(s, z, sizeof z))
        return 0;
    for (size_t i = 0; i < 2; i++)
        if (inet_pton(families[i], z, bytes) == 1 &&
            inet_ntop(families[i], bytes, canonical, INET6_ADDRSTRLEN) != NULL)
            return families[i];
    return 0;
}

static const char *host_check(struct str host)
{
    char canonical[INET6_ADDRSTRLEN];

    return address_family(host, canonical) != 0 ? NULL : name_check(host, 1);
}

static const char *route_check(const struct domain_route *r)
{
    if (r->kind == ROUTE_MX)
        return r->host_count == 0 ? NULL : "an mx route has no hosts";
    if (r->kind != ROUTE_STATIC)
        return "unknown kind of route";
    if (r->host_count == 0)
        return "a static route needs a host";
    if (r->host_count > LIMIT_ROUTE_HOSTS)
        return "more than 20 hosts";
    for (uint32_t i = 0; i < r->host_count; i++) {
        const char *why = host_check(r->hosts[i].host);

        if (why != NULL)
            return why;
        if (r->hosts[i].port == 0)
            return "a port is 1 to 65535";
    }
    return NULL;
}

/* The mode that a check does not have; CHECK_OFF: it has all. */
static uint8_t no_mode(int kind)
{
    return kind == DOMAIN_CHECK_HEADERS    ? CHECK_DEFER
           : kind == DOMAIN_CHECK_GREYLIST ? CHECK_REFUSE
                                           : CHECK_OFF;
}

static const char *no_mode_text(int kind)
{
    return kind == DOMAIN_CHECK_HEADERS
               ? "headers: off, mark or refuse: another try would be the same"
               : "greylist: off, mark or defer: it wants to see another try";
}

/* RFC 5321 4.1.2: Dot-string, of ASCII. */
static bool is_dot_string(struct str s)
{
    static const char others[] = "!#$%&'*+-/=?^_`{|}~";

    if (s.n == 0 || s.n > LIMIT_SMTP_LOCAL_PART_BYTES || s.p[0] == '.' || str_ends(s, '.'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '.' ? s.p[i - 1] == '.'
                     : !is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
                           (c == 0 || strchr(others, c) == NULL))
            return false;
    }
    return true;
}

const char *domain_digest_check(struct str address)
{
    size_t at = str_find_last(address, '@');

    if (at >= address.n)
        return "digest: not an address: no @";
    if (address.n > LIMIT_SMTP_PATH_BYTES)
        return "digest: an address has at most 254 bytes";
    if (!is_dot_string(str_head(address, at)))
        return "digest: in front of the @: 1 to 64 letters, digits and signs, no quotes";
    return domain_name_check(str_from(address, at + 1)) == NULL
               ? NULL
               : "digest: behind the @: the name of a domain, in lower case";
}

const char *domain_check(const struct domain *d)
{
    const char *why = domain_name_check(d->name);

    if (why == NULL)
        why = route_check(&d->route);
    if (why != NULL)
        return why;
    if (d->hold_s != 0 && (d->hold_s < LIMIT_HOLD_MIN_S || d->hold_s > LIMIT_HOLD_MAX_S))
        return "a hold time is 1 to 60 days, or 0 for that of the plan";
    if ((unsigned)d->tls > DOMAIN_TLS_OFF)
        return "unknown TLS mode";
    if ((unsigned)d->eight_bit > DOMAIN_EIGHT_BIT_HOLD)
        return "unknown 8-bit mode";
    if ((unsigned)d->dsn > DOMAIN_DSN_NONE)
        return "unknown choice of whom to tell";
    if (d->max_connections > LIMIT_DOMAIN_CONNS)
        return "at most 1000 connections";
    for (int i = 0; i < DOMAIN_CHECK_KINDS; i++)
        if (d->checks[i] > CHECK_REFUSE)
            return "unknown mode of a check";
    for (int i = 0; i < DOMAIN_CHECK_KINDS; i++)
        if (d->checks[i] != CHECK_OFF && d->checks[i] == no_mode(i))
            return no_mode_text(i);
    if ((unsigned)d->recipients > RECIPIENTS_LEARN || (unsigned)d->unknown > UNKNOWN_DEFER)
        return "unknown mode of recipients";
    if (d->digest.n > 0 && domain_digest_check(d->digest) != NULL)
        return domain_digest_check(d->digest);
    return roster_separator_check(d->separator);
}

/* One entry of a route text while it is read. `at` is what a complaint points to. */
struct entry {
    struct str host, port, preference;
    bool bracketed, has_port, has_preference;
    const char *at;
};

/* Cuts "host[:port][=preference]" apart; nothing is judged but the brackets. */
static const char *entry_split(struct str text, struct entry *e)
{
    size_t equals = str_find_last(text, '=');
    size_t end;

    *e = (struct entry){.at = text.p};
    if (equals < text.n) {
        e->has_preference = true;
        e->preference = str_from(text, equals + 1);
        text = str_head(text, equals);
    }
    if (text.n > 0 && text.p[0] == '[') {
        end = str_find(text, ']');
        if (end == text.n)
            return "\"[\" without \"]\"";
        e->bracketed = true;
        e->host = str_from(str_head(text, end), 1);
        text = str_from(text, end + 1);
        if (text.n > 0 && text.p[0] != ':') {
            e->at = text.p;
            return "\":\" or nothing must follow \"]\"";
        }
    } else {
        end = str_find(text, ':');
        e->host = str_head(text, end);
        text = str_from(text, end);
        if (str_find_last(text, ':') < text.n && str_find_last(text, ':') > 0)
            return "an IPv6 address needs brackets";
    }
    e->has_port = text.n > 0;
    if (e->has_port)
        e->port = str_from(text, 1);
    return NULL;
}

static const char *entry_numbers(struct entry *e, uint32_t place, struct domain_host *out)
{
    uint64_t n = 0;

    out->port = DEFAULT_PORT;
    out->preference = (uint16_t)place;
    if (e->has_port) {
        e->at = e->port.p;
        if (!str_to_u64(e->port, &n) || n < 1 || n > UINT16_MAX)
            return "a port is 1 to 65535";
        out->port = (uint16_t)n;
    }
    if (e->has_preference) {
        e->at = e->preference.p;
        if (!str_to_u64(e->preference, &n) || n > UINT16_MAX)
            return "a preference is 0 to 65535";
        out->preference = (uint16_t)n;
    }
    return NULL;
}

static const char *entry_parse(struct entry *e, uint32_t place, struct arena *a,
                               struct domain_host *out)
{
    char canonical[INET6_ADDRSTRLEN], lower[LIMIT_SMTP_DOMAIN_BYTES];
    const char *why = NULL;
    int family;

    if (e->host.n == 0)
        return "a host is missing";
    if (e->host.n > LIMIT_SMTP_DOMAIN_BYTES)
        return "longer than 253 bytes";
    family = address_family(e->host, canonical);
    if (e->bracketed && family != AF_INET6)
        return "brackets are for IPv6 addresses";
    if (family != 0)
        out->host = str_of(canonical);
    else
        out->host = str_lower(e->host, lower, sizeof lower);
    if (family == 0)
        why = name_check(out->host, 1);
    if (why == NULL && str_eq(out->host, STR("mx")))
        why = "\"mx\" stands alone";
    if (why == NULL)
        why = entry_numbers(e, place, out);
    if (why != NULL)
        return why;
    out->host = arena_str(a, out->host);
    return out->host.p == NULL ? "out of memory" : NULL;
}

static bool listed(const struct domain_route *r, const struct domain_host *h)
{
    for (uint32_t i = 0; i < r->host_count; i++)
        if (str_eq(r->hosts[i].host, h->host) && r->hosts[i].port == h->port)
            return true;
    return false;
}

static struct str trim(struct str s)
{
    str_skip(&s, ' ');
    while (str_ends(s, ' '))
        s = str_head(s, s.n - 1);
    return s;
}

const char *route_parse(struct str text, struct arena *a, struct domain_route *out, size_t *at)
{
    struct str rest = text;
    bool more = true;

    *at = 0;
    *out = (struct domain_route){.kind = ROUTE_STATIC};
    if (str_eq_nocase(trim(text), STR("mx"))) {
        out->kind = ROUTE_MX;
        return NULL;
    }
    if (trim(text).n == 0)
        return "empty; \"mx\" or a list of hosts";
    while (more) {
        size_t comma = str_find(rest, ',');
        struct str one = trim(str_head(rest, comma));
        struct domain_host h = {.port = 0};
        struct entry e;
        const char *why;

        *at = (size_t)(one.p - text.p);
        if (out->host_count == LIMIT_ROUTE_HOSTS)
            return "more than 20 hosts";
        why = entry_split(one, &e);
        if (why == NULL)
            why = entry_parse(&e, out->host_count, a, &h);
        if (why != NULL) {
            *at = (size_t)(e.at - text.p);
            return why;
        }
        if (listed(out, &h))
            return "listed twice";
        out->hosts[out->host_count++] = h;
        more = comma < rest.n;
        if (more)
            rest = str_from(rest, comma + 1);
    }
    return NULL;
}

size_t route_format(const struct domain_route *r, char buf[ROUTE_TEXT_SIZE])
{
    size_t n = 0;

    if (r->kind == ROUTE_MX)
        return (size_t)snprintf(buf, ROUTE_TEXT_SIZE, "mx");
    buf[0] = 0;
    for (uint32_t i = 0; i < r->host_count; i++) {
        const struct domain_host *h = &r->hosts[i];
        bool v6 = str_find(h->host, ':') < h->host.n;
        char preference[8] = "";

        ASSERT(h->host.n <= LIMIT_SMTP_DOMAIN_BYTES);
        if (h->preference != i)
            snprintf(preference, sizeof preference, "=%u", (unsigned)h->preference);
        n += (size_t)snprintf(buf + n, ROUTE_TEXT_SIZE - n, "%s%s" STR_FMT "%s:%u%s",
                              i > 0 ? "," : "", v6 ? "[" : "", STR_ARG(h->host), v6 ? "]" : "",
                              (unsigned)h->port, preference);
        ASSERT(n < ROUTE_TEXT_SIZE);
    }
    return n;
}

static const char *const tls_texts[] = {[DOMAIN_TLS_OPPORTUNISTIC] = "opportunistic",
                                        [DOMAIN_TLS_REQUIRE] = "require",
                                        [DOMAIN_TLS_OFF] = "off"};
static const char *const eight_bit_texts[] = {
    [DOMAIN_EIGHT_BIT_PASS] = "pass", [DOMAIN_EIGHT_BIT_HOLD] = "hold"};

static const char *const dsn_texts[] = {[DOMAIN_DSN_AUTHENTICATED] = "authenticated",
                                        [DOMAIN_DSN_ALL] = "all",
                                        [DOMAIN_DSN_NONE] = "none"};

/* Index of the text in the list, or -1. */
static int text_find(const char *const *texts, int count, struct str text)
{
    for (int i = 0; i < count; i++)
        if (str_eq(text, str_of(texts[i])))
            return i;
    return -1;
}

const char *domain_tls_text(enum domain_tls tls)
{
    ASSERT((unsigned)tls <= DOMAIN_TLS_OFF);
    return tls_texts[tls];
}

bool domain_tls_parse(struct str text, enum domain_tls *out)
{
    int i = text_find(tls_texts, 3, text);

    if (i >= 0)
        *out = (enum domain_tls)i;
    return i >= 0;
}

const char *domain_eight_bit_text(enum domain_eight_bit e)
{
    ASSERT((unsigned)e <= DOMAIN_EIGHT_BIT_HOLD);
    return eight_bit_texts[e];
}

bool domain_eight_bit_parse(struct str text, enum domain_eight_bit *out)
{
    int i = text_find(eight_bit_texts, 2, text);

    if (i >= 0)
        *out = (enum domain_eight_bit)i;
    return i >= 0;
}

static const char *const recipients_texts[] = {
    [RECIPIENTS_ANY] = "any", [RECIPIENTS_LIST] = "list", [RECIPIENTS_LEARN] = "learn"};

const char *domain_recipients_text(enum domain_recipients r)
{
    ASSERT((unsigned)r <= RECIPIENTS_LEARN);
    return recipients_texts[r];
}

bool domain_recipients_parse(struct str text, enum domain_recipients *out)
{
    int i = text_find(recipients_texts, RECIPIENTS_LEARN + 1, text);

    if (i >= 0)
        *out = (enum domain_recipients)i;
    return i >= 0;
}

const char *domain_dsn_text(enum domain_dsn d)
{
    ASSERT((unsigned)d <= DOMAIN_DSN_NONE);
    return dsn_texts[d];
}

bool domain_dsn_parse(struct str text, enum domain_dsn *out)
{
    int i = text_find(dsn_texts, 3, text);

    if (i >= 0)
        *out = (enum domain_dsn)i;
    return i >= 0;
}

static const char *const unknown_texts[] = {[UNKNOWN_AUTHENTICATED] = "authenticated",
                                            [UNKNOWN_ACCEPT] = "accept",
                                            [UNKNOWN_DEFER] = "defer"};

const char *domain_unknown_text(enum domain_unknown u)
{
    ASSERT((unsigned)u <= UNKNOWN_DEFER);
    return unknown_texts[u];
}

bool domain_unknown_parse(struct str text, enum domain_unknown *out)
{
    int i = text_find(unknown_texts, UNKNOWN_DEFER + 1, text);

    if (i >= 0)
        *out = (enum domain_unknown)i;
    return i >= 0;
}

/* --- checks at the door --- */

static const char *const check_texts[] = {
    [DOMAIN_CHECK_RDNS] = "rdns",     [DOMAIN_CHECK_SENDER] = "sender",
    [DOMAIN_CHECK_SPF] = "spf",       [DOMAIN_CHECK_HEADERS] = "headers",
    [DOMAIN_CHECK_DNSBL] = "dnsbl",   [DOMAIN_CHECK_HELO] = "helo",
    [DOMAIN_CHECK_FORGED] = "forged", [DOMAIN_CHECK_GREYLIST] = "greylist",
    [DOMAIN_CHECK_SERVER] = "server"};
static_assert(DOMAIN_CHECK_KINDS < 16, "two bits each of 32 in the store, and some left");
static const char *const mode_texts[] = {[CHECK_OFF] = "off",
                                         [CHECK_MARK] = "mark",
                                         [CHECK_DEFER] = "defer",
                                         [CHECK_REFUSE] = "refuse"};

/* One "kind=mode". *bad: what the complaint is about. */
static const char *check_read(struct str one, uint8_t checks[DOMAIN_CHECK_KINDS],
                              uint32_t *seen, struct str *bad)
{
    size_t equals = str_find(one, '=');
    struct str left = str_head(one, equals), right = STR_NONE;
    int kind = text_find(check_texts, DOMAIN_CHECK_KINDS, left), mode;
    bool is_all = str_eq(left, STR("all"));

    *bad = left;
    if (kind < 0 && !is_all)
        return "no such check: rdns, dnsbl, helo, sender, forged, spf, headers, server, "
               "greylist "
               "or all";
    if (equals < one.n)
        right = str_from(one, equals + 1);
    mode = text_find(mode_texts, CHECK_REFUSE + 1, right);
    if (is_all ? *seen != 0 : (*seen >> kind & 1) != 0)
        return is_all ? "all comes first" : "a check is named twice";
    if (right.n > 0)
        *bad = right;
    if (mode < 0)
        return "a check is off, mark, defer or refuse";
    if (!is_all && mode != CHECK_OFF && mode == no_mode(kind))
        return no_mode_text(kind);
    for (int i = 0; i < DOMAIN_CHECK_KINDS; i++)
        if (i == kind || (is_all && (mode == CHECK_OFF || mode != no_mode(i))))
            checks[i] = (uint8_t)mode;
        else if (is_all)
            checks[i] = mode == CHECK_DEFER ? CHECK_REFUSE : CHECK_DEFER;
    *seen |= 1u << (is_all ? DOMAIN_CHECK_KINDS : kind);
    return NULL;
}

const char *checks_parse(struct str text, uint8_t checks[DOMAIN_CHECK_KINDS], size_t *at)
{
    uint8_t now[DOMAIN_CHECK_KINDS];
    struct str rest = text, bad = text;
    uint32_t seen = 0;
    const char *why;

    memcpy(now, checks, sizeof now);
    for (bool more = true; more;) {
        size_t comma = str_find(rest, ',');

        why = check_read(str_head(rest, comma), now, &seen, &bad);
        if (why != NULL) {
            *at = (size_t)(bad.p - text.p);
            return why;
        }
        more = comma < rest.n;
        rest = str_from(rest, more ? comma + 1 : comma);
    }
    memcpy(checks, now, sizeof now);
    return NULL;
}

const char *check_mode_text(uint8_t mode)
{
    ASSERT(mode <= CHECK_REFUSE);
    return mode_texts[mode];
}

const char *check_kind_text(enum domain_check_kind kind)
{
    ASSERT(kind < DOMAIN_CHECK_KINDS);
    return check_texts[kind];
}

size_t checks_format(const uint8_t checks[DOMAIN_CHECK_KINDS], char buf[CHECKS_TEXT_SIZE])
{
    size_t n = 0;

    for (int i = 0; i < DOMAIN_CHECK_KINDS; i++) {
        ASSERT(checks[i] <= CHECK_REFUSE);
        n += (size_t)snprintf(buf + n, CHECKS_TEXT_SIZE - n, "%s%s=%s", i > 0 ? "," : "",
                              check_texts[i], mode_texts[checks[i]]);
        ASSERT(n < CHECKS_TEXT_SIZE);
    }
    return n;
}
