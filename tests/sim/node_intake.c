/* Clients, and the smtp thread that serves them: the shell around node/smtp. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/clock.h"
#include "node/smtp/received.h"
#include "node/smtp/smtpd.h"
#include "proto/record.h"
#include "tests/sim/sim.h"

#define PIECE_BYTES  LIMIT_BODY_PIECE_BYTES
#define HOLD_MS      UINT64_C(86400000)
#define LINE_BYTES   256
#define WAY_US       (5 * MS) /* between a client and a node */
#define MAX_SESSIONS 400      /* of one node */

enum client_step { SAYS_EHLO, SAYS_MAIL, SAYS_RCPT, SAYS_DATA, SAYS_BODY, SAYS_END };

struct client {
    uint32_t key, rcpts, rcpts_said;
    unsigned domain, node;
    uint64_t bytes, sid, life;
    enum client_step step;
};

struct session_in {
    struct session_in *next, *prev;
    struct node *node;
    struct client *client;
    uint64_t sid;
    struct smtpd smtpd;
    char rcpts[CHECK_RCPTS][64];
    uint32_t rcpt_count;
    unsigned domain;
    struct mid id;
    bool committing;
    char *body;
    size_t body_n, body_room;
    struct bodyscan scan;
    struct headerscan header;
};

static struct {
    uint64_t gap_us, sids;
    bool paused;
} cl;

static const struct smtpd_options options = {.hostname = {"mx.sim.example", 14},
                                             .max_body_bytes = 50 * MiB};

/* --- The session at the node --- */

static void client_hears(struct session_in *s, struct str reply);
static void feed(struct session_in *s, struct smtpd_event ev);

static void session_free(struct session_in *s)
{
    struct node *n = s->node;

    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        n->sessions = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    free(s->body);
    free(s);
}

static struct session_in *find(struct node *n, uint64_t sid)
{
    struct session_in *s = n->sessions;

    while (s != NULL && s->sid != sid)
        s = s->next;
    return s;
}

static const char *judge(struct session_in *s, const struct smtpd_out *out)
{
    struct node *n = s->node;

    switch (out->act) {
    case SMTPD_ACT_ASK_CONNECT:
        if (!n->gate_open || n->replica == NULL || spool_room(n->spool) == SPOOL_FULL)
            return "421 4.3.2 Try the next MX";
        return "";
    case SMTPD_ACT_ASK_MAIL:
        return n->gate_open ? "" : "421 4.3.2 Try the next MX";
    case SMTPD_ACT_ASK_RCPT:
        if (sim_domain_index(out->path.domain) < 0 || s->rcpt_count == CHECK_RCPTS)
            return "550 5.7.1 Not here";
        s->domain = (unsigned)sim_domain_index(out->path.domain);
        snprintf(s->rcpts[s->rcpt_count++], sizeof s->rcpts[0], STR_FMT,
                 STR_ARG(out->path.whole));
        return "";
    default:
        return NULL;
    }
}

static bool fill_envelope(struct session_in *s, struct arena *a, struct envelope *e)
{
    struct node *n = s->node;
    char trace_text[RECEIVED_SIZE];
    struct received rec = {.helo = STR("client.example"),
                           .client_addr = STR("192.0.2.77"),
                           .host = options.hostname,
                           .cluster = STR("sim"),
                           .esmtp = true,
                           .id = s->id,
                           .wall_ms = clock_wall_ms()};
    struct rcpt *rcpts = arena_take(a, sizeof *rcpts * s->rcpt_count);
    struct domain d;
    struct arena scratch;

    ASSERT(rcpts != NULL);
    for (uint32_t i = 0; i < s->rcpt_count; i++)
        rcpts[i].path = arena_str(a, str_of(s->rcpts[i]));
    *e = (struct envelope){.id = s->id,
                           .domain = arena_str(a, str_of(sim_domain(s->domain))),
                           .rcpts = rcpts,
                           .rcpt_count = s->rcpt_count,
                           .body_bytes = s->body_n,
                           .body_digest = XXH3_64bits(s->body, s->body_n),
                           .trace_header = arena_str(a, received_format(&rec, trace_text)),
                           .received_ms = log_cluster_ms(n),
                           .received_wall_ms = rec.wall_ms};
    e->deadline_ms = e->received_ms + HOLD_MS;
    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    if (control_domain_get(n->control, e->domain, &scratch, &d) != OK)
        d.generation = 0;
    arena_reset(&scratch);
    e->domain_generation = d.generation;
    return d.generation != 0;
}

