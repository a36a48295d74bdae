/* The edge thread's part in asking primaries for recipients: node/edge_callout says what is to
 * be asked and who waits, the cluster thread asks. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/stats.h"
#include "node/cluster.h"
#include "node/edge_private.h"

static struct sched_now now_of(const struct edge *e)
{
    return (struct sched_now){clock_boot_ms(), control_now_ms(e->node->control)};
}

static bool on_post(void *ctx, const struct edge_callout_domain *d, struct str local,
                    bool hurries)
{
    struct edge *e = ctx;
    struct callout_ask *a = calloc(1, sizeof *a);

    if (a == NULL)
        return false;
    a->answer_to = e->box;
    a->answer_kind = MAIL_CALLOUT;
    a->wish.generation = d->generation;
    a->wish.hurries = hurries;
    if (str_to_z(d->name, a->wish.domain, sizeof a->wish.domain) &&
        str_to_z(local, a->wish.local, sizeof a->wish.local) &&
        cluster_callout(e->node->cluster, a) == OK)
        return true;
    free(a);
    return false;
}

static void on_over(void *ctx, void *waiter, enum rcptset_status status)
{
    struct edge_rcpt *a = waiter;

    (void)ctx;
    a->facts.known = status;
    a->facts.was_asked = true;
    a->mail.kind = a->answer_kind;
    mailbox_answer(a->answer_to, &a->mail);
}

void edge_primary_init(struct edge *e)
{
    edge_callout_init(&e->callout,
                      &(struct edge_callout_options){
                          .set = &e->recipients, .ctx = e, .post = on_post, .over = on_over});
}

bool edge_primary_wait(struct edge *e, struct edge_rcpt *a)
{
    struct edge_callout_domain d = {str_of(a->domain), a->generation, a->separator};

    return edge_callout_begin(&e->callout, &d, (struct str){a->local, a->local_bytes}, a,
                              now_of(e));
}

/* Goes on behind the domain that was looked at last, so that all have their turn. */
void edge_primary_look(struct edge *e)
{
    struct control *state = control_thread_state(e->node->control);
    struct arena a;
    struct domain d;

    arena_init(&a, LIMIT_COMMAND_SCRATCH);
    for (int i = 0; i < LIMIT_EDGE_DOMAINS; i++) {
        arena_reset(&a);
        if (control_domain_next(state, str_of(e->callout_at), &a, &d) != OK ||
            !str_to_z(d.name, e->callout_at, sizeof e->callout_at)) {
            e->callout_at[0] = 0; /* the end: from the first one again, in a second */
            break;
        }
        if (d.recipients == RECIPIENTS_LEARN && !d.closing)
            edge_callout_look(&e->callout,
                              &(struct edge_callout_domain){d.name, d.generation, d.separator},
                              now_of(e));
    }
    arena_reset(&a);
}

void edge_primary_merged(struct edge *e, uint64_t generation, enum rcptset_merged what)
{
    if (what == RCPTSET_NEWS)
        edge_callout_news(&e->callout, generation, now_of(e));
    stat_add(STAT_RECIPIENTS_SHED_TOTAL, what == RCPTSET_NO_ROOM);
}

void edge_primary_tick(struct edge *e)
{
    edge_callout_tick(&e->callout, now_of(e));
}

void edge_primary_answer(struct edge *e, struct callout_ask *a)
{
    enum rcptset_merged what = edge_callout_answer(
        &e->callout, a->wish.generation, str_of(a->wish.local), a->wish.verdict, now_of(e));

    stat_add(STAT_RECIPIENTS_LEARNED_TOTAL, what == RCPTSET_NEWS);
    stat_add(STAT_RECIPIENTS_SHED_TOTAL, what == RCPTSET_NO_ROOM);
    free(a);
}
