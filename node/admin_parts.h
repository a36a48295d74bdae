/* Between the files of the control socket's commands (admin*.c) only. All of it runs in the
 * main thread. */
#pragma once

#include "node/admin.h"
#include "node/admin/call.h"
#include "node/admin/server.h"
#include "node/cluster.h"
#include "node/edge.h"
#include "node/replica_thread.h"

#define ADMIN_COMMANDS_MAX 64
#define ADMIN_ROWS_A_STEP  64 /* rows emitted while a snapshot of the spool is open */

struct admin {
    struct node *node;
    struct admin_options o;
    struct mailbox *box;
    struct event *box_event;
    struct admin_server *server; /* NULL: closed */
    struct spool_reader *reader;
    struct admin_command commands[ADMIN_COMMANDS_MAX];
};

/* The beginning of the state of every command that asks another thread. One question at a time;
 * a step that finds c->timed_out ends its call, so that no late answer is taken for another. */
struct admin_asked {
    struct cluster_ask *cluster;    /* the answer, when it came */
    struct control_answer *control; /* the same */
    struct copies_ask *copies;      /* the same */
    struct judge_ask *judge;        /* the same */
    struct edge_rcpt *edge;         /* the same */
    struct edge_ask *greylist;      /* the same */
    struct callout_ask *callout;    /* the same */
};
void admin_asked_free(struct admin_asked *s);

/* Zeroed, for the caller to fill in; NULL: out of memory. */
struct cluster_ask *admin_ask_new(enum cluster_ask_kind kind, struct str domain,
                                  uint64_t generation);
/* To be returned from a step. Takes a (NULL: the call fails). */
enum admin_next admin_ask(struct admin_call *c, struct cluster_ask *a);
/* These take q. */
enum admin_next admin_ask_judge(struct admin_call *c, struct judge_ask *q, uint64_t wait_ms);
enum admin_next admin_ask_edge(struct admin_call *c, struct edge_rcpt *q);
enum admin_next admin_ask_greylist(struct admin_call *c, struct edge_ask *q);
enum admin_next admin_ask_primary(struct admin_call *c, struct callout_ask *q);
enum admin_next admin_propose(struct admin_call *c, const struct command *cmd);
/* control_thread_solo(). */
enum admin_next admin_solo(struct admin_call *c);
/* Of a member. At most REPLICA_COPIES_ASK. */
enum admin_next admin_ask_copies(struct admin_call *c, const struct mid *ids, uint32_t count);
/* What was answered; places as asked. */
void admin_set_copies(json_t *row, const struct copies_ask *a, uint32_t i);
/* Who is to deliver it, when this node is a member. */
void admin_set_holder(json_t *row, struct admin *a, struct str domain);

/* --- endings that many commands share --- */

enum admin_next admin_timed_out(struct admin_call *c);
/* Of the spool or the control store. */
enum admin_next admin_fail_err(struct admin_call *c, enum err e, const char *where);
/* Of an answer that is not OK. */
enum admin_next admin_fail_proposal(struct admin_call *c, const struct control_answer *a,
                                    const char *where);

/* --- both clocks at one moment, to show cluster time as dates --- */

struct admin_times {
    uint64_t cluster_ms;
    int64_t wall_ms;
};
struct admin_times admin_times_now(const struct admin *a);
/* 0 for 0, which means "none". */
int64_t admin_wall_of(const struct admin_times *t, uint64_t cluster_ms);
uint64_t admin_age_s(const struct admin_times *t, uint64_t cluster_ms);

/* --- admin_rows.c: what is shown of things --- */

enum admin_mail_state { MAIL_QUEUED, MAIL_DEFERRED, MAIL_HELD, MAIL_DSN, MAIL_STATES };
const char *admin_mail_state_text(enum admin_mail_state s);
bool admin_mail_state_parse(struct str text, enum admin_mail_state *out);
/* As the store has it: held goes before dsn, dsn before deferred. */
enum admin_mail_state admin_mail_state(const struct envelope *e, const struct admin_times *t);

