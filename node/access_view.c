#include "node/access_view.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/snapshot.h"
#include "base/stats.h"
#include "node/control_thread.h"
#include "node/policy/prefix.h"

#define PAGE    256   /* entries of one read transaction */
#define LOOK_MS 60000 /* between two looks for entries whose time is over */
/* So long after its end an entry is removed: the clock of the state, by which an ACCESS_LAPSE
 * is judged, is behind the time by up to two ticks. */
#define LAPSE_MS     ((uint64_t)4 * LIMIT_CLOCK_TICK_MS)
#define LATER_MS     1000 /* after a store that could not be read */
#define BOX_REQUESTS 8

enum view_mail { MAIL_NOTICE, MAIL_ANSWER, MAIL_STOP };

struct rule {
    uint64_t expires_ms;
    size_t reason_at; /* in lists.reasons */
    uint8_t reason_bytes, action;
};

/* What is published. */
struct lists {
    struct prefix_set *set; /* values: indices of rules */
    struct rule *rules;
    char *reasons;
};

struct access_view {
    struct mailbox *box;
    struct snapshot *lists;
    struct control_thread *control;
    pthread_t thread;
    bool is_running;

    /* of the thread */
    struct mail stop;
    bool is_asking; /* an ACCESS_LAPSE is under way */
    bool is_stopping;
    uint64_t next_expiry_ms, next_lapse_ms;
    char *lapsed; /* entries for it, LIMIT_COMMAND_BYTES */
    size_t lapsed_bytes;
    uint32_t lapsed_count;
};

/* --- building --- */

struct build {
    struct prefix_entry *entries;
    struct rule *rules;
    char *reasons;
    size_t count, room, reason_bytes, reason_room;
};

static void *grown(void *p, size_t *room, size_t need, size_t size)
{
    if (need <= *room)
        return p;
    *room = need + need / 2;
    p = realloc(p, *room * size);
    ASSERT(p != NULL);
    return p;
}

static void build_add(struct build *b, const struct access_record *r)
{
    size_t room = b->room;
    struct prefix prefix = {.bits = r->prefix.bits};

    b->entries = grown(b->entries, &room, b->count + 1, sizeof *b->entries);
    b->rules = grown(b->rules, &b->room, b->count + 1, sizeof *b->rules);
    b->reasons = grown(b->reasons, &b->reason_room, b->reason_bytes + r->reason_bytes, 1);
    memcpy(prefix.ip.b, r->prefix.address, sizeof prefix.ip.b);
    b->entries[b->count] = (struct prefix_entry){prefix, (uint32_t)b->count};
    b->rules[b->count] = (struct rule){.expires_ms = r->expires_ms,
                                       .reason_at = b->reason_bytes,
                                       .reason_bytes = r->reason_bytes,
                                       .action = (uint8_t)r->action};
    if (r->reason_bytes > 0)
        memcpy(b->reasons + b->reason_bytes, r->reason, r->reason_bytes);
    b->reason_bytes += r->reason_bytes;
    b->count++;
}

/* Over: it counts for nothing, and is gathered for an ACCESS_LAPSE. */
static void gather_lapsed(struct access_view *v, const struct access_record *r)
{
    struct access_entry e = {.prefix = r->prefix, .action = ACCESS_LAPSE};

    if (v->lapsed_count < LIMIT_ACCESS_BATCH &&
        access_append(v->lapsed, LIMIT_COMMAND_BYTES / 2, &v->lapsed_bytes, &e) == OK)
        v->lapsed_count++;
}

static void take_record(struct access_view *v, struct build *b, const struct access_record *r,
                        uint64_t now_ms)
{
    if (r->expires_ms != 0 && r->expires_ms <= now_ms) {
        if (r->expires_ms + LAPSE_MS <= now_ms)
            gather_lapsed(v, r);
        return;
    }
    if (r->expires_ms != 0 && r->expires_ms < v->next_expiry_ms)
        v->next_expiry_ms = r->expires_ms;
    build_add(b, r);
}

static enum err gather(struct access_view *v, struct build *b)
{
    struct control *state = control_thread_state(v->control);
    struct access_record *page = malloc(PAGE * sizeof *page);
    uint64_t now_ms = control_now_ms(v->control);
    struct access_prefix at;
    size_t got = PAGE;
    bool is_first = true;
    enum err e = OK;

    ASSERT(page != NULL);
    v->next_expiry_ms = UINT64_MAX;
    v->lapsed_bytes = v->lapsed_count = 0;
    while (e == OK && got == PAGE) {
        e = control_access_page(state, is_first ? NULL : &at, page, PAGE, &got);
        for (size_t i = 0; e == OK && i < got; i++)
            take_record(v, b, &page[i], now_ms);
        if (got > 0)
            at = page[got - 1].prefix;
        is_first = false;
    }
    free(page);
    return e;
}

static void lists_free(void *value)
{
    struct lists *l = value;

    prefix_set_free(&l->set);
    free(l->rules);
    free(l->reasons);
    free(l);
}

static struct lists *lists_of(struct build *b)
{
    struct lists *l = calloc(1, sizeof *l);

    ASSERT(l != NULL);
    l->set = prefix_set_new(b->entries, b->count);
    ASSERT(l->set != NULL); /* the store holds no more than a set does */
    l->rules = b->rules;
    l->reasons = b->reasons;
    free(b->entries);
    *b = (struct build){.count = 0};
    return l;
}

static enum err rebuild(struct access_view *v)
{
    struct build b = {.count = 0};
    enum err e = gather(v, &b);

