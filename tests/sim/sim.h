/*
 * sim: between the files of the simulated cluster. A node here is what a daemon is: the same
 * objects of the same libraries, with a shell around them that runs on virtual time. Its
 * threads are servers that take one thing after another; what a thread posts to another comes
 * a moment later, in order.
 *
 *   control thread   node_log.c     control core: log, state, leases
 *   writer thread    node_writer.c  all changes of the spool, group commit
 *   replica thread   node_data.c    the engine of the data plane
 *   cluster thread   node_mail.c    scheduler, outcomes, the connections to primaries
 *   smtp thread      node_intake.c  sessions of clients
 */
#pragma once

#include "base/arena.h"
#include "base/blob.h"
#include "base/limits.h"
#include "node/copy_store.h"
#include "node/delivery/sched.h"
#include "node/replica_read.h"
#include "proto/envelope.h"
#include "replication/lease.h"
#include "replication/replica.h"
#include "spool/control.h"
#include "spool/spool.h"
#include "tests/sim/check.h"
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#define SIM_DOMAINS    5
#define SIM_PLANE_DATA 0
#define SIM_PLANE_CTL  1

struct node;

/* --- The writer of a node --- */
enum write_kind {
    WRITE_PUT,
    WRITE_STAGE,
    WRITE_COPY,
    WRITE_MEMBER,
    WRITE_LINK,
    WRITE_AGE,
    WRITE_FORGET
};

struct write_request {
    struct write_request *next;
    enum write_kind kind;
    struct arena arena;
    struct envelope *env; /* PUT */
    struct str body;      /* PUT without stages; STAGE: the piece. Freed with `bytes` */
    struct blob *bytes;
    uint64_t body_number, offset;
    struct copy_op *op; /* COPY */
    uint64_t incarnation;
    bool filled;   /* MEMBER */
    uint16_t site; /* LINK */
    enum err err;
    void (*done)(struct node *n, struct write_request *r); /* frees it */
    void *ctx;
};

struct writer_state {
    struct write_request *first, **last; /* waiting */
    struct write_request *flying;
    bool busy;
    enum err commit_err;
};

struct deferred;
struct session_in;
struct conn_out;
struct job_out;

struct node {
    unsigned index;
    uint16_t site;
    uint64_t incarnation; /* 0: not a member now */
    char dir[160];
    struct world_clock clock;
    struct disk_store *spool_disk, *ctl_disk;
    bool wants_join;   /* its disk is gone: its operator adds it again */
    bool other_format; /* it runs another version, which speaks another format of frames */
    uint64_t other_since_us;
    uint64_t woke_us; /* what had come for it while it was frozen it reads then */
    bool set_back;    /* its spool is an older one, and it has not noticed yet */

    bool up, paused, ending;
    bool fresh;         /* an empty disk */
    uint64_t joined_us; /* first start with this disk */
    uint64_t life;      /* number of this process; stale events do not run */
    uint64_t posted_us;
    struct deferred *held, **held_last;
    uint64_t starts, crashes, wipes;

    struct control *control;
    struct log_state *log;
    struct spool *spool;
    struct replica_read read;
    struct copy_store store;
    struct writer_state writer;

    uint64_t session; /* epoch; 0: none yet */
    uint64_t counter;
    struct replica *replica;
    uint64_t replica_tick_us;
    bool gate_open, is_filled;
    uint64_t accepted; /* messages that it answered 250 */

    struct sched *sched;
    uint64_t sched_tick_us;
    bool holds[SIM_DOMAINS];
    uint32_t outcomes[SIM_DOMAINS]; /* on their way through the writer */
    uint64_t slot_epochs[SIM_DOMAINS];
    struct conn_out *conns;
    struct job_out *jobs;

    struct session_in *sessions;
};

/* --- The cluster --- */
struct node *sim_node(unsigned index);
struct node *sim_node_of(uint16_t site);
const char *sim_domain(unsigned i);
int sim_domain_index(struct str name); /* -1: none of ours */

struct sim_counts {
    uint64_t crashes, wipes, set_backs, pauses, cuts, restarts, commits, io_errors, full_disks,
        flips, rests;
    uint64_t rest_us, awake_us;
};
struct sim_counts *sim_counts(void);

