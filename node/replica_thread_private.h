/*
 * replica_thread_private: what the files of the replica thread share. replica_thread.h is the
 * manual.
 *
 *   replica_thread.c         life, loop, what others post, what others see
 *   replica_thread_engine.c  what the engine asks for: store, reads, news; its start
 *   replica_thread_mail.c    intakes and questions before dots, from and to who asked
 */
#pragma once

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/snapshot.h"
#include "node/net/plane.h"
#include "node/node.h"
#include "node/replica_read.h"
#include "node/replica_thread.h"
#include "replication/otree.h"

enum replica_mail {
    RT_INTAKE,  /* struct intake                                   */
    RT_DOT,     /* struct dot_ask                                  */
    RT_BODY,    /* struct replica_order, and so on                 */
    RT_CLOSED,  /*                                                 */
    RT_OUTCOME, /*                                                 */
    RT_DAMAGED, /*                                                 */
    RT_REACH,   /*                                                 */
    RT_FACTS,   /*                                                 */
    RT_STOP,    /*                                                 */
    RT_REKEY,   /* struct replica_rekey                            */
    RT_COPIES,  /* struct copies_ask                               */
    RT_PUT,     /* struct writer_request: an own message           */
    RT_COPY,    /* struct writer_request: a record of the engine   */
    RT_NOTICE,  /* of the control thread: not freed                */
    RT_ANSWER   /* struct control_answer: to a proposal of ours    */
};

struct replica_order {
    struct mail mail;
    struct mid id;
    uint64_t number, offset, slot_epoch;
    struct blob *bytes;
    bool is_final;
    uint16_t site;
    uint32_t reach_count;
    struct frame_reach reach[];
};

struct replica_rekey {
    struct mail mail;
    uint8_t public_key[MEMBER_KEY_BYTES], secret_key[MEMBER_KEY_BYTES];
};

/* An own message from its id to its verdict, and until the writer has given it back. */
struct replica_waiting {
    struct otree_node n;
    struct intake *intake; /* NULL: answered, the writer still has the put */
    bool at_writer;        /* the arena of the intake is the request's */
};

struct replica_asking {
    struct otree_node n;
    struct dot_ask *ask;
};

struct replica_thread {
    struct node *node;
    struct mailbox *news;
    int news_kind;
    void (*fence)(void *ctx, enum err why);
    void (*facts)(void *ctx, uint16_t site, struct str facts);
    void (*link)(void *ctx, uint16_t site, bool is_up);
    void *ctx; /* of the three */

    struct mailbox *box;
    struct event_base *base;
    struct event *box_event, *timer, *turn, *second;
    struct identity identity;
    struct plane *plane;
    struct replica_read read;
    struct copy_store store;
    pthread_t thread;
    bool running, stopping;

    struct replica *engine; /* NULL: no session yet */
    uint64_t session, counter, incarnation;
    uint64_t now_ms, due_ms;
    bool corked;
    uint16_t sites[REPLICA_PEERS]; /* whom the engine knows; 0: none */
    bool links[REPLICA_PEERS];     /* up, by sites[] */
    bool is_filled, filled_told, is_proposing;
    struct {
        uint64_t epoch, applied;
    } unsealed; /* the own session is not sealed as of that index */
    struct otree intakes, dots;
    uint64_t outcomes_seen;
    struct replica_thread_view counts; /* the counters of it */

    struct arena scratch;

    struct snapshot *view; /* of struct replica_thread_view */
    atomic_bool open, draining;
    atomic_uint_fast64_t pending, backlog, body_posted;
    atomic_uint_fast64_t outcomes_posted, outcomes_told;
};

/* --- replica_thread.c --- */
/* Before anything is told to the engine: frames go out once, at the end of this turn. */
void replica_thread_turn(struct replica_thread *t);

/* --- replica_thread_engine.c --- */
void replica_thread_copy_store(struct replica_thread *t, struct copy_store *out);
/* Begins when there is a session; hears of another one. */
void replica_thread_session(struct replica_thread *t);
void replica_thread_members(struct replica_thread *t);
void replica_thread_filled(
    struct replica_thread *t);                      /* tells the control log, until it knows */
void replica_thread_solo(struct replica_thread *t); /* what the control store says of it */

/* --- replica_thread_mail.c --- */
struct blob *replica_thread_blob(const struct block_list *l); /* NULL: out of memory */
void replica_thread_take_intake(struct replica_thread *t, struct intake *i);
void replica_thread_take_put(struct replica_thread *t, struct writer_request *r);
void replica_thread_verdict(struct replica_thread *t, struct mid id,
                            enum intake_verdict verdict);
void replica_thread_take_dot(struct replica_thread *t, struct dot_ask *a);
void replica_thread_dot_news(struct replica_thread *t, const struct replica_news *news);
void replica_thread_dot_closed(struct replica_thread *t, struct mid id, uint64_t slot_epoch);
/* Nobody will answer that question any more. */
void replica_thread_dot_over(struct replica_thread *t, struct mid id, uint64_t retry_ms);
void replica_thread_end_intake(struct replica_thread *t, struct intake *i,
                               enum intake_verdict verdict);
void replica_thread_end_dot(struct replica_thread *t, struct dot_ask *a, uint64_t retry_ms);
void replica_thread_answer_all(struct replica_thread *t); /* the thread has ended */
