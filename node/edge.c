#include "node/edge.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/edge_private.h"
#include "node/replica_thread.h"

#define TURN_MS    50   /* changes are told at most so late */
#define STORE_MS   1000 /* and written */
#define LOOK_MS    1000 /* for the secret, and what is dead */
#define SECRET_HEX 32

struct edge_facts {
    struct mail mail; /* first */
    uint16_t site;
    bool is_up; /* MAIL_LINK */
    size_t bytes;
    char facts[];
};

static void send_facts(void *ctx, uint16_t site, struct str facts)
{
    struct edge *e = ctx;

    replica_thread_facts(e->node->replica, site, facts);
}

/* --- the secret --- */

static bool hex_parse(struct str s, uint64_t out[2])
{
    out[0] = out[1] = 0;
    if (s.n != SECRET_HEX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

        if (digit < 0)
            return false;
        out[i / 16] = out[i / 16] << 4 | (uint64_t)digit;
    }
    return true;
}

/* One node makes it, and what is applied counts: should two have made one, the later one. */
static void propose_secret(struct edge *e)
{
    char text[SECRET_HEX + 1];
    uint64_t fresh[2];
    struct control_core_status status;
    struct control_propose_to to = {.box = e->box, .kind = MAIL_ANSWER};

    control_thread_status(e->node->control, &status);
    if (e->is_asking || status.leader != control_thread_id(e->node->control)->incarnation ||
        getrandom(fresh, sizeof fresh, 0) != (ssize_t)sizeof fresh)
        return;
    snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)fresh[0],
             (unsigned long long)fresh[1]);
    e->is_asking =
        control_propose(
            e->node->control,
            &(struct command){.kind = COMMAND_SETTING_PUT,
                              .setting_put = {str_of(EDGE_SECRET_SETTING), str_of(text)}},
            &to) == OK;
}

static void look_for_secret(struct edge *e)
{
    struct arena a;
    struct setting s;
    uint64_t secret[2];
    enum err err;
    bool is_good;

    arena_init(&a, LIMIT_COMMAND_SCRATCH);
    err = control_setting_get(control_thread_state(e->node->control),
                              str_of(EDGE_SECRET_SETTING), &a, &s);
    is_good = err == OK && hex_parse(s.value, secret);
    arena_reset(&a);
    if (!is_good) {
        if (err == OK || err == E_NOTFOUND)
            propose_secret(e);
        return;
    }
    if (e->has_secret && memcmp(secret, e->secret, sizeof secret) == 0)
        return;
    edge_sets_secret(e, secret);
}

/* --- the disk --- */

static void write_changes(struct edge *e)
{
    struct edge_batch *b = e->store != NULL ? edge_store_begin(e->store) : NULL;

    if (b == NULL)
        return;
    edge_sets_write(e, b);
    edge_store_write(e->store, b);
}

static void open_store(struct edge *e)
{
    enum err err = edge_store_open(&e->store, e->dir, e->box, MAIL_WRITTEN);

    if (err != OK)
        LOG(EV_KNOWN_UNREAD, L_ERR(err));
    else
        edge_sets_load(e);
}

/* --- time --- */

static void take_settings(struct edge *e)
{
    struct snapshot_ref *ref = snapshot_hold(e->node->settings);
    const struct node_settings *s = snapshot_value(ref);

    greylist_set_delay(&e->greylist, s->config->greylist.delay_ms);
    snapshot_release(&ref);
}

static void look(struct edge *e)
{
    take_settings(e);

    edge_sets_sweep(e);
    if (!e->is_stopping)
        edge_primary_look(e);
    stat_set(STAT_GOSSIP_BAD_TOTAL, e->gossip.bad);
    if (!e->has_secret)
        look_for_secret(e);
}

static bool is_due(uint64_t *last_ms, uint64_t every_ms, uint64_t now_ms)
{
    if (now_ms - *last_ms < every_ms)
        return false;
    *last_ms = now_ms;
    return true;
}

static void beat(struct edge *e, uint64_t now_ms)
{
    if (is_due(&e->told_ms, TURN_MS, now_ms)) {
        gossip_tick(&e->gossip, now_ms);
        e->told = edge_sets_serial(e);
    }
    if (is_due(&e->stored_ms, STORE_MS, now_ms))
        write_changes(e);
    if (is_due(&e->looked_ms, LOOK_MS, now_ms))
        look(e);
    edge_primary_tick(e);
    edge_sets_gauges(e);
}

/* Idle, it wakes once a second. */
static int rest_ms(const struct edge *e)
{
    bool has_news = e->told != edge_sets_serial(e) || !gossip_is_quiet(&e->gossip) ||
                    e->callout.wait_count > 0;

    return has_news ? TURN_MS : LOOK_MS;
}

