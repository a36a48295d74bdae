/* The shell around node/policy/delegate: asks the policy server about a recipient, while the
 * session waits for its answer to RCPT. Each SMTP thread has a few connections of its own to
 * it, a question at a time on each, and lets the rest wait.
 *
 * No answer is no reason to refuse: when none comes in time, when none can be understood, when
 * too many wait, the recipient is taken. One that does not come in time is that question's
 * alone, and closes its connection; after a failure, or LIMIT_DELEGATE_TIMEOUTS of those in a
 * row, nobody is asked for LIMIT_DELEGATE_REST_MS. A server may close a connection that it has
 * not heard on for a while: what was just asked on such a one is asked once more on another. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/inbound_private.h"
#include "node/policy/delegate.h"

/* One that nobody waits for any more stays as long as a connection carries it. */
struct asking_server {
    struct asking_server *next; /* of those that wait */
    struct delegates *of;
    struct inbound *in; /* NULL: nobody waits */
    struct server_conn *conn;
    struct event *deadline;
    uint64_t began_ms;
    uint8_t mode; /* enum domain_check_mode */
    bool is_again;
    size_t n;
    char request[LIMIT_DELEGATE_REQUEST_BYTES];
};

struct server_conn {
    struct server_conn *next, *prev;
    struct delegates *of;
    struct conn *conn;
    struct asking_server *asking; /* NULL: idle */
    bool is_up, was_used;
    bool is_old; /* to a server that a reload has replaced */
};

/* Of a thread. */
struct delegates {
    struct smtp_thread *thread;
    struct server_conn *conns;
    struct asking_server *first, **last; /* that wait for a connection */
    unsigned conn_count, waiting;
    uint64_t instance;
    struct delegate_rest rest;
    struct config_address server; /* .text: below */
    char server_text[LIMIT_ADDRESS_BYTES];
};

static struct delegates *delegates_of(struct smtp_thread *t)
{
    struct delegates *d = t->delegates;

    if (d != NULL)
        return d;
    d = calloc(1, sizeof *d);
    if (d == NULL || getrandom(&d->instance, sizeof d->instance, 0) < 0) {
        free(d);
        return NULL;
    }
    d->thread = t;
    d->last = &d->first;
    t->delegates = d;
    return d;
}

/* --- questions --- */

static void asking_free(struct asking_server *q)
{
    if (q->in != NULL)
        q->in->asking_server = NULL;
    event_free(q->deadline);
    free(q);
}

static void enqueue(struct asking_server *q)
{
    struct delegates *d = q->of;

    q->next = NULL;
    *d->last = q;
    d->last = &q->next;
    d->waiting++;
}

static struct asking_server *dequeue(struct delegates *d)
{
    struct asking_server *q = d->first;

    if (q == NULL)
        return NULL;
    d->first = q->next;
    if (d->first == NULL)
        d->last = &d->first;
    d->waiting--;
    return q;
}

static void remove_waiting(struct asking_server *q)
{
    struct delegates *d = q->of;
    struct asking_server **at = &d->first;

    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    if (q->next == NULL)
        d->last = at;
    d->waiting--;
}

/* The session goes on; q is no longer. */
static void tell(struct asking_server *q, const struct delegate_answer *a)
{
    struct inbound *in = q->in;
    bool closes = a != NULL && a->closes;

    if (in != NULL && a != NULL)
        snprintf(in->refusal, sizeof in->refusal, "%s", a->reply);
    else if (in != NULL)
        in->refusal[0] = 0;
    asking_free(q);
    if (in != NULL && in->conn != NULL)
        inbound_answered(in, in->refusal, closes);
}

static void tell_nothing(struct asking_server *q)
{
    if (q->in != NULL)
        stat_add(STAT_POLICY_FAILED_TOTAL, 1);
    tell(q, NULL);
}

/* --- connections --- */

static void server_conn_free(struct server_conn *c)
{
    struct delegates *d = c->of;

    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        d->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    d->conn_count--;
    if (c->conn != NULL)
        conn_close(&c->conn);
    free(c);
}

static void serve(struct delegates *d);

/* Nobody is asked for a while; who waits is let in. One log line for all of that. */
static void rest(struct delegates *d, const char *why)
{
    struct asking_server *q;

    delegate_failed(&d->rest, clock_boot_ms());
    if (!d->thread->draining)
        LOG(EV_POLICY_FAILED, L_CSTR("server", d->server_text), L_CSTR("why", why),
            L_U64("waiting", d->waiting));
    while ((q = dequeue(d)) != NULL)
        tell_nothing(q);
}

/* The connection is of no more use; its question goes on without an answer. */
static void fail(struct server_conn *c, const char *why)
{
    struct delegates *d = c->of;
    struct asking_server *q = c->asking;

    server_conn_free(c);
    rest(d, why);
    if (q != NULL)
        tell_nothing(q);
}