static struct blob *blob_of(const void *p, size_t n)
{
    struct blob *b = blob_new(n);

    ASSERT(b != NULL);
    if (n > 0)
        memcpy(b->b, p, n);
    return b;
}

struct stored {
    uint64_t sid;
    struct mid id;
    enum err err;
};

static void put_later(struct node *n, void *arg)
{
    struct stored s = *(struct stored *)arg;

    free(arg);
    if (n->replica == NULL)
        return;
    /* a put that failed is answered by REFUSED or CLOSE: a peer may have stored it */
    replica_put_stored(n->replica, s.id, s.err, node_ms(n));
    data_poke(n);
}

static void put_done(struct node *n, struct write_request *r)
{
    struct stored *s = malloc(sizeof *s);

    ASSERT(s != NULL);
    *s = (struct stored){(uint64_t)(uintptr_t)r->ctx, r->env->id, r->err};
    write_request_free(r);
    node_post(n, world_below(300), put_later, s);
}

static void stage_done(struct node *n, struct write_request *r)
{
    (void)n;
    write_request_free(r);
}

/* A large body goes in pieces, to the own store and to the peers. */
static uint64_t stage(struct session_in *s)
{
    struct node *n = s->node;
    uint64_t number = spool_next_body(n->spool);

    for (size_t at = 0; at < s->body_n; at += PIECE_BYTES) {
        size_t left = s->body_n - at, size = left < PIECE_BYTES ? left : PIECE_BYTES;
        struct write_request *r = write_request_new(WRITE_STAGE);

        r->bytes = blob_of(s->body + at, size);
        r->body = blob_str(r->bytes);
        r->body_number = number;
        r->offset = at;
        r->done = stage_done;
        replica_body(n->replica, number, at, r->bytes, node_ms(n));
        writer_give(n, r);
    }
    return number;
}

static void commit(struct session_in *s)
{
    struct node *n = s->node;
    struct write_request *r = write_request_new(WRITE_PUT);
    struct envelope *e = arena_take(&r->arena, sizeof *e);
    static char buf[LIMIT_ENVELOPE_BYTES];
    struct blob *envelope;
    uint64_t number = 0;
    enum err rc;

    ASSERT(e != NULL);
    s->id = mid_make(n->site, n->session, ++n->counter);
    if (!fill_envelope(s, &r->arena, e)) {
        n->counter--;
        write_request_free(r);
        feed(s, (struct smtpd_event){.type = SMTPD_EV_COMMIT, .err = E_TIMEOUT});
        return;
    }
    check_drawn(s->client->key, s->id);
    s->committing = true;
    if (s->body_n > PIECE_BYTES)
        number = stage(s);
    r->env = e;
    r->body_number = number;
    r->bytes = number == 0 ? blob_of(s->body, s->body_n) : NULL;
    r->body = blob_str(r->bytes);
    r->done = put_done;
    r->ctx = (void *)(uintptr_t)s->sid;
    envelope = blob_of(buf, envelope_encode(e, buf));
    rc = replica_put(n->replica, s->id, envelope, r->bytes, number, node_ms(n));
    blob_release(&envelope);
    if (rc != OK) /* the engine is full: the id is aborted with its PUT */
        r->body_number = UINT64_MAX;
    writer_give(n, r);
    data_poke(n);
}

