/*
 * node: what the threads of one daemon share. Made by node_start(), read-only afterwards but
 * for the atomics. Not an all-knowing header: only wiring files of this folder include it.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "base/block.h"
#include "base/snapshot.h"
#include "node/config.h"
#include "node/control_thread.h"
#include "node/writer.h"
#include "spool/spool.h"

struct access_view;
struct cluster;
struct edge;
struct dnsbl_set;
struct crowd;
struct replica_thread;
struct smtp_thread;

/* Setting of the control store: the host name of a site, told by its node, for MX records. */
#define NODE_HOSTNAME_SETTING       "site.%u.hostname"
#define NODE_HOSTNAME_SETTING_BYTES 32

/* What a reload replaces: published as a snapshot; a session holds the one it began with. */
struct node_settings {
    struct node_config *config;
    SSL_CTX *server_tls; /* NULL: no STARTTLS is offered */
    SSL_CTX *client_tls; /* verifies when delivery.tls_ca_file is set */
    struct dnsbl_set *dnsbl;
};

struct node {
    struct snapshot *settings; /* of struct node_settings */
    struct spool *spool;
    struct control_thread *control;
    struct writer *writer;
    struct cluster *cluster;
    struct replica_thread *replica; /* NULL: a node alone */
    struct access_view *access;
    struct edge *edge;
    struct smtp_thread *smtp[64];
    size_t smtp_count;
    struct block_pool blocks;

    uint16_t site;
    uint64_t session_epoch;
    atomic_uint_fast64_t next_counter; /* of message ids */

    atomic_bool fenced;   /* acknowledges nothing more */
    atomic_bool stopping; /* ends its sessions */
    atomic_bool smtputf8; /* the primary of some domain takes it, so it is offered */
    atomic_uint sessions;
    struct crowd *clients, *networks; /* of open sessions, by where they come from */
};

/* A fresh id for a message whose PUT is made now. */
static inline struct mid node_draw_id(struct node *n)
{
    return mid_make(n->site, n->session_epoch, atomic_fetch_add(&n->next_counter, 1));
}
