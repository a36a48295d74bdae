/*
 * sched: which message goes where and when. The delivery scheduler of a node as a pure machine:
 * the shell (node/cluster) reports events, then pulls actions until there are none, then sleeps
 * until sched_wakeup_ms(). Bodies, envelopes, sockets, DNS and the spool are the shell's.
 *
 *   sched_step(s, &event, now);
 *   while (sched_next_action(s, now, &action))
 *       perform(&action);                       may call sched_step(), not sched_next_action()
 *   sleep until sched_wakeup_ms(s, now), then pull again (no event is needed)
 *
 * A message:
 *
 *   READY --GIVE--> GIVEN --JOB_DONE--> WRITING --MESSAGE_CHANGED--> READY or DEFERRED
 *     |  ^            |                    \------MESSAGE_GONE-----> forgotten
 *     |  |            \--CONN_CLOSED before JOB_DONE--> READY (never tried: nothing to write)
 *     |  \--time, recovery, RETRY_NOW-- DEFERRED
 *     \--EXPIRE--> WRITING            any of READY, DEFERRED <--HOLD, RELEASE--> HELD
 *
 * It is on at most one connection at a time. WRITING lasts until the shell reports what is
 * durable. EXPIRE comes at the deadline, never before, and never while GIVEN or WRITING; held
 * messages and those of paused domains expire too. In phase DSN, domain and deadline are those
 * of the notification, and EXPIRE means that it is given up.
 *
 * A destination is an address, a port and a TLS mode (with REQUIRE also the host name):
 *
 *   UNKNOWN --ready--> UP        UNKNOWN, UP --connect or greeting fails--> DOWN
 *   DOWN --a probe is ready--> UP: recovery
 *
 * The retry clock is the destination's, not the message's (INV-8). While it is DOWN and mail
 * waits, it is probed (TCP, 220, EHLO): every second in the first 10 minutes, every 5 s after,
 * all destinations together at most LIMIT_PROBES_PER_S, longest due first. A probe that gets
 * ready is the canary: it carries one message; once that has a proper answer the window of
 * connections grows by one for each message taken, up to max_conns; it is halved on 421, 450 or
 * slowness and grows by one per window then. A recovery frees every domain that has the address
 * in its route, and all mail of it that waits for a next try, at once; GIVE says `recovered`
 * then: the next_ms of recipients is not to be looked at. A message whose connection was lost
 * three times in a row is left out of that: it keeps its clock.
 * 4xx replies never make a destination DOWN, nor does a connection that fails while another
 * one to it is ready (it is at its limit: the window shrinks), unless nothing at all was heard
 * since it was tried. While jobs are out and nothing is heard for 2.5 s, one more connection is
 * tried, to know.
 *
 * A domain uses the first address of its route that is not DOWN; when it fails the next one is
 * tried in the same turn. Look-ups that fail are repeated (1 s doubling to 60 s), the last good
 * route stays in use meanwhile, up to 14 days. Routes are refreshed by their TTL (30 s to 1 h)
 * while mail waits. Order: oldest first, but while old and newly accepted mail both wait, one
 * of three is new mail. Domains of an address, and addresses, take turns.
 *
 * TLS: with TRY, a TLS_FAILED is followed at once by a connection without TLS, and that is
 * remembered for an hour; with REQUIRE it counts as DOWN.
 *
 * A destination that ends connections in the transaction, breaks the protocol or answers 421 is
 * not DOWN: it gets one connection at a time, a try every 1 to 5 s, and another address of the
 * route is preferred meanwhile (a minute after 421, else ten). The first such event costs no
 * pause, so that a restart of the primary costs nothing.
 *
 * In a fleet the sites take turns at probing what is down, beside this clock
 * (replication/reach): TRY says that it is our turn, or that somebody has seen it up.
 *
 * The shell's sockets must notice dead peers (TCP keepalive, about 10 s): the scheduler sees a
 * connection that hangs in a transaction only by its end.
 *
 * When connections are too few for all, each destination gets a share, and one that has done 20
 * messages makes room for who waits longest.
 *
 * Idle connections end after 5 s, and after LIMIT_MESSAGES_PER_CONN messages. Nothing is
 * probed, refreshed or opened when no mail waits (PROBE_NOW excepted).
 *
 * Threads: one owner. Durability: none; rebuilt from the spool at start.
 * Limits: LIMIT_QUEUE_MESSAGES, LIMIT_QUEUE_DOMAINS, LIMIT_CONNS_OUT, LIMIT_CONNS_PER_DEST,
 * LIMIT_JOBS_AHEAD, LIMIT_ROUTES_PENDING; at most 96 bytes an entry, plus its index.
 * Time: boot_ms (CLOCK_BOOTTIME) for connections, probes, look-ups; cluster_ms for next_ms and
 * deadline_ms. Neither may go backwards. O(log n) each step; what a recovery frees is moved in
 * portions, over several calls.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mid.h"
#include "base/str.h"
#include "node/delivery/route.h"
#include "proto/envelope.h"

struct sched;

struct sched_now {
    uint64_t boot_ms, cluster_ms;
};

struct sched_options { /* 0 anywhere: the limit of the same meaning */
    uint32_t messages_max, domains_max;
    uint32_t conns_max; /* open and opening, all destinations */
    uint32_t probes_per_s;
    bool ask_ahead; /* each message needs the word of a peer, which takes a round trip: a canary
                       gets its next jobs ahead, too, still one at a time on the wire */
    uint64_t seed;  /* of the index (outsiders choose domain names) and of jitter */
};

