/* Between the files of the edge thread (edge*.c) only: edge.c (the thread, its mail, the
 * secret), edge_sets.c (the sets: as gossip and store see them, and what is asked of them),
 * edge_primary.c (whom primaries are asked for, as edge_callout says). */
#pragma once

#include <pthread.h>

#include "node/edge.h"
#include "node/edge_callout.h"
#include "node/edge_store.h"
#include "node/node.h"
#include "node/policy/away.h"
#include "node/policy/harvest.h"
#include "node/policy/offenders.h"
#include "replication/gossip.h"

enum edge_mail {
    MAIL_ASK,
    MAIL_RCPT,
    MAIL_LESSON,
    MAIL_GOOD,
    MAIL_BAD,
    MAIL_AWAY,
    MAIL_FACTS,
    MAIL_LINK,
    MAIL_NOTICE,
    MAIL_ANSWER,
    MAIL_WRITTEN,
    MAIL_CALLOUT,
    MAIL_STOP
};

/* MAIL_LESSON. */
struct edge_taught {
    struct mail mail; /* first */
    uint64_t generation;
    enum rcptset_status status;
    char separator;
    uint8_t local_bytes;
    char local[LIMIT_SMTP_LOCAL_PART_BYTES];
};

/* MAIL_GOOD: its mail was taken; MAIL_BAD: it named somebody in the domain who was not. */
struct edge_client {
    struct mail mail; /* first */
    struct ip_addr client;
    char domain[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint8_t local_bytes;
    char local[LIMIT_SMTP_LOCAL_PART_BYTES];
};

/* MAIL_AWAY */
struct edge_seen {
    struct mail mail; /* first */
    size_t count;
    uint64_t generations[];
};

struct edge {
    struct node *node;
    struct mailbox *box;
    pthread_t thread;
    struct mail stop;
    bool is_running, is_stopping, is_asking, has_ended;
    char dir[512];

    struct edge_store *store; /* NULL: it could not be opened */
    struct gossip gossip;
    uint64_t told_ms, stored_ms, looked_ms;
    uint64_t told; /* edge_sets_serial() that peers were told up to, as far as they take it */

    bool has_secret;
    uint64_t secret[2];

    struct greylist greylist;
    bool clears;                      /* what is stored of it is of another secret */
    struct change_cursor grey_stored; /* up to where changes are on disk */
    uint64_t grey_dropped[LIMIT_EDGE_GREY_LOOK];
    size_t grey_dropped_count;

    struct rcptset recipients;
    struct change_cursor rcpt_stored;
    struct rcptset_entry rcpt_dropped[LIMIT_EDGE_RCPT_LOOK];
    size_t rcpt_dropped_count;
    struct edge_callout callout;
    char callout_at[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* the domain looked at last */

    struct harvest harvest;
    struct offenders offenders; /* read by all */
    struct away away;
};

struct callout_ask;

/* --- edge_primary.c --- */

void edge_primary_init(struct edge *e);
/* True: the ask waits for what the primary says, and is answered then. */
MUST_CHECK bool edge_primary_wait(struct edge *e, struct edge_rcpt *a);
void edge_primary_look(struct edge *e); /* once a second */
void edge_primary_tick(struct edge *e); /* every turn */
/* What became of a recipient of the domain in the set: counted, and told to who waits. */
void edge_primary_merged(struct edge *e, uint64_t generation, enum rcptset_merged what);
void edge_primary_answer(struct edge *e, struct callout_ask *a); /* takes it */

/* --- edge_sets.c --- */

void edge_sets_init(struct edge *e, struct gossip_options *o); /* fills in o->sets */
void edge_sets_fini(struct edge *e);
void edge_sets_load(struct edge *e); /* what is on disk */
/* Puts what has changed into an empty batch, as far as it fits; the rest with the next one. */
void edge_sets_write(struct edge *e, struct edge_batch *b);
void edge_sets_sweep(struct edge *e);
void edge_sets_gauges(const struct edge *e);
uint64_t edge_sets_serial(const struct edge *e); /* rises with every change */
/* The keys of what is counted under another secret mean nothing any more. */
void edge_sets_secret(struct edge *e, const uint64_t secret[2]);

void edge_sets_grey(struct edge *e, struct edge_ask *a);  /* answers it */
void edge_sets_rcpt(struct edge *e, struct edge_rcpt *a); /* the same */
void edge_sets_away(struct edge *e, const struct edge_seen *s);
void edge_sets_lesson(struct edge *e, const struct edge_taught *t);
void edge_sets_client(struct edge *e, const struct edge_client *c);
