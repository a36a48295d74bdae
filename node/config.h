/*
 * node/config: what stands in trispool.yaml, the settings of one node. Domains, plans, lists
 * and users are not here: they live in the control store. docs/configuration.md is made from
 * the table in config.c; `trispool config show --effective` prints node_config_print().
 *
 * Reading touches the file and conf.d beside it only: certificates, directories and names in it
 * are not opened, so --check may run on a temporary copy on another machine.
 * Threads: a loaded config is immutable; the main thread loads, publishes it as a snapshot and
 * frees the old one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/config.h"
#include "base/err.h"
#include "base/log.h"

#define NODE_CONFIG_PATH "/etc/trispool/trispool.yaml"
#define NODE_CONFIG_EXIT_BAD                                                                   \
    78 /* EX_CONFIG: the exit status when a configuration is refused                           \
        */

struct node_config {
    uint64_t site;        /* 1..3 */
    const char *hostname; /* lower case FQDN: banner, Received, default of delivery.helo */
    const char *cluster;  /* name of the fleet */
    uint64_t copies;      /* durable copies a 250 stands for: 1 alone, 2 in a cluster */
    bool near_sites;      /* round trips between the sites are under 50 ms: shorter timers */
    struct {
        const char *control, *data; /* own sockets for the peers, "host:port"; NULL with
                                       copies: 1 */
    } peers;
    const char *data_dir;       /* absolute */
    const char *control_socket; /* absolute */
    const char *authserv_id;    /* in Authentication-Results; never NULL */
    const char *postmaster;     /* address that bare "postmaster" goes to */

    struct {
        struct config_addresses listen;
        uint64_t threads;                 /* 1..64 */
        uint64_t max_sessions;            /* of this node */
        uint64_t max_sessions_per_client; /* of one client address */
        uint64_t max_message_bytes;       /* SIZE, at most LIMIT_BODY_BYTES */
        bool require_tls;                 /* 530 to MAIL before STARTTLS */
        const char *tls_certificate_file; /* PEM chain; NULL: no STARTTLS is offered */
        const char *tls_key_file;         /* PEM; set exactly when the certificate is */

        uint64_t max_sessions_per_network; /* of its network; never less than of a client */
        uint64_t max_rate_per_client;      /* new sessions a minute; 0: any number */
        uint64_t max_rate_per_network;     /* the same of its network */
        uint64_t greet_delay_ms;           /* the banner waits, for clients that do not */

        const char *policy_server; /* as it was written; NULL: none */
        struct config_address
            policy_address;         /* of it, of a UNIX socket too; .text NULL: none */
        uint64_t policy_timeout_ms; /* for its answer about one recipient */
    } smtp;

    struct {
        const char *helo;                      /* never NULL */
        struct config_strings own_names;       /* MX hosts that are us; has hostname and helo */
        struct config_addresses own_addresses; /* and addresses that are us, without ports */
        bool allow_private_addresses;          /* deliver to RFC 1918, loopback, link-local */
        uint64_t max_connections;              /* to one destination address */
        struct config_hosts dsn_route;         /* empty: the MX of the sender's domain */
        uint64_t digest_every_ms;              /* at least, between two to one owner */
        const char *tls_ca_file;               /* PEM; NULL: the system's store */
    } delivery;

    struct {
        uint64_t quota_bytes;      /* the spool refuses mail above it */
        uint64_t map_bytes;        /* address space of LMDB; above the quota */
        uint64_t scrub_rate_bytes; /* a second; 0: no scrub */
    } spool;

    uint64_t hold_ms; /* hold time of domains whose plan says nothing; 1..60 days */

    struct {
        struct config_addresses servers; /* with ports; empty: those of /etc/resolv.conf */
    } dns;

    struct {
        uint64_t delay_ms; /* of strangers; 1 s to an hour */
    } greylist;

    struct {
        struct config_strings lists; /* each as node/config_dnsbl.h reads it; empty: none */
        uint64_t threshold;          /* sum of weights at which a client is listed */
    } dnsbl;

    struct {
        int level; /* enum log_level */
    } log;

    struct config *source; /* owns the strings and lists */
};

/* OK, and *out is the caller's to free; or E_PROTO, *out NULL and all mistakes printed to `err`
 * (with position, source line and caret). `err` may be NULL. */
MUST_CHECK enum err node_config_load(const char *path, struct node_config **out, FILE *err);
/* The same from memory, for tests. */
MUST_CHECK enum err node_config_from_text(const char *name, struct str text,
                                          struct node_config **out, FILE *err);
void node_config_free(struct node_config **c);

/* trispoold --check: reads, prints the mistakes or "FILE: ok" to out. 0, or
 * NODE_CONFIG_EXIT_BAD. */
int node_config_check(const char *path, FILE *out);

/* All effective values as YAML; a file of the same meaning. */
void node_config_print(const struct node_config *c, FILE *out);

/* Keys whose values differ; .restart: the running value stays until the next start. At most max
 * are stored; returns how many there are (never above NODE_CONFIG_KEYS_MAX). */
#define NODE_CONFIG_KEYS_MAX 64
size_t node_config_diff(const struct node_config *before, const struct node_config *after,
                        struct config_change *out, size_t max);

/* docs/configuration.md */
void node_config_print_reference(FILE *out);