/* NULL: out of memory. */
struct sched *sched_new(const struct sched_options *o);
void sched_free(struct sched **s);

/* --- in --- */

enum sched_tls { SCHED_TLS_TRY, SCHED_TLS_REQUIRE, SCHED_TLS_OFF };

/* What the scheduler keeps of a message. Domain and generation: where it goes next: the
 * envelope's domain, or, in phase DSN, the sender's. Generation 0: a domain that is not ours;
 * it needs no DOMAIN_SET and has default settings. Otherwise nothing happens before DOMAIN_SET
 * for exactly this generation, so that old mail never goes to a new tenant. */
struct sched_message {
    struct mid id;
    struct str domain; /* lower case, A-labels, at most LIMIT_SMTP_DOMAIN_BYTES; borrowed */
    uint64_t generation;
    uint64_t body_bytes;
    uint64_t received_ms; /* cluster time: the order */
    uint64_t next_ms;     /* cluster time: smallest next_ms of pending recipients; 0: now */
    uint64_t deadline_ms; /* cluster time */
    enum phase phase;     /* PHASE_DELIVER or PHASE_DSN */
    bool held;
    bool possible_duplicate; /* only handed on with GIVE */
    bool is_fresh;           /* accepted just now, not found by the scan at start */
};

struct sched_settings {
    bool is_paused;
    uint32_t max_conns; /* of the domain; 0: LIMIT_CONNS_PER_DEST */
    enum sched_tls tls;
    uint64_t route_version; /* another value than before: the known route is void at once */
};

/* Why a connection did not get ready. */
enum sched_failure {
    SCHED_FAIL_NONE,
    SCHED_FAIL_CONNECT,  /* refused, unreachable, timed out          */
    SCHED_FAIL_GREETING, /* no 220: 4xx, 5xx, silence, nonsense, cut */
    SCHED_FAIL_EHLO,     /* neither EHLO nor HELO taken, AUTH refused */
    SCHED_FAIL_TLS,      /* STARTTLS refused or missing though required, handshake failed */
    SCHED_FAIL_LOCAL     /* our own want of descriptors or memory: not the primary's fault */
};
const char *sched_failure_text(enum sched_failure f); /* lower-case word, static */

/* How a job ended. The first three are proper answers of a working primary. */
enum sched_job {
    SCHED_JOB_OK,           /* at least one recipient taken                                */
    SCHED_JOB_PERMANENT,    /* nobody taken, 5xx                                           */
    SCHED_JOB_DEFERRED,     /* 4xx other than 421 and 450                                  */
    SCHED_JOB_BRAKE,        /* 450                                                         */
    SCHED_JOB_BRAKE_CLOSE,  /* 421: the primary ends the connection, CONN_CLOSED follows   */
    SCHED_JOB_DEST_PROBLEM, /* the destination as a whole does not work: as ODDITY, but it is
                               for the scheduler to end the connection */
    SCHED_JOB_ODDITY,       /* the protocol was broken; CONN_CLOSED follows                */
    SCHED_JOB_LOST,         /* the connection ended in the transaction; CONN_CLOSED follows */
    SCHED_JOB_NOT_TRIED     /* handed back for a reason of ours                            */
};