json_t *admin_row_message(const struct envelope *e, bool dot_open, const struct admin_times *t);
/* The same and all that the envelope has, with its recipients. */
json_t *admin_row_envelope(const struct envelope *e, const struct admin_times *t);
json_t *admin_row_domain(const struct domain *d, const struct domain_terms *terms);
json_t *admin_row_plan(const struct plan *p);
/* Sets primary, route_result, messages and so on, and the addresses. */
void admin_set_primary(json_t *row, const struct cluster_ask *a);
json_t *admin_row_address(const struct cluster_addr *a, bool is_probe);
/* "up", "down", "unknown", or why there is no address. */
const char *admin_primary_text(const struct cluster_ask *a);

/* The argument `name` as the store writes it: lower case, no final dot. False: it was answered
 * with an error. */
bool admin_domain_arg(struct admin_call *c, const char *name, char buf[], size_t size,
                      struct str *out);
/* The argument `id`. False: it was answered. */
bool admin_id_arg(struct admin_call *c, struct mid *out);

/* --- admin_queue.c --- */

/* A live message, as spool_get(). E_AGAIN: a copy that is neither committed nor aborted yet, so
 * nobody's mail. */
MUST_CHECK enum err admin_queued(struct admin *a, struct mid id, struct arena *arena,
                                 struct envelope *out);

/* --- admin_cluster.c: members and leases --- */

/* False: it was answered; this node is alone. */
bool admin_is_member(struct admin_call *c);
/* "voter", "spare", "standby", "joining", "leaving". */
const char *admin_member_state(const struct member *m, const struct control_core_status *s);
json_t *admin_row_member(struct admin *a, const struct member *m,
                         const struct control_core_status *s);
/* False: nobody has added it; told, the call has failed. */
bool admin_knows_domain(struct admin_call *c, struct str domain);
/* Who holds a domain: site null when nobody does. */
json_t *admin_row_lease(struct control *state, struct str domain);
void admin_set_key(json_t *row, const char *name, const uint8_t key[MEMBER_KEY_BYTES]);

/* --- admin_fleet.c: the cluster as a whole --- */

struct admin_fleet {
    bool is_member; /* false: a node alone, and the rest is zero */
    uint16_t site;
    uint64_t incarnation, session;
    uint32_t others; /* present members besides this node */
    bool is_open;    /* this node may take mail */
    bool may_deliver;
    struct control_cluster view;
    struct control_core_status log;
    struct replica_thread_view data;
};
MUST_CHECK enum err admin_fleet_read(struct admin *a, struct admin_fleet *f);
/* The rest for members only. */
uint32_t admin_fleet_slots(const struct admin_fleet *f, uint16_t site);
/* Its link of the data plane is up. */
bool admin_fleet_reaches(const struct admin_fleet *f, const struct member *m);
/* "open", or why not. */
const char *admin_fleet_gate_text(const struct admin_fleet *f);
void admin_fleet_set(json_t *row, const struct admin_fleet *f);
void admin_fleet_metrics(const struct admin_fleet *f);

/* --- the commands, each file its rows; static storage, ctx not set --- */

struct admin_table admin_status_table(void);
struct admin_table admin_queue_table(void);
struct admin_table admin_undelivered_table(void);
struct admin_table admin_operate_table(void);
struct admin_table admin_message_table(void);
struct admin_table admin_domain_table(void);
struct admin_table admin_domain_set_table(void);
struct admin_table admin_plan_table(void);
struct admin_table admin_access_table(void);
struct admin_table admin_policy_table(void);
struct admin_table admin_recipient_table(void);
struct admin_table admin_config_table(void);
struct admin_table admin_cluster_table(void);
struct admin_table admin_cluster_set_table(void);
struct admin_table admin_cluster_key_table(void);
struct admin_table admin_fleet_table(void);

/* Two members of struct admin_command. */
#define ADMIN_ARGS(args)  (args), sizeof(args) / sizeof *(args)
#define ADMIN_TABLE(rows) ((struct admin_table){(rows), sizeof(rows) / sizeof *(rows), NULL})