static void feed(struct session_in *s, struct smtpd_event ev)
{
    static struct smtpd_out out; /* 9 KiB and more */
    bool again = true;

    while (again) {
        enum smtpd_act act;
        bool close;

        ev.now_ms = node_ms(s->node);
        smtpd_step(&s->smtpd, &ev, &out);
        act = out.act;
        close = out.close;
        again = false;
        if (act == SMTPD_ACT_ASK_CONNECT || act == SMTPD_ACT_ASK_MAIL ||
            act == SMTPD_ACT_ASK_RCPT) {
            ev = (struct smtpd_event){.type = SMTPD_EV_VERDICT,
                                      .refusal = str_of(judge(s, &out))};
            again = true;
        }
        if (out.reply_n > 0)
            client_hears(s, (struct str){out.reply, out.reply_n});
        if (close) {
            session_free(s);
            return;
        }
        if (act == SMTPD_ACT_BODY) {
            bodyscan_init(&s->scan, options.max_body_bytes);
            headerscan_init(&s->header, STR("sim"));
        } else if (act == SMTPD_ACT_COMMIT) {
            commit(s);
        }
    }
}

static void keep_span(struct session_in *s, struct str span)
{
    if (s->body_n + span.n > s->body_room) {
        s->body_room = 2 * (s->body_n + span.n);
        s->body = realloc(s->body, s->body_room);
        ASSERT(s->body != NULL);
    }
    memcpy(s->body + s->body_n, span.p, span.n);
    s->body_n += span.n;
}

/* --- What the client says --- */

struct said {
    uint64_t sid;
    size_t n;
    char b[];
};

static void body_comes(struct session_in *s, struct str in)
{
    struct str span;

    while ((span = bodyscan_next(&s->scan, &in)).n > 0) {
        headerscan_feed(&s->header, span);
        keep_span(s, span);
    }
    if (s->scan.done)
        feed(s, (struct smtpd_event){.type = SMTPD_EV_BODY_END,
                                     .violation = s->scan.violation,
                                     .header = headerscan_verdict(&s->header),
                                     .body_bytes = s->scan.body_bytes});
}

static void comes(struct node *n, void *arg)
{
    struct said *w = arg;
    struct session_in *s = find(n, w->sid);

    if (s != NULL && s->smtpd.state == SMTPD_BODY)
        body_comes(s, (struct str){w->b, w->n});
    else if (s != NULL && !s->committing)
        feed(s, (struct smtpd_event){.type = SMTPD_EV_LINE, .line = {w->b, w->n}});
    free(w);
}

static void say(const struct client *c, const char *bytes, size_t size)
{
    struct node *n = sim_node(c->node);
    struct said *w = malloc(sizeof *w + size);

    ASSERT(w != NULL);
    *w = (struct said){c->sid, size};
    memcpy(w->b, bytes, size);
    if (!n->up || n->life != c->life)
        free(w);
    else
        node_post(n, WAY_US + size / 10, comes, w); /* 10 MB/s */
}

static void say_line(const struct client *c, const char *line)
{
    say(c, line, strlen(line));
}

static void say_body(const struct client *c)
{
    char *body = check_body(c->key, c->bytes), *out = malloc(2 * c->bytes + 8);
    size_t n = 0;
    bool line_start = true;

    ASSERT(out != NULL);
    for (size_t i = 0; i < c->bytes; i++) {
        if (line_start && body[i] == '.')
            out[n++] = '.';
        out[n++] = body[i];
        line_start = body[i] == '\n';
    }
    memcpy(out + n, ".\r\n", 3);
    say(c, out, n + 3);
    free(out);
    free(body);
}

static void say_next(struct client *c)
{
    char line[LINE_BYTES];

    switch (c->step) {
    case SAYS_EHLO:
        say_line(c, "EHLO client.example");
        c->step = SAYS_MAIL;
        return;
    case SAYS_MAIL:
        say_line(c, "MAIL FROM:<>");
        c->step = SAYS_RCPT;
        return;
    case SAYS_RCPT:
        snprintf(line, sizeof line, "RCPT TO:<u%u.%u@%s>", c->key, c->rcpts_said,
                 sim_domain(c->domain));
        say_line(c, line);
        if (++c->rcpts_said == c->rcpts)
            c->step = SAYS_DATA;
        return;
    case SAYS_DATA:
        say_line(c, "DATA");
        c->step = SAYS_BODY;
        return;
    case SAYS_BODY:
        say_body(c);
        c->step = SAYS_END;
        return;
    case SAYS_END:
        return;
    }
}

