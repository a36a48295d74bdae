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
#include "node/delivery/outcome.h"
#include "node/delivery/sched.h"
#include "node/delivery/smtpc.h"
#include "proto/envelope.h"

/* Cluster to smtp: open or end a connection. Freed by the smtp thread. */
struct conn_order {
    struct mail mail;
    uint64_t conn;
    struct route_ip ip;
    uint16_t port;
    char host[LIMIT_SMTP_DOMAIN_BYTES + 1];
    enum smtpc_tls tls;
    uint64_t connect_ms, greet_ms;
};

/* Smtp to cluster: what became of a connection. Freed by the cluster thread. */
struct conn_report {
    struct mail mail;
    uint64_t conn;
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
    struct str dsn_text; /* of a DSN: the whole message, in arena */
    uint64_t size_bytes;

    bool consent; /* the DOT mark is durable */
    bool no_consent;
    const struct smtpc_result *result; /* in arena; NULL: never begun */
    uint64_t latency_ms;               /* dot to reply */
    struct delivery_job *next;         /* of the connection's queue */

    enum smtpc_eight_bit eight_bit; /* policy of the domain */
    struct outcome outcome;         /* of the cluster thread: what the writer stores */
    uint64_t operation;             /* the operator's order that this change is part of, or 0 */
    struct delivery_job **link;     /* in the list of changes under way */
};
