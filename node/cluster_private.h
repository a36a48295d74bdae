/* Between the files of the cluster thread (cluster*.c) only. All of it runs in that thread. */
#pragma once

#include <event2/event.h>
#include <pthread.h>

#include "base/prng.h"
#include "node/cluster.h"
#include "node/delivery/dsn_policy.h"
#include "node/delivery/holding.h"
#include "node/delivery_job.h"
#include "node/net/dns.h"

/* In a member a notification belongs to who holds the domain of the message it is about, not to
 * who holds the domain it goes to: that one is known to the scheduler by another generation. */
#define CLUSTER_DSN_GENERATION (UINT64_C(1) << 63)
/* And where a placed domain goes is looked up under one that no mail has. */
#define CLUSTER_LOOK_GENERATION (UINT64_C(1) << 62)
#define CLUSTER_GENERATION(g)   ((g) & ~(CLUSTER_DSN_GENERATION | CLUSTER_LOOK_GENERATION))

struct cluster_callout;
struct cluster_digest;
struct cluster_dnsbl;
struct cluster_resolver;
struct cluster_reach;
struct order_run;
struct route_job;
struct order;

struct cluster {
    struct node *node;
    struct event_base *base;
    struct mailbox *box;
    struct event *box_event, *wake, *retry;
    pthread_t thread;
    bool running, stopped, ended; /* ended: what comes in now is only freed */
    struct sched *sched;
    struct dns *dns;
    struct spool_reader *reader;
    struct prng rng;

    struct route_job *routes;    /* look-ups under way */
    struct order *orders;        /* operators' orders that wait for their message */
    struct progress *progress;   /* operations under way */
    struct delivery_job *writes; /* changes on their way through the writer */
    struct delivery_job *jobs;   /* all that is under way, these included */
    struct dsn_policy *dsn_policy;
    struct mail *parked;       /* writes that met a full disk, tried again every second */
    struct cluster_ask *probe; /* the one under way */
    uint32_t probe_token;
    struct cluster_dnsbl *dnsbl;
    struct cluster_resolver *resolver;
    struct cluster_callout *callout;
    struct cluster_digest *digest;
    struct judging_place judgings;
    struct event *away; /* once a second */
    uint64_t *away_now; /* generations: room for LIMIT_DOMAINS */
    bool some_away;
    struct judge_ask *judge_asks; /* under way */
    uint32_t judge_ask_count;
    uint64_t domains_seen;    /* control index up to which domains are known here */
    uint64_t operations_seen; /* the same for operations */
    bool some_closing;
    uint64_t rescan_at_ms; /* not before */
    bool rescan;           /* the scheduler was full: mail in the spool is unknown to it */

    /* of a member */
    struct event *beat;                 /* ten times a second */
    bool is_named;                      /* the control store has our host name */
    uint64_t name_again_ms;             /* proposed anew, boot time */
    struct holding *holding;            /* NULL: a node alone */
    uint64_t leaving[4];                /* of the lease, as last looked at */
    uint64_t ask_serial;                /* of questions before dots */
    uint64_t quiet_said[HOLDING_SLOTS]; /* slot epochs given to the control thread */
    bool some_leaving, draining, all_quiet_said;
    struct spool_cursor dsn_walk; /* notifications of domains that came or went */
    bool dsn_walking;
    struct cluster_reach *reach;
    struct order_run *runs; /* orders that are not done */
    uint64_t views;         /* of what is held, so far */
};

/* This node is one of a cluster: what ends messages needs a peer's consent. */
static inline bool cluster_is_member(const struct cluster *c)
{
    return c->node->replica != NULL;
}

struct sched_now cluster_now(struct cluster *c);
const struct node_settings *cluster_settings(struct cluster *c, struct snapshot_ref **ref);

/* In a second: parked writes, closing domains, a scan; whatever waits for better times. */
void cluster_look_again(struct cluster *c);
void cluster_rescan_later(struct cluster *c);

/* Reports an event whose refusal means only that the scheduler has moved on. */
void cluster_tell(struct cluster *c, const struct sched_event *ev);

/* cluster_route.c */
void cluster_resolve(struct cluster *c, const struct sched_action *a);
/* For cluster_callout_routed(), which may be called before this returns. */
void cluster_resolve_callout(struct cluster *c, struct str domain, uint64_t generation,
                             uint32_t place);
