/*
 * smtp_thread: one event loop with its share of all SMTP sessions, in and out. Every thread
 * listens on every address (SO_REUSEPORT); connections to primaries are dealt out in turn by
 * the cluster thread.
 * Threads: start and stop by the main thread; posts from any; the rest in the thread itself.
 */
#pragma once

#include <event2/event.h>
#include <pthread.h>

#include "base/mailbox.h"
#include "node/delivery_job.h"
#include "node/judging.h"
#include "node/net/conn.h"
#include "node/node.h"

struct delegates;
struct dns;
struct edge_ask;
struct edge_rcpt;
struct familiar;
struct inbound;
struct intake;
struct home_look;
struct outbound;

struct smtp_thread {
    struct node *node;
    struct event_base *base;
    struct conn_loop conns;
    struct mailbox *box;
    struct event *box_event, *pulse;
    struct listener *listeners;
    struct dns *dns;
    struct delegates *delegates;   /* connections to the policy server */
    struct judging_place judgings; /* what is looked up for sessions */
    struct home_look *homes;       /* the same, of hosts of the house */
    struct familiar *familiar;     /* whom the greylist knew */
    uint64_t auth_silent_ms;       /* boot: until then no end of a body waits for SPF */
    struct inbound *inbound;       /* all sessions */
    struct outbound *outbound;     /* all connections */
    pthread_t thread;
    struct spool_reader *reader;
    int spare_fd;          /* given up for a moment to say 421 when descriptors run out */
    bool draining, joined; /* joined: the loop has ended */
};

enum smtp_mail {
    SMTP_MAIL_STORED,    /* struct writer_request of an inbound session came back */
    SMTP_MAIL_DOT,       /* struct writer_request: the mark before a final dot */
    SMTP_MAIL_TAKEN,     /* struct intake: decided */
    SMTP_MAIL_CONSENT,   /* struct dot_ask: answered */
    SMTP_MAIL_EDGE,      /* struct edge_ask: answered */
    SMTP_MAIL_RECIPIENT, /* struct edge_rcpt: answered */
    SMTP_MAIL_OPEN,      /* struct conn_order */
    SMTP_MAIL_QUIT,      /* struct conn_order */
    SMTP_MAIL_GIVE,      /* struct delivery_job */
    SMTP_MAIL_RECALL,    /* struct conn_order: a job that has not begun */
    SMTP_MAIL_DRAIN,     /* struct mail: end sessions in good order */
    SMTP_MAIL_STOP,      /* struct mail: leave the loop */
};

/* Before the first start: nobody else listens on an address of smtp.listen. E_IO: somebody
 * does, or it cannot be bound; printed to stderr, with what to do. */
MUST_CHECK enum err smtp_thread_may_listen(struct node *n);
/* Binds and listens. E_IO: an address cannot be bound; logged. */
MUST_CHECK enum err smtp_thread_start(struct node *n, struct smtp_thread **out);
/* Stops listening; sessions end in good order, those between the dot and its answer after it.
 */
void smtp_thread_drain(struct smtp_thread *t);
/* Ends the loop and cuts what is left. Requests with the writer stay until the next call. */
void smtp_thread_join(struct smtp_thread *t);
/* After the writer has answered all. */
void smtp_thread_free(struct smtp_thread **t);

/* inbound.c */
void inbound_accept(struct smtp_thread *t, int fd, const struct sockaddr *addr);
void inbound_stored(struct writer_request *r);
void inbound_taken(struct smtp_thread *t, struct intake *i);
void inbound_drain(struct smtp_thread *t);
void inbound_close_all(struct smtp_thread *t);

/* inbound_grey.c */
void inbound_greylisted(struct edge_ask *a);
void inbound_home_free_all(struct smtp_thread *t); /* dns is closed */

/* inbound_recipient.c */
void inbound_recipient_known(struct edge_rcpt *a);

/* inbound_delegate.c: nobody waits */
void inbound_delegate_free_all(struct smtp_thread *t);

/* outbound.c */
void outbound_open(struct smtp_thread *t, struct conn_order *o);
void outbound_quit(struct smtp_thread *t, struct conn_order *o);
void outbound_give(struct smtp_thread *t, struct delivery_job *j);
void outbound_recall(struct smtp_thread *t, struct conn_order *o);
void outbound_consent(struct smtp_thread *t, struct writer_request *r);
void outbound_answer(struct smtp_thread *t, struct consent_ask *a);
/* Once a second: ends connections of which nothing is heard. */
void outbound_pulse(struct smtp_thread *t);
/* It comes in a second, and every second as long as there are connections out. */
void smtp_thread_beat(struct smtp_thread *t);
/* Ends what carries no message; in a hurry also what has not sent its dot. */
void outbound_drain(struct smtp_thread *t, bool hurry);
void outbound_close_all(struct smtp_thread *t);