/* --- Life of a node: node_life.c --- */
void node_init(unsigned index, const char *dir);
void node_start(struct node *n);
void node_start_later(struct node *n);
void node_crash(struct node *n, bool power); /* power: what is not synced may be lost */
void node_wipe(struct node *n);              /* and its disk; must be added anew */
/* Its spool is kept as it is now; and put back in the place of a newer one. */
void node_backup(struct node *n);
void node_restore(struct node *n);
void node_pause(struct node *n);
void node_resume(struct node *n);
/* Fatal for this process: an I/O error, a fence, its session is over. Started again soon. */
void node_end(struct node *n, const char *why);
uint64_t node_ms(const struct node *n); /* its boot clock */
/* Runs fn later in this life of the node; arg is freed when the life is over before. */
void node_post(struct node *n, uint64_t delay_us, void (*fn)(struct node *n, void *arg),
               void *arg);
/* The same from thread to thread: what was posted first comes first. */
void node_post_in_order(struct node *n, uint64_t delay_us,
                        void (*fn)(struct node *n, void *arg), void *arg);
void node_at(struct node *n, uint64_t at_us, void (*fn)(struct node *n, void *arg), void *arg);

/* --- The control thread: node_log.c --- */
void log_init(void); /* a new cluster: its operators add members and domains */
bool log_open(struct node *n);
void log_close(struct node *n);
/* After log_close(): what was said before so many writes of the turn goes out; the rest never.
 */
void log_forget(struct node *n, size_t upto);
/* A wiped node gets a new incarnation, and is started then. True: it has one. */
bool log_join(struct node *n);
void log_frame(struct node *n, unsigned from, uint64_t incarnation, struct str bytes);
void log_propose(struct node *n, const struct command *c);
uint64_t log_leader_changes(void);
uint64_t log_length(void);
/* Tells the lease which slots that are to be given away have no open dot. */
void log_quiet(struct node *n, bool (*is_quiet)(const struct node *n, uint32_t slot));
bool log_is_leaving(const struct node *n, uint32_t slot);
uint64_t log_cluster_ms(struct node *n);
bool log_lease_counts(const struct node *n); /* its own session, by its own clock */

/* --- The writer: node_writer.c --- */
void writer_init(struct node *n);
struct write_request *write_request_new(enum write_kind kind);
void write_request_free(struct write_request *r);
void writer_give(struct node *n, struct write_request *r);
void writer_drop(struct node *n); /* the process ended */

/* --- The engine: node_data.c --- */
bool data_open(struct node *n);  /* the spool */
void data_begin(struct node *n); /* the session is open: the engine starts */
void data_close(struct node *n);
void data_control_changed(struct node *n);
void data_frame(struct node *n, unsigned from, uint64_t incarnation, struct str bytes);
void data_poke(struct node *n); /* after each call into the engine: its next tick */
/* A copy_op of the shell's own, made like the engine's. */
void data_seen(struct node *n);
void data_forget(struct node *n); /* all its traces have aged */

/* --- Mail in: node_intake.c --- */
void intake_news(struct node *n, const struct replica_news *news);
void intake_close(struct node *n);
void client_begin(void); /* clients of the world start to send */
void client_pause(bool on);
void client_rate(uint64_t mean_gap_us);

/* --- Mail out: node_mail.c --- */
bool mail_open(struct node *n);
void mail_close(struct node *n);
void mail_control_changed(struct node *n);
void mail_news(struct node *n, const struct replica_news *news);
void mail_accepted(struct node *n, struct mid id);
bool mail_has_consent(const struct node *n); /* a final dot is allowed, and not answered yet */

/* --- Primaries: primary.c --- */
enum primary_temper {
    PRIMARY_UP,
    PRIMARY_DOWN,      /* refuses connections */
    PRIMARY_SILENT,    /* takes them, says nothing */
    PRIMARY_DEFERS,    /* 451 after the dot */
    PRIMARY_REFUSES,   /* 550 after the dot */
    PRIMARY_GREY,      /* 450 at RCPT */
    PRIMARY_DROPS,     /* takes the mail after the dot, and cuts before its answer */
    PRIMARY_CUTS_BODY, /* cuts in the body */
    PRIMARY_SLOW,      /* answers late */
    PRIMARY_TEMPERS
};
void primary_set(unsigned i, enum primary_temper t);
enum primary_temper primary_get(unsigned i);
/* A connection at the primary's side: bytes in, bytes out. */
struct primary_conn;
struct primary_conn *primary_accept(unsigned i);
/* Feeds bytes; *out (of `room`) gets what it answers, *close: then it closes; *delay_us. */
size_t primary_feed(struct primary_conn *p, struct str in, char *out, size_t room, bool *close,
                    uint64_t *delay_us);
void primary_free(struct primary_conn *p);