void cluster_routes_free(struct cluster *c);

/* cluster_change.c: everything that changes a message */
void cluster_give(struct cluster *c, const struct sched_action *a);
void cluster_result(struct cluster *c, struct delivery_job *j);
void cluster_expire(struct cluster *c, struct mid id);
void cluster_written(struct cluster *c, struct writer_request *r);
void cluster_retry_parked(struct cluster *c);
void cluster_parked_free(struct cluster *c);
void cluster_dead_dsns(struct cluster *c, struct str domain, enum route_result why);
MUST_CHECK enum err cluster_scan(struct cluster *c); /* at start: the whole spool */
void cluster_rescan(struct cluster *c); /* offers what the scheduler had no room for */
/* What the scheduler is to know. False: a DSN without a usable destination. */
bool cluster_message_of(struct cluster *c, const struct envelope *e, struct sched_message *out,
                        char domain[LIMIT_SMTP_DOMAIN_BYTES]);
/* A notification to a domain that cannot be: given up. */
void cluster_dead_dsn(struct cluster *c, struct mid id);
struct delivery_job *cluster_load(struct cluster *c, struct mid id, enum err *why);
void cluster_job_free(struct delivery_job **j);
/* Writes j->outcome; takes the job. In a member what ends recipients asks for consent first. */
void cluster_write(struct cluster *c, struct delivery_job *j, bool close_mark);
void cluster_facts(struct delivery_job *j); /* of an outcome that is durable */
/* Of an outcome that is about to be written: whether the sender will be told. */
void cluster_may_tell(struct cluster *c, struct delivery_job *j);

/* cluster_learn.c: the same, for the door */
void cluster_learn(struct cluster *c, const struct delivery_job *j);

/* cluster_hold.c: which domains are ours, and giving them away */
void cluster_hold_begin(struct cluster *c);
void cluster_hold_look(struct cluster *c); /* the control state, or the lease, has changed */
void cluster_hold_beat(struct cluster *c); /* time has passed, or work has ended */
void cluster_hold_end(struct cluster *c);
/* True: this node delivers the domain; *epoch (may be NULL): under which slot epoch. A node
 * alone delivers all. */
bool cluster_holds(const struct cluster *c, struct str domain, uint64_t *epoch);

/* It came here so lately that dots of who had it before may stand in the way. */
bool cluster_is_fresh_here(const struct cluster *c, struct str domain);
/* Jobs of what is no longer ours; of that domain also those that have begun. */
void cluster_recall(struct cluster *c, struct str cut_domain);

/* cluster_reach.c: which site reaches which primary. Without effect in a node alone */
void cluster_reach_begin(struct cluster *c);
void cluster_reach_end(struct cluster *c);
void cluster_reach_view(struct cluster *c); /* the control state has changed */
void cluster_reach_beat(struct cluster *c);
void cluster_reach_down(struct cluster *c, struct route_ip ip, uint16_t port);
void cluster_reach_up(struct cluster *c, struct route_ip ip, uint16_t port);
/* Of any connection. True: it is none of the scheduler's. */
bool cluster_reach_conn(struct cluster *c, const struct conn_report *r);
bool cluster_reach_probed(struct cluster *c, const struct sched_action *a); /* true: ours */
void cluster_reach_heard(struct cluster *c, const struct replica_event *ev);
void cluster_reach_link(struct cluster *c, uint16_t site, bool open);
void cluster_reach_answer(struct cluster *c, const struct control_answer *a);

/* cluster_member.c: consent, outcomes and news, of a member */
void cluster_job_begin(struct cluster *c, struct delivery_job *j); /* known from now on */
void cluster_consented(struct cluster *c, struct consent_ask *a);
void cluster_write_copy(struct cluster *c, struct delivery_job *j);
void cluster_copy_written(struct cluster *c, struct writer_request *r);
void cluster_copy_free(struct copy_op **op);
/* Reads the message again and tells the scheduler; not_before_ms: cluster time, 0: none. */
void cluster_offer(struct cluster *c, struct mid id, enum sched_event_type type,
                   uint64_t not_before_ms);
