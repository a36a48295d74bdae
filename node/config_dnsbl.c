#include "node/config_dnsbl.h"

#define WRONG_ANSWER                                                                           \
    "must have answers such as 127.0.0.2 or 127.0.0.2-127.0.0.11, of 127.0.0.0/8 and not of "  \
    "127.255.255.0/24, the lower one first"
#define WRONG_WEIGHT "must have weights such as *2 or *-1, between -1000 and 1000 and not 0"
#define ERRORS       0x7fffff00U /* 127.255.255.0/24 */

static_assert(LIMIT_DNSBL_WEIGHT == 1000, "the text says so");
static_assert(LIMIT_DNSBL_ANSWERS == 16, "a text below says so");

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_zone(struct str s)
{
    size_t label = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? label == 0 : !is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return false;
        label = s.p[i] == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0 && s.n <= LIMIT_SMTP_DOMAIN_BYTES && str_find(s, '.') < s.n;
}

static bool read_address(struct str s, uint32_t *out)
{
    *out = 0;
    if (str_ends(s, '.'))
        return false;
    for (int i = 0; i < 4; i++) {
        struct str octet = str_split(&s, '.');
        uint64_t n;

        if (octet.n == 0 || octet.n > 3 || (octet.n > 1 && octet.p[0] == '0') ||
            !str_to_u64(octet, &n) || n > 255 || (i < 3) != (s.n > 0))
            return false;
        *out = *out << 8 | (uint32_t)n;
    }
    return *out >> 24 == 127 && *out < ERRORS;
}

static bool read_weight(struct str s, int32_t *out)
{
    bool minus = s.n > 0 && s.p[0] == '-';
    uint64_t n;

    if (!str_to_u64(str_from(s, minus), &n) || n == 0 || n > LIMIT_DNSBL_WEIGHT)
        return false;
    *out = minus ? -(int32_t)n : (int32_t)n;
    return true;
}

static const char *read_answer(struct str text, struct config_dnsbl_answer *out)
{
    size_t star = str_find(text, '*'), hyphen;
    struct str range = str_head(text, star);

    out->weight = 1;
    if (star < text.n && !read_weight(str_from(text, star + 1), &out->weight))
        return WRONG_WEIGHT;
    hyphen = str_find(range, '-');
    if (!read_address(str_head(range, hyphen), &out->low))
        return WRONG_ANSWER;
    out->high = out->low;
    if (hyphen < range.n && !read_address(str_from(range, hyphen + 1), &out->high))
        return WRONG_ANSWER;
    return out->low <= out->high ? NULL : WRONG_ANSWER;
}

const char *config_dnsbl_parse(struct str text, struct config_dnsbl *out)
{
    size_t equals = str_find(text, '=');
    struct str rest = str_from(text, equals < text.n ? equals + 1 : equals);

    *out = (struct config_dnsbl){.zone = str_head(text, equals)};
    if (!is_zone(out->zone) || rest.n == 0 || str_ends(rest, ','))
        return "must be ZONE=ANSWER,... such as zen.spamhaus.org=127.0.0.2-127.0.0.11";
    while (rest.n > 0) {
        struct str one = str_split(&rest, ',');
        const char *why;

        if (str_cut_nocase(&one, STR("key_file="))) {
            if (out->key_file.n > 0 || one.n == 0 || one.p[0] != '/')
                return "must have an absolute path behind key_file=, once";
            out->key_file = one;
            continue;
        }
        if (out->answer_count == LIMIT_DNSBL_ANSWERS)
            return "must have at most 16 answers";
        why = read_answer(one, &out->answers[out->answer_count++]);
        if (why != NULL)
            return why;
    }
    return out->answer_count > 0 ? NULL : "must have an answer that lists a client";
}
