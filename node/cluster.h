/*
 * cluster: the thread that owns the delivery scheduler: DNS, destinations, who tries which
 * message when, what becomes of results, operators' orders, expiry.
 *
 * Threads: start and stop by main; cluster_message_new() and cluster_ask() from any.
 */
#pragma once

#include "base/mailbox.h"
#include "node/delivery/callout.h"
#include "node/delivery/sched.h"
#include "node/judging.h"
#include "node/node.h"

struct cluster;

enum cluster_mail {
    CLUSTER_MAIL_NEW,     /* struct cluster_new: a message was accepted           */
    CLUSTER_MAIL_READY,   /* struct conn_report                                   */
    CLUSTER_MAIL_FAILED,  /* struct conn_report                                   */
    CLUSTER_MAIL_CLOSED,  /* struct conn_report                                   */
    CLUSTER_MAIL_RESULT,  /* struct delivery_job                                  */
    CLUSTER_MAIL_WRITTEN, /* struct writer_request                                */
    CLUSTER_MAIL_NOTICE,  /* of the control thread: see control_notice_take()     */
    CLUSTER_MAIL_ANSWER,  /* struct control_answer: to a proposal of this thread  */
    CLUSTER_MAIL_ASK,     /* struct cluster_ask                                   */
    CLUSTER_MAIL_JUDGE,   /* struct judge_ask                                     */
    CLUSTER_MAIL_CALLOUT, /* struct callout_ask                                   */
    CLUSTER_MAIL_BARRIER, /* struct writer_request: before a walk for digests */
    CLUSTER_MAIL_DIGEST,  /* struct intake, of a node alone struct writer_request */
    CLUSTER_MAIL_REPLICA, /* struct replica_event                                 */
    CLUSTER_MAIL_CONSENT, /* struct dot_ask: answered, of an expiry or an order   */
    CLUSTER_MAIL_DRAIN,   /* struct mail: give no new jobs                        */
    CLUSTER_MAIL_STOP,    /* struct mail: leave the loop                          */
};

/* Makes the mailbox; the thread runs from cluster_run(). The control thread needs the box
 * before the cluster thread can start. */
struct cluster *cluster_new(struct node *n);
struct mailbox *cluster_box(struct cluster *c);
/* Scans the spool, then starts the thread. */
MUST_CHECK enum err cluster_run(struct cluster *c);
void cluster_drain(struct cluster *c);
/* Ends the thread. What others still post is kept. */
void cluster_join(struct cluster *c);
/* After join, and after the smtp threads ended: turns what they handed back into writes. */
void cluster_take_last(struct cluster *c);
/* After the writer has answered all, before the control thread stops: frees what is left. */
void cluster_end(struct cluster *c);
void cluster_free(struct cluster **c); /* after the control thread stopped */

/* A message became durable and was answered 250. */
void cluster_message_new(struct cluster *c, const struct envelope *e);

/* --- questions of the admin side, answered by the cluster thread --- */

enum cluster_ask_kind {
    CLUSTER_ASK_COUNTS,
    CLUSTER_ASK_DOMAIN,
    CLUSTER_ASK_MESSAGE,
    CLUSTER_ASK_PROBE
};

/* Whether what the resolver says has been validated (DNSSEC), as far as this node can tell. */
enum cluster_resolver_state {
    RESOLVER_NOT_ASKED,
    RESOLVER_VALIDATES,
    RESOLVER_UNVALIDATED, /* or it stands on another machine, whose word does not count */
    RESOLVER_BOGUS,       /* it does not believe the root */
    RESOLVER_SILENT,
    RESOLVER_STATES
};
const char *cluster_resolver_text(enum cluster_resolver_state s); /* "validates"; static */

struct cluster_addr {
    char ip[64], host[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint16_t port, pref;
    enum sched_dest_state state;
    enum sched_failure failure;
    uint64_t down_ms;       /* DOWN: for how long */
    uint64_t next_probe_ms; /* from now; UINT64_MAX: none */
    uint32_t conns, window;
    uint64_t latency_ms; /* PROBE: of the greeting; failure NONE: it answered */
};

/* Heap object: made by the asker, posted with cluster_ask(), comes back to answer_to with
 * mail.kind = answer_kind, err and the answer set; freed by the asker with free(). */
struct cluster_ask {
    struct mail mail;
    enum cluster_ask_kind kind;
    struct mailbox *answer_to;
    int answer_kind;
    void *ctx;

    char domain[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint64_t generation;
    struct mid id;

    enum err err; /* E_NOTFOUND: the scheduler does not know it (no mail of it) */
    struct sched_counts counts;
    enum cluster_resolver_state resolver; /* of COUNTS */
    struct sched_message_view message;
    bool paused, stale;
    enum route_result route; /* ROUTE_RESULTS: not looked up yet */
    uint64_t messages, ready, deferred, held, given;
    size_t addr_count;
    struct cluster_addr addrs[LIMIT_PROBE_ADDRS];
};

void cluster_ask(struct cluster *c, struct cluster_ask *a);

/* What a check says; detail may hold bytes from outside. */
struct judge_line {
    enum domain_check_kind kind;
    const char *word; /* static */
    char detail[JUDGE_DETAIL_BYTES];
    bool is_against;
};

/* Heap object, as above: what would be said to a client at RCPT. */
struct judge_ask {
    struct mail mail;
    struct mailbox *answer_to;
    int answer_kind;
    void *ctx;

    struct ip_addr client;
    uint8_t checks[DOMAIN_CHECK_KINDS];
    char helo[LIMIT_SMTP_HELO_BYTES + 1];
    char from[LIMIT_SMTP_PATH_BYTES + 3]; /* with <> */

    enum err err; /* E_AGAIN: too many at the same time */
    struct judge_line lines[JUDGE_CHECKS];
    char reply[JUDGE_REPLY_BYTES]; /* the refusal; empty: none */
    uint64_t ms;
    bool is_late;
    bool is_identity;                             /* SPF was looked up, and says who sends */
    char spf_domain[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* then: whom it passed; else empty */

    /* private to the cluster thread */
    struct cluster *cluster;
    struct judge_ask *next, *prev;
    struct judging *judging;
};

void cluster_judge_ask(struct cluster *c, struct judge_ask *a);

/* Heap object, as above: the primary of a domain is to be asked for a recipient. Comes back
 * as node/delivery/callout.h says; NOT_ASKED at once when this node does not hold the domain,
 * or its primary is not to be asked now. */
struct callout_ask {
    struct mail mail;
    struct mailbox *answer_to;
    int answer_kind;
    void *ctx;
    struct callout_wish wish; /* domain, generation, local, hurries; the answer: verdict */
};

/* E_FULL: too much waits; the ask stays the caller's. */
MUST_CHECK enum err cluster_callout(struct cluster *c, struct callout_ask *a);
