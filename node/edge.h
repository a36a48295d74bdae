/*
 * edge: the thread that owns what the sites of a fleet know together at their doors: the
 * greylist, what is known of recipients, who names too many that are not there, and whose
 * primary is away. SMTP threads ask it, it keeps the sets in memory, the first two of them on
 * disk (spool/known), and equal with those of its peers (replication/gossip, over the data
 * plane).
 *
 *   smtp thread --edge_ask, edge_rcpt--> here: looks it up, notes it --> back to who asked
 *   smtp thread --edge_good, edge_bad--> here: what became of a try
 *   cluster thread --edge_learn--> here: what a primary said of a recipient
 *   cluster thread --edge_away--> here: whose primary cannot be reached
 *   any --edge_is_offender--> a table of offenders, which is read without asking
 *   replica thread --edge_heard, edge_link--> here --replica_thread_facts--> the peers
 *   here --cluster_callout--> cluster thread: what a primary is to be asked --> back
 *   here --batches, one at a time--> the store's own thread: a slow disk delays no RCPT
 *   control thread --notice--> here: the secret of the cluster
 *
 * The secret (EDGE_SECRET_SETTING, 128 bits) stands in the control store; the node that leads
 * the log makes it once. Until it is known nobody is greylisted, and no tries are counted.
 * Another secret empties both: their keys mean nothing any more.
 *
 * Start: new -> (control thread, with the box for its notice) -> run. Stop: smtp threads joined
 * -> stop, which answers all that was asked -> replica thread joined -> end -> control thread
 * stopped -> free.
 * Threads: start and stop by main; what is asked and told from any.
 * Errors: none ends the node. What the door knows can be lost: then strangers are strangers
 * again. A store that fails is logged, and not used any more until the next start.
 * Limits: LIMIT_EDGE_BOX requests waiting: then E_FULL; what is said then is the asker's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mailbox.h"
#include "node/policy/greylist.h"
#include "node/policy/harvest.h"
#include "node/policy/recipient.h"

struct edge;
struct node;

#define EDGE_SUBSCRIBER     3 /* of the notices of node/control_thread.h */
#define EDGE_SECRET_SETTING "edge.secret"

struct edge *edge_new(struct node *n);
struct mailbox *edge_box(struct edge *e);
int edge_notice_kind(void);
/* The control thread is there. E_IO: no thread. */
MUST_CHECK enum err edge_run(struct edge *e, const char *dir);
void edge_stop(struct edge *e);
void edge_end(struct edge *e);   /* nobody posts any more, and the control thread is there */
void edge_free(struct edge **e); /* NULL: fine */

/* A heap object: comes back to answer_to with mail.kind = answer_kind; freed by the asker. */
struct edge_ask {
    struct mail mail; /* first */
    struct mailbox *answer_to;
    int answer_kind;
    void *ctx;

    struct ip_addr client;
    char spf_domain[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* that SPF passed; else empty */
    char domain[LIMIT_SMTP_DOMAIN_BYTES + 1];     /* of the recipient */
    char sender[LIMIT_SMTP_PATH_BYTES];
    uint16_t sender_bytes;
    bool is_watching; /* the domain only marks: greylist_watch() */
    bool is_look;     /* an operator's question: nothing is noted, nor counted */

    bool is_blind; /* the answer: there is no secret yet, nothing was looked up */
    enum greylist_verdict verdict;
    uint64_t wait_ms;
};

/* E_FULL: too much waits; the ask stays the caller's. */
MUST_CHECK enum err edge_greylist(struct edge *e, struct edge_ask *a);

/* Is there such a recipient, and has the client named too many that are not there? A heap
 * object as above. */
struct edge_rcpt {
    struct mail mail; /* first */
    struct mailbox *answer_to;
    int answer_kind;
    void *ctx;

    struct ip_addr client;
    bool is_spared; /* on an allow list: no tries of it are counted */
    bool is_look;   /* an operator's question: nothing is noted */
    uint64_t generation;
    char domain[LIMIT_SMTP_DOMAIN_BYTES + 1];
    char separator; /* of the domain */
    uint8_t local_bytes;
    char local[LIMIT_SMTP_LOCAL_PART_BYTES];

    /* In: mode, unknown, is_reserved, is_listed. The answer adds known, any_is_known, is_up and
     * is_suspicious. RECIPIENT_ASK of them: the wish to know is noted */
    struct recipient_facts facts;
    bool is_blind;    /* the answer: the thread has ended, nothing was looked up */
    uint32_t learned; /* recipients of the domain that are known to be there */
    enum harvest_state state;
};

/* E_FULL: too much waits; the ask stays the caller's. */
MUST_CHECK enum err edge_recipient(struct edge *e, struct edge_rcpt *a);

/* A primary took mail for a recipient, or refused the recipient. Borrows. */
struct edge_lesson {
    uint64_t generation;
    char separator;
    struct str local;
    bool is_valid;
};
void edge_learn(struct edge *e, const struct edge_lesson *l);
/* All domains whose mail this node delivers and whose primary is away now (node/policy/away.h);
 * said once a second. Borrows. */
void edge_away(struct edge *e, const uint64_t *generations, size_t count);
/* A client's mail for a recipient that is there was taken. */
void edge_good(struct edge *e, const struct ip_addr *client);
/* It named one in this domain, which learns, who was not taken. */
void edge_bad(struct edge *e, const struct ip_addr *client, struct str domain,
              struct str local);
/* Found out to be one, by all sites; reads a table, asks nobody. */
bool edge_is_offender(const struct edge *e, const struct ip_addr *client);

/* Of the replica thread: what a peer tells; borrows, drops what has no room. */
void edge_heard(struct edge *e, uint16_t site, struct str facts);
void edge_link(struct edge *e, uint16_t site, bool is_up);
