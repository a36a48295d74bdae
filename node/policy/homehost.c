#include "node/policy/homehost.h"

#include "base/fsm.h"

enum { MX, ADDRESSES, DONE };

static const struct fsm_state states[] = {
    [MX] = {"mx", FSM_TO(ADDRESSES) | FSM_TO(DONE)},
    [ADDRESSES] = {"addresses", FSM_TO(DONE)},
    [DONE] = {"done", 0},
};

#define TAG_MX UINT32_MAX

static void finish(struct homehost *h, bool is_home)
{
    h->is_home = is_home;
    fsm_move(&h->state, DONE, states);
}

static void settle(struct homehost *h)
{
    if (h->state == ADDRESSES && h->open == 0)
        finish(h, false);
}

static void add_name(struct homehost *h, struct str name)
{
    if (h->count == LIMIT_ROUTE_HOSTS || name.n == 0 || name.n > sizeof h->names[0] ||
        !dns_name_is_legal(name))
        return;
    memcpy(h->names[h->count], name.p, name.n);
    h->lengths[h->count++] = name.n;
    h->open++;
}

/* True: it is the client. */
static bool add_host(struct homehost *h, struct str host)
{
    struct ip_addr ip;

    if (ip_parse(host, &ip))
        return ip_eq(&ip, &h->client);
    add_name(h, host);
    return false;
}

void homehost_init(struct homehost *h, const struct domain *d, const struct ip_addr *client)
{
    bool is_home = false;

    *h = (struct homehost){.state = MX, .client = *client};
    ASSERT(d->name.n <= sizeof h->domain);
    memcpy(h->domain, d->name.p, d->name.n);
    h->domain_n = d->name.n;
    if (d->route.kind != ROUTE_STATIC)
        return;
    fsm_move(&h->state, ADDRESSES, states);
    for (uint32_t i = 0; i < d->route.host_count; i++)
        is_home |= add_host(h, d->route.hosts[i].host);
    if (is_home)
        finish(h, true);
    settle(h);
}

static struct str name_at(const struct homehost *h, uint32_t i)
{
    return (struct str){h->names[i], h->lengths[i]};
}

size_t homehost_questions(struct homehost *h, struct question out[static LIMIT_ROUTE_HOSTS])
{
    enum dns_type type = ip_is_v4(&h->client) ? DNS_A : DNS_AAAA;
    size_t n = 0;

    if (h->asked || h->state == DONE)
        return 0;
    h->asked = true;
    if (h->state == MX) {
        out[0] = (struct question){DNS_MX, {h->domain, h->domain_n}, TAG_MX};
        return 1;
    }
    for (uint32_t i = 0; i < h->count; i++)
        out[n++] = (struct question){type, name_at(h, i), i};
    return n;
}

/* Without an MX record the name itself is the host (RFC 5321 5.1). */
static void on_mx(struct homehost *h, const struct dns_answer *a)
{
    if (a->status == DNS_NODATA)
        add_name(h, (struct str){h->domain, h->domain_n});
    for (size_t i = 0; a->status == DNS_OK && i < a->count; i++)
        add_name(h, question_host(a, i));
    h->asked = false;
    fsm_move(&h->state, ADDRESSES, states);
    settle(h);
}

static void on_address(struct homehost *h, uint32_t tag, const struct dns_answer *a)
{
    enum dns_type type = ip_is_v4(&h->client) ? DNS_A : DNS_AAAA;

    h->answered[tag] = true;
    h->open--;
    for (size_t i = 0; a->status == DNS_OK && i < a->count; i++) {
        struct ip_addr ip = question_ip(a, i, type);

        if (!ip_eq(&ip, &h->client))
            continue;
        finish(h, true);
        return;
    }
    settle(h);
}

void homehost_answer(struct homehost *h, uint32_t tag, const struct dns_answer *a)
{
    if (h->state == MX && tag == TAG_MX)
        on_mx(h, a);
    else if (h->state == ADDRESSES && tag < h->count && !h->answered[tag])
        on_address(h, tag, a);
}

void homehost_give_up(struct homehost *h)
{
    if (h->state != DONE)
        finish(h, false);
}

bool homehost_is_done(const struct homehost *h)
{
    return h->state == DONE;
}
