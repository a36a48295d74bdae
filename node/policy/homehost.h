/*
 * homehost: whether a client is one of a domain's own mail hosts: those of its route, or of its
 * MX. What a primary's own hosts send (a forwarder, a second server of the house) is not kept
 * waiting as a stranger's.
 *
 *   MX --names--> ADDRESSES --one is the client's, or all answered--> DONE
 *   a static route begins with ADDRESSES, or ends at once when a literal is the client's
 *
 * Used as rdns.h says: init, questions, answers, until done; give_up when time is up. What DNS
 * does not say makes nobody a host of the house, and counts against nobody.
 * Pure. Threads: one owner. Not to be copied while in use. Memory: 6 KiB.
 * Limits: LIMIT_ROUTE_HOSTS names; more are not looked at.
 */
#pragma once

#include "node/policy/question.h"
#include "proto/domain.h"

struct homehost {
    bool is_home; /* once done */

    /* private */
    int state;
    bool asked;
    struct ip_addr client;
    uint32_t count, open;
    bool answered[LIMIT_ROUTE_HOSTS];
    size_t lengths[LIMIT_ROUTE_HOSTS];
    char names[LIMIT_ROUTE_HOSTS][LIMIT_SMTP_DOMAIN_BYTES];
    size_t domain_n;
    char domain[LIMIT_SMTP_DOMAIN_BYTES];
};

/* Copies what it needs of the domain. */
void homehost_init(struct homehost *h, const struct domain *d, const struct ip_addr *client);
/* At most LIMIT_ROUTE_HOSTS; names live as long as *h. */
size_t homehost_questions(struct homehost *h, struct question out[static LIMIT_ROUTE_HOSTS]);
void homehost_answer(struct homehost *h, uint32_t tag, const struct dns_answer *a);
void homehost_give_up(struct homehost *h);
bool homehost_is_done(const struct homehost *h);