static void send_question(struct server_conn *c, struct asking_server *q)
{
    c->asking = q;
    q->conn = c;
    if (!c->is_up)
        return;
    conn_deadline(c->conn, 0, clock_boot_ms());
    conn_write(c->conn, (struct str){q->request, q->n});
}

static void note(const struct asking_server *q, const struct delegate_answer *a,
                 enum delegate_act said)
{
    const struct inbound *in = q->in;

    stat_add(STAT_POLICY_UNKNOWN_TOTAL, said == DELEGATE_UNKNOWN);
    stat_add(STAT_POLICY_REFUSED_TOTAL, a->act == DELEGATE_REFUSE);
    if (said == DELEGATE_PASS)
        return;
    LOG(EV_POLICY_ANSWER, L_CSTR("client", in->peer), L_STR("from", in->tx.sender),
        L_CSTR("domain", in->tx.domain), L_CSTR("action", a->word),
        L_CSTR("mode", check_mode_text(q->mode)), L_U64("ms", clock_boot_ms() - q->began_ms),
        L_CSTR("refused", a->reply));
}

static void answered(struct server_conn *c, struct delegate_answer *a)
{
    struct delegates *d = c->of;
    struct asking_server *q = c->asking;
    enum delegate_act said = a->act;
    uint64_t now_ms = clock_boot_ms();

    delegate_answered(&d->rest);
    c->asking = NULL;
    c->was_used = true;
    q->conn = NULL;
    if (c->is_old)
        server_conn_free(c);
    else
        conn_deadline(c->conn, now_ms + LIMIT_DELEGATE_IDLE_MS, now_ms);
    if (q->in != NULL) {
        delegate_soften(a, q->mode);
        note(q, a, said);
    }
    serve(d);
    tell(q, a);
}

static void on_input(void *owner)
{
    struct server_conn *c = owner;
    struct str in = conn_input(c->conn);
    struct delegate_answer a;
    size_t used;

    switch (delegate_read(in, &used, &a)) {
    case DELEGATE_MORE:
        if (c->asking == NULL && in.n > 0)
            fail(c, "it speaks without being asked");
        return;
    case DELEGATE_BAD:
        fail(c, "no answer of the protocol");
        return;
    case DELEGATE_DONE:
        break;
    }
    if (c->asking == NULL || used < in.n) { /* whose answer is it? */
        fail(c, "more answers than questions");
        return;
    }
    conn_consume(c->conn, used);
    answered(c, &a);
}

static void on_connected(void *owner)
{
    struct server_conn *c = owner;

    c->is_up = true;
    if (c->asking != NULL)
        send_question(c, c->asking);
}

static void on_nothing(void *owner)
{
    (void)owner;
}

/* Idle for long. */
static void on_timeout(void *owner)
{
    server_conn_free(owner);
}

static void on_end(void *owner, enum conn_end why)
{
    struct server_conn *c = owner;
    struct delegates *d = c->of;
    struct asking_server *q = c->asking;

    if (q == NULL) {
        server_conn_free(c);
    } else if (c->was_used && !q->is_again) {
        q->is_again = true;
        q->conn = NULL;
        server_conn_free(c);
        if (q->in != NULL)
            enqueue(q);
        else
            asking_free(q);
        serve(d);
    } else {
        fail(c, why == CONN_REFUSED ? "it cannot be reached" : "it closed without an answer");
    }
}

static const struct conn_ops ops = {.on_connected = on_connected,
                                    .on_input = on_input,
                                    .on_drained = on_nothing,
                                    .on_tls = on_nothing,
                                    .on_timeout = on_timeout,
                                    .on_end = on_end};

/* NULL: not now, or not at all. */
static struct server_conn *connect_anew(struct delegates *d)
{
    struct server_conn *c;

    if (d->conn_count >= LIMIT_DELEGATE_CONNS)
        return NULL;
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->of = d;
    if (conn_connect(&d->thread->conns, (const struct sockaddr *)&d->server.ss,
                     d->server.ss_bytes, &ops, c, &c->conn) != OK) {
        free(c);
        return NULL;
    }
    c->next = d->conns;
    if (d->conns != NULL)
        d->conns->prev = c;
    d->conns = c;
    d->conn_count++;
    return c;
}

static struct server_conn *idle_conn(const struct delegates *d)
{
    struct server_conn *c = d->conns;

    while (c != NULL && (c->asking != NULL || !c->is_up || c->is_old))
        c = c->next;
    return c;
}

/* Gives those that wait a connection, as far as there are any. */
static void serve(struct delegates *d)
{
    while (d->first != NULL) {
        struct server_conn *c = idle_conn(d);

        if (c == NULL)
            c = connect_anew(d);
        if (c == NULL)
            break;
        send_question(c, dequeue(d));
    }
    if (d->first != NULL && d->conn_count == 0)
        event_active(d->first->deadline, EV_TIMEOUT, 0); /* not in here: a session is at work */
}

/* --- for the session --- */

