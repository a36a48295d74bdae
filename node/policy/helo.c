#include "node/policy/helo.h"

#include "base/limits.h"

#define LABEL_BYTES 63

struct network {
    uint8_t b[2];
    unsigned bits;
    bool is_v4;
};

/* RFC 1918, 1122, 3927, 6598; RFC 4193, 4291. */
static const struct network private_networks[] = {
    {{10, 0}, 8, true},    {{172, 16}, 12, true},     {{192, 168}, 16, true},
    {{127, 0}, 8, true},   {{169, 254}, 16, true},    {{100, 64}, 10, true},
    {{0xfc, 0}, 7, false}, {{0xfe, 0x80}, 10, false},
};

static bool is_private(const struct ip_addr *ip)
{
    static const struct ip_addr loopback = {{[15] = 1}};

    for (size_t i = 0; i < sizeof private_networks / sizeof *private_networks; i++) {
        const struct network *n = &private_networks[i];
        struct ip_addr net = {{n->b[0], n->b[1]}}, got;

        if (n->is_v4)
            net = ip_v4((const uint8_t[4]){n->b[0], n->b[1], 0, 0});
        got = ip_network(ip, n->bits + (n->is_v4 ? IP_V4_BITS : 0));
        if (ip_is_v4(ip) == n->is_v4 && ip_eq(&got, &net))
            return true;
    }
    return ip_eq(ip, &loopback);
}

static enum helo_result judge_literal(struct str inner, const struct helo_facts *f)
{
    struct ip_addr ip;

    (void)str_cut_nocase(&inner, STR("IPv6:"));
    if (!ip_parse(inner, &ip))
        return HELO_NO_NAME;
    if (ip_eq(&ip, f->client))
        return HELO_FINE;
    return is_private(&ip) ? HELO_PRIVATE : HELO_OTHER_ADDRESS;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* *is_number: of digits alone. */
static bool is_label(struct str s, bool *is_number)
{
    *is_number = true;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!is_digit(c))
            *is_number = false;
        if (!is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-' &&
            c != '_')
            return false;
    }
    return s.n > 0 && s.n <= LABEL_BYTES;
}

static enum helo_result judge_name(struct str name)
{
    bool is_number = true, more = name.n > 0;
    size_t labels = 0;

    if (name.n == 0 || name.n > LIMIT_SMTP_DOMAIN_BYTES)
        return HELO_NO_NAME;
    while (more) {
        size_t dot = str_find(name, '.');

        if (!is_label(str_head(name, dot), &is_number))
            return HELO_NO_NAME;
        labels++;
        more = dot < name.n;
        name = str_from(name, more ? dot + 1 : dot);
    }
    if (is_number) /* no top-level domain is one: RFC 3696 2 */
        return HELO_NO_NAME;
    return labels == 1 ? HELO_UNQUALIFIED : HELO_FINE;
}

static bool is_ours(struct str name, const struct helo_facts *f)
{
    for (size_t i = 0; i < f->own_name_count; i++)
        if (str_eq_nocase(name, str_of(f->own_names[i])))
            return true;
    return false;
}

enum helo_result helo_judge(const struct helo_facts *f)
{
    struct str name = f->helo;
    struct ip_addr ip;

    if (name.n > 1 && name.p[0] == '[' && str_ends(name, ']'))
        return judge_literal(str_from(str_head(name, name.n - 1), 1), f);
    if (ip_parse(name, &ip))
        return HELO_BARE_ADDRESS;
    if (str_ends(name, '.'))
        name.n--;
    if (is_ours(name, f))
        return f->client_is_ours ? HELO_FINE : HELO_OUR_NAME;
    return judge_name(name);
}

bool helo_is_bad(enum helo_result r)
{
    return r >= HELO_BARE_ADDRESS;
}

const char *helo_reply(enum helo_result r, bool temporary)
{
#define BOTH(text)                                                                             \
    {                                                                                          \
        "550 5.7.1 " text, "450 4.7.1 " text                                                   \
    }
    static const char *const texts[][2] = {
        [HELO_BARE_ADDRESS] = BOTH("HELO with an address needs brackets around it"),
        [HELO_OTHER_ADDRESS] = BOTH("The address in your HELO is not yours"),
        [HELO_OUR_NAME] = BOTH("The name in your HELO is ours, not yours"),
        [HELO_NO_NAME] = BOTH("Your HELO is neither a host name nor an address literal"),
    };
#undef BOTH

    ASSERT(helo_is_bad(r));
    return texts[r][temporary];
}

const char *helo_result_text(enum helo_result r)
{
    static const char *const texts[] = {"fine",         "unqualified",   "private",
                                        "bare-address", "other-address", "our-name",
                                        "no-name"};

    return texts[r];
}