enum sched_event_type {
    SCHED_EV_MESSAGE_NEW,     /* .message. E_EXISTS: known. E_FULL: not taken, offer it later */
    SCHED_EV_MESSAGE_CHANGED, /* .message, after a durable update, or to say that nothing was
                                 written. GIVEN: E_CONFLICT, nothing done. E_FULL: as it was,
                                 report it again later. E_NOTFOUND */
    SCHED_EV_MESSAGE_GONE,    /* .id, settled or purged; also while GIVEN (the job goes on
                                 without the scheduler). E_NOTFOUND */
    SCHED_EV_HOLD,            /* .id; when GIVEN it takes effect after the job. E_NOTFOUND */
    SCHED_EV_RELEASE,         /* .id. E_NOTFOUND */
    SCHED_EV_DOMAIN_SET,      /* .domain .generation .settings. E_FULL */
    SCHED_EV_DOMAIN_GONE,     /* .domain .generation: its mail stays, untried. E_NOTFOUND */
    SCHED_EV_ROUTE_ANSWER,    /* .domain .generation .serial .route. E_NOTFOUND: nobody asks
                                 any more (all right) */
    SCHED_EV_CONN_READY,      /* .conn .latency_ms (from OPEN): EHLO answered, TLS done */
    SCHED_EV_CONN_FAILED,     /* .conn .failure: never got ready; the number is free */
    SCHED_EV_CONN_CLOSED,     /* .conn, after QUIT or by itself; jobs without JOB_DONE return */
    SCHED_EV_JOB_DONE,        /* .conn .id .job .latency_ms (dot, or last command, to its
                                 reply; 0: none) */
    SCHED_EV_RETRY_NOW,       /* .scope and .id or .domain .generation: as after a recovery;
                                 down destinations are probed at once. E_NOTFOUND */
    SCHED_EV_PROBE_NOW,       /* .domain .generation .token: a PROBE_RESULT for each address, at
                                 most LIMIT_PROBE_ADDRS. E_NOTFOUND, E_AGAIN: one is under way */
    SCHED_EV_TRY,             /* .ip .port: probed at once when it is down and mail waits.
                                 E_NOTFOUND: it is not, or that is not known */
    SCHED_EV_DRAIN_STOP       /* shut down: nothing new is begun, idle connections end */
};

enum sched_scope { SCHED_ALL, SCHED_DOMAIN, SCHED_MESSAGE };

struct sched_event {
    enum sched_event_type type;
    struct sched_message message;
    struct mid id;
    struct str domain;
    uint64_t generation;
    struct sched_settings settings;
    const struct route *route; /* borrowed */
    uint32_t serial;           /* of the RESOLVE that this answers */
    uint64_t conn;
    enum sched_failure failure;
    enum sched_job job;
    uint64_t latency_ms;
    enum sched_scope scope;
    uint32_t token;
    struct route_ip ip;
    uint16_t port;
};

/* Errors: per event, above; events about a connection that is not known (any more): E_NOTFOUND,
 * nothing done. */
MUST_CHECK enum err sched_step(struct sched *s, const struct sched_event *ev,
                               struct sched_now now);

/* --- out --- */

enum sched_action_type {
    SCHED_ACT_RESOLVE,      /* .domain .generation .serial: answer with ROUTE_ANSWER, always */
    SCHED_ACT_OPEN,         /* .conn .ip .port .host .tls .is_probe .connect_ms .greet_ms: ends
                               in CONN_READY or CONN_FAILED. TCP within connect_ms, the rest
                               (banner to the reply to EHLO) within greet_ms more */
    SCHED_ACT_GIVE,         /* .conn .id .phase .recovered .possible_duplicate: jobs of a
                               connection are done in the order given */
    SCHED_ACT_QUIT,         /* .conn: idle, or still opening; ends in CONN_CLOSED */
    SCHED_ACT_EXPIRE,       /* .id .phase: the shell writes it, then reports CHANGED or GONE */
    SCHED_ACT_PROBE_RESULT, /* .token .left .domain .generation, and .route_result unless
                               ROUTE_OK, else .ip .port .host .failure .latency_ms; left 0: the
                               last one */
    SCHED_ACT_PRIMARY_DOWN, /* log: .ip .port .host .failure */
    SCHED_ACT_PRIMARY_UP,   /* log: .ip .port .host .down_ms */
    SCHED_ACT_ROUTE_FAILED  /* log: .domain .generation .route_result .is_stale (the last good
                               route is in use); once per reason, not per look-up */
};

