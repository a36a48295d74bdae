/* Who it is, as a number: senders made equal, then hashed. */
#include "node/policy/greylist.h"

#define V4_NETWORK_BITS (IP_V4_BITS + 24)
#define V6_NETWORK_BITS 64

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (uint8_t)c >= 0x80; /* of a letter in another script */
}

static size_t word_length(struct str s)
{
    size_t n = 0;

    while (n < s.n && is_word(s.p[n]))
        n++;
    return n;
}

static bool has_digit(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= '0' && s.p[i] <= '9')
            return true;
    return false;
}

static struct str limited(struct str s, size_t most)
{
    return str_head(s, s.n < most ? s.n : most);
}

struct text {
    char *p;
    size_t n;
};

static void append(struct text *t, struct str s)
{
    t->n += str_lower(s, t->p + t->n, s.n).n;
}

/* Words with a digit are numbers of messages, times or hashes: '#'. */
static void append_words(struct text *t, struct str s)
{
    while (s.n > 0) {
        size_t n = word_length(s);
        struct str word = str_head(s, n > 0 ? n : 1);

        append(t, has_digit(word) ? STR("#") : word);
        s = str_from(s, word.n);
    }
}

/* BATV (draft-levine-smtp-batv) and kin: what the sender's own server put before the local
 * part. */
static struct str without_tag(struct str local)
{
    static const char *const tags[] = {"prvs=", "msprvs1=", "btv1=="};
    struct str rest = local;

    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (!str_cut_nocase(&rest, str_of(tags[i])))
            continue;
        str_split(&rest, '=');
        str_skip(&rest, '=');
        return rest.n > 0 ? rest : local;
    }
    return local;
}

/* SRS0=hash=day=domain=local, SRS1=hash=forwarder=...: the hash and the day change. */
static bool append_srs(struct text *t, struct str local)
{
    struct str rest = local;
    bool first = str_cut_nocase(&rest, STR("SRS0"));

    if (!first && !str_cut_nocase(&rest, STR("SRS1")))
        return false;
    if (rest.n == 0 || strchr("=+-", rest.p[0]) == NULL || rest.p[0] == '\0')
        return false;
    rest = str_from(rest, 1);
    str_split(&rest, '=');
    if (first)
        str_split(&rest, '=');
    else
        rest = str_head(rest, str_find(rest, '='));
    append(t, str_head(local, 4));
    append(t, STR("="));
    append_words(t, rest);
    return true;
}

static void append_local(struct text *t, struct str local)
{
    local = without_tag(local);
    if (append_srs(t, local))
        return;
    if (str_find(local, '+') > 0)
        local = str_head(local, str_find(local, '+'));
    if (str_find(local, '=') < local.n) /* the recipient's address in it: VERP */
        local = str_head(local, word_length(local));
    append_words(t, local);
}

struct str greylist_sender(struct str sender, char buf[static LIMIT_SMTP_PATH_BYTES])
{
    struct text t = {buf, 0};
    size_t at;

    sender = limited(sender, LIMIT_SMTP_PATH_BYTES);
    at = str_find_last(sender, '@');
    append_local(&t, str_head(sender, at));
    append(&t, str_from(sender, at));
    return (struct str){buf, t.n};
}

/* --- hashing --- */

struct input {
    char b[8 + LIMIT_SMTP_PATH_BYTES + 2 * (LIMIT_SMTP_DOMAIN_BYTES + 1)];
    size_t n;
};

/* With its length, so that no two lists of parts have the same bytes. */
static void add_part(struct input *in, struct str s)
{
    ASSERT(s.n <= UINT8_MAX && in->n + 1 + s.n <= sizeof in->b);
    in->b[in->n++] = (char)(uint8_t)s.n;
    in->n += str_lower(s, in->b + in->n, sizeof in->b - in->n).n;
}

static uint64_t hash(const uint64_t secret[2], const struct input *in)
{
    uint64_t h = siphash(secret, in->b, in->n);

    return h != 0 ? h : 1;
}

static struct input client_by_network(const struct ip_addr *ip)
{
    bool v4 = ip_is_v4(ip);
    struct ip_addr net = ip_network(ip, v4 ? V4_NETWORK_BITS : V6_NETWORK_BITS);
    struct input in = {.b = "n", .n = 1};

    memcpy(in.b + in.n, net.b, sizeof net.b);
    in.n += sizeof net.b;
    return in;
}

static struct input client_by_name(struct str domain)
{
    struct input in = {.b = "d", .n = 1};

    add_part(&in, limited(domain, LIMIT_SMTP_DOMAIN_BYTES));
    return in;
}

struct greylist_keys greylist_keys(const uint64_t secret[2], const struct greylist_try *t)
{
    char sender[LIMIT_SMTP_PATH_BYTES];
    struct input network = client_by_network(&t->client);
    struct input client = t->spf_domain.n > 0 ? client_by_name(t->spf_domain) : network;
    struct input try = client, crowd = network, plain = network;
    struct str from = greylist_sender(t->sender, sender);

    try.b[0] = try.b[0] == 'n' ? 'N' : 'D';
    add_part(&try, from);
    add_part(&try, limited(t->domain, LIMIT_SMTP_DOMAIN_BYTES));
    plain.b[0] = 'N';
    add_part(&plain, from);
    add_part(&plain, limited(t->domain, LIMIT_SMTP_DOMAIN_BYTES));
    crowd.b[0] = 'C';
    add_part(&crowd, limited(t->domain, LIMIT_SMTP_DOMAIN_BYTES));
    return (struct greylist_keys){hash(secret, &try), hash(secret, &client),
                                  hash(secret, &network), hash(secret, &crowd),
                                  hash(secret, &plain)};
}
