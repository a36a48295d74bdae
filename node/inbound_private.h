/*
 * inbound_private: one SMTP session with a client, for the files that it is made of: inbound.c
 * (its bytes, body and commit), inbound_ask.c (the questions of smtpd), inbound_judge.c (what
 * has to be looked up for an answer). Threads: its smtp thread.
 */
#pragma once

#include <netinet/in.h>
#include <xxhash.h>

#include "node/net/conn.h"
#include "node/policy/auth_strip.h"
#include "node/policy/headers.h"
#include "node/policy/judge.h"
#include "node/smtp/smtpd.h"
#include "node/smtp_thread.h"
#include "proto/domain.h"
#include "proto/envelope.h"

struct authing;
struct judging;

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
    bool eight_bit;
    uint8_t checks[DOMAIN_CHECK_KINDS]; /* of that domain, at the first recipient */
    /* Of its client and sender, for the domain of that generation; 0: not judged */
    uint64_t judged_generation;
    unsigned judgings;
    char verdict[JUDGE_REPLY_BYTES]; /* empty: the mail may come */
    uint16_t rcpt_n;                 /* asked for, while the judge is at work */
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
    struct conn *conn; /* NULL: the client is gone, only the writer's answers are awaited */
    struct event *retry;
    struct smtpd_options options;
    struct smtpd smtpd;
    struct transaction tx;
    struct judging *judging; /* NULL: nothing is asked */
    struct authing *authing; /* the same */
    XXH3_state_t *digest;    /* of the body */
    unsigned requests;       /* with the writer, or with the replica thread */
    bool staging;            /* input waits for a STAGE */
    atomic_uint *bucket;
    struct ip_addr ip; /* of the client */
    char peer[INET6_ADDRSTRLEN];
    char refusal[LIMIT_SMTP_REPLY_BYTES / 2];
};

static inline const struct node_settings *inbound_settings(const struct inbound *in)
{
    return snapshot_value(in->settings);
}

/* --- inbound.c --- */
void inbound_tx_reset(struct inbound *in);
/* The answer that was to come later; static, or of the session. Empty: yes. */
void inbound_judged(struct inbound *in, const char *refusal);

/* What inbound_auth_wait() waited for is over: the body's end goes on. */
void inbound_authenticated(struct inbound *in);

/* --- inbound_auth.c --- */
enum sender_auth inbound_sender_auth(const struct spf_verdict *v);
/* With the first recipient. Sets tx.sender_auth, at once or later. */
void inbound_auth_begin(struct inbound *in);
/* True: it is not known yet, inbound_authenticated() follows. */
MUST_CHECK bool inbound_auth_wait(struct inbound *in);
void inbound_auth_end(struct inbound *in);   /* nobody waits for it any more */
void inbound_auth_hurry(struct inbound *in); /* the node stops */

/* --- inbound_ask.c --- */
struct inbound_answer {
    bool is_asked;       /* else there was no question */
    bool is_later;       /* inbound_judged() brings it */
    bool closes;         /* the session ends with it */
    const char *refusal; /* static, or of the session; empty: yes */
};

struct inbound_answer inbound_ask(struct inbound *in, const struct smtpd_out *out);
/* What was asked for is one of the message's. Empty, or why not: static. */
const char *inbound_add_rcpt(struct inbound *in);

/* --- inbound_judge.c --- */
/* Looks up what the checks of the domain need; false: it cannot, the mail may come. */
MUST_CHECK bool inbound_judge_begin(struct inbound *in);
void inbound_judge_end(struct inbound *in); /* nobody waits for it any more */
/* The node stops: what DNS has not said by now is not waited for. */
void inbound_judge_hurry(struct inbound *in);
