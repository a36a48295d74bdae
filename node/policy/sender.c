#include "node/policy/sender.h"

#include "base/fsm.h"

enum { MX, ADDRESS, DONE };

static const struct fsm_state states[] = {
    [MX] = {"mx", FSM_TO(ADDRESS) | FSM_TO(DONE)},
    [ADDRESS] = {"address", FSM_TO(DONE)},
    [DONE] = {"done", 0},
};

#define TAG_MX 2 /* 0 and 1: A and AAAA */

/* The registry of special-use domain names, those that no mail can come from; ".internal" by a
 * resolution of ICANN's board (2024). */
static const char *const special[] = {
    "test",          "localhost",   "invalid",     "example",
    "example.com",   "example.net", "example.org", /* RFC 6761 */
    "local",                                       /* RFC 6762 */
    "onion",                                       /* RFC 7686 */
    "alt",                                         /* RFC 9476 */
    "internal",                                    /* ICANN */
    "home.arpa",                                   /* RFC 8375 */
    "service.arpa",                                /* RFC 9665 */
    "resolver.arpa",                               /* RFC 9462 */
    "ipv4only.arpa",                               /* RFC 8880 */
    "in-addr.arpa",  "ip6.arpa",                   /* names of addresses */
};

bool sender_is_special(struct str domain)
{
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
        struct str name = str_of(special[i]);

        if (domain.n < name.n || !str_eq_nocase(str_from(domain, domain.n - name.n), name))
            continue;
        if (domain.n == name.n || domain.p[domain.n - name.n - 1] == '.')
            return true;
    }
    return false;
}

static void finish(struct sender *s, enum sender_result result)
{
    s->result = result;
    fsm_move(&s->state, DONE, states);
}

void sender_init(struct sender *s, const struct path *path)
{
    struct str domain;

    *s = (struct sender){.result = SENDER_UNKNOWN, .state = MX};
    if (path->is_null)
        finish(s, SENDER_NULL);
    else if (path->literal)
        finish(s, SENDER_LITERAL);
    else if (!domain_normalize(path->domain, s->domain, &domain))
        finish(s, SENDER_UNKNOWN); /* not what address_parse_mail() takes */
    else if (sender_is_special(domain) || str_find(domain, '.') == domain.n)
        finish(s, SENDER_SPECIAL);
    else
        s->length = domain.n;
}

size_t sender_questions(struct sender *s, struct question out[static SENDER_QUESTIONS])
{
    struct str domain = {s->domain, s->length};

    if (s->asked || s->state == DONE)
        return 0;
    s->asked = true;
    if (s->state == MX) {
        out[0] = (struct question){DNS_MX, domain, TAG_MX};
        return 1;
    }
    out[0] = (struct question){DNS_A, domain, 0};
    out[1] = (struct question){DNS_AAAA, domain, 1};
    return 2;
}

/* RFC 7505 3: a null MX stands alone. Beside others it is a mistake, and they count. */
static bool has_host(const struct dns_answer *a)
{
    for (size_t i = 0; i < a->count; i++)
        if (question_host(a, i).n > 0)
            return true;
    return a->cut;
}

static void on_mx(struct sender *s, const struct dns_answer *a)
{
    if (a->status == DNS_OK) {
        finish(s, has_host(a) ? SENDER_RESOLVES : SENDER_NULL_MX);
    } else if (a->status == DNS_NXDOMAIN) {
        finish(s, SENDER_NO_DOMAIN);
    } else if (a->status == DNS_NODATA) {
        s->asked = false;
        fsm_move(&s->state, ADDRESS, states);
    } else {
        finish(s, SENDER_UNKNOWN);
    }
}

static void on_address(struct sender *s, uint32_t tag, const struct dns_answer *a)
{
    s->answered[tag] = true;
    if (a->status == DNS_OK) {
        finish(s, SENDER_RESOLVES);
        return;
    }
    if (!question_is_denied(a))
        s->trouble = true;
    if (a->status != DNS_NXDOMAIN)
        s->exists = true;
    if (!s->answered[0] || !s->answered[1])
        return;
    if (s->trouble)
        finish(s, SENDER_UNKNOWN);
    else
        finish(s, s->exists ? SENDER_NO_HOST : SENDER_NO_DOMAIN);
}

void sender_answer(struct sender *s, uint32_t tag, const struct dns_answer *a)
{
    if (s->state == MX && tag == TAG_MX)
        on_mx(s, a);
    else if (s->state == ADDRESS && tag < 2 && !s->answered[tag])
        on_address(s, tag, a);
}

void sender_give_up(struct sender *s)
{
    if (s->state != DONE)
        finish(s, SENDER_UNKNOWN);
}

bool sender_is_done(const struct sender *s)
{
    return s->state == DONE;
}

static const struct {
    const char *text, *refused, *deferred;
} results[] = {
    [SENDER_UNKNOWN] = {"unknown", NULL, NULL},
    [SENDER_NULL] = {"null", NULL, NULL},
    [SENDER_LITERAL] = {"literal", NULL, NULL},
    [SENDER_RESOLVES] = {"resolves", NULL, NULL},
    [SENDER_NO_DOMAIN] = {"no-domain", "550 5.1.8 The sender's domain does not exist",
                          "450 4.1.8 The sender's domain does not exist"},
    [SENDER_NO_HOST] = {"no-host", "550 5.1.8 The sender's domain has neither MX nor address",
                        "450 4.1.8 The sender's domain has neither MX nor address"},
    [SENDER_NULL_MX] = {"null-mx", "550 5.7.27 The sender's domain takes no mail (null MX)",
                        "450 4.7.27 The sender's domain takes no mail (null MX)"},
    [SENDER_SPECIAL] = {"special", "550 5.1.8 The sender's domain is not one of public DNS",
                        "450 4.1.8 The sender's domain is not one of public DNS"},
};

bool sender_is_bad(enum sender_result r)
{
    return results[r].refused != NULL;
}

const char *sender_reply(enum sender_result r, bool temporary)
{
    ASSERT(sender_is_bad(r));
    return temporary ? results[r].deferred : results[r].refused;
}

const char *sender_result_text(enum sender_result r)
{
    return results[r].text;
}
