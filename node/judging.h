/*
 * judging: the shell around node/policy/judge: gathers what the node knows of a client and its
 * sender, asks DNS what the judge wants to know, within LIMIT_JUDGE_MS, and says when there is
 * a verdict. For sessions (inbound_judge.c, inbound_auth.c) and for operators who ask what
 * would be said (cluster_judge.c).
 *
 *   judging_begin() ... done(ctx, judge) in a later turn, once; or judging_end(), once
 *
 * Threads: all of it in the thread of its place. Memory: 24 KiB, and LIMIT_SPF_MEMORY_BYTES at
 * most. One that nobody waits for any more stays until its questions are answered.
 */
#pragma once

#include <event2/event.h>

#include "node/node.h"
#include "node/policy/judge.h"

struct dns;
struct judging;

/* A thread in which questions can be asked. */
struct judging_place {
    struct node *node;
    struct event_base *base;
    struct dns *dns;
    struct judging *all; /* begin with NULL */
};

struct judging_verdict {
    const struct judge *judge;
    uint64_t ms;  /* it took */
    bool is_late; /* what DNS has not said by now is not waited for */
};

/* The judging is over with it: what it points to is gone after the call. */
typedef void judging_done(void *ctx, const struct judging_verdict *v);

struct judging_order {
    const uint8_t *checks; /* DOMAIN_CHECK_KINDS modes */
    bool needs_spf;        /* look it up, also where no check asks for it */
    struct ip_addr client;
    struct str helo;
    const struct path *sender;
    judging_done *done;
    void *ctx;
};

/* Borrows the order for the call. NULL: out of memory. */
MUST_CHECK struct judging *judging_begin(struct judging_place *place,
                                         const struct judging_order *o);
/* Nobody waits for it any more; NULL: fine. */
void judging_end(struct judging **g);
/* It takes at most so long from now on. */
void judging_limit(struct judging *g, uint64_t ms);
/* The node stops: what DNS has not said by now is not waited for. */
void judging_hurry(struct judging *g);
/* Nobody waits, and the dns of the place is closed. */
void judging_free_all(struct judging_place *place);
