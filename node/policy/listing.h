/*
 * listing: what the lists of a node (dnsbl.h) say of one client, all together: each list that
 * names it adds the weight of its answer, an allow list takes from the sum, and at the
 * threshold the client is listed.
 *
 * Used as rdns.h says: init, questions, answers, until done; give_up when time is up. What a
 * list did not say adds nothing. A list that is off is not asked. What an allow list could have
 * said and did not (silent, unavailable, off, its answer cut) is taken as said when it is asked
 * whether the client is listed: trouble of DNS lists nobody who would not be listed without it.
 *
 * Pure. Threads: one owner. Not to be copied while it is in use: the questions borrow from it.
 * Memory: 3 KiB. Limits: LIMIT_DNSBL_LISTS.
 */
#pragma once

#include "node/policy/dnsbl.h"

struct listing_facts {
    const struct dnsbl_list *lists; /* live at least as long as the listing */
    size_t count;                   /* up to LIMIT_DNSBL_LISTS */
    uint32_t on;                    /* bit i: list i is to be asked */
    int32_t threshold;              /* 1 or more */
    struct ip_addr client;
};

struct listing_item {
    const struct dnsbl_list *list;
    struct dnsbl_result result; /* once done; NOT_LISTED of a list that was not asked */
    bool is_off, is_cut;        /* cut: there were more answers than were looked at */

    /* private */
    bool is_asked, is_open;
    struct str name;
    char buf[DNSBL_NAME_BYTES];
};

struct listing {
    size_t count;
    struct listing_item items[LIMIT_DNSBL_LISTS];

    /* private */
    int32_t threshold;
};

void listing_init(struct listing *l, const struct listing_facts *f);

/* Tags are places of items. */
size_t listing_questions(struct listing *l, struct question out[static LIMIT_DNSBL_LISTS]);
void listing_answer(struct listing *l, uint32_t tag, const struct dns_answer *a);
void listing_give_up(struct listing *l);
bool listing_is_done(const struct listing *l);

/* Once done. */
int64_t listing_weight(const struct listing *l); /* of what was said */
bool listing_is_listed(const struct listing *l);
/* Some list was asked and did not say. */
bool listing_is_unknown(const struct listing *l);
/* The list that weighs most, of those that name it; NULL: none does. */
const struct dnsbl_list *listing_heaviest(const struct listing *l);