struct heard {
    struct client *client;
    bool good;
};

static void hears(void *arg)
{
    struct heard *h = arg;

    if (h->good)
        say_next(h->client);
    else
        h->client->step = SAYS_END;
    free(h);
}

static void client_hears(struct session_in *s, struct str reply)
{
    struct heard *h = malloc(sizeof *h);

    ASSERT(h != NULL);
    *h = (struct heard){s->client, reply.p[0] == '2' || reply.p[0] == '3'};
    world_at(world_now() + WAY_US, hears, h);
}

/* --- News of the engine --- */

void intake_news(struct node *n, const struct replica_news *news)
{
    struct session_in *s = n->sessions;
    struct smtpd_event ev = {.type = SMTPD_EV_COMMIT, .mid = news->id};

    if (news->kind == REPLICA_ACCEPTED)
        mail_accepted(n, news->id);
    while (s != NULL && (!s->committing || mid_cmp(s->id, news->id) != 0))
        s = s->next;
    if (s == NULL)
        return;
    s->committing = false;
    if (news->kind == REPLICA_ACCEPTED) {
        if (n->set_back)
            violation("node %u says 250, and its spool is older than it was", n->index);
        n->accepted++;
        check_accepted(s->client->key, n->index);
        ev.err = OK;
    } else if (news->kind == REPLICA_REFUSED) {
        check_refused(s->client->key, n->index);
        ev.err = E_TIMEOUT;
    } else {
        check_closed(s->client->key, n->index);
        ev.err = E_IO;
    }
    feed(s, ev);
}

void intake_close(struct node *n)
{
    while (n->sessions != NULL)
        session_free(n->sessions);
}

/* --- Clients --- */

static uint64_t some_size(void)
{
    switch (world_below(40)) {
    case 0:
        return world_between(66000, 400000);
    case 1:
    case 2:
        return world_between(5000, 60000);
    default:
        return world_between(80, 4000);
    }
}

static void come_in(struct node *n, void *arg)
{
    struct client *c = *(struct client **)arg;
    struct session_in *s = calloc(1, sizeof *s);

    free(arg);
    ASSERT(s != NULL);
    s->node = n;
    s->client = c;
    s->sid = c->sid;
    s->next = n->sessions;
    if (n->sessions != NULL)
        n->sessions->prev = s;
    n->sessions = s;
    smtpd_init(&s->smtpd, &options);
    feed(s, (struct smtpd_event){.type = SMTPD_EV_OPEN});
}

static void client_new(void)
{
    struct client *c = calloc(1, sizeof *c), **arg = malloc(sizeof(struct client *));
    struct node *n = sim_node((unsigned)world_below(WORLD_NODES));

    ASSERT(c != NULL && arg != NULL);
    if (!n->up) {
        free(c);
        free(arg);
        return;
    }
    *c = (struct client){.rcpts = world_below(8) == 0 ? 3 : 1,
                         .domain = (unsigned)world_below(SIM_DOMAINS),
                         .node = n->index,
                         .bytes = some_size(),
                         .sid = ++cl.sids,
                         .life = n->life};
    c->key = check_offer(c->bytes, c->rcpts, HOLD_MS);
    *arg = c;
    node_post(n, WAY_US, come_in, arg);
}

static void next_client(void *arg)
{
    (void)arg;
    if (!cl.paused)
        client_new();
    world_at(world_now() + 1 + world_below(2 * cl.gap_us), next_client, NULL);
}

void client_begin(void)
{
    memset(&cl, 0, sizeof cl);
    cl.gap_us = 500 * MS;
    world_at(world_now() + SECOND, next_client, NULL);
}

void client_pause(bool on)
{
    cl.paused = on;
}

void client_rate(uint64_t mean_gap_us)
{
    cl.gap_us = mean_gap_us;
}
