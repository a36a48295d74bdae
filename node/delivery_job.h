/*
 * delivery_job: what travels between the cluster thread, which decides, and the smtp thread
 * that owns a connection to a primary, which acts. Plain data; each struct is one heap object
 * with one owner at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/mailbox.h"
#include "node/delivery/dsn_policy.h"
#include "node/delivery/outcome.h"
#include "node/delivery/sched.h"
#include "node/delivery/smtpc.h"
#include "node/replica_thread.h"
#include "proto/envelope.h"

/* Cluster to smtp: open or end a connection, or hand a job back (id) that has not begun; cuts:
 * also one that has not sent its dot. Freed by the smtp thread. */
struct conn_order {
    struct mail mail;
    uint64_t conn;
    struct mid id;
    struct route_ip ip;
    uint16_t port;
    char host[LIMIT_SMTP_DOMAIN_BYTES + 1];
    enum smtpc_tls tls;
    uint64_t connect_ms, greet_ms;
    bool cuts;
};

/* Smtp to cluster: what became of a connection. Freed by the cluster thread. */
struct conn_report {
    struct mail mail;
    uint64_t conn;
    struct route_ip ip;
    uint16_t port;
    enum sched_failure failure; /* NONE with READY and CLOSED */
    uint64_t latency_ms;
    bool odd;       /* the primary broke the protocol */
    uint16_t code;  /* of the deciding reply, 0: none */
    char text[256]; /* its kept text or words of ours */
};

/* One try of one message: cluster to smtp with GIVE, back with the result. */
struct delivery_job {
    struct mail mail;
    uint64_t conn;
    struct arena arena;
    struct envelope env; /* in arena */
    uint32_t *rcpts;     /* indexes to try, in arena */
    uint32_t rcpt_count;
    bool dsn;
    bool asks;           /* a question (smtpc.h): env has its recipients and no more */
    struct str dsn_text; /* of a DSN: the whole message, in arena; of a digest: nothing */
    uint64_t size_bytes;

    bool consent; /* the DOT mark is durable; of a member also: and a peer says yes */
    bool no_consent;
    bool careful;            /* of a member: a no is likely: nothing is sent before the word */
    bool recalled;           /* handed back by a connection that lives on */
    bool possible_duplicate; /* of a member: the consent says so */
    uint64_t slot_epoch;     /* of a member: under which the domain is held */
    uint64_t ask_tag;        /* of a member: of the question that counts; 0: none is out */
    uint64_t consent_ms;     /* boot: when it was asked for */
    uint64_t retry_ms;       /* no: again after; 0: not under this epoch */
    const struct smtpc_result *result; /* in arena; NULL: never begun */
    uint64_t latency_ms;               /* dot to reply */
    struct delivery_job *next;         /* of the connection's queue */

    enum smtpc_eight_bit eight_bit; /* policy of the domain */
    struct outcome outcome;         /* of the cluster thread: what the writer stores */
    struct dsn_policy *counted;     /* there, until the outcome is durable; or NULL */
    uint64_t operation;             /* the operator's order that this change is part of, or 0 */
    struct delivery_job **link;     /* in the list of changes under way */
    uint32_t slot;                  /* of the domain. From here on the cluster thread's alone */
    struct delivery_job *all_next, **all_link; /* all that is under way here */
};

/* A question before a final dot, of a connection, or of the cluster thread (conn 0). */
struct consent_ask {
    struct dot_ask ask; /* first */
    uint64_t conn;
    struct delivery_job *job; /* of the cluster thread: waits for the answer */
};

/* A question anew, for replica_thread_dot(): an answer to an earlier one counts no longer.
 * Threads: the owner of the job. */
struct consent_ask *delivery_job_ask(struct delivery_job *j, struct mailbox *box, int kind);
/* The yes still counts: peers wait for longer than the dot may be on its way. */
bool delivery_job_may_send(const struct delivery_job *j, uint64_t now_ms);