void cluster_news(struct cluster *c, const struct replica_event *ev);
/* The job ends and its dot was not sent: the mark goes, a doubt it stood for stays. */
void cluster_unsent(struct cluster *c, struct delivery_job *j);
void cluster_dsn_walk(struct cluster *c); /* from the start, in pieces */
void cluster_dsn_step(struct cluster *c);

/* cluster_order.c: the control store's changes and operators' orders */
void cluster_domains_changed(struct cluster *c);
/* Of no consequence when it fails: what it is about is looked at again. */
void cluster_propose(struct cluster *c, const struct command *cmd);
void cluster_domain_look(struct cluster *c, struct str name); /* one of them */
void cluster_domains_held(struct cluster *c); /* what came or went with the last view */
void cluster_set_domain(struct cluster *c, const struct domain *d, uint64_t generation);
void cluster_operations(struct cluster *c);
void cluster_order_try(struct cluster *c, struct mid id); /* the message is free again */
void cluster_order_written(struct cluster *c, uint64_t operation); /* its change is durable */
bool cluster_is_writing(const struct cluster *c, struct mid id);
void cluster_orders_free(struct cluster *c);
void cluster_drop_closed(struct cluster *c);

/* True: a message under way, at a connection or the writer. */
bool cluster_is_busy(struct cluster *c, struct mid id);
/* The change of one message; the write has the last word. False: nothing is to be written, or
 * the message is gone; else cluster_order_written() follows. */
bool cluster_change(struct cluster *c, struct mid id, enum operate_op op, uint64_t operation);

/* cluster_operate.c: orders in a member */
void cluster_operations_new(struct cluster *c);
void cluster_operate_beat(struct cluster *c);
void cluster_operate_written(struct cluster *c, uint64_t operation);
void cluster_operate_look(struct cluster *c); /* the holder of something is another one */
void cluster_operate_end(struct cluster *c);

/* cluster_away.c: whose primary is away, for the door */
void cluster_away_begin(struct cluster *c);
void cluster_away_end(struct cluster *c);

/* cluster_dnsbl.c: the watch over the lists in DNS */
void cluster_dnsbl_begin(struct cluster *c);
void cluster_dnsbl_want(struct cluster *c, bool wanted); /* some domain has its check on */
void cluster_dnsbl_end(struct cluster *c);               /* the dns is closed */

/* cluster_digest.c: owners are told by mail of what ended untold */
void cluster_digest_begin(struct cluster *c);
void cluster_digest_want(struct cluster *c, bool is_wanted); /* some domain has an address */
void cluster_digest_owe(struct cluster *c); /* other domains are ours than before */
/* Of an outcome that is durable. */
void cluster_digest_ended(struct cluster *c, const struct delivery_job *j);
void cluster_digest_go(struct cluster *c, struct writer_request *r); /* CLUSTER_MAIL_BARRIER */
void cluster_digest_stored(struct cluster *c, struct mail *m);       /* CLUSTER_MAIL_DIGEST */
void cluster_digest_end(struct cluster *c);

/* cluster_resolver.c: what the resolver is worth */
void cluster_resolver_begin(struct cluster *c);
enum cluster_resolver_state cluster_resolver_is(const struct cluster *c);
void cluster_resolver_end(struct cluster *c); /* the dns is closed */

/* cluster_judge.c */
void cluster_judge(struct cluster *c, struct judge_ask *a);
void cluster_judge_ended(struct cluster *c);

/* cluster_callout.c: questions to primaries */
void cluster_callout_begin(struct cluster *c);
void cluster_callout_take(struct cluster *c, struct callout_ask *a);
void cluster_callout_routed(struct cluster *c, uint32_t place, const struct route *r);
/* Of any connection, any job. True: it was one of these; the job is freed. */
bool cluster_callout_conn(struct cluster *c, const struct conn_report *r);
bool cluster_callout_result(struct cluster *c, struct delivery_job *j);
void cluster_callout_drain(struct cluster *c);
void cluster_callout_end(struct cluster *c);

/* cluster_ask.c */
void cluster_answer(struct cluster *c, struct cluster_ask *a);
void cluster_probe_ended(struct cluster *c);
void cluster_probed(struct cluster *c, const struct sched_action *a);