    if (e == OK) {
        stat_set(STAT_ACCESS_ENTRIES, b.count);
        snapshot_publish(v->lists, lists_of(&b));
        return OK;
    }
    free(b.entries);
    free(b.rules);
    free(b.reasons);
    LOG(EV_ACCESS_UNREAD, L_ERR(e));
    return e;
}

/* --- the thread --- */

/* All members see what is over; the one that leads the log, or is alone, says so. */
static void propose_lapse(struct access_view *v)
{
    struct command cmd = {.kind = COMMAND_ACCESS,
                          .access = {.entries = {v->lapsed, v->lapsed_bytes}}};
    struct control_propose_to to = {.box = v->box, .kind = MAIL_ANSWER};
    struct control_core_status status;

    if (v->lapsed_count == 0 || v->is_asking || control_now_ms(v->control) < v->next_lapse_ms)
        return;
    v->next_lapse_ms = control_now_ms(v->control) + LOOK_MS;
    control_thread_status(v->control, &status);
    if (status.leader != control_thread_id(v->control)->incarnation)
        return;
    v->is_asking = control_propose(v->control, &cmd, &to) == OK;
}

/* How long nothing has to be done. */
static int rest_ms(const struct access_view *v, bool is_read)
{
    uint64_t now_ms = control_now_ms(v->control);

    if (!is_read)
        return LATER_MS;
    if (v->next_expiry_ms <= now_ms)
        return 0;
    return v->next_expiry_ms - now_ms < LOOK_MS ? (int)(v->next_expiry_ms - now_ms) : LOOK_MS;
}

/* *changed: the lists are to be read again. */
static void take_mail(struct access_view *v, bool *changed)
{
    struct control_answer *a;
    struct mail *next;

    for (struct mail *m = mailbox_take(v->box); m != NULL; m = next) {
        next = m->next;
        switch ((enum view_mail)m->kind) {
        case MAIL_NOTICE:
            if (control_notice_take(v->control, ACCESS_VIEW_SUBSCRIBER) &
                CONTROL_CHANGED_ACCESS)
                *changed = true;
            break;
        case MAIL_ANSWER:
            a = (struct control_answer *)m;
            v->is_asking = false;
            control_answer_free(&a);
            break;
        case MAIL_STOP:
            v->is_stopping = true;
            break;
        }
    }
}

static void *view_main(void *arg)
{
    struct access_view *v = arg;
    struct pollfd p = {mailbox_fd(v->box), POLLIN, 0};
    bool is_read = true;

    /* An answer that is due is waited for: nobody would take it afterwards. */
    while (!v->is_stopping || v->is_asking) {
        int ready = poll(&p, 1, rest_ms(v, is_read));
        bool changed = ready == 0; /* a time is over, or it is time for a look */

        take_mail(v, &changed);
        if (v->is_stopping || !changed)
            continue;
        is_read = rebuild(v) == OK;
        propose_lapse(v);
    }
    return NULL;
}

/* --- life --- */

struct access_view *access_view_new(void)
{
    struct access_view *v = calloc(1, sizeof *v);
    struct build empty = {.count = 0};

    ASSERT(v != NULL);
    v->box = mailbox_new(BOX_REQUESTS);
    v->lapsed = malloc(LIMIT_COMMAND_BYTES);
    ASSERT(v->lapsed != NULL);
    v->lists = snapshot_new(lists_of(&empty), lists_free);
    return v;
}

struct mailbox *access_view_box(struct access_view *v)
{
    return v->box;
}

int access_view_notice_kind(void)
{
    return MAIL_NOTICE;
}

enum err access_view_run(struct access_view *v, struct control_thread *control)
{
    v->control = control;
    if (rebuild(v) != OK)
        v->next_expiry_ms = 0; /* again at once */
    if (pthread_create(&v->thread, NULL, view_main, v) != 0)
        return E_IO;
    pthread_setname_np(v->thread, "access");
    v->is_running = true;
    return OK;
}

void access_view_stop(struct access_view *v)
{
    if (!v->is_running)
        return;
    v->stop = (struct mail){.kind = MAIL_STOP};
    mailbox_answer(v->box, &v->stop);
    pthread_join(v->thread, NULL);
    v->is_running = false;
}

void access_view_free(struct access_view **vp)
{
    struct access_view *v = *vp;

    *vp = NULL;
    if (v == NULL)
        return;
    mailbox_abandon(&v->box); /* a notice at most, which is the control thread's */
    snapshot_free(&v->lists);
    free(v->lapsed);
    free(v);
}

/* --- asking --- */

void access_view_find(struct access_view *v, const struct ip_addr *ip, uint64_t cluster_ms,
                      struct access_found *out)
{
    struct snapshot_ref *ref = snapshot_hold(v->lists);
    const struct lists *l = snapshot_value(ref);
    const struct prefix_entry *e = prefix_set_find(l->set, ip);
    const struct rule *r = e != NULL ? &l->rules[e->value] : NULL;

    *out = (struct access_found){.action = ACCESS_REMOVE};
    if (r != NULL && (r->expires_ms == 0 || r->expires_ms > cluster_ms)) {
        out->action = (enum access_action)r->action;
        memcpy(out->prefix.address, e->prefix.ip.b, sizeof out->prefix.address);
        out->prefix.bits = e->prefix.bits;
        if (r->reason_bytes > 0)
            memcpy(out->reason, l->reasons + r->reason_at, r->reason_bytes);
    }
    snapshot_release(&ref);
}
