/*
 * dnsbl_set: the lists in DNS of a node (dnsbl.lists), made of its settings, and whether each
 * may be asked now. Part of struct node_settings: a reload makes another set.
 *
 *   cluster thread --state, reason--> here <--read-- smtp threads, main
 *   smtp thread --"it answered with an error"--> here: off at once; the cluster thread, which
 *                                                   watches the lists, takes the word from here
 *
 * Threads: the lists are constant; dnsbl_set_on(), _complain() and _view() from any; those of
 * the watch by the cluster thread; the others by who makes the set. Memory: 10 KiB. The keys
 * are here and nowhere else: they are never logged.
 */
#pragma once

#include "node/config.h"
#include "node/policy/dnsbl.h"

struct dnsbl_set;

/* Reads the key files. NULL: one cannot be read, or holds no key; why says which. */
MUST_CHECK struct dnsbl_set *dnsbl_set_new(const struct node_config *c, char *why, size_t size);
void dnsbl_set_free(struct dnsbl_set **s);

size_t dnsbl_set_lists(const struct dnsbl_set *s, const struct dnsbl_list **lists);
int32_t dnsbl_set_threshold(const struct dnsbl_set *s);

/* Bit i: list i may be asked about a client of that family. */
uint32_t dnsbl_set_on(const struct dnsbl_set *s, bool v6);
/* Its answer was DNSBL_UNAVAILABLE. */
void dnsbl_set_complain(struct dnsbl_set *s, size_t list, bool v6, uint32_t answer);

struct dnsbl_view {
    struct str zone;
    bool v6;
    enum dnsbl_state state;
    enum dnsbl_reason reason;
    /* It should work and does not. Not of IPv6 where its point is not listed: many lists know
     * no IPv6, and one that is dead is not listed by IPv4 either. */
    bool is_alarm;
};
void dnsbl_set_view(const struct dnsbl_set *s, size_t list, bool v6, struct dnsbl_view *out);

/* What is known of the lists of `before` that are the same: before *s is published, so that a
 * reload leaves no gap. */
void dnsbl_set_inherit(struct dnsbl_set *s, const struct dnsbl_set *before);

/* --- of the watch --- */

void dnsbl_set_publish(struct dnsbl_set *s, size_t list, bool v6, const struct dnsbl_watch *w);
/* 0: none. It counts until it is taken back, so that no moment lets the list be asked. */
uint32_t dnsbl_set_complaint(const struct dnsbl_set *s, size_t list, bool v6);
void dnsbl_set_heard(struct dnsbl_set *s, size_t list, bool v6);
