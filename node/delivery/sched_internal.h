/*
 * sched_internal: the structures that the files of the scheduler share. sched.h is the manual.
 *
 *   message --> domain --edges, best first--> destinations --> connections --> jobs (messages)
 *
 * Everything is known by a pool handle (uint32_t, 0: none). Work to be done is never a queue of
 * actions, which would need a bound of its own: an object that may owe an action stands once in
 * the todo list of its kind, and actions are made from the objects' state when they are pulled.
 *
 *   sched.c         events and actions in, out, in turn; wake-up
 *   sched_message.c messages: ready, deferred, expiry
 *   sched_domain.c  domains: settings, routes, which destination, operator's probes
 *   sched_dest.c    destinations: up, down, probes, windows
 *   sched_conn.c    connections and jobs
 *   sched_view.c    what the console sees; the check of all invariants
 */
#pragma once

#include "base/heap.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/pool.h"
#include "node/delivery/sched.h"

#define NEVER UINT64_MAX

/* Times in milliseconds of the boot clock. */
#define PROBE_FAST_MS         1000   /* between probes in the first ... */
#define PROBE_FAST_AGE_MS     600000 /* ... 10 minutes of an outage, */
#define PROBE_SLOW_MS         5000   /* and later */
#define PROBE_CROWD           10   /* addresses of a route before they are probed less often */
#define PROBE_CROWD_MS        9000 /* then at most this rarely */
#define PROBE_SECOND_MS       5000 /* a probe without an answer gets company after this */
#define CONNECT_MS            2000 /* TCP; a SYN is repeated after 1 s and 3 s */
#define PROBE_CONNECT_SLOW_MS 4000
#define GREET_MS              LIMIT_BANNER_MS /* of one who is waited for patiently */
#define GREET_COMPANY_MS      5000            /* of its company */
#define GREET_PATIENCE_MS     8000  /* then the destination counts as DOWN meanwhile */
#define IDLE_MS               5000  /* connection without mail */
#define IDLE_RESTART_MS       60000 /* destination without connection: canary again */
#define ALIVE_MS              10000 /* a sign of life counts this long */
#define SILENT_MS             2500  /* jobs and no word: one more connection is tried, ... */
#define SILENT_AGAIN_MS       10000 /* ... and again after this */
#define UNHEARD_MS            1500 /* an attempt that took so long was not refused: no answer */
#define BRAKE_MS              1000 /* brakes within this are one */
#define CROWDED_MS            10000 /* no growth after a connection too many */
#define PAUSE_FIRST_MS        1000
#define PAUSE_MAX_MS          5000
#define AVOID_BUSY_MS         60000  /* after 421: another address first, if there is one */
#define AVOID_BAD_MS          600000 /* after broken protocol */
#define NO_TLS_MS             3600000
#define SLOW_MS               2000  /* replies slower than this, and 4 times the best: brake */
#define CANARY_STALL_MS       15000 /* a canary without an answer gets company */
#define CANARIES              4
#define RELEASE_GAP_MS        10000 /* deferred mail of a domain is freed at most this often */
#define RELEASE_BATCH         4096  /* messages moved in one call */
#define LOST_TRIES            3     /* in a row; then recoveries do not free the message */
#define ROUTE_RETRY_FIRST_MS  1000
#define ROUTE_RETRY_MAX_MS    60000
#define ROUTE_TTL_MIN_MS      30000
#define ROUTE_TTL_MAX_MS      3600000
#define ROUTE_DOWN_TTL_MS     60000      /* of a route of which no address answers */
#define ROUTE_STALE_MS        1209600000 /* 14 days */
#define AHEAD_BYTES           (1 * MiB)  /* on a connection; no job ahead above that */
#define TURN_MESSAGES         20         /* of a connection while others wait for one */
#define SCAN_MAX              32         /* domains looked at for one action */

struct sched_link {
    uint32_t next, prev;
};

struct sched_list {
    uint32_t first, last, count;
};

/* Where the links of a list lie. */
struct sched_links {
    const struct pool *pool;
    size_t offset;
};

