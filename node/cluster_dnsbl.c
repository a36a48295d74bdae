/* The watch over the lists in DNS (node/policy/dnsbl.h): while some domain has its check
 * `dnsbl` on, their test points are asked every LIMIT_DNSBL_TEST_MS, and what is found is
 * published in the settings' dnsbl_set, from which the smtp threads read whom to ask. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "node/cluster_private.h"
#include "node/dnsbl_set.h"

/* A question under way. */
struct point {
    struct point *next, *prev;
    struct cluster_dnsbl *d;
    uint64_t round; /* of d */
    size_t list;
    bool v6;
    uint32_t tag;
};

struct cluster_dnsbl {
    struct cluster *cluster;
    struct event *look;
    struct snapshot_ref *settings; /* whose lists are watched; NULL: none are */
    uint64_t rounds; /* of settings; answers to questions of older ones are late */
    struct dnsbl_watch watches[LIMIT_DNSBL_LISTS][2];
    struct point *points;
};

static struct dnsbl_set *set_of(const struct snapshot_ref *settings)
{
    return ((const struct node_settings *)snapshot_value(settings))->dnsbl;
}

static void count_alarms(const struct cluster_dnsbl *d)
{
    const struct dnsbl_list *lists;
    struct dnsbl_set *s = set_of(d->settings);
    size_t n = dnsbl_set_lists(s, &lists);
    struct dnsbl_view v;
    uint64_t alarms = 0;

    for (size_t i = 0; i < 2 * n; i++) {
        dnsbl_set_view(s, i / 2, i % 2 != 0, &v);
        alarms += v.is_alarm;
    }
    stat_set(STAT_DNSBL_OFF, alarms);
}

static void tell(const struct dnsbl_view *v, const char *why)
{
    LOG(v->is_alarm             ? EV_DNSBL_OFF
        : v->state == DNSBL_OFF ? EV_DNSBL_NO_IPV6
                                : EV_DNSBL_ON,
        L_STR("zone", v->zone), L_CSTR("addresses", v->v6 ? "IPv6" : "IPv4"),
        L_CSTR("why", why));
}

static void changed(struct cluster_dnsbl *d, size_t list, bool v6)
{
    struct dnsbl_view v;

    dnsbl_set_publish(set_of(d->settings), list, v6, &d->watches[list][v6]);
    dnsbl_set_view(set_of(d->settings), list, v6, &v);
    tell(&v, dnsbl_reason_text(v.reason));
    count_alarms(d);
}

/* --- the questions --- */

static void point_free(struct point *p)
{
    if (p->prev != NULL)
        p->prev->next = p->next;
    else
        p->d->points = p->next;
    if (p->next != NULL)
        p->next->prev = p->prev;
    free(p);
}

static void on_answer(void *arg, const struct dns_answer *a)
{
    struct point *p = arg;
    struct cluster_dnsbl *d = p->d;

    if (p->round == d->rounds && d->settings != NULL &&
        dnsbl_watch_answer(&d->watches[p->list][p->v6], p->tag, a))
        changed(d, p->list, p->v6);
    point_free(p);
}

static void ask(struct cluster_dnsbl *d, size_t list, bool v6, const struct question *q)
{
    struct point *p = malloc(sizeof *p);
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1];

    ASSERT(p != NULL && str_to_z(q->name, name, sizeof name));
    *p = (struct point){
        .next = d->points, .d = d, .round = d->rounds, .list = list, .v6 = v6, .tag = q->tag};
    if (d->points != NULL)
        d->points->prev = p;
    d->points = p;
    dns_query(d->cluster->dns, name, q->type, on_answer, p);
}

/* What sessions said since the last look; then, when it is due, a round. */
static void look_at(struct cluster_dnsbl *d, size_t list, bool v6)
{
    struct dnsbl_set *s = set_of(d->settings);
    struct dnsbl_watch *w = &d->watches[list][v6];
    uint32_t complaint = dnsbl_set_complaint(s, list, v6);
    struct dnsbl_questions q;

    if (complaint != 0) {
        if (dnsbl_watch_unavailable(w, complaint))
            changed(d, list, v6);
        dnsbl_set_heard(s, list, v6);
    }
    if (dnsbl_watch_tick(w, clock_boot_ms(), &q))
        changed(d, list, v6);
    for (uint32_t i = 0; i < q.count; i++)
        ask(d, list, v6, &q.questions[i]);
}