/* --- the thread --- */

static void take_facts(struct edge *e, struct edge_facts *f, uint64_t now_ms)
{
    if (f->mail.kind == MAIL_LINK)
        gossip_link(&e->gossip, f->site, f->is_up, now_ms);
    else
        gossip_heard(&e->gossip, f->site, (struct str){f->facts, f->bytes}, now_ms);
    free(f);
}

static void dispatch(struct edge *e, struct mail *m, uint64_t now_ms)
{
    struct control_answer *a;

    switch ((enum edge_mail)m->kind) {
    case MAIL_ASK:
        edge_sets_grey(e, (struct edge_ask *)m);
        break;
    case MAIL_RCPT:
        edge_sets_rcpt(e, (struct edge_rcpt *)m);
        break;
    case MAIL_LESSON:
        edge_sets_lesson(e, (struct edge_taught *)m);
        free(m);
        break;
    case MAIL_GOOD:
    case MAIL_BAD:
        edge_sets_client(e, (struct edge_client *)m);
        free(m);
        break;
    case MAIL_AWAY:
        edge_sets_away(e, (struct edge_seen *)m);
        free(m);
        break;
    case MAIL_FACTS:
    case MAIL_LINK:
        take_facts(e, (struct edge_facts *)m, now_ms);
        break;
    case MAIL_NOTICE:
        if (control_notice_take(e->node->control, EDGE_SUBSCRIBER) & CONTROL_CHANGED_SETTINGS)
            look_for_secret(e);
        break;
    case MAIL_ANSWER:
        a = (struct control_answer *)m;
        e->is_asking = false;
        control_answer_free(&a);
        break;
    case MAIL_WRITTEN:
        edge_store_done(e->store, m);
        break;
    case MAIL_CALLOUT:
        edge_primary_answer(e, (struct callout_ask *)m);
        break;
    case MAIL_STOP:
        e->is_stopping = true;
        break;
    }
}

static void *edge_main(void *arg)
{
    struct edge *e = arg;
    struct pollfd p = {mailbox_fd(e->box), POLLIN, 0};

    open_store(e);
    look(e);
    /* An answer that is due is waited for: nobody would take it afterwards. */
    while (!e->is_stopping || e->is_asking) {
        uint64_t now_ms;

        (void)poll(&p, 1, rest_ms(e));
        now_ms = clock_boot_ms();
        for (struct mail *m = mailbox_take(e->box), *next; m != NULL; m = next) {
            next = m->next;
            dispatch(e, m, now_ms);
        }
        beat(e, now_ms);
    }
    return NULL;
}

/* --- life --- */

struct edge *edge_new(struct node *n)
{
    struct edge *e = calloc(1, sizeof *e);
    struct gossip_options o = {.ctx = e, .send = send_facts};

    ASSERT(e != NULL);
    if (getrandom(&o.nonce, sizeof o.nonce, 0) != (ssize_t)sizeof o.nonce)
        o.nonce = clock_boot_us();
    o.nonce |= 1;
    e->node = n;
    e->box = mailbox_new(LIMIT_EDGE_BOX);
    edge_sets_init(e, &o);
    gossip_init(&e->gossip, &o);
    return e;
}

struct mailbox *edge_box(struct edge *e)
{
    return e->box;
}

int edge_notice_kind(void)
{
    return MAIL_NOTICE;
}

enum err edge_run(struct edge *e, const char *dir)
{
    if (!str_to_z(str_of(dir), e->dir, sizeof e->dir)) {
        LOG(EV_INTERNAL, L_CSTR("call", "edge_run"), L_CSTR("path", dir),
            L_CSTR("error", "the path is too long"));
        return E_IO;
    }
    if (pthread_create(&e->thread, NULL, edge_main, e) != 0)
        return E_IO;
    pthread_setname_np(e->thread, "edge");
    e->is_running = true;
    return OK;
}

/* What came behind the end: asks go back unanswered, the rest is freed. */
static void take_last(struct edge *e)
{
    for (struct mail *m = mailbox_take(e->box), *next; m != NULL; m = next) {
        struct control_answer *c = (struct control_answer *)m;

        next = m->next;
        switch ((enum edge_mail)m->kind) {
        case MAIL_ASK:
            edge_sets_grey(e, (struct edge_ask *)m);
            break;
        case MAIL_RCPT:
            edge_sets_rcpt(e, (struct edge_rcpt *)m);
            break;
        case MAIL_LESSON:
        case MAIL_GOOD:
        case MAIL_BAD:
        case MAIL_AWAY:
        case MAIL_FACTS:
        case MAIL_LINK:
        case MAIL_WRITTEN:
        case MAIL_CALLOUT:
            free(m);
            break;
        case MAIL_ANSWER:
            control_answer_free(&c);
            break;
        case MAIL_NOTICE:
        case MAIL_STOP:
            break;
        }
    }
}