void sched_list_push(struct sched_links where, struct sched_list *l, uint32_t item);
void sched_list_remove(struct sched_links where, struct sched_list *l, uint32_t item);
uint32_t sched_list_next(struct sched_links where, uint32_t item);

/* One message: at most 96 bytes, a million of them is normal. */
struct sched_msg {
    struct mid id;
    uint64_t received_ms, next_ms, deadline_ms; /* cluster time */
    struct heap_node due;    /* READY: in a heap of its domain; DEFERRED: in s->deferred */
    struct heap_node expiry; /* READY, DEFERRED, HELD: in s->expiry */
    struct sched_link link;  /* DEFERRED: in dom->deferred */
    uint32_t dom;
    uint32_t conn;  /* GIVEN */
    uint32_t bytes; /* cut at 2^32 - 1 */
    uint32_t stamp; /* dom->releases when it was given out */
    uint8_t state;  /* enum sched_message_state */
    uint8_t phase;
    uint8_t lost; /* tries in a row that ended without an answer, up to LOST_TRIES */
    bool held : 1;
    bool fresh : 1; /* READY: in dom->fresh */
    bool recovered : 1;
    bool dup : 1;
};

enum route_state { ROUTE_REST, ROUTE_WANTED, ROUTE_ASKED };
enum probe_state { PROBE_NONE, PROBE_WAITS, PROBE_RUNS };

struct sched_dom {
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint8_t name_n;
    uint64_t generation;
    bool is_set; /* DOMAIN_SET was seen */
    struct sched_settings settings;

    struct heap backlog, fresh; /* ready messages, oldest first */
    struct sched_list deferred;
    uint32_t messages, held, given, writing; /* given: jobs, also of messages that are gone */
    uint32_t conns_used;                     /* connections with a job of this domain */
    uint8_t turn;                            /* of backlog and fresh */
    uint32_t releases;
    uint64_t released_ms, release_ms; /* last release; next one, 0: none */
    uint32_t release_left;            /* of a release under way: messages to look at */
    bool release_lost;                /* also messages that were lost too often: operator */

    struct sched_list edges;
    bool wants;             /* counted in dest->wants of every edge */
    uint32_t bound;         /* edge; in dest->active */
    struct sched_link ring; /* dest->active */

    enum route_state route_state;
    struct sched_link route_link; /* ROUTE_WANTED: s->wanted[] */
    uint32_t serial;
    bool is_void; /* the answer under way is to be thrown away */
    bool is_stale, tell_failed;
    enum route_result route_result, told; /* ROUTE_RESULTS: none yet */
    uint64_t route_due_ms, answered_ms, good_ms;
    uint32_t retry_ms;

    enum probe_state probe;
    uint32_t probe_token, probe_left; /* results to come */
    uint32_t probe_open;              /* of these, connections to be opened yet */
    uint32_t probe_edge;              /* next to be opened */

    bool in_todo;
    struct sched_link todo;
    uint64_t timer_ms;
    bool has_timer;
    struct heap_node timer;
};

/* One address of one domain's route. */
struct sched_edge {
    uint32_t dom, dest, host;
    uint16_t pref;
    struct sched_link in_dom, in_dest;
};

struct sched_host {
    uint32_t refs;
    uint8_t name_n;
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1];
};

struct sched_dest_key {
    struct route_ip ip;
    uint32_t host; /* only with REQUIRE: certificates belong to a name */
    uint16_t port;
    uint16_t tls; /* enum sched_tls */
};

struct sched_dest {
    struct sched_dest_key key;
    enum sched_dest_state state;
    struct sched_list edges;
    struct sched_list active; /* domains that are bound to it and have ready mail */
    struct sched_list conns;  /* opening and ready; not those told to quit */
    uint32_t wants;           /* domains with mail waiting, of all edges */
    uint32_t opening, ready, jobs;
    uint32_t refs; /* connections, those told to quit included */

    enum sched_failure failure;
    uint64_t down_since_ms, next_probe_ms, last_open_ms;
    bool in_probes;
    uint64_t probe_due_ms; /* its key in the heap */
    bool try_now;          /* but this one */
    struct heap_node probe;
    bool tell_down, tell_up;
    uint64_t told_down_ms; /* how long it was down, for tell_up */