/* q has waited for long enough; the others go on, unless it is a failure of the server. */
static void passes_alone(struct asking_server *q, bool is_failure, const char *why)
{
    struct delegates *d = q->of;

    if (is_failure || d->thread->draining) {
        rest(d, why);
    } else {
        LOG(EV_POLICY_FAILED, L_CSTR("server", d->server_text), L_CSTR("why", why),
            L_U64("waiting", d->waiting));
        serve(d);
    }
    tell_nothing(q);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct asking_server *q = arg;
    struct delegates *d = q->of;
    struct server_conn *c = q->conn;

    (void)fd;
    (void)what;
    if (c != NULL && !c->is_up) {
        fail(c, "it cannot be reached in time");
        return;
    }
    if (c != NULL) {
        c->asking = NULL;
        server_conn_free(c); /* its answer may come yet, and must be nobody else's */
        passes_alone(q, delegate_timed_out(&d->rest, clock_boot_ms()), "no answer in time");
        return;
    }
    remove_waiting(q);
    passes_alone(q, d->conn_count == 0,
                 d->conn_count == 0 ? "it cannot be reached"
                                    : "too many questions for the time");
}

void inbound_delegate_end(struct inbound *in)
{
    struct asking_server *q = in->asking_server;

    if (q == NULL)
        return;
    in->asking_server = NULL;
    q->in = NULL;
    if (q->conn == NULL) {
        remove_waiting(q);
        asking_free(q);
    }
}

void inbound_delegate_hurry(struct inbound *in)
{
    if (in->asking_server != NULL)
        event_active(in->asking_server->deadline, EV_TIMEOUT, 0);
}

void inbound_delegate_free_all(struct smtp_thread *t)
{
    struct delegates *d = t->delegates;
    struct asking_server *q;

    if (d == NULL)
        return;
    t->delegates = NULL;
    while ((q = dequeue(d)) != NULL)
        asking_free(q);
    while (d->conns != NULL) {
        if (d->conns->asking != NULL)
            asking_free(d->conns->asking);
        server_conn_free(d->conns);
    }
    free(d);
}

/* A reload named another server: connections to the old one go when they are idle. */
static void follow(struct delegates *d, const struct config_address *server)
{
    struct server_conn *next;

    if (strcmp(d->server_text, server->text) == 0)
        return;
    d->server = *server;
    d->server.text = d->server_text;
    snprintf(d->server_text, sizeof d->server_text, "%s", server->text);
    d->rest = (struct delegate_rest){0};
    for (struct server_conn *c = d->conns; c != NULL; c = next) {
        next = c->next;
        c->is_old = true;
        if (c->asking == NULL)
            server_conn_free(c);
    }
}

static struct asking_server *asking_new(struct delegates *d, struct inbound *in)
{
    const struct node_config *c = inbound_settings(in)->config;
    struct asking_server *q = calloc(1, sizeof *q);
    struct delegate_facts f = {.client = str_of(in->peer),
                               .helo = smtpd_helo(&in->smtpd),
                               .sender = in->tx.sender,
                               .recipient = {in->tx.rcpt, in->tx.rcpt_n},
                               .tls = smtpd_tls_text(&in->smtpd),
                               .size_bytes = in->tx.size_bytes,
                               .esmtp = in->smtpd.esmtp};
    struct timeval tv = {(time_t)(c->smtp.policy_timeout_ms / 1000),
                         (suseconds_t)(c->smtp.policy_timeout_ms % 1000 * 1000)};

    if (q == NULL)
        return NULL;
    if (in->tx.instance == 0)
        in->tx.instance = ++d->instance;
    f.instance = in->tx.instance;
    q->of = d;
    q->in = in;
    q->mode = in->tx.checks[DOMAIN_CHECK_SERVER];
    q->began_ms = clock_boot_ms();
    q->n = delegate_request(&f, q->request).n;
    q->deadline = event_new(d->thread->base, -1, 0, on_deadline, q);
    ASSERT(q->deadline != NULL);
    event_add(q->deadline, &tv);
    in->asking_server = q;
    return q;
}

bool inbound_delegate_begin(struct inbound *in)
{
    const struct node_config *c = inbound_settings(in)->config;
    struct delegates *d;
    struct asking_server *q;

    if (c->smtp.policy_address.text == NULL || in->tx.checks[DOMAIN_CHECK_SERVER] == CHECK_OFF)
        return false;
    ASSERT(in->asking_server == NULL);
    d = delegates_of(in->thread);
    if (d != NULL)
        follow(d, &c->smtp.policy_address);
    if (d == NULL || delegate_is_resting(&d->rest, clock_boot_ms()) ||
        d->waiting >= LIMIT_DELEGATE_WAITING || (q = asking_new(d, in)) == NULL) {
        stat_add(STAT_POLICY_FAILED_TOTAL, 1);
        return false;
    }
    stat_add(STAT_POLICY_ASKED_TOTAL, 1);
    enqueue(q);
    serve(d);
    return true;
}