/* --- which lists --- */

static void leave_lists(struct cluster_dnsbl *d, const char *why)
{
    struct dnsbl_set *s = set_of(d->settings);
    const struct dnsbl_list *lists;
    size_t n = dnsbl_set_lists(s, &lists);

    for (size_t i = 0; i < 2 * n; i++) {
        struct dnsbl_watch *w = &d->watches[i / 2][i % 2];
        struct dnsbl_view v;
        bool was_alarm;

        dnsbl_set_view(s, i / 2, i % 2 != 0, &v);
        was_alarm = v.is_alarm;
        dnsbl_watch_init(w, &lists[i / 2], i % 2 != 0, clock_boot_ms());
        dnsbl_set_publish(s, i / 2, i % 2 != 0, w);
        dnsbl_set_view(s, i / 2, i % 2 != 0, &v);
        if (was_alarm)
            tell(&v, why);
    }
    count_alarms(d);
    snapshot_release(&d->settings);
}

/* What is known of a list that was there before stays; it is tested at once all the same. */
static void take_lists(struct cluster_dnsbl *d, struct snapshot_ref *settings)
{
    struct snapshot_ref *before = d->settings;
    const struct dnsbl_list *lists, *old = NULL;
    size_t n = dnsbl_set_lists(set_of(settings), &lists);
    size_t old_n = before != NULL ? dnsbl_set_lists(set_of(before), &old) : 0;
    struct dnsbl_watch kept[LIMIT_DNSBL_LISTS][2];
    uint64_t now_ms = clock_boot_ms();

    memcpy(kept, d->watches, sizeof kept);
    for (size_t i = 0; i < 2 * n; i++) {
        size_t list = i / 2, v6 = i % 2, k = 0;
        struct dnsbl_watch *w = &d->watches[list][v6];

        while (k < old_n && !dnsbl_is_same(&old[k], &lists[list]))
            k++;
        if (k < old_n)
            *w = kept[k][v6];
        else
            dnsbl_watch_init(w, &lists[list], v6 != 0, now_ms);
        dnsbl_watch_soon(w, now_ms);
        dnsbl_set_publish(set_of(settings), list, v6 != 0, w);
    }
    d->settings = settings;
    d->rounds++;
    if (before != NULL)
        snapshot_release(&before);
    count_alarms(d);
}

/* A reload may have made new ones. */
static void follow(struct cluster_dnsbl *d)
{
    struct snapshot_ref *now = snapshot_hold(d->cluster->node->settings);

    if (d->settings != NULL && snapshot_value(now) == snapshot_value(d->settings))
        snapshot_release(&now);
    else
        take_lists(d, now);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct cluster_dnsbl *d = arg;
    const struct dnsbl_list *lists;
    size_t n;

    (void)fd;
    (void)what;
    follow(d);
    n = dnsbl_set_lists(set_of(d->settings), &lists);
    for (size_t i = 0; i < 2 * n; i++)
        look_at(d, i / 2, i % 2 != 0);
}

/* --- for the cluster thread --- */

void cluster_dnsbl_begin(struct cluster *c)
{
    struct cluster_dnsbl *d = calloc(1, sizeof *d);

    ASSERT(d != NULL);
    d->cluster = c;
    d->look = event_new(c->base, -1, EV_PERSIST, on_look, d);
    ASSERT(d->look != NULL);
    c->dnsbl = d;
}

void cluster_dnsbl_want(struct cluster *c, bool wanted)
{
    struct cluster_dnsbl *d = c->dnsbl;
    struct timeval tv = {LIMIT_DNSBL_LOOK_MS / 1000, LIMIT_DNSBL_LOOK_MS % 1000 * 1000};

    if (wanted == (event_pending(d->look, EV_TIMEOUT, NULL) != 0))
        return;
    if (wanted) {
        event_add(d->look, &tv);
        on_look(-1, 0, d);
    } else {
        event_del(d->look);
        follow(d); /* what is left are the lists of now */
        leave_lists(d, "no domain asks for it any more");
    }
}

void cluster_dnsbl_end(struct cluster *c)
{
    struct cluster_dnsbl *d = c->dnsbl;

    if (d == NULL)
        return;
    while (d->points != NULL)
        point_free(d->points);
    if (d->settings != NULL)
        snapshot_release(&d->settings);
    event_free(d->look);
    free(d);
    c->dnsbl = NULL;
}