    bool is_canary, is_braked;
    uint32_t window, credit;
    uint32_t bad_streak;
    uint64_t bad_ms;    /* when it last misbehaved */
    uint64_t canary_ms; /* when its first job went out; 0: none out */
    uint64_t pause_until_ms, avoid_until_ms, brake_until_ms, no_tls_until_ms;
    uint64_t alive_ms, greet_ms, used_ms;
    uint64_t busy_ms;                     /* since when there has been a job out */
    uint64_t latency_ms, latency_best_ms; /* smoothed; 0: none */

    bool in_todo, in_blocked;
    bool is_granted; /* it waited in line: the place that is free is its own */
    struct sched_link todo, blocked;
    uint64_t timer_ms;
    bool has_timer;
    struct heap_node timer;
};

enum conn_state { CONN_OPENING, CONN_READY, CONN_QUITTING, CONN_DEAD };

struct sched_job_slot {
    struct mid id;
    uint32_t msg; /* 0: gone meanwhile */
    uint32_t dom;
    uint32_t bytes;
};

struct sched_conn {
    uint64_t id;
    uint32_t dest, host;
    enum conn_state state;
    enum sched_tls tls;
    bool is_probe;
    bool owes_quit;
    bool is_ending;     /* the primary ends it: no more jobs */
    uint32_t probe_dom; /* operator's probe: whose; then owes_result once it is known */
    bool owes_result;
    enum sched_failure failure;
    uint64_t opened_ms, latency_ms;
    uint32_t connect_ms, greet_ms;
    uint32_t messages;
    uint32_t job_count;
    struct sched_job_slot jobs[LIMIT_JOBS_AHEAD];
    struct sched_link in_dest;
    bool in_idle;
    struct sched_link idle; /* s->idle: ready without jobs, longest first */
    bool in_todo;
    struct sched_link todo;
    uint64_t timer_ms;
    bool has_timer;
    struct heap_node timer;
};

struct sched {
    struct pool msgs, doms, edges, hosts, dests, conns;
    struct map msg_map, dom_map, host_map, dest_map;
    struct heap deferred, expiry;                             /* messages; cluster time */
    struct heap dom_timers, dest_timers, conn_timers, probes; /* boot time */
    struct sched_list dom_todo, dest_todo, conn_todo, blocked, idle;
    struct sched_list wanted[2]; /* domains whose route is to be looked up; 1: foreign */
    uint32_t asked[2];
    uint32_t conns_max, probes_max, ordinary_max;
    uint32_t conn_count;     /* open and opening, told to quit included */
    uint32_t probes_opening; /* of these, probes under way */
    uint32_t hungry;         /* destinations with active domains */
    uint32_t named_dests;    /* destinations that belong to a host name: TLS is required */
    uint32_t probe_gap_us;
    uint64_t probe_free_us; /* the next probe may start */
    uint64_t probes_made;
    uint64_t conn_serial;
    uint32_t route_serial;
    uint32_t turn;   /* which kind of action comes first in the next pull */
    uint32_t budget; /* messages that may still be moved in this pull */
    bool more;       /* the budget ended before the work */
    bool is_stopping, ask_ahead;
    uint64_t held, given, writing;
    uint64_t seen_boot_ms, seen_cluster_ms; /* when cluster time last moved */
};

static inline struct sched_msg *sched_msg(const struct sched *s, uint32_t h)
{
    return pool_at(&s->msgs, h);
}
static inline struct sched_dom *sched_dom(const struct sched *s, uint32_t h)
{
    return pool_at(&s->doms, h);
}
static inline struct sched_edge *sched_edge(const struct sched *s, uint32_t h)
{
    return pool_at(&s->edges, h);
}
static inline struct sched_host *sched_host(const struct sched *s, uint32_t h)
{
    return pool_at(&s->hosts, h);
}
static inline struct sched_dest *sched_dest(const struct sched *s, uint32_t h)
{
    return pool_at(&s->dests, h);
}
static inline struct sched_conn *sched_conn(const struct sched *s, uint32_t h)
{
    return pool_at(&s->conns, h);
}

