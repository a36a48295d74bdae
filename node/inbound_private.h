/*
 * inbound_private: one SMTP session with a client, for the files that it is made of: inbound.c
 * (its bytes, body and commit), inbound_door.c (whether it may be at all), inbound_ask.c (the
 * questions of smtpd), inbound_recipient.c (whether there is such a recipient), inbound_judge.c
 * (what has to be looked up for an answer), inbound_delegate.c (what a policy server says),
 * inbound_grey.c (whether the client was here before). Threads: its smtp thread.
 */
#pragma once

#include <netinet/in.h>
#include <xxhash.h>

#include "node/door.h"
#include "node/judging.h"
#include "node/net/conn.h"
#include "node/policy/auth_strip.h"
#include "node/policy/crowd.h"
#include "node/policy/headers.h"
#include "node/policy/recipient.h"
#include "node/smtp/smtpd.h"
#include "node/smtp_thread.h"
#include "proto/domain.h"
#include "proto/envelope.h"

struct asking_server;
struct edge_ask;
struct edge_rcpt;
struct home_look;

/* What stands before a recipient, in this order. Each may say that it answers later. */
enum rcpt_step {
    RCPT_KNOWN,
    RCPT_JUDGE,
    RCPT_UNSURE, /* RCPT_KNOWN left it to SPF */
    RCPT_SERVER,
    RCPT_GREYLIST,
    RCPT_TAKE
};