/* Strings are borrowed until the next call. */
struct sched_action {
    enum sched_action_type type;
    struct mid id;
    enum phase phase;
    bool recovered, possible_duplicate;
    struct str domain;
    uint64_t generation;
    uint32_t serial;
    uint64_t conn; /* never used twice in the life of the scheduler; above 0 */
    struct route_ip ip;
    uint16_t port;
    struct str host;
    enum sched_tls tls;
    bool is_probe;
    uint32_t connect_ms, greet_ms;
    enum sched_failure failure;
    enum route_result route_result;
    bool is_stale;
    uint64_t latency_ms, down_ms;
    uint32_t token, left;
};

/* False: nothing to do now. What was handed out counts as done. */
bool sched_next_action(struct sched *s, struct sched_now now, struct sched_action *out);

/* Boot time of the next moment at which there may be an action without an event; at once when
 * there is one already; UINT64_MAX: never. Call it with the `now` of the last pull. */
uint64_t sched_wakeup_ms(const struct sched *s, struct sched_now now);

/* --- looking at it (console, metrics, tests) --- */

struct sched_counts {
    uint64_t messages, ready, deferred, held, given, writing;
    uint64_t domains, dests, dests_down, conns, conns_opening;
    uint64_t probes; /* since start */
    size_t entry_bytes;
};
void sched_counts(const struct sched *s, struct sched_counts *out);

enum sched_message_state {
    SCHED_MSG_READY,
    SCHED_MSG_DEFERRED,
    SCHED_MSG_HELD,
    SCHED_MSG_GIVEN,
    SCHED_MSG_WRITING
};

struct sched_message_view {
    enum sched_message_state state;
    enum phase phase;
    uint64_t next_ms, deadline_ms; /* cluster time */
    uint64_t conn;                 /* GIVEN */
};
/* False: not known. */
bool sched_message_view(const struct sched *s, struct mid id, struct sched_message_view *out);

enum sched_dest_state { SCHED_DEST_UNKNOWN, SCHED_DEST_UP, SCHED_DEST_DOWN };

struct sched_addr_view {
    struct route_ip ip;
    uint16_t port, pref;
    struct str host; /* borrowed until the next step */
    enum sched_dest_state state;
    enum sched_failure failure; /* DOWN: why */
    uint64_t down_since_ms;     /* boot time */
    uint64_t next_probe_ms;     /* boot time; UINT64_MAX: none is due */
    uint32_t conns, conns_ready, window;
};

struct sched_domain_view {
    bool is_paused, is_known; /* known: DOMAIN_SET was seen, or generation 0 */
    uint64_t messages, ready, deferred, held, given;
    enum route_result route_result; /* of the last look-up; ROUTE_RESULTS: none yet */
    bool is_stale;                  /* the addresses are of an earlier look-up */
    size_t addr_count;
    struct sched_addr_view addrs[LIMIT_ROUTE_ADDRS];
};
/* False: not known. */
bool sched_domain_view(const struct sched *s, struct str domain, uint64_t generation,
                       struct sched_domain_view *out);

/* What is DOWN while mail waits: an address and port, once for each TLS mode. *at: 0 at first.
 * False: the end. */
bool sched_down_next(const struct sched *s, uint32_t *at, struct route_ip *ip, uint16_t *port);

/* Where a domain goes: its last good route. */
struct sched_way {
    struct str domain; /* borrowed until the next step */
    uint64_t generation;
    size_t count;
    struct {
        struct route_ip ip;
        uint16_t port;
    } addrs[LIMIT_ROUTE_ADDRS];
};
/* The domains whose mail waits while not one address of their route is up. *at: 0 at first.
 * False: the end. */
bool sched_stuck_next(const struct sched *s, uint32_t *at, struct sched_way *out);

/* Known to be DOWN, in whatever TLS mode. */
bool sched_addr_is_down(const struct sched *s, struct route_ip ip, uint16_t port);

/* DOMAIN_SET was seen for exactly this generation, and not DOMAIN_GONE since. */
bool sched_domain_is_set(const struct sched *s, struct str domain, uint64_t generation);

/* Checks every invariant of the structures; ASSERTs. Slow: for tests. */
void sched_check(const struct sched *s);