void edge_stop(struct edge *e)
{
    if (e->is_running) {
        e->stop = (struct mail){.kind = MAIL_STOP};
        mailbox_answer(e->box, &e->stop);
        pthread_join(e->thread, NULL);
        e->is_running = false;
        write_changes(e); /* the last second, if the disk is not behind */
    }
    e->has_ended = true;
    edge_callout_end(&e->callout);
    edge_store_close(&e->store);
    take_last(e);
}

void edge_end(struct edge *e)
{
    take_last(e);
}

void edge_free(struct edge **ep)
{
    struct edge *e = *ep;

    *ep = NULL;
    if (e == NULL)
        return;
    mailbox_abandon(&e->box); /* a notice at most, which is the control thread's */
    edge_sets_fini(e);
    free(e);
}

/* --- from other threads --- */

enum err edge_greylist(struct edge *e, struct edge_ask *a)
{
    a->mail.kind = MAIL_ASK;
    return mailbox_post(e->box, &a->mail);
}

enum err edge_recipient(struct edge *e, struct edge_rcpt *a)
{
    a->mail.kind = MAIL_RCPT;
    return mailbox_post(e->box, &a->mail);
}

/* These have nobody who waits: one that has no room is lost, and comes again with the next
 * mail. */
static void post(struct edge *e, struct mail *m, enum edge_mail kind)
{
    m->kind = (int)kind;
    if (mailbox_post(e->box, m) != OK)
        free(m);
}

void edge_learn(struct edge *e, const struct edge_lesson *l)
{
    struct edge_taught *t;

    if (l->local.n == 0 || l->local.n > sizeof t->local)
        return;
    t = malloc(sizeof *t);
    if (t == NULL)
        return;
    *t = (struct edge_taught){.generation = l->generation,
                              .separator = l->separator,
                              .local_bytes = (uint8_t)l->local.n,
                              .status = l->is_valid ? RCPTSET_VALID : RCPTSET_INVALID};
    memcpy(t->local, l->local.p, l->local.n);
    post(e, &t->mail, MAIL_LESSON);
}

static void tell(struct edge *e, enum edge_mail kind, const struct ip_addr *client,
                 struct str domain, struct str local)
{
    struct edge_client *c = malloc(sizeof *c);

    if (c == NULL)
        return;
    ASSERT(local.n <= sizeof c->local);
    *c = (struct edge_client){.client = *client, .local_bytes = (uint8_t)local.n};
    memcpy(c->local, local.n > 0 ? local.p : "", local.n);
    if (str_to_z(domain, c->domain, sizeof c->domain))
        post(e, &c->mail, kind);
    else
        free(c);
}

void edge_good(struct edge *e, const struct ip_addr *client)
{
    tell(e, MAIL_GOOD, client, STR_NONE, STR_NONE);
}

void edge_bad(struct edge *e, const struct ip_addr *client, struct str domain, struct str local)
{
    tell(e, MAIL_BAD, client, domain, local);
}

void edge_away(struct edge *e, const uint64_t *generations, size_t count)
{
    struct edge_seen *s = malloc(sizeof *s + count * sizeof *generations);

    if (s == NULL)
        return; /* said again */
    *s = (struct edge_seen){.count = count};
    if (count > 0)
        memcpy(s->generations, generations, count * sizeof *generations);
    post(e, &s->mail, MAIL_AWAY);
}

bool edge_is_offender(const struct edge *e, const struct ip_addr *client)
{
    return offenders_has(&e->offenders, client);
}

void edge_heard(struct edge *e, uint16_t site, struct str facts)
{
    struct edge_facts *f = malloc(sizeof *f + facts.n);

    if (f == NULL)
        return; /* told again */
    *f = (struct edge_facts){.site = site, .bytes = facts.n};
    memcpy(f->facts, facts.p, facts.n);
    post(e, &f->mail, MAIL_FACTS);
}

void edge_link(struct edge *e, uint16_t site, bool is_up)
{
    struct edge_facts *f = malloc(sizeof *f);

    ASSERT(f != NULL); /* lost, a peer would hear nothing until the next link */
    *f = (struct edge_facts){.mail.kind = MAIL_LINK, .site = site, .is_up = is_up};
    mailbox_answer(e->box, &f->mail);
}