/* What is kept of one mail transaction. */
struct transaction {
    struct arena arena;
    struct str sender;
    struct path path; /* of it; local part left out */
    struct str rcpts[LIMIT_SMTP_RCPTS];
    uint32_t rcpt_count;
    char domain[LIMIT_SMTP_DOMAIN_BYTES + 1];
    uint64_t generation;
    uint64_t hold_ms;
    bool eight_bit, smtputf8;
    uint64_t size_bytes, instance;      /* for the policy server */
    uint8_t checks[DOMAIN_CHECK_KINDS]; /* of that domain, at the last RCPT */
    char separator;                     /* the same */
    /* Of its client and sender, for the domain of that generation; 0: not judged */
    uint64_t judged_generation;
    unsigned judgings;
    bool is_allowed;                 /* by the allow list: no checks but that of the header */
    char verdict[JUDGE_REPLY_BYTES]; /* empty: the mail may come */
    char spf_domain[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* that passed; else empty */
    bool has_spf;                                 /* it was looked up */
    struct recipient_facts facts;                 /* of the recipient that is asked for */
    bool needs_spf;                               /* it hangs on SPF whether that is taken */
    bool is_wanted;                               /* some recipient is known to be there */
    bool is_rcpt_put_off; /* of the recipient that is asked for: the client hears nothing now */
    bool is_for_somebody; /* some recipient was taken that was not put off */
    enum recipient_verdict put_off; /* of those that were; TAKE: none */
    /* The same for the greylist, that has one answer for a client, sender and domain */
    uint64_t grey_generation;
    bool is_grey; /* to come again */
    enum rcpt_step step;
    uint16_t rcpt_n; /* asked for, while the judge is at work */
    char rcpt[LIMIT_SMTP_PATH_BYTES];
    bool wants_auth;              /* the domain's `dsn` needs to know who the sender is */
    enum sender_auth sender_auth; /* as far as is known */
    bool is_awaiting_auth;        /* the body has come */
    struct str above;             /* fields for above Received */

    struct bodyscan scan;
    struct headerscan header;
    struct headers headers; /* checks[DOMAIN_CHECK_HEADERS] */
    struct auth_strip strip;
    struct block_list body;
    uint64_t body_number, staged_bytes; /* 0: nothing staged */
    bool stage_failed;
};

struct inbound {
    struct inbound *next, *prev;
    struct smtp_thread *thread;
    struct snapshot_ref *settings;
    struct conn *conn;   /* NULL: the client is gone, only the writer's answers are awaited */
    struct event *retry; /* of a body that waits, and of the banner */
    struct smtpd_options options;
    struct smtpd smtpd;
    struct transaction tx;
    struct judging *judging;             /* NULL: nothing is asked */
    struct judging *authing;             /* the same; only SPF, and RCPT does not wait for it */
    struct asking_server *asking_server; /* the same */
    struct edge_ask *grey;               /* the same */
    struct home_look *home;              /* the same */
    struct edge_rcpt *recipient;         /* the same */
    XXH3_state_t *digest;                /* of the body */
    unsigned requests;                   /* with another thread: the memory stays */
    bool staging;                        /* input waits for a STAGE */
    struct crowd_place in_clients, in_networks;
    struct ip_addr ip; /* of the client */
    char peer[INET6_ADDRSTRLEN];
    char refusal[DOOR_REPLY_BYTES];
};

static inline const struct node_settings *inbound_settings(const struct inbound *in)
{
    return snapshot_value(in->settings);
}

/* --- inbound.c --- */
void inbound_tx_reset(struct inbound *in);
/* A request came back: what the session waited for is done with. May free it. */
void inbound_give_back(struct inbound *in);
/* The answer of the step that was to come later; static, or of the session. Empty: yes.
 * closes: the session ends with it, whatever inbound_closes() says. */
void inbound_answered(struct inbound *in, const char *refusal, bool closes);
/* What inbound_auth_wait() waited for is over: the body's end goes on. */
void inbound_authenticated(struct inbound *in);

/* --- inbound_door.c --- */
/* The banner, or why not: static. *later: inbound_door_open() will tell, when in->retry fires
 * or the client speaks. */
const char *inbound_door_ask(struct inbound *in, bool *later);
const char *inbound_door_open(struct inbound *in);
void inbound_door_leave(struct inbound *in); /* the session is over */

/* --- inbound_auth.c --- */
enum sender_auth inbound_sender_auth(const struct spf_verdict *v);
/* With the first recipient. Sets tx.sender_auth, at once or later. */
void inbound_auth_begin(struct inbound *in);
/* True: it is not known yet, inbound_authenticated() follows. */
MUST_CHECK bool inbound_auth_wait(struct inbound *in);
void inbound_auth_end(struct inbound *in);   /* nobody waits for it any more */
void inbound_auth_hurry(struct inbound *in); /* the node stops */

/* --- inbound_ask.c --- */
/* INV-6: what a member says that has no peer which makes copies durable; empty: it has. */
const char *inbound_shut(const struct node *n);

struct inbound_answer {
    bool is_asked;       /* else there was no question */
    bool is_later;       /* inbound_answered() brings it */
    bool closes;         /* the session ends with it */
    const char *refusal; /* static, or of the session; empty: yes */
};

struct inbound_answer inbound_ask(struct inbound *in, const struct smtpd_out *out);
/* The next step, and all behind it. Empty, or why not: static or of the session; or *is_later:
 * inbound_answered() brings it. */
const char *inbound_next_step(struct inbound *in, bool *is_later);

/* Whether the session ends with this refusal. */
bool inbound_closes(const char *refusal);

/* --- inbound_grey.c --- */
const char *inbound_ask_greylist(struct inbound *in, bool *is_later);
/* Nobody waits for it any more. */
void inbound_grey_end(struct inbound *in);
void inbound_grey_hurry(struct inbound *in); /* the node stops */

/* --- inbound_recipient.c --- */
/* Looks the recipient up in the list of the domain of the transaction. Not empty: it cannot. */
const char *inbound_recipient(struct inbound *in, const struct path *rcpt);
/* Whether there is such a recipient, by the list and by what was learned; *is_later:
 * inbound_answered() brings it. Empty: yes, or SPF decides: static else. */
const char *inbound_ask_recipient(struct inbound *in, bool *is_later);
const char *inbound_recipient_unsure(struct inbound *in);  /* SPF has spoken, if it was asked */
void inbound_recipient_end(struct inbound *in);            /* nobody waits for it any more */
bool inbound_recipient_is_there(const struct inbound *in); /* it is not only taken */
/* Behind the dot, to a client that is suspicious: none of the recipients is there, or known to
 * be. Static; empty: somebody is. */
const char *inbound_recipient_for_nobody(const struct inbound *in);
/* The client names too many that are not there: counted, logged. */
const char *inbound_offender(const struct inbound *in);

/* --- inbound_judge.c --- */
/* Looks up what the checks of the domain need; false: it cannot, the mail may come.
 * inbound_answered() follows. */
MUST_CHECK bool inbound_judge_begin(struct inbound *in);
void inbound_judge_end(struct inbound *in); /* nobody waits for it any more */
/* The node stops: what DNS has not said by now is not waited for. */
void inbound_judge_hurry(struct inbound *in);

/* --- inbound_delegate.c --- */
/* Asks the policy server about the recipient, if the domain wants it; inbound_answered() tells
 * what it says. False: it is not asked, the recipient may come. */
MUST_CHECK bool inbound_delegate_begin(struct inbound *in);
void inbound_delegate_end(struct inbound *in); /* nobody waits for it any more */
/* The node stops: what the server has not said by now is not waited for. */
void inbound_delegate_hurry(struct inbound *in);
