/* mail: between node_mail.c (what is to be sent) and node_conn.c (how) of the simulator. */
#pragma once

#include "node/delivery/smtpc.h"
#include "tests/sim/sim.h"

struct job_out {
    struct job_out *next; /* of the connection's queue */
    struct job_out *list_next, **list_link;
    struct arena arena;
    struct envelope env;
    uint64_t conn; /* 0: no try, an expiry */
    uint64_t slot_epoch;
    uint32_t rcpts[CHECK_RCPTS];
    uint32_t rcpt_count;
    bool consent, refused, possible_duplicate;
    uint64_t consent_ms, retry_ms;
};

void mail_tell(struct node *n, const struct sched_event *ev);
void mail_poke(struct node *n);
void mail_job_free(struct job_out *j);
/* Takes the job back. result NULL: never begun. */
void mail_result(struct node *n, struct job_out *j, const struct smtpc_result *result);
void mail_untried(struct node *n, struct job_out *j);
bool mail_may_send(const struct node *n, const struct job_out *j);

void conn_open(struct node *n, const struct sched_action *a);
void conn_quit(struct node *n, uint64_t id);
void conn_give(struct node *n, struct job_out *j);
void conn_consent(struct node *n, struct job_out *j);
void conn_close_all(struct node *n);