/* The lists. */
#define LINKS(field_pool, type, field)                                                         \
    ((struct sched_links){&(field_pool), offsetof(struct type, field)})
#define DEFERRED_LINKS(s) LINKS((s)->msgs, sched_msg, link)
#define RING_LINKS(s)     LINKS((s)->doms, sched_dom, ring)
#define WANTED_LINKS(s)   LINKS((s)->doms, sched_dom, route_link)
#define DOM_TODO(s)       LINKS((s)->doms, sched_dom, todo)
#define DOM_EDGES(s)      LINKS((s)->edges, sched_edge, in_dom)
#define DEST_EDGES(s)     LINKS((s)->edges, sched_edge, in_dest)
#define DEST_TODO(s)      LINKS((s)->dests, sched_dest, todo)
#define BLOCKED_LINKS(s)  LINKS((s)->dests, sched_dest, blocked)
#define DEST_CONNS(s)     LINKS((s)->conns, sched_conn, in_dest)
#define IDLE_LINKS(s)     LINKS((s)->conns, sched_conn, idle)
#define CONN_TODO(s)      LINKS((s)->conns, sched_conn, todo)

/* --- sched_message.c --- */
void sched_msg_init(struct sched *s);
uint32_t sched_msg_find(const struct sched *s, struct mid id);
enum err sched_msg_new(struct sched *s, const struct sched_message *m, struct sched_now now);
enum err sched_msg_changed(struct sched *s, const struct sched_message *m,
                           struct sched_now now);
enum err sched_msg_gone(struct sched *s, struct mid id);
enum err sched_msg_hold(struct sched *s, struct mid id, bool held, struct sched_now now);
enum err sched_msg_retry(struct sched *s, struct mid id, struct sched_now now);
/* Takes the next ready message of the domain: GIVEN to conn. */
uint32_t sched_msg_take(struct sched *s, uint32_t dom, uint32_t conn);
/* A GIVEN message comes back: untouched, or tried (WRITING). */
void sched_msg_back(struct sched *s, uint32_t msg, struct sched_now now);
void sched_msg_tried(struct sched *s, uint32_t msg, enum sched_job job);
/* Frees deferred mail of the domain within the budget. True: all of it. */
bool sched_msg_release(struct sched *s, uint32_t dom);
void sched_msg_due(struct sched *s, struct sched_now now);
bool sched_msg_expire(struct sched *s, struct sched_now now, struct sched_action *out);

/* --- sched_domain.c --- */
void sched_dom_init(struct sched *s);
uint32_t sched_dom_find(const struct sched *s, struct str name, uint64_t generation);
uint32_t sched_dom_get(struct sched *s, struct str name, uint64_t generation); /* 0: full */
static inline uint32_t sched_dom_ready(const struct sched_dom *d)
{
    return d->backlog.count + d->fresh.count;
}
bool sched_dom_runs(const struct sched *s, const struct sched_dom *d);
uint32_t sched_dom_max_conns(const struct sched_dom *d);
/* Something about it changed: it is looked at again in the next pull. */
void sched_dom_touch(struct sched *s, uint32_t dom);
void sched_dom_unbind(struct sched *s, uint32_t dom);
/* Its deferred mail is to be freed, at once or when RELEASE_GAP_MS allows. */
void sched_dom_recovered(struct sched *s, uint32_t dom, struct sched_now now);
enum err sched_dom_set(struct sched *s, const struct sched_event *ev);
enum err sched_dom_gone(struct sched *s, const struct sched_event *ev);
enum err sched_dom_answer(struct sched *s, const struct sched_event *ev, struct sched_now now);
enum err sched_dom_retry(struct sched *s, const struct sched_event *ev, struct sched_now now);
enum err sched_dom_probe(struct sched *s, const struct sched_event *ev);
void sched_dom_probed(struct sched *s, uint32_t dom); /* one result less to come */
bool sched_dom_step(struct sched *s, struct sched_now now, struct sched_action *out);
bool sched_dom_resolve(struct sched *s, struct sched_now now, struct sched_action *out);
void sched_dom_name(const struct sched *s, uint32_t dom, struct sched_action *out);

