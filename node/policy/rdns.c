#include "node/policy/rdns.h"

#include <stdio.h>

#include "base/fsm.h"
#include "node/smtp/address.h"

enum { PTR, FORWARD, DONE };

static const struct fsm_state states[] = {
    [PTR] = {"ptr", FSM_TO(FORWARD) | FSM_TO(DONE)},
    [FORWARD] = {"forward", FSM_TO(DONE)},
    [DONE] = {"done", 0},
};

#define TAG_PTR UINT32_MAX

void rdns_init(struct rdns *r, const struct ip_addr *client)
{
    char reverse[IP_REVERSE_BYTES];
    int n;

    *r = (struct rdns){.result = RDNS_UNKNOWN, .state = PTR, .ip = *client};
    n = snprintf(r->reverse, sizeof r->reverse, "%s.%s", ip_reverse(client, reverse).p,
                 ip_is_v4(client) ? "in-addr.arpa" : "ip6.arpa");
    ASSERT(n > 0 && (size_t)n < sizeof r->reverse);
}

static struct str name_at(const struct rdns *r, uint32_t i)
{
    return (struct str){r->names[i], r->lengths[i]};
}

static enum dns_type forward_type(const struct rdns *r)
{
    return ip_is_v4(&r->ip) ? DNS_A : DNS_AAAA;
}

size_t rdns_questions(struct rdns *r, struct question out[static LIMIT_RDNS_NAMES])
{
    size_t n = 0;

    if (r->asked || r->state == DONE)
        return 0;
    r->asked = true;
    if (r->state == PTR) {
        out[0] = (struct question){DNS_PTR, str_of(r->reverse), TAG_PTR};
        return 1;
    }
    for (uint32_t i = 0; i < r->count; i++)
        if (!r->answered[i])
            out[n++] = (struct question){forward_type(r), name_at(r, i), i};
    return n;
}

static void finish(struct rdns *r, enum rdns_result result)
{
    r->result = result;
    if (result == RDNS_MISMATCH && r->count > 0)
        r->name = name_at(r, 0);
    fsm_move(&r->state, DONE, states);
}

/* What is no host name leads back to nothing; it counts as a name all the same. */
static void take_names(struct rdns *r, const struct dns_answer *a)
{
    for (size_t i = 0; i < a->count; i++) {
        struct str name;

        if (r->count == LIMIT_RDNS_NAMES) {
            r->left_out = true;
            return;
        }
        if (!domain_normalize(question_host(a, i), r->names[r->count], &name))
            continue;
        r->lengths[r->count++] = name.n;
    }
}

static void settle(struct rdns *r)
{
    if (r->open == 0)
        finish(r, r->trouble || r->left_out ? RDNS_UNKNOWN : RDNS_MISMATCH);
}

static void on_ptr(struct rdns *r, const struct dns_answer *a)
{
    if (question_is_denied(a)) {
        finish(r, RDNS_NONE);
    } else if (a->status != DNS_OK || a->count == 0) {
        finish(r, RDNS_UNKNOWN);
    } else {
        take_names(r, a);
        r->left_out |= a->cut;
        r->open = r->count;
        r->asked = false;
        fsm_move(&r->state, FORWARD, states);
        settle(r);
    }
}

static void on_address(struct rdns *r, uint32_t tag, const struct dns_answer *a)
{
    r->answered[tag] = true;
    r->open--;
    r->trouble |= a->cut;
    if (a->status == DNS_OK) {
        for (size_t i = 0; i < a->count; i++) {
            struct ip_addr ip = question_ip(a, i, forward_type(r));

            if (!ip_eq(&ip, &r->ip))
                continue;
            r->name = name_at(r, tag);
            finish(r, RDNS_CONFIRMED);
            return;
        }
    } else if (!question_is_denied(a)) {
        r->trouble = true;
    }
    settle(r);
}

void rdns_answer(struct rdns *r, uint32_t tag, const struct dns_answer *a)
{
    if (r->state == PTR && tag == TAG_PTR)
        on_ptr(r, a);
    else if (r->state == FORWARD && tag < r->count && !r->answered[tag])
        on_address(r, tag, a);
}

void rdns_give_up(struct rdns *r)
{
    if (r->state != DONE)
        finish(r, RDNS_UNKNOWN);
}

bool rdns_is_done(const struct rdns *r)
{
    return r->state == DONE;
}

const char *rdns_reply(enum rdns_result result, bool temporary)
{
    ASSERT(result == RDNS_NONE || result == RDNS_MISMATCH);
    if (result == RDNS_NONE)
        return temporary ? "450 4.7.25 Your address has no name in reverse DNS"
                         : "550 5.7.25 Your address has no name in reverse DNS";
    return temporary ? "450 4.7.25 The name of your address does not lead back to it"
                     : "550 5.7.25 The name of your address does not lead back to it";
}

const char *rdns_result_text(enum rdns_result result)
{
    static const char *const texts[] = {"unknown", "none", "mismatch", "confirmed"};

    return texts[result];
}