/* --- sched_dest.c --- */
void sched_dest_init(struct sched *s, const struct sched_options *o);
uint32_t sched_host_get(struct sched *s, struct str name); /* with a reference; 0: full */
void sched_host_ref(struct sched *s, uint32_t host);
void sched_host_unref(struct sched *s, uint32_t host);
/* Adds an edge; false: full. */
bool sched_edge_add(struct sched *s, uint32_t dom, const struct route_addr *a,
                    enum sched_tls tls);
void sched_edge_remove(struct sched *s, uint32_t edge);
void sched_dest_touch(struct sched *s, uint32_t dest);
void sched_dest_want(struct sched *s, uint32_t dest, bool wants);
/* Frees it when nothing refers to it any more. */
void sched_dest_drop(struct sched *s, uint32_t dest);
void sched_dest_probe_update(struct sched *s, uint32_t dest);
void sched_dest_ready(struct sched *s, uint32_t dest, uint64_t latency_ms,
                      struct sched_now now);
/* opened_ms: of the attempt. */
void sched_dest_failed(struct sched *s, uint32_t dest, enum sched_failure failure,
                       uint64_t opened_ms, struct sched_now now);
void sched_dest_slow_greeting(struct sched *s, uint32_t dest, struct sched_now now);
struct sched_outcome {
    enum sched_job job;
    uint64_t latency_ms;
    uint64_t opened_ms; /* of the connection */
};
void sched_dest_job(struct sched *s, uint32_t dest, const struct sched_outcome *o,
                    struct sched_now now);
void sched_dest_retry(struct sched *s, uint32_t dest, struct sched_now now);
enum err sched_dest_try(struct sched *s, const struct sched_event *ev, struct sched_now now);
/* Connections it may have at work now. */
uint32_t sched_dest_window(const struct sched *s, const struct sched_dest *t,
                           struct sched_now now);
void sched_dest_timer(struct sched *s, uint32_t dest, uint64_t at_ms); /* earliest counts */
bool sched_dest_probe(struct sched *s, struct sched_now now, struct sched_action *out);
bool sched_dest_step(struct sched *s, struct sched_now now, struct sched_action *out);
void sched_dest_timers(struct sched *s, struct sched_now now);

/* --- sched_conn.c --- */
void sched_conn_init(struct sched *s, const struct sched_options *o);
struct sched_opening {
    uint32_t dest, host;
    bool is_probe;
    uint32_t probe_dom; /* of an operator's probe, or 0 */
};
/* Opens a connection; false: no place. */
bool sched_conn_open(struct sched *s, const struct sched_opening *o, struct sched_now now,
                     struct sched_action *out);
bool sched_conn_has_place(const struct sched *s, bool is_probe);
/* One that waits for a place is looked at again. False: nobody waits, or there is no place. */
bool sched_conn_unblock(struct sched *s);
/* Jobs are out and nothing is heard: what was cut off without a word looks like this until the
 * sockets give up. One more connection tells. */
bool sched_conn_company(struct sched *s, uint32_t dest, struct sched_now now,
                        struct sched_action *out);
/* Gives a ready message of an active domain to a connection, or opens one. */
bool sched_conn_pump(struct sched *s, uint32_t dest, struct sched_now now,
                     struct sched_action *out);
enum err sched_conn_ready(struct sched *s, const struct sched_event *ev, struct sched_now now);
enum err sched_conn_failed(struct sched *s, const struct sched_event *ev, struct sched_now now);
enum err sched_conn_closed(struct sched *s, uint64_t id, struct sched_now now);
enum err sched_conn_job_done(struct sched *s, const struct sched_event *ev,
                             struct sched_now now);
void sched_conn_msg_gone(struct sched *s, uint32_t conn, uint32_t msg);
void sched_conn_stop(struct sched *s);
bool sched_conn_step(struct sched *s, struct sched_now now, struct sched_action *out);
void sched_conn_timers(struct sched *s, struct sched_now now);
